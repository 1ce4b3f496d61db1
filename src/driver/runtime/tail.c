#include "driver/runtime/tail.h"

#include "sys/file.h"

#include <fcntl.h>

void runtime_log_tail(const char *path, size_t lines, size_t max, struct str *ret)
{
    char buf[8192];
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return;
    size_t most = max < sizeof(buf) ? max : sizeof(buf);
    int64_t size = sys_file_size(fd);
    ssize_t got =
        sys_pread(fd, buf, most, size > (int64_t)most ? (uint64_t)size - (uint64_t)most : 0);
    size_t n = got > 0 ? (size_t)got : 0;
    while (n && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
        n--;
    size_t from = n, seen = 0;
    while (from > 0 && (buf[from - 1] != '\n' || ++seen < lines))
        from--;
    for (size_t i = from; i < n; i++) {
        unsigned char b = (unsigned char)buf[i];
        str_add_c(ret, b == '\n' || b >= 0x20 ? buf[i] : ' ');
    }
}
