/* A plan: the steps of one phase, each with its exact effect and what undoes it. `changeover plan`
 * prints what the engine runs; the engine runs nothing else. */
#pragma once

#include "base/arena.h"
#include "model/state.h"

enum plan_phase {
    PHASE_PREPARE,  /* preflight, clone, start the standby, gate */
    PHASE_PROMOTE,  /* gate again, flip, prove, bake */
    PHASE_HOLD,     /* the same for a service of which only one may write: while requests wait */
    PHASE_FINISH,   /* drain and stop the old side */
    PHASE_ROLLBACK, /* back to the side that it came from */
    PHASE_CLEANUP,  /* destroy the loser's data */
    PHASE_MAX
};
const char *plan_phase_name(enum plan_phase p);

enum plan_action {
    ACT_HOOK,     /* a program of the spec */
    ACT_CHECK,    /* preflight */
    ACT_VALIDATE, /* the new version's own argument check and version */
    ACT_CLONE,    /* every volume, one point in time */
    ACT_BOOT_ON,  /* the instance comes back after a reboot */
    ACT_BOOT_OFF,
    ACT_START,
    ACT_GATE,
    ACT_SHADOW,   /* the same questions to both colours, their answers compared */
    ACT_PREVIEW,  /* both colours answer through the proxy, and differ */
    ACT_BASELINE, /* the probe begins: live, before the flip */
    ACT_PROBE,    /* the probe goes on, or begins */
    ACT_FLIP,
    ACT_VERIFY,   /* proof that the traffic moved */
    ACT_PRIORITY, /* priority of live for the new side */
    ACT_BAKE,     /* gate watched for a while */
    ACT_DRAIN,
    ACT_WEBSOCKETS, /* told to close them one after the other */
    ACT_STOP,
    ACT_REMOVE,    /* what keeps the loser's instance: its Deployment */
    ACT_DESTROY,   /* one volume of the loser */
    ACT_RETIRE,    /* or kept, under another name */
    ACT_FORGET,    /* the loser's stored spec */
    ACT_FITS,      /* all that is done while requests wait will be done in time */
    ACT_CLEAR,     /* every volume that prepare has cloned for the standby */
    ACT_AHEAD,     /* passes over the data before requests wait */
    ACT_HOLD,      /* requests for a colour wait */
    ACT_RELEASE,   /* and are let go to it */
    ACT_LET_GO,    /* none waits any more: the flags of the hold go */
    ACT_GIVE_BACK, /* those that wait are handed to the other colour */
    ACT_MAX
};

struct plan_step {
    enum plan_action action;
    enum colour colour; /* whom it acts on */
    const char *name;   /* "promote/flip": unique within an upgrade */
    const char *hook;   /* ACT_HOOK: its name */
    const char *volume; /* ACT_DESTROY, ACT_RETIRE */
    const char *effect; /* for people: what exactly */
    const char *undo;   /* what undoes it; "" if there is nothing to undo */
    bool always;        /* run again each time the phase runs, even if done */
};

struct plan {
    struct arena arena;
    enum plan_phase phase;
    struct plan_step *steps;
    size_t n;
};

/* What was measured of a volume before the plan was made. */
struct plan_volume {
    const char *driver; /* that will clone it ("auto" resolved) */
    uint64_t bytes, files;
    nsec_t estimate_ns; /* of the whole clone, while the source runs if it must not change */
    nsec_t pause_ns;    /* the least that it is paused for: another look at all of it */
    bool instant, no_data;
    bool at_once; /* one act while the source stands still: no passes before it */
};

struct plan_goal {
    const struct spec *side[COLOURS];
    enum colour from, to;
    const char *version_from, *version_to; /* "" if unknown */
    bool after_flip;                       /* ROLLBACK: the traffic is at `to` */
    bool old_running;                      /* ROLLBACK after the flip: `from` still runs */
    bool hold;                             /* requests wait while `from` is stopped and cloned */
    bool held;                             /* ROLLBACK: they wait now, and `to` took no write */
    enum colour loser;                     /* CLEANUP */
    const char *retire;                    /* CLEANUP: the upgrade's id: what can be kept is kept */
    bool take_snapshots;                   /* CLEANUP: those of others on the loser go, too */
    const struct plan_volume *volumes;     /* as many as the spec has, or NULL: not measured */
};

/* What a rollback costs from one stage on. */
struct plan_cost {
    const char *stage, *how, *takes, *loses;
};
#define PLAN_COSTS 5
