#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

static void err_keeps_context_and_hint(void **state)
{
    (void)state;
    struct err err = {0};
    errno = ENOENT;
    assert_int_equal(err_sys(&err, ERR_NOT_FOUND, "open '%s'", "/x"), -1);
    err_ctx(&err, "volume '%s'", "ledger");
    err_hint(&err, "changeover check");
    assert_string_equal(err.msg, "volume 'ledger': open '/x': No such file or directory");
    assert_string_equal(err.hint, "changeover check");
    assert_int_equal(err.sys, ENOENT);
    assert_int_equal(err_set(NULL, ERR_FAILED, "nobody looks"), -1);
}

static void exit_statuses_are_the_promised_ones(void **state)
{
    (void)state;
    assert_int_equal(err_exit_status(ERR_NONE), 0);
    assert_int_equal(err_exit_status(ERR_FAILED), 1);
    assert_int_equal(err_exit_status(ERR_USAGE), 2);
    assert_int_equal(err_exit_status(ERR_HALFWAY), 3);
    assert_int_equal(err_exit_status(ERR_GATE), 4);
    assert_int_equal(err_exit_status(ERR_LOCKED), 5);
}

static void str_stops_at_its_ceiling(void **state)
{
    (void)state;
    cleanup_str struct str s = {.max = 10};
    str_addf(&s, "%s-%d", "abcdefgh", 12345);
    assert_string_equal(str_cstr(&s), "abcdefgh-1");
    assert_true(s.cut);
}

static void strv_is_an_argv(void **state)
{
    (void)state;
    cleanup_strv struct strv v = {0};
    strv_add(&v, "a");
    strv_take(&v, x_asprintf("b%d", 1));
    assert_int_equal(v.n, 2);
    assert_null(v.v[2]);
    assert_true(strv_has(&v, "b1"));
    assert_false(strv_has(&v, "b"));
}

static void arena_grows_arrays(void **state)
{
    (void)state;
    struct arena a = {0};
    int *items = NULL;
    size_t n = 0;
    for (int i = 0; i < 1000; i++)
        *(int *)arena_grow(&a, &items, &n, sizeof(int)) = i;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    assert_string_equal(arena_printf(&a, "%05d", 42), "00042");
    arena_done(&a);
    assert_null(a.head);
}

static void clock_parses_and_prints(void **state)
{
    (void)state;
    nsec_t ns;
    assert_int_equal(clock_parse("300ms", &ns), 0);
    assert_int_equal(ns, 300 * NSEC_MS);
    assert_int_equal(clock_parse("1.5h", &ns), 0);
    assert_int_equal(ns, 90 * NSEC_MIN);
    assert_int_equal(clock_parse("10", &ns), -1);
    assert_int_equal(clock_parse("10 parsecs", &ns), -1);
    assert_int_equal(clock_parse("-1s", &ns), -1);
    assert_int_equal(clock_parse("nan s", &ns), -1);
    char buf[24];
    assert_string_equal(clock_words(buf, sizeof(buf), 4 * NSEC_MS), "4 ms");
    assert_string_equal(clock_words(buf, sizeof(buf), 3725 * NSEC_S), "1 h 2 m");
    assert_string_equal(clock_words(buf, sizeof(buf), 125 * NSEC_S), "2 m 5 s");
    assert_string_equal(clock_words(buf, sizeof(buf), 30 * NSEC_S), "30 s");
    assert_string_equal(clock_words(buf, sizeof(buf), 59970 * NSEC_MS), "1 m");
    assert_string_equal(clock_words(buf, sizeof(buf), 10 * NSEC_MIN), "10 m");
}

static void bytes_are_readable(void **state)
{
    (void)state;
    char buf[16];
    assert_string_equal(str_bytes(buf, sizeof(buf), 999), "999 B");
    assert_string_equal(str_bytes(buf, sizeof(buf), 1234567), "1.2 MB");
    assert_string_equal(str_bytes(buf, sizeof(buf), 460000000000ULL), "460 GB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_keeps_context_and_hint),
        cmocka_unit_test(exit_statuses_are_the_promised_ones),
        cmocka_unit_test(str_stops_at_its_ceiling),
        cmocka_unit_test(strv_is_an_argv),
        cmocka_unit_test(arena_grows_arrays),
        cmocka_unit_test(clock_parses_and_prints),
        cmocka_unit_test(bytes_are_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
