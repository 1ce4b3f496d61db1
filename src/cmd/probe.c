/* changeover probe URL: load, and what the users of the service saw of it. */
#include "probe/probe.h"
#include "cmd/cmd.h"
#include "cmd/session.h"
#include "format/rows.h"
#include "probe/selftest.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/loop.h"
#include "sys/term.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"rate", 'r', "N", "requests a second, at times fixed beforehand (default: 500)"},
    {"ramp-to", 0, "N", "the rate at the end of --duration, evenly from --rate"},
    {"connections", 'c', "N", "at most so many at once, opened as needed (default: 1024)"},
    {"duration", 'd', "TIME", "how long, such as 30s (default: until Ctrl-C)"},
    {"until-promoted", 0, NULL,
     "until the upgrade of the spec (-f) is promoted, rolled back or over"},
    {"timeout", 0, "TIME", "of a request, from its intended time (default: 5s)"},
    {"data", 0, "BODY", "POST this; the id of a JSON-RPC request becomes its number"},
    {"body-file", 0, "FILE", "POST its lines in turn"},
    {"method", 0, "NAME", "default: POST with a body, else GET"},
    {"header", 0, "'NAME: VALUE'", "sent with every request"},
    {"expect-status", 0, "CODE", "any other is a bad answer (default: 200)"},
    {"expect-body", 0, "REGEX", "a body that does not match is a bad answer"},
    {"plain", 0, NULL, "bodies are not JSON-RPC, whatever they look like"},
    {"max-step-back", 0, "SLOTS", "a getSlot answer further behind than this is a bad answer"},
    {"fresh", 0, "PERCENT", "so many requests on a connection of their own (default: 0)"},
    {"colour-header", 0, "NAME", "names the colour that answered (default: X-Changeover-Colour)"},
    {"colour-field", 0, "FIELD", "of a JSON answer names it instead, such as result.identity"},
    {"http", 0, "1.1|2", "over https:// (default: as the server likes)"},
    {"cacert", 0, "FILE", "who signs the server of https:// and wss:// (default: the system's)"},
    {"insecure", 0, NULL, "accept any certificate"},
    {"websockets", 0, "N", "subscriptions held open beside the requests"},
    {"ws-url", 0, "URL", "where: ws://HOST:PORT/PATH or wss://"},
    {"ws-subscribe", 0, "MESSAGE", "the first message (default: slotSubscribe)"},
    {"slow-every", 0, "N", "each Nth request is a slow one"},
    {"slow-body", 0, "BODY", "its body"},
    {"slow-path", 0, "PATH", "its path"},
    {"slow-timeout", 0, "TIME", "its timeout (default: 60s)"},
    {"executed", 0, "FILE,...", "logs of the backends, a number the second word: was one twice?"},
    {"log", 0, "FILE", "append a line a request: '200 0.0012' or 'FAIL DATE ...'"},
    {"series", 0, "TIME", "with -o json: figures for each such stretch of time (1s, 100ms)"},
    {"self-test", 0, NULL, "no URL: see whether the probe finds what a faulty server does to it"},
    {NULL},
};

static int take_number(const struct cmd_call *call, const char *name, double max, double *ret,
                       struct err *err)
{
    const char *text = cmd_option(call, name);
    char *end;
    if (!text)
        return 0;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || end == text || *end || !isfinite(v) || v < 0 || v > max)
        return err_set(err, ERR_USAGE, "--%s %s: a number from 0 to %.0f is needed", name, text,
                       max);
    *ret = v;
    return 0;
}

static int take_count(const struct cmd_call *call, const char *name, unsigned max, unsigned *ret,
                      struct err *err)
{
    double v = *ret;
    if (take_number(call, name, max, &v, err) < 0)
        return -1;
    if (v != floor(v))
        return err_set(err, ERR_USAGE, "--%s: a whole number is needed", name);
    *ret = (unsigned)v;
    return 0;
}

static int take_time(const struct cmd_call *call, const char *name, nsec_t *ret, struct err *err)
{
    const char *text = cmd_option(call, name);
    if (text && (clock_parse(text, ret) < 0 || *ret <= 0))
        return err_set(err, ERR_USAGE, "--%s %s: a time with its unit is needed: 500ms, 10s, 5m",
                       name, text);
    return 0;
}

struct inputs {
    struct strv bodies, executed;
    const char *headers[2];
};

static int take_bodies(const struct cmd_call *call, struct inputs *in, struct err *err)
{
    enum { BODY_FILE_MAX = 64 << 20 };
    const char *data = cmd_option(call, "data"), *path = cmd_option(call, "body-file");
    if (data && path)
        return err_set(err, ERR_USAGE, "--data and --body-file exclude each other");
    if (data)
        strv_add(&in->bodies, data);
    if (!path)
        return 0;
    cleanup_str struct str text = {.max = BODY_FILE_MAX};
    if (sys_file_read(path, BODY_FILE_MAX - 1, &text, err) < 0)
        return -1;
    for (const char *line = str_cstr(&text); *line;) {
        size_t n = strcspn(line, "\n");
        if (n)
            strv_take(&in->bodies, x_strndup(line, n));
        line += n + (line[n] == '\n');
    }
    return in->bodies.n ? 0 : err_set(err, ERR_USAGE, "'%s' has no line with a body", path);
}

