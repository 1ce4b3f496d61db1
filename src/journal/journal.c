/* Opening, small facts, generations, upgrades. Steps, deadlines and events: steps.c. */
#include "journal/journal.h"

#include "journal/db.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/proc.h"
#include "sys/random.h"
#include "sys/spawn.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* What makes each schema of the one before it; 0 is an empty file. */
static const char *const changes[JOURNAL_SCHEMA] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE generations(colour TEXT PRIMARY KEY, version TEXT NOT NULL, upgrade TEXT NOT "
    "NULL,"
    " spec_text TEXT NOT NULL, spec_path TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE upgrades(id TEXT PRIMARY KEY, state TEXT NOT NULL, from_colour TEXT NOT NULL,"
    " to_colour TEXT NOT NULL, version_from TEXT NOT NULL, version_to TEXT NOT NULL,"
    " flipped INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, ended INTEGER, outcome TEXT,"
    " reason TEXT);"
    "CREATE UNIQUE INDEX one_open ON upgrades((ended IS NULL)) WHERE ended IS NULL;"
    "CREATE TABLE steps(upgrade TEXT NOT NULL, step TEXT NOT NULL, status INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, started INTEGER NOT NULL, ended INTEGER, result TEXT,"
    " PRIMARY KEY(upgrade, step));"
    "CREATE TABLE children(upgrade TEXT NOT NULL, step TEXT NOT NULL, pid INTEGER NOT NULL,"
    " start INTEGER NOT NULL);"
    "CREATE TABLE deadlines(name TEXT PRIMARY KEY, wall INTEGER NOT NULL, boot_id TEXT NOT NULL,"
    " boottime INTEGER NOT NULL, why TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE events(at INTEGER NOT NULL, upgrade TEXT NOT NULL, kind INTEGER NOT NULL, step "
    "TEXT,"
    " text TEXT);"
    "CREATE INDEX events_at ON events(at);",
    "CREATE TABLE probes(upgrade TEXT NOT NULL, part TEXT NOT NULL, at INTEGER NOT NULL,"
    " result TEXT NOT NULL, PRIMARY KEY(upgrade, part));",
};

static int user_version(void *ctx, sqlite3_stmt *st)
{
    *(int *)ctx = sqlite3_column_int(st, 0);
    return 0;
}

