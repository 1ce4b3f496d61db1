/* Clones of ZFS file systems and volumes, which share their blocks until they diverge.
 *
 * One snapshot command for all volumes of the upgrade is one point in time of the pool: of what was
 * written to it. What a service has stored through a mapping, or written to the file system of a
 * volume, is not among that until it is written out; so the source stands still for that and for
 * the snapshot, and for nothing more: the clones are made when it goes on. Whose a dataset is say
 * user properties, set by the very command that makes it, and then the sentinel inside: a clone has
 * the source's until ours is written. Green and blue keep their names for ever: cleanup promotes
 * live where it is the clone, so that the next upgrade finds what this one found. */
#include "base/str.h"
#include "driver/storage/boot_mount.h"
#include "driver/storage/common.h"
#include "driver/storage/zfs_space.h"
#include "driver/storage/zfs_volume.h"
#include "sys/file.h"
#include "sys/mount.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NEEDED_BYTES (8 << 20)      /* a clone's own metadata */
#define SNAPSHOT_ACT (20 * NSEC_MS) /* that the snapshot is reckoned to take, for each volume */

static const char *const mark_properties[] = {"changeover:service", "changeover:colour",
                                              "changeover:volume", "changeover:upgrade"};

/* ---- inspect ---- */

struct inside {
    const char *path;
    char point[256]; /* the first mount below it; "": there is none */
};

static int look_inside(void *ctx, const struct sys_mount *m)
{
    struct inside *in = ctx;
    size_t n = strlen(in->path);
    if (strncmp(m->point, in->path, n) != 0 || m->point[n] != '/' ||
        str_starts(m->point + n, "/.zfs/")) /* a snapshot that somebody looks into */
        return 0;
    str_format(in->point, sizeof(in->point), "%.255s", m->point);
    return 1;
}

/* A snapshot has an empty directory there. */
static void why_not_inside(const struct spec_volume *src, char *ret, size_t size)
{
    struct inside in = {.path = src->path};
    struct err none = {0};
    if (sys_mount_each(look_inside, &in, &none) > 0)
        str_format(ret, size,
                   "another file system is mounted inside, at '%s', and would not be cloned: make "
                   "it a volume of its own beside, or unmount it",
                   in.point);
}

/* What keeps the driver from cloning; ret is "" if nothing does. */
static void why_not(const struct zfs_pair *p, char *ret, size_t size)
{
    const struct zfs_dataset *f = &p->from;
    size_t pool = strcspn(f->name, "/");
    *ret = '\0';
    if (str_eq(f->name, p->to.name))
        str_format(ret, size, "both colours name the dataset '%s'", f->name);
    else if (!f->exists)
        str_format(ret, size, "there is no dataset '%s'", f->name);
    else if (zfs_is_volume(f))
        zfs_volume_why_not(p, ret, size);
    else if (p->dst->fsfreeze)
        str_format(ret, size, "'%s' is a ZFS file system, which needs no fsfreeze: remove it",
                   f->name);
    else if (!zfs_mounted_at(f, p->src->path))
        str_format(ret, size, "'%s' is not mounted at '%s' (mountpoint %s, mounted %s)", f->name,
                   p->src->path, f->mountpoint, f->mounted);
    if (!*ret)
        why_not_inside(p->src, ret, size);
    if (!*ret && (pool != strcspn(p->to.name, "/") || strncmp(f->name, p->to.name, pool) != 0))
        str_format(ret, size, "'%s' and '%s' lie in different pools", f->name, p->to.name);
}

