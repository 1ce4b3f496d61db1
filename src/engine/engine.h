/* The only place where anything changes: runs a plan step by step, with intent on disk before each
 * effect and the result after it.
 *
 * After a crash: the same phase again. A step found done is passed over (unless it is always run
 * again); one found intended has its programs waited for or ended, is checked, and is applied again
 * if it is not already true. Fault points stand at PHASE/STEP:intended, :applied and :done. */
#pragma once

#include "driver/context.h"
#include "driver/memo.h"
#include "driver/runtime/ops.h"
#include "driver/traffic/ops.h"
#include "journal/journal.h"
#include "model/plan.h"

struct engine {
    struct driver_ctx ctx; /* its sink is ours, its callbacks come to us */
    struct journal *j;
    struct upgrade *up;
    const struct runtime_ops *runtime;
    const struct traffic_ops *traffic; /* NULL: the spec moves no traffic */
    const struct sink *out;            /* where events go beside the journal */
    struct sink tee;
    const struct plan_step *step; /* running */
    const char *version_to;       /* what the gates expect of up->to */
    nsec_t confirm_within;   /* promote: silence for so long after the flip rolls back; 0: no */
    struct prober *prober;   /* the probe, while it runs (prober.h); NULL: it does not */
    struct cloning *ahead;   /* passes made before a hold, for the one in it (passes.h); or NULL */
    nsec_t hold_until;       /* monotonic: requests wait, and at most until then; 0: they do not */
    nsec_t space_looked;     /* monotonic: when the floors were last looked at */
    struct driver_memo memo; /* of the step that runs */
    const char *const *other_state_dirs;
    bool drop;          /* drain: go on with direct clients left */
    bool loss_accepted; /* the spec or --accept-loss said so */
    bool probe_decides; /* a limit of it that is broken ends the step */
    bool loss_asked;    /* --accept-loss was typed: a plain flip, also with writes: client */
    bool hold_over;     /* a wait of ours was ended because of that */
    bool space_low;     /* a wait of ours was ended because a floor was reached */
    bool retire;        /* cleanup keeps what can be kept, under another name */
};

#define CONFIRM_DEADLINE \
    "confirm" /* in the journal: set by the flip, and anew when the waiting begins */

#define HOLD_DEADLINE "hold" /* in the journal while requests wait: then it goes back */

#define STEP_RESULT 256

/* One action's operations. check: 1 already true, 0 not, -1 error; NULL: cannot be checked, runs at
 * least once. undo: NULL if there is nothing to undo. result (STEP_RESULT bytes) gets a few words
 * for people. */
struct step_ops {
    int (*check)(struct engine *e, const struct plan_step *s, struct err *err);
    int (*apply)(struct engine *e, const struct plan_step *s, char *result, struct err *err);
    int (*undo)(struct engine *e, const struct plan_step *s, struct err *err);
    bool fleeting; /* done is not for ever (an instance ends by itself): checked again when its
                      phase runs again */
};

extern const struct step_ops step_hook, step_check, step_validate, step_clone, step_boot_on,
    step_boot_off, step_start, step_gate, step_shadow, step_preview, step_baseline, step_probe,
    step_flip, step_verify, step_priority, step_bake, step_drain, step_stop, step_destroy,
    step_retire, step_forget, step_fits, step_clear, step_ahead, step_hold, step_release,
    step_let_go, step_give_back, step_websockets, step_remove;

/* Do requests for the new colour wait, by the flags? It has taken no write then. 1, 0, -1. */
int engine_held(struct engine *e, struct err *err);

/* Does this upgrade hold requests (writes: client), rather than flip with both colours up? Once it
 * has begun to, it goes on so. */
bool engine_holds(const struct engine *e);

/* 1 if a space floor asks for something to be done now (flow_space does it). Set by flow.c. */
int engine_space_low(struct engine *e);

/* Prepares e->ctx's callbacks and sinks; call after the other members are set. */
void engine_init(struct engine *e);

/* Runs every step. On an error the failing step's own undo has been run if it has one; the steps
 * before it stand. Interrupted between steps: ERR_INTERRUPTED. */
must_check int engine_run(struct engine *e, const struct plan *plan, struct err *err);

/* Undoes every done or intended step of the plan, last first. */
must_check int engine_undo(struct engine *e, const struct plan *plan, struct err *err);

/* Waits for every program that a killed run of the upgrade has left, at most 30 s each, then ends
 * it. */
must_check int engine_settle(struct engine *e, struct err *err);

/* Fills a goal from the engine's upgrade and specs. */
void engine_goal(const struct engine *e, struct plan_goal *ret);
