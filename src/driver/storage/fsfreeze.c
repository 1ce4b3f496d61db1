#include "driver/storage/fsfreeze.h"

#include "driver/ice.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/tree.h"

#include <errno.h>
#include <fcntl.h>

/* In the helper: the descriptors are its own, since it keeps none of ours. */
struct frozen {
    const char *const *paths;
    size_t n;
    int fds[FSFREEZE_MAX];
    size_t done;
};

static int freeze_all(void *ctx, nsec_t until)
{
    struct frozen *f = ctx;
    for (size_t i = 0; i < f->n; i++)
        if ((f->fds[i] = sys_open(f->paths[i], O_RDONLY | O_DIRECTORY, 0)) < 0)
            return -1;
    for (; f->done < f->n; f->done++)
        if (sys_fs_freeze(f->fds[f->done]) < 0)
            return -1;
    if (sys_clock_mono() < until)
        return 0;
    errno = ETIMEDOUT;
    return -1;
}

static int thaw_all(void *ctx)
{
    struct frozen *f = ctx;
    while (f->done > 0) {
        if (sys_fs_thaw(f->fds[f->done - 1]) < 0 && errno != EINVAL) /* somebody was faster */
            return -1;
        f->done--;
    }
    return 0;
}

/* The helper was killed, or hangs: what it has frozen goes on all the same. */
void fsfreeze_undo(const char *const *paths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cleanup_fd int fd = sys_open(paths[i], O_RDONLY | O_DIRECTORY, 0);
        if (fd >= 0)
            (void)sys_fs_thaw(fd);
    }
}

static const char *names(const char *const *paths, size_t n, char *buf, size_t size)
{
    size_t at = 0;
    *buf = '\0';
    for (size_t i = 0; i < n && at < size; i++)
        at += strlen(str_format(buf + at, size - at, "%s'%s'", i ? ", " : "", paths[i]));
    return buf;
}

int fsfreeze_begin(const struct driver_ctx *ctx, const char *const *paths, size_t n, nsec_t ceiling,
                   int *ret_fd, struct err *err)
{
    char what[512] = "the file system at ";
    struct frozen f = {.paths = paths, .n = n};
    struct ice ice = {.what = what, .ctx = &f, .freeze = freeze_all, .thaw = thaw_all};
    if (n > FSFREEZE_MAX)
        return err_set(err, ERR_UNSUPPORTED, "freeze %zu file systems: %d are the most", n,
                       FSFREEZE_MAX);
    names(paths, n, what + strlen(what), sizeof(what) - strlen(what));
    for (size_t i = 0; i < n; i++) { /* what is on the device already takes no time in the freeze */
        cleanup_fd int fd = sys_open(paths[i], O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 || sys_fs_sync(fd) < 0)
            return err_sys(err, ERR_FAILED, "write '%s' out", paths[i]);
    }
    struct err why = {0};
    if (ice_freeze(ctx, &ice, ceiling, ret_fd, &why) == 0)
        return 0;
    if (why.sys != EBUSY) /* that one somebody else has frozen: theirs to thaw */
        fsfreeze_undo(paths, n);
    if (err)
        *err = why;
    if (why.sys == EBUSY)
        return err_hint(err, "another program holds it frozen: fsfreeze -u PATH ends that");
    if (why.code == ERR_TIMEOUT)
        return err_hint(err, "freeze.max: higher; or without fsfreeze");
    return -1;
}

int fsfreeze_end(const struct driver_ctx *ctx, const char *const *paths, size_t n, nsec_t ceiling,
                 int fd, nsec_t *ret_held, struct err *err)
{
    char what[512], words[24];
    names(paths, n, what, sizeof(what));
    switch (ice_thaw(ctx, fd, ret_held)) {
    case ICE_ASKED:
        return 0;
    case ICE_CEILING:
        err_set(err, ERR_TIMEOUT,
                "the freeze of %s reached freeze.max (%s) before the snapshot was "
                "done: thawed",
                what, clock_words(words, sizeof(words), ceiling));
        return err_hint(err, "freeze.max: higher; or without fsfreeze");
    case ICE_LOST:
        break;
    }
    fsfreeze_undo(paths, n);
    return err_set(err, ERR_FAILED, "the holder of the freeze of %s was killed: thawed early",
                   what);
}
