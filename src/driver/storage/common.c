#include "driver/storage/common.h"

#include "base/str.h"
#include "clone/measure.h"
#include "clone/remove.h"
#include "sys/btrfs.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/tree.h"
#include "sys/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MEASURE_BUDGET (200 * NSEC_MS)
#define LATE ((size_t)64 << 20) /* what all volumes of a service together keep until the thaw */

struct sentinel storage_mark_of(const struct driver_ctx *ctx, const struct spec_volume *v,
                                enum colour colour, bool upgrade)
{
    struct sentinel s = {0};
    snprintf(s.service, sizeof(s.service), "%s", ctx->service);
    snprintf(s.colour, sizeof(s.colour), "%s", colour_name(colour));
    snprintf(s.volume, sizeof(s.volume), "%s", v->name);
    if (upgrade)
        snprintf(s.upgrade, sizeof(s.upgrade), "%s", ctx->upgrade_id ? ctx->upgrade_id : "");
    return s;
}

bool storage_cancel(void *ctx)
{
    return driver_poll(((const struct storage_run *)ctx)->ctx) > 0;
}

static void report(void *ctx, const struct tree_progress *p)
{
    const struct storage_run *run = ctx;
    char text[256];
    unsigned long long done = p->files_done, total = p->files_total;
    if (total)
        snprintf(text, sizeof(text), "%.128s: %llu of %llu files", run->text, done, total);
    else
        snprintf(text, sizeof(text), "%.128s: %llu files", run->text, done);
    struct event ev = {
        .kind = EVENT_PROGRESS,
        .step = run->ctx->step_name ? run->ctx->step_name
                                    : run->text, /* the text changes: this does not */
        .text = text,
        .done = (double)p->bytes_done,
        .total = (double)p->bytes_total,
        .unit = "bytes",
        .rate = p->bytes_rate,
        .eta_ns = p->left,
    };
    event_emit(run->ctx->sink, &ev);
}

static void report_removal(void *ctx, uint64_t removed)
{
    const struct storage_run *run = ctx;
    event_progress(run->ctx->sink, run->text, (double)removed, 0, "files", 0, -1);
}

static struct tree_options options(const struct spec_volume *src, enum tree_mode mode,
                                   const struct sentinel *owner, struct storage_run *run)
{
    return (struct tree_options){
        .mode = mode,
        .exclude = (const char *const *)src->exclude.v,
        .live_source = src->consistency == CONSISTENCY_NONE,
        .rate_limit = src->rate_limit,
        .pressure = (unsigned)src->max_pressure,
        .owner = owner,
        .progress = report,
        .cancel = storage_cancel,
        .ctx = run,
    };
}

/* ---- inspect ---- */

static void describe(const struct spec_volume *v, const struct sentinel *want,
                     struct storage_facts *f)
{
    struct sentinel found;
    struct err why = {0};
    enum sentinel_place place = sentinel_look(v->path, want, &found, &why);
    f->exists = place != SENTINEL_ABSENT;
    f->empty = place == SENTINEL_EMPTY;
    if (place == SENTINEL_FOREIGN) {
        /* data without any mark is nobody's yet: what adopt is for; somebody else's mark is not */
        bool marked = sentinel_read(v->path, &found, NULL) == 0;
        f->owner = marked || sys_path_kind(v->path) != SYS_DIR ? OWNER_FOREIGN : OWNER_NONE;
        snprintf(f->owner_text, sizeof(f->owner_text), "%.255s", why.msg);
    }
    if (place != SENTINEL_OURS)
        return;
    f->owner = OWNER_OURS;
    f->complete = found.state == SENTINEL_READY || found.state == SENTINEL_LIVE;
    f->copied = f->complete || (found.state == SENTINEL_COPIED && sentinel_this_boot(&found));
    snprintf(f->upgrade_id, sizeof(f->upgrade_id), "%.31s", found.upgrade);
    snprintf(f->owner_text, sizeof(f->owner_text), "%.60s, %.8s, volume %.60s, %s%.60s, %s",
             found.service, found.colour, found.volume, *found.upgrade ? "upgrade " : "adopted",
             found.upgrade, sentinel_state_name(found.state));
}

