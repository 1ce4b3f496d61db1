/* What the drivers that keep a volume in a directory share. Private to this folder. */
#pragma once

#include "clone/tree.h"
#include "driver/storage/ops.h"

/* The mark of that volume of that colour; with upgrade: of ctx's upgrade only. */
struct sentinel storage_mark_of(const struct driver_ctx *ctx, const struct spec_volume *v,
                                enum colour colour, bool upgrade);

/* exists, empty, owner, free_bytes, fs_name. */
must_check int storage_inspect_place(const struct driver_ctx *ctx, const struct spec_volume *v,
                                     enum colour colour, struct storage_facts *ret,
                                     struct err *err);

/* The operations of a driver that clones trees, by mode. */
must_check int storage_tree_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                                  const struct spec_volume *dst, enum colour dst_colour,
                                  enum tree_mode mode, struct err *err);
must_check int storage_tree_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                                  const struct spec_volume *dst, enum colour dst_colour,
                                  enum tree_mode mode, struct seen *seen, struct err *err);
must_check int storage_tree_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                                  const struct spec_volume *dst, enum colour dst_colour,
                                  enum tree_mode mode, struct seen *seen, struct err *err);
must_check int storage_tree_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                                    const struct spec_volume *dst, enum colour dst_colour,
                                    bool measure, enum tree_mode mode, struct storage_facts *ret,
                                    struct err *err);

/* Enough for any of them. */
storage_settle_fn storage_tree_settle;
storage_destroy_fn storage_tree_destroy;
storage_mark_fn storage_tree_mark;
storage_space_fn storage_tree_space;

/* syncfs(2) of the volume's file system: all that was written there, or stored through a mapping.
 * ret_took may be NULL. */
must_check int storage_flush(const struct spec_volume *v, nsec_t *ret_took, struct err *err);

/* 0: to be made; 1: this upgrade's clone is complete already; -1: dst is not ours. */
must_check int storage_already(const struct driver_ctx *ctx, const struct spec_volume *dst,
                               enum colour dst_colour, struct err *err);

/* Whether `auto` takes driver btrfs: live's place is a subvolume, the other one can be, and nothing
 * is asked for that a snapshot cannot do. */
bool storage_btrfs_fits(const struct spec_volume *src, const struct spec_volume *dst);

bool storage_cancel(void *ctx); /* ctx: a struct storage_run */
struct storage_run {
    const struct driver_ctx *ctx;
    const char *text; /* of the progress */
};
