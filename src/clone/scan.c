#include "clone/scan.h"

#include "base/str.h"
#include "clone/sentinel.h"
#include "sys/file.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#define JOBS_MAX ((size_t)16384)

struct scan_job {
    struct pool_job base; /* first */
    char path[];
};

bool scan_excluded(const char *const *exclude, const char *path)
{
    for (const char *const *p = exclude; p && *p; p++)
        if (fnmatch(*p, path, 0) == 0)
            return true;
    return false;
}

static struct scan_job *job_new(const char *path)
{
    size_t n = strlen(path) + 1;
    struct scan_job *j = x_alloc(sizeof(*j) + n);
    memcpy(j->path, path, n);
    return j;
}

static void job_drop(void *ctx, struct pool_job *job)
{
    (void)ctx;
    free(job);
}

static int fail(const struct scan *s, const char *path, struct err *err)
{
    int e = errno;
    if (e != EXDEV) {
        err_sys(err, ERR_FAILED, "look at '%s/%s'", s->name, path);
        return e == EACCES || e == EPERM ? err_hint(err, "run as root, or as the data's owner")
                                         : -1;
    }
    err_set(err, ERR_FAILED, "'%s' is a mount point inside '%s', and not part of it", path,
            s->name);
    return err_hint(err, "make it a volume of its own, or exclude it");
}

static int scan_dir(struct scan *s, unsigned worker, const char *path, struct err *err);

static int scan_name(struct scan *s, unsigned worker, int dir, const char *above, const char *name,
                     struct str *path, struct err *err)
{
    str_clear(path);
    str_addf(path, "%s%s%s", above, *above ? "/" : "", name);
    struct scan_entry e = {.dir = dir, .name = name, .path = str_cstr(path)};
    if (scan_excluded(s->exclude, e.path))
        return 0;
    if (sys_node_at(dir, name, &e.node) < 0)
        return errno == ENOENT ? 0 : fail(s, e.path, err);
    if (!S_ISDIR(e.node.mode))
        return s->entry(s->ctx, worker, &e, err);
    struct scan_job *j = job_new(e.path);
    if (pool_push(s->base.pool, &j->base, JOBS_MAX))
        return 0;
    int ok = scan_dir(s, worker, j->path, err);
    free(j);
    return ok;
}

static int scan_dir(struct scan *s, unsigned worker, const char *path, struct err *err)
{
    cleanup_fd int fd = sys_tree_beneath(s->top, path);
    struct scan_entry self = {.dir = fd, .name = "", .path = path};
    if (fd < 0 || sys_node_at(fd, "", &self.node) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : fail(s, path, err);
    if (s->entry(s->ctx, worker, &self, err) < 0)
        return -1;
    cleanup_free struct sys_names *list = sys_names_open(fd);
    cleanup_str struct str text = {0};
    const char *name;
    unsigned char type;
    int more;
    while ((more = sys_names_next(list, &name, &type)) > 0 && !pool_stopping(s->base.pool)) {
        if (!*path && (str_eq(name, SENTINEL_FILE) || str_eq(name, SENTINEL_FILE ".tmp")))
            continue;
        if (scan_name(s, worker, fd, path, name, &text, err) < 0)
            return -1;
    }
    return more < 0 && errno != ENOENT ? fail(s, path, err) : 0;
}

static int job_run(void *ctx, unsigned worker, struct pool_job *job, struct err *err)
{
    int ok = scan_dir(ctx, worker, ((struct scan_job *)job)->path, err);
    free(job);
    return ok;
}

static bool tick(void *ctx, bool last)
{
    const struct scan *s = ctx;
    return !last && s->cancel && s->cancel(s->ctx);
}

int scan_run(struct scan *s, struct err *err)
{
    struct pool_spec spec = {
        .threads = s->threads, .run = job_run, .drop = job_drop, .tick = tick, .ctx = s};
    return pool_run(&spec, &job_new("")->base, err);
}
