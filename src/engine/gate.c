/* Waiting at the gate: looks, passes in a row, progress, and how it ends. */
#include "engine/gate_internal.h"

#include "sys/clock.h"
#include "sys/file.h"

#include <string.h>

#define PASSES_DEFAULT 3
#define INTERVAL_DEFAULT NSEC_S
#define DEADLINE_DEFAULT (24 * NSEC_HOUR)
#define NAP_MAX (100 * NSEC_MS)
#define TRY_MIN NSEC_S /* a shorter try says more about the load than about the instance */

struct gate_watch *gate_watch_new_on(const struct driver_ctx *ctx, const struct gate_request *rq,
                                     const struct runtime_ops *runtime, bool remember)
{
    struct gate_watch *w = x_alloc(sizeof(*w));
    w->ctx = ctx;
    w->rq = *rq;
    w->spec = ctx->side[rq->colour];
    w->runtime = runtime;
    if (remember)
        w->memory = x_alloc((w->spec->gate.n + 1) * sizeof(*w->memory));
    return w;
}

struct gate_watch *gate_watch_new(const struct driver_ctx *ctx, const struct gate_request *rq,
                                  struct err *err)
{
    const struct runtime_ops *runtime = runtime_find(ctx->side[rq->colour], err);
    return runtime ? gate_watch_new_on(ctx, rq, runtime, true) : NULL;
}

void gate_watch_free(struct gate_watch *w)
{
    if (w)
        free(w->memory);
    free(w);
}

static void watch_free_p(struct gate_watch **w)
{
    gate_watch_free(*w);
}

static bool runs(const struct gate_watch *w, enum colour c)
{
    struct instance_facts f = {0};
    struct err e = {0};
    if (c == COLOUR_NONE || c == w->rq.colour || !w->ctx->side[c])
        return false;
    if (!w->runtime)
        return true;
    return w->runtime->inspect(w->ctx, c, &f, &e) == 0 && f.state == INSTANCE_RUNNING;
}

int gate_watch_look(struct gate_watch *w, struct gate_result *ret, size_t max, size_t *ret_n,
                    struct err *err)
{
    size_t n = w->spec->gate.n < max ? w->spec->gate.n : max;
    w->now = sys_clock_mono();
    w->reference_runs = w->rq.reference_runs || runs(w, w->rq.reference);
    int rc = gate_ask_all(w, ret, n, err);
    if (rc > 0)
        return err_set(err, ERR_INTERRUPTED, "asked to end while the gates were asked");
    if (rc == 0)
        *ret_n = n;
    return rc;
}

int gate_look(const struct driver_ctx *ctx, const struct gate_request *rq, struct gate_result *ret,
              size_t max, size_t *ret_n, struct err *err)
{
    const struct runtime_ops *runtime = runtime_find(ctx->side[rq->colour], err);
    if (!runtime)
        return -1;
    cleanup(watch_free_p) struct gate_watch *w = gate_watch_new_on(ctx, rq, runtime, false);
    return gate_watch_look(w, ret, max, ret_n, err);
}

/* --- waiting ------------------------------------------------------------------------------- */

struct wait {
    struct gate_watch *w;
    struct gate_result *results;
    size_t n;
    int passes, passes_wanted, restarts; /* restarts: as of the first look, -1: none yet */
    nsec_t interval, start, deadline;
    struct gate_rate rate;
    double lag_worst; /* the largest seen: where the way began */
    char unseen[400]; /* why nobody can say at the moment whether it lives; "" */
};

static const char *what(const struct wait *k)
{
    return k->w->rq.what ? k->w->rq.what : "gates";
}

static int instance_gone(const struct wait *k, const struct instance_facts *f, struct err *err)
{
    const char *name = colour_name(k->w->rq.colour);
    cleanup_str struct str tail = {0};
    char ended[64] = "";

    if (f->last_status > 128)
        (void)snprintf(ended, sizeof(ended), ", ended by signal %d", f->last_status - 128);
    else if (f->last_status >= 0)
        (void)snprintf(ended, sizeof(ended), ", ended with status %d", f->last_status);
    if (f->log_path[0] && sys_file_tail(f->log_path, 700, &tail, NULL) < 0)
        str_clear(&tail);
    err_set(err, ERR_FAILED, "%s: the instance of %s is gone%s%s%s%s%s%s%s", what(k), name, ended,
            f->text[0] ? ": " : "", f->text, tail.len ? "; the end of its log '" : "",
            tail.len ? f->log_path : "", tail.len ? "':\n" : "", str_cstr(&tail));
    return f->log_path[0] ? err_hint(err, "see %s", f->log_path) : -1;
}

