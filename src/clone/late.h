/* What the last pass has read and not yet written: small files, kept in memory until whoever waits
 * for the pass goes on. To read one is a matter of its bytes; to write one over blocks that are
 * shared is a matter of the file system's locks, and takes several times as long. */
#pragma once

#include "base/err.h"
#include "sys/tree.h"

#include <stdint.h>

struct late;
void late_free(struct late *l); /* what it holds is forgotten */

/* bytes: of memory, at most; taken as it is needed. */
struct late *late_new(size_t bytes);

/* Keeps the file open at `src`, whose path below the top and whose node are given. Any thread.
 * False: there is no room left for one of this size (the last of it goes to the smallest), or it
 * would have to be read from a disk. */
bool late_keep(struct late *l, int src, const struct sys_node *node, const char *path);

bool late_any(const struct late *l); /* l may be NULL */

/* What the clone holds with them, for its mark. */
void late_note(struct late *l, uint64_t files, uint64_t bytes);
void late_noted(const struct late *l, uint64_t *ret_files, uint64_t *ret_bytes);

void late_forget(struct late *l); /* all of them; l may be NULL */

/* Writes all of them over the files of those names below `top`, which must be there, with owner,
 * mode and times, and holds nothing afterwards. Pre: nobody keeps any more. Failed: call it again,
 * all is written anew. */
must_check int late_write(struct late *l, int top, const char *dst, struct err *err);
