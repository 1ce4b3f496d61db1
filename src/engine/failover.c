#include "engine/failover.h"

#include "sys/clock.h"

#define GATES_MAX 32

bool failover_wanted(const struct engine *e)
{
    const struct spec *live = e->ctx.side[e->up->flipped ? e->up->to : e->up->from];
    return e->traffic && live->traffic.failover && live->writes != WRITES_CLIENT &&
           (e->up->state == STATE_PREPARED || e->up->state == STATE_AWAITING_CONFIRM);
}

static enum colour live_of(const struct engine *e)
{
    return e->up->flipped ? e->up->to : e->up->from;
}

static int look(struct failover_watch *w, struct engine *e, enum colour c, enum colour reference,
                struct err *err)
{
    const char *version = c == e->up->to ? e->up->version_to : e->up->version_from;
    struct gate_request rq = {.colour = c,
                              .reference = reference,
                              .target_version = *version ? version : NULL,
                              .what = "failover"};
    struct gate_result r[GATES_MAX];
    size_t n = 0;
    if (!w->watch && !(w->watch = gate_watch_new(&e->ctx, &rq, err)))
        return -1;
    if (gate_watch_look(w->watch, r, GATES_MAX, &n, err) < 0)
        return -1;
    bool pass = true;
    for (size_t i = 0; i < n; i++)
        pass = pass && r[i].pass;
    w->passes = pass ? w->passes + 1 : 0;
    return 0;
}

int failover_look(struct failover *f, struct engine *e, bool *ret_good, struct err *err)
{
    const struct spec_gate_set *gate = &e->ctx.side[e->up->from]->gate;
    enum colour live = live_of(e), other = colour_other(live);
    if (sys_clock_mono() >= f->next_look) {
        f->next_look = sys_clock_mono() + gate->interval;
        if (look(&f->live, e, live, COLOUR_NONE, err) < 0 ||
            look(&f->other, e, other, live, err) < 0 ||
            look(&f->alone, e, other, COLOUR_NONE, err) < 0)
            return -1;
        bool fails = f->alone.passes == 0 || (f->live.passes && f->other.passes == 0);
        if (fails && e->traffic->failover(&e->ctx, false, err) < 0)
            return -1;
    }
    *ret_good = f->live.passes >= gate->passes && f->other.passes >= gate->passes;
    return 0;
}

void failover_done(struct failover *f)
{
    struct failover_watch *all[] = {&f->live, &f->other, &f->alone};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        gate_watch_free(all[i]->watch);
        *all[i] = (struct failover_watch){0};
    }
}
