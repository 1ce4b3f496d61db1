/* A few lines around SQLite's C API: prepared, bound, stepped, finalised in one call. */
#pragma once

#include "base/err.h"

#include <sqlite3.h>

struct journal {
    sqlite3 *db;
    char *path;
};

/* Binds by letters: s text (const char*, NULL allowed), i int64_t. Runs it to the end. */
must_check int db_run(struct journal *j, struct err *err, const char *sql, const char *types, ...);

typedef int db_row_fn(void *ctx, sqlite3_stmt *st);
/* The same for a query: fn for each row; it returns 0 to go on, >0 to stop, <0 on error. Returns
 * the number of rows seen, or -1. */
must_check int db_each(struct journal *j, struct err *err, db_row_fn *fn, void *ctx,
                       const char *sql, const char *types, ...);

/* The file is not what we wrote: says so, and what leads on. Returns -1. */
int db_damaged(struct journal *j, const char *how, struct err *err);
int db_error(struct journal *j, struct err *err, const char *what);
/* Copies a text column, cut to size. */
void db_text(sqlite3_stmt *st, int col, char *buf, size_t size);
