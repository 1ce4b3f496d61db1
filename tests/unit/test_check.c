#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/check.h"
#include "driver/portset.h"
#include "fake_http.h"
#include "sys/file.h"
#include "sys/path.h"
#include "sys/portmap.h"

#include <sys/stat.h>

/* --- drivers that say what they are told
 * ---------------------------------------------------------- */

static struct {
    struct instance_facts instance[COLOURS];
    struct traffic_facts traffic;
    struct storage_facts storage[COLOURS]; /* by the colour asked about */
    uint64_t limit;                        /* that live's own data has left; 0: none */
    bool measured;
} world;

static int fake_instance(const struct driver_ctx *ctx, enum colour c, struct instance_facts *ret,
                         struct err *err)
{
    (void)ctx, (void)err;
    *ret = world.instance[c];
    return 0;
}

static int fake_storage_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                                const struct spec_volume *dst, enum colour dst_colour, bool measure,
                                struct storage_facts *ret, struct err *err)
{
    (void)ctx, (void)src, (void)dst, (void)err;
    *ret = world.storage[dst_colour];
    world.measured |= measure;
    return 0;
}

static int fake_storage_space(const struct driver_ctx *ctx, const struct spec_volume *v,
                              enum colour colour, uint64_t enough, struct storage_space *ret,
                              struct err *err)
{
    (void)ctx, (void)v, (void)colour, (void)enough, (void)err;
    *ret = (struct storage_space){.limit_bytes = world.limit - 1, .limit = "refquota"};
    return 0;
}

static int fake_traffic_inspect(const struct driver_ctx *ctx, nsec_t within,
                                struct traffic_facts *ret, struct err *err)
{
    (void)ctx, (void)within, (void)err;
    *ret = world.traffic;
    return 0;
}

static const struct runtime_ops fake_runtime = {.name = "fake", .inspect = fake_instance};
static const struct storage_ops fake_storage = {
    .name = "copy", .inspect = fake_storage_inspect, .space = fake_storage_space};
static const struct traffic_ops fake_traffic = {.name = "fake", .inspect = fake_traffic_inspect};

static const struct runtime_ops *a_runtime(const struct spec *s, struct err *err)
{
    (void)s, (void)err;
    return &fake_runtime;
}
static const struct storage_ops *a_storage(const struct spec_volume *src,
                                           const struct spec_volume *dst, struct err *err)
{
    (void)src, (void)dst, (void)err;
    return &fake_storage;
}
static const struct traffic_ops *a_traffic(const struct spec *s, struct err *err)
{
    (void)s, (void)err;
    return &fake_traffic;
}
static const struct check_drivers drivers = {a_runtime, a_storage, a_traffic};

/* --- a service on this machine, all well
 * ----------------------------------------------------------- */

static char dir[64];
static int port[6];
static struct spec *side[COLOURS];
static struct driver_ctx ctx;
static struct check_request request;
static struct findings found;
static const char *const others[] = {NULL, NULL};
static const char *other_dirs[2];

static void put(const char *name, const char *text)
{
    char path[256];
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(sys_file_write_atomic(path, text, strlen(text), 0600, &err), 0);
}

static char *spec_text(const char *service, const char *data, const char *flags, const int *p)
{
    return x_asprintf("service: %s\n"
                      "writes: replayed\n"
                      "colours:\n"
                      "  green: {ports: {rpc: %d}, identity: %s/green.key}\n"
                      "  blue: {ports: {rpc: %d}, identity: %s/blue.key}\n"
                      "volumes:\n"
                      "  data: {path: \"%s/%s/${colour}\"}\n"
                      "runtime: {command: [/bin/true]}\n"
                      "traffic:\n"
                      "  site: \":%d\"\n"
                      "  caddyfile: %s/Caddyfile\n"
                      "  port: rpc\n"
                      "  flag_dir: %s/%s\n"
                      "  health: {path: /health, body: \"^ok$\"}\n"
                      "  identify: {path: /, header: X-Instance}\n"
                      "  which_port: %d\n"
                      "  preview_ports: {green: %d, blue: %d}\n"
                      "gate: {checks: [{tcp: {port: rpc}}]}\n",
                      service, p[0], dir, p[1], dir, dir, data, p[2], dir, dir, flags, p[3], p[4],
                      p[5]);
}

