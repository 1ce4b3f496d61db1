/* report: one upgrade as one HTML page. */
#include "observe/report.h"
#include "cmd/session.h"
#include "engine/prober.h"
#include "engine/sockets.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <string.h>

enum { EVENTS_MAX = 20000, PROBE_MAX = 64 << 20, PAGE_MAX = 64 << 20 };

static const struct cmd_option options[] = {
    {"to", 0, "FILE", "where the page goes (default: stdout)"},
    {"probe", 0, "FILE", "what 'probe -o json --series TIME' wrote: its figures go into the page"},
    {NULL},
};

/* Without a name the newest one. */
struct search {
    const char *id;
    struct report *r;
    bool found;
};

static int take_upgrade(void *ctx, const struct upgrade *up, const char *outcome,
                        int64_t ended_wall_ns, const char *reason)
{
    struct search *s = ctx;
    if (s->found || (s->id && strcmp(s->id, up->id) != 0))
        return 0;
    s->found = true;
    s->r->up = *up;
    s->r->ended_wall_ns = ended_wall_ns;
    str_format(s->r->outcome, sizeof(s->r->outcome), "%s", outcome);
    str_format(s->r->reason, sizeof(s->r->reason), "%s", reason);
    return 0;
}

static int take_event(void *ctx, int64_t wall_ns, const char *upgrade, int kind, const char *step,
                      const char *text)
{
    struct report *r = ctx;
    (void)upgrade;
    r->events = x_realloc(r->events, r->events_n + 1, sizeof(*r->events));
    r->events[r->events_n++] = (struct report_event){.wall_ns = wall_ns,
                                                     .kind = kind,
                                                     .step = step ? x_strdup(step) : NULL,
                                                     .text = text ? x_strdup(text) : NULL};
    return 0;
}

static int take_step(void *ctx, const char *step, const struct step_row *row)
{
    struct report *r = ctx;
    r->steps = x_realloc(r->steps, r->steps_n + 1, sizeof(*r->steps));
    r->steps[r->steps_n++] = (struct report_step){.name = x_strdup(step), .row = *row};
    return 0;
}

static int read_journal(struct session *s, const char *id, struct report *r, struct err *err)
{
    struct search search = {.id = id, .r = r};
    if (journal_upgrades_each(s->j, 100000, take_upgrade, &search, err) < 0)
        return -1;
    if (!search.found) {
        err_set(err, ERR_NOT_FOUND, id ? "there is no upgrade '%s'" : "there has been no upgrade%s",
                id ? id : "");
        return err_hint(err, "changeover history (lists them)");
    }
    if (journal_events_each(s->j, r->up.id, EVENTS_MAX, take_event, r, err) < 0 ||
        journal_steps_each(s->j, r->up.id, take_step, r, err) < 0)
        return -1;
    return 0;
}

/* The upgrade's own probe: each run, and its figures over time, which come after it. */
static int take_run(void *ctx, const char *upgrade unused, const char *part, const char *text)
{
    json_t *list = ctx, *j = json_loads(text, 0, NULL);
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    const char *of = json_string_value(json_object_get(last, "part"));
    if (str_ends(part, PROBER_SERIES) && of && str_starts(part, of))
        json_object_set(last, "series", j);
    if (json_is_integer(json_object_get(j, "sent")) && json_object_get(j, "outcomes")) {
        json_object_set_new(j, "part", json_string(part));
        json_array_append(list, j);
    }
    json_decref(j);
    return 0;
}

static int read_probe(const char *path, json_t *list, struct err *err)
{
    cleanup_str struct str text = {.max = PROBE_MAX};
    json_error_t why;
    if (!path)
        return 0;
    if (sys_file_read(path, PROBE_MAX - 1, &text, err) < 0)
        return -1;
    json_t *j = json_loadb(str_cstr(&text), text.len, 0, &why);
    bool good = json_is_integer(json_object_get(j, "sent")), json = j != NULL;
    if (good)
        json_array_append(list, j);
    json_decref(j);
    if (good)
        return 0;
    err_set(err, ERR_USAGE, "'%s' is not what a probe writes: %s", path,
            json ? "it has no 'sent'" : why.text);
    return err_hint(err, "changeover probe URL -o json --series 100ms > FILE");
}

static int write_page(const struct cmd_call *call, const struct report *r, struct err *err)
{
    const char *to = cmd_option(call, "to");
    cleanup_str struct str page = {.max = PAGE_MAX};
    report_html(r, &page);
    if (page.cut)
        return err_set(err, ERR_FAILED, "the page is larger than %d MB", PAGE_MAX >> 20);
    if (!to) {
        fputs(str_cstr(&page), stdout);
        return 0;
    }
    if (sys_file_write_atomic(to, page.buf, page.len, 0644, err) < 0)
        return -1;
    if (!call->quiet)
        printf("upgrade %s is told in %s\n", r->up.id, to);
    return 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    struct report r = {.now_wall_ns = sys_clock_wall()};
    int rc = -1;
    if (session_open(&s, call, 0, NULL, err) < 0)
        return -1;
    json_t *probes = json_array();
    r.service = s.service;
    if (read_journal(&s, call->argc ? call->argv[0] : NULL, &r, err) == 0 &&
        journal_probes_each(s.j, r.up.id, take_run, probes, err) == 0 &&
        read_probe(cmd_option(call, "probe"), probes, err) == 0) {
        r.probes = probes;
        for (int c = GREEN; c < COLOURS; c++)
            sockets_words(s.j, r.up.id, (enum colour)c, r.sockets[c], sizeof(r.sockets[c]));
        rc = write_page(call, &r, err);
    }
    report_done(&r);
    json_decref(probes);
    return rc;
}

const struct cmd_row cmd_report = {
    .name = "report",
    .args = "[UPGRADE]",
    .summary = "tell an upgrade in full, as one HTML page",
    .max_args = 1,
    .options = options,
    .help =
        "Steps, times, versions, failures and warnings with their causes, and what users saw: by "
        "the spec's probe, and\n"
        "with --probe by one beside it. The page needs nothing else: no network, no script. "
        "Without a name it is the newest\n"
        "upgrade.",
    .run = run,
};
