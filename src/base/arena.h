/* Memory that is freed at once: spec, facts and plan live in an arena each. Nothing in it is freed
 * one by one; pointers into it are valid until arena_done(). */
#pragma once

#include "base/clean.h"

#include <stddef.h>

struct arena {
    struct arena_block *head;
};

void *arena_alloc(struct arena *a, size_t bytes); /* zeroed, aligned for any type */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3);
void arena_done(struct arena *a);

/* Appends room for one more element to an arena array; *items may be NULL when *count is 0.
 * Returns the new zeroed element. Cost is quadratic in copies only on powers of two. */
void *arena_grow(struct arena *a, void *items_pp, size_t *count, size_t elem_size);
