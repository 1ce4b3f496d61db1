/* The looks at what is left, and the guard's file of them. */
#include "base/str.h"
#include "driver/memo.h"
#include "driver/storage/ops.h"
#include "engine/space.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <fcntl.h>
#include <string.h>

#define FRESH (10 * NSEC_S)
#define READ_MAX ((size_t)65536)
#define FILE_MAX ((int64_t)262144)

static char *file_of(const struct engine *e)
{
    return x_asprintf("%s/" SPACE_FILE, e->ctx.service_dir);
}

static struct space_store *slot_of(struct space_view *v, const char *name, nsec_t wall)
{
    for (size_t i = 0; i < v->n; i++)
        if (str_eq(v->store[i].name, name))
            return &v->store[i];
    if (v->n == SPACE_STORES)
        return NULL;
    struct space_store *s = &v->store[v->n++];
    *s = (struct space_store){.wall = wall, .left = UINT64_MAX, .used = {-1, -1}};
    str_format(s->name, sizeof(s->name), "%s", name);
    return s;
}

static void take(struct space_store *s, enum colour c, const char *volume, uint64_t left)
{
    s->holds[c] = true;
    if (left >= s->left)
        return;
    s->left = left;
    s->side = c;
    str_format(s->volume, sizeof(s->volume), "%s", volume);
}

/* live's own quota counts what our snapshot keeps, so the standby's end widens it; a quota of the
 * standby hurts nobody but the standby. */
static void add(struct space_view *v, const struct storage_space *sp, enum colour c, bool live,
                const char *volume, nsec_t wall)
{
    char name[96];
    uint64_t left = live && sp->quota_bytes < sp->free_bytes ? sp->quota_bytes : sp->free_bytes;
    struct space_store *s = slot_of(v, sp->store, wall);
    if (s) {
        take(s, c, volume, left);
        if (sp->used_bytes >= 0)
            s->used[c] = (s->used[c] < 0 ? 0 : s->used[c]) + sp->used_bytes;
    }
    if (!live || sp->limit_bytes == UINT64_MAX)
        return;
    s = slot_of(v, str_format(name, sizeof(name), "limit:%s:%s", sp->limit, volume), wall);
    if (s)
        take(s, c, volume, sp->limit_bytes);
}

int space_look(struct engine *e, uint64_t enough, struct space_view *ret, struct err *err)
{
    enum colour live = e->up->flipped ? e->up->to : e->up->from;
    struct driver_ctx ctx = e->ctx;
    nsec_t wall = sys_clock_wall();
    ctx.poll = NULL; /* a wait may be what has asked for this look */
    ctx.note_child = NULL;
    struct driver_memo memo = {0}; /* what was so when the step began is not asked for */
    ctx.memo = &memo;
    *ret = (struct space_view){0};
    bool failed = false;
    for (int k = 0; k < COLOURS; k++) { /* live first: of two that have the same it is named */
        enum colour c = k ? colour_other(live) : live;
        const struct spec *s = e->ctx.side[c];
        for (size_t i = 0; i < s->volumes_n && !failed; i++) {
            const struct spec_volume *v = &s->volumes[i];
            struct storage_space sp;
            if (!sys_path_exists(v->path))
                continue;
            failed = storage_space_of(&ctx, v, c, enough, &sp, err) < 0;
            if (!failed)
                add(ret, &sp, c, c == live, v->name, wall);
        }
    }
    driver_memo_clear(&memo);
    return failed ? -1 : 0;
}

/* ---- the file ---- */

static void cut_file(const char *path)
{
    struct err ignored = {0};
    cleanup_str struct str tail = {0};
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0 || sys_file_size(fd) < FILE_MAX)
        return;
    if (sys_file_tail(path, READ_MAX, &tail, &ignored) == 0 &&
        sys_file_replace(path, str_cstr(&tail), tail.len, 0600, &ignored) < 0)
        return; /* it grows a little more */
}

int space_sample(struct engine *e, nsec_t *last, struct err *err)
{
    struct space_view v;
    cleanup_str struct str lines = {0};
    cleanup_free char *path = file_of(e);
    nsec_t now = sys_clock_mono();
    if (*last && now < *last + SPACE_EVERY)
        return 0;
    *last = now;
    if (space_look(e, UINT64_MAX, &v, err) < 0)
        return -1;
    space_print(&v, e->up->id, &lines);
    if (!lines.len)
        return 0;
    cut_file(path);
    return sys_file_append(path, str_cstr(&lines), lines.len, 0600, err);
}

int space_now(struct engine *e, struct space_view *ret, struct err *err)
{
    struct err ignored = {0};
    cleanup_str struct str text = {0};
    cleanup_free char *path = file_of(e);
    *ret = (struct space_view){0};
    if (sys_file_tail(path, READ_MAX, &text, &ignored) == 0)
        space_parse(str_cstr(&text), e->up->id, ret);
    if (ret->n && sys_clock_wall() - ret->store[0].wall < FRESH)
        return 0;
    return space_look(e, 0, ret, err);
}
