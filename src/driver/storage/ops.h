/* Storage drivers: how one colour's volume becomes the other's.
 *
 * A volume belongs to a colour of a service if the sentinel at its top says so (clone/sentinel.h).
 * Destroying needs both: the stored spec names the path as the standby's, and the sentinel carries
 * our mark.
 *
 * All operations may be called again after a crash at any point. `v` is the volume's name; its
 * paths are ctx->side[GREEN or BLUE]'s. */
#pragma once

#include "clone/seen.h"
#include "driver/context.h"
#include "model/facts.h"

enum storage_cap {
    STORAGE_INSTANT = 1, /* the clone is a point in time by itself: no freeze needed */
    STORAGE_SHARES = 2,  /* blocks are shared until they diverge */
    STORAGE_NO_DATA = 4, /* the standby begins empty */
    STORAGE_AT_ONCE = 8, /* the clone is one act of milliseconds while the source stands still; a
                            pass ahead of it only writes out what is not on disk yet */
};

enum storage_owner { OWNER_NONE, OWNER_OURS, OWNER_FOREIGN };

struct storage_facts {
    bool exists;
    bool empty;
    enum storage_owner owner; /* by sentinel: of this service, this colour, this volume */
    char owner_text[256];     /* what the sentinel says, or what is there instead */
    char upgrade_id[32];      /* the sentinel's: which upgrade made it ("" = adopted) */
    bool complete;            /* false: a clone was interrupted, or is not settled */
    bool copied;              /* complete, or all there in this boot and waiting for settle */
    uint64_t bytes, files;    /* size of the data; 0 unless asked for */
    uint64_t free_bytes;      /* where the colour's volume lives */
    uint64_t needed_bytes;    /* what a clone to this colour would take now */
    nsec_t estimate_ns;       /* how long the clone would take, measured; 0: instant or unknown */
    nsec_t pause_ns;          /* and how long the source would be paused for it: the look at all of
                                 it, without what changes meanwhile, which nobody can know yet */
    char fs_name[32];         /* "ext4", "xfs", "tmpfs" */
    bool supported;           /* this driver can clone from the other colour to here */
    char why_not[256];
    char note[256];  /* what else people should know before it is cloned; measured */
    char lacks[512]; /* what it should have and has not, in every status; "" */
};

/* What is there now at `colour`'s path. measure: also walks the source for bytes, files,
 * needed_bytes and estimate_ns (may take seconds; measuring the rate may write into a scratch
 * directory of ours beside the destination, removed before it returns). Read-only otherwise. */
typedef int storage_inspect_fn(const struct driver_ctx *ctx, const struct spec_volume *src,
                               const struct spec_volume *dst, enum colour dst_colour, bool measure,
                               struct storage_facts *ret, struct err *err);

/* A clone is some calls, so that the source need be frozen only for a moment:
 *     begin - ahead, ahead ... (source running) - freeze - clone - thaw - settle (source running)
 *
 * begin: makes room: removes what an interrupted clone of this upgrade left at dst (may take long),
 * creates it, marks it {service, dst colour, volume, upgrade id, "cloning"}, on disk. Pre:   dst is
 * absent, empty, or carries our mark for this service, dst colour and this upgrade id; else
 *        ERR_FOREIGN and nothing is touched.
 * Again: a complete clone of this upgrade is kept as it is. */
typedef int storage_begin_fn(const struct driver_ctx *ctx, const struct spec_volume *src,
                             const struct spec_volume *dst, enum colour dst_colour,
                             struct err *err);

/* One pass ahead of the clone, while the source is written to: the first brings dst as good as all
 * of src's data, a further one what changed since the one before. What was cloned when is kept in
 * `seen`; the caller has told it what is held open (seen_hold) right before. Pre: begin, by this
 * process. Post: dst is marked "cloning", good for nothing but another pass. Nothing to do where
 * the clone is instant anyhow. Blocks as clone. */
typedef int storage_ahead_fn(const struct driver_ctx *ctx, const struct spec_volume *src,
                             const struct spec_volume *dst, enum colour dst_colour,
                             struct seen *seen, struct err *err);

/* Right before the source is frozen: writes out what the clone would else have to wait for. */
typedef int storage_flush_fn(const struct driver_ctx *ctx, const struct spec_volume *src,
                             struct err *err);

/* Clones src's data to dst: all of it, or (seen, else NULL) what changed since the last pass ahead.
 * Pre:   as begin's (which it calls where nobody has). The caller has frozen the source if the
 * volume asks for it. Post:  dst holds src's data (but for `exclude`, sockets and the sentinel),
 * marked "copied": complete, but not yet known to be on disk. On -1 dst is absent, or marked
 * "cloning" as ours. Again: a leftover of this upgrade is removed and made anew (a second point in
 * time never mixes with the first); a complete one (ready, or copied in this boot) is kept as it
 * is. With `seen`, some of it may be in its memory only, and dst still "cloning": settle, by this
 * process, writes it. Where a snapshot keeps the moment, it counts as copied, and settle makes the
 * clone of it. Blocks: as long as it takes, with progress events; polls ctx->poll. */
typedef int storage_clone_fn(const struct driver_ctx *ctx, const struct spec_volume *src,
                             const struct spec_volume *dst, enum colour dst_colour,
                             struct seen *seen, struct err *err);

