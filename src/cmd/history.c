/* history: past upgrades, or the events of one. */
#include "cmd/session.h"
#include "engine/prober.h"
#include "format/rows.h"

#include <stdio.h>
#include <time.h>

static void format_time(char *buf, size_t size, int64_t wall_ns)
{
    time_t at = (time_t)(wall_ns / NSEC_S);
    struct tm tm;
    localtime_r(&at, &tm);
    strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm);
}

static const struct rows_column columns[] = {
    {"id", "UPGRADE", ROWS_TEXT},  {"began", "BEGAN", ROWS_TEXT},     {"from", "FROM", ROWS_TEXT},
    {"to", "TO", ROWS_TEXT},       {"outcome", "OUTCOME", ROWS_TEXT}, {"took", "TOOK", ROWS_TEXT},
    {"probe", "PROBE", ROWS_TEXT}, {"reason", "REASON", ROWS_TEXT},
};

struct listing {
    struct rows *rows;
    struct journal *j;
};

static int add_upgrade(void *ctx, const struct upgrade *up, const char *outcome,
                       int64_t ended_wall_ns, const char *reason)
{
    struct listing *l = ctx;
    struct rows *t = l->rows;
    char began[32], took[24] = "-", probe[64];
    format_time(began, sizeof(began), up->created_wall_ns);
    if (ended_wall_ns)
        clock_words(took, sizeof(took), ended_wall_ns - up->created_wall_ns);
    rows_add(t);
    rows_text(t, 0, "%s", up->id);
    rows_text(t, 1, "%s", began);
    rows_text(t, 2, "%s %s", colour_name(up->from), up->version_from);
    rows_text(t, 3, "%s %s", colour_name(up->to), up->version_to);
    rows_text(t, 4, "%s", ended_wall_ns ? outcome : state_name(up->state));
    rows_text(t, 5, "%s", took);
    prober_short_words(l->j, up->id, probe, sizeof(probe));
    rows_text(t, 6, "%s", *probe ? probe : "-");
    rows_text(t, 7, "%s", reason);
    return 0;
}

static const struct rows_column event_columns[] = {
    {"at", "AT", ROWS_TEXT},
    {"step", "STEP", ROWS_TEXT},
    {"text", "WHAT", ROWS_TEXT},
};

static int add_event(void *ctx, int64_t wall_ns, const char *upgrade, int kind, const char *step,
                     const char *text)
{
    static const char *const words[] = {
        "", "begins: ", "done: ", "passed over: ", "failed: ", "", "", "warning: "};
    struct rows *t = ctx;
    char at[32];
    (void)upgrade;
    format_time(at, sizeof(at), wall_ns);
    rows_add(t);
    rows_text(t, 0, "%s", at);
    rows_text(t, 1, "%s", step ? step : "-");
    rows_text(t, 2, "%s%s", kind >= 0 && kind < (int)ARRAY_LEN(words) ? words[kind] : "",
              text ? text : "");
    return 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, 0, NULL, err) < 0)
        return -1;
    bool one = call->argc == 1;
    cleanup_rows struct rows t = one ? rows_new(event_columns, ARRAY_LEN(event_columns))
                                     : rows_new(columns, ARRAY_LEN(columns));
    int r = one ? journal_events_each(s.j, call->argv[0], 10000, add_event, &t, err)
                : journal_upgrades_each(s.j, 1000, add_upgrade, &(struct listing){&t, s.j}, err);
    if (r < 0)
        return -1;
    if (one && t.rows_n == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no upgrade '%s' (changeover history lists them)", call->argv[0]);
    cleanup_str struct str out = {0};
    if (call->json) {
        json_t *root = rows_json(&t);
        json_dumpf(root, stdout, JSON_INDENT(2));
        json_decref(root);
        putchar('\n');
        return 0;
    }
    rows_print(&t, &out);
    fputs(str_cstr(&out), stdout);
    return 0;
}

const struct cmd_row cmd_history = {
    .name = "history",
    .args = "[UPGRADE]",
    .summary = "past upgrades, or the events of one",
    .max_args = 1,
    .flags = CMD_JSON,
    .run = run,
};
