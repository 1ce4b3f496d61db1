#include "engine/unseen.h"

#include "sys/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct place {
    const char *path;
    enum sys_watch_kind kind;
    struct sys_watch *watch; /* NULL: nobody may, or not yet */
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
        sys_watch_close(u->v[i].watch);
    if (u)
        free(u->v);
    free(u);
}

void unseen_add(struct unseen *u, const struct spec_volume *src, struct seen *seen,
                const struct sink *sink)
{
    bool needed = sys_watch_needed(src->path);
    struct place p = {
        .path = src->path, .kind = needed ? SYS_WATCH_LET_GO : SYS_WATCH_CHANGES, .seen = seen};
    if (needed)
        p.watch = sys_watch_open(p.path, p.kind);
    if (needed && !p.watch)
        event_warn(sink,
                   "volume %s: '%s' is in memory, where a store through a mapping moves no time, "
                   "and what is let go of cannot be watched here (%s): each pass, the one in the "
                   "pause too, copies all of it; as root it would not",
                   src->name, src->path, strerror(errno));
    u->v = x_realloc(u->v, u->n + 1, sizeof(*u->v));
    u->v[u->n++] = p;
}

void unseen_follow(struct unseen *u)
{
    for (size_t i = 0; u && i < u->n; i++) {
        struct place *p = &u->v[i];
        if (p->kind != SYS_WATCH_CHANGES || p->watch)
            continue;
        p->watch = sys_watch_open(p->path, p->kind);
        if (p->watch)
            seen_told(p->seen);
    }
}

bool unseen_follows(const struct unseen *u)
{
    bool any = false;
    for (size_t i = 0; u && i < u->n; i++)
        any |= u->v[i].kind == SYS_WATCH_CHANGES && u->v[i].watch;
    return any;
}

static void let_go(void *ctx, uint64_t ino)
{
    seen_let_go(ctx, ino);
}

void unseen_take(struct unseen *u, bool before_a_pass)
{
    for (size_t i = 0; u && i < u->n; i++) {
        struct place *p = &u->v[i];
        bool missed = p->watch && sys_watch_read(p->watch, let_go, p->seen) < 0;
        if (p->kind == SYS_WATCH_CHANGES && missed)
            seen_told_lost(p->seen);
        if (p->kind == SYS_WATCH_LET_GO && (missed || (!p->watch && before_a_pass)))
            seen_forget(p->seen);
    }
}
