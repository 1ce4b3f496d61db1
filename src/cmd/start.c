/* start, stop, forget: of the live colour. */
#include "cmd/live.h"
#include "cmd/session.h"
#include "driver/owner.h"

#include <stdio.h>

static const struct cmd_option start_options[] = {
    {"boot", 0, NULL, "start whatever was to come back after a reboot (for the boot unit)"},
    {"live", 0, "COLOUR", "first start: which colour (default: green)"},
    {"version", 0, "VERSION", "first start: which version"},
    {0},
};

static int boot_one(struct session *s, enum colour c, struct err *err)
{
    struct instance_facts f = {0};
    bool standby = s->open && c == s->up.to && !s->up.flipped;
    if (s->engine.runtime->inspect(&s->engine.ctx, c, &f, err) < 0)
        return -1;
    if (!f.boot || f.state == INSTANCE_RUNNING)
        return 0;
    if (s->engine.runtime->start(&s->engine.ctx, c, standby, err) < 0)
        return err_ctx(err, "start %s", colour_name(c));
    event_note(&s->out, "started %s", colour_name(c));
    return 0;
}

/* Live first; whatever one of the three cannot do, the others are tried. */
static int start_boot(struct session *s, struct err *err)
{
    enum colour first = s->live == COLOUR_NONE ? GREEN : s->live;
    struct err each[3] = {0};
    int r = boot_one(s, first, &each[0]);
    r |= boot_one(s, colour_other(first), &each[1]);
    r |= s->open ? session_guard(s, &each[2]) : 0;
    for (size_t i = 0; i < ARRAY_LEN(each); i++) {
        if (each[i].code == ERR_NONE)
            continue;
        if (err->code == ERR_NONE)
            *err = each[i];
        else
            event_warn(&s->out, "%s", each[i].msg);
    }
    return r;
}

static int first_start(struct session *s, struct err *err)
{
    const char *version = cmd_option(s->call, "version");
    enum colour c;
    if (live_choose(s, cmd_option(s->call, "live"), &c, err) < 0 ||
        session_rebind(s, c, version, err) < 0 || live_settle_in(s, c, version, err) < 0)
        return -1;
    str_format(s->gen[c].version, sizeof(s->gen[c].version), "%s", version ? version : "");
    s->has_gen[c] = true;
    return 0;
}

static int run_start(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    /* A boot starts what was to come back, whatever the flags say: nothing of it moves traffic. */
    unsigned flags =
        SESSION_LOCK | (cmd_option(call, "boot") ? 0 : SESSION_CREATE | SESSION_SETTLE);
    if (session_open(&s, call, flags, cmd_option(call, "version"), err) < 0)
        return -1;
    if (cmd_option(call, "boot"))
        return start_boot(&s, err);
    if (s.live == COLOUR_NONE && first_start(&s, err) < 0)
        return -1;
    if (s.engine.runtime->boot(&s.engine.ctx, s.live, true, err) < 0 ||
        s.engine.runtime->start(&s.engine.ctx, s.live, false, err) < 0 ||
        live_gate(&s, s.live, err) < 0)
        return -1;
    session_result(&s, "changeover status", "%s %s runs and passes its gate", colour_name(s.live),
                   s.gen[s.live].version);
    return 0;
}

const struct cmd_row cmd_start = {
    .name = "start",
    .args = "",
    .summary = "start the live colour: its first start, after a boot, after stop",
    .flags = CMD_JSON,
    .options = start_options,
    .run = run_start,
};

static int refuse_open(struct session *s, struct err *err)
{
    if (!s->open)
        return 0;
    err_set(err, ERR_FAILED, "the upgrade %s is %s: its steps start and stop things themselves",
            s->up.id, state_name(s->up.state));
    return err_hint(err, "changeover status; end the upgrade first");
}

static int run_stop(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE, NULL, err) < 0 ||
        refuse_open(&s, err) < 0)
        return -1;
    char question[160];
    str_format(question, sizeof(question),
               "stop %s, the live colour? Its clients get no answers until changeover start",
               colour_name(s.live));
    int r = cmd_ask(call, question, err);
    if (r != 0)
        return r < 0 ? -1 : err_set(err, ERR_USAGE, "not confirmed: nothing was changed");
    if (s.engine.runtime->boot(&s.engine.ctx, s.live, false, err) < 0 ||
        s.engine.runtime->stop(&s.engine.ctx, s.live, err) < 0)
        return -1;
    session_result(&s, "changeover start", "%s is stopped", colour_name(s.live));
    return 0;
}

const struct cmd_row cmd_stop = {
    .name = "stop",
    .args = "",
    .summary = "stop the live colour, for maintenance",
    .flags = CMD_JSON,
    .run = run_stop,
};

static int run_forget(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE, NULL, err) < 0 ||
        refuse_open(&s, err) < 0)
        return -1;
    if (s.live == COLOUR_NONE) {
        session_result(&s, NULL, "%s is not adopted: nothing to forget", s.service);
        return 0;
    }
    int r = cmd_ask(
        call, "hand the service back? It goes on running; our marks and our claim are removed",
        err);
    if (r != 0)
        return r < 0 ? -1 : err_set(err, ERR_USAGE, "not confirmed: nothing was changed");
    enum colour was = s.live;
    if (live_unmark(&s, was, err) < 0 || owner_remove(s.side[was]->traffic.flag_dir, err) < 0 ||
        s.engine.runtime->boot(&s.engine.ctx, was, false, err) < 0 ||
        journal_generation_clear(s.j, GREEN, err) < 0 ||
        journal_generation_clear(s.j, BLUE, err) < 0 || journal_live_set(s.j, COLOUR_NONE, err) < 0)
        return -1;
    s.live = COLOUR_NONE;
    session_result(&s, NULL, "forgot %s; %s goes on running, and its flag stays in '%s'", s.service,
                   colour_name(was), s.side[was]->traffic.flag_dir);
    return 0;
}

const struct cmd_row cmd_forget = {
    .name = "forget",
    .args = "",
    .summary = "hand the service back: remove our marks and our claim",
    .flags = CMD_JSON,
    .run = run_forget,
};
