#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/traffic/log.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/changeover-test-log-XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) < 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void add(struct str *s, double ago, const char *colour, int status, size_t pad)
{
    /* the client names a colour too: that is its own affair */
    str_addf(s,
             "{\"level\":\"info\",\"ts\":%.6f,\"request\":{\"uri\":\"/"
             "%0*d?\\\"resp_headers\\\":{\",\"headers\":"
             "{\"X-Changeover-Colour\":[\"green\"]}},\"status\":%d,\"resp_headers\":{\"Server\":["
             "\"Caddy\"]",
             (double)sys_clock_wall() / 1e9 - ago, (int)pad + 1, 7, status);
    if (colour)
        str_addf(s, ",\"X-Changeover-Colour\":[\"%s\"]", colour);
    str_add(s, "}}\n");
}

static int count(const struct str *text, double seconds, struct traffic_counts *ret)
{
    struct err err = {0};
    struct spec spec = {.traffic.access_log = path};
    struct driver_ctx ctx = {.side = {&spec, &spec}};
    assert_int_equal(sys_file_write_atomic(path, str_cstr(text), text->len, 0600, &err), 0);
    return traffic_show_last(&ctx, seconds, ret, &err);
}

static void only_the_last_seconds_count(void **state)
{
    (void)state;
    struct traffic_counts c = {0};
    cleanup_str struct str s = {0};
    assert_int_equal(count(&s, 10, &c), 0);
    add(&s, 60, "green", 200, 0);
    add(&s, 5, "green", 200, 0);
    add(&s, 4, "blue", 502, 0);
    add(&s, 3, "none", 503, 0);
    add(&s, 2, NULL, 500, 0);
    add(&s, 1, "blue", 101, 0);
    assert_int_equal(count(&s, 10, &c), 0);
    assert_int_equal(c.answered[GREEN], 1);
    assert_int_equal(c.answered[BLUE], 2);
    assert_int_equal(c.none, 1);
    assert_int_equal(c.failed, 2);
    assert_false(c.cut);
    assert_int_equal(count(&s, 1000, &c), 0);
    assert_int_equal(c.answered[GREEN], 2);
    assert_true(c.cut);
}

static void lines_may_lie_across_chunks(void **state)
{
    (void)state;
    struct traffic_counts c = {0};
    cleanup_str struct str s = {.max = 64 << 20};
    for (int i = 0; i < 3000; i++)
        add(&s, 5, i % 3 ? "blue" : "green", 200, (size_t)(i * 37 % 900));
    str_add(&s, "{\"level\":\"info\",\"ts\":"); /* being written right now */
    assert_int_equal(count(&s, 60, &c), 0);
    assert_int_equal(c.answered[GREEN], 1000);
    assert_int_equal(c.answered[BLUE], 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_last_seconds_count),
        cmocka_unit_test(lines_may_lie_across_chunks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
