#include "clone/late.h"

#include "base/str.h"
#include "sys/fault.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ALIGN ((size_t)16)
#define KEYS ((size_t)65536) /* the kernel's limit for a list of attributes */
#define SHARE 1024           /* one file takes at most so much of what is left */

/* In the arena, one behind the other: this, the path, the contents. */
struct kept {
    size_t room;
    size_t path; /* with its NUL */
    struct sys_node node;
    bool whole; /* false: it could not be read to its end, and was cloned in place */
};

struct late {
    size_t size;
    atomic_size_t used;
    atomic_size_t n;
    uint64_t files, bytes;
    char *arena;
};

struct late *late_new(size_t bytes)
{
    struct late *l = x_alloc(sizeof(*l));
    l->size = bytes;
    l->arena = x_alloc(bytes);
    return l;
}

void late_free(struct late *l)
{
    if (l)
        free(l->arena);
    free(l);
}

static struct kept *reserve(struct late *l, size_t room)
{
    size_t at = atomic_load(&l->used);
    do {
        if (room > l->size - at)
            return NULL;
    } while (!atomic_compare_exchange_weak(&l->used, &at, at + room));
    struct kept *k = (void *)(l->arena + at);
    k->room = room;
    return k;
}

bool late_keep(struct late *l, int src, const struct sys_node *node, const char *path)
{
    size_t path_size = strlen(path) + 1, size = (size_t)node->size;
    struct kept *k;
    if (size > (l->size - atomic_load(&l->used)) / SHARE ||
        !(k = reserve(l, (sizeof(*k) + path_size + size + ALIGN - 1) / ALIGN * ALIGN)))
        return false;
    char *p = (char *)(k + 1);
    k->path = path_size;
    k->node = *node;
    memcpy(p, path, path_size);
    k->whole = sys_file_pread_cached(src, p + path_size, size, 0) == (ssize_t)size;
    if (k->whole) {
        atomic_fetch_add(&l->n, 1);
        return true;
    }
    size_t end = (size_t)((char *)k - l->arena) + k->room;
    (void)atomic_compare_exchange_strong(&l->used, &end, end - k->room);
    return false;
}

bool late_any(const struct late *l)
{
    return l && atomic_load(&l->n);
}

void late_forget(struct late *l)
{
    if (!l)
        return;
    atomic_store(&l->used, 0);
    atomic_store(&l->n, 0);
}

void late_note(struct late *l, uint64_t files, uint64_t bytes)
{
    l->files = files;
    l->bytes = bytes;
}

void late_noted(const struct late *l, uint64_t *ret_files, uint64_t *ret_bytes)
{
    *ret_files = l->files;
    *ret_bytes = l->bytes;
}

static int drop_xattrs(int fd, char *keys)
{
    ssize_t n = sys_xattr_list(fd, "", keys, KEYS);
    for (const char *key = keys; key < keys + n; key += strlen(key) + 1)
        if (sys_xattr_remove(fd, "", key) < 0)
            return -1;
    return n < 0 && errno != EOPNOTSUPP ? -1 : 0;
}

/* In the order in which they do not spoil each other, as run_finish(). */
static int write_one(int fd, const struct kept *k, const char *data, char *keys)
{
    const struct sys_node *want = &k->node;
    struct sys_node now;
    if (sys_node_at(fd, "", &now) < 0)
        return -1;
    if (!S_ISREG(now.mode) || now.nlink != 1) {
        errno = EEXIST;
        return -1;
    }
    if (drop_xattrs(fd, keys) < 0 || sys_file_pwrite(fd, data, (size_t)want->size, 0) < 0 ||
        (now.size > want->size && sys_file_truncate(fd, want->size) < 0))
        return -1;
    if ((now.uid != want->uid || now.gid != want->gid) &&
        sys_tree_set_owner(fd, "", want->uid, want->gid) < 0)
        return -1;
    /* A write drops set-user-ID, and an ACL that went was part of the mode. */
    return sys_tree_set_mode(fd, "", want->mode & 07777) < 0 ||
                   sys_tree_set_times(fd, "", want->atime, want->mtime) < 0
               ? -1
               : 0;
}

static int open_below(int top, const char *path)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *dir = x_strndup(path, slash ? (size_t)(slash - path) : 0);
    cleanup_fd int fd = sys_tree_beneath(top, dir);
    return fd < 0 ? -1 : sys_tree_open(fd, slash ? slash + 1 : path, O_WRONLY | O_NONBLOCK, 0);
}

static int cannot_write(const char *dst, const char *path, struct err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    err_sys(err, ERR_FAILED, "clone to '%s': write '%s'", dst, path);
    return full ? err_hint(err, "free space where '%s' lies; then run it again", dst)
                : err_hint(err, "run it again: the clone is made anew");
}

int late_write(struct late *l, int top, const char *dst, struct err *err)
{
    cleanup_free char *keys = x_alloc(KEYS);
    const struct kept *k;
    for (size_t at = 0, end = atomic_load(&l->used); at < end; at += k->room) {
        k = (const void *)(l->arena + at);
        const char *path = (const char *)(k + 1);
        if (!k->whole)
            continue;
        cleanup_fd int fd = open_below(top, path);
        if (fd < 0 || sys_fault_point("clone/late") < 0 ||
            write_one(fd, k, path + k->path, keys) < 0)
            return cannot_write(dst, path, err);
    }
    late_forget(l);
    return 0;
}
