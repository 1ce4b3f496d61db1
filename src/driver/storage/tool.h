/* Programs of the system that storage drivers run: found by name, watched, known to the journal
 * before they may act, in the C locale since their words are read. Private to this folder. */
#pragma once

#include "driver/context.h"

/* Runs it with these arguments (NULL-terminated). -1 only if it could not be run at all; how it
 * ended is in ret. package: what has it, for the hint. */
must_check int tool_run(const struct driver_ctx *ctx, const char *program, const char *package,
                        const char *const *args, struct proc_result *ret, struct err *err);
/* 0 only if it ended with status 0; else what it said last. */
must_check int tool_judge(const char *program, const char *const *args, const struct proc_result *r,
                          struct err *err);
/* For those that change something: both, then a fault point `POINT/PROGRAM`. */
must_check int tool_change(const struct driver_ctx *ctx, const char *point, const char *program,
                           const char *package, const char *const *args, struct err *err);

bool tool_there(const char *program);
#define TOOL_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
