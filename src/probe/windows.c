/* Figures by time: around each flip, and a series over the whole run.
 *
 * Where the flip is one knows only after it. So the last half second is kept apart, in a ring of
 * short histograms: on a flip they join "during", else, grown old, "before" or "after". */
#include "probe/internal.h"

#include <stdlib.h>
#include <string.h>

#define REACH (500 * NSEC_MS)

enum { RING = 6, IN_A_ROW = 10, FLIPS = 64, SERIES_MAX = 100000, PERCENTILES = 4 };

static const double percentiles[PERCENTILES] = {0.5, 0.9, 0.99, 1};

struct stretch {
    uint32_t sent, lost, ok[PROBE_COLOURS];
    nsec_t at[PERCENTILES];
};

struct flip {
    nsec_t at;
    unsigned from, to;
};

struct windows {
    struct hist before, during, after, ring[RING];
    unsigned slot;
    nsec_t slot_due, during_until;
    struct flip flips[FLIPS];
    unsigned n_flips;
    bool answered, waiting;         /* waiting: another one has answered; is it a flip? */
    unsigned live, other, in_a_row; /* who answers; who else did, how often in a row, since when */
    nsec_t other_since, live_since;

    struct hist latency; /* of the stretch that is not over */
    nsec_t stretch_due;
    struct stretch *series, so_far; /* so_far: the sums of those that are over */
    size_t n, cap;
    bool cut;
};

void windows_start(struct probe *p)
{
    if (!p->o.windows && !p->o.series)
        return;
    struct windows *w = p->windows = x_alloc(sizeof(*w));
    w->slot_due = p->start + REACH / (RING - 1);
    w->stretch_due = p->o.series ? p->start + p->o.series : INT64_MAX;
}

void windows_done(struct probe *p)
{
    struct windows *w = p->windows;
    if (!w)
        return;
    hist_done(&w->before);
    hist_done(&w->during);
    hist_done(&w->after);
    hist_done(&w->latency);
    for (int i = 0; i < RING; i++)
        hist_done(&w->ring[i]);
    free(w->series);
    free(w);
    p->windows = NULL;
}

static void retire_slot(struct hist *slot, struct hist *to)
{
    hist_merge(to, slot);
    hist_clear(slot);
}

static void turn_ring(struct windows *w, nsec_t now)
{
    for (int turns = 0; now >= w->slot_due && turns < RING; turns++) {
        w->slot = (w->slot + 1) % RING;
        retire_slot(&w->ring[w->slot], w->n_flips ? &w->after : &w->before);
        w->slot_due += REACH / (RING - 1);
    }
    if (now >= w->slot_due) /* everything in it was old */
        w->slot_due = now + REACH / (RING - 1);
}

static void stretch_end(struct probe *p, struct windows *w)
{
    struct stretch total = {.sent = (uint32_t)p->r.sent, .lost = (uint32_t)probe_lost(&p->r)};
    for (unsigned i = 0; i < PROBE_COLOURS; i++)
        total.ok[i] = (uint32_t)p->r.colours[i].ok;
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 256;
        w->series = x_realloc(w->series, w->cap, sizeof(*w->series));
    }
    struct stretch *s = &w->series[w->n++];
    s->sent = total.sent - w->so_far.sent;
    s->lost = total.lost - w->so_far.lost;
    for (unsigned i = 0; i < PROBE_COLOURS; i++)
        s->ok[i] = total.ok[i] - w->so_far.ok[i];
    for (int i = 0; i < PERCENTILES; i++)
        s->at[i] = hist_at(&w->latency, percentiles[i]);
    w->so_far = total;
    hist_clear(&w->latency);
}

static void end_stretches(struct probe *p, struct windows *w)
{
    while (p->now >= w->stretch_due && !w->cut) {
        stretch_end(p, w);
        w->stretch_due += p->o.series;
        w->cut = w->n == SERIES_MAX;
    }
}

void windows_tick(struct probe *p)
{
    turn_ring(p->windows, p->now);
    end_stretches(p, p->windows);
}

static void flip_note(struct probe *p, struct windows *w)
{
    if (w->n_flips < FLIPS)
        w->flips[w->n_flips++] =
            (struct flip){.at = w->other_since - p->start, .from = w->live, .to = w->other};
    w->live = w->other;
    w->live_since = w->other_since;
    for (int i = 0; i < RING; i++)
        retire_slot(&w->ring[i], &w->during);
    w->during_until = w->other_since + REACH;
}

