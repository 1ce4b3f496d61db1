/* The guard's duty for the failover flag: a session and two watches that live as long as the
 * upgrade's state. */
#pragma once

#include "cmd/session.h"
#include "engine/failover.h"

struct guard_failover {
    struct session *session; /* the watches read it */
    struct failover failover;
    bool seen; /* an unowned flag has been looked for */
};

/* One round. `look` is this round's reading of the journal. Sets the flag under the service's lock
 * when both colours are good, and removes it at the first failure, or when the state asks for none.
 */
must_check int guard_failover_round(struct guard_failover *g, const struct cmd_call *call,
                                    struct session *look, struct err *err);
void guard_failover_done(struct guard_failover *g);
