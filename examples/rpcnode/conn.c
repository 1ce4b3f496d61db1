/* See conn.h. Nothing is sent while a round of epoll events is being served: first the request log
 * is written, then the answers go out. */
#include "conn.h"

#include "rpc.h"
#include "ws.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (16u << 10)
#define IN_MAX (2u << 20)
#define OUT_MAX (8u << 20)

static void on_event(struct node *node, struct source *source, uint32_t events);

static void watch(const struct node *node, struct conn *c, int op, bool writable)
{
    struct epoll_event e = {.events = EPOLLIN | (writable ? (uint32_t)EPOLLOUT : 0),
                            .data.ptr = &c->source};
    epoll_ctl(node->epoll_fd, op, c->source.fd, &e);
}

struct conn *conn_add(struct node *node, int fd, enum conn_kind kind)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->source = (struct source){.on_event = on_event, .fd = fd};
    c->kind = kind;
    c->next = node->conns;
    if (c->next != NULL)
        c->next->previous = c;
    node->conns = c;
    if (!node->hanging || kind == CONN_ADMIN)
        watch(node, c, EPOLL_CTL_ADD, false);
    return c;
}

void conn_close(struct node *node, struct conn *c)
{
    if (c->closed)
        return;
    c->closed = true;
    if (c->slots_sent > 0)
        wslog_add(node, c, "last");
    /* Not left to close(): whoever reads our /proc/PID/fd at this moment holds the file too, and
     * epoll would go on naming what is freed soon (epoll(7)). */
    epoll_ctl(node->epoll_fd, EPOLL_CTL_DEL, c->source.fd, NULL);
    close(c->source.fd);
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        node->conns = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    c->previous = NULL;
    c->next = node->dead; /* an event of this round may still name it */
    node->dead = c;
}

void conn_free_dead(struct node *node)
{
    while (node->dead != NULL) {
        struct conn *c = node->dead;
        node->dead = c->next;
        buf_free(&c->in);
        buf_free(&c->out);
        buf_free(&c->message);
        free(c);
    }
}

void conn_mark(struct node *node, struct conn *c)
{
    if (c->pending || c->closed)
        return;
    c->pending = true;
    c->next_pending = node->pending;
    node->pending = c;
}

static void conn_send(struct node *node, struct conn *c)
{
    size_t sent = 0;
    while (sent < c->out.n) {
        ssize_t n = send(c->source.fd, c->out.p + sent, c->out.n - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            conn_close(node, c);
            return;
        }
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    buf_drop_front(&c->out, sent);
    if (c->out.n > OUT_MAX || (c->out.n == 0 && c->closing)) {
        conn_close(node, c);
    } else if (c->blocked != (c->out.n > 0)) {
        c->blocked = c->out.n > 0;
        watch(node, c, EPOLL_CTL_MOD, c->blocked);
    }
}

void conn_send_pending(struct node *node)
{
    while (node->pending != NULL) {
        struct conn *c = node->pending;
        node->pending = c->next_pending;
        c->pending = false;
        if (!c->closed)
            conn_send(node, c);
    }
}

void conn_serve(struct node *node, struct conn *c)
{
    static void (*const serve[])(struct node * node, struct conn * c) = {
        [CONN_RPC] = http_serve,
        [CONN_WS_PORT] = http_serve,
        [CONN_WS] = ws_serve,
        [CONN_ADMIN] = admin_serve,
    };
    enum conn_kind kind;
    do {
        kind = c->kind;
        serve[kind](node, c);
    } while (c->kind != kind && !c->closed); /* an upgrade, and what came right behind it */
    if (c->out.n > 0 || c->closing)
        conn_mark(node, c);
}

static void on_event(struct node *node, struct source *source, uint32_t events)
{
    struct conn *c = (struct conn *)source;
    if (c->closed)
        return;
    if ((events & EPOLLOUT) != 0)
        conn_mark(node, c);
    if ((events & (uint32_t)~EPOLLOUT) == 0)
        return;
    buf_reserve(&c->in, READ_BYTES);
    ssize_t n = recv(c->source.fd, c->in.p + c->in.n, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->in.n > IN_MAX) {
        conn_close(node, c);
        return;
    }
    c->in.n += (size_t)n;
    if (!c->closing)
        conn_serve(node, c);
    else
        c->in.n = 0;
}

void conn_serve_delayed(struct node *node, uint64_t now)
{
    uint64_t next_due = 0;
    struct conn *next = NULL;
    for (struct conn *c = node->conns; c != NULL; c = next) {
        next = c->next;
        if (c->due_ns != 0 && c->due_ns <= now) {
            c->due_ns = 0;
            c->waited = true;
            conn_serve(node, c);
        }
        if (!c->closed && c->due_ns != 0 && (next_due == 0 || c->due_ns < next_due))
            next_due = c->due_ns;
    }
    node->next_delayed_ns = next_due;
}

void conn_notify_slots(struct node *node, uint64_t from, uint64_t to)
{
    struct buf text = {0};
    for (struct conn *c = node->conns; c != NULL; c = c->next) {
        if (c->kind != CONN_WS || c->subscription == 0 || c->closing)
            continue;
        for (uint64_t slot = from; slot <= to; slot++) {
            text.n = 0;
            rpc_write_slot_notification(&text, slot, c->subscription);
            ws_write_frame(&c->out, WS_TEXT, text.p, text.n);
            c->last_slot = slot;
            if (c->slots_sent++ == 0)
                wslog_add(node, c, "first");
        }
        conn_mark(node, c);
    }
    buf_free(&text);
}
