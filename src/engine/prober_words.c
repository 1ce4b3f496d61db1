/* What the probes of an upgrade found, in a line: from the journal, so also of runs that were
 * killed. */
#include "engine/prober_internal.h"
#include "engine/sockets.h"

#include "format/json.h"

#include <math.h>
#include <string.h>

struct sums {
    double runs, sent, lost, twice, gap, p99[3], p99_all;
    double holds, pause, waited, held_lost, left;
    double executed, executed_twice, slots, step_back;
    double sockets, stayed, drops, closed, reconnects, first_try, missed, silent;
    double away[2], away_n; /* the first events after a drop: median and longest, of how many */
    char broken[256];
};

static double number(const json_t *j, const char *key)
{
    return json_number_value(json_object_get(j, key));
}

static void add_sockets(struct sums *s, const json_t *ws)
{
    const json_t *away = json_object_get(ws, "first_event_ms");
    s->sockets = fmax(s->sockets, number(ws, "wanted"));
    s->stayed = s->runs > 1 ? fmin(s->stayed, number(ws, "stayed")) : number(ws, "stayed");
    s->drops += number(ws, "drops");
    s->closed += number(ws, "closed");
    s->reconnects += number(ws, "reconnects");
    s->first_try += number(ws, "first_try");
    s->missed += number(ws, "missed") + number(ws, "missed_away");
    s->silent += number(ws, "silent");
    s->away[1] = fmax(s->away[1], number(away, "max"));
    if (number(away, "count") > s->away_n) { /* medians do not add up: that of most of them */
        s->away_n = number(away, "count");
        s->away[0] = number(away, "p50");
    }
}

static void add_hold(struct sums *s, const json_t *hold)
{
    s->holds++;
    s->pause = fmax(s->pause, number(hold, "pause_ms"));
    s->waited += number(hold, "waited");
    s->held_lost += number(hold, "lost");
    s->left += number(hold, "left");
}

static int add_run(void *ctx, const char *upgrade unused, const char *part, const char *text)
{
    static const char *const windows[] = {"before", "during", "after"};
    struct sums *s = ctx;
    if (str_eq(part, BASELINE) || str_ends(part, PROBER_SERIES) || str_starts(part, SOCKETS_PART))
        return 0;
    cleanup_json json_t *j = json_loads(text, 0, NULL);
    const json_t *w = json_object_get(j, "windows");
    const char *broken = json_string_value(json_object_get(j, "broken"));
    s->runs++;
    s->sent += number(j, "sent");
    s->lost += number(j, "lost");
    s->twice += number(j, "duplicate_answers");
    s->gap = fmax(s->gap, number(j, "longest_gap_ms"));
    s->p99_all = number(json_object_get(j, "latency_ms"), "p99");
    for (size_t i = 0; w && i < ARRAY_LEN(windows); i++)
        s->p99[i] = number(json_object_get(w, windows[i]), "p99");
    if (broken)
        str_format(s->broken, sizeof(s->broken), "%s", broken);
    s->executed += number(json_object_get(j, "executed"), "requests");
    s->executed_twice += number(json_object_get(j, "executed"), "twice");
    s->slots += json_object_get(j, "slots") != NULL;
    s->step_back = fmax(s->step_back, number(json_object_get(j, "slots"), "step_back"));
    if (json_object_get(j, "hold"))
        add_hold(s, json_object_get(j, "hold"));
    if (json_object_get(j, "websockets"))
        add_sockets(s, json_object_get(j, "websockets"));
    return 0;
}

static bool sum_up(struct journal *j, const char *upgrade, struct sums *ret)
{
    struct err ignored = {0};
    *ret = (struct sums){0};
    return j && *upgrade && journal_probes_each(j, upgrade, add_run, ret, &ignored) == 0 &&
           ret->runs > 0;
}

static const char *ms(char *buf, size_t size, double value)
{
    return prober_ms(buf, size, (nsec_t)(value * 1e6));
}

static void hold_words(const struct sums *s, struct str *out)
{
    char pause[24];
    if (!(s->holds > 0))
        return;
    str_addf(out, "; held for %s, %.0f requests waited, ", ms(pause, sizeof(pause), s->pause),
             s->waited);
    if (s->held_lost > 0)
        str_addf(out, "%.0f lost", s->held_lost);
    else
        str_add(out, "none lost");
    if (s->left > 0)
        str_addf(out, " (%.0f still waited when a command ended: what became of them is not known)",
                 s->left);
}

void prober_words(struct journal *j, const char *upgrade, char *buf, size_t size)
{
    struct sums s;
    char a[24], b[24], c[24];
    buf[0] = '\0';
    if (!sum_up(j, upgrade, &s))
        return;
    cleanup_str struct str out = {.max = size - 1};
    str_addf(&out, "%.0f requests sent, %.0f lost", s.sent, s.lost);
    if (s.twice > 0)
        str_addf(&out, ", %.0f answered twice", s.twice);
    if (s.p99[0] > 0)
        str_addf(&out, "; p99 %s before the flip, %s around it, %s after",
                 ms(a, sizeof(a), s.p99[0]), ms(b, sizeof(b), s.p99[1]),
                 ms(c, sizeof(c), s.p99[2]));
    else
        str_addf(&out, "; p99 %s", ms(a, sizeof(a), s.p99_all));
    str_addf(&out, "; at most %s without a good answer", ms(a, sizeof(a), s.gap));
    if (s.slots > 0)
        str_addf(&out, "; slots ran back by at most %.0f", s.step_back);
    hold_words(&s, &out);
    if (s.executed > 0)
        str_addf(&out, "; %.0f executed by the backends' own logs, %.0f of them twice", s.executed,
                 s.executed_twice);
    if (*s.broken)
        str_addf(&out, "; %s", s.broken);
    str_format(buf, size, "%s", str_cstr(&out));
}

void prober_short_words(struct journal *j, const char *upgrade, char *buf, size_t size)
{
    struct sums s;
    buf[0] = '\0';
    if (sum_up(j, upgrade, &s))
        str_format(buf, size, "%.0f of %.0f lost", s.lost, s.sent);
}

void prober_websocket_words(struct journal *j, const char *upgrade, char *buf, size_t size)
{
    struct sums s;
    char median[24], most[24];
    buf[0] = '\0';
    if (!sum_up(j, upgrade, &s) || !(s.sockets > 0))
        return;
    cleanup_str struct str out = {.max = size - 1};
    str_addf(&out, "%.0f held open, %.0f never dropped", s.sockets, s.stayed);
    if (s.drops > 0)
        str_addf(&out,
                 ", %.0f dropped (%.0f with a close frame), %.0f reconnected (%.0f at the first "
                 "try)",
                 s.drops, s.closed, s.reconnects, s.first_try);
    if (s.away_n > 0)
        str_addf(&out, "; the first event came %s after the drop (median), at most %s",
                 ms(median, sizeof(median), s.away[0]), ms(most, sizeof(most), s.away[1]));
    if (s.silent > 0)
        str_addf(&out, "; %.0f have had no event since", s.silent);
    str_addf(&out, "; %.0f events missed", s.missed);
    str_format(buf, size, "%s", str_cstr(&out));
}
