/* Answers getSlot over HTTP/1.1, one request at a time on a connection, and does wrong what the
 * plan says. */
#include "probe/selftest_server.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/loop.h"
#include "sys/sock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define REFUSE_FOR NSEC_MS
#define FREEZE_FOR NSEC_S
#define ON_TIME (NSEC_MS / 2) /* requests come in no further apart: the probe is awake */

enum {
    EVENTS = 128,
    BACKLOG = 4096,
    REQUEST_MAX = 4096,
    SLOT_EVERY = 25,
    SLOT_FIRST = 100000,
    STALE_BY = 1000,
    STEADY = 10
};

struct peer {
    struct peer *prev, *next;
    int fd;
    size_t len;
    char in[REQUEST_MAX];
};

struct selftest_server {
    pthread_t thread;
    atomic_bool stopping;
    int poll_fd, wake_fd;
    int listen_fd; /* -1 while nobody listens */
    int spare_fd;  /* holds the port meanwhile, and listens afterwards */
    nsec_t closed_at, reopen_at, last_at;
    unsigned steady; /* so many requests came in on time, one after the other */
    struct peer *peers, *gone;
    uint64_t answers, slot;
    uint64_t plan[SELFTEST_FAULTS];
    struct selftest_log log;
    char url[64];
};

/* Events of the same round may still name it: freed only after it. */
static void peer_close(struct selftest_server *s, struct peer *c, bool reset)
{
    sys_poll_remove(s->poll_fd, c->fd);
    if (reset)
        sys_sock_reset_p(&c->fd);
    else
        sys_close_p(&c->fd);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->peers = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->next = s->gone;
    s->gone = c;
}

static void free_gone(struct selftest_server *s)
{
    for (struct peer *c; (c = s->gone);) {
        s->gone = c->next;
        free(c);
    }
}

/* Whether this request comes in its turn behind others that did: then the probe is not kept waiting
 * by the machine just now, and a millisecond is something that it can see. */
static bool is_steady(struct selftest_server *s)
{
    nsec_t now = sys_clock_mono();
    s->steady = now - s->last_at < ON_TIME ? s->steady + 1 : 0;
    s->last_at = now;
    return s->steady >= STEADY;
}

static bool happens(struct selftest_server *s, enum selftest_fault f, uint64_t number)
{
    if (s->plan[f] != number)
        return false;
    s->log.did[f] = true;
    s->log.at[f] = number;
    return true;
}

static void accept_all(struct selftest_server *s)
{
    int fd;
    while ((fd = sys_sock_accept(s->listen_fd)) >= 0) {
        struct peer *c = x_alloc(sizeof(*c));
        c->fd = fd;
        c->next = s->peers;
        if (s->peers)
            s->peers->prev = c;
        s->peers = c;
        if (sys_poll_add(s->poll_fd, fd, EPOLLIN, c) < 0)
            peer_close(s, c, true);
    }
}

/* Those that are connected already are taken in first: nobody who got a connection loses it. */
static void refuse_begin(struct selftest_server *s)
{
    accept_all(s);
    sys_close_p(&s->listen_fd);
    s->closed_at = sys_clock_mono();
    s->reopen_at = s->closed_at + REFUSE_FOR;
}

static void refuse_end(struct selftest_server *s)
{
    if (!s->reopen_at || sys_clock_mono() < s->reopen_at)
        return;
    s->listen_fd = s->spare_fd;
    s->spare_fd = -1;
    s->reopen_at = 0;
    s->log.refused_for = sys_clock_mono() - s->closed_at;
    if (sys_sock_listen(s->listen_fd, BACKLOG) < 0 ||
        sys_poll_add(s->poll_fd, s->listen_fd, EPOLLIN, NULL) < 0)
        sys_close_p(&s->listen_fd); /* everything is refused from here on, and found */
}

static void freeze(struct selftest_server *s)
{
    nsec_t began = sys_clock_mono(), left = FREEZE_FOR;
    while (left > 0) {
        sys_sleep(left);
        left = began + FREEZE_FOR - sys_clock_mono();
    }
    s->log.frozen_for = sys_clock_mono() - began;
}

static void send_answer(struct selftest_server *s, struct peer *c, uint64_t number, bool close)
{
    char body[128], out[1024];
    uint64_t id = happens(s, SELFTEST_SWAP, number) ? number - 1 : number;
    s->slot += s->answers++ % SLOT_EVERY == 0;
    uint64_t slot = s->slot - (happens(s, SELFTEST_STALE, number) ? STALE_BY : 0);
    int n = snprintf(body, sizeof(body), "{\"jsonrpc\":\"2.0\",\"result\":%llu,\"id\":%llu}",
                     (unsigned long long)slot, (unsigned long long)id);
    int m = snprintf(out, sizeof(out),
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: "
                     "%d\r\n\r\n%s",
                     close ? "Connection: close\r\n" : "", n, body);
    size_t len = (size_t)m;
    if (happens(s, SELFTEST_TWICE, number)) { /* in one piece, so that both are there at once */
        memcpy(out + len, out, len);
        len *= 2;
    }
    /* a socket buffer takes so little in one go; if not, the probe finds it */
    if (sys_sock_send(c->fd, out, len) != (ssize_t)len || close)
        peer_close(s, c, false);
}

