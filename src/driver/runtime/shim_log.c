#include "driver/runtime/shim.h"

#include "base/str.h"
#include "sys/file.h"
#include "sys/spawn.h"

#include <fcntl.h>

static void rotate(const char *path, int keep)
{
    for (int i = keep; i > 0; i--) {
        cleanup_free char *to = x_asprintf("%s.%d", path, i);
        cleanup_free char *from = i > 1 ? x_asprintf("%s.%d", path, i - 1) : x_strdup(path);
        (void)sys_file_rename(from, to);
    }
    if (keep <= 0)
        (void)!sys_file_remove(path, NULL);
}

void shim_log_copy(int fd, const char *path, uint64_t max_bytes, int keep)
{
    static const size_t chunk = 16384;
    cleanup_free char *buf = x_alloc(chunk);
    cleanup_fd int out = sys_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int64_t at = out >= 0 ? sys_file_size(out) : 0;
    uint64_t size = at > 0 ? (uint64_t)at : 0;
    ssize_t n;
    while ((n = sys_read(fd, buf, chunk)) > 0) {
        if (max_bytes && size && size + (uint64_t)n > max_bytes) {
            rotate(path, keep);
            sys_close_p(&out);
            size = 0;
        }
        if (out < 0)
            out = sys_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (out >= 0 && sys_write_all(out, buf, (size_t)n) == n)
            size += (uint64_t)n;
    }
}
