/* What the files of the gates share; nobody else includes it. */
#pragma once

#include "engine/gate.h"
#include "net/query.h"

/* What is remembered of one gate from look to look. */
struct gate_memory {
    bool has_value, grown;
    double value;
    nsec_t changed; /* monotonic: when it last grew, or was first seen */
};

struct gate_watch {
    const struct driver_ctx *ctx;
    struct gate_request rq;
    const struct spec *spec; /* of rq.colour */
    const struct runtime_ops *runtime;
    struct gate_memory *memory; /* one a gate; NULL: a single look */
    bool reference_runs;        /* as of this look */
    nsec_t now;
};

/* With the runtime given (tests have their own). runtime may be NULL: no ports gate, nobody looks
 * whether the instance is gone. */
struct gate_watch *gate_watch_new_on(const struct driver_ctx *ctx, const struct gate_request *rq,
                                     const struct runtime_ops *runtime, bool remember);
int gate_wait_on(const struct driver_ctx *ctx, const struct gate_request *rq,
                 const struct runtime_ops *runtime, struct err *err);

/* 1: driver_poll asked to end. */
int gate_ask_all(struct gate_watch *w, struct gate_result *ret, size_t n, struct err *err);

void gate_judge_ports(struct gate_watch *w, const struct spec_gate *g, struct gate_result *r);
void gate_judge_command(struct gate_watch *w, const struct spec_gate *g, struct gate_result *r);

void gate_say(struct gate_result *r, bool pass, const char *fmt, ...) printf_like(3, 4);

/* --- the rate at which a lag closes (pure) --------------------------------------------------- */

#define GATE_RATE_SAMPLES 256

struct gate_rate {
    nsec_t window; /* how far back samples count */
    struct {
        nsec_t at;
        double lag;
    } sample[GATE_RATE_SAMPLES]; /* a ring */
    size_t next, n;
};

void gate_rate_add(struct gate_rate *r, nsec_t at, double lag);

/* Least squares over the window. false: too few samples, or less than half a window of them. *ret:
 * how many a second the lag shrinks by (negative: it grows). */
bool gate_rate_closing(const struct gate_rate *r, double *ret);
