/* Where a volume is on btrfs, what is nested in it, and whose the subvolumes are. */
#include "base/str.h"
#include "driver/storage/btrfs.h"
#include "sys/file.h"
#include "sys/path.h"
#include "sys/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define ATTRIBUTE "user.changeover"
#define NESTED_MAX ((size_t)100000)

void btrfs_place_done(struct btrfs_place *p)
{
    free(p->dir);
    free(p->name);
    free(p->staging);
    sys_close_p(&p->dir_fd);
}

static void split(const char *path, struct btrfs_place *ret)
{
    cleanup_free char *copy = x_strdup(path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/';)
        copy[--n] = '\0';
    char *slash = strrchr(copy, '/');
    ret->name = x_strdup(slash ? slash + 1 : copy);
    if (slash)
        slash[slash == copy] = '\0';
    ret->dir = x_strdup(slash ? copy : ".");
}

int btrfs_open(const struct btrfs_place *p)
{
    return p->dir_fd < 0 ? -1 : sys_tree_open(p->dir_fd, p->name, O_RDONLY | O_DIRECTORY, 0);
}

int btrfs_look(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
               struct btrfs_place *ret, struct err *err)
{
    struct sys_node node;
    *ret = (struct btrfs_place){.v = v, .colour = colour, .dir_fd = -1};
    split(v->path, ret);
    ret->staging =
        x_asprintf(".%s.changeover-%s", ret->name, ctx->upgrade_id ? ctx->upgrade_id : "");
    ret->dir_fd = sys_tree_top(ret->dir, true);
    if (ret->dir_fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_sys(err, ERR_FAILED, "volume '%s': open '%s'", v->name, ret->dir);
    cleanup_fd int fd = btrfs_open(ret);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : err_sys(err, ERR_FAILED, "volume '%s': open '%s'", v->name, v->path);
    if (sys_node_at(fd, "", &node) < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': look at '%s'", v->name, v->path);
    ret->mount = node.mount_root;
    ret->subvolume = sys_btrfs_subvolume(fd, &ret->sub) == 0;
    return ret->subvolume || errno == ENOTTY
               ? 0
               : err_sys(err, ERR_FAILED, "volume '%s': look at the subvolume '%s'", v->name,
                         v->path);
}

char *btrfs_staging_path(const struct btrfs_place *p)
{
    return x_asprintf("%s/%s", p->dir, p->staging);
}

/* ---- whose it is ---- */

static char *mark_text(const struct driver_ctx *ctx, const struct spec_volume *v,
                       enum colour colour, const uint8_t uuid[SYS_UUID])
{
    cleanup_str struct str s = {0};
    str_addf(&s, "%s %s %s ", ctx->service, colour_name(colour), v->name);
    for (size_t i = 0; i < SYS_UUID; i++)
        str_addf(&s, "%02x", uuid[i]);
    return str_take(&s);
}

enum btrfs_mark btrfs_mark_of(const struct driver_ctx *ctx, const struct spec_volume *v,
                              enum colour colour, int fd, const struct sys_subvolume *sub)
{
    char found[512];
    ssize_t n = sys_xattr_get(fd, "", ATTRIBUTE, found, sizeof(found) - 1);
    if (n < 0)
        return errno == ENODATA ? BTRFS_UNMARKED : BTRFS_OTHER;
    found[n] = '\0';
    cleanup_free char *own = mark_text(ctx, v, colour, sub->uuid);
    if (str_eq(found, own))
        return BTRFS_OURS;
    for (int c = GREEN; c < COLOURS; c++) {
        cleanup_free char *parent = mark_text(ctx, v, (enum colour)c, sub->parent_uuid);
        if (str_eq(found, parent))
            return BTRFS_SNAPSHOT;
    }
    return BTRFS_OTHER;
}

int btrfs_mark_set(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                   int fd, const struct sys_subvolume *sub, struct err *err)
{
    cleanup_free char *text = mark_text(ctx, v, colour, sub->uuid);
    if (sys_xattr_set(fd, "", ATTRIBUTE, text, strlen(text)) < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': mark a subvolume of '%s' as ours", v->name,
                       v->path);
    return 0;
}

/* ---- nested ---- */

void btrfs_list_done(struct btrfs_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i].path);
    free(l->v);
    *l = (struct btrfs_list){0};
}

/* Parents come first, so it is enough to look at them. */
static bool in_left_out(const struct btrfs_list *l, const char *path)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].left_out && str_starts(path, l->v[i].path) && path[strlen(l->v[i].path)] == '/')
            return true;
    return false;
}

static int take_nested(void *ctx, const char *path, const struct sys_subvolume *sub)
{
    struct btrfs_list *l = ctx;
    if (l->n == NESTED_MAX) {
        errno = E2BIG;
        return -1;
    }
    bool left_out = sub->read_only || in_left_out(l, path);
    l->v = x_realloc(l->v, l->n + 1, sizeof(*l->v));
    l->v[l->n++] = (struct btrfs_nested){.path = x_strdup(path), .sub = *sub, .left_out = left_out};
    return 0;
}

int btrfs_nested_of(const struct spec_volume *v, int top, struct btrfs_list *ret, struct err *err)
{
    if (sys_btrfs_nested(top, take_nested, ret) < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': list the subvolumes in '%s'", v->name,
                       v->path);
    return 0;
}

/* `forget` takes off only what is ours. */
static int mark_one(const struct driver_ctx *ctx, const struct btrfs_place *p, int fd,
                    const struct sys_subvolume *sub, bool on, struct err *err)
{
    enum btrfs_mark mark = btrfs_mark_of(ctx, p->v, p->colour, fd, sub);
    if (on)
        return mark == BTRFS_OURS ? 0 : btrfs_mark_set(ctx, p->v, p->colour, fd, sub, err);
    if (mark != BTRFS_OURS || sys_xattr_remove(fd, "", ATTRIBUTE) == 0)
        return 0;
    return err_sys(err, ERR_FAILED, "volume '%s': take our mark off '%s'", p->v->name, p->v->path);
}

int btrfs_mark_all(const struct driver_ctx *ctx, const struct btrfs_place *p, bool on,
                   struct err *err)
{
    cleanup_btrfs_list struct btrfs_list l = {0};
    cleanup_fd int top = btrfs_open(p);
    if (top < 0)
        return err_sys(err, ERR_FAILED, "volume '%s': open '%s'", p->v->name, p->v->path);
    if (mark_one(ctx, p, top, &p->sub, on, err) < 0 || btrfs_nested_of(p->v, top, &l, err) < 0)
        return -1;
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].left_out)
            continue;
        cleanup_fd int fd = sys_tree_beneath(top, l.v[i].path);
        if (fd < 0 && errno != ENOENT)
            return err_sys(err, ERR_FAILED, "volume '%s': open the subvolume '%s/%s'", p->v->name,
                           p->v->path, l.v[i].path);
        if (fd >= 0 && mark_one(ctx, p, fd, &l.v[i].sub, on, err) < 0)
            return -1;
    }
    return 0;
}
