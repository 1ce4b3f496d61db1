/* promote, confirm: move the traffic, prove it, drain and stop the old side. */
#include "cmd/session.h"
#include "engine/flow.h"
#include "engine/prober.h"

#include <stdio.h>

static const struct cmd_option promote_options[] = {
    {"confirm-within", 0, "TIME", "keep the old side running until confirm; silence rolls back"},
    {"accept-loss", 0, NULL,
     "a way back over the flip may lose writes; with writes: client, flip plainly"},
    {"drop", 0, NULL, "drain: go on although direct clients are left, and cut them"},
    {"no-probe", 0, NULL, "without the probe of the spec: nothing is counted, no limit decides"},
    {0},
};

static int tell_promoted(struct session *s)
{
    if (s->up.state == STATE_AWAITING_CONFIRM) {
        struct deadline d;
        nsec_t left = 0;
        char words[24] = "the time given";
        struct err ignored = {0};
        if (journal_deadline(s->j, CONFIRM_DEADLINE, &d, &left, &ignored) > 0)
            clock_words(words, sizeof(words), left);
        session_result(s, session_next(s), "%s %s is live; silence rolls back to %s in %s",
                       colour_name(s->up.to), s->up.version_to, colour_name(s->up.from), words);
        return 0;
    }
    session_result(s, session_next(s),
                   "%s %s is live; %s is stopped, its data is kept until cleanup",
                   colour_name(s->up.to), s->up.version_to, colour_name(s->up.from));
    return 0;
}

static int refuse(struct session *s, struct err *err)
{
    static const char *const next[STATE_MAX] = {
        [STATE_PREPARING] = "changeover prepare (goes on), or changeover rollback",
        [STATE_ROLLING_BACK] = "changeover rollback (goes on)",
        [STATE_ROLLED_BACK] = "changeover cleanup, then changeover prepare",
        [STATE_CLEANING] = "changeover cleanup",
    };
    err_set(err, ERR_FAILED, "the upgrade %s is %s: it cannot be promoted", s->up.id,
            state_name(s->up.state));
    return err_hint(err, "%s", next[s->up.state] ? next[s->up.state] : "changeover status");
}

static int run_promote(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s = SESSION_NONE;
    nsec_t within = 0;
    const char *text = cmd_option(call, "confirm-within");
    if (text && (clock_parse(text, &within) < 0 || within <= 0))
        return err_set(err, ERR_USAGE, "--confirm-within takes a time such as 10m, not '%s'", text);
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE | SESSION_OPEN, NULL, err) < 0)
        return -1;
    if (s.up.state == STATE_PROMOTED || s.up.state == STATE_AWAITING_CONFIRM)
        return tell_promoted(&s);
    if (s.up.state != STATE_PREPARED && s.up.state != STATE_PROMOTING)
        return refuse(&s, err);
    if (call->dry_run)
        return session_dry_run(
            &s, (enum plan_phase[]){PHASE_PROMOTE, PHASE_HOLD, PHASE_FINISH, PHASE_MAX}, err);
    if (cmd_option(call, "accept-loss")) {
        if (journal_meta_set(s.j, "loss_accepted", "promote --accept-loss", err) < 0)
            return -1;
        s.engine.loss_accepted = s.engine.loss_asked = true;
    }
    s.engine.drop = cmd_option(call, "drop") != NULL;
    if (cmd_option(call, "no-probe") && prober_forgo(&s.engine, err) < 0)
        return -1;
    if (session_reason(&s, err) < 0 || session_guard(&s, err) < 0 ||
        flow_promote(&s.engine, within, err) < 0)
        return -1;
    return tell_promoted(&s);
}

const struct cmd_row cmd_promote = {
    .name = "promote",
    .args = "",
    .summary = "move the traffic in one commit, prove it, drain and stop the old side",
    .flags = CMD_JSON | CMD_DRY_RUN,
    .options = promote_options,
    .run = run_promote,
};

static const struct cmd_option confirm_options[] = {
    {"drop", 0, NULL, "drain: go on although direct clients are left, and cut them"},
    {0},
};

static int run_confirm(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE | SESSION_OPEN, NULL, err) < 0)
        return -1;
    if (s.up.state == STATE_PROMOTED)
        return session_guard(&s, err) < 0 ? -1 : tell_promoted(&s);
    bool killed = s.up.state == STATE_PROMOTING && flow_confirmed(&s.engine);
    if (s.up.state != STATE_AWAITING_CONFIRM && !killed) {
        err_set(err, ERR_FAILED, "the upgrade %s is %s: nothing waits to be confirmed", s.up.id,
                state_name(s.up.state));
        return err_hint(err, "changeover status");
    }
    s.engine.drop = cmd_option(call, "drop") != NULL;
    if (session_reason(&s, err) < 0 || session_guard(&s, err) < 0 ||
        (killed ? flow_promote(&s.engine, 0, err) : flow_confirm(&s.engine, err)) < 0)
        return -1;
    return tell_promoted(&s);
}

const struct cmd_row cmd_confirm = {
    .name = "confirm",
    .args = "",
    .summary = "keep the new side after promote --confirm-within",
    .flags = CMD_JSON,
    .options = confirm_options,
    .run = run_confirm,
};
