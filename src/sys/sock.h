/* TCP sockets that never block. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

struct sys_addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* Looks host and port up; returns how many addresses were stored (1 to max), or -1. May block as
 * long as the resolver does. */
int sys_addr_resolve(const char *host, const char *port, struct sys_addr *ret, size_t max,
                     struct err *err);
const char *sys_addr_text(char *buf, size_t size, const struct sys_addr *a); /* "127.0.0.1:80" */

/* A non-blocking socket (TCP_NODELAY) on its way to `a`, or -1 with errno when that failed at once.
 * When it turns writable, sys_sock_error() says how it went: 0 or an errno. */
int sys_sock_connect(const struct sys_addr *a);
int sys_sock_error(int fd);

/* Connects and waits until it is done or the deadline (monotonic) has passed; the socket, still
 * non-blocking, or -1 with errno (ETIMEDOUT). */
int sys_sock_connect_wait(const struct sys_addr *a, nsec_t deadline);

/* As send(2) and recv(2), restarted on EINTR, no SIGPIPE; -1 with errno (EAGAIN: not now). */
ssize_t sys_sock_send(int fd, const void *buf, size_t n);
ssize_t sys_sock_recv(int fd, void *buf, size_t n);

/* The other side, for a small server of our own. sys_sock_bind: bound to `a` (port 0: a free one;
 * the same port may be bound again by us), *ret says where; refuses connections until
 * sys_sock_listen. */
int sys_sock_bind(const struct sys_addr *a, struct sys_addr *ret);
int sys_sock_listen(int fd, int backlog);
int sys_sock_accept(int fd);    /* -1 with errno (EAGAIN: nobody waits) */
void sys_sock_reset_p(int *fd); /* closes it with a RST */
