/* Where two JSON values differ, field by field. Pure. */
#pragma once

#include "base/str.h"

#include <jansson.h>

#define JSON_DIFF_VALUE 64 /* most bytes of a value that is shown; a longer one ends in "..." */

/* One difference: path as json_at() takes it ("result.value.lamports", "result.0.slot"; "" is the
 * whole), both values as compact JSON, shortened; "nothing" where a side has none. The texts live
 * during the call. */
typedef void json_diff_fn(void *ctx, const char *path, const char *a, const char *b);

/* Calls fn (may be NULL) for each place where a and b differ and returns how many there are.
 * Numbers are compared by value, lists by place; the order of a map's keys does not count. ignore
 * (may be NULL): paths that are passed over with all below them; `*` stands for any one word. */
size_t json_diff(json_t *a, json_t *b, const struct strv *ignore, json_diff_fn *fn, void *ctx);
