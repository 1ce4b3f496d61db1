#include "engine/flow.h"

#include "engine/hole.h"
#include "plan/plan.h"
#include "sys/clock.h"
#include "sys/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CONFIRM_WITHIN "confirm_within"

static int move(struct engine *e, enum upgrade_state to, const char *outcome, struct err *err)
{
    return journal_upgrade_move(e->j, e->up, to, outcome, err);
}

static void headline(struct engine *e, const char *text)
{
    event_emit(&e->tee, &(struct event){.kind = EVENT_PHASE, .text = text});
}

static int run_phase(struct engine *e, enum plan_phase phase, const struct plan_step **ret_failed,
                     struct plan *plan, struct err *err)
{
    struct plan_goal goal;
    engine_goal(e, &goal);
    plan_make(phase, &goal, plan);
    return engine_run(e, plan, ret_failed, err);
}

/* The README by hand, in the flag directory. Its failure stops nothing: it is for the day when we are gone. */
static void write_readme(struct engine *e)
{
    char line[256];
    struct err ignored = {0};
    str_format(line, sizeof(line), "upgrade %s: %s, from %s to %s", e->up->id, state_name(e->up->state),
             colour_name(e->up->from), colour_name(e->up->to));
    if (e->traffic && e->traffic->readme(&e->ctx, line, &ignored) < 0)
        event_warn(&e->tee, "the README in the flag directory is out of date: %s", ignored.msg);
}

static int interrupted(struct engine *e, struct err *err)
{
    err->code = ERR_INTERRUPTED;
    err_ctx(err, "stopped (%s)", state_name(e->up->state));
    return err_hint(err, "changeover resume (goes on), or changeover rollback (goes back)");
}

/* --- prepare --- */

static int abandon(struct engine *e, const struct plan *plan, struct err *err)
{
    struct err undo_err = {0};
    if (engine_undo(e, plan, &undo_err) < 0 ||
        journal_generation_clear(e->j, e->up->to, &undo_err) < 0 ||
        move(e, STATE_STEADY, "abandoned", &undo_err) < 0) {
        err_ctx(err, "could not be undone (%s)", undo_err.msg);
        err->code = ERR_HALFWAY;
        return err_hint(err, "changeover rollback");
    }
    err->code = ERR_FAILED;
    if (*err->hint)
        return -1;
    return err_hint(err, "mend that, then the same command again; all is undone, %s serves as before",
                    colour_name(e->up->from));
}

static int prepare_failed(struct engine *e, const struct plan *plan, const struct plan_step *failed,
                          struct err *err)
{
    if (e->space_low) {
        struct err why = {0};
        e->space_low = false;
        if (flow_space(e, true, &why) < 0) {
            *err = why;
            return -1;
        }
        err_set(err, ERR_FAILED, "a space floor was reached: the standby is stopped, %s serves as before",
                colour_name(e->up->from));
        return err_hint(err, "make room; then changeover cleanup, and prepare again");
    }
    if (err->code == ERR_INTERRUPTED)
        return interrupted(e, err);
    struct step_row started;
    struct err look_err = {0};
    char start[64];
    str_format(start, sizeof(start), "%s/start", plan_phase_name(PHASE_PREPARE));
    bool was_started = journal_step(e->j, e->up->id, start, &started, &look_err) == 0 &&
                       started.status == STEP_DONE;
    if (!was_started)
        return abandon(e, plan, err);
    (void)failed;
    err->code = ERR_GATE;
    return err_hint(err, "look at %s's log; then changeover prepare (waits again), or changeover rollback; %s serves as before",
                    colour_name(e->up->to), colour_name(e->up->from));
}

int flow_prepare(struct engine *e, struct err *err)
{
    char text[160];
    str_format(text, sizeof(text), "prepare: %s %s -> %s %s (upgrade %s)", colour_name(e->up->from),
             e->up->version_from, colour_name(e->up->to), e->up->version_to, e->up->id);
    headline(e, text);
    cleanup_plan struct plan plan = {0};
    const struct plan_step *failed = NULL;
    if (run_phase(e, PHASE_PREPARE, &failed, &plan, err) < 0)
        return prepare_failed(e, &plan, failed, err);
    if (hole_end(e, err) < 0)
        return -1;
    if (e->up->state == STATE_PREPARING && move(e, STATE_PREPARED, NULL, err) < 0)
        return -1;
    write_readme(e);
    return 0;
}

