#include "cmd/session.h"

#include "base/diff.h"

#include "cmd/stored.h"
#include "engine/flow.h"
#include "engine/guard.h"
#include "engine/passes.h"
#include "observe/jsonlines.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/path.h"
#include "sys/term.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_MAX ((size_t)1 << 20)

char *session_state_root(const struct cmd_call *call)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_STATE_HOME");
    const char *dir = call->state_dir ? call->state_dir : getenv("CHANGEOVER_STATE_DIR");
    if (dir && *dir)
        return sys_path_resolve(
            dir); /* absolute also before it exists: guard and shim leave this directory */
    if (sys_uid() == 0)
        return x_strdup("/var/lib/changeover");
    if (xdg && *xdg)
        return x_asprintf("%s/changeover", xdg);
    return x_asprintf("%s/.local/state/changeover", home ? home : "/tmp");
}

static int read_file(struct session *s, struct err *err)
{
    cleanup_str struct str text = {0};
    s->spec_path = sys_path_resolve(s->call->spec_path);
    if (sys_file_read(s->spec_path, SPEC_MAX, &text, err) < 0) {
        err->code = ERR_USAGE;
        return err_hint(err, "changeover init (writes a starter), or -f FILE");
    }
    s->file_text = str_take(&text);
    return 0;
}

static int parse_side(struct session *s, enum colour c, const char *text, const char *path,
                      const char *version, struct err *err)
{
    struct spec *fresh = NULL;
    if (spec_parse(text, path, c, version, &fresh, err) < 0)
        return -1;
    spec_free(s->side[c]);
    s->side[c] = fresh;
    return 0;
}

static int parse_sides(struct session *s, const char *target, struct err *err)
{
    for (int c = GREEN; c < COLOURS; c++)
        if (parse_side(s, (enum colour)c, s->file_text, s->spec_path, target, err) < 0)
            return -1;
    return 0;
}

static bool known(const struct session *s)
{
    cleanup_free char *journal =
        x_asprintf("%s/%s/journal.db", s->state_root, s->side[GREEN]->service);
    return sys_path_exists(journal);
}

/* A file that was broken, renamed or removed since must stop neither a rollback nor the guard: what
 * runs, runs by the spec that is stored with it. */
static int use_stored(struct session *s, const char *target, const struct err *why, struct err *err)
{
    cleanup_free char *service = NULL, *text = NULL;
    int r = stored_find(s->state_root, s->spec_path, &service, &text, err);
    if (r <= 0)
        return r;
    s->file_errors = why ? x_strdup(why->msg)
                         : x_asprintf("%s speaks of the service '%s' now", s->spec_path,
                                      s->side[GREEN]->service);
    s->file_problem = x_asprintf("%.*s; '%s' goes on by the spec that it was started with",
                                 (int)strcspn(s->file_errors, "\n"), s->file_errors, service);
    free(s->file_text);
    s->file_text = x_strdup(text);
    return parse_sides(s, target, err) < 0 ? -1 : 1;
}

static int load_spec(struct session *s, unsigned flags, const char *target, struct err *err)
{
    struct err own = {0};
    bool good = read_file(s, &own) == 0 && parse_sides(s, target, &own) == 0;
    if (good && ((flags & (SESSION_FILE | SESSION_CREATE)) || known(s)))
        return 0;
    if (flags & SESSION_FILE) {
        *err = own;
        return -1;
    }
    int r = use_stored(s, target, good ? NULL : &own, err);
    bool watching = !(flags & SESSION_LOCK) ||
                    (s->call->row->flags & CMD_HIDDEN); /* status has a note, the guard a log */
    if (r > 0 && !watching)
        event_warn(&s->out, "%s", s->file_problem);
    if (r == 0 && !good) {
        *err = own;
        return -1;
    }
    return r < 0 ? -1 : 0;
}

int session_need_file(const struct session *s, struct err *err)
{
    if (!s->file_problem)
        return 0;
    err_set(err, ERR_USAGE, "%s\n(nothing new is begun by the stored spec)", s->file_errors);
    return err_hint(err, "mend %s, then changeover check", s->spec_path);
}

int session_rebind(struct session *s, enum colour c, const char *version, struct err *err)
{
    if (parse_side(s, c, s->file_text, s->spec_path, version, err) < 0)
        return -1;
    s->engine.ctx.side[c] = s->side[c];
    s->engine.ctx.service = s->side[GREEN]->service; /* it may have lain in the one just freed */
    return 0;
}

