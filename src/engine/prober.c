#include "engine/prober_internal.h"

#include "format/json.h"
#include "sys/clock.h"
#include "sys/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK_EVERY (50 * NSEC_MS)
#define STORE_EVERY (5 * NSEC_S) /* so that a kill does not take away what was seen */
#define LOGS_EVERY NSEC_S        /* of the backends */
#define FORGONE "probe.forgone"  /* meta: the upgrade that goes on without one */

enum { CONNECTIONS_LEAST = 256, CONNECTIONS_MOST = 2048, OTHER_FILES = 128, STRETCHES = 500 };

/* --- what is kept ------------------------------------------------------------------------------
 */

static void keep(struct engine *e, const char *part, json_t *j)
{
    struct err err = {0};
    cleanup_free char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!text || journal_probe_set(e->j, e->up->id, part, text, &err) < 0)
        event_warn(&e->tee, "what the probe found is not in the journal: %s", err.msg);
    json_decref(j);
}

static json_t *baseline_json(const struct baseline *b)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f}", "sent", (json_int_t)b->sent, "lost",
                     (json_int_t)b->lost, "p50_ms", (double)b->p50 / 1e6, "p99_ms",
                     (double)b->p99 / 1e6, "gap_ms", (double)b->gap / 1e6);
}

static nsec_t ms_of(const json_t *j, const char *key)
{
    return (nsec_t)(json_number_value(json_object_get(j, key)) * 1e6);
}

static void load_baseline(struct engine *e, struct baseline *b)
{
    struct err ignored = {0};
    cleanup_str struct str text = {0};
    if (journal_probe(e->j, e->up->id, BASELINE, &text, &ignored) <= 0)
        return;
    cleanup_json json_t *j = json_loads(str_cstr(&text), 0, NULL);
    *b = (struct baseline){
        .known = json_is_object(j),
        .sent = (uint64_t)json_integer_value(json_object_get(j, "sent")),
        .lost = (uint64_t)json_integer_value(json_object_get(j, "lost")),
        .p50 = ms_of(j, "p50_ms"),
        .p99 = ms_of(j, "p99_ms"),
        .gap = ms_of(j, "gap_ms"),
    };
}

static json_t *result_json(const struct prober *pr)
{
    json_t *j = probe_result_json(&pr->now);
    if (pr->base.known)
        json_object_set_new(j, "baseline", baseline_json(&pr->base));
    if (*pr->broken)
        json_object_set_new(j, "broken", json_string(pr->broken));
    return j;
}

static void look(struct engine *e, struct prober *pr)
{
    nsec_t now = sys_clock_mono();
    if (now >= pr->logs_looked + LOGS_EVERY) {
        probe_look_executed(pr->p);
        pr->logs_looked = now;
    }
    probe_snapshot(pr->p, &pr->now);
    pr->looked = now;
    if (now < pr->stored + STORE_EVERY)
        return;
    pr->stored = now;
    keep(e, pr->part, result_json(pr));
}

/* --- its life ----------------------------------------------------------------------------------
 */

static void prober_free(struct prober *pr)
{
    if (!pr)
        return;
    probe_free(pr->p);
    probe_result_done(&pr->now);
    hist_done(&pr->latency_then);
    hist_done(&pr->lateness_then);
    free(pr);
}

/* A request of a killed run may still be executed now: it must not look like one of ours. */
static uint64_t numbers_from(const struct spec_probe *p)
{
    enum { SECONDS = 100000000, APART = 10000000 }; /* to 10^15: a double is exact up to there */
    return p->executed.n ? (uint64_t)(sys_clock_wall() / NSEC_S % SECONDS) * APART : 0;
}

void prober_options(const struct spec *s, struct probe_options *o)
{
    const struct spec_probe *p = &s->probe;
    nsec_t stretch = (p->baseline + s->bake) / STRETCHES;
    unsigned rate = (unsigned)p->rate;
    *o = (struct probe_options){
        .url = p->url,
        .rate = p->rate,
        .connections = rate < CONNECTIONS_LEAST  ? CONNECTIONS_LEAST
                       : rate > CONNECTIONS_MOST ? CONNECTIONS_MOST
                                                 : rate,
        .timeout = p->timeout,
        .bodies = (const char *const *)p->bodies.v,
        .n_bodies = p->bodies.n,
        .headers = (const char *const *)p->headers.v,
        .fresh_percent = (unsigned)p->fresh,
        .expect_status = p->expect_status,
        .expect_body = p->expect_body,
        .ca_file = p->ca_file,
        .insecure = p->insecure,
        .limit_step_back = p->limit_step_back,
        .max_step_back = (int64_t)p->max_step_back,
        .colour_header = p->colour_header,
        .colour_field = p->colour_field,
        .executed = (const char *const *)p->executed.v,
        .n_executed = p->executed.n,
        .numbers_from = numbers_from(p),
        .websockets = (unsigned)p->websockets,
        .ws_url = p->ws_url,
        .ws_subscribe = p->ws_subscribe,
        .windows = true,
        .series = stretch < 100 * NSEC_MS ? 100 * NSEC_MS : stretch,
    };
}

