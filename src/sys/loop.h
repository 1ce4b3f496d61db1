/* Waiting for many descriptors (epoll), waking a loop from another thread (eventfd), and a
 * thread that takes no signals. (Not poll.h: <poll.h> would then find this file.) */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>

int sys_poll_new(void); /* a descriptor, or -1 with errno */
int sys_poll_add(int poll_fd, int fd, uint32_t events, void *ptr);
int sys_poll_change(int poll_fd, int fd, uint32_t events, void *ptr);

/* Before fd is closed, always: whoever reads our /proc/PID/fd at that moment holds the file too,
 * and epoll would go on naming `ptr` after its end (epoll(7), "Will closing a file descriptor cause
 * it to be removed"). A descriptor below 0 is nothing to remove. */
int sys_poll_remove(int poll_fd, int fd);

/* As epoll_wait(2), the timeout in ns and exact (below 0: for ever); 0 when a signal came. */
int sys_poll_wait(int poll_fd, struct epoll_event *ret, int max, nsec_t timeout);

/* Waits until fd can be read; 1 yes, 0 not in time, -1 with errno. */
int sys_poll_readable(int fd, nsec_t timeout);

int sys_event_new(void); /* an eventfd, or -1 with errno */
void sys_event_raise(int fd);
void sys_event_clear(int fd);

/* Starts a thread with all signals blocked and its timers exact to about 1 us (the default slack is
 * 50 us). End it with sys_thread_join(). */
must_check int sys_thread_start(pthread_t *ret, void *(*fn)(void *), void *ctx, struct err *err);
void sys_thread_join(pthread_t thread);

/* Lifts the soft limit of open files to at least `want`, as far as the hard limit allows; returns
 * the limit that holds now. */
uint64_t sys_files_limit_raise(uint64_t want);
