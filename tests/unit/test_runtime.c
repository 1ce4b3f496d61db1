#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/sentinel.h"
#include "driver/runtime/keeper.h"
#include "driver/runtime/process.h"
#include "driver/runtime/shim.h"
#include "driver/runtime/tail.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE (10 * NSEC_S)

/* Everything a test needs; each one has its own directory and ends all that it started. */
struct rig {
    char dir[64];
    struct spec spec[COLOURS];
    struct driver_ctx ctx;
    struct spec_port port[2];
    struct str said;
    struct proc_id extra[8]; /* started beside the driver */
    size_t extra_n;
};

static void hear(void *ctx, const struct event *ev)
{
    struct rig *r = ctx;
    if (ev->text)
        str_addf(&r->said, "%s\n", ev->text);
}

static void command(struct spec_command *cmd, const char *script)
{
    strv_done(&cmd->argv);
    strv_add(&cmd->argv, "sh");
    strv_add(&cmd->argv, "-c");
    strv_add(&cmd->argv, script);
    cmd->timeout = 10 * NSEC_S;
}

static void run_script(struct rig *r, enum colour c, const char *script)
{
    struct spec_command cmd = {0};
    strv_done(&r->spec[c].runtime.command);
    command(&cmd, script);
    r->spec[c].runtime.command = cmd.argv;
}

static int rig_make(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    snprintf(r->dir, sizeof(r->dir), "/tmp/changeover-test-XXXXXX");
    if (!mkdtemp(r->dir) || chdir(r->dir) < 0)
        return -1;
    static struct sink sink;
    sink = (struct sink){hear, r};
    for (int c = GREEN; c < COLOURS; c++) {
        struct spec *s = &r->spec[c];
        s->service = "demo";
        s->path = "changeover.yml";
        s->version = "1.0";
        s->colour = (enum colour)c;
        s->runtime.restart = RESTART_NEVER;
        s->runtime.restart_delay = 10 * NSEC_MS;
        s->runtime.restart_max = 5;
        s->runtime.log_max_bytes = 1 << 20;
        s->runtime.log_keep = 2;
        s->stop.signal = SIGTERM;
        s->stop.grace = 5 * NSEC_S;
        s->stop.kill = false;
        r->ctx.side[c] = s;
        run_script(r, (enum colour)c, "echo hello; exec sleep 600");
    }
    r->ctx.service = "demo";
    r->ctx.service_dir = r->dir;
    r->ctx.upgrade_id = "u1";
    r->ctx.sink = &sink;
    *state = r;
    return 0;
}

static int rig_done(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    for (int c = GREEN; c < COLOURS; c++) {
        cleanup_free char *dir = run_dir(&r->ctx, (enum colour)c);
        struct run run;
        r->spec[c].stop = (struct spec_stop){.signal = SIGKILL, .grace = NSEC_S, .kill = true};
        if (run_read(dir, &run, &err) == 0 && process_stop(&r->ctx, (enum colour)c, &err) < 0) {
            print_error("teardown: %s\n", err.msg);
            if (sys_proc_alive(run.shim))
                kill(run.shim.pid, SIGKILL);
            if (sys_proc_alive(run.pid))
                kill(run.pid.pid, SIGKILL);
        }
    }
    for (size_t i = 0; i < r->extra_n; i++)
        if (sys_proc_alive(r->extra[i])) {
            kill(r->extra[i].pid, SIGKILL);
            kill(r->extra[i].pid, SIGCONT);
        }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
    int bad = chdir("/") || system(cmd);
    str_done(&r->said);
    free(r);
    return bad;
}

static struct instance_facts facts(struct rig *r, enum colour c)
{
    struct instance_facts f;
    struct err err = {0};
    if (process_inspect(&r->ctx, c, &f, &err) < 0)
        fail_msg("%s", err.msg);
    return f;
}

static struct run record(struct rig *r, enum colour c)
{
    cleanup_free char *dir = run_dir(&r->ctx, c);
    struct run run = {0};
    struct err err = {0};
    if (run_read(dir, &run, &err) < 0)
        fail_msg("%s", err.msg);
    return run;
}

static void start(struct rig *r, enum colour c)
{
    struct err err = {0};
    if (process_start(&r->ctx, c, false, &err) < 0)
        fail_msg("start: %s", err.msg);
}

static void stop(struct rig *r, enum colour c)
{
    struct err err = {0};
    if (process_stop(&r->ctx, c, &err) < 0)
        fail_msg("stop: %s", err.msg);
}

static bool log_has(struct rig *r, enum colour c, const char *text)
{
    struct instance_facts f = facts(r, c);
    cleanup_str struct str t = {0};
    runtime_log_tail(f.log_path, 100, 8000, &t);
    return strstr(str_cstr(&t), text) != NULL;
}

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Waits until the expression holds. */
#define eventually(expr)                                                                           \
    do {                                                                                           \
        nsec_t until_ = sys_clock_mono() + PATIENCE;                                               \
        while (!(expr)) {                                                                          \
            if (sys_clock_mono() > until_)                                                         \
                fail_msg("not in time: %s", #expr);                                                \
            sys_sleep(5 * NSEC_MS);                                                                \
        }                                                                                          \
    } while (0)

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
    stop(r, BLUE);
    assert_false(sys_proc_alive(f.pid));
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
    assert_int_equal(facts(r, BLUE).last_status, 128 + SIGTERM);
    assert_false(sys_lock_held(lock, NULL, 0));
    struct run run = record(r, BLUE);
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
    assert_int_equal(process_promote(&r->ctx, BLUE, &err), 0);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)pid), 0);
    assert_int_equal(process_promote(&r->ctx, BLUE, &err), 0);
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
    start(r, BLUE);                             /* and no second one is started */
    assert_int_equal(facts(r, BLUE).pid.pid, run.pid.pid);
    stop(r, BLUE);
    assert_false(sys_proc_alive(run.pid));
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
}

static void logs_are_rotated(void **state)
{
    struct rig *r = *state;
    r->spec[BLUE].runtime.log_max_bytes = 1000;
    run_script(r, BLUE, "i=0; while [ $i -lt 100 ]; do echo \"a line of text, number $i of many\"; "
                        "i=$((i+1)); done; sleep 0.2; echo end; exec sleep 600");
    start(r, BLUE);
    eventually(log_has(r, BLUE, "end"));
    struct instance_facts f = facts(r, BLUE);
    cleanup_free char *one = x_asprintf("%s.1", f.log_path), *three = x_asprintf("%s.3", f.log_path);
    assert_true(sys_path_exists(one));
    assert_false(sys_path_exists(three));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "shim") == 0)
        return shim_main(argv[2]);
#define rigged(test) cmocka_unit_test_setup_teardown(test, rig_make, rig_done)
    const struct CMUnitTest tests[] = {
        rigged(it_starts_is_seen_and_stops),
        rigged(the_child_gets_what_the_spec_says),
        rigged(a_start_that_cannot_work_says_why),
        rigged(an_end_is_recorded_and_its_words_are_kept),
        rigged(it_is_restarted_by_policy),
        rigged(stop_ends_descendants_too),
        rigged(what_outlives_its_main_process_is_not_called_stopped),
        rigged(the_deaf_are_killed_only_where_allowed),
        rigged(a_stop_command_is_asked_first),
        rigged(it_goes_on_without_its_shim),
        rigged(logs_are_rotated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
