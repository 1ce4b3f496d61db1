/* What the driver `zfs` does otherwise where the dataset is a volume. Private to it. */
#pragma once

#include "driver/storage/zfs_pair.h"

/* What keeps a volume from being cloned; "" if nothing does. */
void zfs_volume_why_not(const struct zfs_pair *p, char *ret, size_t size);

/* free_bytes, and needed_bytes of a snapshot of it: one that reserves its space needs it again. */
must_check int zfs_volume_space(const struct driver_ctx *ctx, const struct zfs_dataset *volume,
                                uint64_t overhead, struct storage_facts *ret, struct err *err);

/* From here on a clone is mounted after a reboot. */
must_check int zfs_volume_settle(const struct driver_ctx *ctx, const struct zfs_pair *p,
                                 struct err *err);

/* Refuses what would leave the machine unable to boot. */
must_check int zfs_volume_may_go(const struct zfs_pair *p, struct err *err);
/* The `to` side's mount goes, now and for the next boot. */
must_check int zfs_volume_unmount(const struct driver_ctx *ctx, const struct zfs_pair *p,
                                  struct err *err);
/* zfs destroy. One that somebody looks at for a moment is waited for: udev opens a device, a
 * program that takes or lists snapshots keeps a file system busy. */
must_check int zfs_destroy_when_free(const struct driver_ctx *ctx, const char *name,
                                     struct err *err);
must_check int zfs_volume_destroy(const struct driver_ctx *ctx, const struct zfs_pair *p,
                                  struct err *err);

/* Runs `take`, which makes the snapshots `names`, with the file systems frozen whose volumes ask
 * for it (fsfreeze). -1: none of the snapshots is left, nothing is frozen. */
must_check int zfs_snapshot_frozen(const struct driver_ctx *ctx, enum colour to,
                                   const struct strv *take, const struct strv *names,
                                   struct err *err);
void zfs_thaw(const struct spec_volume *src, const struct spec_volume *dst); /* ops.h */
