/* Volumes of ZFS, where they differ from its file systems: they have a device to wait for, are
 * mounted by others than ZFS, and by nobody after a reboot unless we see to it. */
#include "driver/storage/zfs_volume.h"

#include "driver/storage/boot_mount.h"
#include "driver/storage/fsfreeze.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_WAIT (10 * NSEC_S)
#define BUSY_POLL (200 * NSEC_MS)

/* ---- may it be cloned ---- */

void zfs_volume_why_not(const struct zfs_pair *p, char *ret, size_t size)
{
    struct fstab_line l;
    zvol_why_not(&p->from_volume, p->from.name, p->src->path, ret, size);
    if (!*ret && (p->dst->quota || p->dst->refquota))
        str_format(ret, size, "'%s' is a zvol, which has a size and no quota: remove `%s`",
                   p->from.name, p->dst->quota ? "quota" : "refquota");
    fstab_look(p->src->path, &l);
    if (!*ret && fstab_is_ambiguous(&l))
        str_format(
            ret, size,
            "line %d of /etc/fstab mounts '%.100s' by %.60s, which its clone has, too: write "
            "/dev/zvol/%s there",
            l.line, p->src->path, l.source, p->from.name);
    fstab_look(p->dst->path, &l);
    if (!*ret && !p->to.exists && fstab_is_needed(&l))
        str_format(ret, size,
                   "line %d of /etc/fstab mounts '%.100s', where the clone will be mounted: remove "
                   "it, the upgrade brings a mount unit of its own",
                   l.line, p->dst->path);
}

int zfs_volume_space(const struct driver_ctx *ctx, const struct zfs_dataset *volume,
                     uint64_t overhead, struct storage_facts *ret, struct err *err)
{
    cleanup_str struct str own = {0}, around = {0};
    cleanup_free char *parent = x_strdup(volume->name);
    *strrchr(parent, '/') = '\0'; /* what a volume calls available has its own reservation in it */
    if (zfs_ask(ctx,
                ZFS_ARGS("get", "-H", "-p", "-o", "value", "refreservation,usedbydataset",
                         volume->name),
                &own, err) < 0 ||
        zfs_ask(ctx, ZFS_ARGS("get", "-H", "-p", "-o", "value", "available", parent), &around,
                err) < 0)
        return -1;
    char *next = NULL;
    uint64_t reserved = strtoull(str_cstr(&own), &next, 10), used = strtoull(next, NULL, 10);
    ret->free_bytes = strtoull(str_cstr(&around), NULL, 10);
    ret->needed_bytes = overhead + (reserved < used ? reserved : used);
    return 0;
}

/* ---- its mount ---- */

int zfs_volume_settle(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_free char *device = x_asprintf("/dev/zvol/%s", p->to.name);
    cleanup_str struct str options = {0};
    zvol_mount_options(p->to_volume.fs, p->to_volume.options, &options);
    struct boot_mount m = {.volume = p->dst,
                           .colour = p->colour,
                           .device = device,
                           .type = p->to_volume.fs,
                           .options = str_cstr(&options)};
    return boot_mount_write(ctx, &m, err);
}

int zfs_volume_may_go(const struct zfs_pair *p, struct err *err)
{
    struct fstab_line l;
    fstab_look(p->dst->path, &l);
    if (!fstab_is_needed(&l))
        return 0;
    err_set(err, ERR_FAILED,
            "volume '%s': line %d of /etc/fstab mounts '%s' at every boot: with '%s' gone the "
            "machine would wait for it, and not come up; nothing was changed",
            p->dst->name, l.line, p->dst->path, p->to.name);
    return err_hint(err, "remove that line (or add nofail to it), then: changeover resume");
}

static void say_who(const struct zfs_pair *p, struct err *err)
{
    cleanup_str struct str who = {.max = 1000};
    zvol_users(&p->to_volume, &who);
    if (who.len)
        err_ctx(err, "volume '%s', in use (%.500s)", p->dst->name, str_cstr(&who));
    else
        err_ctx(err, "volume '%s'", p->dst->name);
    err_hint(err, "who holds it: fuser -vm %s; lsblk %s; then: changeover resume", p->dst->path,
             p->to_volume.device.path);
}

int zfs_volume_unmount(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    if (zvol_unmount(ctx, &p->to_volume, p->dst->path, err) < 0) {
        say_who(p, err);
        return -1;
    }
    return boot_mount_remove(ctx, p->dst, p->colour, err);
}

int zfs_destroy_when_free(const struct driver_ctx *ctx, const char *name, struct err *err)
{
    nsec_t began = sys_clock_mono();
    char text[320];
    str_format(text, sizeof(text), "wait until nobody uses %s", name);
    for (;;) {
        struct err why = {0};
        if (zfs_change(ctx, ZFS_ARGS("destroy", name), &why) == 0)
            return 0;
        nsec_t waited = sys_clock_mono() - began;
        if (!strstr(why.msg, "dataset is busy") || waited > BUSY_WAIT || driver_poll(ctx) >= 2) {
            if (err)
                *err = why;
            return -1;
        }
        event_progress(ctx->sink, text, (double)waited / NSEC_S, (double)BUSY_WAIT / NSEC_S,
                       "seconds", 1, BUSY_WAIT - waited);
        sys_sleep(BUSY_POLL);
    }
}

int zfs_volume_destroy(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    if (zfs_destroy_when_free(ctx, p->to.name, err) == 0)
        return 0;
    say_who(p, err);
    return -1;
}

/* ---- the freeze around the snapshot ---- */

void zfs_thaw(const struct spec_volume *src, const struct spec_volume *dst)
{
    const char *path = src->path;
    if (dst->fsfreeze && src->dataset)
        fsfreeze_undo(&path, 1);
}

int zfs_snapshot_frozen(const struct driver_ctx *ctx, enum colour to, const struct strv *take,
                        const struct strv *names, struct err *err)
{
    const struct spec *dst = ctx->side[to], *src = ctx->side[colour_other(to)];
    const char *paths[FSFREEZE_MAX];
    size_t n = 0;
    for (size_t i = 0; i < dst->volumes_n && n < FSFREEZE_MAX; i++) {
        const struct spec_volume *v = spec_volume(src, dst->volumes[i].name);
        if (dst->volumes[i].fsfreeze && v && v->dataset)
            paths[n++] = v->path;
    }
    const char *const *args = (const char *const *)take->v;
    if (n == 0)
        return zfs_change(ctx, args, err);
    int fd = -1;
    nsec_t held = 0;
    char words[24];
    if (fsfreeze_begin(ctx, paths, n, dst->freeze_max, &fd, err) < 0)
        return -1;
    struct err thaw = {0};
    int r = zfs_change(ctx, args, err);
    int end = fsfreeze_end(ctx, paths, n, dst->freeze_max, fd, &held, &thaw);
    if (r < 0)
        return -1;
    if (end == 0) {
        event_note(ctx->sink, "%zu file system%s frozen for %s around the snapshot (fsfreeze)", n,
                   n > 1 ? "s were" : " was", clock_words(words, sizeof(words), held));
        return 0;
    }
    /* Of a moment after the thaw, perhaps: not what was asked for. */
    struct err none = {0};
    for (size_t i = 0; i < names->n; i++)
        if (zfs_change(ctx, ZFS_ARGS("destroy", names->v[i]), &none) < 0)
            event_warn(ctx->sink, "%s", none.msg);
    if (err)
        *err = thaw;
    return -1;
}
