/* What the probe saw, drawn: answers of each colour and latencies over time. */
#include "observe/report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS_MAX = 240, /* more stretches are drawn as fewer, wider ones */
    COLOURS_MAX = 8,
    FLIPS_MAX = 64,
    WIDTH = 1000,
    HEIGHT = 200,
    LEFT = 62,
    RIGHT = 990,
    TOP = 16,
    BOTTOM = 170
};

enum { P50, P90, P99, PMAX, PERCENTILES };

static const struct {
    const char *name, *colour;
    double width;
} lines[PERCENTILES] = {
    [P50] = {"p50", "var(--dim)", 1.6},
    [P90] = {"p90", "var(--teal)", 1.6},
    [P99] = {"p99", "var(--other)", 1.8},
    [PMAX] = {"max", "var(--warn)", 1.2},
};

struct column {
    double seconds, sent, lost, ok[COLOURS_MAX], at[PERCENTILES];
};

struct chart {
    struct column columns[COLUMNS_MAX];
    size_t n, colours;
    double every_s; /* one column */
    const char *names[COLOURS_MAX];
    const json_t *flips;
};

static double number(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

/* Several stretches in one column: counts add up, of latencies the worst is shown. */
static void add_stretch(struct column *c, const json_t *s, size_t colours)
{
    c->sent += number(s, 0);
    c->lost += number(s, 1);
    for (size_t i = 0; i < PERCENTILES; i++)
        c->at[i] = fmax(c->at[i], number(s, 2 + i));
    for (size_t i = 0; i < colours; i++)
        c->ok[i] += number(s, 2 + PERCENTILES + i);
}

/* False: there is no series in it. */
static bool take_series(struct chart *ch, const json_t *probe)
{
    const json_t *series = json_object_get(probe, "series");
    const json_t *windows = json_object_get(series, "windows");
    const json_t *names = json_object_get(series, "colours");
    double every = json_number_value(json_object_get(series, "every_ms")) / 1e3;
    size_t n = json_array_size(windows);
    if (!n || !(every > 0))
        return false;
    size_t group = (n + COLUMNS_MAX - 1) / COLUMNS_MAX;
    ch->colours = json_array_size(names) < COLOURS_MAX ? json_array_size(names) : COLOURS_MAX;
    for (size_t i = 0; i < ch->colours; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        ch->names[i] = name ? name : "?";
    }
    for (size_t i = 0; i < n; i++) {
        ch->columns[i / group].seconds += every;
        add_stretch(&ch->columns[i / group], json_array_get(windows, i), ch->colours);
    }
    ch->n = (n + group - 1) / group;
    ch->every_s = every * (double)group;
    ch->flips = json_object_get(json_object_get(probe, "windows"), "flips");
    return true;
}

static const char *colour_of(const char *name)
{
    return strcmp(name, "green") == 0  ? "var(--green)"
           : strcmp(name, "blue") == 0 ? "var(--blue)"
                                       : "var(--other)";
}

static double x_of(const struct chart *ch, double column)
{
    return LEFT + (RIGHT - LEFT) * column / (double)ch->n;
}

/* 1, 2 or 5 times a power of ten: about `count` steps up to `max`. */
static double nice_step(double max, double count)
{
    double raw = max / count, power = pow(10, floor(log10(raw)));
    double factor = raw / power;
    return power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
}

static void chart_begin(struct str *out, const char *label)
{
    str_addf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH, HEIGHT,
             label);
}

static void y_line(struct str *out, double y, const char *label)
{
    str_addf(out,
             "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"var(--grid)\"/>"
             "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
             LEFT, RIGHT, y, y, LEFT - 8, y + 4, label);
}

static void x_axis(const struct chart *ch, struct str *out)
{
    double total = (double)ch->n * ch->every_s, step = nice_step(total, 8);
    for (int i = 0; i * step <= total * 1.0001; i++)
        str_addf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g s</text>",
                 x_of(ch, i * step / ch->every_s), BOTTOM + 20, i * step);
}

