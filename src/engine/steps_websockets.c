/* The step that tells the old side to close its websockets one after the other, so that not all of
 * its clients come back in the same moment. */
#include "engine/drain.h"
#include "engine/prober.h"
#include "engine/sockets.h"
#include "plan/plan.h"
#include "sys/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOK (30 * NSEC_MS)

static int runs(struct engine *e, enum colour c, struct instance_facts *ret, struct err *err)
{
    if (e->runtime->inspect(&e->ctx, c, ret, err) < 0)
        return -1;
    return ret->state == INSTANCE_RUNNING;
}

static int websockets_check(struct engine *e, const struct plan_step *s, struct err *err)
{
    struct instance_facts inst = {0};
    struct traffic_load l = {0};
    struct err look = {0};
    int r = runs(e, s->colour, &inst, err);
    if (r <= 0 || !e->traffic)
        return r < 0 ? -1 : 1;
    return e->traffic->load(&e->ctx, s->colour, &l, &look) == 0 && l.websockets == 0;
}

static int tell(struct engine *e, enum colour c, const struct instance_facts *inst, struct err *err)
{
    const struct spec_stop_websockets *w = &e->ctx.side[c]->stop.websockets;
    if (!w->signal)
        return driver_command(&e->ctx, &w->command, "stop.websockets.command", c, NULL, err);
    if (inst->pid.pid <= 0)
        return err_set(err, ERR_FAILED, "stop.websockets.signal: %s has no process to signal",
                       colour_name(c));
    if (sys_proc_signal(inst->pid, w->signal) < 0)
        return err_sys(err, ERR_FAILED, "send SIG%s to pid %d of %s", sigabbrev_np(w->signal),
                       (int)inst->pid.pid, colour_name(c));
    return 0;
}

/* Until none is open, or the time and a little more is over. A proxy that is slow to answer says
 * nothing. */
static int wait_closed(struct engine *e, const struct plan_step *s, int all, int *ret_left,
                       nsec_t *ret_took, struct err *err)
{
    nsec_t spread = e->ctx.side[s->colour]->stop.websockets.spread, begun = sys_clock_mono();
    nsec_t most = spread + PLAN_SPREAD_MORE;
    for (*ret_left = all;;) {
        struct traffic_load l = {0};
        struct err look = {0};
        char text[96];
        if (driver_poll(&e->ctx))
            return err_set(err, ERR_INTERRUPTED, "asked to end while %s closed its websockets",
                           colour_name(s->colour));
        if (e->traffic->load(&e->ctx, s->colour, &l, &look) == 0)
            *ret_left = l.websockets;
        *ret_took = sys_clock_mono() - begun;
        if (*ret_left == 0 || *ret_took >= most)
            return 0;
        if (prober_look(e, err) < 0)
            return -1;
        snprintf(text, sizeof(text), "%s closes its websockets: %d of %d closed",
                 colour_name(s->colour), all > *ret_left ? all - *ret_left : 0, all);
        prober_progress(e, text, *ret_took, *ret_took < spread ? spread : most);
        sys_sleep(LOOK);
    }
}

/* Asks, waits, and shows that still nobody else is served there: it is stopped next. */
static int close_them(struct engine *e, const struct plan_step *s,
                      const struct instance_facts *inst, int open, char *result, struct err *err)
{
    const char *c = colour_name(s->colour);
    struct traffic_load quiet = {0};
    struct err told = {0};
    char words[24];
    int left = open;
    nsec_t took = 0;
    sockets_asked(e, s->colour, open, e->ctx.side[s->colour]->stop.websockets.spread);
    if (tell(e, s->colour, inst, &told) < 0) {
        if (told.code == ERR_INTERRUPTED) {
            *err = told;
            return -1;
        }
        event_warn(&e->tee, "%s; its stop closes its %d websockets all at once", told.msg, open);
        sockets_closed(e, s->colour, open, 0);
        snprintf(result, STEP_RESULT, "%s could not be told; its stop closes %d websockets", c,
                 open);
        return 0;
    }
    if (wait_closed(e, s, open, &left, &took, err) < 0)
        return -1;
    sockets_closed(e, s->colour, left, took);
    clock_words(words, sizeof(words), took);
    if (left) {
        event_warn(&e->tee, "%s still has %d of its %d websockets after %s; its stop closes them",
                   c, left, open, words);
        snprintf(result, STEP_RESULT, "%s closed %d of its %d websockets in %s", c,
                 open > left ? open - left : 0, open, words);
    } else {
        snprintf(result, STEP_RESULT, "%s closed its %d websocket%s one after the other in %s", c,
                 open, open == 1 ? "" : "s", words);
    }
    return drain_wait(e, s, false, &quiet, err);
}

static int websockets_apply(struct engine *e, const struct plan_step *s, char *result,
                            struct err *err)
{
    struct instance_facts inst = {0};
    struct traffic_load l = {0};
    const char *c = colour_name(s->colour);
    int r = runs(e, s->colour, &inst, err);
    if (r <= 0 || !e->traffic) {
        snprintf(result, STEP_RESULT, "%s does not run: it has no websockets", c);
        return r < 0 ? -1 : 0;
    }
    /* Failover must not send those that come back to a side that goes away. */
    if (e->traffic->failover(&e->ctx, false, err) < 0 ||
        e->traffic->load(&e->ctx, s->colour, &l, err) < 0)
        return -1;
    if (l.websockets > 0)
        return close_them(e, s, &inst, l.websockets, result, err);
    snprintf(result, STEP_RESULT, "%s has no websocket open", c);
    return 0;
}

const struct step_ops step_websockets = {.check = websockets_check, .apply = websockets_apply};
