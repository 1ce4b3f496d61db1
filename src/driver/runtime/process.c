/* Runtime driver `process`: looks at an instance, sets its priorities, lists its processes. */
#include "driver/runtime/process.h"

#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <errno.h>
#include <string.h>

int process_view(const char *dir, struct process_view *ret, struct err *err)
{
    struct err none = {0};
    cleanup_free char *lock = run_path(dir, "lock"), *stop = run_path(dir, "stop");
    for (int tries = 0;; tries++) {
        ret->left_n = 0;
        ret->shim_alive = sys_lock_held(lock, NULL, 0);
        ret->recorded = run_read(dir, &ret->run, &none) == 0;
        if (!ret->recorded && none.code != ERR_NOT_FOUND) {
            if (err)
                *err = none;
            return -1;
        }
        if (!ret->recorded)
            ret->run = (struct run){.last_status = -1};
        ret->alive = ret->recorded && ret->run.pid.pid > 0 && sys_proc_alive(ret->run.pid);
        /* Just ended: its shim records that within a moment. */
        bool settled = ret->alive || !ret->shim_alive ||
                       (ret->run.phase != RUN_RUNNING && ret->run.phase != RUN_STARTING);
        if (settled || tries >= 20)
            break;
        sys_sleep(4 * NSEC_MS);
    }
    ret->stop_asked = sys_path_exists(stop);
    if (!ret->alive && ret->recorded)
        run_tree(&ret->run, ret->left, RUN_TREE_MAX, &ret->left_n);
    return 0;
}

static bool frozen(const struct run *r)
{
    struct sys_task t;
    if (r->cgroup.track[0])
        return sys_cgroup_frozen(&r->cgroup);
    return sys_task_read(r->pid.pid, &t) && t.state == 'T';
}

static void text_running(const struct process_view *v, struct instance_facts *f)
{
    char more[80] = "";
    const struct run *r = &v->run;
    if (r->restarts)
        snprintf(more, sizeof(more), ", restarted %d times, last status %d", r->restarts,
                 r->last_status);
    if (frozen(r))
        snprintf(more + strlen(more), sizeof(more) - strlen(more), ", frozen");
    if (r->adopted)
        snprintf(f->text, sizeof(f->text), "running as process %d, adopted%s", (int)r->pid.pid,
                 more);
    else if (!v->shim_alive)
        snprintf(f->text, sizeof(f->text),
                 "running as process %d without its shim (it was killed): no restart%s",
                 (int)r->pid.pid, more);
    else
        snprintf(f->text, sizeof(f->text), "running as process %d%s", (int)r->pid.pid, more);
}

static void text_exited(const struct run *r, struct instance_facts *f)
{
    char words[24];
    if (r->adopted || r->last_status < 0)
        snprintf(f->text, sizeof(f->text), "it ended by itself; with what status is not known, %s",
                 r->adopted ? "since it was adopted" : "since its shim was gone");
    else if (r->last_status > 128)
        snprintf(f->text, sizeof(f->text), "it ended by itself by signal %d after %s%s%s",
                 r->last_status - 128, clock_words(words, sizeof(words), r->ran_ns),
                 r->text[0] ? "; " : "", r->text);
    else
        snprintf(f->text, sizeof(f->text), "it ended by itself with status %d after %s%s%s",
                 r->last_status, clock_words(words, sizeof(words), r->ran_ns),
                 r->text[0] ? "; " : "", r->text);
}

static void facts_dead(const struct process_view *v, struct instance_facts *f)
{
    const struct run *r = &v->run;
    char boot[40];
    sys_boot_id(boot);
    f->pid = (struct proc_id){0};
    if (v->left_n) {
        f->state = INSTANCE_UNKNOWN;
        snprintf(f->text, sizeof(f->text),
                 "its main process is gone, but %zu of its processes still run (%d first)",
                 v->left_n, (int)v->left[0].pid);
    } else if (v->shim_alive && r->phase == RUN_WAITING) {
        f->state = INSTANCE_RUNNING;
        snprintf(f->text, sizeof(f->text), "ended with status %d, is started again (%d so far)",
                 r->last_status, r->restarts);
    } else if (v->shim_alive && r->phase != RUN_STOPPED && r->phase != RUN_EXITED) {
        f->state = INSTANCE_UNKNOWN;
        snprintf(f->text, sizeof(f->text), "its shim runs, its process does not");
    } else if (r->phase == RUN_STOPPED || v->stop_asked) {
        f->state = INSTANCE_STOPPED;
        snprintf(f->text, sizeof(f->text), "stopped");
    } else if (strcmp(boot, r->boot_id) != 0 && r->phase != RUN_EXITED) {
        f->state = INSTANCE_STOPPED;
        snprintf(f->text, sizeof(f->text), "the machine was restarted since");
    } else {
        f->state = INSTANCE_EXITED;
        text_exited(r, f);
    }
}

