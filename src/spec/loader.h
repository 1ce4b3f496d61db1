/* What the parts of the loader share. Internal to src/spec/.
 *
 * A load runs once for each colour over the same tree (loader.c): first the names that `${...}` may
 * use (names.c), then every key by the table (readers.c), then the rules between keys (rules.c).
 * All report into one list of wrongs; what is wrong gets a harmless value, so that one mistake is
 * reported once. */
#pragma once

#include "format/yaml.h"
#include "spec/schema.h"
#include "spec/spec.h"

enum { LOADER_PORTS_MAX = 64, LOADER_VOLUMES_MAX = 32, LOADER_CHECKS_MAX = 32 };

struct wrong {
    struct yaml_mark at;
    const char *text;
    size_t order; /* in which it was found */
};

struct wrongs {
    struct arena arena;
    struct wrong *items;
    size_t n;
};

struct volume_path {
    const char *name, *path; /* path NULL: it is wrong */
    struct yaml_mark at;
};

/* What `${...}` knows of one colour. */
struct colour_side {
    struct spec_port *ports;
    size_t ports_n;
    struct yaml_mark *port_marks; /* beside ports */
    size_t port_marks_n;
    struct strv identities;
    struct spec_var *config;
    size_t config_n;
    struct volume_path *volumes;
    size_t volumes_n;
};

typedef const char *loader_env_fn(void *ctx, const char *name);

struct loader {
    struct spec *spec;
    struct arena *arena; /* the spec's */
    struct wrongs *wrongs;
    const struct yaml_node *root;
    enum colour colour;
    const char *version;
    struct colour_side side[COLOURS];
    loader_env_fn *env;
    void *env_ctx;
    size_t expanded_bytes;
    const char *later; /* a ${name} that is left as it is, for whoever uses the value; or NULL */
};

/* One value to read: which row, from where, called what in messages, into which field. */
struct reading {
    struct loader *l;
    const struct schema_key *key;
    const struct yaml_node *node;
    const char *shown;
    void *at;
};

/* loader.c */
void loader_wrong(struct loader *l, struct yaml_mark at, const char *fmt, ...) printf_like(3, 4);
/* "SHOWN: what; write for example LEAF: EXAMPLE" */
void reading_wrong(const struct reading *r, const char *fmt, ...) printf_like(2, 3);
void loader_map(struct loader *l, const struct yaml_node *node, struct yaml_mark at,
                const char *prefix, const char *shown, void *base);
/* The mark of the deepest key of a dotted path that is in the file. */
struct yaml_mark loader_mark(const struct loader *l, const char *path);
void loader_strv_add(struct loader *l, struct strv *sv, const char *text);
void loader_map_keys(struct loader *l, const struct yaml_node *node, const char *prefix,
                     const char *shown);

/* readers.c, readers_more.c */
typedef void reader_fn(const struct reading *r);
extern reader_fn *const loader_readers[T_TYPE_MAX];
const char *reading_scalar(const struct reading *r); /* expanded, NULL if it is none (reported) */
bool reading_is_name(const char *text);
reader_fn read_argv, read_command, read_commands, read_params, read_limits, read_hook, read_volumes,
    read_checks, read_tls, read_may_bind, read_shadow, read_map, read_list;
/* "9000-9025" or "8899"; false if it is no such thing. */
bool loader_parse_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last);

/* names.c */
void loader_names(struct loader *l);
/* The whole environment of the colour that is loaded: runtime.env, the colour's over it. */
void loader_environment(struct loader *l);
/* Expanded for one colour, in the arena. What is unknown is reported and left out. `shown` names
 * the key. */
const char *loader_expand(struct loader *l, enum colour c, struct yaml_mark at, const char *shown,
                          const char *text);
bool loader_is_env_name(const char *text);

/* rules.c */
void loader_rules(struct loader *l);
/* Somebody must be asked something: a method, a path of its own, or a header. map: as it is
 * written. */
void loader_query_rule(struct loader *l, struct yaml_mark at, const char *shown,
                       struct spec_query *q, const struct yaml_node *map);
void loader_shadow_rules(struct loader *l);  /* shadow.c */
void loader_probe_rules(struct loader *l);   /* probe.c */
void loader_runtime_rules(struct loader *l); /* kubernetes.c */
void loader_route_rules(struct loader *l);   /* route.c */
void loader_route_pair(struct loader *green, struct loader *blue);
void loader_runtime_pair(struct loader *green, struct loader *blue);
void loader_rules_pair(struct loader *green, struct loader *blue); /* between the colours */

/* For tests: parse with another environment. */
must_check int loader_parse(const char *text, const char *path, enum colour colour,
                            const char *version, loader_env_fn *env, void *env_ctx,
                            struct spec **ret, struct err *err);
