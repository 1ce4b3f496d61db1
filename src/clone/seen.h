/* What the passes over one tree that lives remember, each for the next one.
 *
 * A file is taken for unchanged only if its ctime lies before the moment in which the last whole
 * pass began, less the ticks of the kernel's coarse clock; if nobody held it in a way that moves no
 * time (seen_hold); and if the directory at its path is the one that was there then: a directory
 * that is renamed takes its files along, and their ctimes stay.
 *
 * Not seen: on tmpfs, where a store through a mapping moves no time at all, a file that was mapped,
 * stored to and unmapped between two looks at what is held. Elsewhere the first store into a new
 * mapping moves the ctime. */
#pragma once

#include "sys/tree.h"

struct seen;
struct seen *seen_new(void);
void seen_free(struct seen *s);

/* That inode may change without its ctime: open for writing, or mapped shared and writable. Before
 * each pass for what is held then; it is cloned anew in this pass and in the next. */
void seen_hold(struct seen *s, uint64_t ino);

unsigned seen_passes(const struct seen *s); /* whole ones so far */
nsec_t seen_took(const struct seen *s);     /* the last of them; 0: none yet */

/* ---- for the cloner; any thread but for begin and end ---- */

void seen_begin(struct seen *s); /* a pass begins: right before its first look at the tree */
void seen_end(struct seen *s, bool whole, nsec_t took);

bool seen_unchanged(const struct seen *s, const struct sys_node *file); /* since the last pass */
bool seen_renewed(const struct seen *s, const struct sys_node *file);   /* by the last pass */

/* Whether the last whole pass found that directory at that path. *ret_owed: it left something
 * behind there that the source no longer had. */
bool seen_dir_known(const struct seen *s, const char *path, uint64_t ino, bool *ret_owed);
void seen_dir_note(struct seen *s, const char *path, uint64_t ino, bool owed);
