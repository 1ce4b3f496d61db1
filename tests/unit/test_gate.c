#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/gate_internal.h"
#include "fake_http.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/portmap.h"

#include <fcntl.h>
#include <math.h>

/* --- a service of two fake instances, and a runtime that says what it is told --------------------
 */

static struct fake_http green, blue;
static struct spec spec[COLOURS];
static struct spec_port port[COLOURS][4];
static struct spec_gate gate[8];
static struct instance_facts facts[COLOURS];
static int away;       /* so often the runtime cannot say */
static int polls_left; /* driver_poll says 1 when it reaches 0; -1: never */

static int fake_inspect(const struct driver_ctx *ctx, enum colour c, struct instance_facts *ret,
                        struct err *err)
{
    (void)ctx;
    *ret = facts[c];
    return away-- > 0 ? err_set(err, ERR_FAILED, "no answer") : 0;
}

static int fake_pids(const struct driver_ctx *ctx, enum colour c, pid_t *pids, size_t max,
                     size_t *ret_n, struct err *err)
{
    (void)ctx, (void)c, (void)max, (void)err;
    pids[0] = getpid();
    *ret_n = 1;
    return 0;
}

static const struct runtime_ops fake_runtime = {
    .name = "fake", .inspect = fake_inspect, .pids = fake_pids};

static int poll_count(void *ctx)
{
    (void)ctx;
    return polls_left >= 0 && polls_left-- == 0;
}

static struct {
    int n;
    struct event last;
    char text[512];
} seen;

static void on_event(void *ctx, const struct event *ev)
{
    (void)ctx;
    seen.n++;
    seen.last = *ev;
    snprintf(seen.text, sizeof(seen.text), "%s", ev->text);
}

static const struct sink sink = {on_event, NULL};
static struct driver_ctx ctx = {.side = {&spec[GREEN], &spec[BLUE]},
                                .service = "svc",
                                .service_dir = "/nonexistent",
                                .sink = &sink,
                                .poll = poll_count};

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    memset(gate, 0, sizeof(gate));
    memset(&green, 0, sizeof(green));
    memset(&blue, 0, sizeof(blue));
    green.body = blue.body = "ok";
    green.version = "3.1.10";
    blue.version = "3.1.11";
    green.slot = 1492;
    blue.slot = 1490;
    fake_start(&green);
    fake_start(&blue);
    for (int c = GREEN; c < COLOURS; c++) {
        uint16_t p = (uint16_t)(c == GREEN ? green.port : blue.port);
        port[c][0] = (struct spec_port){.name = "rpc", .first = p, .last = p};
        spec[c] = (struct spec){.colour = c, .ports = port[c], .ports_n = 1};
        spec[c].traffic.port = "rpc";
        spec[c].gate = (struct spec_gate_set){.gates = gate,
                                              .n = 0,
                                              .passes = 2,
                                              .interval = 20 * NSEC_MS,
                                              .deadline = 400 * NSEC_MS};
        facts[c] = (struct instance_facts){.state = INSTANCE_RUNNING, .last_status = -1};
    }
    polls_left = -1;
    away = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop(&green);
    fake_stop(&blue);
    strv_done(&spec[BLUE].runtime.ports_may_also_bind);
    for (size_t i = 0; i < ARRAY_LEN(gate); i++) {
        strv_done(&gate[i].references);
        strv_done(&gate[i].command.argv);
    }
    return 0;
}

static struct spec_gate *add(enum spec_gate_kind kind, const char *name)
{
    struct spec_gate *g = &gate[spec[BLUE].gate.n++];
    spec[GREEN].gate.n = spec[BLUE].gate.n;
    g->kind = kind;
    g->name = name;
    return g;
}

static struct spec_gate *add_slot(enum spec_gate_kind kind, const char *name)
{
    struct spec_gate *g = add(kind, name);
    g->query = (struct spec_query){.method = "getSlot", .field = "result"};
    return g;
}

static const struct gate_request request = {
    .colour = BLUE, .reference = GREEN, .target_version = "3.1.11", .what = "blue catches up"};

static int wait_for(struct err *err)
{
    err_clear(err);
    return gate_wait_on(&ctx, &request, &fake_runtime, err);
}

