/* Clones of btrfs subvolumes: a snapshot each, which shares its blocks until the two diverge.
 *
 * A snapshot is made under another name beside its place, marked there, and changes places with the
 * empty directory that begin has made: so the place holds a whole clone of ours or none. It is
 * writable at once: btrfs keeps no origin that a clone would hang on, and the uuids say what came
 * from what.
 *
 * The source stands still meanwhile: what is written while a snapshot is taken goes into it in the
 * order in which the file system writes it out, not in which it was written, and subvolumes that
 * are nested follow one after the other. */
#include "driver/storage/btrfs.h"
#include "base/str.h"
#include "clone/measure.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "sys/proc.h"
#include "sys/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define NEEDED_BYTES (8 << 20)  /* a clone's own metadata */
#define LEAST_ACT (5 * NSEC_MS) /* that one snapshot is reckoned to take */

static const char *const everything[] = {"*", NULL};

/* ---- inspect ---- */

/* What keeps the driver from cloning; ret is "" if nothing does. */
static void why_not(const struct btrfs_place *from, const struct btrfs_place *to, char *ret,
                    size_t size)
{
    uint8_t a[SYS_UUID], b[SYS_UUID];
    char at[256];
    const char *src = from->v->path, *dst = to->v->path;
    cleanup_fd int fd = btrfs_open(from);
    *ret = '\0';
    if (fd < 0)
        str_format(ret, size, "there is no directory '%s'", src);
    else if (sys_btrfs_filesystem(fd, a) < 0)
        str_format(ret, size, "'%s' is not on btrfs", src);
    else if (!from->subvolume)
        str_format(ret, size,
                   "'%s' is no subvolume of its own (driver reflink clones directories; or move "
                   "what is in it to one: btrfs subvolume create)",
                   src);
    else if (from->mount || to->mount)
        str_format(ret, size,
                   "'%s' is a mount point, and no snapshot can take its place: both colours must "
                   "be subvolumes in one btrfs that is mounted above them",
                   from->mount ? src : dst);
    else if (to->dir_fd < 0)
        str_format(ret, size, "there is no directory '%s'", to->dir);
    else if (sys_btrfs_filesystem(to->dir_fd, b) < 0 || memcmp(a, b, SYS_UUID) != 0)
        str_format(ret, size, "'%s' and '%s' are not on the same btrfs", src, to->dir);
    else if (sys_mount_below(src, at, sizeof(at)))
        str_format(ret, size, "'%s' is mounted in it", at);
    else if (sys_uid() != 0)
        str_format(ret, size, "only root may list and delete subvolumes");
}

/* The directory's own mark has been read into ret; the subvolume's has the last word. */
static void describe(const struct driver_ctx *ctx, const struct btrfs_place *p,
                     struct storage_facts *ret)
{
    cleanup_fd int fd = p->subvolume ? btrfs_open(p) : -1;
    if (fd >= 0 && ret->owner == OWNER_OURS) {
        enum btrfs_mark mark = btrfs_mark_of(ctx, p->v, p->colour, fd, &p->sub);
        if (mark == BTRFS_OURS || mark == BTRFS_UNMARKED)
            return;
        ret->owner = OWNER_FOREIGN;
        ret->complete = ret->copied = false;
        str_format(ret->owner_text, sizeof(ret->owner_text),
                   "%s, and not the subvolume that was marked",
                   mark == BTRFS_SNAPSHOT ? "a snapshot of a volume of ours" : "our mark inside");
        return;
    }
    if ((ret->exists && !ret->empty) || !btrfs_staging_is_ours(ctx, p))
        return;
    ret->exists = true; /* what a killed clone has left beside it must go, too */
    ret->empty = false;
    ret->owner = OWNER_OURS;
    str_format(ret->upgrade_id, sizeof(ret->upgrade_id), "%s", ctx->upgrade_id);
    str_format(ret->owner_text, sizeof(ret->owner_text), "%.100s/%.100s", p->dir, p->staging);
}

