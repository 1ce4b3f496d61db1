#include "plan/plan.h"

#include "plan/build.h"
#include "plan/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const phase_names[PHASE_MAX] = {
    [PHASE_PREPARE] = "prepare", [PHASE_PROMOTE] = "promote",   [PHASE_HOLD] = "hold",
    [PHASE_FINISH] = "finish",   [PHASE_ROLLBACK] = "rollback", [PHASE_CLEANUP] = "cleanup",
};

const char *plan_phase_name(enum plan_phase p)
{
    return phase_names[p];
}

struct plan_step *plan_add(struct builder *b, enum plan_action action, enum colour c,
                           const char *name)
{
    struct plan *p = b->plan;
    struct plan_step *s = arena_grow(&p->arena, &p->steps, &p->n, sizeof(*s));
    s->action = action;
    s->colour = c;
    s->name = arena_printf(&p->arena, "%s/%s", phase_names[p->phase], name);
    s->effect = s->undo = "";
    return s;
}

static void add_hook(struct builder *b, enum colour c, const char *at)
{
    const struct spec_hook *h = spec_hook(b->goal->side[c], at);
    if (!h)
        return;
    struct plan_step *s = plan_add(b, ACT_HOOK, c, at);
    s->hook = at;
    cleanup_str struct str words = {0};
    for (size_t i = 0; i < h->command.argv.n; i++)
        str_addf(&words, "%s%s", i ? " " : "", h->command.argv.v[i]);
    s->effect = TEXT(b, "run the hook %s: %s", at, str_cstr(&words));
}

static void add_gate(struct builder *b, enum colour c, const char *name)
{
    const struct spec *s = b->goal->side[c];
    struct plan_step *step = plan_add(b, ACT_GATE, c, name);
    cleanup_str struct str names = {0};
    for (size_t i = 0; i < s->gate.n; i++)
        str_addf(&names, "%s%s", i ? ", " : "", s->gate.gates[i].name);
    char every[24], most[24], limit[24], pause[24];
    const struct spec_brake *brake = &s->runtime.brake;
    bool standby = b->plan->phase == PHASE_PREPARE || b->plan->phase == PHASE_PROMOTE;
    step->effect =
        TEXT(b, "wait until %s passes %d times in a row, every %s, at most %s: %s%s",
             colour_name(c), s->gate.passes, clock_words(every, sizeof(every), s->gate.interval),
             clock_words(most, sizeof(most), s->gate.deadline),
             s->gate.n ? str_cstr(&names) : "(the spec names no gates)",
             !standby || !brake->p99
                 ? ""
                 : TEXT(b, "; while %s's p99 is over %s, %s is paused, at most %s at once",
                        colour_name(colour_other(c)), clock_words(limit, sizeof(limit), brake->p99),
                        colour_name(c), clock_words(pause, sizeof(pause), brake->max_pause)));
    step->always = true;
}

static void add_shadow(struct builder *b, enum colour c)
{
    const struct spec_shadow *w = &b->goal->side[c]->shadow;
    if (w->requests_n == 0)
        return;
    struct plan_step *step = plan_add(b, ACT_SHADOW, c, "shadow");
    cleanup_str struct str names = {0};
    for (size_t i = 0; i < w->requests_n; i++)
        str_addf(&names, "%s%s", i ? ", " : "", w->requests[i].name);
    char most[24];
    step->effect =
        TEXT(b,
             "ask %s and %s the same and compare the answers field by field: %s, each %d time%s "
             "within %s; at most %d may differ",
             colour_name(colour_other(c)), colour_name(c), str_cstr(&names), w->samples,
             w->samples == 1 ? "" : "s", clock_words(most, sizeof(most), w->deadline),
             w->max_differences);
    step->always = true;
}

static bool in_cluster(const struct spec *s)
{
    return str_eq(s->runtime.driver, "kubernetes");
}

static const char *version_words(struct builder *b, enum colour c)
{
    const struct plan_goal *g = b->goal;
    const char *v = c == g->to ? g->version_to : g->version_from;
    return v && *v ? TEXT(b, "%s (version %s)", colour_name(c), v) : colour_name(c);
}

