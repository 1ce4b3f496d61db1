/* Clones a tree of files, in parallel: owners, modes, times (ns), xattrs, ACLs, links of both
 * kinds, holes, FIFOs and devices. Sockets are left out, and so is our own mark (clone/sentinel.h).
 *
 * Never leaves the source's mount (something mounted inside is an error that names it), never
 * follows a link below the top, touches nothing outside DST. Memory is bounded, but for one entry
 * for each hard-linked file whose other names have not been met yet. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "clone/seen.h"
#include "clone/sentinel.h"

#include <stdbool.h>
#include <stdint.h>

enum tree_mode {
    TREE_REFLINK, /* FICLONE of every file: blocks are shared. ERR_UNSUPPORTED where that cannot be
                   */
    TREE_COPY,    /* the bytes; where the file system shares blocks on a copy, that is fine too */
};

struct tree_progress {
    uint64_t files_done, files_total; /* total 0: unknown */
    uint64_t bytes_done, bytes_total; /* data: holes do not count */
    double files_rate, bytes_rate;    /* a second, since the beginning */
    nsec_t took, left;                /* left -1: unknown */
};

struct tree_options {
    enum tree_mode mode;
    unsigned threads; /* 0: one a processor, at most 8 */
    const char *const
        *exclude;      /* NULL-terminated fnmatch(3) patterns on the path below SRC ("*" also
                          matches "/"); a directory that matches is left out whole. May be NULL */
    bool live_source;  /* SRC is being written to: what vanishes meanwhile is no error */
    bool resume;       /* go on with an interrupted clone of this upgrade and this boot: a file with
                          the right size and times is complete. Mixes two points in time unless SRC
                          has not changed since. false: it is removed and made anew */
    struct seen *seen; /* passes over a tree that lives: what this one leaves for the next, and what
                          tree_refresh() goes by. May be NULL */
    bool ahead;        /* not the last pass: SRC is being written to (as live_source), DST stays
                          "cloning". Written out to disk, since the last one is in a hurry */
    bool no_sync; /* leave the wait for the disk to tree_settle(): the source may be thawed first */
    size_t late;  /* with no_sync and `seen`: so much memory for small files that are only read, and
                     written by tree_settle() */
    uint64_t rate_limit;      /* bytes copied a second, 0: none */
    unsigned pressure;        /* per cent of the time in which something of this machine may stand
                                 still for its disk or for memory: above it the clone waits, nine
                                 tenths of the time at most. 0: whatever it does. ERR_UNSUPPORTED
                                 where the kernel does not tell */
    const char *pressure_dir; /* NULL: SYS_PRESSURE */
    uint64_t files_total, bytes_total; /* for the progress; 0: unknown */

    /* Whose DST becomes: it is marked {owner, "cloning"} before the first file and "ready" after
     * the last. NULL: no mark, and DST must be absent or empty. upgrade may not be "". */
    const struct sentinel *owner;
    bool keep_mark; /* it goes on saying "cloning": the caller takes it off when all is done */

    /* Both are called in the caller's thread, at most ten times a second. May be NULL. */
    void (*progress)(void *ctx, const struct tree_progress *p);
    bool (*cancel)(void *ctx); /* true: end soon, with ERR_INTERRUPTED */
    void *ctx;
};

struct tree_result {
    uint64_t files, dirs, links, symlinks, others; /* links: further names of a file */
    uint64_t sockets, excluded, vanished, reused, removed;
    uint64_t bytes;
    nsec_t took;
};

/* Makes DST ready to be cloned to, while SRC may still be written to: removes what an interrupted
 * clone left there, creates it, marks it "cloning", on disk. o->owner must be given. Pre and errors
 * as below. */
must_check int tree_begin(const char *src, const char *dst, const struct tree_options *o,
                          struct err *err);

/* Pre:   SRC is a directory (NULL: DST becomes an empty one); DST is absent (its parent exists),
 * empty, or marked as `owner`'s. Post:  DST holds SRC, is on disk (syncfs) and marked "ready"; with
 * no_sync: marked "copied"; with files in o->seen's memory: still "cloning". On -1: DST is absent,
 * as it was, or marked "cloning"; nothing else has changed. Again: after a crash, see `resume`. A
 * finished clone of the same upgrade (ready, or copied in this boot): ERR_EXISTS, untouched (an
 * instance may have run on it). Blocks: as long as it takes; cancel() ends it. Errors: ERR_FOREIGN
 * (DST is somebody's), ERR_UNSUPPORTED (reflink, or an attribute that DST cannot keep),
 * ERR_INTERRUPTED, ERR_FAILED (with errno in err->sys; ENOSPC says how much is missing). */
must_check int tree_clone(const char *src, const char *dst, const struct tree_options *o,
                          struct tree_result *ret, struct err *err);

/* Writes what the last pass of `seen` (may be NULL) has only read, puts the finished clone on disk
 * and marks it "ready". Already so: 0. ERR_FAILED: not finished, or copied in an earlier boot, so
 * that nobody knows what of it reached the disk: clone again. */
must_check int tree_settle(const char *dst, const struct sentinel *owner, struct seen *seen,
                           struct err *err);

/* A further pass: makes DST, which the passes behind o->seen have made, equal to SRC again: clones
 * what seen_unchanged() does not vouch for, removes what has vanished. o->owner must match DST's
 * mark if given; the mark says "cloning" meanwhile. Nobody may write to SRC unless o->ahead: then
 * what changes meanwhile is the next pass's, and so is a directory that vanishes. Failed or
 * cancelled: call it again. */
must_check int tree_refresh(const char *src, const char *dst, const struct tree_options *o,
                            struct tree_result *ret, struct err *err);

/* 0: files below SRC can be reflinked to DST (or to where DST will be). Tries it, with a file that
 * has no name. Else ERR_UNSUPPORTED with the reason. */
must_check int tree_can_reflink(const char *src, const char *dst, struct err *err);
