#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

int sys_open(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

ssize_t sys_read(int fd, void *buf, size_t n)
{
    ssize_t r;
    do
        r = read(fd, buf, n);
    while (r < 0 && errno == EINTR);
    return r;
}

ssize_t sys_pread(int fd, void *buf, size_t n, uint64_t offset)
{
    ssize_t r;
    do
        r = pread(fd, buf, n, (off_t)offset);
    while (r < 0 && errno == EINTR);
    return r;
}

int64_t sys_file_size(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? -1 : st.st_size;
}

ssize_t sys_write_all(int fd, const void *buf, size_t n)
{
    const char *p = buf;
    size_t left = n;
    while (left) {
        ssize_t w = write(fd, p, left);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -1;
        p += w;
        left -= (size_t)w;
    }
    return (ssize_t)n;
}

void sys_close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int sys_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

static enum err_code code_of_errno(void)
{
    return errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED;
}

int sys_file_read(const char *path, size_t max, struct str *ret, struct err *err)
{
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return err_sys(err, code_of_errno(), "open '%s'", path);
    char buf[16384];
    size_t got = 0;
    for (;;) {
        ssize_t n = sys_read(fd, buf, sizeof(buf));
        if (n < 0)
            return err_sys(err, ERR_FAILED, "read '%s'", path);
        if (n == 0)
            break;
        got += (size_t)n;
        if (got > max)
            return err_set(err, ERR_FAILED, "read '%s': larger than %zu bytes", path, max);
        str_add_n(ret, buf, (size_t)n);
    }
    str_add_n(ret, "", 0);
    return 0;
}

int sys_file_tail(const char *path, size_t n, struct str *ret, struct err *err)
{
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    struct stat st;
    if (fd < 0)
        return err_sys(err, code_of_errno(), "open '%s'", path);
    cleanup_free char *buf = x_alloc(n + 1);
    if (fstat(fd, &st) < 0)
        return err_sys(err, ERR_FAILED, "look at '%s'", path);
    off_t from = st.st_size > (off_t)n ? st.st_size - (off_t)n : 0;
    ssize_t got = pread(fd, buf, n, from);
    if (got < 0)
        return err_sys(err, ERR_FAILED, "read '%s'", path);
    const char *start = buf, *line = from ? memchr(buf, '\n', (size_t)got) : NULL;
    if (line && line + 1 < buf + got)
        start = line + 1;
    str_add_n(ret, start, (size_t)(buf + got - start));
    return 0;
}

static int sync_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return sys_dir_sync(".", err);
    cleanup_free char *dir = x_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    return sys_dir_sync(dir, err);
}

/* like: whose owner the new file gets, or NULL */
static int replace(const char *path, const char *bytes, size_t n, mode_t mode, bool sync,
                   const struct stat *like, struct err *err)
{
    cleanup_free char *tmp = x_asprintf("%s.tmp", path);
    cleanup_fd int fd = sys_open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_sys(err, code_of_errno(), "create '%s'", tmp);
    if ((like && fchown(fd, like->st_uid, like->st_gid) < 0) || fchmod(fd, mode) < 0 ||
        sys_write_all(fd, bytes, n) < 0 || (sync && fsync(fd) < 0)) {
        err_sys(err, ERR_FAILED, "write '%s'", tmp);
        (void)unlink(tmp);
        return -1;
    }
    if (rename(tmp, path) < 0)
        return err_sys(err, ERR_FAILED, "rename '%s' to '%s'", tmp, path);
    return sync ? sync_parent(path, err) : 0;
}

int sys_file_write_atomic(const char *path, const char *bytes, size_t n, mode_t mode,
                          struct err *err)
{
    return replace(path, bytes, n, mode, true, NULL, err);
}

int sys_file_replace(const char *path, const char *bytes, size_t n, mode_t mode, struct err *err)
{
    return replace(path, bytes, n, mode, false, NULL, err);
}