static void answer(struct selftest_server *s, struct peer *c, uint64_t number, bool close)
{
    if (number < SELFTEST_REQUESTS_MAX && s->log.seen[number] < UINT8_MAX)
        s->log.seen[number]++;
    if (happens(s, SELFTEST_FREEZE, number))
        freeze(s);
    if (is_steady(s) && s->plan[SELFTEST_REFUSE] && number >= s->plan[SELFTEST_REFUSE] &&
        !s->log.did[SELFTEST_REFUSE]) {
        s->log.did[SELFTEST_REFUSE] = true;
        s->log.at[SELFTEST_REFUSE] = number;
        refuse_begin(s);
    }
    if (happens(s, SELFTEST_DROP, number))
        return;
    if (happens(s, SELFTEST_RESET, number))
        peer_close(s, c, true);
    else
        send_answer(s, c, number, close);
}

/* The requests are the probe's own: one header line each, whole after at most a few reads. */
static bool take_request(struct peer *c, uint64_t *ret_number, bool *ret_close)
{
    c->in[c->len] = '\0';
    const char *end = strstr(c->in, "\r\n\r\n");
    const char *number = strcasestr(c->in, "\r\nX-Changeover-Probe:");
    const char *length = strcasestr(c->in, "\r\nContent-Length:");
    const char *close = strcasestr(c->in, "\r\nConnection: close");
    if (!end || !number || number > end)
        return false;
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t whole = (size_t)(end + 4 - c->in) + body;
    if (c->len < whole)
        return false;
    *ret_number = strtoull(number + 21, NULL, 10);
    *ret_close = close && close < end;
    c->len -= whole;
    memmove(c->in, c->in + whole, c->len);
    return true;
}

static void peer_read(struct selftest_server *s, struct peer *c)
{
    uint64_t number;
    bool close;
    ssize_t n = sys_sock_recv(c->fd, c->in + c->len, sizeof(c->in) - 1 - c->len);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        peer_close(s, c, false);
        return;
    }
    c->len += (size_t)n;
    if (take_request(c, &number, &close))
        answer(s, c, number, close);
}

static void *server_main(void *ctx)
{
    struct selftest_server *s = ctx;
    struct epoll_event events[EVENTS];
    while (!atomic_load(&s->stopping)) {
        nsec_t left = s->reopen_at ? s->reopen_at - sys_clock_mono() : NSEC_S;
        int n = sys_poll_wait(s->poll_fd, events, EVENTS, left > 0 ? left : 0);
        refuse_end(s);
        for (int i = 0; i < n; i++) {
            struct peer *c = events[i].data.ptr;
            if (events[i].data.ptr == &s->wake_fd)
                sys_event_clear(s->wake_fd);
            else if (c && c->fd >= 0)
                peer_read(s, c);
            else if (!c && s->listen_fd >= 0)
                accept_all(s);
        }
        free_gone(s);
    }
    return NULL;
}

static void server_free(struct selftest_server *s)
{
    while (s->peers)
        peer_close(s, s->peers, false);
    free_gone(s);
    sys_close_p(&s->listen_fd);
    sys_close_p(&s->spare_fd);
    sys_close_p(&s->poll_fd);
    sys_close_p(&s->wake_fd);
    free(s);
}

/* Two sockets have the port: while the first is closed, nobody else can get it, and nobody listens.
 */
static int listen_on_loopback(struct selftest_server *s, struct err *err)
{
    struct sys_addr any, own, same;
    char text[48];
    if (sys_addr_resolve("127.0.0.1", "0", &any, 1, err) < 0)
        return -1;
    s->listen_fd = sys_sock_bind(&any, &own);
    if (s->listen_fd >= 0)
        s->spare_fd = sys_sock_bind(&own, &same);
    if (s->spare_fd < 0 || sys_sock_listen(s->listen_fd, BACKLOG) < 0)
        return err_sys(err, ERR_FAILED, "self-test: a port on 127.0.0.1");
    str_format(s->url, sizeof(s->url), "http://%s/", sys_addr_text(text, sizeof(text), &own));
    return 0;
}

int selftest_server_start(const uint64_t plan[SELFTEST_FAULTS], struct selftest_server **ret,
                          struct err *err)
{
    struct selftest_server *s = x_alloc(sizeof(*s));
    s->listen_fd = s->spare_fd = -1;
    s->slot = SLOT_FIRST;
    memcpy(s->plan, plan, sizeof(s->plan));
    s->poll_fd = sys_poll_new();
    s->wake_fd = sys_event_new();
    int rc = listen_on_loopback(s, err);
    if (rc == 0 && (sys_poll_add(s->poll_fd, s->wake_fd, EPOLLIN, &s->wake_fd) < 0 ||
                    sys_poll_add(s->poll_fd, s->listen_fd, EPOLLIN, NULL) < 0))
        rc = err_sys(err, ERR_FAILED, "self-test: event loop");
    if (rc == 0)
        rc = sys_thread_start(&s->thread, server_main, s, err);
    if (rc == 0)
        *ret = s;
    else
        server_free(s);
    return rc;
}

const char *selftest_server_url(const struct selftest_server *s)
{
    return s->url;
}

void selftest_server_stop(struct selftest_server *s, struct selftest_log *ret)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    sys_event_raise(s->wake_fd);
    sys_thread_join(s->thread);
    if (ret)
        *ret = s->log;
    server_free(s);
}
