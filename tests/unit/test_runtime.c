#include "runtime_rig.h"

static void it_starts_is_seen_and_stops(void **state)
{
    struct rig *r = *state;
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
    stop(r, BLUE); /* never started: nothing to do */
    start(r, BLUE);
    struct instance_facts f = facts(r, BLUE);
    assert_int_equal(f.state, INSTANCE_RUNNING);
    assert_true(sys_proc_alive(f.pid));
    assert_string_equal(f.version, "1.0");
    assert_int_equal(getsid(f.pid.pid), f.pid.pid);
    eventually(log_has(r, BLUE, "hello"));
    cleanup_free char *dir = run_dir(&r->ctx, BLUE);
    cleanup_free char *lock = run_path(dir, "lock");
    char label[128];
    assert_true(sys_lock_held(lock, label, sizeof(label)));
    assert_non_null(strstr(label, "the shim of demo/blue"));

    start(r, BLUE); /* again is success and starts nothing */
    assert_int_equal(facts(r, BLUE).pid.pid, f.pid.pid);
    struct run run = record(r, BLUE);
    char group[320], path[64];
    cleanup_str struct str own = {0};
    struct err err = {0};
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)run.shim.pid);
    assert_int_equal(sys_file_read(path, 65536, &own, &err), 0);
    snprintf(group, sizeof(group), "%s", run.cgroup.track);
    char *name = strrchr(group, '/'); /* freezing the group must not freeze the shim */
    assert_true(!name || !strstr(str_cstr(&own), name));
    stop(r, BLUE);
    assert_false(sys_proc_alive(f.pid));
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
    assert_int_equal(facts(r, BLUE).last_status, 128 + SIGTERM);
    assert_false(sys_lock_held(lock, NULL, 0));
    assert_true(!run.cgroup.track[0] || !sys_path_exists(run.cgroup.track));
    stop(r, BLUE);
    start(r, BLUE);
    assert_int_not_equal(facts(r, BLUE).pid.pid, f.pid.pid);
}

static void the_child_gets_what_the_spec_says(void **state)
{
    struct rig *r = *state;
    struct spec_var env[] = {{"COLOUR", "blue", 1}, {"TEXT", "a b'c", 2}};
    struct spec_limit limits[] = {{"nofile", 77, 99}};
    r->spec[BLUE].runtime.env = env;
    r->spec[BLUE].runtime.env_n = 2;
    r->spec[BLUE].runtime.limits = limits;
    r->spec[BLUE].runtime.limits_n = 1;
    r->spec[BLUE].runtime.cwd = "/usr";
    r->spec[BLUE].runtime.standby_nice = 7;
    r->spec[BLUE].runtime.standby_ionice = 3;
    assert_int_equal(setenv("CHANGEOVER_SECRET", "x", 1), 0);
    run_script(r, BLUE,
               "echo \"$COLOUR/$TEXT/$PWD/$(ulimit -Sn)/$(ulimit -Hn)/$CHANGEOVER_SECRET/\"; "
               "ls /proc/self/fd | tr '\\n' ' '; exec sleep 600");
    struct err err = {0};
    assert_int_equal(process_start(&r->ctx, BLUE, true, &err), 0);
    eventually(log_has(r, BLUE, "blue/a b'c//usr/77/99//"));
    eventually(log_has(r, BLUE, "0 1 2 3")); /* 3 is ls's own */
    assert_false(log_has(r, BLUE, "0 1 2 3 4"));
    pid_t pid = facts(r, BLUE).pid.pid;
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)pid), 7);
    unsetenv("CHANGEOVER_SECRET");
    if (getuid() != 0)
        return; /* only root may lower it again */
    assert_int_equal(process_priority(&r->ctx, BLUE, false, &err), 0);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)pid), 0);
    assert_int_equal(process_priority(&r->ctx, BLUE, false, &err), 0);
}

static int number_in(const char *dir, const char *file)
{
    cleanup_free char *path = x_asprintf("%s/%s", dir, file);
    cleanup_str struct str text = {0};
    return sys_file_read(path, 100, &text, NULL) < 0 ? -1 : atoi(str_cstr(&text));
}

/* Real control groups, of whatever kind there is: lifted when it is promoted, given back when it is
 * not any more, kept over a restart, and gone with it. */
