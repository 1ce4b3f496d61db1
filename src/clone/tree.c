#include "clone/tree.h"

#include "clone/remove.h"
#include "clone/run.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "sys/pressure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>

/* ---- may it be done at all ---- */

/* realpath(3), of the parent where the path itself is not there yet. */
static char *real_of(const char *path)
{
    char *real = NULL;
    if (sys_path_real(path, &real, NULL) == 0)
        return real;
    cleanup_free char *copy = x_strdup(path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    char *slash = strrchr(copy, '/');
    const char *base = slash ? slash + 1 : copy;
    if (slash == copy)
        return x_strdup(copy);
    if (slash)
        *slash = '\0';
    if (sys_path_real(slash ? copy : ".", &real, NULL) < 0)
        return x_strdup(path);
    char *full = x_asprintf("%s/%s", str_eq(real, "/") ? "" : real, base);
    free(real);
    return full;
}

static bool inside(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    return strncmp(outer, inner, n) == 0 && (inner[n] == '/' || !inner[n] || str_eq(outer, "/"));
}

static int refuse_nesting(const char *src, const char *dst, struct err *err)
{
    cleanup_free char *a = real_of(src), *b = real_of(dst);
    if (inside(a, b) || inside(b, a))
        return err_set(err, ERR_USAGE, "clone '%s' to '%s': one lies in the other", src, dst);
    return 0;
}

/* What of an owner's words must be found in DST's mark. */
static struct sentinel claim_of(const struct tree_options *o)
{
    struct sentinel want = {0};
    if (o->owner) {
        want = *o->owner;
        want.state = 0;
    }
    return want;
}

static int mark(const char *dst, const struct sentinel *owner, enum sentinel_state state,
                uint64_t files, uint64_t bytes, struct err *err)
{
    struct sentinel s = *owner;
    s.files = files;
    s.bytes = bytes;
    s.state = state;
    s.created = 0;
    s.boot[0] = '\0';
    return sentinel_write(dst, &s, err);
}

struct remove_hooks {
    const struct tree_options *o;
};

static bool cancel_removal(void *ctx)
{
    const struct tree_options *o = ((struct remove_hooks *)ctx)->o;
    return o->cancel && o->cancel(o->ctx);
}

static int start_over(const char *dst, const struct tree_options *o, struct err *err)
{
    cleanup_fd int fd = sys_tree_top(dst, false);
    if (fd < 0)
        return err_sys(err, ERR_FAILED, "open '%s'", dst);
    struct remove_hooks hooks = {.o = o};
    struct tree_remove_options ro = {
        .threads = o->threads,
        .cancel = cancel_removal,
        .ctx = &hooks,
    };
    return tree_empty(fd, dst, &ro, err);
}

static int take_ours(const char *dst, const struct tree_options *o, const struct sentinel *found,
                     struct run *r, struct err *err)
{
    if (!o->owner)
        return err_set(err, ERR_FOREIGN,
                       "'%s' is a volume of service %s (%s): it is not cloned onto", dst,
                       found->service, found->colour);
    bool fresh = sentinel_this_boot(found);
    if (found->state == SENTINEL_READY || found->state == SENTINEL_LIVE ||
        (found->state == SENTINEL_COPIED && fresh))
        return err_set(err, ERR_EXISTS, "'%s' holds a finished clone of upgrade %s", dst,
                       found->upgrade);
    /* After a power cut a file may have its size and times, and not its contents. */
    r->existing = o->resume && fresh;
    if (!r->files_total && !r->bytes_total) { /* what begin expected */
        r->files_total = found->files;
        r->bytes_total = found->bytes;
    }
    if (!r->existing && start_over(dst, o, err) < 0)
        return -1;
    /* Begun a moment ago: as good as new, and no second wait for the disk. */
    return fresh && found->state == SENTINEL_CLONING
               ? 0
               : mark(dst, o->owner, SENTINEL_CLONING, r->files_total, r->bytes_total, err);
}

/* Leaves DST there, ours, and marked. r->existing: it may hold files of this very clone. */
static int prepare(struct run *r, struct err *err)
{
    const char *src = r->src, *dst = r->dst;
    const struct tree_options *o = r->o;
    struct sentinel want = claim_of(o), found;
    r->files_total = o->files_total;
    r->bytes_total = o->bytes_total;
    if (o->owner && (!*want.service || !*want.colour || !*want.upgrade))
        return err_set(err, ERR_USAGE,
                       "clone to '%s': no service, colour or upgrade to mark it with", dst);
    if (src && refuse_nesting(src, dst, err) < 0)
        return -1;
    bool made = false;
    switch (sentinel_look(dst, &want, &found, err)) {
    case SENTINEL_FOREIGN:
        return err_ctx(err, "clone '%s'", src ? src : dst);
    case SENTINEL_OURS:
        return take_ours(dst, o, &found, r, err);
    case SENTINEL_ABSENT:
        made = sys_tree_mkdir(AT_FDCWD, dst, 0700) == 0;
        if (!made) {
            err_sys(err, ERR_FAILED, "create '%s'", dst);
            return err_hint(err,
                            "the directory that it lies in must be there (is a mount missing?)");
        }
        break;
    case SENTINEL_EMPTY:
        break;
    }
    if (!o->owner ||
        mark(dst, o->owner, SENTINEL_CLONING, o->files_total, o->bytes_total, err) == 0)
        return 0;
    if (sentinel_remove(dst, NULL) == 0 && made)
        (void)sys_tree_unlink(AT_FDCWD, dst, true);
    return -1;
}

int tree_begin(const char *src, const char *dst, const struct tree_options *o, struct err *err)
{
    struct tree_options anew = *o;
    struct run r = {.o = &anew, .src = src, .dst = dst};
    anew.resume = false;
    if (!o->owner)
        return err_set(err, ERR_USAGE, "clone to '%s': nobody to mark it for", dst);
    return prepare(&r, err);
}

/* ---- the run ---- */

static bool may_share(uint64_t magic)
{
    static const uint64_t known[] = {XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, NFS_SUPER_MAGIC,
                                     0x2fc12fc1 /* ZFS */, 0xca451a4e /* bcachefs */};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i] == magic)
            return true;
    return false;
}