/* The directory's own mark has been read into ret; the dataset has the last word. */
static void describe(const struct driver_ctx *ctx, const struct zfs_pair *p,
                     struct storage_facts *ret)
{
    const struct zfs_dataset *d = &p->to;
    bool inside = ret->owner == OWNER_OURS && zfs_mounted_at(d, p->dst->path);
    if (!d->exists) {
        if (ret->owner == OWNER_OURS) {
            ret->owner = OWNER_FOREIGN;
            str_format(ret->owner_text, sizeof(ret->owner_text),
                       "a directory with our mark, where the dataset '%s' should be mounted",
                       d->name);
        }
        ret->complete = ret->copied = false;
        if (!zfs_snapshot_is_ours(ctx, &p->snapshot) || (ret->exists && !ret->empty))
            return;
        ret->copied = true; /* its moment is kept; settle makes the clone */
        ret->exists = true;
        ret->empty = false;
        ret->owner = OWNER_OURS;
        str_format(ret->upgrade_id, sizeof(ret->upgrade_id), "%s", ctx->upgrade_id);
        str_format(ret->owner_text, sizeof(ret->owner_text), "%.200s", p->snapshot.name);
        return;
    }
    ret->exists = true;
    ret->empty = false;
    ret->complete = ret->complete && inside;
    ret->copied =
        ret->complete || (zfs_of_this_upgrade(ctx, p) && zfs_snapshot_is_ours(ctx, &p->snapshot));
    ret->owner = zfs_mark_is(ctx, d, p->dst, p->colour) ? OWNER_OURS
                 : zfs_marked(d)                        ? OWNER_FOREIGN
                                                        : OWNER_NONE;
    str_format(ret->upgrade_id, sizeof(ret->upgrade_id), "%.31s", d->upgrade);
    if (ret->owner == OWNER_OURS)
        str_format(ret->owner_text, sizeof(ret->owner_text), "dataset %.150s, %s%.60s", d->name,
                   *d->upgrade ? "upgrade " : "adopted", d->upgrade);
    else
        str_format(ret->owner_text, sizeof(ret->owner_text),
                   zfs_marked(d) ? "dataset %.100s is marked as %.60s, %.8s, volume %.60s"
                                 : "dataset %.100s carries no mark of ours",
                   d->name, d->service, d->colour, d->volume);
}

/* What is on disk already takes no time in the pause. */
static int measure_flush(const struct spec_volume *src, struct storage_facts *ret, struct err *err)
{
    nsec_t first = 0, second = 0;
    if (storage_flush(src, &first, err) < 0 || storage_flush(src, &second, err) < 0)
        return -1;
    ret->estimate_ns = first;
    ret->pause_ns = second + SNAPSHOT_ACT;
    return 0;
}

static int zfs_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, bool measure,
                       struct storage_facts *ret, struct err *err)
{
    struct zfs_pair p;
    if (storage_inspect_place(ctx, dst, dst_colour, ret, err) < 0 ||
        zfs_pair_look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    describe(ctx, &p, ret);
    why_not(&p, ret->why_not, sizeof(ret->why_not));
    ret->supported = !*ret->why_not;
    const struct zvol *z = p.from.exists ? &p.from_volume : &p.to_volume;
    bool volume = zfs_is_volume(p.from.exists ? &p.from : &p.to);
    str_format(ret->fs_name, sizeof(ret->fs_name), "%.15s%s%s", volume ? z->fs : "ZFS",
               volume && *z->fs ? " on " : "", volume ? "a zvol" : "");
    if (volume && !boot_mount_possible())
        str_format(ret->note, sizeof(ret->note),
                   "systemd does not run here: after a reboot nothing mounts '%.150s'", dst->path);
    zfs_due_words(&p.to, ret->lacks, sizeof(ret->lacks));
    if (measure && p.from.exists) {
        struct storage_space left;
        if (zfs_space(ctx, src, colour_other(dst_colour), UINT64_MAX, &left, err) < 0)
            return -1;
        ret->free_bytes = left.free_bytes < left.quota_bytes ? left.free_bytes : left.quota_bytes;
        ret->bytes = strtoull(p.from.referenced, NULL, 10);
        ret->needed_bytes = NEEDED_BYTES;
    }
    if (measure && ret->supported && measure_flush(src, ret, err) < 0)
        return -1;
    if (measure && zfs_is_volume(&p.from))
        return zfs_volume_space(ctx, &p.from, NEEDED_BYTES, ret, err);
    return 0;
}

/* ---- clone ---- */

/* 1: the clone of this upgrade is complete. */
static int already(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, p->dst, p->colour, true), found;
    if (!zfs_in_upgrade(ctx))
        return err_set(err, ERR_USAGE, "clone volume '%s': not inside an upgrade", p->dst->name);
    return zfs_of_this_upgrade(ctx, p) && zfs_mounted_at(&p->to, p->dst->path) &&
           sentinel_look(p->dst->path, &want, &found, NULL) == SENTINEL_OURS &&
           found.state == SENTINEL_READY;
}

