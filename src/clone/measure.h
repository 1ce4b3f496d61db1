/* How large a tree is, and how long its clone will take. Both only look at the source. */
#pragma once

#include "clone/tree.h"

struct tree_size {
    uint64_t files, dirs, others;
    uint64_t apparent; /* sum of the sizes */
    uint64_t data;     /* the same without holes (or compressed, where the file system does that) */
    uint64_t blocks;   /* data, in blocks of 4 KiB: what a copy takes */
    uint64_t small, large; /* files up to 64 KiB, and beyond */
    uint64_t small_data, large_data;
    nsec_t took; /* the look at all of it */
};

/* Uses o->threads, exclude, cancel. A hard-linked file's bytes are shared among its names. Blocks:
 * one statx(2) a file. */
must_check int tree_measure(const char *src, const struct tree_options *o, struct tree_size *ret,
                            struct err *err);

/* Measures, then clones a random sample of the files into nameless files where DST will be, for
 * about `budget`, and reckons from there; a fifth is added on top. *ret_time: without the sync; -1:
 * the file system has no nameless files, or there is nothing to measure with. ERR_UNSUPPORTED as
 * tree_clone(). */
must_check int tree_estimate(const char *src, const char *dst, const struct tree_options *o,
                             nsec_t budget, struct tree_size *ret, nsec_t *ret_time,
                             struct err *err);

/* What a tree's files hold, whatever the order in which they were read: the sum of XXH3-128 over
 * each file's path and contents. Two trees with the same one hold the same. */
struct tree_digest {
    uint64_t high, low;
};

/* Compares the contents of every file of SRC with DST's: their XXH3-128, and while they are read
 * the bytes too. A copy that has been synced (no_sync and ahead are false) is read from its disk,
 * what the caches have else. SRC must stand still, unless o->ahead: what differs then is
 * left to the next pass, which clones it anew. With o->seen: only what the last pass has cloned.
 * ERR_FAILED names the first file that differs. ret: SRC's, may be NULL. */
must_check int tree_verify(const char *src, const char *dst, const struct tree_options *o,
                           struct tree_digest *ret, struct err *err);
