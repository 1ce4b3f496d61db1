/* The spec that the journal keeps of a service whose file is gone, broken, or speaks of another
 * service. */
#pragma once

#include "base/err.h"

/* Looks through all services below state_root for one whose colours were started from spec_path.
 * 1: found; *ret_service and *ret_text (the live colour's spec) are the caller's. 0: none, or more
 * than one. */
must_check int stored_find(const char *state_root, const char *spec_path, char **ret_service,
                           char **ret_text, struct err *err);
