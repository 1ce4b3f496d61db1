/* Trees of files by descriptor: what a cloner and a remover need, openat(2) style.
 *
 * All of them return -1 (or a negative size) with errno, restart on EINTR, never follow a last
 * link, and add O_CLOEXEC. A `name` of "" means the descriptor itself. Threads: no shared state. */
#pragma once

#include "base/clean.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sys_stamp {
    int64_t sec;
    uint32_t nsec;
};

/* chattr(1) +i and +a: nobody may write to it, remove it or link to it until the flag is taken off.
 */
enum sys_lock { SYS_IMMUTABLE = 1, SYS_APPEND_ONLY = 2 };

struct sys_node {
    uint32_t mode; /* with the type: S_ISREG() and the like */
    uint32_t uid, gid, nlink;
    unsigned locked;          /* enum sys_lock */
    uint64_t size, allocated; /* bytes */
    uint64_t dev, ino, rdev;
    uint64_t mount; /* the kernel's id of the mount: another one is another mount, bind included */
    bool mount_root;
    struct sys_stamp atime, mtime, ctime;
};

bool sys_stamp_eq(struct sys_stamp a, struct sys_stamp b);
bool sys_stamp_before(struct sys_stamp a, nsec_t since_epoch);

int sys_node_at(int dir, const char *name, struct sys_node *ret);

/* The top of a tree: links in the path are followed if `follow`, else only those before the last
 * part. */
int sys_tree_top(const char *path, bool follow);
int sys_tree_open(int dir, const char *name, int flags, mode_t mode); /* one name, O_NOFOLLOW */

/* A directory below `top` (O_RDONLY). No link is followed, nothing outside `top` is reached, no
 * mount is crossed (EXDEV). The path may be longer than PATH_MAX; "" is another descriptor of top.
 */
int sys_tree_beneath(int top, const char *path);

/* The names in a directory, except . and ..; the descriptor stays the caller's. Large: not on a
 * stack. */
struct sys_names {
    int fd;
    size_t pos, len;
    uint64_t
        ino; /* of the name returned last; of what lies below it, if something is mounted there */
    _Alignas(8) char buf[32768];
};
struct sys_names *sys_names_open(int dir_fd); /* from the first name on; free() it */
int sys_names_next(struct sys_names *n, const char **ret_name,
                   unsigned char *ret_type); /* 1, 0 = end */

int sys_tree_mkdir(int dir, const char *name, mode_t mode);
int sys_tree_mknod(int dir, const char *name, mode_t mode, uint64_t rdev);
int sys_tree_symlink(const char *target, int dir, const char *name);
int sys_tree_link(int from_dir, const char *from, int dir, const char *name);
int sys_tree_unlink(int dir, const char *name, bool is_dir);
ssize_t sys_tree_readlink(int dir, const char *name, char *buf, size_t size); /* ends it with NUL */
int sys_tree_rename(int from_dir, const char *from, int dir, const char *name);
int sys_tree_exchange(int dir, const char *a, const char *b); /* both must be there */

int sys_tree_set_owner(int dir, const char *name, uint32_t uid, uint32_t gid);
int sys_tree_set_mode(int dir, const char *name, mode_t mode); /* not for links */
int sys_tree_set_times(int dir, const char *name, struct sys_stamp atime, struct sys_stamp mtime);

/* Files and directories. ENOTTY, EOPNOTSUPP: this file system has no such flags; EPERM: root may.
 */
int sys_tree_set_locked(int dir, const char *name, unsigned locked);

ssize_t sys_xattr_list(int dir, const char *name, char *buf, size_t size);
ssize_t sys_xattr_get(int dir, const char *name, const char *key, void *buf, size_t size);
int sys_xattr_set(int dir, const char *name, const char *key, const void *value, size_t size);
int sys_xattr_remove(int dir, const char *name, const char *key);

int sys_file_reflink(int dst, int src); /* FICLONE of the whole file */
ssize_t sys_file_copy_range(int dst, int src, uint64_t off, size_t n);
ssize_t sys_file_pread(int fd, void *buf, size_t n, uint64_t off);
ssize_t sys_file_pread_cached(int fd, void *buf, size_t n,
                              uint64_t off);                          /* EAGAIN: not in memory */
int sys_file_pwrite(int fd, const void *buf, size_t n, uint64_t off); /* all of it */
int64_t sys_file_seek_data(int fd, uint64_t off); /* -1 with ENXIO: no data from there on */
int64_t sys_file_seek_hole(int fd, uint64_t off);
int sys_file_truncate(int fd, uint64_t size);
int sys_file_unnamed(const char *dir); /* O_TMPFILE, for writing */
void sys_file_forget(int fd);          /* what of it is on disk is read from there again */
int sys_fs_sync(int fd);               /* syncfs(2): on disk, whatever of that file system */
uint64_t sys_fs_magic(int fd);         /* statfs(2) f_type; 0: unknown */
const char *sys_fs_name(uint64_t magic);
bool sys_fs_space(int fd, uint64_t *ret_free_bytes, uint64_t *ret_free_inodes);

/* True if something is mounted below `path` (not at it); its mount point goes to buf. */
bool sys_mount_below(const char *path, char *buf, size_t size);

/* fn(ctx, 0..n-1) in threads of its own, all signals blocked in them. `wait` runs in the calling
 * thread meanwhile (may be NULL); returns when all have ended. -1: no thread could be started;
 * fewer than n is no error. */
int sys_threads_run(unsigned n, void (*fn)(void *ctx, unsigned i), void (*wait)(void *ctx),
                    void *ctx);
unsigned sys_cpu_count(void); /* those that we may run on; at least 1 */