static char *nearest(const char *path)
{
    char *at = x_strdup(path);
    while (!sys_path_exists(at)) {
        char *slash = strrchr(at, '/');
        if (!slash || slash == at)
            break;
        *slash = '\0';
    }
    if (!sys_path_exists(at))
        snprintf(at, strlen(at) + 1, "%s", *path == '/' ? "/" : ".");
    return at;
}

int storage_inspect_place(const struct driver_ctx *ctx, const struct spec_volume *v,
                          enum colour colour, struct storage_facts *ret, struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, v, colour, false);
    cleanup_free char *at = nearest(v->path);
    struct sys_space space;
    *ret = (struct storage_facts){.supported = true};
    describe(v, &want, ret);
    if (sys_path_space(at, &space, err) < 0)
        return -1;
    ret->free_bytes = space.free_bytes;
    snprintf(ret->fs_name, sizeof(ret->fs_name), "%.31s", sys_fs_name(space.fs_magic));
    return 0;
}

static bool compresses(const char *path)
{
    struct sys_space space;
    if (sys_path_space(path, &space, NULL) < 0)
        return false;
    const char *fs = sys_fs_name(space.fs_magic);
    return str_eq(fs, "ZFS") || str_eq(fs, "btrfs");
}

/* ponytail: inodes are taken as 1 KiB and directories as a block; exact only to some per cent. */
static uint64_t needed(const struct spec_volume *src, enum tree_mode mode,
                       const struct tree_size *z)
{
    uint64_t meta = (z->files + z->others) * 1024 + z->dirs * 4096;
    if (mode == TREE_REFLINK)
        return meta;
    /* Blocks that the source has compressed arrive in full. */
    return meta + (compresses(src->path) && z->apparent > z->blocks ? z->apparent : z->blocks);
}

int storage_tree_inspect(const struct driver_ctx *ctx, const struct spec_volume *src,
                         const struct spec_volume *dst, enum colour dst_colour, bool measure,
                         enum tree_mode mode, struct storage_facts *ret, struct err *err)
{
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = options(src, mode, NULL, &run);
    struct tree_size size;
    nsec_t estimate = -1;
    struct err why = {0};
    if (storage_inspect_place(ctx, dst, dst_colour, ret, err) < 0)
        return -1;
    if (mode == TREE_REFLINK && tree_can_reflink(src->path, dst->path, &why) < 0) {
        ret->supported = false;
        snprintf(ret->why_not, sizeof(ret->why_not), "%.255s", why.msg);
    }
    if (!measure)
        return 0;
    int ok = ret->supported
                 ? tree_estimate(src->path, dst->path, &o, MEASURE_BUDGET, &size, &estimate, err)
                 : tree_measure(src->path, &o, &size, err);
    if (ok < 0)
        return err_ctx(err, "measure volume '%s'", src->name);
    ret->files = size.files;
    ret->bytes = size.data;
    ret->needed_bytes = needed(src, mode, &size);
    ret->estimate_ns = estimate < 0 ? 0 : estimate;
    /* In memory, with nobody to watch it, the last pass is over all of it. */
    bool whole =
        estimate > 0 && sys_watch_needed(src->path) && !sys_watch_can(src->path, SYS_WATCH_LET_GO);
    ret->pause_ns = whole ? estimate : size.took + size.took / 5;
    return 0;
}

/* ---- clone ---- */

int storage_already(const struct driver_ctx *ctx, const struct spec_volume *dst,
                    enum colour dst_colour, struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, dst, dst_colour, true), found;
    if (!*want.upgrade)
        return err_set(err, ERR_USAGE, "clone volume '%s': not inside an upgrade", dst->name);
    switch (sentinel_look(dst->path, &want, &found, err)) {
    case SENTINEL_OURS:
        return found.state == SENTINEL_READY ||
               (found.state == SENTINEL_COPIED && sentinel_this_boot(&found));
    case SENTINEL_FOREIGN:
        err_ctx(err, "clone volume '%s'", dst->name);
        return err_hint(err, "move what is there away, or name another path for %s",
                        colour_name(dst_colour));
    case SENTINEL_ABSENT:
    case SENTINEL_EMPTY:
        break;
    }
    return 0;
}