/* What the tree holds: of files that were not looked at, by the last pass. */
static uint64_t all_bytes(const struct run *r)
{
    uint64_t bytes = atomic_load(&r->bytes);
    uint64_t before = atomic_load(&r->skipped) ? seen_bytes(r->o->seen) : 0;
    return bytes > before ? bytes : before;
}

static void fill_result(const struct run *r, struct tree_result *ret)
{
    if (!ret)
        return;
    *ret = (struct tree_result){
        .files = atomic_load(&r->files) - atomic_load(&r->linked),
        .dirs = atomic_load(&r->dirs),
        .links = atomic_load(&r->linked),
        .symlinks = atomic_load(&r->symlinks),
        .others = atomic_load(&r->others),
        .sockets = atomic_load(&r->sockets),
        .excluded = atomic_load(&r->excluded),
        .vanished = atomic_load(&r->vanished),
        .reused = atomic_load(&r->reused),
        .removed = atomic_load(&r->removed),
        .bytes = all_bytes(r),
        .took = sys_clock_mono() - r->began,
    };
}

/* No source: the directory alone, as it was made. */
static int finish_empty(struct run *r, struct tree_result *ret, struct err *err)
{
    cleanup_fd int dst_top = sys_tree_top(r->dst, false);
    if (dst_top < 0 || sys_tree_set_mode(dst_top, "", 0755) < 0)
        return err_sys(err, ERR_FAILED, "set the mode of '%s'", r->dst);
    fill_result(r, ret);
    if (!r->o->no_sync && sys_fs_sync(dst_top) < 0)
        return err_sys(err, ERR_FAILED, "put '%s' on disk", r->dst);
    return r->o->owner ? mark(r->dst, r->o->owner, r->o->no_sync ? SENTINEL_COPIED : SENTINEL_READY,
                              0, 0, err)
                       : 0;
}

static void end_pass(struct run *r, bool whole)
{
    nsec_t took = sys_clock_mono() - r->began, waited = atomic_load(&r->waited) / r->threads;
    seen_end(r->o->seen, whole, took, took > waited ? took - waited : 0, all_bytes(r));
}

/* The walk itself, as a pass of r->o->seen if there is one. */
static int make_pass(struct run *r, struct tree_result *ret, struct err *err)
{
    struct seen *seen = r->o->seen;
    r->began = sys_clock_mono();
    if (seen)
        seen_begin(seen);
    int ok = run_walk(r, err);
    if (ok == 0 && r->o->ahead && r->refresh && sys_fault_point("clone:pass") < 0)
        ok = err_sys(err, ERR_FAILED, "fault point clone:pass");
    fill_result(r, ret);
    /* Asked once more: only then it is certain that nobody has let the writers go on meanwhile. */
    if (ok == 0 && !r->live && r->o->cancel && r->o->cancel(r->o->ctx))
        ok = err_set(err, ERR_INTERRUPTED, "interrupted");
    if (seen)
        end_pass(r, ok == 0);
    if (ok < 0 && err->code == ERR_INTERRUPTED)
        err_ctx(err, "clone '%s' to '%s'", r->src, r->dst);
    return ok;
}

