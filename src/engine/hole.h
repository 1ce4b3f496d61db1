/* The hole of a standby that collects for itself (writes: both): what came after the clone's point
 * in time and before it was ready is in nobody's data but the old side's. It belongs to the open
 * upgrade and is kept in the journal. */
#pragma once

#include "engine/engine.h"

/* The clone is about to be made: the hole begins now. Nothing but writes: both has one. Again after
 * a crash: the clone is made anew, so the hole begins anew. */
must_check int hole_begin(struct engine *e, struct err *err);

/* The standby has passed its gate: the hole ends with that step. Later calls of the same upgrade
 * change nothing. */
must_check int hole_end(struct engine *e, struct err *err);

/* "blue has a hole of 1.4 s in its data: ..."; "" if there is none, or it has not ended. j may be
 * NULL. Blocks not. */
void hole_words(struct journal *j, const struct upgrade *up, char *buf, size_t size);