static void load(const char *text)
{
    for (int c = GREEN; c < COLOURS; c++) {
        struct err err = {0};
        spec_free(side[c]);
        side[c] = NULL;
        if (spec_parse(text, "changeover.yml", c, NULL, &side[c], &err) < 0)
            fail_msg("%s", err.msg);
        ctx.side[c] = side[c];
    }
}

static int setup(void **state)
{
    (void)state;
    char path[128];
    int fds[6];
    struct err err = {0};
    snprintf(dir, sizeof(dir), "/tmp/changeover-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 6; i++)
        fds[i] = fake_listen(&port[i]);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    static const char *const made[] = {"data/green", "data/blue", "state/svc", "flags"};
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, made[i]);
        assert_int_equal(sys_dir_make(path, 0755, &err), 0);
    }
    put("green.key", "green secret");
    put("blue.key", "blue secret");
    cleanup_free char *text = spec_text("svc", "data", "flags", port);
    load(text);

    static char service_dir[128];
    snprintf(service_dir, sizeof(service_dir), "%s/state/svc", dir);
    ctx.service = "svc";
    ctx.service_dir = service_dir;
    ctx.upgrade_id = "";
    request = (struct check_request){.live = GREEN,
                                     .goal_version = "3.1.11",
                                     .live_version = "3.1.10",
                                     .measure = true,
                                     .other_state_dirs = others};
    memset(&world, 0, sizeof(world));
    world.instance[GREEN] = (struct instance_facts){.state = INSTANCE_RUNNING, .version = "3.1.10"};
    world.traffic =
        (struct traffic_facts){.reachable = true, .installed = true, .version = "2.6.2"};
    world.storage[GREEN] = (struct storage_facts){.exists = true,
                                                  .owner = OWNER_OURS,
                                                  .complete = true,
                                                  .supported = true,
                                                  .fs_name = "ext4"};
    world.storage[BLUE] = (struct storage_facts){.supported = true,
                                                 .fs_name = "ext4",
                                                 .needed_bytes = 1000,
                                                 .free_bytes = 100ULL << 30,
                                                 .estimate_ns = NSEC_S};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    findings_done(&found);
    memset(&found, 0, sizeof(found));
    for (int c = GREEN; c < COLOURS; c++) {
        spec_free(side[c]);
        side[c] = NULL;
    }
    return chdir("/") || system(cmd);
}

static void look(void)
{
    struct err err = {0};
    findings_done(&found);
    memset(&found, 0, sizeof(found));
    if (check_run_on(&ctx, &request, &drivers, &found, &err) < 0)
        fail_msg("%s", err.msg);
}

static void show(void)
{
    for (size_t i = 0; i < found.n; i++)
        print_error("%d %s: %s [%s]\n", found.items[i].level, found.items[i].topic,
                    found.items[i].text, found.items[i].mend ? found.items[i].mend : "-");
}

/* Exactly one finding of this level says it, under this topic; its mend holds `mend`. */
static void expect(enum finding_level level, const char *topic, const char *part, const char *mend)
{
    for (size_t i = 0; i < found.n; i++) {
        const struct finding *f = &found.items[i];
        if (f->level == level && strcmp(f->topic, topic) == 0 && strstr(f->text, part) &&
            (!mend || (f->mend && strstr(f->mend, mend))))
            return;
    }
    show();
    fail_msg("no finding %d %s: '%s' [%s]", level, topic, part, mend ? mend : "-");
}

static void expect_errors(size_t n)
{
    if (findings_count(&found, FINDING_ERROR) == n)
        return;
    show();
    fail_msg("%zu errors, not %zu", findings_count(&found, FINDING_ERROR), n);
}

/* --- the looks
 * ------------------------------------------------------------------------------------- */

static void all_well_is_no_error(void **state)
{
    (void)state;
    look();
    expect_errors(0);
    assert_true(world.measured);
    static const char *const topics[] = {"ports",   "paths",    "data",     "space",
                                         "freeze",  "state",    "identity", "traffic",
                                         "version", "instance", "kernel",   "library"};
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        expect(topics[i][0] == 'k' ? found.items[1].level : FINDING_OK, topics[i], "", NULL);
}

