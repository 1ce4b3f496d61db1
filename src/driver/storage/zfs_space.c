/* A dataset's own `available` is the least of everything, and does not say what limits it: the pool
 * is shared, `quota` also counts what snapshots keep, `refquota` its own data alone. So the one
 * above it is asked, too: what that one has is what the two sides share. */
#include "driver/storage/zfs_space.h"
#include "base/str.h"
#include "driver/storage/zfs.h"
#include "sys/file.h"
#include "sys/tree.h"

#include <string.h>

const char zfs_space_properties[] =
    "type,available,used,referenced,quota,refquota,reservation,usedbyrefreservation";

struct numbers {
    uint64_t available, used, referenced, quota, refquota, reservation, reserved_own;
};

#define NUMBER(property, member)                   \
    {                                              \
        property, offsetof(struct numbers, member) \
    }
static const struct {
    const char *property;
    size_t offset;
} fields[] = {
    NUMBER("available", available),
    NUMBER("used", used),
    NUMBER("referenced", referenced),
    NUMBER("quota", quota),
    NUMBER("refquota", refquota),
    NUMBER("reservation", reservation),
    NUMBER("usedbyrefreservation", reserved_own),
};

static void take(struct numbers *n, const char *property, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (str_eq(fields[i].property, property)) {
            uint64_t number = strtoull(value, NULL, 10); /* "-" and "none" are 0 */
            memcpy((char *)n + fields[i].offset, &number, sizeof(number));
        }
}

static uint64_t left_of(uint64_t limit, uint64_t used)
{
    return !limit ? UINT64_MAX : limit > used ? limit - used : 0;
}

bool zfs_parse_space(const char *text, const char *dataset, struct storage_space *ret,
                     bool *ret_volume)
{
    cleanup_free char *copy = x_strdup(text);
    struct numbers own = {0}, above = {0};
    size_t up = (size_t)(strrchr(dataset, '/') - dataset);
    bool seen = false, seen_above = false;
    *ret_volume = false;
    char *save = NULL, *cols = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *name = strtok_r(line, "\t", &cols), *property = strtok_r(NULL, "\t", &cols),
                   *value = strtok_r(NULL, "\t", &cols);
        bool is_own = str_eq(name, dataset);
        if (!name || !property || !value)
            continue;
        seen |= is_own;
        *ret_volume |= is_own && str_eq(property, "type") && str_eq(value, "volume");
        bool is_above = strlen(name) == up && strncmp(name, dataset, up) == 0;
        seen_above |= is_above;
        if (is_own || is_above)
            take(is_own ? &own : &above, property, value);
    }
    uint64_t kept = own.reservation > own.used ? own.reservation - own.used : 0;
    ret->free_bytes = above.available + own.reserved_own + kept;
    ret->quota_bytes = left_of(own.quota, own.used - own.reserved_own);
    ret->limit_bytes = left_of(own.refquota, own.referenced);
    ret->used_bytes = (int64_t)(own.used - own.reserved_own);
    str_format(ret->limit, sizeof(ret->limit), "refquota");
    return seen && seen_above;
}

/* The file system on a volume, if it is mounted there. */
static bool inside_of(const char *path, struct sys_space *ret)
{
    struct sys_node node;
    cleanup_fd int fd = sys_tree_top(path, true);
    return fd >= 0 && sys_node_at(fd, "", &node) == 0 && node.mount_root &&
           sys_path_space(path, ret, NULL) == 0;
}

static bool says_anything_of(const char *text, const char *dataset)
{
    size_t n = strlen(dataset);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, dataset, n) == 0 && line[n] == '\t')
            return true;
    }
    return false;
}

static void add_names(const struct spec_volume *v, struct strv *ret)
{
    cleanup_free char *above =
        x_strndup(v->dataset, (size_t)(strrchr(v->dataset, '/') - v->dataset));
    if (!strv_has(ret, above))
        strv_add(ret, above);
    if (!strv_has(ret, v->dataset))
        strv_add(ret, v->dataset);
}

/* Of all volumes that the upgrade has: to begin zfs(8) takes longest. */
static int ask_room(const struct driver_ctx *ctx, struct str *out, struct err *err)
{
    cleanup_strv struct strv args = {0}, names = {0};
    for (const char *const *a =
             ZFS_ARGS("get", "-H", "-p", "-o", "name,property,value", zfs_space_properties);
         *a; a++)
        strv_add(&args, *a);
    for (int c = GREEN; c < COLOURS; c++)
        for (size_t i = 0; ctx->side[c] && i < ctx->side[c]->volumes_n; i++)
            if (str_eq(ctx->side[c]->volumes[i].driver, "zfs") && ctx->side[c]->volumes[i].dataset)
                add_names(&ctx->side[c]->volumes[i], &names);
    for (size_t i = 0; i < names.n; i++)
        strv_add(&args, names.v[i]);
    return zfs_ask_of_any(ctx, (const char *const *)args.v, out, err);
}

int zfs_space(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
              uint64_t enough, struct storage_space *ret, struct err *err)
{
    struct sys_space inside;
    (void)colour;
    *ret = (struct storage_space){
        .quota_bytes = UINT64_MAX, .limit_bytes = UINT64_MAX, .used_bytes = -1};
    str_format(ret->store, sizeof(ret->store), "zfs-%.*s", (int)strcspn(v->dataset, "/"),
               v->dataset);
    /* A ZFS file system says the least of all there is without a program being run. */
    bool told =
        sys_path_space(v->path, &inside, NULL) == 0 && str_eq(sys_fs_name(inside.fs_magic), "ZFS");
    ret->free_bytes = told ? inside.free_bytes : 0;
    if (told && inside.free_bytes > enough)
        return 0;
    struct str *out = zfs_memo_space(ctx);
    bool volume;
    if (!out->len && ask_room(ctx, out, err) < 0)
        return err_ctx(err, "volume '%s'", v->name);
    bool there = says_anything_of(str_cstr(out), v->dataset);
    if (!zfs_parse_space(str_cstr(out), v->dataset, ret, &volume) && there)
        return err_set(err, ERR_FAILED, "volume '%s': zfs get does not say how much '%s' has left",
                       v->name, v->dataset);
    if (!there) {
        ret->free_bytes = UINT64_MAX; /* not cloned yet, or gone: it takes nothing */
        ret->used_bytes = 0;
        return 0;
    }
    if (volume && inside_of(v->path, &inside)) {
        ret->limit_bytes = inside.free_bytes;
        str_format(ret->limit, sizeof(ret->limit), "file-system");
    }
    return 0;
}