int session_store(struct session *s, enum colour c, const char *version, struct err *err)
{
    struct generation g = {.spec_text = s->file_text, .spec_path = s->spec_path};
    str_format(g.version, sizeof(g.version), "%s", version ? version : "");
    str_format(g.upgrade_id, sizeof(g.upgrade_id), "%s", s->up.id);
    if (journal_generation_set(s->j, c, &g, err) < 0)
        return -1;
    /* For the checks of other services: what is ours, without our journal. */
    cleanup_free char *copy = x_asprintf("%s/spec.yml", s->service_dir);
    return sys_file_write_atomic(copy, s->file_text, strlen(s->file_text), 0600, err);
}

static int take_lock(struct session *s, struct err *err)
{
    const char *flag_dir = s->side[GREEN]->traffic.flag_dir;
    cleanup_free char *path = x_asprintf("%s/lock", flag_dir);
    char label[256];
    str_format(label, sizeof(label), "changeover %s (pid %d%s%s)", s->call->row->name,
               (int)sys_proc_self().pid, s->call->reason ? ", " : "",
               s->call->reason ? s->call->reason : "");
    if (sys_dir_make(flag_dir, 0755, err) < 0)
        return err_ctx(err, "the flag directory");
    /* The guard holds it for moments only; somebody else's run is not waited for. */
    if (sys_lock_take(path, label, sys_clock_mono() + 2 * NSEC_S, &s->lock_fd, err) < 0) {
        err_ctx(err, "service %s", s->side[GREEN]->service);
        return err->code == ERR_LOCKED
                   ? err_hint(err,
                              "changeover status --watch (looks on), then the same command again")
                   : -1;
    }
    return 0;
}

static int refuse_maintenance(struct session *s, struct err *err)
{
    cleanup_str struct str reason = {0};
    int r = journal_meta_get(s->j, "lock", &reason, err);
    if (r <= 0)
        return r;
    err_set(err, ERR_LOCKED, "service %s is locked: %s", s->side[GREEN]->service,
            str_cstr(&reason));
    return err_hint(err, "changeover lock --release");
}

static int open_journal(struct session *s, unsigned flags, struct err *err)
{
    s->service = x_strdup(s->side[GREEN]->service); /* outlives a spec that is bound anew */
    s->service_dir = x_asprintf("%s/%s", s->state_root, s->side[GREEN]->service);
    if (journal_open(s->service_dir, (flags & SESSION_CREATE) != 0, &s->j, err) < 0) {
        if (err->code != ERR_NOT_FOUND || !(flags & SESSION_EMPTY))
            return -1;
        err_clear(err);
        s->live = COLOUR_NONE;
        return 0;
    }
    int up = journal_upgrade(s->j, &s->up, err);
    if (up < 0 || journal_live(s->j, &s->live, err) < 0)
        return -1;
    s->open = up > 0;
    return 0;
}

/* It was valid when it was stored: either the file is damaged, or it needs what is not here
 * (${environment.NAME}). */
static int stored_spec_failed(struct session *s, enum colour c, struct err *err)
{
    struct err damage = {0};
    if (journal_verify(s->j, &damage) < 0) {
        *err = damage;
        return -1;
    }
    return err_ctx(err, "the stored spec of %s", colour_name(c));
}

/* Each colour lives by the spec that it was started with; one that never was, by the file. */
static int bind_sides(struct session *s, const char *target, struct err *err)
{
    for (int c = GREEN; s->j && c < COLOURS; c++) {
        bool had = s->has_gen[c];
        struct generation *g = &s->gen[c];
        generation_done(g);
        *g = (struct generation){0};
        int r = journal_generation(s->j, (enum colour)c, g, err);
        if (r < 0)
            return -1;
        s->has_gen[c] = r > 0;
        if (r > 0 && parse_side(s, (enum colour)c, g->spec_text, g->spec_path,
                                *g->version ? g->version : NULL, err) < 0)
            return stored_spec_failed(s, (enum colour)c, err);
        if (!r && had && parse_side(s, (enum colour)c, s->file_text, s->spec_path, target, err) < 0)
            return -1;
    }
    return 0;
}

struct others {
    struct session *s;
};

static int add_other(void *ctx, const char *name)
{
    struct others *o = ctx;
    if (!str_eq(name, o->s->side[GREEN]->service))
        strv_take(&o->s->other_dirs, x_asprintf("%s/%s", o->s->state_root, name));
    return 0;
}

static int set_up_engine(struct session *s, struct err *err)
{
    struct engine *e = &s->engine;
    e->j = s->j;
    e->up = &s->up;
    e->out = &s->out;
    e->ctx.service = s->service;
    e->ctx.service_dir = s->service_dir;
    for (int c = GREEN; c < COLOURS; c++)
        e->ctx.side[c] = s->side[c];
    const struct spec *any = s->side[s->live == COLOUR_NONE ? GREEN : s->live];
    e->runtime = runtime_find(any, err);
    if (!e->runtime)
        return -1;
    e->traffic = NULL;
    if (!str_eq(any->traffic.driver, "none") && !(e->traffic = traffic_find(any, err)))
        return -1;
    e->loss_accepted = any->accept_loss;
    struct others o = {.s = s};
    (void)sys_dir_each(s->state_root, add_other, &o, NULL);
    e->other_state_dirs = (const char *const *)s->other_dirs.v;
    engine_init(e);
    if (!s->j) { /* nothing to write to: drivers report to the screen at most */
        e->ctx.sink = &s->out;
        e->ctx.note_child = NULL;
    }
    return 0;
}