static void add_start(struct builder *b, enum colour c, bool standby)
{
    struct plan_step *s = plan_add(b, ACT_START, c, "start");
    const struct spec *spec = b->goal->side[c];
    const struct strv *cmd = &spec->runtime.command;
    cleanup_str struct str words = {0};
    for (size_t i = 0; i < cmd->n && i < 3; i++)
        str_addf(&words, "%s%s", i ? " " : "", cmd->v[i]);
    if (cmd->n > 3)
        str_add(&words, " ...");
    if (in_cluster(spec)) {
        str_clear(&words);
        str_addf(&words, "Deployment '%s' to one replica, until its pod is ready",
                 spec->runtime.kubernetes.name);
    }
    s->effect = TEXT(b, "start %s%s: %s", version_words(b, c),
                     standby                        ? " as standby, on its own ports and data"
                     : b->plan->phase == PHASE_HOLD ? " on the clone"
                                                    : " on its own untouched data",
                     str_cstr(&words));
    s->undo = TEXT(b, "stop %s", colour_name(c));
}

static void add_boot(struct builder *b, enum colour c, bool on)
{
    bool rehearsal = !on && b->plan->phase == PHASE_HOLD && c == b->goal->to;
    struct plan_step *s = plan_add(b, on ? ACT_BOOT_ON : ACT_BOOT_OFF, c,
                                   on          ? "boot-on"
                                   : rehearsal ? "rehearsal-boot-off"
                                               : "boot-off");
    s->effect = TEXT(b, on ? "%s is to come back after a reboot" : "%s stays down after a reboot",
                     colour_name(c));
    s->undo = TEXT(b, on ? "%s stays down after a reboot" : "%s is to come back after a reboot",
                   colour_name(c));
}

static void add_stop(struct builder *b, enum colour c, const char *name)
{
    struct plan_step *s = plan_add(b, ACT_STOP, c, name);
    const struct spec_stop *stop = &b->goal->side[c]->stop;
    char grace[24];
    clock_words(grace, sizeof(grace), stop->grace);
    if (in_cluster(b->goal->side[c])) {
        s->effect = TEXT(b,
                         "scale %s's Deployment to 0 (%s%s of grace), and wait until its pod and "
                         "every process of it are gone; the Deployment stays",
                         colour_name(c), stop->command.argv.n ? "its stop command, " : "", grace);
    } else
        s->effect = TEXT(b, "stop %s gracefully (%s%s), and prove that every process of it is gone",
                         colour_name(c), stop->command.argv.n ? "its stop command, " : "",
                         stop->kill ? TEXT(b, "%s of grace, then SIGKILL", grace)
                                    : TEXT(b, "%s of grace, never SIGKILL", grace));
    if (b->plan->phase != PHASE_CLEANUP)
        s->undo = TEXT(b, "start %s on its own data", colour_name(c));
}

static void add_preview(struct builder *b, enum colour to)
{
    struct plan_step *s = plan_add(b, ACT_PREVIEW, to, "preview");
    s->effect = plan_preview_words(b->goal->side[to], &b->plan->arena);
    s->always = true;
    if (b->plan->phase == PHASE_PROMOTE)
        add_hook(b, to, "before_flip");
}

static void add_flip(struct builder *b, enum colour to)
{
    struct plan_step *s = plan_add(b, ACT_FLIP, to, "flip");
    s->effect = plan_flip_words(b->goal->side[to], to, &b->plan->arena);
    s->undo = TEXT(b, "flip back to %s", colour_name(colour_other(to)));
}

static void add_verify(struct builder *b, enum colour to)
{
    struct plan_step *s = plan_add(b, ACT_VERIFY, to, "verify");
    s->effect =
        TEXT(b, "prove that it moved: %d requests through the front, each answered by %s itself",
             b->goal->side[to]->traffic.verify_requests, colour_name(to));
    s->always = true;
}

static void add_priority(struct builder *b, enum colour c, const char *role)
{
    struct plan_step *s = plan_add(b, ACT_PRIORITY, c, "priority");
    s->effect = TEXT(b, "give %s the priority and weights of a %s instance", colour_name(c), role);
}

