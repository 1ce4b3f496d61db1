#include "base/str.h"
#include "clone/tree.h"
#include "driver/storage/common.h"

static const struct storage_ops *const drivers[] = {&storage_reflink, &storage_btrfs, &storage_copy,
                                                    &storage_zfs, &storage_empty};

static const struct storage_ops *find_auto(const struct spec_volume *src,
                                           const struct spec_volume *dst)
{
    if (storage_btrfs_fits(src, dst))
        return &storage_btrfs;
    return tree_can_reflink(src->path, dst->path, NULL) == 0 ? &storage_reflink : &storage_copy;
}

const struct storage_ops *storage_find(const struct spec_volume *src, const struct spec_volume *dst,
                                       struct err *err)
{
    if (str_eq(src->path, dst->path)) /* no other side to clone from */
        return &storage_empty;
    if (str_eq(src->driver, "auto"))
        return find_auto(src, dst);
    cleanup_str struct str names = {0};
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        if (str_eq(drivers[i]->name, src->driver))
            return drivers[i];
        str_addf(&names, ", %s", drivers[i]->name);
    }
    err_set(err, ERR_USAGE, "volume '%s': there is no storage driver '%s'; write auto%s", src->name,
            src->driver, str_cstr(&names));
    return NULL;
}

int storage_space_of(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                     uint64_t enough, struct storage_space *ret, struct err *err)
{
    /* What "auto" stands for is a trial, and not asked every second: the directory of any of its
     * drivers is looked at as the one of btrfs is. */
    const struct storage_ops *ops = &storage_btrfs;
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        if (str_eq(drivers[i]->name, v->driver))
            ops = drivers[i];
    return ops->space(ctx, v, colour, enough, ret, err);
}