/* --- promote --- */

static int refuse_lossy_promote(const struct engine *e, nsec_t confirm_within, struct err *err)
{
    enum spec_writes writes = e->ctx.side[e->up->to]->writes;
    if (confirm_within && !plan_may_flip_back(writes, e->loss_accepted)) {
        err_set(err, ERR_USAGE,
                "--confirm-within would flip back on silence, and with writes: %s that loses what %s took since the flip",
                spec_writes_name(writes), colour_name(e->up->to));
        return err_hint(err, "promote without it; or promote --confirm-within ... --accept-loss");
    }
    if (writes == WRITES_CLIENT && !e->loss_accepted && e->up->state == STATE_PREPARED) {
        err_set(err, ERR_FAILED,
                "writes: client: a plain flip would lose every write that %s took since the clone; nothing was changed",
                colour_name(e->up->from));
        return err_hint(err, "promote --accept-loss if those writes do not matter; else changeover rollback");
    }
    return 0;
}

/* A new colour that fails after the flip: back by itself where that loses nothing, else ask. */
static int promote_failed(struct engine *e, struct err *err)
{
    if (err->code == ERR_INTERRUPTED)
        return interrupted(e, err);
    if (!e->up->flipped) {
        struct err move_err = {0};
        if (move(e, STATE_PREPARED, NULL, &move_err) < 0)
            err_ctx(err, "%s", move_err.msg);
        return err_hint(err, "%s serves as before; changeover promote (tries again), or changeover rollback",
                        colour_name(e->up->from));
    }
    enum spec_writes writes = e->ctx.side[e->up->to]->writes;
    if (!plan_may_flip_back(writes, e->loss_accepted)) {
        char loss[256];
        flow_loss(e, loss, sizeof(loss));
        err->code = ERR_HALFWAY;
        err_ctx(err, "%s stays live, because going back would lose writes (%s)", colour_name(e->up->to), loss);
        return err_hint(err, "changeover promote (goes on with %s), or changeover rollback --accept-loss",
                        colour_name(e->up->to));
    }
    char why[512];
    str_format(why, sizeof(why), "%s", err->msg);
    event_warn(&e->tee, "%s: flipping back to %s", why, colour_name(e->up->from));
    struct err back = {0};
    if (flow_rollback(e, why, &back) < 0) {
        *err = back;
        return err_ctx(err, "flipping back after: %.300s", why);
    }
    err->code = ERR_FAILED;
    err_ctx(err, "flipped back to %s", colour_name(e->up->from));
    return err_hint(err, "%s is stopped, with its data and log; changeover cleanup destroys its data",
                    colour_name(e->up->to));
}

static int finish_failed(struct engine *e, struct err *err)
{
    if (err->code == ERR_INTERRUPTED)
        return interrupted(e, err);
    bool late = err->code == ERR_GATE;
    err->code = late ? ERR_GATE : ERR_HALFWAY;
    if (!*err->hint)
        err_hint(err, "changeover promote (goes on: %s is live), or changeover rollback", colour_name(e->up->to));
    return -1;
}

static int finish(struct engine *e, struct err *err)
{
    cleanup_plan struct plan plan = {0};
    if (run_phase(e, PHASE_FINISH, NULL, &plan, err) < 0)
        return finish_failed(e, err);
    if (journal_deadline_clear(e->j, CONFIRM_DEADLINE, err) < 0 ||
        journal_meta_set(e->j, CONFIRM_WITHIN, NULL, err) < 0 ||
        move(e, STATE_PROMOTED, NULL, err) < 0)
        return -1;
    write_readme(e);
    return 0;
}

static int await_confirm(struct engine *e, nsec_t within, struct err *err)
{
    char words[24], why[128];
    str_format(why, sizeof(why), "silence rolls back to %s", colour_name(e->up->from));
    if (journal_deadline_set(e->j, CONFIRM_DEADLINE, within, why, err) < 0 ||
        move(e, STATE_AWAITING_CONFIRM, NULL, err) < 0)
        return -1;
    write_readme(e);
    event_note(&e->tee, "%s is live; rolls back to %s in %s unless confirmed", colour_name(e->up->to),
               colour_name(e->up->from), clock_words(words, sizeof(words), within));
    return 0;
}

