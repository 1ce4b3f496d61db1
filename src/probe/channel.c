/* A websocket's way to its server, which never blocks: TCP, or TLS by libcurl.
 *
 * libcurl connects, verifies the server and then hands the connection over (CONNECT_ONLY). The
 * socket is in our epoll from then on, edge-triggered as a plain one: channel_recv() is called
 * until it says EAGAIN, so nothing that TLS has already read stays behind. */
#include "probe/internal.h"
#include "sys/file.h"
#include "sys/loop.h"

#include <errno.h>

static const uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

static int watch_it(struct probe *p, struct wsock *s)
{
    return sys_poll_add(p->poll_fd, s->watch.fd, both_ways, s);
}

static int dial_secure(struct probe *p, struct wsock *s)
{
    struct curl_loop *l = &p->loops[LOOP_SOCKETS];
    s->easy = curl_loop_easy(l, s);
    curl_easy_setopt(s->easy, CURLOPT_URL, p->ws_https_url);
    curl_easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(s->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(s->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    return curl_multi_add_handle(l->multi, s->easy) == CURLM_OK ? 0 : -1;
}

int channel_dial(struct probe *p, struct wsock *s)
{
    if (p->ws_https_url)
        return dial_secure(p, s);
    s->watch.fd = sys_sock_connect(&p->ws_target.addr);
    return s->watch.fd < 0 ? -1 : watch_it(p, s);
}

int channel_take(struct probe *p, struct wsock *s)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return -1;
    s->watch.fd = fd;
    return watch_it(p, s);
}

/* n: by address, since it is known only after `code` is. */
static ssize_t outcome(CURLcode code, const size_t *n)
{
    if (code == CURLE_OK)
        return (ssize_t)*n;
    errno = code == CURLE_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t channel_send(struct wsock *s, const char *bytes, size_t n)
{
    size_t sent = 0;
    if (!s->easy)
        return sys_sock_send(s->watch.fd, bytes, n);
    return outcome(curl_easy_send(s->easy, bytes, n, &sent), &sent);
}

ssize_t channel_recv(struct wsock *s, char *buf, size_t n)
{
    size_t got = 0;
    if (!s->easy)
        return sys_sock_recv(s->watch.fd, buf, n);
    return outcome(curl_easy_recv(s->easy, buf, n, &got), &got);
}

void channel_close(struct probe *p, struct wsock *s)
{
    if (s->watch.fd >= 0)
        sys_poll_remove(p->poll_fd, s->watch.fd);
    if (!s->easy) {
        sys_close_p(&s->watch.fd);
        return;
    }
    s->watch.fd = -1; /* libcurl's own: it closes it */
    curl_multi_remove_handle(p->loops[LOOP_SOCKETS].multi, s->easy);
    curl_easy_cleanup(s->easy);
    s->easy = NULL;
}
