/* btrfs: its subvolumes, by libbtrfsutil, and their quota groups.
 *
 * All of them return -1 with errno. What walks the file system's own trees (nested, deleted) needs
 * root; the rest does as far as the file system asks for it. */
#pragma once

#include "base/clean.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYS_UUID 16

struct sys_subvolume {
    uint64_t id;
    uint8_t uuid[SYS_UUID];
    uint8_t parent_uuid[SYS_UUID]; /* what it is a snapshot of; zeroes: of nothing */
    bool read_only;
};

/* fd is the top of a subvolume. ENOTTY: it is none, or this is no btrfs. */
int sys_btrfs_subvolume(int fd, struct sys_subvolume *ret);

/* The file system's own uuid. ENOTTY: no btrfs. */
int sys_btrfs_filesystem(int fd, uint8_t ret[SYS_UUID]);

/* Those below the subvolume fd at any depth, parents first; stops at the first return that is not
 * 0, and returns it. path: below fd's top. */
typedef int sys_btrfs_nested_fn(void *ctx, const char *path, const struct sys_subvolume *sub);
int sys_btrfs_nested(int fd, sys_btrfs_nested_fn *fn, void *ctx);

/* A writable snapshot of the subvolume fd alone. On disk when it returns. */
int sys_btrfs_snapshot(int fd, int parent_dir, const char *name);

/* The name is gone when it returns, the space comes back later (sys_btrfs_deleted). */
int sys_btrfs_delete(int parent_dir, const char *name);

/* How many of these subvolumes are deleted, and not yet cleaned away. */
int sys_btrfs_deleted(int fd, const uint64_t *ids, size_t n, size_t *ret_left);

/* Commits what is done, and wakes whoever cleans up. */
int sys_btrfs_commit(int fd);

/* True if a subvolume of that number is mounted somewhere in its own right; at: where. */
bool sys_btrfs_mounted(int fd, uint64_t id, char *at, size_t size);

/* The quota group of a subvolume. max 0: no limit. ENOENT: quotas are off. */
struct sys_btrfs_quota {
    uint64_t referenced, exclusive, max_referenced, max_exclusive;
};
int sys_btrfs_quota(int fd, uint64_t id, struct sys_btrfs_quota *ret);
int sys_btrfs_quota_forget(int fd, uint64_t id); /* the empty group of one that is gone */