static int flush(const struct btrfs_place *from, nsec_t *ret_took, struct err *err)
{
    nsec_t began = sys_clock_mono();
    cleanup_fd int fd = btrfs_open(from);
    if (fd < 0 || sys_fs_sync(fd) < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': write '%s' out to disk", from->v->name,
                       from->v->path);
    if (ret_took)
        *ret_took = sys_clock_mono() - began;
    return 0;
}

/* What of the source is no part of the clone, for people. */
static void note_left_out(const struct btrfs_list *l, struct storage_facts *ret)
{
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < l->n; i++) {
        n += l->v[i].left_out;
        if (l->v[i].left_out && !first)
            first = l->v[i].path;
    }
    if (n)
        str_format(ret->note, sizeof(ret->note),
                   "%zu read-only subvolume%s in it %s left out of the clone, and will stop "
                   "cleanup unless moved away or deleted before: %.100s%s",
                   n, n > 1 ? "s" : "", n > 1 ? "are" : "is", first, n > 1 ? ", ..." : "");
}

static int measure_source(const struct driver_ctx *ctx, const struct btrfs_place *from,
                          struct storage_facts *ret, struct err *err)
{
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = {.cancel = storage_cancel, .ctx = &run, .live_source = true};
    struct tree_size size;
    nsec_t first = 0, second = 0;
    cleanup_btrfs_list struct btrfs_list nested = {0};
    cleanup_fd int fd = btrfs_open(from);
    if (tree_measure(from->v->path, &o, &size, err) < 0)
        return err_ctx(err, "measure volume '%s'", from->v->name);
    ret->files = size.files;
    ret->bytes = size.data;
    ret->needed_bytes = NEEDED_BYTES;
    if (!ret->supported)
        return 0;
    if (btrfs_nested_of(from->v, fd, &nested, err) < 0 || flush(from, &first, err) < 0 ||
        flush(from, &second, err) < 0)
        return -1;
    nsec_t act = second > LEAST_ACT ? second : LEAST_ACT;
    ret->estimate_ns = first > LEAST_ACT ? first : LEAST_ACT;
    ret->pause_ns = act * (nsec_t)(nested.n + 1);
    note_left_out(&nested, ret);
    return 0;
}

static int btrfs_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, bool measure,
                         struct storage_facts *ret, struct err *err)
{
    cleanup_btrfs_place struct btrfs_place from = {.dir_fd = -1}, to = {.dir_fd = -1};
    if (storage_inspect_place(ctx, dst, dst_colour, ret, err) < 0 ||
        btrfs_look(ctx, src, colour_other(dst_colour), &from, err) < 0 ||
        btrfs_look(ctx, dst, dst_colour, &to, err) < 0)
        return -1;
    describe(ctx, &to, ret);
    why_not(&from, &to, ret->why_not, sizeof(ret->why_not));
    ret->supported = !*ret->why_not;
    return measure && sys_path_kind(src->path) == SYS_DIR ? measure_source(ctx, &from, ret, err)
                                                          : 0;
}

bool storage_btrfs_fits(const struct spec_volume *src, const struct spec_volume *dst)
{
    char reason[256];
    struct driver_ctx none = {.service = ""};
    struct err ignored = {0};
    cleanup_btrfs_place struct btrfs_place from = {.dir_fd = -1}, to = {.dir_fd = -1};
    if (src->exclude.n || src->rate_limit || src->verify || dst->exclude.n || dst->rate_limit ||
        dst->verify || btrfs_look(&none, src, GREEN, &from, &ignored) < 0 || !from.subvolume ||
        btrfs_look(&none, dst, BLUE, &to, &ignored) < 0)
        return false;
    why_not(&from, &to, reason, sizeof(reason));
    return !*reason;
}

/* ---- removing ---- */

