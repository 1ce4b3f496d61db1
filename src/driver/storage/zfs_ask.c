/* zfs(8) asked and told; its answers read. */
#include "base/clean.h"
#include "driver/storage/tool.h"
#include "driver/storage/zfs.h"
#include "sys/fault.h"

#include <stdlib.h>
#include <string.h>

/* ---- its answers ---- */

#define FIELD(name, member, ours)                                                                 \
    {                                                                                             \
        name, offsetof(struct zfs_dataset, member), sizeof(((struct zfs_dataset *)NULL)->member), \
            ours                                                                                  \
    }
static const struct field {
    const char *property;
    size_t offset, size;
    bool ours; /* counts only where it was set on the dataset itself */
} fields[] = {
    FIELD("type", type, false),
    FIELD("origin", origin, false),
    FIELD("mountpoint", mountpoint, false),
    FIELD("mounted", mounted, false),
    FIELD("canmount", canmount, false),
    FIELD("available", available, false),
    FIELD("referenced", referenced, false),
    FIELD("createtxg", createtxg, false),
    FIELD("defer_destroy", defer, false),
    FIELD("clones", clones, false),
    FIELD("reservation", reservation, false),
    FIELD("refreservation", refreservation, false),
    FIELD("volsize", volsize, false),
    FIELD("changeover:service", service, true),
    FIELD("changeover:colour", colour, true),
    FIELD("changeover:volume", volume, true),
    FIELD("changeover:upgrade", upgrade, true),
    FIELD(ZFS_MARK_SNAPSHOT, snapshot, true),
    FIELD(ZFS_DUE "reservation", due_reservation, true),
    FIELD(ZFS_DUE "refreservation", due_refreservation, true),
};

bool zfs_next_line(char **text, char **ret, size_t n)
{
    char *line = *text, *end = strchr(line, '\n');
    if (!*line)
        return false;
    *text = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    for (size_t i = 0; i < n; i++) {
        char *tab = i + 1 < n ? strchr(line, '\t') : NULL;
        ret[i] = line;
        if (tab)
            *tab = '\0';
        line = tab ? tab + 1 : line + strlen(line);
    }
    return true;
}

static void take_field(struct zfs_dataset *d, char *const col[4])
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        if (!str_eq(f->property, col[1]) || str_eq(col[2], "-"))
            continue;
        if (!f->ours || str_eq(col[3], "local"))
            str_format((char *)d + f->offset, f->size, "%s", col[2]);
    }
}

void zfs_parse_get(const char *text, struct zfs_dataset *ret, size_t n)
{
    cleanup_free char *copy = x_strdup(text);
    char *at = copy, *col[4];
    while (zfs_next_line(&at, col, 4))
        for (size_t i = 0; i < n; i++)
            if (str_eq(ret[i].name, col[0])) {
                ret[i].exists = true;
                take_field(&ret[i], col);
            }
}

void zfs_list_done(struct zfs_list *l)
{
    free(l->v);
    *l = (struct zfs_list){0};
}

int zfs_parse_list(const char *text, struct zfs_list *ret, struct err *err)
{
    cleanup_free char *copy = x_strdup(text);
    char *at = copy, *col[7];
    while (zfs_next_line(&at, col, 7)) {
        if (!*col[6])
            return err_set(err, ERR_FAILED, "zfs list: a line that is none: '%.200s'", col[0]);
        ret->v = x_realloc(ret->v, ret->n + 1, sizeof(*ret->v));
        struct zfs_entry *e = &ret->v[ret->n++];
        *e = (struct zfs_entry){.createtxg = strtoull(col[2], NULL, 10),
                                .holds = strtoull(col[3], NULL, 10)};
        str_format(e->name, sizeof(e->name), "%s", col[0]);
        str_format(e->type, sizeof(e->type), "%s", col[1]);
        str_format(e->clones, sizeof(e->clones), "%s", str_eq(col[4], "-") ? "" : col[4]);
        str_format(e->snapshot, sizeof(e->snapshot), "%s", str_eq(col[5], "-") ? "" : col[5]);
        str_format(e->origin, sizeof(e->origin), "%s", str_eq(col[6], "-") ? "" : col[6]);
    }
    return 0;
}

bool zfs_is_ours(const struct zfs_entry *e)
{
    const char *at = strchr(e->name, '@');
    return at && *e->snapshot && str_starts(at + 1, ZFS_SNAPSHOT) &&
           str_eq(at + 1 + strlen(ZFS_SNAPSHOT), e->snapshot);
}

