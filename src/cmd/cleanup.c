/* cleanup: the loser's data goes, and the upgrade ends. */
#include "cmd/graph.h"
#include "engine/flow.h"

#include <stdio.h>

static const struct cmd_option options[] = {
    {"destroy-snapshots", 0, NULL,
     "ZFS: destroy the snapshots of others on the loser too, each by its name"},
    {"retire", 0, NULL,
     "ZFS: keep the loser's data sets as NAME.retired-ID, not mounted and not ours, so that the "
     "names are free"},
    {0},
};

static enum colour loser_of(const struct session *s)
{
    return s->up.flipped ? s->up.from : s->up.to;
}

/* What the options say; else what an earlier cleanup of this upgrade was told. */
static int take_options(struct session *s, struct err *err)
{
    bool take = cmd_option(s->call, "destroy-snapshots") != NULL,
         retire = cmd_option(s->call, "retire") != NULL;
    enum colour loser = loser_of(s);
    size_t kept = 0;
    if (take && retire)
        return err_set(err, ERR_USAGE,
                       "--retire keeps the snapshots, --destroy-snapshots destroys them: one of "
                       "the two");
    if (flow_cleanup_as_told(&s->engine, err) < 0)
        return -1;
    if (!take && !retire)
        return 0;
    for (size_t i = 0; i < s->side[loser]->volumes_n; i++)
        kept += s->side[loser]->volumes[i].dataset != NULL;
    if (!kept) {
        err_set(err, ERR_USAGE, "--%s is for ZFS, and no volume of %s is on it",
                retire ? "retire" : "destroy-snapshots", colour_name(loser));
        return err_hint(err, "changeover cleanup");
    }
    s->engine.retire = retire;
    s->engine.ctx.take_snapshots = take;
    return 0;
}

static void tell_graph(struct session *s, const struct graph *g, const char *when)
{
    cleanup_str struct str text = {0};
    if (!g->volumes)
        return;
    graph_words(g, "  ", &text);
    event_note(&s->engine.tee, "the data sets %s:\n%s", when,
               g->all.n ? str_cstr(&text) : "  none");
}

/* By name, whatever goes that is not ours. */
static void list_snapshots(struct session *s, const struct graph *g)
{
    for (size_t i = 0; s->engine.ctx.take_snapshots && i < g->all.n; i++)
        if (g->all.v[i].plain)
            event_warn(&s->engine.tee, "not ours, and to be destroyed: %s", g->all.v[i].name);
}

static int confirm(struct session *s, const struct graph *g, struct err *err)
{
    const char *loser = colour_name(loser_of(s));
    char question[256];
    size_t theirs = 0;
    for (size_t i = 0; s->engine.ctx.take_snapshots && i < g->all.n; i++)
        theirs += g->all.v[i].plain;
    if (s->engine.retire)
        str_format(question, sizeof(question),
                   "rename %s's data sets to NAME.retired-%s and let go of them (after that there "
                   "is no way back by changeover)?",
                   loser, s->up.id);
    else if (s->engine.ctx.take_snapshots)
        str_format(question, sizeof(question),
                   "destroy %s's data and the %zu snapshots of others on it that are listed above, "
                   "and any that come meanwhile (after that there is no way back to it)?",
                   loser, theirs);
    else
        str_format(question, sizeof(question),
                   "destroy %s's data (after that there is no way back to it)?", loser);
    int r = cmd_ask(s->call, question, err);
    return r > 0 ? err_set(err, ERR_USAGE, "not confirmed: nothing was changed") : r;
}

static int clean(struct session *s, struct err *err)
{
    cleanup_graph struct graph before = {0}, after = {0};
    enum colour loser = loser_of(s);
    if (graph_look(s, loser, NULL, &before, err) < 0)
        return -1;
    tell_graph(s, &before, "before");
    list_snapshots(s, &before);
    if (confirm(s, &before, err) < 0 || session_guard(s, err) < 0 ||
        flow_cleanup_how(&s->engine, s->engine.ctx.take_snapshots, s->engine.retire, err) < 0 ||
        flow_cleanup(&s->engine, err) < 0 || graph_look(s, loser, NULL, &after, err) < 0)
        return -1;
    tell_graph(s, &after, "after");
    if (before.volumes)
        s->more = json_pack("{s:o, s:o}", "graph_before", graph_json(&before), "graph_after",
                            graph_json(&after));
    return 0;
}

static int run_cleanup(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK | SESSION_SETTLE, NULL, err) < 0)
        return -1;
    if (!s.open) {
        session_result(&s, NULL, "nothing to clean up: %s is live and steady", colour_name(s.live));
        return 0;
    }
    if (s.up.state != STATE_PROMOTED && s.up.state != STATE_ROLLED_BACK &&
        s.up.state != STATE_CLEANING) {
        err_set(err, ERR_FAILED, "the upgrade %s is %s: both sides are still needed", s.up.id,
                state_name(s.up.state));
        return err_hint(err, "changeover promote or changeover rollback first");
    }
    if (take_options(&s, err) < 0)
        return -1;
    if (call->dry_run)
        return session_dry_run(&s, (enum plan_phase[]){PHASE_CLEANUP, PHASE_MAX}, err);
    if (clean(&s, err) < 0)
        return -1;
    s.open = false;
    session_result(&s, NULL, "%s is live and steady", colour_name(s.live));
    return 0;
}

const struct cmd_row cmd_cleanup = {
    .name = "cleanup",
    .args = "",
    .summary = "destroy the loser's data and end the upgrade",
    .flags = CMD_JSON | CMD_DRY_RUN,
    .options = options,
    .run = run_cleanup,
};
