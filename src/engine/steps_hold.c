/* Steps of an upgrade during which requests wait (writes: client): that it fits, hold, release, and
 * the ways out of it. */
#include "engine/passes.h"
#include "engine/prober.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>

/* --- does it fit? -------------------------------------------------------------------------- */

/* What is left for the hold of a volume that passes are made over while nobody waits: the look at
 * all of it. */
static int clone_estimate(struct engine *e, enum colour to, nsec_t *ret, struct err *err)
{
    const struct spec *src = e->ctx.side[colour_other(to)], *dst = e->ctx.side[to];
    *ret = 0;
    for (size_t i = 0; i < dst->volumes_n; i++) {
        const struct spec_volume *d = &dst->volumes[i], *s = spec_volume(src, d->name);
        const struct storage_ops *ops = storage_find(s ? s : d, d, err);
        struct storage_facts f = {0};
        if (!ops || ops->inspect(&e->ctx, s ? s : d, d, to, true, &f, err) < 0)
            return err_ctx(err, "volume %s", d->name);
        *ret += f.pause_ns ? f.pause_ns : f.estimate_ns;
    }
    return 0;
}

/* How long a step of prepare took, which is made again; 0: not known. */
static int rehearsed(struct engine *e, const char *step, nsec_t *ret, struct err *err)
{
    struct step_row row;
    if (journal_step(e->j, e->up->id, step, &row, err) < 0)
        return -1;
    bool whole = row.status == STEP_DONE && row.ended_wall_ns > row.started_wall_ns;
    *ret = whole ? row.ended_wall_ns - row.started_wall_ns : 0;
    return 0;
}

static int proxy_holds(struct engine *e, struct err *err)
{
    struct traffic_facts f = {0};
    if (e->traffic->inspect(&e->ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    if (f.installed && !*f.text)
        return 0;
    err_set(err, ERR_FAILED, "the proxy cannot be trusted to hold requests: %s", f.text);
    return err_hint(err, "changeover traffic install; then changeover promote");
}

/* `clone`: what is left of it for the hold. */
static int refuse_long_hold(struct engine *e, const struct plan_step *s, nsec_t clone,
                            const char *state, char *result, struct err *err)
{
    nsec_t start, gate, max = e->ctx.side[s->colour]->traffic.hold_max;
    char sum_words[24], most[24], clone_words[24], rest[24];
    if (rehearsed(e, "prepare/start", &start, err) < 0 ||
        rehearsed(e, "prepare/gate", &gate, err) < 0)
        return -1;
    clock_words(clone_words, sizeof(clone_words), clone);
    clock_words(rest, sizeof(rest), start + gate);
    clock_words(sum_words, sizeof(sum_words), clone + start + gate);
    clock_words(most, sizeof(most), max);
    snprintf(result, STEP_RESULT,
             "about %s of at most %s: the rest of the clone %s, start and gate %s", sum_words, most,
             clone_words, rest);
    if (clone + start + gate <= max)
        return 0;
    err_set(err, ERR_FAILED,
            "requests would wait for about %s (the rest of the clone %s, %s's start and gate %s); "
            "traffic.hold.max allows %s; %s",
            sum_words, clone_words, colour_name(s->colour), rest, most, state);
    return err_hint(
        err, "in the spec traffic.hold.max: higher, if clients wait that long, or a driver that "
             "shares blocks (reflink), then changeover rollback, cleanup, prepare; or promote "
             "--accept-loss (a plain flip: loses what was written since prepare)");
}

static int fits_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    nsec_t clone;
    if (proxy_holds(e, err) < 0 || clone_estimate(e, s->colour, &clone, err) < 0)
        return -1;
    return refuse_long_hold(e, s, clone, "nothing was changed", result, err);
}

const struct step_ops step_fits = {.apply = fits_apply};

/* Their memory is this process's: one that goes on inside the hold clones all of it there. */
static int ahead_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    nsec_t last = 0;
    struct step_row hold;
    if (journal_step(e->j, e->up->id, "hold/hold", &hold, err) < 0)
        return -1;
    if (hold.status != STEP_NONE) {
        snprintf(result, STEP_RESULT, "none: requests wait already");
        return 0;
    }
    if (passes_ahead_of_hold(e, s, &last, err) < 0)
        return -1;
    if (!e->ahead)
        snprintf(result, STEP_RESULT, "none: %s does not run",
                 colour_name(colour_other(s->colour)));
    return e->ahead ? refuse_long_hold(e, s, last, "nobody has waited", result, err) : 0;
}

