#include "engine/passes.h"

#include "engine/hole.h"
#include "engine/unseen.h"
#include "plan/plan.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/held.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES 1024 /* as many as a runtime looks at */
#define PASSES_MAX 12  /* while the instance runs */
#define FREEZES_MAX 3  /* that may end at the ceiling */

/* The clone of all volumes, while the source runs or is frozen. */
struct cloning {
    struct engine *e;
    const struct plan_step *s;
    enum colour from;
    bool runs;             /* the source: one that does not is at rest as it is */
    bool stops;            /* it will be stopped for the last pass, not frozen */
    struct driver_ctx ctx; /* the engine's, with a poll that ends at the ceiling */
    nsec_t ceiling;        /* monotonic; 0: not frozen */
    bool hit_ceiling;
    struct seen **seen; /* one a volume; NULL: one pass over all of it must do */
    size_t volumes;
    struct unseen *unseen; /* with seen */
    unsigned passes;       /* ahead */
    nsec_t first, last;    /* how long they took */
    nsec_t worked; /* the last one, without its waits: the one in the pause keeps to no limit */
    nsec_t held;
};

static int cloning_poll(void *ctx)
{
    struct cloning *c = ctx;
    unseen_take(c->unseen, false);
    if (c->ceiling && sys_clock_mono() >= c->ceiling) {
        c->hit_ceiling = true;
        return 2;
    }
    /* One signal asks to end after this step; what was copied is not thrown away for it. */
    int asked = driver_poll(&c->e->ctx);
    return asked >= 2 || c->e->space_low ? 2 : 0;
}

int volume_pair_of(struct engine *e, const struct plan_step *s, size_t i, struct volume_pair *ret,
                   struct err *err)
{
    const struct spec *from = e->ctx.side[colour_other(s->colour)], *to = e->ctx.side[s->colour];
    ret->dst = &to->volumes[i];
    ret->src = spec_volume(from, ret->dst->name);
    if (!ret->src) /* a volume that is new in this spec begins empty */
        ret->src = ret->dst;
    ret->ops = storage_find(ret->src, ret->dst, err);
    return ret->ops ? 0 : -1;
}

static const struct spec *target(const struct cloning *c)
{
    return c->e->ctx.side[c->s->colour];
}

static bool wants_freeze(const struct volume_pair *p)
{
    struct plan_volume pv = {.driver = p->ops->name,
                             .instant = (p->ops->caps & STORAGE_INSTANT) != 0,
                             .at_once = (p->ops->caps & STORAGE_AT_ONCE) != 0,
                             .no_data = (p->ops->caps & STORAGE_NO_DATA) != 0};
    return plan_needs_freeze(p->src, &pv);
}

static int needs_freeze(struct cloning *c, bool *ret, struct err *err)
{
    *ret = false;
    for (size_t i = 0; i < target(c)->volumes_n && c->runs; i++) {
        struct volume_pair p;
        if (volume_pair_of(c->e, c->s, i, &p, err) < 0)
            return -1;
        *ret |= wants_freeze(&p);
    }
    return 0;
}

static int snapshot_commands(struct cloning *c, bool before, struct err *err)
{
    const struct spec *from = c->e->ctx.side[c->from];
    for (size_t i = 0; i < from->volumes_n; i++) {
        const struct spec_volume *v = &from->volumes[i];
        const struct spec_command *cmd = before ? &v->before_snapshot : &v->after_snapshot;
        if (cmd->argv.n &&
            driver_command(&c->e->ctx, cmd, before ? "before_snapshot" : "after_snapshot",
                           from->colour, NULL, err) < 0)
            return -1;
    }
    return 0;
}

enum pass { PASS_BEGIN, PASS_AHEAD, PASS_CLONE, PASS_SETTLE };

static int pass_over(struct cloning *c, enum pass pass, struct err *err)
{
    for (size_t i = 0; i < target(c)->volumes_n; i++) {
        struct volume_pair p;
        struct seen *seen = c->seen ? c->seen[i] : NULL;
        enum colour to = c->s->colour;
        if (volume_pair_of(c->e, c->s, i, &p, err) < 0)
            return -1;
        int r = pass == PASS_BEGIN   ? p.ops->begin(&c->ctx, p.src, p.dst, to, err)
                : pass == PASS_AHEAD ? p.ops->ahead(&c->ctx, p.src, p.dst, to, seen, err)
                : pass == PASS_CLONE ? p.ops->clone(&c->ctx, p.src, p.dst, to, seen, err)
                                     : p.ops->settle(&c->ctx, p.dst, to, seen, err);
        if (r < 0)
            return err_ctx(err, "volume %s", target(c)->volumes[i].name);
    }
    return 0;
}