/* Whether it will fit is asked while nothing is paused yet. */
static int enough_space(const struct spec_volume *src, const struct spec_volume *dst,
                        enum tree_mode mode, const struct tree_size *size, struct err *err)
{
    struct sys_space space;
    char want[24], have[24];
    uint64_t bytes = needed(src, mode, size);
    cleanup_free char *at = nearest(dst->path);
    if (sys_path_space(at, &space, err) < 0)
        return -1;
    if (space.free_bytes >= bytes)
        return 0;
    err_set(err, ERR_FAILED, "clone volume '%s' to '%s': it takes about %s, and %s are free there",
            src->name, dst->path, str_bytes(want, sizeof(want), bytes),
            str_bytes(have, sizeof(have), space.free_bytes));
    err->sys = ENOSPC;
    return err_hint(err, "free space there, or exclude what the standby does not need");
}

int storage_tree_begin(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, enum tree_mode mode,
                       struct err *err)
{
    int done = storage_already(ctx, dst, dst_colour, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    struct storage_run run = {.ctx = ctx};
    struct tree_options o = options(src, mode, &owner, &run);
    struct tree_size size;
    if (tree_begin(src->path, dst->path, &o, err) < 0 || /* frees what a leftover holds */
        tree_measure(src->path, &o, &size, err) < 0 || enough_space(src, dst, mode, &size, err) < 0)
        return -1;
    owner.files = size.files;
    owner.bytes = size.data;
    owner.state = SENTINEL_CLONING;
    return sentinel_write(dst->path, &owner, err); /* what the progress counts towards */
}

/* What was cloned and how fast; further passes are over what changed. */
static void say_cloned(const struct tree_options *o, const char *volume,
                       const struct tree_result *res)
{
    const struct storage_run *run = o->ctx;
    char bytes[24], rate[24], took[24];
    double seconds = (double)res->took / 1e9;
    event_note(run->ctx->sink, "volume %s: %llu files, %s in %s, %s/s", volume,
               (unsigned long long)res->files, str_bytes(bytes, sizeof(bytes), res->bytes),
               clock_words(took, sizeof(took), res->took),
               str_bytes(rate, sizeof(rate),
                         seconds > 0 ? (uint64_t)((double)res->bytes / seconds) : res->bytes));
}

/* One pass, the first of this process or a further one, verified if the spec asks for it. */
static int pass(const struct spec_volume *src, const struct spec_volume *dst,
                const struct tree_options *o, struct err *err)
{
    struct tree_result res;
    bool further = o->seen && seen_passes(o->seen) > 0;
    int ok = further ? tree_refresh(src->path, dst->path, o, &res, err)
                     : tree_clone(src->path, dst->path, o, &res, err);
    if (ok == 0 && src->verify)
        ok = tree_verify(src->path, dst->path, o, NULL, err);
    if (ok == 0 && !further)
        say_cloned(o, src->name, &res);
    return ok < 0 ? err_ctx(err, "volume '%s'", src->name) : 0;
}

int storage_tree_ahead(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, enum tree_mode mode,
                       struct seen *seen, struct err *err)
{
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    cleanup_free char *text =
        x_asprintf("clone %s, pass %u while it runs", src->name, seen_passes(seen) + 1);
    struct storage_run run = {.ctx = ctx, .text = text};
    struct tree_options o = options(src, mode, &owner, &run);
    o.seen = seen;
    o.ahead = true;
    return pass(src, dst, &o, err);
}

/* Where a file is copied anyhow, nothing is gained; what is to be verified must be there. */
static size_t late_of(const struct driver_ctx *ctx, const struct spec_volume *src,
                      enum colour dst_colour, enum tree_mode mode)
{
    return mode == TREE_REFLINK && !src->verify ? LATE / ctx->side[dst_colour]->volumes_n : 0;
}

int storage_tree_clone(const struct driver_ctx *ctx, const struct spec_volume *src,
                       const struct spec_volume *dst, enum colour dst_colour, enum tree_mode mode,
                       struct seen *seen, struct err *err)
{
    int done = storage_already(ctx, dst, dst_colour, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    cleanup_free char *text = x_asprintf("clone %s", src->name);
    struct storage_run run = {.ctx = ctx, .text = text};
    struct tree_options o = options(src, mode, &owner, &run);
    o.no_sync = true;
    o.seen = seen;
    if (seen) { /* somebody waits for it, and it is little */
        o.late = late_of(ctx, src, dst_colour, mode);
        o.rate_limit = 0;
        o.pressure = 0;
    }
    if (pass(src, dst, &o, err) == 0)
        return 0;
    struct sentinel found;
    if (sentinel_read(dst->path, &found, NULL) < 0 || found.state != SENTINEL_COPIED)
        return -1;
    owner.state = SENTINEL_CLONING; /* found wrong: not to be taken for a good one */
    if (sentinel_write(dst->path, &owner, NULL) < 0)
        return err_ctx(err, "volume '%s' (and its mark cannot be taken back)", src->name);
    return -1;
}

int storage_tree_settle(const struct driver_ctx *ctx, const struct spec_volume *dst,
                        enum colour dst_colour, struct seen *seen, struct err *err)
{
    struct sentinel owner = storage_mark_of(ctx, dst, dst_colour, true);
    return tree_settle(dst->path, &owner, seen, err) < 0 ? err_ctx(err, "volume '%s'", dst->name)
                                                         : 0;
}

int storage_tree_destroy(const struct driver_ctx *ctx, const struct spec_volume *dst,
                         enum colour dst_colour, struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, dst, dst_colour, false);
    cleanup_free char *text = x_asprintf("remove %s", dst->name);
    struct storage_run run = {.ctx = ctx, .text = text};
    struct tree_remove_options o = {
        .progress = report_removal, .cancel = storage_cancel, .ctx = &run};
    return tree_remove(dst->path, &want, &o, err) < 0 ? err_ctx(err, "volume '%s'", dst->name) : 0;
}

/* ---- adopt, forget ---- */

int storage_tree_mark(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                      bool on, struct err *err)
{
    struct sentinel want = storage_mark_of(ctx, v, colour, false), found;
    struct err why = {0};
    if (sys_path_kind(v->path) != SYS_DIR)
        return err_set(err, ERR_NOT_FOUND, "volume '%s': '%s' is no directory", v->name, v->path);
    int known = sentinel_read(v->path, &found, &why);
    if (known < 0 && why.code != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return err_ctx(err, "volume '%s'", v->name);
    }
    if (known == 0 && sentinel_check(v->path, &want, err) < 0)
        return err_ctx(err, "volume '%s'", v->name);
    if (!on)
        return known == 0 ? sentinel_remove(v->path, err) : 0;
    if (known == 0 && (found.state == SENTINEL_CLONING || found.state == SENTINEL_COPIED))
        return err_set(err, ERR_FAILED,
                       "volume '%s': '%s' holds a clone of upgrade %s that is not finished",
                       v->name, v->path, found.upgrade);
    if (known == 0)
        return 0;
    want.state = SENTINEL_LIVE;
    return sentinel_write(v->path, &want, err);
}

/* ---- space ---- */

/* On btrfs each subvolume has a device number of its own. */
static int name_store(const char *path, const struct sys_space *space, char *ret, size_t size,
                      struct err *err)
{
    uint64_t dev, ino;
    uint8_t uuid[SYS_UUID], *u = uuid;
    cleanup_fd int fd =
        str_eq(sys_fs_name(space->fs_magic), "btrfs") ? sys_tree_top(path, true) : -1;
    if (fd >= 0 && sys_btrfs_filesystem(fd, uuid) == 0) {
        str_format(ret, size, "btrfs-%02x%02x%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3],
                   u[4], u[5], u[6], u[7]);
        return 0;
    }
    if (sys_path_identity(path, &dev, &ino, err) < 0)
        return -1;
    str_format(ret, size, "dev-%llx", (unsigned long long)dev);
    return 0;
}

int storage_tree_space(const struct driver_ctx *ctx, const struct spec_volume *v,
                       enum colour colour, uint64_t enough, struct storage_space *ret,
                       struct err *err)
{
    struct sys_space space;
    (void)ctx, (void)colour, (void)enough;
    *ret = (struct storage_space){
        .quota_bytes = UINT64_MAX, .limit_bytes = UINT64_MAX, .used_bytes = -1};
    if (sys_path_space(v->path, &space, err) < 0 ||
        name_store(v->path, &space, ret->store, sizeof(ret->store), err) < 0)
        return -1;
    ret->free_bytes = space.free_bytes;
    return 0;
}

int storage_flush(const struct spec_volume *v, nsec_t *ret_took, struct err *err)
{
    nsec_t began = sys_clock_mono();
    cleanup_fd int fd = sys_open(v->path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || sys_fs_sync(fd) < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': write '%s' out to disk", v->name, v->path);
    if (ret_took)
        *ret_took = sys_clock_mono() - began;
    return 0;
}
