/* Directories are jobs; one is removed by whoever finishes the last thing in it. */
#include "clone/remove.h"

#include "base/str.h"
#include "clone/pool.h"
#include "sys/file.h"
#include "sys/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define JOBS_MAX ((size_t)16384)

struct removal {
    struct pool_ctx base; /* first */
    const struct tree_remove_options *o;
    const char *name; /* of the top, for messages */
    int top;
    atomic_ullong removed;
};

struct dir {
    struct pool_job base; /* first */
    struct dir *parent;
    atomic_uint refs; /* its own listing, and each directory in it */
    char path[];
};

static struct dir *dir_new(struct dir *parent, const char *name)
{
    const char *above = parent ? parent->path : "";
    size_t n = strlen(above), m = strlen(name);
    struct dir *d = x_alloc(sizeof(*d) + n + m + 2);
    memcpy(d->path, above, n);
    if (n)
        d->path[n++] = '/';
    memcpy(d->path + n, name, m);
    d->parent = parent;
    atomic_init(&d->refs, 1);
    if (parent)
        atomic_fetch_add(&parent->refs, 1);
    return d;
}

static int fail(const struct removal *r, const char *path, struct err *err)
{
    if (errno != EXDEV && errno != EBUSY)
        return err_sys(err, ERR_FAILED, "remove '%s/%s'", r->name, path);
    err_set(err, ERR_FAILED, "remove '%s': '%s' in it is a mount point", r->name, path);
    return err_hint(err, "unmount it, then run it again");
}

int tree_unlink(int dir, const char *name, bool is_dir)
{
    if (sys_tree_unlink(dir, name, is_dir) == 0)
        return 0;
    if (errno != EPERM)
        return -1;
    bool unlocked = sys_tree_set_locked(dir, name, 0) == 0;
    unlocked |= sys_tree_set_locked(dir, "", 0) == 0;
    errno = EPERM;
    return unlocked ? sys_tree_unlink(dir, name, is_dir) : -1;
}

/* Removes an empty directory; the top stays. */
static int dir_remove(struct removal *r, const struct dir *d, struct err *err)
{
    const char *slash = strrchr(d->path, '/');
    cleanup_free char *above = x_strndup(d->path, slash ? (size_t)(slash - d->path) : 0);
    cleanup_fd int fd = sys_tree_beneath(r->top, above);
    if (fd < 0 || tree_unlink(fd, slash ? slash + 1 : d->path, true) < 0)
        return fail(r, d->path, err);
    atomic_fetch_add(&r->removed, 1);
    return 0;
}

/* Lets go of a directory, and of those above that wait for it. `whole`: everything in it is gone.
 */
static int dir_release(struct removal *r, struct dir *d, bool whole, struct err *err)
{
    int ok = 0;
    while (d && atomic_fetch_sub(&d->refs, 1) == 1) {
        struct dir *parent = d->parent;
        if (whole && ok == 0 && *d->path && !pool_stopping(r->base.pool))
            ok = dir_remove(r, d, err);
        free(d);
        d = parent;
    }
    return ok;
}

static int empty_dir(struct removal *r, struct dir *d, struct err *err);

static int remove_name(struct removal *r, struct dir *d, int fd, const char *name,
                       unsigned char type, struct err *err)
{
    struct sys_node node;
    if (type == DT_UNKNOWN && sys_node_at(fd, name, &node) == 0)
        type = (unsigned char)IFTODT(node.mode);
    if (type == DT_DIR) {
        struct dir *sub = dir_new(d, name);
        return pool_push(r->base.pool, &sub->base, JOBS_MAX) ? 0 : empty_dir(r, sub, err);
    }
    if (tree_unlink(fd, name, false) < 0 && errno != ENOENT) {
        cleanup_free char *path = x_asprintf("%s%s%s", d->path, *d->path ? "/" : "", name);
        return fail(r, path, err);
    }
    atomic_fetch_add_explicit(&r->removed, 1, memory_order_relaxed);
    return 0;
}