/* ---- what the instance holds open ---- */

static void hold(void *ctx, uint64_t ino)
{
    struct cloning *c = ctx;
    for (size_t i = 0; i < target(c)->volumes_n; i++)
        seen_hold(c->seen[i], ino);
}

/* Whether its driver goes by what is held open: one that looks at files one by one. */
static bool looks_at_files(const struct volume_pair *p)
{
    return !(p->ops->caps & (STORAGE_AT_ONCE | STORAGE_INSTANT | STORAGE_NO_DATA));
}

static int any_looks_at_files(struct cloning *c, struct err *err)
{
    for (size_t i = 0; i < target(c)->volumes_n; i++) {
        struct volume_pair p;
        if (volume_pair_of(c->e, c->s, i, &p, err) < 0)
            return -1;
        if (looks_at_files(&p))
            return 1;
    }
    return 0;
}

/* A store through a shared mapping may move no time: such files are cloned anew in each pass. */
static int look_what_is_held(struct cloning *c, struct err *err)
{
    int files = any_looks_at_files(c, err);
    if (files <= 0)
        return files;
    cleanup_free pid_t *pids = x_alloc(PROCESSES * sizeof(*pids));
    const char *name = colour_name(c->from);
    size_t n = 0;
    if (c->e->runtime->pids(&c->e->ctx, c->from, pids, PROCESSES, &n, err) < 0)
        return -1;
    if (n == PROCESSES)
        return err_set(err, ERR_FAILED, "%s has more than %d processes: not all can be looked at",
                       name, PROCESSES - 1);
    for (size_t i = 0; i < n; i++) {
        if (sys_proc_held(pids[i], hold, c) == 0)
            continue;
        err_sys(err, ERR_FAILED, "see which files process %d of %s holds open", (int)pids[i], name);
        return err_hint(err, "run as root, or as the user that %s runs as", name);
    }
    return 0;
}

/* Whoever else has a file of it open: what he did to it may not have been told. Before anybody
 * waits, since it looks at every process of the machine. */
static void look_what_others_hold(struct cloning *c)
{
    if (unseen_follows(c->unseen))
        sys_all_held(hold, c);
}

/* ---- while it runs ---- */

static int ways_on(struct cloning *c, struct err *err)
{
    return err_hint(
        err,
        "in %s, one of: freeze.max: higher; a driver that shares blocks (reflink on XFS or btrfs); "
        "before_snapshot: a command that makes the data consistent; consistency: none if the "
        "service opens a copy taken while it writes",
        target(c)->path);
}

static int pass_ahead(struct cloning *c, struct err *err)
{
    char took[24];
    const char *name = colour_name(c->from);
    if (c->passes == 1)
        unseen_follow(c->unseen);
    if (look_what_is_held(c, err) < 0)
        return -1;
    unseen_take(c->unseen, true);
    if (pass_over(c, PASS_AHEAD, err) < 0)
        return -1;
    c->last = c->worked = 0;
    for (size_t i = 0; i < target(c)->volumes_n; i++) {
        c->last += seen_took(c->seen[i]);
        c->worked += seen_worked(c->seen[i]);
    }
    if (c->passes++ == 0)
        c->first = c->last;
    clock_words(took, sizeof(took), c->last);
    if (c->passes == 1)
        event_note(c->e->ctx.sink, "pass 1 over the data: %s, while %s ran on", took, name);
    else
        event_note(c->e->ctx.sink, "pass %u, over what changed: %s; %s for about that", c->passes,
                   took, c->stops ? "requests will wait" : "live will be paused");
    return 0;
}

/* Until a pass is shorter than the pause may be: the frozen one has less to do than that. */
static int passes_ahead(struct cloning *c, struct err *err)
{
    nsec_t most = target(c)->freeze_max, before;
    do {
        before = c->passes ? c->worked : 0;
        if (pass_ahead(c, err) < 0)
            return -1;
    } while (c->passes < 2 || (c->worked >= most && c->worked < before && c->passes < PASSES_MAX));
    if (c->worked < most)
        return 0;
    char about[24], words[24];
    err_set(err, ERR_FAILED,
            "the clone would pause %s for about %s, which is what pass %u took while it ran; "
            "freeze.max allows %s",
            colour_name(c->from), clock_words(about, sizeof(about), c->worked), c->passes,
            clock_words(words, sizeof(words), most));
    return ways_on(c, err);
}

/* ---- while it stands still ---- */

/* 1: the ceiling came first, and it runs again. */
static int thaw(struct cloning *c, int fd, struct err *err)
{
    struct err why = {0};
    int r = c->e->runtime->thaw(&c->e->ctx, c->from, fd, &c->held, &why);
    bool late = c->hit_ceiling || why.code == ERR_TIMEOUT;
    c->ceiling = 0;
    c->hit_ceiling = false;
    if (r < 0 && !late && err)
        *err = why;
    return late ? 1 : r;
}

