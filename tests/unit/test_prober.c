/* What the probe's limits decide, on figures made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/prober_internal.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

/* 100 requests a second, 10 s of baseline with a p99 of 13 ms: 10 slow ones of the thousand are one
 * in a hundred. */
static struct spec_probe spec;
static struct prober *pr;

static int setup(void **state)
{
    (void)state;
    spec = (struct spec_probe){
        .rate = 100, .baseline = 10 * NSEC_S, .p99_ratio = 2, .p99_floor_ms = 5, .max_gap_ms = 50};
    pr = x_alloc(sizeof(*pr));
    pr->spec = &spec;
    pr->base = (struct baseline){.known = true, .p99 = 13 * NSEC_MS, .gap = 10 * NSEC_MS};
    prober_mark(pr);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    probe_result_done(&pr->now);
    hist_done(&pr->latency_then);
    hist_done(&pr->lateness_then);
    free(pr);
    return 0;
}

static void answers(unsigned n, nsec_t latency)
{
    for (unsigned i = 0; i < n; i++)
        hist_add(&pr->now.latency, latency);
    pr->now.sent += n;
    pr->now.outcome[PROBE_OK] += n;
}

static const char *judged(void)
{
    prober_judge(pr);
    return pr->broken;
}

/* As if the stretch had begun a baseline ago. */
static void end_of_stretch(void)
{
    pr->stretch_from = sys_clock_mono() - spec.baseline - NSEC_MS;
}

static void slow_ones_decide_when_nothing_can_mend_them(void **state)
{
    (void)state;
    answers(30, 2 * NSEC_MS);
    answers(10, 41 * NSEC_MS);
    assert_string_equal(judged(), ""); /* ten of a thousand: it may still become good */
    answers(1, 41 * NSEC_MS);
    assert_string_equal(judged(), "p99 41 ms is 3.2 x the baseline, limit 2");
}

static void a_whole_stretch_is_judged_by_itself(void **state)
{
    (void)state;
    answers(990, 2 * NSEC_MS);
    answers(10, 41 * NSEC_MS);
    end_of_stretch();
    assert_string_equal(judged(), "");
    assert_true(pr->stretch_from > sys_clock_mono() - NSEC_S); /* the next one has begun */
    answers(9, 41 * NSEC_MS); /* with those before it would be too much */
    assert_string_equal(judged(), "");
    answers(100, 2 * NSEC_MS);
    end_of_stretch();
    assert_string_equal(judged(), "p99 41 ms is 3.2 x the baseline, limit 2");
}

static void what_is_not_charged(void **state)
{
    (void)state;
    answers(1000, 25 * NSEC_MS); /* 1.9 x */
    assert_string_equal(judged(), "");
    pr->base.p99 = NSEC_MS / 2;
    spec.p99_floor_ms = 30;
    assert_string_equal(judged(), ""); /* 50 x, and still below the floor */
    spec.p99_floor_ms = 5;
    for (int i = 0; i < 1000; i++)
        hist_add(&pr->now.lateness, 24 * NSEC_MS);
    assert_string_equal(judged(), ""); /* the probe itself was late */
    spec.p99_ratio = 0;
    hist_clear(&pr->now.lateness);
    assert_string_equal(judged(), "");
    spec.p99_ratio = 2;
    pr->base.known = false;
    assert_string_equal(judged(), "");
    pr->base.known = true;
    assert_string_equal(judged(), "p99 25 ms is 50.0 x the baseline, limit 2");
}

static void a_gap_counts_beyond_what_live_had(void **state)
{
    (void)state;
    pr->base.gap = 80 * NSEC_MS;
    pr->now.longest_gap = 80 * NSEC_MS;
    assert_string_equal(judged(), "");
    pr->now.longest_gap = 81 * NSEC_MS;
    spec.max_gap_ms = 0;
    assert_string_equal(judged(), "");
    spec.max_gap_ms = 50;
    assert_string_equal(judged(), "no good answer for 81 ms, limit 50 ms");
}

static void lost_ones_count_since_the_baseline(void **state)
{
    (void)state;
    pr->lost_before = 1;
    pr->now.n_failures = 1;
    pr->now.outcome[PROBE_RESET] = 1;
    assert_string_equal(judged(), "");
    pr->now.outcome[PROBE_BAD] = 1;
    pr->now.failures[pr->now.n_failures++] = (struct probe_failure){
        .outcome = PROBE_BAD, .bad = PROBE_BAD_STATUS, .detail = "status 503: 'no'"};
    spec.max_lost = 1;
    assert_string_equal(judged(), "");
    spec.max_lost = 0;
    assert_string_equal(judged(), "1 request lost (status: status 503: 'no'), limit 0");
}

static void executed_twice_counts_by_the_logs(void **state)
{
    (void)state;
    spec.max_twice = 1;
    pr->now.executed = (struct probe_executed){.asked = true, .requests = 100, .twice = 1};
    assert_string_equal(judged(), "");
    pr->now.executed.twice = 2;
    pr->now.executed.first_twice[0] = 17;
    assert_string_equal(judged(), "2 requests executed twice (the first: #17), limit 1");
}

static void while_requests_wait_only_what_is_lost_counts(void **state)
{
    (void)state;
    pr->held = true;
    pr->now.longest_gap = NSEC_S;
    answers(30, 2 * NSEC_MS);
    answers(30, 41 * NSEC_MS);
    assert_string_equal(judged(), "");
    pr->now.outcome[PROBE_LEFT] = 3; /* nobody knows */
    assert_string_equal(judged(), "");
    pr->now.outcome[PROBE_RESET] = 1;
    pr->now.failures[pr->now.n_failures++] =
        (struct probe_failure){.outcome = PROBE_RESET, .detail = "gone"};
    assert_string_equal(judged(), "1 request lost (reset: gone), limit 0");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(slow_ones_decide_when_nothing_can_mend_them),
        T(a_whole_stretch_is_judged_by_itself),
        T(what_is_not_charged),
        T(a_gap_counts_beyond_what_live_had),
        T(lost_ones_count_since_the_baseline),
        T(executed_twice_counts_by_the_logs),
        T(while_requests_wait_only_what_is_lost_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
