#include "driver/storage/zvol.h"

#include "driver/storage/tool.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/held.h"
#include "sys/path.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>

#define DEVICE_WAIT (2 * NSEC_MIN) /* the kernel makes it by itself, in ms if it is not busy */
#define DEVICE_POLL (50 * NSEC_MS)

static const char *const known[] = {"xfs", "ext4"};

/* ---- looking ---- */

struct find {
    const char *path; /* real */
    struct zvol *ret;
};

static int take_mount(void *ctx, const struct sys_mount *m)
{
    struct find *f = ctx;
    struct zvol *z = f->ret;
    if (m->dev != z->device.dev)
        return 0;
    str_format(z->fs, sizeof(z->fs), "%s", m->type);
    if (!str_eq(m->point, f->path) || !str_eq(m->root, "/")) {
        str_format(z->elsewhere, sizeof(z->elsewhere), "%.255s", m->point);
        return 0;
    }
    z->mounted = true;
    str_format(z->options, sizeof(z->options), "%s", m->options);
    return 0;
}

int zvol_look(const char *dataset, const char *path, struct zvol *ret, struct err *err)
{
    uint64_t dev = 0, ino = 0;
    cleanup_free char *real = sys_path_resolve(path);
    struct find f = {real, ret};
    *ret = (struct zvol){0};
    ret->there = sys_zvol_find(dataset, &ret->device);
    if (!ret->there)
        return 0;
    if (sys_mount_each(take_mount, &f, err) < 0)
        return -1;
    struct err none = {0};
    if (ret->mounted && (sys_path_identity(path, &dev, &ino, &none) < 0 || dev != ret->device.dev))
        ret->mounted = false; /* something lies over it */
    return 0;
}

void zvol_why_not(const struct zvol *z, const char *dataset, const char *path, char *ret,
                  size_t size)
{
    char what[64];
    bool fs_known = false;
    *ret = '\0';
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        fs_known |= str_eq(z->fs, known[i]);
    if (!z->there)
        str_format(ret, size, "the volume '%s' has no block device (zfs get volmode %s)", dataset,
                   dataset);
    else if (*sys_zvol_occupied(&z->device, what, sizeof(what)))
        str_format(ret, size,
                   "the volume '%s' is used by %s: the file system must lie on it directly",
                   dataset, what);
    else if (!z->mounted && *z->elsewhere)
        str_format(ret, size, "the volume '%s' is mounted at '%s', not at '%s'", dataset,
                   z->elsewhere, path);
    else if (!z->mounted)
        str_format(ret, size, "the volume '%s' is not mounted at '%s'", dataset, path);
    else if (!fs_known)
        str_format(ret, size, "the volume '%s' holds %s, and only XFS and ext4 are known", dataset,
                   z->fs);
    else if (sys_mount_has_option(z->options, "ro"))
        str_format(ret, size, "the volume '%s' is mounted read-only at '%s'", dataset, path);
}

/* ---- mounting ---- */

/* What mountinfo shows and is no choice of anybody: defaults, what the superblock holds, and what
 * another kernel may not know any more. */
static bool is_left_out(const char *option, size_t n)
{
    static const char *const out[] = {"rw",      "nouuid", "attr2",   "noattr2", "inode64",
                                      "noquota", "sunit=", "swidth=", "seclabel"};
    for (size_t i = 0; i < ARRAY_LEN(out); i++) {
        size_t len = strlen(out[i]);
        bool prefix = out[i][len - 1] == '=';
        if (n >= len && strncmp(option, out[i], len) == 0 && (prefix || n == len))
            return true;
    }
    return false;
}

void zvol_mount_options(const char *fs, const char *live, struct str *ret)
{
    str_add(ret, str_eq(fs, "xfs") ? "nouuid" : "defaults"); /* a clone has its source's UUID */
    for (const char *o = live; *o; o += strcspn(o, ","), o += *o == ',') {
        size_t n = strcspn(o, ",");
        if (n && !is_left_out(o, n))
            str_addf(ret, ",%.*s", (int)n, o);
    }
}

