/* check: the preflight. Looks at everything that an upgrade needs, and changes nothing. */
#include "cmd/session.h"
#include "driver/facts.h"
#include "engine/prober_trial.h"
#include "engine/shadow.h"
#include "format/json.h"
#include "format/rows.h"

#include <stdio.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"target-version", 't', "VERSION", "the version to upgrade to"},
    {"fast", 0, NULL, "do not walk the data: no space, memory and freeze estimate"},
    {0},
};

static const struct rows_column columns[] = {
    {"level", "LEVEL", ROWS_TEXT},
    {"topic", "TOPIC", ROWS_TEXT},
    {"finding", "FINDING", ROWS_TEXT},
    {"mend", "MEND", ROWS_TEXT},
};

static const char *const level_words[] = {
    [FINDING_OK] = "ok", [FINDING_WARNING] = "warning", [FINDING_ERROR] = "error"};

static void print_json(const struct findings *f)
{
    cleanup_rows struct rows t = rows_new(columns, ARRAY_LEN(columns));
    cleanup_str struct str out = {0};
    for (size_t i = 0; i < f->n; i++) {
        rows_add(&t);
        rows_text(&t, 0, "%s", level_words[f->items[i].level]);
        rows_text(&t, 1, "%s", f->items[i].topic);
        rows_text(&t, 2, "%s", f->items[i].text);
        if (f->items[i].mend)
            rows_text(&t, 3, "%s", f->items[i].mend);
    }
    json_t *list = rows_json(&t);
    json_print(list, 2, &out);
    json_decref(list);
    puts(str_cstr(&out));
}

/* What mends it stands below each finding: side by side nobody could read it. */
static void print_text(const struct findings *f, bool quiet)
{
    size_t errors = findings_count(f, FINDING_ERROR), warnings = findings_count(f, FINDING_WARNING);
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *it = &f->items[i];
        if (quiet && it->level != FINDING_ERROR)
            continue;
        printf("%-8s %-9s %s\n", level_words[it->level], it->topic, it->text);
        if (it->mend && it->level != FINDING_OK)
            printf("%-18s mend: %s\n", "", it->mend);
    }
    if (!quiet)
        printf("%zu ok, %zu warning%s, %zu error%s\n", f->n - errors - warnings, warnings,
               warnings == 1 ? "" : "s", errors, errors == 1 ? "" : "s");
}

/* Whether the standby should run now. Where both are right (in the middle of a step), it is what it
 * is. */
static int standby_runs(struct session *s, enum colour standby, bool *ret, struct err *err)
{
    struct instance_facts f = {0};
    *ret = false;
    if (!s->open)
        return 0;
    switch (s->up.state) {
    case STATE_PREPARED:
        *ret = true;
        return 0;
    case STATE_PREPARING:
    case STATE_PROMOTING:
    case STATE_AWAITING_CONFIRM:
    case STATE_ROLLING_BACK:
        if (s->engine.runtime->inspect(&s->engine.ctx, standby, &f, err) < 0)
            return -1;
        *ret = f.state == INSTANCE_RUNNING;
        return 0;
    case STATE_STEADY:
    case STATE_PROMOTED:
    case STATE_ROLLED_BACK:
    case STATE_CLEANING:
    case STATE_MAX:
        break;
    }
    return 0;
}

/* Nothing can be asked of a service that is yet to be started or adopted. */
static bool live_runs(struct session *s, enum colour live)
{
    struct instance_facts f = {0};
    struct err ignored = {0};
    return s->live != COLOUR_NONE &&
           s->engine.runtime->inspect(&s->engine.ctx, live, &f, &ignored) == 0 &&
           f.state == INSTANCE_RUNNING;
}

#define SHADOW_MAX (5 * NSEC_S)

/* What promote would say before the flip: each question once. */
static int look_shadow(struct session *s, enum colour standby, struct findings *f, struct err *err)
{
    const struct spec *spec = s->engine.ctx.side[standby];
    struct shadow_request rq = {
        .live = colour_other(standby),
        .standby = standby,
        .samples = 1,
        .deadline = spec->shadow.deadline < SHADOW_MAX ? spec->shadow.deadline : SHADOW_MAX};
    cleanup_free struct shadow_result *r = x_alloc(sizeof(*r));
    struct err bad = {0};
    if (shadow_run(&s->engine.ctx, &rq, r, err) < 0)
        return -1;
    if (shadow_judge(spec, &rq, r, &bad) < 0)
        findings_add(f, FINDING_ERROR, "shadow", bad.hint, "%s", bad.msg);
    else
        findings_add(f, FINDING_OK, "shadow", NULL,
                     "%d of %d answers are the same on %s and %s, asked once each",
                     r->compared - r->differ, r->wanted, colour_name(rq.live),
                     colour_name(rq.standby));
    return 0;
}

