#include "cmd/guard_failover.h"

#include "engine/flow.h"

#include <string.h>

void guard_failover_done(struct guard_failover *g)
{
    failover_done(&g->failover);
    if (g->session) {
        session_done(g->session);
        free(g->session);
    }
    g->session = NULL;
}

static bool same(const struct session *a, const struct session *b)
{
    return strcmp(a->up.id, b->up.id) == 0 && a->up.state == b->up.state &&
           a->up.flipped == b->up.flipped;
}

static int flag(struct session *s, bool on, struct err *err)
{
    return s->engine.traffic ? s->engine.traffic->failover(&s->engine.ctx, on, err) : 0;
}

/* Only under the lock: a command may be about to stop what we would fail over to. */
static int set_flag(const struct cmd_call *call, const struct session *look, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK, NULL, err) < 0)
        return err->code == ERR_LOCKED ? 0 : -1;
    return same(&s, look) ? flag(&s, true, err) : 0;
}

int guard_failover_round(struct guard_failover *g, const struct cmd_call *call,
                         struct session *look, struct err *err)
{
    bool wanted = failover_wanted(&look->engine), good = false;
    struct traffic_facts f = {0};
    if (!wanted || (g->session && !same(g->session, look)))
        guard_failover_done(g);
    if (!wanted || !g->seen) {
        /* A flag that nobody looks after: of a guard that was killed, or of a state that is over.
         */
        g->seen = true;
        return flag(look, false, err);
    }
    if (!g->session) {
        g->session = x_alloc(sizeof(*g->session));
        if (session_open(g->session, call, 0, NULL, err) < 0) {
            guard_failover_done(g);
            return -1;
        }
    }
    if (failover_look(&g->failover, &g->session->engine, &good, err) < 0)
        return -1;
    if (!good || look->engine.traffic->inspect(&look->engine.ctx, TRAFFIC_GLANCE, &f, err) < 0)
        return good ? -1 : 0;
    return f.failover ? 0 : set_flag(call, look, err);
}
