/* Where paths really lead, also those that do not exist yet. Read-only. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

/* As realpath(3), but the last parts may be missing: they are kept as they are behind the longest
 * part that exists. Relative paths count from the working directory. The caller's (free). */
char *sys_path_resolve(const char *path);

/* The nearest directory upwards (or the path itself) that exists. The caller's (free). */
char *sys_path_existing(const char *path);

enum sys_path_relation { SYS_PATH_APART, SYS_PATH_SAME, SYS_PATH_INSIDE, SYS_PATH_AROUND };

/* How a lies to b: the same place, inside of it, or around it. Links and bind mounts are seen
 * through (by device and inode of every parent that exists). */
enum sys_path_relation sys_path_relation(const char *a, const char *b);
