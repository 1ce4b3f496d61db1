#include "cmd/session.h"

#include "engine/flow.h"
#include "engine/guard.h"
#include "observe/jsonlines.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_MAX ((size_t)1 << 20)

char *session_state_root(const struct cmd_call *call)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_STATE_HOME");
    const char *dir = call->state_dir ? call->state_dir : getenv("CHANGEOVER_STATE_DIR");
    if (dir && *dir) {
        char *real = NULL;
        return sys_path_real(dir, &real, NULL) == 0 ? real : x_strdup(dir);
    }
    if (sys_uid() == 0)
        return x_strdup("/var/lib/changeover");
    if (xdg && *xdg)
        return x_asprintf("%s/changeover", xdg);
    return x_asprintf("%s/.local/state/changeover", home ? home : "/tmp");
}

static int read_file(struct session *s, struct err *err)
{
    cleanup_str struct str text = {0};
    if (sys_path_real(s->call->spec_path, &s->spec_path, err) < 0 ||
        sys_file_read(s->spec_path, SPEC_MAX, &text, err) < 0) {
        err->code = ERR_USAGE;
        return err_hint(err, "changeover init (writes a starter), or -f FILE");
    }
    s->file_text = str_take(&text);
    return 0;
}

int session_rebind(struct session *s, enum colour c, const char *version, struct err *err)
{
    struct spec *fresh = NULL;
    if (spec_parse(s->file_text, s->spec_path, c, version, &fresh, err) < 0)
        return -1;
    spec_free(s->side[c]);
    s->side[c] = fresh;
    s->engine.ctx.side[c] = fresh;
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
        return err->code == ERR_LOCKED ? err_hint(err, "changeover status --watch (looks on), then the same command again")
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
    err_set(err, ERR_LOCKED, "service %s is locked: %s", s->side[GREEN]->service, str_cstr(&reason));
    return err_hint(err, "changeover lock --release");
}

static int open_journal(struct session *s, unsigned flags, struct err *err)
{
    s->state_root = session_state_root(s->call);
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

/* Each colour lives by the spec that it was started with. */
static int bind_sides(struct session *s, struct err *err)
{
    for (int c = GREEN; s->j && c < COLOURS; c++) {
        int r = journal_generation(s->j, (enum colour)c, &s->gen[c], err);
        if (r < 0)
            return -1;
        s->has_gen[c] = r > 0;
        if (!r)
            continue;
        struct spec *own = NULL;
        const char *version = *s->gen[c].version ? s->gen[c].version : NULL;
        if (spec_parse(s->gen[c].spec_text, s->gen[c].spec_path, (enum colour)c, version, &own, err) < 0)
            return err_ctx(err, "the stored spec of %s", colour_name((enum colour)c));
        spec_free(s->side[c]);
        s->side[c] = own;
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
        s->engine.loss_accepted = true;
    return r < 0 ? -1 : 0;
}

static struct guard_place guard_place(const struct session *s)
{
    return (struct guard_place){.spec_path = s->spec_path, .state_root = s->state_root,
                                .service_dir = s->service_dir};
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

int session_open(struct session *s, const struct cmd_call *call, unsigned flags, const char *target,
                 struct err *err)
{
    *s = (struct session){.call = call, .lock_fd = -1, .live = COLOUR_NONE};
    sys_signals_init();
    terminal_init(&s->terminal, stderr, call->quiet, call->verbose > 0);
    s->out = call->json ? jsonlines_sink(stderr) : terminal_sink(&s->terminal);
    if (read_file(s, err) < 0)
        return -1;
    for (int c = GREEN; c < COLOURS; c++)
        if (spec_parse(s->file_text, s->spec_path, (enum colour)c, target, &s->side[c], err) < 0)
            return -1;
    if (open_journal(s, flags, err) < 0 || bind_sides(s, err) < 0)
        return -1;
    if ((flags & SESSION_LOCK) && take_lock(s, err) < 0)
        return -1;
    /* What another run has just finished is read again under the lock. */
    if ((flags & SESSION_LOCK) && s->j) {
        int up = journal_upgrade(s->j, &s->up, err);
        if (up < 0 || journal_live(s->j, &s->live, err) < 0 || refuse_maintenance(s, err) < 0)
            return -1;
        s->open = up > 0;
    }
    if (set_up_engine(s, err) < 0 || load_loss_accepted(s, err) < 0)
        return -1;
    if ((flags & SESSION_LOCK) && drop_unowned_failover(s, err) < 0)
        return -1;
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
    terminal_done(&s->terminal);
    sys_close_p(&s->lock_fd);
    journal_close(s->j);
    for (int c = GREEN; c < COLOURS; c++) {
        spec_free(s->side[c]);
        generation_done(&s->gen[c]);
    }
    strv_done(&s->other_dirs);
    free(s->spec_path);
    free(s->state_root);
    free(s->service_dir);
    free(s->service);
    free(s->file_text);
}
