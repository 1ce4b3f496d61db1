#include "sys/loop.h"

#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int sys_poll_new(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

int sys_poll_add(int poll_fd, int fd, uint32_t events, void *ptr)
{
    struct epoll_event ev = {.events = events, .data.ptr = ptr};
    return epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int sys_poll_change(int poll_fd, int fd, uint32_t events, void *ptr)
{
    struct epoll_event ev = {.events = events, .data.ptr = ptr};
    return epoll_ctl(poll_fd, EPOLL_CTL_MOD, fd, &ev);
}

int sys_poll_remove(int poll_fd, int fd)
{
    return fd < 0 ? 0 : epoll_ctl(poll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int sys_poll_wait(int poll_fd, struct epoll_event *ret, int max, nsec_t timeout)
{
    struct timespec ts = {.tv_sec = timeout / NSEC_S, .tv_nsec = timeout % NSEC_S};
    int n = epoll_pwait2(poll_fd, ret, max, timeout < 0 ? NULL : &ts, NULL);
    if (n < 0 && errno == ENOSYS) { /* before Linux 5.11 */
        nsec_t ms = timeout < 0 ? -1 : (timeout + NSEC_MS - 1) / NSEC_MS;
        n = epoll_wait(poll_fd, ret, max, ms > 60000 ? 60000 : (int)ms);
    }
    return n < 0 && errno == EINTR ? 0 : n;
}

int sys_poll_readable(int fd, nsec_t timeout)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    struct timespec ts = {.tv_sec = timeout / NSEC_S, .tv_nsec = timeout % NSEC_S};
    int n = ppoll(&pfd, 1, timeout < 0 ? NULL : &ts, NULL);
    return n < 0 && errno == EINTR ? 0 : n;
}

int sys_event_new(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void sys_event_raise(int fd)
{
    (void)eventfd_write(fd, 1);
}

void sys_event_clear(int fd)
{
    eventfd_t value;
    (void)eventfd_read(fd, &value);
}

struct start {
    void *(*fn)(void *);
    void *ctx;
};

static void *thread_main(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    (void)prctl(PR_SET_TIMERSLACK, 1000UL);
    return s.fn(s.ctx);
}

int sys_thread_start(pthread_t *ret, void *(*fn)(void *), void *ctx, struct err *err)
{
    sigset_t all, old;
    struct start *s = x_alloc(sizeof(*s));
    *s = (struct start){fn, ctx};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(ret, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        return 0;
    free(s);
    errno = rc;
    return err_sys(err, ERR_FAILED, "start a thread");
}

void sys_thread_join(pthread_t thread)
{
    pthread_join(thread, NULL);
}

uint64_t sys_files_limit_raise(uint64_t want)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return 0;
    if (lim.rlim_cur >= want)
        return lim.rlim_cur;
    rlim_t soft = lim.rlim_cur;
    lim.rlim_cur = lim.rlim_max < want ? lim.rlim_max : want;
    return setrlimit(RLIMIT_NOFILE, &lim) < 0 ? soft : lim.rlim_cur;
}
