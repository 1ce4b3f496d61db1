#include "clone/pool.h"

#include "sys/clock.h"
#include "sys/tree.h"

#include <pthread.h>
#include <stdatomic.h>

#define TICK (100 * NSEC_MS)
#define THREADS_MAX 64

struct pool {
    const struct pool_spec *spec;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct pool_job *head;
    atomic_size_t queued;
    atomic_uint waiting;
    unsigned busy;
    bool done;
    atomic_bool stop;
    bool failed;
    struct err err;
};

unsigned pool_threads(unsigned asked)
{
    unsigned cpus = sys_cpu_count();
    unsigned n = asked ? asked : (cpus > 8 ? 8 : cpus);
    return n > THREADS_MAX ? THREADS_MAX : n;
}

bool pool_stopping(const struct pool *p)
{
    return atomic_load_explicit(&p->stop, memory_order_relaxed);
}

bool pool_hungry(const struct pool *p)
{
    return atomic_load_explicit(&p->waiting, memory_order_relaxed) &&
           !atomic_load_explicit(&p->queued, memory_order_relaxed);
}

bool pool_push(struct pool *p, struct pool_job *job, size_t max)
{
    pthread_mutex_lock(&p->lock);
    bool room = p->queued < max && !pool_stopping(p);
    if (room) {
        job->next = p->head;
        p->head = job;
        p->queued++;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return room;
}

/* Called with the lock held. */
static void stop_all(struct pool *p)
{
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->work);
    pthread_cond_broadcast(&p->idle);
}

static void note_failure(struct pool *p, const struct err *err)
{
    pthread_mutex_lock(&p->lock);
    if (!p->failed)
        p->err = *err;
    p->failed = true;
    stop_all(p);
    pthread_mutex_unlock(&p->lock);
}

static struct pool_job *next_job(struct pool *p)
{
    atomic_fetch_add(&p->waiting, 1);
    while (!p->head && p->busy && !pool_stopping(p))
        pthread_cond_wait(&p->work, &p->lock);
    atomic_fetch_sub(&p->waiting, 1);
    struct pool_job *job = pool_stopping(p) ? NULL : p->head;
    if (!job)
        return NULL;
    p->head = job->next;
    p->queued--;
    p->busy++;
    return job;
}

static void worker(void *arg, unsigned i)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    struct pool_job *job;
    while ((job = next_job(p))) {
        pthread_mutex_unlock(&p->lock);
        struct err err = {0};
        if (p->spec->run(p->spec->ctx, i, job, &err) < 0)
            note_failure(p, &err);
        pthread_mutex_lock(&p->lock);
        p->busy--;
    }
    p->done = true;
    pthread_cond_broadcast(&p->work);
    pthread_cond_broadcast(&p->idle);
    pthread_mutex_unlock(&p->lock);
}

static void watch(void *arg)
{
    struct pool *p = arg;
    nsec_t end = p->spec->budget ? sys_clock_mono() + p->spec->budget : 0;
    pthread_mutex_lock(&p->lock);
    while (!p->done && !pool_stopping(p)) {
        nsec_t until = sys_clock_mono() + TICK;
        if (end && end < until)
            until = end;
        struct timespec at = {.tv_sec = until / NSEC_S, .tv_nsec = until % NSEC_S};
        pthread_cond_timedwait(&p->idle, &p->lock, &at);
        if (p->done)
            break;
        pthread_mutex_unlock(&p->lock);
        bool cancel = p->spec->tick && p->spec->tick(p->spec->ctx, false);
        if (cancel) {
            struct err err = {0};
            err_set(&err, ERR_INTERRUPTED, "interrupted");
            note_failure(p, &err);
        }
        pthread_mutex_lock(&p->lock);
        if (end && sys_clock_mono() >= end)
            stop_all(p);
    }
    pthread_mutex_unlock(&p->lock);
}

int pool_run(const struct pool_spec *spec, struct pool_job *first, struct err *err)
{
    struct pool p = {.spec = spec};
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.work, NULL);
    pthread_cond_init(&p.idle, &mono);
    pthread_condattr_destroy(&mono);
    ((struct pool_ctx *)spec->ctx)->pool = &p;
    first->next = NULL;
    p.head = first;
    p.queued = 1;
    int r = sys_threads_run(pool_threads(spec->threads), worker, watch, &p);
    if (r < 0)
        err_sys(err, ERR_FAILED, "start worker threads");
    while (p.head) {
        struct pool_job *job = p.head;
        p.head = job->next;
        spec->drop(spec->ctx, job);
    }
    if (p.failed) {
        if (err)
            *err = p.err;
        r = -1;
    }
    if (spec->tick)
        (void)spec->tick(spec->ctx, true);
    ((struct pool_ctx *)spec->ctx)->pool = NULL;
    pthread_cond_destroy(&p.work);
    pthread_cond_destroy(&p.idle);
    pthread_mutex_destroy(&p.lock);
    return r;
}