/* While there is no standby: would live answer those questions at all? It is asked in both places,
 * by the file's words. */
static int try_shadow(struct session *s, enum colour live, struct findings *f, struct err *err)
{
    cleanup_spec struct spec *own = NULL;
    enum colour other = colour_other(live);
    if (spec_parse(s->file_text, s->spec_path, live, s->gen[live].version, &own, err) < 0)
        return -1;
    struct driver_ctx ctx = s->engine.ctx;
    ctx.side[other] = own;
    struct shadow_request rq = {
        .live = live, .standby = other, .samples = 1, .deadline = SHADOW_MAX / 2};
    cleanup_free struct shadow_result *r = x_alloc(sizeof(*r));
    if (shadow_run(&ctx, &rq, r, err) < 0)
        return -1;
    const char *why = *r->missing ? r->missing : r->silent;
    char twice[16];
    str_format(twice, sizeof(twice), "; %s: ", colour_name(other));
    const char *end = strstr(why, twice); /* the same again */
    if (*why)
        findings_add(f, FINDING_ERROR, "shadow", "shadow.requests and shadow.slot in the spec",
                     "live does not answer what will be compared: %.*s",
                     (int)(end ? end - why : (ptrdiff_t)strlen(why)), why);
    else
        findings_add(f, FINDING_OK, "shadow", NULL, "live answers what will be compared");
    return 0;
}

static int look(struct session *s, const char *target, bool fast, struct findings *f,
                struct err *err)
{
    enum colour live = s->live == COLOUR_NONE ? GREEN : s->live, standby = colour_other(live);
    const char *live_version = s->has_gen[live] ? s->gen[live].version : NULL;
    struct check_request rq = {.live = s->live,
                               .live_version = live_version,
                               .measure = !fast && !s->open,
                               .other_state_dirs = s->engine.other_state_dirs};

    rq.goal_version = target;
    if (!target && s->open && s->up.to == standby)
        rq.goal_version = s->up.version_to;
    /* a new upgrade would take the standby's spec from the file */
    if (!s->open && session_rebind(s, standby, target ? target : live_version, err) < 0)
        return -1;
    if (standby_runs(s, standby, &rq.standby_runs, err) < 0)
        return -1;
    if (check_run(&s->engine.ctx, &rq, f, err) < 0 ||
        (live_runs(s, live) && prober_trial(&s->engine.ctx, s->live, standby, f, err) < 0))
        return -1;
    bool wanted = shadow_wanted(s->engine.ctx.side[standby]);
    if (wanted && !s->open && live_runs(s, live))
        return try_shadow(s, live, f, err);
    bool compare = rq.standby_runs && !s->up.flipped && wanted;
    return compare ? look_shadow(s, standby, f, err) : 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    struct findings f = {0};
    const char *target = cmd_option(call, "target-version");

    if (session_open(&s, call, SESSION_EMPTY | SESSION_FILE, target, err) < 0)
        return -1;
    int rc = look(&s, target, cmd_option(call, "fast") != NULL, &f, err);
    terminal_done(&s.terminal);
    bool errors = findings_count(&f, FINDING_ERROR) > 0;
    if (rc == 0 && call->json)
        print_json(&f);
    else if (rc == 0)
        print_text(&f, call->quiet);
    if (rc == 0 && errors)
        session_say_next(&s, "mend what is marked error, then changeover check");
    else if (rc == 0 && s.live == COLOUR_NONE)
        session_say_next(&s, "changeover adopt (it runs already), or changeover start");
    else if (rc == 0 && !s.open)
        session_say_next(&s, "changeover plan, or changeover prepare --target-version V");
    findings_done(&f);
    return rc < 0 ? -1 : errors ? 1 : 0;
}

const struct cmd_row cmd_check = {
    .name = "check",
    .args = "",
    .summary = "look at everything that an upgrade needs, and change nothing",
    .flags = CMD_JSON,
    .options = options,
    .help = "Each finding is ok, a warning or an error, with the command that mends it.\n"
            "Exit status 1 if there is an error. prepare looks at the same (but for "
            "shadow), and begins nothing over an error.\n",
    .run = run,
};
