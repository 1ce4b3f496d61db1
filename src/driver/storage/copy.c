/* The bytes themselves: any file system, tmpfs too, and from one to another. */
#include "driver/storage/common.h"

static int copy_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                        const struct spec_volume *dst, enum colour dst_colour, bool measure,
                        struct storage_facts *ret, struct err *err)
{
    return storage_tree_inspect(ctx, src, dst, dst_colour, measure, TREE_COPY, ret, err);
}

static int copy_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                      const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    return storage_tree_begin(ctx, src, dst, dst_colour, TREE_COPY, err);
}

static int copy_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                      const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                      struct err *err)
{
    return storage_tree_ahead(ctx, src, dst, dst_colour, TREE_COPY, seen, err);
}

static int copy_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                      const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                      struct err *err)
{
    return storage_tree_clone(ctx, src, dst, dst_colour, TREE_COPY, seen, err);
}

const struct storage_ops storage_copy = {
    .name = "copy",
    .caps = 0,
    .inspect = copy_inspect,
    .begin = copy_begin,
    .ahead = copy_ahead,
    .clone = copy_clone,
    .settle = storage_tree_settle,
    .destroy = storage_tree_destroy,
    .mark = storage_tree_mark,
    .space = storage_tree_space,
};
