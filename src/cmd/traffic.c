/* changeover traffic: who gets the requests, and the block of the Caddyfile that decides it. */
#include "cmd/session.h"
#include "driver/traffic/log.h"
#include "driver/traffic/ops.h"
#include "format/rows.h"
#include "translate/caddyfile.h"

#include <stdio.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"last", 0, "TIME", "show: count the requests of the last TIME by colour, from the access log"},
    {"live", 0, "COLOUR", "install: the colour that is live, if there is no flag yet"},
    {"for", 0, "VERSION", "render: for this version of Caddy, whether it runs or not"},
    {NULL},
};

static int colour_argument(const struct cmd_call *call, enum colour *ret, struct err *err)
{
    *ret = call->argc == 2 ? colour_parse(call->argv[1]) : COLOUR_NONE;
    if (*ret == COLOUR_NONE)
        return err_set(err, ERR_USAGE, "traffic %s: which colour? green or blue", call->argv[0]);
    return 0;
}

/* --- show ---------------------------------------------------------------------------------- */

enum {
    COL_COLOUR,
    COL_TRAFFIC,
    COL_REQUESTS,
    COL_WEBSOCKETS,
    COL_DIRECT,
    COL_WAITING,
    COL_ANSWERED,
    COL_PEERS
};
static const struct rows_column show_columns[] = {
    {"colour", "COLOUR", ROWS_TEXT},        {"traffic", "TRAFFIC", ROWS_BOOL},
    {"requests", "IN-FLIGHT", ROWS_NUMBER}, {"websockets", "WEBSOCKETS", ROWS_NUMBER},
    {"direct", "DIRECT", ROWS_NUMBER},      {"waiting", "WAITING", ROWS_NUMBER},
    {"answered", "ANSWERED", ROWS_NUMBER},  {"peers", "DIRECT CLIENTS", ROWS_TEXT},
};

static void show_colour(const struct session *s, enum colour c, const struct traffic_facts *f,
                        const struct traffic_counts *counts, struct rows *t)
{
    struct traffic_load l;
    rows_add(t);
    rows_text(t, COL_COLOUR, "%s", colour_name(c));
    rows_bool(t, COL_TRAFFIC, f->seen == c);
    if (counts)
        rows_number(t, COL_ANSWERED, (double)counts->answered[c]);
    if (!f->reachable || s->engine.traffic->load(&s->engine.ctx, c, &l, NULL) < 0)
        return;
    if (l.listed) {
        rows_number(t, COL_REQUESTS, l.requests);
        rows_number(t, COL_WEBSOCKETS, l.websockets);
    }
    rows_number(t, COL_DIRECT, l.foreign);
    rows_number(t, COL_WAITING, l.waiting);
    if (*l.peers)
        rows_text(t, COL_PEERS, "%s", l.peers);
}

static void show_json(const struct rows *t, const struct traffic_facts *f,
                      const struct traffic_counts *counts)
{
    json_t *j =
        json_pack("{s:s, s:s, s:b, s:b, s:s, s:b, s:b, s:s, s:o}", "flag", colour_name(f->flag),
                  "seen", colour_name(f->seen), "reachable", f->reachable, "installed",
                  f->installed, "version", f->version, "hold", f->held[GREEN] || f->held[BLUE],
                  "failover", f->failover, "text", f->text, "colours", rows_json(t));
    if (counts)
        json_object_set_new(j, "last",
                            json_pack("{s:I, s:I, s:b}", "no_flag", (json_int_t)counts->none,
                                      "failed", (json_int_t)counts->failed, "cut", counts->cut));
    char *text = json_dumps(j, JSON_INDENT(2));
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(j);
}

static int run_show(struct session *s, struct err *err)
{
    struct traffic_facts f;
    struct traffic_counts counts = {0};
    const char *last = cmd_option(s->call, "last");
    nsec_t ago = 0;
    if (last && (clock_parse(last, &ago) < 0 || ago <= 0))
        return err_set(err, ERR_USAGE, "--last %s: a time such as 10s is needed", last);
    if (last && traffic_show_last(&s->engine.ctx, (double)ago / 1e9, &counts, err) < 0)
        return -1;
    if (s->engine.traffic->inspect(&s->engine.ctx, TRAFFIC_GLANCE, &f, err) < 0)
        return -1;
    cleanup_rows struct rows t = rows_new(show_columns, ARRAY_LEN(show_columns));
    for (int c = 0; c < COLOURS; c++)
        show_colour(s, (enum colour)c, &f, last ? &counts : NULL, &t);
    if (s->call->json) {
        show_json(&t, &f, last ? &counts : NULL);
        return f.seen == COLOUR_NONE;
    }
    cleanup_str struct str out = {0};
    if (s->engine.traffic->loses)
        str_addf(&out, "%s %s\n", f.source, colour_name(f.flag));
    else
        str_addf(&out, "flags %s, Caddy%s%s chooses %s%s%s%s\n", colour_name(f.flag),
                 *f.version ? " " : "", f.version, colour_name(f.seen),
                 f.held[GREEN] || f.held[BLUE] ? ", holding requests" : "",
                 f.failover ? ", failover on" : "", f.installed ? "" : ", block not installed");
    if (*f.text)
        str_addf(&out, "%s\n", f.text);
    rows_print(&t, &out);
    if (last)
        str_addf(&out,
                 "last %s: %llu to green, %llu to blue, %llu without a flag (503), %llu of all "
                 "failed%s\n",
                 last, (unsigned long long)counts.answered[GREEN],
                 (unsigned long long)counts.answered[BLUE], (unsigned long long)counts.none,
                 (unsigned long long)counts.failed, counts.cut ? " (the log begins later)" : "");
    fputs(str_cstr(&out), stdout);
    return f.seen == COLOUR_NONE;
}

