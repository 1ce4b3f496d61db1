#include "clone/measure.h"

#include "base/str.h"
#include "clone/run.h"
#include "clone/scan.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define SMALL ((uint64_t)65536)
#define SAMPLE_SMALL ((size_t)1024)
#define SAMPLE_LARGE ((size_t)128)
#define PART ((uint64_t)16 << 20) /* of a large file that is copied as a sample */

/* Each file of its class has the same chance to be in it (a reservoir). */
struct sample {
    uint64_t seen;
    size_t n, room;
    char *path[SAMPLE_SMALL];
};

struct measuring {
    const struct tree_options *o;
    pthread_mutex_t lock;
    struct tree_size size;
    struct sample *small, *large; /* NULL: no samples wanted */
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void sample_offer(struct sample *s, const char *path)
{
    if (!s)
        return;
    uint64_t i = s->seen++;
    if (s->n < s->room) {
        s->path[s->n++] = x_strdup(path);
        return;
    }
    i = mix(i + 1) % (i + 1);
    if (i >= s->room)
        return;
    free(s->path[i]);
    s->path[i] = x_strdup(path);
}

static void sample_done(struct sample *s)
{
    for (size_t i = 0; s && i < s->n; i++)
        free(s->path[i]);
    free(s);
}

static int measure_entry(void *ctx, unsigned worker, const struct scan_entry *e, struct err *err)
{
    (void)worker;
    (void)err;
    struct measuring *m = ctx;
    struct tree_size *t = &m->size;
    const struct sys_node *n = &e->node;
    uint64_t data = (n->allocated < n->size ? n->allocated : n->size) / (n->nlink ? n->nlink : 1);
    pthread_mutex_lock(&m->lock);
    if (S_ISREG(n->mode)) {
        bool small = data <= SMALL;
        t->files++;
        t->apparent += n->size / (n->nlink ? n->nlink : 1);
        t->data += data;
        t->blocks += (data + 4095) / 4096 * 4096;
        *(small ? &t->small : &t->large) += 1;
        *(small ? &t->small_data : &t->large_data) += data;
        sample_offer(small ? m->small : m->large, e->path);
    } else if (S_ISDIR(n->mode)) {
        t->dirs++;
    } else {
        t->others++;
    }
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static bool cancel_measure(void *ctx)
{
    const struct tree_options *o = ((struct measuring *)ctx)->o;
    return o->cancel && o->cancel(o->ctx);
}

static int measure(int top, const char *src, struct measuring *m, struct err *err)
{
    struct scan s = {
        .name = src,
        .top = top,
        .exclude = m->o->exclude,
        .threads = m->o->threads,
        .cancel = cancel_measure,
        .entry = measure_entry,
        .ctx = m,
    };
    pthread_mutex_init(&m->lock, NULL);
    nsec_t began = sys_clock_mono();
    int ok = scan_run(&s, err);
    m->size.took = sys_clock_mono() - began;
    pthread_mutex_destroy(&m->lock);
    return ok;
}

static int open_top(const char *src, struct err *err)
{
    int fd = sys_tree_top(src, true);
    if (fd < 0)
        err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "open '%s'", src);
    return fd;
}

int tree_measure(const char *src, const struct tree_options *o, struct tree_size *ret,
                 struct err *err)
{
    cleanup_fd int top = open_top(src, err);
    struct measuring m = {.o = o};
    if (top < 0 || measure(top, src, &m, err) < 0)
        return -1;
    *ret = m.size;
    return 0;
}

/* ---- the estimate ---- */

struct trial {
    const struct sample *sample;
    const struct tree_options *o;
    const char *where;
    int top;
    nsec_t end;
    atomic_size_t next;
    atomic_ullong files, bytes;
    atomic_int unsupported; /* errno */
};

static int open_sample(const struct trial *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *above = x_strndup(path, slash ? (size_t)(slash - path) : 0);
    cleanup_fd int dir = sys_tree_beneath(t->top, above);
    return dir < 0 ? -1 : sys_tree_open(dir, slash ? slash + 1 : path, O_RDONLY | O_NONBLOCK, 0);
}

static bool copy_part(struct trial *t, int to, int from, uint64_t size, char *buf)
{
    uint64_t off = 0;
    while (off < size && off < PART && sys_clock_mono() < t->end) {
        ssize_t n = sys_file_pread(from, buf, RUN_BUFFER, off);
        if (n <= 0 || sys_file_pwrite(to, buf, (size_t)n, off) < 0)
            return n == 0;
        off += (uint64_t)n;
        atomic_fetch_add(&t->bytes, (uint64_t)n);
    }
    return true;
}

/* False: nothing more can be learned. */
static bool try_one(struct trial *t, const char *path, char *buf)
{
    cleanup_fd int from = open_sample(t, path);
    struct sys_node node;
    if (from < 0 || sys_node_at(from, "", &node) < 0)
        return true;
    cleanup_fd int to = sys_file_unnamed(t->where);
    if (to < 0)
        return false;
    bool ok = true;
    if (t->o->mode == TREE_COPY) {
        ok = copy_part(t, to, from, node.size, buf);
    } else if (node.size && sys_file_reflink(to, from) < 0) {
        atomic_store(&t->unsupported, errno);
        ok = false;
    }
    (void)sys_tree_set_mode(to, "", node.mode & 07777);
    (void)sys_tree_set_times(to, "", node.atime, node.mtime);
    if (ok)
        atomic_fetch_add(&t->files, 1);
    return ok;
}

static void try_some(void *ctx, unsigned worker)
{
    (void)worker;
    struct trial *t = ctx;
    cleanup_free char *buf = x_alloc(RUN_BUFFER);
    while (sys_clock_mono() < t->end) {
        size_t i = atomic_fetch_add(&t->next, 1);
        if (i >= t->sample->n || !try_one(t, t->sample->path[i], buf))
            return;
    }
}

/* Nanoseconds for all of `total` files with `data` bytes; -1: unknown. */
static double extrapolate(struct trial *t, nsec_t budget, uint64_t total, uint64_t data,
                          bool by_bytes)
{
    nsec_t began = sys_clock_mono();
    t->end = began + budget;
    if (t->sample->n == 0)
        return 0;
    unsigned n = pool_threads(t->o->threads);
    if (sys_threads_run(n, try_some, NULL, t) < 0)
        return -1;
    double took = (double)(sys_clock_mono() - began);
    uint64_t files = atomic_load(&t->files), bytes = atomic_load(&t->bytes);
    if (files == 0 || (by_bytes && bytes == 0))
        return -1;
    return by_bytes ? took * (double)data / (double)bytes : took * (double)total / (double)files;
}

static int estimate(int top, const char *src, const char *dst, const struct measuring *m,
                    nsec_t budget, nsec_t *ret, struct err *err)
{
    cleanup_free char *where = run_existing_part(dst);
    struct trial small = {.sample = m->small, .o = m->o, .where = where, .top = top};
    struct trial large = {.sample = m->large, .o = m->o, .where = where, .top = top};
    const struct tree_size *z = &m->size;
    double a =
        extrapolate(&small, budget / 2, z->small + z->dirs + z->others, z->small_data, false);
    double b = extrapolate(&large, budget / 2, z->large, z->large_data, m->o->mode == TREE_COPY);
    errno = atomic_load(&small.unsupported) ? atomic_load(&small.unsupported)
                                            : atomic_load(&large.unsupported);
    if (errno)
        return err_sys(err, ERR_UNSUPPORTED, "reflink a file of '%s' to '%s'", src, where);
    *ret = a < 0 || b < 0 ? -1 : (nsec_t)((a + b) * 1.2);
    return 0;
}

int tree_estimate(const char *src, const char *dst, const struct tree_options *o, nsec_t budget,
                  struct tree_size *ret, nsec_t *ret_time, struct err *err)
{
    cleanup_fd int top = open_top(src, err);
    if (top < 0)
        return -1;
    struct measuring m = {.o = o};
    m.small = x_alloc(sizeof(*m.small));
    m.large = x_alloc(sizeof(*m.large));
    m.small->room = SAMPLE_SMALL;
    m.large->room = SAMPLE_LARGE;
    int ok = measure(top, src, &m, err);
    if (ok == 0)
        ok = estimate(top, src, dst, &m, budget, ret_time, err);
    if (ok == 0)
        *ret = m.size;
    sample_done(m.small);
    sample_done(m.large);
    return ok;
}

/* ---- verify ---- */

struct verifying {
    const struct tree_options *o;
    const char *dst;
    int dst_top;
    struct scan *scan;
    struct verifier *each; /* one a thread */
    atomic_ullong high, low, files, bytes;
    nsec_t began;
};

struct verifier {
    char *a, *b; /* RUN_BUFFER each */
    XXH3_state_t *of_a, *of_b;
};

static int differs(const struct verifying *v, const struct scan_entry *e, struct err *err)
{
    err_set(err, ERR_FAILED, "verify '%s': '%s' differs from its source", v->dst, e->path);
    return err_hint(
        err, "remove the clone and make it again; if it differs again, mistrust memory or disk");
}

/* While others write to it nobody can tell whose fault it is: the next pass clones it anew, and
 * looks again. */
static int differs_now(const struct verifying *v, const struct scan_entry *e, struct err *err)
{
    if (!v->o->ahead)
        return differs(v, e, err);
    seen_let_go(v->o->seen, e->node.ino);
    return 0;
}

/* Whether it may rightly be missing: somebody has written to it since it was cloned, or renamed a
 * directory above it. */
static bool moves(const struct verifying *v, const struct scan_entry *e)
{
    struct sys_node now, dir;
    bool owed;
    const char *slash = strrchr(e->path, '/');
    cleanup_free char *above = x_strndup(e->path, slash ? (size_t)(slash - e->path) : 0);
    return v->o->ahead && (sys_node_at(e->dir, e->name, &now) < 0 ||
                           !seen_unchanged(v->o->seen, &now) || sys_node_at(e->dir, "", &dir) < 0 ||
                           !seen_dir_known(v->o->seen, above, dir.ino, &owed));
}

static int verify_contents(struct verifying *v, const struct verifier *with,
                           const struct scan_entry *e, int a, int b, struct err *err)
{
    XXH3_128bits_reset(with->of_a);
    XXH3_128bits_reset(with->of_b);
    XXH3_128bits_update(with->of_a, e->path, strlen(e->path) + 1);
    XXH3_128bits_update(with->of_b, e->path, strlen(e->path) + 1);
    for (uint64_t off = 0; !pool_stopping(v->scan->base.pool);) {
        ssize_t n = sys_file_pread(a, with->a, RUN_BUFFER, off);
        ssize_t m = n < 0 ? -1 : sys_file_pread(b, with->b, RUN_BUFFER, off);
        if (n < 0 || m < 0)
            return err_sys(err, ERR_FAILED, "verify '%s': read '%s'", v->dst, e->path);
        if (n != m || memcmp(with->a, with->b, (size_t)n) != 0)
            return differs_now(v, e, err);
        if (n == 0)
            break;
        XXH3_128bits_update(with->of_a, with->a, (size_t)n);
        XXH3_128bits_update(with->of_b, with->b, (size_t)n);
        off += (uint64_t)n;
        atomic_fetch_add_explicit(&v->bytes, (uint64_t)n, memory_order_relaxed);
    }
    XXH128_hash_t x = XXH3_128bits_digest(with->of_a), y = XXH3_128bits_digest(with->of_b);
    if (!XXH128_isEqual(x, y))
        return differs_now(v, e, err);
    atomic_fetch_add(&v->high, x.high64);
    atomic_fetch_add(&v->low, x.low64);
    atomic_fetch_add(&v->files, 1);
    return 0;
}

static int verify_entry(void *ctx, unsigned worker, const struct scan_entry *e, struct err *err)
{
    struct verifying *v = ctx;
    bool cloned = !v->o->seen || seen_renewed(v->o->seen, &e->node);
    if (!S_ISREG(e->node.mode) || !cloned)
        return 0;
    const char *slash = strrchr(e->path, '/');
    cleanup_free char *above = x_strndup(e->path, slash ? (size_t)(slash - e->path) : 0);
    cleanup_fd int dir = sys_tree_beneath(v->dst_top, above);
    cleanup_fd int a = sys_tree_open(e->dir, e->name, O_RDONLY | O_NONBLOCK, 0);
    cleanup_fd int b = dir < 0 ? -1 : sys_tree_open(dir, e->name, O_RDONLY | O_NONBLOCK, 0);
    int saved = errno;
    if ((a < 0 || b < 0) && moves(v, e))
        return 0;
    errno = saved;
    if (a < 0 || b < 0)
        return err_sys(err, ERR_FAILED, "verify '%s': open '%s'", v->dst, e->path);
    if (!v->o->no_sync && !v->o->ahead)
        sys_file_forget(b);
    return verify_contents(v, &v->each[worker], e, a, b, err);
}

static bool cancel_verify(void *ctx)
{
    const struct verifying *v = ctx;
    const struct tree_options *o = v->o;
    struct tree_progress p = {
        .files_done = atomic_load(&v->files),
        .files_total = o->files_total,
        .bytes_done = atomic_load(&v->bytes),
        .bytes_total = o->bytes_total,
        .took = sys_clock_mono() - v->began,
        .left = -1,
    };
    if (p.took > 0) {
        p.files_rate = (double)p.files_done / (double)p.took * 1e9;
        p.bytes_rate = (double)p.bytes_done / (double)p.took * 1e9;
    }
    if (p.bytes_total > p.bytes_done && p.bytes_rate > 0)
        p.left = (nsec_t)((double)(p.bytes_total - p.bytes_done) / p.bytes_rate * 1e9);
    if (o->progress)
        o->progress(o->ctx, &p);
    return o->cancel && o->cancel(o->ctx);
}

static struct verifier *verifiers_new(unsigned n)
{
    struct verifier *v = x_alloc(n * sizeof(*v));
    for (unsigned i = 0; i < n; i++)
        v[i] = (struct verifier){.a = x_alloc(RUN_BUFFER),
                                 .b = x_alloc(RUN_BUFFER),
                                 .of_a = XXH3_createState(),
                                 .of_b = XXH3_createState()};
    return v;
}

static void verifiers_free(struct verifier *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        free(v[i].a);
        free(v[i].b);
        XXH3_freeState(v[i].of_a);
        XXH3_freeState(v[i].of_b);
    }
    free(v);
}

int tree_verify(const char *src, const char *dst, const struct tree_options *o,
                struct tree_digest *ret, struct err *err)
{
    cleanup_fd int top = open_top(src, err);
    cleanup_fd int dst_top = top < 0 ? -1 : open_top(dst, err);
    if (dst_top < 0)
        return -1;
    unsigned threads = pool_threads(o->threads);
    struct verifying v = {.o = o,
                          .dst = dst,
                          .dst_top = dst_top,
                          .each = verifiers_new(threads),
                          .began = sys_clock_mono()};
    struct scan s = {
        .name = src,
        .top = top,
        .exclude = o->exclude,
        .threads = threads,
        .cancel = cancel_verify,
        .entry = verify_entry,
        .ctx = &v,
    };
    v.scan = &s;
    int ok = scan_run(&s, err);
    verifiers_free(v.each, threads);
    if (ok == 0 && ret)
        *ret = (struct tree_digest){.high = atomic_load(&v.high), .low = atomic_load(&v.low)};
    return ok;
}
