/* Who hangs on whom, for people. */
#include "base/str.h"
#include "driver/storage/zfs_foreign.h"

#include <stdlib.h>

static int add_side(const struct driver_ctx *ctx, const struct zfs_dataset *d, const char *live,
                    uint64_t before, struct storage_graph *ret, struct err *err)
{
    cleanup_zfs_list struct zfs_list all = {0};
    cleanup_zfs_foreign struct zfs_foreign foreign = {0};
    if (!d->exists)
        return 0;
    if (zfs_below(ctx, d->name, &all, err) < 0 ||
        (live && zfs_foreign_find(ctx, &all, d->name, live, before, &foreign, err) < 0))
        return -1;
    ret->v = x_realloc(ret->v, ret->n + all.n, sizeof(*ret->v));
    for (size_t i = 0; i < all.n; i++) {
        const struct zfs_entry *e = &all.v[i];
        struct storage_node *n = &ret->v[ret->n++];
        *n = (struct storage_node){.ours = str_eq(e->name, d->name) || zfs_is_ours(e),
                                   .plain = strv_has(&foreign.plain, e->name)};
        str_format(n->name, sizeof(n->name), "%s", e->name);
        str_format(n->origin, sizeof(n->origin), "%s", e->origin);
        str_format(n->kind, sizeof(n->kind), "%s", e->type);
    }
    return 0;
}

int zfs_graph(const struct driver_ctx *ctx, const struct spec_volume *dst, enum colour dst_colour,
              struct storage_graph *ret, struct err *err)
{
    struct zfs_pair p;
    uint64_t before = 0;
    if (zfs_look_at_both(ctx, dst, dst_colour, &p, err) < 0)
        return -1;
    if (zfs_live_is_clone(&p)) {
        struct zfs_dataset origin = {0};
        str_format(origin.name, sizeof(origin.name), "%s", p.from.origin);
        if (zfs_look(ctx, &origin, 1, err) < 0)
            return -1;
        before = strtoull(origin.createtxg, NULL, 10);
    }
    if (!str_eq(p.from.name, p.to.name) && add_side(ctx, &p.from, NULL, 0, ret, err) < 0)
        return -1;
    return add_side(ctx, &p.to, p.from.name, before, ret, err);
}
