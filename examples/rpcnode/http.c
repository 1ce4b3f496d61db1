/* See http.h. */
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct head {
    struct http_request *request;
    size_t body_n;
    int fault;
};

static void copy_text(char *out, size_t cap, const char *p, size_t n)
{
    if (n >= cap)
        n = cap - 1;
    memcpy(out, p, n);
    out[n] = '\0';
}

static bool has_token(const char *list, const char *token)
{
    size_t n = strlen(token);
    for (const char *p = list; *p != '\0'; p++) {
        if (strncasecmp(p, token, n) == 0)
            return true;
    }
    return false;
}

static void take_length(struct head *h, const char *value)
{
    char *end = NULL;
    unsigned long long n = strtoull(value, &end, 10);
    if (end == value || *end != '\0')
        h->fault = -400;
    else if (n > HTTP_BODY_MAX)
        h->fault = -413;
    h->body_n = (size_t)n;
}

static void take_connection(struct head *h, const char *value)
{
    if (has_token(value, "close"))
        h->request->keep_alive = false;
    else if (has_token(value, "keep-alive"))
        h->request->keep_alive = true;
}

static void take_upgrade(struct head *h, const char *value)
{
    h->request->upgrade = has_token(value, "websocket");
}

static void take_key(struct head *h, const char *value)
{
    copy_text(h->request->ws_key, HTTP_TEXT_MAX, value, strlen(value));
}

static void take_id(struct head *h, const char *value)
{
    copy_text(h->request->request_id, HTTP_TEXT_MAX, value, strlen(value));
}

static void take_delay(struct head *h, const char *value)
{
    h->request->delay_ms = strtoull(value, NULL, 10);
}

static void take_expect(struct head *h, const char *value)
{
    h->request->expects_continue = has_token(value, "100-continue");
}

static void take_encoding(struct head *h, const char *value)
{
    if (!has_token(value, "identity"))
        h->fault = -411; /* bodies come with a Content-Length here */
}

static const struct {
    const char *name;
    void (*take)(struct head *h, const char *value);
} fields[] = {
    {"content-length", take_length}, {"connection", take_connection},
    {"upgrade", take_upgrade},       {"sec-websocket-key", take_key},
    {"x-request-id", take_id},       {"x-delay-ms", take_delay},
    {"expect", take_expect},         {"transfer-encoding", take_encoding},
};

static void take_field(struct head *h, const char *line, size_t n)
{
    char value[256];
    const char *colon = memchr(line, ':', n);
    if (colon == NULL) {
        h->fault = -400;
        return;
    }
    size_t name_n = (size_t)(colon - line);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strlen(fields[i].name) != name_n || strncasecmp(fields[i].name, line, name_n) != 0)
            continue;
        const char *p = colon + 1, *end = line + n;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        copy_text(value, sizeof(value), p, (size_t)(end - p));
        fields[i].take(h, value);
        return;
    }
}

static bool take_request_line(struct http_request *r, const char *line, size_t n)
{
    const char *first = memchr(line, ' ', n);
    if (first == NULL)
        return false;
    const char *path = first + 1;
    const char *last = memchr(path, ' ', n - (size_t)(path - line));
    if (last == NULL || path[0] != '/' || n - (size_t)(last - line) != strlen(" HTTP/1.1"))
        return false;
    const char *query = memchr(path, '?', (size_t)(last - path));
    copy_text(r->method, sizeof(r->method), line, (size_t)(first - line));
    copy_text(r->path, sizeof(r->path), path, (size_t)((query != NULL ? query : last) - path));
    r->keep_alive = memcmp(last, " HTTP/1.1", strlen(" HTTP/1.1")) == 0;
    return true;
}

int http_parse(const char *p, size_t n, struct http_request *ret, size_t *ret_used)
{
    struct head h = {.request = ret};
    *ret = (struct http_request){0};
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    if (end == NULL)
        return n > HTTP_HEAD_MAX ? -431 : 0;
    for (const char *line = p; line < end + 2;) {
        const char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (stop == NULL)
            break;
        if (line == p && !take_request_line(ret, line, (size_t)(stop - line)))
            return -400;
        if (line != p)
            take_field(&h, line, (size_t)(stop - line));
        line = stop + 2;
    }
    if (h.fault != 0)
        return h.fault;
    size_t head_n = (size_t)(end - p) + 4;
    ret->body_n = h.body_n;
    *ret_used = head_n + h.body_n;
    if (n >= *ret_used)
        ret->body = p + head_n;
    return 1;
}

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {405, "Method Not Allowed"},
        {500, "Internal Server Error"},
        {411, "Length Required"},
        {413, "Payload Too Large"},
        {431, "Request Header Fields Too Large"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Unknown";
}

void http_write(struct buf *out, const struct http_answer *a)
{
    buf_printf(out,
               "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nX-Backend: %s\r\n"
               "%s\r\n",
               a->status, reason_of(a->status), a->type, a->body_n, a->backend,
               a->close ? "Connection: close\r\n" : "");
    if (!a->head_only)
        buf_add(out, a->body, a->body_n);
}
