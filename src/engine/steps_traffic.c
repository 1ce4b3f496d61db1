/* Steps that move traffic: preview, flip, proof, drain. A spec with traffic.driver none has no
 * traffic driver, and these steps say so and pass. */
#include "engine/drain.h"
#include "engine/prober.h"
#include "engine/sockets.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>

#define DRAIN_LOOK (30 * NSEC_MS)
#define DRAIN_ZEROS 3
/* While requests wait nothing has been proven since the flip: what was before it may come late. */
#define HOLD_ZEROS 10

static int preview_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    if (!e->traffic)
        return 0;
    if (e->traffic->preview(&e->ctx, s->colour, err) < 0)
        return -1;
    if (e->traffic->loses) {
        char words[600];
        e->traffic->loses(&e->ctx, colour_other(s->colour), words, sizeof(words));
        event_warn(&e->tee, "the flip loses: %s", words);
    }
    snprintf(result, STEP_RESULT, "both colours answer%s and tell themselves apart",
             e->traffic->loses ? "" : " through the proxy");
    return 0;
}

const struct step_ops step_preview = {.apply = preview_apply};

static int seen_at(struct engine *e, enum colour c, struct err *err)
{
    struct traffic_facts f = {0};
    if (!e->traffic)
        return 1;
    if (e->traffic->inspect(&e->ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    return f.flag == c;
}

static int flip_check(struct engine *e, const struct plan_step *s, struct err *err)
{
    int r = seen_at(e, s->colour, err);
    if (r <= 0)
        return r;
    /* Both flags may still be there: point() again leaves exactly one. */
    if (e->traffic && e->traffic->point(&e->ctx, s->colour, err) < 0)
        return -1;
    return journal_flip(e->j, e->up, s->colour, err) < 0 ? -1 : 1;
}

static int flip_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    nsec_t begun = sys_clock_mono();
    /* Silence counts from the flip on, also if we are killed before we wait for the confirmation.
     */
    if (e->confirm_within && s->colour == e->up->to &&
        journal_deadline_set(e->j, CONFIRM_DEADLINE, e->confirm_within, "silence rolls back", err) <
            0)
        return -1;
    prober_flip(e, s->colour);
    if (e->traffic && e->traffic->point(&e->ctx, s->colour, err) < 0)
        return -1;
    char words[24];
    snprintf(result, STEP_RESULT, "%s has the traffic; the switch took %s", colour_name(s->colour),
             clock_words(words, sizeof(words), sys_clock_mono() - begun));
    if (journal_flip(e->j, e->up, s->colour, err) < 0)
        return -1;
    sockets_flipped(e, colour_other(s->colour));
    return 0;
}

static int flip_undo(struct engine *e, const struct plan_step *s, struct err *err)
{
    enum colour back = colour_other(s->colour);
    if (e->traffic && e->traffic->point(&e->ctx, back, err) < 0)
        return -1;
    return journal_flip(e->j, e->up, back, err);
}

const struct step_ops step_flip = {.check = flip_check, .apply = flip_apply, .undo = flip_undo};

static int verify_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    if (!e->traffic)
        return 0;
    if (e->traffic->verify(&e->ctx, s->colour, err) < 0)
        return -1;
    snprintf(result, STEP_RESULT, "%d of %d requests through the front were answered by %s",
             e->ctx.side[s->colour]->traffic.verify_requests,
             e->ctx.side[s->colour]->traffic.verify_requests, colour_name(s->colour));
    return 0;
}

const struct step_ops step_verify = {.apply = verify_apply};

static bool quiet(const struct engine *e, const struct traffic_load *l)
{
    return (l->listed || (e->traffic->loses && e->drop)) && l->requests == 0 && l->waiting == 0 &&
           (l->foreign == 0 || e->drop);
}

static int drain_late(const struct engine *e, const struct plan_step *s,
                      const struct traffic_load *l, struct err *err)
{
    const char *c = colour_name(s->colour), *past = e->traffic->loses ? "" : ", past the proxy";
    if (!l->listed && e->traffic->loses)
        err_set(err, ERR_GATE,
                "%s cannot be shown to be drained: its connections are not this machine's to see; "
                "%s keeps running",
                c, c);
    else if (!l->listed)
        err_set(err, ERR_GATE,
                "%s cannot be shown to be drained: the proxy does not list it any more; %s keeps "
                "running",
                c, c);
    else if (l->foreign)
        err_set(err, ERR_GATE,
                "%s still has %d direct connection%s%s: %s; %s keeps running, nothing was stopped",
                c, l->foreign, l->foreign == 1 ? "" : "s", past, l->peers, c);
    else
        err_set(err, ERR_GATE,
                "%s still has %d request%s in flight; %s keeps running, nothing was stopped", c,
                l->requests > l->waiting ? l->requests : l->waiting, l->requests == 1 ? "" : "s",
                c);
    return err_hint(err,
                    "end those clients, then the same command again; or with --drop to cut them; "
                    "or traffic.ignore_peers in the spec");
}

