/* prepare: preflight, clone, start the standby, wait at the gate. */
#include "cmd/session.h"
#include "engine/flow.h"
#include "engine/hole.h"
#include "sys/fault.h"

#include <stdio.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"target-version", 't', "VERSION",
     "the version to upgrade to (default: the live one, new flags)"},
    {0},
};

static int refuse_other_target(struct session *s, const char *target, struct err *err)
{
    if (!target || str_eq(target, s->up.version_to))
        return 0;
    bool over = s->up.state == STATE_PROMOTED || s->up.state == STATE_ROLLED_BACK ||
                s->up.state == STATE_CLEANING;
    err_set(err, ERR_FAILED, "an upgrade to %s is open (%s); it is not turned into one to %s",
            s->up.version_to, state_name(s->up.state), target);
    return err_hint(
        err, over ? "changeover cleanup, then the same command again"
                  : "changeover rollback, then changeover cleanup, then the same command again");
}

static int refuse_state(struct session *s, struct err *err)
{
    err_set(err, ERR_FAILED, "the upgrade %s is %s: there is nothing to prepare", s->up.id,
            state_name(s->up.state));
    static const char *const next[STATE_MAX] = {
        [STATE_PROMOTING] = "changeover resume, or changeover rollback",
        [STATE_AWAITING_CONFIRM] = "changeover confirm, or changeover rollback",
        [STATE_PROMOTED] = "changeover cleanup, then the same command again",
        [STATE_ROLLING_BACK] = "changeover rollback (goes on)",
        [STATE_ROLLED_BACK] = "changeover cleanup, then the same command again",
        [STATE_CLEANING] = "changeover cleanup, then the same command again",
    };
    return err_hint(err, "%s", next[s->up.state] ? next[s->up.state] : "changeover status");
}

static int begin(struct session *s, const char *target, struct err *err)
{
    if (s->live == COLOUR_NONE) {
        err_set(err, ERR_FAILED, "nothing has been adopted yet: nobody knows what is live");
        return err_hint(
            err, "changeover adopt (the service runs), or changeover start (its first start)");
    }
    if (session_need_file(s, err) < 0)
        return -1;
    enum colour to = colour_other(s->live);
    const char *from_version = s->gen[s->live].version;
    s->up = (struct upgrade){.state = STATE_PREPARING, .from = s->live, .to = to};
    str_format(s->up.version_from, sizeof(s->up.version_from), "%s", from_version);
    str_format(s->up.version_to, sizeof(s->up.version_to), "%s", target ? target : from_version);
    if (session_rebind(s, to, *s->up.version_to ? s->up.version_to : NULL, err) < 0)
        return -1;
    if (s->call->dry_run)
        return 0;
    /* At once: an upgrade without its colour's spec could go neither on nor back. */
    if (journal_begin(s->j, err) < 0)
        return -1;
    bool ok = journal_upgrade_begin(s->j, &s->up, err) == 0 &&
              session_store(s, to, s->up.version_to, err) == 0;
    if (journal_end(s->j, ok, err) < 0)
        return -1;
    s->open = true;
    if (sys_fault_point("state:preparing") < 0)
        return err_sys(err, ERR_FAILED, "fault point state:preparing");
    return 0;
}

/* By now the upgrade is open, though nothing of it is done yet. */
static int begin_guarded(struct session *s, struct err *err)
{
    if (session_guard(s, err) == 0)
        return 0;
    err->code = ERR_HALFWAY;
    return err_hint(err,
                    "look at %s/guard.log; then changeover prepare (goes on), or changeover "
                    "rollback",
                    s->service_dir);
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    const char *target = cmd_option(call, "target-version");
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE, target, err) < 0)
        return -1;
    if (s.open && refuse_other_target(&s, target, err) < 0)
        return -1;
    if (s.open && s.up.state != STATE_PREPARING && s.up.state != STATE_PREPARED)
        return refuse_state(&s, err);
    /* What live is kept by counts from here on as it is now. */
    if (!call->dry_run && s.live != COLOUR_NONE && s.engine.runtime->settle &&
        s.engine.runtime->settle(&s.engine.ctx, s.live, err) < 0)
        return -1;
    if (!s.open && begin(&s, target, err) < 0)
        return -1;
    if (call->dry_run)
        return session_dry_run(&s, (enum plan_phase[]){PHASE_PREPARE, PHASE_MAX}, err);
    /* The guard comes before the first effect, so that no promise is made without it. */
    if (session_reason(&s, err) < 0 || begin_guarded(&s, err) < 0 ||
        flow_prepare(&s.engine, err) < 0)
        return -1;
    char hole[256];
    hole_words(s.j, &s.up, hole, sizeof(hole));
    session_result(
        &s, session_next(&s), "%s %s is prepared: it runs beside %s and has caught up%s%s",
        colour_name(s.up.to), s.up.version_to, colour_name(s.up.from), *hole ? "\n" : "", hole);
    return 0;
}

const struct cmd_row cmd_prepare = {
    .name = "prepare",
    .args = "",
    .summary = "clone live's data, start the new version on it, wait until it has caught up",
    .flags = CMD_JSON | CMD_DRY_RUN,
    .options = options,
    .run = run,
};
