#include "engine/flow_internal.h"

#include "engine/hole.h"
#include "engine/prober.h"
#include "engine/sockets.h"
#include "plan/plan.h"
#include "sys/clock.h"
#include "sys/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int flow_move(struct engine *e, enum upgrade_state to, const char *outcome, struct err *err)
{
    return journal_upgrade_move(e->j, e->up, to, outcome, err);
}

int flow_commit(struct engine *e, const struct upgrade *was, bool ok, struct err *err)
{
    if (journal_end(e->j, ok, err) < 0) {
        *e->up = *was;
        return -1;
    }
    char point[64];
    str_format(point, sizeof(point), "state:%s", state_name(e->up->state));
    if (e->up->state != was->state && sys_fault_point(point) < 0)
        return err_sys(err, ERR_FAILED, "fault point %s", point);
    return 0;
}

int flow_enter(struct engine *e, enum upgrade_state to, bool promise_over, struct err *err)
{
    struct upgrade was = *e->up;
    if (journal_begin(e->j, err) < 0)
        return -1;
    bool ok = !promise_over || (journal_deadline_clear(e->j, CONFIRM_DEADLINE, err) == 0 &&
                                journal_meta_set(e->j, CONFIRM_WITHIN, NULL, err) == 0);
    return flow_commit(e, &was, ok && flow_move(e, to, NULL, err) == 0, err);
}

void flow_headline(struct engine *e, const char *text)
{
    event_emit(&e->tee, &(struct event){.kind = EVENT_PHASE, .text = text});
}

int flow_run_phase(struct engine *e, enum plan_phase phase, struct plan *plan, struct err *err)
{
    struct plan_goal goal;
    engine_goal(e, &goal);
    plan_make(phase, &goal, plan);
    return engine_run(e, plan, err);
}

void flow_readme(struct engine *e)
{
    char line[256];
    struct err ignored = {0};
    enum colour live = e->up->flipped ? e->up->to : e->up->from;
    if (e->up->state == STATE_STEADY)
        str_format(line, sizeof(line), "steady: %s is live", colour_name(live));
    else
        str_format(line, sizeof(line), "upgrade %s: %s, from %s to %s", e->up->id,
                   state_name(e->up->state), colour_name(e->up->from), colour_name(e->up->to));
    if (e->traffic && e->traffic->readme(&e->ctx, line, &ignored) < 0)
        event_warn(&e->tee, "the README in the flag directory is out of date: %s", ignored.msg);
}

int flow_interrupted(struct engine *e, struct err *err)
{
    err->code = ERR_INTERRUPTED;
    err_ctx(err, "stopped (%s)", state_name(e->up->state));
    return err_hint(err, "changeover resume (goes on), or changeover rollback (goes back)");
}

/* --- prepare --- */

static int end_abandoned(struct engine *e, struct err *err)
{
    struct upgrade was = *e->up;
    if (journal_begin(e->j, err) < 0)
        return -1;
    bool ok = journal_generation_clear(e->j, e->up->to, err) == 0 &&
              flow_move(e, STATE_STEADY, "abandoned", err) == 0;
    if (flow_commit(e, &was, ok, err) < 0)
        return -1;
    flow_readme(e);
    return 0;
}

static int abandon(struct engine *e, const struct plan *plan, struct err *err)
{
    struct err undo_err = {0};
    if (engine_undo(e, plan, &undo_err) < 0 || end_abandoned(e, &undo_err) < 0) {
        err_ctx(err, "could not be undone (%s)", undo_err.msg);
        err->code = ERR_HALFWAY;
        return err_hint(err, "changeover rollback");
    }
    err->code = ERR_FAILED;
    if (*err->hint)
        return -1;
    return err_hint(err,
                    "mend that, then the same command again; all is undone, %s serves as before",
                    colour_name(e->up->from));
}

