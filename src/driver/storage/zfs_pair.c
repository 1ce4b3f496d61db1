/* Both sides of a volume, as ZFS sees them, and whose they are. */
#include "driver/storage/zfs_pair.h"
#include "base/str.h"

#include <string.h>

bool zfs_in_upgrade(const struct driver_ctx *ctx)
{
    return ctx->upgrade_id && *ctx->upgrade_id;
}

bool zfs_is_volume(const struct zfs_dataset *d)
{
    return str_eq(d->type, "volume");
}

static int look_volume(struct zfs_dataset *d, const char *path, struct zvol *ret, struct err *err)
{
    if (!zfs_is_volume(d))
        return 0;
    if (zvol_look(d->name, path, ret, err) < 0)
        return -1;
    const char *at = ret->mounted ? path : ret->elsewhere;
    str_format(d->mounted, sizeof(d->mounted), *at ? "yes" : "no");
    str_format(d->mountpoint, sizeof(d->mountpoint), "%s", at);
    return 0;
}

int zfs_pair_look(const struct driver_ctx *ctx, const struct spec_volume *src,
                  const struct spec_volume *dst, enum colour colour, struct zfs_pair *ret,
                  struct err *err)
{
    struct zfs_dataset d[3] = {0};
    *ret = (struct zfs_pair){.src = src, .dst = dst, .colour = colour};
    str_format(d[0].name, ZFS_NAME, "%s", dst->dataset);
    str_format(d[1].name, ZFS_NAME, "%s", src->dataset ? src->dataset : dst->dataset);
    str_format(d[2].name, ZFS_NAME, "%s@" ZFS_SNAPSHOT "%s", d[1].name,
               zfs_in_upgrade(ctx) ? ctx->upgrade_id : "");
    if (zfs_look(ctx, d, zfs_in_upgrade(ctx) ? 3 : 2, err) < 0)
        return err_ctx(err, "volume '%s'", dst->name);
    ret->to = d[0];
    ret->from = d[1];
    ret->snapshot = d[2];
    if (look_volume(&ret->to, dst->path, &ret->to_volume, err) < 0 ||
        look_volume(&ret->from, src->path, &ret->from_volume, err) < 0)
        return err_ctx(err, "volume '%s'", dst->name);
    return 0;
}

const struct spec_volume *zfs_other_side(const struct driver_ctx *ctx, const struct spec_volume *v,
                                         enum colour colour)
{
    const struct spec *s = ctx->side[colour_other(colour)];
    const struct spec_volume *o = s ? spec_volume(s, v->name) : NULL;
    return o && o->dataset ? o : NULL;
}

bool zfs_marked(const struct zfs_dataset *d)
{
    return *d->service || *d->colour || *d->volume;
}

bool zfs_mark_is(const struct driver_ctx *ctx, const struct zfs_dataset *d,
                 const struct spec_volume *v, enum colour colour)
{
    return str_eq(d->service, ctx->service) && str_eq(d->colour, colour_name(colour)) &&
           str_eq(d->volume, v->name);
}

bool zfs_of_this_upgrade(const struct driver_ctx *ctx, const struct zfs_pair *p)
{
    return p->to.exists && zfs_mark_is(ctx, &p->to, p->dst, p->colour) && zfs_in_upgrade(ctx) &&
           str_eq(p->to.upgrade, ctx->upgrade_id);
}

bool zfs_snapshot_is_ours(const struct driver_ctx *ctx, const struct zfs_dataset *snapshot)
{
    return snapshot->exists && zfs_in_upgrade(ctx) && str_eq(snapshot->snapshot, ctx->upgrade_id);
}

bool zfs_mounted_at(const struct zfs_dataset *d, const char *path)
{
    return str_eq(d->mounted, "yes") && str_eq(d->mountpoint, path);
}

bool zfs_is_clone_of(const struct zfs_dataset *clone, const struct zfs_dataset *of)
{
    size_t n = strlen(of->name);
    return strncmp(clone->origin, of->name, n) == 0 && clone->origin[n] == '@';
}
