/* Comparing answers: the differences of two JSON values, and of two services that are asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/shadow.h"
#include "fake_http.h"
#include "format/json.h"
#include "sys/clock.h"

/* --- values -------------------------------------------------------------------------------- */

static void add_difference(void *ctx, const char *path, const char *a, const char *b)
{
    struct str *out = ctx;
    str_addf(out, "%s%s: %s/%s", out->len ? "; " : "", path, a, b);
}

static json_t *value(const char *text)
{
    json_t *j = NULL;
    struct err err = {0};
    if (json_read(text, strlen(text), &j, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return j;
}

static void differences_have_path_and_values(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *ignore, *want;
    } cases[] = {
        {"{\"x\":1,\"y\":2}", "{\"y\":2,\"x\":1}", NULL, ""},
        {"{\"x\":{\"y\":[1,2,3]}}", "{\"x\":{\"y\":[1,5,3]}}", NULL, "x.y.1: 2/5"},
        {"[1,2]", "[1,2,3]", NULL, ": 2 entries/3 entries"},
        {"{\"a\":1}", "{\"b\":1}", NULL, "a: 1/nothing; b: nothing/1"},
        {"{\"a\":null}", "{}", NULL, "a: null/nothing"},
        {"{\"a\":1.0}", "{\"a\":1}", NULL, ""},
        {"{\"a\":\"1\"}", "{\"a\":1}", NULL, "a: \"1\"/1"},
        {"{\"a\":9007199254740993}", "{\"a\":9007199254740992}", NULL,
         "a: 9007199254740993/9007199254740992"},
        {"{\"e\":18446744073709551615}", "{\"e\":18446744073709551615}", NULL, ""},
        {"{\"e\":18446744073709551615,\"s\":\"a\\\"1\"}",
         "{\"e\":18446744073709551614,\"s\":\"a\\\"1\"}", NULL,
         "e: \"18446744073709551615\"/\"18446744073709551614\""},
        {"true", "false", NULL, ": true/false"},
        {"{\"a\":{\"t\":1},\"b\":{\"t\":2}}", "{\"a\":{\"t\":3},\"b\":{\"t\":4}}", "*.t", ""},
        {"{\"a\":{\"t\":1},\"b\":{\"t\":2}}", "{\"a\":{\"t\":3},\"b\":{\"t\":4}}", "a.t",
         "b.t: 2/4"},
        {"{\"a\":{\"t\":1}}", "{\"a\":{\"t\":3}}", "a", ""},
        {"{\"a\":{\"t\":1}}", "{\"a\":{\"t\":3}}", "a.t.u", "a.t: 1/3"},
        {"{\"a\":{\"t\":1}}", "{\"a\":{\"t\":3}}", "*", ""},
        {"[{\"n\":1},{\"n\":2}]", "[{\"n\":1},{\"n\":3}]", "*.n", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_json json_t *a = value(cases[i].a), *b = value(cases[i].b);
        cleanup_strv struct strv ignore = {0};
        cleanup_str struct str got = {0};
        if (cases[i].ignore)
            strv_add(&ignore, cases[i].ignore);
        json_diff(a, b, &ignore, add_difference, &got);
        assert_string_equal(str_cstr(&got), cases[i].want);
    }
}

static void long_values_are_shortened(void **state)
{
    (void)state;
    cleanup_str struct str text = {0}, got = {0};
    str_add(&text, "\"");
    for (int i = 0; i < 100; i++)
        str_add(&text, "ü");
    str_add(&text, "\"");
    cleanup_json json_t *a = value(str_cstr(&text)), *b = value("\"x\"");
    assert_int_equal(json_diff(a, b, NULL, add_difference, &got), 1);
    assert_true(str_ends(str_cstr(&got), "ü.../\"x\""));
    assert_true(got.len <= JSON_DIFF_VALUE + strlen(": /\"x\""));
}

static void a_slot_is_filled_in(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"[\"${slot}\"]", "[77]"},
        {"[\"${slot}\",{\"a\":\"${slot}\"}]", "[77,{\"a\":77}]"},
        {"[\"slot ${slot}!\"]", "[\"slot 77!\"]"},
        {"/block/${slot}", "/block/77"},
        {"${slot}", "77"},
        {"/", "/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_str struct str got = {0};
        shadow_fill(cases[i].text, 77, &got);
        assert_string_equal(str_cstr(&got), cases[i].want);
    }
}

/* --- services ------------------------------------------------------------------------------ */

static struct fake_http green, blue;
static struct spec spec[COLOURS];
static struct spec_port port[COLOURS];
static struct spec_shadow_request request;
static struct shadow_result result;
static int polls_left;

static int poll_count(void *ctx)
{
    (void)ctx;
    return polls_left >= 0 && polls_left-- == 0;
}

static const struct sink nowhere = {0};
static const struct driver_ctx ctx = {
    .side = {&spec[GREEN], &spec[BLUE]}, .sink = &nowhere, .poll = poll_count};
static const struct shadow_request rq = {.live = GREEN, .standby = BLUE};

static int setup(void **state)
{
    (void)state;
    memset(&green, 0, sizeof(green));
    memset(&blue, 0, sizeof(blue));
    green.body = blue.body = "{\"result\":{\"data\":\"x\"}}";
    green.version = blue.version = "1";
    green.slot = blue.slot = 1000;
    polls_left = -1;
    fake_start(&green);
    fake_start(&blue);
    request = (struct spec_shadow_request){.name = "getBlock",
                                           .query = {.port = "rpc",
                                                     .method = "getBlock",
                                                     .params = "[\"" SPEC_SHADOW_SLOT "\"]",
                                                     .path = "/"}};
    for (int c = GREEN; c < COLOURS; c++) {
        uint16_t p = (uint16_t)(c == GREEN ? green.port : blue.port);
        port[c] = (struct spec_port){.name = "rpc", .first = p, .last = p};
        spec[c] = (struct spec){.colour = c, .ports = &port[c], .ports_n = 1};
        spec[c].shadow = (struct spec_shadow){.requests = &request,
                                              .requests_n = 1,
                                              .slot = {.port = "rpc",
                                                       .method = "getSlot",
                                                       .params = "[]",
                                                       .path = "/",
                                                       .field = "result"},
                                              .samples = 3,
                                              .back = 20,
                                              .deadline = 600 * NSEC_MS,
                                              .timeout = 5 * NSEC_S};
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop(&green);
    fake_stop(&blue);
    strv_done(&spec[BLUE].shadow.ignore);
    return 0;
}

static int compare(struct err *err)
{
    if (shadow_run(&ctx, &rq, &result, err) < 0)
        return -1;
    return shadow_judge(&spec[BLUE], &rq, &result, err);
}

static void equal_answers_pass(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(compare(&err), 0);
    assert_int_equal(result.wanted, 3);
    assert_int_equal(result.compared, 3);
    assert_int_equal(result.differ, 0);
}

static void a_difference_is_named(void **state)
{
    (void)state;
    struct err err = {0};
    blue.body = "{\"result\":{\"data\":\"y\"}}";
    blue.slot = 990;
    assert_int_equal(compare(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_string_equal(err.msg, "3 of 3 answers of green and blue differ, at most 0 may: "
                                 "getBlock at slot 990: result.data: green \"x\", blue \"y\"; "
                                 "getBlock at slot 980: result.data: green \"x\", blue \"y\"; "
                                 "getBlock at slot 970: result.data: green \"x\", blue \"y\"");
    assert_non_null(strstr(err.hint, "shadow.ignore"));
}

static void the_limit_decides(void **state)
{
    (void)state;
    struct err err = {0};
    blue.body = "{\"result\":{\"data\":\"y\"}}";
    spec[BLUE].shadow.max_differences = 3;
    assert_int_equal(compare(&err), 0);
    assert_int_equal(result.differ, 3);
    spec[BLUE].shadow.max_differences = 2;
    assert_int_equal(compare(&err), -1);
    spec[BLUE].shadow.max_differences = 0;
    strv_add(&spec[BLUE].shadow.ignore, "result.data");
    assert_int_equal(compare(&err), 0);
}

static void a_slot_that_is_not_there_yet_is_waited_for(void **state)
{
    (void)state;
    struct err err = {0};
    blue.refuse = 2;
    assert_int_equal(compare(&err), 0);
    assert_int_equal(result.compared, 3);
    assert_int_equal(result.differ, 0);
}

static void one_that_never_comes_is_no_difference_but_the_end(void **state)
{
    (void)state;
    struct err err = {0};
    blue.refuse = 1000;
    assert_int_equal(compare(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_int_equal(result.differ, 0);
    assert_string_equal(err.msg, "3 of 3 answers could not be compared in time: getBlock at slot "
                                 "1000: green: answers; blue: error -32004: Block not available "
                                 "for slot 7");
}

static void errors_on_both_sides_prove_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    green.refuse = blue.refuse = 1000;
    assert_int_equal(compare(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_int_equal(result.compared, 3);
    assert_non_null(strstr(err.msg, "proves nothing"));
}

static void answers_that_say_their_slot_wait_for_each_other(void **state)
{
    (void)state;
    struct err err = {0};
    request = (struct spec_shadow_request){
        .name = "getAccountInfo",
        .slot_field = "result.context.slot",
        .query = {.port = "rpc", .method = "getAccountInfo", .params = "[]", .path = "/"}};
    spec[BLUE].shadow.samples = 1;
    green.step = blue.step = 1;
    blue.slot = 998;
    assert_int_equal(compare(&err), 0);
    assert_int_equal(result.differ, 0);

    blue.version = "2";
    blue.slot = green.slot - 1;
    assert_int_equal(compare(&err), -1);
    assert_non_null(strstr(err.msg, "result.context.apiVersion: green \"1\", blue \"2\""));

    blue.step = 0; /* stands still: never of one slot again */
    blue.slot = 990;
    assert_int_equal(compare(&err), -1);
    assert_non_null(strstr(err.msg, "no answers of one slot: green's is of"));
}

static void one_that_is_down_is_named_in_time(void **state)
{
    (void)state;
    struct err err = {0};
    port[BLUE].first = port[BLUE].last = 1;
    nsec_t begun = sys_clock_mono();
    assert_int_equal(compare(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_non_null(strstr(err.msg, "blue does not say its newest slot"));
    assert_true(sys_clock_mono() - begun < 3 * NSEC_S);
}

static void pages_are_compared_as_text(void **state)
{
    (void)state;
    struct err err = {0};
    request = (struct spec_shadow_request){.name = "/page",
                                           .query = {.port = "rpc", .path = "/x", .params = "[]"}};
    green.body = blue.body = "hello";
    assert_int_equal(compare(&err), 0);
    blue.body = "hallo";
    assert_int_equal(compare(&err), -1);
    assert_non_null(strstr(err.msg, "/page: (all of it): green \"hello\", blue \"hallo\""));
}

static void it_ends_when_asked_to(void **state)
{
    (void)state;
    struct err err = {0};
    polls_left = 0;
    assert_int_equal(compare(&err), -1);
    assert_int_equal(err.code, ERR_INTERRUPTED);
}

#define WITH_SERVICES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_have_path_and_values),
        cmocka_unit_test(long_values_are_shortened),
        cmocka_unit_test(a_slot_is_filled_in),
        WITH_SERVICES(equal_answers_pass),
        WITH_SERVICES(a_difference_is_named),
        WITH_SERVICES(the_limit_decides),
        WITH_SERVICES(a_slot_that_is_not_there_yet_is_waited_for),
        WITH_SERVICES(one_that_never_comes_is_no_difference_but_the_end),
        WITH_SERVICES(errors_on_both_sides_prove_nothing),
        WITH_SERVICES(answers_that_say_their_slot_wait_for_each_other),
        WITH_SERVICES(one_that_is_down_is_named_in_time),
        WITH_SERVICES(pages_are_compared_as_text),
        WITH_SERVICES(it_ends_when_asked_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