static int prepare_failed(struct engine *e, const struct plan *plan, struct err *err)
{
    if (e->space_low) {
        struct err why = {0};
        e->space_low = false;
        if (flow_space(e, true, &why) < 0) {
            *err = why;
            return -1;
        }
        err_set(err, ERR_FAILED,
                "a space floor was reached: the standby is stopped, %s serves as before",
                colour_name(e->up->from));
        return err_hint(err, "make room; then changeover cleanup, and prepare again");
    }
    if (err->code == ERR_INTERRUPTED)
        return flow_interrupted(e, err);
    struct step_row started;
    struct err look_err = {0};
    char start[64];
    str_format(start, sizeof(start), "%s/start", plan_phase_name(PHASE_PREPARE));
    bool was_started = journal_step(e->j, e->up->id, start, &started, &look_err) == 0 &&
                       started.status == STEP_DONE;
    if (!was_started)
        return abandon(e, plan, err);
    err->code = ERR_GATE;
    return err_hint(err,
                    "look at %s's log; then changeover prepare (waits again), or changeover "
                    "rollback; %s serves as before",
                    colour_name(e->up->to), colour_name(e->up->from));
}

int flow_prepare(struct engine *e, struct err *err)
{
    char text[160];
    str_format(text, sizeof(text), "prepare: %s %s -> %s %s (upgrade %s)", colour_name(e->up->from),
               e->up->version_from, colour_name(e->up->to), e->up->version_to, e->up->id);
    flow_headline(e, text);
    cleanup_plan struct plan plan = {0};
    if (flow_run_phase(e, PHASE_PREPARE, &plan, err) < 0)
        return prepare_failed(e, &plan, err);
    if (hole_end(e, err) < 0)
        return -1;
    if (e->up->state == STATE_PREPARING && flow_enter(e, STATE_PREPARED, false, err) < 0)
        return -1;
    flow_readme(e);
    return 0;
}

/* --- promote --- */

static int refuse_lossy_promote(const struct engine *e, nsec_t confirm_within, struct err *err)
{
    enum spec_writes writes = e->ctx.side[e->up->to]->writes;
    if (confirm_within && !plan_may_flip_back(writes, e->loss_accepted)) {
        err_set(err, ERR_USAGE,
                "--confirm-within would flip back on silence, and with writes: %s that loses what "
                "%s took since the flip",
                spec_writes_name(writes), colour_name(e->up->to));
        return err_hint(err, "promote without it; or promote --confirm-within ... --accept-loss");
    }
    if (writes == WRITES_CLIENT && !e->traffic && !e->loss_asked &&
        e->up->state == STATE_PREPARED) {
        err_set(err, ERR_FAILED,
                "writes: client: without a traffic driver no request can wait, and a plain flip "
                "would lose every write that %s took since the clone; nothing was changed",
                colour_name(e->up->from));
        return err_hint(
            err, "promote --accept-loss if those writes do not matter; else changeover rollback");
    }
    return 0;
}

/* A new colour that fails after the flip: back by itself where that loses nothing, else ask. */
static int promote_failed(struct engine *e, struct err *err)
{
    if (err->code == ERR_INTERRUPTED)
        return flow_interrupted(e, err);
    if (!e->up->flipped) {
        struct err move_err = {0};
        if (flow_enter(e, STATE_PREPARED, true, &move_err) < 0)
            err_ctx(err, "%s", move_err.msg);
        char mend[256];
        str_format(mend, sizeof(mend), "%s%s", err->hint, *err->hint ? "; " : "");
        return err_hint(
            err, "%s%s serves as before; changeover promote (tries again), or changeover rollback",
            mend, colour_name(e->up->from));
    }
    enum spec_writes writes = e->ctx.side[e->up->to]->writes;
    if (!plan_may_flip_back(writes, e->loss_accepted)) {
        char loss[256];
        flow_loss(e, loss, sizeof(loss));
        err->code = ERR_HALFWAY;
        err_ctx(err, "%s stays live, because going back would lose writes (%s)",
                colour_name(e->up->to), loss);
        return err_hint(
            err, "changeover promote%s (goes on with %s), or changeover rollback --accept-loss",
            prober_broken(e) ? " --no-probe" : "", colour_name(e->up->to));
    }
    char why[512];
    str_format(why, sizeof(why), "%s", prober_broken(e) ? prober_broken(e) : err->msg);
    event_warn(&e->tee, "%s: flipping back to %s", why, colour_name(e->up->from));
    struct err back = {0};
    if (flow_rollback(e, why, &back) < 0) {
        *err = back;
        return err_ctx(err, "flipping back after: %.300s", why);
    }
    err_set(err, ERR_FAILED, "%s: flipped back to %s", why, colour_name(e->up->from));
    return err_hint(err,
                    "%s is stopped, with its data and log; changeover cleanup destroys its data",
                    colour_name(e->up->to));
}