/* In a backlog the answers of both colours come mixed. What was due before the first of another
 * colour is on its way already, and says nothing of who is live now: only what was due later does.
 */
void windows_colour(struct probe *p, unsigned colour, nsec_t intended)
{
    struct windows *w = p->windows;
    if (!w->answered)
        w->live = colour;
    w->answered = true;
    if (colour == w->live) {
        w->waiting &= intended <= w->other_since;
        return;
    }
    if (intended <= w->live_since)
        return;
    if (!w->waiting || w->other != colour) {
        w->waiting = true;
        w->other = colour;
        w->other_since = p->now;
        w->in_a_row = 0;
    }
    if (intended > w->other_since && ++w->in_a_row == IN_A_ROW) {
        w->waiting = false;
        flip_note(p, w);
    }
}

void windows_add(struct probe *p, nsec_t latency, bool held)
{
    struct windows *w = p->windows;
    windows_tick(p);
    if (!held)
        hist_add(p->now < w->during_until ? &w->during : &w->ring[w->slot], latency);
    if (p->o.series)
        hist_add(&w->latency, latency);
}

static void settle(struct probe *p, struct windows *w)
{
    for (int i = 0; i < RING; i++)
        retire_slot(&w->ring[i], w->n_flips ? &w->after : &w->before);
    bool more = w->latency.n || w->so_far.sent != (uint32_t)p->r.sent ||
                w->so_far.lost != (uint32_t)probe_lost(&p->r);
    if (p->o.series && more && !w->cut)
        stretch_end(p, w);
}

static const char *colour_at(const struct probe *p, unsigned i)
{
    return p->r.colours[i].name;
}

void windows_text(struct probe *p, struct str *out)
{
    struct windows *w = p->windows;
    if (!w || !w->n_flips)
        return;
    settle(p, w);
    for (unsigned i = 0; i < w->n_flips; i++)
        str_addf(out, "  %-16s%.3f s after the start, from %s to %s\n", i ? "" : "flip",
                 (double)w->flips[i].at / 1e9, colour_at(p, w->flips[i].from),
                 colour_at(p, w->flips[i].to));
    result_hist_text(&w->before, "  before", out);
    result_hist_text(&w->during, "  around (0.5 s)", out);
    result_hist_text(&w->after, "  after", out);
}

json_t *probe_windows_json(struct probe *p)
{
    struct windows *w = p->windows;
    if (!w || !w->n_flips)
        return NULL;
    settle(p, w);
    json_t *flips = json_array();
    for (unsigned i = 0; i < w->n_flips; i++)
        json_array_append_new(
            flips, json_pack("{s:f s:s* s:s*}", "at_ms", (double)w->flips[i].at / 1e6, "from",
                             colour_at(p, w->flips[i].from), "to", colour_at(p, w->flips[i].to)));
    return json_pack("{s:o s:i s:o s:o s:o}", "flips", flips, "reach_ms", (int)(REACH / NSEC_MS),
                     "before", result_hist_json(&w->before), "during", result_hist_json(&w->during),
                     "after", result_hist_json(&w->after));
}

static json_t *stretch_json(const struct stretch *s, unsigned colours)
{
    json_t *j = json_array();
    json_array_append_new(j, json_integer(s->sent));
    json_array_append_new(j, json_integer(s->lost));
    for (int i = 0; i < PERCENTILES; i++)
        json_array_append_new(j, json_real((double)s->at[i] / 1e6));
    for (unsigned i = 0; i < colours; i++)
        json_array_append_new(j, json_integer(s->ok[i]));
    return j;
}

json_t *probe_series_json(struct probe *p)
{
    struct windows *w = p->windows;
    if (!w || !p->o.series)
        return NULL;
    settle(p, w);
    json_t *list = json_array(), *colours = json_array();
    for (size_t i = 0; i < w->n; i++)
        json_array_append_new(list, stretch_json(&w->series[i], p->r.n_colours));
    for (unsigned i = 0; i < p->r.n_colours; i++)
        json_array_append_new(colours, json_string(colour_at(p, i)));
    return json_pack("{s:f s:o s:o s:b}", "every_ms", (double)p->o.series / 1e6, "windows", list,
                     "colours", colours, "cut", w->cut);
}
