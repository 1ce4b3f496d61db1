#include "observe/report.h"

#include "observe/report_internal.h"

#include <string.h>
#include <time.h>

/* The length of the UTF-8 character that begins here; 0: that is none. */
static size_t utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* too long for what they say, half a pair, and beyond the last */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_text(struct str *out, const char *text)
{
    while (*text) {
        size_t n = utf8_length(text);
        const char *as = entity(*text);
        bool control = n == 1 && ((*text > 0 && *text < ' ' && *text != '\n' && *text != '\t') ||
                                  *text == 0x7f);
        if (as)
            str_add(out, as);
        else if (!n || control)
            str_add(out, "\xef\xbf\xbd");
        else
            str_add_n(out, text, n);
        text += n ? n : 1;
    }
}

void html_textf(struct str *out, const char *fmt, ...)
{
    cleanup_str struct str text = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&text, fmt, ap);
    va_end(ap);
    html_text(out, str_cstr(&text));
}

const char *report_time(char *buf, size_t size, int64_t wall_ns)
{
    char text[40];
    time_t at = (time_t)(wall_ns / NSEC_S);
    struct tm tm;
    if (!wall_ns || !localtime_r(&at, &tm))
        return str_format(buf, size, "-");
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    return str_format(buf, size, "%s.%03d", text, (int)(wall_ns % NSEC_S / NSEC_MS));
}

void html_step(struct str *out, const char *name)
{
    for (const char *slash; name && (slash = strchr(name, '/')); name = slash + 1) {
        cleanup_free char *part = x_strndup(name, (size_t)(slash + 1 - name));
        html_text(out, part);
        str_add(out, "<wbr>");
    }
    html_text(out, name ? name : "");
}

/* A cell that breaks, if it must, between the day and the time. */
static void time_cell(struct str *out, int64_t wall_ns)
{
    char text[48];
    report_time(text, sizeof(text), wall_ns);
    size_t day = strcspn(text, " ");
    str_addf(out, "<td class=\"t\"><span>%.*s</span> <span>%s</span></td>", (int)day, text,
             text[day] ? text + day + 1 : "");
}

const struct report_event *report_last_event(const struct report *r, const char *step, int kind)
{
    for (size_t i = r->events_n; i-- > 0;)
        if (str_eq(r->events[i].step, step) && (kind < 0 || r->events[i].kind == kind))
            return &r->events[i];
    return NULL;
}

static size_t count_events(const struct report *r, int kind)
{
    size_t n = 0;
    for (size_t i = 0; i < r->events_n; i++)
        n += r->events[i].kind == kind;
    return n;
}

static const char *state_words(const struct report *r)
{
    return r->ended_wall_ns ? r->outcome : state_name(r->up.state);
}

static const char *state_class(const struct report *r)
{
    const char *words = state_words(r);
    bool open =
        !r->ended_wall_ns && r->up.state != STATE_PROMOTED && r->up.state != STATE_ROLLED_BACK;
    return strcmp(words, "promoted") == 0 ? "green" : open ? "warn" : "bad";
}

static void version(struct str *out, enum colour c, const char *number)
{
    str_addf(out, "<span class=\"%s\">%s</span>", colour_name(c), colour_name(c));
    html_textf(out, " %s", number);
}

static void header(const struct report *r, struct str *out)
{
    char began[48], ended[48];
    str_add(out, "<header><p class=\"dim\">");
    html_textf(out, "changeover %s · upgrade %s", r->service, r->up.id);
    str_add(out, "</p><h1>");
    html_textf(out, "%s: ", r->service);
    version(out, r->up.from, r->up.version_from);
    str_add(out, " → ");
    version(out, r->up.to, r->up.version_to);
    str_addf(out, " <span class=\"badge %s\">", state_class(r));
    html_text(out, state_words(r));
    str_add(out, "</span></h1><p class=\"dim\">");
    html_textf(out, "Began %s", report_time(began, sizeof(began), r->up.created_wall_ns));
    if (r->ended_wall_ns)
        html_textf(out, ", ended %s", report_time(ended, sizeof(ended), r->ended_wall_ns));
    else
        html_textf(out, ", still open at %s", report_time(ended, sizeof(ended), r->now_wall_ns));
    html_textf(out, " (local time). ");
    if (*r->reason)
        html_textf(out, "Reason: %s.", r->reason);
    str_add(out, "</p></header>");
}

static void fact(struct str *out, const char *name, const char *fmt, ...) printf_like(3, 4);
static void fact(struct str *out, const char *name, const char *fmt, ...)
{
    cleanup_str struct str text = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&text, fmt, ap);
    va_end(ap);
    str_add(out, "<div><b>");
    html_text(out, str_cstr(&text));
    str_addf(out, "</b><span>%s</span></div>", name);
}

/* Steps have been at work for so long; what lies between the commands is not counted. */
static int64_t work_time(const struct report *r)
{
    int64_t sum = 0;
    for (size_t i = 0; i < r->steps_n; i++) {
        const struct step_row *row = &r->steps[i].row;
        if (row->ended_wall_ns > row->started_wall_ns)
            sum += row->ended_wall_ns - row->started_wall_ns;
    }
    return sum;
}