static void a_standby_weighs_less_until_promoted(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    r->spec[BLUE].runtime.standby_cpu_weight = 50;
    r->spec[BLUE].runtime.standby_io_weight = 20;
    r->spec[BLUE].runtime.restart = RESTART_ALWAYS;
    assert_int_equal(process_start(&r->ctx, BLUE, true, &err), 0);
    struct sys_cgroup g = record(r, BLUE).cgroup;
    if (!g.cpu[0])
        return; /* nothing weighs cpu time here */
    const char *file = g.cpu_v2 ? "cpu.weight" : "cpu.shares";
    int low = g.cpu_v2 ? 50 : 512, full = g.cpu_v2 ? 100 : 1024;
    assert_int_equal(number_in(g.cpu, file), low);
    assert_int_equal(process_priority(&r->ctx, BLUE, false, &err), 0);
    assert_int_equal(number_in(g.cpu, file), full);
    pid_t was = facts(r, BLUE).pid.pid;
    kill(was, SIGKILL);
    eventually(facts(r, BLUE).pid.pid > 0 && facts(r, BLUE).pid.pid != was &&
               record(r, BLUE).phase == RUN_RUNNING);
    assert_int_equal(number_in(g.cpu, file), full);
    assert_int_equal(process_priority(&r->ctx, BLUE, true, &err), 0);
    assert_int_equal(number_in(g.cpu, file), low);
    if (g.io[0]) {
        const char *io = g.io_v2 ? "io.bfq.weight" : "blkio.bfq.weight";
        if (number_in(g.io, io) >= 0)
            assert_int_equal(number_in(g.io, io), 20);
        assert_int_equal(process_priority(&r->ctx, BLUE, false, &err), 0);
        if (number_in(g.io, io) >= 0)
            assert_int_equal(number_in(g.io, io), 100);
    }
    stop(r, BLUE);
    eventually(!sys_path_exists(g.cpu) && !sys_path_exists(g.io) && !sys_path_exists(g.track));
}

static void a_start_that_cannot_work_says_why(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    strv_done(&r->spec[BLUE].runtime.command);
    strv_add(&r->spec[BLUE].runtime.command, "/does/not/exist");
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    assert_non_null(strstr(err.msg, "/does/not/exist"));
    run_script(r, BLUE, "exec sleep 600");
    r->spec[BLUE].runtime.cwd = "/does/not/exist/either";
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    assert_non_null(strstr(err.msg, "/does/not/exist/either"));
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
    r->spec[BLUE].runtime.cwd = NULL;
    start(r, BLUE);
    r->spec[BLUE].version = "2.0";
    err_clear(&err);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
}

static void an_end_is_recorded_and_its_words_are_kept(void **state)
{
    struct rig *r = *state;
    run_script(r, BLUE, "echo 'the disk is full'; exit 7");
    start(r, BLUE);
    eventually(facts(r, BLUE).state == INSTANCE_EXITED);
    struct instance_facts f = facts(r, BLUE);
    assert_int_equal(f.last_status, 7);
    assert_non_null(strstr(f.text, "ended by itself with status 7 after"));
    assert_true(log_has(r, BLUE, "the disk is full"));
    stop(r, BLUE);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
}

static void it_is_restarted_by_policy(void **state)
{
    struct rig *r = *state;
    r->spec[BLUE].runtime.restart = RESTART_ON_FAILURE;
    run_script(r, BLUE, "echo x >>runs; [ $(wc -l <runs) -ge 3 ] && exit 0; exit 1");
    start(r, BLUE);
    eventually(facts(r, BLUE).state == INSTANCE_EXITED);
    assert_int_equal(facts(r, BLUE).restarts, 2);
    assert_int_equal(facts(r, BLUE).last_status, 0);
    stop(r, BLUE);

    r->spec[BLUE].runtime.restart = RESTART_ALWAYS;
    r->spec[BLUE].runtime.restart_max = 2;
    run_script(r, BLUE, "exit 5");
    start(r, BLUE);
    eventually(facts(r, BLUE).state == INSTANCE_EXITED);
    assert_int_equal(facts(r, BLUE).restarts, 2);
    assert_non_null(strstr(facts(r, BLUE).text, "stays down"));
    stop(r, BLUE);

    run_script(r, BLUE, "exec sleep 600"); /* stopped is stopped, whatever the policy */
    start(r, BLUE);
    stop(r, BLUE);
    assert_int_equal(facts(r, BLUE).restarts, 0);

    run_script(r, BLUE, "exit 5");
    r->spec[BLUE].runtime.restart_delay = NSEC_HOUR; /* waiting: stop ends the wait */
    start(r, BLUE);
    eventually(strstr(facts(r, BLUE).text, "is started again") != NULL);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_RUNNING);
    stop(r, BLUE);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
}

