/* The one table of keys: what the loader reads, what an unknown key is compared with, what
 * docs/spec.md lists. Internal to src/spec/. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_type {
    T_SECTION, /* a map whose keys are rows of their own */
    T_TEXT,
    T_NAME,  /* a short word: letters, digits, - and _ */
    T_PATH,  /* absolute */
    T_REGEX, /* extended regular expression */
    T_INT,
    T_U64,
    T_NUMBER, /* a decimal number, not negative */
    T_BOOL,
    T_DURATION,
    T_BYTES,
    T_WORD,      /* one of `words` */
    T_TEXTS,     /* a list of texts, or one text */
    T_ARGV,      /* a list of texts, run without a shell */
    T_COMMAND,   /* T_ARGV, or a map: the rows under "COMMAND" */
    T_COMMANDS,  /* a list of T_COMMAND */
    T_PORT,      /* a port number */
    T_PORT_NAME, /* the name of one of the colour's ports */
    T_ADDRESS,   /* host:port */
    T_SIGNAL,
    T_TLS,      /* "internal", or a map */
    T_PARAMS,   /* a list or a map, handed on as JSON */
    T_MAY_BIND, /* a list of "udp:8000-8020" */
    T_LIMITS,   /* a map of name: value */
    T_MAP,      /* a map of text: text, kept as it is (struct spec_map) */
    T_LIST,     /* a list of T_COMMAND (struct spec_commands) */
    T_HOOK,     /* T_COMMAND, kept in the spec's list */
    T_VOLUMES,  /* a map of name: map */
    T_CHECKS,   /* a list of {kind: map} */
    T_CHECK,    /* one kind of check */
    T_SHADOW,   /* a list of maps: the rows under "shadow.requests[]" */
    T_NAMES,    /* read before everything else, because ${...} needs it (names.c) */
    T_TYPE_MAX
};

struct schema_word {
    const char *word;
    int value;
};

struct schema_key {
    const char *path; /* "traffic.health.path"; "volumes.*.driver"; "gate.checks[].http.status" */
    enum schema_type type;
    bool required;
    size_t offset;            /* into the struct of its scope: spec, volume, gate or command */
    const char *fallback;     /* the value if it is not given, as one would write it */
    const char *fallback_doc; /* how the default is found where it is no fixed text */
    const char *type_doc;     /* the type in words, where the type's own are not enough */
    const struct schema_word *words;
    int64_t min, max;    /* if max > 0: the range, in the stored unit; T_CHECK: min is the kind */
    const char *doc;     /* one line */
    const char *example; /* the value in YAML */
};

/* The i-th row, in the order of docs/spec.md; NULL behind the last. */
const struct schema_key *schema_row(size_t i);

/* True if row's path is `prefix` + "." + one more word; "" is the top. A `*` in the row matches any
 * word. */
bool schema_is_child(const struct schema_key *k, const char *prefix);
const char *schema_leaf(const struct schema_key *k); /* the last word of its path */
const struct schema_key *schema_find(const char *prefix, const char *leaf);

/* The nearest of the keys under prefix by edit distance, NULL if none is near. */
const char *schema_suggest(const char *prefix, const char *leaf);
const char *schema_elsewhere(const char *leaf);
const char *schema_suggest_word(const struct schema_word *words, const char *word);
size_t schema_distance(const char *a, const char *b);

/* "a, b, c": the keys under prefix. */
void schema_children_words(const char *prefix, struct str *out);
void schema_type_words(const struct schema_key *k, struct str *out);

/* Signals that may be a stop's, and prlimit(1)'s names of limits; both end with NULL. */
extern const struct schema_word schema_signals[];
extern const char *const schema_limits[];
