/* No data at all: for what a service rebuilds by itself (caches, agave's accounts). The standby
 * gets an empty directory with live's owner, mode and ACLs. */
#include "base/str.h"
#include "clone/measure.h"
#include "driver/storage/common.h"

#include <string.h>

static const char *const everything[] = {"*", NULL};

/* A volume that is new in this spec has no other side: its own path stands for both. */
static const char *source_of(const struct spec_volume *src, const struct spec_volume *dst)
{
    return str_eq(src->path, dst->path) ? NULL : src->path;
}

static int empty_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, bool measure,
                         struct storage_facts *ret, struct err *err)
{
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = {.cancel = storage_cancel, .ctx = &run};
    struct tree_size size;
    if (storage_inspect_place(ctx, dst, dst_colour, ret, err) < 0)
        return -1;
    if (!measure || !source_of(src, dst))
        return 0;
    if (tree_measure(src->path, &o, &size, err) < 0)
        return err_ctx(err, "measure volume '%s'", src->name);
    ret->files = size.files;
    ret->bytes = size.data;
    ret->needed_bytes = size.blocks; /* what it will grow to again */
    return 0;
}

/* The cloner, told to leave everything out, does what is left: the directory itself, its mark, the
 * states. */
static struct tree_options options(const struct sentinel *owner, struct storage_run *run)
{
    return (struct tree_options){
        .mode = TREE_COPY,
        .exclude = everything,
        .live_source = true,
        .no_sync = true,
        .threads = 1,
        .owner = owner,
        .cancel = storage_cancel,
        .ctx = run,
    };
}

static int empty_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    int done = storage_already(ctx, dst, dst_colour, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = options(&owner, &run);
    return tree_begin(source_of(src, dst), dst->path, &o, err);
}

static int empty_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                       struct err *err)
{
    (void)ctx, (void)src, (void)dst, (void)dst_colour, (void)seen, (void)err;
    return 0;
}

static int empty_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                       struct err *err)
{
    (void)seen;
    int done = storage_already(ctx, dst, dst_colour, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = options(&owner, &run);
    return tree_clone(source_of(src, dst), dst->path, &o, NULL, err) < 0
               ? err_ctx(err, "volume '%s'", src->name)
               : 0;
}

const struct storage_ops storage_empty = {
    .name = "empty",
    .caps = STORAGE_INSTANT | STORAGE_NO_DATA,
    .inspect = empty_inspect,
    .begin = empty_begin,
    .ahead = empty_ahead,
    .clone = empty_clone,
    .settle = storage_tree_settle,
    .destroy = storage_tree_destroy,
    .mark = storage_tree_mark,
    .space = storage_tree_space,
};