static int frozen_pass(struct cloning *c, struct err *err)
{
    if (sys_fault_point("clone:frozen") < 0)
        return err_sys(err, ERR_FAILED, "fault point clone:frozen");
    if (look_what_is_held(c, err) < 0)
        return -1;
    unseen_take(c->unseen, true);
    return pass_over(c, PASS_CLONE, err);
}

/* Then the moment is the command's, not the freeze's. */
static bool has_before_command(const struct cloning *c)
{
    const struct spec *from = c->e->ctx.side[c->from];
    bool any = false;
    for (size_t i = 0; i < from->volumes_n; i++)
        any |= from->volumes[i].before_snapshot.argv.n > 0;
    return any;
}

static int flush(struct cloning *c, struct err *err)
{
    for (size_t i = 0; i < target(c)->volumes_n; i++) {
        struct volume_pair p;
        if (volume_pair_of(c->e, c->s, i, &p, err) < 0 ||
            (p.ops->flush && p.ops->flush(&c->ctx, p.src, err) < 0))
            return -1;
    }
    return 0;
}

/* 0 done, 1 the ceiling came first, -1 failed. */
static int clone_frozen(struct cloning *c, struct err *err)
{
    nsec_t most = target(c)->freeze_max;
    int fd = -1;
    if (flush(c, err) < 0)
        return -1;
    look_what_others_hold(c);
    unseen_take(c->unseen, false); /* what there is to read by now takes no time in the pause */
    if (!has_before_command(c) && hole_begin(c->e, err) < 0) /* the flush took its time */
        return -1;
    c->ceiling = sys_clock_mono() + most;
    if (c->e->runtime->freeze(&c->e->ctx, c->from, most, &fd, err) < 0) {
        c->ceiling = 0;
        return err->code == ERR_TIMEOUT ? 1 : -1;
    }
    int r = frozen_pass(c, err);
    struct err why = {0};
    int late = thaw(c, fd, &why);
    if (late < 0 && r == 0)
        *err = why;
    return late ? late : r;
}

/* One try at the point in time itself, as clone_frozen(). */
static int snapshot(struct cloning *c, bool freeze, struct err *err)
{
    if (hole_begin(c->e, err) < 0 || (c->runs && snapshot_commands(c, true, err) < 0))
        return -1;
    int r = freeze ? clone_frozen(c, err) : pass_over(c, PASS_CLONE, err);
    struct err after_err = {0};
    if (c->runs && snapshot_commands(c, false, r < 0 ? &after_err : err) < 0)
        r = -1;
    return r;
}

static int clone_paused(struct cloning *c, struct err *err)
{
    char words[24];
    for (int tries = 0; tries < FREEZES_MAX; tries++) {
        if (passes_ahead(c, err) < 0)
            return -1;
        if (sys_fault_point("clone:ahead") < 0)
            return err_sys(err, ERR_FAILED, "fault point clone:ahead");
        int r = snapshot(c, true, err);
        if (r <= 0)
            return r;
        err_clear(err);
        event_note(c->e->ctx.sink, "%s was thawed at freeze.max: another pass",
                   colour_name(c->from));
    }
    err_set(err, ERR_FAILED,
            "the clone was not done within freeze.max (%s) in %d pauses, after %u passes: %s was "
            "thawed at once each time and goes on",
            clock_words(words, sizeof(words), target(c)->freeze_max), FREEZES_MAX, c->passes,
            colour_name(c->from));
    return ways_on(c, err);
}

static void say(const struct cloning *c, bool freeze, char *result)
{
    char held[24], first[24], last[24];
    const char *name = colour_name(c->from);
    clock_words(first, sizeof(first), c->first);
    clock_words(last, sizeof(last), c->last);
    if (freeze)
        snprintf(result, STEP_RESULT,
                 "cloned; %s was paused for %s (%u passes before, the first %s, the last %s)", name,
                 clock_words(held, sizeof(held), c->held), c->passes, first, last);
    else if (c->passes)
        snprintf(result, STEP_RESULT,
                 "cloned in %s what changed after %u passes (the first %s, the last %s); %s was "
                 "stopped",
                 clock_words(held, sizeof(held), c->held), c->passes, first, last, name);
    else
        snprintf(result, STEP_RESULT, "cloned; %s was %s", name,
                 c->runs ? "not paused" : "stopped");
}