static void take_executed(const struct cmd_call *call, struct inputs *in)
{
    const char *at = cmd_option(call, "executed");
    while (at && *at) {
        size_t n = strcspn(at, ",");
        if (n)
            strv_take(&in->executed, x_strndup(at, n));
        at += n + (at[n] == ',');
    }
}

static int take_counts(const struct cmd_call *call, struct probe_options *o, struct err *err)
{
    unsigned status = 0;
    double back = 0;
    if (take_number(call, "rate", 1e6, &o->rate, err) < 0 ||
        take_number(call, "ramp-to", 1e6, &o->ramp_to, err) < 0 ||
        take_time(call, "series", &o->series, err) < 0 ||
        take_count(call, "connections", 60000, &o->connections, err) < 0 ||
        take_count(call, "fresh", 100, &o->fresh_percent, err) < 0 ||
        take_count(call, "websockets", 30000, &o->websockets, err) < 0 ||
        take_count(call, "slow-every", 1000000000, &o->slow_every, err) < 0 ||
        take_count(call, "expect-status", 599, &status, err) < 0 ||
        take_number(call, "max-step-back", 1e15, &back, err) < 0 ||
        take_time(call, "duration", &o->duration, err) < 0 ||
        take_time(call, "timeout", &o->timeout, err) < 0 ||
        take_time(call, "slow-timeout", &o->slow_timeout, err) < 0)
        return -1;
    o->expect_status = (int)status;
    o->limit_step_back = cmd_option(call, "max-step-back");
    o->max_step_back = (int64_t)back;
    return 0;
}

static int take_options(const struct cmd_call *call, struct probe_options *o, struct inputs *in,
                        struct err *err)
{
    if (take_counts(call, o, err) < 0 || take_bodies(call, in, err) < 0)
        return -1;
    o->url = call->argv[0];
    o->bodies = (const char *const *)in->bodies.v;
    o->n_bodies = in->bodies.n;
    take_executed(call, in);
    o->executed = (const char *const *)in->executed.v;
    o->n_executed = in->executed.n;
    in->headers[0] = cmd_option(call, "header");
    o->headers = in->headers;
    o->method = cmd_option(call, "method");
    o->expect_body = cmd_option(call, "expect-body");
    o->plain = cmd_option(call, "plain");
    o->colour_header = cmd_option(call, "colour-header");
    o->colour_field = cmd_option(call, "colour-field");
    o->ws_url = cmd_option(call, "ws-url");
    o->ws_subscribe = cmd_option(call, "ws-subscribe");
    o->slow_body = cmd_option(call, "slow-body");
    o->slow_path = cmd_option(call, "slow-path");
    o->log_path = cmd_option(call, "log");
    const char *http = cmd_option(call, "http");
    if (http && strcmp(http, "2") != 0 && strcmp(http, "1.1") != 0)
        return err_set(err, ERR_USAGE, "--http takes 1.1 or 2, not '%s'", http);
    o->http = http ? *http - '0' : 0;
    o->ca_file = cmd_option(call, "cacert");
    o->insecure = cmd_option(call, "insecure");
    if (o->slow_every && !o->slow_body && !o->slow_path)
        return err_set(err, ERR_USAGE, "--slow-every needs --slow-body or --slow-path");
    return 0;
}

static void show_progress(const struct probe_result *r)
{
    fprintf(stderr, "\r\033[K%.0f s: %llu sent, %llu answered, %llu lost, %llu in flight",
            (double)r->elapsed / 1e9, (unsigned long long)r->sent,
            (unsigned long long)r->outcome[PROBE_OK], (unsigned long long)probe_lost(r),
            (unsigned long long)r->in_flight);
    if (r->ws.wanted)
        fprintf(stderr, ", %u of %u websockets", r->ws.open, r->ws.wanted);
    fflush(stderr);
}

/* --until-promoted: the journal is looked at by this thread, not by the one that sends. */
struct until {
    struct session session;
    bool asked, seen;
};

static bool is_over(enum upgrade_state state)
{
    return state == STATE_PROMOTED || state == STATE_ROLLED_BACK || state == STATE_CLEANING;
}

static int until_begin(struct until *u, const struct cmd_call *call, struct err *err)
{
    if (!cmd_option(call, "until-promoted"))
        return 0;
    u->asked = true;
    if (session_open(&u->session, call, 0, NULL, err) < 0)
        return -1;
    if (!u->session.open || !is_over(u->session.up.state))
        return 0;
    return err_set(err, ERR_FAILED, "--until-promoted: upgrade %s is %s already", u->session.up.id,
                   state_name(u->session.up.state));
}

/* 1: it is over. One that has not begun yet is waited for. */
static int until_look(struct until *u, struct err *err)
{
    struct upgrade up = {0};
    if (!u->asked)
        return 0;
    int open = journal_upgrade(u->session.j, &up, err);
    if (open < 0)
        return -1;
    u->seen |= open > 0;
    return u->seen && (!open || is_over(up.state));
}

