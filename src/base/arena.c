#include "base/arena.h"

#include "base/str.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)16384)

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t align = alignof(max_align_t);
    bytes = (bytes + align - 1) & ~(align - 1);
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        b = x_alloc(sizeof(*b) + size);
        b->size = size;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    cleanup_str struct str s = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&s, fmt, ap);
    va_end(ap);
    return arena_strndup(a, str_cstr(&s), s.len);
}

void *arena_grow(struct arena *a, void *items_pp, size_t *count, size_t elem_size)
{
    void **items = items_pp;
    size_t n = *count;
    if ((n & (n - 1)) == 0) { /* full at every power of two */
        void *bigger = arena_alloc(a, (n ? n * 2 : 1) * elem_size);
        if (n)
            memcpy(bigger, *items, n * elem_size);
        *items = bigger;
    }
    (*count)++;
    return (char *)*items + n * elem_size;
}

void arena_done(struct arena *a)
{
    while (a->head) {
        struct arena_block *next = a->head->next;
        free(a->head);
        a->head = next;
    }
}
