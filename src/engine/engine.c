#include "engine/engine.h"

#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/term.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CHILD_WAIT (30 * NSEC_S) /* for a program that a killed run has left */
#define CHILDREN_MAX 16

static const struct step_ops *const ops_of[ACT_MAX] = {
    [ACT_HOOK] = &step_hook,           [ACT_CHECK] = &step_check,
    [ACT_VALIDATE] = &step_validate,   [ACT_CLONE] = &step_clone,
    [ACT_BOOT_ON] = &step_boot_on,     [ACT_BOOT_OFF] = &step_boot_off,
    [ACT_START] = &step_start,         [ACT_GATE] = &step_gate,
    [ACT_PREVIEW] = &step_preview,     [ACT_FLIP] = &step_flip,
    [ACT_VERIFY] = &step_verify,       [ACT_PRIORITY] = &step_priority,
    [ACT_BAKE] = &step_bake,           [ACT_DRAIN] = &step_drain,
    [ACT_STOP] = &step_stop,           [ACT_DESTROY] = &step_destroy,
    [ACT_FORGET] = &step_forget,       [ACT_FITS] = &step_fits,
    [ACT_CLEAR] = &step_clear,         [ACT_HOLD] = &step_hold,
    [ACT_RELEASE] = &step_release,     [ACT_LET_GO] = &step_let_go,
    [ACT_GIVE_BACK] = &step_give_back, [ACT_SHADOW] = &step_shadow,
    [ACT_PROBE] = &step_probe,         [ACT_BASELINE] = &step_baseline,
    [ACT_RETIRE] = &step_retire,       [ACT_WEBSOCKETS] = &step_websockets,
    [ACT_AHEAD] = &step_ahead,         [ACT_REMOVE] = &step_remove,
};

/* Events go to the screen and, but for progress, to the journal. */
static void tee(void *ctx, const struct event *ev)
{
    struct engine *e = ctx;
    struct event stamped = *ev;
    if (!stamped.step && e->step)
        stamped.step = e->step->name;
    stamped.wall_ns = sys_clock_wall();
    event_emit(e->out, &stamped);
    struct err ignored = {0}; /* what cannot be told must not stop what is done */
    if (ev->kind != EVENT_PROGRESS && journal_event(e->j, e->up->id, &stamped, &ignored) < 0)
        return;
}

/* While a command holds the lock, its own waits do the guard's duties. */
static int poll_duties(void *ctx)
{
    struct engine *e = ctx;
    bool waits = e->step && (e->step->action == ACT_GATE || e->step->action == ACT_CLONE);
    if (waits && sys_clock_mono() >= e->space_looked + NSEC_S) {
        e->space_looked = sys_clock_mono();
        e->space_low = engine_space_low(e);
    }
    /* Requests wait: nothing may take longer than they were promised. */
    if (e->hold_until && sys_clock_mono() >= e->hold_until)
        e->hold_over = true;
    return e->hold_over ? 2 : e->space_low ? 1 : sys_interrupted();
}

static int note_child(void *ctx, struct proc_id id, struct err *err)
{
    struct engine *e = ctx;
    return journal_child_note(e->j, e->up->id, e->step ? e->step->name : "", id, err);
}

void engine_init(struct engine *e)
{
    e->tee = (struct sink){.fn = tee, .ctx = e};
    e->ctx.sink = &e->tee;
    e->ctx.poll = poll_duties;
    e->ctx.poll_ctx = e;
    e->ctx.note_child = note_child;
    e->ctx.note_ctx = e;
    e->ctx.upgrade_id = e->up->id;
}

static void emit(struct engine *e, enum event_kind kind, const struct plan_step *s,
                 const char *text, nsec_t took)
{
    event_emit(&e->tee,
               &(struct event){.kind = kind, .step = s->name, .text = text, .took_ns = took});
}

static int fault(const struct plan_step *s, const char *moment, struct err *err)
{
    char point[128];
    snprintf(point, sizeof(point), "%s:%s", s->name, moment);
    if (sys_fault_point(point) < 0)
        return err_sys(err, ERR_FAILED, "fault point %s", point);
    return 0;
}

