/* What is mounted where, which zvol is behind a device, and the freeze of a file system. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sys_mount {
    uint64_t dev;     /* of the file system: st_dev of what lies in it */
    char root[256];   /* what of the file system is mounted: "/" is all of it */
    char point[1024]; /* where */
    char type[32];    /* "xfs" */
    char source[256];
    char options[1024]; /* of this mount, then those of the file system: "rw,noatime,rw,noquota" */
};

/* Pure: mountinfo's text, oldest mount first. Stops at the first non-zero return and returns it. */
typedef int sys_mount_fn(void *ctx, const struct sys_mount *m);
int sys_mount_parse(const char *mountinfo, sys_mount_fn *fn, void *ctx);

/* "\040" is a blank, in mountinfo and fstab(5). */
void sys_mount_unescape(char *s);

/* The mounts that this process sees. -1 with err if they cannot be read. */
int sys_mount_each(sys_mount_fn *fn, void *ctx, struct err *err);

/* True if `options` (comma separated) has this one, whole. */
bool sys_mount_has_option(const char *options, const char *option);

/* The block device that ZFS says is this dataset, by asking the device itself (ioctl BLKZNAME): a
 * link in /dev/zvol may still be the old one, or not be there yet. False: there is none now.
 * ret_path: "/dev/zd16". */
struct sys_zvol {
    char path[64];
    uint64_t dev; /* its number, as st_rdev */
};
bool sys_zvol_find(const char *dataset, struct sys_zvol *ret);

/* True where the link /dev/zvol/DATASET leads to that very device. */
bool sys_zvol_linked(const char *dataset, const struct sys_zvol *z);

/* What else is on that device than a file system: "swap", "partition zd16p1", "device dm-0". ""
 * if nothing is. */
const char *sys_zvol_occupied(const struct sys_zvol *z, char *buf, size_t size);

/* FIFREEZE and FITHAW of the file system that fd is in. -1 with errno; EINVAL for the thaw of one
 * that is not frozen, EBUSY for the freeze of one that is. */
int sys_fs_freeze(int fd);
int sys_fs_thaw(int fd);
