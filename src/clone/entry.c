/* One entry of a directory: a file, a link, a FIFO. Directories are walk.c's. */
#include "clone/remove.h"
#include "clone/run.h"
#include "clone/scan.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int fail_full(struct run *r, const char *path, int saved, struct err *err)
{
    uint64_t bytes = 0, inodes = 0;
    char done[24], total[24], left[24];
    (void)sys_fs_space(r->dst_top, &bytes, &inodes);
    uint64_t did = atomic_load(&r->bytes);
    str_bytes(done, sizeof(done), did);
    str_bytes(left, sizeof(left), bytes);
    str_bytes(total, sizeof(total), r->bytes_total);
    errno = saved;
    if (r->bytes_total)
        err_sys(err, ERR_FAILED,
                "clone '%s' to '%s': at '%s', with %s of %s done and %s (%llu inodes) free", r->src,
                r->dst, path, done, total, left, (unsigned long long)inodes);
    else
        err_sys(err, ERR_FAILED,
                "clone '%s' to '%s': at '%s', with %s done and %s (%llu inodes) free", r->src,
                r->dst, path, done, left, (unsigned long long)inodes);
    return err_hint(
        err, "free space where '%s' lies, or give the volume another place; then run it again",
        r->dst);
}

int run_fail(struct run *r, const char *what, const char *path, struct err *err)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT)
        return fail_full(r, path, e, err);
    if (e == EXDEV) {
        err_set(err, ERR_FAILED,
                "clone '%s': '%s' is a mount point inside it, and another file system is not "
                "cloned along",
                r->src, path);
        err->sys = e;
        return err_hint(err, "make it a volume of its own, or exclude it");
    }
    errno = e;
    err_sys(err, ERR_FAILED, "clone '%s' to '%s': %s '%s'", r->src, r->dst, what, path);
    return e == EACCES || e == EPERM ? err_hint(err, "run as root, or as the data's owner") : -1;
}

int run_gone(struct run *r, const char *path, struct err *err)
{
    if (r->live) {
        atomic_fetch_add(&r->vanished, 1);
        return 0;
    }
    return err_set(err, ERR_FAILED,
                   "clone '%s': '%s' vanished meanwhile: somebody writes to the source", r->src,
                   path);
}

int run_entangled(struct run *r, struct run_dir *d, const char *what, const char *path,
                  struct err *err)
{
    static const int known[] = {EEXIST, ENOENT, EISDIR, ENOTDIR, ENOTEMPTY};
    for (size_t i = 0; r->o->ahead && i < ARRAY_LEN(known); i++)
        if (known[i] == errno) {
            atomic_store(&d->unsure, true);
            return 0;
        }
    return run_fail(r, what, path, err);
}

/* Labels of security modules belong to the place, not to the data, and may be refused there. */
static bool xattr_may_fail(const char *key)
{
    return str_starts(key, "security.") && !str_eq(key, "security.capability");
}

static int copy_xattr(struct run *r, struct run_scratch *s, int src, const char *src_name, int dst,
                      const char *dst_name, const char *key, const char *path, struct err *err)
{
    ssize_t n = sys_xattr_get(src, src_name, key, s->value, RUN_XATTRS);
    if (n < 0 && (errno == ENODATA || xattr_may_fail(key)))
        return 0;
    if (n < 0)
        return run_fail(r, "read an attribute of", path, err);
    if (sys_xattr_set(dst, dst_name, key, s->value, (size_t)n) == 0 || xattr_may_fail(key))
        return 0;
    if (errno != EOPNOTSUPP && errno != EPERM)
        return run_fail(r, "set an attribute of", path, err);
    return err_sys(err, ERR_UNSUPPORTED,
                   "clone '%s' to '%s': '%s' has the attribute '%s', and %s cannot keep it", r->src,
                   r->dst, path, key, sys_fs_name(r->dst_magic));
}

