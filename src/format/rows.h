/* One table that prints both ways: aligned columns for people, a JSON list of objects for programs.
 *
 *     static const struct rows_column columns[] = {{"colour", "COLOUR"}, {"bytes", "SIZE",
 * ROWS_BYTES}}; cleanup_rows struct rows t = rows_new(columns, ARRAY_LEN(columns)); rows_add(&t);
 *     rows_text(&t, 0, "%s", "green");
 *     rows_number(&t, 1, 1234567);
 *     rows_print(&t, &out);      COLOUR  SIZE
 *                                green   1.2 MB
 *     rows_json(&t);             [{"colour": "green", "bytes": 1234567}]
 */
#pragma once

#include "base/clean.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum rows_type {
    ROWS_TEXT,
    ROWS_NUMBER,   /* right-aligned; whole numbers without a point */
    ROWS_BYTES,    /* "1.2 MB"; JSON: the number of bytes */
    ROWS_DURATION, /* ns; "1.3 s"; JSON: seconds */
    ROWS_BOOL      /* "yes", "no"; JSON: true, false */
};

struct rows_column {
    const char *key;   /* in JSON; NULL: not there */
    const char *title; /* heading for people; NULL: not shown to them */
    enum rows_type type;
};

struct rows_cell;
struct rows {
    const struct rows_column *columns;
    size_t columns_n;
    struct rows_cell *cells; /* row by row */
    size_t rows_n;
    bool no_heading;
};

struct rows rows_new(const struct rows_column *columns, size_t n);
void rows_add(struct rows *t); /* a new row; its cells are empty ("-", JSON null) until set */

/* Sets a cell of the last row. */
void rows_text(struct rows *t, size_t column, const char *fmt, ...) printf_like(3, 4);
void rows_number(struct rows *t, size_t column, double value);
void rows_bool(struct rows *t, size_t column, bool value);

void rows_print(const struct rows *t, struct str *out);
json_t *rows_json(const struct rows *t); /* the caller's */
void rows_done(struct rows *t);
#define cleanup_rows cleanup(rows_done)

size_t rows_width(const char *utf8); /* columns on a terminal: code points, escapes not counted */
