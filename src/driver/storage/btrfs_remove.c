/* The end of a subvolume, once everything in it is known to be ours. */
#include "base/str.h"
#include "clone/remove.h"
#include "driver/storage/btrfs.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define CLEANER_LOOK (100 * NSEC_MS)
#define CLEANER_WAKE (2 * NSEC_S)
#define CLEANER_IDLE (15 * NSEC_S) /* without a step forward */

static bool may_go(const struct driver_ctx *ctx, const struct btrfs_place *p, int fd,
                   const struct sys_subvolume *sub, bool making)
{
    enum btrfs_mark mark = btrfs_mark_of(ctx, p->v, p->colour, fd, sub);
    return mark == BTRFS_OURS || (making && mark == BTRFS_SNAPSHOT);
}

/* What would go with it and is not ours, and who has it mounted. */
static int find_foreign(const struct driver_ctx *ctx, const struct btrfs_place *p, int top,
                        const struct sys_subvolume *sub, const struct btrfs_list *l, bool making,
                        struct str *ret, struct err *err)
{
    char at[1024];
    if (sys_btrfs_mounted(top, sub->id, at, sizeof(at)))
        str_addf(ret, "%s (a mount of it)", at);
    for (size_t i = 0; i < l->n; i++) {
        const struct btrfs_nested *e = &l->v[i];
        cleanup_fd int fd = sys_tree_beneath(top, e->path);
        const char *sep = ret->len ? ", " : "";
        if (fd < 0)
            return err_sys(err, ERR_FAILED, "volume '%s': open the subvolume '%s/%s'", p->v->name,
                           p->v->path, e->path);
        if (e->left_out || !may_go(ctx, p, fd, &e->sub, making))
            str_addf(ret, "%s%s/%s%s", sep, p->v->path, e->path,
                     e->sub.read_only ? " (read-only)" : "");
        else if (sys_btrfs_mounted(top, e->sub.id, at, sizeof(at)))
            str_addf(ret, "%s%s (a mount of %s)", sep, at, e->path);
    }
    return 0;
}

static int delete_one(const struct btrfs_place *p, int dir, const char *name, struct err *err)
{
    if (sys_btrfs_delete(dir, name) == 0)
        return 0;
    int why = errno;
    err_sys(err, ERR_FAILED, "volume '%s': delete the subvolume '%s' in '%s'", p->v->name, name,
            p->dir);
    if (why == EPERM)
        return err_hint(err, "run as root; if it is root: is there an active swap file in it, or "
                             "is it being sent (btrfs send), or the default subvolume?");
    return -1;
}

static int delete_nested(const struct btrfs_place *p, int top, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *above = x_strndup(path, slash ? (size_t)(slash - path) : 0);
    cleanup_fd int dir = sys_tree_beneath(top, above);
    if (dir < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': open '%s/%s'", p->v->name, p->v->path, above);
    return delete_one(p, dir, slash ? slash + 1 : path, err);
}

static int all_back(const struct btrfs_place *p, const uint64_t *ids, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) /* fails where quotas are off: then there is none */
        (void)sys_btrfs_quota_forget(p->dir_fd, ids[i]);
    return sys_btrfs_commit(p->dir_fd) < 0
               ? err_sys(err, ERR_FAILED, "volume '%s': commit", p->v->name)
               : 0;
}

/* A name that is gone frees nothing by itself: the file system's cleaner does, some time later, and
 * only once nobody has a file in it open. */
static int await_space(const struct driver_ctx *ctx, const struct btrfs_place *p,
                       const uint64_t *ids, size_t n, struct err *err)
{
    cleanup_free char *text = x_asprintf("remove %s: space that comes back", p->v->name);
    nsec_t woken = 0, moved = sys_clock_mono();
    for (size_t left = n, before = n;; before = left) {
        nsec_t now = sys_clock_mono();
        if (!woken || now > woken + CLEANER_WAKE) {
            if (sys_btrfs_commit(p->dir_fd) < 0)
                break;
            woken = now;
        }
        if (sys_btrfs_deleted(p->dir_fd, ids, n, &left) < 0)
            break;
        event_progress(ctx->sink, text, (double)(n - left), (double)n, "subvolumes", 0, -1);
        if (left == 0)
            return all_back(p, ids, n, err);
        moved = left < before ? now : moved;
        if (now > moved + CLEANER_IDLE) {
            event_warn(ctx->sink,
                       "volume %s: its data is gone, but not all of its space is back: somebody "
                       "has a file of it open (lsof +L1), or the file system is busy",
                       p->v->name);
            return 0;
        }
        if (driver_poll(ctx) > 0)
            return err_set(err, ERR_INTERRUPTED,
                           "volume '%s': its data is gone; its space is still coming back",
                           p->v->name);
        sys_sleep(CLEANER_LOOK);
    }
    return err_sys(err, ERR_FAILED, "volume '%s': wait until the space of '%s' is back", p->v->name,
                   p->v->path);
}

