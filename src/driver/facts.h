/* check: the preflight. Read-only, asks every driver, and adds one finding for each thing it looked
 * at. goal_version may be NULL (config-only, or nothing planned); live: what the journal claims
 * (NONE: not adopted). */
#pragma once

#include "driver/context.h"
#include "model/facts.h"

struct check_request {
    enum colour live;
    const char *goal_version;
    const char *live_version;
    bool measure;      /* walk the volumes, measure the clone's rate */
    bool standby_runs; /* the standby's ports are its own then */
    const char *const
        *other_state_dirs; /* NULL-terminated: services that must not share anything with ours */
};

/* -1 only if looking itself broke; what it found wrong is in `ret` (findings_count(ret,
 * FINDING_ERROR)). */
must_check int check_run(const struct driver_ctx *ctx, const struct check_request *rq,
                         struct findings *ret, struct err *err);