static void until_end(struct until *u)
{
    if (u->asked)
        session_done(&u->session);
}

static int watch(const struct cmd_call *call, struct probe *p, struct until *until,
                 struct probe_result *r, struct err *err)
{
    bool show = !call->quiet && sys_term_output(2);
    int over = 0;
    for (int i = 0; !over && !probe_finished(p) && !sys_interrupted(); i++) {
        sys_sleep(50 * NSEC_MS);
        over = until_look(until, err);
        if (!show || i % 10)
            continue;
        probe_snapshot(p, r);
        show_progress(r);
    }
    if (show)
        fputs("\r\033[K", stderr), fflush(stderr);
    if (show && sys_interrupted())
        fputs("waiting for the requests in flight\n", stderr);
    return over < 0 ? -1 : 0;
}

static const struct rows_column selftest_columns[] = {
    {"fault", NULL, ROWS_TEXT},
    {"injected", "INJECTED", ROWS_TEXT},
    {"found", "FOUND", ROWS_TEXT},
    {"ok", "OK", ROWS_BOOL},
};

static void print_selftest(const struct cmd_call *call, const struct selftest *t)
{
    cleanup_rows struct rows rows = rows_new(selftest_columns, ARRAY_LEN(selftest_columns));
    cleanup_str struct str text = {0};
    unsigned found = 0;
    for (int i = 0; i < SELFTEST_ROWS; i++) {
        rows_add(&rows);
        rows_text(&rows, 0, "%s", selftest_names[i]);
        rows_text(&rows, 1, "%s", t->rows[i].injected);
        rows_text(&rows, 2, "%s", t->rows[i].found);
        rows_bool(&rows, 3, t->rows[i].ok);
        found += t->rows[i].ok;
    }
    if (call->json) {
        json_t *j = json_pack("{s:b s:I s:f s:o s:o}", "ok", t->ok, "rounds", (json_int_t)t->rounds,
                              "late_ms", (double)t->late / 1e6, "rows", rows_json(&rows), "result",
                              probe_result_json(&t->r));
        json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(j);
        return;
    }
    rows_print(&rows, &text);
    fputs(str_cstr(&text), stdout);
    printf("self-test %s: %u of %d rows ok; %u round%s, the probe was at most %.1f ms late\n",
           t->ok ? "passed" : "FAILED", found, SELFTEST_ROWS, t->rounds, t->rounds == 1 ? "" : "s",
           (double)t->late / 1e6);
}

static int run_selftest(const struct cmd_call *call, struct err *err)
{
    cleanup(selftest_done) struct selftest t = {0};
    if (selftest_run(0, &t, err) < 0)
        return -1;
    print_selftest(call, &t);
    return t.ok ? 0 : 1;
}

static void print_result(const struct cmd_call *call, struct probe *p, const struct probe_result *r)
{
    if (call->json) {
        json_t *j = probe_result_json(r);
        json_object_update_new(j, json_pack("{s:o*, s:o*}", "windows", probe_windows_json(p),
                                            "series", probe_series_json(p)));
        json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(j);
        return;
    }
    cleanup_str struct str text = {0};
    probe_text(p, r, &text);
    fputs(str_cstr(&text), stdout);
}

static int run(const struct cmd_call *call, struct err *err)
{
    if (cmd_option(call, "self-test") && call->argc == 0)
        return run_selftest(call, err);
    if (call->argc != 1 || cmd_option(call, "self-test"))
        return err_set(err, ERR_USAGE, "probe needs a URL, or --self-test without one");
    struct probe_options o = {.windows = true};
    struct inputs in = {0};
    struct until until = {0};
    cleanup(probe_result_done) struct probe_result r = {0};
    struct probe *p = NULL;
    int status = -1;
    sys_signals_init();
    if (take_options(call, &o, &in, err) == 0 && until_begin(&until, call, err) == 0) {
        (void)sys_files_limit_raise((o.connections ? o.connections : 1024) + o.websockets + 64ULL);
        if (probe_start(&o, &p, err) == 0) {
            int watched = watch(call, p, &until, &r, err);
            probe_stop(p, &r);
            status = watched < 0 ? -1 : probe_clean(&r) ? 0 : 1;
        }
    }
    if (status >= 0)
        print_result(call, p, &r);
    probe_free(p);
    until_end(&until);
    strv_done(&in.bodies);
    strv_done(&in.executed);
    return status;
}

const struct cmd_row cmd_probe = {
    .name = "probe",
    .args = "URL|--self-test",
    .summary = "send requests at fixed times and count what became of each",
    .max_args = 1,
    .flags = CMD_JSON,
    .options = options,
    .help =
        "Every request ends as exactly one of: answered well, bad, refused, reset, timed out, "
        "unsent.\n"
        "Latency counts from the intended time. Exit status 0: none lost, nothing twice, every\n"
        "websocket open in the end; 1 otherwise.\n"
        "--self-test: 0 if each fault was found and nothing else.",
    .run = run,
};
