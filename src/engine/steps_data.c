/* Steps that act on data: clone every volume at one point in time, destroy the loser's. */
#include "engine/passes.h"

#include <stdio.h>
#include <string.h>

static int volume_is_copied(struct engine *e, const struct plan_step *s,
                            const struct volume_pair *p, struct err *err)
{
    struct storage_facts f = {0};
    if (p->ops->inspect(&e->ctx, p->src, p->dst, s->colour, false, &f, err) < 0)
        return -1;
    return f.copied && f.owner == OWNER_OURS && strcmp(f.upgrade_id, e->up->id) == 0;
}

static int drop_copied(struct engine *e, const struct plan_step *s, struct err *err)
{
    struct instance_facts standby = {0};
    if (e->runtime->inspect(&e->ctx, s->colour, &standby, err) < 0)
        return -1;
    if (standby.state == INSTANCE_RUNNING)
        return err_set(err, ERR_FAILED, "%s runs, and not all of its volumes are complete",
                       colour_name(s->colour));
    for (size_t i = 0; i < e->ctx.side[s->colour]->volumes_n; i++) {
        struct volume_pair p;
        int copied = volume_pair_of(e, s, i, &p, err) < 0 ? -1 : volume_is_copied(e, s, &p, err);
        if (copied < 0 || (copied && p.ops->destroy(&e->ctx, p.dst, s->colour, err) < 0))
            return -1;
    }
    return 0;
}

/* What an attempt that was killed left: 1 if every volume is copied, at one point in time, and
 * needs only to be settled. Those of an incomplete set belong to a point in time that will not be
 * the others': away with them. */
static int sort_leftovers(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct spec *to = e->ctx.side[s->colour];
    size_t n = 0;
    for (size_t i = 0; i < to->volumes_n; i++) {
        struct volume_pair p;
        int copied = volume_pair_of(e, s, i, &p, err) < 0 ? -1 : volume_is_copied(e, s, &p, err);
        if (copied < 0)
            return -1;
        n += copied > 0;
    }
    if (n == to->volumes_n)
        return n > 0;
    return n ? drop_copied(e, s, err) : 0;
}

static int clone_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    int copied = sort_leftovers(e, s, err);
    if (copied < 0)
        return -1;
    if (copied) {
        snprintf(result, STEP_RESULT, "cloned by an attempt before this one");
        return passes_settle(e, s, err);
    }
    if (e->traffic && e->traffic->failover(&e->ctx, false, err) < 0)
        return -1;
    return passes_clone(e, s, result, err);
}

/* True only if every volume is complete and of this upgrade: then the point in time is one. */
static int cloned(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct spec *to = e->ctx.side[s->colour];
    for (size_t i = 0; i < to->volumes_n; i++) {
        struct volume_pair p;
        struct storage_facts f = {0};
        if (volume_pair_of(e, s, i, &p, err) < 0 ||
            p.ops->inspect(&e->ctx, p.src, p.dst, s->colour, false, &f, err) < 0)
            return -1;
        if (!f.exists || f.owner != OWNER_OURS || !f.complete ||
            strcmp(f.upgrade_id, e->up->id) != 0)
            return 0;
    }
    return 1;
}

static int destroy_volume(struct engine *e, enum colour c, const struct spec_volume *v,
                          struct err *err)
{
    const struct spec_volume *src = spec_volume(e->ctx.side[colour_other(c)], v->name);
    const struct storage_ops *ops = storage_find(src ? src : v, v, err);
    if (!ops)
        return -1;
    struct storage_facts f = {0};
    if (ops->inspect(&e->ctx, src ? src : v, v, c, false, &f, err) < 0)
        return -1;
    if (!f.exists || (f.owner == OWNER_NONE && f.empty))
        return 0;
    return ops->destroy(&e->ctx, v, c, err);
}

static int clear_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    const struct spec *to = e->ctx.side[s->colour];
    (void)result;
    for (size_t i = 0; i < to->volumes_n; i++)
        if (destroy_volume(e, s->colour, &to->volumes[i], err) < 0)
            return err_ctx(err, "volume %s", to->volumes[i].name);
    return 0;
}

const struct step_ops step_clear = {.apply = clear_apply};

/* What was never cloned may be there and be somebody else's: then nothing of ours is there to take
 * back. */
static int clone_undo(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct spec *to = e->ctx.side[s->colour];
    for (size_t i = 0; i < to->volumes_n; i++)
        if (destroy_volume(e, s->colour, &to->volumes[i], err) < 0 && err->code != ERR_FOREIGN)
            return err_ctx(err, "volume %s", to->volumes[i].name);
    err_clear(err);
    return 0;
}

const struct step_ops step_clone = {.check = cloned, .apply = clone_apply, .undo = clone_undo};

static int destroy_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    const struct spec_volume *v = spec_volume(e->ctx.side[s->colour], s->volume);
    if (destroy_volume(e, s->colour, v, err) < 0)
        return -1;
    snprintf(result, STEP_RESULT, "%s is gone", v->path);
    return 0;
}

static int destroyed(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct spec_volume *v = spec_volume(e->ctx.side[s->colour], s->volume);
    const struct spec_volume *src = spec_volume(e->ctx.side[colour_other(s->colour)], s->volume);
    const struct storage_ops *ops = storage_find(src ? src : v, v, err);
    struct storage_facts f = {0};
    if (!ops || ops->inspect(&e->ctx, src ? src : v, v, s->colour, false, &f, err) < 0)
        return -1;
    return !f.exists || f.empty;
}

const struct step_ops step_destroy = {.check = destroyed, .apply = destroy_apply};

static int retire_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    const struct spec_volume *v = spec_volume(e->ctx.side[s->colour], s->volume);
    const struct spec_volume *src = spec_volume(e->ctx.side[colour_other(s->colour)], s->volume);
    const struct storage_ops *ops = storage_find(src ? src : v, v, err);
    if (!ops)
        return -1;
    if (!ops->retire)
        return err_set(err, ERR_UNSUPPORTED, "volume %s: the driver %s cannot keep it", v->name,
                       ops->name);
    if (ops->retire(&e->ctx, v, s->colour, err) < 0)
        return -1;
    snprintf(result, STEP_RESULT, "%.200s is free", v->dataset ? v->dataset : v->path);
    return 0;
}

const struct step_ops step_retire = {.apply = retire_apply};

static int forget_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    (void)result;
    return journal_generation_clear(e->j, s->colour, err);
}

const struct step_ops step_forget = {.apply = forget_apply};