static void add_drain(struct builder *b, enum colour c)
{
    const struct spec_traffic *t = &b->goal->side[c]->traffic;
    struct plan_step *s = plan_add(b, ACT_DRAIN, c, "drain");
    char requests[24], websockets[24];
    clock_words(requests, sizeof(requests), t->drain_deadline);
    clock_words(websockets, sizeof(websockets), t->drain_websockets);
    s->effect =
        TEXT(b,
             "drain %s: no request in flight three times in a row and no connection%s, within %s; "
             "%s",
             colour_name(c),
             plan_flip_loses(b->goal->side[c])
                 ? " that this machine sees (promote --drop goes on with those that are open)"
                 : " but the proxy's idle ones",
             requests,
             t->websockets == WS_NONE ? "else it keeps running"
             : b->plan->phase == PHASE_HOLD
                 ? "else it goes back; websockets are closed by the stop"
                 : TEXT(b, "else it keeps running; websockets may stay for %s", websockets));
    s->always = true;
}

static void add_websockets(struct builder *b, enum colour c)
{
    const char *effect = plan_websockets_words(b->goal->side[c], &b->plan->arena);
    if (!*effect)
        return;
    struct plan_step *s = plan_add(b, ACT_WEBSOCKETS, c, "websockets");
    s->effect = effect;
    s->always = true;
}

static void add_baseline(struct builder *b)
{
    const struct plan_goal *g = b->goal;
    const struct spec *spec = g->side[g->to];
    const struct spec_probe *p = &spec->probe;
    cleanup_str struct str text = {0};
    char words[24];
    if (!p->on)
        return;
    struct plan_step *s = plan_add(b, ACT_BASELINE, g->from, "baseline");
    plan_probe_words(&text, p);
    str_addf(
        &text,
        "; it reads and changes nothing; first %s of %s as the baseline, then on beside all that "
        "follows; if after the flip it sees ",
        clock_words(words, sizeof(words), p->baseline), colour_name(g->from));
    plan_limits_words(&text, p);
    if (g->hold)
        str_addf(&text,
                 ", beside the pause in which requests wait (then it sends ever fewer; one that is "
                 "lost: back to %s)",
                 colour_name(g->from));
    str_addf(&text, ": %s",
             plan_may_flip_back(spec->writes, spec->accept_loss)
                 ? TEXT(b, "flip back to %s", colour_name(g->from))
                 : "stop and ask (writes would be lost)");
    s->effect = TEXT(b, "%s", str_cstr(&text));
    s->always = true;
}

/* Beside a phase that the probe only watches, or goes on to judge. */
static void add_probe(struct builder *b)
{
    const struct spec_probe *p = &b->goal->side[b->goal->to]->probe;
    cleanup_str struct str text = {0};
    if (!p->on)
        return;
    struct plan_step *s = plan_add(b, ACT_PROBE, b->goal->to, "probe");
    plan_probe_words(&text, p);
    s->effect =
        TEXT(b,
             "%s; it reads and changes nothing; beside all that follows, for what becomes of "
             "requests and websockets",
             str_cstr(&text));
    s->always = true;
}

static void add_bake(struct builder *b)
{
    enum colour to = b->goal->to;
    const struct spec *s = b->goal->side[to];
    add_priority(b, to, "live");
    add_hook(b, to, "after_flip");
    if (s->bake > 0) {
        char words[24];
        struct plan_step *step = plan_add(b, ACT_BAKE, to, "bake");
        step->effect = TEXT(b, "bake: watch %s's gate for %s; if it fails: %s", colour_name(to),
                            clock_words(words, sizeof(words), s->bake),
                            plan_may_flip_back(s->writes, s->accept_loss)
                                ? TEXT(b, "flip back to %s", colour_name(b->goal->from))
                                : "stop and ask (writes would be lost)");
    }
}

/* --- while requests wait (writes: client) --- */

static void add_fits(struct builder *b)
{
    const struct spec *s = b->goal->side[b->goal->to];
    struct plan_step *step = plan_add(b, ACT_FITS, b->goal->to, "hold-fits");
    char most[24], about[24];
    nsec_t sum = 0;
    for (size_t i = 0; b->goal->volumes && i < b->goal->side[b->goal->from]->volumes_n; i++)
        sum += b->goal->volumes[i].pause_ns;
    step->effect = TEXT(
        b,
        "measure whether what changes in the data can be cloned%s, and %s started and gated as "
        "prepare did it, within traffic.hold.max (%s)",
        sum ? TEXT(b, " (about %s)", clock_words(about, sizeof(about), sum)) : "",
        colour_name(b->goal->to), clock_words(most, sizeof(most), s->traffic.hold_max));
    step->always = true;
}

