/* What zfs(8) says, as values; and how it is run. Private to the driver `zfs`.
 *
 * Everything is read with -H -p and named in full; nothing is ever forced (-f), rolled back or
 * destroyed with what hangs on it (-r, -R). */
#pragma once

#include "driver/context.h"

#define ZFS_NAME 256 /* longest name of a dataset or snapshot, with its NUL */
#define ZFS_HOLD "changeover"
#define ZFS_SNAPSHOT "changeover-" /* name of our snapshots, before the upgrade's id */
#define ZFS_MARK_SNAPSHOT "changeover:snapshot"
#define ZFS_MARK_RETIRED "changeover:retired"
#define ZFS_DUE "changeover:due-" /* before the name of a reservation that live is still to get */

/* A dataset or snapshot. The marks are our user properties, and only where they were set on this
 * very dataset: a child inherits them. */
struct zfs_dataset {
    char name[ZFS_NAME];
    bool exists;
    char type[16];         /* "filesystem", "volume", "snapshot" */
    char origin[ZFS_NAME]; /* the snapshot it is a clone of; "" */
    char mountpoint[1024]; /* "none", "legacy" */
    char mounted[8], canmount[8];
    char available[24], referenced[24], createtxg[24], defer[8];
    char clones[1024];                                        /* of a snapshot: comma separated */
    char reservation[24], refreservation[24];                 /* bytes; "0": none */
    char volsize[24];                                         /* of a volume; "" */
    char due_reservation[24], due_refreservation[24];         /* "": none is due */
    char service[128], colour[16], volume[128], upgrade[128]; /* our mark */
    char snapshot[128]; /* our mark on a snapshot: the upgrade */
};

/* What lies below a dataset, itself included: `zfs list -r -t all`. */
struct zfs_entry {
    char name[ZFS_NAME], type[16], clones[1024], snapshot[128], origin[ZFS_NAME];
    uint64_t createtxg, holds;
};
struct zfs_list {
    struct zfs_entry *v;
    size_t n;
};
void zfs_list_done(struct zfs_list *l);
#define cleanup_zfs_list cleanup(zfs_list_done)

/* Pure. `zfs get -Hp -o name,property,value,source`: fills those of ret[0..n) by their names. */
void zfs_parse_get(const char *text, struct zfs_dataset *ret, size_t n);
/* `zfs list -Hp -o name,type,createtxg,userrefs,clones,changeover:snapshot,origin`; ERR_FAILED: a
 * line that is none. */
must_check int zfs_parse_list(const char *text, struct zfs_list *ret, struct err *err);
/* `zfs destroy -nvp NAME`: 0 only if NAME and nothing else would go. */
must_check int zfs_parse_destroy(const char *text, const char *name, struct err *err);
/* `zfs get -Hp -s local,received -o name,property,value all`: those of `dataset` that a clone is to
 * have too, as arguments of zfs clone. User properties that are not ours are among them. */
void zfs_parse_local(const char *text, const char *dataset, struct strv *ret_args);
/* Takes the first line off *text, cut at its tabs into at most n fields (the rest are ""). False:
 * there is none. */
bool zfs_next_line(char **text, char **ret, size_t n);
/* True if every line of the complaint is that a dataset does not exist. */
bool zfs_only_missing(const char *complaint);
bool zfs_is_ours(const struct zfs_entry *e); /* a snapshot of ours, by name and by mark */

/* ---- zfs allow (zfs_allow.c) ---- */

enum zfs_scope { ZFS_ON_SET, ZFS_ON_CREATE, ZFS_ON_IT, ZFS_ON_BELOW, ZFS_ON_BOTH };
struct zfs_grant {
    char on[ZFS_NAME]; /* the dataset where it is set: the one asked about, or above it */
    enum zfs_scope scope;
    char kind[16], who[128]; /* "user", "group", "everyone"; of a set: "", its name with the @ */
    char what[1024];         /* comma separated */
};
struct zfs_grants {
    struct zfs_grant *v;
    size_t n;
};
void zfs_grants_done(struct zfs_grants *g);
#define cleanup_zfs_grants cleanup(zfs_grants_done)

void zfs_parse_allow(const char *text, struct zfs_grants *ret);
/* Whether `permission` is granted on `dataset` (its grants and those above it) to the user or one
 * of the groups (names). */
bool zfs_granted(const struct zfs_grants *all, const char *dataset, const char *permission,
                 const char *user, const struct strv *groups);
must_check int zfs_allowed(const struct driver_ctx *ctx, const char *dataset,
                           struct zfs_grants *ret, struct err *err);
/* Grants on `to` what was granted on `from` itself. */
must_check int zfs_carry_grants(const struct driver_ctx *ctx, const struct zfs_grants *all,
                                const char *from, const char *to, struct err *err);

/* As zfs_ask(), adding to `out`; of what is not there nothing is said. */
must_check int zfs_ask_of_any(const struct driver_ctx *ctx, const char *const *args,
                              struct str *out, struct err *err);

/* Looks at ret[0..n), whose names are set; one that is not there: exists = false. Within a step
 * that has a memo (zfs_memo.c) what is known is not asked again; _now: always asked. */
must_check int zfs_look_now(const struct driver_ctx *ctx, struct zfs_dataset *ret, size_t n,
                            struct err *err);
/* What was set and granted on a source itself: zfs_parse_local() and zfs_parse_allow(). */
must_check int zfs_set_on(const struct driver_ctx *ctx, const char *dataset, struct strv *ret_args,
                          struct zfs_grants *ret_grants, struct err *err);
/* By zfs_change(); and by whoever has just taken these snapshots of ours. */
void zfs_memo_changed(const struct driver_ctx *ctx, const char *const *args);
void zfs_memo_snapshots(const struct driver_ctx *ctx, const struct strv *names);
/* What this step itself has done about the hold on a snapshot of ours. */
enum zfs_hold { ZFS_HOLD_UNKNOWN, ZFS_HOLD_NONE, ZFS_HOLD_OURS };
void zfs_memo_hold(const struct driver_ctx *ctx, const struct strv *names, enum zfs_hold hold);
enum zfs_hold zfs_memo_held(const struct driver_ctx *ctx, const char *snapshot);
/* Where the answer about the room of all volumes is kept, "" before it is there. Pre: a memo. */
struct str *zfs_memo_space(const struct driver_ctx *ctx);
must_check int zfs_look(const struct driver_ctx *ctx, struct zfs_dataset *ret, size_t n,
                        struct err *err);
/* Appends what lies below a dataset; one that is not there: nothing. */
must_check int zfs_below(const struct driver_ctx *ctx, const char *dataset, struct zfs_list *ret,
                         struct err *err);
/* Tags that hold a snapshot, but for ours; *ret_ours: we hold it. */
must_check int zfs_holds(const struct driver_ctx *ctx, const char *snapshot, bool *ret_ours,
                         struct strv *ret_foreign, struct err *err);

/* Runs zfs with these arguments (NULL-terminated). Out may be NULL. zfs_change is for those that
 * change something: a fault point `zfs/VERB` comes after it (`zfs/destroy-d` after one that may
 * wait). */
must_check int zfs_ask(const struct driver_ctx *ctx, const char *const *args, struct str *out,
                       struct err *err);
must_check int zfs_change(const struct driver_ctx *ctx, const char *const *args, struct err *err);
#define ZFS_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