/* A killed run may have left a program of this step (NULL: of any): wait for it, then end it. */
static int settle_children(struct engine *e, const char *step, struct err *err)
{
    struct proc_id id[CHILDREN_MAX];
    size_t n;
    if (journal_children(e->j, e->up->id, step, id, CHILDREN_MAX, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (!sys_proc_alive(id[i]))
            continue;
        event_note(&e->tee, "waiting for pid %d, which an interrupted run has left",
                   (int)id[i].pid);
        if (sys_proc_wait_gone(id[i], sys_clock_mono() + CHILD_WAIT))
            continue;
        if (sys_proc_signal(id[i], SIGKILL) < 0 ||
            !sys_proc_wait_gone(id[i], sys_clock_mono() + 5 * NSEC_S))
            return err_sys(err, ERR_HALFWAY, "pid %d of an interrupted %s does not end",
                           (int)id[i].pid, step ? step : "step");
    }
    return 0;
}

int engine_settle(struct engine *e, struct err *err)
{
    return settle_children(e, NULL, err);
}

static int finish_step(struct engine *e, const struct plan_step *s, const char *result, nsec_t took,
                       struct err *err)
{
    if (fault(s, "applied", err) < 0 ||
        journal_step_end(e->j, e->up->id, s->name, STEP_DONE, result, err) < 0)
        return -1;
    emit(e, EVENT_STEP_DONE, s, *result ? result : s->effect, took);
    return fault(s, "done", err);
}

static int undo_step(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct step_ops *ops = ops_of[s->action];
    if (ops->undo) {
        event_note(&e->tee, "undoing %s: %s", s->name, *s->undo ? s->undo : s->effect);
        if (settle_children(e, s->name, err) < 0 || ops->undo(e, s, err) < 0)
            return err_ctx(err, "undo %s", s->name);
    }
    return journal_step_end(e->j, e->up->id, s->name, STEP_UNDONE, "", err);
}

/* A failed step takes its own half-made effect back where it can. */
static int fail_step(struct engine *e, const struct plan_step *s, nsec_t took, struct err *err)
{
    emit(e, EVENT_STEP_FAIL, s, err->msg, took);
    const struct step_ops *ops = ops_of[s->action];
    struct err undo_err = {0};
    if (ops->undo && s->action == ACT_CLONE && undo_step(e, s, &undo_err) < 0)
        event_warn(&e->tee, "%s", undo_err.msg);
    char hint[sizeof(err->hint)];
    memcpy(hint, err->hint, sizeof(hint));
    err_ctx(err, "%s", s->name);
    memcpy(err->hint, hint, sizeof(hint));
    return -1;
}

static int run_step(struct engine *e, const struct plan_step *s, struct err *err)
{
    const struct step_ops *ops = ops_of[s->action];
    struct step_row row;
    if (journal_step(e->j, e->up->id, s->name, &row, err) < 0)
        return -1;
    if (row.status == STEP_DONE && !s->always) {
        int holds = ops->fleeting ? ops->check(e, s, err) : 1;
        if (holds < 0)
            return err_ctx(err, "%s", s->name);
        if (holds)
            emit(e, EVENT_STEP_SKIP, s, "done before", 0);
        if (holds)
            return 0;
    }
    int attempt = row.attempt + 1;
    char result[STEP_RESULT] = "";
    if (row.status == STEP_INTENDED) {
        if (settle_children(e, s->name, err) < 0)
            return -1;
        int already = ops->check ? ops->check(e, s, err) : 0;
        if (already < 0)
            return err_ctx(err, "%s", s->name);
        if (already) {
            snprintf(result, sizeof(result), "already true");
            return finish_step(e, s, result, 0, err);
        }
    }
    if (journal_step_intend(e->j, e->up->id, s->name, &attempt, err) < 0)
        return -1;
    e->ctx.step_name = s->name;
    e->ctx.step_attempt = attempt;
    emit(e, EVENT_STEP_START, s, s->effect, 0);
    nsec_t begun = sys_clock_mono();
    e->ctx.memo = s->action == ACT_CLONE ? &e->memo : NULL; /* many look-ups, few changes */
    int r = fault(s, "intended", err) < 0 ? -1 : ops->apply(e, s, result, err);
    driver_memo_clear(&e->memo);
    e->ctx.memo = NULL;
    if (r < 0)
        return fail_step(e, s, sys_clock_mono() - begun, err);
    return finish_step(e, s, result, sys_clock_mono() - begun, err);
}

/* On the way to the flip nobody else may be at work on what keeps the instances. The way back asks
 * nobody. */
static int others_at_work(struct engine *e, enum plan_phase phase, struct err *err)
{
    if (!e->runtime->unchanged ||
        (phase != PHASE_PREPARE && phase != PHASE_PROMOTE && phase != PHASE_HOLD))
        return 0;
    for (enum colour c = GREEN; c <= BLUE; c++)
        if (e->runtime->unchanged(&e->ctx, c, err) < 0)
            return -1;
    return 0;
}

int engine_run(struct engine *e, const struct plan *plan, struct err *err)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_step *s = &plan->steps[i];
        if (sys_interrupted())
            return err_set(err, ERR_INTERRUPTED, "asked to end before %s", s->name);
        e->step = s;
        e->ctx.step_name = s->name;
        int r = others_at_work(e, plan->phase, err) < 0 ? -1 : run_step(e, s, err);
        e->step = NULL;
        if (r < 0)
            return -1;
    }
    return 0;
}

int engine_undo(struct engine *e, const struct plan *plan, struct err *err)
{
    for (size_t i = plan->n; i-- > 0;) {
        const struct plan_step *s = &plan->steps[i];
        struct step_row row;
        if (journal_step(e->j, e->up->id, s->name, &row, err) < 0)
            return -1;
        if (row.status != STEP_DONE && row.status != STEP_INTENDED)
            continue;
        e->step = s;
        int r = undo_step(e, s, err);
        e->step = NULL;
        if (r < 0)
            return -1;
    }
    return 0;
}

bool engine_holds(const struct engine *e)
{
    struct step_row begun = {0};
    struct err ignored = {0};
    if (!e->traffic || e->ctx.side[e->up->to]->writes != WRITES_CLIENT)
        return false;
    if (e->j && journal_step(e->j, e->up->id, "hold/rehearsal-boot-off", &begun, &ignored) == 0 &&
        begun.status != STEP_NONE)
        return true;
    return !e->loss_asked && !e->up->flipped;
}

void engine_goal(const struct engine *e, struct plan_goal *ret)
{
    *ret = (struct plan_goal){
        .side = {e->ctx.side[GREEN], e->ctx.side[BLUE]},
        .from = e->up->from,
        .to = e->up->to,
        .version_from = e->up->version_from,
        .version_to = e->up->version_to,
        .after_flip = e->up->flipped,
        .loser = e->up->flipped ? e->up->from : e->up->to,
        .hold = engine_holds(e),
        .retire = e->retire ? e->up->id : NULL,
        .take_snapshots = e->ctx.take_snapshots,
    };
}
