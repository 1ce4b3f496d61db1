/* Websocket subscriptions held open beside the requests: their connections. What is counted of them
 * is in events.c. */
#include "net/ws.h"
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIAL_TIMEOUT (5 * NSEC_S)
#define DIAL_AGAIN (100 * NSEC_MS) /* after a refused attempt; after a drop: DIAL_AFTER_DROP */
#define DIAL_AFTER_DROP (50 * NSEC_MS)
#define DIAL_APART NSEC_MS /* in the beginning, so that a thousand are no burst */
#define TICK (5 * NSEC_MS)

/* A handshake of TLS costs us a millisecond: a thousand begun at once would hold up the requests,
 * and each other until all are too late. */
enum { MESSAGE_MAX = 4 << 20, SECURE_AT_ONCE = 32 };

static const char default_subscribe[] =
    "{\"jsonrpc\":\"2.0\",\"id\":\"ws\",\"method\":\"slotSubscribe\",\"params\":[]}";

static uint64_t random_next(struct probe *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return p->random;
}

static void sock_lost(struct probe *p, struct wsock *s);

static void sock_refused(struct probe *p, struct wsock *s, const char *why)
{
    str_format(p->r.ws.refused_why, sizeof(p->r.ws.refused_why), "%s", why);
    sock_lost(p, s);
}

static void sock_lost(struct probe *p, struct wsock *s)
{
    channel_close(p, s);
    nsec_t now = sys_clock_mono();
    if (s->state == SOCK_OPEN) {
        events_dropped(p, s, now);
        s->attempts = 0;
        s->due = now + DIAL_AFTER_DROP;
    } else {
        p->r.ws.refused++;
        s->due = now + DIAL_AGAIN;
    }
    s->state = SOCK_AWAY;
    s->close_frame = false;
    if (s->due < p->socks_due)
        p->socks_due = s->due;
}

static bool sock_write(struct probe *p, struct wsock *s)
{
    while (s->out_at < s->out.len) {
        ssize_t n = channel_send(s, s->out.buf + s->out_at, s->out.len - s->out_at);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            sock_lost(p, s);
            return false;
        }
        s->out_at += (size_t)n;
    }
    str_clear(&s->out);
    s->out_at = 0;
    return true;
}

static bool sock_send_frame(struct probe *p, struct wsock *s, enum ws_opcode opcode,
                            const char *payload, size_t n)
{
    uint8_t mask[4];
    uint64_t r = random_next(p);
    memcpy(mask, &r, 4);
    ws_frame_add(&s->out, opcode, payload, n, mask);
    return sock_write(p, s);
}

static void sock_dial(struct probe *p, struct wsock *s)
{
    str_clear(&s->in);
    str_clear(&s->message);
    str_clear(&s->out);
    s->out_at = 0;
    s->attempts++;
    s->state = SOCK_DIALLING;
    s->due = sys_clock_mono() + DIAL_TIMEOUT;
    if (channel_dial(p, s) < 0)
        sock_refused(p, s, strerror(errno));
}

/* head: the answer that opened it. */
static void sock_opened(struct probe *p, struct wsock *s, const char *head)
{
    s->state = SOCK_OPEN;
    events_opened(p, s, head);
    const char *subscribe = p->o.ws_subscribe ? p->o.ws_subscribe : default_subscribe;
    if (*subscribe)
        sock_send_frame(p, s, WS_TEXT, subscribe, strlen(subscribe));
}

static void sock_message(struct probe *p, struct wsock *s)
{
    json_t *j = json_loadb(str_cstr(&s->message), s->message.len, 0, NULL);
    const json_t *params = json_object_get(j, "params");
    if (params)
        events_take(p, s, params, sys_clock_mono());
    json_decref(j);
    str_clear(&s->message);
}

/* False when the socket is gone. */
static bool sock_frame(struct probe *p, struct wsock *s, const struct ws_frame *f)
{
    if (f->opcode == WS_PING)
        return sock_send_frame(p, s, WS_PONG, f->payload, f->len);
    if (f->opcode == WS_PONG)
        return true;
    if (f->opcode == WS_CLOSE || f->masked) {
        s->close_frame = f->opcode == WS_CLOSE;
        if (!s->close_frame || sock_send_frame(p, s, WS_CLOSE, f->payload, f->len))
            sock_lost(p, s);
        return false;
    }
    if (s->message.len + f->len <= MESSAGE_MAX)
        str_add_n(&s->message, f->payload, f->len);
    if (f->fin)
        sock_message(p, s);
    return true;
}

static void sock_frames(struct probe *p, struct wsock *s)
{
    struct ws_frame f;
    size_t at = 0;
    int got = 0;
    while (at < s->in.len &&
           (got = ws_frame_parse(s->in.buf + at, s->in.len - at, MESSAGE_MAX, &f)) > 0) {
        at += f.used;
        if (!sock_frame(p, s, &f))
            return;
    }
    if (got < 0) {
        sock_lost(p, s);
        return;
    }
    memmove(s->in.buf, s->in.buf + at, s->in.len - at);
    s->in.len -= at;
    s->in.buf[s->in.len] = '\0';
    if (!s->in.len && s->in.cap > 8192)
        str_done(&s->in);
}