static void ports_are_apart_and_free(void **state)
{
    (void)state;
    int p, fd = fake_listen(&p);
    int q[6];
    memcpy(q, port, sizeof(q));
    q[1] = p;
    cleanup_free char *taken = spec_text("svc", "data", "flags", q);
    load(taken);
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "ports", "blue cannot bind 1 of its ports: tcp ", "end what has it");
    expect(FINDING_ERROR, "ports", "taken by pid ", NULL);
    request.standby_runs = true; /* then they are its own */
    world.instance[BLUE].state = INSTANCE_RUNNING;
    look();
    expect_errors(0);
    close(fd);

    /* one file cannot say so, but each colour has a stored spec of its own */
    side[BLUE]->ports[0] = side[GREEN]->ports[0];
    look();
    expect(FINDING_ERROR, "ports", "overlap", "under 'ports'");
    side[BLUE]->ports[0].first = side[BLUE]->ports[0].last = (uint16_t)port[3];
    look();
    expect(FINDING_ERROR, "ports", "traffic.which_port is ", NULL);
}

static void ranges_overlap_as_well(void **state)
{
    (void)state;
    struct spec_port g[] = {{"gossip", 8001, 8001}, {"dynamic", 9000, 9025}};
    struct spec_port b[] = {{"gossip", 8101, 8101}, {"dynamic", 9020, 9045}};
    struct spec green = {.colour = GREEN, .ports = g, .ports_n = 2};
    struct spec blue = {.colour = BLUE, .ports = b, .ports_n = 2};
    const struct spec_port *p, *q;
    assert_int_equal(portset_overlap(&green, &blue, &p, &q), 9020);
    assert_string_equal(p->name, "dynamic");
    b[1].first = 10100;
    b[1].last = 10125;
    assert_int_equal(portset_overlap(&green, &blue, &p, &q), 0);
    assert_ptr_equal(portset_find(&green, 9025), &g[1]);
    assert_null(portset_find(&green, 9026));
    static const struct {
        const char *rule;
        bool udp, tcp;
    } rules[] = {{"udp:8000-8020", true, false}, {"tcp:8001", false, true},
                 {"8001", true, true},           {"8002-8003", false, false},
                 {"udp:x", false, false},        {"8001-", false, false}};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct spec s = {0};
        strv_add(&s.runtime.ports_may_also_bind, rules[i].rule);
        if (portset_may_bind(&s, true, 8001) != rules[i].udp ||
            portset_may_bind(&s, false, 8001) != rules[i].tcp)
            fail_msg("%s", rules[i].rule);
        strv_done(&s.runtime.ports_may_also_bind);
    }
}

static void a_free_port_is_told_from_a_taken_one(void **state)
{
    (void)state;
    char owner[96], self[32];
    int p, fd = fake_listen(&p);
    snprintf(self, sizeof(self), "pid %d (", (int)getpid());
    assert_int_equal(sys_port_free(false, (uint16_t)p), -1);
    assert_non_null(strstr(sys_port_owner(owner, sizeof(owner), false, (uint16_t)p), self));
    close(fd);
    assert_int_equal(sys_port_free(false, (uint16_t)p), 0);
    assert_string_equal(sys_port_owner(owner, sizeof(owner), false, (uint16_t)p), "");
}

static void places_must_lie_apart(void **state)
{
    (void)state;
    char a[128], b[128];
    assert_int_equal(chdir(dir), 0);
    snprintf(a, sizeof(a), "%s/data/green", dir);
    snprintf(b, sizeof(b), "%s/link", dir);
    assert_int_equal(symlink(a, b), 0);
    assert_int_equal(sys_path_relation(a, b), SYS_PATH_SAME);
    snprintf(b, sizeof(b), "%s/link/deep/er", dir); /* does not exist */
    assert_int_equal(sys_path_relation(b, a), SYS_PATH_INSIDE);
    assert_int_equal(sys_path_relation(a, b), SYS_PATH_AROUND);
    snprintf(b, sizeof(b), "%s/data/green2", dir);
    assert_int_equal(sys_path_relation(a, b), SYS_PATH_APART);
    assert_int_equal(sys_path_relation("/", b), SYS_PATH_AROUND);
    assert_int_equal(symlink("data/green2/later", "dangling"),
                     0); /* leads nowhere, until it does */
    assert_int_equal(sys_path_relation("dangling/x", b), SYS_PATH_INSIDE);
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(sys_path_relation("loop/x", b), SYS_PATH_APART);

    cleanup_free char *nested = spec_text("svc", "data", "data/green/flags", port);
    load(nested);
    look();
    expect(FINDING_ERROR, "paths", "lies around the flag directory", NULL);
    cleanup_free char *state_inside = spec_text("svc", "state/svc", "flags", port);
    load(state_inside);
    look();
    expect(FINDING_ERROR, "paths", "lies inside the state directory", NULL);
}