/* A catch-up may take a day, and the server that would know restarts in the middle of it. */
static int not_seen(struct wait *k, const struct err *why)
{
    char text[512];
    str_format(k->unseen, sizeof(k->unseen), "%.390s", why->msg);
    str_format(text, sizeof(text), "%s: %s", what(k), k->unseen);
    event_progress(k->w->ctx->sink, text, 0, 0, NULL, 0, -1);
    k->passes = 0;
    return 1;
}

/* 0: it lives, 1: nobody can say now, -1: over. */
static int look_alive(struct wait *k, struct err *err)
{
    struct instance_facts f = {.last_status = -1};
    struct err why = {0};
    const struct gate_watch *w = k->w;

    k->unseen[0] = '\0';
    if (!w->runtime)
        return 0;
    if (w->runtime->inspect(w->ctx, w->rq.colour, &f, &why) < 0) {
        if (f.state == INSTANCE_UNKNOWN)
            return not_seen(k, &why);
        if (err)
            *err = why;
        return err_ctx(err, "%s", what(k));
    }
    if (f.state == INSTANCE_STOPPED || f.state == INSTANCE_EXITED)
        return instance_gone(k, &f, err);
    if (k->restarts >= 0 && f.restarts > k->restarts) {
        event_warn(w->ctx->sink, "%s: the instance of %s ended (status %d) and was started again",
                   what(k), colour_name(w->rq.colour), f.last_status);
        k->passes = 0;
    }
    k->restarts = f.restarts;
    return 0;
}

/* The first that does not pass, NULL if all do; a lag comes last, since all else comes before it.
 */
static const struct gate_result *worst(const struct wait *k, int *ret_failing)
{
    const struct gate_result *found = NULL;
    int failing = 0;
    for (size_t i = 0; i < k->n; i++) {
        if (k->results[i].pass)
            continue;
        failing++;
        if (!found || (found->has_number && !k->results[i].has_number))
            found = &k->results[i];
    }
    if (ret_failing)
        *ret_failing = failing;
    return found;
}

static const struct gate_result *lag_of(const struct wait *k, double *ret_max)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->results[i].has_number) {
            *ret_max = (double)k->w->spec->gate.gates[i].max;
            return &k->results[i];
        }
    return NULL;
}

/* Time left until the lag is small enough: -1 unknown, -2 it does not converge. */
static nsec_t lag_eta(const struct wait *k, double over, double *ret_rate)
{
    if (!gate_rate_closing(&k->rate, ret_rate))
        return -1;
    if (*ret_rate <= 0)
        return -2;
    double s = over / *ret_rate;
    return s > 1e8 ? -2 : (nsec_t)(s * 1e9);
}

