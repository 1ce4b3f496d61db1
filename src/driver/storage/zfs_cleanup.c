/* The end of a side: live promoted where it is the clone, the loser unmounted and destroyed, or
 * kept under another name. */
#include "base/str.h"
#include "driver/memo.h"
#include "driver/storage/common.h"
#include "driver/storage/zfs_foreign.h"
#include "driver/storage/zfs_volume.h"
#include "sys/file.h"
#include "sys/held.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 20 /* while others go on taking snapshots of what is to go */

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

/* ---- promote ---- */

static const struct zfs_entry *find_entry(const struct zfs_list *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->v[i].name, name))
            return &all->v[i];
    return NULL;
}

static int find_origin(const struct driver_ctx *ctx, const struct zfs_pair *p, struct zfs_list *all,
                       const struct zfs_entry **ret, struct err *err)
{
    if (zfs_below(ctx, p->to.name, all, err) < 0)
        return -1;
    *ret = find_entry(all, p->from.origin);
    if (*ret && zfs_is_ours(*ret))
        return 0;
    return err_set(err, ERR_FOREIGN,
                   "volume '%s': live's '%s' is a clone of '%s', which is no snapshot of ours",
                   p->dst->name, p->from.name, p->from.origin);
}

/* Live is the clone: turn them round, so that live hangs on nothing. The graph is read again, and
 * must say so, before anything goes. */
static int promote_live(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    struct zfs_pair now;
    if (zfs_change(ctx, ZFS_ARGS("promote", p->from.name), err) < 0) {
        err_ctx(err, "volume '%s'", p->dst->name);
        return strstr(err->msg, "conflict")
                   ? err_hint(err, "rename the snapshot on one of the two: zfs rename %s@NAME NEW",
                              p->from.name)
                   : -1;
    }
    if (zfs_pair_look(ctx, p->src, p->dst, p->colour, &now, err) < 0)
        return err_ctx(err, "volume '%s'", p->dst->name);
    if (!zfs_is_clone_of(&now.to, &now.from) || zfs_is_clone_of(&now.from, &now.to))
        return err_set(err, ERR_FAILED,
                       "volume '%s': after the promote '%s' is a clone of '%s' and '%s' of '%s': "
                       "not what was expected, so nothing was destroyed",
                       p->dst->name, now.to.name, now.to.origin, now.from.name, now.from.origin);
    event_note(ctx->sink, "promoted %s: %s hangs on it now", now.from.name, now.to.name);
    *p = now;
    return 0;
}

bool zfs_live_is_clone(const struct zfs_pair *p)
{
    return p->from.exists && !str_eq(p->from.name, p->to.name) && zfs_is_clone_of(&p->from, &p->to);
}

/* ---- unmount ---- */

static int used_by(const struct zfs_pair *p, uint64_t dev, const char *doing, struct err *err)
{
    cleanup_str struct str users = {.max = 1000};
    if (!dev || !sys_device_users(dev, &users)) {
        err_ctx(err, "volume '%s'", p->dst->name);
        return err_hint(err, "who holds it: fuser -vm %s", p->dst->path);
    }
    err_ctx(err, "volume '%s': '%s' could not be %s, since it is used by %s", p->dst->name,
            p->to.name, doing, str_cstr(&users));
    return err_hint(err, "end what uses it (fuser -vm %s), then: changeover resume", p->dst->path);
}

static uint64_t device_of(const struct zfs_pair *p)
{
    uint64_t dev = 0, ino;
    if (zfs_is_volume(&p->to))
        return 0; /* has words of its own */
    if (!str_eq(p->to.mounted, "yes") || sys_path_identity(p->dst->path, &dev, &ino, NULL) < 0)
        return 0;
    return dev;
}

static int unmount(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    uint64_t dev = device_of(p);
    if (zfs_is_volume(&p->to))
        return zfs_volume_unmount(ctx, p, err);
    if (!str_eq(p->to.mounted, "yes") || zfs_change(ctx, ZFS_ARGS("unmount", p->to.name), err) == 0)
        return 0;
    return used_by(p, dev, "unmounted", err);
}

/* ---- destroy ---- */

static bool is_our_origin(const struct zfs_dataset *origin)
{
    return *origin->snapshot && strstr(origin->name, "@" ZFS_SNAPSHOT);
}

