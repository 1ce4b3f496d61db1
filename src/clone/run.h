/* One run of the cloner: what walk.c (directories) and entry.c (what is in them) share. Private to
 * this folder. */
#pragma once

#include "base/str.h"
#include "clone/links.h"
#include "clone/pool.h"
#include "clone/tree.h"
#include "sys/tree.h"

#include <stdatomic.h>

#define RUN_BUFFER ((size_t)262144) /* copies through here stay in the processor's cache */
#define RUN_XATTRS ((size_t)65536)  /* the kernel's limit for a list, and for a value */

/* What one thread needs; made once, never shared. */
struct run_scratch {
    char *data;         /* RUN_BUFFER */
    char *keys, *value; /* RUN_XATTRS each */
    struct str path;    /* of the entry at hand, below the top */
    struct {
        uint64_t dir; /* run_dir's number; 0: none */
        mode_t asked; /* its mode */
        struct sys_node got;
    } made; /* the file made last: the next one like it gets the same owner and mode */
};

/* A directory being cloned. Its times are set when the last reference goes. */
struct run_dir {
    atomic_uint refs;
    uint64_t number; /* from 1 on */
    int src, dst;    /* descriptors */
    struct sys_node node;
    bool known;         /* the last pass was here, too: what it cloned is reused */
    bool look_for_gone; /* names may have vanished here */
    bool owed;          /* and one that did is left to the next pass */
    atomic_bool as_was; /* in DST, too: nothing was changed in it yet, and nothing need be set */
    atomic_bool unsure; /* something could not be done since others are at it: all anew next time */
    char path[];        /* below the top, "" for the top itself */
};

struct run {
    struct pool_ctx base; /* first */
    const struct tree_options *o;
    const char *src, *dst; /* for messages */
    int src_top, dst_top;
    uint64_t mount; /* the source's: nothing else is entered */
    bool existing;  /* DST may hold entries already: resume, refresh */
    bool refresh;   /* and those that differ from SRC are replaced: a pass after the first */
    bool live;      /* SRC changes under our hands */
    uint64_t files_total, bytes_total; /* 0: unknown */
    bool copy_range;                   /* the file system may share blocks, or copy by itself */
    uint64_t dst_magic;
    struct links *links;
    struct late *late;           /* small files need only be read; NULL: written, too */
    struct run_scratch *scratch; /* one a thread */
    unsigned threads;
    nsec_t began;
    struct {
        nsec_t at;        /* the last look */
        uint64_t stalled; /* what it said */
        unsigned waited;  /* looks in a row that found too much */
    } pressure;
    atomic_bool skipped;  /* files were not looked at: `bytes` is not of them all */
    atomic_bool crowded;  /* too much of it: the workers wait */
    atomic_llong waited;  /* by all of them, for a limit */
    atomic_ullong opened; /* directories */
    atomic_ullong files, dirs, linked, symlinks, others, sockets, excluded, vanished, reused,
        removed, bytes, moved; /* moved: of the bytes, what was not there already */
};

/* walk.c */
must_check int run_walk(struct run *r, struct err *err);

/* Before anything is changed in the clone's directory. */
void run_touch(struct run_dir *d);

/* entry.c. Below the top; good until the next call. */
const char *run_below(struct run_scratch *s, const struct run_dir *d, const char *name);

/* Clones one name that is no directory. `type` is a DT_ value. */
must_check int run_entry(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                         unsigned char type, struct err *err);

/* contents.c */
struct run_file {
    int src, dst;
    const char *path;
    struct sys_node node;
    bool over; /* what the last pass has cloned is there, and may be written over */
};

/* Fills dst, which is empty or shorter; what is longer there stays. */
must_check int run_contents(struct run *r, struct run_scratch *s, const struct run_file *f,
                            struct err *err);

/* In the last pass somebody waits: then the bytes of a small file, if they need not be read from a
 * disk, are quicker than its blocks. False: not done. */
bool run_copy_cached(struct run *r, struct run_scratch *s, const struct run_file *f);

/* Or they are only read now. False: not done. */
bool run_keep_late(struct run *r, struct run_scratch *s, const struct run_file *f);

/* A file that somebody wrote to while it was copied is of no one moment: -1. */
must_check int run_still_the_same(struct run *r, const struct run_file *f, struct err *err);

/* Waits while this machine is under more pressure than the clone may see. */
void run_make_way(struct run *r);

/* Gives a finished object the source's owner, attributes, mode and times, in the order in which
 * they do not spoil each other. `now`: what the clone's object has now. */
must_check int run_finish(struct run *r, struct run_scratch *s, int src_dir, const char *src_name,
                          int dst_dir, const char *dst_name, const struct sys_node *want,
                          const struct sys_node *now, const char *path, struct err *err);

/* The clone's error for errno: a full disk says how much is missing. */
int run_fail(struct run *r, const char *what, const char *path, struct err *err);
int run_gone(struct run *r, const char *path, struct err *err);

/* The same for what could not be done in the clone: fine if SRC is renamed about meanwhile. */
int run_entangled(struct run *r, struct run_dir *d, const char *what, const char *path,
                  struct err *err);

/* tree.c: DST, or the directory that will hold it; free() it. */
char *run_existing_part(const char *dst);