/* Returns how many there are. */
static int copy_xattrs(struct run *r, struct run_scratch *s, int src, const char *src_name, int dst,
                       const char *dst_name, const char *path, struct err *err)
{
    ssize_t n = sys_xattr_list(src, src_name, s->keys, RUN_XATTRS);
    if (n < 0 && errno == EOPNOTSUPP)
        return 0;
    if (n < 0)
        return run_fail(r, "list the attributes of", path, err);
    int count = 0;
    for (const char *key = s->keys; key < s->keys + n; key += strlen(key) + 1, count++)
        if (copy_xattr(r, s, src, src_name, dst, dst_name, key, path, err) < 0)
            return -1;
    return count;
}

/* What chattr(1) has put on the source. Not on the top: our mark must be writable there. */
static int lock(struct run *r, int dst_dir, const char *dst_name, unsigned locked, const char *path,
                struct err *err)
{
    if (sys_tree_set_locked(dst_dir, dst_name, locked) == 0)
        return 0;
    err_sys(err, ERR_UNSUPPORTED, "clone '%s' to '%s': '%s' is %s (chattr), and %s cannot keep it",
            r->src, r->dst, path, locked & SYS_IMMUTABLE ? "immutable" : "append-only",
            sys_fs_name(r->dst_magic));
    return err_hint(err, "run as root; or take the flag off, or exclude it");
}

int run_finish(struct run *r, struct run_scratch *s, int src_dir, const char *src_name, int dst_dir,
               const char *dst_name, const struct sys_node *want, const struct sys_node *now,
               const char *path, struct err *err)
{
    /* A change of owner drops set-user-ID and capabilities, an ACL changes the mode, and all of
     * them change times: so in this order, and the times last. They are the mark of a complete
     * file. */
    bool chown_needed = now->uid != want->uid || now->gid != want->gid;
    if (chown_needed && sys_tree_set_owner(dst_dir, dst_name, want->uid, want->gid) < 0)
        return run_fail(r, "set the owner of", path, err);
    int attrs = copy_xattrs(r, s, src_dir, src_name, dst_dir, dst_name, path, err);
    if (attrs < 0)
        return -1;
    bool chmod_needed = chown_needed || attrs || ((now->mode ^ want->mode) & 07777);
    if (!S_ISLNK(want->mode) && chmod_needed &&
        sys_tree_set_mode(dst_dir, dst_name, want->mode & 07777) < 0)
        return run_fail(r, "set the mode of", path, err);
    if (sys_tree_set_times(dst_dir, dst_name, want->atime, want->mtime) < 0)
        return run_fail(r, "set the times of", path, err);
    return want->locked && *path ? lock(r, dst_dir, dst_name, want->locked, path, err) : 0;
}

static int open_source(const struct run_dir *d, const char *name)
{
    int flags = O_RDONLY | O_NONBLOCK; /* a FIFO that took the file's place must not hang us */
    int fd = sys_tree_open(d->src, name, flags | O_NOATIME, 0);
    return fd < 0 && errno == EPERM ? sys_tree_open(d->src, name, flags, 0) : fd;
}

/* Quicker than a new file, and what was there is no point in time that anybody could want back. 1
 * done; 0: it must be made anew. */
static int fill_over(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                     struct run_file *f, struct err *err)
{
    struct sys_node now;
    if (run_keep_late(r, s, f))
        return 1;
    cleanup_fd int dst = sys_tree_open(d->dst, name, O_WRONLY | O_NONBLOCK, 0);
    f->dst = dst;
    if (dst < 0 || sys_node_at(dst, "", &now) < 0 || !S_ISREG(now.mode) ||
        sys_xattr_list(dst, "", s->keys, RUN_XATTRS) > 0)
        return 0;
    if (f->node.size && !run_copy_cached(r, s, f) && run_contents(r, s, f, err) < 0)
        return -1;
    if (now.size > f->node.size && sys_file_truncate(dst, f->node.size) < 0)
        return run_fail(r, "cut", f->path, err);
    if (run_still_the_same(r, f, err) < 0 || sys_node_at(dst, "", &now) < 0)
        return err->code ? -1 : run_fail(r, "look at", f->path, err);
    if (pool_stopping(r->base.pool))
        return 1;
    return run_finish(r, s, f->src, "", dst, "", &f->node, &now, f->path, err) < 0 ? -1 : 1;
}

