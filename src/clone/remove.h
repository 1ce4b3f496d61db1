/* Removes a tree that is ours. */
#pragma once

#include "clone/sentinel.h"

#include <stdint.h>

struct tree_remove_options {
    unsigned threads;
    bool keep_top; /* leave the (empty, unmarked) directory; a mount point is left anyhow */
    void (*progress)(void *ctx, uint64_t removed);
    bool (*cancel)(void *ctx);
    void *ctx;
};

/* Pre:   PATH carries a mark that matches `want` (service and colour at least), else ERR_FOREIGN
 * and nothing is touched; absent: 0. Post:  PATH is absent, or an empty directory. Never crosses a
 * mount (one inside: ERR_FAILED naming it, before anything is removed) and never follows a link.
 * Again: the mark goes last, so an interrupted removal can be called again. `o` may be NULL. */
must_check int tree_remove(const char *path, const struct sentinel *want,
                           const struct tree_remove_options *o, struct err *err);

/* The same without the marks' protection, for what the caller itself has just vouched for: empties
 * the directory behind `top_fd` except for the mark. `name` is for messages. */
must_check int tree_empty(int top_fd, const char *name, const struct tree_remove_options *o,
                          struct err *err);

/* unlinkat(2) inside a tree that is ours to remove from: takes off what chattr(1) has put on it, or
 * on the directory that it is in, if that is in the way. -1 with errno. */
must_check int tree_unlink(int dir, const char *name, bool is_dir);
