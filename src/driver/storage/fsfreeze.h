/* The freeze of file systems around their snapshot (fsfreeze of the spec): what was written before
 * it is all on the device, nothing is in the log. Private to this folder. */
#pragma once

#include "driver/context.h"

#define FSFREEZE_MAX 32 /* as many volumes as a spec may have */

/* Writes all of them out, then freezes them, held by a helper that thaws when it is told to, when
 * we die, or at `ceiling`. -1: none of them is frozen. */
must_check int fsfreeze_begin(const struct driver_ctx *ctx, const char *const *paths, size_t n,
                              nsec_t ceiling, int *ret_fd, struct err *err);

/* What a tool that was killed, and its helper with it, has left frozen goes on. */
void fsfreeze_undo(const char *const *paths, size_t n);

/* Thaws, on every way out. 0 only if they were frozen from begin until now, with how long;
 * ERR_TIMEOUT: the ceiling came first. */
must_check int fsfreeze_end(const struct driver_ctx *ctx, const char *const *paths, size_t n,
                            nsec_t ceiling, int fd, nsec_t *ret_held, struct err *err);