static int exec(struct journal *j, const char *sql, struct err *err)
{
    if (sqlite3_exec(j->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return db_error(j, err, "set up");
    return 0;
}

/* As it was, beside it: journal.db.N. Two processes may do this at once; both copies are whole. */
static int keep_copy(struct journal *j, int version, struct err *err)
{
    cleanup_free char *copy = x_asprintf("%s.%d", j->path, version);
    cleanup_free char *half = x_asprintf("%s.half-%d", copy, (int)sys_proc_self().pid);
    if (sys_path_exists(copy))
        return 0;
    if (sys_file_remove(half, err) < 0 || db_run(j, err, "VACUUM INTO ?", "s", half) < 0)
        return err_ctx(err, "keep a copy of the older journal");
    return sys_file_rename(half, copy) ? 0 : err_sys(err, ERR_FAILED, "rename '%s'", half);
}

static int set_up(struct journal *j, struct err *err)
{
    int version = 0;
    char stamp[64];
    snprintf(stamp, sizeof(stamp), "PRAGMA user_version=%d; COMMIT", JOURNAL_SCHEMA);
    if (db_each(j, err, user_version, &version, "PRAGMA user_version", "") < 0)
        return -1;
    if (version == JOURNAL_SCHEMA)
        return 0;
    if (version > JOURNAL_SCHEMA) {
        err_set(err, ERR_FAILED,
                "journal '%s' was written by a newer changeover (schema %d, ours %d)", j->path,
                version, JOURNAL_SCHEMA);
        return err_hint(err, "use that version; an older one would not understand what is open");
    }
    if ((version > 0 && keep_copy(j, version, err) < 0) || exec(j, "BEGIN IMMEDIATE", err) < 0 ||
        db_each(j, err, user_version, &version, "PRAGMA user_version", "") < 0)
        return -1;
    for (; version < JOURNAL_SCHEMA; version++) /* unless another process was first */
        if (exec(j, changes[version], err) < 0)
            return -1;
    return exec(j, stamp, err);
}

int journal_open(const char *service_dir, bool create, struct journal **ret, struct err *err)
{
    cleanup_journal struct journal *j = x_alloc(sizeof(*j));
    j->path = x_asprintf("%s/journal.db", service_dir);
    if (create && sys_dir_make(service_dir, 0700, err) < 0)
        return -1;
    if (!create && !sys_path_exists(j->path)) {
        err_set(err, ERR_NOT_FOUND, "there is no journal '%s': nothing has been adopted here",
                j->path);
        return err_hint(err, "changeover adopt");
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    if (sqlite3_open_v2(j->path, &j->db, flags, NULL) != SQLITE_OK)
        return db_error(j, err, "open");
    sqlite3_busy_timeout(j->db, 5000);
    if (exec(j, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", err) < 0 || set_up(j, err) < 0)
        return -1;
    *ret = TAKE(j);
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    sqlite3_close(j->db);
    free(j->path);
    free(j);
}

int journal_begin(struct journal *j, struct err *err)
{
    return db_run(j, err, "BEGIN IMMEDIATE", "");
}

int journal_end(struct journal *j, bool ok, struct err *err)
{
    if (ok && db_run(j, err, "COMMIT", "") == 0)
        return 0;
    sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

static int take_text(void *ctx, sqlite3_stmt *st)
{
    str_add(ctx, (const char *)sqlite3_column_text(st, 0));
    return 0;
}

int journal_verify(struct journal *j, struct err *err)
{
    cleanup_str struct str said = {0};
    if (db_each(j, err, take_text, &said, "PRAGMA quick_check(1)", "") < 0)
        return -1;
    return str_eq(str_cstr(&said), "ok") ? 0 : db_damaged(j, str_cstr(&said), err);
}

int journal_meta_get(struct journal *j, const char *key, struct str *ret, struct err *err)
{
    return db_each(j, err, take_text, ret, "SELECT value FROM meta WHERE key=?", "s", key);
}

int journal_meta_set(struct journal *j, const char *key, const char *value, struct err *err)
{
    if (!value)
        return db_run(j, err, "DELETE FROM meta WHERE key=?", "s", key);
    return db_run(j, err, "INSERT OR REPLACE INTO meta VALUES(?,?)", "ss", key, value);
}

int journal_live(struct journal *j, enum colour *ret, struct err *err)
{
    cleanup_str struct str name = {0};
    int r = journal_meta_get(j, "live", &name, err);
    if (r < 0)
        return -1;
    *ret = r ? colour_parse(str_cstr(&name)) : COLOUR_NONE;
    return 0;
}

int journal_live_set(struct journal *j, enum colour c, struct err *err)
{
    return journal_meta_set(j, "live", c == COLOUR_NONE ? NULL : colour_name(c), err);
}

void generation_done(struct generation *g)
{
    free(g->spec_text);
    free(g->spec_path);
    g->spec_text = g->spec_path = NULL;
}

static int take_generation(void *ctx, sqlite3_stmt *st)
{
    struct generation *g = ctx;
    db_text(st, 0, g->version, sizeof(g->version));
    db_text(st, 1, g->upgrade_id, sizeof(g->upgrade_id));
    g->spec_text = x_strdup((const char *)sqlite3_column_text(st, 2));
    g->spec_path = x_strdup((const char *)sqlite3_column_text(st, 3));
    g->created_wall_ns = sqlite3_column_int64(st, 4);
    return 0;
}

int journal_generation(struct journal *j, enum colour c, struct generation *ret, struct err *err)
{
    return db_each(
        j, err, take_generation, ret,
        "SELECT version, upgrade, spec_text, spec_path, created FROM generations WHERE colour=?",
        "s", colour_name(c));
}

int journal_generation_set(struct journal *j, enum colour c, const struct generation *g,
                           struct err *err)
{
    return db_run(j, err, "INSERT OR REPLACE INTO generations VALUES(?,?,?,?,?,?)", "sssssi",
                  colour_name(c), g->version, g->upgrade_id, g->spec_text, g->spec_path,
                  (int64_t)sys_clock_wall());
}

int journal_generation_clear(struct journal *j, enum colour c, struct err *err)
{
    return db_run(j, err, "DELETE FROM generations WHERE colour=?", "s", colour_name(c));
}

#define UPGRADE_COLUMNS                                                                        \
    "id, state, from_colour, to_colour, version_from, version_to, flipped, created, outcome, " \
    "ended, reason"

static int take_upgrade(void *ctx, sqlite3_stmt *st)
{
    struct upgrade *up = ctx;
    db_text(st, 0, up->id, sizeof(up->id));
    up->state = state_parse((const char *)sqlite3_column_text(st, 1));
    up->from = colour_parse((const char *)sqlite3_column_text(st, 2));
    up->to = colour_parse((const char *)sqlite3_column_text(st, 3));
    db_text(st, 4, up->version_from, sizeof(up->version_from));
    db_text(st, 5, up->version_to, sizeof(up->version_to));
    up->flipped = sqlite3_column_int(st, 6) != 0;
    up->created_wall_ns = sqlite3_column_int64(st, 7);
    return 0;
}

int journal_upgrade(struct journal *j, struct upgrade *ret, struct err *err)
{
    return db_each(j, err, take_upgrade, ret,
                   "SELECT " UPGRADE_COLUMNS " FROM upgrades WHERE ended IS NULL", "");
}

/* Date, time and four random digits: sorts by time, is unique on one host, reads well. */
static void make_id(char id[32])
{
    time_t now = (time_t)(sys_clock_wall() / NSEC_S);
    struct tm tm;
    gmtime_r(&now, &tm);
    char date[24];
    strftime(date, sizeof(date), "%Y%m%d-%H%M%S", &tm);
    snprintf(id, 32, "%s-%04x", date, (unsigned)(sys_random() & 0xffff));
}

int journal_upgrade_begin(struct journal *j, struct upgrade *up, struct err *err)
{
    make_id(up->id);
    up->created_wall_ns = sys_clock_wall();
    return db_run(j, err,
                  "INSERT INTO upgrades(id, state, from_colour, to_colour, version_from, "
                  "version_to, created) "
                  "VALUES(?,?,?,?,?,?,?)",
                  "ssssssi", up->id, state_name(up->state), colour_name(up->from),
                  colour_name(up->to), up->version_from, up->version_to, up->created_wall_ns);
}

int journal_upgrade_move(struct journal *j, struct upgrade *up, enum upgrade_state to,
                         const char *outcome, struct err *err)
{
    int r = to == STATE_STEADY
                ? db_run(j, err, "UPDATE upgrades SET state=?, ended=?, outcome=? WHERE id=?",
                         "siss", state_name(to), (int64_t)sys_clock_wall(), outcome, up->id)
                : db_run(j, err, "UPDATE upgrades SET state=? WHERE id=?", "ss", state_name(to),
                         up->id);
    if (r == 0)
        up->state = to;
    return r;
}

int journal_upgrade_flipped(struct journal *j, struct upgrade *up, bool flipped, struct err *err)
{
    if (db_run(j, err, "UPDATE upgrades SET flipped=? WHERE id=?", "is", (int64_t)flipped, up->id) <
        0)
        return -1;
    up->flipped = flipped;
    return 0;
}

int journal_upgrade_reason(struct journal *j, const struct upgrade *up, const char *reason,
                           struct err *err)
{
    return db_run(j, err, "UPDATE upgrades SET reason=coalesce(reason || '; ', '') || ? WHERE id=?",
                  "ss", reason, up->id);
}

int journal_flip(struct journal *j, struct upgrade *up, enum colour live, struct err *err)
{
    bool was = up->flipped;
    if (journal_begin(j, err) < 0)
        return -1;
    bool ok = journal_live_set(j, live, err) == 0 &&
              journal_upgrade_flipped(j, up, live == up->to, err) == 0;
    if (journal_end(j, ok, err) == 0)
        return 0;
    up->flipped = was;
    return -1;
}

struct upgrades_ctx {
    journal_upgrade_fn *fn;
    void *ctx;
};

static int each_upgrade(void *ctx, sqlite3_stmt *st)
{
    struct upgrades_ctx *u = ctx;
    struct upgrade up = {0};
    char outcome[64], reason[256];
    take_upgrade(&up, st);
    db_text(st, 8, outcome, sizeof(outcome));
    db_text(st, 10, reason, sizeof(reason));
    return u->fn(u->ctx, &up, outcome, sqlite3_column_int64(st, 9), reason);
}

int journal_upgrades_each(struct journal *j, int limit, journal_upgrade_fn *fn, void *ctx,
                          struct err *err)
{
    struct upgrades_ctx u = {.fn = fn, .ctx = ctx};
    return db_each(j, err, each_upgrade, &u,
                   "SELECT " UPGRADE_COLUMNS " FROM upgrades ORDER BY created DESC LIMIT ?", "i",
                   (int64_t)limit);
}