static void flips(const struct chart *ch, struct str *out)
{
    for (size_t i = 0; i < json_array_size(ch->flips) && i < FLIPS_MAX; i++) {
        const json_t *flip = json_array_get(ch->flips, i);
        double at = json_number_value(json_object_get(flip, "at_ms")) / 1e3 / ch->every_s;
        const char *to = json_string_value(json_object_get(flip, "to"));
        double x = x_of(ch, at);
        if (!(x >= LEFT && x <= RIGHT))
            continue;
        bool late = x > WIDTH * 0.85;
        str_addf(out,
                 "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"var(--fg)\" "
                 "stroke-dasharray=\"4 3\"/><text x=\"%.1f\" y=\"%d\"%s>flip to ",
                 x, x, TOP - 12, BOTTOM, late ? x - 6 : x + 6, TOP - 4,
                 late ? " text-anchor=\"end\"" : "");
        html_text(out, to ? to : "?");
        str_add(out, "</text>");
    }
}

static void chart_end(const struct chart *ch, struct str *out)
{
    x_axis(ch, out);
    flips(ch, out);
    str_add(out, "</svg>");
}

static void bar(const struct chart *ch, size_t i, double *y, double height, const char *fill,
                struct str *out)
{
    if (height <= 0)
        return;
    double width = (RIGHT - LEFT) / (double)ch->n;
    *y -= height;
    str_addf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/>",
             x_of(ch, (double)i), *y, width > 4 ? width - 1 : width, height, fill);
}

static void key(struct str *out, const char *colour, const char *name)
{
    str_addf(out, "<span><i style=\"background:%s\"></i>", colour);
    html_text(out, name);
    str_add(out, "</span>");
}

static void requests_chart(const struct chart *ch, struct str *out)
{
    double most = 1;
    for (size_t i = 0; i < ch->n; i++) {
        double sum = ch->columns[i].lost;
        for (size_t c = 0; c < ch->colours; c++)
            sum += ch->columns[i].ok[c];
        most = fmax(most, sum / ch->columns[i].seconds);
    }
    str_add(out,
            "<div class=\"chart\"><h3>Requests a second, by who answered</h3><p class=\"key\">");
    for (size_t c = 0; c < ch->colours; c++)
        key(out, colour_of(ch->names[c]),
            strcmp(ch->names[c], "-") == 0 ? "no colour named" : ch->names[c]);
    key(out, "var(--bad)", "lost");
    str_add(out, "</p>");
    chart_begin(out, "requests a second over time, by colour");
    double step = nice_step(most, 4), top = ceil(most / step) * step;
    for (int i = 0; i * step <= top * 1.0001; i++) {
        char label[32];
        str_format(label, sizeof(label), "%g", i * step);
        y_line(out, BOTTOM - (BOTTOM - TOP) * (i * step / top), label);
    }
    for (size_t i = 0; i < ch->n; i++) {
        double y = BOTTOM;
        const struct column *col = &ch->columns[i];
        double unit = (BOTTOM - TOP) / (top * col->seconds);
        for (size_t c = 0; c < ch->colours; c++)
            bar(ch, i, &y, col->ok[c] * unit, colour_of(ch->names[c]), out);
        /* one lost among thousands has to be seen */
        bar(ch, i, &y, col->lost > 0 ? fmax(col->lost * unit, 3) : 0, "var(--bad)", out);
    }
    chart_end(ch, out);
    str_add(out, "</div>");
}

struct scale {
    double low, high; /* powers of ten */
};

static double y_of(const struct scale *s, double ms)
{
    double v = log10(ms < s->low ? s->low : ms);
    return BOTTOM - (BOTTOM - TOP) * (v - log10(s->low)) / (log10(s->high) - log10(s->low));
}

static struct scale find_scale(const struct chart *ch)
{
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < ch->n; i++)
        for (int k = 0; k < PERCENTILES; k++) {
            double v = ch->columns[i].at[k];
            if (v > 0)
                least = fmin(least, v);
            most = fmax(most, v);
        }
    if (!(most > 0))
        return (struct scale){0.1, 1};
    struct scale s = {pow(10, floor(log10(least))), pow(10, ceil(log10(most)))};
    if (s.high <= s.low)
        s.high = s.low * 10;
    return s;
}

