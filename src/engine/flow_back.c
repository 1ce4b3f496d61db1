/* The ways that end an upgrade: rollback and cleanup. */
#include "engine/flow_internal.h"

#include "engine/prober.h"
#include "engine/sockets.h"
#include "plan/plan.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define AFTER_FLIP "rollback.after_flip" /* meta: "yes", "no", or */
#define CLEANUP_HOW "cleanup.how"        /* meta: none, or */
#define CLEANUP_RETIRE "retire"
#define CLEANUP_TAKE "destroy-snapshots"
#define HELD "held" /* after it, while requests wait: `to` took no write */

/* --- rollback --- */

void flow_loss(struct engine *e, char *buf, size_t size)
{
    buf[0] = '\0';
    enum spec_writes writes = e->ctx.side[e->up->to]->writes;
    struct err ignored = {0};
    if (writes == WRITES_REPLAYED || !e->up->flipped || engine_held(e, &ignored) > 0)
        return;
    struct step_row flip;
    bool hold = engine_holds(e);
    char since[32], ago[24] = "some time";
    str_format(since, sizeof(since), hold ? "the release" : "the flip");
    if (journal_step(e->j, e->up->id, hold ? "hold/release" : "promote/flip", &flip, &ignored) ==
            0 &&
        flip.ended_wall_ns) {
        time_t at = (time_t)(flip.ended_wall_ns / NSEC_S);
        struct tm tm;
        localtime_r(&at, &tm);
        strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
        clock_words(ago, sizeof(ago), sys_clock_wall() - flip.ended_wall_ns);
    }
    str_format(buf, size, "%s took since %s (%s ago) is in %s's volumes only",
               writes == WRITES_BOTH
                   ? "what it collected by itself and what clients saw of it: all that it"
                   : "every write that it",
               since, ago, colour_name(e->up->to));
}

static int refuse_lossy_rollback(struct engine *e, struct err *err)
{
    char loss[256];
    flow_loss(e, loss, sizeof(loss));
    if (!*loss || e->loss_accepted)
        return 0;
    err_set(err, ERR_USAGE, "a rollback now loses writes: %s (writes: %s)", loss,
            spec_writes_name(e->ctx.side[e->up->to]->writes));
    return err_hint(err, "changeover rollback --accept-loss; the data of %s stays until cleanup",
                    colour_name(e->up->to));
}

/* Whether it goes over the flip is decided once: while we flip back, `flipped` becomes false. live:
 * who has the traffic already, by hand, or NONE. */
static int begin_rollback(struct engine *e, enum colour live, struct err *err)
{
    struct upgrade was = *e->up;
    int held = e->up->flipped ? engine_held(e, err) : 0;
    if (held < 0 || journal_begin(e->j, err) < 0)
        return -1;
    e->hold_until = 0;
    e->hold_over = false;
    const char *after = held ? HELD : e->up->flipped ? "yes" : "no";
    bool ok = journal_meta_set(e->j, AFTER_FLIP, after, err) == 0 &&
              journal_deadline_clear(e->j, HOLD_DEADLINE, err) == 0 &&
              journal_deadline_clear(e->j, CONFIRM_DEADLINE, err) == 0 &&
              journal_meta_set(e->j, CONFIRM_WITHIN, NULL, err) == 0 &&
              (live == COLOUR_NONE || journal_live_set(e->j, live, err) == 0) &&
              flow_move(e, STATE_ROLLING_BACK, NULL, err) == 0;
    return flow_commit(e, &was, ok, err);
}

/* An old side that was asked to stop may go on serving for a while: it must be gone, and started
 * anew, before it is gated. One that is deaf has shown so by outliving its grace, and is gated as
 * it is. */
static int end_half_stop(struct engine *e, const char *step, struct err *err)
{
    struct step_row stop;
    if (journal_step(e->j, e->up->id, step, &stop, err) < 0)
        return -1;
    if (stop.status != STEP_INTENDED)
        return 0;
    event_note(&e->tee, "ending the stop of %s that was in work", colour_name(e->up->from));
    if (e->runtime->stop(&e->ctx, e->up->from, err) < 0) {
        if (err->code != ERR_TIMEOUT)
            return err_ctx(err, "end the stop that was in work");
        event_warn(&e->tee, "%s: it was asked to stop, and runs on", err->msg);
        err_clear(err);
    }
    return journal_step_end(e->j, e->up->id, step, STEP_UNDONE, "the rollback came between", err);
}

