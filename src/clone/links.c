#include "clone/links.h"

#include "base/str.h"

#include <pthread.h>

#define BUCKETS ((size_t)16384)

struct link_entry {
    struct link_entry *next;
    uint64_t dev, ino;
    uint32_t left; /* names of it that are still to come: at 0 it is forgotten */
    char *path;    /* NULL: somebody is at it */
};

struct links {
    pthread_mutex_t lock;
    pthread_cond_t settled;
    struct link_entry *bucket[BUCKETS];
};

struct links *links_new(void)
{
    struct links *l = x_alloc(sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->settled, NULL);
    return l;
}

static void entry_free(struct link_entry *e)
{
    free(e->path);
    free(e);
}

void links_free(struct links *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (l->bucket[i]) {
            struct link_entry *e = l->bucket[i];
            l->bucket[i] = e->next;
            entry_free(e);
        }
    }
    pthread_cond_destroy(&l->settled);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static struct link_entry **find(struct links *l, const struct sys_node *file)
{
    uint64_t h = (file->ino ^ (file->dev << 32)) * UINT64_C(0x9e3779b97f4a7c15);
    struct link_entry **at = &l->bucket[(h >> 32) % BUCKETS];
    while (*at && ((*at)->ino != file->ino || (*at)->dev != file->dev))
        at = &(*at)->next;
    return at;
}

char *links_claim(struct links *l, const struct sys_node *file)
{
    pthread_mutex_lock(&l->lock);
    struct link_entry **at = find(l, file);
    while (*at && !(*at)->path) {
        pthread_cond_wait(&l->settled, &l->lock);
        at = find(l, file);
    }
    char *path = NULL;
    struct link_entry *e = *at;
    if (e) {
        path = x_strdup(e->path);
        if (e->left-- <= 1) {
            *at = e->next;
            entry_free(e);
        }
    } else {
        e = x_alloc(sizeof(*e));
        *e = (struct link_entry){.dev = file->dev, .ino = file->ino, .left = file->nlink - 1};
        *at = e;
    }
    pthread_mutex_unlock(&l->lock);
    return path;
}

void links_settle(struct links *l, const struct sys_node *file, const char *path)
{
    pthread_mutex_lock(&l->lock);
    struct link_entry **at = find(l, file);
    struct link_entry *e = *at;
    if (e && path) {
        e->path = x_strdup(path);
    } else if (e) {
        *at = e->next;
        entry_free(e);
    }
    pthread_cond_broadcast(&l->settled);
    pthread_mutex_unlock(&l->lock);
}
