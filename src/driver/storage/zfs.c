/* Clones of ZFS file systems: instant, and sharing their blocks until they diverge.
 *
 * One snapshot command for all volumes of the upgrade is one point in time. Whose a dataset is say
 * user properties, set by the very command that makes it, and then the sentinel inside: a clone has
 * the source's until ours is written. Green and blue keep their names for ever: cleanup promotes
 * live where it is the clone, so that the next upgrade finds what this one found. */
#include "driver/storage/zfs.h"
#include "base/str.h"
#include "driver/storage/common.h"

#include <stdlib.h>
#include <string.h>

#define NEEDED_BYTES (8 << 20) /* a clone's own metadata */

static const char *const mark_properties[] = {"changeover:service", "changeover:colour",
                                              "changeover:volume", "changeover:upgrade"};

/* Both sides of a volume, as they are now. */
struct pair {
    const struct spec_volume *src, *dst;
    enum colour colour;                    /* dst's */
    struct zfs_dataset from, to, snapshot; /* snapshot: from@ours of this upgrade */
};

static bool in_upgrade(const struct driver_ctx *ctx)
{
    return ctx->upgrade_id && *ctx->upgrade_id;
}

static int look(const struct driver_ctx *ctx, const struct spec_volume *src,
                const struct spec_volume *dst, enum colour colour, struct pair *ret,
                struct err *err)
{
    struct zfs_dataset d[3] = {0};
    *ret = (struct pair){.src = src, .dst = dst, .colour = colour};
    str_format(d[0].name, ZFS_NAME, "%s", dst->dataset);
    str_format(d[1].name, ZFS_NAME, "%s", src->dataset ? src->dataset : dst->dataset);
    str_format(d[2].name, ZFS_NAME, "%s@" ZFS_SNAPSHOT "%s", d[1].name,
               in_upgrade(ctx) ? ctx->upgrade_id : "");
    if (zfs_look(ctx, d, in_upgrade(ctx) ? 3 : 2, err) < 0)
        return err_ctx(err, "volume '%s'", dst->name);
    ret->to = d[0];
    ret->from = d[1];
    ret->snapshot = d[2];
    return 0;
}

/* The counterpart of a volume of `colour`. NULL: it has none. */
static const struct spec_volume *other_side(const struct driver_ctx *ctx,
                                            const struct spec_volume *v, enum colour colour)
{
    const struct spec *s = ctx->side[colour_other(colour)];
    const struct spec_volume *o = s ? spec_volume(s, v->name) : NULL;
    return o && o->dataset ? o : NULL;
}

static bool marked(const struct zfs_dataset *d)
{
    return *d->service || *d->colour || *d->volume;
}

static bool mark_is(const struct driver_ctx *ctx, const struct zfs_dataset *d,
                    const struct spec_volume *v, enum colour colour)
{
    return str_eq(d->service, ctx->service) && str_eq(d->colour, colour_name(colour)) &&
           str_eq(d->volume, v->name);
}

static bool of_this_upgrade(const struct driver_ctx *ctx, const struct pair *p)
{
    return p->to.exists && mark_is(ctx, &p->to, p->dst, p->colour) && in_upgrade(ctx) &&
           str_eq(p->to.upgrade, ctx->upgrade_id);
}

static bool snapshot_is_ours(const struct driver_ctx *ctx, const struct zfs_dataset *snapshot)
{
    return snapshot->exists && in_upgrade(ctx) && str_eq(snapshot->snapshot, ctx->upgrade_id);
}

static bool mounted_at(const struct zfs_dataset *d, const char *path)
{
    return str_eq(d->mounted, "yes") && str_eq(d->mountpoint, path);
}

/* ---- inspect ---- */

