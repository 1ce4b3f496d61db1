/* What flows out: events, to any number of observers. They never call back. */
#pragma once

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum event_kind {
    EVENT_PHASE,      /* a phase begins: text is its headline */
    EVENT_STEP_START, /* step, text: what it will do */
    EVENT_STEP_DONE,  /* step, text: what came of it, took_ns */
    EVENT_STEP_SKIP,  /* already true */
    EVENT_STEP_FAIL,  /* step, text: why */
    EVENT_PROGRESS,   /* text: what; done/total in unit; rate per second, eta_ns */
    EVENT_NOTE,       /* something worth saying */
    EVENT_WARNING
};

struct event {
    enum event_kind kind;
    const char *step;
    const char *text;
    const char *detail; /* PROGRESS: figures that change all the while; NULL: none */
    double done, total; /* total 0: unknown */
    const char *unit;   /* "bytes" prints as bytes, else the word: "slots", "files", "passes" */
    double rate;        /* units a second, 0: unknown */
    nsec_t eta_ns;      /* -1: unknown, -2: does not converge */
    nsec_t took_ns;
    nsec_t wall_ns;
};

typedef void event_fn(void *ctx, const struct event *ev);

/* Where a producer sends its events. NULL fn: nowhere. */
struct sink {
    event_fn *fn;
    void *ctx;
};

void event_emit(const struct sink *sink, const struct event *ev);
void event_note(const struct sink *sink, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void event_warn(const struct sink *sink, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void event_progress(const struct sink *sink, const char *text, double done, double total,
                    const char *unit, double rate, nsec_t eta_ns);