static int finish_failed(struct engine *e, struct err *err)
{
    if (err->code == ERR_INTERRUPTED)
        return flow_interrupted(e, err);
    bool late = err->code == ERR_GATE;
    err->code = late ? ERR_GATE : ERR_HALFWAY;
    if (!*err->hint)
        err_hint(err, "changeover promote (goes on: %s is live), or changeover rollback",
                 colour_name(e->up->to));
    return -1;
}

static int finish(struct engine *e, struct err *err)
{
    cleanup_plan struct plan plan = {0};
    if (flow_run_phase(e, PHASE_FINISH, &plan, err) < 0)
        return prober_broken(e) ? promote_failed(e, err) : finish_failed(e, err);
    if (flow_enter(e, STATE_PROMOTED, true, err) < 0)
        return -1;
    sockets_tell(e, e->up->from);
    flow_readme(e);
    return 0;
}

static int await_confirm(struct engine *e, nsec_t within, struct err *err)
{
    char words[24], why[128];
    struct upgrade was = *e->up;
    str_format(why, sizeof(why), "silence rolls back to %s", colour_name(e->up->from));
    if (journal_begin(e->j, err) < 0)
        return -1;
    bool ok = journal_deadline_set(e->j, CONFIRM_DEADLINE, within, why, err) == 0 &&
              flow_move(e, STATE_AWAITING_CONFIRM, NULL, err) == 0;
    if (flow_commit(e, &was, ok, err) < 0)
        return -1;
    flow_readme(e);
    event_note(&e->tee, "%s is live; rolls back to %s in %s unless confirmed",
               colour_name(e->up->to), colour_name(e->up->from),
               clock_words(words, sizeof(words), within));
    return 0;
}

/* What a killed promote was asked for: a resume waits for the confirmation as well. */
static int kept_confirm(struct engine *e, nsec_t *within, struct err *err)
{
    cleanup_str struct str kept = {0};
    int r = *within ? 0 : journal_meta_get(e->j, CONFIRM_WITHIN, &kept, err);
    return r > 0 ? clock_parse(str_cstr(&kept), within) : r;
}

static int begin_promote(struct engine *e, nsec_t within, struct err *err)
{
    struct upgrade was = *e->up;
    char text[32];
    str_format(text, sizeof(text), "%" PRId64 "ms", (int64_t)(within / NSEC_MS));
    if (journal_begin(e->j, err) < 0)
        return -1;
    bool ok = journal_meta_set(e->j, CONFIRM_WITHIN, within ? text : NULL, err) == 0 &&
              flow_move(e, STATE_PROMOTING, NULL, err) == 0;
    e->confirm_within = within;
    return flow_commit(e, &was, ok, err);
}

bool flow_confirmed(struct engine *e)
{
    struct err ignored = {0};
    cleanup_str struct str id = {0};
    return journal_meta_get(e->j, CONFIRMED, &id, &ignored) > 0 && str_eq(str_cstr(&id), e->up->id);
}