/* Nothing of others is in the way; then nothing of ours, but for the dataset itself. */
static int clear(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    cleanup_zfs_foreign struct zfs_foreign foreign = {0};
    struct zfs_dataset origin = {0};
    str_format(origin.name, sizeof(origin.name), "%s", p->to.origin);
    if (zfs_below(ctx, p->to.name, &all, err) < 0 ||
        zfs_foreign_find(ctx, &all, p->to.name, "", 0, &foreign, err) < 0 ||
        (*origin.name && zfs_look(ctx, &origin, 1, err) < 0))
        return -1;
    bool drop = is_our_origin(&origin);
    if (drop && zfs_has_other_clone(origin.clones, p->to.name))
        zfs_foreign_add(&foreign, origin.name, "cloned", origin.clones);
    if ((drop && zfs_foreign_holds(ctx, origin.name, &foreign.stubborn, err) < 0) ||
        zfs_foreign_clear(ctx, p, &foreign, err) < 0 || unmount(ctx, p, err) < 0)
        return -1;
    for (size_t i = 0; i < all.n; i++)
        if (zfs_is_ours(&all.v[i]) && drop_snapshot(ctx, all.v[i].name, err) < 0)
            return -1;
    drop = drop && !str_eq(origin.defer, "on");
    return drop ? drop_snapshot(ctx, origin.name, err) : 0;
}

/* Pre: promote was done if needed. */
static int try_destroy(const struct driver_ctx *ctx, const struct zfs_pair *p, uint64_t dev,
                       struct err *err)
{
    cleanup_str struct str would = {0};
    if (clear(ctx, p, err) < 0 ||
        zfs_ask(ctx, ZFS_ARGS("destroy", "-n", "-v", "-p", p->to.name), &would, err) < 0 ||
        zfs_parse_destroy(str_cstr(&would), p->to.name, err) < 0)
        return -1;
    if (zfs_is_volume(&p->to))
        return zfs_volume_destroy(ctx, p, err);
    if (zfs_destroy_when_free(ctx, p->to.name, err) == 0)
        return 0;
    return strstr(err->msg, "busy") ? used_by(p, dev, "destroyed", err) : -1;
}

/* The dataset goes, and with it our snapshot that it came from. Where snapshots may be taken with
 * it, those that come while it is done may, too. */
static int destroy_dataset(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    uint64_t dev = device_of(p);
    for (int i = 1;; i++) {
        struct err why = {0};
        if (try_destroy(ctx, p, dev, &why) == 0)
            return 0;
        bool again = ctx->take_snapshots && i < TRIES &&
                     (strstr(why.msg, "has children") || strstr(why.msg, "would also do"));
        if (again && zfs_pair_look(ctx, p->src, p->dst, p->colour, p, &why) == 0)
            continue;
        *err = why;
        return -1;
    }
}

static int may_go(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    if (zfs_mark_is(ctx, &p->to, p->dst, p->colour))
        return zfs_is_volume(&p->to) ? zfs_volume_may_go(p, err) : 0;
    return err_set(err, ERR_FOREIGN,
                   "volume '%s': the dataset '%s' does not carry our mark for %s: not touched",
                   p->dst->name, p->to.name, colour_name(p->colour));
}

static int remove_pair(const struct driver_ctx *ctx, struct zfs_pair *p, struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    cleanup_zfs_foreign struct zfs_foreign foreign = {0};
    const struct zfs_entry *origin;
    if (!p->to.exists)
        return zfs_snapshot_is_ours(ctx, &p->snapshot) ? drop_snapshot(ctx, p->snapshot.name, err)
                                                       : 0;
    if (may_go(ctx, p, err) < 0)
        return -1;
    if (zfs_live_is_clone(p) && (find_origin(ctx, p, &all, &origin, err) < 0 ||
                                 zfs_foreign_find(ctx, &all, p->to.name, p->from.name,
                                                  origin->createtxg, &foreign, err) < 0 ||
                                 zfs_foreign_clear(ctx, p, &foreign, err) < 0 ||
                                 zfs_due_note(ctx, p, err) < 0 || promote_live(ctx, p, err) < 0))
        return -1;
    if (zfs_due_move(ctx, p, err) < 0 || destroy_dataset(ctx, p, err) < 0)
        return -1;
    return zfs_due_settle(ctx, p, err);
}

int zfs_look_at_both(const struct driver_ctx *ctx, const struct spec_volume *dst,
                     enum colour colour, struct zfs_pair *ret, struct err *err)
{
    const struct spec_volume *src = zfs_other_side(ctx, dst, colour);
    if (ctx->memo)
        driver_memo_clear(ctx->memo); /* what goes is looked at now */
    return zfs_pair_look(ctx, src ? src : dst, dst, colour, ret, err);
}

