/* What the probes of an upgrade found. */
#include "journal/db.h"
#include "journal/journal.h"
#include "sys/clock.h"

int journal_probe_set(struct journal *j, const char *upgrade, const char *part, const char *json,
                      struct err *err)
{
    return db_run(j, err,
                  "INSERT INTO probes VALUES(?,?,?,?) "
                  "ON CONFLICT DO UPDATE SET result=excluded.result",
                  "ssis", upgrade, part, (int64_t)sys_clock_wall(), json);
}

static int take_json(void *ctx, sqlite3_stmt *st)
{
    str_add(ctx, (const char *)sqlite3_column_text(st, 0));
    return 0;
}

int journal_probe(struct journal *j, const char *upgrade, const char *part, struct str *ret,
                  struct err *err)
{
    return db_each(j, err, take_json, ret, "SELECT result FROM probes WHERE upgrade=? AND part=?",
                   "ss", upgrade, part);
}

struct probes_ctx {
    journal_probe_fn *fn;
    void *ctx;
};

static int each_probe(void *ctx, sqlite3_stmt *st)
{
    struct probes_ctx *p = ctx;
    return p->fn(p->ctx, (const char *)sqlite3_column_text(st, 0),
                 (const char *)sqlite3_column_text(st, 1),
                 (const char *)sqlite3_column_text(st, 2));
}

int journal_probes_each(struct journal *j, const char *upgrade, journal_probe_fn *fn, void *ctx,
                        struct err *err)
{
    struct probes_ctx p = {.fn = fn, .ctx = ctx};
    return db_each(j, err, each_probe, &p,
                   "SELECT upgrade, part, result FROM probes WHERE ?1='' OR upgrade=?1 ORDER BY "
                   "at, rowid",
                   "s", upgrade) < 0
               ? -1
               : 0;
}
