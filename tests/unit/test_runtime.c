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
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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

/* A program beside the driver, ended by the teardown. */
static struct proc_id beside(struct rig *r, const char *file, const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        execv(file, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    struct proc_id id = {pid, sys_proc_start_ticks(pid)};
    r->extra[r->extra_n++] = id;
    char exe[512];
    eventually(strstr(sys_task_link(pid, "exe", exe, sizeof(exe)), "test_runtime") == NULL ||
               strstr(file, "exe") != NULL);
    return id;
}

static bool stopped(struct proc_id id)
{
    struct sys_task t;
    return sys_task_read(id.pid, &t) && t.state == 'T';
}

/* A counter that a running instance moves on. */
static bool moves(const char *path)
{
    off_t was = size_of(path);
    for (nsec_t until = sys_clock_mono() + 300 * NSEC_MS; sys_clock_mono() < until;) {
        if (size_of(path) != was)
            return true;
        sys_sleep(5 * NSEC_MS);
    }
    return false;
}
#define TICKS "trap '' HUP; while :; do echo x >>ticks; sleep 0.02; done"

static void freeze_holds_it_and_thaw_says_how_long(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    int fd = -1;
    nsec_t held = 0;
    assert_int_equal(process_freeze(&r->ctx, BLUE, NSEC_S, &fd, &err), -1); /* nothing runs */
    run_script(r, BLUE, TICKS);
    start(r, BLUE);
    eventually(moves("ticks"));
    assert_int_equal(process_freeze(&r->ctx, BLUE, 20 * NSEC_S, &fd, &err), 0);
    assert_false(moves("ticks"));
    assert_true(facts(r, BLUE).state == INSTANCE_RUNNING);
    assert_int_equal(process_thaw(&r->ctx, BLUE, fd, &held, &err), 0);
    assert_true(held >= 300 * NSEC_MS && held < 20 * NSEC_S);
    assert_true(moves("ticks"));
    assert_int_equal(process_thaw(&r->ctx, BLUE, -1, NULL, &err), 0);
}

static void a_freeze_ends_at_its_ceiling(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    int fd = -1;
    nsec_t held = 0;
    run_script(r, BLUE, TICKS);
    start(r, BLUE);
    eventually(moves("ticks"));
    assert_int_equal(process_freeze(&r->ctx, BLUE, 200 * NSEC_MS, &fd, &err), 0);
    eventually(moves("ticks"));
    assert_int_equal(process_thaw(&r->ctx, BLUE, fd, &held, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(held >= 200 * NSEC_MS && held < 5 * NSEC_S);
}

static void a_freeze_ends_with_the_tool(void **state)
{
    struct rig *r = *state;
    run_script(r, BLUE, TICKS);
    start(r, BLUE);
    eventually(moves("ticks"));
    pid_t tool = fork();
    if (tool == 0) {
        int fd = -1;
        struct err err = {0};
        if (process_freeze(&r->ctx, BLUE, 60 * NSEC_S, &fd, &err) < 0)
            _exit(1);
        if (creat("frozen", 0600) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    eventually(sys_path_exists("frozen"));
    assert_false(moves("ticks"));
    kill(tool, SIGKILL);
    waitpid(tool, NULL, 0);
    eventually(moves("ticks"));
}

static void a_frozen_instance_can_be_stopped(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    int fd = -1;
    start(r, BLUE);
    assert_int_equal(process_freeze(&r->ctx, BLUE, 60 * NSEC_S, &fd, &err), 0);
    stop(r, BLUE);
    close(fd);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
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

/* A listener of this program: `serve`, which prints its port into a file. */
static int serve(const char *file)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 5) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return 1;
    cleanup_free char *tmp = x_asprintf("%s.new", file);
    FILE *f = fopen(tmp, "w");
    fprintf(f, "%d\n", ntohs(a.sin_port));
    fclose(f);
    if (rename(tmp, file) < 0)
        return 1;
    for (;;)
        pause();
}

static struct proc_id served(struct rig *r, enum colour c)
{
    static char exe[512];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = '\0';
    const char *const argv[] = {exe, "serve", "port", NULL};
    struct proc_id id = beside(r, "/proc/self/exe", argv);
    eventually(sys_path_exists("port"));
    cleanup_fclose FILE *f = fopen("port", "r");
    int port = 0;
    assert_int_equal(fscanf(f, "%d", &port), 1);
    r->port[c] = (struct spec_port){"rpc", (uint16_t)port, (uint16_t)port, 1};
    r->spec[c].ports = &r->port[c];
    r->spec[c].ports_n = 1;
    r->spec[c].traffic.port = "rpc";
    strv_done(&r->spec[c].runtime.command);
    for (int i = 0; argv[i]; i++)
        strv_add(&r->spec[c].runtime.command, argv[i]);
    return id;
}

static void what_runs_is_adopted_untouched(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    setenv("ADOPTED_VALUE", "kept", 1);
    struct proc_id id = served(r, GREEN);
    unsetenv("ADOPTED_VALUE");
    if (process_adopt(&r->ctx, GREEN, 0, &text, &err) < 0)
        fail_msg("%s", err.msg);
    struct instance_facts f = facts(r, GREEN);
    assert_int_equal(f.state, INSTANCE_RUNNING);
    assert_int_equal(f.pid.pid, id.pid);
    assert_true(f.adopted);
    assert_true(llabs(f.started_wall_ns - sys_clock_wall()) < 60 * NSEC_S);
    assert_non_null(strstr(str_cstr(&text), "can be started again by: cd"));
    assert_null(strstr(str_cstr(&text), "differs"));
    assert_int_equal(process_adopt(&r->ctx, GREEN, id.pid, &text, &err), 0);
    start(r, GREEN); /* it runs: success */
    int fd = -1;
    assert_int_equal(process_freeze(&r->ctx, GREEN, 10 * NSEC_S, &fd, &err), 0);
    assert_true(stopped(id));
    assert_int_equal(process_thaw(&r->ctx, GREEN, fd, NULL, &err), 0);
    assert_false(stopped(id));
    stop(r, GREEN);
    waitpid(id.pid, NULL, 0);
    assert_int_equal(facts(r, GREEN).state, INSTANCE_STOPPED);

    assert_int_equal(unlink("port"), 0); /* ours now, with what it had */
    start(r, GREEN);
    f = facts(r, GREEN);
    assert_false(f.adopted);
    cleanup_strv struct strv env = {0};
    assert_int_equal(sys_task_env(f.pid.pid, &env, &err), 0);
    assert_true(strv_has(&env, "ADOPTED_VALUE=kept"));
}

static void differences_to_the_spec_are_named(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    struct spec_var env[] = {{"NEWVAR", "secret", 1}};
    struct proc_id id = served(r, GREEN);
    r->spec[GREEN].runtime.env = env;
    r->spec[GREEN].runtime.env_n = 1;
    r->spec[GREEN].runtime.cwd = "/usr";
    strv_add(&r->spec[GREEN].runtime.command, "--more");
    assert_int_equal(process_adopt(&r->ctx, GREEN, id.pid, &text, &err), 0);
    assert_non_null(strstr(str_cstr(&text), "the spec says '--more'"));
    assert_non_null(strstr(str_cstr(&text), "the spec says '/usr'"));
    assert_non_null(strstr(str_cstr(&text), "NEWVAR"));
    assert_null(strstr(str_cstr(&text), "secret"));
}

static void nothing_is_adopted_that_cannot_be(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    struct proc_id id = served(r, GREEN);
    r->spec[GREEN].runtime.command.v[0][0] = 'x';
    assert_int_equal(process_adopt(&r->ctx, GREEN, id.pid, &text, &err), -1);
    assert_non_null(strstr(err.msg, "could not be started again"));
    assert_int_equal(facts(r, GREEN).state, INSTANCE_STOPPED);
    kill(id.pid, SIGKILL);
    waitpid(id.pid, NULL, 0);
    assert_int_equal(process_adopt(&r->ctx, GREEN, 0, &text, &err), -1);
    assert_non_null(strstr(err.msg, "nobody listens on port"));
}

static void a_supervised_process_is_refused(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    assert_int_equal(symlink("/bin/sh", "runsv"), 0);
    const char *const argv[] = {"runsv", "-c", "sleep 606 & echo $! >pid; wait", NULL};
    struct proc_id super = beside(r, "./runsv", argv);
    eventually(size_of("pid") > 0);
    cleanup_fclose FILE *f = fopen("pid", "r");
    int pid = 0;
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    r->extra[r->extra_n++] = (struct proc_id){pid, sys_proc_start_ticks(pid)};
    assert_int_equal(process_adopt(&r->ctx, GREEN, pid, &text, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_non_null(strstr(err.msg, "'runsv'"));
    assert_non_null(strstr(err.hint, "changeover start green"));
    assert_true(sys_proc_alive(super));
}

static void keepers_are_read_from_control_groups(void **state)
{
    (void)state;
    static const struct {
        const char *cgroup, *ours, *who;
    } rows[] = {
        {"0::/system.slice/agave.service\n", "0::/\n", "the unit agave.service"},
        {"0::/system.slice/run-12.scope\n", "0::/\n", "the unit run-12.scope"},
        {"0::/user.slice/user-1000.slice/session-3.scope\n", "0::/\n", NULL},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", "0::/\n",
         "the unit x.service"},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n", "0::/\n", NULL},
        {"0::/system.slice/docker-abc.scope\n", "0::/\n", "a Docker container"},
        {"12:pids:/docker/abc\n0::/\n", "0::/\n", "a Docker container"},
        {"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n", "0::/\n",
         "a containerd container"},
        {"0::/system.slice/docker.service\n", "0::/\n", "the unit docker.service"},
        {"0::/machine.slice/libpod-1.scope\n", "0::/\n", "a Podman container"},
        {"0::/\n", "0::/\n", NULL},
        {"0::/system.slice/ci.service\n", "0::/system.slice/ci.service\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char who[300] = "";
        bool shared = false;
        bool kept = keeper_in_cgroup(rows[i].cgroup, rows[i].ours, who, sizeof(who), &shared);
        assert_int_equal(kept, rows[i].who != NULL);
        if (rows[i].who)
            assert_string_equal(who, rows[i].who);
        assert_int_equal(shared, i + 1 == ARRAY_LEN(rows));
    }
    assert_true(keeper_is_supervisor("containerd-shim"));
    assert_true(keeper_is_supervisor("PM2 v5.3.0: God"));
    assert_false(keeper_is_supervisor("bash"));
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
    struct sentinel s = {.service = "demo", .colour = "green", .volume = "ledger",
                         .state = SENTINEL_LIVE};
    assert_int_equal(sentinel_write(data, &s, &err), 0);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
    snprintf(s.colour, sizeof(s.colour), "blue");
    s.state = SENTINEL_CLONING;
    assert_int_equal(sentinel_write(data, &s, &err), 0);
    assert_int_equal(process_start(&r->ctx, BLUE, false, &err), -1);
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
    assert_int_equal(unlink("port"), 0);
    start(r, BLUE);
    /* a listener that nobody saw before the stop: */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(r->port[BLUE].first)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    pid_t late = fork();
    if (late == 0) {
        cleanup_free char *marker = x_asprintf("%s/runtime/blue/stop", r->dir);
        while (!sys_path_exists(marker))
            sys_sleep(NSEC_MS);
        sys_sleep(50 * NSEC_MS);
        _exit(listen(fd, 1) < 0);
    }
    r->spec[BLUE].stop.signal = SIGCONT; /* so that it takes its time */
    r->spec[BLUE].stop.grace = 200 * NSEC_MS;
    r->spec[BLUE].stop.kill = true;
    int result = process_stop(&r->ctx, BLUE, &err);
    waitpid(late, NULL, 0);
    close(fd);
    assert_int_equal(result, -1);
    assert_non_null(strstr(err.msg, "(rpc) is taken by process"));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "shim") == 0)
        return shim_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
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
        rigged(freeze_holds_it_and_thaw_says_how_long),
        rigged(a_freeze_ends_at_its_ceiling),
        rigged(a_freeze_ends_with_the_tool),
        rigged(a_frozen_instance_can_be_stopped),
        rigged(no_crash_of_a_start_leaves_an_instance),
        rigged(what_runs_is_adopted_untouched),
        rigged(differences_to_the_spec_are_named),
        rigged(nothing_is_adopted_that_cannot_be),
        rigged(a_supervised_process_is_refused),
        rigged(keepers_are_read_from_control_groups),
        rigged(boot_is_a_mark),
        rigged(a_record_of_another_boot_is_not_believed),
        rigged(data_must_be_its_own),
        rigged(equal_identities_never_start),
        rigged(arguments_and_version_are_checked_first),
        rigged(a_port_that_stays_taken_is_named),
    };
    /* Where nothing is allowed: no control groups, no other user, no lower niceness. */
    pid_t plain = getuid() == 0 ? fork() : -1;
    if (plain == 0) {
        if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1);
        _exit(cmocka_run_group_tests_name("as an unprivileged user", tests, NULL, NULL));
    }
    int failed = cmocka_run_group_tests_name("runtime", tests, NULL, NULL), status = 0;
    if (plain > 0 && waitpid(plain, &status, 0) == plain)
        failed += status != 0;
    return failed;
}
