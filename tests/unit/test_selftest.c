/* The judge of the self-test: what it must accept, and each way in which it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe/selftest.h"

#include <stdlib.h>
#include <string.h>

enum {
    SENT = 8000,
    DROP = 250,
    RESET = 501,
    SWAP = 751,
    TWICE = 1001,
    STALE = 1250,
    REFUSED = 1502,
    UNSEEN = 1504
};

struct seen {
    struct selftest_log *log;
    struct probe_result r;
    struct selftest_row rows[SELFTEST_ROWS];
};

static void add_failure(struct probe_result *r, uint64_t number, enum probe_outcome outcome,
                        enum probe_bad bad)
{
    struct probe_failure *f = &r->failures[r->n_failures++];
    f->number = number;
    f->outcome = outcome;
    f->bad = bad;
    r->outcome[PROBE_OK]--;
    r->outcome[outcome]++;
}

/* As it comes out when all is well. */
static void begin(struct seen *s)
{
    memset(s, 0, sizeof(*s));
    s->log = calloc(1, sizeof(*s->log));
    s->log->refused_for = NSEC_MS;
    s->log->frozen_for = NSEC_S;
    for (int n = 1; n <= SENT; n++)
        s->log->seen[n] = n != REFUSED && n != UNSEEN;
    s->r.sent = s->r.outcome[PROBE_OK] = SENT;
    s->r.interval = NSEC_S / 5000;
    s->r.longest_gap = NSEC_S + NSEC_MS;
    s->r.duplicate_answers = 1;
    for (int i = 0; i < SENT; i++)
        hist_add(&s->r.latency, i < 5000 ? i * (NSEC_S / 5000) : NSEC_MS);
    add_failure(&s->r, DROP, PROBE_TIMEOUT, 0);
    add_failure(&s->r, RESET, PROBE_RESET, 0);
    add_failure(&s->r, SWAP, PROBE_BAD, PROBE_BAD_NUMBER);
    add_failure(&s->r, STALE, PROBE_BAD, PROBE_BAD_STALE);
    add_failure(&s->r, REFUSED, PROBE_REFUSED, 0);
    add_failure(&s->r, UNSEEN, PROBE_REFUSED, 0);
}

static struct probe_failure *failure(struct seen *s, uint64_t number)
{
    for (uint64_t i = 0; i < s->r.n_failures; i++)
        if (s->r.failures[i].number == number)
            return &s->r.failures[i];
    abort();
}

static void forget(struct seen *s, uint64_t number)
{
    struct probe_failure *f = failure(s, number);
    s->r.outcome[f->outcome]--;
    s->r.outcome[PROBE_OK]++;
    *f = s->r.failures[--s->r.n_failures];
}

/* Ends it: exactly the rows of the mask must have failed. */
static void expect(struct seen *s, unsigned failed)
{
    bool ok = selftest_judge(s->log, &s->r, s->rows);
    assert_int_equal(ok, !failed);
    for (unsigned i = 0; i < SELFTEST_ROWS; i++) {
        if (s->rows[i].ok == (bool)(failed >> i & 1))
            fail_msg("row '%s' (%s): %s", selftest_names[i], s->rows[i].found,
                     s->rows[i].ok ? "ok, it should not be" : "not ok");
        assert_true(*s->rows[i].injected && *s->rows[i].found);
    }
    probe_result_done(&s->r);
    free(s->log);
}

static void all_found(void **state)
{
    (void)state;
    struct seen s;
    begin(&s);
    expect(&s, 0);
}

static void each_one_missed(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        int row;
    } singles[] = {{DROP, SELFTEST_DROP},
                   {RESET, SELFTEST_RESET},
                   {SWAP, SELFTEST_SWAP},
                   {STALE, SELFTEST_STALE},
                   {REFUSED, SELFTEST_REFUSE}};
    struct seen s;
    for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
        begin(&s);
        forget(&s, singles[i].number);
        expect(&s, 1U << singles[i].row);
    }
}

static void found_as_something_else(void **state)
{
    (void)state;
    struct seen s;
    begin(&s);
    failure(&s, SWAP)->bad = PROBE_BAD_STALE;
    expect(&s, 1U << SELFTEST_SWAP);
    begin(&s);
    failure(&s, DROP)->outcome = PROBE_RESET;
    expect(&s, 1U << SELFTEST_DROP);
    begin(&s);
    s.log->seen[REFUSED] = 1; /* called refused, but it arrived */
    expect(&s, 1U << SELFTEST_REFUSE | 1U << SELFTEST_REST);
}

static void no_answer_twice_or_two(void **state)
{
    (void)state;
    struct seen s;
    for (uint64_t n = 0; n <= 2; n += 2) {
        begin(&s);
        s.r.duplicate_answers = n;
        expect(&s, 1U << SELFTEST_TWICE);
    }
}

static void a_gap_of_another_length(void **state)
{
    (void)state;
    static const nsec_t gaps[] = {0, 990 * NSEC_MS, 1100 * NSEC_MS};
    struct seen s;
    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        begin(&s);
        s.r.longest_gap = gaps[i];
        expect(&s, 1U << SELFTEST_FREEZE);
    }
}

/* What the probe slept through is not the server's; it says so. */
static void as_exact_as_the_probe_was(void **state)
{
    (void)state;
    struct seen s;
    begin(&s);
    s.r.longest_gap = 960 * NSEC_MS;
    hist_add(&s.r.lateness, 50 * NSEC_MS);
    selftest_judge(s.log, &s.r, s.rows);
    assert_true(s.rows[SELFTEST_FREEZE].ok);
    hist_add(&s.r.lateness, 300 * NSEC_MS);
    expect(&s, 1U << SELFTEST_FREEZE);
}

/* A closed loop sees the freeze as one slow request. */
static void a_gap_that_is_charged_to_one(void **state)
{
    (void)state;
    struct seen s;
    begin(&s);
    hist_done(&s.r.latency);
    for (int i = 0; i < SENT; i++)
        hist_add(&s.r.latency, i ? NSEC_MS : NSEC_S);
    expect(&s, 1U << SELFTEST_FREEZE);
}

static void more_than_there_was(void **state)
{
    (void)state;
    struct seen s;
    begin(&s);
    add_failure(&s.r, 3000, PROBE_RESET, 0);
    expect(&s, 1U << SELFTEST_REST);
    begin(&s);
    s.log->seen[4000] = 2;
    expect(&s, 1U << SELFTEST_REST);
    begin(&s);
    s.r.sent++;
    s.r.in_flight++;
    s.log->seen[SENT + 1] = 1;
    expect(&s, 1U << SELFTEST_REST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_found),
        cmocka_unit_test(each_one_missed),
        cmocka_unit_test(found_as_something_else),
        cmocka_unit_test(no_answer_twice_or_two),
        cmocka_unit_test(a_gap_of_another_length),
        cmocka_unit_test(as_exact_as_the_probe_was),
        cmocka_unit_test(a_gap_that_is_charged_to_one),
        cmocka_unit_test(more_than_there_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