static int make_room(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    char reason[256];
    struct sentinel any = {0};
    why_not(p, reason, sizeof(reason));
    if (*reason)
        return err_set(err, ERR_UNSUPPORTED, "clone volume '%s': %s", p->dst->name, reason);
    if (p->to.exists && !zfs_of_this_upgrade(ctx, p)) {
        err_set(err, ERR_FOREIGN, "clone volume '%s': the dataset '%s' is there already",
                p->dst->name, p->to.name);
        return err_hint(err, "rename it, or name another one for %s", colour_name(p->colour));
    }
    if (zfs_is_clone_of(&p->from, &p->to))
        return err_set(err, ERR_FAILED, "clone volume '%s': '%s' is a clone of '%s' already",
                       p->dst->name, p->from.name, p->to.name);
    if ((p->to.exists || zfs_snapshot_is_ours(ctx, &p->snapshot)) &&
        zfs_destroy(ctx, p->dst, p->colour, err) < 0)
        return -1;
    enum sentinel_place place = sentinel_look(p->dst->path, &any, NULL, err);
    if (place == SENTINEL_ABSENT || place == SENTINEL_EMPTY)
        return 0;
    err_set(err, ERR_FOREIGN,
            "clone volume '%s': '%s' is not empty, and the clone would be mounted over it",
            p->dst->name, p->dst->path);
    return err_hint(err, "move what is there away, or name another path for %s",
                    colour_name(p->colour));
}

static int zfs_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                     const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    struct zfs_pair p;
    if (zfs_pair_look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    int done = already(ctx, &p, err);
    return done < 0 ? -1 : done ? 0 : make_room(ctx, &p, err);
}

/* What a try before this one made belongs to a point in time that will not be the others': away
 * with it. */
static int zfs_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                     const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                     struct err *err)
{
    struct zfs_pair p;
    nsec_t took = 0;
    if (zfs_pair_look(ctx, src, dst, dst_colour, &p, err) < 0 ||
        ((p.to.exists || zfs_snapshot_is_ours(ctx, &p.snapshot)) && make_room(ctx, &p, err) < 0))
        return -1;
    seen_begin(seen);
    int r = storage_flush(src, &took, err);
    seen_end(seen, r == 0, took, took, 0);
    return r;
}

static int zfs_flush(const struct driver_ctx *ctx, const struct spec_volume *src, struct err *err)
{
    (void)ctx;
    return storage_flush(src, NULL, err);
}

/* The snapshots of all that the upgrade clones. out: what was written to it is written out, too. */
static int names_of_all(const struct driver_ctx *ctx, const struct zfs_pair *p, bool out,
                        struct strv *ret, struct err *err)
{
    const struct spec *from = ctx->side[colour_other(p->colour)];
    size_t pool = strcspn(p->from.name, "/");
    for (size_t i = 0; i < from->volumes_n; i++) {
        const struct spec_volume *v = &from->volumes[i],
                                 *o = spec_volume(ctx->side[p->colour], v->name);
        if (!str_eq(v->driver, "zfs") || !v->dataset || !o || !o->dataset)
            continue;
        if (strncmp(v->dataset, p->from.name, pool) != 0 || strcspn(v->dataset, "/") != pool)
            return err_set(err, ERR_UNSUPPORTED,
                           "'%s' and '%s' lie in different pools: there is no snapshot of both at "
                           "one point in time",
                           v->dataset, p->from.name);
        if (out && storage_flush(v, NULL, err) < 0)
            return -1;
        strv_take(ret, x_asprintf("%s@" ZFS_SNAPSHOT "%s", v->dataset, ctx->upgrade_id));
    }
    return 0;
}

/* In one command: ZFS takes them in one transaction of the pool. */
static int snapshot_all(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_strv struct strv names = {0}, take = {0};
    if (names_of_all(ctx, p, true, &names, err) < 0)
        return -1;
    strv_add(&take, "snapshot");
    strv_add(&take, "-o");
    strv_take(&take, x_asprintf(ZFS_MARK_SNAPSHOT "=%s", ctx->upgrade_id));
    for (size_t i = 0; i < names.n; i++)
        strv_add(&take, names.v[i]);
    if (zfs_snapshot_frozen(ctx, p->colour, &take, &names, err) < 0)
        return -1;
    zfs_memo_snapshots(ctx, &names);
    return 0;
}

static int hold_all(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_strv struct strv names = {0}, others = {0}, hold = {0};
    enum zfs_hold known = zfs_memo_held(ctx, p->snapshot.name);
    bool ours = known == ZFS_HOLD_OURS;
    if ((known == ZFS_HOLD_UNKNOWN && zfs_holds(ctx, p->snapshot.name, &ours, &others, err) < 0) ||
        (!ours && names_of_all(ctx, p, false, &names, err) < 0))
        return -1;
    if (ours)
        return 0;
    strv_add(&hold, "hold");
    strv_add(&hold, ZFS_HOLD);
    for (size_t i = 0; i < names.n; i++)
        strv_add(&hold, names.v[i]);
    if (zfs_change(ctx, (const char *const *)hold.v, err) < 0)
        return -1;
    zfs_memo_hold(ctx, &names, ZFS_HOLD_OURS);
    return 0;
}

