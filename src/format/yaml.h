/* YAML text -> a small immutable tree in which every node knows its line and column.
 *
 * Read for configuration, so strict: one document, no anchors, aliases, tags or merge keys, map
 * keys are plain words, no key twice. Everything wrong is reported, each with its place; nothing
 * here prints. Bounded: YAML_MAX_BYTES, YAML_MAX_DEPTH, YAML_MAX_NODES. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define YAML_MAX_BYTES ((size_t)1 << 20)
#define YAML_MAX_DEPTH 32
#define YAML_MAX_NODES ((size_t)20000)

struct yaml_mark {
    int line, column; /* from 1 */
};

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_pair {
    const char *key;
    struct yaml_mark mark; /* of the key */
    const struct yaml_node *value;
};

struct yaml_node {
    enum yaml_kind kind;
    struct yaml_mark mark;
    const char *text; /* scalar: its value, never NULL, without NUL bytes inside */
    bool quoted;      /* scalar: written in quotes or as a block, so "8899" is a text */
    const struct yaml_node **items; /* list */
    struct yaml_pair *pairs;        /* map, in the order of the file */
    size_t n;                       /* of items or pairs */
};

/* Called for each thing that is wrong, in the order of the file. */
typedef void yaml_wrong_fn(void *ctx, struct yaml_mark at, const char *text);

/* *ret lives in the arena (it is a YAML_NULL node for an empty text). 0, or -1 after at least one
 * call of `wrong`; *ret is then NULL, or the tree without what was wrong (a key given twice): good
 * enough to find more errors in it. Blocks never. */
must_check int yaml_parse(struct arena *arena, const char *text, size_t n, yaml_wrong_fn *wrong,
                          void *ctx, const struct yaml_node **ret);

/* NULL if `map` is no map or has no such key. */
const struct yaml_pair *yaml_get(const struct yaml_node *map, const char *key);

const char *
yaml_kind_words(const struct yaml_node *node); /* "a list", "a map", "text", "nothing" */
