/* What is in a file: shared, or copied. */
#include "clone/run.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>

#define CHUNK ((uint64_t)64 << 20) /* between two looks at whether to stop */
#define CHUNK_LIMITED ((uint64_t)1 << 20)
#define SMALL_COPY ((uint64_t)131072)

static void wait_for_limit(struct run *r, nsec_t time)
{
    sys_sleep(time);
    atomic_fetch_add(&r->waited, time);
}

void run_make_way(struct run *r)
{
    while (atomic_load_explicit(&r->crowded, memory_order_relaxed) && !pool_stopping(r->base.pool))
        wait_for_limit(r, 20 * NSEC_MS);
}

static void copied(struct run *r, uint64_t n)
{
    uint64_t all = atomic_fetch_add_explicit(&r->moved, n, memory_order_relaxed) + n;
    atomic_fetch_add_explicit(&r->bytes, n, memory_order_relaxed);
    run_make_way(r);
    if (!r->o->rate_limit)
        return;
    nsec_t due = r->began + (nsec_t)((double)all * 1e9 / (double)r->o->rate_limit), now;
    while ((now = sys_clock_mono()) < due && !pool_stopping(r->base.pool))
        wait_for_limit(r, due - now < 50 * NSEC_MS ? due - now : 50 * NSEC_MS);
}

static int copy_through_us(struct run *r, struct run_scratch *s, const struct run_file *f,
                           uint64_t off, uint64_t end, uint64_t *ret_at, struct err *err)
{
    while (off < end && !pool_stopping(r->base.pool)) {
        size_t want = end - off < RUN_BUFFER ? (size_t)(end - off) : RUN_BUFFER;
        ssize_t n = sys_file_pread(f->src, s->data, want, off);
        if (n < 0)
            return run_fail(r, "read", f->path, err);
        if (n == 0)
            break;
        if (sys_file_pwrite(f->dst, s->data, (size_t)n, off) < 0)
            return run_fail(r, "write", f->path, err);
        off += (uint64_t)n;
        copied(r, (uint64_t)n);
    }
    *ret_at = off;
    return 0;
}

static bool range_unsupported(int e)
{
    return e == EXDEV || e == EOPNOTSUPP || e == ENOSYS || e == EINVAL || e == EBADF;
}

/* Copies [off, end); *ret_at is where it ended: before `end` if the file has become shorter. */
static int copy_range(struct run *r, struct run_scratch *s, const struct run_file *f, uint64_t off,
                      uint64_t end, uint64_t *ret_at, struct err *err)
{
    while (r->copy_range && off < end && !pool_stopping(r->base.pool)) {
        uint64_t chunk = r->o->rate_limit || r->o->pressure ? CHUNK_LIMITED : CHUNK;
        uint64_t want = end - off < chunk ? end - off : chunk;
        ssize_t n = sys_file_copy_range(f->dst, f->src, off, (size_t)want);
        if (n < 0 && !range_unsupported(errno))
            return run_fail(r, "copy", f->path, err);
        if (n <= 0)
            break; /* some kernels say 0 where they cannot: reading tells */
        off += (uint64_t)n;
        copied(r, (uint64_t)n);
    }
    return copy_through_us(r, s, f, off, end, ret_at, err);
}

static int shrunk(struct run *r, const struct run_file *f, uint64_t at, struct err *err)
{
    if (pool_stopping(r->base.pool))
        return 0;
    if (!r->live)
        return err_set(err, ERR_FAILED,
                       "clone '%s': '%s' became shorter meanwhile: somebody writes to the source",
                       r->src, f->path);
    if (sys_file_truncate(f->dst, at) < 0)
        return run_fail(r, "cut", f->path, err);
    return 0;
}

static int copy_sparse(struct run *r, struct run_scratch *s, const struct run_file *f,
                       struct err *err)
{
    uint64_t off = 0, at = 0;
    if (sys_file_truncate(f->dst, f->node.size) < 0)
        return run_fail(r, "set the size of", f->path, err);
    while (off < f->node.size && !pool_stopping(r->base.pool)) {
        int64_t data = sys_file_seek_data(f->src, off);
        if (data < 0 && errno == ENXIO)
            break;
        int64_t hole = data < 0 ? -1 : sys_file_seek_hole(f->src, (uint64_t)data);
        if (hole < 0)
            return run_fail(r, "look for holes in", f->path, err);
        uint64_t end = (uint64_t)hole < f->node.size ? (uint64_t)hole : f->node.size;
        if ((uint64_t)data >= end)
            break;
        if (copy_range(r, s, f, (uint64_t)data, end, &at, err) < 0)
            return -1;
        if (at < end)
            return shrunk(r, f, at, err);
        off = end;
    }
    return 0;
}

static int copy_contents(struct run *r, struct run_scratch *s, const struct run_file *f,
                         struct err *err)
{
    if (f->node.allocated < f->node.size)
        return copy_sparse(r, s, f, err);
    uint64_t at = 0;
    if (copy_range(r, s, f, 0, f->node.size, &at, err) < 0)
        return -1;
    return at < f->node.size ? shrunk(r, f, at, err) : 0;
}

static int reflink_contents(struct run *r, const struct run_file *f, struct err *err)
{
    if (sys_file_reflink(f->dst, f->src) == 0) {
        uint64_t data = f->node.allocated < f->node.size ? f->node.allocated : f->node.size;
        atomic_fetch_add_explicit(&r->bytes, data, memory_order_relaxed);
        return 0;
    }
    if (errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOTTY)
        return run_fail(r, "reflink", f->path, err);
    err_sys(err, ERR_UNSUPPORTED, "clone '%s' to '%s': %s cannot reflink '%s' there", r->src,
            r->dst, sys_fs_name(r->dst_magic), f->path);
    return err_hint(err, "use the driver 'copy' for this volume, or put both colours on one XFS "
                         "(reflink=1) or btrfs");
}

int run_still_the_same(struct run *r, const struct run_file *f, struct err *err)
{
    struct sys_node now;
    if (r->live || r->o->mode == TREE_REFLINK)
        return 0;
    if (sys_node_at(f->src, "", &now) < 0)
        return run_fail(r, "look at", f->path, err);
    if (now.size == f->node.size && sys_stamp_eq(now.mtime, f->node.mtime) &&
        sys_stamp_eq(now.ctime, f->node.ctime))
        return 0;
    return err_set(err, ERR_FAILED,
                   "clone '%s': '%s' changed while it was copied: somebody writes to the source",
                   r->src, f->path);
}

int run_contents(struct run *r, struct run_scratch *s, const struct run_file *f, struct err *err)
{
    return r->o->mode == TREE_REFLINK ? reflink_contents(r, f, err) : copy_contents(r, s, f, err);
}

bool run_copy_cached(struct run *r, struct run_scratch *s, const struct run_file *f)
{
    size_t n = (size_t)f->node.size;
    if (r->o->mode != TREE_REFLINK || r->o->ahead || f->node.size > SMALL_COPY ||
        sys_file_pread_cached(f->src, s->data, n, 0) != (ssize_t)n ||
        sys_file_pwrite(f->dst, s->data, n, 0) < 0)
        return false;
    copied(r, n);
    return true;
}

bool run_keep_late(struct run *r, struct run_scratch *s, const struct run_file *f)
{
    if (!r->late || f->node.size > SMALL_COPY || f->node.locked ||
        sys_xattr_list(f->src, "", s->keys, RUN_XATTRS) > 0 ||
        !late_keep(r->late, f->src, &f->node, f->path))
        return false;
    copied(r, f->node.size);
    return true;
}