static struct cloning *cloning_new(struct engine *e, const struct plan_step *s)
{
    struct cloning *c = x_alloc(sizeof(*c));
    *c = (struct cloning){.e = e,
                          .s = s,
                          .from = colour_other(s->colour),
                          .ctx = e->ctx,
                          .volumes = e->ctx.side[s->colour]->volumes_n};
    c->ctx.poll = cloning_poll;
    c->ctx.poll_ctx = c;
    return c;
}

static void cloning_free(struct cloning *c)
{
    for (size_t i = 0; c && c->seen && i < c->volumes; i++)
        seen_free(c->seen[i]);
    if (c) {
        free(c->seen);
        unseen_free(c->unseen);
    }
    free(c);
}

static void cloning_free_p(struct cloning **c)
{
    cloning_free(*c);
}

/* From here on the passes know of each other. */
static int remember(struct cloning *c, struct err *err)
{
    c->seen = x_alloc(c->volumes * sizeof(struct seen *));
    c->unseen = unseen_new();
    for (size_t i = 0; i < c->volumes; i++)
        c->seen[i] = seen_new();
    for (size_t i = 0; i < c->volumes; i++) {
        struct volume_pair p;
        if (volume_pair_of(c->e, c->s, i, &p, err) < 0)
            return -1;
        if (looks_at_files(&p))
            unseen_add(c->unseen, p.src, c->seen[i], c->e->ctx.sink);
    }
    return 0;
}

int passes_settle(struct engine *e, const struct plan_step *s, struct err *err)
{
    cleanup(cloning_free_p) struct cloning *c = cloning_new(e, s);
    return snapshot_commands(c, false, err) < 0 ? -1 : pass_over(c, PASS_SETTLE, err);
}

static int source_runs(struct cloning *c, struct err *err)
{
    struct instance_facts source = {0};
    if (c->e->runtime->inspect(&c->e->ctx, c->from, &source, err) < 0)
        return -1;
    c->runs = source.state == INSTANCE_RUNNING;
    return 0;
}

static int clone_all(struct cloning *c, char *result, struct err *err)
{
    bool freeze;
    if (needs_freeze(c, &freeze, err) < 0 || pass_over(c, PASS_BEGIN, err) < 0 ||
        (freeze && remember(c, err) < 0))
        return -1;
    if ((freeze ? clone_paused(c, err) : snapshot(c, false, err)) < 0)
        return -1;
    say(c, freeze, result);
    return 0;
}

/* ---- before requests wait, and while they do ---- */

/* Until they get no shorter: what one leaves is what the next has to do. */
static int passes_before_hold(struct cloning *c, struct err *err)
{
    nsec_t before;
    do {
        before = c->worked;
        if (pass_ahead(c, err) < 0)
            return -1;
    } while (c->passes < 2 || (c->worked > NSEC_S && c->worked < before / 4 * 3));
    return 0;
}

int passes_ahead_of_hold(struct engine *e, const struct plan_step *s, nsec_t *ret_last,
                         struct err *err)
{
    cleanup(cloning_free_p) struct cloning *c = cloning_new(e, s);
    passes_forget(e);
    c->stops = true;
    *ret_last = 0;
    if (source_runs(c, err) < 0)
        return -1;
    if (!c->runs)
        return 0;
    if (remember(c, err) < 0 || pass_over(c, PASS_BEGIN, err) < 0 || passes_before_hold(c, err) < 0)
        return -1;
    *ret_last = c->worked;
    e->ahead = TAKE(c);
    return 0;
}

void passes_forget(struct engine *e)
{
    cloning_free(e->ahead);
    e->ahead = NULL;
}

/* The source is stopped, and what it had open is closed. */
static int clone_rest(struct cloning *c, const struct plan_step *s, char *result, struct err *err)
{
    nsec_t began = sys_clock_mono();
    c->s = s;
    c->ctx.step_name = c->e->ctx.step_name;
    c->ctx.step_attempt = c->e->ctx.step_attempt;
    look_what_others_hold(c);
    unseen_take(c->unseen, true);
    if (snapshot(c, false, err) < 0)
        return -1;
    c->held = sys_clock_mono() - began;
    say(c, false, result);
    return 0;
}

int passes_clone(struct engine *e, const struct plan_step *s, char *result, struct err *err)
{
    cleanup(cloning_free_p) struct cloning *c = e->ahead ? TAKE(e->ahead) : cloning_new(e, s);
    if (source_runs(c, err) < 0)
        return -1;
    bool rest = c->seen && !c->runs;
    if (c->seen && !rest) { /* whoever runs now has not been looked at */
        cloning_free(c);
        c = cloning_new(e, s);
        c->runs = true;
    }
    if ((rest ? clone_rest(c, s, result, err) : clone_all(c, result, err)) < 0)
        return -1;
    return pass_over(c, PASS_SETTLE, err);
}
