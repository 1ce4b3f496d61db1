/* Kernel locks on files (open file description locks, fcntl(2) F_OFD_SETLK): gone with the last
 * descriptor, so no crash leaves one behind. The file's text is only a label for people. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

/* Takes the write lock on `path` (created 0644 if missing) and writes `label` into it.
 * Held by another: ERR_LOCKED with that one's label. deadline (monotonic, 0: do not wait).
 * *ret_fd holds the lock: close it to release. The label is left; it is only a label. */
must_check int sys_lock_take(const char *path, const char *label, nsec_t deadline, int *ret_fd,
                             struct err *err);

/* True if somebody (other than this descriptor's owner) holds it; label (may be NULL) gets its
 * text. */
bool sys_lock_held(const char *path, char *label, size_t size);
