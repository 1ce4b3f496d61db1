/* The difference of two texts, line by line. Pure. */
#pragma once

#include "base/str.h"

/* A unified diff (3 lines around each change), appended; nothing if they are equal. Texts whose
 * changed part is very long come out as one change. */
void diff_unified(const char *old_text, const char *new_text, const char *old_name,
                  const char *new_name, struct str *ret);