/* What a file that was just made has: asked for once a directory, mode and thread. */
static int look_at_made(struct run_scratch *s, const struct run_dir *d, int fd, mode_t asked,
                        struct sys_node *ret)
{
    if (s->made.dir != d->number || s->made.asked != asked) {
        if (sys_node_at(fd, "", &s->made.got) < 0)
            return -1;
        s->made.dir = d->number;
        s->made.asked = asked;
    }
    *ret = s->made.got;
    return 0;
}

static int fill_file(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                     struct run_file *f, struct err *err)
{
    int over = f->over ? fill_over(r, s, d, name, f, err) : 0;
    if (over)
        return over < 0 ? -1 : 0;
    run_touch(d);
    cleanup_fd int dst =
        sys_tree_open(d->dst, name, O_WRONLY | O_CREAT | O_EXCL, f->node.mode & 0777);
    if (dst < 0 && errno == EEXIST && r->existing && tree_unlink(d->dst, name, false) == 0)
        dst = sys_tree_open(d->dst, name, O_WRONLY | O_CREAT | O_EXCL, f->node.mode & 0777);
    struct sys_node now;
    f->dst = dst;
    if (dst < 0)
        return run_entangled(r, d, "create", f->path, err);
    if (look_at_made(s, d, dst, f->node.mode & 0777, &now) < 0)
        return run_fail(r, "create", f->path, err);
    if (f->node.size && (run_contents(r, s, f, err) < 0 || run_still_the_same(r, f, err) < 0))
        return -1;
    if (pool_stopping(r->base.pool))
        return 0; /* perhaps half: without its times it counts as not done */
    return run_finish(r, s, f->src, "", dst, "", &f->node, &now, f->path, err);
}

/* ---- what is there already ---- */

static bool is_same(const struct run *r, const struct sys_node *want, const struct sys_node *have)
{
    if ((want->mode & S_IFMT) != (have->mode & S_IFMT) || want->size != have->size ||
        want->locked != have->locked || !sys_stamp_eq(want->mtime, have->mtime))
        return false;
    return !r->refresh || seen_unchanged(r->o->seen, want);
}

static int reused(struct run *r, const struct sys_node *want)
{
    uint64_t data = want->allocated < want->size ? want->allocated : want->size;
    atomic_fetch_add_explicit(&r->reused, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->bytes, S_ISREG(want->mode) ? data : 0, memory_order_relaxed);
    return 1;
}

static bool may_be_written_over(const struct run *r, const struct sys_node *want,
                                const struct sys_node *have)
{
    return r->refresh && S_ISREG(want->mode) && S_ISREG(have->mode) && want->nlink == 1 &&
           have->nlink == 1 && !have->locked && want->allocated >= want->size &&
           have->allocated >= have->size;
}

static int clear_place(struct run *r, struct run_dir *d, const char *name,
                       const struct sys_node *have, const char *path, struct err *err)
{
    run_touch(d);
    if (!S_ISDIR(have->mode))
        return tree_unlink(d->dst, name, false) < 0 ? run_entangled(r, d, "replace", path, err) : 0;
    cleanup_fd int fd = sys_tree_beneath(d->dst, name);
    if (fd < 0 || tree_empty(fd, path, NULL, err) < 0 || tree_unlink(d->dst, name, true) < 0)
        return fd < 0 || !err->code ? run_fail(r, "replace", path, err) : -1;
    return 0;
}

