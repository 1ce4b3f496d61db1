/* The end of a log, for error messages. */
#pragma once

#include "base/str.h"

#include <stddef.h>

/* The last `lines` lines of the file, joined by newlines, at most max bytes, without control
 * characters; "" if there is no such file. For text in errors: "it ended by itself with status 1
 * after 2.1 s; last lines: ..." */
void runtime_log_tail(const char *path, size_t lines, size_t max, struct str *ret);
