/* What prober.c, prober_judge.c and prober_words.c share. */
#pragma once

#include "engine/prober.h"
#include "probe/probe.h"

#define BASELINE "baseline" /* the part of the journal that has it */

/* What is known of live before the flip. */
struct baseline {
    bool known;
    uint64_t sent, lost;
    nsec_t p50, p99, gap;
};

struct prober {
    struct probe *p;
    const struct spec_probe *spec;
    struct probe_options o;
    char part[64];                           /* its name in the journal */
    struct probe_result now;                 /* at the last look */
    struct hist latency_then, lateness_then; /* when the stretch that is judged began */
    nsec_t stretch_from;                     /* 0: nothing is judged yet */
    struct baseline base;
    uint64_t lost_before;  /* not the new colour's */
    bool from_before_flip; /* its websockets were opened at the old side */
    bool held;             /* requests wait: no latency and no gap is judged */
    nsec_t looked, stored, logs_looked;
    char broken[256];
};

/* From here on a new stretch is judged. */
void prober_mark(struct prober *pr);

/* What the probe's options are by the spec; strings stay the spec's. */
void prober_options(const struct spec *s, struct probe_options *ret);

/* p99 since prober_mark(). */
nsec_t prober_p99(const struct prober *pr);

/* Judges pr->now: fills pr->broken if a limit is. A stretch as long as the baseline that was good
 * is over with that, and another begins. */
void prober_judge(struct prober *pr);

/* "41 ms", "1.9 ms" */
const char *prober_ms(char *buf, size_t size, nsec_t ns);