static void identities_must_differ(void **state)
{
    (void)state;
    put("blue.key", "green secret");
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "identity", "byte by byte", "solana-keygen");

    char path[128];
    snprintf(path, sizeof(path), "%s/blue.key", dir);
    assert_int_equal(unlink(path), 0);
    look();
    expect(FINDING_ERROR, "identity", "blue.key", NULL);

    /* inside a volume: the clone would bring green's */
    put("data/green/id.key", "green secret");
    side[BLUE]->identities.v[0] = x_asprintf("%s/data/blue/id.key", dir);
    look();
    expect(FINDING_ERROR, "identity", "the clone would put green's identity there", "exclude it");
    put("data/green/id.key", "nobody's");
    look();
    expect_errors(0);
    expect(FINDING_WARNING, "identity", "does not exist yet", NULL);
    free(side[BLUE]->identities.v[0]);
    static char nobody[] = "x"; /* the arena of the spec owns its strings: this one is nobody's */
    side[BLUE]->identities.v[0] = nobody;
}

static void data_is_there_and_ours(void **state)
{
    (void)state;
    world.storage[GREEN].exists = false;
    look();
    expect(FINDING_ERROR, "data", "there is nothing at", "mount it");
    world.storage[GREEN].exists = true;
    world.storage[GREEN].owner = OWNER_NONE;
    snprintf(world.storage[GREEN].owner_text, 256, "no mark");
    look();
    expect(FINDING_ERROR, "data", "does not carry our mark (no mark)", "changeover adopt");
    request.live = COLOUR_NONE; /* before adopt that is as it should be */
    look();
    expect_errors(0);
    request.live = GREEN;
    world.storage[GREEN].owner = OWNER_OURS;

    world.storage[BLUE].exists = true;
    look();
    expect(FINDING_ERROR, "data", "holds data that is not ours", "move it away");
    world.storage[BLUE].owner = OWNER_OURS;
    look();
    expect_errors(0);
    expect(FINDING_WARNING, "data", "an interrupted clone", "changeover prepare");
    world.storage[BLUE].owner = OWNER_NONE;
    world.storage[BLUE].exists = false;
    world.storage[BLUE].supported = false;
    snprintf(world.storage[BLUE].why_not, 256, "ext4 shares no blocks");
    look();
    expect(FINDING_ERROR, "data", "ext4 shares no blocks", "copy works everywhere");
}

static void what_a_driver_notes_and_a_limit_of_live_are_said(unused void **state)
{
    strcpy(world.storage[BLUE].note, "2 are left out");
    world.limit = 300000001;
    look();
    expect(FINDING_WARNING, "data", "2 are left out", NULL);
    expect(FINDING_WARNING, "space", "300 MB are left under its refquota", "raise its refquota");
}

static void space_memory_and_the_pause_are_budgeted(void **state)
{
    (void)state;
    world.storage[BLUE].needed_bytes = 200ULL << 30;
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "space", "the clone needs 215 GB", "space.floor");
    world.storage[BLUE].needed_bytes = 99ULL << 30; /* fits, but not with the floor */
    look();
    expect_errors(1);

    snprintf(world.storage[BLUE].fs_name, 32, "tmpfs");
    world.storage[BLUE].needed_bytes = 1ULL << 50;
    world.storage[BLUE].free_bytes = 1ULL << 52;
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "memory", "of memory", NULL);
    world.storage[BLUE].needed_bytes = 1000;
    look();
    expect_errors(0);

    world.storage[BLUE].estimate_ns = 100 * NSEC_S; /* while it runs: that may take long */
    look();
    expect_errors(0);
    world.storage[BLUE].pause_ns = 10 * NSEC_S;
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "freeze", "a last look at data alone takes about 10",
           "consistency: none");
    request.measure = false;
    look();
    expect_errors(0);
}

