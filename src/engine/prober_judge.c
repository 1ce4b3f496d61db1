/* Whether what the probe sees is within the limits. Figures in, words out. */
#include "engine/prober_internal.h"

#include "sys/clock.h"

#include <inttypes.h>
#include <stdio.h>

const char *prober_ms(char *buf, size_t size, nsec_t ns)
{
    double ms = (double)ns / 1e6;
    return str_format(buf, size, ms < 9.95 ? "%.2g ms" : "%.0f ms", ms);
}

void prober_mark(struct prober *pr)
{
    hist_copy(&pr->latency_then, &pr->now.latency);
    hist_copy(&pr->lateness_then, &pr->now.lateness);
    pr->stretch_from = sys_clock_mono();
}

static void window(struct hist *ret, const struct hist *now, const struct hist *then)
{
    hist_copy(ret, now);
    hist_subtract(ret, then);
}

nsec_t prober_p99(const struct prober *pr)
{
    cleanup(hist_done) struct hist latency = {0};
    window(&latency, &pr->now.latency, &pr->latency_then);
    return hist_at(&latency, 0.99);
}

static void judge_lost(struct prober *pr)
{
    uint64_t lost = probe_lost(&pr->now) - pr->lost_before;
    char cause[160] = "";
    if (lost <= pr->spec->max_lost)
        return;
    if (pr->lost_before < pr->now.n_failures && pr->lost_before < PROBE_FAILURES) {
        const struct probe_failure *f = &pr->now.failures[pr->lost_before];
        bool bad = f->outcome == PROBE_BAD;
        str_format(cause, sizeof(cause), " (%s: %s)",
                   bad ? probe_bad_words[f->bad] : probe_outcome_words[f->outcome], f->detail);
    }
    str_format(pr->broken, sizeof(pr->broken), "%" PRIu64 " request%s lost%s, limit %" PRIu64, lost,
               lost == 1 ? "" : "s", cause, pr->spec->max_lost);
}

static void judge_twice(struct prober *pr)
{
    const struct probe_executed *x = &pr->now.executed;
    if (x->twice <= pr->spec->max_twice)
        return;
    str_format(pr->broken, sizeof(pr->broken),
               "%" PRIu64 " request%s executed twice (the first: #%" PRIu64 "), limit %" PRIu64,
               x->twice, x->twice == 1 ? "" : "s", x->first_twice[0], pr->spec->max_twice);
}

/* A gap that live had as well is not the new colour's fault. */
static void judge_gap(struct prober *pr)
{
    char words[24];
    nsec_t gap = pr->now.longest_gap;
    if (pr->held || !pr->spec->max_gap_ms || gap <= pr->spec->max_gap_ms * NSEC_MS ||
        gap <= pr->base.gap)
        return;
    str_format(pr->broken, sizeof(pr->broken), "no good answer for %s, limit %d ms",
               prober_ms(words, sizeof(words), gap), pr->spec->max_gap_ms);
}

/* `more` values at least lie above the limit. */
static bool above(const struct hist *h, nsec_t limit, uint64_t more)
{
    if (h->n < more)
        return false;
    return hist_at(h, ((double)(h->n - more) + 0.5) / (double)h->n) > limit;
}

/* A stretch is as long as the baseline. So many slow requests that its p99 can no longer come to
 * lie within the limit decide before its end. What the probe itself was late by is not charged. */
static void judge_p99(struct prober *pr)
{
    const struct spec_probe *s = pr->spec;
    bool over = sys_clock_mono() - pr->stretch_from >= s->baseline;
    if (pr->held || !(s->p99_ratio > 0) || !pr->base.known || !pr->base.p99)
        return;
    cleanup(hist_done) struct hist latency = {0}, lateness = {0};
    window(&latency, &pr->now.latency, &pr->latency_then);
    window(&lateness, &pr->now.lateness, &pr->lateness_then);
    uint64_t all = over ? latency.n : (uint64_t)((double)s->rate * (double)s->baseline / 1e9);
    nsec_t limit = (nsec_t)(s->p99_ratio * (double)pr->base.p99);
    limit = limit < s->p99_floor_ms * NSEC_MS ? s->p99_floor_ms * NSEC_MS : limit;
    nsec_t late = hist_at(&lateness, 0.99);
    if (above(&latency, limit + late, all / 100 + 1)) {
        char words[24];
        nsec_t p99 = hist_at(&latency, 0.99) - late;
        str_format(pr->broken, sizeof(pr->broken), "p99 %s is %.1f x the baseline, limit %g",
                   prober_ms(words, sizeof(words), p99), (double)p99 / (double)pr->base.p99,
                   s->p99_ratio);
    } else if (over) {
        prober_mark(pr);
    }
}

void prober_judge(struct prober *pr)
{
    static void (*const judges[])(struct prober *) = {judge_lost, judge_twice, judge_gap,
                                                      judge_p99};
    for (size_t i = 0; i < ARRAY_LEN(judges) && !*pr->broken; i++)
        judges[i](pr);
}
