#include "sys/held.h"

#include "base/str.h"
#include "sys/file.h"
#include "sys/task.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int gone(void)
{
    return errno == ENOENT || errno == ESRCH ? 0 : -1;
}

/* One line of proc_pid_maps(5): "START-END rw-s OFFSET MAJOR:MINOR INODE PATH" */
static void take_line(const char *line, sys_held_fn *fn, void *ctx)
{
    char perms[5];
    unsigned long long ino;
    if (sscanf(line, "%*s %4s %*s %*s %llu", perms, &ino) == 2 && perms[1] == 'w' &&
        perms[3] == 's' && ino)
        fn(ctx, ino);
}

static void close_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

static int mapped(pid_t pid, sys_held_fn *fn, void *ctx)
{
    char path[64];
    str_format(path, sizeof(path), "/proc/%d/maps", (int)pid);
    cleanup(close_file) FILE *f = fopen(path, "re");
    cleanup_free char *line = NULL;
    size_t room = 0;
    if (!f)
        return gone();
    errno = 0;
    while (getline(&line, &room, f) > 0)
        take_line(line, fn, ctx);
    return ferror(f) ? gone() : 0;
}

/* The flags of proc_pid_fdinfo(5), octal; -1: it is closed. */
static int flags_of(int dir, const char *name)
{
    char text[512];
    cleanup_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : sys_read(fd, text, sizeof(text) - 1);
    if (n < 0)
        return -1;
    text[n] = '\0';
    const char *at = strstr(text, "flags:");
    return at ? (int)strtol(at + strlen("flags:"), NULL, 8) : -1;
}

static int opened(pid_t pid, sys_held_fn *fn, void *ctx)
{
    char path[64];
    str_format(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
    cleanup_fd int infos = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    str_format(path, sizeof(path), "/proc/%d/fd", (int)pid);
    int raw = infos < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = raw < 0 ? NULL : fdopendir(raw);
    if (!d)
        return gone();
    struct dirent *e;
    struct stat st;
    while ((e = readdir(d)))
        if (*e->d_name != '.' && fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode) &&
            (flags_of(infos, e->d_name) & O_ACCMODE) != O_RDONLY)
            fn(ctx, st.st_ino);
    closedir(d);
    return 0;
}

int sys_proc_held(pid_t pid, sys_held_fn *fn, void *ctx)
{
    return mapped(pid, fn, ctx) < 0 || opened(pid, fn, ctx) < 0 ? -1 : 0;
}

void sys_all_held(sys_held_fn *fn, void *ctx)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (*e->d_name >= '1' && *e->d_name <= '9')
            (void)sys_proc_held((pid_t)strtol(e->d_name, NULL, 10), fn, ctx);
    if (d)
        closedir(d);
}

/* ---- who is on a file system ---- */

static bool on_device(int dir, const char *path, dev_t dev)
{
    struct stat st;
    return fstatat(dir, path, &st, 0) == 0 &&
           (st.st_dev == dev || (S_ISBLK(st.st_mode) && st.st_rdev == dev));
}

static bool has_open(int proc, dev_t dev)
{
    int raw = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = raw < 0 ? NULL : fdopendir(raw);
    bool found = false;
    struct dirent *e;
    while (d && !found && (e = readdir(d)))
        found = *e->d_name != '.' && on_device(dirfd(d), e->d_name, dev);
    if (d)
        closedir(d);
    return found;
}

/* A line of proc_pid_maps(5), or with `mounts` of proc_pid_mountinfo(5), that is of this device. */
static bool line_is_of(const char *line, bool mounts, dev_t dev)
{
    unsigned a, b;
    int n =
        mounts ? sscanf(line, "%*u %*u %u:%u", &a, &b) : sscanf(line, "%*s %*s %*s %x:%x", &a, &b);
    return n == 2 && a == major(dev) && b == minor(dev);
}

static bool has_line(pid_t pid, const char *file, bool mounts, dev_t dev)
{
    char path[64];
    str_format(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    cleanup(close_file) FILE *f = fopen(path, "re");
    cleanup_free char *line = NULL;
    size_t room = 0;
    bool found = false;
    while (f && !found && getline(&line, &room, f) > 0)
        found = line_is_of(line, mounts, dev);
    return found;
}

struct users {
    dev_t dev;
    char namespace[64]; /* ours, of mounts */
    struct str *ret;
    size_t n;
};

static const char *uses(const struct users *u, pid_t pid)
{
    char path[64], other[64];
    str_format(path, sizeof(path), "/proc/%d", (int)pid);
    cleanup_fd int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return NULL;
    if (has_open(proc, u->dev))
        return "an open file";
    if (on_device(proc, "cwd", u->dev))
        return "its working directory";
    if (on_device(proc, "exe", u->dev) || on_device(proc, "root", u->dev))
        return "its program or root";
    if (has_line(pid, "maps", false, u->dev))
        return "a mapped file";
    sys_task_link(pid, "ns/mnt", other, sizeof(other));
    if (*other && !str_eq(other, u->namespace) && has_line(pid, "mountinfo", true, u->dev))
        return "mounted in its namespace";
    return NULL;
}

static int add_user(void *ctx, const struct sys_task *t)
{
    struct users *u = ctx;
    const char *how = uses(u, t->pid);
    if (how)
        str_addf(u->ret, "%spid %d (%s: %s)", u->n++ ? ", " : "", (int)t->pid, t->comm, how);
    return 0;
}

size_t sys_device_users(uint64_t dev, struct str *ret)
{
    struct users u = {.dev = (dev_t)dev, .ret = ret};
    struct err ignored = {0};
    sys_task_link(getpid(), "ns/mnt", u.namespace, sizeof(u.namespace));
    (void)sys_task_each(add_user, &u, &ignored);
    return u.n;
}
