#include "net/forward.h"

#include "base/str.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/loop.h"
#include "sys/sock.h"
#include "sys/spawn.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 16384
#define BACKLOG 4096
#define QUIET (2 * NSEC_S)
#define LONGEST (10 * NSEC_MIN)

/* One end of a forwarded connection, and what has come from it and is on its way to the other. */
struct end {
    struct pair *pair;
    struct end *other;
    int fd;
    bool eof, shut;     /* it has sent its last byte; the other has been told */
    uint32_t interest;  /* as epoll has it */
    size_t first, last; /* buf[first..last) waits for the other */
    char buf[ROOM];
};

struct pair {
    struct pair *next, **at;
    struct end client, server;
    bool connected, asked; /* asked: the last bytes came from the client */
};

struct forward {
    int poll_fd;
    struct pair *pairs;
    nsec_t moved;
};

static struct sys_addr loopback(uint16_t port)
{
    struct sys_addr a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    memcpy(&a.ss, &in, sizeof(in));
    return a;
}

int forward_listen(const struct forward_route *routes, size_t n, int ret_fd[FORWARD_ROUTES])
{
    for (size_t i = 0; i < n; i++) {
        struct sys_addr want = loopback(routes[i].from), got;
        ret_fd[i] = sys_sock_bind(&want, &got);
        if (ret_fd[i] >= 0 && sys_sock_listen(ret_fd[i], BACKLOG) == 0)
            continue;
        int saved = errno;
        for (size_t k = 0; k <= i; k++)
            sys_close_p(&ret_fd[k]);
        errno = saved;
        return -1;
    }
    return 0;
}

static void drop(struct forward *f, struct pair *p)
{
    struct end *both[] = {&p->client, &p->server};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        (void)sys_poll_remove(f->poll_fd, both[i]->fd);
        sys_close_p(&both[i]->fd);
    }
    *p->at = p->next;
    if (p->next)
        p->next->at = p->at;
    free(p);
}

/* What is waited for follows from the state; -1: it cannot be waited for. */
static int watch(struct forward *f, struct end *e)
{
    uint32_t want = 0;
    if (!e->eof && e->last - e->first < ROOM && e->pair->connected)
        want |= EPOLLIN;
    if (e->other->first < e->other->last || (e == &e->pair->server && !e->pair->connected))
        want |= EPOLLOUT;
    if (want == e->interest)
        return 0;
    e->interest = want;
    return sys_poll_change(f->poll_fd, e->fd, want, e);
}

static void accept_one(struct forward *f, int listen_fd, uint16_t to)
{
    struct sys_addr a = loopback(to);
    cleanup_fd int client = sys_sock_accept(listen_fd);
    cleanup_fd int server = client < 0 ? -1 : sys_sock_connect(&a);
    if (server < 0)
        return;
    struct pair *p = x_alloc(sizeof(*p));
    p->client = (struct end){.pair = p, .other = &p->server, .fd = client};
    p->server = (struct end){.pair = p, .other = &p->client, .fd = server, .interest = EPOLLOUT};
    client = server = -1;
    p->next = f->pairs;
    p->at = &f->pairs;
    if (p->next)
        p->next->at = &p->next;
    f->pairs = p;
    f->moved = sys_clock_mono();
    if (sys_poll_add(f->poll_fd, p->client.fd, 0, &p->client) < 0 ||
        sys_poll_add(f->poll_fd, p->server.fd, EPOLLOUT, &p->server) < 0)
        drop(f, p);
}

/* -1: the connection is over. */
static int take(struct forward *f, struct end *e)
{
    if (e->first) {
        memmove(e->buf, e->buf + e->first, e->last - e->first);
        e->last -= e->first;
        e->first = 0;
    }
    ssize_t n = sys_sock_recv(e->fd, e->buf + e->last, ROOM - e->last);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    e->eof = n == 0;
    e->last += (size_t)n;
    e->pair->asked = n > 0 ? e == &e->pair->client : e->pair->asked;
    f->moved = sys_clock_mono();
    return 0;
}

static int give(struct forward *f, struct end *from)
{
    while (from->first < from->last) {
        ssize_t n =
            sys_sock_send(from->other->fd, from->buf + from->first, from->last - from->first);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        from->first += (size_t)n;
        f->moved = sys_clock_mono();
    }
    if (from->eof && !from->shut) {
        sys_end_writing(from->other->fd);
        from->shut = true;
    }
    return from->shut && from->other->shut ? -1 : 0;
}

static void serve(struct forward *f, struct end *e, uint32_t events)
{
    struct pair *p = e->pair;
    bool over = (events & EPOLLERR) || ((events & EPOLLHUP) && e->eof);
    if (!p->connected && e == &p->server)
        over = !(p->connected = sys_sock_error(e->fd) == 0);
    else if ((events & (EPOLLIN | EPOLLHUP)) && !e->eof && e->last - e->first < ROOM)
        over = over || take(f, e) < 0;
    over = over || (p->connected && (give(f, &p->client) < 0 || give(f, &p->server) < 0)) ||
           watch(f, &p->client) < 0 || watch(f, &p->server) < 0;
    if (over)
        drop(f, p);
}

static bool waits(const struct forward *f)
{
    for (const struct pair *p = f->pairs; p; p = p->next)
        if (!p->connected || p->asked)
            return true;
    return false;
}

/* The other end of `control` is gone, and nobody is left who would miss us. */
static bool done(const struct forward *f, nsec_t begun, bool orphan)
{
    nsec_t now = sys_clock_mono();
    return now - begun > LONGEST || (orphan && now - f->moved > QUIET && !waits(f));
}

void forward_run(const struct forward_route *routes, size_t n, int listen_fd[FORWARD_ROUTES],
                 int control_fd)
{
    cleanup_fd int poll_fd = sys_poll_new();
    struct forward f = {.poll_fd = poll_fd, .moved = sys_clock_mono()};
    nsec_t begun = f.moved;
    bool orphan = false;
    for (size_t i = 0; i < n; i++)
        if (sys_poll_add(poll_fd, listen_fd[i], EPOLLIN, &listen_fd[i]) < 0)
            return;
    while (!done(&f, begun, orphan)) {
        struct epoll_event ev;
        char byte;
        if (!orphan && sys_wait_readable(control_fd, 0) == 1) {
            if (sys_read(control_fd, &byte, 1) > 0)
                break;
            orphan = true;
        }
        /* One at a time: the next event may be of the connection that this one ends. */
        if (sys_poll_wait(poll_fd, &ev, 1, 50 * NSEC_MS) <= 0)
            continue;
        const int *l = ev.data.ptr;
        if (l >= listen_fd && l < listen_fd + n)
            accept_one(&f, *l, routes[l - listen_fd].to);
        else
            serve(&f, ev.data.ptr, ev.events);
    }
    for (struct pair *p = f.pairs, *next; p; p = next) {
        next = p->next;
        drop(&f, p);
    }
}