static int go_back(struct engine *e, struct err *err)
{
    cleanup_str struct str after = {0};
    cleanup_plan struct plan plan = {0};
    struct plan_goal goal;
    if (journal_meta_get(e->j, AFTER_FLIP, &after, err) < 0)
        return -1;
    engine_goal(e, &goal);
    goal.held = str_eq(str_cstr(&after), HELD);
    goal.after_flip = goal.held || str_eq(str_cstr(&after), "yes");
    if (engine_settle(e, err) < 0 ||
        (goal.after_flip &&
         (end_half_stop(e, "finish/stop", err) < 0 || end_half_stop(e, "hold/stop", err) < 0)))
        return -1;
    plan_make(PHASE_ROLLBACK, &goal, &plan);
    return engine_run(e, &plan, err);
}

static int rollback(struct engine *e, const char *why, struct err *err)
{
    if (e->up->state == STATE_ROLLED_BACK)
        return 0;
    if (e->up->state == STATE_CLEANING) {
        err_set(err, ERR_FAILED, "the cleanup has begun: the other side's data is on its way out");
        return err_hint(err, "changeover cleanup; then a new upgrade to the version that you want");
    }
    bool begun = e->up->state == STATE_ROLLING_BACK;
    if (!begun && refuse_lossy_rollback(e, err) < 0)
        return -1;
    char text[640];
    str_format(text, sizeof(text), "rollback to %s (upgrade %s): %.500s", colour_name(e->up->from),
               e->up->id, why);
    flow_headline(e, text);
    if (!begun && begin_rollback(e, COLOUR_NONE, err) < 0)
        return -1;
    if (go_back(e, err) < 0) {
        if (err->code == ERR_INTERRUPTED)
            return flow_interrupted(e, err);
        err->code = err->code == ERR_GATE ? ERR_GATE : ERR_HALFWAY;
        if (!*err->hint)
            err_hint(
                err,
                "changeover rollback (tries again); the traffic is where changeover status says");
        return -1;
    }
    if (flow_enter(e, STATE_ROLLED_BACK, false, err) < 0)
        return -1;
    sockets_tell(e, e->up->to);
    flow_readme(e);
    return 0;
}

int flow_rollback(struct engine *e, const char *why, struct err *err)
{
    e->probe_decides = false; /* it goes on, or begins, beside the way back */
    int r = rollback(e, why, err);
    prober_end(e);
    return r;
}

int flow_rollback_by_hand(struct engine *e, struct err *err)
{
    e->loss_accepted = true; /* it was named to whoever accepted the flags */
    if (e->up->state == STATE_ROLLING_BACK ? journal_live_set(e->j, e->up->from, err) < 0
                                           : begin_rollback(e, e->up->from, err) < 0)
        return -1;
    return flow_rollback(e, "the flags were put back by hand", err);
}

/* --- cleanup --- */

int flow_cleanup_how(struct engine *e, bool take_snapshots, bool retire, struct err *err)
{
    return journal_meta_set(e->j, CLEANUP_HOW,
                            retire           ? CLEANUP_RETIRE
                            : take_snapshots ? CLEANUP_TAKE
                                             : NULL,
                            err);
}

int flow_cleanup_as_told(struct engine *e, struct err *err)
{
    cleanup_str struct str how = {0};
    if (journal_meta_get(e->j, CLEANUP_HOW, &how, err) < 0)
        return -1;
    e->retire = str_eq(str_cstr(&how), CLEANUP_RETIRE);
    e->ctx.take_snapshots = str_eq(str_cstr(&how), CLEANUP_TAKE);
    return 0;
}

int flow_cleanup(struct engine *e, struct err *err)
{
    bool promoted = e->up->flipped;
    flow_headline(e, promoted ? "cleanup: the old side's data" : "cleanup: the standby's data");
    if (flow_cleanup_as_told(e, err) < 0 ||
        (e->up->state != STATE_CLEANING && flow_enter(e, STATE_CLEANING, false, err) < 0))
        return -1;
    cleanup_plan struct plan plan = {0};
    int r = flow_run_phase(e, PHASE_CLEANUP, &plan, err);
    e->ctx.take_snapshots = e->retire = false;
    if (r < 0) {
        if (err->code == ERR_INTERRUPTED)
            return flow_interrupted(e, err);
        err->code = ERR_HALFWAY;
        if (!*err->hint)
            err_hint(err, "changeover cleanup (tries again); live is not touched");
        return -1;
    }
    sockets_tell(e, promoted ? e->up->from : e->up->to);
    prober_tell(e);
    struct upgrade was = *e->up;
    if (journal_begin(e->j, err) < 0)
        return -1;
    bool ok = journal_meta_set(e->j, "loss_accepted", NULL, err) == 0 &&
              journal_meta_set(e->j, CLEANUP_HOW, NULL, err) == 0 &&
              journal_prune(e->j, e->ctx.side[GREEN]->retention_events, err) == 0 &&
              flow_move(e, STATE_STEADY, promoted ? "promoted" : "rolled back", err) == 0;
    if (flow_commit(e, &was, ok, err) < 0)
        return -1;
    flow_readme(e);
    return 0;
}
