/* See peer.h. One keep-alive connection; a stale one is opened again once. */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 10)

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static int parse_url(const char *url, struct sockaddr_in *addr)
{
    char host[64];
    const char *rest = url + strlen("http://");
    size_t n = strcspn(rest, ":/");
    *addr = (struct sockaddr_in){.sin_family = AF_INET};
    if (n == 0 || n >= sizeof(host))
        return -1;
    memcpy(host, rest, n);
    host[n] = '\0';
    if (strcmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
    unsigned long port = rest[n] == ':' ? strtoul(rest + n + 1, NULL, 10) : 80;
    addr->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &addr->sin_addr) == 1 ? 0 : -1;
}

static int peer_connect(struct peer *p)
{
    struct sockaddr_in addr;
    struct timeval limit = {.tv_sec = 1};
    int on = 1;
    if (parse_url(p->url, &addr) < 0)
        return -1;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return -1;
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(p->fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return 0;
    peer_close(p);
    return -1;
}

static int send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* Read one answer with a Content-Length; its body stays in p->in from *ret_body on. */
static int read_answer(struct peer *p, size_t *ret_body)
{
    size_t head = 0, length = 0;
    p->in.n = 0;
    for (;;) {
        buf_reserve(&p->in, 4097);
        ssize_t n = recv(p->fd, p->in.p + p->in.n, 4096, 0);
        if (n <= 0 || p->in.n > ANSWER_MAX)
            return -1;
        p->in.n += (size_t)n;
        p->in.p[p->in.n] = '\0';
        const char *end = head == 0 ? strstr(p->in.p, "\r\n\r\n") : NULL;
        if (end != NULL) {
            const char *field = strcasestr(p->in.p, "\r\ncontent-length:");
            if (strncmp(p->in.p, "HTTP/1.1 200", 12) != 0 || field == NULL || field > end)
                return -1;
            head = (size_t)(end - p->in.p) + 4;
            length = strtoul(field + strlen("\r\ncontent-length:"), NULL, 10);
        }
        if (head != 0 && p->in.n >= head + length)
            break;
    }
    *ret_body = head;
    return 0;
}

static json_t *call_once(struct peer *p, const char *request, size_t n)
{
    size_t body = 0;
    if (p->fd < 0 && peer_connect(p) < 0)
        return NULL;
    if (send_all(p->fd, request, n) < 0 || read_answer(p, &body) < 0) {
        peer_close(p);
        return NULL;
    }
    return json_loadb(p->in.p + body, p->in.n - body, 0, NULL);
}

static json_t *peer_call(struct peer *p, const char *method, const char *params)
{
    char body[256], request[512];
    bool reused = p->fd >= 0;
    int n = snprintf(body, sizeof(body),
                     "{\"jsonrpc\":\"2.0\",\"id\":\"chain\",\"method\":\"%s\",\"params\":[%s]}",
                     method, params);
    n = snprintf(request, sizeof(request),
                 "POST / HTTP/1.1\r\nHost: peer\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 n, body);
    json_t *answer = call_once(p, request, (size_t)n);
    if (answer == NULL && reused)
        answer = call_once(p, request, (size_t)n);
    return answer;
}

int peer_get_slot(struct peer *p, uint64_t *ret_slot)
{
    json_t *answer = peer_call(p, "getSlot", "");
    const json_t *result = json_object_get(answer, "result");
    int status = json_is_integer(result) ? 0 : -1;
    if (status == 0)
        *ret_slot = (uint64_t)json_integer_value(result);
    json_decref(answer);
    return status;
}

int peer_get_block(struct peer *p, uint64_t slot, struct block *ret)
{
    char text[32];
    uint8_t hash[HASH_BYTES], payload[PAYLOAD_BYTES];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)slot);
    json_t *answer = peer_call(p, "getBlock", text);
    const json_t *result = json_object_get(answer, "result");
    const char *data = json_string_value(json_object_get(result, "data"));
    const char *hex = json_string_value(json_object_get(result, "hash"));
    int status = -1;
    if (data != NULL && hex != NULL && hex_decode(hex, hash, sizeof(hash)) == 0 &&
        hex_decode(data, payload, sizeof(payload)) == 0) {
        status = block_from_peer(slot, payload, hash, ret) ? 0 : -1;
        if (status < 0)
            log_line("ERROR", "block %s from %s is not what its hash says", text, p->url);
    }
    json_decref(answer);
    return status;
}