int sys_file_rewrite(const char *path, const char *bytes, size_t n, struct err *err)
{
    struct stat st;
    cleanup_free char *real = NULL;
    if (sys_path_real(path, &real, err) < 0)
        return -1;
    if (stat(real, &st) < 0)
        return err_sys(err, code_of_errno(), "look at '%s'", real);
    return replace(real, bytes, n, st.st_mode & 07777, true, &st, err);
}

int sys_file_touch(const char *path, mode_t mode, struct err *err)
{
    cleanup_fd int fd = sys_open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_sys(err, code_of_errno(), "create '%s'", path);
    if (fchmod(fd, mode) < 0)
        return err_sys(err, ERR_FAILED, "set the mode of '%s'", path);
    return 0;
}

int sys_file_append(const char *path, const char *bytes, size_t n, mode_t mode, struct err *err)
{
    cleanup_fd int fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND, mode);
    if (fd < 0)
        return err_sys(err, code_of_errno(), "open '%s'", path);
    if (sys_write_all(fd, bytes, n) < 0)
        return err_sys(err, ERR_FAILED, "append to '%s'", path);
    return 0;
}

int sys_file_remove(const char *path, struct err *err)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return err_sys(err, ERR_FAILED, "remove '%s'", path);
    return 0;
}

int sys_dir_make(const char *path, mode_t mode, struct err *err)
{
    cleanup_free char *part = x_strdup(path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_sys(err, ERR_FAILED, "create the directory '%s'", part);
        *p = '/';
    }
    if (mkdir(path, mode) == 0) {
        if (chmod(path, mode) < 0)
            return err_sys(err, ERR_FAILED, "set the mode of '%s'", path);
        return sync_parent(path, err);
    }
    if (errno != EEXIST)
        return err_sys(err, ERR_FAILED, "create the directory '%s'", path);
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return err_set(err, ERR_EXISTS, "'%s' is there, and is no directory", path);
    return 0;
}

int sys_dir_sync(const char *path, struct err *err)
{
    cleanup_fd int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || fsync(fd) < 0)
        return err_sys(err, ERR_FAILED, "sync the directory '%s'", path);
    return 0;
}

enum sys_kind sys_path_kind(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? SYS_MISSING : SYS_UNREADABLE;
    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        return SYS_FILE;
    case S_IFDIR:
        return SYS_DIR;
    case S_IFLNK:
        return SYS_LINK;
    case S_IFSOCK:
        return SYS_SOCKET;
    default:
        return SYS_OTHER;
    }
}

bool sys_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

int sys_path_identity(const char *path, uint64_t *ret_dev, uint64_t *ret_ino, struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_sys(err, code_of_errno(), "look at '%s'", path);
    *ret_dev = st.st_dev;
    *ret_ino = st.st_ino;
    return 0;
}

int sys_path_real(const char *path, char **ret, struct err *err)
{
    char *real = realpath(path, NULL);
    if (!real)
        return err_sys(err, code_of_errno(), "resolve '%s'", path);
    *ret = real;
    return 0;
}

bool sys_path_readable(const char *path)
{
    return access(path, R_OK) == 0;
}

bool sys_path_writable(const char *path)
{
    return access(path, W_OK) == 0;
}

char *sys_path_cwd(void)
{
    char buf[PATH_MAX];
    return x_strdup(getcwd(buf, sizeof(buf)) ? buf : "/");
}

int sys_path_space(const char *path, struct sys_space *ret, struct err *err)
{
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return err_sys(err, code_of_errno(), "ask for the free space of '%s'", path);
    *ret = (struct sys_space){
        .free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize,
        .total_bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize,
        .free_inodes = fs.f_ffree,
        .fs_magic = (uint64_t)fs.f_type,
    };
    return 0;
}

int sys_dir_each(const char *path, sys_dir_fn *fn, void *ctx, struct err *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return err_sys(err, code_of_errno(), "read the directory '%s'", path);
    int r = 0;
    const struct dirent *e;
    while (r == 0 && (e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = fn(ctx, e->d_name);
    closedir(dir);
    return r;
}
