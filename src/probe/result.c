/* What a probe found, in words and as JSON. */
#include "probe/internal.h"

#include <string.h>

static const struct {
    const char *name;
    double at;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};

static const char *ms(char *buf, size_t size, nsec_t ns)
{
    snprintf(buf, size, ns < 100 * NSEC_MS ? "%.2f ms" : "%.1f ms", (double)ns / 1e6);
    return buf;
}

void result_hist_text(const struct hist *h, const char *label, struct str *out)
{
    char buf[32];
    str_addf(out, "  %-16s", label);
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++)
        str_addf(out, "%s%s %s", i ? ", " : "", percentiles[i].name,
                 ms(buf, sizeof(buf), hist_at(h, percentiles[i].at)));
    str_add_c(out, '\n');
}

static void lost_text(const struct probe_result *r, struct str *out)
{
    str_addf(out, "  %-16s", "lost");
    for (int i = PROBE_BAD; i < PROBE_LEFT; i++)
        str_addf(out, "%s%llu %s", i > PROBE_BAD ? ", " : "", (unsigned long long)r->outcome[i],
                 probe_outcome_words[i]);
    const char *sep = " (bad: ";
    for (int i = 0; i < PROBE_BADS; i++)
        if (r->bad[i]) {
            str_addf(out, "%s%llu %s", sep, (unsigned long long)r->bad[i], probe_bad_words[i]);
            sep = ", ";
        }
    str_add(out, *sep == ',' ? ")\n" : "\n");
    if (r->duplicate_answers)
        str_addf(out, "  %-16s%llu answers that no open request had asked for\n", "duplicates",
                 (unsigned long long)r->duplicate_answers);
}

static void colours_text(const struct probe_result *r, struct str *out)
{
    if (!r->n_colours || (r->n_colours == 1 && strcmp(r->colours[0].name, "-") == 0))
        return;
    str_addf(out, "  %-16s", "answered by");
    for (unsigned i = 0; i < r->n_colours; i++) {
        const struct probe_colour *c = &r->colours[i];
        str_addf(out, "%s%s %llu", i ? ", " : "",
                 strcmp(c->name, "-") == 0 ? "no colour named" : c->name,
                 (unsigned long long)c->ok + c->bad);
        if (c->bad)
            str_addf(out, " (%llu bad)", (unsigned long long)c->bad);
    }
    str_add_c(out, '\n');
}

static void hold_text(const struct probe_result *r, struct str *out)
{
    const struct probe_hold *h = &r->hold;
    char a[32], b[32];
    if (!h->seen)
        return;
    str_addf(out,
             "  %-16s%s without a good answer, by plan; %llu requests waited, at most %s, %llu "
             "lost, %llu left waiting, %llu not sent meanwhile\n",
             "held", ms(a, sizeof(a), h->pause), (unsigned long long)h->waited,
             ms(b, sizeof(b), h->longest), (unsigned long long)h->lost,
             (unsigned long long)r->outcome[PROBE_LEFT], (unsigned long long)h->not_sent);
}

static void executed_text(const struct probe_executed *e, struct str *out)
{
    if (!e->asked)
        return;
    str_addf(out, "  %-16s%llu requests by the backends' own logs, %llu of them twice", "executed",
             (unsigned long long)e->requests, (unsigned long long)e->twice);
    for (uint64_t i = 0; i < e->twice && i < ARRAY_LEN(e->first_twice); i++)
        str_addf(out, "%s#%llu", i ? ", " : ": ", (unsigned long long)e->first_twice[i]);
    str_add(out, e->failed ? "; a log could not be read\n" : "\n");
}

static void drops_text(const struct probe_sockets *w, struct str *out)
{
    char median[32], most[32];
    str_addf(out,
             "  %-16s%llu (%llu with a close frame); %llu reconnected, %llu of them at the "
             "first try",
             "  drops", (unsigned long long)w->drops, (unsigned long long)w->closed,
             (unsigned long long)w->reconnects, (unsigned long long)w->first_try);
    for (unsigned i = 0; i < w->n_by; i++)
        str_addf(out, "%s%s %llu", i ? ", " : " (", w->by[i].name,
                 (unsigned long long)w->by[i].reconnects);
    str_add(out, w->n_by ? ")\n" : "\n");
    if (w->away.n)
        str_addf(out, "  %-16s%s after the drop (median), at most %s\n", "  first event",
                 ms(median, sizeof(median), hist_at(&w->away, 0.5)),
                 ms(most, sizeof(most), w->away.max));
    if (w->silent)
        str_addf(out, "  %-16s%u dropped ones have had no event since\n", "  silent", w->silent);
    str_addf(out, "  %-16s%llu from the drop to the first event, %llu came twice\n",
             "  missed slots", (unsigned long long)w->missed_away, (unsigned long long)w->again);
}

