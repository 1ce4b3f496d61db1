#include "sys/iodevice.h"

#include "base/str.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEPTH_MAX 8

static bool below(const char *point, const char *path)
{
    size_t n = strlen(point);
    if (n == 1)
        return true;
    return strncmp(point, path, n) == 0 && (path[n] == '/' || !path[n]);
}

struct deepest {
    const char *path;
    size_t best;
    char *fs, *source;
    size_t fs_size, source_size;
};

static int deeper(void *ctx, const struct sys_mount *m)
{
    struct deepest *d = ctx;
    if (!below(m->point, d->path) || strlen(m->point) < d->best)
        return 0;
    d->best = strlen(m->point);
    str_format(d->fs, d->fs_size, "%s", m->type);
    str_format(d->source, d->source_size, "%s", m->source);
    return 0;
}

/* The deepest mount point; of two on one point the later, which hides the earlier. */
bool sys_io_mount(const char *mountinfo, const char *path, char *fs, size_t fs_size, char *source,
                  size_t source_size)
{
    struct deepest d = {
        .path = path, .fs = fs, .fs_size = fs_size, .source = source, .source_size = source_size};
    (void)sys_mount_parse(mountinfo, deeper, &d);
    return d.best > 0;
}

void sys_io_scheduler(const char *text, char *ret, size_t size)
{
    const char *open = strchr(text, '['), *begin = open ? open + 1 : text;
    str_format(ret, size, "%.*s", (int)strcspn(begin, open ? "]" : " \n"), begin);
}

static void look(const char *name, int depth, struct sys_io_device *ret);

struct slaves {
    struct sys_io_device *ret;
    int depth, n;
};

static int look_slave(void *ctx, const char *name)
{
    struct slaves *s = ctx;
    s->n++;
    look(name, s->depth + 1, s->ret);
    return 0;
}

static void look(const char *name, int depth, struct sys_io_device *ret)
{
    char path[256];
    struct slaves s = {.ret = ret, .depth = depth};
    if (depth > DEPTH_MAX || (ret->name[0] && !str_eq(ret->scheduler, "bfq")))
        return;
    str_format(path, sizeof(path), "/sys/class/block/%s/slaves", name);
    if (sys_path_kind(path) == SYS_DIR)
        (void)sys_dir_each(path, look_slave, &s, NULL);
    if (s.n > 0)
        return;
    cleanup_str struct str text = {0};
    str_format(path, sizeof(path), "/sys/class/block/%s/partition", name);
    const char *up = sys_path_exists(path) ? "/.." : "";
    str_format(path, sizeof(path), "/sys/class/block/%s%s/queue/scheduler", name, up);
    if (sys_file_read(path, 4096, &text, NULL) < 0)
        return;
    char scheduler[32];
    sys_io_scheduler(str_cstr(&text), scheduler, sizeof(scheduler));
    if (ret->name[0] && str_eq(scheduler, "bfq"))
        return;
    str_format(ret->name, sizeof(ret->name), "%s", name);
    str_format(ret->scheduler, sizeof(ret->scheduler), "%s", scheduler);
}

/* btrfs and others have numbers of their own, which are no device's: then the mount says it. */
static bool device_name(const char *path, const char *source, char *ret, size_t size)
{
    struct stat st;
    char link[64];
    dev_t dev = stat(path, &st) == 0 && major(st.st_dev) ? st.st_dev : 0;
    if (!dev && source[0] == '/' && stat(source, &st) == 0 && S_ISBLK(st.st_mode))
        dev = st.st_rdev;
    str_format(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
    char *real = NULL;
    if (!dev || sys_path_real(link, &real, NULL) < 0)
        return false;
    str_format(ret, size, "%s", strrchr(real, '/') + 1);
    free(real);
    return true;
}

bool sys_io_device(const char *path, struct sys_io_device *ret)
{
    *ret = (struct sys_io_device){0};
    cleanup_str struct str text = {0};
    cleanup_free char *there = sys_path_existing(path), *real = NULL;
    char source[256] = "", name[64];
    if (sys_path_real(there, &real, NULL) < 0 ||
        sys_file_read("/proc/self/mountinfo", 4u << 20, &text, NULL) < 0 ||
        !sys_io_mount(str_cstr(&text), real, ret->fs, sizeof(ret->fs), source, sizeof(source)))
        return false;
    if (device_name(real, source, name, sizeof(name)))
        look(name, 0, ret);
    return true;
}
