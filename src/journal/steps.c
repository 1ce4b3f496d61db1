/* Steps and their children, deadlines, events. */
#include "journal/db.h"
#include "journal/journal.h"
#include "sys/clock.h"

#include <string.h>

static int take_step(void *ctx, sqlite3_stmt *st)
{
    struct step_row *row = ctx;
    row->status = (enum step_status)sqlite3_column_int(st, 0);
    row->attempt = sqlite3_column_int(st, 1);
    row->started_wall_ns = sqlite3_column_int64(st, 2);
    row->ended_wall_ns = sqlite3_column_int64(st, 3);
    db_text(st, 4, row->result, sizeof(row->result));
    return 0;
}

int journal_step(struct journal *j, const char *upgrade, const char *step, struct step_row *ret,
                 struct err *err)
{
    *ret = (struct step_row){0};
    return db_each(j, err, take_step, ret,
                   "SELECT status, attempt, started, ended, result FROM steps WHERE upgrade=? AND "
                   "step=?",
                   "ss", upgrade, step) < 0
               ? -1
               : 0;
}

int journal_step_intend(struct journal *j, const char *upgrade, const char *step, int *ret_attempt,
                        struct err *err)
{
    struct step_row row;
    if (db_run(j, err,
               "INSERT INTO steps(upgrade, step, status, attempt, started) VALUES(?,?,?,1,?) "
               "ON CONFLICT DO UPDATE SET status=excluded.status, attempt=attempt+1,"
               " started=excluded.started, ended=NULL, result=NULL",
               "ssii", upgrade, step, (int64_t)STEP_INTENDED, (int64_t)sys_clock_wall()) < 0 ||
        journal_step(j, upgrade, step, &row, err) < 0)
        return -1;
    *ret_attempt = row.attempt;
    return 0;
}

int journal_step_end(struct journal *j, const char *upgrade, const char *step,
                     enum step_status status, const char *result, struct err *err)
{
    if (db_run(j, err, "DELETE FROM children WHERE upgrade=? AND step=?", "ss", upgrade, step) < 0)
        return -1;
    return db_run(j, err, "UPDATE steps SET status=?, ended=?, result=? WHERE upgrade=? AND step=?",
                  "iisss", (int64_t)status, (int64_t)sys_clock_wall(), result, upgrade, step);
}

struct steps_ctx {
    journal_step_fn *fn;
    void *ctx;
};

static int each_step(void *ctx, sqlite3_stmt *st)
{
    struct steps_ctx *s = ctx;
    struct step_row row = {0};
    char name[96];
    take_step(&row, st);
    db_text(st, 5, name, sizeof(name));
    return s->fn(s->ctx, name, &row);
}

int journal_steps_each(struct journal *j, const char *upgrade, journal_step_fn *fn, void *ctx,
                       struct err *err)
{
    struct steps_ctx s = {.fn = fn, .ctx = ctx};
    return db_each(
        j, err, each_step, &s,
        "SELECT status, attempt, started, ended, result, step FROM steps WHERE upgrade=? "
        "ORDER BY started, rowid",
        "s", upgrade);
}

int journal_child_note(struct journal *j, const char *upgrade, const char *step, struct proc_id id,
                       struct err *err)
{
    return db_run(j, err, "INSERT INTO children VALUES(?,?,?,?)", "ssii", upgrade, step,
                  (int64_t)id.pid, (int64_t)id.start_ticks);
}

struct children_ctx {
    struct proc_id *ret;
    size_t max, n;
};

static int each_child(void *ctx, sqlite3_stmt *st)
{
    struct children_ctx *c = ctx;
    if (c->n == c->max)
        return 1;
    c->ret[c->n++] = (struct proc_id){.pid = sqlite3_column_int(st, 0),
                                      .start_ticks = (uint64_t)sqlite3_column_int64(st, 1)};
    return 0;
}

int journal_children(struct journal *j, const char *upgrade, const char *step, struct proc_id *ret,
                     size_t max, size_t *ret_n, struct err *err)
{
    struct children_ctx c = {.ret = ret, .max = max};
    int r = db_each(j, err, each_child, &c,
                    "SELECT pid, start FROM children WHERE upgrade=?1 AND (?2 IS NULL OR step=?2)",
                    "ss", upgrade, step);
    *ret_n = c.n;
    return r < 0 ? -1 : 0;
}

int journal_deadline_set(struct journal *j, const char *name, nsec_t in_ns, const char *why,
                         struct err *err)
{
    char boot_id[40];
    sys_boot_id(boot_id);
    return db_run(j, err, "INSERT OR REPLACE INTO deadlines VALUES(?,?,?,?,?)", "sisis", name,
                  (int64_t)(sys_clock_wall() + in_ns), boot_id,
                  (int64_t)(sys_clock_boottime() + in_ns), why);
}

int journal_deadline_clear(struct journal *j, const char *name, struct err *err)
{
    return db_run(j, err, "DELETE FROM deadlines WHERE name=?", "s", name);
}

static int take_deadline(void *ctx, sqlite3_stmt *st)
{
    struct deadline *d = ctx;
    d->wall_ns = sqlite3_column_int64(st, 0);
    db_text(st, 1, d->boot_id, sizeof(d->boot_id));
    d->boottime_ns = sqlite3_column_int64(st, 2);
    db_text(st, 3, d->why, sizeof(d->why));
    return 0;
}

int journal_deadline(struct journal *j, const char *name, struct deadline *ret, nsec_t *ret_left_ns,
                     struct err *err)
{
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    int r = db_each(j, err, take_deadline, ret,
                    "SELECT wall, boot_id, boottime, why FROM deadlines WHERE name=?", "s", name);
    if (r <= 0)
        return r;
    char boot_id[40];
    sys_boot_id(boot_id);
    *ret_left_ns = strcmp(boot_id, ret->boot_id) == 0 ? ret->boottime_ns - sys_clock_boottime()
                                                      : ret->wall_ns - sys_clock_wall();
    return 1;
}

int journal_event(struct journal *j, const char *upgrade, const struct event *ev, struct err *err)
{
    return db_run(j, err, "INSERT INTO events VALUES(?,?,?,?,?)", "isiss",
                  (int64_t)sys_clock_wall(), upgrade, (int64_t)ev->kind, ev->step, ev->text);
}

struct events_ctx {
    journal_event_fn *fn;
    void *ctx;
};

static int each_event(void *ctx, sqlite3_stmt *st)
{
    struct events_ctx *e = ctx;
    return e->fn(e->ctx, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1),
                 sqlite3_column_int(st, 2), (const char *)sqlite3_column_text(st, 3),
                 (const char *)sqlite3_column_text(st, 4));
}

int journal_events_each(struct journal *j, const char *upgrade, int limit, journal_event_fn *fn,
                        void *ctx, struct err *err)
{
    struct events_ctx e = {.fn = fn, .ctx = ctx};
    return db_each(
        j, err, each_event, &e,
        "SELECT at, upgrade, kind, step, text FROM (SELECT rowid AS n, * FROM events WHERE "
        "?1='' OR upgrade=?1 ORDER BY rowid DESC LIMIT ?2) ORDER BY n",
        "si", upgrade, (int64_t)limit);
}

int journal_prune(struct journal *j, nsec_t age, struct err *err)
{
    int64_t before = sys_clock_wall() - age;
    return db_run(j, err, "DELETE FROM events WHERE at < ?", "i", before) < 0
               ? -1
               : db_run(j, err, "DELETE FROM probes WHERE at < ?", "i", before);
}
