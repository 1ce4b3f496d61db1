/* How the mount of a clone on a block device comes back after a reboot: a systemd mount unit of
 * ours, and what /etc/fstab says besides, which is not ours to edit. Private to this folder. */
#pragma once

#include "driver/context.h"

struct boot_mount {
    const struct spec_volume *volume;
    enum colour colour;
    const char *device;  /* a name that is the same after a reboot */
    const char *type;    /* "xfs" */
    const char *options; /* as mount -o */
};

/* Writes the unit, on disk, and has local-fs.target want it. Where systemd is not process 1:
 * nothing, but a warning event with what to do. ERR_FOREIGN: a unit for that path is there that is
 * not ours. Again: it is replaced. */
must_check int boot_mount_write(const struct driver_ctx *ctx, const struct boot_mount *m,
                                struct err *err);
/* Takes the unit of that volume away. None, or one that is not ours: nothing. */
must_check int boot_mount_remove(const struct driver_ctx *ctx, const struct spec_volume *v,
                                 enum colour colour, struct err *err);
bool boot_mount_possible(void); /* systemd is process 1 */

/* Pure. The unit's name for a path, as systemd-escape(1) --path, with ".mount". Caller's (free). */
char *boot_mount_unit(const char *path);
/* The whole text; its first line is our mark. */
void boot_mount_text(const struct driver_ctx *ctx, const struct boot_mount *m, struct str *ret);

struct fstab_line {
    int line; /* 0: there is none */
    char source[256], options[512];
};
/* Pure: the (last) line of fstab(5) for the path. */
void fstab_find(const char *text, const char *path, struct fstab_line *ret);
/* The boot waits for it, and ends in an emergency shell without it. */
bool fstab_is_needed(const struct fstab_line *l);
/* Names the file system by something that a clone has, too: UUID, LABEL. */
bool fstab_is_ambiguous(const struct fstab_line *l);
/* Of /etc/fstab. */
void fstab_look(const char *path, struct fstab_line *ret);
