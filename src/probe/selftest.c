/* What the server did against what the probe saw of it. */
#include "probe/selftest.h"
#include "probe/selftest_server.h"
#include "sys/fault.h"
#include "sys/loop.h"

#include <string.h>

#define RATE 5000.0 /* one request every 0.2 ms: a millisecond is five of them */
#define DURATION (1600 * NSEC_MS)
#define TIMEOUT (3 * NSEC_S)
/* A round in which the machine kept the probe waiting for longer than LATE may miss what lasts a
 * moment; longer than BUSY, and it has no say on a gap. */
#define LATE (20 * NSEC_MS)
#define BUSY (250 * NSEC_MS)

enum { ROUNDS = 5, FRESH = 50, CONNECTIONS = 256, STEP_BACK = 20 };

const char *const selftest_names[SELFTEST_ROWS] = {
    [SELFTEST_DROP] = "drop",     [SELFTEST_RESET] = "reset",       [SELFTEST_SWAP] = "swap",
    [SELFTEST_TWICE] = "twice",   [SELFTEST_STALE] = "stale",       [SELFTEST_REFUSE] = "refuse",
    [SELFTEST_FREEZE] = "freeze", [SELFTEST_REST] = "nothing else",
};

/* Even numbers have a connection of their own, odd ones a kept one. */
static const uint64_t where[SELFTEST_FAULTS] = {
    [SELFTEST_DROP] = 250,    [SELFTEST_RESET] = 501,  [SELFTEST_SWAP] = 751,
    [SELFTEST_TWICE] = 1001,  [SELFTEST_STALE] = 1250, [SELFTEST_REFUSE] = 1500,
    [SELFTEST_FREEZE] = 2000,
};

static const struct {
    const char *injected; /* behind the number of the request */
    enum probe_outcome outcome;
    enum probe_bad bad;
} single[] = {
    [SELFTEST_DROP] = {" is never answered", PROBE_TIMEOUT, PROBE_BAD_HTTP},
    [SELFTEST_RESET] = {": its connection is reset", PROBE_RESET, PROBE_BAD_HTTP},
    [SELFTEST_SWAP] = {": another's answer", PROBE_BAD, PROBE_BAD_NUMBER},
    [SELFTEST_TWICE] = {" is answered twice", PROBE_OK, PROBE_BAD_HTTP},
    [SELFTEST_STALE] = {": a slot 1000 back", PROBE_BAD, PROBE_BAD_STALE},
};

static uint64_t kept_failures(const struct probe_result *r)
{
    return r->n_failures < PROBE_FAILURES ? r->n_failures : PROBE_FAILURES;
}

static const struct probe_failure *failure_of(const struct probe_result *r, uint64_t number)
{
    for (uint64_t i = 0; i < kept_failures(r); i++)
        if (r->failures[i].number == number)
            return &r->failures[i];
    return NULL;
}

static void judge_single(enum selftest_fault f, const struct probe_result *r,
                         struct selftest_row *row)
{
    const struct probe_failure *found = failure_of(r, where[f]);
    if (!found) {
        str_format(row->found, sizeof(row->found), "nothing");
        return;
    }
    bool bad = found->outcome == PROBE_BAD;
    str_format(row->found, sizeof(row->found), "request %llu: %s", (unsigned long long)where[f],
               bad ? probe_bad_words[found->bad] : probe_outcome_words[found->outcome]);
    row->ok = found->outcome == single[f].outcome && (!bad || found->bad == single[f].bad);
}

static void judge_twice(const struct probe_result *r, struct selftest_row *row)
{
    str_format(row->found, sizeof(row->found), "%llu answer%s that nobody had asked for",
               (unsigned long long)r->duplicate_answers, r->duplicate_answers == 1 ? "" : "s");
    row->ok = r->duplicate_answers == 1 && !failure_of(r, where[SELFTEST_TWICE]);
}

static bool is_refusal(const struct probe_failure *f)
{
    /* a connection that was just being made when the listener went is cut instead */
    return f->outcome == PROBE_REFUSED || f->outcome == PROBE_RESET;
}

/* The requests that the server never saw are the ones that were refused: all of them, no others. */
static void judge_refuse(const struct selftest_log *log, const struct probe_result *r,
                         struct selftest_row *row)
{
    uint64_t unseen = 0, refused = 0, right = 0, wrong = 0;
    for (uint64_t n = 1; n <= r->sent && n < SELFTEST_REQUESTS_MAX; n++)
        unseen += !log->seen[n];
    for (uint64_t i = 0; i < kept_failures(r); i++) {
        const struct probe_failure *f = &r->failures[i];
        bool seen = f->number < SELFTEST_REQUESTS_MAX && log->seen[f->number];
        right += is_refusal(f) && !seen;
        refused += f->outcome == PROBE_REFUSED;
        wrong += f->outcome == PROBE_REFUSED && seen;
    }
    str_format(row->found, sizeof(row->found), "%llu refused, %llu never arrived",
               (unsigned long long)(right + wrong), (unsigned long long)unseen);
    row->ok = refused > 0 && right == unseen && !wrong;
}

/* The gap is as long as the server stood still, and it is charged to every request that should have
 * been answered in it: about half of a second's requests waited longer than half of it. */
