/* Files that share their blocks until one side writes: XFS with reflink=1, btrfs. Both colours on
 * one file system. */
#include "driver/storage/common.h"
#include "sys/file.h"

static int reflink_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                           const struct spec_volume *dst, enum colour dst_colour, bool measure,
                           struct storage_facts *ret, struct err *err)
{
    /* The clone will find its source written out, so the estimate must, too. */
    if (measure && sys_path_kind(src->path) == SYS_DIR && storage_flush(src, NULL, err) < 0)
        return -1;
    return storage_tree_inspect(ctx, src, dst, dst_colour, measure, TREE_REFLINK, ret, err);
}

static int reflink_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    if (storage_tree_begin(ctx, src, dst, dst_colour, TREE_REFLINK, err) < 0)
        return -1;
    return storage_flush(src, NULL, err);
}

static int reflink_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                         struct err *err)
{
    if (storage_flush(src, NULL, err) < 0)
        return -1;
    return storage_tree_ahead(ctx, src, dst, dst_colour, TREE_REFLINK, seen, err);
}

/* FICLONE writes a file's dirty pages out before it shares its blocks (ioctl_ficlonerange(2)): done
 * now, while nothing is paused, it leaves little to do in the pause. */
static int reflink_flush(const struct driver_ctx *ctx, const struct spec_volume *src,
                         struct err *err)
{
    (void)ctx;
    return storage_flush(src, NULL, err);
}

static int reflink_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                         struct err *err)
{
    return storage_tree_clone(ctx, src, dst, dst_colour, TREE_REFLINK, seen, err);
}

const struct storage_ops storage_reflink = {
    .name = "reflink",
    .caps = STORAGE_SHARES,
    .inspect = reflink_inspect,
    .begin = reflink_begin,
    .ahead = reflink_ahead,
    .flush = reflink_flush,
    .clone = reflink_clone,
    .settle = storage_tree_settle,
    .destroy = storage_tree_destroy,
    .mark = storage_tree_mark,
    .space = storage_tree_space,
};