static int can_tell_pressure(const struct run *r, struct err *err)
{
    const char *dir = r->o->pressure_dir ? r->o->pressure_dir : SYS_PRESSURE;
    uint64_t ignored;
    if (!r->o->pressure || sys_pressure_stalled(dir, &ignored) == 0)
        return 0;
    err_sys(err, ERR_UNSUPPORTED, "clone '%s' by pressure: read %s", r->src, dir);
    return err_hint(err, "this kernel does not tell it (PSI): use a limit of the rate instead");
}

/* What an earlier pass has kept, though its source went on too soon for it to be the last, is
 * written: that pass was whole, and the next ones take its word. */
static int take_late(struct run *r, struct err *err)
{
    const struct tree_options *o = r->o;
    struct late *kept = o->seen ? seen_late(o->seen, 0) : NULL;
    if (late_any(kept) && late_write(kept, r->dst_top, r->dst, err) < 0)
        return -1;
    if (r->refresh && o->seen && o->no_sync && !o->ahead)
        r->late = seen_late(o->seen, o->late);
    return 0;
}

static int walk(struct run *r, struct tree_result *ret, struct err *err)
{
    struct sys_node top;
    if (can_tell_pressure(r, err) < 0)
        return -1;
    cleanup_fd int src_top = sys_tree_top(r->src, true);
    if (src_top < 0 || sys_node_at(src_top, "", &top) < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "open '%s'", r->src);
    cleanup_fd int dst_top = sys_tree_top(r->dst, false);
    if (dst_top < 0)
        return err_sys(err, ERR_FAILED, "open '%s'", r->dst);
    r->src_top = src_top;
    r->dst_top = dst_top;
    r->mount = top.mount;
    r->live = r->o->live_source || r->o->ahead;
    r->dst_magic = sys_fs_magic(dst_top);
    r->copy_range =
        r->o->mode == TREE_COPY && may_share(r->dst_magic) && r->dst_magic == sys_fs_magic(src_top);
    if (take_late(r, err) < 0)
        return -1;
    if (make_pass(r, ret, err) < 0) {
        late_forget(r->late); /* the next pass looks at them again */
        return -1;
    }
    if (late_any(r->late)) {
        late_note(r->late, atomic_load(&r->files), all_bytes(r));
        return 0;
    }
    if (!r->o->no_sync && sys_fs_sync(dst_top) < 0)
        return err_sys(err, ERR_FAILED, "put '%s' on disk", r->dst);
    if (!r->o->owner || r->o->ahead || r->o->keep_mark)
        return 0;
    if (mark(r->dst, r->o->owner, r->o->no_sync ? SENTINEL_COPIED : SENTINEL_READY,
             atomic_load(&r->files), all_bytes(r), err) < 0)
        return -1;
    (void)sys_tree_set_times(dst_top, "", top.atime, top.mtime); /* the mark has changed them */
    return 0;
}

int tree_clone(const char *src, const char *dst, const struct tree_options *o,
               struct tree_result *ret, struct err *err)
{
    struct err mine = {0};
    struct run r = {.o = o, .src = src, .dst = dst};
    int ok = prepare(&r, &mine);
    if (ok == 0)
        ok = src ? walk(&r, ret, &mine) : finish_empty(&r, ret, &mine);
    if (ok < 0 && err)
        *err = mine;
    return ok;
}

/* The mark says "cloning", unless it does: then there is no wait for the disk. */
static int mark_again(const struct tree_options *o, const struct run *r, struct err *err)
{
    struct sentinel want = claim_of(o), found;
    if (sentinel_check(r->dst, &want, err) < 0 || sentinel_read(r->dst, &found, err) < 0)
        return -1;
    if (found.state == SENTINEL_CLONING && sentinel_this_boot(&found))
        return 0;
    return mark(r->dst, o->owner, SENTINEL_CLONING, r->files_total, r->bytes_total, err);
}

int tree_refresh(const char *src, const char *dst, const struct tree_options *o,
                 struct tree_result *ret, struct err *err)
{
    struct err mine = {0};
    struct run r = {.o = o, .src = src, .dst = dst, .existing = true, .refresh = true};
    int ok = refuse_nesting(src, dst, &mine);
    r.files_total = o->files_total;
    r.bytes_total = o->bytes_total;
    if (ok == 0 && o->owner)
        ok = mark_again(o, &r, &mine);
    if (ok == 0)
        ok = walk(&r, ret, &mine);
    if (ok < 0 && err)
        *err = mine;
    return ok;
}

