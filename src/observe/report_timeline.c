/* The steps of an upgrade, each with a bar on one common axis of time.
 *
 * Between two commands lie minutes or days in which nothing runs; drawn to scale, they would leave
 * nothing of the steps. Such a pause is cut out of the axis: it is as wide as a mark, and the row
 * behind it says how long it was. */
#include "observe/report_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 300, MARK = 8, HEIGHT = 16, LEAST = 2 };

/* A stretch without a pause in it. */
struct span {
    int64_t from, to;
    double x; /* where it begins */
};

struct axis {
    struct span *spans;
    size_t n;
    double scale; /* units of the drawing for a nanosecond */
};

/* A step that has not ended lasts until the last thing that was heard. */
static int64_t end_of(const struct report *r, const struct report_step *s)
{
    int64_t end = s->row.ended_wall_ns;
    if (!end && r->events_n)
        end = r->events[r->events_n - 1].wall_ns;
    return end < s->row.started_wall_ns ? s->row.started_wall_ns : end;
}

static int64_t busy_time(const struct report *r)
{
    int64_t sum = 0;
    for (size_t i = 0; i < r->steps_n; i++)
        sum += end_of(r, &r->steps[i]) - r->steps[i].row.started_wall_ns;
    return sum;
}

static void axis_build(struct axis *a, const struct report *r)
{
    int64_t pause = busy_time(r) / 10;
    pause = pause < NSEC_S ? NSEC_S : pause;
    a->spans = x_alloc((r->steps_n + 1) * sizeof(*a->spans));
    for (size_t i = 0; i < r->steps_n; i++) {
        int64_t from = r->steps[i].row.started_wall_ns, to = end_of(r, &r->steps[i]);
        struct span *last = a->n ? &a->spans[a->n - 1] : NULL;
        if (!last || from - last->to > pause)
            a->spans[a->n++] = (struct span){.from = from, .to = to};
        else if (to > last->to)
            last->to = to;
    }
    int64_t total = 0;
    for (size_t i = 0; i < a->n; i++)
        total += a->spans[i].to - a->spans[i].from;
    double marks = a->n > 1 ? (double)(a->n - 1) * MARK : 0;
    double width = WIDTH - LEAST - marks > WIDTH / 2.0 ? WIDTH - LEAST - marks : WIDTH / 2.0;
    a->scale = total > 0 ? width / (double)total : 0;
    double x = 0;
    for (size_t i = 0; i < a->n; i++) {
        a->spans[i].x = x;
        x += (double)(a->spans[i].to - a->spans[i].from) * a->scale + MARK;
    }
}

static const struct span *span_of(const struct axis *a, int64_t wall)
{
    const struct span *found = &a->spans[0];
    for (size_t i = 0; i < a->n && a->spans[i].from <= wall; i++)
        found = &a->spans[i];
    return found;
}

static double x_at(const struct axis *a, int64_t wall)
{
    const struct span *s = span_of(a, wall);
    return s->x + (double)(wall - s->from) * a->scale;
}

static void draw_bar(const struct report *r, const struct axis *a, const struct report_step *s,
                     const char *fill, struct str *out)
{
    double x = x_at(a, s->row.started_wall_ns);
    double width = x_at(a, end_of(r, s)) - x;
    str_addf(out,
             "<svg viewBox=\"0 0 %d %d\" height=\"%d\" preserveAspectRatio=\"none\" "
             "aria-hidden=\"true\">",
             WIDTH, HEIGHT, HEIGHT);
    for (size_t i = 1; i < a->n; i++)
        str_addf(out,
                 "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"-6\" y2=\"%d\" stroke=\"var(--line)\" "
                 "stroke-width=\"1\" stroke-dasharray=\"2 3\"/>",
                 a->spans[i].x - MARK / 2.0, a->spans[i].x - MARK / 2.0, HEIGHT + 6);
    str_addf(out, "<rect x=\"%.2f\" y=\"3\" width=\"%.2f\" height=\"10\" fill=\"%s\"/></svg>", x,
             width > LEAST ? width : LEAST, fill);
}

static const struct {
    const char *word, *class, *fill;
} looks[] = {
    [STEP_NONE] = {"not begun", "dim", "var(--dim)"},
    [STEP_INTENDED] = {"not finished", "warn", "var(--warn)"},
    [STEP_DONE] = {"", "", "var(--blue)"},
    [STEP_UNDONE] = {"undone", "dim", "var(--dim)"},
};

static void step_words(const struct report *r, const struct report_step *s, bool failed,
                       struct str *out)
{
    const struct report_event *begun = report_last_event(r, s->name, EVENT_STEP_START);
    const struct report_event *fail = report_last_event(r, s->name, EVENT_STEP_FAIL);
    const char *said = failed           ? fail->text
                       : *s->row.result ? s->row.result
                       : begun          ? begun->text
                                        : "";
    const char *word =
        failed && s->row.status != STEP_UNDONE ? "failed" : looks[s->row.status].word;
    if (*word)
        str_addf(out, "<span class=\"%s\">%s%s</span> ",
                 failed ? "bad" : looks[s->row.status].class,
                 failed && s->row.status == STEP_UNDONE ? "failed, " : "", word);
    html_text(out, said ? said : "");
    if (s->row.attempt > 1)
        html_textf(out, " (attempt %d)", s->row.attempt);
}

static void pause_row(int64_t ns, struct str *out)
{
    char words[32];
    str_addf(out,
             "<tr class=\"dim\"><td></td><td colspan=\"2\">nothing ran for %s</td><td></td></tr>",
             clock_words(words, sizeof(words), ns));
}

static void step_row(const struct report *r, const struct axis *a, const struct report_step *s,
                     struct str *out)
{
    const struct report_event *last = report_last_event(r, s->name, -1);
    bool failed = last && last->kind == EVENT_STEP_FAIL && s->row.status != STEP_DONE;
    unsigned status = s->row.status <= STEP_UNDONE ? s->row.status : STEP_NONE;
    char took[32];
    str_add(out, "<tr><td class=\"s\">");
    html_step(out, s->name);
    str_add(out, "</td><td>");
    step_words(r, s, failed, out);
    str_add(out, "</td><td>");
    draw_bar(r, a, s, failed ? "var(--bad)" : looks[status].fill, out);
    str_addf(out, "</td><td class=\"n\">%s</td></tr>",
             clock_words(took, sizeof(took), end_of(r, s) - s->row.started_wall_ns));
}

void report_timeline(const struct report *r, struct str *out)
{
    struct axis a = {0};
    str_add(out, "<h2>The steps</h2>");
    if (!r->steps_n) {
        str_add(out, "<p class=\"dim\">None was begun.</p>");
        return;
    }
    axis_build(&a, r);
    str_add(
        out,
        "<table class=\"steps\"><colgroup><col class=\"c1\"><col class=\"c2\"><col class=\"c3\">"
        "<col class=\"c4\"></colgroup><thead><tr><th>step</th><th>what came of it</th><th>when</th>"
        "<th class=\"n\">took</th></tr></thead><tbody>");
    const struct span *before = NULL;
    for (size_t i = 0; i < r->steps_n; i++) {
        const struct span *now = span_of(&a, r->steps[i].row.started_wall_ns);
        if (before && now != before)
            pause_row(now->from - before->to, out);
        step_row(r, &a, &r->steps[i], out);
        before = now;
    }
    str_add(out, "</tbody></table>");
    free(a.spans);
}
