/* plan: what prepare and promote would do, what undoes it, and what a rollback costs. Changes
 * nothing. */
#include "plan/plan.h"

#include "cmd/session.h"
#include "driver/storage/ops.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PHASES (PHASE_FINISH + 1) /* that are shown: from prepare to finish */

static const struct cmd_option options[] = {
    {"target-version", 't', "VERSION",
     "the version to upgrade to (default: the live one, new flags)"},
    {0},
};

/* Measures every volume, so that the plan can say how much and how long. */
static int measure(struct session *s, const struct plan_goal *g, struct arena *a,
                   struct plan_volume **ret, struct err *err)
{
    const struct spec *from = g->side[g->from], *to = g->side[g->to];
    struct plan_volume *pv = arena_alloc(a, (from->volumes_n + 1) * sizeof(*pv));
    for (size_t i = 0; i < from->volumes_n; i++) {
        const struct spec_volume *src = &from->volumes[i], *dst = spec_volume(to, src->name);
        const struct storage_ops *ops = storage_find(src, dst ? dst : src, err);
        struct storage_facts f = {0};
        if (!ops || ops->inspect(&s->engine.ctx, src, dst ? dst : src, g->to, true, &f, err) < 0)
            return err_ctx(err, "volume %s", src->name);
        pv[i] = (struct plan_volume){.driver = ops->name,
                                     .bytes = f.bytes,
                                     .files = f.files,
                                     .estimate_ns = f.estimate_ns,
                                     .pause_ns = f.pause_ns,
                                     .instant = (ops->caps & STORAGE_INSTANT) != 0,
                                     .at_once = (ops->caps & STORAGE_AT_ONCE) != 0,
                                     .no_data = (ops->caps & STORAGE_NO_DATA) != 0};
    }
    *ret = pv;
    return 0;
}

static void print_steps(const struct plan *p, int *number)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct plan_step *s = &p->steps[i];
        printf("%3d  %-24s %s\n", (*number)++, s->name, s->effect);
        if (*s->undo)
            printf("     %-24s undone by: %s\n", "", s->undo);
    }
}

static void print_costs(const struct plan_goal *g)
{
    struct arena a = {0};
    struct plan_cost cost[PLAN_COSTS];
    plan_costs(g, &a, cost);
    puts("\nWhat a rollback costs");
    for (size_t i = 0; i < PLAN_COSTS; i++)
        printf("  %-34s %s; takes %s; loses %s\n", cost[i].stage, cost[i].how, cost[i].takes,
               cost[i].loses);
    arena_done(&a);
}

static json_t *steps_json(const struct plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->n; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "step", p->steps[i].name, "effect",
                                              p->steps[i].effect, "undo", p->steps[i].undo));
    return list;
}

static json_t *costs_json(const struct plan_goal *g)
{
    struct arena a = {0};
    struct plan_cost cost[PLAN_COSTS];
    plan_costs(g, &a, cost);
    json_t *list = json_array();
    for (size_t i = 0; i < PLAN_COSTS; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "stage", cost[i].stage, "how",
                                              cost[i].how, "takes", cost[i].takes, "loses",
                                              cost[i].loses));
    arena_done(&a);
    return list;
}

static void print_json(const struct plan_goal *g, const struct plan p[PHASES])
{
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "from", colour_name(g->from),
                  "to", colour_name(g->to), "version_from", g->version_from, "version_to",
                  g->version_to, "prepare", steps_json(&p[PHASE_PREPARE]), "promote",
                  steps_json(&p[PHASE_PROMOTE]), "hold", steps_json(&p[PHASE_HOLD]), "finish",
                  steps_json(&p[PHASE_FINISH]), "rollback_costs", costs_json(g));
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    const char *target = cmd_option(call, "target-version");
    if (session_open(&s, call, SESSION_EMPTY | SESSION_FILE, target, err) < 0)
        return -1;
    struct plan_goal g = {.side = {s.side[GREEN], s.side[BLUE]}};
    g.from = s.open ? s.up.from : s.live == COLOUR_NONE ? GREEN : s.live;
    g.to = colour_other(g.from);
    g.version_from = s.gen[g.from].version;
    g.version_to = s.open ? s.up.version_to : target ? target : g.version_from;
    if (!s.open && session_rebind(&s, g.to, *g.version_to ? g.version_to : NULL, err) < 0)
        return -1;
    g.side[g.to] = s.side[g.to];
    g.hold = s.open ? engine_holds(&s.engine)
                    : s.engine.traffic && g.side[g.to]->writes == WRITES_CLIENT;
    struct arena a = {0};
    struct plan_volume *pv = NULL;
    struct err measure_err = {0};
    if (!s.open && measure(&s, &g, &a, &pv, &measure_err) < 0)
        event_warn(&s.out, "not measured: %s", measure_err.msg);
    g.volumes = pv;
    struct plan p[PHASES] = {0};
    for (int phase = PHASE_PREPARE; phase <= PHASE_FINISH; phase++)
        plan_make((enum plan_phase)phase, &g, &p[phase]);
    terminal_done(&s.terminal);
    if (call->json) {
        print_json(&g, p);
    } else {
        printf("%s: %s %s -> %s %s\n\n", s.side[GREEN]->service, colour_name(g.from),
               g.version_from, colour_name(g.to), g.version_to);
        int number = 1;
        for (int phase = 0; phase < PHASES; phase++)
            print_steps(&p[phase], &number);
        print_costs(&g);
    }
    for (int phase = 0; phase < PHASES; phase++)
        plan_done(&p[phase]);
    arena_done(&a);
    return 0;
}

const struct cmd_row cmd_plan = {
    .name = "plan",
    .args = "",
    .summary = "show every step that prepare and promote would run",
    .flags = CMD_JSON,
    .options = options,
    .run = run,
};