static void stop_ends_descendants_too(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    run_script(r, BLUE,
               "sleep 601 & (setsid sleep 602 & ) ; sh -c 'sleep 603 & wait' & echo up; wait");
    start(r, BLUE);
    pid_t pids[16];
    size_t n = 0;
    eventually(process_pids(&r->ctx, BLUE, pids, 16, &n, &err) == 0 && n == 5);
    stop(r, BLUE);
    for (size_t i = 0; i < n; i++)
        assert_false(sys_proc_alive((struct proc_id){.pid = pids[i]}));
}

static void what_outlives_its_main_process_is_not_called_stopped(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    run_script(r, BLUE, "sleep 604 & exit 3");
    start(r, BLUE);
    eventually(record(r, BLUE).phase == RUN_EXITED);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_UNKNOWN);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
    stop(r, BLUE);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
}

static void the_deaf_are_killed_only_where_allowed(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    run_script(r, BLUE, "trap '' TERM; echo deaf; while :; do sleep 1; done");
    r->spec[BLUE].stop.grace = 200 * NSEC_MS;
    start(r, BLUE);
    eventually(log_has(r, BLUE, "deaf"));
    struct proc_id pid = facts(r, BLUE).pid;
    assert_int_equal(process_stop(&r->ctx, BLUE, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(sys_proc_alive(pid));
    assert_int_equal(facts(r, BLUE).state, INSTANCE_RUNNING);
    r->spec[BLUE].stop.kill = true;
    stop(r, BLUE);
    assert_false(sys_proc_alive(pid));
    assert_int_equal(facts(r, BLUE).last_status, 128 + SIGKILL);
}

static void a_stop_command_is_asked_first(void **state)
{
    struct rig *r = *state;
    run_script(r, BLUE, "trap '' TERM; while [ ! -e bye ]; do sleep 0.02; done; exit 0");
    command(&r->spec[BLUE].stop.command, "touch bye; test $CHANGEOVER_COLOUR = blue");
    start(r, BLUE);
    stop(r, BLUE);
    assert_int_equal(facts(r, BLUE).last_status, 0);
    strv_done(&r->spec[BLUE].stop.command.argv);

    run_script(r, BLUE, "exec sleep 600");
    command(&r->spec[BLUE].stop.command, "echo 'error: no such socket' >&2; exit 3");
    start(r, BLUE);
    stop(r, BLUE); /* the signal, then */
    assert_non_null(strstr(str_cstr(&r->said), "no such socket"));
    strv_done(&r->spec[BLUE].stop.command.argv);
}

static void it_goes_on_without_its_shim(void **state)
{
    struct rig *r = *state;
    run_script(r, BLUE, "while :; do echo tick; sleep 0.05; done");
    start(r, BLUE);
    struct run run = record(r, BLUE);
    eventually(log_has(r, BLUE, "tick"));
    assert_int_equal(kill(run.shim.pid, SIGKILL), 0);
    eventually(!sys_proc_alive(run.shim));
    assert_true(sys_proc_alive(run.pid));
    struct instance_facts f = facts(r, BLUE);
    assert_int_equal(f.state, INSTANCE_RUNNING);
    assert_non_null(strstr(f.text, "without its shim"));
    cleanup_free char *log = x_strdup(f.log_path);
    off_t size = size_of(log);
    eventually(size_of(log) > size + 20); /* its log goes on */
    start(r, BLUE);                       /* and no second one is started */
    assert_int_equal(facts(r, BLUE).pid.pid, run.pid.pid);
    stop(r, BLUE);
    assert_false(sys_proc_alive(run.pid));
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
}

static void logs_are_rotated(void **state)
{
    struct rig *r = *state;
    r->spec[BLUE].runtime.log_max_bytes = 1000;
    run_script(r, BLUE,
               "i=0; while [ $i -lt 100 ]; do echo \"a line of text, number $i of many\"; "
               "i=$((i+1)); done; sleep 0.2; echo end; exec sleep 600");
    start(r, BLUE);
    eventually(log_has(r, BLUE, "end"));
    struct instance_facts f = facts(r, BLUE);
    cleanup_free char *one = x_asprintf("%s.1", f.log_path),
                      *three = x_asprintf("%s.3", f.log_path);
    assert_true(sys_path_exists(one));
    assert_false(sys_path_exists(three));
}

/* A start in a process of its own that dies at a fault point; the instance must never have run. */
static void start_that_dies(struct rig *r, const char *rule)
{
    pid_t tool = fork();
    if (tool == 0) {
        struct err err = {0};
        setenv("CHANGEOVER_FAULT", rule, 1);
        _exit(process_start(&r->ctx, BLUE, false, &err) < 0 ? 9 : 0);
    }
    int status;
    assert_int_equal(waitpid(tool, &status, 0), tool);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 9);
}

static void no_crash_of_a_start_leaves_an_instance(void **state)
{
    struct rig *r = *state;
    static const char *const rules[] = {"kill@runtime/start:committed", "kill@runtime/shim:forked",
                                        "kill@runtime/shim:recorded"};
    cleanup_free char *dir = run_dir(&r->ctx, BLUE);
    cleanup_free char *lock = run_path(dir, "lock");
    run_script(r, BLUE, "touch ran; exec sleep 605");
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        start_that_dies(r, rules[i]);
        eventually(!sys_lock_held(lock, NULL, 0));
        eventually(facts(r, BLUE).state != INSTANCE_RUNNING &&
                   facts(r, BLUE).state != INSTANCE_UNKNOWN);
        assert_false(sys_path_exists("ran"));
        stop(r, BLUE);
    }
    start(r, BLUE);
    eventually(sys_path_exists("ran"));
}