static int list_dir(struct removal *r, struct dir *d, struct err *err)
{
    cleanup_fd int fd = sys_tree_beneath(r->top, d->path);
    struct sys_node node;
    if (fd < 0 || sys_node_at(fd, "", &node) < 0)
        return fail(r, d->path, err);
    if (node.locked)
        (void)sys_tree_set_locked(fd, "", 0);
    if ((node.mode & 0700) != 0700) /* a directory that was cloned without the right to change it */
        (void)sys_tree_set_mode(fd, "", node.mode | 0700);
    cleanup_free struct sys_names *list = sys_names_open(fd);
    const char *name;
    unsigned char type;
    int more;
    while ((more = sys_names_next(list, &name, &type)) > 0 && !pool_stopping(r->base.pool)) {
        if (!*d->path && str_eq(name, SENTINEL_FILE))
            continue;
        if (remove_name(r, d, fd, name, type, err) < 0)
            return -1;
    }
    return more < 0 ? fail(r, d->path, err) : 0;
}

static int empty_dir(struct removal *r, struct dir *d, struct err *err)
{
    int ok = list_dir(r, d, err);
    struct err ignored;
    return dir_release(r, d, ok == 0, ok == 0 ? err : &ignored) < 0 ? -1 : ok;
}

static int job_run(void *ctx, unsigned worker, struct pool_job *job, struct err *err)
{
    (void)worker;
    return empty_dir(ctx, (struct dir *)job, err);
}

static void job_drop(void *ctx, struct pool_job *job)
{
    (void)dir_release(ctx, (struct dir *)job, false, NULL);
}

static bool tick(void *ctx, bool last)
{
    const struct removal *r = ctx;
    if (r->o->progress)
        r->o->progress(r->o->ctx, atomic_load(&r->removed));
    return !last && r->o->cancel && r->o->cancel(r->o->ctx);
}

int tree_empty(int top_fd, const char *name, const struct tree_remove_options *o, struct err *err)
{
    static const struct tree_remove_options none = {0};
    struct removal r = {.o = o ? o : &none, .name = name, .top = top_fd};
    struct pool_spec spec = {
        .threads = r.o->threads,
        .run = job_run,
        .drop = job_drop,
        .tick = tick,
        .ctx = &r,
    };
    return pool_run(&spec, &dir_new(NULL, "")->base, err);
}

int tree_remove(const char *path, const struct sentinel *want, const struct tree_remove_options *o,
                struct err *err)
{
    if (!*want->service || !*want->colour)
        return err_set(err, ERR_USAGE, "remove '%s': whose it must be is not said", path);
    switch (sentinel_look(path, want, NULL, err)) {
    case SENTINEL_FOREIGN:
        return err_ctx(err, "remove '%s'", path);
    case SENTINEL_ABSENT:
    case SENTINEL_EMPTY: /* perhaps what is left of ours, perhaps somebody's: it costs nothing to
                            leave it */
        return 0;
    case SENTINEL_OURS: {
        char at[PATH_MAX];
        if (sys_mount_below(path, at, sizeof(at))) {
            err_set(err, ERR_FAILED, "remove '%s': '%s' is mounted in it", path, at);
            return err_hint(err, "unmount it, then run it again");
        }
        cleanup_fd int fd = sys_tree_top(path, false);
        if (fd < 0)
            return err_sys(err, ERR_FAILED, "open '%s'", path);
        if (tree_empty(fd, path, o, err) < 0 || sentinel_remove(path, err) < 0)
            return -1;
    }
    }
    if ((o && o->keep_top) || sys_tree_unlink(AT_FDCWD, path, true) == 0 || errno == ENOENT ||
        errno == EBUSY /* a mount point */ || errno == ENOTEMPTY /* its lost+found */)
        return 0;
    return err_sys(err, ERR_FAILED, "remove the directory '%s'", path);
}