/* Puts a clone on disk and marks it "ready": only then may an instance start on it. seen: clone's,
 * else NULL. Already so: 0.
 * Not complete, or copied before a reboot (nobody knows what of it reached the disk): ERR_FAILED;
 * begin again. */
typedef int storage_settle_fn(const struct driver_ctx *ctx, const struct spec_volume *dst,
                              enum colour dst_colour, struct seen *seen, struct err *err);

/* A clone was killed, and whoever held its freeze perhaps, too: what it has frozen of src's file
 * system goes on. NULL: the driver freezes none. */
typedef void storage_thaw_fn(const struct spec_volume *src, const struct spec_volume *dst);

/* Removes dst's data. Pre: it carries our mark (service, colour, volume); else ERR_FOREIGN and
 * nothing is touched. Absent: done. Post: the path is absent, or an empty directory if it is a
 * mount point. */
typedef int storage_destroy_fn(const struct driver_ctx *ctx, const struct spec_volume *dst,
                               enum colour dst_colour, struct err *err);

/* Instead of destroying: dst's data is kept under another name with the upgrade's id in it, not
 * mounted, without our mark, and dst's own name is free. Pre: as destroy's. Again after a crash, at
 * any point, until it has said done. NULL: the driver cannot. */
typedef int storage_retire_fn(const struct driver_ctx *ctx, const struct spec_volume *dst,
                              enum colour dst_colour, struct err *err);

/* Who hangs on whom: both sides of a volume, and what lies below them. */
struct storage_node {
    char name[256], origin[256]; /* origin: the snapshot that it is a clone of; "" */
    char kind[16];               /* "filesystem", "volume", "snapshot", "bookmark" */
    bool ours;                   /* a colour's own, or a snapshot of ours */
    bool plain; /* dst's, not ours: what `cleanup --destroy-snapshots` would take by its name */
};
struct storage_graph {
    struct storage_node *v;
    size_t n;
};
/* Appends it; free(ret->v). Read-only. NULL: the driver knows no such thing. */
typedef int storage_graph_fn(const struct driver_ctx *ctx, const struct spec_volume *dst,
                             enum colour dst_colour, struct storage_graph *ret, struct err *err);

/* Marks the live colour's own data as ours (adopt) or takes the mark off (forget). */
typedef int storage_mark_fn(const struct driver_ctx *ctx, const struct spec_volume *v,
                            enum colour colour, bool on, struct err *err);

/* For whoever is not root: which step of an upgrade needs which permission, or root, that is not
 * there. Read-only. NULL: it needs only what the files themselves say. */
typedef int storage_permit_fn(const struct driver_ctx *ctx, const struct spec_volume *src,
                              const struct spec_volume *dst, struct findings *f, struct err *err);

/* What is left for a colour's volume. */
struct storage_space {
    char store[64]; /* what it shares room with others in, the same for all of them; no blanks */
    uint64_t free_bytes;  /* that it can still take from there, what is reserved for it included */
    uint64_t quota_bytes; /* left under a limit on the volume and what our snapshots of it keep;
                             UINT64_MAX: none */
    uint64_t limit_bytes; /* left under a limit on its own data, which no snapshot that goes widens;
                             UINT64_MAX: none */
    char limit[32];       /* that one's kind: "refquota"; no colon, no blanks */
    int64_t used_bytes;   /* what it takes alone, so that it grows as the sides diverge; -1: unknown
                           */
};

/* Read-only. Pre: ctx->memo, of one look at all volumes. enough: where it can be told cheaply that
 * more than that is left of all of them, free_bytes may be a lower bound, and the rest unknown or
 * none. Quick: asked every second. */
typedef int storage_space_fn(const struct driver_ctx *ctx, const struct spec_volume *v,
                             enum colour colour, uint64_t enough, struct storage_space *ret,
                             struct err *err);

struct storage_ops {
    const char *name;
    unsigned caps;
    storage_inspect_fn *inspect;
    storage_begin_fn *begin;
    storage_ahead_fn *ahead;
    storage_flush_fn *flush; /* NULL: nothing of the kind */
    storage_clone_fn *clone;
    storage_settle_fn *settle;
    storage_destroy_fn *destroy;
    storage_mark_fn *mark;
    storage_space_fn *space;
    storage_thaw_fn *thaw;
    storage_retire_fn *retire; /* or NULL */
    storage_graph_fn *graph;   /* or NULL */
    storage_permit_fn *permit; /* or NULL */
};

extern const struct storage_ops storage_reflink, storage_btrfs, storage_copy, storage_zfs,
    storage_empty;

/* src and dst with one path (a volume that is new in this spec, and has no other side): empty. Else
 * by the name in the spec; "auto": btrfs where src is a subvolume and dst can become one, else
 * reflink where their file system can, else copy. NULL with err: unknown (the message lists the
 * names). */
const struct storage_ops *storage_find(const struct spec_volume *src, const struct spec_volume *dst,
                                       struct err *err);

/* What is left for a volume, by its driver's `space`; cheap also with "auto". */
must_check int storage_space_of(const struct driver_ctx *ctx, const struct spec_volume *v,
                                enum colour colour, uint64_t enough, struct storage_space *ret,
                                struct err *err);