/* Out of a hold whose new colour has taken no write: nothing is lost on the way back. */
static int leave_hold(struct engine *e, struct err *err)
{
    char why[512], text[24];
    nsec_t max = e->ctx.side[e->up->to]->traffic.hold_max;
    if (e->hold_over)
        str_format(why, sizeof(why), "requests have waited for %s (traffic.hold.max) in %.380s",
                   clock_words(text, sizeof(text), max), err->msg);
    else
        str_format(why, sizeof(why), "%s", err->msg);
    event_warn(&e->tee, "%s: going back to %s", why, colour_name(e->up->from));
    struct err back = {0};
    if (flow_rollback(e, why, &back) < 0) {
        *err = back;
        return err_ctx(err, "going back after: %.300s", why);
    }
    err_set(err, ERR_FAILED, "went back to %s, no write was lost: %.380s", colour_name(e->up->from),
            why);
    return err_hint(err, "changeover cleanup, then changeover prepare; %s's log says more",
                    colour_name(e->up->to));
}

static int hold_failed(struct engine *e, struct err *err)
{
    struct err look = {0};
    int held = e->up->flipped ? engine_held(e, &look) : 1;
    if (err->code == ERR_INTERRUPTED && !e->hold_over)
        return flow_interrupted(e, err);
    return held > 0 ? leave_hold(e, err) : promote_failed(e, err);
}

/* What a killed run has promised to those who wait. */
static int load_hold(struct engine *e, struct err *err)
{
    struct deadline d;
    nsec_t left = 0;
    int r = journal_deadline(e->j, HOLD_DEADLINE, &d, &left, err);
    if (r > 0)
        e->hold_until = sys_clock_mono() + (left > 0 ? left : 0);
    return r < 0 ? -1 : 0;
}

static int promote_by_hold(struct engine *e, struct err *err)
{
    struct step_row begun, after;
    cleanup_plan struct plan first = {0}, hold = {0};
    if (load_hold(e, err) < 0 ||
        journal_step(e->j, e->up->id, "hold/rehearsal-boot-off", &begun, err) < 0 ||
        journal_step(e->j, e->up->id, "finish/let-go", &after, err) < 0)
        return -1;
    if (begun.status == STEP_NONE && flow_run_phase(e, PHASE_PROMOTE, &first, err) < 0)
        return promote_failed(e, err);
    if (after.status == STEP_NONE && flow_run_phase(e, PHASE_HOLD, &hold, err) < 0)
        return hold_failed(e, err);
    return finish(e, err);
}

int flow_hold_over(struct engine *e, struct err *err)
{
    int held = e->up->flipped ? engine_held(e, err) : 1;
    if (held < 0)
        return -1;
    return held ? flow_rollback(e, "requests have waited as long as they may", err)
                : journal_deadline_clear(e->j, HOLD_DEADLINE, err);
}

static int promote(struct engine *e, nsec_t confirm_within, struct err *err)
{
    if (kept_confirm(e, &confirm_within, err) < 0 ||
        refuse_lossy_promote(e, confirm_within, err) < 0)
        return -1;
    char text[160];
    str_format(text, sizeof(text), "promote: %s -> %s %s (upgrade %s)", colour_name(e->up->from),
               colour_name(e->up->to), e->up->version_to, e->up->id);
    flow_headline(e, text);
    if (begin_promote(e, confirm_within, err) < 0)
        return -1;
    if (engine_holds(e))
        return promote_by_hold(e, err);
    struct step_row row;
    if (journal_step(e->j, e->up->id, "finish/drain", &row, err) < 0)
        return -1;
    cleanup_plan struct plan plan = {0};
    if (row.status == STEP_NONE && flow_run_phase(e, PHASE_PROMOTE, &plan, err) < 0)
        return promote_failed(e, err);
    return confirm_within ? await_confirm(e, confirm_within, err) : finish(e, err);
}

int flow_promote(struct engine *e, nsec_t confirm_within, struct err *err)
{
    e->probe_decides = !flow_confirmed(e);
    int r = promote(e, confirm_within, err);
    prober_end(e);
    return r;
}

/* What promote would have proven has just been gated; what is left is to drain and stop the old
 * side. */
static int note_flip_by_hand(struct engine *e, struct err *err)
{
    static const char *const passed[] = {"promote/preview", "promote/flip", "promote/verify"};
    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        int attempt;
        if (journal_step_intend(e->j, e->up->id, passed[i], &attempt, err) < 0 ||
            journal_step_end(e->j, e->up->id, passed[i], STEP_DONE, "by hand", err) < 0)
            return -1;
    }
    return journal_live_set(e->j, e->up->to, err) < 0 ||
                   journal_upgrade_flipped(e->j, e->up, true, err) < 0
               ? -1
               : flow_move(e, STATE_PROMOTING, NULL, err);
}

