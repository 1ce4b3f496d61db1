/* What others have on a side that is to go. Private to the driver `zfs`. */
#pragma once

#include "driver/storage/zfs_pair.h"

struct zfs_foreign {
    struct strv plain;   /* snapshots and bookmarks: may go by name, if asked for */
    struct str stubborn; /* the rest, and why, for people */
};
void zfs_foreign_done(struct zfs_foreign *f);
#define cleanup_zfs_foreign cleanup(zfs_foreign_done)

/* Whether `clones` (comma separated) names anything but `but`. */
bool zfs_has_other_clone(const char *clones, const char *but);
void zfs_foreign_add(struct zfs_foreign *f, const char *name, const char *why, const char *what);
/* Tags of others that hold a snapshot of ours. */
must_check int zfs_foreign_holds(const struct driver_ctx *ctx, const char *snapshot,
                                 struct str *ret, struct err *err);

/* What would be lost with the dataset, and is not ours. before: what is older than that transaction
 * moves to live by the promote. live: whose clone of a snapshot of ours is no hindrance. */
must_check int zfs_foreign_find(const struct driver_ctx *ctx, const struct zfs_list *all,
                                const char *dataset, const char *live, uint64_t before,
                                struct zfs_foreign *ret, struct err *err);
/* 0: nothing of theirs is in the way, by nature, or by its having been destroyed as asked; else the
 * error has the list and the ways on. */
must_check int zfs_foreign_clear(const struct driver_ctx *ctx, const struct zfs_pair *p,
                                 const struct zfs_foreign *f, struct err *err);
