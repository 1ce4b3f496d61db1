/* Scope-exit cleanup: `cleanup(fn) T *x` calls fn(&x) when x leaves its scope.
 *
 * The words for destructors, used the same everywhere: `_free` frees the object and what it owns,
 * `_done` ends an object that lives on the stack, `_clear` empties it for re-use. All of them
 * accept NULL or a zeroed object. TAKE() hands a pointer over and leaves NULL behind. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define cleanup(fn) __attribute__((cleanup(fn)))
#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define unused __attribute__((unused))

#define TAKE(ptr)                          \
    __extension__({                        \
        __typeof__(ptr) take_old_ = (ptr); \
        (ptr) = NULL;                      \
        take_old_;                         \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline void free_p(void *p)
{
    free(*(void **)p);
}

static inline void fclose_p(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define cleanup_free cleanup(free_p)
#define cleanup_fclose cleanup(fclose_p)
