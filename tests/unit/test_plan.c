/* Plans against the files of tests/golden/plan. After a wanted change: CHANGEOVER_GOLDEN=write
 * test_plan, and read the diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plan/plan.h"
#include "sys/file.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct spec *side(enum colour c, const char *version, enum spec_writes writes)
{
    struct err err = {0};
    struct spec *s = NULL;
    if (spec_load(SOURCE_ROOT "/tests/golden/plan/spec.yml", c, version, &s, &err) < 0)
        fail_msg("%s", err.msg);
    s->writes = writes;
    return s;
}

static void add_plan(struct str *out, enum plan_phase phase, const struct plan_goal *g)
{
    cleanup_plan struct plan p = {0};
    plan_make(phase, g, &p);
    for (size_t i = 0; i < p.n; i++) {
        str_addf(out, "%s%s\n    %s\n", p.steps[i].name, p.steps[i].always ? " (always)" : "",
                 p.steps[i].effect);
        if (*p.steps[i].undo)
            str_addf(out, "    undo: %s\n", p.steps[i].undo);
    }
}

static void add_costs(struct str *out, const struct plan_goal *g)
{
    struct arena a = {0};
    struct plan_cost c[PLAN_COSTS];
    plan_costs(g, &a, c);
    for (size_t i = 0; i < PLAN_COSTS; i++)
        str_addf(out, "%s | %s | %s | %s\n", c[i].stage, c[i].how, c[i].takes, c[i].loses);
    arena_done(&a);
}

static void compare(const char *name, const struct str *got)
{
    struct err err = {0};
    cleanup_free char *path = x_asprintf(SOURCE_ROOT "/tests/golden/plan/%s.txt", name);
    if (getenv("CHANGEOVER_GOLDEN")) {
        assert_int_equal(sys_file_write_atomic(path, got->buf, got->len, 0644, &err), 0);
        return;
    }
    cleanup_str struct str want = {0};
    if (sys_file_read(path, 1 << 20, &want, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(str_cstr(got), str_cstr(&want));
}

static void an_upgrade_from_start_to_end(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_REPLAYED);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_REPLAYED);
    struct plan_volume pv[] = {
        {.driver = "reflink",
         .bytes = 412000000000,
         .files = 1600,
         .estimate_ns = 4 * NSEC_S,
         .pause_ns = 400 * NSEC_MS},
        {.driver = "empty", .no_data = true},
    };
    struct plan_goal g = {.side = {green, blue},
                          .from = GREEN,
                          .to = BLUE,
                          .version_from = "1.0.0",
                          .version_to = "1.1.0",
                          .volumes = pv,
                          .loser = GREEN};
    cleanup_str struct str out = {0};
    for (int phase = PHASE_PREPARE; phase <= PHASE_FINISH; phase++)
        add_plan(&out, (enum plan_phase)phase, &g);
    add_plan(&out, PHASE_CLEANUP, &g);
    add_costs(&out, &g);
    compare("upgrade", &out);
}

static void snapshots_pause_for_a_moment_only(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_REPLAYED);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_REPLAYED);
    struct plan_volume pv[] = {
        {.driver = "btrfs",
         .bytes = 412000000000,
         .files = 1600,
         .estimate_ns = 20 * NSEC_MS,
         .pause_ns = 10 * NSEC_MS,
         .at_once = true},
        {.driver = "empty", .no_data = true},
    };
    struct plan_goal g = {.side = {green, blue}, .from = GREEN, .to = BLUE, .volumes = pv};
    cleanup_str struct str out = {0};
    add_plan(&out, PHASE_PREPARE, &g);
    compare("snapshots", &out);
    pv[0].at_once = false; /* one that is passed over makes it another pause */
    str_clear(&out);
    add_plan(&out, PHASE_PREPARE, &g);
    assert_non_null(strstr(str_cstr(&out), "a first pass of about"));
}

static void the_ways_back(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_BOTH);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_BOTH);
    struct plan_goal g = {.side = {green, blue},
                          .from = GREEN,
                          .to = BLUE,
                          .version_from = "1.0.0",
                          .version_to = "1.1.0",
                          .loser = BLUE};
    cleanup_str struct str out = {0};
    str_add(&out, "before the flip\n");
    add_plan(&out, PHASE_ROLLBACK, &g);
    g.after_flip = true;
    str_add(&out, "after the flip\n");
    add_plan(&out, PHASE_ROLLBACK, &g);
    add_plan(&out, PHASE_CLEANUP, &g);
    add_costs(&out, &g);
    compare("rollback", &out);
}