static void add_mark(struct strv *args, const struct driver_ctx *ctx, const struct spec_volume *v,
                     enum colour colour, bool upgrade)
{
    const char *const values[] = {ctx->service, colour_name(colour), v->name, ctx->upgrade_id};
    for (size_t i = 0; i < ARRAY_LEN(mark_properties) - !upgrade; i++) {
        if (upgrade)
            strv_add(args, "-o");
        strv_take(args, x_asprintf("%s=%s", mark_properties[i], values[i]));
    }
}

/* `-o KEY=BYTES`, in place of what live has. */
static void put_limit(struct strv *args, const char *key, uint64_t bytes)
{
    size_t n = strlen(key), i = 0;
    if (!bytes)
        return;
    while (i < args->n && !(strncmp(args->v[i], key, n) == 0 && args->v[i][n] == '='))
        i++;
    char *limit = x_asprintf("%s=%" PRIu64, key, bytes);
    if (i < args->n) {
        free(args->v[i]);
        args->v[i] = limit;
        return;
    }
    strv_add(args, "-o");
    strv_take(args, limit);
}

/* Each part only if it is not there yet: a try before this one may have been killed anywhere. */
static int make_clone(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_zfs_grants struct zfs_grants grants = {0};
    cleanup_strv struct strv args = {0};
    strv_add(&args, "clone");
    if (!zfs_is_volume(&p->from)) {
        strv_add(&args, "-o");
        strv_add(&args, "canmount=noauto"); /* until it is settled */
        strv_add(&args, "-o");
        strv_take(&args, x_asprintf("mountpoint=%s", p->dst->path));
    }
    add_mark(&args, ctx, p->dst, p->colour, true);
    if (zfs_set_on(ctx, p->from.name, &args, &grants, err) < 0)
        return -1;
    put_limit(&args, "quota", p->dst->quota);
    put_limit(&args, "refquota", p->dst->refquota);
    strv_add(&args, p->snapshot.name);
    strv_add(&args, p->to.name);
    if ((!p->to.exists && zfs_change(ctx, (const char *const *)args.v, err) < 0) ||
        zfs_carry_grants(ctx, &grants, p->from.name, p->to.name, err) < 0)
        return -1;
    if (p->to.exists && zfs_mounted_at(&p->to, p->dst->path))
        return 0;
    if (zfs_is_volume(&p->from))
        return zvol_mount(ctx, p->to.name, p->dst->path, &p->from_volume, err);
    return zfs_change(ctx, ZFS_ARGS("mount", p->to.name), err);
}

