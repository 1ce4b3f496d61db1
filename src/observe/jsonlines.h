/* Events for a program: one JSON object a line (-o json puts them on standard error).
 *
 *     {"time": "2026-11-23T01:37:40.123Z", "event": "progress", "text": "clone ledger", "done":
 * 1024, "total": 4096, "unit": "bytes", "rate": 512.0, "left_s": 6.0}
 *
 * Keys that say nothing are left out. "event" is phase, step-start, step-done, step-skip,
 * step-fail, progress, note or warning; "converges": false stands where no end is in sight. Any
 * bytes in a text give valid JSON. One thread at a time; never fails. */
#pragma once

#include "model/event.h"

#include <stdio.h>

/* Where producers send to; valid as long as the stream. */
struct sink jsonlines_sink(FILE *to);