/* Where nothing was answered there is no latency: the line has a hole. */
static void latency_line(const struct chart *ch, const struct scale *s, int k, struct str *out)
{
    bool drawing = false;
    for (size_t i = 0; i <= ch->n; i++) {
        bool has = i < ch->n && ch->columns[i].at[k] > 0;
        if (has && !drawing)
            str_addf(out,
                     "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" "
                     "stroke-linejoin=\"round\" stroke-linecap=\"round\" points=\"",
                     lines[k].colour, lines[k].width);
        if (has)
            str_addf(out, "%.1f,%.1f ", x_of(ch, (double)i + 0.5), y_of(s, ch->columns[i].at[k]));
        /* a single point is drawn by its round cap */
        if (has && !drawing)
            str_addf(out, "%.1f,%.1f ", x_of(ch, (double)i + 0.5), y_of(s, ch->columns[i].at[k]));
        if (!has && drawing)
            str_add(out, "\"/>");
        drawing = has;
    }
}

static void latency_chart(const struct chart *ch, struct str *out)
{
    struct scale s = find_scale(ch);
    str_add(out, "<div class=\"chart\"><h3>Latency, from the intended time</h3><p class=\"key\">");
    for (int k = 0; k < PERCENTILES; k++)
        key(out, lines[k].colour, lines[k].name);
    str_add(out, "</p>");
    chart_begin(out, "latency percentiles over time, logarithmic");
    for (int decades = (int)lround(log10(s.high / s.low)), i = 0; i <= decades; i++) {
        char label[32];
        double v = s.low * pow(10, i);
        str_format(label, sizeof(label), v < 1000 ? "%g ms" : "%g s", v < 1000 ? v : v / 1000);
        y_line(out, y_of(&s, v), label);
    }
    for (int k = PERCENTILES - 1; k >= 0; k--)
        latency_line(ch, &s, k, out);
    chart_end(ch, out);
    str_add(out, "</div>");
}

static void latency_row(const json_t *hist, const char *label, struct str *out)
{
    static const char *const keys[] = {"p50", "p90", "p99", "p99.9", "max"};
    if (!hist)
        return;
    str_addf(out, "<tr><td>%s</td>", label);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        str_addf(out, "<td class=\"n\">%.2f ms</td>",
                 json_number_value(json_object_get(hist, keys[i])));
    str_addf(out, "<td class=\"n\">%lld</td></tr>",
             (long long)json_integer_value(json_object_get(hist, "count")));
}

static void latency_table(const json_t *probe, struct str *out)
{
    const json_t *w = json_object_get(probe, "windows");
    str_add(out,
            "<div class=\"chart\"><h3>Latency in figures</h3><table><thead><tr><th></th>"
            "<th class=\"n\">p50</th><th class=\"n\">p90</th><th class=\"n\">p99</th>"
            "<th class=\"n\">p99.9</th><th class=\"n\">max</th><th class=\"n\">requests</th></tr>"
            "</thead><tbody>");
    latency_row(json_object_get(w, "before"), "before the flip", out);
    latency_row(json_object_get(w, "during"), "half a second to each side of it", out);
    latency_row(json_object_get(w, "after"), "after", out);
    latency_row(json_object_get(probe, "latency_ms"), "all", out);
    str_add(out, "</tbody></table></div>");
}

static double value(const json_t *probe, const char *name)
{
    return json_number_value(json_object_get(probe, name));
}

static void sockets_words(const json_t *ws, struct str *out)
{
    const json_t *away = json_object_get(ws, "first_event_ms");
    if (!ws)
        return;
    str_add(out, "<p>");
    html_textf(out, "The probe's websockets: %.0f held open, %.0f never dropped",
               value(ws, "wanted"), value(ws, "stayed"));
    if (value(ws, "drops") > 0)
        html_textf(out,
                   ", %.0f dropped (%.0f with a close frame), %.0f reconnected (%.0f at the first "
                   "try)",
                   value(ws, "drops"), value(ws, "closed"), value(ws, "reconnects"),
                   value(ws, "first_try"));
    if (value(away, "count") > 0)
        html_textf(out, "; the first event came %.0f ms after the drop (median), at most %.0f ms",
                   value(away, "p50"), value(away, "max"));
    if (value(ws, "silent") > 0)
        html_textf(out, "; %.0f have had no event since", value(ws, "silent"));
    html_textf(out, "; %.0f events missed.", value(ws, "missed") + value(ws, "missed_away"));
    str_add(out, "</p>");
}

