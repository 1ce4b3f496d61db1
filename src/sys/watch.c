#include "sys/watch.h"

#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define EVENTS_BYTES 32768

bool sys_watch_needed(const char *path)
{
    static const unsigned long memory[] = {TMPFS_MAGIC, RAMFS_MAGIC, HUGETLBFS_MAGIC};
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(memory); i++)
        if ((unsigned long)fs.f_type == memory[i])
            return true;
    return false;
}

int sys_watch_open(const char *path)
{
    /* The queue is not limited: a clone on the same file system fills it faster than we may read
     * it, and the reader keeps inodes only. */
    int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE,
                           O_RDONLY | O_CLOEXEC | O_LARGEFILE | O_NOATIME);
    if (fd >= 0 &&
        fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE, AT_FDCWD, path) < 0)
        sys_close_p(&fd); /* keeps errno */
    return fd;
}

bool sys_watch_can(const char *path)
{
    cleanup_fd int fd = sys_watch_open(path);
    return fd >= 0;
}

/* False: nobody knows what it was about. */
static bool take(const struct fanotify_event_metadata *e, sys_held_fn *fn, void *ctx)
{
    struct stat st;
    cleanup_fd int fd = e->fd; /* negative: the queue was full, or the file cannot be opened */
    if (fd < 0)
        return false;
    if (e->pid != getpid() && fstat(fd, &st) == 0)
        fn(ctx, st.st_ino);
    return true;
}

int sys_watch_read(int fd, sys_held_fn *fn, void *ctx)
{
    _Alignas(8) char buf[EVENTS_BYTES];
    bool whole = true;
    for (;;) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n <= 0)
            break;
        const struct fanotify_event_metadata *e = (const void *)buf;
        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n))
            whole &= take(e, fn, ctx);
    }
    errno = EOVERFLOW;
    return whole ? 0 : -1;
}