/* What keeps the driver from cloning; ret is "" if nothing does. */
static void why_not(const struct pair *p, char *ret, size_t size)
{
    const struct zfs_dataset *f = &p->from;
    size_t pool = strcspn(f->name, "/");
    *ret = '\0';
    if (str_eq(f->name, p->to.name))
        str_format(ret, size, "both colours name the dataset '%s'", f->name);
    else if (!f->exists)
        str_format(ret, size, "there is no dataset '%s'", f->name);
    else if (!str_eq(f->type, "filesystem"))
        str_format(ret, size, "'%s' is a %s, and only file systems are supported", f->name,
                   f->type);
    else if (!mounted_at(f, p->src->path))
        str_format(ret, size, "'%s' is not mounted at '%s' (mountpoint %s, mounted %s)", f->name,
                   p->src->path, f->mountpoint, f->mounted);
    else if (pool != strcspn(p->to.name, "/") || strncmp(f->name, p->to.name, pool) != 0)
        str_format(ret, size, "'%s' and '%s' lie in different pools", f->name, p->to.name);
}

/* The directory's own mark has been read into ret; the dataset has the last word. */
static void describe(const struct driver_ctx *ctx, const struct pair *p, struct storage_facts *ret)
{
    const struct zfs_dataset *d = &p->to;
    bool inside = ret->owner == OWNER_OURS && mounted_at(d, p->dst->path);
    if (!d->exists) {
        if (ret->owner == OWNER_OURS) {
            ret->owner = OWNER_FOREIGN;
            str_format(ret->owner_text, sizeof(ret->owner_text),
                       "a directory with our mark, where the dataset '%s' should be mounted",
                       d->name);
        }
        ret->complete = ret->copied = false;
        if (!snapshot_is_ours(ctx, &p->snapshot) || (ret->exists && !ret->empty))
            return;
        ret->exists = true; /* a snapshot that nothing was cloned from yet must go, too */
        ret->empty = false;
        ret->owner = OWNER_OURS;
        str_format(ret->upgrade_id, sizeof(ret->upgrade_id), "%s", ctx->upgrade_id);
        str_format(ret->owner_text, sizeof(ret->owner_text), "%.200s", p->snapshot.name);
        return;
    }
    ret->exists = true;
    ret->empty = false;
    ret->complete = ret->complete && inside;
    ret->copied = ret->copied && inside;
    ret->owner = mark_is(ctx, d, p->dst, p->colour) ? OWNER_OURS
                 : marked(d)                        ? OWNER_FOREIGN
                                                    : OWNER_NONE;
    str_format(ret->upgrade_id, sizeof(ret->upgrade_id), "%.31s", d->upgrade);
    if (ret->owner == OWNER_OURS)
        str_format(ret->owner_text, sizeof(ret->owner_text), "dataset %.150s, %s%.60s", d->name,
                   *d->upgrade ? "upgrade " : "adopted", d->upgrade);
    else
        str_format(ret->owner_text, sizeof(ret->owner_text),
                   marked(d) ? "dataset %.100s is marked as %.60s, %.8s, volume %.60s"
                             : "dataset %.100s carries no mark of ours",
                   d->name, d->service, d->colour, d->volume);
}

