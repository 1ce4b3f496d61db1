#include "sys/watch.h"

#include "base/str.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define EVENTS_BYTES 32768

struct sys_watch {
    enum sys_watch_kind kind;
    int fd;
    int top; /* SYS_WATCH_CHANGES: any directory of the file system, to find an inode by its handle
              */
};

static bool is_on(const char *path, const unsigned long *magics, size_t n)
{
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    errno = EOPNOTSUPP;
    return false;
}

bool sys_watch_needed(const char *path)
{
    static const unsigned long memory[] = {TMPFS_MAGIC, RAMFS_MAGIC, HUGETLBFS_MAGIC};
    return is_on(path, memory, ARRAY_LEN(memory));
}

static bool names_its_inodes(const char *path)
{
    static const unsigned long known[] = {XFS_SUPER_MAGIC, EXT4_SUPER_MAGIC};
    return is_on(path, known, ARRAY_LEN(known));
}

static int begin(struct sys_watch *w, const char *path)
{
    bool changes = w->kind == SYS_WATCH_CHANGES;
    uint64_t mask = FAN_CLOSE_WRITE | (changes ? FAN_MODIFY | FAN_ATTRIB : 0);
    if (changes && !names_its_inodes(path))
        return -1;
    w->top = changes ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (changes && w->top < 0)
        return -1;
    /* The queue is not limited: a clone on the same file system fills it faster than we may read
     * it, and the reader keeps inodes only. */
    w->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
                              (changes ? FAN_REPORT_FID : 0),
                          O_RDONLY | O_CLOEXEC | O_LARGEFILE | O_NOATIME);
    return w->fd < 0 || fanotify_mark(w->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, AT_FDCWD,
                                      path) < 0
               ? -1
               : 0;
}

struct sys_watch *sys_watch_open(const char *path, enum sys_watch_kind kind)
{
    struct sys_watch *w = x_alloc(sizeof(*w));
    *w = (struct sys_watch){.kind = kind, .fd = -1, .top = -1};
    if (begin(w, path) == 0)
        return w;
    int saved = errno;
    sys_watch_close(w);
    errno = saved;
    return NULL;
}

void sys_watch_close(struct sys_watch *w)
{
    if (!w)
        return;
    sys_close_p(&w->fd);
    sys_close_p(&w->top);
    free(w);
}

bool sys_watch_can(const char *path, enum sys_watch_kind kind)
{
    struct sys_watch *w = sys_watch_open(path, kind);
    sys_watch_close(w);
    return w;
}

/* A descriptor of the file that an event is about, -1 with errno. ESTALE: it is gone; EOVERFLOW:
 * the queue was full. */
static int file_of(const struct sys_watch *w, const struct fanotify_event_metadata *e)
{
    const struct fanotify_event_info_fid *info = (const void *)(e + 1);
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u;
    errno = EOVERFLOW;
    if (w->kind != SYS_WATCH_CHANGES)
        return e->fd;
    if (e->event_len < sizeof(*e) + sizeof(*info) + sizeof(u.handle) ||
        info->hdr.info_type != FAN_EVENT_INFO_TYPE_FID)
        return -1;
    memcpy(&u.handle, info->handle, sizeof(u.handle));
    if (u.handle.handle_bytes > MAX_HANDLE_SZ)
        return -1;
    memcpy(u.room, info->handle, sizeof(u.handle) + u.handle.handle_bytes);
    return open_by_handle_at(w->top, &u.handle, O_PATH);
}

/* False: nobody knows what it was about. */
static bool take(const struct sys_watch *w, const struct fanotify_event_metadata *e,
                 sys_held_fn *fn, void *ctx)
{
    struct stat st;
    cleanup_fd int fd = file_of(w, e);
    if (fd < 0)
        return w->kind == SYS_WATCH_CHANGES && errno == ESTALE;
    if (e->pid != getpid() && fstat(fd, &st) == 0)
        fn(ctx, st.st_ino);
    return true;
}

int sys_watch_read(struct sys_watch *w, sys_held_fn *fn, void *ctx)
{
    _Alignas(8) char buf[EVENTS_BYTES];
    bool whole = true;
    for (;;) {
        ssize_t n = read(w->fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n <= 0)
            break;
        const struct fanotify_event_metadata *e = (const void *)buf;
        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n))
            whole &= take(w, e, fn, ctx);
    }
    errno = EOVERFLOW;
    return whole ? 0 : -1;
}
