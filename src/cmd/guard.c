/* guard (hidden): the process that keeps promises with a deadline. */
#include "engine/guard.h"

#include "cmd/guard_failover.h"
#include "cmd/session.h"
#include "driver/storage/ops.h"
#include "engine/flow.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <stdio.h>
#include <string.h>

/* A deadline that was missed by more than this (the machine was off) is asked about, never acted
 * upon. */
#define MUCH_TOO_LATE (10 * NSEC_MIN)

#define OURS "guard.rollback" /* meta: the upgrade that a guard has begun to roll back */
#define SILENCE "nobody confirmed in time"

struct guard_ctx {
    const struct cmd_call *call;
    const char *service_dir;
    struct guard_failover *failover; /* NULL: the other guard's duty, as whatever is said or kept */
    char thawed[96]; /* the attempt of a step after whose end nothing was left frozen */
    bool said_late;
    bool said_space;
    nsec_t looked;  /* monotonic: at the floors */
    nsec_t sampled; /* monotonic: the last look at what is left */
    bool said_low;  /* after the flip: below the floor, and nothing is done about it */
};

/* The time that promote --confirm-within gave is over. A promote that was killed after its flip
 * promised the same. */
static bool silent(struct guard_ctx *g, const struct session *s)
{
    struct deadline d;
    nsec_t left = 1;
    struct err ignored = {0};
    if ((s->up.state != STATE_AWAITING_CONFIRM && s->up.state != STATE_PROMOTING) ||
        journal_deadline(s->j, CONFIRM_DEADLINE, &d, &left, &ignored) <= 0 || left > 0)
        return false;
    if (left >= -MUCH_TOO_LATE)
        return true;
    if (!g->said_late)
        event_warn(&s->out, "the time to confirm was over long ago: not rolled back; changeover "
                            "confirm, or rollback");
    g->said_late = true;
    return false;
}

/* A promote was killed while requests wait: what they were promised is over. However late: the
 * longer they wait, the more of them fail, and going back loses nothing. */
static bool hold_over(const struct session *s)
{
    struct deadline d;
    nsec_t left = 1;
    struct err ignored = {0};
    return s->up.state == STATE_PROMOTING &&
           journal_deadline(s->j, HOLD_DEADLINE, &d, &left, &ignored) > 0 && left <= 0;
}

/* A killed rollback that a guard began is ours to end: nobody else may come. */
static bool ours(const struct session *s)
{
    cleanup_str struct str begun = {0};
    struct err ignored = {0};
    return s->up.state == STATE_ROLLING_BACK &&
           journal_meta_get(s->j, OURS, &begun, &ignored) > 0 && str_eq(str_cstr(&begun), s->up.id);
}

/* Steps that freeze a colour: when one was killed, whoever held the freeze may have been, too. */
static const struct freezer {
    const char *step;
    bool standby; /* the new colour; else the old one */
} freezers[] = {{"prepare/clone", false}, {"prepare/gate", true}, {"promote/gate", true}};

static const struct freezer *freezer_killed(const struct guard_ctx *g, const struct session *s,
                                            char key[96])
{
    struct err ignored = {0};
    if (s->up.flipped || (s->up.state != STATE_PREPARING && s->up.state != STATE_PROMOTING))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(freezers); i++) {
        struct step_row row;
        if (journal_step(s->j, s->up.id, freezers[i].step, &row, &ignored) < 0 ||
            row.status != STEP_INTENDED)
            continue;
        str_format(key, 96, "%s %s %d", s->up.id, freezers[i].step, row.attempt);
        return str_eq(key, g->thawed) ? NULL : &freezers[i];
    }
    return NULL;
}

static int thaw(struct session *s, const struct freezer *f, struct err *err)
{
    enum colour frozen = f->standby ? s->up.to : s->up.from;
    const struct spec *to = s->side[s->up.to], *from = s->side[s->up.from];
    for (size_t i = 0; !f->standby && i < to->volumes_n; i++) {
        const struct spec_volume *dst = &to->volumes[i], *src = spec_volume(from, dst->name);
        struct err ignored = {0};
        const struct storage_ops *ops = src ? storage_find(src, dst, &ignored) : NULL;
        if (ops && ops->thaw)
            ops->thaw(src, dst);
    }
    return s->engine.runtime->thaw(&s->engine.ctx, frozen, -1, NULL, err);
}

/* While a command is at work its own waits do these duties. */
static bool command_at_work(const struct session *s)
{
    cleanup_free char *lock = x_asprintf("%s/lock", s->side[GREEN]->traffic.flag_dir);
    return sys_lock_held(lock, NULL, 0);
}

