/* What a look at sizes and times does not show, or shows late.
 *
 * On tmpfs and its like a store through a mapping leaves size and ctime as they were: each file
 * that was let go of between two looks at what is held is cloned anew. Where nobody may watch for
 * that (it takes root), each pass clones such a volume as if it were the first: what cannot be seen
 * is not trusted.
 *
 * On XFS and ext4, where each pass could look at every file, all changes are watched for once the
 * first pass is over, so that the one in the pause need not: it is as long as what changed, however
 * many files there are. Where nobody may watch, it looks at all of them. */
#pragma once

#include "clone/seen.h"
#include "engine/engine.h"

struct unseen;
struct unseen *unseen_new(void);
void unseen_free(struct unseen *u);

/* Before the first look at what is held. Says it if it cannot watch what it must. `seen` must
 * outlive u. */
void unseen_add(struct unseen *u, const struct spec_volume *src, struct seen *seen,
                const struct sink *sink);

/* Before the second pass: from here on changes are told. */
void unseen_follow(struct unseen *u);

/* Whether they are: then whoever holds a file open, of whichever process, must be looked at before
 * the last pass, since what he does to it may not be told until he closes it. */
bool unseen_follows(const struct unseen *u);

/* Tells each `seen` what it must not take for unchanged. Right before a pass, and now and then
 * while one is made, in the thread that makes them. */
void unseen_take(struct unseen *u, bool before_a_pass);