/* 1: complete already; 0: to be done. What was there is gone, unless *ret_over (may be NULL). */
static int reuse(struct run *r, struct run_dir *d, const char *name, const struct sys_node *want,
                 const char *path, bool *ret_over, struct err *err)
{
    struct sys_node have;
    if (!r->existing)
        return 0;
    /* Nothing of the clone needs to be looked at: the last pass left it so. */
    if (d->known && want->nlink == 1 && seen_unchanged(r->o->seen, want))
        return reused(r, want);
    if (sys_node_at(d->dst, name, &have) < 0)
        return errno == ENOENT ? 0 : run_fail(r, "look at", path, err);
    bool trusted = !r->refresh || d->known;
    if (trusted && is_same(r, want, &have) && (want->nlink > 1 || have.nlink == 1))
        return reused(r, want);
    if (ret_over && may_be_written_over(r, want, &have)) {
        *ret_over = true;
        return 0;
    }
    return clear_place(r, d, name, &have, path, err);
}

/* A further name of a file that is cloned already. 1: done. */
static int link_to(struct run *r, struct run_dir *d, const char *name, const char *to,
                   const char *path, struct err *err)
{
    const char *slash = strrchr(to, '/');
    cleanup_free char *dir = x_strndup(to, slash ? (size_t)(slash - to) : 0);
    cleanup_fd int dir_fd = sys_tree_beneath(r->dst_top, dir);
    const char *base = slash ? slash + 1 : to;
    struct sys_node a, b;
    if (dir_fd < 0)
        return run_entangled(r, d, "find the first name of", path, err);
    if (r->existing && sys_node_at(d->dst, name, &a) == 0) {
        if (sys_node_at(dir_fd, base, &b) == 0 && a.ino == b.ino && a.dev == b.dev)
            return 0;
        run_touch(d);
        if (tree_unlink(d->dst, name, false) < 0)
            return run_entangled(r, d, "replace", path, err);
    }
    run_touch(d);
    if (sys_tree_link(dir_fd, base, d->dst, name) == 0)
        return 0;
    int why = errno;
    if (why != EPERM || sys_node_at(dir_fd, base, &a) < 0 || !a.locked) {
        errno = why;
        return run_entangled(r, d, "link", path, err);
    }
    if (sys_tree_set_locked(dir_fd, base, 0) < 0 || sys_tree_link(dir_fd, base, d->dst, name) < 0 ||
        sys_tree_set_locked(dir_fd, base, a.locked) < 0)
        return run_fail(r, "link", path, err);
    return 0;
}

static int clone_first(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                       struct run_file *f, struct err *err)
{
    int have = reuse(r, d, name, &f->node, f->path, NULL, err);
    if (have != 0)
        return have < 0 ? -1 : 0;
    return fill_file(r, s, d, name, f, err);
}

static int clone_linked(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                        struct run_file *f, struct err *err)
{
    cleanup_free char *to = links_claim(r->links, &f->node);
    if (to) {
        atomic_fetch_add(&r->linked, 1);
        return link_to(r, d, name, to, f->path, err);
    }
    int ok = clone_first(r, s, d, name, f, err);
    links_settle(r->links, &f->node, ok < 0 || pool_stopping(r->base.pool) ? NULL : f->path);
    return ok;
}

static int clone_file(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                      const char *path, struct err *err)
{
    struct run_file f = {.path = path, .dst = -1};
    if (r->existing) { /* most are as they were: no need to open them */
        if (sys_node_at(d->src, name, &f.node) < 0)
            return errno == ENOENT ? run_gone(r, path, err) : run_fail(r, "look at", path, err);
        int have = f.node.nlink == 1 ? reuse(r, d, name, &f.node, path, &f.over, err) : 0;
        if (have != 0)
            return have < 0 ? -1 : 0;
    }
    cleanup_fd int src = open_source(d, name);
    if (src < 0 && (errno == ENOENT || errno == ELOOP))
        return run_gone(r, path, err);
    if (src < 0 || sys_node_at(src, "", &f.node) < 0)
        return run_fail(r, "open", path, err);
    if (!S_ISREG(f.node.mode))
        return run_gone(r, path, err);
    if (f.node.mount != r->mount) {
        errno = EXDEV;
        return run_fail(r, "enter", path, err);
    }
    f.src = src;
    return f.node.nlink > 1 ? clone_linked(r, s, d, name, &f, err)
                            : fill_file(r, s, d, name, &f, err);
}