int prober_forgo(struct engine *e, struct err *err)
{
    return journal_meta_set(e->j, FORGONE, e->up->id, err);
}

static bool forgone(struct engine *e)
{
    struct err ignored = {0};
    cleanup_str struct str id = {0};
    return journal_meta_get(e->j, FORGONE, &id, &ignored) > 0 && str_eq(str_cstr(&id), e->up->id);
}

/* 1 it runs, 0 it is not wanted. */
static int begin(struct engine *e, char *result, struct err *err)
{
    const struct spec *s = e->ctx.side[e->up->to];
    if (e->prober || !s->probe.on)
        return e->prober != NULL;
    if (forgone(e)) {
        snprintf(result, STEP_RESULT, "no probe: --no-probe");
        return 0;
    }
    struct prober *pr = x_alloc(sizeof(*pr));
    pr->spec = &s->probe;
    prober_options(s, &pr->o);
    (void)sys_files_limit_raise(pr->o.connections + pr->o.websockets + OTHER_FILES);
    str_format(pr->part, sizeof(pr->part), "%s %d", e->ctx.step_name, e->ctx.step_attempt);
    if (probe_start(&pr->o, &pr->p, err) < 0) {
        prober_free(pr);
        return err_ctx(err, "the probe");
    }
    pr->stored = sys_clock_mono();
    e->prober = pr;
    snprintf(result, STEP_RESULT, "%d requests a second to %.150s", s->probe.rate, s->probe.url);
    return 1;
}

/* Requests wait already, or are about to: a killed run has seen live before that. */
static void join_hold(struct engine *e, struct prober *pr)
{
    struct err ignored = {0};
    if (!engine_holds(e))
        return;
    load_baseline(e, &pr->base);
    if (e->up->flipped)
        prober_mark(pr);
    if (!e->up->flipped || engine_held(e, &ignored) <= 0)
        return;
    probe_hold(pr->p, PROBE_HOLD_WAITS);
    pr->held = true;
}

void prober_start(struct engine *e, char *result)
{
    struct err err = {0};
    if (e->prober)
        snprintf(result, STEP_RESULT, "it goes on");
    else if (begin(e, result, &err) < 0)
        event_warn(&e->tee, "%s: nothing is counted", err.msg);
    else if (e->prober)
        join_hold(e, e->prober);
}

/* --- the baseline ------------------------------------------------------------------------------
 */

static int wait_baseline(struct engine *e, struct prober *pr, struct err *err)
{
    char text[64];
    nsec_t begun = sys_clock_mono(), spent;
    snprintf(text, sizeof(text), "baseline of %s", colour_name(e->up->from));
    while ((spent = sys_clock_mono() - begun) < pr->spec->baseline) {
        if (driver_poll(&e->ctx))
            return err_set(err, ERR_INTERRUPTED, "asked to end during the baseline");
        look(e, pr);
        prober_progress(e, text, spent, pr->spec->baseline);
        nsec_t left = pr->spec->baseline - spent;
        sys_sleep(left < LOOK_EVERY ? left : LOOK_EVERY);
    }
    return 0;
}

static int measure_baseline(struct engine *e, char *result, struct err *err)
{
    struct prober *pr = e->prober;
    char p99[24], gap[24];
    if (wait_baseline(e, pr, err) < 0)
        return -1;
    look(e, pr);
    const struct probe_result *r = &pr->now;
    struct baseline *b = &pr->base;
    *b = (struct baseline){.known = true,
                           .sent = r->sent,
                           .lost = probe_lost(r),
                           .p50 = hist_at(&r->latency, 0.5),
                           .p99 = hist_at(&r->latency, 0.99),
                           .gap = r->longest_gap};
    pr->lost_before = b->lost;
    pr->from_before_flip = true;
    keep(e, BASELINE, baseline_json(b));
    snprintf(result, STEP_RESULT, "%" PRIu64 " sent, %" PRIu64 " lost, p99 %s, longest gap %s",
             b->sent, b->lost, prober_ms(p99, sizeof(p99), b->p99),
             prober_ms(gap, sizeof(gap), b->gap));
    if (b->lost <= pr->spec->max_lost && !b->p99)
        event_warn(&e->tee, "%s answered nothing during the baseline: p99 is not judged",
                   colour_name(e->up->from));
    if (b->lost <= pr->spec->max_lost)
        return 0;
    const struct probe_failure *f = &r->failures[0];
    err_set(err, ERR_GATE,
            "the probe lost %" PRIu64 " of %" PRIu64
            " requests to %s before the flip, limit %" PRIu64 " (the first: %s: %s)",
            b->lost, b->sent, colour_name(e->up->from), pr->spec->max_lost,
            f->outcome == PROBE_BAD ? probe_bad_words[f->bad] : probe_outcome_words[f->outcome],
            f->detail);
    return err_hint(err, "mend that, or promote --no-probe");
}