static int zfs_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, bool measure,
                       struct storage_facts *ret, struct err *err)
{
    struct pair p;
    if (storage_inspect_place(ctx, dst, dst_colour, ret, err) < 0 ||
        look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    describe(ctx, &p, ret);
    why_not(&p, ret->why_not, sizeof(ret->why_not));
    ret->supported = !*ret->why_not;
    str_format(ret->fs_name, sizeof(ret->fs_name), "ZFS");
    const struct zfs_dataset *space = p.from.exists ? &p.from : &p.to;
    if (space->exists)
        ret->free_bytes = strtoull(space->available, NULL, 10);
    if (measure) {
        ret->bytes = strtoull(p.from.referenced, NULL, 10);
        ret->needed_bytes = NEEDED_BYTES;
    }
    return 0;
}

/* ---- removing ---- */

/* Lets go of a snapshot of ours. With a clone it goes as soon as that one does (-d): so the
 * destroying of the clone is the last act, and nothing is left if we are killed before. */
static int drop_snapshot(const struct driver_ctx *ctx, const char *name, struct err *err)
{
    bool held;
    cleanup_strv struct strv foreign = {0};
    if (zfs_holds(ctx, name, &held, &foreign, err) < 0 ||
        (held && zfs_change(ctx, ZFS_ARGS("release", ZFS_HOLD, name), err) < 0))
        return -1;
    return zfs_change(ctx, ZFS_ARGS("destroy", "-d", name), err);
}

/* Whether `clones` (comma separated) names anything but `but`. */
static bool has_other_clone(const char *clones, const char *but)
{
    size_t n = strlen(but);
    return *clones && !(strncmp(clones, but, n) == 0 && clones[n] == '\0');
}

static int find_foreign_holds(const struct driver_ctx *ctx, const char *snapshot, struct str *ret,
                              struct err *err)
{
    bool ours;
    cleanup_strv struct strv tags = {0};
    if (zfs_holds(ctx, snapshot, &ours, &tags, err) < 0)
        return -1;
    for (size_t i = 0; i < tags.n; i++)
        str_addf(ret, "%s%s (held: %s)", ret->len ? ", " : "", snapshot, tags.v[i]);
    return 0;
}

/* What somebody else has on the dataset, and would be lost with it. before: what is older than
 * that transaction moves to live by the promote. */
static int find_foreign(const struct driver_ctx *ctx, const struct zfs_list *all,
                        const char *dataset, const char *live, uint64_t before, struct str *ret,
                        struct err *err)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct zfs_entry *e = &all->v[i];
        bool snapshot = str_eq(e->type, "snapshot") && str_starts(e->name, dataset) &&
                        e->name[strlen(dataset)] == '@';
        if (str_eq(e->name, dataset) || (snapshot && e->createtxg < before))
            continue;
        if (!snapshot || !zfs_is_ours(e))
            str_addf(ret, "%s%s", ret->len ? ", " : "", e->name);
        else if (has_other_clone(e->clones, live))
            str_addf(ret, "%s%s (cloned: %s)", ret->len ? ", " : "", e->name, e->clones);
        else if (e->holds && find_foreign_holds(ctx, e->name, ret, err) < 0)
            return -1;
    }
    return 0;
}

static int refuse_foreign(const struct pair *p, const struct str *foreign, struct err *err)
{
    if (!foreign->len)
        return 0;
    err_set(err, ERR_FAILED,
            "volume '%s': '%s' was not destroyed, for these would go with it, and they are not "
            "ours: %.2000s",
            p->dst->name, p->to.name, str_cstr(foreign));
    return err_hint(err, "look at them, destroy or release them by name (zfs destroy NAME, zfs "
                         "release TAG NAME), then: changeover resume");
}

static const struct zfs_entry *find_entry(const struct zfs_list *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->v[i].name, name))
            return &all->v[i];
    return NULL;
}

/* Live is the clone: turn them round, so that live hangs on nothing. */
static int promote_live(const struct driver_ctx *ctx, struct pair *p, struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    cleanup_str struct str foreign = {0};
    struct pair now;
    if (zfs_below(ctx, p->to.name, &all, err) < 0)
        return -1;
    const struct zfs_entry *origin = find_entry(&all, p->from.origin);
    if (!origin || !zfs_is_ours(origin))
        return err_set(err, ERR_FOREIGN,
                       "volume '%s': live's '%s' is a clone of '%s', which is no snapshot of ours",
                       p->dst->name, p->from.name, p->from.origin);
    if (find_foreign(ctx, &all, p->to.name, p->from.name, origin->createtxg, &foreign, err) < 0 ||
        refuse_foreign(p, &foreign, err) < 0)
        return -1;
    if (zfs_change(ctx, ZFS_ARGS("promote", p->from.name), err) < 0 ||
        look(ctx, p->src, p->dst, p->colour, &now, err) < 0)
        return err_ctx(err, "volume '%s'", p->dst->name);
    size_t n = strlen(now.from.name);
    if (strncmp(now.to.origin, now.from.name, n) != 0 || now.to.origin[n] != '@' ||
        strncmp(now.from.origin, p->to.name, strlen(p->to.name)) == 0)
        return err_set(err, ERR_FAILED,
                       "volume '%s': after the promote '%s' is a clone of '%s' and '%s' of '%s': "
                       "not what was expected, so nothing was destroyed",
                       p->dst->name, now.to.name, now.to.origin, now.from.name, now.from.origin);
    event_note(ctx->sink, "promoted %s: %s hangs on it now", now.from.name, now.to.name);
    *p = now;
    return 0;
}

