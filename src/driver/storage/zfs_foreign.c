/* What others have on a side that is to go. */
#include "driver/storage/zfs_foreign.h"
#include "base/str.h"

#include <string.h>

bool zfs_has_other_clone(const char *clones, const char *but)
{
    size_t n = strlen(but);
    return *clones && !(strncmp(clones, but, n) == 0 && clones[n] == '\0');
}

int zfs_foreign_holds(const struct driver_ctx *ctx, const char *snapshot, struct str *ret,
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

void zfs_foreign_done(struct zfs_foreign *f)
{
    strv_done(&f->plain);
    str_done(&f->stubborn);
}

void zfs_foreign_add(struct zfs_foreign *f, const char *name, const char *why, const char *what)
{
    str_addf(&f->stubborn, "%s%s", f->stubborn.len ? ", " : "", name);
    if (*what)
        str_addf(&f->stubborn, " (%s: %s)", why, what);
}

static int judge_entry(const struct driver_ctx *ctx, const struct zfs_entry *e, bool own_snapshot,
                       const char *live, struct zfs_foreign *ret, struct err *err)
{
    if (zfs_has_other_clone(e->clones, zfs_is_ours(e) ? live : ""))
        zfs_foreign_add(ret, e->name, "cloned", e->clones);
    else if (own_snapshot && e->holds) {
        size_t before = ret->stubborn.len;
        if (zfs_foreign_holds(ctx, e->name, &ret->stubborn, err) < 0)
            return -1;
        if (ret->stubborn.len == before && !zfs_is_ours(e))
            zfs_foreign_add(ret, e->name, "held", ZFS_HOLD);
    } else if (own_snapshot && !zfs_is_ours(e))
        strv_add(&ret->plain, e->name);
    else if (!own_snapshot)
        zfs_foreign_add(ret, e->name, "", "");
    return 0;
}

int zfs_foreign_find(const struct driver_ctx *ctx, const struct zfs_list *all, const char *dataset,
                     const char *live, uint64_t before, struct zfs_foreign *ret, struct err *err)
{
    size_t n = strlen(dataset);
    for (size_t i = 0; i < all->n; i++) {
        const struct zfs_entry *e = &all->v[i];
        bool own = str_starts(e->name, dataset) && (e->name[n] == '@' || e->name[n] == '#');
        if (str_eq(e->name, dataset) || (own && e->createtxg < before))
            continue;
        if (judge_entry(ctx, e, own, live, ret, err) < 0)
            return -1;
    }
    return 0;
}

static int refuse_foreign(const struct zfs_pair *p, const struct zfs_foreign *f, struct err *err)
{
    cleanup_str struct str names = {0};
    for (size_t i = 0; i < f->plain.n; i++)
        str_addf(&names, "%s%s", i ? ", " : "", f->plain.v[i]);
    if (f->stubborn.len)
        str_addf(&names, "%s%s", names.len ? ", " : "", str_cstr(&f->stubborn));
    if (!names.len)
        return 0;
    err_set(err, ERR_FAILED,
            "volume '%s': '%s' was not destroyed, for these would go with it, and they are not "
            "ours: %.2000s",
            p->dst->name, p->to.name, str_cstr(&names));
    return err_hint(err,
                    "changeover cleanup --retire (keeps it all under another name)%s; or destroy "
                    "or release them by name (zfs destroy NAME, zfs release TAG NAME), then: "
                    "changeover resume",
                    f->stubborn.len ? "" : "; changeover cleanup --destroy-snapshots (takes them)");
}

/* Gone by itself meanwhile (others destroy old ones, too) is as good. */
static int take_one(const struct driver_ctx *ctx, const char *name, struct err *err)
{
    struct zfs_dataset now = {0};
    struct err why = {0};
    str_format(now.name, sizeof(now.name), "%s", name);
    event_note(ctx->sink, "destroying %s: not ours, but asked for (--destroy-snapshots)", name);
    if (zfs_change(ctx, ZFS_ARGS("destroy", name), &why) == 0)
        return 0;
    if (!strchr(name, '#') && zfs_look(ctx, &now, 1, err) < 0)
        return -1;
    if (!now.exists && strchr(name, '@'))
        return 0;
    *err = why;
    return -1;
}

int zfs_foreign_clear(const struct driver_ctx *ctx, const struct zfs_pair *p,
                      const struct zfs_foreign *f, struct err *err)
{
    if (!ctx->take_snapshots || f->stubborn.len)
        return refuse_foreign(p, f, err);
    for (size_t i = 0; i < f->plain.n; i++)
        if (take_one(ctx, f->plain.v[i], err) < 0)
            return err_ctx(err, "volume '%s'", p->dst->name);
    return 0;
}
