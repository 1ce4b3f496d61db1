#include "engine/unseen.h"

#include "sys/file.h"
#include "sys/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct place {
    int watch; /* -1: nobody may */
    struct seen *seen;
};

struct unseen {
    size_t n;
    struct place *v;
};

struct unseen *unseen_new(void)
{
    return x_alloc(sizeof(struct unseen));
}

void unseen_free(struct unseen *u)
{
    for (size_t i = 0; u && i < u->n; i++)
        sys_close_p(&u->v[i].watch);
    if (u)
        free(u->v);
    free(u);
}

void unseen_add(struct unseen *u, const struct spec_volume *src, struct seen *seen,
                const struct sink *sink)
{
    if (!sys_watch_needed(src->path))
        return;
    struct place p = {.watch = sys_watch_open(src->path), .seen = seen};
    if (p.watch < 0)
        event_warn(sink,
                   "volume %s: '%s' is in memory, where a store through a mapping moves no time, "
                   "and what is let go of cannot be watched here (%s): each pass, the one in the "
                   "pause too, copies all of it; as root it would not",
                   src->name, src->path, strerror(errno));
    u->v = x_realloc(u->v, u->n + 1, sizeof(*u->v));
    u->v[u->n++] = p;
}

static void let_go(void *ctx, uint64_t ino)
{
    seen_let_go(ctx, ino);
}

void unseen_take(struct unseen *u, bool before_a_pass)
{
    for (size_t i = 0; u && i < u->n; i++) {
        struct place *p = &u->v[i];
        bool blind = p->watch < 0 ? before_a_pass : sys_watch_read(p->watch, let_go, p->seen) < 0;
        if (blind)
            seen_forget(p->seen);
    }
}
