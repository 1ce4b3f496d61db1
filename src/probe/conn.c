/* The pool of HTTP/1.1 connections. One request at a time on each; the one used last is used next.
 *
 * epoll is edge-triggered and registered once for both directions, so a request costs one send and
 * one recv. A connection closed within a round of events may still be named later in that round: it
 * goes to the dead list and is used again only after it. */
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void conn_ready(struct probe *p, struct watch *w, uint32_t events);

static void idle_remove(struct probe *p, struct conn *c)
{
    for (struct conn **at = &p->idle; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            return;
        }
}

static void conn_close(struct probe *p, struct conn *c)
{
    if (c->state == CONN_IDLE)
        idle_remove(p, c);
    sys_poll_remove(p->poll_fd, c->watch.fd);
    sys_close_p(&c->watch.fd);
    c->state = CONN_CLOSED;
    c->request = NULL;
    c->next = p->dead;
    p->dead = c;
    p->live_conns--;
}

/* Ends the request that c carries, and c. */
static void conn_fail(struct probe *p, struct conn *c, enum probe_outcome outcome,
                      enum probe_bad bad, const char *detail)
{
    struct request *rq = TAKE(c->request);
    int status = c->answer.status;
    conn_close(p, c);
    if (rq)
        request_end(p, rq, outcome, bad, status, detail);
}

static void conn_broken(struct probe *p, struct conn *c, const char *doing, int error)
{
    char text[104];
    snprintf(text, sizeof(text), "%s: %s", doing, error ? strerror(error) : "the server closed it");
    conn_fail(p, c, PROBE_RESET, PROBE_BAD_HTTP, text);
}

static struct conn *conn_make(struct probe *p)
{
    struct conn *c = p->free_conns;
    if (c) {
        p->free_conns = c->next;
    } else {
        c = x_alloc(sizeof(*c));
        c->watch.ready = conn_ready;
        p->conns = x_realloc(p->conns, p->n_conns + 1, sizeof(struct conn *));
        p->conns[p->n_conns++] = c;
    }
    http1_reset(&c->answer);
    str_done(&c->unsent);
    c->next = NULL;
    c->watch.fd = -1;
    return c;
}

static enum probe_outcome outcome_of_connect(int error)
{
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
        error == EADDRNOTAVAIL)
        return PROBE_UNSENT;
    return error == ECONNRESET || error == EPIPE ? PROBE_RESET : PROBE_REFUSED;
}

static void connect_failed(struct probe *p, struct conn *c, int error)
{
    char text[104];
    snprintf(text, sizeof(text), "connect: %s", strerror(error));
    conn_fail(p, c, outcome_of_connect(error), PROBE_BAD_HTTP, text);
}

static void conn_open(struct probe *p, struct request *rq)
{
    struct conn *c = conn_make(p);
    p->live_conns++;
    c->state = CONN_CONNECTING;
    c->request = rq;
    rq->carrier = c;
    c->watch.fd = sys_sock_connect(&p->target.addr);
    if (c->watch.fd < 0 ||
        sys_poll_add(p->poll_fd, c->watch.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c) < 0) {
        connect_failed(p, c, errno);
        return;
    }
    p->r.connections++;
    if (p->live_conns > p->r.connections_max)
        p->r.connections_max = p->live_conns;
}

static void build_request(struct probe *p, const struct request *rq)
{
    char number[32], middle[96];
    const struct body *b = rq->body;
    const struct str *head = rq->slow ? &p->slow_head : &p->head;
    int n = snprintf(number, sizeof(number), "%llu", (unsigned long long)rq->number);
    str_clear(&p->out);
    str_add_n(&p->out, head->buf, head->len);
    str_add_n(&p->out, number, (size_t)n);
    if (rq->fresh)
        str_add(&p->out, "\r\nConnection: close");
    size_t len = b->prefix_len + b->suffix_len + (b->rpc ? (size_t)n : 0);
    if (p->n_bodies || len) {
        int m = snprintf(middle, sizeof(middle), "\r\nContent-Length: %zu", len);
        str_add_n(&p->out, middle, (size_t)m);
    }
    str_add_n(&p->out, "\r\n\r\n", 4);
    str_add_n(&p->out, b->prefix, b->prefix_len);
    if (b->rpc)
        str_add_n(&p->out, number, (size_t)n);
    str_add_n(&p->out, b->suffix, b->suffix_len);
}

/* Writes what is left of the request; false when the connection is gone. */
static bool conn_write(struct probe *p, struct conn *c, const char *bytes, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t w = sys_sock_send(c->watch.fd, bytes + done, n - done);
        if (w < 0 && errno == EAGAIN)
            break;
        if (w < 0) {
            conn_broken(p, c, "send", errno);
            return false;
        }
        done += (size_t)w;
    }
    if (bytes == c->unsent.buf + c->unsent_at)
        c->unsent_at += done;
    else if (done < n) {
        str_clear(&c->unsent);
        str_add_n(&c->unsent, bytes + done, n - done);
        c->unsent_at = 0;
    }
    return true;
}

static void conn_send(struct probe *p, struct conn *c)
{
    c->state = CONN_BUSY;
    http1_reset(&c->answer);
    c->answer.no_body = p->o.method && strcmp(p->o.method, "HEAD") == 0;
    str_clear(&c->unsent);
    c->unsent_at = 0;
    build_request(p, c->request);
    conn_write(p, c, p->out.buf, p->out.len);
}

