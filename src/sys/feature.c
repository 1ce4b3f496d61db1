#include "sys/feature.h"

#include "sys/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

const char *sys_kernel(char *buf, size_t size)
{
    struct utsname u;
    if (uname(&u) < 0)
        return "an unknown kernel";
    (void)snprintf(buf, size, "%s %s", u.sysname, u.release);
    return buf;
}

bool sys_has_pidfd(void)
{
    cleanup_fd int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    return fd >= 0;
}

bool sys_has_ofd_locks(void)
{
    cleanup_fd int fd = sys_open("/proc/self/exe", O_RDONLY, 0);
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0;
}

bool sys_can_cgroup(char *why_not, size_t size)
{
    /* v2 alone, v2 beside v1, v1's freezer: where they are mounted, and how /proc/self/cgroup names
     * them */
    static const struct {
        const char *top, *key;
    } kinds[] = {{"/sys/fs/cgroup", "0::"},
                 {"/sys/fs/cgroup/unified", "0::"},
                 {"/sys/fs/cgroup/freezer", ":freezer:"}};
    cleanup_str struct str own = {0};
    char path[512];

    (void)snprintf(why_not, size, "none is mounted at /sys/fs/cgroup");
    if (sys_file_read("/proc/self/cgroup", 16384, &own, NULL) < 0)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        const char *at = strstr(str_cstr(&own), kinds[i].key);
        at = at ? at + strlen(kinds[i].key) : "/";
        (void)snprintf(path, sizeof(path), "%s%.*s/cgroup.procs", kinds[i].top,
                       (int)strcspn(at, "\n"), at);
        if (!sys_path_exists(path))
            continue;
        if (sys_path_writable(path))
            return true;
        (void)snprintf(why_not, size, "'%s' is not writable", path);
    }
    return false;
}

uint64_t sys_memory_available(void)
{
    cleanup_str struct str text = {0};
    uint64_t kib = 0;
    if (sys_file_read("/proc/meminfo", 65536, &text, NULL) < 0)
        return 0;
    const char *line = strstr(str_cstr(&text), "MemAvailable:");
    return line && sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1 ? kib * 1024 : 0;
}