static int delete_all(const struct driver_ctx *ctx, const struct btrfs_place *p, const char *name,
                      int *top, const struct sys_subvolume *sub, const struct btrfs_list *l,
                      bool wait, struct err *err)
{
    cleanup_free uint64_t *ids = x_alloc((l->n + 1) * sizeof(*ids));
    for (size_t i = l->n; i-- > 0;) {
        ids[i] = l->v[i].sub.id;
        if (delete_nested(p, *top, l->v[i].path, err) < 0)
            return -1;
    }
    ids[l->n] = sub->id;
    sys_close_p(top); /* it would keep the space */
    if (delete_one(p, p->dir_fd, name, err) < 0)
        return -1;
    return wait ? await_space(ctx, p, ids, l->n + 1, err) : 0;
}

int btrfs_remove(const struct driver_ctx *ctx, const struct btrfs_place *p, const char *name,
                 bool making, bool wait, struct err *err)
{
    struct sys_subvolume sub;
    cleanup_btrfs_list struct btrfs_list l = {0};
    cleanup_str struct str foreign = {0};
    cleanup_fd int top = sys_tree_open(p->dir_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (top < 0 || sys_btrfs_subvolume(top, &sub) < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': look at the subvolume '%s/%s'", p->v->name,
                       p->dir, name);
    if (!may_go(ctx, p, top, &sub, making)) {
        err_set(err, ERR_FOREIGN,
                "volume '%s': the subvolume '%s/%s' is not the one that we marked as %s's: not "
                "touched",
                p->v->name, p->dir, name, colour_name(p->colour));
        return err_hint(err, "if it may go: btrfs subvolume delete %s/%s", p->dir, name);
    }
    if (btrfs_nested_of(p->v, top, &l, err) < 0 ||
        find_foreign(ctx, p, top, &sub, &l, making, &foreign, err) < 0)
        return -1;
    if (foreign.len) {
        err_set(err, ERR_FAILED,
                "volume '%s': '%s' was not destroyed, for these would go with it, and they are not "
                "ours: %.2000s",
                p->v->name, p->v->path, str_cstr(&foreign));
        return err_hint(err, "look at them, move them away or delete them by name (btrfs subvolume "
                             "delete PATH, umount), then: changeover resume");
    }
    return delete_all(ctx, p, name, &top, &sub, &l, wait, err);
}

/* ---- what a clone leaves beside its place ---- */

bool btrfs_staging_is_ours(const struct driver_ctx *ctx, const struct btrfs_place *p)
{
    struct sys_subvolume sub;
    struct sentinel want = storage_mark_of(ctx, p->v, p->colour, true), found;
    cleanup_free char *path = btrfs_staging_path(p);
    if (!ctx->upgrade_id || !*ctx->upgrade_id || p->dir_fd < 0)
        return false;
    cleanup_fd int fd = sys_tree_open(p->dir_fd, p->staging, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return false;
    if (sys_btrfs_subvolume(fd, &sub) < 0 ||
        btrfs_mark_of(ctx, p->v, p->colour, fd, &sub) == BTRFS_UNMARKED)
        return sentinel_look(path, &want, &found, NULL) == SENTINEL_OURS; /* what it changed with */
    return may_go(ctx, p, fd, &sub, true);
}

int btrfs_remove_staging(const struct driver_ctx *ctx, const struct btrfs_place *p, struct err *err)
{
    struct sys_subvolume sub;
    struct sentinel want = storage_mark_of(ctx, p->v, p->colour, true);
    cleanup_free char *path = btrfs_staging_path(p);
    if (!btrfs_staging_is_ours(ctx, p))
        return 0;
    cleanup_fd int fd = sys_tree_open(p->dir_fd, p->staging, O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0 && sys_btrfs_subvolume(fd, &sub) == 0 &&
        btrfs_mark_of(ctx, p->v, p->colour, fd, &sub) != BTRFS_UNMARKED)
        return btrfs_remove(ctx, p, p->staging, true, false, err);
    return tree_remove(path, &want, NULL, err) < 0 ? err_ctx(err, "volume '%s'", p->v->name) : 0;
}
