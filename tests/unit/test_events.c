/* What is counted of websocket subscriptions: on events and drops made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe/internal.h"

#include <stdlib.h>
#include <string.h>

static struct probe *p;
static struct wsock s;

static int setup(void **state)
{
    (void)state;
    p = x_alloc(sizeof(*p));
    p->o.colour_header = "X-Changeover-Colour";
    s = (struct wsock){.last_slot = -1};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    probe_result_done(&p->r);
    free(p);
    return 0;
}

static void opened_by(const char *colour)
{
    cleanup_free char *head =
        x_asprintf("HTTP/1.1 101 Switching Protocols\r\nX-Other: X-Changeover-Colour: no\r\n"
                   "x-changeover-colour:  %s\r\nUpgrade: websocket\r\n\r\n",
                   colour);
    s.attempts++;
    events_opened(p, &s, head);
}

static void slot(int64_t number, nsec_t at)
{
    json_t *params =
        json_pack("{s:{s:I}, s:i}", "result", "slot", (json_int_t)number, "subscription", 7);
    events_take(p, &s, params, at);
    json_decref(params);
}

static void slots(int64_t from, int64_t to)
{
    for (int64_t i = from; i <= to; i++)
        slot(i, 0);
}

static void dropped(nsec_t at)
{
    events_dropped(p, &s, at);
    s.attempts = 0;
}

static void what_lies_between_the_last_and_the_first_is_missed(void **state)
{
    (void)state;
    struct probe_sockets *r = &p->r.ws;
    opened_by("green");
    assert_int_equal(r->stayed, 1);
    slots(100, 110);
    s.close_frame = true;
    dropped(1000 * NSEC_MS);
    assert_int_equal(r->silent, 1);
    assert_int_equal(r->open, 0);
    opened_by("blue");
    assert_int_equal(r->silent, 1); /* it is back, and nothing has come yet */
    slot(114, 1060 * NSEC_MS);
    slots(115, 120);
    assert_int_equal(r->missed_away, 3);
    assert_int_equal(r->again, 0);
    assert_int_equal(r->missed, 0);
    assert_int_equal(r->events, 11 + 7);
    assert_int_equal(r->silent, 0);
    assert_int_equal(r->stayed, 0);
    assert_int_equal(r->drops, 1);
    assert_int_equal(r->closed, 1);
    assert_int_equal(r->reconnects, 1);
    assert_int_equal(r->first_try, 1);
    assert_int_equal(r->away.n, 1);
    assert_int_equal(r->away.max, 60 * NSEC_MS);
    assert_int_equal(r->n_by, 1);
    assert_string_equal(r->by[0].name, "blue");
    assert_int_equal(r->by[0].reconnects, 1);
}

static void nothing_is_missed_where_the_next_one_follows(void **state)
{
    (void)state;
    opened_by("green");
    slots(5, 9);
    dropped(0);
    opened_by("blue");
    slots(10, 12);
    assert_int_equal(p->r.ws.missed_away, 0);
    assert_int_equal(p->r.ws.again, 0);
}

/* The new side is behind: some come twice, none is missed. */
static void what_comes_twice_is_not_missed(void **state)
{
    (void)state;
    opened_by("green");
    slots(100, 110);
    dropped(0);
    opened_by("blue");
    slots(108, 115);
    assert_int_equal(p->r.ws.again, 3);
    assert_int_equal(p->r.ws.missed_away, 0);
    assert_int_equal(p->r.ws.missed, 0);
    assert_int_equal(p->r.ws.backward, 0);
}