static void add_hold(struct builder *b)
{
    enum colour to = b->goal->to;
    nsec_t max = b->goal->side[to]->traffic.hold_max;
    char most[24], all[24];
    struct plan_step *s = plan_add(b, ACT_HOLD, to, "hold");
    s->effect =
        TEXT(b,
             "hold: create hold-%s; from the flip on requests wait, at most %s, then it goes "
             "back by itself (the proxy lets a request wait %s in all)",
             colour_name(to), clock_words(most, sizeof(most), max),
             clock_words(all, sizeof(all), 2 * max));
    s->undo = TEXT(b, "remove hold-%s", colour_name(to));
}

static void add_release(struct builder *b)
{
    enum colour to = b->goal->to;
    struct plan_step *s = plan_add(b, ACT_RELEASE, to, "release");
    s->effect = TEXT(b,
                     "release: create open-%s, sync, remove hold-%s, sync; what waited goes to %s "
                     "within half a second, what comes goes there at once",
                     colour_name(to), colour_name(to), colour_name(to));
}

static void add_let_go(struct builder *b)
{
    enum colour to = b->goal->to;
    struct plan_step *s = plan_add(b, ACT_LET_GO, to, "let-go");
    s->effect = TEXT(b, "no request waits any more: remove open-%s", colour_name(to));
}

static void add_give_back(struct builder *b)
{
    enum colour to = b->goal->to, from = b->goal->from;
    struct plan_step *s = plan_add(b, ACT_GIVE_BACK, to, "give-back");
    s->effect = TEXT(b,
                     "hand the requests that wait for %s to %s: forward %s's ports until all are "
                     "answered, then remove hold-%s",
                     colour_name(to), colour_name(from), colour_name(to), colour_name(to));
}

static void make_hold(struct builder *b)
{
    enum colour to = b->goal->to, from = b->goal->from;
    if (!b->goal->hold)
        return;
    add_probe(b);
    add_boot(b, to, false);
    add_stop(b, to, "rehearsal-stop");
    struct plan_step *s = plan_add(b, ACT_CLEAR, to, "clear");
    s->effect = TEXT(b,
                     "remove the data that %s was prepared with: it is cloned anew once %s is "
                     "stopped",
                     colour_name(to), colour_name(from));
    plan_add_ahead(b);
    add_hold(b);
    add_flip(b, to);
    add_drain(b, from);
    add_hook(b, from, "before_stop");
    add_boot(b, from, false);
    add_stop(b, from, "stop");
    plan_add_clone(b);
    add_hook(b, to, "after_clone");
    add_boot(b, to, true);
    add_start(b, to, false);
    add_hook(b, to, "after_start");
    add_gate(b, to, "gate");
    add_release(b);
    add_verify(b, to);
    add_bake(b);
}

static void add_validate(struct builder *b, enum colour to)
{
    const struct spec_runtime *r = &b->goal->side[to]->runtime;
    bool cluster = in_cluster(b->goal->side[to]), asks = r->validate_n || r->version.argv.n;
    if (!asks && !cluster)
        return;
    struct plan_step *s = plan_add(b, ACT_VALIDATE, to, "validate");
    const char *prepare =
        r->kubernetes.prepare.n
            ? TEXT(b, "run %zu commands that prepare the image; ", r->kubernetes.prepare.n)
            : "";
    s->effect =
        cluster
            ? TEXT(b,
                   "%sprove by a pod of ours that the node has %s's image, and by the "
                   "server that it takes the Deployment%s",
                   prepare, version_words(b, to),
                   asks ? "; let the image check its arguments and say its version" : "")
            : TEXT(b, "let %s check its own arguments and say its version", version_words(b, to));
}

