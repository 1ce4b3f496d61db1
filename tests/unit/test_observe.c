#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/json.h"
#include "observe/jsonlines.h"
#include "observe/terminal.h"

#include <stdlib.h>
#include <string.h>

static nsec_t fake_now;

static nsec_t fake_clock(void)
{
    return fake_now;
}

/* What came out, and a terminal that is none until a test says so. */
struct fixture {
    char *text;
    size_t size;
    FILE *to;
    struct terminal t;
    struct sink sink;
};

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){0};
    f->to = open_memstream(&f->text, &f->size);
    f->t = (struct terminal){
        .to = f->to, .utf8 = true, .width = 40, .now = fake_clock, .printed_tenth = -1};
    f->sink = terminal_sink(&f->t);
    fake_now = 100 * NSEC_S;
}

static const char *fixture_text(struct fixture *f)
{
    fflush(f->to);
    return f->text;
}

static void fixture_done(struct fixture *f)
{
    fclose(f->to);
    free(f->text);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static void emit(struct fixture *f, enum event_kind kind, const char *step, const char *text,
                 nsec_t took)
{
    event_emit(&f->sink,
               &(struct event){.kind = kind, .step = step, .text = text, .took_ns = took});
}

static void a_log_has_headlines_marks_and_times(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    emit(&f, EVENT_PHASE, NULL, "prepare", 0);
    emit(&f, EVENT_STEP_START, "clone", "clone ledger", 0);
    emit(&f, EVENT_STEP_DONE, "clone", NULL, 2100 * NSEC_MS);
    emit(&f, EVENT_STEP_SKIP, "mount", "is there", 0);
    emit(&f, EVENT_STEP_FAIL, "start", "exited\nwith 1", 0);
    event_warn(&f.sink, "little %s", "space");
    assert_string_equal(fixture_text(&f), "== prepare ==\n"
                                          "  ✓ clone                clone ledger (2.1 s)\n"
                                          "  ↷ mount                is there\n"
                                          "  ✗ start                exited\n"
                                          "                         with 1\n"
                                          "  warning: little space\n");
    fixture_done(&f);
}

static void plain_ascii_where_the_locale_has_no_more(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.t.utf8 = false;
    emit(&f, EVENT_STEP_DONE, "a", "b", 0);
    emit(&f, EVENT_STEP_SKIP, "a", "b", 0);
    emit(&f, EVENT_STEP_FAIL, "a", "b", 0);
    event_progress(&f.sink, "p", 1, 2, "files", 0, -1);
    for (const char *p = fixture_text(&f); *p; p++)
        assert_true((unsigned char)*p < 0x80);
    fixture_done(&f);
}

static void quiet_keeps_warnings_and_failures(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.t.quiet = true;
    emit(&f, EVENT_PHASE, NULL, "prepare", 0);
    emit(&f, EVENT_STEP_DONE, "a", "fine", 0);
    event_progress(&f.sink, "p", 1, 2, "files", 0, -1);
    event_note(&f.sink, "by the way");
    assert_string_equal(fixture_text(&f) ? fixture_text(&f) : "", "");
    emit(&f, EVENT_STEP_FAIL, "a", "broken", 0);
    event_warn(&f.sink, "careful");
    assert_int_equal(count(fixture_text(&f), "\n"), 2);
    fixture_done(&f);
}

static void a_text_cannot_steer_the_terminal(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    emit(&f, EVENT_STEP_FAIL, "hook", "said \033[2J\a\r", 0);
    assert_null(strchr(fixture_text(&f), '\033'));
    assert_null(strchr(fixture_text(&f), '\r'));
    assert_non_null(strstr(fixture_text(&f), "said ?[2J??"));
    fixture_done(&f);
}

static const char *words(const struct event *ev)
{
    static char buf[256];
    return terminal_progress_words(buf, sizeof(buf), ev);
}

static void progress_is_readable(void **state)
{
    (void)state;
    assert_string_equal(words(&(struct event){.text = "clone",
                                              .done = 5e8,
                                              .total = 1e9,
                                              .unit = "bytes",
                                              .rate = 1.25e8,
                                              .eta_ns = 4 * NSEC_S}),
                        "clone  500 MB of 1.0 GB (50%)  125 MB/s  4 s left");
    assert_string_equal(
        words(&(struct event){
            .text = "lag", .done = 50123, .unit = "slots", .rate = 2.4, .eta_ns = -2}),
        "lag  50,123 slots  2.4 slots/s  does not converge");
    assert_string_equal(words(&(struct event){
                            .text = "gate", .done = 3, .total = 5, .unit = "passes", .eta_ns = -1}),
                        "gate  3 of 5 passes (60%)");
    assert_string_equal(words(&(struct event){.text = "waiting", .eta_ns = -1}), "waiting");
}

static void a_log_gets_a_line_each_tenth_and_every_ten_seconds(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    for (int i = 0; i <= 1000; i++)
        event_progress(&f.sink, "clone", i, 1000, "files", 0, -1);
    assert_int_equal(count(fixture_text(&f), "\n"), 11);
    for (int i = 0; i < 100; i++) {
        fake_now += NSEC_S;
        event_progress(&f.sink, "lag", 7, 0, "slots", 0, -1);
    }
    assert_int_equal(count(fixture_text(&f), "lag"), 10);
    assert_null(strchr(fixture_text(&f), '\r'));
    fixture_done(&f);
}

static void a_terminal_has_one_line_in_place(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.t.tty = true;
    for (int i = 0; i < 50; i++) {
        fake_now += 20 * NSEC_MS;
        event_progress(&f.sink, "a long name that does not fit into forty columns", i, 50, "files",
                       0, -1);
    }
    const char *text = fixture_text(&f);
    assert_int_equal(count(text, "\n"), 0);
    assert_in_range(count(text, "\r\033[K"), 9, 11);
    assert_non_null(strstr(text, "a long name that does not fit into "));
    assert_null(strstr(text, "columns"));
    emit(&f, EVENT_STEP_DONE, "clone", "done", 0);
    assert_non_null(strstr(fixture_text(&f), "\r\033[K  ✓ clone"));
    assert_false(f.t.line_open);
    fixture_done(&f);
}

static void no_color_is_respected(void **state)
{
    (void)state;
    struct terminal t;
    setenv("NO_COLOR", "1", 1);
    setenv("LC_ALL", "C", 1);
    setenv("LANG", "de_DE.UTF-8", 1);
    terminal_init(&t, stderr, false, false);
    assert_false(t.colour);
    assert_false(t.utf8);
    setenv("LC_ALL", "C.UTF-8", 1);
    terminal_init(&t, stderr, true, false);
    assert_true(t.utf8);
    assert_true(t.quiet);
    struct fixture f;
    fixture_init(&f);
    emit(&f, EVENT_PHASE, NULL, "plain", 0);
    assert_null(strchr(fixture_text(&f), '\033'));
    f.t.colour = true;
    emit(&f, EVENT_PHASE, NULL, "bold", 0);
    assert_non_null(strchr(fixture_text(&f), '\033'));
    fixture_done(&f);
}

static void json_lines_are_one_object_each(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    struct sink sink = jsonlines_sink(to);
    event_emit(&sink, &(struct event){.kind = EVENT_STEP_DONE,
                                      .step = "clone",
                                      .text = "bad \xff \"quote\"\n",
                                      .took_ns = 1500 * NSEC_MS,
                                      .wall_ns = 1700000000 * NSEC_S + 7 * NSEC_MS});
    event_progress(&sink, "clone", 512, 1024, "bytes", 0.5, 3 * NSEC_S);
    event_progress(&sink, "lag", 9, 0, "slots", 0, -2);
    fflush(to);
    assert_int_equal(count(text, "\n"), 3);
    static const char *const want[][2] = {
        {"time", "2023-11-14T22:13:20.007Z"},
        {"event", "step-done"},
        {"text", "bad ? \"quote\"\n"},
        {"took_s", "1.5"},
        {"event", "progress"},
        {"total", "1024"},
        {"left_s", "3.0"},
        {"converges", "false"},
    };
    static const int line_of[] = {0, 0, 0, 0, 1, 1, 1, 2};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        char *p = text;
        for (int l = 0; l < line_of[i]; l++)
            p = strchr(p, '\n') + 1;
        struct err err = {0};
        cleanup_json json_t *o = NULL;
        assert_int_equal(json_read(p, (size_t)(strchr(p, '\n') - p), &o, &err), 0);
        cleanup_str struct str got = {0};
        assert_true(json_text(json_at(o, want[i][0]), &got));
        assert_string_equal(str_cstr(&got), want[i][1]);
    }
    fclose(to);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_has_headlines_marks_and_times),
        cmocka_unit_test(plain_ascii_where_the_locale_has_no_more),
        cmocka_unit_test(quiet_keeps_warnings_and_failures),
        cmocka_unit_test(a_text_cannot_steer_the_terminal),
        cmocka_unit_test(progress_is_readable),
        cmocka_unit_test(a_log_gets_a_line_each_tenth_and_every_ten_seconds),
        cmocka_unit_test(a_terminal_has_one_line_in_place),
        cmocka_unit_test(no_color_is_respected),
        cmocka_unit_test(json_lines_are_one_object_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
