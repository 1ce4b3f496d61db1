/* The other half of sys/tree.h: contents, attributes, file systems, threads. */
#include "sys/tree.h"

#include "base/str.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

/* There is no xattr call for "name in this directory" before Linux 6.13: /proc leads there. */
struct proc_path {
    char text[320];
};

static const char *proc_path(struct proc_path *p, int dir, const char *name)
{
    snprintf(p->text, sizeof(p->text), "/proc/self/fd/%d/%s", dir, name);
    return p->text;
}

ssize_t sys_xattr_list(int dir, const char *name, char *buf, size_t size)
{
    struct proc_path p;
    return *name ? llistxattr(proc_path(&p, dir, name), buf, size) : flistxattr(dir, buf, size);
}

ssize_t sys_xattr_get(int dir, const char *name, const char *key, void *buf, size_t size)
{
    struct proc_path p;
    return *name ? lgetxattr(proc_path(&p, dir, name), key, buf, size)
                 : fgetxattr(dir, key, buf, size);
}

int sys_xattr_set(int dir, const char *name, const char *key, const void *value, size_t size)
{
    struct proc_path p;
    return *name ? lsetxattr(proc_path(&p, dir, name), key, value, size, 0)
                 : fsetxattr(dir, key, value, size, 0);
}

int sys_xattr_remove(int dir, const char *name, const char *key)
{
    struct proc_path p;
    return *name ? lremovexattr(proc_path(&p, dir, name), key) : fremovexattr(dir, key);
}

int sys_file_reflink(int dst, int src)
{
    int r;
    do
        r = ioctl(dst, FICLONE, src);
    while (r < 0 && errno == EINTR);
    return r;
}

ssize_t sys_file_copy_range(int dst, int src, uint64_t off, size_t n)
{
    loff_t in = (loff_t)off, out = (loff_t)off;
    ssize_t r;
    do
        r = copy_file_range(src, &in, dst, &out, n, 0);
    while (r < 0 && errno == EINTR);
    return r;
}

ssize_t sys_file_pread(int fd, void *buf, size_t n, uint64_t off)
{
    ssize_t r;
    do
        r = pread(fd, buf, n, (off_t)off);
    while (r < 0 && errno == EINTR);
    return r;
}

ssize_t sys_file_pread_cached(int fd, void *buf, size_t n, uint64_t off)
{
    struct iovec part = {.iov_base = buf, .iov_len = n};
    return preadv2(fd, &part, 1, (off_t)off, RWF_NOWAIT);
}

int sys_file_pwrite(int fd, const void *buf, size_t n, uint64_t off)
{
    const char *p = buf;
    while (n) {
        ssize_t w = pwrite(fd, p, n, (off_t)off);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -1;
        p += w;
        off += (uint64_t)w;
        n -= (size_t)w;
    }
    return 0;
}

int64_t sys_file_seek_data(int fd, uint64_t off)
{
    return lseek(fd, (off_t)off, SEEK_DATA);
}

int64_t sys_file_seek_hole(int fd, uint64_t off)
{
    return lseek(fd, (off_t)off, SEEK_HOLE);
}

int sys_file_truncate(int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size);
}

int sys_file_unnamed(const char *dir)
{
    return sys_open(dir, O_TMPFILE | O_RDWR, 0600);
}

void sys_file_forget(int fd)
{
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int sys_fs_sync(int fd)
{
    return syncfs(fd);
}

uint64_t sys_fs_magic(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) < 0 ? 0 : (uint64_t)fs.f_type;
}

const char *sys_fs_name(uint64_t magic)
{
    static const struct {
        uint64_t magic;
        const char *name;
    } known[] = {
        {XFS_SUPER_MAGIC, "XFS"},
        {BTRFS_SUPER_MAGIC, "btrfs"},
        {TMPFS_MAGIC, "tmpfs"},
        {EXT4_SUPER_MAGIC, "ext4"},
        {OVERLAYFS_SUPER_MAGIC, "overlayfs"},
        {NFS_SUPER_MAGIC, "NFS"},
        {0x2fc12fc1, "ZFS"},
        {0xca451a4e, "bcachefs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].magic == magic)
            return known[i].name;
    return "this file system";
}

bool sys_fs_space(int fd, uint64_t *ret_free_bytes, uint64_t *ret_free_inodes)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    *ret_free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    *ret_free_inodes = fs.f_ffree;
    return true;
}

/* mountinfo writes blanks and the like as \040. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++, to++) {
        *to = *s;
        if (s[0] != '\\' || s[1] < '0' || s[1] > '3' || !s[2] || !s[3])
            continue;
        *to = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
        s += 3;
    }
    *to = '\0';
}

static char *mount_point_of(char *line)
{
    char *save = NULL, *word = strtok_r(line, " ", &save);
    for (int i = 0; word && i < 4; i++) /* id, parent, device, root, mount point */
        word = strtok_r(NULL, " ", &save);
    if (word)
        unescape(word);
    return word;
}

bool sys_mount_below(const char *path, char *buf, size_t size)
{
    cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
    cleanup_free char *real = realpath(path, NULL);
    cleanup_free char *line = NULL;
    size_t room = 0, n = real ? strlen(real) : 0;
    while (f && real && getline(&line, &room, f) > 0) {
        const char *at = mount_point_of(line);
        if (!at || strncmp(at, real, n) != 0 || at[n] != '/')
            continue;
        snprintf(buf, size, "%s", at);
        return true;
    }
    return false;
}

struct thread_arg {
    void (*fn)(void *ctx, unsigned i);
    void *ctx;
    unsigned i;
    pthread_t id;
};

static void *thread_main(void *arg)
{
    const struct thread_arg *t = arg;
    t->fn(t->ctx, t->i);
    return NULL;
}

int sys_threads_run(unsigned n, void (*fn)(void *ctx, unsigned i), void (*wait)(void *ctx),
                    void *ctx)
{
    cleanup_free struct thread_arg *args = x_alloc(n * sizeof(*args));
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    unsigned started = 0;
    int r = 0;
    for (; started < n && r == 0; started += r == 0) {
        args[started] = (struct thread_arg){.fn = fn, .ctx = ctx, .i = started};
        r = pthread_create(&args[started].id, NULL, thread_main, &args[started]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started == 0) {
        errno = r;
        return -1;
    }
    if (wait)
        wait(ctx);
    for (unsigned i = 0; i < started; i++)
        pthread_join(args[i].id, NULL);
    return 0;
}

unsigned sys_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}
