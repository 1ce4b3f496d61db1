/* freeze: every process of the instance stands still, held by a helper of ours (driver/ice.h). */
#include "driver/ice.h"
#include "driver/runtime/process.h"
#include "sys/clock.h"

#include <errno.h>
#include <signal.h>

struct look {
    struct proc_id ids[RUN_TREE_MAX];
    size_t n;
};

static bool has(const struct look *l, struct proc_id id)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->ids[i].pid == id.pid && l->ids[i].start_ticks == id.start_ticks)
            return true;
    return false;
}

/* 1: all of them were stopped before this look began, so none had a child meanwhile. */
static int stop_who_runs(const struct look *now, const struct look *before, struct look *stopped)
{
    bool all = true;
    stopped->n = 0;
    for (size_t i = 0; i < now->n; i++) {
        struct proc_id id = now->ids[i];
        if (sys_task_stopped(id.pid)) {
            all &= has(before, id);
            stopped->ids[stopped->n++] = id;
            continue;
        }
        all = false;
        if (sys_proc_signal(id, SIGSTOP) < 0)
            return -1;
    }
    return all;
}

static int stop_each(const struct run *r, nsec_t until)
{
    struct look now, stopped[2] = {{.n = 0}, {.n = 0}};
    for (unsigned turn = 0;; turn++) {
        run_tree(r, now.ids, RUN_TREE_MAX, &now.n);
        if (now.n == RUN_TREE_MAX) {
            errno = E2BIG;
            return -1;
        }
        int all = stop_who_runs(&now, &stopped[turn % 2], &stopped[(turn + 1) % 2]);
        if (all)
            return all < 0 ? -1 : 0;
        if (sys_clock_mono() >= until) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (stopped[(turn + 1) % 2].n < now.n)
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
    const struct run *r = ctx;
    if (r->cgroup.track[0])
        return sys_cgroup_freeze(&r->cgroup, true, until - sys_clock_mono());
    return stop_each(r, until);
}

static int thaw_frozen(void *ctx)
{
    return thaw_run(ctx);
}

int process_freeze(const struct driver_ctx *ctx, enum colour c, nsec_t ceiling, int *ret_fd,
                   struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    if (process_view(dir, v, err) < 0)
        return -1;
    if (!v->alive) {
        struct instance_facts facts;
        process_facts(dir, v, &facts);
        return err_set(err, ERR_FAILED, "freeze %s: it does not run (%s)", colour_name(c),
                       facts.text);
    }
    struct ice ice = {
        .what = colour_name(c), .ctx = &v->run, .freeze = freeze_run, .thaw = thaw_frozen};
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
