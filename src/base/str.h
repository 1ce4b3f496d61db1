/* A growing string with a ceiling, and an allocator that aborts when memory is gone.
 *
 * An abort is a crash, and every step survives a crash (the journal sees to it), so out of memory
 * needs no error path of its own. */
#pragma once

#include "base/clean.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *x_alloc(size_t bytes); /* zeroed; aborts when there is none */
void *x_realloc(void *p, size_t count, size_t size);
char *x_strdup(const char *s);
char *x_strndup(const char *s, size_t n);
char *x_asprintf(const char *fmt, ...) printf_like(1, 2);

/* buf is never NULL after the first append and always ends in NUL; use str_cstr() before that.
 * `max` is the ceiling in bytes (0: 16 MiB); what goes beyond is cut and `cut` is set. */
struct str {
    char *buf;
    size_t len;
    size_t cap;
    size_t max;
    bool cut;
};

void str_add(struct str *s, const char *text);
void str_add_n(struct str *s, const char *bytes, size_t n);
void str_add_c(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...) printf_like(2, 3);
void str_vaddf(struct str *s, const char *fmt, va_list ap);
void str_clear(struct str *s); /* empties, keeps the memory */
void str_done(struct str *s);  /* frees */
const char *str_cstr(const struct str *s);
char *str_take(struct str *s); /* hands the buffer over (never NULL); s is empty afterwards */

#define cleanup_str cleanup(str_done)

/* A vector of strings, NULL-terminated for execve; it owns them. */
struct strv {
    char **v;
    size_t n;
};

void strv_add(struct strv *sv, const char *s);
void strv_take(struct strv *sv, char *s); /* the vector owns s from here on */
void strv_copy(struct strv *dst, const struct strv *src);
bool strv_has(const struct strv *sv, const char *s);
void strv_done(struct strv *sv);

#define cleanup_strv cleanup(strv_done)

bool str_eq(const char *a, const char *b); /* NULL equals NULL only */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* snprintf for words that may be cut: what does not fit is left out on purpose. Returns buf. */
const char *str_format(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);

/* 1234567 -> "1.2 MB"; writes into buf (at least 16 bytes) and returns it. */
const char *str_bytes(char *buf, size_t size, uint64_t bytes);

/* "200MB", "1.5 GiB", "0": a number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB. */
bool str_parse_bytes(const char *s, uint64_t *ret);
