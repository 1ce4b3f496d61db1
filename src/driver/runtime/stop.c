/* stop: asks, waits, kills if allowed, and proves that nothing of the instance is left.
 *
 * DIR/stop is written first, so that the shim starts nothing again however it ends. The tool
 * signals and the shim only records, so it works the same without a shim and for an adopted
 * process. */
#include "driver/runtime/ports.h"
#include "driver/runtime/process.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define GRACE_DEFAULT (30 * NSEC_S)
#define KILL_PATIENCE (10 * NSEC_S)
#define SHIM_PATIENCE (5 * NSEC_S)
#define PROGRESS_EVERY NSEC_S

/* Everything that was ever seen of it: without a control group, a process whose parent ended is
 * found again only if it was seen before. */
struct seen {
    struct proc_id ids[RUN_TREE_MAX];
    size_t n;
};

struct stopping {
    const struct driver_ctx *ctx;
    const struct spec *spec;
    enum colour c;
    const char *dir;
    struct run run;
    struct seen *seen;
    nsec_t began, said;
};

static void look(struct stopping *s)
{
    struct proc_id now[RUN_TREE_MAX];
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < s->seen->n; i++)
        if (sys_proc_alive(s->seen->ids[i]))
            s->seen->ids[kept++] = s->seen->ids[i];
    s->seen->n = kept;
    run_tree(&s->run, now, RUN_TREE_MAX, &n);
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < kept && !known; k++)
            known = s->seen->ids[k].pid == now[i].pid;
        if (!known && s->seen->n < RUN_TREE_MAX)
            s->seen->ids[s->seen->n++] = now[i];
    }
}

static void signal_all(struct stopping *s, int sig)
{
    for (size_t i = 0; i < s->seen->n; i++)
        (void)sys_proc_signal(s->seen->ids[i], sig);
}

static void say_progress(struct stopping *s, nsec_t limit)
{
    char text[96];
    nsec_t now = sys_clock_mono();
    if (now - s->said < PROGRESS_EVERY)
        return;
    s->said = now;
    snprintf(text, sizeof(text), "%s stops, %zu of its processes left", colour_name(s->c),
             s->seen->n);
    event_progress(s->ctx->sink, text, (double)(now - s->began) / (double)NSEC_S,
                   (double)limit / (double)NSEC_S, "seconds", 0, -1);
}

/* 1 nothing is left; 0 not in time; -1 interrupted. When the main process is gone, what is left is
 * asked too. */
static int wait_empty(struct stopping *s, nsec_t until, nsec_t limit, int sig, struct err *err)
{
    bool asked_rest = false;
    for (nsec_t nap = 2 * NSEC_MS;; nap = nap < 50 * NSEC_MS ? nap * 2 : nap) {
        look(s);
        if (s->seen->n == 0)
            return 1;
        if (sys_clock_mono() >= until)
            return 0;
        if (driver_poll(s->ctx) >= 2)
            return err_set(err, ERR_INTERRUPTED, "interrupted while %s stops", colour_name(s->c));
        if (!asked_rest && sig && !sys_proc_alive(s->run.pid)) {
            signal_all(s, sig);
            asked_rest = true;
        }
        say_progress(s, limit);
        sys_sleep(nap);
    }
}

static void ask(struct stopping *s)
{
    struct err err = {0};
    int sig = s->spec->stop.signal ? s->spec->stop.signal : SIGTERM;
    if (s->spec->stop.command.argv.n) {
        if (driver_command(s->ctx, &s->spec->stop.command, "stop.command", s->c, NULL, &err) == 0)
            return;
        event_warn(s->ctx->sink, "%s; signal %d is sent instead", err.msg, sig);
    }
    if (sys_proc_alive(s->run.pid))
        (void)sys_proc_signal(s->run.pid, sig);
    else
        signal_all(s, sig);
}

static int not_gone(struct stopping *s, struct err *err)
{
    struct sys_task t = {0};
    char words[24];
    (void)sys_task_read(s->seen->ids[0].pid, &t);
    err_set(err, ERR_TIMEOUT, "%s still runs after %s: process %d (%s) and %zu more do not end",
            colour_name(s->c), clock_words(words, sizeof(words), sys_clock_mono() - s->began),
            (int)t.pid, t.comm, s->seen->n - 1);
    if (!s->spec->stop.kill)
        return err_hint(err,
                        "look at why, then the same command again; or end it with `kill -9 %d`, or "
                        "write `kill: true` under stop in the spec",
                        (int)t.pid);
    return -1;
}

