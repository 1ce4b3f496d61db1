/* A parallel look at every entry of a tree, changing nothing. Never leaves the mount. */
#pragma once

#include "base/err.h"
#include "clone/pool.h"
#include "sys/tree.h"

struct scan_entry {
    int dir; /* it is in */
    const char *name;
    const char *path; /* below the top */
    struct sys_node node;
};

struct scan {
    struct pool_ctx base; /* first; the pool's */
    const char *name;     /* of the top, for messages */
    int top;
    const char *const *exclude; /* as tree_options.exclude */
    unsigned threads;
    bool (*cancel)(void *ctx); /* in the caller's thread; may be NULL */
    /* Any thread; `worker` is below pool_threads(threads). -1 ends the scan. */
    int (*entry)(void *ctx, unsigned worker, const struct scan_entry *e, struct err *err);
    void *ctx;
};

/* Calls entry() for the top ("" as name and path) and for everything below it, the mark excepted.
 * What vanishes meanwhile is left out. */
must_check int scan_run(struct scan *s, struct err *err);

bool scan_excluded(const char *const *exclude, const char *path);
