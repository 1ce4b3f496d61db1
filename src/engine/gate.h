/* Gates: what must hold before the next step.
 *
 * Every gate of the set is asked each interval; all must pass `passes` times in a row before the
 * deadline. */
#pragma once

#include "driver/context.h"
#include "driver/runtime/ops.h"

struct gate_request {
    enum colour colour;         /* the one that must pass */
    enum colour reference;      /* the one it is compared with (lag); NONE: none runs */
    bool reference_runs;        /* the caller has just seen that: it is not looked at again */
    bool reference_may_fail;    /* no answer of it, or a slow one, is no failure */
    const char *target_version; /* version gate; NULL: any */
    int passes;                 /* 0: the spec's */
    nsec_t deadline;            /* duration; 0: the spec's */
    const char *what;           /* for the progress line: "standby blue catches up" */
    nsec_t try_timeout;         /* of one question; 0: the gate's own (status: 500 ms) */
    /* Called about every 100 ms between two looks; may take its time. -1 ends the wait. NULL:
     * nobody. */
    int (*between)(void *ctx, struct err *err);
    void *between_ctx;
    bool passed_before; /* it just passed: a number not yet seen to move is no failure, one that
                           stands is */
};

/* 0: passed. ERR_GATE: not in time; the message names the gate, what it said last and, for a lag,
 * the rate at which it closed ("does not converge" if it does not). ERR_FAILED: the instance is
 * gone (its last log lines in the message). ERR_INTERRUPTED. Progress: the worst gate, lag, rate,
 * time left. Changes nothing. */
must_check int gate_wait(const struct driver_ctx *ctx, const struct gate_request *rq,
                         struct err *err);

struct gate_result {
    const char *gate;
    bool pass;
    char said[256]; /* what it found */
    bool has_number;
    double number; /* lag */
};

/* One look at all gates (status uses it): fills at most max results. Network questions go out in
 * parallel. One look cannot tell whether a number moves: a moving gate passes here if there is a
 * number. */
must_check int gate_look(const struct driver_ctx *ctx, const struct gate_request *rq,
                         struct gate_result *ret, size_t max, size_t *ret_n, struct err *err);

/* Looks that remember the one before, so that a number that stands still is seen (bake, failover,
 * guard). Keeps ctx and what rq points to; no N passes, no deadline: the caller's loop. */
struct gate_watch;
struct gate_watch *gate_watch_new(const struct driver_ctx *ctx, const struct gate_request *rq,
                                  struct err *err);
must_check int gate_watch_look(struct gate_watch *w, struct gate_result *ret, size_t max,
                               size_t *ret_n, struct err *err);
void gate_watch_free(struct gate_watch *w);
