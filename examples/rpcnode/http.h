/* HTTP/1.1 requests out of bytes, and answers into bytes. */
#ifndef RPCNODE_HTTP_H
#define RPCNODE_HTTP_H

#include "util.h"

#define HTTP_HEAD_MAX (32u << 10)
#define HTTP_BODY_MAX (1u << 20)
#define HTTP_TEXT_MAX 128

struct http_request {
    char method[16];
    char path[HTTP_TEXT_MAX]; /* without the query */
    char request_id[HTTP_TEXT_MAX];
    char ws_key[HTTP_TEXT_MAX];
    uint64_t delay_ms;
    bool keep_alive;
    bool upgrade; /* to a websocket */
    bool expects_continue;
    const char *body; /* points into the bytes given; NULL: not all of it is there yet */
    size_t body_n;
};

/* Parse one request at the start of p[0..n). Returns
 *   1  the head is there (and the body, if ret->body), *ret_used = bytes of both
 *   0  not enough bytes for the head
 *  <0  the negative of the status to answer, then close */
int http_parse(const char *p, size_t n, struct http_request *ret, size_t *ret_used);

struct http_answer {
    int status;
    const char *type;
    const char *body;
    size_t body_n;
    const char *backend;
    bool head_only;
    bool close;
};

void http_write(struct buf *out, const struct http_answer *a);

#endif