static bool is_clone_of(const struct zfs_dataset *clone, const struct zfs_dataset *of)
{
    size_t n = strlen(of->name);
    return strncmp(clone->origin, of->name, n) == 0 && clone->origin[n] == '@';
}

static int unmount(const struct driver_ctx *ctx, const struct pair *p, struct err *err)
{
    if (!str_eq(p->to.mounted, "yes") || zfs_change(ctx, ZFS_ARGS("unmount", p->to.name), err) == 0)
        return 0;
    err_ctx(err, "volume '%s'", p->dst->name);
    return err_hint(err, "who holds it: fuser -vm %s", p->dst->path);
}

/* The dataset goes, and with it our snapshot that it came from. Pre: promote was done if needed. */
static int destroy_dataset(const struct driver_ctx *ctx, const struct pair *p, struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    cleanup_str struct str foreign = {0}, would = {0};
    struct zfs_dataset origin = {0};
    str_format(origin.name, sizeof(origin.name), "%s", p->to.origin);
    if (zfs_below(ctx, p->to.name, &all, err) < 0 ||
        find_foreign(ctx, &all, p->to.name, "", 0, &foreign, err) < 0 ||
        (*origin.name && zfs_look(ctx, &origin, 1, err) < 0))
        return -1;
    bool drop = *origin.snapshot && strstr(origin.name, "@" ZFS_SNAPSHOT);
    if (drop && has_other_clone(origin.clones, p->to.name))
        str_addf(&foreign, "%s%s (cloned: %s)", foreign.len ? ", " : "", origin.name,
                 origin.clones);
    if ((drop && find_foreign_holds(ctx, origin.name, &foreign, err) < 0) ||
        refuse_foreign(p, &foreign, err) < 0 || unmount(ctx, p, err) < 0)
        return -1;
    for (size_t i = 0; i < all.n; i++) /* ours: find_foreign has looked */
        if (str_eq(all.v[i].type, "snapshot") && drop_snapshot(ctx, all.v[i].name, err) < 0)
            return -1;
    if (drop && drop_snapshot(ctx, origin.name, err) < 0)
        return -1;
    if (zfs_ask(ctx, ZFS_ARGS("destroy", "-n", "-v", "-p", p->to.name), &would, err) < 0 ||
        zfs_parse_destroy(str_cstr(&would), p->to.name, err) < 0)
        return -1;
    return zfs_change(ctx, ZFS_ARGS("destroy", p->to.name), err);
}

static int remove_pair(const struct driver_ctx *ctx, struct pair *p, struct err *err)
{
    if (!p->to.exists)
        return snapshot_is_ours(ctx, &p->snapshot) ? drop_snapshot(ctx, p->snapshot.name, err) : 0;
    if (!mark_is(ctx, &p->to, p->dst, p->colour))
        return err_set(err, ERR_FOREIGN,
                       "volume '%s': the dataset '%s' does not carry our mark for %s: not touched",
                       p->dst->name, p->to.name, colour_name(p->colour));
    if (p->from.exists && !str_eq(p->from.name, p->to.name) && is_clone_of(&p->from, &p->to) &&
        promote_live(ctx, p, err) < 0)
        return -1;
    return destroy_dataset(ctx, p, err);
}

static int zfs_destroy(const struct driver_ctx *ctx, const struct spec_volume *dst,
                       enum colour dst_colour, struct err *err)
{
    struct pair p;
    const struct spec_volume *src = other_side(ctx, dst, dst_colour);
    if (look(ctx, src ? src : dst, dst, dst_colour, &p, err) < 0)
        return -1;
    return remove_pair(ctx, &p, err);
}