static int answer_silence(struct session *s, struct err *err)
{
    if (!s->up.flipped) /* killed before its flip: there is nothing to take back */
        return journal_deadline_clear(s->j, CONFIRM_DEADLINE, err);
    if (journal_meta_set(s->j, OURS, s->up.id, err) < 0 ||
        flow_rollback(&s->engine, SILENCE, err) < 0)
        return -1;
    return journal_meta_set(s->j, OURS, NULL, err);
}

static int answer_hold(struct session *s, struct err *err)
{
    if (journal_meta_set(s->j, OURS, s->up.id, err) < 0 || flow_hold_over(&s->engine, err) < 0)
        return -1;
    return journal_meta_set(s->j, OURS, NULL, err);
}

/* After the flip the old side is the way back, and stays: then the time left is said, once. */
static bool owes_warning(struct guard_ctx *g, struct session *s)
{
    char words[512];
    if (!g->failover || !s->up.flipped)
        return false;
    flow_space_words(&s->engine, words, sizeof(words));
    bool low = *words != '\0';
    bool owes = low && !g->said_low;
    g->said_low = low && g->said_low; /* there is room again: the next time is told anew */
    return owes;
}

static void warn_low(struct guard_ctx *g, struct session *s)
{
    char words[512];
    flow_space_words(&s->engine, words, sizeof(words));
    if (*words)
        event_warn(s->engine.ctx.sink, "%s", words);
    g->said_low = true;
}

/* At most once a second: for a volume of ZFS a program is run. */
static bool space_low(struct guard_ctx *g, struct session *s)
{
    nsec_t now = sys_clock_mono();
    if (now < g->looked + NSEC_S)
        return false;
    g->looked = now;
    return engine_space_low(&s->engine) > 0;
}

/* Under the lock, with everything read anew. */
static int act(struct guard_ctx *g, struct session *s, struct err *err)
{
    char key[96];
    if (silent(g, s) && answer_silence(s, err) < 0)
        return -1;
    if (hold_over(s) && answer_hold(s, err) < 0)
        return -1;
    if (ours(s) && (flow_rollback(&s->engine, SILENCE, err) < 0 ||
                    journal_meta_set(s->j, OURS, NULL, err) < 0))
        return -1;
    const struct freezer *f = freezer_killed(g, s, key);
    if (f) {
        if (thaw(s, f, err) < 0)
            return -1;
        str_format(g->thawed, sizeof(g->thawed), "%s", key);
    }
    if (owes_warning(g, s))
        warn_low(g, s);
    return flow_space(&s->engine, true, err) < 0 ? -1 : 0;
}

/* Looks without the lock, and takes it only when there is something to do. */
static int duty(void *ctx, struct err *err)
{
    struct guard_ctx *g = ctx;
    cleanup_session struct session look;
    char key[96];
    if (session_open(&look, g->call, 0, NULL, err) < 0)
        return sys_path_exists(g->service_dir) ? -1 : 1;
    if (!look.open)
        return 1;
    struct err failover_err = {0}, space_err = {0};
    if (g->failover && space_sample(&look.engine, &g->sampled, &space_err) < 0 && !g->said_space)
        event_warn(&look.out, "what is left is not known: %s", space_err.msg);
    g->said_space = *space_err.msg;
    int failover =
        g->failover ? guard_failover_round(g->failover, g->call, &look, &failover_err) : 0;
    bool act_now = !command_at_work(&look) &&
                   (silent(g, &look) || hold_over(&look) || ours(&look) ||
                    freezer_killed(g, &look, key) || space_low(g, &look) || owes_warning(g, &look));
    if (act_now) {
        cleanup_session struct session s;
        if (session_open(&s, g->call, SESSION_LOCK | SESSION_SETTLE, NULL, err) < 0)
            return err->code == ERR_LOCKED ? 0 : -1;
        if (s.open && act(g, &s, err) < 0)
            return -1;
    }
    if (failover < 0)
        *err = failover_err;
    return failover;
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup(guard_failover_done) struct guard_failover failover = {0};
    struct guard_ctx g = {.call = call};
    cleanup_session struct session s;
    if (session_open(&s, call, 0, NULL, err) < 0)
        return -1;
    struct guard_place place = {
        .spec_path = s.spec_path, .state_root = s.state_root, .service_dir = s.service_dir};
    enum guard_role role = str_eq(call->argv[0], "a") ? GUARD_A : GUARD_B;
    g.failover = role == GUARD_A ? &failover : NULL;
    g.service_dir = s.service_dir;
    int r = guard_live(&place, role, duty, &g, &s.out, err);
    return r < 0 && err->code == ERR_LOCKED ? 0 : r;
}

const struct cmd_row cmd_guard = {
    .name = "guard",
    .args = "a|b",
    .summary = "keep the promises that have a deadline",
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_HIDDEN,
    .run = run,
};