static void boot_is_a_mark(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    assert_int_equal(process_boot(&r->ctx, BLUE, false, &err), 0);
    assert_false(facts(r, BLUE).boot);
    assert_int_equal(process_boot(&r->ctx, BLUE, true, &err), 0);
    assert_int_equal(process_boot(&r->ctx, BLUE, true, &err), 0);
    assert_true(facts(r, BLUE).boot);
    assert_int_equal(process_boot(&r->ctx, BLUE, false, &err), 0);
    assert_false(facts(r, BLUE).boot);
}

static void a_record_of_another_boot_is_not_believed(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_free char *dir = run_dir(&r->ctx, BLUE);
    assert_int_equal(sys_dir_make(dir, 0700, &err), 0);
    struct run run = {.phase = RUN_RUNNING, .pid = sys_proc_self(), .last_status = -1};
    snprintf(run.boot_id, sizeof(run.boot_id), "another");
    assert_int_equal(run_write(dir, &run, &err), 0);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
    assert_int_equal(facts(r, BLUE).pid.pid, 0);
    cleanup_free char *path = run_path(dir, "run.json");
    assert_int_equal(sys_file_write_atomic(path, "{", 1, 0600, &err), 0);
    struct instance_facts f;
    assert_int_equal(process_inspect(&r->ctx, BLUE, &f, &err), -1);
    assert_non_null(strstr(err.msg, "damaged"));
    unlink(path);
}

static void data_must_be_its_own(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_free char *data = x_asprintf("%s/data", r->dir);
    struct spec_volume v = {.name = "ledger", .path = data};
    r->spec[BLUE].volumes = &v;
    r->spec[BLUE].volumes_n = 1;
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    assert_int_equal(mkdir(data, 0700), 0);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    struct sentinel s = {
        .service = "demo", .colour = "green", .volume = "ledger", .state = SENTINEL_LIVE};
    assert_int_equal(sentinel_write(data, &s, &err), 0);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    snprintf(s.colour, sizeof(s.colour), "blue");
    static const enum sentinel_state unfinished[] = {SENTINEL_CLONING, SENTINEL_COPIED};
    for (size_t i = 0; i < ARRAY_LEN(unfinished); i++) {
        s.state = unfinished[i];
        assert_int_equal(sentinel_write(data, &s, &err), 0);
        assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    }
    s.state = SENTINEL_READY;
    assert_int_equal(sentinel_write(data, &s, &err), 0);
    start(r, BLUE);
    stop(r, BLUE);
    r->spec[BLUE].volumes_n = 0;
}

static void equal_identities_never_start(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    strv_add(&r->spec[BLUE].identities, "id-blue");
    strv_add(&r->spec[GREEN].identities, "id-green");
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1); /* its own is missing */
    assert_int_equal(sys_file_write_atomic("id-blue", "same", 4, 0600, &err), 0);
    start(r, BLUE); /* the other's is not there (yet) */
    stop(r, BLUE);
    assert_int_equal(sys_file_write_atomic("id-green", "same", 4, 0600, &err), 0);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
    assert_int_equal(sys_file_write_atomic("id-green", "diff", 4, 0600, &err), 0);
    start(r, BLUE);
}