/* ---- clone ---- */

static int already(const struct driver_ctx *ctx, const struct pair *p, struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, p->dst, p->colour, true), found;
    if (!in_upgrade(ctx))
        return err_set(err, ERR_USAGE, "clone volume '%s': not inside an upgrade", p->dst->name);
    if (!of_this_upgrade(ctx, p) || !mounted_at(&p->to, p->dst->path) ||
        sentinel_look(p->dst->path, &want, &found, NULL) != SENTINEL_OURS)
        return 0;
    return found.state == SENTINEL_READY ||
           (found.state == SENTINEL_COPIED && sentinel_this_boot(&found));
}

static int make_room(const struct driver_ctx *ctx, struct pair *p, struct err *err)
{
    char reason[256];
    struct sentinel any = {0};
    why_not(p, reason, sizeof(reason));
    if (*reason)
        return err_set(err, ERR_UNSUPPORTED, "clone volume '%s': %s", p->dst->name, reason);
    if (p->to.exists && !of_this_upgrade(ctx, p)) {
        err_set(err, ERR_FOREIGN, "clone volume '%s': the dataset '%s' is there already",
                p->dst->name, p->to.name);
        return err_hint(err, "rename it, or name another one for %s", colour_name(p->colour));
    }
    if (is_clone_of(&p->from, &p->to))
        return err_set(err, ERR_FAILED, "clone volume '%s': '%s' is a clone of '%s' already",
                       p->dst->name, p->from.name, p->to.name);
    if ((p->to.exists || snapshot_is_ours(ctx, &p->snapshot)) && remove_pair(ctx, p, err) < 0)
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
    struct pair p;
    if (look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    int done = already(ctx, &p, err);
    return done < 0 ? -1 : done ? 0 : make_room(ctx, &p, err);
}

/* A clone that a try before this one made belongs to a point in time that will not be the others':
 * away with it. */
static int zfs_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                     const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                     struct err *err)
{
    (void)seen;
    struct pair p;
    if (look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    return p.to.exists || snapshot_is_ours(ctx, &p.snapshot) ? make_room(ctx, &p, err) : 0;
}

/* All that the upgrade clones, in one command: ZFS takes them in one transaction of the pool. */
static int snapshot_all(const struct driver_ctx *ctx, const struct pair *p, struct err *err)
{
    const struct spec *from = ctx->side[colour_other(p->colour)];
    cleanup_strv struct strv names = {0}, take = {0}, hold = {0};
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
        strv_take(&names, x_asprintf("%s@" ZFS_SNAPSHOT "%s", v->dataset, ctx->upgrade_id));
    }
    strv_add(&take, "snapshot");
    strv_add(&take, "-o");
    strv_take(&take, x_asprintf(ZFS_MARK_SNAPSHOT "=%s", ctx->upgrade_id));
    strv_add(&hold, "hold");
    strv_add(&hold, ZFS_HOLD);
    for (size_t i = 0; i < names.n; i++) {
        strv_add(&take, names.v[i]);
        strv_add(&hold, names.v[i]);
    }
    if (zfs_change(ctx, (const char *const *)take.v, err) < 0)
        return -1;
    return zfs_change(ctx, (const char *const *)hold.v, err);
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

static int make_clone(const struct driver_ctx *ctx, const struct pair *p, struct err *err)
{
    cleanup_str struct str local = {0};
    cleanup_strv struct strv args = {0};
    if (zfs_ask(
            ctx,
            ZFS_ARGS("get", "-H", "-p", "-s", "local", "-o", "property,value", "all", p->from.name),
            &local, err) < 0)
        return -1;
    strv_add(&args, "clone");
    strv_add(&args, "-o");
    strv_add(&args, "canmount=noauto"); /* until it is settled */
    strv_add(&args, "-o");
    strv_take(&args, x_asprintf("mountpoint=%s", p->dst->path));
    add_mark(&args, ctx, p->dst, p->colour, true);
    zfs_parse_local(str_cstr(&local), &args);
    strv_add(&args, p->snapshot.name);
    strv_add(&args, p->to.name);
    if (zfs_change(ctx, (const char *const *)args.v, err) < 0)
        return -1;
    return zfs_change(ctx, ZFS_ARGS("mount", p->to.name), err);
}

static int zfs_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                     const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                     struct err *err)
{
    (void)seen;
    struct pair p;
    if (look(ctx, src, dst, dst_colour, &p, err) < 0)
        return -1;
    int done = already(ctx, &p, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    if (p.to.exists && /* nobody called begin */
        (make_room(ctx, &p, err) < 0 || look(ctx, src, dst, dst_colour, &p, err) < 0))
        return -1;
    if (p.snapshot.exists && !snapshot_is_ours(ctx, &p.snapshot))
        return err_set(err, ERR_FOREIGN, "clone volume '%s': somebody else's snapshot '%s'",
                       dst->name, p.snapshot.name);
    if ((!p.snapshot.exists && snapshot_all(ctx, &p, err) < 0) || make_clone(ctx, &p, err) < 0)
        return err_ctx(err, "clone volume '%s'", dst->name);
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    owner.state = SENTINEL_COPIED;
    return sentinel_write(dst->path, &owner, err);
}

/* From here on it is mounted after a reboot. */
static int zfs_settle(const struct driver_ctx *ctx, const struct spec_volume *dst,
                      enum colour dst_colour, struct err *err)
{
    struct pair p;
    if (look(ctx, dst, dst, dst_colour, &p, err) < 0)
        return -1;
    if (!of_this_upgrade(ctx, &p) || !mounted_at(&p.to, dst->path))
        return err_set(err, ERR_FAILED,
                       "volume '%s': '%s' is no clone of this upgrade that is mounted at '%s'",
                       dst->name, p.to.name, dst->path);
    if (!str_eq(p.to.canmount, "on") &&
        zfs_change(ctx, ZFS_ARGS("set", "canmount=on", p.to.name), err) < 0)
        return err_ctx(err, "volume '%s'", dst->name);
    return storage_tree_settle(ctx, dst, dst_colour, err);
}

/* ---- adopt, forget ---- */

static int zfs_mark(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                    bool on, struct err *err)
{
    struct pair p;
    if (look(ctx, v, v, colour, &p, err) < 0)
        return -1;
    const struct zfs_dataset *d = &p.to;
    if (!d->exists || !mounted_at(d, v->path)) {
        err_set(err, ERR_NOT_FOUND, "volume '%s': the dataset '%s' is not mounted at '%s'", v->name,
                d->name, v->path);
        return err_hint(err, "zfs get mountpoint,mounted %s", d->name);
    }
    if (marked(d) && !mark_is(ctx, d, v, colour))
        return err_set(err, ERR_FOREIGN,
                       "volume '%s': the dataset '%s' is marked as %s, %s, volume %s", v->name,
                       d->name, d->service, d->colour, d->volume);
    if (on && !marked(d)) {
        cleanup_strv struct strv args = {0};
        strv_add(&args, "set");
        add_mark(&args, ctx, v, colour, false);
        strv_add(&args, d->name);
        if (zfs_change(ctx, (const char *const *)args.v, err) < 0)
            return err_ctx(err, "volume '%s'", v->name);
    }
    if (storage_tree_mark(ctx, v, colour, on, err) < 0)
        return -1;
    for (size_t i = 0; !on && marked(d) && i < ARRAY_LEN(mark_properties); i++)
        if (zfs_change(ctx, ZFS_ARGS("inherit", mark_properties[i], d->name), err) < 0)
            return err_ctx(err, "volume '%s'", v->name);
    return 0;
}

const struct storage_ops storage_zfs = {
    .name = "zfs",
    .caps = STORAGE_INSTANT | STORAGE_SHARES,
    .inspect = zfs_inspect,
    .begin = zfs_begin,
    .ahead = zfs_ahead,
    .clone = zfs_clone,
    .settle = zfs_settle,
    .destroy = zfs_destroy,
    .mark = zfs_mark,
};