/* What else was seen, what was planned, and what only the backends know. */
static void slots_held_executed(const json_t *probe, struct str *out)
{
    const json_t *hold = json_object_get(probe, "hold"), *x = json_object_get(probe, "executed");
    const json_t *slots = json_object_get(probe, "slots");
    if (slots) {
        str_add(out, "<p>");
        html_textf(out, "Slots from %.0f to %.0f; the largest step back was %.0f.",
                   value(slots, "first"), value(slots, "last"), value(slots, "step_back"));
        str_add(out, "</p>");
    }
    if (hold) {
        str_add(out, "<p>");
        html_textf(out,
                   "By plan requests were held for %.0f ms: %.0f waited and were answered, %.0f "
                   "were lost, of %.0f it is not known.",
                   value(hold, "pause_ms"), value(hold, "waited"), value(hold, "lost"),
                   value(hold, "left"));
        str_add(out, "</p>");
    }
    if (x) {
        str_add(out, "<p>");
        html_textf(out, "By their own logs the backends executed %.0f of them, %.0f twice.",
                   value(x, "requests"), value(x, "twice"));
        str_add(out, "</p>");
    }
}

/* What a promote made of it. */
static void judgement(const json_t *probe, struct str *out)
{
    const json_t *baseline = json_object_get(probe, "baseline");
    const char *broken = json_string_value(json_object_get(probe, "broken"));
    if (baseline) {
        str_add(out, "<p>");
        html_textf(out,
                   "The baseline before the flip: %.0f requests, %.0f lost, p50 %.2f ms, p99 %.2f "
                   "ms, at most %.1f ms without a good answer.",
                   value(baseline, "sent"), value(baseline, "lost"), value(baseline, "p50_ms"),
                   value(baseline, "p99_ms"), value(baseline, "gap_ms"));
        str_add(out, "</p>");
    }
    if (broken) {
        str_add(out, "<p class=\"bad\">A limit was broken: ");
        html_text(out, broken);
        str_add(out, "</p>");
    }
}

static void one_probe(const json_t *probe, struct str *out)
{
    const char *part = json_string_value(json_object_get(probe, "part"));
    str_add(out, "<h2>What users saw</h2><p>");
    html_textf(out,
               "%s%s%.0f requests sent at fixed times, %.0f answered well, %.0f lost, %.0f "
               "answered twice. The longest time without a good answer was %.1f ms, %.1f s after "
               "the first request.",
               part ? part : "", part ? ": " : "", value(probe, "sent"), value(probe, "answered"),
               value(probe, "lost"), value(probe, "duplicate_answers"),
               value(probe, "longest_gap_ms"), value(probe, "longest_gap_at_ms") / 1e3);
    if (value(probe, "stalls_ms") > 0)
        html_textf(out,
                   " The probe itself was kept waiting for %.1f ms in all; that is not charged to "
                   "the service's gap.",
                   value(probe, "stalls_ms"));
    str_add(out, "</p>");
    slots_held_executed(probe, out);
    judgement(probe, out);
    sockets_words(json_object_get(probe, "websockets"), out);
    struct chart *ch = x_alloc(sizeof(*ch));
    if (take_series(ch, probe)) {
        requests_chart(ch, out);
        latency_chart(ch, out);
    } else {
        str_addf(out, "<p class=\"dim\">No figures over time: %s</p>",
                 part ? "this run goes on, or was killed."
                      : "they come from <code>probe --series</code>.");
    }
    free(ch);
    latency_table(probe, out);
}

void report_probe(const struct report *r, struct str *out)
{
    for (size_t i = 0; i < json_array_size(r->probes); i++)
        one_probe(json_array_get(r->probes, i), out);
}
