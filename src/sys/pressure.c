#include "sys/pressure.h"

#include "base/str.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* "some avg10=0.09 avg60=0.21 avg300=0.39 total=553165718" */
static int total(const char *dir, const char *what, uint64_t *ret)
{
    char path[PATH_MAX], text[256];
    str_format(path, sizeof(path), "%s/%s", dir, what);
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    ssize_t n = fd < 0 ? -1 : sys_read(fd, text, sizeof(text) - 1);
    if (n < 0)
        return -1;
    text[n] = '\0';
    const char *at = str_starts(text, "some ") ? strstr(text, "total=") : NULL;
    if (!at) {
        errno = EINVAL;
        return -1;
    }
    *ret = strtoull(at + strlen("total="), NULL, 10);
    return 0;
}

int sys_pressure_stalled(const char *dir, uint64_t *ret_us)
{
    uint64_t io, memory;
    if (total(dir, "io", &io) < 0 || total(dir, "memory", &memory) < 0)
        return -1;
    *ret_us = io > memory ? io : memory;
    return 0;
}