static int kill_all(struct stopping *s, struct err *err)
{
    nsec_t until = sys_clock_mono() + KILL_PATIENCE;
    event_warn(s->ctx->sink, "%s did not end in its grace: SIGKILL to its %zu processes",
               colour_name(s->c), s->seen->n);
    do {
        if (s->run.cgroup.track[0])
            (void)sys_cgroup_kill(&s->run.cgroup);
        signal_all(s, SIGKILL);
        int r = wait_empty(s, sys_clock_mono() + 100 * NSEC_MS, KILL_PATIENCE, 0, err);
        if (r)
            return r < 0 ? -1 : 0;
    } while (sys_clock_mono() < until);
    return not_gone(s, err);
}

/* Restarted between our look and the marker: the new process counts. */
static int refresh(struct stopping *s, struct err *err)
{
    struct run now;
    if (run_read(s->dir, &now, err) < 0)
        return -1;
    s->run = now;
    return 0;
}

/* The shim records the end and leaves; one that does not is ended. 1: it had just started the
 * instance again. */
static int shim_leaves(struct stopping *s, struct err *err)
{
    nsec_t until = sys_clock_mono() + SHIM_PATIENCE;
    struct proc_id shim = s->run.shim;
    bool ours = !s->run.adopted && shim.pid > 0;
    if (ours)
        (void)sys_proc_signal(shim, SIGTERM); /* it may be waiting before a restart */
    while (ours && sys_proc_alive(shim)) {
        if (refresh(s, err) < 0)
            return -1;
        if (sys_proc_alive(s->run.pid))
            return 1;
        if (sys_clock_mono() >= until)
            (void)sys_proc_signal(shim, SIGKILL);
        (void)sys_proc_wait_gone(shim, sys_clock_mono() + 20 * NSEC_MS);
    }
    if (refresh(s, err) < 0)
        return -1;
    if (s->run.phase == RUN_STOPPED)
        return 0;
    if (s->run.phase == RUN_RUNNING || s->run.phase == RUN_STARTING)
        s->run.exited_wall_ns = sys_clock_wall();
    s->run.phase = RUN_STOPPED;
    return run_write(s->dir, &s->run, err);
}

static int end_processes(struct stopping *s, struct err *err)
{
    nsec_t grace = s->spec->stop.grace > 0 ? s->spec->stop.grace : GRACE_DEFAULT;
    int sig = s->spec->stop.signal ? s->spec->stop.signal : SIGTERM;
    look(s);
    if (s->seen->n == 0)
        return 0;
    ask(s);
    int r = wait_empty(s, s->began + grace, grace, sig, err);
    if (r < 0)
        return -1;
    if (r == 0)
        return s->spec->stop.kill ? kill_all(s, err) : not_gone(s, err);
    return 0;
}

static int stop_running(struct stopping *s, struct err *err)
{
    struct port_holders before = {0};
    int again = 1;
    if (process_thaw_all(&s->run, err) < 0 || refresh(s, err) < 0)
        return -1;
    look(s);
    ports_held(s->spec, s->seen->ids, s->seen->n, &before);
    for (int tries = 0; again && tries < 5; tries++) {
        if (end_processes(s, err) < 0)
            return -1;
        (void)sys_fault_point("runtime/stop:gone");
        again = shim_leaves(s, err);
        if (again < 0)
            return -1;
    }
    look(s);
    if (s->seen->n)
        return not_gone(s, err);
    sys_cgroup_remove(&s->run.cgroup);
    return ports_proof(s->ctx, s->c, &before, err);
}

int process_stop(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free char *marker = run_path(dir, "stop");
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    cleanup_free struct seen *seen = x_alloc(sizeof(*seen));
    if (process_view(dir, v, err) < 0)
        return -1;
    if (!v->recorded && !v->shim_alive)
        return 0; /* never started */
    if (sys_file_touch(marker, 0600, err) < 0 || sys_dir_sync(dir, err) < 0)
        return -1;
    struct stopping s = {.ctx = ctx,
                         .spec = ctx->side[c],
                         .c = c,
                         .dir = dir,
                         .run = v->run,
                         .seen = seen,
                         .began = sys_clock_mono()};
    s.said = s.began;
    if (!v->alive && !v->left_n && !v->shim_alive) {
        sys_cgroup_remove(&s.run.cgroup);
        return v->run.phase == RUN_STOPPED || shim_leaves(&s, err) == 0 ? 0 : -1;
    }
    if (!v->recorded) { /* a shim that has not stored anything lives only as long as its starter */
        cleanup_free char *lock = run_path(dir, "lock");
        nsec_t until = sys_clock_mono() + SHIM_PATIENCE;
        while (sys_lock_held(lock, NULL, 0) && sys_clock_mono() < until)
            sys_sleep(10 * NSEC_MS);
        return process_view(dir, v, err) < 0 ? -1 : v->recorded ? process_stop(ctx, c, err) : 0;
    }
    return stop_running(&s, err);
}
