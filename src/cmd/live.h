/* What adopt and start share: making a colour the live one, from nothing. */
#pragma once

#include "cmd/session.h"

/* The version of what runs (given, else asked through the spec's version gate, else
 * runtime.version). */
must_check int live_version(struct session *s, enum colour c, const char *given, char ret[64],
                            struct err *err);

/* First contact: which colour. text: what --live says, or NULL: what the flags say, else green.
 * Flags that say the other one are ERR_FAILED: traffic would move. */
must_check int live_choose(struct session *s, const char *text, enum colour *ret, struct err *err);

/* Marks its volumes, points the traffic's flag at it, stores its spec, and only then claims it
 * live. */
must_check int live_settle_in(struct session *s, enum colour c, const char *version,
                              struct err *err);

/* Waits at its gate; its version must be the stored one. */
must_check int live_gate(struct session *s, enum colour c, struct err *err);

/* Takes the marks off its volumes. */
must_check int live_unmark(struct session *s, enum colour c, struct err *err);