int zfs_parse_destroy(const char *text, const char *name, struct err *err)
{
    cleanup_free char *copy = x_strdup(text);
    char *at = copy, *col[2];
    bool there = false;
    while (zfs_next_line(&at, col, 2)) {
        if (str_eq(col[0], "reclaim"))
            continue;
        if (!str_eq(col[0], "destroy") || !str_eq(col[1], name))
            return err_set(err, ERR_FAILED,
                           "zfs destroy '%s' would also do this, so it was not done: %s %s", name,
                           col[0], col[1]);
        there = true;
    }
    return there ? 0
                 : err_set(err, ERR_FAILED, "zfs destroy -n '%s' does not say what would go", name);
}

bool zfs_only_missing(const char *complaint)
{
    cleanup_free char *copy = x_strdup(complaint);
    char *at = copy, *line;
    while (zfs_next_line(&at, &line, 1))
        if (!str_ends(line, "dataset does not exist"))
            return false;
    return *complaint != '\0';
}

/* ---- running it ---- */

static int run(const struct driver_ctx *ctx, const char *const *args, struct proc_result *ret,
               struct err *err)
{
    return tool_run(ctx, "zfs", "zfsutils-linux", args, ret, err);
}

int zfs_ask(const struct driver_ctx *ctx, const char *const *args, struct str *out, struct err *err)
{
    cleanup_proc_result struct proc_result r = {0};
    if (run(ctx, args, &r, err) < 0 || tool_judge("zfs", args, &r, err) < 0)
        return -1;
    if (out)
        str_add_n(out, str_cstr(&r.out), r.out.len);
    return 0;
}

int zfs_change(const struct driver_ctx *ctx, const char *const *args, struct err *err)
{
    char point[64];
    int r = zfs_ask(ctx, args, NULL, err);
    zfs_memo_changed(ctx, args);
    if (r < 0)
        return -1;
    str_format(point, sizeof(point), "zfs/%s%s", args[0], str_eq(args[1], "-d") ? "-d" : "");
    return sys_fault_point(point) < 0 ? err_sys(err, ERR_FAILED, "fault point %s", point) : 0;
}

int zfs_ask_of_any(const struct driver_ctx *ctx, const char *const *args, struct str *out,
                   struct err *err)
{
    cleanup_proc_result struct proc_result r = {0};
    if (run(ctx, args, &r, err) < 0)
        return -1;
    if (!(r.status == 1 && zfs_only_missing(str_cstr(&r.err))) &&
        tool_judge("zfs", args, &r, err) < 0)
        return -1;
    str_add_n(out, str_cstr(&r.out), r.out.len);
    return 0;
}

int zfs_look_now(const struct driver_ctx *ctx, struct zfs_dataset *ret, size_t n, struct err *err)
{
    cleanup_strv struct strv args = {0};
    cleanup_str struct str properties = {0}, out = {0};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        str_addf(&properties, "%s%s", i ? "," : "", fields[i].property);
    for (const char *const *a = ZFS_ARGS("get", "-H", "-p", "-o", "name,property,value,source"); *a;
         a++)
        strv_add(&args, *a);
    strv_add(&args, str_cstr(&properties));
    for (size_t i = 0; i < n; i++)
        strv_add(&args, ret[i].name);
    if (zfs_ask_of_any(ctx, (const char *const *)args.v, &out, err) < 0)
        return -1;
    zfs_parse_get(str_cstr(&out), ret, n);
    return 0;
}

int zfs_below(const struct driver_ctx *ctx, const char *dataset, struct zfs_list *ret,
              struct err *err)
{
    static const char columns[] =
        "name,type,createtxg,userrefs,clones," ZFS_MARK_SNAPSHOT ",origin";
    cleanup_proc_result struct proc_result r = {0};
    const char *const *args =
        ZFS_ARGS("list", "-H", "-p", "-r", "-t", "all", "-o", columns, dataset);
    if (run(ctx, args, &r, err) < 0)
        return -1;
    if (!(r.status == 1 && zfs_only_missing(str_cstr(&r.err))) &&
        tool_judge("zfs", args, &r, err) < 0)
        return -1;
    return zfs_parse_list(str_cstr(&r.out), ret, err);
}

int zfs_holds(const struct driver_ctx *ctx, const char *snapshot, bool *ret_ours,
              struct strv *ret_foreign, struct err *err)
{
    cleanup_str struct str out = {0};
    *ret_ours = false;
    if (zfs_ask(ctx, ZFS_ARGS("holds", "-H", snapshot), &out, err) < 0)
        return -1;
    cleanup_free char *copy = x_strdup(str_cstr(&out));
    char *at = copy, *col[3];
    while (zfs_next_line(&at, col, 3)) {
        if (str_eq(col[1], ZFS_HOLD))
            *ret_ours = true;
        else
            strv_add(ret_foreign, col[1]);
    }
    return 0;
}
