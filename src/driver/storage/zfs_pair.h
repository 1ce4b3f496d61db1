/* Both sides of a volume, as they are now. Private to the driver `zfs`. */
#pragma once

#include "driver/storage/ops.h"
#include "driver/storage/zfs.h"

struct zfs_pair {
    const struct spec_volume *src, *dst;
    enum colour colour;                    /* dst's */
    struct zfs_dataset from, to, snapshot; /* snapshot: from@ours of this upgrade */
};

/* Reads all three; what is not there: exists = false. */
must_check int zfs_pair_look(const struct driver_ctx *ctx, const struct spec_volume *src,
                             const struct spec_volume *dst, enum colour colour,
                             struct zfs_pair *ret, struct err *err);
/* The counterpart of a volume of `colour`. NULL: it has none. */
const struct spec_volume *zfs_other_side(const struct driver_ctx *ctx, const struct spec_volume *v,
                                         enum colour colour);

bool zfs_in_upgrade(const struct driver_ctx *ctx);
bool zfs_marked(const struct zfs_dataset *d); /* as anybody's */
bool zfs_mark_is(const struct driver_ctx *ctx, const struct zfs_dataset *d,
                 const struct spec_volume *v, enum colour colour);
bool zfs_of_this_upgrade(const struct driver_ctx *ctx, const struct zfs_pair *p);
bool zfs_snapshot_is_ours(const struct driver_ctx *ctx, const struct zfs_dataset *snapshot);
bool zfs_mounted_at(const struct zfs_dataset *d, const char *path);
bool zfs_is_clone_of(const struct zfs_dataset *clone, const struct zfs_dataset *of);

/* zfs_cleanup.c: the `to` side goes, with the snapshot of ours that it came from; where live is its
 * clone, live is promoted first. Pre: it carries our mark (else ERR_FOREIGN, nothing touched).
 * Refused, with a list, while anything of somebody else's would go with it. Again after a crash. */
must_check int zfs_remove_pair(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err);
storage_destroy_fn zfs_destroy;
