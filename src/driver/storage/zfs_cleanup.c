/* The end of a side: live promoted where it is the clone, the loser unmounted and destroyed. */
#include "base/str.h"
#include "driver/storage/common.h"
#include "driver/storage/zfs_pair.h"

#include <string.h>

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

static int refuse_foreign(const struct zfs_pair *p, const struct str *foreign, struct err *err)
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
static int promote_live(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    cleanup_str struct str foreign = {0};
    struct zfs_pair now;
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
        zfs_pair_look(ctx, p->src, p->dst, p->colour, &now, err) < 0)
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

static int unmount(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    if (!str_eq(p->to.mounted, "yes") || zfs_change(ctx, ZFS_ARGS("unmount", p->to.name), err) == 0)
        return 0;
    err_ctx(err, "volume '%s'", p->dst->name);
    return err_hint(err, "who holds it: fuser -vm %s", p->dst->path);
}

/* The dataset goes, and with it our snapshot that it came from. Pre: promote was done if needed. */
static int destroy_dataset(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
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

int zfs_remove_pair(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    if (!p->to.exists)
        return zfs_snapshot_is_ours(ctx, &p->snapshot) ? drop_snapshot(ctx, p->snapshot.name, err)
                                                       : 0;
    if (!zfs_mark_is(ctx, &p->to, p->dst, p->colour))
        return err_set(err, ERR_FOREIGN,
                       "volume '%s': the dataset '%s' does not carry our mark for %s: not touched",
                       p->dst->name, p->to.name, colour_name(p->colour));
    if (p->from.exists && !str_eq(p->from.name, p->to.name) && zfs_is_clone_of(&p->from, &p->to) &&
        promote_live(ctx, p, err) < 0)
        return -1;
    return destroy_dataset(ctx, p, err);
}

int zfs_destroy(const struct driver_ctx *ctx, const struct spec_volume *dst, enum colour dst_colour,
                struct err *err)
{
    struct zfs_pair p;
    const struct spec_volume *src = zfs_other_side(ctx, dst, dst_colour);
    if (zfs_pair_look(ctx, src ? src : dst, dst, dst_colour, &p, err) < 0)
        return -1;
    return zfs_remove_pair(ctx, &p, err);
}
