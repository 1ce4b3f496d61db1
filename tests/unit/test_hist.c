/* The histogram: exact to 3 digits over its range, mergeable, and a difference of two is a window.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hist.h"

#include <stdlib.h>
#include <string.h>

static void empty_is_zero(void **state)
{
    (void)state;
    struct hist h = {0};
    assert_int_equal(hist_at(&h, 0.99), 0);
    assert_int_equal(hist_mean(&h), 0);
    hist_done(&h);
}

static void one_value_within_a_thousandth(void **state)
{
    (void)state;
    for (nsec_t v = 1500000; v < 4000 * NSEC_S; v = v / 7 * 9 + 13) {
        struct hist h = {0};
        hist_add(&h, v);
        hist_add(&h, v * 2);
        nsec_t got = hist_at(&h, 0.5);
        assert_true(got >= v);
        assert_true((double)(got - v) <= (double)v / 1000 + 1024);
        assert_int_equal(hist_at(&h, 1.0), v * 2);
        hist_done(&h);
    }
}

static int compare(const void *a, const void *b)
{
    nsec_t x = *(const nsec_t *)a, y = *(const nsec_t *)b;
    return (x > y) - (x < y);
}

static void percentiles_match_sorting(void **state)
{
    (void)state;
    enum { N = 20000 };
    static nsec_t v[N];
    struct hist h = {0};
    uint64_t x = 88172645463325252ULL;
    for (int i = 0; i < N; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        v[i] = (nsec_t)(x % 1000000) * (nsec_t)(1 + (x >> 32) % 5000);
        hist_add(&h, v[i]);
    }
    qsort(v, N, sizeof(v[0]), compare);
    static const double at[] = {0.001, 0.5, 0.9, 0.99, 0.999, 1.0};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        nsec_t want = v[(size_t)(at[i] * N + 0.5) - 1], got = hist_at(&h, at[i]);
        assert_true(got >= want);
        assert_true((double)(got - want) <= (double)want / 1000 + 1024);
    }
    assert_int_equal(h.min, v[0]);
    assert_int_equal(h.max, v[N - 1]);
    hist_done(&h);
}

static void merging_is_the_same_as_adding(void **state)
{
    (void)state;
    struct hist a = {0}, b = {0}, all = {0};
    for (int i = 1; i <= 1000; i++) {
        hist_add(i % 3 ? &a : &b, i * NSEC_MS);
        hist_add(&all, i * NSEC_MS);
    }
    hist_merge(&a, &b);
    assert_int_equal(a.n, all.n);
    assert_int_equal(a.sum, all.sum);
    assert_int_equal(a.min, all.min);
    assert_int_equal(a.max, all.max);
    for (int p = 1; p <= 100; p++)
        assert_int_equal(hist_at(&a, p / 100.0), hist_at(&all, p / 100.0));
    hist_done(&a);
    hist_done(&b);
    hist_done(&all);
}

static void a_window_is_a_difference(void **state)
{
    (void)state;
    struct hist h = {0}, before = {0};
    for (int i = 0; i < 100; i++)
        hist_add(&h, 100 * NSEC_MS);
    hist_copy(&before, &h);
    for (int i = 0; i < 10; i++)
        hist_add(&h, 2 * NSEC_MS);
    hist_subtract(&h, &before);
    assert_int_equal(h.n, 10);
    assert_int_equal(hist_mean(&h), 2 * NSEC_MS);
    assert_true(llabs(h.max - 2 * NSEC_MS) <= 2 * NSEC_MS / 500);
    assert_true(llabs(h.min - 2 * NSEC_MS) <= 2 * NSEC_MS / 500);
    hist_clear(&h);
    assert_int_equal(h.n, 0);
    assert_int_equal(hist_at(&h, 0.99), 0);
    hist_add(&h, 7 * NSEC_MS);
    assert_int_equal(h.max, 7 * NSEC_MS);
    assert_true(hist_at(&h, 0.01) <= 7 * NSEC_MS);
    hist_done(&h);
    hist_done(&before);
}

static void out_of_range_is_kept(void **state)
{
    (void)state;
    struct hist h = {0};
    hist_add(&h, -5);
    hist_add(&h, INT64_MAX / 4);
    assert_int_equal(h.n, 2);
    assert_int_equal(h.min, 0);
    assert_int_equal(h.max, INT64_MAX / 4);
    assert_true(hist_at(&h, 0.5) <= 1024);
    hist_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_is_zero),
        cmocka_unit_test(one_value_within_a_thousandth),
        cmocka_unit_test(percentiles_match_sorting),
        cmocka_unit_test(merging_is_the_same_as_adding),
        cmocka_unit_test(a_window_is_a_difference),
        cmocka_unit_test(out_of_range_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
