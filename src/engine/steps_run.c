/* Steps that act on an instance: hooks, preflight, validate, start, boot, priority, stop. */
#include "driver/facts.h"
#include "engine/prober_trial.h"
#include "engine/sockets.h"

#include <stdio.h>
#include <string.h>

static int hook_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    const struct spec_hook *h = spec_hook(e->ctx.side[s->colour], s->hook);
    (void)result;
    return h ? driver_command(&e->ctx, &h->command, s->hook, s->colour, NULL, err) : 0;
}

const struct step_ops step_hook = {.apply = hook_apply};

static int check_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    struct instance_facts standby = {0};
    if (e->runtime->inspect(&e->ctx, s->colour, &standby, err) < 0)
        return -1;
    struct check_request rq = {
        .live = e->up->from,
        .goal_version = e->up->version_to,
        .live_version = e->up->version_from,
        .measure = standby.state != INSTANCE_RUNNING, /* the clone is made already then */
        .standby_runs = standby.state == INSTANCE_RUNNING,
        .other_state_dirs = e->other_state_dirs,
    };
    struct findings f = {0};
    int r = check_run(&e->ctx, &rq, &f, err);
    if (r == 0)
        r = prober_trial(&e->ctx, e->up->from, s->colour, &f, err);
    size_t errors = findings_count(&f, FINDING_ERROR);
    for (size_t i = 0; r == 0 && i < f.n; i++) {
        const struct finding *it = &f.items[i];
        if (it->level == FINDING_WARNING)
            event_warn(&e->tee, "%s: %s", it->topic, it->text);
        if (it->level != FINDING_ERROR)
            continue;
        if (err->code == ERR_NONE) {
            err_set(err, ERR_FAILED, "%s: %s%s", it->topic, it->text,
                    errors > 1 ? " (and more: changeover check)" : "");
            err_hint(err, "%s", it->mend ? it->mend : "changeover check");
        }
        r = 0;
    }
    snprintf(result, STEP_RESULT, "%zu looked at, %zu warnings", f.n,
             findings_count(&f, FINDING_WARNING));
    findings_done(&f);
    return r < 0 || errors ? -1 : 0;
}

const struct step_ops step_check = {.apply = check_apply};

static int validate_apply(struct engine *e, const struct plan_step *s, char *result,
                          struct err *err)
{
    (void)result;
    return e->runtime->validate(&e->ctx, s->colour, *e->up->version_to ? e->up->version_to : NULL,
                                err);
}

const struct step_ops step_validate = {.apply = validate_apply};

static int boot_on(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    (void)result;
    return e->runtime->boot(&e->ctx, s->colour, true, err);
}

static int boot_off(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    (void)result;
    return e->runtime->boot(&e->ctx, s->colour, false, err);
}

static int boot_on_undo(struct engine *e, const struct plan_step *s, struct err *err)
{
    return e->runtime->boot(&e->ctx, s->colour, false, err);
}

static int boot_off_undo(struct engine *e, const struct plan_step *s, struct err *err)
{
    return e->runtime->boot(&e->ctx, s->colour, true, err);
}

const struct step_ops step_boot_on = {.apply = boot_on, .undo = boot_on_undo};
const struct step_ops step_boot_off = {.apply = boot_off, .undo = boot_off_undo};

static int running(struct engine *e, const struct plan_step *s, struct err *err)
{
    struct instance_facts f = {0};
    if (e->runtime->inspect(&e->ctx, s->colour, &f, err) < 0)
        return -1;
    return f.state == INSTANCE_RUNNING;
}

/* The new colour, as long as it does not have the traffic (any more). */
static bool is_standby(const struct engine *e, const struct plan_step *s)
{
    return s->colour == e->up->to && !e->up->flipped;
}

static int start_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    if (e->runtime->start(&e->ctx, s->colour, is_standby(e, s), err) < 0)
        return -1;
    struct instance_facts f = {0};
    if (e->runtime->inspect(&e->ctx, s->colour, &f, err) < 0)
        return -1;
    if (f.log_path[0])
        snprintf(result, STEP_RESULT, "%s runs as pid %d, log %.180s", colour_name(s->colour),
                 (int)f.pid.pid, f.log_path);
    else
        snprintf(result, STEP_RESULT, "%s runs: %.200s", colour_name(s->colour), f.text);
    return 0;
}

static int remove_instance(struct engine *e, enum colour c, struct err *err)
{
    return e->runtime->remove ? e->runtime->remove(&e->ctx, c, err) : 0;
}

/* Of a side that has run before, what keeps it stays for its next start. */
static int stop_undoing(struct engine *e, const struct plan_step *s, struct err *err)
{
    if (e->runtime->stop(&e->ctx, s->colour, err) < 0)
        return -1;
    return is_standby(e, s) ? remove_instance(e, s->colour, err) : 0;
}

static int remove_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    (void)result;
    return remove_instance(e, s->colour, err);
}

const struct step_ops step_remove = {.apply = remove_apply};

const struct step_ops step_start = {
    .check = running, .apply = start_apply, .undo = stop_undoing, .fleeting = true};

static int stopped(struct engine *e, const struct plan_step *s, struct err *err)
{
    struct instance_facts f = {0};
    if (e->runtime->inspect(&e->ctx, s->colour, &f, err) < 0)
        return -1;
    return f.state == INSTANCE_STOPPED;
}

static int stop_apply(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    /* Failover must not send requests to a side that goes away. */
    if (e->traffic && e->traffic->failover(&e->ctx, false, err) < 0)
        return -1;
    sockets_stopping(e, s->colour);
    if (e->runtime->stop(&e->ctx, s->colour, err) < 0) {
        if (err->code == ERR_TIMEOUT)
            err->code = ERR_GATE;
        return -1;
    }
    snprintf(result, STEP_RESULT, "%s is gone, its ports are free", colour_name(s->colour));
    return 0;
}

const struct step_ops step_stop = {.check = stopped, .apply = stop_apply};

static int priority_apply(struct engine *e, const struct plan_step *s, char *result,
                          struct err *err)
{
    (void)result;
    return e->runtime->priority(&e->ctx, s->colour, is_standby(e, s), err);
}

const struct step_ops step_priority = {.apply = priority_apply};
