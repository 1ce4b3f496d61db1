/* Which journal a flag directory belongs to: a line in it, so that two state directories for one
 * service are noticed. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Writes it (replaces one that is there). */
must_check int owner_write(const char *flag_dir, const char *service_dir, struct err *err);
must_check int owner_remove(const char *flag_dir, struct err *err);

/* 1 and the service directory (an absolute path), 0: nobody has claimed it, or it cannot be read.
 */
int owner_read(const char *flag_dir, struct str *ret);
