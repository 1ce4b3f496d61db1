#include "journal/db.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int db_damaged(struct journal *j, const char *how, struct err *err)
{
    err_set(err, ERR_HALFWAY,
            "journal '%s' is damaged (%s); nothing was changed, and what runs is not touched",
            j->path, how);
    return err_hint(err, "move it away, then: changeover adopt --live COLOUR (the colour that "
                         "the flag directory names); backups are beside it as journal.db.*");
}

int db_error(struct journal *j, struct err *err, const char *what)
{
    int code = sqlite3_errcode(j->db);
    err_set(err, ERR_FAILED, "journal '%s': %s: %s", j->path, what, sqlite3_errmsg(j->db));
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        return db_damaged(j, sqlite3_errmsg(j->db), err);
    if (code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_FULL)
        return err_hint(
            err,
            "make its directory writable (free space, owner, mount), then the same command again");
    return -1;
}

static int bind_all(struct journal *j, struct err *err, sqlite3_stmt *st, const char *types,
                    va_list ap)
{
    for (int i = 0; types[i]; i++) {
        int r;
        if (types[i] == 's')
            r = sqlite3_bind_text(st, i + 1, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
        else
            r = sqlite3_bind_int64(st, i + 1, va_arg(ap, int64_t));
        if (r != SQLITE_OK)
            return db_error(j, err, "bind");
    }
    return 0;
}

static void leave_p(sqlite3_mutex **m)
{
    sqlite3_mutex_leave(*m);
}

static int each(struct journal *j, struct err *err, db_row_fn *fn, void *ctx, const char *sql,
                const char *types, va_list ap)
{
    cleanup(leave_p) sqlite3_mutex *inside = sqlite3_db_mutex(j->db);
    sqlite3_stmt *st = NULL;
    sqlite3_mutex_enter(inside); /* the error text of a connection is the last caller's */
    if (sqlite3_prepare_v2(j->db, sql, -1, &st, NULL) != SQLITE_OK)
        return db_error(j, err, "prepare");
    int rows = bind_all(j, err, st, types, ap), r = SQLITE_DONE;
    while (rows >= 0 && (r = sqlite3_step(st)) == SQLITE_ROW) {
        int go = fn ? fn(ctx, st) : 0;
        rows = go < 0 ? -1 : rows + 1;
        if (go > 0)
            break;
    }
    if (rows >= 0 && r != SQLITE_DONE && r != SQLITE_ROW)
        rows = db_error(j, err, "run");
    sqlite3_finalize(st);
    return rows;
}

int db_run(struct journal *j, struct err *err, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int r = each(j, err, NULL, NULL, sql, types, ap);
    va_end(ap);
    return r < 0 ? -1 : 0;
}

int db_each(struct journal *j, struct err *err, db_row_fn *fn, void *ctx, const char *sql,
            const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int r = each(j, err, fn, ctx, sql, types, ap);
    va_end(ap);
    return r;
}

void db_text(sqlite3_stmt *st, int col, char *buf, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(st, col);
    snprintf(buf, size, "%s", text ? text : "");
}