static struct gate_result look_by(const struct gate_request *rq)
{
    struct gate_result r[8] = {0};
    struct err err = {0};
    size_t n = 0;
    struct gate_watch *w = gate_watch_new_on(&ctx, rq, &fake_runtime, false);
    assert_int_equal(gate_watch_look(w, r, 8, &n, &err), 0);
    assert_int_equal(n, spec[BLUE].gate.n);
    gate_watch_free(w);
    return r[0];
}

static struct gate_result look(void)
{
    return look_by(&request);
}

#define assert_says(text, part)                             \
    do {                                                    \
        if (!strstr(text, part))                            \
            fail_msg("'%s' does not say '%s'", text, part); \
    } while (0)

/* --- the kinds -----------------------------------------------------------------------------------
 */

static void a_status_says_nothing_the_body_must_be_exact(void **state)
{
    (void)state;
    struct err err = {0};
    struct spec_gate *g = add(GATE_HTTP, "health");
    g->query.path = "/health";
    g->body = "ok";
    assert_int_equal(wait_for(&err), 0);
    assert_says(seen.text, "all 1 gates pass");
    blue.body = "behind";
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_says(err.msg, "'health' of blue");
    assert_says(err.msg, "'behind', wanted 'ok'");
    blue.body = "ok\n"; /* but for a last newline */
    assert_true(look().pass);
    blue.body = "ok ";
    assert_false(look().pass);
    blue.body = "ok";
    g->status = 204;
    assert_says(look().said, "status 200, wanted 204");
}

