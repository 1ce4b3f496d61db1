/* Changes that move no time: on tmpfs and its like a store through a mapping leaves size and ctime
 * as they were. Watches such file systems while passes are made, so that each file that was let go
 * of between two looks at what is held is cloned anew.
 *
 * Where nobody may watch (it takes root), each pass clones such a volume as if it were the first:
 * what cannot be seen is not trusted. */
#pragma once

#include "clone/seen.h"
#include "engine/engine.h"

struct unseen;
struct unseen *unseen_new(void);
void unseen_free(struct unseen *u);

/* Before the first look at what is held. Says it if it cannot watch. `seen` must outlive u. */
void unseen_add(struct unseen *u, const struct spec_volume *src, struct seen *seen,
                const struct sink *sink);

/* Tells each `seen` what it must not take for unchanged. Right before a pass, and now and then
 * while one is made, in the thread that makes them. */
void unseen_take(struct unseen *u, bool before_a_pass);