static void the_probe_shows_as_what_it_is(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_REPLAYED);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_BOTH);
    blue->probe = (struct spec_probe){.on = true,
                                      .url = "http://127.0.0.1:8080/",
                                      .rate = 200,
                                      .baseline = 10 * NSEC_S,
                                      .websockets = 50,
                                      .ws_url = "ws://127.0.0.1:8080/",
                                      .p99_ratio = 1.5,
                                      .p99_floor_ms = 5,
                                      .max_gap_ms = 50};
    struct plan_goal g = {
        .side = {green, blue}, .from = GREEN, .to = BLUE, .loser = GREEN, .after_flip = true};
    cleanup_str struct str out = {0};
    add_plan(&out, PHASE_PROMOTE, &g);
    add_plan(&out, PHASE_FINISH, &g);
    add_plan(&out, PHASE_ROLLBACK, &g);
    compare("probe", &out);
}

static void websockets_are_closed_before_the_stop(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_REPLAYED);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_REPLAYED);
    char program[] = "/opt/node/ctl", word[] = "close", time[] = "30",
         *argv[] = {program, word, time};
    green->stop.websockets =
        (struct spec_stop_websockets){.spread = 30 * NSEC_S, .command.argv = {argv, 3}};
    blue->stop.websockets =
        (struct spec_stop_websockets){.spread = 1500 * NSEC_MS, .signal = SIGUSR1};
    struct plan_goal g = {.side = {green, blue}, .from = GREEN, .to = BLUE, .loser = GREEN};
    cleanup_str struct str out = {0};
    add_plan(&out, PHASE_FINISH, &g);
    str_add(&out, "before the flip\n");
    add_plan(&out, PHASE_ROLLBACK, &g);
    g.after_flip = true;
    str_add(&out, "after it\n");
    add_plan(&out, PHASE_ROLLBACK, &g);
    str_add(&out, "while requests wait\n");
    g.hold = g.held = true;
    add_plan(&out, PHASE_HOLD, &g);
    add_plan(&out, PHASE_ROLLBACK, &g);
    assert_null(strstr(strstr(str_cstr(&out), "while requests wait"), "one after the other"));
    compare("websockets", &out);
}

static void requests_wait_while_one_side_is_cloned(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_CLIENT);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_CLIENT);
    struct plan_volume pv[] = {
        {.driver = "copy", .bytes = 412000000, .files = 1600, .estimate_ns = 900 * NSEC_MS},
        {.driver = "empty", .no_data = true},
    };
    char green_log[] = "/var/log/green", blue_log[] = "/var/log/blue";
    char *logs[] = {green_log, blue_log};
    blue->probe = (struct spec_probe){.on = true,
                                      .url = "http://127.0.0.1:8080/",
                                      .rate = 200,
                                      .baseline = 10 * NSEC_S,
                                      .executed = {.v = logs, .n = 2}};
    struct plan_goal g = {.side = {green, blue},
                          .from = GREEN,
                          .to = BLUE,
                          .version_from = "1.0.0",
                          .version_to = "1.1.0",
                          .volumes = pv,
                          .hold = true,
                          .loser = BLUE};
    cleanup_str struct str out = {0};
    for (int phase = PHASE_PROMOTE; phase <= PHASE_FINISH; phase++)
        add_plan(&out, (enum plan_phase)phase, &g);
    str_add(&out, "before the flip\n");
    add_plan(&out, PHASE_ROLLBACK, &g);
    g.after_flip = g.held = true;
    str_add(&out, "while requests wait\n");
    add_plan(&out, PHASE_ROLLBACK, &g);
    add_costs(&out, &g);
    compare("hold", &out);
}

static void three_ends_of_a_data_set(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_REPLAYED);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_REPLAYED);
    green->volumes[0].dataset = "tank/node/green-ledger";
    struct plan_goal g = {.side = {green, blue}, .from = GREEN, .to = BLUE, .loser = GREEN};
    cleanup_str struct str out = {0};
    str_add(&out, "cleanup\n");
    add_plan(&out, PHASE_CLEANUP, &g);
    g.take_snapshots = true;
    str_add(&out, "cleanup --destroy-snapshots\n");
    add_plan(&out, PHASE_CLEANUP, &g);
    g.take_snapshots = false;
    g.retire = "20261123-0800-abc"; /* what is no data set is destroyed as ever */
    str_add(&out, "cleanup --retire\n");
    add_plan(&out, PHASE_CLEANUP, &g);
    compare("ends", &out);
}

