/* The directories of a clone: each is a job, and a large one is split into batches of names, so
 * that a million files in one directory keep every thread busy. */
#include "clone/remove.h"
#include "clone/run.h"
#include "clone/scan.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/pressure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BATCH ((size_t)64)
#define BATCH_BYTES ((size_t)8192)
#define JOBS_MAX ((size_t)16384)
#define PRESSURE_LOOK (300 * NSEC_MS)

struct names {
    size_t n, used;
    char text[BATCH_BYTES]; /* type, name, NUL; again */
};

struct job {
    struct pool_job base;
    char *path;          /* a directory to clone, or */
    struct run_dir *dir; /* names in one */
    struct names *names;
};

/* Default ACLs would be inherited by everything made below; the source's are set at the end. So are
 * the flags that would keep us from making anything. */
static void strip(int dst)
{
    struct sys_node node;
    if (sys_node_at(dst, "", &node) == 0 && node.locked)
        (void)sys_tree_set_locked(dst, "", 0);
    static const char *const keys[] = {"system.posix_acl_default", "system.posix_acl_access"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        (void)sys_xattr_remove(dst, "", keys[i]);
}

/* Open to us, whatever the source's says. */
static void make_ours(int dst)
{
    strip(dst);
    (void)sys_tree_set_mode(dst, "", 0700);
}

/* Two may come at once: then it is done twice, before either goes on. */
void run_touch(struct run_dir *d)
{
    if (!atomic_load(&d->as_was))
        return;
    make_ours(d->dst);
    atomic_store(&d->as_was, false);
}

static void dir_close(struct run_dir *d)
{
    sys_close_p(&d->src);
    sys_close_p(&d->dst);
    free(d);
}

/* Drops one reference; the last one finishes the directory. */
static int dir_release(struct run *r, struct run_scratch *s, struct run_dir *d, struct err *err)
{
    if (atomic_fetch_sub(&d->refs, 1) != 1)
        return 0;
    int ok = 0;
    struct sys_node now;
    if (!pool_stopping(r->base.pool)) {
        if (!atomic_load(&d->as_was) && sys_node_at(d->dst, "", &now) < 0)
            ok = run_fail(r, "look at", d->path, err);
        else if (!atomic_load(&d->as_was))
            ok = run_finish(r, s, d->src, "", d->dst, "", &d->node, &now, d->path, err);
        if (ok == 0 && r->o->seen && !d->unsure)
            seen_dir_note(r->o->seen, d->path, d->node.ino, d->owed);
    }
    dir_close(d);
    return ok;
}

static void job_drop(void *ctx, struct pool_job *base)
{
    (void)ctx;
    struct job *j = (struct job *)base;
    if (j->dir && atomic_fetch_sub(&j->dir->refs, 1) == 1)
        dir_close(j->dir);
    free(j->names);
    free(j->path);
    free(j);
}

/* Gives half of what is left, from `p` on, to whoever has nothing to do. */
static void share_names(struct run *r, struct run_dir *d, const char *p, size_t *left)
{
    if (*left < 2 || !pool_hungry(r->base.pool))
        return;
    struct job *j = x_alloc(sizeof(*j));
    j->dir = d;
    j->names = x_alloc(sizeof(*j->names));
    size_t keep = *left - *left / 2;
    for (size_t i = 0; i < *left; i++) {
        size_t n = strlen(p + 1) + 2;
        if (i >= keep) {
            memcpy(j->names->text + j->names->used, p, n);
            j->names->used += n;
            j->names->n++;
        }
        p += n;
    }
    atomic_fetch_add(&d->refs, 1);
    if (pool_push(r->base.pool, &j->base, r->threads))
        *left = keep;
    else
        job_drop(r, &j->base);
}

static int run_names(struct run *r, struct run_scratch *s, struct run_dir *d,
                     const struct names *names, struct err *err)
{
    const char *p = names->text;
    for (size_t left = names->n; left && !pool_stopping(r->base.pool);
         left--, p += strlen(p + 1) + 2) {
        share_names(r, d, p, &left);
        if (run_entry(r, s, d, p + 1, (unsigned char)*p, err) < 0)
            return -1;
    }
    return 0;
}

/* Hands a full batch to another thread, or does it here. */
static int flush_names(struct run *r, struct run_scratch *s, struct run_dir *d, struct names *names,
                       struct err *err)
{
    struct job *j = x_alloc(sizeof(*j));
    j->dir = d;
    j->names = x_alloc(sizeof(*names));
    memcpy(j->names, names, sizeof(*names));
    atomic_fetch_add(&d->refs, 1);
    int ok = 0;
    if (!pool_push(r->base.pool, &j->base, 4 * (size_t)r->threads)) {
        ok = run_names(r, s, d, names, err);
        job_drop(r, &j->base);
    }
    names->n = names->used = 0;
    return ok;
}

static int clone_dir(struct run *r, struct run_scratch *s, const char *path, struct err *err);

static int add_subdir(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                      struct err *err)
{
    cleanup_free char *path = x_asprintf("%s%s%s", d->path, *d->path ? "/" : "", name);
    if (scan_excluded(r->o->exclude, path)) {
        atomic_fetch_add(&r->excluded, 1);
        return 0;
    }
    struct sys_node have;
    bool made = sys_tree_mkdir(d->dst, name, 0700) == 0;
    if (!made && errno == EEXIST && r->existing && sys_node_at(d->dst, name, &have) == 0 &&
        !S_ISDIR(have.mode))
        made = tree_unlink(d->dst, name, false) == 0 && sys_tree_mkdir(d->dst, name, 0700) == 0;
    bool given = r->existing || r->o->ahead ||
                 (!*d->path && str_eq(name, "lost+found")); /* mkfs made that one */
    if (!made && (errno != EEXIST || !given))
        return run_entangled(r, d, "create the directory", path, err);
    struct job *j = x_alloc(sizeof(*j));
    j->path = TAKE(path);
    if (pool_push(r->base.pool, &j->base, JOBS_MAX))
        return 0;
    int ok = pool_stopping(r->base.pool) ? 0 : clone_dir(r, s, j->path, err);
    job_drop(r, &j->base);
    return ok;
}

static bool is_dir(const struct run_dir *d, const char *name, unsigned char type)
{
    struct sys_node node;
    if (type != DT_UNKNOWN)
        return type == DT_DIR;
    return sys_node_at(d->src, name, &node) == 0 && S_ISDIR(node.mode);
}

static bool is_mark(const struct run_dir *d, const char *name)
{
    return !*d->path && (str_eq(name, SENTINEL_FILE) || str_eq(name, SENTINEL_FILE ".tmp") ||
                         str_starts(name, SENTINEL_NAMED));
}

/* Of a directory that is as it was: what nobody has told of is as it was, too. */
static bool needs_no_look(const struct run *r, const struct run_dir *d, unsigned char type,
                          uint64_t ino)
{
    return type == DT_REG && d->known && !d->look_for_gone && seen_not_told(r->o->seen, ino);
}

static int list_dir(struct run *r, struct run_scratch *s, struct run_dir *d, struct names *names,
                    struct err *err)
{
    cleanup_free struct sys_names *list = sys_names_open(d->src);
    const char *name;
    unsigned char type;
    int more;
    uint64_t as_were = 0;
    while ((more = sys_names_next(list, &name, &type)) > 0 && !pool_stopping(r->base.pool)) {
        if (is_mark(d, name))
            continue;
        if (r->refresh && needs_no_look(r, d, type, list->ino)) {
            if (scan_excluded(r->o->exclude, run_below(s, d, name)))
                atomic_fetch_add(&r->excluded, 1);
            else
                as_were++;
            continue;
        }
        if (is_dir(d, name, type)) {
            if (add_subdir(r, s, d, name, err) < 0)
                return -1;
            continue;
        }
        size_t n = strlen(name) + 2;
        if (names->n == BATCH || names->used + n > BATCH_BYTES)
            if (flush_names(r, s, d, names, err) < 0)
                return -1;
        names->text[names->used] = (char)type;
        memcpy(names->text + names->used + 1, name, n - 1);
        names->used += n;
        names->n++;
    }
    atomic_fetch_add_explicit(&r->files, as_were, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->reused, as_were, memory_order_relaxed);
    if (as_were)
        atomic_store(&r->skipped, true);
    if (more < 0)
        return errno == ENOENT ? run_gone(r, d->path, err)
                               : run_fail(r, "read the directory", d->path, err);
    return run_names(r, s, d, names, err);
}

/* ---- second pass: names that SRC has no more ---- */

static int remove_one(struct run *r, struct run_dir *d, const char *name, const char *path,
                      struct err *err)
{
    struct sys_node node;
    if (sys_node_at(d->dst, name, &node) < 0)
        return errno == ENOENT ? 0 : run_fail(r, "look at", path, err);
    if (S_ISDIR(node.mode) && r->o->ahead) { /* others may be at work in it */
        d->owed = true;
        return 0;
    }
    if (S_ISDIR(node.mode)) {
        cleanup_fd int fd = sys_tree_beneath(d->dst, name);
        if (fd < 0)
            return run_fail(r, "open", path, err);
        if (tree_empty(fd, path, NULL, err) < 0)
            return -1;
    }
    if (tree_unlink(d->dst, name, S_ISDIR(node.mode)) < 0)
        return run_entangled(r, d, "remove", path, err);
    atomic_fetch_add(&r->removed, 1);
    return 0;
}

static int remove_gone(struct run *r, struct run_dir *d, struct err *err)
{
    cleanup_free struct sys_names *list = sys_names_open(d->dst);
    const char *name;
    unsigned char type;
    int more;
    struct sys_node node;
    while ((more = sys_names_next(list, &name, &type)) > 0) {
        if (is_mark(d, name) || sys_node_at(d->src, name, &node) == 0 || errno != ENOENT)
            continue;
        cleanup_free char *path = x_asprintf("%s%s%s", d->path, *d->path ? "/" : "", name);
        if (!scan_excluded(r->o->exclude, path) && remove_one(r, d, name, path, err) < 0)
            return -1;
    }
    return more < 0 ? run_fail(r, "read the clone's directory", d->path, err) : 0;
}

/* ---- one directory ---- */

/* What is in the clone's directory already, by the last pass. */
static void begin_with(const struct run *r, struct run_dir *d)
{
    bool owed = false;
    d->look_for_gone = r->existing;
    if (r->refresh) {
        d->known = seen_dir_known(r->o->seen, d->path, d->node.ino, &owed);
        d->look_for_gone = !d->known || owed || !seen_unchanged(r->o->seen, &d->node);
    }
    atomic_store(&d->as_was, r->refresh && *d->path && d->known && !d->look_for_gone);
    if (!d->as_was && (r->existing || !*d->path))
        make_ours(d->dst);
}

static struct run_dir *dir_open(struct run *r, const char *path, struct err *err)
{
    struct run_dir *d = x_alloc(sizeof(*d) + strlen(path) + 1);
    d->number = atomic_fetch_add(&r->opened, 1) + 1;
    d->known = d->look_for_gone = d->owed = false;
    atomic_init(&d->unsure, false);
    atomic_init(&d->as_was, false);
    memcpy(d->path, path, strlen(path) + 1);
    atomic_init(&d->refs, 1);
    d->dst = -1;
    d->src = sys_tree_beneath(r->src_top, path);
    if (d->src < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
        (void)run_gone(r, path, err);
        dir_close(d);
        return NULL;
    }
    d->dst = d->src < 0 ? -1 : sys_tree_beneath(r->dst_top, path);
    if (d->src >= 0 && d->dst < 0 && r->o->ahead && (errno == ENOENT || errno == ENOTDIR)) {
        (void)run_gone(r, path, err); /* what had this name was no directory a moment ago */
        dir_close(d);
        return NULL;
    }
    if (d->dst < 0 || sys_node_at(d->src, "", &d->node) < 0) {
        (void)run_fail(r, "open the directory", path, err);
        dir_close(d);
        return NULL;
    }
    begin_with(r, d);
    return d;
}

static int clone_dir(struct run *r, struct run_scratch *s, const char *path, struct err *err)
{
    struct run_dir *d = dir_open(r, path, err);
    if (!d)
        return err->code ? -1 : 0;
    atomic_fetch_add_explicit(&r->dirs, 1, memory_order_relaxed);
    cleanup_free struct names *names = x_alloc(sizeof(*names));
    int ok = list_dir(r, s, d, names, err);
    if (ok == 0 && d->look_for_gone)
        ok = remove_gone(r, d, err);
    if (ok < 0) {
        if (atomic_fetch_sub(&d->refs, 1) == 1)
            dir_close(d);
        return -1;
    }
    return dir_release(r, s, d, err);
}

static int job_run(void *ctx, unsigned worker, struct pool_job *base, struct err *err)
{
    struct run *r = ctx;
    struct job *j = (struct job *)base;
    struct run_scratch *s = &r->scratch[worker];
    int ok;
    if (j->path) {
        ok = clone_dir(r, s, j->path, err);
    } else {
        ok = run_names(r, s, j->dir, j->names, err);
        if (ok == 0) {
            ok = dir_release(r, s, j->dir, err);
            j->dir = NULL;
        }
    }
    job_drop(r, base);
    return ok;
}

/* ---- progress ---- */

static nsec_t time_left(const struct tree_progress *p)
{
    double by_bytes = -1, by_files = -1;
    if (p->bytes_total > p->bytes_done && p->bytes_rate > 0)
        by_bytes = (double)(p->bytes_total - p->bytes_done) / p->bytes_rate;
    if (p->files_total > p->files_done && p->files_rate > 0)
        by_files = (double)(p->files_total - p->files_done) / p->files_rate;
    double worse = by_bytes > by_files ? by_bytes : by_files;
    return worse < 0 || worse > 1e9 ? -1 : (nsec_t)(worse * 1e9);
}

/* The waiting lowers the pressure that we have made ourselves: so it settles about the limit. */
static void look_at_pressure(struct run *r)
{
    const char *dir = r->o->pressure_dir ? r->o->pressure_dir : SYS_PRESSURE;
    nsec_t now = sys_clock_mono(), past = now - r->pressure.at;
    uint64_t stalled;
    if (!r->o->pressure || past < PRESSURE_LOOK || sys_pressure_stalled(dir, &stalled) < 0)
        return;
    uint64_t percent = (stalled - r->pressure.stalled) * 100 / ((uint64_t)past / 1000);
    bool much = r->pressure.at && percent > r->o->pressure;
    r->pressure.waited = much ? r->pressure.waited + 1 : 0;
    atomic_store(&r->crowded, much && r->pressure.waited % 10);
    r->pressure.at = now;
    r->pressure.stalled = stalled;
}

static bool tick(void *ctx, bool last)
{
    struct run *r = ctx;
    look_at_pressure(r);
    struct tree_progress p = {
        .files_done = atomic_load(&r->files),
        .bytes_done = atomic_load(&r->bytes),
        .files_total = r->files_total,
        .bytes_total = r->bytes_total,
        .took = sys_clock_mono() - r->began,
    };
    double seconds = (double)p.took / 1e9;
    if (seconds > 0) {
        p.files_rate = (double)p.files_done / seconds;
        p.bytes_rate = (double)p.bytes_done / seconds;
    }
    p.left = last ? 0 : time_left(&p);
    if (r->o->progress)
        r->o->progress(r->o->ctx, &p);
    return !last && r->o->cancel && r->o->cancel(r->o->ctx);
}

int run_walk(struct run *r, struct err *err)
{
    r->threads = pool_threads(r->o->threads);
    r->scratch = x_alloc(r->threads * sizeof(*r->scratch));
    for (unsigned i = 0; i < r->threads; i++) {
        r->scratch[i].made.dir = 0;
        r->scratch[i].data = x_alloc(RUN_BUFFER);
        r->scratch[i].keys = x_alloc(RUN_XATTRS);
        r->scratch[i].value = x_alloc(RUN_XATTRS);
    }
    r->links = links_new();
    struct job *top = x_alloc(sizeof(*top));
    top->path = x_strdup("");
    struct pool_spec spec = {
        .threads = r->threads,
        .run = job_run,
        .drop = job_drop,
        .tick = tick,
        .ctx = r,
    };
    int ok = pool_run(&spec, &top->base, err);
    links_free(r->links);
    for (unsigned i = 0; i < r->threads; i++) {
        free(r->scratch[i].data);
        free(r->scratch[i].keys);
        free(r->scratch[i].value);
        str_done(&r->scratch[i].path);
    }
    free(r->scratch);
    return ok;
}