static double of_probe(const struct report *r, size_t i, const char *key)
{
    return json_number_value(json_object_get(json_array_get(r->probes, i), key));
}

static double sum(const struct report *r, const char *key)
{
    double all = 0;
    for (size_t i = 0; i < json_array_size(r->probes); i++)
        all += of_probe(r, i, key);
    return all;
}

static double most(const struct report *r, const char *key)
{
    double found = 0;
    for (size_t i = 0; i < json_array_size(r->probes); i++)
        found = of_probe(r, i, key) > found ? of_probe(r, i, key) : found;
    return found;
}

static void facts(const struct report *r, struct str *out)
{
    char words[32];
    str_add(out, "<div class=\"facts\">");
    fact(out, "the traffic", "%s", r->up.flipped ? colour_name(r->up.to) : colour_name(r->up.from));
    fact(out, "steps", "%zu", r->steps_n);
    fact(out, "at work", "%s", clock_words(words, sizeof(words), work_time(r)));
    fact(out, "failures, warnings", "%zu, %zu", count_events(r, EVENT_STEP_FAIL),
         count_events(r, EVENT_WARNING));
    if (json_array_size(r->probes)) {
        fact(out, "requests lost", "%.0f of %.0f", sum(r, "lost"), sum(r, "sent"));
        fact(out, "longest time without a good answer", "%.1f ms", most(r, "longest_gap_ms"));
    }
    str_add(out, "</div>");
}

/* How much of each volume, and how fast. */
static void volumes(const struct report *r, const char *step, struct str *out)
{
    for (size_t i = 0; i < r->events_n; i++) {
        const struct report_event *e = &r->events[i];
        if (e->kind != EVENT_NOTE || !e->step || !str_eq(e->step, step) ||
            !str_starts(e->text, "volume "))
            continue;
        str_add(out, "<br>");
        html_text(out, e->text);
    }
}

/* What was cloned, how fast, what it cost live: the clone steps' own words. */
static void data(const struct report *r, struct str *out)
{
    bool any = false;
    char took[32];
    for (size_t i = 0; i < r->steps_n; i++) {
        const struct report_step *s = &r->steps[i];
        if (!str_ends(s->name, "/clone") && !strstr(s->name, "/clone-"))
            continue;
        if (!any)
            str_add(out, "<h2>The data</h2>");
        any = true;
        const struct report_event *begun = report_last_event(r, s->name, EVENT_STEP_START);
        str_add(out, "<p>");
        html_textf(out, "%s%s", begun && begun->text ? begun->text : s->name,
                   *s->row.result ? ": " : "");
        str_add(out, "<b>");
        html_text(out, s->row.result);
        str_add(out, "</b>");
        if (s->row.ended_wall_ns)
            html_textf(
                out, " (%s)",
                clock_words(took, sizeof(took), s->row.ended_wall_ns - s->row.started_wall_ns));
        volumes(r, s->name, out);
        str_add(out, "</p>");
    }
}

static void sockets(const struct report *r, struct str *out)
{
    bool any = false;
    for (int c = GREEN; c < COLOURS; c++) {
        if (!*r->sockets[c])
            continue;
        str_add(out, any ? "<p>" : "<h2>Websockets through the proxy</h2><p>");
        html_textf(out, "%s.", r->sockets[c]);
        str_add(out, "</p>");
        any = true;
    }
}

static void trouble_row(struct str *out, int64_t wall_ns, const char *kind, const char *where,
                        const char *what)
{
    str_add(out, "<tr>");
    time_cell(out, wall_ns);
    str_addf(out, "<td class=\"%s k\">%s</td><td class=\"s\">",
             strcmp(kind, "warning") == 0 ? "warn" : "bad", kind);
    html_step(out, where);
    str_add(out, "</td><td>");
    html_text(out, what);
    str_add(out, "</td></tr>");
}

static void failed_requests(const json_t *probe, struct str *out)
{
    const json_t *list = json_object_get(probe, "failures");
    double began = json_number_value(json_object_get(probe, "started_ms"));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *f = json_array_get(list, i);
        const char *kind = json_string_value(json_object_get(f, "bad"));
        const char *detail = json_string_value(json_object_get(f, "detail"));
        const char *outcome = json_string_value(json_object_get(f, "outcome"));
        double at = json_number_value(json_object_get(f, "at_ms"));
        char number[32];
        cleanup_free char *what = x_asprintf("%s: %s (%.4f s after the probe's first)",
                                             kind      ? kind
                                             : outcome ? outcome
                                                       : "?",
                                             detail ? detail : "", at / 1e3);
        str_format(number, sizeof(number), "#%lld",
                   (long long)json_integer_value(json_object_get(f, "number")));
        int64_t wall = began > 0 && at >= 0 && began + at < 9e12
                           ? (int64_t)((began + at) * (double)NSEC_MS)
                           : 0;
        trouble_row(out, wall, "lost request", number, what);
    }
    double lost = json_number_value(json_object_get(probe, "lost"));
    if (lost > (double)json_array_size(list)) {
        cleanup_free char *what = x_asprintf("and %.0f more, of which only the number was kept",
                                             lost - (double)json_array_size(list));
        trouble_row(out, 0, "lost request", "", what);
    }
}

