#include "engine/prober_trial.h"

#include "engine/prober_internal.h"
#include "sys/clock.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AWAITED (5 * NSEC_S) /* a websocket and its first event; a line in a log */
#define RATE 20              /* a second: a trial is no load */
#define RATE_BESIDE 5        /* while a websocket's first event is awaited */

static const char *const mends[PROBE_OUTCOMES] = {
    [PROBE_REFUSED] = "probe.url in the spec: an address at which clients are served",
    [PROBE_RESET] = "the log of who serves at probe.url says more",
    [PROBE_TIMEOUT] = "probe.url, or a longer probe.timeout, in the spec",
    [PROBE_UNSENT] = "the limits of open files and ports of this machine",
};

static const char *const bad_mends[PROBE_BADS] = {
    [PROBE_BAD_HTTP] = "probe.url in the spec: http:// or https://, as the site is",
    [PROBE_BAD_STATUS] = "probe.url in the spec (host name and path), or probe.expect_status",
    [PROBE_BAD_BODY] = "probe.expect_body or probe.body in the spec",
    [PROBE_BAD_RPC] = "probe.body in the spec: live does not take this request",
    [PROBE_BAD_NUMBER] = "what stands between gives a client the answer to another's request",
    [PROBE_BAD_STALE] = "probe.max_step_back in the spec, or what live answers",
};

struct trial {
    const struct driver_ctx *ctx;
    const struct spec_probe *spec;
    enum colour live;
    struct probe_options o;
    struct probe_result r;
    struct findings *f;
};

static bool complete(const struct trial *t)
{
    const struct probe_result *r = &t->r;
    return r->sent >= (t->o.n_bodies ? t->o.n_bodies : 1) && !r->in_flight &&
           (!r->ws.wanted || r->ws.events) && (!r->executed.asked || r->executed.requests);
}

static int ask(struct trial *t, struct err *err)
{
    struct probe *p;
    int r = 0;
    if (probe_start(&t->o, &p, err) < 0)
        return -1;
    nsec_t until = sys_clock_mono() + AWAITED;
    do {
        if (driver_poll(t->ctx))
            r = err_set(err, ERR_INTERRUPTED, "asked to end while the probe was tried");
        sys_sleep(20 * NSEC_MS);
        probe_look_executed(p);
        probe_snapshot(p, &t->r);
    } while (r == 0 && !complete(t) && sys_clock_mono() < until);
    probe_stop(p, &t->r);
    probe_free(p);
    return r;
}

static const char *mend_of(const struct trial *t, const struct probe_failure *f)
{
    bool tls = f->outcome == PROBE_REFUSED && str_starts(t->o.url, "https:") &&
               (strstr(f->detail, "SSL") || strstr(f->detail, "certificate"));
    if (tls)
        return "probe.ca_file in the spec: who signs it (or probe.insecure: true), and the host "
               "name in probe.url";
    return f->outcome == PROBE_BAD ? bad_mends[f->bad] : mends[f->outcome];
}

/* Each kind of failure once. */
static void add_failures(const struct trial *t)
{
    for (uint64_t i = 0; i < t->r.n_failures && i < TRIAL_BODIES; i++) {
        const struct probe_failure *f = &t->r.failures[i];
        bool bad = f->outcome == PROBE_BAD, said = false;
        for (uint64_t k = 0; k < i; k++)
            said |= t->r.failures[k].outcome == f->outcome && t->r.failures[k].bad == f->bad;
        if (!said)
            findings_add(t->f, FINDING_ERROR, "probe", mend_of(t, f),
                         "a trial request to %s, as promote will send them: %s: %s", t->o.url,
                         bad ? probe_bad_words[f->bad] : probe_outcome_words[f->outcome],
                         f->detail);
    }
}

static void add_colours(const struct trial *t)
{
    for (unsigned i = 0; i < t->r.n_colours; i++) {
        const char *name = t->r.colours[i].name;
        if (str_eq(name, "-"))
            findings_add(t->f, FINDING_WARNING, "probe",
                         "probe.url through the proxy's site, which sets X-Changeover-Colour; or "
                         "probe.colour_header, probe.colour_field",
                         "%s answers, but does not say which colour it was: there is no header %s",
                         t->o.url, t->spec->colour_header);
        else if (str_eq(name, colour_name(colour_other(t->live))))
            findings_add(t->f, FINDING_ERROR, "probe", "probe.url in the spec",
                         "%s is answered by %s, and %s is live", t->o.url, name,
                         colour_name(t->live));
    }
}

static void add_websocket(const struct trial *t)
{
    const struct probe_sockets *w = &t->r.ws;
    static const char mend[] = "probe.ws_url or probe.ws_subscribe in the spec";
    if (!w->wanted)
        return;
    if (!w->open && !w->events)
        findings_add(t->f, FINDING_ERROR, "probe", mend,
                     "a trial websocket to %s does not open: %s", t->o.ws_url,
                     *w->refused_why ? w->refused_why : "the connection was lost");
    else if (!w->events)
        findings_add(t->f, FINDING_WARNING, "probe", mend,
                     "a trial websocket to %s is open, but no event came within 5 s", t->o.ws_url);
}

static void add_logs(const struct trial *t)
{
    if (t->r.executed.asked && !t->r.executed.requests && t->r.outcome[PROBE_OK])
        findings_add(t->f, FINDING_WARNING, "probe",
                     "probe.executed in the spec: a line for each request, its number the second "
                     "word",
                     "the logs of probe.executed say nothing of the requests that were just "
                     "answered: one that is executed twice would not be found");
}

/* Whoever found that has said already why nobody would answer. */
static bool hopeless(const struct findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->items[i].level == FINDING_ERROR &&
            (str_eq(f->items[i].topic, "traffic") || str_eq(f->items[i].topic, "instance")))
            return true;
    return false;
}

static void bounds(struct probe_options *o)
{
    o->n_bodies = o->n_bodies < TRIAL_BODIES ? o->n_bodies : TRIAL_BODIES;
    o->websockets = o->websockets > 0;
    o->rate = o->websockets ? RATE_BESIDE : RATE;
    if (!o->websockets) /* else until there is an event */
        o->duration = (nsec_t)(o->n_bodies ? o->n_bodies : 1) * NSEC_S / RATE;
    o->windows = false;
    o->series = 0;
}

int prober_trial(const struct driver_ctx *ctx, enum colour live, enum colour standby,
                 struct findings *f, struct err *err)
{
    const struct spec *s = ctx->side[standby];
    struct trial t = {.ctx = ctx, .spec = &s->probe, .live = live, .f = f};
    struct err why = {0};
    size_t before = f->n;
    if (!s->probe.on || hopeless(f))
        return 0;
    prober_options(s, &t.o);
    bounds(&t.o);
    int r = ask(&t, &why);
    if (r < 0 && why.code == ERR_INTERRUPTED) {
        *err = why;
    } else if (r < 0) {
        findings_add(f, FINDING_ERROR, "probe", *why.hint ? why.hint : "probe in the spec", "%s",
                     why.msg);
        r = 0;
    } else {
        add_failures(&t);
        add_colours(&t);
        add_websocket(&t);
        add_logs(&t);
        if (f->n == before)
            findings_add(f, FINDING_OK, "probe", NULL,
                         "%" PRIu64 " trial request%s sent to %s%s and answered well by %s",
                         t.r.sent, t.r.sent == 1 ? " was" : "s were", t.o.url,
                         t.r.ws.wanted ? ", and a websocket," : "", colour_name(live));
    }
    probe_result_done(&t.r);
    return r;
}
