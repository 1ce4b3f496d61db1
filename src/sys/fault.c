#include "sys/fault.h"

#ifdef CHANGEOVER_FAULTS
#include "base/str.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* True once: O_EXCL makes exactly one process win. */
static bool use_up(const char *marker)
{
    cleanup_fd int fd = sys_open(marker, O_CREAT | O_EXCL | O_WRONLY, 0600);
    return fd >= 0;
}

int sys_fault_point(const char *point)
{
    const char *rule = getenv("CHANGEOVER_FAULT");
    const char *at = rule ? strchr(rule, '@') : NULL;
    if (!at)
        return 0;
    const char *marker = strchr(at + 1, '@');
    size_t n = marker ? (size_t)(marker - at - 1) : strlen(at + 1);
    if (strlen(point) != n || strncmp(at + 1, point, n) != 0)
        return 0;
    if (marker && !use_up(marker + 1))
        return 0;
    if (str_starts(rule, "kill@"))
        kill(getpid(), SIGKILL);
    if (str_starts(rule, "stop@"))
        raise(SIGSTOP);
    if (str_starts(rule, "fail@")) {
        errno = EIO;
        return -1;
    }
    return 0;
}
#endif