const struct step_ops step_ahead = {.apply = ahead_apply};

/* --- hold, release ------------------------------------------------------------------------- */

static int facts(struct engine *e, struct traffic_facts *f, struct err *err)
{
    *f = (struct traffic_facts){.flag = COLOUR_NONE};
    return e->traffic ? e->traffic->inspect(&e->ctx, TRAFFIC_PATIENT, f, err) : 0;
}

int engine_held(struct engine *e, struct err *err)
{
    struct traffic_facts f;
    return facts(e, &f, err) < 0 ? -1 : f.held[e->up->to];
}

/* The ceiling is in the journal before anybody waits, for whoever comes after us. */
static int hold_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    nsec_t max = e->ctx.side[s->colour]->traffic.hold_max;
    char words[24], why[96];
    str_format(why, sizeof(why), "requests for %s wait; back to %s", colour_name(s->colour),
               colour_name(colour_other(s->colour)));
    if (journal_deadline_set(e->j, HOLD_DEADLINE, max, why, err) < 0)
        return -1;
    e->hold_until = sys_clock_mono() + max;
    snprintf(result, STEP_RESULT, "requests for %s wait, at most %s", colour_name(s->colour),
             clock_words(words, sizeof(words), max));
    struct err ignored = {0};
    if (e->traffic->hold(&e->ctx, s->colour, HOLD_ON, err) < 0)
        return -1;
    if (e->traffic->readme(&e->ctx, why, &ignored) < 0)
        event_warn(&e->tee, "the README in the flag directory is out of date: %s", ignored.msg);
    return 0;
}

static int hold_undo(struct engine *e, const struct plan_step *s, struct err *err)
{
    return e->traffic->hold(&e->ctx, s->colour, HOLD_NONE, err);
}

const struct step_ops step_hold = {.apply = hold_apply, .undo = hold_undo};

static int release_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    struct deadline d;
    nsec_t left = 0;
    char words[24] = "some time";
    nsec_t max = e->ctx.side[s->colour]->traffic.hold_max;
    prober_let_go(e);
    if (e->traffic->hold(&e->ctx, s->colour, HOLD_OPEN, err) < 0)
        return -1;
    prober_let_gone(e);
    if (journal_deadline(e->j, HOLD_DEADLINE, &d, &left, err) > 0)
        clock_words(words, sizeof(words), max - left);
    e->hold_until = 0;
    snprintf(result, STEP_RESULT, "requests waited for %s and go to %s now", words,
             colour_name(s->colour));
    return journal_deadline_clear(e->j, HOLD_DEADLINE, err);
}

const struct step_ops step_release = {.apply = release_apply};

/* What was let go is seen by the proxy's next check: only then is the flag not needed any more. */
static int let_go_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    struct traffic_facts f;
    (void)result;
    if (facts(e, &f, err) < 0)
        return -1;
    nsec_t until = sys_clock_mono() + (f.open[s->colour] ? HOLD_SEEN : 0);
    while (sys_clock_mono() < until)
        sys_sleep(50 * NSEC_MS);
    return e->traffic ? e->traffic->hold(&e->ctx, s->colour, HOLD_NONE, err) : 0;
}

const struct step_ops step_let_go = {.apply = let_go_apply};

static int give_back_apply(struct engine *e, const struct plan_step *s, char *result,
                           struct err *err)
{
    snprintf(result, STEP_RESULT, "what waited for %s was answered by %s", colour_name(s->colour),
             colour_name(colour_other(s->colour)));
    prober_let_go(e);
    if (e->traffic && e->traffic->give_back(&e->ctx, s->colour, err) < 0)
        return -1;
    prober_let_gone(e);
    return 0;
}

const struct step_ops step_give_back = {.apply = give_back_apply};
