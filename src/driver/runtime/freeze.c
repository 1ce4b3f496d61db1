/* freeze: every process of the instance stands still, held by a helper of ours (driver/ice.h). */
#include "driver/ice.h"
#include "driver/runtime/process.h"
#include "sys/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct freezing {
    struct run run;
    struct proc_id stopped[RUN_TREE_MAX];
    size_t n;
};

static bool is_stopped(pid_t pid)
{
    struct sys_task t;
    return !sys_task_read(pid, &t) || t.state == 'T' || t.state == 'Z' || t.state == 'X';
}

/* Until a look finds nobody who runs: a process may fork between the look and its SIGSTOP. */
static int stop_each(struct freezing *f, nsec_t until)
{
    for (;;) {
        bool all = true;
        run_tree(&f->run, f->stopped, RUN_TREE_MAX, &f->n);
        for (size_t i = 0; i < f->n; i++) {
            if (is_stopped(f->stopped[i].pid))
                continue;
            all = false;
            if (sys_proc_signal(f->stopped[i], SIGSTOP) < 0)
                return -1;
        }
        if (all)
            return 0;
        if (sys_clock_mono() >= until) {
            errno = ETIMEDOUT;
            return -1;
        }
        sys_sleep(NSEC_MS);
    }
}

static int thaw_run(const struct run *r)
{
    if (r->cgroup.track[0]) {
        if (!sys_cgroup_frozen(&r->cgroup))
            return 0;
        return sys_cgroup_freeze(&r->cgroup, false, NSEC_S);
    }
    struct proc_id ids[RUN_TREE_MAX];
    size_t n = 0;
    int failed = 0;
    run_tree(r, ids, RUN_TREE_MAX, &n);
    for (size_t i = n; i-- > 0;) { /* children first: a shell notices nothing */
        struct sys_task t;
        if (sys_task_read(ids[i].pid, &t) && t.state == 'T' && sys_proc_signal(ids[i], SIGCONT) < 0)
            failed = errno;
    }
    errno = failed;
    return failed ? -1 : 0;
}

int process_thaw_all(const struct run *r, struct err *err)
{
    if (thaw_run(r) < 0)
        return err_sys(err, ERR_FAILED, "let the frozen instance go on");
    return 0;
}

static int freeze_run(void *ctx, nsec_t until)
{
    struct freezing *f = ctx;
    if (f->run.cgroup.track[0])
        return sys_cgroup_freeze(&f->run.cgroup, true, until - sys_clock_mono());
    return stop_each(f, until);
}

static int thaw_frozen(void *ctx)
{
    return thaw_run(&((const struct freezing *)ctx)->run);
}

int process_freeze(const struct driver_ctx *ctx, enum colour c, nsec_t ceiling, int *ret_fd,
                   struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    cleanup_free struct freezing *f = x_alloc(sizeof(*f));
    if (process_view(dir, v, err) < 0)
        return -1;
    if (!v->alive) {
        struct instance_facts facts;
        process_facts(dir, v, &facts);
        return err_set(err, ERR_FAILED, "freeze %s: it does not run (%s)", colour_name(c),
                       facts.text);
    }
    f->run = v->run;
    struct ice ice = {.what = colour_name(c), .ctx = f, .freeze = freeze_run, .thaw = thaw_frozen};
    if (ice_freeze(ctx, &ice, ceiling, ret_fd, err) == 0)
        return 0;
    (void)thaw_run(&v->run);
    return -1;
}

int process_thaw(const struct driver_ctx *ctx, enum colour c, int fd, nsec_t *ret_held_ns,
                 struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    enum ice_end end = ICE_ASKED;
    nsec_t held = 0;
    struct run r;
    if (fd >= 0)
        end = ice_thaw(ctx, fd, &held);
    /* Whatever the holder did or could not do: nothing stays frozen behind our back. */
    struct err none = {0};
    if (run_read(dir, &r, &none) == 0 && process_thaw_all(&r, err) < 0)
        return -1;
    if (ret_held_ns)
        *ret_held_ns = held;
    return ice_ended(end, colour_name(c), err);
}
