#include "sys/sock.h"

#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>

int sys_addr_resolve(const char *host, const char *port, struct sys_addr *ret, size_t max,
                     struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return err_set(err, ERR_NOT_FOUND, "look up '%s' port %s: %s", host, port,
                       gai_strerror(rc));
    size_t n = 0;
    for (const struct addrinfo *ai = list; ai && n < max; ai = ai->ai_next) {
        if (ai->ai_addrlen > sizeof(ret[n].ss))
            continue;
        memcpy(&ret[n].ss, ai->ai_addr, ai->ai_addrlen);
        ret[n++].len = ai->ai_addrlen;
    }
    freeaddrinfo(list);
    if (!n)
        return err_set(err, ERR_NOT_FOUND, "look up '%s' port %s: no address", host, port);
    return (int)n;
}

const char *sys_addr_text(char *buf, size_t size, const struct sys_addr *a)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((const struct sockaddr *)&a->ss, a->len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(buf, size, "?");
    else
        snprintf(buf, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return buf;
}

int sys_sock_connect(const struct sys_addr *a)
{
    const int one = 1;
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (const struct sockaddr *)&a->ss, a->len) < 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        int saved = errno;
        sys_close_p(&fd);
        errno = saved;
    }
    return fd;
}

int sys_sock_error(int fd)
{
    int value = 0;
    socklen_t len = sizeof(value);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0)
        return errno;
    return value;
}

int sys_sock_connect_wait(const struct sys_addr *a, nsec_t deadline)
{
    int fd = sys_sock_connect(a);
    if (fd < 0)
        return -1;
    int failed = ETIMEDOUT;
    for (;;) {
        nsec_t left = deadline - sys_clock_mono();
        if (left <= 0)
            break;
        struct pollfd pfd = {.fd = fd, .events = POLLOUT};
        int n = poll(&pfd, 1, (int)(left / NSEC_MS > 60000 ? 60000 : left / NSEC_MS + 1));
        if (n < 0 && errno != EINTR) {
            failed = errno;
            break;
        }
        if (n > 0) {
            failed = sys_sock_error(fd);
            break;
        }
    }
    if (!failed)
        return fd;
    sys_close_p(&fd);
    errno = failed;
    return -1;
}

ssize_t sys_sock_send(int fd, const void *buf, size_t n)
{
    ssize_t r;
    do
        r = send(fd, buf, n, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r;
}

ssize_t sys_sock_recv(int fd, void *buf, size_t n)
{
    ssize_t r;
    do
        r = recv(fd, buf, n, 0);
    while (r < 0 && errno == EINTR);
    return r;
}

int sys_sock_bind(const struct sys_addr *a, struct sys_addr *ret)
{
    const int one = 1;
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    ret->len = sizeof(ret->ss);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0 &&
        bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0 &&
        getsockname(fd, (struct sockaddr *)&ret->ss, &ret->len) == 0)
        return fd;
    int saved = errno;
    sys_close_p(&fd);
    errno = saved;
    return -1;
}

int sys_sock_listen(int fd, int backlog)
{
    return listen(fd, backlog);
}

int sys_sock_accept(int fd)
{
    const int one = 1;
    int got;
    do
        got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (got < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (got >= 0)
        (void)setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return got;
}

void sys_sock_reset_p(int *fd)
{
    const struct linger at_once = {.l_onoff = 1};
    if (*fd >= 0)
        (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    sys_close_p(fd);
}
