#include "probe/http1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 65536, HEAD_STEP = 1024, BODY_MAX = 4 << 20, LINE_MAX = 8192, KEEP_MAX = 65536 };

const char *http1_header(const struct http1 *h, const char *name, char *buf, size_t size)
{
    size_t name_len = strlen(name);
    for (const char *line = strchr(str_cstr(&h->head), '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        const char *from = line + name_len + 1;
        from += strspn(from, " \t");
        size_t n = strcspn(from, "\r\n");
        while (n && (from[n - 1] == ' ' || from[n - 1] == '\t'))
            n--;
        if (n >= size)
            n = size - 1;
        memcpy(buf, from, n);
        buf[n] = '\0';
        return buf;
    }
    return NULL;
}

static int parse_status(struct http1 *h)
{
    const char *s = str_cstr(&h->head);
    if (strncmp(s, "HTTP/1.", 7) != 0 || h->head.len < 12 || s[8] != ' ')
        return -1;
    h->status = 0;
    for (int i = 9; i < 12; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        h->status = h->status * 10 + (s[i] - '0');
    }
    h->close = s[7] == '0';
    return h->status < 100 ? -1 : 0;
}

static enum http1_state body_of_length(struct http1 *h, const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return HTTP1_BROKEN;
    h->left = strtoull(text, &end, 10);
    if (*end)
        return HTTP1_BROKEN;
    return h->left ? HTTP1_BODY : HTTP1_DONE;
}

static enum http1_state after_head(struct http1 *h)
{
    char value[64];
    if (parse_status(h) < 0)
        return HTTP1_BROKEN;
    if (h->status < 200 &&
        h->status != 101) { /* 100 Continue and the like: the answer comes after it */
        str_clear(&h->head);
        return HTTP1_HEAD;
    }
    if (http1_header(h, "Connection", value, sizeof(value)))
        h->close =
            strcasecmp(value, "close") == 0 || (h->close && strcasecmp(value, "keep-alive") != 0);
    if (h->no_body || h->status == 204 || h->status == 304 || h->status == 101)
        return HTTP1_DONE;
    if (http1_header(h, "Transfer-Encoding", value, sizeof(value)))
        return strcasecmp(value, "chunked") == 0 ? HTTP1_CHUNK_SIZE : HTTP1_BROKEN;
    if (http1_header(h, "Content-Length", value, sizeof(value)))
        return body_of_length(h, value);
    h->close = true;
    return HTTP1_UNTIL_END;
}

static size_t feed_head(struct http1 *h, const char *bytes, size_t n)
{
    size_t before = h->head.len, from = before > 3 ? before - 3 : 0;
    if (n > HEAD_STEP) /* most of it may be body */
        n = HEAD_STEP;
    str_add_n(&h->head, bytes, n);
    const char *end = memmem(h->head.buf + from, h->head.len - from, "\r\n\r\n", 4);
    if (!end) {
        if (h->head.len >= HEAD_MAX)
            h->state = HTTP1_BROKEN;
        return n;
    }
    size_t head_len = (size_t)(end - h->head.buf) + 4;
    h->head.len = head_len - 2;
    h->head.buf[h->head.len] = '\0';
    h->state = after_head(h);
    return head_len - before;
}

static size_t take_body(struct http1 *h, const char *bytes, size_t n, enum http1_state next)
{
    size_t take = n < h->left ? n : (size_t)h->left;
    if (h->body.len < BODY_MAX)
        str_add_n(&h->body, bytes, take);
    h->body_bytes += take;
    h->left -= take;
    if (!h->left)
        h->state = next;
    return take;
}

/* Collects up to the end of a line; true when it is there, without CR and LF. */
static bool feed_line(struct http1 *h, const char *bytes, size_t n, size_t *used)
{
    const char *lf = memchr(bytes, '\n', n);
    *used = lf ? (size_t)(lf - bytes) + 1 : n;
    str_add_n(&h->line, bytes, *used);
    if (h->line.len > LINE_MAX)
        h->state = HTTP1_BROKEN;
    if (!lf || h->state == HTTP1_BROKEN)
        return false;
    while (h->line.len &&
           (h->line.buf[h->line.len - 1] == '\n' || h->line.buf[h->line.len - 1] == '\r'))
        h->line.buf[--h->line.len] = '\0';
    return true;
}

static void take_line(struct http1 *h)
{
    char *end;
    const char *text = str_cstr(&h->line);
    if (h->state == HTTP1_CHUNK_SIZE) {
        h->left = strtoull(text, &end, 16);
        h->state = end == text || (*end && *end != ';' && *end != ' ') ? HTTP1_BROKEN
                   : h->left                                           ? HTTP1_CHUNK
                                                                       : HTTP1_TRAILER;
    } else if (h->state == HTTP1_CHUNK_END) {
        h->state = *text ? HTTP1_BROKEN : HTTP1_CHUNK_SIZE;
    } else if (!*text) { /* the trailer's end */
        h->state = HTTP1_DONE;
    }
    str_clear(&h->line);
}

size_t http1_feed(struct http1 *h, const char *bytes, size_t n)
{
    size_t at = 0;
    while (at < n && h->state < HTTP1_DONE) {
        size_t used = 0;
        if (h->state == HTTP1_HEAD) {
            used = feed_head(h, bytes + at, n - at);
        } else if (h->state == HTTP1_BODY) {
            used = take_body(h, bytes + at, n - at, HTTP1_DONE);
        } else if (h->state == HTTP1_CHUNK) {
            used = take_body(h, bytes + at, n - at, HTTP1_CHUNK_END);
        } else if (h->state == HTTP1_UNTIL_END) {
            h->left = UINT64_MAX;
            used = take_body(h, bytes + at, n - at, HTTP1_DONE);
        } else if (feed_line(h, bytes + at, n - at, &used)) {
            take_line(h);
        }
        at += used;
    }
    return at;
}

bool http1_end(struct http1 *h)
{
    if (h->state != HTTP1_UNTIL_END)
        return false;
    h->state = HTTP1_DONE;
    return true;
}

static void clear_or_free(struct str *s)
{
    if (s->cap > KEEP_MAX)
        str_done(s);
    else
        str_clear(s);
}

void http1_reset(struct http1 *h)
{
    clear_or_free(&h->head);
    clear_or_free(&h->body);
    clear_or_free(&h->line);
    h->state = HTTP1_HEAD;
    h->status = 0;
    h->no_body = h->close = false;
    h->left = h->body_bytes = 0;
}

void http1_done(struct http1 *h)
{
    str_done(&h->head);
    str_done(&h->body);
    str_done(&h->line);
}
