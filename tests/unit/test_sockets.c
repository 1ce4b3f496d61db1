/* What is told of the websockets that were open when the traffic left: with a proxy made up here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/sockets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_sockets; /* at the proxy; -1: it does not answer */

static int fake_load(const struct driver_ctx *ctx, enum colour c, struct traffic_load *ret,
                     struct err *err)
{
    (void)ctx;
    (void)c;
    *ret = (struct traffic_load){.websockets = open_sockets};
    return open_sockets < 0 ? err_set(err, ERR_FAILED, "no answer") : 0;
}

static const struct traffic_ops fake = {.name = "fake", .load = fake_load};

struct rig {
    char dir[64];
    struct spec side[COLOURS];
    struct upgrade up;
    struct engine e;
};

static int setup(void **state)
{
    struct err err = {0};
    struct rig *r = x_alloc(sizeof(*r));
    strcpy(r->dir, "/tmp/changeover-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    r->up = (struct upgrade){.from = GREEN, .to = BLUE};
    if (journal_open(r->dir, true, &r->e.j, &err) < 0 ||
        journal_upgrade_begin(r->e.j, &r->up, &err) < 0)
        fail_msg("%s", err.msg);
    r->e.up = &r->up;
    r->e.traffic = &fake;
    for (int c = GREEN; c < COLOURS; c++) {
        r->side[c].traffic.websockets = WS_OWN_PORT;
        r->e.ctx.side[c] = &r->side[c];
    }
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    char cmd[128];
    journal_close(r->e.j);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
    free(r);
    return system(cmd);
}

static const char *words(struct rig *r)
{
    static char buf[256];
    sockets_words(r->e.j, r->up.id, GREEN, buf, sizeof(buf));
    return buf;
}

static void closed_one_after_the_other(void **state)
{
    struct rig *r = *state;
    assert_string_equal(words(r), "");
    open_sockets = 200;
    sockets_flipped(&r->e, GREEN);
    assert_string_equal(words(r), "200 stayed at green through the flip");
    open_sockets = 190;
    sockets_seen(&r->e, GREEN); /* the flip's count stands */
    sockets_asked(&r->e, GREEN, 190, 3 * NSEC_S);
    assert_string_equal(words(r), "200 stayed at green through the flip; 10 went by themselves; "
                                  "190 are to be closed one after the other over 3 s");
    sockets_closed(&r->e, GREEN, 0, 3100 * NSEC_MS);
    open_sockets = 0;
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "200 stayed at green through the flip; 10 went by themselves; "
                                  "190 closed one after the other in 3.1 s, 0 by its stop");
}

static void some_are_left_for_the_stop(void **state)
{
    struct rig *r = *state;
    open_sockets = 50;
    sockets_flipped(&r->e, GREEN);
    sockets_asked(&r->e, GREEN, 50, NSEC_S);
    sockets_closed(&r->e, GREEN, 20, 3 * NSEC_S);
    open_sockets = 20;
    sockets_stopping(&r->e, GREEN);
    open_sockets = 5; /* a stop that is tried again finds fewer */
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "50 stayed at green through the flip; 30 closed one after the "
                                  "other in 3 s, 20 by its stop");
}

/* Killed while they were being closed, and told again by the next run: they are counted once. */
static void told_again_after_a_kill(void **state)
{
    struct rig *r = *state;
    open_sockets = 40;
    sockets_flipped(&r->e, GREEN);
    sockets_asked(&r->e, GREEN, 40, NSEC_S);
    open_sockets = 15;
    sockets_seen(&r->e, GREEN);
    sockets_asked(&r->e, GREEN, 15, NSEC_S);
    open_sockets = 0;
    sockets_closed(&r->e, GREEN, 0, 400 * NSEC_MS);
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "40 stayed at green through the flip; 40 closed one after the "
                                  "other, 0 by its stop");
}

static void closed_by_the_stop_alone(void **state)
{
    struct rig *r = *state;
    open_sockets = 7;
    sockets_seen(&r->e, GREEN); /* nobody saw the flip */
    open_sockets = 6;
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "7 stayed at green through the flip; 1 went by themselves; 6 "
                                  "closed at once by its stop");
}

static void nothing_is_told_where_nothing_is_known(void **state)
{
    struct rig *r = *state;
    open_sockets = -1;
    sockets_flipped(&r->e, GREEN);
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "");
    open_sockets = 0; /* none at all */
    sockets_flipped(&r->e, GREEN);
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "");
    open_sockets = 3;
    r->side[GREEN].traffic.websockets = WS_NONE;
    sockets_flipped(&r->e, GREEN);
    assert_string_equal(words(r), "");
    char buf[8];
    sockets_words(NULL, "", GREEN, buf, sizeof(buf));
    assert_string_equal(buf, "");
}

/* Killed, and all of them gone when the next run looks: it took no longer than was said. */
static void gone_before_anybody_looked_again(void **state)
{
    struct rig *r = *state;
    open_sockets = 40;
    sockets_flipped(&r->e, GREEN);
    sockets_asked(&r->e, GREEN, 40, NSEC_S);
    open_sockets = 0;
    sockets_stopping(&r->e, GREEN);
    assert_string_equal(words(r), "40 stayed at green through the flip; 40 closed one after the "
                                  "other over 1 s, 0 by its stop");
}

/* A flip back and another one: the last one counts. */
static void another_flip_counts_anew(void **state)
{
    struct rig *r = *state;
    open_sockets = 30;
    sockets_flipped(&r->e, GREEN);
    sockets_asked(&r->e, GREEN, 30, NSEC_S);
    sockets_closed(&r->e, GREEN, 0, NSEC_S);
    open_sockets = 12;
    sockets_flipped(&r->e, GREEN);
    assert_string_equal(words(r), "12 stayed at green through the flip");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(closed_one_after_the_other),
        T(some_are_left_for_the_stop),
        T(told_again_after_a_kill),
        T(closed_by_the_stop_alone),
        T(nothing_is_told_where_nothing_is_known),
        T(another_flip_counts_anew),
        T(gone_before_anybody_looked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
