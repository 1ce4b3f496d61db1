/* Which files somebody has let go of after having them open for writing: fanotify(7).
 *
 * A file cannot be mapped shared and writable without being open for writing, and its last close is
 * told only when the last such mapping is gone, too. So whoever watches from T on, and looks at T2
 * at what is held (sys/held.h), knows every file that a store can have changed in between, also
 * where stores move no time. */
#pragma once

#include "sys/held.h"

#include <stdbool.h>

/* Whether `path` lies on a file system where a store through a mapping moves no time: tmpfs and the
 * like. */
bool sys_watch_needed(const char *path);

/* Watches the whole file system that holds `path`, whoever writes and through whichever mount. Does
 * not block. -1 with errno: it takes root (EPERM), or a kernel or file system that can. Close it.
 */
int sys_watch_open(const char *path);
bool sys_watch_can(const char *path);

/* Calls fn with the inode of each file that was let go of since the last call, some more than once;
 * what this process itself has written is left out. -1 with EOVERFLOW: some may be missing, so that
 * any file may have changed. */
int sys_watch_read(int fd, sys_held_fn *fn, void *ctx);