static void the_journal_is_compared_with_what_is_true(void **state)
{
    (void)state;
    world.traffic.flag = world.traffic.seen = BLUE;
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "traffic", "the flags say that blue is live, the journal says green",
           "changeover adopt --live blue");
    world.traffic.flag = GREEN;
    look();
    expect(FINDING_ERROR, "traffic", "its user cannot read them", "chmod a+rx");
    world.traffic.flag = COLOUR_NONE;
    look();
    expect(FINDING_ERROR, "traffic", "no readable flag", NULL);
    world.traffic.installed = false;
    look();
    expect(FINDING_ERROR, "traffic", "does not run with our block", "changeover traffic install");
    world.traffic.reachable = false;
    look();
    expect(FINDING_ERROR, "traffic", "does not answer", "traffic.admin");
    world.traffic = (struct traffic_facts){.reachable = true, .installed = true};

    snprintf(world.instance[GREEN].version, 64, "3.1.9");
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "instance", "live green runs 3.1.9, and the journal says 3.1.10",
           "changeover adopt");
    world.instance[GREEN].state = INSTANCE_STOPPED;
    look();
    expect(FINDING_ERROR, "instance", "live green does not run", "changeover start");
    world.instance[GREEN].state = INSTANCE_RUNNING;
    world.instance[GREEN].version[0] = '\0';
    world.instance[BLUE].state = INSTANCE_RUNNING;
    look();
    expect(FINDING_ERROR, "instance", "no upgrade is open", "changeover rollback");
    world.instance[BLUE].state = INSTANCE_EXITED;
    request.standby_runs = true;
    look();
    expect(FINDING_ERROR, "instance", "blue should run and does not", "changeover resume");
}

static void a_downgrade_too_far_is_refused(void **state)
{
    (void)state;
    request.goal_version = "v2.2.1";
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "version", "v2.2.1 after 3.1.10 is a downgrade", "version_policy");
    request.goal_version = "main";
    look();
    expect_errors(0);
    expect(FINDING_WARNING, "version", "which is newer", NULL);
}

static void nothing_is_shared_with_another_service(void **state)
{
    (void)state;
    char other[128], broken[160];
    struct err err = {0};
    snprintf(other, sizeof(other), "%s/state/other", dir);
    assert_int_equal(sys_dir_make(other, 0755, &err), 0);
    other_dirs[0] = other;
    request.other_state_dirs = other_dirs;
    look(); /* no spec there yet */
    expect_errors(0);

    int q[6], fds[6];
    for (int i = 0; i < 6; i++)
        fds[i] = fake_listen(&q[i]);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    cleanup_free char *apart = spec_text("other", "other", "other-flags", q);
    put("state/other/spec.yml", apart);
    look();
    expect_errors(0);
    expect(FINDING_OK, "services", "nothing shared", NULL);

    q[0] = port[1];
    q[4] = port[3];
    cleanup_free char *shared = spec_text("other", "data/blue", "flags/x", q);
    put("state/other/spec.yml", shared);
    look();
    expect(FINDING_ERROR, "services", "is rpc of blue and rpc of service other, green",
           "change the spec");
    expect(FINDING_ERROR, "services", "of traffic (which_port, preview_ports)", NULL);
    expect(FINDING_ERROR, "services", "one flip would move both", NULL);
    expect(FINDING_ERROR, "services", "volume data of blue", NULL);

    put("state/other/spec.yml", "service: [");
    look();
    snprintf(broken, sizeof(broken), "%s/spec.yml", other);
    expect_errors(0);
    expect(FINDING_WARNING, "services", broken, NULL);
    other_dirs[0] = ctx.service_dir; /* ourselves */
    cleanup_free char *own = spec_text("svc", "data", "flags", port);
    put("state/svc/spec.yml", own);
    look();
    expect_errors(0);
}

static void a_state_directory_that_cannot_be_is_an_error(void **state)
{
    (void)state;
    char path[128];
    put("file", "");
    snprintf(path, sizeof(path), "%s/file/svc", dir);
    ctx.service_dir = path;
    look();
    expect_errors(1);
    expect(FINDING_ERROR, "state", "is no directory", "--state-dir");
    ctx.service_dir = "/proc/changeover/svc"; /* nobody may make directories there */
    if (access("/proc", W_OK) != 0) {
        look();
        expect(FINDING_ERROR, "state", "cannot be written", "--state-dir");
    }
}

int main(void)
{
#define check_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        check_test(all_well_is_no_error),
        check_test(ports_are_apart_and_free),
        cmocka_unit_test(ranges_overlap_as_well),
        cmocka_unit_test(a_free_port_is_told_from_a_taken_one),
        check_test(places_must_lie_apart),
        check_test(identities_must_differ),
        check_test(data_is_there_and_ours),
        check_test(what_a_driver_notes_and_a_limit_of_live_are_said),
        check_test(space_memory_and_the_pause_are_budgeted),
        check_test(the_journal_is_compared_with_what_is_true),
        check_test(a_downgrade_too_far_is_refused),
        check_test(nothing_is_shared_with_another_service),
        check_test(a_state_directory_that_cannot_be_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