static void a_field_of_an_answer_is_compared(void **state)
{
    (void)state;
    struct spec_gate *g = add(GATE_JSONRPC, "features");
    g->query = (struct spec_query){.method = "getVersion", .field = "result.feature-set"};
    static const struct {
        enum spec_compare how;
        const char *value;
        bool pass;
    } rows[] = {{CMP_EQ, "4140108451", true}, {CMP_EQ, "4140108451.0", true}, {CMP_NE, "1", true},
                {CMP_LT, "5", false},         {CMP_GE, "999", true},          {CMP_GT, "x", false},
                {CMP_MATCHES, "^41", true},   {CMP_MATCHES, "^42", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        g->compare = rows[i].how;
        g->value = rows[i].value;
        if (look().pass != rows[i].pass)
            fail_msg("row %zu: %s", i, look().said);
    }
    g->query.method = "getHealth";
    g->query.field = "result";
    assert_false(look().pass);
    assert_says(look().said, "error -32005: Node is behind by 52 slots");
    g->query.field = "error.data.numSlotsBehind";
    g->compare = CMP_LE;
    g->value = "60";
    assert_true(look().pass);
    g->query = (struct spec_query){.header = "x-colour"};
    g->compare = CMP_EQ;
    g->value = "blue";
    assert_true(look().pass);
}

static void the_running_instance_must_say_the_target_version(void **state)
{
    (void)state;
    struct spec_gate *g = add(GATE_VERSION, "version");
    g->query = (struct spec_query){.method = "getVersion", .field = "result.solana-core"};
    assert_true(look().pass);
    blue.version = "v3.1.11";
    assert_true(look().pass);
    blue.version = "3.1.1";
    assert_false(look().pass);
    assert_says(look().said, "it says that it is 3.1.1, wanted 3.1.11");
}

static void a_lag_is_the_worst_of_live_and_the_references(void **state)
{
    (void)state;
    struct spec_gate *g = add_slot(GATE_LAG, "lag");
    char url[64];
    g->max = 5;
    struct gate_result r = look();
    assert_true(r.pass && r.has_number && r.number == 2);
    assert_says(r.said, "2 slots behind live green, at 1490");
    blue.slot = 1352;
    assert_false(look().pass);

    /* one that does not answer is named; the others decide */
    blue.slot = 1490;
    strv_add(&g->references, "http://127.0.0.1:1/");
    assert_true(look().pass);
    assert_says(look().said, "http://127.0.0.1:1/: no answer");

    /* live does not run: the references only, and somebody must answer */
    facts[GREEN].state = INSTANCE_STOPPED;
    assert_false(look().pass);
    assert_says(look().said, "nobody to compare with answers");
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", green.port);
    strv_add(&g->references, url);
    green.slot = 1499;
    r = look();
    assert_true(!r.pass && r.number == 9);

    strv_done(&g->references);
    assert_true(look().pass); /* the first start: nothing to compare with */
}

/* On the way back from a colour that fails: it must not stand in it. */
static void a_lag_may_do_without_a_reference_that_fails(void **state)
{
    (void)state;
    struct spec_gate *g = add_slot(GATE_LAG, "lag");
    struct gate_request back = request;
    g->max = 1;
    back.reference_may_fail = true;
    assert_false(look_by(&back).pass); /* it answers, so it counts */
    port[GREEN][0].first = port[GREEN][0].last = 1;
    assert_false(look().pass);
    assert_true(look_by(&back).pass);
    assert_says(look_by(&back).said, "live green: no answer");
    strv_add(&g->references, "http://127.0.0.1:1/");
    assert_false(look_by(&back).pass); /* those of the spec must answer */
}

static void a_slot_that_stands_still_never_passes(void **state)
{
    (void)state;
    struct err err = {0};
    struct spec_gate *g = add_slot(GATE_MOVING, "moving");
    g->within = 60 * NSEC_MS;
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_says(err.msg, "stands still at 1490 for ");
    blue.step = 1;
    assert_int_equal(wait_for(&err), 0);
}

/* A bake is shorter than the time between two of its steps: it must stand still for `within` to be
 * a failure. */
static void a_slot_that_moved_before_may_rest_for_a_while(void **state)
{
    (void)state;
    struct gate_request rq = request;
    struct gate_result r[2] = {0};
    struct err err = {0};
    size_t n = 0;
    struct spec_gate *g = add_slot(GATE_MOVING, "moving");
    g->within = NSEC_HOUR;
    for (int before = 0; before < 2; before++) {
        rq.passed_before = before;
        struct gate_watch *w = gate_watch_new_on(&ctx, &rq, &fake_runtime, true);
        assert_int_equal(gate_watch_look(w, r, 2, &n, &err), 0);
        assert_int_equal(r[0].pass, before);
        g->within = 1;
        assert_int_equal(gate_watch_look(w, r, 2, &n, &err), 0);
        assert_false(r[0].pass);
        g->within = NSEC_HOUR;
        gate_watch_free(w);
    }
}

static void a_websocket_is_upgraded_for_real(void **state)
{
    (void)state;
    add(GATE_WEBSOCKET, "websocket");
    assert_false(look().pass);
    assert_says(look().said, "no upgrade to a websocket: status 400");
    blue.upgrade = 2;
    assert_false(look().pass);
    blue.upgrade = 1;
    assert_true(look().pass);
    spec[BLUE].traffic.ws_port = "ws"; /* its own port, which nobody has */
    int p, fd = fake_listen(&p);
    close(fd);
    port[BLUE][1] = (struct spec_port){.name = "ws", .first = (uint16_t)p, .last = (uint16_t)p};
    spec[BLUE].ports_n = 2;
    assert_false(look().pass);
    gate[0].kind = GATE_TCP;
    gate[0].query.port = "ws";
    assert_false(look().pass);
    gate[0].query.port = "rpc";
    assert_true(look().pass);
    gate[0].query.port = "no";
    assert_says(look().said, "no port 'no'");
}

static void a_command_decides_by_its_status(void **state)
{
    (void)state;
    struct spec_gate *g = add(GATE_COMMAND, "command");
    strv_add(&g->command.argv, "true");
    assert_true(look().pass);
    strv_done(&g->command.argv);
    g->command.argv = (struct strv){0};
    strv_add(&g->command.argv, "false");
    assert_false(look().pass);
}

/* This process is the instance: the fake servers' sockets are its own. */
static void the_sockets_that_are_really_bound_decide(void **state)
{
    (void)state;
    add(GATE_PORTS, "ports");
    /* every port of both servers is ours here, so say so */
    port[BLUE][1] = (struct spec_port){"second", (uint16_t)green.port, (uint16_t)green.port};
    spec[BLUE].ports_n = 2;
    spec[GREEN].ports_n = 0;
    struct gate_result r = look();
    if (!r.pass)
        fail_msg("%s", r.said);

    spec[BLUE].ports_n = 1; /* undeclared */
    r = look();
    assert_false(r.pass);
    assert_says(r.said, "is in no declared range");
    char rule[64];
    snprintf(rule, sizeof(rule), "udp:%d-%d", green.port, green.port + 1);
    strv_add(&spec[BLUE].runtime.ports_may_also_bind, rule);
    assert_false(look().pass); /* that is for UDP */
    rule[0] = 't', rule[1] = 'c', rule[2] = 'p';
    strv_add(&spec[BLUE].runtime.ports_may_also_bind, rule);
    assert_true(look().pass);

    spec[GREEN].ports_n = 1; /* allowed or not: it is the other's */
    r = look();
    assert_false(r.pass);
    assert_says(r.said, "is green's (rpc)");
    spec[GREEN].ports_n = 0;

    int p, fd = fake_listen(&p);
    close(fd);
    port[BLUE][1] = (struct spec_port){"ws", (uint16_t)p, (uint16_t)p};
    spec[BLUE].ports_n = 2;
    r = look();
    assert_false(r.pass);
    assert_says(r.said, "ws (");
    assert_says(r.said, "is not bound by the instance");
    /* a range need not be used */
    port[BLUE][1].last++;
    assert_true(look().pass);
}

static void a_client_socket_from_the_ephemeral_range_is_nobodys_business(void **state)
{
    (void)state;
    uint16_t first, last;
    sys_port_ephemeral(&first, &last);
    assert_true(first < last);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    add(GATE_PORTS, "ports");
    port[BLUE][1] = (struct spec_port){"second", (uint16_t)green.port, (uint16_t)green.port};
    spec[BLUE].ports_n = 2;
    spec[GREEN].ports_n = 0;
    assert_true(look().pass);
    close(fd);

    /* one below it is not: the first free one from 8000 up, as agave takes it */
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int p = 8000; p < first; p++) {
        a.sin_port = htons((uint16_t)p);
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            break;
    }
    struct gate_result r = look();
    assert_false(r.pass);
    assert_says(r.said, "udp 127.0.0.1 port 8");
    close(fd);
}

