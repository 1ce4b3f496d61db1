/* An API server that answers by a script, one answer a request, as badly as the script says. What
 * it was asked is kept. */
#pragma once

#include "fake_http.h"
#include "net/kube.h"
#include "net/ws.h"
#include "sys/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum manner {
    WHOLE,
    CUT,    /* the connection ends in the middle of the body */
    STREAM, /* chunked, ended well */
    BROKEN, /* chunked, the connection ends without the last chunk */
    SILENT, /* no answer, the connection stays open */
    HANGUP, /* no answer, the connection ends */
    DRIP,   /* a byte every 20 ms */
    RAW,    /* body as it is, nothing before it */
    SOCKET, /* a websocket: body are its frames (body_len bytes) */
};

struct canned {
    const char *body;
    enum manner manner;
    int code;            /* 0: 200 */
    const char *type;    /* NULL: application/json */
    const char *headers; /* further ones, each with CRLF */
    size_t body_len;     /* 0: strlen */
    size_t filler;       /* so many 'x' behind the body, within the Content-Length */
};

struct kube_server {
    int fd, port;
    pthread_t thread;
    const struct canned *script;
    size_t n;
    atomic_size_t asked; /* requests so far; one beyond the script is answered 599 */
    char request[32][3072];
    struct str sent; /* SOCKET: what came from the client behind its request */
    int open[32];
    size_t open_n;
};

static inline void server_put(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);
        if (done <= 0)
            return;
        bytes += done;
        n -= (size_t)done;
    }
}

static inline void server_chunk(int fd, const char *body, size_t n, bool last)
{
    char size[32];
    snprintf(size, sizeof(size), "%zx\r\n", n);
    server_put(fd, size, strlen(size));
    server_put(fd, body, n);
    server_put(fd, last ? "\r\n0\r\n\r\n" : "\r\n", last ? 7 : 2);
}

static inline void server_socket(struct kube_server *s, int fd, const struct canned *c, size_t len,
                                 const char *request)
{
    char key[WS_KEY_SIZE] = "", accept[WS_ACCEPT_SIZE], head[512], buf[4096];
    const char *at = strcasestr(request, "sec-websocket-key:");
    if (at)
        sscanf(at + 18, " %24s", key);
    ws_accept(key, accept);
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                     accept, c->headers ? c->headers : "");
    server_put(fd, head, (size_t)n);
    server_put(fd, c->body, len);
    shutdown(fd, SHUT_WR);
    for (ssize_t got; (got = read(fd, buf, sizeof(buf))) > 0;)
        str_add_n(&s->sent, buf, (size_t)got);
}

static inline void server_answer(struct kube_server *s, int fd, const struct canned *c,
                                 const char *request)
{
    size_t len = c->body_len ? c->body_len : c->body ? strlen(c->body) : 0;
    char head[1024];
    if (c->manner == RAW)
        server_put(fd, c->body, len);
    if (c->manner == SOCKET)
        server_socket(s, fd, c, len, request);
    if (c->manner == RAW || c->manner == SOCKET || c->manner == HANGUP)
        return;
    bool chunked = c->manner == STREAM || c->manner == BROKEN;
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %d Words\r\nContent-Type: %s\r\n%sConnection: close\r\n",
                     c->code ? c->code : 200, c->type ? c->type : "application/json",
                     c->headers ? c->headers : "");
    n += chunked
             ? snprintf(head + n, sizeof(head) - (size_t)n, "Transfer-Encoding: chunked\r\n\r\n")
             : snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n\r\n",
                        len + c->filler + (c->manner == CUT ? 10 : 0));
    server_put(fd, head, (size_t)n);
    if (chunked)
        server_chunk(fd, c->body, len, c->manner == STREAM);
    for (size_t i = 0; c->manner == DRIP && i < len; i++) {
        struct timespec t = {.tv_nsec = 20000000};
        server_put(fd, c->body + i, 1);
        nanosleep(&t, NULL);
    }
    if (c->manner == WHOLE || c->manner == CUT)
        server_put(fd, c->body, len);
    char xs[4096];
    memset(xs, 'x', sizeof(xs));
    for (size_t left = c->filler, m; left; left -= m) {
        m = left < sizeof(xs) ? left : sizeof(xs);
        server_put(fd, xs, m);
    }
}

static inline void *server_run(void *ctx)
{
    static const struct canned beyond = {.body = "beyond the script", .code = 599};
    struct kube_server *s = ctx;
    for (int fd; (fd = accept(s->fd, NULL, NULL)) >= 0;) {
        size_t at = atomic_load(&s->asked);
        char *request = s->request[at < 31 ? at : 31];
        if (!fake_read(fd, request, sizeof(s->request[0]))) {
            close(fd);
            continue;
        }
        atomic_store(&s->asked, at + 1);
        const struct canned *c = at < s->n ? &s->script[at] : &beyond;
        if (c->manner == SILENT && s->open_n < 32) {
            s->open[s->open_n++] = fd;
            continue;
        }
        server_answer(s, fd, c, request);
        close(fd);
    }
    return NULL;
}

static inline void server_start(struct kube_server *s, const struct canned *script, size_t n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    memset(s, 0, sizeof(*s));
    s->script = script;
    s->n = n;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, len) < 0 || listen(s->fd, 64) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &len) < 0 ||
        pthread_create(&s->thread, NULL, server_run, s) != 0)
        abort();
    s->port = ntohs(a.sin_port);
}

static inline void server_stop(struct kube_server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    while (s->open_n)
        close(s->open[--s->open_n]);
    str_done(&s->sent);
}

/* A context whose server that is. */
static inline struct kubeconfig server_config(const struct kube_server *s)
{
    return (struct kubeconfig){
        .context = x_strdup("test"),
        .where = x_strdup("test"),
        .server = x_asprintf("http://127.0.0.1:%d", s->port),
        .ns = x_strdup("default"),
    };
}

/* Short times: 400 ms a try, 1.2 s in all. */
static inline struct kube *server_open(const struct kube_server *s)
{
    struct kubeconfig c = server_config(s);
    struct kube_options o = {.timeout = 400 * NSEC_MS, .patience = 1200 * NSEC_MS};
    struct kube *k = NULL;
    if (kube_open(&c, &o, &k, NULL) < 0)
        abort();
    return k;
}

#define SCRIPT(s, ...)                                    \
    static const struct canned script_[] = {__VA_ARGS__}; \
    server_start(s, script_, sizeof(script_) / sizeof(*script_))