/* After the flip there is no live to measure any more. */
static void recall_baseline(struct engine *e, char *result)
{
    struct prober *pr = e->prober;
    char p99[24];
    load_baseline(e, &pr->base);
    prober_flip(e, e->up->to);
    if (pr->base.known) {
        snprintf(result, STEP_RESULT,
                 "the probe begins anew; the baseline of before the flip: p99 %s",
                 prober_ms(p99, sizeof(p99), pr->base.p99));
        return;
    }
    snprintf(result, STEP_RESULT, "the probe begins after the flip, and without a baseline");
    event_warn(&e->tee, "there is no baseline of before the flip: p99 is not judged");
}

int prober_baseline(struct engine *e, char *result, struct err *err)
{
    if (e->up->flipped) {
        bool new = !e->prober;
        prober_start(e, result);
        if (new && e->prober)
            recall_baseline(e, result);
        return 0;
    }
    int r = begin(e, result, err);
    return r > 0 ? measure_baseline(e, result, err) : r;
}

/* --- while it runs -----------------------------------------------------------------------------
 */

void prober_flip(struct engine *e, enum colour to)
{
    struct prober *pr = e->prober;
    if (!pr)
        return;
    look(e, pr);
    prober_mark(pr);
    if (!e->hold_until || to != e->up->to)
        return;
    probe_hold(pr->p, PROBE_HOLD_WAITS);
    pr->held = true;
}

void prober_let_go(struct engine *e)
{
    if (e->prober)
        probe_hold(e->prober->p, PROBE_HOLD_OPENS);
}

void prober_let_gone(struct engine *e)
{
    struct prober *pr = e->prober;
    if (!pr || !pr->held)
        return;
    probe_hold(pr->p, PROBE_HOLD_OVER);
    pr->held = false;
    look(e, pr);
    prober_mark(pr);
}

int prober_look(struct engine *e, struct err *err)
{
    struct prober *pr = e->prober;
    if (!pr || sys_clock_mono() < pr->looked + LOOK_EVERY)
        return 0;
    look(e, pr);
    if (!e->probe_decides || !pr->stretch_from)
        return 0;
    prober_judge(pr);
    return *pr->broken ? err_set(err, ERR_GATE, "%s", pr->broken) : 0;
}

int prober_between(void *ctx, struct err *err)
{
    return prober_look(ctx, err);
}

const char *prober_broken(const struct engine *e)
{
    return e->prober && *e->prober->broken ? e->prober->broken : NULL;
}

int prober_websockets(const struct engine *e, enum colour c)
{
    const struct prober *pr = e->prober;
    return pr && pr->from_before_flip && c == e->up->from ? (int)pr->now.ws.stayed : 0;
}

void prober_progress(struct engine *e, const char *text, nsec_t spent, nsec_t most)
{
    const struct prober *pr = e->prober;
    char detail[160], p99[24];
    nsec_t slow = pr ? prober_p99(pr) : 0; /* 0: nothing has been answered yet */
    if (pr)
        str_format(detail, sizeof(detail), "%d/s: %" PRIu64 " sent, %" PRIu64 " lost, p99 %s",
                   pr->spec->rate, pr->now.sent, probe_lost(&pr->now),
                   slow ? prober_ms(p99, sizeof(p99), slow) : "-");
    event_emit(&e->tee, &(struct event){.kind = EVENT_PROGRESS,
                                        .text = text,
                                        .detail = pr ? detail : NULL,
                                        .done = (double)spent / 1e9,
                                        .total = (double)most / 1e9,
                                        .unit = "s",
                                        .eta_ns = most - spent});
}

/* The old side is stopped, or nobody asked: what is wrong by now is only said. */
static void last_judgement(struct engine *e, struct prober *pr)
{
    if (*pr->broken || !e->probe_decides || !pr->stretch_from)
        return;
    prober_judge(pr);
    if (*pr->broken)
        event_warn(&e->tee, "the probe: %s; that came too late to decide anything", pr->broken);
}

void prober_tell(struct engine *e)
{
    char words[512];
    prober_words(e->j, e->up->id, words, sizeof(words));
    if (*words)
        event_note(&e->tee, "the probe: %s", words);
    prober_websocket_words(e->j, e->up->id, words, sizeof(words));
    if (*words)
        event_note(&e->tee, "the probe's websockets: %s", words);
}

void prober_end(struct engine *e)
{
    struct prober *pr = e->prober;
    if (!pr)
        return;
    probe_stop(pr->p, &pr->now);
    last_judgement(e, pr);
    json_t *j = result_json(pr), *windows = probe_windows_json(pr->p);
    char series[sizeof(pr->part) + sizeof(PROBER_SERIES)];
    if (windows)
        json_object_set_new(j, "windows", windows);
    keep(e, pr->part, j);
    str_format(series, sizeof(series), "%s" PROBER_SERIES, pr->part);
    keep(e, series, probe_series_json(pr->p));
    e->prober = NULL;
    prober_free(pr);
    prober_tell(e);
}