static void sockets_text(const struct probe_sockets *w, struct str *out)
{
    if (!w->wanted)
        return;
    str_addf(out, "  %-16s%u of %u open, %u never dropped, %llu events\n", "websockets", w->open,
             w->wanted, w->stayed, (unsigned long long)w->events);
    if (w->drops)
        drops_text(w, out);
    if (w->refused)
        str_addf(out, "  %-16s%llu attempts, the last: %s\n", "  refused",
                 (unsigned long long)w->refused,
                 *w->refused_why ? w->refused_why : "the connection was lost");
    if (w->gaps || w->backward)
        str_addf(out, "  %-16s%llu (%llu slots skipped), %llu backwards\n", "  slot gaps",
                 (unsigned long long)w->gaps, (unsigned long long)w->missed,
                 (unsigned long long)w->backward);
}

static void failures_text(const struct probe_result *r, struct str *out)
{
    enum { SHOWN = 10 };
    if (!r->n_failures)
        return;
    str_add(out, "  first failures (time since the start)\n");
    for (uint64_t i = 0; i < r->n_failures && i < SHOWN; i++) {
        const struct probe_failure *f = &r->failures[i];
        str_addf(out, "    %10.4f s  #%-8llu %s: %s\n", (double)f->intended / 1e9,
                 (unsigned long long)f->number,
                 f->outcome == PROBE_BAD ? probe_bad_words[f->bad]
                                         : probe_outcome_words[f->outcome],
                 f->detail);
    }
    if (r->n_failures > SHOWN)
        str_addf(out, "    and %llu more\n", (unsigned long long)(r->n_failures - SHOWN));
}

/* p: NULL, or whose result it is */
static void whole_text(const struct probe_result *r, struct probe *p, struct str *out)
{
    char a[32], b[32];
    uint64_t lost = probe_lost(r);
    str_addf(out, "  %-16s%llu in %s, one every %s", "sent", (unsigned long long)r->sent,
             clock_words(a, sizeof(a), r->elapsed), ms(b, sizeof(b), r->interval));
    if (r->slow)
        str_addf(out, ", %llu of them slow", (unsigned long long)r->slow);
    str_addf(out, "\n  %-16s%llu\n", "answered well", (unsigned long long)r->outcome[PROBE_OK]);
    lost_text(r, out);
    result_hist_text(&r->latency, "latency", out);
    if (p)
        windows_text(p, out);
    str_addf(out, "  %-16s%s without a good answer, %.3f s after the start\n", "longest gap",
             ms(a, sizeof(a), r->longest_gap), (double)r->longest_gap_at / 1e9);
    hold_text(r, out);
    str_addf(out, "  %-16sp99 %s, max %s; stalled for %s in all\n", "own lateness",
             ms(a, sizeof(a), hist_at(&r->lateness, 0.99)), ms(b, sizeof(b), r->lateness.max),
             r->stalls ? clock_words((char[32]){0}, 32, r->stalls) : "0 ms");
    if (r->stalls > r->elapsed / 50)
        str_addf(out, "  %-16sthe probe itself was late: latencies include that\n", "");
    colours_text(r, out);
    str_addf(out, "  %-16s%llu opened", "connections", (unsigned long long)r->connections);
    if (r->connections_max)
        str_addf(out, ", at most %u at once, %llu closed by the server while idle",
                 r->connections_max, (unsigned long long)r->idle_closed);
    str_add_c(out, '\n');
    if (r->slots_seen)
        str_addf(out, "  %-16sfrom %lld to %lld, largest step back %lld\n", "slots",
                 (long long)r->slot_first, (long long)r->slot_last, (long long)r->slot_step_back);
    executed_text(&r->executed, out);
    sockets_text(&r->ws, out);
    failures_text(r, out);
    if (r->log_failed)
        str_add(out, "  the log file is incomplete: it could not be written\n");
    str_addf(out, "%llu sent, %llu answered, %llu lost\n", (unsigned long long)r->sent,
             (unsigned long long)r->outcome[PROBE_OK], (unsigned long long)lost);
}

void probe_result_text(const struct probe_result *r, struct str *out)
{
    whole_text(r, NULL, out);
}

void probe_text(struct probe *p, const struct probe_result *r, struct str *out)
{
    whole_text(r, p, out);
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *in_ms(nsec_t ns)
{
    return json_real((double)ns / 1e6);
}

json_t *result_hist_json(const struct hist *h)
{
    json_t *j = json_object();
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++)
        json_object_set_new(j, percentiles[i].name, in_ms(hist_at(h, percentiles[i].at)));
    json_object_set_new(j, "mean", in_ms(hist_mean(h)));
    json_object_set_new(j, "count", count(h->n));
    return j;
}

static json_t *sockets_json(const struct probe_sockets *w)
{
    const struct {
        const char *key;
        uint64_t n;
    } numbers[] = {
        {"wanted", w->wanted},
        {"open", w->open},
        {"stayed", w->stayed},
        {"ever_open", w->ever_open},
        {"events", w->events},
        {"drops", w->drops},
        {"closed", w->closed},
        {"reconnects", w->reconnects},
        {"first_try", w->first_try},
        {"refused", w->refused},
        {"gaps", w->gaps},
        {"missed", w->missed},
        {"missed_away", w->missed_away},
        {"again", w->again},
        {"backward", w->backward},
        {"silent", w->silent},
    };
    json_t *j = json_object(), *by = json_object();
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        json_object_set_new(j, numbers[i].key, count(numbers[i].n));
    for (unsigned i = 0; i < w->n_by; i++)
        json_object_set_new(by, w->by[i].name, count(w->by[i].reconnects));
    json_object_set_new(j, "reconnects_by", by);
    json_object_set_new(j, "first_event_ms", result_hist_json(&w->away));
    json_object_set_new(j, "longest_away_ms", in_ms(w->away.max));
    if (*w->refused_why)
        json_object_set_new(j, "refused_why", json_string(w->refused_why));
    return j;
}