static void show_progress(struct wait *k)
{
    const struct sink *sink = k->w->ctx->sink;
    const struct gate_result *bad = worst(k, NULL);
    double max = 0, rate = 0;
    char text[512];

    if (!bad) {
        (void)snprintf(text, sizeof(text), "%s: all %zu gates pass", what(k), k->n);
        event_progress(sink, text, k->passes, k->passes_wanted, "passes", 0,
                       (k->passes_wanted - k->passes) * k->interval);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s: %s: %s", what(k), bad->gate, bad->said);
    if (bad != lag_of(k, &max)) {
        event_progress(sink, text, 0, 0, NULL, 0, -1);
        return;
    }
    nsec_t eta = lag_eta(k, bad->number - max, &rate);
    if (eta == -2) {
        size_t at = strlen(text);
        (void)snprintf(text + at, sizeof(text) - at, "; does not converge");
    }
    event_progress(sink, text, k->lag_worst - bad->number, k->lag_worst, "slots", rate, eta);
}

static int not_in_time(const struct wait *k, struct err *err)
{
    int failing = 0;
    const struct gate_result *bad = worst(k, &failing);
    double max = 0, rate = 0;
    char words[24], more[160] = "", also[64] = "";

    clock_words(words, sizeof(words), sys_clock_mono() - k->start);
    if (k->unseen[0])
        return err_set(err, ERR_GATE, "%s: not within %s: %s", what(k), words, k->unseen);
    if (!bad)
        return err_set(err, ERR_GATE, "%s: %d of %d passes in a row within %s", what(k), k->passes,
                       k->passes_wanted, words);
    if (bad == lag_of(k, &max)) {
        nsec_t eta = lag_eta(k, bad->number - max, &rate);
        char left[24];
        clock_words(left, sizeof(left), eta);
        if (eta == -2)
            (void)snprintf(more, sizeof(more), "; it does not converge (closing %.2f slots/s)",
                           rate);
        else if (eta >= 0)
            (void)snprintf(more, sizeof(more), "; it closes at %.2f slots/s, another %s", rate,
                           left);
    }
    if (failing > 1)
        (void)snprintf(also, sizeof(also), " (and %d more gates)", failing - 1);
    return err_set(err, ERR_GATE, "%s: gate '%s' of %s did not pass within %s: %s%s%s", what(k),
                   bad->gate, colour_name(k->w->rq.colour), words, bad->said, more, also);
}

/* No question outlasts the deadline by more than TRY_MIN, so that the wait ends when it says. */
static void limit_tries(struct wait *k, nsec_t asked)
{
    nsec_t left = k->deadline - sys_clock_mono();
    if (left < TRY_MIN)
        left = TRY_MIN;
    k->w->rq.try_timeout = asked && asked < left ? asked : left;
}

/* 0: passed, 1: not yet, -1: over. */
static int one_look(struct wait *k, nsec_t try_timeout, struct err *err)
{
    double max;
    int alive = look_alive(k, err);
    if (alive)
        return alive;
    limit_tries(k, try_timeout);
    if (gate_watch_look(k->w, k->results, k->w->spec->gate.n, &k->n, err) < 0)
        return err_ctx(err, "%s", what(k));
    const struct gate_result *lag = lag_of(k, &max);
    if (lag) {
        gate_rate_add(&k->rate, k->w->now, lag->number);
        if (lag->number > k->lag_worst)
            k->lag_worst = lag->number;
    }
    k->passes = worst(k, NULL) ? 0 : k->passes + 1;
    show_progress(k);
    return k->passes >= k->passes_wanted ? 0 : 1;
}

static int nap(const struct wait *k, nsec_t until, struct err *err)
{
    for (nsec_t now = sys_clock_mono();; now = sys_clock_mono()) {
        if (driver_poll(k->w->ctx))
            return err_set(err, ERR_INTERRUPTED, "%s: asked to end", what(k));
        if (k->w->rq.between && k->w->rq.between(k->w->rq.between_ctx, err) < 0)
            return -1;
        if (now >= until)
            return 0;
        sys_sleep(until - now < NAP_MAX ? until - now : NAP_MAX);
    }
}

static nsec_t first_of(nsec_t a, nsec_t b, nsec_t c)
{
    return a ? a : b ? b : c;
}

int gate_wait_on(const struct driver_ctx *ctx, const struct gate_request *rq,
                 const struct runtime_ops *runtime, struct err *err)
{
    cleanup(watch_free_p) struct gate_watch *w = gate_watch_new_on(ctx, rq, runtime, true);
    const struct spec_gate_set *set = &w->spec->gate;
    cleanup_free struct gate_result *results = x_alloc((set->n + 1) * sizeof(*results));
    struct wait k = {.w = w, .results = results, .restarts = -1, .start = sys_clock_mono()};
    nsec_t deadline = first_of(rq->deadline, set->deadline, DEADLINE_DEFAULT);

    k.passes_wanted = (int)first_of(rq->passes, set->passes, PASSES_DEFAULT);
    k.interval = first_of(set->interval, INTERVAL_DEFAULT, 0);
    k.deadline = k.start + deadline;
    /* long enough for a slope to show through the jitter, short beside the deadline */
    k.rate.window = deadline / 4 < NSEC_MIN ? deadline / 4 : NSEC_MIN;
    if (k.rate.window < 10 * k.interval)
        k.rate.window = 10 * k.interval;
    for (;;) {
        nsec_t next = sys_clock_mono() + k.interval;
        int rc = one_look(&k, rq->try_timeout, err);
        if (rc <= 0)
            return rc;
        if (next > k.deadline)
            next = k.deadline;
        if (sys_clock_mono() >= k.deadline)
            return not_in_time(&k, err);
        if (nap(&k, next, err) < 0)
            return -1;
    }
}

int gate_wait(const struct driver_ctx *ctx, const struct gate_request *rq, struct err *err)
{
    const struct runtime_ops *runtime = runtime_find(ctx->side[rq->colour], err);
    return runtime ? gate_wait_on(ctx, rq, runtime, err) : -1;
}