/* One drain in progress. */
struct drain {
    const struct spec_traffic *t;
    bool websockets;          /* wait for those too */
    nsec_t begun, busy_since; /* busy_since: since when it has not been quiet */
    int zeros;                /* quiet looks in a row */
    struct traffic_load load;
};

/* Looks once. A proxy that is slow to answer is no reason to end: that counts as not quiet, until
 * the deadline. */
static int drain_look(struct engine *e, const struct plan_step *s, struct drain *d, struct err *err)
{
    struct err look_err = {0};
    struct traffic_load l = {0};
    bool seen = e->traffic->load(&e->ctx, s->colour, &l, &look_err) == 0;
    nsec_t now = sys_clock_mono();
    if (seen)
        d->load = l;
    d->zeros = seen && quiet(e, &l) ? d->zeros + 1 : 0;
    if (d->zeros)
        d->busy_since = now;
    if (now - d->busy_since < d->t->drain_deadline)
        return 0;
    if (seen)
        return drain_late(e, s, &d->load, err);
    *err = look_err;
    err->code = ERR_GATE;
    return err_ctx(err, "%s cannot be shown to be drained, and keeps running",
                   colour_name(s->colour));
}

static bool drained(const struct engine *e, const struct plan_step *s, const struct drain *d)
{
    if (e->hold_until) /* while requests wait, websockets are not waited for */
        return d->zeros >= HOLD_ZEROS;
    return d->zeros >= DRAIN_ZEROS &&
           (!d->websockets || d->load.websockets <= prober_websockets(e, s->colour) || e->drop ||
            sys_clock_mono() - d->begun >= d->t->drain_websockets);
}

static void drain_progress(struct engine *e, const struct plan_step *s, const struct drain *d)
{
    char text[128];
    snprintf(text, sizeof(text), "draining %s: %d requests, %d websockets, %d direct",
             colour_name(s->colour), d->load.requests, d->load.websockets, d->load.foreign);
    /* What is waited for: requests and direct clients, and after them the websockets. */
    nsec_t from = d->zeros ? d->begun : d->busy_since,
           most = d->zeros ? d->t->drain_websockets : d->t->drain_deadline;
    prober_progress(e, text, sys_clock_mono() - from, most);
}

int drain_wait(struct engine *e, const struct plan_step *s, bool websockets,
               struct traffic_load *ret, struct err *err)
{
    struct drain d = {
        .t = &e->ctx.side[s->colour]->traffic, .websockets = websockets, .begun = sys_clock_mono()};
    d.busy_since = d.begun;
    for (;;) {
        if (driver_poll(&e->ctx))
            return err_set(err, ERR_INTERRUPTED, "asked to end while %s was drained",
                           colour_name(s->colour));
        if (drain_look(e, s, &d, err) < 0 || prober_look(e, err) < 0)
            return -1;
        if (drained(e, s, &d))
            break;
        drain_progress(e, s, &d);
        sys_sleep(d.zeros ? DRAIN_LOOK : 2 * DRAIN_LOOK);
    }
    *ret = d.load;
    return 0;
}

static int drain_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    struct instance_facts inst = {0};
    struct traffic_load l = {0};
    if (!e->traffic)
        return 0;
    if (e->runtime->inspect(&e->ctx, s->colour, &inst, err) < 0)
        return -1;
    if (inst.state != INSTANCE_RUNNING) {
        snprintf(result, STEP_RESULT, "%s does not run: nothing to drain", colour_name(s->colour));
        return 0;
    }
    const struct spec_traffic *t = &e->ctx.side[s->colour]->traffic;
    bool spread = !e->hold_until && e->ctx.side[s->colour]->stop.websockets.spread > 0;
    sockets_seen(e, s->colour);
    if (drain_wait(e, s, true, &l, err) < 0)
        return -1;
    if (l.foreign)
        snprintf(result, STEP_RESULT,
                 "%s has no request in flight; its stop cuts %d open connection%s and %d "
                 "websocket%s (--drop)",
                 colour_name(s->colour), l.foreign, l.foreign == 1 ? "" : "s", l.websockets,
                 l.websockets == 1 ? "" : "s");
    else if (l.websockets)
        snprintf(result, STEP_RESULT, "%s has no request in flight; %d websocket%s left, which %s",
                 colour_name(s->colour), l.websockets, l.websockets == 1 ? "" : "s",
                 spread ? "it is told to close next" : "its stop closes");
    else
        snprintf(result, STEP_RESULT, "%s has no request in flight%s", colour_name(s->colour),
                 t->websockets == WS_NONE ? "" : " and no websocket open");
    return 0;
}

const struct step_ops step_drain = {.apply = drain_apply};
