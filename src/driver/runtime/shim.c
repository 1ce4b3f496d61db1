#include "driver/runtime/shim.h"

#include "driver/runtime/run.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>

#define STARTER_FD 3
#define RESTART_WINDOW (10 * NSEC_MIN)
#define RESTARTS_SEEN 64
#define LEFTOVER_GRACE (5 * NSEC_S)

struct shim {
    const char *dir;
    struct launch launch;
    struct run run;
    int lock_fd, pipe_r, pipe_w;
    pid_t logger;
    bool asked; /* SIGTERM: no restart any more */
    nsec_t started_mono, restart_at;
    nsec_t recent[RESTARTS_SEEN]; /* when it was restarted */
    size_t recent_n;
};

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n > 0)
        (void)sys_send(STARTER_FD, line, strlen(line));
}

/* A line of ours among the instance's own. */
static void remark(const struct shim *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void remark(const struct shim *s, const char *fmt, ...)
{
    char line[512], words[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);
    int n = snprintf(line, sizeof(line), "[changeover] %s\n", words);
    if (n > 0 && sys_pipe_waiting(s->pipe_r) < 32768) /* never block on it */
        (void)sys_write_all(s->pipe_w, line, strlen(line));
}

static void logger_run(void *ctx, int fd)
{
    const struct shim *s = ctx;
    sys_name_self("changeover-log");
    shim_log_copy(fd, s->launch.log, s->launch.log_max, s->launch.log_keep);
}

/* It is apart from us so that our death does not leave the instance with a pipe that nobody reads.
 */
static void logger_start(struct shim *s)
{
    s->logger = sys_child_start(logger_run, s, s->pipe_r);
}

static bool stop_wanted(const struct shim *s)
{
    cleanup_free char *path = run_path(s->dir, "stop");
    return s->asked || sys_path_exists(path);
}

static void record(struct shim *s)
{
    struct err err = {0};
    if (run_write(s->dir, &s->run, &err) < 0)
        remark(s, "%s", err.msg);
}

static struct sys_launch launch_of(const struct shim *s)
{
    static char *const no_env[] = {NULL};
    const struct launch *l = &s->launch;
    return (struct sys_launch){
        .exe = l->exe,
        .argv = l->argv.v,
        .envp = l->env.n ? l->env.v : no_env,
        .cwd = l->cwd[0] ? l->cwd : NULL,
        .limits = l->limits,
        .limits_n = l->limits_n,
        .groups = l->groups,
        .groups_n = l->groups_n,
        .uid = l->uid,
        .gid = l->gid,
        .set_ids = l->set_ids,
        .umask = l->umask,
        .nice = l->nice,
        .ioclass = l->ioclass,
        .out_fd = s->pipe_w,
    };
}

static void group_join(struct shim *s)
{
    struct sys_cgroup *g = &s->run.cgroup;
    if (!sys_cgroup_make(s->launch.cgroup, s->launch.io_weight > 0, g))
        return;
    if (sys_cgroup_frozen(g)) /* left so by a freeze whose holder and instance were both killed */
        (void)sys_cgroup_freeze(g, false, NSEC_S);
    if (sys_cgroup_join(g, s->run.pid.pid) < 0) {
        sys_cgroup_remove(g);
        *g = (struct sys_cgroup){0};
        return;
    }
    if (s->launch.weight > 0)
        (void)sys_cgroup_weight(g, s->launch.weight);
    if (g->io[0])
        (void)sys_cgroup_io_weight(g, s->launch.io_weight);
}

/* A child that waits, in its group, known on disk. */
static int child_commit(struct shim *s, const struct sys_launch *l, struct sys_held *held,
                        struct err *err)
{
    if (sys_launch_held(l, held, err) < 0)
        return -1;
    s->run.phase = RUN_STARTING;
    s->run.pid = held->id;
    s->run.started_wall_ns = sys_clock_wall();
    group_join(s);
    if (sys_fault_point("runtime/shim:forked") < 0 || run_write(s->dir, &s->run, err) < 0) {
        sys_held_drop(held);
        return -1;
    }
    remark(s, "process %d%s%s%s", (int)held->id.pid,
           s->run.restarts ? ", started again" : " is started",
           s->launch.version[0] ? ", version " : "", s->launch.version);
    (void)sys_fault_point("runtime/shim:recorded");
    return 0;
}

static void child_runs(struct shim *s)
{
    s->run.phase = RUN_RUNNING;
    s->started_mono = sys_clock_mono();
    snprintf(s->run.text, sizeof(s->run.text), "%s", "");
    record(s);
}

static bool starter_agrees(void)
{
    char byte = 0;
    tell("C\n");
    return sys_read(STARTER_FD, &byte, 1) == 1 && byte == 'g';
}

/* The first start, under the eyes of whoever asked for it. */
static int first_start(struct shim *s, struct err *err)
{
    struct sys_launch l = launch_of(s);
    struct sys_held held;
    if (child_commit(s, &l, &held, err) < 0)
        return -1;
    bool go = starter_agrees();
    if (!go)
        sys_held_drop(&held);
    if (!go || sys_held_go(&held, &l, err) < 0) {
        s->run.phase = RUN_STOPPED;
        s->run.pid = (struct proc_id){0};
        snprintf(s->run.text, sizeof(s->run.text), "it was never let go");
        sys_cgroup_remove(&s->run.cgroup);
        s->run.cgroup = (struct sys_cgroup){0};
        record(s);
        return go ? -1 : err_set(err, ERR_FAILED, "the starter went away");
    }
    child_runs(s);
    return 0;
}

/* What a crashed run left behind would keep its ports. */
static void end_leftovers(struct shim *s)
{
    nsec_t deadline = sys_clock_mono() + LEFTOVER_GRACE;
    for (int round = 0;; round++) {
        struct proc_id ids[RUN_TREE_MAX];
        size_t n = 0;
        run_tree(&s->run, ids, RUN_TREE_MAX, &n);
        bool late = sys_clock_mono() >= deadline;
        if (!n || (late && !s->launch.kill) || sys_clock_mono() >= deadline + LEFTOVER_GRACE)
            return;
        for (size_t i = 0; i < n && (round == 0 || late); i++)
            (void)sys_proc_signal(ids[i], late ? SIGKILL : SIGTERM);
        sys_sleep(20 * NSEC_MS);
        int status;
        for (pid_t pid; (pid = sys_wait_any(&status)) > 0;)
            if (pid == s->logger)
                logger_start(s);
    }
}

static bool may_restart(struct shim *s)
{
    nsec_t now = sys_clock_mono();
    size_t kept = 0;
    for (size_t i = 0; i < s->recent_n; i++)
        if (now - s->recent[i] < RESTART_WINDOW)
            s->recent[kept++] = s->recent[i];
    s->recent_n = kept;
    if (s->launch.restart == RESTART_NEVER ||
        (s->launch.restart == RESTART_ON_FAILURE && s->run.last_status == 0))
        return false;
    if (kept >= RESTARTS_SEEN || (int)kept >= s->launch.restart_max) {
        snprintf(s->run.text, sizeof(s->run.text),
                 "restarted %d times within 10 minutes: it stays down", (int)kept);
        return false;
    }
    return true;
}

/* Decides what follows an end; true: a restart. */
static bool child_ended(struct shim *s, int status)
{
    char words[24];
    nsec_t patience = sys_clock_mono() + 300 * NSEC_MS;
    s->run.ran_ns = sys_clock_mono() - s->started_mono;
    s->run.exited_wall_ns = sys_clock_wall();
    s->run.last_status = status;
    remark(s, "ended with status %d after %s", status,
           clock_words(words, sizeof(words), s->run.ran_ns));
    while (sys_pipe_waiting(s->pipe_r) && sys_clock_mono() < patience)
        sys_sleep(NSEC_MS); /* its last words are in the log before anybody reads of its end */
    if (stop_wanted(s))
        s->run.phase = RUN_STOPPED;
    else if (may_restart(s))
        s->run.phase = RUN_WAITING;
    else
        s->run.phase = RUN_EXITED;
    s->restart_at = sys_clock_mono() + s->launch.restart_delay;
    record(s);
    return s->run.phase == RUN_WAITING;
}

static int start_again(struct shim *s, struct err *err)
{
    struct sys_held held;
    end_leftovers(s);
    (void)!launch_read(s->dir, &s->launch, NULL); /* promoted since: other priorities */
    s->run.restarts++;
    s->recent[s->recent_n++] = sys_clock_mono();
    struct sys_launch l = launch_of(s);
    if (child_commit(s, &l, &held, err) < 0 || sys_held_go(&held, &l, err) < 0)
        return -1;
    child_runs(s);
    return 0;
}

static bool reap(struct shim *s)
{
    int status;
    pid_t pid;
    bool goes_on = true;
    while ((pid = sys_wait_any(&status)) > 0) {
        if (pid == s->run.pid.pid && s->run.phase == RUN_RUNNING)
            goes_on = child_ended(s, status);
        else if (pid == s->logger)
            logger_start(s);
    }
    return goes_on;
}

static void watch(struct shim *s)
{
    for (;;) {
        nsec_t wait = NSEC_HOUR;
        if (s->run.phase == RUN_WAITING) {
            wait = s->restart_at - sys_clock_mono();
            wait = wait > 0 ? wait : 0;
        }
        s->asked = sys_signal_next(wait) == SIGTERM || s->asked;
        if (!reap(s))
            return;
        if (s->run.phase != RUN_WAITING)
            continue;
        struct err err = {0};
        if (stop_wanted(s)) {
            s->run.phase = RUN_STOPPED;
            record(s);
            return;
        }
        if (sys_clock_mono() >= s->restart_at && start_again(s, &err) < 0) {
            remark(s, "%s", err.msg);
            s->started_mono = sys_clock_mono();
            if (!child_ended(s, 127))
                return;
        }
    }
}

static int shim_setup(struct shim *s, struct err *err)
{
    int fds[2];
    char label[256];
    if (launch_read(s->dir, &s->launch, err) < 0)
        return -1;
    cleanup_free char *lock = run_path(s->dir, "lock");
    s->run.shim = sys_proc_self();
    snprintf(label, sizeof(label), "the shim of %s/%s, pid %d, started %lld (seconds since 1970)",
             s->launch.service, s->launch.colour, (int)s->run.shim.pid,
             (long long)(sys_clock_wall() / NSEC_S));
    /* A shim that is just leaving has recorded its end already. */
    if (sys_lock_take(lock, label, sys_clock_mono() + 2 * NSEC_S, &s->lock_fd, err) < 0)
        return -1;
    sys_boot_id(s->run.boot_id);
    snprintf(s->run.version, sizeof(s->run.version), "%s", s->launch.version);
    snprintf(s->run.spec_hash, sizeof(s->run.spec_hash), "%s", s->launch.spec_hash);
    s->run.last_status = -1;
    if (sys_pipe(fds) < 0)
        return err_sys(err, ERR_FAILED, "make a pipe for the log");
    s->pipe_r = fds[0];
    s->pipe_w = fds[1];
    logger_start(s);
    return s->logger > 0 ? 0 : err_sys(err, ERR_FAILED, "start the log's process");
}

int shim_main(const char *dir)
{
    struct shim s = {.dir = dir, .lock_fd = -1, .pipe_r = -1, .pipe_w = -1};
    struct err err = {0};
    sys_name_self("changeover-shim");
    sys_signals_hold();
    sys_become_subreaper();
    sys_keep_from_children(STARTER_FD);
    sys_cgroup_leave_unit();
    if (shim_setup(&s, &err) < 0 || first_start(&s, &err) < 0) {
        tell("E%s\n", err.msg);
        launch_done(&s.launch);
        return 1;
    }
    tell("R\n");
    int starter = STARTER_FD;
    sys_close_p(&starter);
    watch(&s);
    sys_cgroup_remove(&s.run.cgroup); /* stays if something of it still runs */
    launch_done(&s.launch);
    return 0;
}
