/* The report's page from a struct: what is in it, escaped, whatever the texts and figures are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "observe/report_internal.h"

#include <stdlib.h>
#include <string.h>

#define T0 (1795402482LL * NSEC_S)

#define S(text) ((char[]){text})

static struct report_event events[] = {
    {T0, EVENT_PHASE, NULL, S("prepare: green 1 -> blue 2")},
    {T0, EVENT_STEP_START, S("prepare/clone"), S("clone a to b")},
    {T0 + NSEC_S, EVENT_STEP_DONE, S("prepare/clone"), S("cloned")},
    {T0 + NSEC_S, EVENT_STEP_START, S("promote/bake"), S("watch it")},
    {T0 + NSEC_S, EVENT_WARNING, S("promote/bake"), S("the <lag> is \"5\" & 'more' \x01 \xff\xc3")},
    {T0 + 2 * NSEC_S, EVENT_STEP_FAIL, S("promote/bake"), S("p99 <script>alert(1)</script>")},
};

static struct report_step steps[] = {
    {S("prepare/clone"), {STEP_DONE, 1, T0, T0 + NSEC_S, "cloned; paused for 3 ms"}},
    {S("promote/bake"), {STEP_INTENDED, 2, T0 + 3600 * NSEC_S, 0, ""}},
};

static struct report make(void)
{
    return (struct report){.service = "no<de",
                           .up = {.id = "20261123-1",
                                  .state = STATE_PROMOTING,
                                  .from = GREEN,
                                  .to = BLUE,
                                  .version_from = "1.0",
                                  .version_to = "2.0&beta",
                                  .created_wall_ns = T0},
                           .now_wall_ns = T0 + 3700 * NSEC_S,
                           .events = events,
                           .events_n = sizeof(events) / sizeof(events[0]),
                           .steps = steps,
                           .steps_n = sizeof(steps) / sizeof(steps[0])};
}

static void has(const struct str *page, const char *text)
{
    if (!strstr(str_cstr(page), text))
        fail_msg("'%s' is not in the page", text);
}

static void has_not(const struct str *page, const char *text)
{
    if (strstr(str_cstr(page), text))
        fail_msg("'%s' is in the page", text);
}

static void all_is_told(void **state)
{
    (void)state;
    struct report r = make();
    struct str page = {0};
    report_html(&r, &page);
    has(&page, "2.0&amp;beta");
    has(&page, "prepare/<wbr>clone");
    has(&page, "cloned; paused for 3 ms");
    has(&page, "nothing ran for 59 m");
    has(&page, "(attempt 2)");
    has(&page, ">failed</span>");
    has(&page, "still open");
    has(&page, "no&lt;de: green 1.0 to blue 2.0&amp;beta, promoting for 1 h 1 m; 2 steps, 1 "
               "failures, 1 warnings.");
    has_not(&page, "What users saw");
    str_done(&page);
}

static void every_text_is_escaped(void **state)
{
    (void)state;
    struct report r = make();
    struct str page = {0};
    report_html(&r, &page);
    has_not(&page, "<script");
    has_not(&page, "no<de");
    has(&page, "the &lt;lag&gt; is &quot;5&quot; &amp; &#39;more&#39; \xef\xbf\xbd "
               "\xef\xbf\xbd\xef\xbf\xbd<");
    str_done(&page);
}

static void bytes_that_are_no_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } texts[] = {
        {"blau \xc3\xbc \xe2\x86\x92 \xf0\x9f\x98\x80",
         "blau \xc3\xbc \xe2\x86\x92 \xf0\x9f\x98\x80"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                     /* a slash, too long */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},     /* half a pair */
        {"\xe2\x86", "\xef\xbf\xbd\xef\xbf\xbd"},                     /* cut */
        {"a\x7f\x1b[31m\tb\n", "a\xef\xbf\xbd\xef\xbf\xbd[31m\tb\n"}, /* a terminal's colour */
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct str out = {0};
        html_text(&out, texts[i].in);
        assert_string_equal(str_cstr(&out), texts[i].out);
        str_done(&out);
    }
}

static void nothing_happened_yet(void **state)
{
    (void)state;
    struct report r = make();
    struct str page = {0};
    r.events_n = r.steps_n = 0;
    report_html(&r, &page);
    has(&page, "None was begun.");
    has(&page, "None.");
    str_done(&page);
}