static void arguments_and_version_are_checked_first(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    struct spec_command checks[2] = {{.line = 12}, {.line = 13}};
    command(&checks[0], "exit 0");
    command(&checks[1], "echo \"error: Found argument '--old' which wasn't expected\" >&2; "
                        "echo >&2; echo 'USAGE: x' >&2; exit 1");
    command(&r->spec[BLUE].runtime.version, "echo 'agave-validator 3.1.11 (src:abc)'");
    r->spec[BLUE].runtime.validate = checks;
    r->spec[BLUE].runtime.validate_n = 2;
    assert_int_equal(process_validate(&r->ctx, BLUE, "3.1.11", &err), -1);
    assert_non_null(strstr(err.msg, "changeover.yml:13: runtime.validate 2 of 2"));
    assert_non_null(strstr(err.msg, "Found argument '--old' which wasn't expected"));
    assert_null(strstr(err.msg, "USAGE"));
    checks[1].status = 1;
    checks[1].output = "Invalid value for '--identity";
    assert_int_equal(process_validate(&r->ctx, BLUE, "3.1.11", &err), -1);
    command(&checks[1], "echo \"error: Invalid value for '--identity <KEYPAIR>'\" >&2; exit 1");
    assert_int_equal(process_validate(&r->ctx, BLUE, "3.1.11", &err), 0);
    assert_int_equal(process_validate(&r->ctx, BLUE, NULL, &err), 0);
    assert_int_equal(process_validate(&r->ctx, BLUE, "3.1.12", &err), -1);
    assert_non_null(strstr(err.msg, "is version 3.1.11, the target is 3.1.12"));
    for (int i = 0; i < 2; i++)
        strv_done(&checks[i].argv);
    strv_done(&r->spec[BLUE].runtime.version.argv);
}

static void a_port_that_stays_taken_is_named(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    struct proc_id other = served(r, BLUE);
    run_script(r, BLUE, "exec sleep 600");
    start(r, BLUE);
    stop(r, BLUE); /* it was somebody else's before: a warning */
    assert_non_null(strstr(str_cstr(&r->said), "as it was before"));
    kill(other.pid, SIGKILL);
    waitpid(other.pid, NULL, 0);
    run_script(r, BLUE,
               "trap 'touch asked; while [ ! -e listening ]; do sleep 0.01; done; exit' TERM; "
               "touch up; while :; do sleep 0.01; done");
    r->spec[BLUE].version = "2.0";
    start(r, BLUE);
    eventually(sys_path_exists("up"));
    /* a listener that nobody saw before the stop: */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(r->port[BLUE].first)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    pid_t late = fork();
    if (late == 0) {
        while (!sys_path_exists("asked"))
            sys_sleep(NSEC_MS);
        _exit(listen(fd, 1) < 0 || creat("listening", 0600) < 0);
    }
    r->extra[r->extra_n++] = (struct proc_id){late, sys_proc_start_ticks(late)};
    int result = process_stop(&r->ctx, BLUE, &err);
    waitpid(late, NULL, 0);
    close(fd);
    assert_int_equal(result, -1);
    assert_non_null(strstr(err.msg, "(rpc) is taken by process"));
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        rigged(it_starts_is_seen_and_stops),
        rigged(the_child_gets_what_the_spec_says),
        rigged(a_standby_weighs_less_until_promoted),
        rigged(a_start_that_cannot_work_says_why),
        rigged(an_end_is_recorded_and_its_words_are_kept),
        rigged(it_is_restarted_by_policy),
        rigged(stop_ends_descendants_too),
        rigged(what_outlives_its_main_process_is_not_called_stopped),
        rigged(the_deaf_are_killed_only_where_allowed),
        rigged(a_stop_command_is_asked_first),
        rigged(it_goes_on_without_its_shim),
        rigged(logs_are_rotated),
        rigged(no_crash_of_a_start_leaves_an_instance),
        rigged(boot_is_a_mark),
        rigged(a_record_of_another_boot_is_not_believed),
        rigged(data_must_be_its_own),
        rigged(equal_identities_never_start),
        rigged(arguments_and_version_are_checked_first),
        rigged(a_port_that_stays_taken_is_named),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return rig_main(argc, argv, run);
}
