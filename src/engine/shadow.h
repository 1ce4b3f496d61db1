/* Shadow comparison: before the flip the same read-only questions go to the live colour and to the
 * standby, and the answers are compared field by field. Changes nothing.
 *
 * Only answers of one slot are compared: a question with `${slot}` asks for a slot that both have,
 * and an answer that says its slot (slot_field) waits for the other side's of that slot. A side
 * that does not answer (yet) is asked again until the deadline. */
#pragma once

#include "driver/context.h"
#include "format/jsondiff.h"

#define SHADOW_SHOWN 20

struct shadow_request {
    enum colour live, standby; /* whose spec's `shadow` counts: the standby's */
    int samples;               /* 0: the spec's */
    nsec_t deadline;           /* duration; 0: the spec's */
};

struct shadow_difference {
    const char *request; /* the spec's */
    char slot[32];       /* " at slot 7", or "" */
    char path[160];
    char value[COLOURS][JSON_DIFF_VALUE + 1];
};

struct shadow_result {
    int wanted, compared, differ; /* answers */
    struct shadow_difference shown[SHADOW_SHOWN];
    size_t shown_n, fields; /* fields: all that differ, shown or not */
    char missing[400];      /* what could not be compared, and what each side said; or "" */
    char silent[400];       /* a question that neither side ever answered well; or "" */
};

bool shadow_wanted(const struct spec *s);

/* Asks and compares. Blocks until the deadline at most; progress by ctx->sink. ERR_INTERRUPTED. */
must_check int shadow_run(const struct driver_ctx *ctx, const struct shadow_request *rq,
                          struct shadow_result *ret, struct err *err);

/* "getBlock at slot 7: result.data: green 1, blue 2" */
void shadow_words(const struct shadow_difference *d, struct str *out);

/* 0: good enough for the spec. ERR_GATE: why not, with the first differences. */
must_check int shadow_judge(const struct spec *s, const struct shadow_request *rq,
                            const struct shadow_result *r, struct err *err);

/* --- pure parts, for their test --------------------------------------------------------------- */

/* Replaces `${slot}`; a JSON text that is nothing else becomes a number. */
void shadow_fill(const char *text, uint64_t slot, struct str *out);
