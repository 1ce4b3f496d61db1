/* Small helpers over jansson. A json_t that comes out of here is the caller's (json_decref), unless
 * it says borrowed. Bounded: texts of at most JSON_MAX_BYTES. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>

#define JSON_MAX_BYTES ((size_t)16 << 20)

static inline void json_decref_p(json_t **j)
{
    json_decref(*j);
}
#define cleanup_json cleanup(json_decref_p)

/* Any JSON value. Not valid or too long: ERR_FAILED with where and what; trailing bytes are an
 * error too. Integers beyond int64_t become texts (in a document that has one: all of more than 18
 * digits). */
must_check int json_read(const char *text, size_t n, json_t **ret, struct err *err);

/* The value at a dotted path, "result.solana-core" or "result.value.0.slot" (a number is a list
 * index).
 * "" or NULL: root itself. Borrowed; NULL if there is none. */
json_t *json_at(json_t *root, const char *path);

/* The text of a string (raw), number, true or false; of null "null"; of a list or map its compact
 * JSON. false if value is NULL. Appended. */
bool json_text(const json_t *value, struct str *ret);

/* A number at the path, or a string that is wholly one. false if it is neither. */
bool json_number_at(json_t *root, const char *path, double *ret);
bool json_u64_at(json_t *root, const char *path, uint64_t *ret);

/* Compact (indent 0) or indented JSON, appended. */
void json_print(const json_t *value, size_t indent, struct str *ret);