static void conn_submit(struct probe *p, struct request *rq)
{
    struct conn *c = p->idle;
    if (c && !rq->fresh) {
        p->idle = c->next;
        c->next = NULL;
        c->request = rq;
        rq->carrier = c;
        conn_send(p, c);
        return;
    }
    if (c && p->live_conns >= p->o.connections)
        conn_close(p, c); /* room for a fresh one */
    if (p->live_conns < p->o.connections)
        conn_open(p, rq);
    else
        link_add_tail(&p->queue, &rq->in_queue);
}

static struct request *queue_first(struct probe *p)
{
    struct link *l = p->queue.next;
    if (l == &p->queue)
        return NULL;
    return (struct request *)(void *)((char *)l - offsetof(struct request, in_queue));
}

static void queue_serve(struct probe *p)
{
    struct request *rq;
    while ((p->idle || p->live_conns < p->o.connections) && (rq = queue_first(p))) {
        link_remove(&rq->in_queue);
        conn_submit(p, rq);
    }
}

static void conn_timeout(struct probe *p, struct request *rq)
{
    char text[104], buf[32];
    struct conn *c = rq->carrier;
    if (!c) {
        snprintf(text, sizeof(text), "all %u connections were in use until its timeout",
                 p->o.connections);
        request_end(p, rq, PROBE_UNSENT, PROBE_BAD_HTTP, 0, text);
        return;
    }
    snprintf(text, sizeof(text), "%s after %s",
             c->state == CONN_CONNECTING     ? "no connection"
             : c->answer.state != HTTP1_HEAD ? "half an answer"
                                             : "no answer",
             clock_words(buf, sizeof(buf), sys_clock_mono() - rq->intended));
    conn_fail(p, c, PROBE_TIMEOUT, PROBE_BAD_HTTP, text);
}

/* The whole answer is there; `extra` bytes came behind it. */
static void conn_answered(struct probe *p, struct conn *c, size_t extra)
{
    struct request *rq = TAKE(c->request);
    bool fresh = rq->fresh, whole = c->unsent_at >= c->unsent.len;
    request_judge(p, rq, &c->answer);
    if (extra)
        p->r.duplicate_answers++;
    if (extra || fresh || c->answer.close || !whole || c->answer.status == 101) {
        conn_close(p, c);
    } else {
        c->state = CONN_IDLE;
        c->next = p->idle;
        p->idle = c;
    }
}

static void conn_ended(struct probe *p, struct conn *c, int error)
{
    if (c->state == CONN_IDLE) {
        p->r.idle_closed++;
        conn_close(p, c);
    } else if (!error && http1_end(&c->answer)) {
        conn_answered(p, c, 0);
    } else {
        conn_broken(p, c,
                    c->answer.state == HTTP1_HEAD && !c->answer.head.len
                        ? "connection lost before any answer"
                        : "connection lost in mid answer",
                    error);
    }
}

static void conn_read(struct probe *p, struct conn *c, uint32_t events)
{
    while (c->state != CONN_CLOSED) {
        ssize_t n = sys_sock_recv(c->watch.fd, p->scratch, SCRATCH_SIZE);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            conn_ended(p, c, n < 0 ? errno : 0);
            return;
        }
        if (c->state == CONN_IDLE) { /* an answer that nobody asked for */
            p->r.duplicate_answers++;
            conn_close(p, c);
            return;
        }
        size_t used = http1_feed(&c->answer, p->scratch, (size_t)n);
        if (c->answer.state == HTTP1_DONE)
            conn_answered(p, c, (size_t)n - used);
        else if (c->answer.state == HTTP1_BROKEN)
            conn_fail(p, c, PROBE_BAD, PROBE_BAD_HTTP, "the answer is no legal HTTP/1.1");
        /* a short read has emptied the socket: the next byte is a new event */
        if (n < SCRATCH_SIZE && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
            return;
    }
}

static void conn_ready(struct probe *p, struct watch *w, uint32_t events)
{
    struct conn *c = (struct conn *)w;
    if (c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_CONNECTING) {
        int error = sys_sock_error(w->fd);
        if (error)
            connect_failed(p, c, error);
        else if (events & EPOLLOUT)
            conn_send(p, c);
    } else if (events & EPOLLOUT && c->unsent_at < c->unsent.len) {
        conn_write(p, c, c->unsent.buf + c->unsent_at, c->unsent.len - c->unsent_at);
    }
    if (c->state >= CONN_BUSY && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn_read(p, c, events);
}

static void conn_reap(struct probe *p)
{
    while (p->dead) {
        struct conn *c = p->dead;
        p->dead = c->next;
        c->next = p->free_conns;
        p->free_conns = c;
    }
    queue_serve(p);
}

static void conn_done(struct probe *p)
{
    for (unsigned i = 0; i < p->n_conns; i++) {
        struct conn *c = p->conns[i];
        sys_close_p(&c->watch.fd);
        http1_done(&c->answer);
        str_done(&c->unsent);
        free(c);
    }
    free(p->conns);
}

static int conn_start(struct probe *p, struct err *err)
{
    (void)p;
    (void)err;
    return 0;
}

const struct transport transport_plain = {
    .start = conn_start,
    .submit = conn_submit,
    .timeout = conn_timeout,
    .reap = conn_reap,
    .done = conn_done,
};
