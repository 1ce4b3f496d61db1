/* Reservations: the new live gets what the old one had, when the old one goes.
 *
 * What is due is noted on live itself before the promote, so that no kill loses it, and stays noted
 * until it could be set: a pool may lack the room for it today. */
#include "base/str.h"
#include "driver/storage/zfs_pair.h"

#include <stdlib.h>
#include <string.h>

static bool some(const char *bytes)
{
    return strtoull(bytes, NULL, 10) > 0;
}

static bool is_due(const struct zfs_dataset *d)
{
    return *d->due_reservation || *d->due_refreservation;
}

int zfs_due_note(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    cleanup_strv struct strv args = {0};
    strv_add(&args, "set");
    if (some(p->to.reservation))
        strv_take(&args, x_asprintf(ZFS_DUE "reservation=%s", p->to.reservation));
    if (some(p->to.refreservation))
        strv_take(&args, x_asprintf(ZFS_DUE "refreservation=%s", p->to.refreservation));
    if (args.n == 1)
        return 0;
    strv_add(&args, p->from.name);
    return zfs_change(ctx, (const char *const *)args.v, err);
}

static int give_up(const struct driver_ctx *ctx, const struct zfs_dataset *d, struct err *err)
{
    cleanup_strv struct strv args = {0};
    strv_add(&args, "set");
    if (some(d->reservation))
        strv_add(&args, "reservation=none");
    if (some(d->refreservation))
        strv_add(&args, "refreservation=none");
    strv_add(&args, d->name);
    return args.n == 2 ? 0 : zfs_change(ctx, (const char *const *)args.v, err);
}

/* A volume's own reservation is its size and what keeps account of it: more than its size may not
 * be asked for by number. */
static const char *refreservation_of(const struct zfs_dataset *d)
{
    uint64_t size = strtoull(d->volsize, NULL, 10);
    return size && strtoull(d->due_refreservation, NULL, 10) > size ? "auto"
                                                                    : d->due_refreservation;
}

/* 1: it could not be, for want of space or else; why says so. */
static int give(const struct driver_ctx *ctx, const struct zfs_dataset *d, struct err *why,
                struct err *err)
{
    cleanup_strv struct strv args = {0};
    strv_add(&args, "set");
    if (*d->due_reservation)
        strv_take(&args, x_asprintf("reservation=%s", d->due_reservation));
    if (*d->due_refreservation)
        strv_take(&args, x_asprintf("refreservation=%s", refreservation_of(d)));
    strv_add(&args, d->name);
    if (zfs_change(ctx, (const char *const *)args.v, why) < 0)
        return 1;
    if ((*d->due_reservation &&
         zfs_change(ctx, ZFS_ARGS("inherit", ZFS_DUE "reservation", d->name), err) < 0) ||
        (*d->due_refreservation &&
         zfs_change(ctx, ZFS_ARGS("inherit", ZFS_DUE "refreservation", d->name), err) < 0))
        return -1;
    return 0;
}

static int look_again(const struct driver_ctx *ctx, const struct zfs_pair *p,
                      struct zfs_dataset *ret, struct err *err)
{
    *ret = (struct zfs_dataset){0};
    str_format(ret->name, sizeof(ret->name), "%s", p->from.name);
    return zfs_look(ctx, ret, 1, err);
}

int zfs_due_move(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    struct zfs_dataset live;
    struct err why = {0};
    if (str_eq(p->from.name, p->to.name) || look_again(ctx, p, &live, err) < 0)
        return str_eq(p->from.name, p->to.name) ? 0 : -1;
    if (!live.exists || !is_due(&live))
        return 0;
    if (give_up(ctx, &p->to, err) < 0)
        return -1;
    return give(ctx, &live, &why, err) < 0 ? -1 : 0; /* else tried again when the old one is gone */
}

void zfs_due_words(const struct zfs_dataset *d, char *buf, size_t size)
{
    char a[16], b[16];
    bool res = *d->due_reservation && !str_eq(d->due_reservation, d->reservation);
    bool ref = *d->due_refreservation && !str_eq(d->due_refreservation, d->refreservation);
    *buf = '\0';
    if (!res && !ref)
        return;
    str_bytes(a, sizeof(a), strtoull(d->due_reservation, NULL, 10));
    str_bytes(b, sizeof(b), strtoull(d->due_refreservation, NULL, 10));
    str_format(
        buf, size,
        "'%s' lacks what was reserved for the side before it (%s%s%s%s%s): there was no room "
        "for it; zfs set %s%s%s%s %s",
        d->name, res ? "reservation " : "", res ? a : "", res && ref ? ", " : "",
        ref ? "refreservation " : "", ref ? b : "", res ? "reservation=" : "",
        res ? d->due_reservation : "", ref ? (res ? " refreservation=" : "refreservation=") : "",
        ref ? refreservation_of(d) : "", d->name);
}

int zfs_due_settle(const struct driver_ctx *ctx, const struct zfs_pair *p, struct err *err)
{
    struct zfs_dataset live;
    struct err why = {0};
    char words[600];
    if (str_eq(p->from.name, p->to.name))
        return 0;
    if (look_again(ctx, p, &live, err) < 0)
        return -1;
    if (!live.exists || !is_due(&live))
        return 0;
    int r = give(ctx, &live, &why, err);
    if (r <= 0)
        return r;
    zfs_due_words(&live, words, sizeof(words));
    event_warn(ctx->sink, "%s (%.300s)", words, why.msg);
    return 0;
}