static void judge_freeze(const struct selftest_log *log, const struct probe_result *r,
                         struct selftest_row *row)
{
    nsec_t half = log->frozen_for / 2, gap = r->longest_gap;
    double charged = r->interval > 0 ? (double)half / (double)r->interval * 0.95 : 0;
    bool all = r->sent > charged && half > 0 &&
               hist_at(&r->latency, 1 - charged / (double)r->sent) >= half;
    str_format(row->found, sizeof(row->found), "%.1f ms without a good answer, %s",
               (double)gap / 1e6, all ? "charged to all" : "not charged to all");
    nsec_t late = r->lateness.max; /* what the probe says of itself is how exact it can be */
    row->ok = all && late < BUSY && gap >= log->frozen_for - late - 2 * NSEC_MS &&
              gap <= log->frozen_for + late + LATE;
}

static void judge_rest(const struct selftest_log *log, const struct probe_result *r,
                       struct selftest_row *row)
{
    uint64_t others = r->n_failures > PROBE_FAILURES ? r->n_failures - PROBE_FAILURES : 0;
    uint64_t twice = 0;
    for (uint64_t i = 0; i < kept_failures(r); i++) {
        const struct probe_failure *f = &r->failures[i];
        bool expected = is_refusal(f) && f->number < SELFTEST_REQUESTS_MAX && !log->seen[f->number];
        for (int k = 0; k < SELFTEST_REFUSE; k++)
            expected |= k != SELFTEST_TWICE && f->number == where[k];
        others += !expected;
    }
    for (size_t n = 0; n < SELFTEST_REQUESTS_MAX; n++)
        twice += log->seen[n] > 1;
    str_format(row->injected, sizeof(row->injected), "nothing else");
    str_format(row->found, sizeof(row->found), "%llu sent, %llu more lost, %llu executed twice",
               (unsigned long long)r->sent, (unsigned long long)others, (unsigned long long)twice);
    row->ok = !others && !twice && r->sent && !r->in_flight &&
              r->outcome[PROBE_OK] + probe_lost(r) == r->sent;
}

bool selftest_judge(const struct selftest_log *log, const struct probe_result *r,
                    struct selftest_row rows[SELFTEST_ROWS])
{
    memset(rows, 0, SELFTEST_ROWS * sizeof(*rows));
    for (int f = 0; f < SELFTEST_REFUSE; f++) {
        str_format(rows[f].injected, sizeof(rows[f].injected), "request %llu%s",
                   (unsigned long long)where[f], single[f].injected);
        if (f == SELFTEST_TWICE)
            judge_twice(r, &rows[f]);
        else
            judge_single((enum selftest_fault)f, r, &rows[f]);
    }
    str_format(rows[SELFTEST_REFUSE].injected, sizeof(rows->injected),
               "connections refused for %.1f ms", (double)log->refused_for / 1e6);
    str_format(rows[SELFTEST_FREEZE].injected, sizeof(rows->injected), "frozen for %.1f ms",
               (double)log->frozen_for / 1e6);
    judge_refuse(log, r, &rows[SELFTEST_REFUSE]);
    judge_freeze(log, r, &rows[SELFTEST_FREEZE]);
    judge_rest(log, r, &rows[SELFTEST_REST]);
    bool ok = true;
    for (int i = 0; i < SELFTEST_ROWS; i++)
        ok &= rows[i].ok;
    return ok;
}

static int run_round(unsigned leave_out, struct selftest *t, struct err *err)
{
    static const char *const bodies[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"getSlot\",\"params\":[]}"};
    uint64_t plan[SELFTEST_FAULTS];
    struct selftest_server *server = NULL;
    for (unsigned f = 0; f < SELFTEST_FAULTS; f++)
        plan[f] = leave_out >> f & 1 ? 0 : where[f];
    if (selftest_server_start(plan, &server, err) < 0)
        return -1;
    const struct probe_options o = {.url = selftest_server_url(server),
                                    .rate = RATE,
                                    .duration = DURATION,
                                    .timeout = TIMEOUT,
                                    .connections = CONNECTIONS,
                                    .fresh_percent = FRESH,
                                    .bodies = bodies,
                                    .n_bodies = 1,
                                    .limit_step_back = true,
                                    .max_step_back = STEP_BACK};
    int rc = probe_run(&o, &t->r, err);
    struct selftest_log *log = x_alloc(sizeof(*log));
    selftest_server_stop(server, log);
    if (rc == 0)
        t->ok = selftest_judge(log, &t->r, t->rows);
    free(log);
    return rc;
}

/* Only what lasts a moment, or is measured, can fail because the machine was busy; or all of it, if
 * that moment grew so long that the failures in it pushed the others out of the list. */
static bool worth_another(const struct selftest *t)
{
    bool crowded = t->r.n_failures > PROBE_FAILURES;
    for (int i = 0; i < SELFTEST_REFUSE; i++)
        if (!t->rows[i].ok && !crowded)
            return false;
    return !t->ok && t->late > LATE && t->rounds < ROUNDS;
}

int selftest_run(unsigned leave_out, struct selftest *ret, struct err *err)
{
    char point[32];
    for (unsigned f = 0; f < SELFTEST_FAULTS; f++) {
        str_format(point, sizeof(point), "self-test/%s", selftest_names[f]);
        if (sys_fault_point(point) < 0)
            leave_out |= 1U << f;
    }
    (void)sys_files_limit_raise(2 * CONNECTIONS + 128);
    do {
        if (run_round(leave_out, ret, err) < 0)
            return -1;
        ret->late = ret->r.lateness.max;
        ret->rounds++;
    } while (worth_another(ret));
    return 0;
}

void selftest_done(struct selftest *t)
{
    probe_result_done(&t->r);
}