static int remove_place(const struct driver_ctx *ctx, const struct btrfs_place *p, bool wait,
                        struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, p->v, p->colour, false);
    if (btrfs_remove_staging(ctx, p, err) < 0)
        return -1;
    if (!p->subvolume)
        return storage_tree_destroy(ctx, p->v, p->colour, err);
    switch (sentinel_look(p->v->path, &want, NULL, err)) {
    case SENTINEL_ABSENT:
    case SENTINEL_EMPTY:
        return 0;
    case SENTINEL_FOREIGN:
        return err_ctx(err, "volume '%s'", p->v->name);
    case SENTINEL_OURS:
        break;
    }
    return btrfs_remove(ctx, p, p->name, false, wait, err);
}

static int btrfs_destroy(const struct driver_ctx *ctx, const struct spec_volume *dst,
                         enum colour dst_colour, struct err *err)
{
    cleanup_btrfs_place struct btrfs_place p = {.dir_fd = -1};
    return btrfs_look(ctx, dst, dst_colour, &p, err) < 0 ? -1 : remove_place(ctx, &p, true, err);
}

/* ---- clone ---- */

/* The empty directory at dst that says whose it will be. */
static int make_placeholder(const struct driver_ctx *ctx, const struct btrfs_place *from,
                            const struct btrfs_place *to, struct err *err)
{
    struct sentinel owner = storage_mark_of(ctx, to->v, to->colour, true);
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = {.mode = TREE_COPY,
                             .exclude = everything,
                             .threads = 1,
                             .owner = &owner,
                             .cancel = storage_cancel,
                             .ctx = &run};
    return tree_begin(from->v->path, to->v->path, &o, err);
}

static int make_room(const struct driver_ctx *ctx, const struct btrfs_place *from,
                     struct btrfs_place *to, struct err *err)
{
    char reason[256];
    why_not(from, to, reason, sizeof(reason));
    if (*reason)
        return err_set(err, ERR_UNSUPPORTED, "clone volume '%s': %s", to->v->name, reason);
    cleanup_fd int fd = btrfs_open(to);
    bool marked = fd >= 0 && to->subvolume &&
                  btrfs_mark_of(ctx, to->v, to->colour, fd, &to->sub) != BTRFS_UNMARKED;
    if (btrfs_remove_staging(ctx, to, err) < 0 ||
        (marked && btrfs_remove(ctx, to, to->name, false, false, err) < 0) ||
        btrfs_mark_all(ctx, from, true, err) < 0)
        return -1;
    return make_placeholder(ctx, from, to, err);
}

/* Both sides; 1: this upgrade's clone is complete already. */
static int look_at_both(const struct driver_ctx *ctx, const struct spec_volume *src,
                        const struct spec_volume *dst, enum colour dst_colour,
                        struct btrfs_place *from, struct btrfs_place *to, struct err *err)
{
    if (btrfs_look(ctx, src, colour_other(dst_colour), from, err) < 0 ||
        btrfs_look(ctx, dst, dst_colour, to, err) < 0)
        return -1;
    return storage_already(ctx, dst, dst_colour, err);
}

static int btrfs_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, struct err *err)
{
    cleanup_btrfs_place struct btrfs_place from = {.dir_fd = -1}, to = {.dir_fd = -1};
    int done = look_at_both(ctx, src, dst, dst_colour, &from, &to, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    return make_room(ctx, &from, &to, err) < 0 ? -1 : flush(&from, NULL, err);
}

/* A snapshot writes out first what is not on disk yet: done now, little of that is left to do while
 * the source stands still. A clone that a try before this one made belongs to a point in time that
 * will not be the others': away with it. */
static int btrfs_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                       struct err *err)
{
    nsec_t took = 0;
    cleanup_btrfs_place struct btrfs_place from = {.dir_fd = -1}, to = {.dir_fd = -1};
    int done = look_at_both(ctx, src, dst, dst_colour, &from, &to, err);
    if (done < 0 || ((done || to.subvolume) && make_room(ctx, &from, &to, err) < 0))
        return -1;
    seen_begin(seen);
    int r = flush(&from, &took, err);
    seen_end(seen, r == 0, took, took, 0);
    return r;
}

