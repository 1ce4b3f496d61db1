/* Worker threads over a bounded last-in-first-out queue: depth first, so memory stays small. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>

struct pool;
struct pool_job { /* first member of the caller's own job */
    struct pool_job *next;
};

struct pool_spec {
    unsigned threads; /* 0: as many as there are processors, at most 8 */
    /* Does one job and frees it. -1 stops the pool; the first error is the pool's. Any thread. */
    int (*run)(void *ctx, unsigned worker, struct pool_job *job, struct err *err);
    void (*drop)(void *ctx, struct pool_job *job); /* frees one that will not run */
    /* Called in the thread of pool_run() about ten times a second and once at the end; true stops
     * the pool with ERR_INTERRUPTED. May be NULL. */
    bool (*tick)(void *ctx, bool last);
    nsec_t budget; /* 0: none. When it has passed the pool stops, which is no error. */
    void *ctx;
};

unsigned pool_threads(unsigned asked);

/* Runs `first` and what it pushes until nothing is left or somebody failed. Blocks. */
must_check int pool_run(const struct pool_spec *spec, struct pool_job *first, struct err *err);

/* From inside run(). False: more than `max` are waiting already, or the pool is stopping; the job
 * is still the caller's, who does it himself or drops it. */
bool pool_push(struct pool *p, struct pool_job *job, size_t max);
bool pool_hungry(const struct pool *p);   /* somebody waits, and nothing is there for him */
bool pool_stopping(const struct pool *p); /* long jobs ask, and return 0 early */

/* The pool hands itself over before the first job: ctx must start with this. */
struct pool_ctx {
    struct pool *pool;
};
