/* Whose a process is when there is no control group to ask: descent, session, and the shim that
 * orphans come back to. */
#include "driver/runtime/run.h"

#include <string.h>

struct table {
    struct sys_task *v;
    size_t n, cap;
};

static int table_add(void *ctx, const struct sys_task *t)
{
    struct table *all = ctx;
    if (all->n == all->cap) {
        all->cap = all->cap ? all->cap * 2 : 512;
        all->v = x_realloc(all->v, all->cap, sizeof(*all->v));
    }
    all->v[all->n++] = *t;
    return 0;
}

struct family {
    const struct run *run;
    bool sid_ours; /* the session number still means our instance's */
    pid_t shim_sid;
};

static bool is_member(const struct family *f, const struct sys_task *t, const bool *member,
                      const struct table *all)
{
    if (t->pid == f->run->pid.pid)
        return t->start_ticks == f->run->pid.start_ticks;
    if (f->sid_ours && t->sid == f->run->pid.pid)
        return true;
    if (f->shim_sid && t->ppid == f->run->shim.pid && t->sid != f->shim_sid)
        return true;
    for (size_t i = 0; i < all->n; i++)
        if (member[i] && all->v[i].pid == t->ppid)
            return true;
    return false;
}

static struct family family_of(const struct run *r, const struct table *all)
{
    struct family f = {.run = r, .sid_ours = !r->adopted && r->pid.pid > 0};
    for (size_t i = 0; i < all->n; i++) {
        const struct sys_task *t = &all->v[i];
        if (t->pid == r->shim.pid && t->start_ticks == r->shim.start_ticks && !r->adopted)
            f.shim_sid = t->sid;
        /* Somebody else has our pid: then nobody of our session is left, or it would not be free.
         */
        if (t->pid == r->pid.pid && t->start_ticks != r->pid.start_ticks)
            f.sid_ours = false;
    }
    return f;
}

static void descendants(const struct run *r, struct proc_id *ids, size_t max, size_t *ret_n)
{
    struct table all = {0};
    if (sys_task_each(table_add, &all, NULL) < 0 || !all.n)
        return;
    cleanup_free bool *member = x_alloc(all.n * sizeof(*member));
    struct family f = family_of(r, &all);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < all.n; i++)
            if (!member[i] && is_member(&f, &all.v[i], member, &all))
                member[i] = more = true;
    }
    for (size_t i = 0; i < all.n && *ret_n < max; i++)
        if (member[i] && all.v[i].state != 'Z' && all.v[i].state != 'X')
            ids[(*ret_n)++] = (struct proc_id){all.v[i].pid, all.v[i].start_ticks};
    free(all.v);
}

void run_tree(const struct run *r, struct proc_id *ids, size_t max, size_t *ret_n)
{
    pid_t pids[RUN_TREE_MAX];
    size_t n = 0;
    *ret_n = 0;
    if (!r->cgroup.track[0]) {
        if (r->pid.pid > 0)
            descendants(r, ids, max, ret_n);
        return;
    }
    sys_cgroup_pids(&r->cgroup, pids, max < RUN_TREE_MAX ? max : RUN_TREE_MAX, &n);
    for (size_t i = 0; i < n; i++) {
        uint64_t ticks = sys_proc_start_ticks(pids[i]); /* 0: a zombie, or gone */
        if (ticks)
            ids[(*ret_n)++] = (struct proc_id){pids[i], ticks};
    }
}
