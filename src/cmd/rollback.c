/* rollback, resume. */
#include "cmd/session.h"
#include "engine/flow.h"
#include "plan/plan.h"

#include <stdio.h>

static const struct cmd_option rollback_options[] = {
    {"accept-loss", 0, NULL, "what the new side took since the flip may be lost"},
    {"drop", 0, NULL, "drain: go on although direct clients are left, and cut them"},
    {0},
};

static int tell_rolled_back(struct session *s)
{
    session_result(s, session_next(s), "%s is live; %s is stopped, its data is kept until cleanup",
                   colour_name(s->up.from), colour_name(s->up.to));
    return 0;
}

static int run_rollback(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE | SESSION_OPEN, NULL, err) < 0)
        return -1;
    if (call->dry_run)
        return session_dry_run(&s, (enum plan_phase[]){PHASE_ROLLBACK, PHASE_MAX}, err);
    if (cmd_option(call, "accept-loss")) {
        if (journal_meta_set(s.j, "loss_accepted", "rollback --accept-loss", err) < 0)
            return -1;
        s.engine.loss_accepted = true;
    }
    s.engine.drop = cmd_option(call, "drop") != NULL;
    if (session_reason(&s, err) < 0 || session_guard(&s, err) < 0 ||
        flow_rollback(&s.engine, call->reason ? call->reason : "asked for", err) < 0)
        return -1;
    return tell_rolled_back(&s);
}

const struct cmd_row cmd_rollback = {
    .name = "rollback",
    .args = "",
    .summary = "go back to the old side, from any stage",
    .flags = CMD_JSON | CMD_DRY_RUN,
    .options = rollback_options,
    .run = run_rollback,
};

static int run_resume(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE, NULL, err) < 0)
        return -1;
    if (!s.open) {
        session_result(&s, NULL, "nothing is half way: %s is live and steady", colour_name(s.live));
        return 0;
    }
    if (session_guard(&s, err) < 0 || flow_resume(&s.engine, err) < 0)
        return -1;
    s.open = s.up.state != STATE_STEADY;
    session_result(&s, session_next(&s), "the upgrade is %s", state_name(s.up.state));
    return 0;
}

const struct cmd_row cmd_resume = {
    .name = "resume",
    .args = "",
    .summary = "go on after a crash or an interruption",
    .flags = CMD_JSON,
    .run = run_resume,
};
