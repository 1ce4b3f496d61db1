/* Steps that wait for a colour to be good: gate, shadow and bake. */
#include "engine/brake.h"
#include "engine/engine.h"
#include "engine/gate.h"
#include "engine/prober.h"
#include "engine/shadow.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>

#define GATES_MAX 32
#define REST (50 * NSEC_MS)

/* Before the flip a standby is always measured against live. After it the other side is one measure
 * more while it runs, and none when it is gone or does not answer: one that fails must not stand in
 * the way back from it. */
static struct gate_request request(struct engine *e, const struct plan_step *s, const char *what)
{
    struct instance_facts other = {0};
    struct err ignored = {0};
    bool compare = !e->up->flipped ||
                   (e->runtime->inspect(&e->ctx, colour_other(s->colour), &other, &ignored) == 0 &&
                    other.state == INSTANCE_RUNNING);
    const char *version = s->colour == e->up->to ? e->up->version_to : e->up->version_from;
    return (struct gate_request){
        .colour = s->colour,
        .reference = compare ? colour_other(s->colour) : COLOUR_NONE,
        .reference_may_fail = e->up->flipped,
        .target_version = *version ? version : NULL,
        .what = what,
    };
}

static void brake_free_p(struct brake **b)
{
    brake_free(*b);
}

static int turn(void *ctx, struct err *err)
{
    return brake_turn(ctx, err);
}

/* A standby that catches up must not slow live down. */
static int start_brake(struct engine *e, const struct plan_step *s, struct gate_request *rq,
                       struct brake **ret, struct err *err)
{
    if (e->up->flipped || s->colour != e->up->to || !brake_wanted(e->ctx.side[s->colour]))
        return 0;
    if (brake_start(&e->ctx, e->runtime, e->up->from, s->colour, ret, err) < 0)
        return -1;
    rq->between = turn;
    rq->between_ctx = *ret;
    return 0;
}

static nsec_t hold_deadline(const struct engine *e, nsec_t own, nsec_t now)
{
    nsec_t left = e->hold_until - now - 200 * NSEC_MS;
    if (left < NSEC_MS)
        left = NSEC_MS;
    return own && own < left ? own : left;
}

static int gate_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    char what[64], words[24];
    snprintf(what, sizeof(what), "%s catches up", colour_name(s->colour));
    struct gate_request rq = request(e, s, what);
    cleanup(brake_free_p) struct brake *brake = NULL;
    if (start_brake(e, s, &rq, &brake, err) < 0)
        return -1;
    if (!rq.between && e->prober) {
        rq.between = prober_between;
        rq.between_ctx = e;
    }
    nsec_t begun = sys_clock_mono();
    if (e->hold_until) /* requests wait: over in time to say which gate did not pass */
        rq.deadline = hold_deadline(e, e->ctx.side[s->colour]->gate.deadline, begun);
    if (gate_wait(&e->ctx, &rq, err) < 0)
        return -1;
    char paused[128] = "";
    if (brake)
        brake_words(brake, paused, sizeof(paused));
    snprintf(result, STEP_RESULT, "%s passed every gate %d times in a row after %s%s",
             colour_name(s->colour), e->ctx.side[s->colour]->gate.passes,
             clock_words(words, sizeof(words), sys_clock_mono() - begun), paused);
    return 0;
}

const struct step_ops step_gate = {.apply = gate_apply};

static int shadow_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    const struct spec *spec = e->ctx.side[s->colour];
    struct shadow_request rq = {.live = colour_other(s->colour), .standby = s->colour};
    cleanup_free struct shadow_result *r = x_alloc(sizeof(*r));
    char allowed[64] = "";
    if (shadow_run(&e->ctx, &rq, r, err) < 0)
        return -1;
    for (size_t i = 0; i < r->shown_n; i++) {
        cleanup_str struct str words = {0};
        shadow_words(&r->shown[i], &words);
        event_warn(&e->tee, "%s", str_cstr(&words));
    }
    if (shadow_judge(spec, &rq, r, err) < 0)
        return -1;
    if (r->differ)
        str_format(allowed, sizeof(allowed), " (%d may differ)", spec->shadow.max_differences);
    snprintf(result, STEP_RESULT, "%d of %d answers of %zu requests are the same on %s and %s%s",
             r->compared - r->differ, r->wanted, spec->shadow.requests_n, colour_name(rq.live),
             colour_name(rq.standby), allowed);
    return 0;
}

const struct step_ops step_shadow = {.apply = shadow_apply};

/* One look: 0 all pass, 1 one does not (said in `said`), -1. */
static int look(struct gate_watch *w, char *said, size_t size, struct err *err)
{
    struct gate_result r[GATES_MAX];
    size_t n = 0;
    if (gate_watch_look(w, r, GATES_MAX, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!r[i].pass) {
            snprintf(said, size, "%s: %s", r[i].gate, r[i].said);
            return 1;
        }
    return 0;
}

static void watch_free_p(struct gate_watch **w)
{
    gate_watch_free(*w);
}

/* Until `until`: what must not wait for the next look at the gate. */
static int rest(struct engine *e, const struct plan_step *s, nsec_t until, struct err *err)
{
    nsec_t left;
    while ((left = until - sys_clock_mono()) > 0) {
        if (driver_poll(&e->ctx))
            return err_set(err, ERR_INTERRUPTED, "asked to end while %s was watched",
                           colour_name(s->colour));
        if (prober_look(e, err) < 0)
            return -1;
        sys_sleep(left < REST ? left : REST);
    }
    return prober_look(e, err);
}

static int bake_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    const struct spec *spec = e->ctx.side[s->colour];
    struct gate_request rq = request(e, s, "bake");
    rq.passed_before = true;
    cleanup(watch_free_p) struct gate_watch *w = gate_watch_new(&e->ctx, &rq, err);
    if (!w)
        return -1;
    nsec_t begun = sys_clock_mono(), until = begun + spec->bake;
    int failed = 0;
    char said[320] = "";
    while (sys_clock_mono() < until || failed) {
        int r = look(w, said, sizeof(said), err);
        if (r < 0)
            return -1;
        failed = r ? failed + 1 : 0;
        if (failed >= spec->gate.passes)
            return err_set(err, ERR_GATE, "%s fails after the flip: %s", colour_name(s->colour),
                           said);
        nsec_t now = sys_clock_mono(), next = now + spec->gate.interval;
        prober_progress(e, failed ? said : "baking", now - begun, spec->bake);
        if (rest(e, s, failed || next < until ? next : until, err) < 0)
            return -1;
    }
    char words[24];
    snprintf(result, STEP_RESULT, "%s was good for %s", colour_name(s->colour),
             clock_words(words, sizeof(words), spec->bake));
    return 0;
}

static int baseline_apply(struct engine *e, const struct plan_step *s unused, char *result,
                          struct err *err)
{
    return prober_baseline(e, result, err);
}

const struct step_ops step_baseline = {.apply = baseline_apply};

static int probe_apply(struct engine *e, const struct plan_step *s unused, char *result,
                       struct err *err unused)
{
    prober_start(e, result);
    return 0;
}

const struct step_ops step_probe = {.apply = probe_apply};

const struct step_ops step_bake = {.apply = bake_apply};
