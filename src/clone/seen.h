/* What the passes over one tree that lives remember, each for the next one.
 *
 * A file is taken for unchanged only if its ctime lies before the moment in which the last whole
 * pass began, less the ticks of the kernel's coarse clock; if nobody held it in a way that moves no
 * time (seen_hold); and if the directory at its path is the one that was there then: a directory
 * that is renamed takes its files along, and their ctimes stay.
 *
 * On tmpfs a store through a mapping moves no time where the page was read before, so a file that
 * was mapped, stored to and unmapped between two looks at what is held must be told of
 * (seen_let_go), by somebody who watches (sys/watch.h). Elsewhere the first store into a new
 * mapping moves the ctime. */
#pragma once

#include "clone/late.h"
#include "sys/tree.h"

struct seen;
struct seen *seen_new(void);
void seen_free(struct seen *s);

/* That inode may change without its ctime: open for writing, or mapped shared and writable. Before
 * each pass for what is held then; it is cloned anew in this pass and in the next. */
void seen_hold(struct seen *s, uint64_t ino);

/* That inode was held until a moment ago: cloned anew in the next pass. Any thread, any time. */
void seen_let_go(struct seen *s, uint64_t ino);

/* Nobody knows what may have changed: the next pass clones everything anew. */
void seen_forget(struct seen *s);

/* From here on every file that changes in any way is told of by seen_let_go(): a pass need not look
 * at the files of a directory that is as it was, once a whole pass was made after this. Lost: not
 * all of them were told since the last pass began; the next one looks at each. */
void seen_told(struct seen *s);
void seen_told_lost(struct seen *s);

/* Where the last pass keeps what is written after it; made by the first who asks, of that size, and
 * freed with `s`. bytes 0: NULL if nobody has made it. */
struct late *seen_late(struct seen *s, size_t bytes);

unsigned seen_passes(const struct seen *s); /* whole ones so far */
nsec_t seen_took(const struct seen *s);     /* the last of them; 0: none yet */
nsec_t seen_worked(const struct seen *s);   /* the same without its waits for a limit */
uint64_t seen_bytes(const struct seen *s);  /* of all files, as it found them */

/* ---- for the cloner; any thread but for begin and end ---- */

void seen_begin(struct seen *s); /* a pass begins: right before its first look at the tree */
void seen_end(struct seen *s, bool whole, nsec_t took, nsec_t worked, uint64_t bytes);

bool seen_unchanged(const struct seen *s, const struct sys_node *file); /* since the last pass */
bool seen_not_told(const struct seen *s, uint64_t ino); /* as it was, without a look at it */
bool seen_renewed(const struct seen *s, const struct sys_node *file); /* by the last pass */

/* Whether the last whole pass found that directory at that path. *ret_owed: it left something
 * behind there that the source no longer had. */
bool seen_dir_known(const struct seen *s, const char *path, uint64_t ino, bool *ret_owed);
void seen_dir_note(struct seen *s, const char *path, uint64_t ino, bool owed);