static int load_loss_accepted(struct session *s, struct err *err)
{
    cleanup_str struct str kept = {0};
    int r = s->j ? journal_meta_get(s->j, "loss_accepted", &kept, err) : 0;
    if (r > 0)
        s->engine.loss_accepted = s->engine.loss_asked = true;
    return r < 0 ? -1 : 0;
}

static struct guard_place guard_place(const struct session *s)
{
    return (struct guard_place){
        .spec_path = s->spec_path, .state_root = s->state_root, .service_dir = s->service_dir};
}

/* Nobody looks after a failover flag whose guard is gone. */
static int drop_unowned_failover(struct session *s, struct err *err)
{
    struct guard_place place = guard_place(s);
    if (!s->engine.traffic || guard_alive(&place) > 0)
        return 0;
    return s->engine.traffic->failover(&s->engine.ctx, false, err);
}

static int refuse_steady(struct session *s, struct err *err)
{
    if (s->open)
        return 0;
    err_set(err, ERR_FAILED, "no upgrade is open: %s is live and steady", colour_name(s->live));
    return err_hint(err, "changeover prepare --target-version V (begins one)");
}

/* What another run has just finished is read again under the lock. */
static int read_again(struct session *s, const char *target, struct err *err)
{
    if (!s->j)
        return 0;
    s->up = (struct upgrade){0}; /* it may have ended meanwhile */
    int up = journal_upgrade(s->j, &s->up, err);
    if (up < 0 || journal_live(s->j, &s->live, err) < 0 || refuse_maintenance(s, err) < 0)
        return -1;
    s->open = up > 0;
    return bind_sides(s, target, err);
}

/* A spec edited in mid-upgrade counts from the next prepare. */
static void report_edit(struct session *s)
{
    const struct generation *g = &s->gen[s->up.to];
    if (!s->open || !s->file_text || !s->has_gen[s->up.to] || str_eq(g->spec_text, s->file_text))
        return;
    cleanup_str struct str text = {.max = 8000};
    str_add(&text,
            "the spec has changed since this upgrade began; that counts from the next prepare:\n");
    diff_unified(g->spec_text, s->file_text, "this upgrade's", s->spec_path, &text);
    event_emit(&s->out, &(struct event){.kind = EVENT_WARNING, .text = str_cstr(&text)});
}

int session_open(struct session *s, const struct cmd_call *call, unsigned flags, const char *target,
                 struct err *err)
{
    *s = (struct session){.call = call, .lock_fd = -1, .live = COLOUR_NONE};
    sys_signals_init();
    terminal_init(&s->terminal, stderr, call->quiet, call->verbose > 0);
    s->out = call->json ? jsonlines_sink(stderr) : terminal_sink(&s->terminal);
    s->state_root = session_state_root(call);
    if (load_spec(s, flags, target, err) < 0)
        return -1;
    if (open_journal(s, flags, err) < 0 || bind_sides(s, target, err) < 0)
        return -1;
    if ((flags & SESSION_LOCK) && (take_lock(s, err) < 0 || read_again(s, target, err) < 0))
        return -1;
    if (set_up_engine(s, err) < 0 || load_loss_accepted(s, err) < 0)
        return -1;
    if ((flags & SESSION_LOCK) && drop_unowned_failover(s, err) < 0)
        return -1;
    if (flags & SESSION_LOCK)
        report_edit(s);
    if ((flags & SESSION_SETTLE) && flow_settle(&s->engine, s->live, err) < 0)
        return -1;
    if (s->j && journal_live(s->j, &s->live, err) < 0)
        return -1;
    return flags & SESSION_OPEN ? refuse_steady(s, err) : 0;
}

int session_guard(struct session *s, struct err *err)
{
    struct guard_place place = guard_place(s);
    return guard_ensure(&place, err);
}

void session_done(struct session *s)
{
    passes_forget(&s->engine);
    terminal_done(&s->terminal);
    sys_close_p(&s->lock_fd);
    journal_close(s->j);
    for (int c = GREEN; c < COLOURS; c++) {
        spec_free(s->side[c]);
        generation_done(&s->gen[c]);
    }
    strv_done(&s->other_dirs);
    json_decref(s->more);
    free(s->spec_path);
    free(s->state_root);
    free(s->service_dir);
    free(s->service);
    free(s->file_text);
    free(s->file_problem);
    free(s->file_errors);
}
