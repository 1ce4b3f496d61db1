/* adopt: the first contact with a service that runs; or accepting what flags and runtime show after
 * a flip by hand. */
#include "cmd/live.h"
#include "cmd/session.h"
#include "engine/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"live", 0, "COLOUR",
     "which colour runs (first contact: green), or serves (after a flip by hand)"},
    {"deployment", 0, "NAME",
     "with driver kubernetes: the Deployment (default: the colour's name)"},
    {"pid", 0, "PID", "the process (default: whoever listens on the HTTP port)"},
    {"version", 0, "VERSION", "what runs (default: ask it)"},
    {0},
};

static int parse_pid(const char *text, pid_t *ret, struct err *err)
{
    char *end = NULL;
    long v = text ? strtol(text, &end, 10) : 0;
    if (text && (*end || v <= 0))
        return err_set(err, ERR_USAGE, "--pid takes a process number, not '%s'", text);
    *ret = (pid_t)v;
    return 0;
}

static int first_contact(struct session *s, struct err *err)
{
    pid_t pid = 0;
    enum colour c;
    char version[64];
    cleanup_str struct str text = {0};
    if (parse_pid(cmd_option(s->call, "pid"), &pid, err) < 0 ||
        live_choose(s, cmd_option(s->call, "live"), &c, err) < 0 ||
        live_version(s, c, cmd_option(s->call, "version"), version, err) < 0 ||
        session_rebind(s, c, *version ? version : NULL, err) < 0)
        return -1;
    s->engine.ctx.adopt_name = cmd_option(s->call, "deployment");
    if (s->engine.runtime->adopt(&s->engine.ctx, c, pid, &text, err) < 0) {
        bool wants = !*version && strstr(s->file_text, "${version}");
        return wants ? err_hint(err, "changeover adopt --version V: the spec says ${version}, and "
                                     "what runs cannot be asked")
                     : -1;
    }
    if (live_settle_in(s, c, version, err) < 0)
        return -1;
    session_result(
        s, "changeover check; then changeover traffic install, if the proxy has no block yet",
        "adopted %s as %s%s%s\n%s", s->side[c]->service, colour_name(c),
        *version ? ", version " : "", version, str_cstr(&text));
    return 0;
}

/* An upgrade whose flip was done (or taken back) by hand goes on from there. The loss was named in
 * the question. */
static int accept_open(struct session *s, enum colour c, struct err *err)
{
    return c == s->up.from ? flow_rollback_by_hand(&s->engine, err)
                           : flow_promote_by_hand(&s->engine, err);
}

static int ask(struct session *s, enum colour c, struct err *err)
{
    char question[640], loss[256] = "";
    if (s->open && c == s->up.from)
        flow_loss(&s->engine, loss, sizeof(loss));
    str_format(question, sizeof(question), "accept that %s is live (the journal says %s)?%s%s",
               colour_name(c), colour_name(s->live), *loss ? " What that loses: " : "", loss);
    int r = cmd_ask(s->call, question, err);
    if (r != 0)
        return r < 0 ? -1 : err_set(err, ERR_USAGE, "not confirmed: nothing was changed");
    if (*loss)
        event_warn(&s->out, "%s", loss);
    return 0;
}

/* Who flipped by hand may have started the instance by hand too: then it is taken over, as at first
 * contact. */
static int take_instance(struct session *s, enum colour c, struct err *err)
{
    struct instance_facts f = {0};
    cleanup_str struct str text = {0};
    if (s->engine.runtime->inspect(&s->engine.ctx, c, &f, err) < 0)
        return -1;
    if (f.state == INSTANCE_RUNNING)
        return 0;
    if (s->engine.runtime->adopt(&s->engine.ctx, c, 0, &text, err) < 0) {
        err_ctx(err, "%s has the flag, but does not run: nothing was changed", colour_name(c));
        return err_hint(err,
                        "put the flag back, by the README in '%s'; or start %s by hand, then the "
                        "same command again",
                        s->side[c]->traffic.flag_dir, colour_name(c));
    }
    event_note(&s->out, "%s", str_cstr(&text));
    return 0;
}

/* No upgrade is open: who flipped and what is the new side's data, nobody noted. It is settled in
 * as at first contact; the other side is not ours to stop then. */
static int accept_steady(struct session *s, enum colour c, struct err *err)
{
    char version[64];
    struct instance_facts old = {0};
    enum colour was = s->live;
    if (live_version(s, c, NULL, version, err) < 0 || live_settle_in(s, c, version, err) < 0 ||
        s->engine.runtime->boot(&s->engine.ctx, c, true, err) < 0 ||
        s->engine.runtime->boot(&s->engine.ctx, was, false, err) < 0 ||
        s->engine.runtime->inspect(&s->engine.ctx, was, &old, err) < 0)
        return -1;
    if (old.state == INSTANCE_RUNNING)
        event_warn(&s->out,
                   "%s still runs (process %d): it is not live any more; stop it by hand before "
                   "the next prepare",
                   colour_name(was), (int)old.pid.pid);
    return 0;
}

static int accept_by_hand(struct session *s, enum colour c, struct err *err)
{
    struct traffic_facts f = {0};
    if (s->engine.traffic &&
        s->engine.traffic->inspect(&s->engine.ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    if (s->engine.traffic && f.flag != c) {
        err_set(err, ERR_FAILED, "%s %s, not %s: nothing was changed", f.source,
                colour_name(f.flag), colour_name(c));
        return f.flag == COLOUR_NONE
                   ? err_hint(err, "changeover traffic install (sets live's flag again)")
                   : err_hint(err, "changeover adopt --live %s", colour_name(f.flag));
    }
    if (c == s->live) {
        session_result(s, session_next(s), "%s is live already: flags and journal agree",
                       colour_name(c));
        return 0;
    }
    if (ask(s, c, err) < 0 || take_instance(s, c, err) < 0)
        return -1;
    if (live_gate(s, c, err) < 0)
        return err_ctx(err, "%s does not pass its gate, so it is not accepted as live",
                       colour_name(c));
    if ((s->open ? accept_open(s, c, err) : accept_steady(s, c, err)) < 0)
        return -1;
    s->live = c;
    s->open = s->open && s->up.state != STATE_STEADY;
    session_result(s, session_next(s),
                   s->open ? "%s is live; the upgrade is %s" : "%s is live and %s", colour_name(c),
                   state_name(s->open ? s->up.state : STATE_STEADY));
    return 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s = SESSION_NONE;
    const char *text = cmd_option(call, "live");
    enum colour c = text ? colour_parse(text) : COLOUR_NONE;
    if (text && c == COLOUR_NONE)
        return err_set(err, ERR_USAGE, "--live takes green or blue, not '%s'", text);
    if (session_open(&s, call, SESSION_LOCK | SESSION_CREATE, NULL, err) < 0)
        return -1;
    if (s.live == COLOUR_NONE)
        return first_contact(&s, err);
    if (c != COLOUR_NONE)
        return accept_by_hand(&s, c, err);
    err_set(err, ERR_EXISTS, "%s is adopted already: %s is live", s.side[GREEN]->service,
            colour_name(s.live));
    return err_hint(err, "changeover status; or adopt --live COLOUR after a flip by hand");
}

const struct cmd_row cmd_adopt = {
    .name = "adopt",
    .args = "",
    .summary = "take over a service that runs; or accept a flip made by hand",
    .flags = CMD_JSON,
    .options = options,
    .run = run,
};