static const char *const probes[] = {
    "{\"sent\": 1}",
    "{\"sent\": 10, \"series\": {}}",
    "{\"sent\": 10, \"series\": {\"every_ms\": 0, \"windows\": [[1]], \"colours\": [1]}}",
    "{\"sent\": 10, \"series\": {\"every_ms\": 100, \"windows\": [[], 5, [\"x\"], [0,0,0,0,0,0]], "
    "\"colours\": []}}",
    "{\"sent\": 10, \"series\": {\"every_ms\": 1e300, \"windows\": "
    "[[1e308,1e308,1e-300,1,1e308,1e308,-5]], "
    "\"colours\": [\"a\"]}, \"windows\": {\"flips\": [{\"at_ms\": -1e308}, 7, {\"at_ms\": "
    "1e308}]}}",
    "{\"sent\": 10, \"lost\": -3, \"started_ms\": 1e300, \"failures\": [{\"at_ms\": 1e300}, 3, "
    "{}]}",
};

static void any_json_makes_a_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        struct report r = make();
        struct str page = {0};
        json_t *probe = json_loads(probes[i], 0, NULL);
        assert_non_null(probe);
        json_t *list = json_pack("[O]", probe);
        r.probes = list;
        report_html(&r, &page);
        has(&page, "What users saw");
        has(&page, "</html>");
        has_not(&page, "nan");
        has_not(&page, "\"inf");
        str_done(&page);
        json_decref(list);
        json_decref(probe);
    }
}

static void a_series_is_drawn(void **state)
{
    (void)state;
    struct report r = make();
    struct str page = {0};
    r.probes = json_loads(
        "[{\"sent\": 40, \"answered\": 29, \"lost\": 11, \"series\": {\"every_ms\": 1000, "
        "\"colours\": "
        "[\"green\", \"blue\"], \"windows\": "
        "[[10,0,1,2,3,4,10,0],[10,10,0,0,0,0,0,0],[10,1,1,2,3,4,0,9],"
        "[10,0,1,2,3,4,0,10]]}, \"windows\": {\"flips\": [{\"at_ms\": 2000, \"from\": \"green\", "
        "\"to\": "
        "\"<blue>\"}]}, \"started_ms\": 1795402482000, \"failures\": [{\"number\": 11, \"at_ms\": "
        "1000, "
        "\"outcome\": \"bad\", \"bad\": \"status\", \"detail\": \"status 503: '<h1>'\"}]}, "
        "{\"part\": \"rollback/probe 1\", \"sent\": 7, \"answered\": 7, \"lost\": 0, "
        "\"longest_gap_ms\": 1234, \"broken\": \"p99 <41> ms\", \"baseline\": {\"p99_ms\": 1.25}, "
        "\"websockets\": {\"wanted\": 5, \"stayed\": 2, \"drops\": 3, \"closed\": 1, "
        "\"reconnects\": 3, \"first_try\": 2, \"missed\": 1, \"missed_away\": 4, \"silent\": 1, "
        "\"first_event_ms\": {\"p50\": 60.4, \"max\": 81.2, \"count\": 2}}}]",
        0, NULL);
    assert_non_null(r.probes);
    strcpy(r.sockets[GREEN], "9 stayed at green");
    strcpy(r.sockets[BLUE], "2 at <blue>");
    report_html(&r, &page);
    has(&page, "flip to &lt;blue&gt;");
    has(&page, "status: status 503: &#39;&lt;h1&gt;&#39; (1.0000 s after the probe&#39;s first)");
    has(&page, "and 10 more");
    /* a second one: sums over both, the longest of both, and what a promote made of it */
    has(&page, "11 of 47");
    has(&page, "1234.0 ms");
    has(&page, "47 requests sent, 36 answered, 11 lost.");
    has(&page, "rollback/probe 1: 7 requests sent");
    has(&page, "A limit was broken: p99 &lt;41&gt; ms");
    has(&page, "p99 1.25 ms");
    has(&page,
        "The probe&#39;s websockets: 5 held open, 2 never dropped, 3 dropped (1 with a close "
        "frame), 3 reconnected (2 at the first try); the first event came 60 ms after the "
        "drop (median), at most 81 ms; 1 have had no event since; 5 events missed.");
    has(&page, "<h2>Websockets through the proxy</h2><p>9 stayed at green.</p><p>2 at &lt;blue&gt;."
               "</p>");
    /* the second without an answer is a hole in each line: two pieces for each percentile */
    size_t pieces = 0;
    for (const char *at = str_cstr(&page); (at = strstr(at, "<polyline")); at++)
        pieces++;
    assert_int_equal(pieces, 8);
    str_done(&page);
    json_decref((json_t *)(uintptr_t)r.probes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_told),
        cmocka_unit_test(every_text_is_escaped),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(nothing_happened_yet),
        cmocka_unit_test(any_json_makes_a_page),
        cmocka_unit_test(a_series_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