/* What promote was asked for is kept, so that a resume waits for the confirmation as well. */
static int keep_confirm(struct engine *e, nsec_t *within, struct err *err)
{
    cleanup_str struct str kept = {0};
    if (*within) {
        char text[32];
        str_format(text, sizeof(text), "%" PRId64 "ms", (int64_t)(*within / NSEC_MS));
        return journal_meta_set(e->j, CONFIRM_WITHIN, text, err);
    }
    int r = journal_meta_get(e->j, CONFIRM_WITHIN, &kept, err);
    return r > 0 ? clock_parse(str_cstr(&kept), within) : r;
}

int flow_promote(struct engine *e, nsec_t confirm_within, struct err *err)
{
    /* First the refusal: what was refused must not be kept for the next promote. */
    if (refuse_lossy_promote(e, confirm_within, err) < 0 || keep_confirm(e, &confirm_within, err) < 0)
        return -1;
    char text[160];
    str_format(text, sizeof(text), "promote: %s -> %s %s (upgrade %s)", colour_name(e->up->from),
             colour_name(e->up->to), e->up->version_to, e->up->id);
    headline(e, text);
    if (e->up->state == STATE_PREPARED && move(e, STATE_PROMOTING, NULL, err) < 0)
        return -1;
    struct step_row row;
    if (journal_step(e->j, e->up->id, "finish/drain", &row, err) < 0)
        return -1;
    cleanup_plan struct plan plan = {0};
    if (row.status == STEP_NONE && run_phase(e, PHASE_PROMOTE, NULL, &plan, err) < 0)
        return promote_failed(e, err);
    return confirm_within ? await_confirm(e, confirm_within, err) : finish(e, err);
}

int flow_confirm(struct engine *e, struct err *err)
{
    headline(e, "confirm: the new colour stays");
    /* From here on silence must not roll back any more: first the deadline goes, then the state. */
    if (journal_deadline_clear(e->j, CONFIRM_DEADLINE, err) < 0 ||
        journal_meta_set(e->j, CONFIRM_WITHIN, NULL, err) < 0 ||
        move(e, STATE_PROMOTING, NULL, err) < 0)
        return -1;
    return finish(e, err);
}

/* --- rollback --- */

void flow_loss(const struct engine *e, char *buf, size_t size)
{
    buf[0] = '\0';
    enum spec_writes writes = e->ctx.side[e->up->to]->writes;
    if (writes == WRITES_REPLAYED || !e->up->flipped)
        return;
    struct step_row flip;
    struct err ignored = {0};
    char since[32] = "the flip", ago[24] = "some time";
    if (journal_step(e->j, e->up->id, "promote/flip", &flip, &ignored) == 0 && flip.ended_wall_ns) {
        time_t at = (time_t)(flip.ended_wall_ns / NSEC_S);
        struct tm tm;
        localtime_r(&at, &tm);
        strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
        clock_words(ago, sizeof(ago), sys_clock_wall() - flip.ended_wall_ns);
    }
    str_format(buf, size, "%s took since %s (%s ago) is in %s's volumes only",
             writes == WRITES_BOTH ? "what it collected by itself and what clients saw of it: all that it"
                                   : "every write that it",
             since, ago, colour_name(e->up->to));
}

static int refuse_lossy_rollback(const struct engine *e, struct err *err)
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

