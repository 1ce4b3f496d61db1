/* Volumes of ZFS: a file system (XFS, ext4) on a block device that is a dataset. Private to the
 * driver `zfs`. */
#pragma once

#include "driver/context.h"
#include "sys/mount.h"

/* A volume, its device and what is mounted from it. */
struct zvol {
    bool there; /* it has a device now */
    struct sys_zvol device;
    bool mounted;        /* all of it, at the path that was asked for, with nothing over it */
    char fs[32];         /* of whichever mount: "xfs" */
    char options[1024];  /* of the mount at the path */
    char elsewhere[256]; /* another mount point of it; "" */
};

/* Read-only. By what the device says of itself and the kernel of its mounts, never by a link. */
must_check int zvol_look(const char *dataset, const char *path, struct zvol *ret, struct err *err);

/* Why the volume at `path` cannot be cloned, in words; "" if it can. */
void zvol_why_not(const struct zvol *z, const char *dataset, const char *path, char *ret,
                  size_t size);

/* Pure: the options for the mount of a clone, from those of its source as mountinfo shows them. */
void zvol_mount_options(const char *fs, const char *live, struct str *ret);

/* Waits for the device of a clone that was just made, with progress, and mounts it at `path` as
 * live is mounted: read-write, its log replayed. Post on -1: not mounted. */
must_check int zvol_mount(const struct driver_ctx *ctx, const char *dataset, const char *path,
                          const struct zvol *live, struct err *err);
/* Unmounts it and takes away the directory that was its mount point. Not mounted: nothing. */
must_check int zvol_unmount(const struct driver_ctx *ctx, const struct zvol *z, const char *path,
                            struct err *err);

/* Who has the device in use, for people: "" if nobody is known. */
void zvol_users(const struct zvol *z, struct str *ret);