/* --- the block ----------------------------------------------------------------------------- */

/* The stored specs bind what runs; the block follows the file as soon as no upgrade is open. */
static int use_file(struct session *s, struct err *err)
{
    if (s->open)
        return 0;
    return session_rebind(s, GREEN, NULL, err) < 0 ? -1 : session_rebind(s, BLUE, NULL, err);
}

static int run_render(struct session *s, struct err *err)
{
    if (use_file(s, err) < 0)
        return -1;
    cleanup_str struct str text = {0};
    const char *version = cmd_option(s->call, "for");
    if (version && s->engine.traffic->loses)
        return err_set(err, ERR_USAGE, "--for %s: driver %s has no versions of Caddy", version,
                       s->engine.traffic->name);
    int r = version ? caddyfile_render(s->side[GREEN], s->side[BLUE], version, &text, err)
                    : s->engine.traffic->render(&s->engine.ctx, &text, err);
    if (r < 0)
        return -1;
    if (s->call->json)
        session_result(s, NULL, "%s", str_cstr(&text));
    else
        fputs(str_cstr(&text), stdout);
    return 0;
}

/* [1]: of a driver without a proxy of ours. */
static const struct {
    const char *question, *readme, *result;
} install_words[] = {{"write this and reload Caddy once?",
                      "The block is installed in Caddy; no upgrade is under way.", "Caddy chooses"},
                     {"write this?", "No upgrade is under way.", "the traffic goes to"}};

