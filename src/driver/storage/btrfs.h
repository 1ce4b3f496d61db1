/* What the files of the driver `btrfs` share: subvolumes, and whose they are. Private to it.
 *
 * A subvolume is ours if the attribute user.changeover of its top names service, colour and volume,
 * and the subvolume's own uuid: a snapshot of it takes the attribute along, and gets another uuid.
 * The top of a volume needs the mark inside (clone/sentinel.h) as well. */
#pragma once

#include "driver/storage/common.h"
#include "sys/btrfs.h"

/* Where a colour's volume is, or is to be. */
struct btrfs_place {
    const struct spec_volume *v;
    enum colour colour;
    char *dir, *name;         /* the directory that holds it, and its name there */
    char *staging;            /* the name beside it under which a clone is made */
    int dir_fd;               /* -1: that directory is not there */
    bool subvolume;           /* a subvolume's top is there */
    bool mount;               /* and it is mounted by itself */
    struct sys_subvolume sub; /* that one */
};
void btrfs_place_done(struct btrfs_place *p);
#define cleanup_btrfs_place cleanup(btrfs_place_done)

must_check int btrfs_look(const struct driver_ctx *ctx, const struct spec_volume *v,
                          enum colour colour, struct btrfs_place *ret, struct err *err);
int btrfs_open(const struct btrfs_place *p); /* its top; -1 with errno */
char *btrfs_staging_path(const struct btrfs_place *p);

enum btrfs_mark {
    BTRFS_UNMARKED,
    BTRFS_OURS,     /* that service, colour and volume, and this very subvolume */
    BTRFS_SNAPSHOT, /* our names, and the uuid of what it is a snapshot of */
    BTRFS_OTHER,
};
enum btrfs_mark btrfs_mark_of(const struct driver_ctx *ctx, const struct spec_volume *v,
                              enum colour colour, int fd, const struct sys_subvolume *sub);
must_check int btrfs_mark_set(const struct driver_ctx *ctx, const struct spec_volume *v,
                              enum colour colour, int fd, const struct sys_subvolume *sub,
                              struct err *err);

/* The subvolumes in a volume, parents first. */
struct btrfs_nested {
    char *path; /* below the volume's top */
    struct sys_subvolume sub;
    bool left_out; /* read-only, or in one that is: no part of the volume */
};
struct btrfs_list {
    struct btrfs_nested *v;
    size_t n;
};
void btrfs_list_done(struct btrfs_list *l);
#define cleanup_btrfs_list cleanup(btrfs_list_done)
must_check int btrfs_nested_of(const struct spec_volume *v, int top, struct btrfs_list *ret,
                               struct err *err);

/* Marks a volume of that colour and what is nested in it as ours (anew where it is a snapshot), or
 * takes the marks off. Live's read-only subvolumes are left as they are. */
must_check int btrfs_mark_all(const struct driver_ctx *ctx, const struct btrfs_place *p, bool on,
                              struct err *err);

/* Removes the subvolume `name` beside p's place, and what is nested in it. Nothing is touched
 * unless all of it is ours; making: it may also be what a killed clone has not marked yet. wait:
 * until its space is back. */
must_check int btrfs_remove(const struct driver_ctx *ctx, const struct btrfs_place *p,
                            const char *name, bool making, bool wait, struct err *err);

/* Removes what a clone of this upgrade has left under its staging name, if anything. */
must_check int btrfs_remove_staging(const struct driver_ctx *ctx, const struct btrfs_place *p,
                                    struct err *err);
bool btrfs_staging_is_ours(const struct driver_ctx *ctx, const struct btrfs_place *p);
