/* Histogram of durations: log-linear, 3 significant digits, fixed memory, mergeable.
 *
 * A zeroed struct is an empty histogram; the counters (188 kB) are allocated with the first value
 * and freed by hist_done(). From 1 us (finer is rounded) to 73 minutes (longer counts as that in
 * the percentiles; min, max and mean stay exact). Two of them may be added, and an earlier copy may
 * be taken away from a later one: that is the window between the two. Not thread-safe. */
#pragma once

#include "base/clock.h"

struct hist {
    uint64_t *counts;
    uint64_t n;
    nsec_t sum, min, max; /* min and max are 0 while n is 0 */
};

void hist_add(struct hist *h, nsec_t value); /* below 0 counts as 0 */
void hist_merge(struct hist *dst, const struct hist *src);

/* dst becomes a copy of src; what it held before is gone. */
void hist_copy(struct hist *dst, const struct hist *src);

/* Takes `earlier`, a copy of the same histogram made before, away from dst. min and max are then
 * those of the window to 3 digits. */
void hist_subtract(struct hist *dst, const struct hist *earlier);

/* The value below or at which `fraction` (0 to 1) of all values are: 0.5 is the median. Never more
 * than max; at most 0.1 % above the true one. 0 when empty. */
nsec_t hist_at(const struct hist *h, double fraction);
/* Empties it, keeps the memory. */
void hist_clear(struct hist *h);
nsec_t hist_mean(const struct hist *h);
void hist_done(struct hist *h);
