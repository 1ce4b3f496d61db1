#include "clone/seen.h"

#include "base/str.h"
#include "sys/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define TICKS (20 * NSEC_MS) /* two of the slowest coarse clock (HZ=100) */
#define NO_INODE UINT64_MAX

/* A set of 64-bit keys, each with a value: open addressing, half full at most. */
struct slot {
    uint64_t key; /* 0: free */
    uint64_t ino;
    bool owed;
};

struct map {
    struct slot *slots;
    size_t n, room; /* room: a power of two */
};

static void map_done(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

static struct slot *map_at(const struct map *m, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15)) & (m->room - 1);
    while (m->slots[i].key && m->slots[i].key != key)
        i = (i + 1) & (m->room - 1);
    return &m->slots[i];
}

static const struct slot *map_find(const struct map *m, uint64_t key)
{
    const struct slot *s = m->n ? map_at(m, key ? key : 1) : NULL;
    return s && s->key ? s : NULL;
}

/* The slot of key, made if need be. */
static struct slot *map_add(struct map *m, uint64_t key, bool *ret_new)
{
    key = key ? key : 1;
    if (2 * (m->n + 1) > m->room) {
        struct map more = {.n = m->n, .room = m->room ? 2 * m->room : 64};
        more.slots = x_alloc(more.room * sizeof(*more.slots));
        memset(more.slots, 0, more.room * sizeof(*more.slots));
        for (size_t i = 0; i < m->room; i++)
            if (m->slots[i].key)
                *map_at(&more, m->slots[i].key) = m->slots[i];
        free(m->slots);
        *m = more;
    }
    struct slot *s = map_at(m, key);
    *ret_new = !s->key;
    m->n += !s->key;
    s->key = key;
    return s;
}

/* What a pass takes for unchanged: older than `since`, and held by nobody. */
struct horizon {
    nsec_t since; /* wall clock; 0: nothing is */
    nsec_t mono;  /* the same moment */
    bool told;    /* of all that changes since is in `held` */
    struct map held;
};

struct seen {
    struct horizon last; /* the pass at hand, or the one just done, compared with this */
    struct horizon next; /* what the next one will compare with */
    struct horizon now;  /* begun with the pass at hand */
    struct map let_go;   /* told of since the pass at hand began: for the next one */
    bool forget, told, lost;
    struct map dirs, dirs_now;
    pthread_mutex_t lock; /* dirs_now, let_go */
    unsigned passes;
    nsec_t took, worked;
    uint64_t bytes;
    struct late *late;
};

struct seen *seen_new(void)
{
    struct seen *s = x_alloc(sizeof(*s));
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void seen_free(struct seen *s)
{
    if (!s)
        return;
    map_done(&s->last.held);
    map_done(&s->next.held);
    map_done(&s->now.held);
    map_done(&s->let_go);
    map_done(&s->dirs);
    map_done(&s->dirs_now);
    late_free(s->late);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void hold_in(struct horizon *h, uint64_t ino)
{
    bool is_new;
    (void)map_add(&h->held, ino, &is_new);
}

void seen_hold(struct seen *s, uint64_t ino)
{
    hold_in(&s->next, ino);
    hold_in(&s->now, ino);
}

void seen_let_go(struct seen *s, uint64_t ino)
{
    bool is_new;
    pthread_mutex_lock(&s->lock);
    (void)map_add(&s->let_go, ino, &is_new);
    pthread_mutex_unlock(&s->lock);
}

void seen_forget(struct seen *s)
{
    s->forget = true;
}

void seen_told(struct seen *s)
{
    s->told = true;
}

void seen_told_lost(struct seen *s)
{
    s->lost = true;
}

struct late *seen_late(struct seen *s, size_t bytes)
{
    if (!s->late && bytes)
        s->late = late_new(bytes);
    return s->late;
}

unsigned seen_passes(const struct seen *s)
{
    return s->passes;
}

nsec_t seen_took(const struct seen *s)
{
    return s->took;
}

nsec_t seen_worked(const struct seen *s)
{
    return s->worked;
}

uint64_t seen_bytes(const struct seen *s)
{
    return s->bytes;
}

void seen_begin(struct seen *s)
{
    s->now.since = sys_clock_wall();
    s->now.mono = sys_clock_mono();
    nsec_t back = s->next.since ? (s->now.mono - s->next.mono) - (s->now.since - s->next.since) : 0;
    if (back > 0) { /* somebody set the clock back: so are the ctimes since then */
        s->next.since -= back;
        s->next.mono -= back;
    }
    for (size_t i = 0; i < s->let_go.room; i++)
        if (s->let_go.slots[i].key)
            hold_in(&s->next, s->let_go.slots[i].key);
    map_done(&s->let_go);
    if (s->forget)
        s->next.since = 0;
    s->next.told &= !s->lost;
    s->now.told = s->told;
    s->forget = s->lost = false;
    map_done(&s->dirs_now);
}

void seen_end(struct seen *s, bool whole, nsec_t took, nsec_t worked, uint64_t bytes)
{
    map_done(whole ? &s->dirs : &s->dirs_now);
    if (!whole)
        return; /* next goes on to hold all that was held since the last whole pass */
    s->dirs = s->dirs_now;
    s->dirs_now = (struct map){0};
    map_done(&s->last.held);
    s->last = s->next;
    s->next = s->now;
    s->now = (struct horizon){0};
    s->passes++;
    s->took = took;
    s->worked = worked;
    s->bytes = bytes;
}

static bool before(const struct horizon *h, const struct sys_node *file)
{
    return h->since && sys_stamp_before(file->ctime, h->since - TICKS) &&
           !map_find(&h->held, file->ino);
}

bool seen_unchanged(const struct seen *s, const struct sys_node *file)
{
    return before(&s->next, file);
}

bool seen_not_told(const struct seen *s, uint64_t ino)
{
    return s->next.since && s->next.told && !map_find(&s->next.held, ino);
}

bool seen_renewed(const struct seen *s, const struct sys_node *file)
{
    return !before(&s->last, file);
}

bool seen_dir_known(const struct seen *s, const char *path, uint64_t ino, bool *ret_owed)
{
    const struct slot *d = map_find(&s->dirs, XXH3_64bits(path, strlen(path)));
    *ret_owed = d && d->owed;
    return d && d->ino == ino && ino != NO_INODE;
}

void seen_dir_note(struct seen *s, const char *path, uint64_t ino, bool owed)
{
    bool is_new;
    pthread_mutex_lock(&s->lock);
    struct slot *d = map_add(&s->dirs_now, XXH3_64bits(path, strlen(path)), &is_new);
    d->ino = is_new ? ino : NO_INODE; /* two were there in one pass: neither is to be trusted */
    d->owed = owed;
    pthread_mutex_unlock(&s->lock);
}