static int run_install(struct session *s, struct err *err)
{
    const bool bare = s->engine.traffic->loses != NULL;
    struct traffic_facts f;
    const char *text = cmd_option(s->call, "live");
    enum colour live = text ? colour_parse(text) : COLOUR_NONE;
    if (text && live == COLOUR_NONE)
        return err_set(err, ERR_USAGE, "--live %s: green or blue", text);
    if (use_file(s, err) < 0)
        return -1;
    if (s->engine.traffic->inspect(&s->engine.ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    if (live == COLOUR_NONE)
        live = s->live != COLOUR_NONE ? s->live : f.flag;
    if (live == COLOUR_NONE) {
        err_set(err, ERR_USAGE, "%s %s: which colour is live?", f.source, colour_name(f.flag));
        return err_hint(err, "changeover traffic install --live green");
    }
    cleanup_str struct str diff = {0}, again = {0};
    if (s->engine.traffic->install(&s->engine.ctx, live, true, &diff, err) < 0)
        return -1;
    if (s->call->dry_run && s->call->json)
        session_result(s, "changeover traffic install", "%s", str_cstr(&diff));
    else
        fputs(str_cstr(&diff), s->call->json ? stderr : stdout);
    if (s->call->dry_run)
        return 0;
    if (diff.len) {
        int no = cmd_ask(s->call, install_words[bare].question, err);
        if (no)
            return no < 0 ? -1 : err_set(err, ERR_FAILED, "not installed");
    }
    if (s->engine.traffic->install(&s->engine.ctx, live, false, &again, err) < 0)
        return -1;
    if (s->engine.traffic->readme(&s->engine.ctx, install_words[bare].readme, err) < 0)
        return -1;
    session_result(s, NULL, "%s; %s %s", diff.len ? "installed" : "installed already",
                   install_words[bare].result, colour_name(live));
    return 0;
}

static int run_uninstall(struct session *s, struct err *err)
{
    int no = cmd_ask(s->call, "take the block out and reload Caddy once?", err);
    if (no)
        return no < 0 ? -1 : err_set(err, ERR_FAILED, "not taken out");
    if (s->engine.traffic->uninstall(&s->engine.ctx, err) < 0)
        return -1;
    session_result(s, NULL, "the block is taken out of Caddy");
    return 0;
}

/* --- the flip by hand ---------------------------------------------------------------------- */

static int run_preview(struct session *s, struct err *err)
{
    enum colour to;
    if (colour_argument(s->call, &to, err) < 0 ||
        s->engine.traffic->preview(&s->engine.ctx, to, err) < 0)
        return -1;
    session_result(s, NULL, "%s could take the traffic", colour_name(to));
    return 0;
}

static int run_verify(struct session *s, struct err *err)
{
    enum colour to;
    if (colour_argument(s->call, &to, err) < 0 ||
        s->engine.traffic->verify(&s->engine.ctx, to, err) < 0)
        return -1;
    session_result(s, NULL, "%s has the traffic", colour_name(to));
    return 0;
}

static int run_point(struct session *s, struct err *err)
{
    enum colour to;
    char question[160];
    if (colour_argument(s->call, &to, err) < 0)
        return -1;
    if (s->open) {
        err_set(err, ERR_FAILED, "the upgrade %s is %s: it moves the traffic itself", s->up.id,
                state_name(s->up.state));
        return err_hint(
            err,
            "changeover promote or changeover rollback; changeover status says where it stands");
    }
    if (s->call->dry_run)
        return run_preview(s, err);
    snprintf(question, sizeof(question), "send all traffic to %s now, outside of any upgrade?",
             colour_name(to));
    int no = cmd_ask(s->call, question, err);
    if (no)
        return no < 0 ? -1 : err_set(err, ERR_FAILED, "the traffic stays where it is");
    if (s->engine.traffic->preview(&s->engine.ctx, to, err) < 0 ||
        s->engine.traffic->point(&s->engine.ctx, to, err) < 0)
        return -1;
    if (s->engine.traffic->verify(&s->engine.ctx, to, err) < 0) {
        err->code = ERR_HALFWAY;
        return err_hint(err, "changeover traffic point %s", colour_name(colour_other(to)));
    }
    if (s->engine.traffic->readme(
            &s->engine.ctx, "The traffic was pointed by hand (changeover traffic point).", err) < 0)
        return -1;
    cleanup_free char *next = x_asprintf("changeover adopt --live %s", colour_name(to));
    session_result(s, next, "the traffic goes to %s", colour_name(to));
    return 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    static const struct {
        const char *name;
        int max_args;
        unsigned flags;
        int (*run)(struct session *, struct err *);
        bool no_dry_run;
    } actions[] = {
        {"show", 1, 0, run_show, false},
        {"render", 1, SESSION_FILE, run_render, false},
        {"install", 1, SESSION_LOCK | SESSION_FILE, run_install, false},
        {"uninstall", 1, SESSION_LOCK, run_uninstall, true},
        {"point", 2, SESSION_LOCK, run_point, false},
        {"preview", 2, 0, run_preview, false},
        {"verify", 2, 0, run_verify, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (!str_eq(actions[i].name, call->argv[0]))
            continue;
        if (call->argc > actions[i].max_args)
            return err_set(err, ERR_USAGE, "traffic %s: '%s' is too much", call->argv[0],
                           call->argv[actions[i].max_args]);
        if (call->dry_run && actions[i].no_dry_run)
            return err_set(err, ERR_USAGE, "traffic %s has no dry run (-n)", call->argv[0]);
        cleanup_session struct session s;
        unsigned flags = actions[i].flags & (call->dry_run ? ~(unsigned)SESSION_LOCK : ~0U);
        if (session_open(&s, call, flags | SESSION_EMPTY, NULL, err) < 0)
            return -1;
        if (!s.engine.traffic)
            return err_set(err, ERR_USAGE, "%s: 'traffic.driver: none' leaves nothing to do here",
                           s.side[GREEN]->path);
        return actions[i].run(&s, err);
    }
    err_set(err, ERR_USAGE, "traffic: there is no '%s'", call->argv[0]);
    return err_hint(err, "changeover help traffic");
}

const struct cmd_row cmd_traffic = {
    .name = "traffic",
    .args = "show|render|install|uninstall|point|preview|verify [COLOUR]",
    .summary = "who gets the requests: look, write Caddy's block, flip by hand",
    .min_args = 1,
    .max_args = 2,
    .flags = CMD_JSON | CMD_DRY_RUN,
    .options = options,
    .help = "  show             flags, what Caddy would choose, requests in flight and direct "
            "clients by colour\n"
            "  render           the block for the running Caddy (or --for VERSION), on stdout\n"
            "  install          shows the change of the Caddyfile, checks it, reloads once, reads "
            "it back\n"
            "  uninstall        takes it out again\n"
            "  point COLOUR     flips by hand: preview, flip, proof (with -n the preview alone)\n"
            "  preview COLOUR   could it take the traffic? (changes nothing)\n"
            "  verify COLOUR    does it have the traffic? (changes nothing)\n",
    .run = run,
};
