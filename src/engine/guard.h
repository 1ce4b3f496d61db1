/* The guard: two small processes of ours that watch each other and keep the promises with a
 * deadline while no command runs. Each holds a lock file for its life (guard-a.lock, guard-b.lock
 * in the service's directory); whichever finds the other's lock free starts it anew, so that
 * killing one is mended within half a second. Either may do the duties; the service's kernel lock
 * makes it one at a time. Both end when no upgrade is open. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "model/event.h"

#include <stdbool.h>

struct guard_place {
    const char *spec_path, *state_root, *service_dir;
};

enum guard_role { GUARD_A, GUARD_B, GUARD_ROLES };

/* Starts what does not live. Returns when both hold their locks (or after 2 s: an error). Safe to
 * repeat. */
must_check int guard_ensure(const struct guard_place *place, struct err *err);

/* How many of the two live. */
int guard_alive(const struct guard_place *place);

/* One round of duties, called about twice a second while nobody holds the service's lock. */
typedef int guard_duty_fn(void *ctx, struct err *err);

/* The life of one of them: until `duty` returns 1 (nothing is open any more). Returns 0, or -1 if
 * its lock was taken already (another guard has this role). A round that fails is told to `log` and
 * tried again. */
must_check int guard_live(const struct guard_place *place, enum guard_role role,
                          guard_duty_fn *duty, void *ctx, const struct sink *log, struct err *err);
