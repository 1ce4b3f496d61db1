/* guard (hidden): the process that keeps promises with a deadline. */
#include "engine/guard.h"

#include "cmd/guard_failover.h"
#include "cmd/session.h"
#include "engine/flow.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <stdio.h>
#include <string.h>

/* A deadline that was missed by more than this (the machine was off) is asked about, never acted upon. */
#define MUCH_TOO_LATE (10 * NSEC_MIN)

struct guard_ctx {
    const struct cmd_call *call;
    struct guard_failover *failover; /* NULL: the other guard's duty */
};

static int roll_back_on_silence(struct session *s, struct err *err)
{
    struct deadline d;
    nsec_t left = 0;
    int r = journal_deadline(s->j, CONFIRM_DEADLINE, &d, &left, err);
    if (r <= 0 || left > 0 || left < -MUCH_TOO_LATE || s->up.state != STATE_AWAITING_CONFIRM)
        return r < 0 ? -1 : 0;
    return flow_rollback(&s->engine, "nobody confirmed in time", err);
}

/* A killed rollback that we began is ours to end: nobody else may come. */
static int go_on_rolling_back(struct session *s, struct err *err)
{
    cleanup_str struct str mine = {0};
    int r = journal_meta_get(s->j, "guard.rollback", &mine, err);
    if (r <= 0 || s->up.state != STATE_ROLLING_BACK)
        return r < 0 ? -1 : 0;
    return flow_rollback(&s->engine, "nobody confirmed in time", err);
}

static bool due(struct session *s)
{
    struct deadline d;
    nsec_t left = 1;
    struct err ignored = {0};
    return s->open && s->up.state == STATE_AWAITING_CONFIRM &&
           journal_deadline(s->j, CONFIRM_DEADLINE, &d, &left, &ignored) > 0 && left <= 0;
}

/* Looks without the lock, and takes it only when there is something to do. */
static int duty(void *ctx, struct err *err)
{
    struct guard_ctx *g = ctx;
    cleanup_session struct session look;
    if (session_open(&look, g->call, 0, NULL, err) < 0)
        return -1;
    if (!look.open)
        return 1;
    if (g->failover && guard_failover_round(g->failover, g->call, &look, err) < 0)
        return -1;
    struct err space_err = {0};
    int space = flow_space(&look.engine, false, &space_err);
    cleanup_str struct str mine = {0};
    bool ours = look.up.state == STATE_ROLLING_BACK &&
                journal_meta_get(look.j, "guard.rollback", &mine, err) > 0;
    if (!due(&look) && !ours && space <= 0)
        return space < 0 ? (*err = space_err, -1) : 0;
    cleanup_session struct session s;
    if (session_open(&s, g->call, SESSION_LOCK | SESSION_SETTLE, NULL, err) < 0)
        return err->code == ERR_LOCKED ? 0 : -1; /* a command's own waits do these duties */
    if (!s.open)
        return 1;
    if (due(&s) && journal_meta_set(s.j, "guard.rollback", s.up.id, err) < 0)
        return -1;
    if (roll_back_on_silence(&s, err) < 0 || go_on_rolling_back(&s, err) < 0)
        return -1;
    if (s.up.state == STATE_ROLLED_BACK && journal_meta_set(s.j, "guard.rollback", NULL, err) < 0)
        return -1;
    return flow_space(&s.engine, true, err) < 0 ? -1 : 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup(guard_failover_done) struct guard_failover failover = {0};
    struct guard_ctx g = {.call = call};
    cleanup_session struct session s;
    if (session_open(&s, call, 0, NULL, err) < 0)
        return -1;
    struct guard_place place = {.spec_path = s.spec_path, .state_root = s.state_root, .service_dir = s.service_dir};
    enum guard_role role = str_eq(call->argv[0], "a") ? GUARD_A : GUARD_B;
    g.failover = role == GUARD_A ? &failover : NULL;
    int r = guard_live(&place, role, duty, &g, &s.out, err);
    return r < 0 && err->code == ERR_LOCKED ? 0 : r;
}

const struct cmd_row cmd_guard = {
    .name = "guard", .args = "a|b", .summary = "keep the promises that have a deadline", .min_args = 1,
    .max_args = 1, .flags = CMD_HIDDEN, .run = run,
};
