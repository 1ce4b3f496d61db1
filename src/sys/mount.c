#include "sys/mount.h"

#include "base/str.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ZVOL_NAME 256
#define BLKZNAME _IOR(0x12, 125, char[ZVOL_NAME]) /* OpenZFS, sys/fs/zfs.h */

void sys_mount_unescape(char *s)
{
    char *out = s;
    while (*s) {
        if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

/* See proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS FIELDS... - TYPE SOURCE
 * SUPER-OPTIONS */
static bool parse_line(char *line, struct sys_mount *m)
{
    char *part[6], *rest[3], *save = NULL, *dash = strstr(line, " - ");
    unsigned long major_n, minor_n;
    if (!dash)
        return false;
    *dash = '\0';
    for (size_t i = 0; i < ARRAY_LEN(part); i++)
        if (!(part[i] = strtok_r(i ? NULL : line, " ", &save)))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        if (!(rest[i] = strtok_r(i ? NULL : dash + 3, " ", &save)))
            return false;
    char *colon = NULL;
    major_n = strtoul(part[2], &colon, 10);
    if (*colon != ':')
        return false;
    minor_n = strtoul(colon + 1, NULL, 10);
    sys_mount_unescape(part[3]);
    sys_mount_unescape(part[4]);
    sys_mount_unescape(rest[1]);
    m->dev = makedev((unsigned)major_n, (unsigned)minor_n);
    str_format(m->root, sizeof(m->root), "%s", part[3]);
    str_format(m->point, sizeof(m->point), "%s", part[4]);
    str_format(m->type, sizeof(m->type), "%s", rest[0]);
    str_format(m->source, sizeof(m->source), "%s", rest[1]);
    str_format(m->options, sizeof(m->options), "%s,%s", part[5], rest[2]);
    return true;
}

int sys_mount_parse(const char *mountinfo, sys_mount_fn *fn, void *ctx)
{
    cleanup_free struct sys_mount *m = x_alloc(sizeof(*m));
    for (const char *line = mountinfo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        cleanup_free char *copy = x_strndup(line, strcspn(line, "\n"));
        int r = parse_line(copy, m) ? fn(ctx, m) : 0;
        if (r)
            return r;
    }
    return 0;
}

int sys_mount_each(sys_mount_fn *fn, void *ctx, struct err *err)
{
    cleanup_str struct str text = {0};
    if (sys_file_read("/proc/self/mountinfo", 4u << 20, &text, err) < 0)
        return -1;
    return sys_mount_parse(str_cstr(&text), fn, ctx);
}

bool sys_mount_has_option(const char *options, const char *option)
{
    size_t n = strlen(option);
    for (const char *o = options; *o; o += strcspn(o, ","), o += *o == ',')
        if (strcspn(o, ",") == n && strncmp(o, option, n) == 0)
            return true;
    return false;
}

/* ---- zvols ---- */

static bool is_that(const char *path, const char *dataset, struct sys_zvol *ret)
{
    char name[ZVOL_NAME + 1] = "";
    struct stat st;
    cleanup_fd int fd = sys_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || ioctl(fd, BLKZNAME, name) < 0 ||
        !str_eq(name, dataset))
        return false;
    ret->dev = st.st_rdev;
    return true;
}

struct search {
    const char *dataset;
    struct sys_zvol *ret;
};

static int look(void *ctx, const char *name)
{
    struct search *s = ctx;
    if (!str_starts(name, "zd") || name[2 + strspn(name + 2, "0123456789")]) /* zd0p1: a part */
        return 0;
    str_format(s->ret->path, sizeof(s->ret->path), "/dev/%s", name);
    return is_that(s->ret->path, s->dataset, s->ret);
}

bool sys_zvol_find(const char *dataset, struct sys_zvol *ret)
{
    cleanup_free char *link = x_asprintf("/dev/zvol/%s", dataset), *real = NULL;
    *ret = (struct sys_zvol){0};
    if (sys_path_real(link, &real, NULL) == 0 && strlen(real) < sizeof(ret->path) &&
        is_that(real, dataset, ret)) {
        str_format(ret->path, sizeof(ret->path), "%s", real);
        return true;
    }
    struct search s = {dataset, ret};
    if (sys_dir_each("/sys/class/block", look, &s, NULL) == 1)
        return true;
    *ret = (struct sys_zvol){0};
    return false;
}

bool sys_zvol_linked(const char *dataset, const struct sys_zvol *z)
{
    struct stat st;
    cleanup_free char *link = x_asprintf("/dev/zvol/%s", dataset);
    return stat(link, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == z->dev;
}

struct occupied {
    const char *name, *word;
    char *buf;
    size_t size;
};

static int first_part(void *ctx, const char *name)
{
    struct occupied *o = ctx;
    size_t n = strlen(o->name);
    bool part = str_eq(o->word, "partition");
    if (part && !(strncmp(name, o->name, n) == 0 && name[n] == 'p'))
        return 0;
    str_format(o->buf, o->size, "%s %s", o->word, name);
    return 1;
}

const char *sys_zvol_occupied(const struct sys_zvol *z, char *buf, size_t size)
{
    const char *slash = strrchr(z->path, '/'), *name = slash ? slash + 1 : z->path;
    char dir[128];
    cleanup_str struct str swaps = {0};
    *buf = '\0';
    struct occupied o = {.name = name, .word = "partition", .buf = buf, .size = size};
    str_format(dir, sizeof(dir), "/sys/class/block/%s", name);
    if (sys_dir_each(dir, first_part, &o, NULL) == 1)
        return buf;
    o.word = "device";
    str_format(dir, sizeof(dir), "/sys/class/block/%s/holders", name);
    if (sys_dir_each(dir, first_part, &o, NULL) == 1)
        return buf;
    cleanup_free char *entry = x_asprintf("%s ", z->path);
    if (sys_file_read("/proc/swaps", 1 << 20, &swaps, NULL) == 0 && strstr(str_cstr(&swaps), entry))
        str_format(buf, size, "swap");
    return buf;
}

/* ---- freeze ---- */

int sys_fs_freeze(int fd)
{
    return ioctl(fd, FIFREEZE, 0);
}

int sys_fs_thaw(int fd)
{
    return ioctl(fd, FITHAW, 0);
}
