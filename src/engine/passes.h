/* The clone of every volume of the service, at one point in time, with as short a pause of the live
 * instance as can be: passes over the data while it runs, each over what changed during the one
 * before, until one is shorter than freeze.max; then the last one while it stands still. */
#pragma once

#include "driver/storage/ops.h"
#include "engine/engine.h"

struct volume_pair {
    const struct spec_volume *src, *dst;
    const struct storage_ops *ops;
};

/* The i-th volume of the step's colour and what it is cloned from. */
must_check int volume_pair_of(struct engine *e, const struct plan_step *s, size_t i,
                              struct volume_pair *ret, struct err *err);

/* Passes over the data while the source runs and nobody waits yet; what they know is kept in
 * e->ahead, for passes_clone() in this process. *ret_last: how long the last one took, without
 * the waits for a limit; 0: none was made, since the source does not run. Pre: nothing of the
 * clones is complete. */
must_check int passes_ahead_of_hold(struct engine *e, const struct plan_step *s, nsec_t *ret_last,
                                    struct err *err);
void passes_forget(struct engine *e); /* e->ahead */

/* Makes all the clones and settles them, with e->ahead only what changed since. Pre: nothing of
 * them is complete. result: for people. The instance runs again on every way out; a tool that is
 * killed takes the freeze along. */
must_check int passes_clone(struct engine *e, const struct plan_step *s, char *result,
                            struct err *err);

/* The end of a clone that was killed after its last pass: after_snapshot, then all of it on disk.
 */
must_check int passes_settle(struct engine *e, const struct plan_step *s, struct err *err);