/* Away is away since the first drop, and what was missed is counted once. */
static void dropped_again_before_anything_came(void **state)
{
    (void)state;
    struct probe_sockets *r = &p->r.ws;
    opened_by("green");
    slots(100, 100);
    dropped(1000 * NSEC_MS);
    opened_by("blue");
    dropped(1100 * NSEC_MS);
    assert_int_equal(r->silent, 1);
    assert_int_equal(r->drops, 2);
    s.attempts = 2; /* two attempts failed before it opened */
    opened_by("blue");
    slot(104, 1500 * NSEC_MS);
    assert_int_equal(r->missed_away, 3);
    assert_int_equal(r->away.n, 1);
    assert_int_equal(r->away.max, 500 * NSEC_MS);
    assert_int_equal(r->first_try, 1);
    assert_int_equal(r->reconnects, 2);
    assert_int_equal(r->by[0].reconnects, 2);
    assert_int_equal(r->silent, 0);
}

static void gaps_while_open_are_told_apart(void **state)
{
    (void)state;
    opened_by("green");
    slots(1, 3);
    slots(6, 7);
    slots(7, 8);
    assert_int_equal(p->r.ws.gaps, 1);
    assert_int_equal(p->r.ws.missed, 2);
    assert_int_equal(p->r.ws.backward, 1);
    assert_int_equal(p->r.ws.missed_away, 0);
}

/* Subscriptions without slots have a first event, and nothing that could be missed. */
static void events_without_a_slot(void **state)
{
    (void)state;
    json_t *params = json_pack("{s:s}", "result", "news");
    opened_by("green");
    events_take(p, &s, params, 0);
    dropped(10 * NSEC_MS);
    events_opened(p, &s, "HTTP/1.1 101 Switching Protocols\r\n\r\n"); /* does not say who it is */
    events_take(p, &s, params, 30 * NSEC_MS);
    json_decref(params);
    assert_int_equal(p->r.ws.missed_away + p->r.ws.missed + p->r.ws.again, 0);
    assert_int_equal(p->r.ws.away.max, 20 * NSEC_MS);
    assert_int_equal(p->r.ws.reconnects, 1);
    assert_int_equal(p->r.ws.n_by, 0);
}

/* Never more names than there is room for. */
static void many_colours(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * PROBE_COLOURS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "side-%d", i);
        opened_by(name);
        dropped(0);
    }
    assert_int_equal(p->r.ws.n_by, PROBE_COLOURS);
    assert_int_equal(p->r.ws.reconnects, 3 * PROBE_COLOURS - 1);
}

static void it_is_said_in_words_and_json(void **state)
{
    (void)state;
    cleanup_str struct str out = {0};
    p->r.ws.wanted = 1;
    opened_by("green");
    slots(100, 110);
    dropped(0);
    opened_by("blue");
    slot(114, 60 * NSEC_MS);
    probe_result_text(&p->r, &out);
    assert_non_null(strstr(str_cstr(&out), "1 of 1 open, 0 never dropped, 12 events\n"));
    assert_non_null(strstr(str_cstr(&out), "1 (0 with a close frame); 1 reconnected, 1 of them at "
                                           "the first try (blue 1)\n"));
    assert_non_null(strstr(str_cstr(&out), "60.00 ms after the drop (median), at most 60.00 ms\n"));
    assert_non_null(strstr(str_cstr(&out), "3 from the drop to the first event, 0 came twice\n"));
    json_t *j = probe_result_json(&p->r), *ws = json_object_get(j, "websockets");
    assert_int_equal(json_integer_value(json_object_get(ws, "missed_away")), 3);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(ws, "reconnects_by"), "blue")), 1);
    json_t *first = json_object_get(ws, "first_event_ms");
    assert_true(json_number_value(json_object_get(first, "p50")) == 60);
    assert_int_equal(json_integer_value(json_object_get(first, "count")), 1);
    json_decref(j);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_lies_between_the_last_and_the_first_is_missed),
        T(nothing_is_missed_where_the_next_one_follows),
        T(what_comes_twice_is_not_missed),
        T(dropped_again_before_anything_came),
        T(gaps_while_open_are_told_apart),
        T(events_without_a_slot),
        T(many_colours),
        T(it_is_said_in_words_and_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