/* --- the wait ------------------------------------------------------------------------------------
 */

static void a_wait_ends_at_once_when_the_instance_is_gone(void **state)
{
    (void)state;
    struct err err = {0};
    char path[] = "/tmp/changeover-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(write(fd, "starting\nno supermajority\n", 26) == 26);
    close(fd);
    struct spec_gate *g = add_slot(GATE_MOVING, "moving");
    g->within = NSEC_MS;
    spec[BLUE].gate.deadline = NSEC_HOUR;
    facts[BLUE].state = INSTANCE_EXITED;
    facts[BLUE].last_status = 1;
    snprintf(facts[BLUE].log_path, sizeof(facts[BLUE].log_path), "%s", path);
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_FAILED);
    assert_says(err.msg, "the instance of blue is gone, ended with status 1");
    assert_says(err.msg, "no supermajority");
    assert_int_equal(unlink(path), 0);
}

static void who_cannot_say_whether_it_lives_is_asked_again(void **state)
{
    (void)state;
    struct err err = {0};
    away = 3;
    assert_int_equal(wait_for(&err), -1); /* it knows that it will never know */
    facts[BLUE].state = INSTANCE_UNKNOWN;
    assert_int_equal(wait_for(&err), 0);
    away = 1000;
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_says(err.msg, "no answer");
}

static void a_lag_that_grows_does_not_converge(void **state)
{
    (void)state;
    struct err err = {0};
    struct spec_gate *g = add_slot(GATE_LAG, "lag");
    g->max = 5;
    blue.slot = 1000;
    green.step = 2;
    blue.step = 1;
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_says(err.msg, "slots behind live green");
    assert_says(err.msg, "it does not converge");
    assert_int_equal(seen.last.kind, EVENT_PROGRESS);
    assert_true(seen.last.eta_ns == -2);
    assert_says(seen.text, "blue catches up: lag: ");
}

static void a_lag_that_closes_shows_its_rate_and_the_time_left(void **state)
{
    (void)state;
    struct err err = {0};
    struct spec_gate *g = add_slot(GATE_LAG, "lag");
    g->max = 5;
    blue.slot = 0;
    green.step = 1;
    blue.step = 5;
    assert_int_equal(wait_for(&err), -1);
    assert_says(err.msg, "it closes at ");
    assert_true(seen.last.rate > 1);
    assert_true(seen.last.eta_ns > 0);
    assert_string_equal(seen.last.unit, "slots");
    assert_true(seen.last.done > 0 && seen.last.total > seen.last.done);

    blue.slot = green.slot - 20; /* and passes in the end */
    assert_int_equal(wait_for(&err), 0);
}

