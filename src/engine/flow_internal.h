/* What flow.c and flow_back.c share. */
#pragma once

#include "engine/flow.h"

#define CONFIRMED "confirmed"           /* meta: the upgrade that was */
#define CONFIRM_WITHIN "confirm_within" /* meta: what promote --confirm-within was asked for */

must_check int flow_move(struct engine *e, enum upgrade_state to, const char *outcome,
                         struct err *err);

/* Ends what journal_begin began. Not committed: *e->up is `was` again. */
must_check int flow_commit(struct engine *e, const struct upgrade *was, bool ok, struct err *err);

/* Into a state by itself. promise_over: what --confirm-within promised ends with that, at once. */
must_check int flow_enter(struct engine *e, enum upgrade_state to, bool promise_over,
                          struct err *err);

void flow_headline(struct engine *e, const char *text);
must_check int flow_run_phase(struct engine *e, enum plan_phase phase, struct plan *plan,
                              struct err *err);

/* The README by hand, in the flag directory. Its failure stops nothing: it is for the day when we
 * are gone. */
void flow_readme(struct engine *e);
int flow_interrupted(struct engine *e, struct err *err);