static void make_prepare(struct builder *b)
{
    enum colour to = b->goal->to;
    add_hook(b, to, "before_prepare");
    struct plan_step *s = plan_add(b, ACT_CHECK, to, "check");
    s->effect = "look at ports, identities, space, paths, flags, versions: read-only";
    s->always = true;
    add_validate(b, to);
    plan_add_clone(b);
    add_hook(b, to, "after_clone");
    add_boot(b, to, true);
    add_start(b, to, true);
    add_hook(b, to, "after_start");
    add_gate(b, to, "gate");
}

static void make_promote(struct builder *b)
{
    enum colour to = b->goal->to;
    add_gate(b, to, "gate");
    add_shadow(b, to);
    if (b->goal->hold)
        add_fits(b);
    add_baseline(b);
    add_preview(b, to);
    if (b->goal->hold)
        return;
    add_flip(b, to);
    add_verify(b, to);
    add_bake(b);
}

static void make_finish(struct builder *b)
{
    enum colour from = b->goal->from;
    if (b->goal->hold) {
        add_let_go(b);
    } else {
        add_probe(b);
        add_drain(b, from);
        add_hook(b, from, "before_stop");
        add_boot(b, from, false);
        add_websockets(b, from);
        add_stop(b, from, "stop");
    }
    add_hook(b, b->goal->to, "after_promote");
}

static void make_rollback(struct builder *b)
{
    const struct plan_goal *g = b->goal;
    add_hook(b, g->to, "before_rollback");
    if (g->after_flip) {
        add_boot(b, g->from, true);
        add_start(b, g->from, false);
        add_gate(b, g->from, "gate");
        add_probe(b);
        add_preview(b, g->from);
        add_flip(b, g->from);
        add_verify(b, g->from);
        if (!g->held) {
            add_priority(b, g->to, "standby");
            add_drain(b, g->to);
        }
    }
    struct plan_step *s = plan_add(b, ACT_BOOT_OFF, g->to, "loser-boot-off");
    s->effect = TEXT(b, "%s stays down after a reboot", colour_name(g->to));
    if (g->after_flip && !g->held)
        add_websockets(b, g->to);
    add_stop(b, g->to, "stop");
    if (g->held)
        add_give_back(b);
    else if (g->side[g->to]->writes == WRITES_CLIENT)
        add_let_go(b);
    add_hook(b, g->from, "after_rollback");
}

static void make_cleanup(struct builder *b)
{
    const struct plan_goal *g = b->goal;
    const struct spec *s = g->side[g->loser];
    add_stop(b, g->loser, "stop");
    if (in_cluster(s)) {
        struct plan_step *step = plan_add(b, ACT_REMOVE, g->loser, "remove");
        step->effect =
            TEXT(b, "delete %s's Deployment, this very one (by its uid)", colour_name(g->loser));
    }
    for (size_t i = 0; i < s->volumes_n; i++) {
        const struct spec_volume *v = &s->volumes[i];
        bool keep = plan_keeps(g, v);
        struct plan_step *step = plan_add(b, keep ? ACT_RETIRE : ACT_DESTROY, g->loser,
                                          TEXT(b, "%s-%s", keep ? "retire" : "destroy", v->name));
        step->volume = v->name;
        step->effect = plan_end_words(g, v, &b->plan->arena);
    }
    struct plan_step *step = plan_add(b, ACT_FORGET, g->loser, "forget");
    step->effect =
        TEXT(b, "forget %s's stored spec: it is the next standby", colour_name(g->loser));
    add_hook(b, colour_other(g->loser), "after_cleanup");
}

typedef void make_fn(struct builder *b);
static make_fn *const makers[PHASE_MAX] = {
    [PHASE_PREPARE] = make_prepare,   [PHASE_PROMOTE] = make_promote,
    [PHASE_HOLD] = make_hold,         [PHASE_FINISH] = make_finish,
    [PHASE_ROLLBACK] = make_rollback, [PHASE_CLEANUP] = make_cleanup,
};

void plan_make(enum plan_phase phase, const struct plan_goal *goal, struct plan *ret)
{
    struct builder b = {.goal = goal, .plan = ret};
    ret->phase = phase;
    makers[phase](&b);
}

void plan_done(struct plan *p)
{
    arena_done(&p->arena);
    p->steps = NULL;
    p->n = 0;
}