int flow_rollback(struct engine *e, const char *why, struct err *err)
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
    str_format(text, sizeof(text), "rollback to %s (upgrade %s): %.500s", colour_name(e->up->from), e->up->id, why);
    headline(e, text);
    /* Decided once: while we flip back, `flipped` becomes false, and the rest of the way stays the same. */
    if (!begun && (journal_meta_set(e->j, "rollback.after_flip", e->up->flipped ? "yes" : "no", err) < 0 ||
                   journal_deadline_clear(e->j, CONFIRM_DEADLINE, err) < 0 ||
                   journal_meta_set(e->j, CONFIRM_WITHIN, NULL, err) < 0 ||
                   move(e, STATE_ROLLING_BACK, NULL, err) < 0))
        return -1;
    cleanup_str struct str after = {0};
    if (journal_meta_get(e->j, "rollback.after_flip", &after, err) < 0)
        return -1;
    struct plan_goal goal;
    engine_goal(e, &goal);
    goal.after_flip = str_eq(str_cstr(&after), "yes");
    cleanup_plan struct plan plan = {0};
    plan_make(PHASE_ROLLBACK, &goal, &plan);
    if (engine_run(e, &plan, NULL, err) < 0) {
        if (err->code == ERR_INTERRUPTED)
            return interrupted(e, err);
        err->code = err->code == ERR_GATE ? ERR_GATE : ERR_HALFWAY;
        if (!*err->hint)
            err_hint(err, "changeover rollback (tries again); the traffic is where changeover status says");
        return -1;
    }
    if (move(e, STATE_ROLLED_BACK, NULL, err) < 0)
        return -1;
    write_readme(e);
    return 0;
}

/* --- cleanup --- */

int flow_cleanup(struct engine *e, struct err *err)
{
    bool promoted = e->up->flipped;
    headline(e, promoted ? "cleanup: the old side's data" : "cleanup: the standby's data");
    if (e->up->state != STATE_CLEANING && move(e, STATE_CLEANING, NULL, err) < 0)
        return -1;
    cleanup_plan struct plan plan = {0};
    if (run_phase(e, PHASE_CLEANUP, NULL, &plan, err) < 0) {
        if (err->code == ERR_INTERRUPTED)
            return interrupted(e, err);
        err->code = ERR_HALFWAY;
        if (!*err->hint)
            err_hint(err, "changeover cleanup (tries again); live is not touched");
        return -1;
    }
    if (journal_meta_set(e->j, "loss_accepted", NULL, err) < 0 ||
        journal_prune(e->j, e->ctx.side[GREEN]->retention_events, err) < 0 ||
        move(e, STATE_STEADY, promoted ? "promoted" : "rolled back", err) < 0)
        return -1;
    struct err ignored = {0};
    char line[64];
    str_format(line, sizeof(line), "steady: %s is live", colour_name(promoted ? e->up->to : e->up->from));
    if (e->traffic && e->traffic->readme(&e->ctx, line, &ignored) < 0)
        event_warn(&e->tee, "the README in the flag directory is out of date: %s", ignored.msg);
    return 0;
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

static int settle_step(struct engine *e, const char *step, enum colour to, const struct traffic_facts *f,
                       bool *ret_open, struct err *err)
{
    struct step_row row;
    if (journal_step(e->j, e->up->id, step, &row, err) < 0)
        return -1;
    if (row.status != STEP_INTENDED)
        return 0;
    *ret_open = true;
    if (f->flag == COLOUR_NONE)
        return 0;
    /* The flags decide whether it has happened; point() leaves exactly one of them. */
    if (e->traffic->point(&e->ctx, f->flag, err) < 0 || journal_live_set(e->j, f->flag, err) < 0 ||
        journal_upgrade_flipped(e->j, e->up, f->flag == e->up->to, err) < 0)
        return -1;
    return journal_step_end(e->j, e->up->id, step, f->flag == to ? STEP_DONE : STEP_UNDONE, "settled by the flags",
                            err);
}

int flow_settle(struct engine *e, enum colour claimed_live, struct err *err)
{
    if (!e->traffic || claimed_live == COLOUR_NONE)
        return 0;
    struct traffic_facts f = {0};
    bool open = false;
    if (e->traffic->inspect(&e->ctx, &f, err) < 0)
        return -1;
    if (*e->up->id && (settle_step(e, "promote/flip", e->up->to, &f, &open, err) < 0 ||
                       settle_step(e, "rollback/flip", e->up->from, &f, &open, err) < 0))
        return -1;
    if (open || f.flag == claimed_live)
        return 0;
    err_set(err, ERR_HALFWAY, "the journal says that %s is live, the flags in '%s' say %s: nothing was changed",
            colour_name(claimed_live), e->ctx.side[GREEN]->traffic.flag_dir, colour_name(f.flag));
    return err_hint(err, "changeover traffic show; then changeover adopt --live %s (accepts what the flags say), or put the flag back",
                    colour_name(f.flag == COLOUR_NONE ? claimed_live : f.flag));
}
