/* Files and directories. Paths are taken as they are; callers resolve and check them. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>
#include <sys/types.h>

/* Reads a whole file into `ret` (appended). More than `max` bytes: ERR_FAILED. Missing:
 * ERR_NOT_FOUND. */
must_check int sys_file_read(const char *path, size_t max, struct str *ret, struct err *err);

/* The last lines of a file that fit into n bytes, whole ones unless the last alone is longer.
 * Appended. */
must_check int sys_file_tail(const char *path, size_t n, struct str *ret, struct err *err);

/* Replaces `path` in one step: temporary file beside it, fsync, rename, fsync of the directory.
 * Again after a crash: a leftover `path.tmp` is overwritten. The old content is kept on failure. */
must_check int sys_file_write_atomic(const char *path, const char *bytes, size_t n, mode_t mode,
                                     struct err *err);

/* The same without waiting for the disk: whole or not at all for readers, but not after a power
 * cut. */
must_check int sys_file_replace(const char *path, const char *bytes, size_t n, mode_t mode,
                                struct err *err);

/* As sys_file_write_atomic for a file that is there and somebody else's: keeps its mode and owner,
 * follows links. */
must_check int sys_file_rewrite(const char *path, const char *bytes, size_t n, struct err *err);

/* Creates an empty file (mode is exact, whatever the umask), or leaves one that is there. */
must_check int sys_file_touch(const char *path, mode_t mode, struct err *err);

/* Appends in one write(2), creating the file with `mode`. Not synced. */
must_check int sys_file_append(const char *path, const char *bytes, size_t n, mode_t mode,
                               struct err *err);

/* Removes a file; one that is not there is fine. */
must_check int sys_file_remove(const char *path, struct err *err);

/* mkdir -p: every missing parent with 0755, the last one with `mode` (exact). */
must_check int sys_dir_make(const char *path, mode_t mode, struct err *err);

/* fsync of a directory: names created or unlinked in it before the call are on disk afterwards. */
must_check int sys_dir_sync(const char *path, struct err *err);

enum sys_kind { SYS_MISSING, SYS_FILE, SYS_DIR, SYS_LINK, SYS_SOCKET, SYS_OTHER, SYS_UNREADABLE };
enum sys_kind sys_path_kind(const char *path); /* does not follow a last link */
bool sys_path_exists(const char *path);        /* follows links */

/* The device and inode behind a path (following links): two paths with the same pair are one. */
must_check int sys_path_identity(const char *path, uint64_t *ret_dev, uint64_t *ret_ino,
                                 struct err *err);

/* realpath(3): absolute, no links. *ret is the caller's (free). */
must_check int sys_path_real(const char *path, char **ret, struct err *err);
bool sys_path_readable(const char *path);
bool sys_path_writable(const char *path);
char *sys_path_cwd(void); /* free it */

struct sys_space {
    uint64_t free_bytes, total_bytes, free_inodes;
    uint64_t fs_magic; /* statfs(2) f_type */
};
must_check int sys_path_space(const char *path, struct sys_space *ret, struct err *err);

/* Calls fn for each entry except . and ..; stops at the first non-zero return and returns it. */
typedef int sys_dir_fn(void *ctx, const char *name);
int sys_dir_each(const char *path, sys_dir_fn *fn, void *ctx, struct err *err);

/* Plain descriptors, for those that hold one. */
int sys_open(const char *path, int flags, mode_t mode); /* O_CLOEXEC added; -1 with errno */
ssize_t sys_read(int fd, void *buf, size_t n);          /* restarts on EINTR */
ssize_t sys_pread(int fd, void *buf, size_t n, uint64_t offset);
int64_t sys_file_size(int fd); /* -1 with errno */
ssize_t sys_write_all(int fd, const void *buf, size_t n);
void sys_close_p(int *fd);
int sys_pipe(int fds[2]); /* O_CLOEXEC */
#define cleanup_fd cleanup(sys_close_p)