static int wait_for_device(const struct driver_ctx *ctx, const char *dataset, struct sys_zvol *ret,
                           struct err *err)
{
    char text[320];
    nsec_t began = sys_clock_mono(), said = began;
    str_format(text, sizeof(text), "wait for the device of %s", dataset);
    while (!sys_zvol_find(dataset, ret)) {
        nsec_t now = sys_clock_mono();
        if (driver_poll(ctx) >= 2)
            return err_set(err, ERR_INTERRUPTED, "interrupted in the wait for the device of '%s'",
                           dataset);
        if (now - began > DEVICE_WAIT) {
            err_set(err, ERR_TIMEOUT, "the volume '%s' got no block device within 2 minutes",
                    dataset);
            return err_hint(err, "zfs get volmode %s; ls -l /dev/zvol/%s; dmesg", dataset, dataset);
        }
        if (now - said > NSEC_S) {
            event_progress(ctx->sink, text, (double)(now - began) / NSEC_S,
                           (double)DEVICE_WAIT / NSEC_S, "seconds", 1, DEVICE_WAIT - (now - began));
            said = now;
        }
        sys_sleep(DEVICE_POLL);
    }
    return 0;
}

static int check_mounted(const char *dataset, const char *path, struct err *err)
{
    struct zvol z = {0};
    if (zvol_look(dataset, path, &z, err) < 0)
        return -1;
    if (!z.mounted)
        return err_set(err, ERR_FAILED, "'%s' was mounted, and is not at '%s'", dataset, path);
    if (sys_mount_has_option(z.options, "ro"))
        return err_set(err, ERR_FAILED,
                       "'%s' could be mounted read-only only: its log was not replayed", dataset);
    return 0;
}

int zvol_mount(const struct driver_ctx *ctx, const char *dataset, const char *path,
               const struct zvol *live, struct err *err)
{
    struct sys_zvol device;
    cleanup_str struct str options = {0};
    zvol_mount_options(live->fs, live->options, &options);
    if (wait_for_device(ctx, dataset, &device, err) < 0 || sys_dir_make(path, 0755, err) < 0 ||
        tool_change(ctx, "zvol", "mount", "mount",
                    TOOL_ARGS("-w", "-t", live->fs, "-o", str_cstr(&options), device.path, path),
                    err) < 0)
        return -1;
    if (check_mounted(dataset, path, err) == 0)
        return 0;
    struct err none = {0};
    if (tool_change(ctx, "zvol", "umount", "mount", TOOL_ARGS(path), &none) < 0)
        event_warn(ctx->sink, "%s", none.msg);
    return -1;
}

/* Whatever lies in it: then it stays. */
static void drop_mount_point(const char *path)
{
    cleanup_free char *parent = x_strdup(path);
    char *slash = strrchr(parent, '/');
    if (!slash || slash == parent)
        return;
    *slash = '\0';
    cleanup_fd int dir = sys_open(parent, O_RDONLY | O_DIRECTORY, 0);
    if (dir >= 0)
        (void)sys_tree_unlink(dir, slash + 1, true);
}

int zvol_unmount(const struct driver_ctx *ctx, const struct zvol *z, const char *path,
                 struct err *err)
{
    if (z->mounted && tool_change(ctx, "zvol", "umount", "mount", TOOL_ARGS(path), err) < 0)
        return -1;
    drop_mount_point(path);
    return 0;
}

void zvol_users(const struct zvol *z, struct str *ret)
{
    char what[64];
    cleanup_str struct str users = {.max = 700};
    if (!z->there)
        return;
    if (*z->elsewhere)
        str_addf(ret, "mounted at '%s'", z->elsewhere);
    if (*sys_zvol_occupied(&z->device, what, sizeof(what)))
        str_addf(ret, "%s%s", ret->len ? ", " : "", what);
    if (sys_device_users(z->device.dev, &users))
        str_addf(ret, "%s%s", ret->len ? ", " : "", str_cstr(&users));
}
