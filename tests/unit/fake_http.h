/* A small HTTP server in a thread, for the units of gates and check: answers are set as it runs. */
#pragma once

#include "net/ws.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake_http {
    int fd;
    int port;
    pthread_t thread;
    /* what it says */
    const char *body; /* to a GET */
    const char *version;
    atomic_long slot, step; /* getSlot; step is added at each question */
    int upgrade;            /* 1: answers an upgrade with 101, 2: with a wrong key; else 400 */
    atomic_bool hang;       /* takes the request and says nothing */
    atomic_int refuse;      /* so many plain answers are "Block not available" first */
    int hung[64], hung_n;
};

static inline int fake_listen(int *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        abort();
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static inline void fake_answer(struct fake_http *f, int fd, const char *request)
{
    char body[512], out[1024];
    if (strcasestr(request, "upgrade: websocket")) {
        char key[WS_KEY_SIZE] = "", accept[WS_ACCEPT_SIZE];
        sscanf(strcasestr(request, "sec-websocket-key:") + 18, " %24s", key);
        ws_accept(f->upgrade == 2 ? "another" : key, accept);
        snprintf(out, sizeof(out),
                 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
        if (!f->upgrade)
            snprintf(out, sizeof(out), "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
        (void)!write(fd, out, strlen(out));
        return;
    }
    if (strstr(request, "getSlot"))
        snprintf(body, sizeof(body), "{\"jsonrpc\":\"2.0\",\"result\":%ld,\"id\":1}",
                 atomic_fetch_add(&f->slot, atomic_load(&f->step)));
    else if (strstr(request, "getAccountInfo")) {
        long slot = atomic_fetch_add(&f->slot, atomic_load(&f->step));
        snprintf(body, sizeof(body),
                 "{\"result\":{\"context\":{\"apiVersion\":\"%s\",\"slot\":%ld},"
                 "\"value\":{\"lamports\":%ld,\"rentEpoch\":18446744073709551615}}}",
                 f->version, slot, 7 * slot);
    } else if (atomic_load(&f->refuse) > 0) {
        atomic_fetch_sub(&f->refuse, 1);
        snprintf(body, sizeof(body),
                 "{\"error\":{\"code\":-32004,\"message\":\"Block not available for slot 7\"}}");
    } else if (strstr(request, "getVersion"))
        snprintf(body, sizeof(body),
                 "{\"result\":{\"solana-core\":\"%s\",\"feature-set\":4140108451}}", f->version);
    else if (strstr(request, "getHealth"))
        snprintf(body, sizeof(body),
                 "{\"error\":{\"code\":-32005,\"message\":\"Node is behind by 52 slots\","
                 "\"data\":{\"numSlotsBehind\":52}}}");
    else
        snprintf(body, sizeof(body), "%s", f->body);
    snprintf(
        out, sizeof(out),
        "HTTP/1.1 200 OK\r\nX-Colour: blue\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
        strlen(body), body);
    (void)!write(fd, out, strlen(out));
}

/* Reads one request: its head, and as much body as Content-Length says. */
static inline bool fake_read(int fd, char *buf, size_t size)
{
    size_t got = 0;
    for (;;) {
        ssize_t n = read(fd, buf + got, size - 1 - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
        buf[got] = '\0';
        const char *head = strstr(buf, "\r\n\r\n"), *len = strcasestr(buf, "content-length:");
        if (head && got - (size_t)(head + 4 - buf) >= (len ? strtoul(len + 15, NULL, 10) : 0))
            return true;
    }
}

static inline void *fake_serve(void *ctx)
{
    struct fake_http *f = ctx;
    char buf[4096];
    for (int fd; (fd = accept(f->fd, NULL, NULL)) >= 0;) {
        bool got = fake_read(fd, buf, sizeof(buf));
        if (got && atomic_load(&f->hang) && f->hung_n < 64) {
            f->hung[f->hung_n++] = fd;
            continue;
        }
        if (got)
            fake_answer(f, fd, buf);
        close(fd);
    }
    return NULL;
}

static inline void fake_start(struct fake_http *f)
{
    f->fd = fake_listen(&f->port);
    if (pthread_create(&f->thread, NULL, fake_serve, f) != 0)
        abort();
}

static inline void fake_stop(struct fake_http *f)
{
    shutdown(f->fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->fd);
    while (f->hung_n)
        close(f->hung[--f->hung_n]);
}
