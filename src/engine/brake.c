#include "engine/brake.h"

#include "probe/probe.h"
#include "sys/clock.h"
#include "sys/fault.h"

#include <stdio.h>
#include <string.h>

#define NAP (50 * NSEC_MS)
#define NOTES_MAX 5 /* pauses that are told one by one; the rest is summed up */

struct brake {
    const struct driver_ctx *ctx;
    const struct runtime_ops *runtime;
    const struct spec_brake *rule;
    enum colour live, standby;
    char url[256], *body;
    const char *bodies[1];
    struct probe *probe;
    struct probe_result now; /* of the last snapshot */
    struct hist before;      /* latencies when this window began */
    nsec_t window_began;
    struct brake_state state;
    int frozen_fd;
    bool off; /* it cannot pause here: said once */
    int pauses;
    nsec_t paused, worst;
};

bool brake_wanted(const struct spec *standby)
{
    return standby->runtime.brake.p99 > 0;
}

/* --- when ---------------------------------------------------------------------------------- */

static bool slow(const struct spec_brake *rule, const struct brake_window *w)
{
    return w->answers * 2 < w->expected || w->p99 > rule->p99;
}

enum brake_act brake_decide(const struct spec_brake *rule, struct brake_state *s, nsec_t now,
                            const struct brake_window *w)
{
    nsec_t lasts = now - s->since;
    if (s->paused) {
        if (lasts < rule->max_pause && (!w || slow(rule, w)))
            return BRAKE_STAY;
        *s = (struct brake_state){.since = now, .last_pause = lasts};
        return BRAKE_GO;
    }
    if (!w || !slow(rule, w) || lasts < s->last_pause)
        return BRAKE_STAY;
    *s = (struct brake_state){.paused = true, .since = now, .last_pause = s->last_pause};
    return BRAKE_PAUSE;
}

/* --- measuring ----------------------------------------------------------------------------- */

static void begin_window(struct brake *b)
{
    probe_snapshot(b->probe, &b->now);
    hist_copy(&b->before, &b->now.latency);
    b->window_began = sys_clock_mono();
}

/* The window that has just ended, if one has. */
static bool window_ended(struct brake *b, struct brake_window *ret)
{
    nsec_t lasted = sys_clock_mono() - b->window_began;
    if (lasted < b->rule->window)
        return false;
    struct hist h = {0};
    probe_snapshot(b->probe, &b->now);
    hist_copy(&h, &b->now.latency);
    hist_subtract(&h, &b->before);
    *ret = (struct brake_window){
        .p99 = hist_at(&h, 0.99),
        .answers = h.n,
        .expected = (uint64_t)(lasted / NSEC_MS * b->rule->rate / 1000),
    };
    hist_done(&h);
    begin_window(b);
    return true;
}

static const char *slow_words(const struct brake *b, const struct brake_window *w, char *buf,
                              size_t size)
{
    char p99[24], limit[24];
    if (w->answers * 2 < w->expected)
        return str_format(buf, size, "%s gave %d of about %d answers", colour_name(b->live),
                          (int)w->answers, (int)w->expected);
    return str_format(buf, size, "the p99 of %s is %s, limit %s", colour_name(b->live),
                      clock_words(p99, sizeof(p99), w->p99),
                      clock_words(limit, sizeof(limit), b->rule->p99));
}

/* --- pausing ------------------------------------------------------------------------------- */

/* The ceiling is for the day when we hang: we let go at max_pause ourselves. */
static int pause_standby(struct brake *b, const char *why, struct err *err)
{
    struct err bad = {0};
    if (b->runtime->freeze(b->ctx, b->standby, 2 * b->rule->max_pause, &b->frozen_fd, &bad) < 0) {
        b->off = true;
        b->frozen_fd = -1;
        b->state = (struct brake_state){0};
        event_warn(b->ctx->sink, "%s cannot be paused, and goes on although %s: %s",
                   colour_name(b->standby), why, bad.msg);
        return 0;
    }
    if (b->pauses++ < NOTES_MAX)
        event_note(b->ctx->sink, "%s is paused: %s", colour_name(b->standby), why);
    return sys_fault_point("brake:paused") < 0 ? err_sys(err, ERR_FAILED, "fault point") : 0;
}