int tree_settle(const char *dst, const struct sentinel *owner, struct seen *seen, struct err *err)
{
    struct sentinel want = *owner, found;
    struct late *late = seen ? seen_late(seen, 0) : NULL;
    want.state = 0;
    if (sentinel_check(dst, &want, err) < 0 || sentinel_read(dst, &found, err) < 0)
        return -1;
    if (found.state == SENTINEL_READY || found.state == SENTINEL_LIVE)
        return 0;
    if (late_any(late) && found.state == SENTINEL_CLONING) {
        found.state = SENTINEL_COPIED;
        late_noted(late, &found.files, &found.bytes);
    }
    if (found.state != SENTINEL_COPIED || !sentinel_this_boot(&found)) {
        err_set(err, ERR_FAILED, "'%s' is no finished clone: it is marked '%s'%s", dst,
                sentinel_state_name(found.state),
                found.state == SENTINEL_COPIED
                    ? " in an earlier boot, and may not have reached the disk"
                    : "");
        return err_hint(err, "run the same command again: the clone is made anew");
    }
    struct sys_node top;
    cleanup_fd int fd = sys_tree_top(dst, false);
    if (fd >= 0 && late_any(late) && late_write(late, fd, dst, err) < 0)
        return -1;
    if (fd < 0 || sys_node_at(fd, "", &top) < 0 || sys_fault_point("clone/settle") < 0 ||
        sys_fs_sync(fd) < 0)
        return err_sys(err, ERR_FAILED, "put '%s' on disk", dst);
    if (mark(dst, &found, SENTINEL_READY, found.files, found.bytes, err) < 0)
        return -1;
    (void)sys_tree_set_times(fd, "", top.atime, top.mtime);
    return 0;
}

/* ---- reflink? ---- */

/* Some regular file with contents below: looks at 10,000 names at most. */
static int find_file(int dir, unsigned depth, unsigned *budget)
{
    cleanup_free struct sys_names *list = sys_names_open(dir);
    const char *name;
    unsigned char type;
    while (*budget && sys_names_next(list, &name, &type) > 0) {
        --*budget;
        struct sys_node node;
        if (sys_node_at(dir, name, &node) < 0)
            continue;
        int fd = -1;
        if (S_ISREG(node.mode) && node.size)
            fd = sys_tree_open(dir, name, O_RDONLY | O_NONBLOCK, 0);
        if (S_ISDIR(node.mode) && depth < 64) {
            cleanup_fd int sub = sys_tree_beneath(dir, name);
            fd = sub < 0 ? -1 : find_file(sub, depth + 1, budget);
        }
        if (fd >= 0)
            return fd;
    }
    return -1;
}

/* DST, or what will hold it. */
char *run_existing_part(const char *dst)
{
    char *path = real_of(dst);
    while (!sys_path_exists(path)) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            break;
        *slash = '\0';
    }
    return path;
}

int tree_can_reflink(const char *src, const char *dst, struct err *err)
{
    unsigned budget = 10000;
    cleanup_free char *where = run_existing_part(dst);
    cleanup_fd int top = sys_tree_top(src, true);
    if (top < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "open '%s'", src);
    const char *fs = sys_fs_name(sys_fs_magic(top));
    cleanup_fd int to = sys_file_unnamed(where);
    if (to < 0)
        return err_sys(err, ERR_UNSUPPORTED, "try a reflink in '%s' (%s)", where, fs);
    cleanup_fd int from = find_file(top, 0, &budget);
    struct sys_node a, b;
    if (from < 0 && sys_node_at(top, "", &a) == 0 && sys_node_at(to, "", &b) == 0 &&
        a.dev == b.dev) {
        from = sys_file_unnamed(where); /* nothing to try with: two files of our own must do */
        if (from >= 0 && sys_file_pwrite(from, "x", 1, 0) < 0)
            return err_sys(err, ERR_FAILED, "write to '%s'", where);
    }
    if (from >= 0 && sys_file_reflink(to, from) == 0)
        return 0;
    if (from < 0 || errno == EXDEV)
        return err_set(err, ERR_UNSUPPORTED,
                       "'%s' and '%s' are not on one file system: nothing can be shared", src,
                       where);
    return err_sys(err, ERR_UNSUPPORTED, "%s cannot reflink from '%s' to '%s'", fs, src, where);
}