static void step_names_are_unique(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN, "1.0.0", WRITES_REPLAYED);
    cleanup_spec struct spec *blue = side(BLUE, "1.1.0", WRITES_REPLAYED);
    struct plan_goal g = {
        .side = {green, blue}, .from = GREEN, .to = BLUE, .loser = GREEN, .after_flip = true};
    for (int phase = 0; phase < 2 * PHASE_MAX; phase++) {
        cleanup_plan struct plan p = {0};
        g.hold = g.held = phase >= PHASE_MAX;
        plan_make((enum plan_phase)(phase % PHASE_MAX), &g, &p);
        assert_true(p.n > 0 || (phase == PHASE_HOLD && !g.hold));
        for (size_t i = 0; i < p.n; i++)
            for (size_t k = i + 1; k < p.n; k++)
                assert_string_not_equal(p.steps[i].name, p.steps[k].name);
    }
}

static void nothing_goes_back_over_writes_without_consent(void **state)
{
    (void)state;
    assert_true(plan_may_flip_back(WRITES_REPLAYED, false));
    assert_false(plan_may_flip_back(WRITES_BOTH, false));
    assert_false(plan_may_flip_back(WRITES_CLIENT, false));
    assert_true(plan_may_flip_back(WRITES_CLIENT, true));
}

static void in_a_cluster(void **state)
{
    (void)state;
    struct spec *side[COLOURS] = {0};
    struct err err = {0};
    cleanup_str struct str out = {0};
    for (enum colour c = GREEN; c <= BLUE; c++)
        if (spec_load(SOURCE_ROOT "/tests/golden/kubernetes/spec.yml", c, "1.1.0", &side[c], &err) <
            0)
            fail_msg("%s", err.msg);
    struct plan_goal g = {.side = {side[GREEN], side[BLUE]},
                          .from = GREEN,
                          .to = BLUE,
                          .version_from = "1.0.0",
                          .version_to = "1.1.0",
                          .loser = GREEN};
    add_plan(&out, PHASE_PREPARE, &g);
    add_plan(&out, PHASE_FINISH, &g);
    add_plan(&out, PHASE_CLEANUP, &g);
    compare("cluster", &out);
    spec_free(side[GREEN]);
    spec_free(side[BLUE]);
}

/* Traffic by an object of Kubernetes: what a flip loses is in the plan. */
static void by_a_service_or_an_ingress(void **state)
{
    (void)state;
    static const char *const files[] = {"service.yml", "ingress.yml"};
    cleanup_str struct str out = {0};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct spec *side[COLOURS] = {0};
        struct err err = {0};
        cleanup_free char *path = x_asprintf(SOURCE_ROOT "/tests/golden/plan/%s", files[i]);
        for (enum colour c = GREEN; c <= BLUE; c++)
            if (spec_load(path, c, "1.1.0", &side[c], &err) < 0)
                fail_msg("%s", err.msg);
        struct plan_goal g = {.side = {side[GREEN], side[BLUE]},
                              .from = GREEN,
                              .to = BLUE,
                              .version_from = "1.0.0",
                              .version_to = "1.1.0",
                              .after_flip = true,
                              .loser = BLUE};
        add_plan(&out, PHASE_PROMOTE, &g);
        add_plan(&out, PHASE_FINISH, &g);
        add_plan(&out, PHASE_ROLLBACK, &g);
        spec_free(side[GREEN]);
        spec_free(side[BLUE]);
    }
    compare("route", &out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_cluster),
        cmocka_unit_test(by_a_service_or_an_ingress),
        cmocka_unit_test(an_upgrade_from_start_to_end),
        cmocka_unit_test(snapshots_pause_for_a_moment_only),
        cmocka_unit_test(the_ways_back),
        cmocka_unit_test(the_probe_shows_as_what_it_is),
        cmocka_unit_test(websockets_are_closed_before_the_stop),
        cmocka_unit_test(requests_wait_while_one_side_is_cloned),
        cmocka_unit_test(three_ends_of_a_data_set),
        cmocka_unit_test(step_names_are_unique),
        cmocka_unit_test(nothing_goes_back_over_writes_without_consent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