static int let_go(struct brake *b, struct err *err)
{
    char words[24];
    struct err late = {0};
    nsec_t held = 0;
    int fd = b->frozen_fd;
    b->frozen_fd = -1;
    if (fd < 0)
        return 0;
    int r = b->runtime->thaw(b->ctx, b->standby, fd, &held, &late);
    b->paused += held;
    if (r < 0 && late.code != ERR_TIMEOUT) { /* a timeout: it goes on already */
        *err = late;
        return err_ctx(err, "let %s go on", colour_name(b->standby));
    }
    if (b->pauses <= NOTES_MAX)
        event_note(b->ctx->sink, "%s goes on after %s", colour_name(b->standby),
                   clock_words(words, sizeof(words), held));
    begin_window(b);
    return 0;
}

static int wait_paused(struct brake *b, const char *why, struct err *err)
{
    char text[256];
    struct brake_window w;
    str_format(text, sizeof(text), "%s is paused: %s", colour_name(b->standby), why);
    begin_window(b);
    for (;;) {
        bool ended = window_ended(b, &w);
        nsec_t lasts = sys_clock_mono() - b->state.since;
        if (brake_decide(b->rule, &b->state, sys_clock_mono(), ended ? &w : NULL) == BRAKE_GO)
            return let_go(b, err);
        event_progress(b->ctx->sink, text, (double)lasts / 1e9, (double)b->rule->max_pause / 1e9,
                       "s", 0, b->rule->max_pause - lasts);
        if (driver_poll(b->ctx)) {
            if (let_go(b, err) < 0)
                return -1;
            return err_set(err, ERR_INTERRUPTED, "asked to end while %s was paused",
                           colour_name(b->standby));
        }
        sys_sleep(NAP);
    }
}

int brake_turn(struct brake *b, struct err *err)
{
    struct brake_window w;
    char why[160];
    if (b->off || !window_ended(b, &w))
        return 0;
    if (brake_decide(b->rule, &b->state, sys_clock_mono(), &w) != BRAKE_PAUSE)
        return 0;
    if (w.p99 > b->worst)
        b->worst = w.p99;
    slow_words(b, &w, why, sizeof(why));
    if (pause_standby(b, why, err) < 0)
        return -1;
    return b->frozen_fd < 0 ? 0 : wait_paused(b, why, err);
}

/* --- from start to end --------------------------------------------------------------------- */

int brake_start(const struct driver_ctx *ctx, const struct runtime_ops *runtime, enum colour live,
                enum colour standby, struct brake **ret, struct err *err)
{
    const struct spec_brake *rule = &ctx->side[standby]->runtime.brake;
    const struct spec_query *q = &rule->ask;
    if (runtime->thaw(ctx, standby, -1, NULL, err) < 0)
        return -1;
    struct brake *b = x_alloc(sizeof(*b));
    *b = (struct brake){.ctx = ctx,
                        .runtime = runtime,
                        .rule = rule,
                        .live = live,
                        .standby = standby,
                        .frozen_fd = -1};
    str_format(b->url, sizeof(b->url), "http://127.0.0.1:%u%s",
               spec_port_number(ctx->side[live], q->port), q->path);
    if (q->method)
        b->body = x_asprintf("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}",
                             q->method, q->params);
    b->bodies[0] = b->body;
    struct probe_options o = {.url = b->url,
                              .rate = rule->rate,
                              .connections = 32,
                              .bodies = b->bodies,
                              .n_bodies = b->body ? 1 : 0};
    if (probe_start(&o, &b->probe, err) < 0) {
        brake_free(b);
        return err_ctx(err, "measure %s", colour_name(live));
    }
    b->state.since = sys_clock_mono();
    begin_window(b);
    *ret = b;
    return 0;
}

void brake_words(const struct brake *b, char *buf, size_t size)
{
    char p99[24], all[24];
    buf[0] = '\0';
    if (b->pauses == 0)
        return;
    str_format(buf, size, "; it was paused %d time%s, %s in all: %s's p99 was up to %s", b->pauses,
               b->pauses == 1 ? "" : "s", clock_words(all, sizeof(all), b->paused),
               colour_name(b->live), clock_words(p99, sizeof(p99), b->worst));
}

void brake_free(struct brake *b)
{
    struct err ignored = {0};
    if (!b)
        return;
    if (b->frozen_fd >= 0 && let_go(b, &ignored) < 0)
        event_warn(b->ctx->sink, "%s", ignored.msg);
    if (b->probe)
        probe_stop(b->probe, NULL);
    probe_free(b->probe);
    probe_result_done(&b->now);
    hist_done(&b->before);
    free(b->body);
    free(b);
}