/* Links, FIFOs, devices. */
static int clone_special(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
                         const char *path, struct err *err)
{
    struct sys_node node, now;
    char target[PATH_MAX];
    if (sys_node_at(d->src, name, &node) < 0)
        return errno == ENOENT ? run_gone(r, path, err) : run_fail(r, "look at", path, err);
    bool is_link = S_ISLNK(node.mode);
    atomic_fetch_add(is_link ? &r->symlinks : &r->others, 1);
    int have = reuse(r, d, name, &node, path, NULL, err);
    if (have != 0)
        return have < 0 ? -1 : 0;
    run_touch(d);
    if (is_link && sys_tree_readlink(d->src, name, target, sizeof(target)) < 0)
        return errno == ENOENT ? run_gone(r, path, err) : run_fail(r, "read the link", path, err);
    int ok = is_link ? sys_tree_symlink(target, d->dst, name)
                     : sys_tree_mknod(d->dst, name, node.mode & (S_IFMT | 0777), node.rdev);
    if (ok < 0 || sys_node_at(d->dst, name, &now) < 0)
        return run_entangled(r, d, "create", path, err);
    return run_finish(r, s, d->src, name, d->dst, name, &node, &now, path, err);
}

static unsigned char real_type(const struct run_dir *d, const char *name, unsigned char type)
{
    struct sys_node node;
    if (type != DT_UNKNOWN || sys_node_at(d->src, name, &node) < 0)
        return type;
    return (unsigned char)IFTODT(node.mode);
}

/* Most entries of a further pass: a look at the source, and nothing else. */
static bool is_as_it_was(struct run *r, const struct run_dir *d, const char *name,
                         unsigned char type)
{
    struct sys_node node;
    if (!d->known || type != DT_REG || sys_node_at(d->src, name, &node) < 0 ||
        !S_ISREG(node.mode) || node.nlink != 1 || node.mount != r->mount ||
        !seen_unchanged(r->o->seen, &node))
        return false;
    (void)reused(r, &node);
    atomic_fetch_add_explicit(&r->files, 1, memory_order_relaxed);
    return true;
}

const char *run_below(struct run_scratch *s, const struct run_dir *d, const char *name)
{
    str_clear(&s->path);
    str_add(&s->path, d->path);
    str_add(&s->path, *d->path ? "/" : "");
    str_add(&s->path, name);
    return str_cstr(&s->path);
}

int run_entry(struct run *r, struct run_scratch *s, struct run_dir *d, const char *name,
              unsigned char type, struct err *err)
{
    const char *path = run_below(s, d, name);
    if (scan_excluded(r->o->exclude, path)) {
        atomic_fetch_add(&r->excluded, 1);
        return 0;
    }
    if (r->refresh && is_as_it_was(r, d, name, type))
        return 0;
    if (sys_fault_point("clone/entry") < 0)
        return run_fail(r, "clone", path, err);
    run_make_way(r);
    type = real_type(d, name, type);
    if (type == DT_SOCK) {
        atomic_fetch_add(&r->sockets, 1);
        return 0;
    }
    if (type != DT_REG)
        return clone_special(r, s, d, name, path, err);
    int ok = clone_file(r, s, d, name, path, err);
    atomic_fetch_add_explicit(&r->files, 1, memory_order_relaxed);
    return ok;
}
