/* How a command says what came of it. */
#include "cmd/graph.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *session_next_of(enum colour live, enum upgrade_state state)
{
    static const char *const next[STATE_MAX] = {
        [STATE_STEADY] = "changeover prepare --target-version V",
        [STATE_PREPARING] = "changeover resume, or changeover rollback",
        [STATE_PREPARED] = "changeover promote, or changeover rollback",
        [STATE_PROMOTING] = "changeover resume, or changeover rollback",
        [STATE_AWAITING_CONFIRM] = "changeover confirm, or changeover rollback",
        [STATE_PROMOTED] = "changeover cleanup, or changeover rollback",
        [STATE_ROLLING_BACK] = "changeover rollback (goes on)",
        [STATE_ROLLED_BACK] = "changeover cleanup",
        [STATE_CLEANING] = "changeover cleanup (goes on)",
    };
    if (live == COLOUR_NONE)
        return "changeover adopt (it runs), or changeover start (its first start)";
    return next[state];
}

const char *session_next(const struct session *s)
{
    return session_next_of(s->live, s->open ? s->up.state : STATE_STEADY);
}

void session_say_next(const struct session *s, const char *next)
{
    if (next && !s->call->quiet && !s->call->json)
        fprintf(stderr, "next: %s\n", next);
}

int session_reason(struct session *s, struct err *err)
{
    char text[512];
    if (!s->call->reason || !s->open)
        return 0;
    str_format(text, sizeof(text), "%s: %s", s->call->row->name, s->call->reason);
    return journal_upgrade_reason(s->j, &s->up, text, err);
}

void session_result(struct session *s, const char *next, const char *fmt, ...)
{
    cleanup_str struct str text = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&text, fmt, ap);
    va_end(ap);
    terminal_done(&s->terminal);
    if (s->call->json) {
        enum colour live =
            s->live; /* as it was when the session began: a flip since then is in the journal */
        struct err ignored = {0};
        if (s->j && journal_live(s->j, &live, &ignored) < 0)
            live = s->live;
        json_t *root =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?}", "service", s->service ? s->service : "",
                      "live", colour_name(live), "upgrade", s->up.id, "state",
                      state_name(s->open ? s->up.state : STATE_STEADY), "message", str_cstr(&text),
                      "next", next);
        json_object_update(root, s->more);
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(root);
        return;
    }
    puts(str_cstr(&text));
    fflush(stdout);
    session_say_next(s, next);
}

static json_t *step_json(const struct plan_step *step)
{
    return json_pack("{s:s, s:s, s:s}", "step", step->name, "effect", step->effect, "undo",
                     step->undo);
}

static int dry_step(struct session *s, const struct plan_step *step, json_t *list, struct err *err)
{
    cleanup_graph struct graph graph = {0};
    cleanup_str struct str words = {0};
    struct step_row row = {0};
    if (step->volume && graph_look(s, step->colour, step->volume, &graph, err) < 0)
        return -1;
    json_t *object = step_json(step);
    if (graph.volumes)
        json_object_set_new(object, "graph", graph_json(&graph));
    json_array_append_new(list, object);
    if (s->call->json)
        return 0;
    if (*s->up.id && journal_step(s->j, s->up.id, step->name, &row, err) < 0)
        return -1;
    printf("%-24s %s%s\n", step->name, row.status == STEP_DONE && !step->always ? "(done) " : "",
           step->effect);
    graph_words(&graph, "                           ", &words);
    if (words.len)
        printf("%s\n", str_cstr(&words));
    return 0;
}

int session_dry_run(struct session *s, const enum plan_phase *phases, struct err *err)
{
    struct plan_goal goal;
    json_t *list = json_array();
    engine_goal(&s->engine, &goal);
    terminal_done(&s->terminal);
    for (; *phases != PHASE_MAX; phases++) {
        cleanup_plan struct plan p = {0};
        plan_make(*phases, &goal, &p);
        for (size_t i = 0; i < p.n; i++)
            if (dry_step(s, &p.steps[i], list, err) < 0) {
                json_decref(list);
                return -1;
            }
    }
    if (s->call->json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(list);
    if (!s->call->quiet)
        fprintf(stderr, "nothing was changed (-n)\n");
    return 0;
}