static void one_bad_look_starts_the_passes_anew(void **state)
{
    (void)state;
    struct err err = {0};
    struct spec_gate *g = add_slot(GATE_JSONRPC, "even");
    /* 1490, 1491, 1492, ...: of three in a row one is always odd */
    g->compare = CMP_MATCHES;
    g->value = "[02468]$";
    blue.step = 1;
    spec[BLUE].gate.passes = 2;
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    spec[BLUE].gate.passes = 1;
    assert_int_equal(wait_for(&err), 0);
}

static void one_that_hangs_holds_up_no_other(void **state)
{
    (void)state;
    struct err err = {0};
    add(GATE_HTTP, "health")->query.path = "/health";
    gate[0].body = "ok";
    struct gate_request rq = request;
    struct gate_result r[8];
    size_t n;
    rq.try_timeout = 100 * NSEC_MS;
    blue.hang = true;
    struct gate_watch *w = gate_watch_new_on(&ctx, &rq, &fake_runtime, false);
    nsec_t start = sys_clock_mono();
    assert_int_equal(gate_watch_look(w, r, 8, &n, &err), 0);
    assert_true(sys_clock_mono() - start < NSEC_S);
    assert_false(r[0].pass);
    assert_says(r[0].said, "no answer");
    gate_watch_free(w);

    gate[0].timeout = NSEC_HOUR; /* a deadline counts more than the time of one try */
    start = sys_clock_mono();
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_GATE);
    assert_true(sys_clock_mono() - start < 5 * NSEC_S);

    polls_left = 1; /* asked to end in the middle of a question */
    spec[BLUE].gate.deadline = NSEC_HOUR;
    gate[0].timeout = NSEC_HOUR;
    assert_int_equal(wait_for(&err), -1);
    assert_int_equal(err.code, ERR_INTERRUPTED);
}

static void the_rate_is_a_slope_over_the_window(void **state)
{
    (void)state;
    struct gate_rate r = {.window = 60 * NSEC_S};
    double rate;
    for (int i = 0; i < 10; i++)
        gate_rate_add(&r, i * NSEC_S, 1000 - 0.82 * i);
    assert_false(gate_rate_closing(&r, &rate)); /* too short to say */
    for (int i = 10; i < 1000; i++)
        gate_rate_add(&r, i * NSEC_S, 1000 - 0.82 * i + (i % 3));
    assert_true(gate_rate_closing(&r, &rate));
    assert_true(fabs(rate - 0.82) < 0.05);
    for (int i = 1000; i < 1100; i++)
        gate_rate_add(&r, i * NSEC_S, 500 + i);
    assert_true(gate_rate_closing(&r, &rate));
    assert_true(fabs(rate + 1) < 0.05); /* only the window counts */
}

int main(void)
{
#define gate_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        gate_test(a_status_says_nothing_the_body_must_be_exact),
        gate_test(a_field_of_an_answer_is_compared),
        gate_test(the_running_instance_must_say_the_target_version),
        gate_test(a_lag_is_the_worst_of_live_and_the_references),
        gate_test(a_lag_may_do_without_a_reference_that_fails),
        gate_test(a_slot_that_stands_still_never_passes),
        gate_test(a_slot_that_moved_before_may_rest_for_a_while),
        gate_test(a_websocket_is_upgraded_for_real),
        gate_test(a_command_decides_by_its_status),
        gate_test(the_sockets_that_are_really_bound_decide),
        gate_test(a_client_socket_from_the_ephemeral_range_is_nobodys_business),
        gate_test(a_wait_ends_at_once_when_the_instance_is_gone),
        gate_test(who_cannot_say_whether_it_lives_is_asked_again),
        gate_test(a_lag_that_grows_does_not_converge),
        gate_test(a_lag_that_closes_shows_its_rate_and_the_time_left),
        gate_test(one_bad_look_starts_the_passes_anew),
        gate_test(one_that_hangs_holds_up_no_other),
        cmocka_unit_test(the_rate_is_a_slope_over_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