int flow_promote_by_hand(struct engine *e, struct err *err)
{
    struct upgrade was = *e->up;
    if (journal_begin(e->j, err) < 0 ||
        flow_commit(e, &was, note_flip_by_hand(e, err) == 0, err) < 0)
        return -1;
    return flow_promote(e, 0, err);
}

int flow_confirm(struct engine *e, struct err *err)
{
    flow_headline(e, "confirm: the new colour stays");
    /* From here on silence must not roll back any more. */
    if (journal_meta_set(e->j, CONFIRMED, e->up->id, err) < 0 ||
        flow_enter(e, STATE_PROMOTING, true, err) < 0)
        return -1;
    int r = finish(e, err);
    prober_end(e); /* it only looked on */
    return r;
}

int flow_resume(struct engine *e, struct err *err)
{
    switch (e->up->state) {
    case STATE_PREPARING:
        return flow_prepare(e, err);
    case STATE_PROMOTING:
        return flow_promote(e, 0, err);
    case STATE_ROLLING_BACK:
        return flow_rollback(e, "resumed", err);
    case STATE_CLEANING:
        return flow_cleanup(e, err);
    case STATE_STEADY:
    case STATE_PREPARED:
    case STATE_AWAITING_CONFIRM:
    case STATE_PROMOTED:
    case STATE_ROLLED_BACK:
    case STATE_MAX:
        break;
    }
    event_note(&e->tee, "nothing is half way: the upgrade is %s", state_name(e->up->state));
    return 0;
}

/* --- the truth --- */

static int settle_step(struct engine *e, const char *step, enum colour to,
                       const struct traffic_facts *f, bool *ret_open, struct err *err)
{
    struct step_row row;
    if (journal_step(e->j, e->up->id, step, &row, err) < 0)
        return -1;
    if (row.status != STEP_INTENDED)
        return 0;
    if (f->flag == COLOUR_NONE) /* no flip leaves that */
        return 0;
    *ret_open = true;
    /* The flags decide whether it has happened; point() leaves exactly one of them. */
    if (e->traffic->point(&e->ctx, f->flag, err) < 0 || journal_flip(e->j, e->up, f->flag, err) < 0)
        return -1;
    return journal_step_end(e->j, e->up->id, step, f->flag == to ? STEP_DONE : STEP_UNDONE,
                            "settled by the flags", err);
}

int flow_settle(struct engine *e, enum colour claimed_live, struct err *err)
{
    if (!e->traffic || claimed_live == COLOUR_NONE)
        return 0;
    struct traffic_facts f = {0};
    bool open = false;
    if (e->traffic->inspect(&e->ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    if (*e->up->id && (settle_step(e, "promote/flip", e->up->to, &f, &open, err) < 0 ||
                       settle_step(e, "hold/flip", e->up->to, &f, &open, err) < 0 ||
                       settle_step(e, "rollback/flip", e->up->from, &f, &open, err) < 0))
        return -1;
    if (open || f.flag == claimed_live)
        return 0;
    err_set(err, ERR_HALFWAY, "the journal says that %s is live, %s %s%s%s: nothing was changed",
            colour_name(claimed_live), f.source, colour_name(f.flag),
            e->traffic->loses && *f.text ? ": " : "", e->traffic->loses ? f.text : "");
    if (f.flag == COLOUR_NONE)
        return err_hint(
            err,
            e->traffic->loses
                ? "make sure who did that; then changeover traffic install (sends to %s again)"
                : "changeover traffic install (sets %s's flag again: until then nobody is served)",
            colour_name(claimed_live));
    return err_hint(err,
                    "changeover traffic show; then changeover adopt --live %s (accepts what the "
                    "flags say), or put the flag back",
                    colour_name(f.flag));
}
