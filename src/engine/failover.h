/* Failover: a third flag that lets the proxy use the other colour when the live one does not
 * answer.
 *
 * It is set only when both colours pass their gates, lag and moving slot included, and stays only
 * while somebody goes on looking and the colour that would be failed over to passes: its first
 * failure removes it. A live colour that fails is what the flag is for, so that alone does not
 * remove it; the other one is then no longer measured against live, but against the references of
 * its lag gate. With writes: client it never exists. The guard is that somebody; steps that stop,
 * clone or freeze a colour remove it first. */
#pragma once

#include "engine/engine.h"
#include "engine/gate.h"

struct failover {
    struct failover_watch {
        struct gate_watch *watch; /* keep e and its specs alive while these live */
        int passes;               /* in a row */
    } live, other,                /* measured against live */
        alone; /* the other one, measured against its references only: counts while live fails */
    nsec_t next_look; /* monotonic */
};

/* The spec wants it, and in this state both colours run and are gated. */
bool failover_wanted(const struct engine *e);

/* Looks at both colours if the gate's interval has passed. *ret_good: both have passed
 * `gate.passes` times in a row. Removes the flag itself at the first failure of the colour that
 * does not serve. Setting it is the caller's, under the service's lock. */
must_check int failover_look(struct failover *f, struct engine *e, bool *ret_good, struct err *err);

void failover_done(struct failover *f);
