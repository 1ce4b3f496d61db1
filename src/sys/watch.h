/* What others do to the files of a whole file system: fanotify(7).
 *
 * Whoever watches from T on, and looks at T2 at what is held open for writing or mapped
 * (sys/held.h), knows every file whose contents can have changed in between: a file cannot be
 * mapped shared and writable without being open for writing, and its last close is told only when
 * the last such mapping is gone, too. */
#pragma once

#include "sys/held.h"

#include <stdbool.h>

enum sys_watch_kind {
    SYS_WATCH_LET_GO,  /* files that somebody had open for writing and has closed */
    SYS_WATCH_CHANGES, /* and those written to, cut, or given another owner, mode, time, attribute.
                          Not told: names that come and go (they move the times of the directory),
                          and the flags of chattr(1) */
};

/* Whether `path` lies on a file system where a store through a mapping moves no time: tmpfs and the
 * like. */
bool sys_watch_needed(const char *path);

/* Watches the whole file system that holds `path`, whoever writes and through whichever mount. Does
 * not block. NULL with errno: it takes root (EPERM), or a kernel or file system that can; changes
 * are told of XFS and ext4 alone, where a directory names the inodes that are told here. */
struct sys_watch;
struct sys_watch *sys_watch_open(const char *path, enum sys_watch_kind kind);
void sys_watch_close(struct sys_watch *w); /* NULL is fine */
bool sys_watch_can(const char *path, enum sys_watch_kind kind);

/* Calls fn with the inode of each file that was told of since the last call, some more than once;
 * what this process itself has done is left out. -1 with EOVERFLOW: some may be missing, so that
 * any file may have changed. */
int sys_watch_read(struct sys_watch *w, sys_held_fn *fn, void *ctx);
