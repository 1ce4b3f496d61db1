/* When the standby is paused, and when it goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/brake.h"

static const struct spec_brake rule = {
    .p99 = 50 * NSEC_MS, .rate = 50, .window = 2 * NSEC_S, .max_pause = 10 * NSEC_S};
static const struct brake_window good = {10 * NSEC_MS, 100, 100}, slow = {60 * NSEC_MS, 100, 100},
                                 dumb = {0, 49, 100}, few = {10 * NSEC_MS, 50, 100};

#define AT(seconds) ((nsec_t)((seconds)*NSEC_S))

static void live_decides(void **state)
{
    (void)state;
    struct brake_state s = {0};
    assert_int_equal(brake_decide(&rule, &s, AT(1), NULL), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(2), &good), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(4), &few), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(6), &slow), BRAKE_PAUSE);
    assert_int_equal(brake_decide(&rule, &s, AT(7), NULL), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(8), &slow), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(10), &good), BRAKE_GO);
    assert_false(s.paused);
}

static void one_that_does_not_answer_is_slow(void **state)
{
    (void)state;
    struct brake_state s = {0};
    assert_int_equal(brake_decide(&rule, &s, AT(2), &dumb), BRAKE_PAUSE);
    assert_int_equal(brake_decide(&rule, &s, AT(4), &dumb), BRAKE_STAY);
}

/* Where it is not the standby's doing, it still gets half of the time. */
static void a_pause_ends_and_what_follows_is_as_long(void **state)
{
    (void)state;
    struct brake_state s = {0};
    assert_int_equal(brake_decide(&rule, &s, AT(2), &slow), BRAKE_PAUSE);
    assert_int_equal(brake_decide(&rule, &s, AT(11.9), &slow), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(12), NULL), BRAKE_GO);
    assert_int_equal(brake_decide(&rule, &s, AT(14), &slow), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(21), &slow), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(22), &slow), BRAKE_PAUSE);
    assert_int_equal(brake_decide(&rule, &s, AT(24), &good), BRAKE_GO);
    assert_int_equal(brake_decide(&rule, &s, AT(25), &slow), BRAKE_STAY);
    assert_int_equal(brake_decide(&rule, &s, AT(26), &slow), BRAKE_PAUSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_decides),
        cmocka_unit_test(one_that_does_not_answer_is_slow),
        cmocka_unit_test(a_pause_ends_and_what_follows_is_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
