#include "sys/held.h"

#include "base/str.h"
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
