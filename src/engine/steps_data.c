/* Steps that act on data: clone every volume at one point in time, destroy the loser's. */
#include "driver/storage/ops.h"
#include "engine/engine.h"
#include "engine/hole.h"
#include "plan/plan.h"
#include "sys/clock.h"
#include "sys/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The clone of all volumes, while the source may be frozen. */
struct cloning {
    struct engine *e;
    struct driver_ctx ctx; /* the engine's, with a poll that ends at the ceiling */
    nsec_t ceiling;        /* monotonic; 0: not frozen */
    bool hit_ceiling;
};

static int cloning_poll(void *ctx)
{
    struct cloning *c = ctx;
    if (c->ceiling && sys_clock_mono() >= c->ceiling) {
        c->hit_ceiling = true;
        return 2;
    }
    /* One signal asks to end after this step; what was copied is not thrown away for it. */
    int asked = driver_poll(&c->e->ctx);
    return asked >= 2 || c->e->space_low ? 2 : 0;
}

struct volume_pair {
    const struct spec_volume *src, *dst;
    const struct storage_ops *ops;
};

static int pair_of(struct engine *e, const struct plan_step *s, size_t i, struct volume_pair *ret,
                   struct err *err)
{
    const struct spec *from = e->ctx.side[colour_other(s->colour)], *to = e->ctx.side[s->colour];
    ret->dst = &to->volumes[i];
    ret->src = spec_volume(from, ret->dst->name);
    if (!ret->src) /* a volume that is new in this spec begins empty */
        ret->src = ret->dst;
    ret->ops = storage_find(ret->src, ret->dst, err);
    return ret->ops ? 0 : -1;
}

static bool wants_freeze(const struct volume_pair *p)
{
    struct plan_volume pv = {.driver = p->ops->name,
                             .instant = (p->ops->caps & STORAGE_INSTANT) != 0,
                             .no_data = (p->ops->caps & STORAGE_NO_DATA) != 0};
    return plan_needs_freeze(p->src, &pv);
}

/* Refuses a clone that would hold live longer than the spec allows. */
static int estimate_freeze(struct engine *e, const struct plan_step *s, bool *ret_freeze,
                           struct err *err)
{
    const struct spec *to = e->ctx.side[s->colour];
    nsec_t sum = 0;
    *ret_freeze = false;
    for (size_t i = 0; i < to->volumes_n; i++) {
        struct volume_pair p;
        struct storage_facts f = {0};
        if (pair_of(e, s, i, &p, err) < 0)
            return -1;
        if (!wants_freeze(&p))
            continue;
        *ret_freeze = true;
        if (p.ops->inspect(&e->ctx, p.src, p.dst, s->colour, true, &f, err) < 0)
            return -1;
        sum += f.estimate_ns;
    }
    if (!*ret_freeze || sum <= to->freeze_max)
        return 0;
    char about[24], most[24];
    err_set(err, ERR_FAILED, "the clone would pause %s for about %s; freeze.max allows %s",
            colour_name(colour_other(s->colour)), clock_words(about, sizeof(about), sum),
            clock_words(most, sizeof(most), to->freeze_max));
    return err_hint(
        err,
        "in %s, one of: freeze.max: higher; a driver that shares blocks (reflink on XFS or btrfs); "
        "before_snapshot: a command that makes the data consistent; consistency: none if the "
        "service opens a copy taken while it writes",
        to->path);
}