static int snapshot(const struct btrfs_place *from, int fd, int dir, const char *name,
                    struct err *err)
{
    if (sys_btrfs_snapshot(fd, dir, name) == 0)
        return 0;
    int why = errno;
    err_sys(err, ERR_FAILED, "clone volume '%s': snapshot of '%s'", from->v->name, from->v->path);
    if (why == ETXTBSY)
        return err_hint(err, "there is an active swap file in it: swapoff, or move it to a "
                             "subvolume of its own outside the volume");
    if (why == EDQUOT)
        return err_hint(err, "a quota group allows no more: btrfs qgroup show -pcre %s",
                        from->v->path);
    return -1;
}

/* In the clone a nested subvolume is an empty directory, which its own snapshot takes the place of.
 */
static int clone_nested(const struct driver_ctx *ctx, const struct btrfs_place *from,
                        const struct btrfs_place *to, int src, int dst, const char *path,
                        struct err *err)
{
    struct sys_node node;
    struct sys_subvolume sub;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    cleanup_free char *above = x_strndup(path, slash ? (size_t)(slash - path) : 0);
    cleanup_fd int fd = sys_tree_beneath(src, path), dir = sys_tree_beneath(dst, above);
    if (fd < 0 || dir < 0 || sys_node_at(dir, "", &node) < 0 ||
        sys_tree_unlink(dir, name, true) < 0)
        return err_sys(err, ERR_FAILED, "clone volume '%s': make room for the subvolume '%s' in it",
                       to->v->name, path);
    if (snapshot(from, fd, dir, name, err) < 0)
        return -1;
    if (sys_fault_point("btrfs/nested") < 0)
        return err_sys(err, ERR_FAILED, "fault point btrfs/nested");
    cleanup_fd int made = sys_tree_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (made < 0 || sys_btrfs_subvolume(made, &sub) < 0)
        return err_sys(err, ERR_FAILED, "clone volume '%s': look at the subvolume '%s' in it",
                       to->v->name, path);
    (void)sys_tree_set_times(dir, "", node.atime, node.mtime);
    return btrfs_mark_set(ctx, to->v, to->colour, made, &sub, err);
}

static int make_clone(const struct driver_ctx *ctx, const struct btrfs_place *from,
                      const struct btrfs_place *to, struct err *err)
{
    struct sys_node top;
    struct sys_subvolume sub;
    struct sentinel owner = storage_mark_of(ctx, to->v, to->colour, true);
    cleanup_btrfs_list struct btrfs_list nested = {0};
    cleanup_free char *path = btrfs_staging_path(to);
    cleanup_fd int src = btrfs_open(from);
    if (src < 0 || sys_node_at(src, "", &top) < 0)
        return err_sys(err, ERR_FAILED, "clone volume '%s': open '%s'", from->v->name,
                       from->v->path);
    if (btrfs_mark_all(ctx, from, true, err) < 0 ||
        btrfs_nested_of(from->v, src, &nested, err) < 0 ||
        snapshot(from, src, to->dir_fd, to->staging, err) < 0)
        return -1;
    cleanup_fd int made = sys_tree_open(to->dir_fd, to->staging, O_RDONLY | O_DIRECTORY, 0);
    if (made < 0 || sys_btrfs_subvolume(made, &sub) < 0)
        return err_sys(err, ERR_FAILED, "clone volume '%s': look at '%s'", to->v->name, path);
    for (size_t i = 0; i < nested.n; i++)
        if (!nested.v[i].left_out &&
            clone_nested(ctx, from, to, src, made, nested.v[i].path, err) < 0)
            return -1;
    owner.state = SENTINEL_COPIED;
    if (btrfs_mark_set(ctx, to->v, to->colour, made, &sub, err) < 0 ||
        sentinel_write(path, &owner, err) < 0)
        return -1;
    (void)sys_tree_set_times(made, "", top.atime, top.mtime); /* the mark has changed them */
    if (sys_fault_point("btrfs/mark") < 0 ||
        sys_tree_exchange(to->dir_fd, to->staging, to->name) < 0 ||
        sys_fault_point("btrfs/exchange") < 0)
        return err_sys(err, ERR_FAILED, "clone volume '%s': put it at '%s'", to->v->name,
                       to->v->path);
    return 0;
}

