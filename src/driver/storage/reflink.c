/* Files that share their blocks until one side writes: XFS with reflink=1, btrfs. Both colours on
 * one file system. */
#include "driver/storage/common.h"

static int reflink_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                           const struct spec_volume *dst, enum colour dst_colour, bool measure,
                           struct storage_facts *ret, struct err *err)
{
    return storage_tree_inspect(ctx, src, dst, dst_colour, measure, TREE_REFLINK, ret, err);
}

static int reflink_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    return storage_tree_begin(ctx, src, dst, dst_colour, TREE_REFLINK, err);
}

static int reflink_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    return storage_tree_clone(ctx, src, dst, dst_colour, TREE_REFLINK, err);
}

const struct storage_ops storage_reflink = {
    .name = "reflink",
    .caps = STORAGE_SHARES,
    .inspect = reflink_inspect,
    .begin = reflink_begin,
    .clone = reflink_clone,
    .settle = storage_tree_settle,
    .destroy = storage_tree_destroy,
    .mark = storage_tree_mark,
};
