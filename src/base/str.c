#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR_MAX_DEFAULT (16u << 20)

void *x_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        abort();
    return p;
}

void *x_realloc(void *p, size_t count, size_t size)
{
    void *q = reallocarray(p, count ? count : 1, size);
    if (!q)
        abort();
    return q;
}

char *x_strndup(const char *s, size_t n)
{
    char *copy = strndup(s, n);
    if (!copy)
        abort();
    return copy;
}

char *x_strdup(const char *s)
{
    return x_strndup(s, strlen(s));
}

char *x_asprintf(const char *fmt, ...)
{
    struct str s = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&s, fmt, ap);
    va_end(ap);
    return str_take(&s);
}

void str_add_n(struct str *s, const char *bytes, size_t n)
{
    size_t max = s->max ? s->max : STR_MAX_DEFAULT;
    if (n > max - s->len) {
        n = max - s->len;
        s->cut = true;
    }
    if (s->len + n + 1 > s->cap) {
        size_t cap = s->cap ? s->cap : 64;
        while (cap < s->len + n + 1)
            cap *= 2;
        s->buf = x_realloc(s->buf, cap, 1);
        s->cap = cap;
    }
    if (n)
        memcpy(s->buf + s->len, bytes, n);
    s->len += n;
    s->buf[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
    str_add_n(s, text, strlen(text));
}

void str_add_c(struct str *s, char c)
{
    str_add_n(s, &c, 1);
}

void str_vaddf(struct str *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char small[256];
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    if (n >= 0 && (size_t)n < sizeof(small)) {
        str_add_n(s, small, (size_t)n);
    } else if (n >= 0) {
        char *big = x_alloc((size_t)n + 1);
        vsnprintf(big, (size_t)n + 1, fmt, again);
        str_add_n(s, big, (size_t)n);
        free(big);
    }
    va_end(again);
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(s, fmt, ap);
    va_end(ap);
}

void str_clear(struct str *s)
{
    s->len = 0;
    s->cut = false;
    if (s->buf)
        s->buf[0] = '\0';
}

void str_done(struct str *s)
{
    free(s->buf);
    s->buf = NULL;
    s->len = s->cap = 0;
}

const char *str_cstr(const struct str *s)
{
    return s->buf ? s->buf : "";
}

char *str_take(struct str *s)
{
    str_add_n(s, "", 0);
    char *buf = s->buf;
    s->buf = NULL;
    s->len = s->cap = 0;
    return buf;
}

void strv_take(struct strv *sv, char *s)
{
    sv->v = x_realloc(sv->v, sv->n + 2, sizeof(*sv->v));
    sv->v[sv->n++] = s;
    sv->v[sv->n] = NULL;
}

void strv_add(struct strv *sv, const char *s)
{
    strv_take(sv, x_strdup(s));
}

void strv_copy(struct strv *dst, const struct strv *src)
{
    for (size_t i = 0; i < src->n; i++)
        strv_add(dst, src->v[i]);
}

bool strv_has(const struct strv *sv, const char *s)
{
    for (size_t i = 0; i < sv->n; i++)
        if (strcmp(sv->v[i], s) == 0)
            return true;
    return false;
}

void strv_done(struct strv *sv)
{
    for (size_t i = 0; i < sv->n; i++)
        free(sv->v[i]);
    free(sv->v);
    sv->v = NULL;
    sv->n = 0;
}

bool str_eq(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a, b) == 0;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

const char *str_format(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return buf;
}

const char *str_bytes(char *buf, size_t size, uint64_t bytes)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 999.5 && u + 1 < ARRAY_LEN(unit)) {
        v /= 1000;
        u++;
    }
    snprintf(buf, size, u && v < 99.95 ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return buf;
}

bool str_parse_bytes(const char *s, uint64_t *ret)
{
    static const struct {
        const char *suffix;
        double bytes;
    } unit[] = {{"B", 1},
                {"kB", 1e3},
                {"KB", 1e3},
                {"MB", 1e6},
                {"GB", 1e9},
                {"TB", 1e12},
                {"KiB", 1024},
                {"MiB", 1048576},
                {"GiB", 1073741824.0},
                {"TiB", 1099511627776.0}};
    char *end;
    if (*s < '0' || *s > '9')
        return false;
    double v = strtod(s, &end);
    while (*end == ' ')
        end++;
    if (!*end && v == 0.0) {
        *ret = 0;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(unit); i++)
        if (str_eq(end, unit[i].suffix) && v * unit[i].bytes < 9e18) {
            *ret = (uint64_t)(v * unit[i].bytes);
            return true;
        }
    return false;
}
