/* The gates that ask over the network, all of a look at once, and what counts as passing. */
#include "engine/gate_internal.h"

#include "driver/ask.h"

#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <string.h>

/* Of a reference that may fail: a slow answer is of a later moment, and looks ahead for ever. */
#define REFERENCE_MOST (250 * NSEC_MS)
#define TRY_DEFAULT (5 * NSEC_S)
#define WITHIN_DEFAULT (10 * NSEC_S)

void gate_say(struct gate_result *r, bool pass, const char *fmt, ...)
{
    va_list ap;
    r->pass = pass;
    va_start(ap, fmt);
    (void)vsnprintf(r->said, sizeof(r->said), fmt, ap);
    va_end(ap);
}

/* --- asking -------------------------------------------------------------------------------- */

static const char *port_name(const struct gate_watch *w, const struct spec_gate *g)
{
    const struct spec_traffic *t = &w->spec->traffic;
    if (g->query.port)
        return g->query.port;
    return g->kind == GATE_WEBSOCKET && t->ws_port ? t->ws_port : t->port;
}

/* How many questions a gate asks: the instance; for a lag also live and every other reference. */
static size_t count_queries(const struct gate_watch *w, const struct spec_gate *g)
{
    if (g->kind == GATE_PORTS || g->kind == GATE_COMMAND)
        return 0;
    return g->kind == GATE_LAG ? 1 + w->reference_runs + g->references.n : 1;
}

static void fill_query(const struct gate_watch *w, const struct spec_gate *g, struct query *q)
{
    q->how = g->kind == GATE_WEBSOCKET ? QUERY_UPGRADE
             : g->kind == GATE_TCP     ? QUERY_CONNECT
                                       : QUERY_VALUE;
    q->ask = query_of_spec(&g->query);
    if (g->kind == GATE_HTTP && !q->ask.path)
        q->ask.path = w->spec->traffic.health_path;
    q->timeout = g->timeout ? g->timeout : TRY_DEFAULT;
    if (w->rq.try_timeout && w->rq.try_timeout < q->timeout)
        q->timeout = w->rq.try_timeout;
}

static void fill_queries(const struct gate_watch *w, const struct spec_gate *g, struct query *q,
                         size_t n)
{
    const char *port = port_name(w, g);
    size_t i = 0;

    for (size_t k = 0; k < n; k++)
        fill_query(w, g, &q[k]);
    if (i < n)
        query_local(&q[i++], spec_port_number(w->spec, port));
    if (g->kind != GATE_LAG)
        return;
    if (w->reference_runs) {
        query_local(&q[i], spec_port_number(w->ctx->side[w->rq.reference], port));
        if (w->rq.reference_may_fail && q[i].timeout > REFERENCE_MOST)
            q[i].timeout = REFERENCE_MOST;
        i++;
    }
    for (size_t k = 0; k < g->references.n && i < n; k++, i++)
        (void)snprintf(q[i].url, sizeof(q[i].url), "%s", g->references.v[k]);
}

/* --- judging: one function a kind ---------------------------------------------------------- */

static void judge_http(struct gate_watch *w, const struct spec_gate *g, size_t i,
                       const struct query *q, size_t n, struct gate_result *r)
{
    (void)w, (void)i, (void)n;
    int status = g->status ? g->status : 200;
    const char *body = str_cstr(&q->value);
    /* exact, but for a last newline */
    size_t len = q->value.len - (q->value.len && body[q->value.len - 1] == '\n');
    bool same = !g->body || (strlen(g->body) == len && memcmp(g->body, body, len) == 0);

    if (!q->answered)
        gate_say(r, false, "no answer: %s", q->why);
    else if (q->status != status)
        gate_say(r, false, "status %d, wanted %d", q->status, status);
    else if (!q->found)
        gate_say(r, false, "%s", q->why);
    else
        gate_say(r, same, g->body && !same ? "'%.60s', wanted '%.60s'" : "'%.60s'", body, g->body);
}

static bool number_of(const char *text, double *ret)
{
    char *end = NULL;
    if (!text || !*text || strspn(text, "-+0123456789.eE") != strlen(text))
        return false;
    *ret = strtod(text, &end);
    return end != text && !*end && isfinite(*ret);
}

