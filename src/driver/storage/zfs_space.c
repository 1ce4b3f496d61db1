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
        seen_above |= strlen(name) == up && strncmp(name, dataset, up) == 0;
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

int zfs_space(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
              uint64_t enough, struct storage_space *ret, struct err *err)
{
    struct sys_space inside;
    cleanup_str struct str out = {0};
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
    cleanup_free char *above =
        x_strndup(v->dataset, (size_t)(strrchr(v->dataset, '/') - v->dataset));
    struct err why = {0};
    bool volume;
    if (zfs_ask(ctx,
                ZFS_ARGS("get", "-H", "-p", "-o", "name,property,value", zfs_space_properties,
                         above, v->dataset),
                &out, &why) < 0) {
        if (strstr(why.msg, "does not exist")) { /* not cloned yet, or gone: it takes nothing */
            ret->free_bytes = UINT64_MAX;
            ret->used_bytes = 0;
            return 0;
        }
        if (err)
            *err = why;
        return err_ctx(err, "volume '%s'", v->name);
    }
    if (!zfs_parse_space(str_cstr(&out), v->dataset, ret, &volume))
        return err_set(err, ERR_FAILED, "volume '%s': zfs get says nothing of '%s' or '%s'",
                       v->name, v->dataset, above);
    if (volume && inside_of(v->path, &inside)) {
        ret->limit_bytes = inside.free_bytes;
        str_format(ret->limit, sizeof(ret->limit), "file-system");
    }
    return 0;
}
