#include "format/rows.h"

#include "base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum cell_kind { CELL_EMPTY, CELL_TEXT, CELL_NUMBER, CELL_BOOL };

struct rows_cell {
    enum cell_kind kind;
    char *text;
    double number;
};

struct rows rows_new(const struct rows_column *columns, size_t n)
{
    return (struct rows){.columns = columns, .columns_n = n};
}

void rows_add(struct rows *t)
{
    size_t old = t->rows_n * t->columns_n;
    t->cells = x_realloc(t->cells, old + t->columns_n, sizeof(*t->cells));
    memset(t->cells + old, 0, t->columns_n * sizeof(*t->cells));
    t->rows_n++;
}

static struct rows_cell *last(struct rows *t, size_t column)
{
    if (t->rows_n == 0 || column >= t->columns_n)
        abort();
    return &t->cells[(t->rows_n - 1) * t->columns_n + column];
}

void rows_text(struct rows *t, size_t column, const char *fmt, ...)
{
    struct rows_cell *c = last(t, column);
    struct str s = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&s, fmt, ap);
    va_end(ap);
    free(c->text);
    c->kind = CELL_TEXT;
    c->text = str_take(&s);
}

void rows_number(struct rows *t, size_t column, double value)
{
    struct rows_cell *c = last(t, column);
    c->kind = CELL_NUMBER;
    c->number = value;
}

void rows_bool(struct rows *t, size_t column, bool value)
{
    struct rows_cell *c = last(t, column);
    c->kind = CELL_BOOL;
    c->number = value;
}

static void number_words(enum rows_type type, double v, struct str *out)
{
    char buf[32];
    if (type == ROWS_BYTES)
        str_add(out, str_bytes(buf, sizeof(buf), v > 0 ? (uint64_t)v : 0));
    else if (type == ROWS_DURATION)
        str_add(out, clock_words(buf, sizeof(buf), (nsec_t)v));
    else if (v == floor(v) && fabs(v) < 1e15)
        str_addf(out, "%.0f", v);
    else
        str_addf(out, "%.2f", v);
}

static void cell_words(const struct rows *t, const struct rows_cell *c, size_t column,
                       struct str *out)
{
    str_clear(out);
    switch (c->kind) {
    case CELL_EMPTY:
        str_add(out, "-");
        break;
    case CELL_TEXT:
        str_add(out, c->text);
        break;
    case CELL_NUMBER:
        number_words(t->columns[column].type, c->number, out);
        break;
    case CELL_BOOL:
        str_add(out, c->number != 0.0 ? "yes" : "no");
        break;
    }
}

size_t rows_width(const char *s)
{
    size_t n = 0;
    while (*s) {
        if (s[0] == '\033' && s[1] == '[') {
            s += 2;
            while (*s && !(*s >= '@' && *s <= '~'))
                s++;
            if (*s)
                s++;
            continue;
        }
        if (((unsigned char)*s & 0xC0) != 0x80)
            n++;
        s++;
    }
    return n;
}

static bool right_aligned(enum rows_type type)
{
    return type == ROWS_NUMBER || type == ROWS_BYTES || type == ROWS_DURATION;
}

static void add_padded(struct str *out, const char *text, size_t width, bool right, bool last_one)
{
    size_t have = rows_width(text), pad = have < width ? width - have : 0;
    for (size_t i = 0; right && i < pad; i++)
        str_add_c(out, ' ');
    str_add(out, text);
    if (last_one)
        return;
    for (size_t i = right ? pad : 0; i < pad + 2; i++)
        str_add_c(out, ' ');
}

/* row == rows_n prints the heading. */
static void print_row(const struct rows *t, size_t row, const size_t *width, size_t last_shown,
                      struct str *out)
{
    cleanup_str struct str words = {0};
    for (size_t c = 0; c <= last_shown && c < t->columns_n; c++) {
        if (!t->columns[c].title)
            continue;
        const char *text = t->columns[c].title;
        if (row < t->rows_n) {
            cell_words(t, &t->cells[row * t->columns_n + c], c, &words);
            text = str_cstr(&words);
        }
        add_padded(out, text, width[c], right_aligned(t->columns[c].type), c == last_shown);
    }
    str_add_c(out, '\n');
}

void rows_print(const struct rows *t, struct str *out)
{
    cleanup_str struct str words = {0};
    cleanup_free size_t *width = x_alloc(t->columns_n * sizeof(*width));
    size_t last_shown = 0;
    for (size_t c = 0; c < t->columns_n; c++) {
        if (!t->columns[c].title)
            continue;
        last_shown = c;
        width[c] = t->no_heading ? 0 : rows_width(t->columns[c].title);
        for (size_t r = 0; r < t->rows_n; r++) {
            cell_words(t, &t->cells[r * t->columns_n + c], c, &words);
            size_t w = rows_width(str_cstr(&words));
            if (w > width[c])
                width[c] = w;
        }
    }
    if (!t->no_heading)
        print_row(t, t->rows_n, width, last_shown, out);
    for (size_t r = 0; r < t->rows_n; r++)
        print_row(t, r, width, last_shown, out);
}

static json_t *cell_json(enum rows_type type, const struct rows_cell *c)
{
    switch (c->kind) {
    case CELL_TEXT:
        return json_string(c->text) ?: json_string("(not UTF-8)");
    case CELL_NUMBER:
        if (type == ROWS_DURATION)
            return json_real(c->number / 1e9);
        if (c->number == floor(c->number) && fabs(c->number) < 9e15)
            return json_integer((json_int_t)c->number);
        return json_real(c->number) ?: json_null();
    case CELL_BOOL:
        return json_boolean(c->number != 0.0);
    case CELL_EMPTY:
        break;
    }
    return json_null();
}

json_t *rows_json(const struct rows *t)
{
    json_t *list = json_array();
    for (size_t r = 0; r < t->rows_n; r++) {
        json_t *o = json_object();
        for (size_t c = 0; c < t->columns_n; c++)
            if (t->columns[c].key)
                json_object_set_new(o, t->columns[c].key,
                                    cell_json(t->columns[c].type, &t->cells[r * t->columns_n + c]));
        json_array_append_new(list, o);
    }
    return list;
}

void rows_done(struct rows *t)
{
    for (size_t i = 0; i < t->rows_n * t->columns_n; i++)
        free(t->cells[i].text);
    free(t->cells);
    t->cells = NULL;
    t->rows_n = 0;
}