static void sock_take(struct probe *p, struct wsock *s)
{
    if (s->state == SOCK_UPGRADING) {
        struct err why = {0};
        ssize_t n = ws_answer_check(str_cstr(&s->in), s->in.len, s->key, &why);
        if (n == 0)
            return;
        if (n < 0) {
            sock_refused(p, s, why.msg);
            return;
        }
        cleanup_free char *head = x_strndup(s->in.buf, (size_t)n);
        memmove(s->in.buf, s->in.buf + n, s->in.len - (size_t)n);
        s->in.len -= (size_t)n;
        sock_opened(p, s, head);
    }
    if (s->state == SOCK_OPEN && s->in.len)
        sock_frames(p, s);
}

static void sock_read(struct probe *p, struct wsock *s)
{
    while (s->state >= SOCK_UPGRADING) {
        ssize_t n = channel_recv(s, p->scratch, SCRATCH_SIZE);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            sock_lost(p, s);
            return;
        }
        str_add_n(&s->in, p->scratch, (size_t)n);
        sock_take(p, s);
    }
}

/* Connected: asks to go on as a websocket. */
static void sock_upgrade(struct probe *p, struct wsock *s)
{
    s->state = SOCK_UPGRADING;
    ws_key(random_next(p), random_next(p), s->key);
    ws_request_add(&s->out, p->ws_target.host_header, p->ws_target.path, s->key, "");
}

/* The connection of a wss:// one is there, or cannot be had. */
static void sock_secured(struct probe *p, void *owner, CURLcode code)
{
    struct wsock *s = owner;
    if (code != CURLE_OK || channel_take(p, s) < 0)
        sock_refused(p, s, curl_easy_strerror(code));
    else
        sock_upgrade(p, s); /* written as soon as epoll says that it can be */
}

static void sock_ready(struct probe *p, struct watch *w, uint32_t events)
{
    struct wsock *s = (struct wsock *)w;
    if (s->state == SOCK_AWAY)
        return;
    if (s->state == SOCK_DIALLING) {
        int error = sys_sock_error(w->fd);
        if (error) {
            sock_refused(p, s, strerror(error));
            return;
        }
        if (!(events & EPOLLOUT))
            return;
        sock_upgrade(p, s);
    }
    if (s->out.len && !sock_write(p, s))
        return;
    sock_read(p, s);
}

static int secure_start(struct probe *p, struct err *err)
{
    struct curl_loop *l = &p->loops[LOOP_SOCKETS];
    p->ws_https_url = x_asprintf("https://%s/", p->ws_target.host_header);
    l->ended = sock_secured;
    return curl_loop_start(l, p, &p->ws_target, err);
}

int sockets_start(struct probe *p, struct err *err)
{
    unsigned n = p->o.websockets;
    p->socks_due = INT64_MAX;
    if (!n)
        return 0;
    if (!p->o.ws_url)
        return err_set(err, ERR_USAGE,
                       "websockets need their URL (ws://HOST:PORT/PATH, or wss://)");
    bool secure = str_starts(p->o.ws_url, "wss://");
    if (target_parse(&p->ws_target, p->o.ws_url, secure ? "wss" : "ws", err) < 0 ||
        (secure && secure_start(p, err) < 0))
        return -1;
    p->socks = x_alloc(n * sizeof(*p->socks));
    p->random = (uint64_t)sys_clock_wall() | 1;
    p->r.ws.wanted = n;
    p->socks_due = 0;
    for (unsigned i = 0; i < n; i++)
        p->socks[i] = (struct wsock){.watch = {.ready = sock_ready, .fd = -1},
                                     .due = sys_clock_mono() + i * DIAL_APART,
                                     .last_slot = -1};
    return 0;
}

/* How many may be dialled now. */
static unsigned room_to_dial(const struct probe *p)
{
    unsigned under_way = 0;
    if (!p->ws_https_url)
        return p->r.ws.wanted;
    for (unsigned i = 0; i < p->r.ws.wanted; i++)
        under_way += p->socks[i].state == SOCK_DIALLING || p->socks[i].state == SOCK_UPGRADING;
    return under_way < SECURE_AT_ONCE ? SECURE_AT_ONCE - under_way : 0;
}

void sockets_tick(struct probe *p)
{
    curl_loop_turn(&p->loops[LOOP_SOCKETS]);
    nsec_t now = sys_clock_mono(), next = INT64_MAX;
    if (now < p->socks_due)
        return;
    p->socks_due = INT64_MAX;
    unsigned room = room_to_dial(p);
    for (unsigned i = 0; i < p->r.ws.wanted; i++) {
        struct wsock *s = &p->socks[i];
        if (s->state > SOCK_AWAY && s->state != SOCK_OPEN && now >= s->due) {
            sock_refused(p, s, "no websocket within 5 s");
        } else if (s->state == SOCK_AWAY && now >= s->due && room) {
            sock_dial(p, s);
            room--;
        }
        if (s->state != SOCK_OPEN && s->due < next)
            next = s->due;
    }
    if (next < now + TICK)
        next = now + TICK;
    p->socks_due = next;
}

void sockets_done(struct probe *p)
{
    for (unsigned i = 0; p->socks && i < p->r.ws.wanted; i++) {
        struct wsock *s = &p->socks[i];
        if (s->state == SOCK_OPEN)
            (void)sock_send_frame(p, s, WS_CLOSE, "\x03\xe8", 2);
        channel_close(p, s);
        str_done(&s->in);
        str_done(&s->message);
        str_done(&s->out);
    }
    free(p->socks);
    curl_loop_done(&p->loops[LOOP_SOCKETS]);
    free(p->ws_https_url);
}