static bool matches(const char *pattern, const char *text)
{
    regex_t re;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool yes = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return yes;
}

static bool compare(enum spec_compare how, const char *said, const char *wanted)
{
    double a = 0, b = 0;
    bool numbers = number_of(said, &a) && number_of(wanted, &b);
    int order = numbers ? (a > b) - (a < b) : strcmp(said, wanted);

    switch (how) {
    case CMP_EQ:
        return order == 0;
    case CMP_NE:
        return order != 0;
    case CMP_LT:
        return numbers && order < 0;
    case CMP_LE:
        return numbers && order <= 0;
    case CMP_GT:
        return numbers && order > 0;
    case CMP_GE:
        return numbers && order >= 0;
    case CMP_MATCHES:
        return matches(wanted, said);
    }
    return false;
}

static void judge_jsonrpc(struct gate_watch *w, const struct spec_gate *g, size_t i,
                          const struct query *q, size_t n, struct gate_result *r)
{
    static const char *const words[] = {"=", "not", "<", "<=", ">", ">=", "matching"};
    const char *said = str_cstr(&q->value);
    (void)w, (void)i, (void)n;

    if (!q->found)
        gate_say(r, false, "%s", q->why);
    else if (!g->value || compare(g->compare, said, g->value))
        gate_say(r, true, "%.80s", said);
    else
        gate_say(r, false, "%.80s, wanted %s %.80s", said, words[g->compare], g->value);
}

static const char *without_v(const char *version)
{
    return *version == 'v' ? version + 1 : version;
}

static void judge_version(struct gate_watch *w, const struct spec_gate *g, size_t i,
                          const struct query *q, size_t n, struct gate_result *r)
{
    const char *wanted = g->value ? g->value : w->rq.target_version;
    const char *said = str_cstr(&q->value);
    (void)i, (void)n;

    if (!q->found)
        gate_say(r, false, "%s", q->why);
    else if (!wanted || str_eq(without_v(said), without_v(wanted)))
        gate_say(r, true, "%.80s", said);
    else
        gate_say(r, false, "it says that it is %.80s, wanted %.80s", said, wanted);
}

/* "live green" or the reference's URL. */
static const char *lag_source(const struct gate_watch *w, const struct spec_gate *g, size_t k,
                              char *buf, size_t size)
{
    if (k == 1 && w->reference_runs)
        (void)snprintf(buf, size, "live %s", colour_name(w->rq.reference));
    else
        (void)snprintf(buf, size, "%.80s", g->references.v[k - 1 - w->reference_runs]);
    return buf;
}

/* The worst over live and every reference that answers. One that does not is named; if none does,
 * nothing is known and the gate does not pass (but for a reference that may fail). Nothing to
 * compare with at all (the first start): it passes. */
static void judge_lag(struct gate_watch *w, const struct spec_gate *g, size_t i,
                      const struct query *q, size_t n, struct gate_result *r)
{
    double own = 0, lag = 0, theirs = 0;
    char source[96] = "", silent[128] = "", name[96];
    size_t answered = 0;
    (void)i;

    if (!query_number(&q[0], &own)) {
        gate_say(r, false, "%s", q->found ? "it says no number" : q->why);
        return;
    }
    for (size_t k = 1; k < n; k++) {
        lag_source(w, g, k, name, sizeof(name));
        if (!query_number(&q[k], &theirs)) {
            size_t at = strlen(silent);
            (void)snprintf(silent + at, sizeof(silent) - at, "; %s: no answer", name);
            continue;
        }
        if (!answered++ || theirs - own > lag) {
            lag = theirs - own;
            (void)snprintf(source, sizeof(source), "%s", name);
        }
    }
    if (n == 1) {
        gate_say(r, true, "at %.0f; nothing to compare with", own);
        return;
    }
    if (!answered) {
        bool alone = w->rq.reference_may_fail && g->references.n == 0;
        gate_say(r, alone, "at %.0f, and nobody to compare with answers%s", own, silent);
        return;
    }
    r->has_number = true;
    r->number = lag > 0 ? lag : 0;
    gate_say(r, lag <= (double)g->max, "%.0f slots behind %s, at %.0f (at most %llu)%s", r->number,
             source, own, (unsigned long long)g->max, silent);
}

