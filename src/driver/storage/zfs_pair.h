/* Both sides of a volume, as they are now. Private to the driver `zfs`. */
#pragma once

#include "driver/storage/ops.h"
#include "driver/storage/zfs.h"
#include "driver/storage/zvol.h"

struct zfs_pair {
    const struct spec_volume *src, *dst;
    enum colour colour;                    /* dst's */
    struct zfs_dataset from, to, snapshot; /* snapshot: from@ours of this upgrade */
    struct zvol from_volume, to_volume;    /* of those that are volumes; `mounted` and `mountpoint`
                                              of the dataset then say what is mounted from it */
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
bool zfs_is_volume(const struct zfs_dataset *d);
bool zfs_mounted_at(const struct zfs_dataset *d, const char *path);
bool zfs_is_clone_of(const struct zfs_dataset *clone, const struct zfs_dataset *of);

/* zfs_cleanup.c: the side goes, with the snapshot of ours that it came from (or one that nothing
 * was cloned from yet); where live is its clone, live is promoted first. Pre: it carries our mark
 * (else ERR_FOREIGN, nothing touched). Refused, with a list, while anything of somebody else's
 * would go with it; ctx->take_snapshots: their snapshots go by name. Again after a crash. */
storage_destroy_fn zfs_destroy;
storage_retire_fn zfs_retire;
storage_graph_fn zfs_graph;
storage_permit_fn zfs_permit; /* zfs_permit.c */
/* The side of `dst` as `to`, the other one (or itself) as `from`; nothing remembered. */
must_check int zfs_look_at_both(const struct driver_ctx *ctx, const struct spec_volume *dst,
                                enum colour colour, struct zfs_pair *ret, struct err *err);
bool zfs_live_is_clone(const struct zfs_pair *p); /* of what is to go: promote comes first */
#define ZFS_RETIRED ".retired-" /* between the name that it had and the upgrade's id */

/* zfs_due.c: reservations, in the order of their use. note: before the promote, what the old side
 * has is noted on live as due. move: the old side gives it up, live gets it if there is room.
 * settle: when the old side is gone, what is still due is tried again; no room is a warning. */
must_check int zfs_due_note(const struct driver_ctx *ctx, const struct zfs_pair *p,
                            struct err *err);
must_check int zfs_due_move(const struct driver_ctx *ctx, const struct zfs_pair *p,
                            struct err *err);
must_check int zfs_due_settle(const struct driver_ctx *ctx, const struct zfs_pair *p,
                              struct err *err);
/* What is due on a dataset, for people; "" if nothing. */
void zfs_due_words(const struct zfs_dataset *d, char *buf, size_t size);
