#include <linux/btrfs.h> /* before our own: it has members of the name `unused` */
#include <linux/btrfs_tree.h>

#include "sys/btrfs.h"

#include "base/str.h"
#include "sys/fault.h"
#include "sys/file.h"

#include <btrfsutil.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* The library sets errno but where it only says what a thing is not. */
static int fail(enum btrfs_util_error e)
{
    if (e == BTRFS_UTIL_OK)
        return 0;
    if (e == BTRFS_UTIL_ERROR_NOT_BTRFS || e == BTRFS_UTIL_ERROR_NOT_SUBVOLUME)
        errno = ENOTTY;
    else if (e == BTRFS_UTIL_ERROR_SUBVOLUME_NOT_FOUND)
        errno = ENOENT;
    return -1;
}

static void take(const struct btrfs_util_subvolume_info *info, struct sys_subvolume *ret)
{
    *ret = (struct sys_subvolume){.id = info->id,
                                  .read_only = (info->flags & BTRFS_ROOT_SUBVOL_RDONLY) != 0};
    memcpy(ret->uuid, info->uuid, SYS_UUID);
    memcpy(ret->parent_uuid, info->parent_uuid, SYS_UUID);
}

int sys_btrfs_subvolume(int fd, struct sys_subvolume *ret)
{
    struct btrfs_util_subvolume_info info;
    if (fail(btrfs_util_is_subvolume_fd(fd)) < 0 ||
        fail(btrfs_util_subvolume_info_fd(fd, 0, &info)) < 0)
        return -1;
    take(&info, ret);
    return 0;
}

int sys_btrfs_filesystem(int fd, uint8_t ret[SYS_UUID])
{
    struct btrfs_ioctl_fs_info_args args = {0};
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &args) < 0)
        return -1;
    memcpy(ret, args.fsid, SYS_UUID);
    return 0;
}

int sys_btrfs_nested(int fd, sys_btrfs_nested_fn *fn, void *ctx)
{
    struct btrfs_util_subvolume_iterator *it;
    int r = 0;
    if (fail(btrfs_util_create_subvolume_iterator_fd(fd, 0, 0, &it)) < 0)
        return -1;
    while (r == 0) {
        struct btrfs_util_subvolume_info info;
        struct sys_subvolume sub;
        cleanup_free char *path = NULL;
        enum btrfs_util_error e = btrfs_util_subvolume_iterator_next_info(it, &path, &info);
        if (e == BTRFS_UTIL_ERROR_STOP_ITERATION)
            break;
        if (e == BTRFS_UTIL_ERROR_SUBVOLUME_NOT_FOUND) /* gone meanwhile */
            continue;
        r = fail(e);
        if (r == 0) {
            take(&info, &sub);
            r = fn(ctx, path, &sub);
        }
    }
    int why = errno;
    btrfs_util_destroy_subvolume_iterator(it);
    errno = why;
    return r;
}

int sys_btrfs_snapshot(int fd, int parent_dir, const char *name)
{
    if (fail(btrfs_util_create_snapshot_fd2(fd, parent_dir, name, 0, NULL, NULL)) < 0)
        return -1;
    return sys_fault_point("btrfs/snapshot");
}

int sys_btrfs_delete(int parent_dir, const char *name)
{
    if (fail(btrfs_util_delete_subvolume_fd(parent_dir, name, 0)) < 0)
        return -1;
    return sys_fault_point("btrfs/delete");
}

int sys_btrfs_deleted(int fd, const uint64_t *ids, size_t n, size_t *ret_left)
{
    cleanup_free uint64_t *left = NULL;
    size_t left_n = 0;
    if (fail(btrfs_util_deleted_subvolumes_fd(fd, &left, &left_n)) < 0)
        return -1;
    *ret_left = 0;
    for (size_t i = 0; i < left_n; i++)
        for (size_t k = 0; k < n; k++)
            *ret_left += left[i] == ids[k];
    return 0;
}

int sys_btrfs_commit(int fd)
{
    return fail(btrfs_util_sync_fd(fd));
}

/* The mount point of a line of mountinfo that mounts that subvolume. Cuts the line up. */
static const char *mount_of(char *line, uint64_t id)
{
    char want[40], *save = NULL;
    char *rest = strstr(line, " - btrfs ");
    if (!rest)
        return NULL;
    str_format(want, sizeof(want), "subvolid=%llu", (unsigned long long)id);
    bool found = false;
    for (char *o = strtok_r(rest, " ,\n", &save); o; o = strtok_r(NULL, " ,\n", &save))
        found |= str_eq(o, want);
    char *at = found ? strtok_r(line, " ", &save) : NULL;
    for (int i = 0; at && i < 4; i++)
        at = strtok_r(NULL, " ", &save);
    return at;
}

bool sys_btrfs_mounted(int fd, uint64_t id, char *at, size_t size)
{
    uint8_t mine[SYS_UUID], its[SYS_UUID];
    if (sys_btrfs_filesystem(fd, mine) < 0)
        return false;
    cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
    cleanup_free char *line = NULL;
    size_t room = 0;
    while (f && getline(&line, &room, f) > 0) {
        const char *place = mount_of(line, id);
        cleanup_fd int there = place ? sys_open(place, O_RDONLY | O_DIRECTORY, 0) : -1;
        /* Numbers are each file system's own. One that cannot be opened may be ours. */
        if (!place || (there >= 0 && sys_btrfs_filesystem(there, its) == 0 &&
                       memcmp(mine, its, SYS_UUID) != 0))
            continue;
        str_format(at, size, "%s", place);
        return true;
    }
    return false;
}

/* ---- quota groups ---- */

static int quota_value(const uint8_t fs[SYS_UUID], uint64_t id, const char *name, uint64_t *ret)
{
    char path[160];
    cleanup_str struct str text = {0};
    str_format(path, sizeof(path),
               "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x/"
               "qgroups/0_%llu/%s",
               fs[0], fs[1], fs[2], fs[3], fs[4], fs[5], fs[6], fs[7], fs[8], fs[9], fs[10], fs[11],
               fs[12], fs[13], fs[14], fs[15], (unsigned long long)id, name);
    struct err why = {0};
    if (sys_file_read(path, 4096, &text, &why) < 0) {
        errno = ENOENT;
        return -1;
    }
    *ret = strtoull(str_cstr(&text), NULL, 0);
    return 0;
}

int sys_btrfs_quota(int fd, uint64_t id, struct sys_btrfs_quota *ret)
{
    uint8_t fs[SYS_UUID];
    uint64_t flags = 0;
    *ret = (struct sys_btrfs_quota){0};
    if (sys_btrfs_filesystem(fd, fs) < 0 ||
        quota_value(fs, id, "referenced", &ret->referenced) < 0 ||
        quota_value(fs, id, "exclusive", &ret->exclusive) < 0 ||
        quota_value(fs, id, "max_referenced", &ret->max_referenced) < 0 ||
        quota_value(fs, id, "max_exclusive", &ret->max_exclusive) < 0 ||
        quota_value(fs, id, "limit_flags", &flags) < 0)
        return -1;
    if (!(flags & BTRFS_QGROUP_LIMIT_MAX_RFER))
        ret->max_referenced = 0;
    if (!(flags & BTRFS_QGROUP_LIMIT_MAX_EXCL))
        ret->max_exclusive = 0;
    return 0;
}

int sys_btrfs_quota_forget(int fd, uint64_t id)
{
    struct btrfs_ioctl_qgroup_create_args args = {.create = 0, .qgroupid = id};
    return ioctl(fd, BTRFS_IOC_QGROUP_CREATE, &args) < 0 ? -1 : 0;
}