static json_t *failures_json(const struct probe_result *r)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < r->n_failures && i < PROBE_FAILURES; i++) {
        const struct probe_failure *f = &r->failures[i];
        json_t *j = json_pack("{s:I s:o s:o s:s s:s}", "number", (json_int_t)f->number, "at_ms",
                              in_ms(f->intended), "ended_ms", in_ms(f->ended), "outcome",
                              probe_outcome_words[f->outcome], "detail", f->detail);
        if (!j) /* bytes that are no UTF-8 */
            j = json_pack("{s:I s:s}", "number", (json_int_t)f->number, "outcome",
                          probe_outcome_words[f->outcome]);
        if (f->outcome == PROBE_BAD)
            json_object_set_new(j, "bad", json_string(probe_bad_words[f->bad]));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *colours_json(const struct probe_result *r)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < r->n_colours; i++) {
        const struct probe_colour *c = &r->colours[i];
        json_array_append_new(list,
                              json_pack("{s:s* s:I s:I s:o s:o}", "name", c->name, "ok",
                                        (json_int_t)c->ok, "bad", (json_int_t)c->bad, "first_ms",
                                        in_ms(c->first), "last_ms", in_ms(c->last)));
    }
    return list;
}

static json_t *hold_json(const struct probe_result *r)
{
    const struct probe_hold *h = &r->hold;
    return json_pack("{s:o s:o s:o s:o s:o s:o}", "pause_ms", in_ms(h->pause), "waited",
                     count(h->waited), "longest_wait_ms", in_ms(h->longest), "lost", count(h->lost),
                     "left", count(r->outcome[PROBE_LEFT]), "not_sent", count(h->not_sent));
}

static json_t *executed_json(const struct probe_executed *e)
{
    json_t *first = json_array();
    for (uint64_t i = 0; i < e->twice && i < ARRAY_LEN(e->first_twice); i++)
        json_array_append_new(first, count(e->first_twice[i]));
    return json_pack("{s:o s:o s:o s:b}", "requests", count(e->requests), "twice", count(e->twice),
                     "first_twice", first, "failed", e->failed);
}

json_t *probe_result_json(const struct probe_result *r)
{
    json_t *outcomes = json_object(), *bad = json_object();
    for (int i = 0; i < PROBE_OUTCOMES - !r->hold.seen; i++) /* LEFT is the last of them */
        json_object_set_new(outcomes, probe_outcome_words[i], count(r->outcome[i]));
    for (int i = 0; i < PROBE_BADS; i++)
        json_object_set_new(bad, probe_bad_words[i], count(r->bad[i]));
    json_t *j = json_pack(
        "{s:I s:I s:I s:I s:o s:o s:I s:I s:o s:o s:o s:o s:o s:o s:I s:o s:o}", "sent",
        (json_int_t)r->sent, "answered", (json_int_t)r->outcome[PROBE_OK], "lost",
        (json_int_t)probe_lost(r), "in_flight", (json_int_t)r->in_flight, "outcomes", outcomes,
        "bad", bad, "slow", (json_int_t)r->slow, "duplicate_answers",
        (json_int_t)r->duplicate_answers, "latency_ms", result_hist_json(&r->latency),
        "lateness_ms", result_hist_json(&r->lateness), "longest_gap_ms", in_ms(r->longest_gap),
        "longest_gap_at_ms", in_ms(r->longest_gap_at), "stalls_ms", in_ms(r->stalls), "elapsed_ms",
        in_ms(r->elapsed), "connections", (json_int_t)r->connections, "colours", colours_json(r),
        "failures", failures_json(r));
    json_object_set_new(j, "idle_closed", count(r->idle_closed));
    json_object_set_new(j, "clean", json_boolean(probe_clean(r)));
    json_object_set_new(j, "started_ms", json_real((double)r->started_wall / 1e6));
    json_object_set_new(j, "started", json_integer(r->started_wall / NSEC_S));
    if (r->slots_seen)
        json_object_set_new(j, "slots",
                            json_pack("{s:I s:I s:I}", "first", (json_int_t)r->slot_first, "last",
                                      (json_int_t)r->slot_last, "step_back",
                                      (json_int_t)r->slot_step_back));
    if (r->hold.seen)
        json_object_set_new(j, "hold", hold_json(r));
    if (r->executed.asked)
        json_object_set_new(j, "executed", executed_json(&r->executed));
    if (r->ws.wanted)
        json_object_set_new(j, "websockets", sockets_json(&r->ws));
    return j;
}