static int run_snapshot_commands(struct engine *e, const struct plan_step *s, bool before,
                                 struct err *err)
{
    const struct spec *from = e->ctx.side[colour_other(s->colour)];
    for (size_t i = 0; i < from->volumes_n; i++) {
        const struct spec_volume *v = &from->volumes[i];
        const struct spec_command *cmd = before ? &v->before_snapshot : &v->after_snapshot;
        if (cmd->argv.n &&
            driver_command(&e->ctx, cmd, before ? "before_snapshot" : "after_snapshot",
                           from->colour, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* What may take long without the source standing still is done before (begin) and after (settle).
 */
enum pass { PASS_BEGIN, PASS_CLONE, PASS_SETTLE };

static int pass_over(struct cloning *c, const struct plan_step *s, enum pass pass, struct err *err)
{
    const struct spec *to = c->e->ctx.side[s->colour];
    for (size_t i = 0; i < to->volumes_n; i++) {
        struct volume_pair p;
        if (pair_of(c->e, s, i, &p, err) < 0)
            return -1;
        int r = pass == PASS_BEGIN   ? p.ops->begin(&c->ctx, p.src, p.dst, s->colour, err)
                : pass == PASS_CLONE ? p.ops->clone(&c->ctx, p.src, p.dst, s->colour, err)
                                     : p.ops->settle(&c->ctx, p.dst, s->colour, err);
        if (r < 0)
            return err_ctx(err, "volume %s", to->volumes[i].name);
    }
    return 0;
}

static int thaw(struct cloning *c, const struct plan_step *s, int fd, nsec_t *ret_held,
                struct err *err)
{
    struct engine *e = c->e;
    struct err thaw_err = {0};
    int r = e->runtime->thaw(&e->ctx, colour_other(s->colour), fd, ret_held, &thaw_err);
    if (r < 0 || c->hit_ceiling) {
        char most[24];
        clock_words(most, sizeof(most), e->ctx.side[s->colour]->freeze_max);
        err_set(err, ERR_FAILED,
                "the clone was not done within freeze.max (%s): %s was thawed at once and goes on",
                most, colour_name(colour_other(s->colour)));
        return err_hint(err, "freeze.max: higher, or a driver that shares blocks, in %s",
                        e->ctx.side[s->colour]->path);
    }
    return 0;
}

static int clone_frozen(struct cloning *c, const struct plan_step *s, nsec_t *ret_held,
                        struct err *err)
{
    struct engine *e = c->e;
    nsec_t max = e->ctx.side[s->colour]->freeze_max;
    int fd = -1;
    c->ceiling = sys_clock_mono() + max;
    if (e->runtime->freeze(&e->ctx, colour_other(s->colour), max, &fd, err) < 0)
        return -1;
    int r = sys_fault_point("clone:frozen") < 0
                ? err_sys(err, ERR_FAILED, "fault point clone:frozen")
                : pass_over(c, s, PASS_CLONE, err);
    return thaw(c, s, fd, ret_held, err) < 0 ? -1 : r;
}

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
        int copied = pair_of(e, s, i, &p, err) < 0 ? -1 : volume_is_copied(e, s, &p, err);
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
        int copied = pair_of(e, s, i, &p, err) < 0 ? -1 : volume_is_copied(e, s, &p, err);
        if (copied < 0)
            return -1;
        n += copied > 0;
    }
    if (n == to->volumes_n)
        return n > 0;
    return n ? drop_copied(e, s, err) : 0;
}

/* Makes the clone; *ret_held: how long the source was paused for it, -1: not at all. */
static int clone_now(struct cloning *c, const struct plan_step *s, bool source_runs,
                     nsec_t *ret_held, struct err *err)
{
    struct engine *e = c->e;
    bool freeze = false;
    *ret_held = -1;
    /* A source that does not run is at rest as it is. */
    if ((source_runs && estimate_freeze(e, s, &freeze, err) < 0) ||
        pass_over(c, s, PASS_BEGIN, err) < 0 || hole_begin(e, err) < 0 ||
        (source_runs && run_snapshot_commands(e, s, true, err) < 0))
        return -1;
    int r = freeze ? clone_frozen(c, s, ret_held, err) : pass_over(c, s, PASS_CLONE, err);
    struct err after_err = {0};
    if (source_runs && run_snapshot_commands(e, s, false, r < 0 ? &after_err : err) < 0)
        r = -1;
    c->ceiling = 0;
    return r < 0 ? -1 : pass_over(c, s, PASS_SETTLE, err);
}

static int clone_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    struct cloning c = {.e = e, .ctx = e->ctx};
    c.ctx.poll = cloning_poll;
    c.ctx.poll_ctx = &c;
    enum colour from = colour_other(s->colour);
    int copied = sort_leftovers(e, s, err);
    if (copied < 0)
        return -1;
    if (copied) {
        snprintf(result, STEP_RESULT, "cloned by an attempt before this one");
        return run_snapshot_commands(e, s, false, err) < 0 ? -1
                                                           : pass_over(&c, s, PASS_SETTLE, err);
    }
    nsec_t held;
    struct instance_facts source = {0};
    if ((e->traffic && e->traffic->failover(&e->ctx, false, err) < 0) ||
        e->runtime->inspect(&e->ctx, from, &source, err) < 0 ||
        clone_now(&c, s, source.state == INSTANCE_RUNNING, &held, err) < 0)
        return -1;
    char words[24];
    if (held >= 0)
        snprintf(result, STEP_RESULT, "cloned; %s was paused for %s", colour_name(from),
                 clock_words(words, sizeof(words), held));
    else
        snprintf(result, STEP_RESULT, "cloned; %s was %s", colour_name(from),
                 source.state == INSTANCE_RUNNING ? "not paused" : "stopped");
    return 0;
}

/* True only if every volume is complete and of this upgrade: then the point in time is one. */
static int cloned(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct spec *to = e->ctx.side[s->colour];
    for (size_t i = 0; i < to->volumes_n; i++) {
        struct volume_pair p;
        struct storage_facts f = {0};
        if (pair_of(e, s, i, &p, err) < 0 ||
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

static int forget_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    (void)result;
    return journal_generation_clear(e->j, s->colour, err);
}

const struct step_ops step_forget = {.apply = forget_apply};