int zfs_destroy(const struct driver_ctx *ctx, const struct spec_volume *dst, enum colour dst_colour,
                struct err *err)
{
    struct zfs_pair p;
    return zfs_look_at_both(ctx, dst, dst_colour, &p, err) < 0 ? -1 : remove_pair(ctx, &p, err);
}

/* ---- retire ---- */

static int retired_name(const struct driver_ctx *ctx, const char *dataset, char *buf,
                        struct err *err)
{
    if (strlen(dataset) + strlen(ctx->upgrade_id) + sizeof(ZFS_RETIRED) > ZFS_NAME)
        return err_set(err, ERR_FAILED, "'%s" ZFS_RETIRED "%s' is too long for a name of a dataset",
                       dataset, ctx->upgrade_id);
    str_format(buf, ZFS_NAME, "%s" ZFS_RETIRED "%s", dataset, ctx->upgrade_id);
    return 0;
}

/* What it was, for whoever finds it. The mount point goes with the name: the next clone has it. */
static int leave(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_free char *mark = x_asprintf(
        ZFS_MARK_RETIRED "=service %s, %s, volume %s, upgrade %s, was at %s", ctx->service,
        colour_name(p->colour), p->dst->name, ctx->upgrade_id, p->dst->path);
    uint64_t dev = device_of(p);
    if (zfs_change(ctx, ZFS_ARGS("set", mark, p->to.name), err) < 0)
        return -1;
    if (!str_eq(p->to.type, "filesystem"))
        return unmount(ctx, p, err);
    if (zfs_change(ctx, ZFS_ARGS("set", "canmount=noauto", p->to.name), err) < 0)
        return -1;
    if (zfs_change(ctx, ZFS_ARGS("set", "mountpoint=none", p->to.name), err) < 0)
        return used_by(p, dev, "unmounted", err);
    return 0;
}

/* After the rename: from here on it is nobody's but the administrator's. */
static int take_mark_off(const struct driver_ctx *ctx, const char *name, struct err *err)
{
    static const char *const marks[] = {"changeover:service", "changeover:colour",
                                        "changeover:volume", "changeover:upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (zfs_change(ctx, ZFS_ARGS("inherit", marks[i], name), err) < 0)
            return -1;
    return 0;
}

static int rename_away(const struct driver_ctx *ctx, struct zfs_pair *p, const char *name,
                       struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    const struct zfs_entry *ignored;
    struct zfs_dataset origin = {0};
    if (may_go(ctx, p, err) < 0)
        return -1;
    if (zfs_live_is_clone(p) && (find_origin(ctx, p, &all, &ignored, err) < 0 ||
                                 zfs_due_note(ctx, p, err) < 0 || promote_live(ctx, p, err) < 0))
        return -1;
    if (zfs_due_move(ctx, p, err) < 0)
        return -1;
    str_format(origin.name, sizeof(origin.name), "%s", p->to.origin);
    if (*origin.name && zfs_look(ctx, &origin, 1, err) < 0)
        return -1;
    if (is_our_origin(&origin) && !str_eq(origin.defer, "on") &&
        drop_snapshot(ctx, origin.name, err) < 0)
        return -1;
    if (leave(ctx, p, err) < 0 || zfs_change(ctx, ZFS_ARGS("rename", p->to.name, name), err) < 0)
        return err_ctx(err, "volume '%s'", p->dst->name);
    event_note(ctx->sink,
               "%s is %s now: not mounted, not ours; zfs destroy it when it is not needed",
               p->to.name, name);
    return 0;
}

int zfs_retire(const struct driver_ctx *ctx, const struct spec_volume *dst, enum colour dst_colour,
               struct err *err)
{
    struct zfs_pair p;
    struct zfs_dataset kept = {0};
    if (zfs_look_at_both(ctx, dst, dst_colour, &p, err) < 0 ||
        retired_name(ctx, p.to.name, kept.name, err) < 0 || zfs_look(ctx, &kept, 1, err) < 0)
        return -1;
    if (!p.to.exists && !kept.exists) /* nothing was cloned from the snapshot yet */
        return zfs_snapshot_is_ours(ctx, &p.snapshot) ? drop_snapshot(ctx, p.snapshot.name, err)
                                                      : 0;
    if (p.to.exists && rename_away(ctx, &p, kept.name, err) < 0)
        return -1;
    return take_mark_off(ctx, kept.name, err) < 0 ? -1 : zfs_due_settle(ctx, &p, err);
}
