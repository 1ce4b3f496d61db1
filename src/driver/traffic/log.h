/* Who answered lately, by Caddy's access log. */
#pragma once

#include "driver/context.h"

struct traffic_counts {
    uint64_t answered[COLOURS];
    uint64_t none;   /* 503 of the block itself: no flag */
    uint64_t failed; /* of all: status 500 and above */
    bool cut;        /* the log reaches not so far back as was asked, or too far to read */
};

/* Counts the requests of the last `seconds` of the access log by the colour that the block wrote
 * into the answer. A websocket counts when it ends. Reads at most the last 256 MiB.
 * traffic.access_log is not set: ERR_USAGE. */
must_check int traffic_show_last(const struct driver_ctx *ctx, double seconds,
                                 struct traffic_counts *ret, struct err *err);
