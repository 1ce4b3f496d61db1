/* The brake: while the standby catches up, a small probe asks live; as long as live's p99 is over
 * the spec's limit, the standby is paused (runtime.standby.brake).
 *
 * For disks that honour no io weight. The pause is held by a child of ours that lets the standby go
 * on when we die, and at a ceiling; what both leave behind when they are killed, the guard thaws.
 * After each pause the standby runs for at least as long, so that it gets there in the end. */
#pragma once

#include "driver/context.h"
#include "driver/runtime/ops.h"

bool brake_wanted(const struct spec *standby);

struct brake;

/* Lets go what a killed run has left paused, and begins to ask live. Blocks not. */
must_check int brake_start(const struct driver_ctx *ctx, const struct runtime_ops *runtime,
                           enum colour live, enum colour standby, struct brake **ret,
                           struct err *err);

/* To be called often. Comes back when the standby runs: at once, or after the
 * pause, which ends when live is well again, or at brake.max_pause. ERR_INTERRUPTED: it runs then,
 * too. */
must_check int brake_turn(struct brake *b, struct err *err);

/* "; blue was paused 3 times, 4.1 s in all: green's p99 was up to 82 ms"; "" if it never was. */
void brake_words(const struct brake *b, char *buf, size_t size);

void brake_free(struct brake *b); /* the standby runs afterwards */

/* --- pure: when to pause and when to go on -----------------------------------------------------
 */

/* One whole window of measuring. */
struct brake_window {
    nsec_t p99;
    uint64_t answers, expected;
};

struct brake_state {
    bool paused;
    nsec_t since;      /* monotonic: of this pause, or of running */
    nsec_t last_pause; /* how long it was */
};

enum brake_act { BRAKE_STAY, BRAKE_PAUSE, BRAKE_GO };

/* w NULL: no window has ended just now. Changes *s by what it returns. Less than half of the
 * answers that were expected is as bad as slow ones. */
enum brake_act brake_decide(const struct spec_brake *rule, struct brake_state *s, nsec_t now,
                            const struct brake_window *w);