void process_facts(const char *dir, const struct process_view *v, struct instance_facts *f)
{
    cleanup_free char *boot = run_path(dir, "boot");
    *f = (struct instance_facts){.state = INSTANCE_STOPPED, .last_status = -1};
    snprintf(f->log_path, sizeof(f->log_path), "%s/log", dir);
    f->boot = sys_path_exists(boot);
    if (!v->recorded) {
        f->state = v->shim_alive ? INSTANCE_UNKNOWN : INSTANCE_STOPPED;
        snprintf(f->text, sizeof(f->text),
                 v->shim_alive ? "a shim is just starting it" : "never started");
        return;
    }
    f->pid = v->run.pid;
    f->started_wall_ns = v->run.started_wall_ns;
    f->exited_wall_ns = v->run.exited_wall_ns;
    f->restarts = v->run.restarts;
    f->last_status = v->run.last_status;
    f->adopted = v->run.adopted;
    memcpy(f->version, v->run.version, sizeof(f->version));
    if (v->alive && v->run.phase == RUN_STARTING) {
        f->state = INSTANCE_UNKNOWN;
        snprintf(f->text, sizeof(f->text), "process %d is just being started", (int)f->pid.pid);
    } else if (v->alive) {
        f->state = INSTANCE_RUNNING;
        text_running(v, f);
    } else {
        facts_dead(v, f);
    }
}

int process_inspect(const struct driver_ctx *ctx, enum colour c, struct instance_facts *ret,
                    struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    if (process_view(dir, v, err) < 0)
        return -1;
    process_facts(dir, v, ret);
    return 0;
}

int process_pids(const struct driver_ctx *ctx, enum colour c, pid_t *pids, size_t max,
                 size_t *ret_n, struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    if (process_view(dir, v, err) < 0)
        return -1;
    run_tree(&v->run, v->left, RUN_TREE_MAX, &v->left_n);
    *ret_n = 0;
    for (size_t i = 0; i < v->left_n && *ret_n < max; i++)
        pids[(*ret_n)++] = v->left[i].pid;
    return 0;
}

int process_boot(const struct driver_ctx *ctx, enum colour c, bool on, struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free char *path = run_path(dir, "boot");
    if (!on && !sys_path_exists(path))
        return 0;
    if (on && sys_dir_make(dir, 0700, err) < 0)
        return -1;
    if (on ? sys_file_touch(path, 0600, err) : sys_file_remove(path, err))
        return -1;
    return sys_dir_sync(dir, err);
}

/* A restart after this uses the new values too: they are in instance.json first. */
int process_priority(const struct driver_ctx *ctx, enum colour c, bool standby, struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    cleanup_launch struct launch l = {0};
    struct err none = {0};
    if (process_view(dir, v, err) < 0)
        return -1;
    if (v->run.adopted)
        return 0; /* it never was a standby of ours */
    if (launch_read(dir, &l, &none) == 0) {
        launch_priorities(&ctx->side[c]->runtime, standby, &l);
        if (launch_write(dir, &l, err) < 0)
            return -1;
    }
    launch_priorities(&ctx->side[c]->runtime, standby, &l);
    int failed = 0;
    run_tree(&v->run, v->left, RUN_TREE_MAX, &v->left_n);
    for (size_t i = 0; i < v->left_n; i++) {
        if (sys_task_nice(v->left[i].pid, l.nice) < 0 ||
            sys_task_ionice(v->left[i].pid, l.ioclass) < 0)
            failed = sys_proc_alive(v->left[i]) ? errno : failed;
    }
    if (v->run.cgroup.cpu[0] && v->left_n && sys_cgroup_weight(&v->run.cgroup, l.weight) < 0)
        failed = errno;
    if (v->run.cgroup.io[0] && v->left_n && l.io_weight &&
        sys_cgroup_io_weight(&v->run.cgroup, l.io_weight) < 0)
        failed = errno;
    if (failed)
        event_warn(
            ctx->sink,
            "%s does not get the priority of %s (nice %d was meant): %s; `renice` it as root",
            colour_name(c), standby ? "a standby" : "live", l.nice, strerror(failed));
    return 0;
}

const struct runtime_ops runtime_process = {
    .name = "process",
    .inspect = process_inspect,
    .validate = process_validate,
    .start = process_start,
    .stop = process_stop,
    .priority = process_priority,
    .freeze = process_freeze,
    .thaw = process_thaw,
    .boot = process_boot,
    .adopt = process_adopt,
    .pids = process_pids,
};