static void judge_moving(struct gate_watch *w, const struct spec_gate *g, size_t i,
                         const struct query *q, size_t n, struct gate_result *r)
{
    struct gate_memory *m = w->memory ? &w->memory[i] : NULL;
    nsec_t within = g->within ? g->within : WITHIN_DEFAULT;
    char words[24];
    double v = 0;
    (void)n;

    if (!query_number(q, &v)) {
        gate_say(r, false, "%s", q->found ? "it says no number" : q->why);
        return;
    }
    if (!m) {
        gate_say(r, true, "at %.0f (one look cannot tell whether it moves)", v);
        return;
    }
    if (!m->has_value || v < m->value)
        *m = (struct gate_memory){.has_value = true, .value = v, .changed = w->now};
    if (v > m->value) {
        m->grown = true;
        m->value = v;
        m->changed = w->now;
    }
    nsec_t stands = w->now - m->changed;
    clock_words(words, sizeof(words), stands);
    if (m->grown && stands <= within)
        gate_say(r, true, "at %.0f, moving", v);
    else if (stands <= within)
        gate_say(r, w->rq.passed_before, "at %.0f, not seen to move yet", v);
    else
        gate_say(r, false, "stands still at %.0f for %s", v, words);
}

static void judge_plain(struct gate_watch *w, const struct spec_gate *g, size_t i,
                        const struct query *q, size_t n, struct gate_result *r)
{
    (void)w, (void)i, (void)n;
    if (q->found)
        gate_say(r, true, g->kind == GATE_TCP ? "accepts connections" : "upgraded (101)");
    else
        gate_say(r, false, "%s", q->why);
}

typedef void judge_fn(struct gate_watch *w, const struct spec_gate *g, size_t i,
                      const struct query *q, size_t n, struct gate_result *r);

static judge_fn *const judges[GATE_KIND_MAX] = {
    [GATE_HTTP] = judge_http, [GATE_JSONRPC] = judge_jsonrpc, [GATE_VERSION] = judge_version,
    [GATE_LAG] = judge_lag,   [GATE_MOVING] = judge_moving,   [GATE_WEBSOCKET] = judge_plain,
    [GATE_TCP] = judge_plain,
};

static void judge(struct gate_watch *w, size_t i, const struct query *q, size_t n,
                  struct gate_result *r)
{
    const struct spec_gate *g = &w->spec->gate.gates[i];
    if (g->kind == GATE_PORTS)
        gate_judge_ports(w, g, r);
    else if (g->kind == GATE_COMMAND)
        gate_judge_command(w, g, r);
    else if (!spec_port_number(w->spec, port_name(w, g)))
        gate_say(r, false, "the spec has no port '%s'", port_name(w, g) ? port_name(w, g) : "");
    else
        judges[g->kind](w, g, i, q, n, r);
}

static int poll_driver(void *ctx)
{
    const struct driver_ctx *d = ctx;
    return driver_poll(d);
}

int gate_ask_all(struct gate_watch *w, struct gate_result *ret, size_t n, struct err *err)
{
    const struct spec_gate *gates = w->spec->gate.gates;
    size_t total = 0, at = 0;

    for (size_t i = 0; i < n; i++)
        total += count_queries(w, &gates[i]);
    cleanup_free struct query *qs = x_alloc((total + 1) * sizeof(*qs));
    for (size_t i = 0; i < n; i++) {
        size_t k = count_queries(w, &gates[i]);
        fill_queries(w, &gates[i], qs + at, k);
        at += k;
    }
    struct driver_ctx d = *w->ctx;
    int rc = query_run(qs, total, poll_driver, &d, err);
    at = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t k = count_queries(w, &gates[i]);
        ret[i] = (struct gate_result){.gate = gates[i].name};
        judge(w, i, qs + at, k, &ret[i]);
        at += k;
    }
    query_done(qs, total);
    return rc;
}