static void trouble(const struct report *r, struct str *out)
{
    bool lost = sum(r, "lost") > 0;
    str_add(out, "<h2>Failures and warnings</h2>");
    if (!count_events(r, EVENT_STEP_FAIL) && !count_events(r, EVENT_WARNING) && !lost) {
        str_add(out, "<p>None.</p>");
        return;
    }
    str_add(
        out,
        "<table><thead><tr><th>time</th><th></th><th>where</th><th>cause</th></tr></thead><tbody>");
    for (size_t i = 0; i < r->events_n; i++) {
        const struct report_event *ev = &r->events[i];
        if (ev->kind != EVENT_STEP_FAIL && ev->kind != EVENT_WARNING)
            continue;
        trouble_row(out, ev->wall_ns, ev->kind == EVENT_WARNING ? "warning" : "failure",
                    ev->step ? ev->step : "", ev->text ? ev->text : "");
    }
    for (size_t i = 0; i < json_array_size(r->probes); i++)
        failed_requests(json_array_get(r->probes, i), out);
    str_add(out, "</tbody></table>");
}

static void journal(const struct report *r, struct str *out)
{
    static const char *const words[] = {
        [EVENT_PHASE] = "",
        [EVENT_STEP_START] = "begins: ",
        [EVENT_STEP_DONE] = "done: ",
        [EVENT_STEP_SKIP] = "passed over: ",
        [EVENT_STEP_FAIL] = "failed: ",
        [EVENT_PROGRESS] = "",
        [EVENT_NOTE] = "",
        [EVENT_WARNING] = "warning: ",
    };
    str_add(out, "<h2>Everything, in "
                 "order</h2><table><thead><tr><th>time</th><th>step</th><th>what</th></tr>"
                 "</thead><tbody>");
    for (size_t i = 0; i < r->events_n; i++) {
        const struct report_event *ev = &r->events[i];
        bool known = ev->kind >= 0 && ev->kind < (int)ARRAY_LEN(words);
        const char *class = ev->kind == EVENT_STEP_FAIL ? "bad"
                            : ev->kind == EVENT_WARNING ? "warn"
                                                        : "";
        str_add(out, "<tr>");
        time_cell(out, ev->wall_ns);
        str_add(out, "<td class=\"s\">");
        html_step(out, ev->step);
        str_addf(out, "</td><td class=\"%s\">%s", class, known ? words[ev->kind] : "");
        html_text(out, ev->text ? ev->text : "");
        str_add(out, "</td></tr>");
    }
    str_add(out, "</tbody></table>");
}

static void closing_line(const struct report *r, struct str *out)
{
    char words[32];
    int64_t end = r->ended_wall_ns ? r->ended_wall_ns : r->now_wall_ns;
    str_add(out, "<p class=\"end\">");
    html_textf(out, "%s: %s %s to %s %s, %s %s %s; %zu steps, %zu failures, %zu warnings",
               r->service, colour_name(r->up.from), r->up.version_from, colour_name(r->up.to),
               r->up.version_to, state_words(r), r->ended_wall_ns ? "after" : "for",
               clock_words(words, sizeof(words), end - r->up.created_wall_ns), r->steps_n,
               count_events(r, EVENT_STEP_FAIL), count_events(r, EVENT_WARNING));
    if (json_array_size(r->probes))
        html_textf(out, "; %.0f requests sent, %.0f answered, %.0f lost", sum(r, "sent"),
                   sum(r, "answered"), sum(r, "lost"));
    str_add(out, ".</p>");
}

void report_html(const struct report *r, struct str *out)
{
    str_add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                 "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                 "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                 "style-src 'unsafe-inline'\"><title>");
    html_textf(out, "%s: upgrade %s", r->service, r->up.id);
    str_add(out, "</title><style>");
    str_add(out, report_style);
    str_add(out, "</style></head>\n<body>");
    header(r, out);
    facts(r, out);
    str_add(out, "\n");
    report_timeline(r, out);
    str_add(out, "\n");
    data(r, out);
    str_add(out, "\n");
    sockets(r, out);
    trouble(r, out);
    str_add(out, "\n");
    report_probe(r, out);
    str_add(out, "\n");
    journal(r, out);
    closing_line(r, out);
    str_add(out, "</body></html>\n");
}

void report_done(struct report *r)
{
    for (size_t i = 0; i < r->events_n; i++) {
        free(r->events[i].step);
        free(r->events[i].text);
    }
    for (size_t i = 0; i < r->steps_n; i++)
        free(r->steps[i].name);
    free(r->events);
    free(r->steps);
    r->events = NULL;
    r->steps = NULL;
    r->events_n = r->steps_n = 0;
}