static int btrfs_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, struct seen *seen,
                       struct err *err)
{
    (void)seen;
    cleanup_btrfs_place struct btrfs_place from = {.dir_fd = -1}, to = {.dir_fd = -1};
    int done = look_at_both(ctx, src, dst, dst_colour, &from, &to, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    struct sentinel want = storage_mark_of(ctx, dst, dst_colour, true);
    bool begun = !to.subvolume && sentinel_look(dst->path, &want, NULL, NULL) == SENTINEL_OURS;
    if (!begun && make_room(ctx, &from, &to, err) < 0)
        return -1;
    return make_clone(ctx, &from, &to, err);
}

static int btrfs_settle(const struct driver_ctx *ctx, const struct spec_volume *dst,
                        enum colour dst_colour, struct seen *seen, struct err *err)
{
    cleanup_btrfs_place struct btrfs_place p = {.dir_fd = -1};
    if (btrfs_look(ctx, dst, dst_colour, &p, err) < 0 || btrfs_remove_staging(ctx, &p, err) < 0)
        return -1;
    cleanup_fd int fd = btrfs_open(&p);
    if (fd < 0 || !p.subvolume || btrfs_mark_of(ctx, dst, dst_colour, fd, &p.sub) != BTRFS_OURS)
        return err_set(err, ERR_FAILED, "volume '%s': '%s' is no finished clone of this upgrade",
                       dst->name, dst->path);
    return storage_tree_settle(ctx, dst, dst_colour, seen, err);
}

/* ---- adopt, forget ---- */

static int btrfs_mark(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                      bool on, struct err *err)
{
    cleanup_btrfs_place struct btrfs_place p = {.dir_fd = -1};
    if (storage_tree_mark(ctx, v, colour, on, err) < 0 || btrfs_look(ctx, v, colour, &p, err) < 0)
        return -1;
    return p.subvolume ? btrfs_mark_all(ctx, &p, on, err) : 0;
}

/* A limit of its quota group is live's alone: what the clone gives back was never counted there. */
static int btrfs_space(const struct driver_ctx *ctx, const struct spec_volume *v,
                       enum colour colour, uint64_t enough, struct storage_space *ret,
                       struct err *err)
{
    struct sys_btrfs_quota q;
    cleanup_btrfs_place struct btrfs_place p = {.dir_fd = -1};
    if (storage_tree_space(ctx, v, colour, enough, ret, err) < 0 ||
        btrfs_look(ctx, v, colour, &p, err) < 0)
        return -1;
    if (!p.subvolume || sys_btrfs_quota(p.dir_fd, p.sub.id, &q) < 0)
        return 0;
    ret->used_bytes = (int64_t)q.exclusive;
    if (!q.max_referenced)
        return 0;
    ret->limit_bytes = q.max_referenced > q.referenced ? q.max_referenced - q.referenced : 0;
    str_format(ret->limit, sizeof(ret->limit), "quota-group");
    return 0;
}

const struct storage_ops storage_btrfs = {
    .name = "btrfs",
    .caps = STORAGE_SHARES | STORAGE_AT_ONCE,
    .inspect = btrfs_inspect,
    .begin = btrfs_begin,
    .ahead = btrfs_ahead,
    .clone = btrfs_clone,
    .settle = btrfs_settle,
    .destroy = btrfs_destroy,
    .mark = btrfs_mark,
    .space = btrfs_space,
};
