/* spec + facts + goal -> plan. Pure: no clock, no files, no environment. */
#pragma once

#include "model/plan.h"

/* Fills *ret (zeroed by the caller; plan_done frees it). The same goal gives the same plan. */
void plan_make(enum plan_phase phase, const struct plan_goal *goal, struct plan *ret);
void plan_done(struct plan *p);
#define cleanup_plan cleanup(plan_done)

/* A service that is told to close its websockets has so much more time than it said. */
#define PLAN_SPREAD_MORE (2 * NSEC_S)

/* The table of what a rollback costs, in the order of the stages; strings live in the arena. */
void plan_costs(const struct plan_goal *goal, struct arena *arena,
                struct plan_cost ret[PLAN_COSTS]);

/* How long live is paused for the clone, at least: the sum over the volumes if one asks for it. 0:
 * not at all, or not measured. *ret_first (may be NULL): the pass before, while it runs. */
nsec_t plan_pause(const struct plan_goal *goal, nsec_t *ret_first);
/* Whether cloning this volume needs the instance frozen (by its spec and its driver's nature). */
bool plan_needs_freeze(const struct spec_volume *v, const struct plan_volume *pv);

/* Whether going back over the flip may happen without asking: nothing is lost, or the loss was
 * accepted. */
bool plan_may_flip_back(enum spec_writes writes, bool loss_accepted);

/* Of a cleanup: whether this volume is kept under another name, and what exactly happens to it. */
bool plan_keeps(const struct plan_goal *goal, const struct spec_volume *v);
const char *plan_end_words(const struct plan_goal *goal, const struct spec_volume *v,
                           struct arena *arena);