/* The moment; the clone itself is settle's. */
static int zfs_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                     const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                     struct err *err)
{
    (void)seen;
    struct zfs_pair p;
    if (zfs_pair_look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    int done = already(ctx, &p, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    if (p.to.exists && /* nobody called begin */
        (make_room(ctx, &p, err) < 0 || zfs_pair_look(ctx, src, dst, dst_colour, &p, err) < 0))
        return -1;
    if (p.snapshot.exists && !zfs_snapshot_is_ours(ctx, &p.snapshot))
        return err_set(err, ERR_FOREIGN, "clone volume '%s': somebody else's snapshot '%s'",
                       dst->name, p.snapshot.name);
    if (!p.snapshot.exists && snapshot_all(ctx, &p, err) < 0)
        return err_ctx(err, "clone volume '%s'", dst->name);
    return 0;
}

struct at_path {
    const char *dataset;
    uint64_t dev; /* of what is there */
    bool found;
};

static int is_it(void *ctx, const struct sys_mount *m)
{
    struct at_path *a = ctx;
    a->found |= m->dev == a->dev && str_eq(m->type, "zfs") && str_eq(m->source, a->dataset);
    return 0;
}

/* The kernel knows it without zfs(8), which takes long to begin. */
static int is_mounted_there(const char *dataset, const char *path, struct err *err)
{
    struct at_path a = {.dataset = dataset};
    uint64_t ino;
    if (sys_path_identity(path, &a.dev, &ino, err) < 0 || sys_mount_each(is_it, &a, err) < 0)
        return -1;
    return a.found
               ? 0
               : err_set(err, ERR_FAILED, "'%s' was mounted, and is not at '%s'", dataset, path);
}

/* What lies in the snapshot is on disk, in whatever boot it was taken. */
static int finish_clone(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    const struct spec_volume *src = p->src, *dst = p->dst;
    if (!zfs_snapshot_is_ours(ctx, &p->snapshot) || (p->to.exists && !zfs_of_this_upgrade(ctx, p)))
        return err_set(err, ERR_FAILED,
                       "volume '%s': there is neither a snapshot nor a clone of this upgrade",
                       dst->name);
    struct sentinel owner = storage_mark_of(ctx, dst, p->colour, true);
    owner.state = SENTINEL_COPIED;
    bool volume = zfs_is_volume(&p->from);
    if (hold_all(ctx, p, err) < 0 || make_clone(ctx, p, err) < 0 ||
        (!volume && is_mounted_there(p->to.name, dst->path, err) < 0) ||
        sentinel_write(dst->path, &owner, err) < 0)
        return err_ctx(err, "clone volume '%s'", dst->name);
    return volume ? zfs_pair_look(ctx, src, dst, p->colour, p, err) : 0;
}

/* From here on it is mounted after a reboot. */
static int zfs_settle(const struct driver_ctx *ctx, const struct spec_volume *dst,
                      enum colour dst_colour, struct seen *seen, struct err *err)
{
    struct zfs_pair p;
    const struct spec_volume *src = zfs_other_side(ctx, dst, dst_colour);
    if (zfs_pair_look(ctx, src ? src : dst, dst, dst_colour, &p, err) < 0)
        return -1;
    int done = already(ctx, &p, err);
    if (done < 0 || (!done && finish_clone(ctx, &p, err) < 0))
        return -1;
    bool on = zfs_is_volume(&p.to) || str_eq(p.to.canmount, "on");
    if ((zfs_is_volume(&p.to) && zfs_volume_settle(ctx, &p, err) < 0) ||
        (!on && zfs_change(ctx, ZFS_ARGS("set", "canmount=on", p.to.name), err) < 0))
        return err_ctx(err, "volume '%s'", dst->name);
    return storage_tree_settle(ctx, dst, dst_colour, seen, err);
}

/* ---- adopt, forget ---- */

static int zfs_mark(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                    bool on, struct err *err)
{
    struct zfs_pair p;
    if (zfs_pair_look(ctx, v, v, colour, &p, err) < 0)
        return -1;
    const struct zfs_dataset *d = &p.to;
    if (!d->exists || !zfs_mounted_at(d, v->path)) {
        err_set(err, ERR_NOT_FOUND, "volume '%s': the dataset '%s' is not mounted at '%s'", v->name,
                d->name, v->path);
        return err_hint(err, "zfs get mountpoint,mounted %s", d->name);
    }
    if (zfs_marked(d) && !zfs_mark_is(ctx, d, v, colour))
        return err_set(err, ERR_FOREIGN,
                       "volume '%s': the dataset '%s' is marked as %s, %s, volume %s", v->name,
                       d->name, d->service, d->colour, d->volume);
    if (on && !zfs_marked(d)) {
        cleanup_strv struct strv args = {0};
        strv_add(&args, "set");
        add_mark(&args, ctx, v, colour, false);
        strv_add(&args, d->name);
        if (zfs_change(ctx, (const char *const *)args.v, err) < 0)
            return err_ctx(err, "volume '%s'", v->name);
    }
    if (storage_tree_mark(ctx, v, colour, on, err) < 0)
        return -1;
    for (size_t i = 0; !on && zfs_marked(d) && i < ARRAY_LEN(mark_properties); i++)
        if (zfs_change(ctx, ZFS_ARGS("inherit", mark_properties[i], d->name), err) < 0)
            return err_ctx(err, "volume '%s'", v->name);
    return 0;
}

const struct storage_ops storage_zfs = {
    .name = "zfs",
    .caps = STORAGE_SHARES | STORAGE_AT_ONCE,
    .inspect = zfs_inspect,
    .begin = zfs_begin,
    .ahead = zfs_ahead,
    .flush = zfs_flush,
    .clone = zfs_clone,
    .settle = zfs_settle,
    .destroy = zfs_destroy,
    .mark = zfs_mark,
    .space = zfs_space,
    .thaw = zfs_thaw,
    .retire = zfs_retire,
    .graph = zfs_graph,
    .permit = zfs_permit,
};
