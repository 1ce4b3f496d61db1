/* What a dataset can still take, and what limits it. Private to the driver `zfs`. */
#pragma once

#include "driver/storage/ops.h"

/* Pure. `zfs get -H -p -o name,property,value` of a dataset and the one above it, those of
 * zfs_space_properties. False: something is missing. The store's name is not set. *ret_volume: it
 * is a volume, whose file system inside has a size of its own. */
bool zfs_parse_space(const char *text, const char *dataset, struct storage_space *ret,
                     bool *ret_volume);
extern const char zfs_space_properties[];

storage_space_fn zfs_space;
