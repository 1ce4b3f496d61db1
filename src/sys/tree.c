#include "sys/tree.h"

#include "base/str.h"
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif
#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif

bool sys_stamp_eq(struct sys_stamp a, struct sys_stamp b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}

bool sys_stamp_before(struct sys_stamp a, nsec_t since_epoch)
{
    int64_t sec = since_epoch / NSEC_S;
    return a.sec < sec || (a.sec == sec && (nsec_t)a.nsec < since_epoch % NSEC_S);
}

static struct sys_stamp stamp(const struct statx_timestamp *t)
{
    return (struct sys_stamp){.sec = t->tv_sec, .nsec = t->tv_nsec};
}

int sys_node_at(int dir, const char *name, struct sys_node *ret)
{
    struct statx x;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
    if (statx(dir, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, &x) < 0)
        return -1;
    *ret = (struct sys_node){
        .mode = x.stx_mode,
        .uid = x.stx_uid,
        .gid = x.stx_gid,
        .nlink = x.stx_nlink,
        .locked = (x.stx_attributes & STATX_ATTR_IMMUTABLE ? SYS_IMMUTABLE : 0U) |
                  (x.stx_attributes & STATX_ATTR_APPEND ? SYS_APPEND_ONLY : 0U),
        .size = x.stx_size,
        .allocated = x.stx_blocks * 512,
        .dev = makedev(x.stx_dev_major, x.stx_dev_minor),
        .ino = x.stx_ino,
        .rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
        .mount = x.stx_mnt_id,
        .mount_root = (x.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0,
        .atime = stamp(&x.stx_atime),
        .mtime = stamp(&x.stx_mtime),
        .ctime = stamp(&x.stx_ctime),
    };
    return 0;
}

int sys_tree_top(const char *path, bool follow)
{
    return sys_open(path, O_RDONLY | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW), 0);
}

int sys_tree_open(int dir, const char *name, int flags, mode_t mode)
{
    int fd;
    do
        fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int open_part(int top, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    long fd;
    do /* EAGAIN: a rename elsewhere raced with the check that we stay below */
        fd = syscall(SYS_openat2, top, path, &how, sizeof(how));
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

int sys_tree_beneath(int top, const char *path)
{
    cleanup_fd int at = -1;
    while (strlen(path) >= PATH_MAX) {
        char part[PATH_MAX];
        memcpy(part, path, PATH_MAX - 1);
        part[PATH_MAX - 1] = '\0';
        char *slash = strrchr(part, '/');
        if (!slash) {
            errno = ENAMETOOLONG;
            return -1;
        }
        *slash = '\0';
        int next = open_part(at < 0 ? top : at, part);
        if (next < 0)
            return -1;
        sys_close_p(&at);
        at = next;
        path += slash - part + 1;
    }
    return open_part(at < 0 ? top : at, *path ? path : ".");
}

struct sys_names *sys_names_open(int dir_fd)
{
    struct sys_names *n = x_alloc(sizeof(*n));
    n->fd = dir_fd;
    (void)lseek(dir_fd, 0, SEEK_SET);
    return n;
}

int sys_names_next(struct sys_names *n, const char **ret_name, unsigned char *ret_type)
{
    for (;;) {
        if (n->pos >= n->len) {
            ssize_t got = getdents64(n->fd, n->buf, sizeof(n->buf));
            if (got <= 0)
                return (int)got;
            n->len = (size_t)got;
            n->pos = 0;
        }
        const struct dirent64 *e = (const void *)(n->buf + n->pos);
        n->pos += e->d_reclen;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        *ret_name = e->d_name;
        *ret_type = e->d_type;
        n->ino = e->d_ino;
        return 1;
    }
}

int sys_tree_mkdir(int dir, const char *name, mode_t mode)
{
    return mkdirat(dir, name, mode);
}

int sys_tree_mknod(int dir, const char *name, mode_t mode, uint64_t rdev)
{
    return mknodat(dir, name, mode, (dev_t)rdev);
}

int sys_tree_symlink(const char *target, int dir, const char *name)
{
    return symlinkat(target, dir, name);
}

int sys_tree_link(int from_dir, const char *from, int dir, const char *name)
{
    return linkat(from_dir, from, dir, name, 0);
}

int sys_tree_unlink(int dir, const char *name, bool is_dir)
{
    return unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0);
}

ssize_t sys_tree_readlink(int dir, const char *name, char *buf, size_t size)
{
    ssize_t n = readlinkat(dir, name, buf, size - 1);
    if (n >= 0)
        buf[n] = '\0';
    return n;
}

int sys_tree_rename(int from_dir, const char *from, int dir, const char *name)
{
    return renameat(from_dir, from, dir, name);
}

int sys_tree_exchange(int dir, const char *a, const char *b)
{
    return renameat2(dir, a, dir, b, RENAME_EXCHANGE);
}

int sys_tree_set_owner(int dir, const char *name, uint32_t uid, uint32_t gid)
{
    return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH));
}

int sys_tree_set_mode(int dir, const char *name, mode_t mode)
{
    return *name ? fchmodat(dir, name, mode, 0) : fchmod(dir, mode);
}

int sys_tree_set_times(int dir, const char *name, struct sys_stamp atime, struct sys_stamp mtime)
{
    struct timespec t[2] = {
        {.tv_sec = atime.sec, .tv_nsec = atime.nsec},
        {.tv_sec = mtime.sec, .tv_nsec = mtime.nsec},
    };
    return *name ? utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) : futimens(dir, t);
}

int sys_tree_set_locked(int dir, const char *name, unsigned locked)
{
    int flags = 0;
    cleanup_fd int own = *name ? sys_tree_open(dir, name, O_RDONLY | O_NONBLOCK, 0) : -1;
    int fd = *name ? own : dir;
    if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return -1;
    flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
    flags |= locked & SYS_IMMUTABLE ? FS_IMMUTABLE_FL : 0;
    flags |= locked & SYS_APPEND_ONLY ? FS_APPEND_FL : 0;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
