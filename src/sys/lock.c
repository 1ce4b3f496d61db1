#include "sys/lock.h"

#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void read_label(int fd, char *label, size_t size)
{
    ssize_t n = pread(fd, label, size - 1, 0);
    label[n > 0 ? n : 0] = '\0';
    label[strcspn(label, "\n")] = '\0';
}

int sys_lock_take(const char *path, const char *label, nsec_t deadline, int *ret_fd,
                  struct err *err)
{
    cleanup_fd int fd = sys_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_sys(err, ERR_FAILED, "open the lock file '%s'", path);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(fd, F_OFD_SETLK, &fl) < 0) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return err_sys(err, ERR_FAILED, "lock '%s'", path);
        if (sys_clock_mono() >= deadline) {
            char who[256];
            read_label(fd, who, sizeof(who));
            return err_set(err, ERR_LOCKED, "locked by %s", *who ? who : "another process");
        }
        sys_sleep(20 * NSEC_MS);
    }
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, label, strlen(label), 0);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

bool sys_lock_held(const char *path, char *label, size_t size)
{
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    /* A read lock is refused while somebody holds the write lock; F_OFD_GETLK only asks. */
    struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &fl) < 0 || fl.l_type == F_UNLCK)
        return false;
    if (label)
        read_label(fd, label, size);
    return true;
}
