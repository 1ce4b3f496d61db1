/* What the files with the rows of the table of keys share. Adding a key: a row in one of them, a
   field in spec.h, then docs/spec.md from the document test. */
#pragma once

#include "spec/schema.h"

#include "spec/spec.h"

#define ROW(path_, type_, field, ...)                                                     \
    {                                                                                     \
        .path = path_, .type = type_, .offset = offsetof(struct spec, field), __VA_ARGS__ \
    }
#define VOLUME(leaf, type_, field, ...)                                                          \
    {                                                                                            \
        .path = "volumes.*." leaf, .type = type_, .offset = offsetof(struct spec_volume, field), \
        __VA_ARGS__                                                                              \
    }
#define CHECK(leaf, type_, field, ...)                                                             \
    {                                                                                              \
        .path = "gate.checks[]." leaf, .type = type_, .offset = offsetof(struct spec_gate, field), \
        __VA_ARGS__                                                                                \
    }
#define SHADOW(leaf, type_, field, ...)                                    \
    {                                                                      \
        .path = "shadow.requests[]." leaf, .type = type_,                  \
        .offset = offsetof(struct spec_shadow_request, field), __VA_ARGS__ \
    }
#define COMMAND_IN(path_, type_, field, ...)                                                      \
    {                                                                                             \
        .path = path_, .type = type_, .offset = offsetof(struct spec_command, field), __VA_ARGS__ \
    }
#define COMMAND(leaf, type_, field, ...) COMMAND_IN("COMMAND." leaf, type_, field, __VA_ARGS__)
#define SECTION(path_, ...)                           \
    {                                                 \
        .path = path_, .type = T_SECTION, __VA_ARGS__ \
    }
#define EARLY(path_, ...)                           \
    {                                               \
        .path = path_, .type = T_NAMES, __VA_ARGS__ \
    }
#define KIND(leaf, kind, ...)                                                    \
    {                                                                            \
        .path = "gate.checks[]." leaf, .type = T_CHECK, .min = kind, __VA_ARGS__ \
    }
#define RANGE(a, b) .min = (a), .max = (b)

/* What a value is asked for with; the same five keys wherever something is asked. */
#define QUERY(prefix_, macro, field_prefix)                                                      \
    macro(prefix_ "port", T_PORT_NAME, field_prefix.port, .fallback_doc = "`traffic.port`",      \
          .doc = "name of the port that is asked", .example = "rpc"),                            \
        macro(prefix_ "method", T_TEXT, field_prefix.method,                                     \
              .doc = "JSON-RPC method; without it a plain GET", .example = "getSlot"),           \
        macro(prefix_ "params", T_PARAMS, field_prefix.params, .fallback = "[]",                 \
              .doc = "the method's params", .example = "[{commitment: processed}]"),             \
        macro(prefix_ "path", T_TEXT, field_prefix.path, .fallback = "/", .doc = "request path", \
              .example = "/version"),                                                            \
        macro(prefix_ "field", T_TEXT, field_prefix.field, .fallback_doc = "the whole body",     \
              .doc = "dotted path into the JSON answer", .example = "result.solana-core"),       \
        macro(prefix_ "header", T_TEXT, field_prefix.header,                                     \
              .doc = "take the value of this response header instead", .example = "X-Version")

/* The rows of one file, for schema.c. */
struct schema_part {
    const struct schema_key *keys;
    size_t n;
};

extern const struct schema_part schema_data;
extern const struct schema_part schema_runtime;
extern const struct schema_part schema_kubernetes;
extern const struct schema_part schema_traffic;
extern const struct schema_part schema_gate;
extern const struct schema_part schema_rest;
