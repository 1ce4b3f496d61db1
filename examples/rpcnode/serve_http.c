/* What an HTTP connection is answered: /health, JSON-RPC by POST, an upgrade, a slow answer. */
#include "conn.h"
#include "http.h"
#include "rpc.h"
#include "ws.h"

#include <stdio.h>
#include <string.h>

#define JSON_TYPE "application/json; charset=utf-8"
#define TEXT_TYPE "text/plain"

static void answer(struct node *node, struct conn *c, const struct http_request *r, int status,
                   const char *type, const char *body, size_t n)
{
    struct http_answer a = {.status = status,
                            .type = type,
                            .body = body,
                            .body_n = n,
                            .backend = node_name(node),
                            .head_only = strcmp(r->method, "HEAD") == 0,
                            .close = !r->keep_alive || node->draining};
    http_write(&c->out, &a);
    if (a.close)
        c->closing = true;
}

static void answer_text(struct node *node, struct conn *c, const struct http_request *r, int status,
                        const char *text)
{
    char label[sizeof(r->method) + sizeof(r->path)];
    snprintf(label, sizeof(label), "%s%s", r->method, r->path);
    reqlog_add(node, label, r->request_id, status);
    answer(node, c, r, status, TEXT_TYPE, text, strlen(text));
}

/* true if the request has to wait: its bytes stay where they are and are parsed again. */
static bool must_wait(struct node *node, struct conn *c, uint64_t delay_ms)
{
    if (c->waited || delay_ms == 0)
        return false;
    c->due_ns = now_mono_ns() + delay_ms * NS_PER_MS;
    if (node->next_delayed_ns == 0 || c->due_ns < node->next_delayed_ns)
        node->next_delayed_ns = c->due_ns;
    return true;
}

static bool serve_rpc(struct node *node, struct conn *c, const struct http_request *r)
{
    struct rpc_call call;
    struct buf text = {0};
    rpc_parse(r->body, r->body_n, &call);
    bool served = !must_wait(node, c, r->delay_ms + call.delay_ms + node->options->delay_ms);
    if (served) {
        bool has_id = strcmp(call.id, "null") != 0;
        rpc_answer(node, &call, NULL, &text);
        reqlog_add(node, call.method, has_id ? call.id : r->request_id, 200);
        answer(node, c, r, 200, JSON_TYPE, text.p, text.n);
    }
    buf_free(&text);
    rpc_free(&call);
    return served;
}

static bool refuse(struct node *node, struct conn *c, const struct http_request *r)
{
    answer_text(node, c, r, 500, "Internal Server Error\n");
    return true;
}

static bool serve_plain(struct node *node, struct conn *c, const struct http_request *r)
{
    uint64_t behind = 0;
    if (strcmp(r->path, "/health") != 0 && strcmp(r->method, "POST") == 0)
        return node->fault == FAULT_ERRORS ? refuse(node, c, r) : serve_rpc(node, c, r);
    if (must_wait(node, c, r->delay_ms))
        return false;
    if (strcmp(r->path, "/health") == 0)
        answer_text(node, c, r, 200, health_text(health_of(node, &behind)));
    else if (strcmp(r->method, "OPTIONS") == 0)
        answer_text(node, c, r, 200, "");
    else
        answer_text(node, c, r, 405,
                    "Used HTTP Method is not allowed. POST or OPTIONS is required\n");
    return true;
}

/* Returns false if the request waits. */
static bool serve_request(struct node *node, struct conn *c, const struct http_request *r)
{
    bool may_upgrade = c->kind == CONN_WS_PORT || node->options->ws_on_rpc_port;
    if (r->upgrade && r->ws_key[0] != '\0' && may_upgrade) {
        ws_write_handshake(&c->out, r->ws_key, node_name(node));
        c->kind = CONN_WS;
        c->ws_number = node->next_ws++;
        return true;
    }
    if (c->kind == CONN_WS_PORT) {
        conn_close(node, c); /* without a byte, as agave */
        return true;
    }
    return serve_plain(node, c, r);
}

void http_serve(struct node *node, struct conn *c)
{
    size_t at = 0;
    while (at < c->in.n && !c->closing && !c->closed && c->due_ns == 0 && c->kind != CONN_WS) {
        struct http_request r;
        size_t used = 0;
        int found = http_parse(c->in.p + at, c->in.n - at, &r, &used);
        if (found == 0)
            break;
        if (found < 0) {
            r = (struct http_request){.method = "-", .path = "/"};
            answer_text(node, c, &r, -found, "");
            break;
        }
        if (r.body == NULL) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            if (r.expects_continue && !c->continued)
                buf_add(&c->out, go_on, sizeof(go_on) - 1);
            c->continued = true;
            break;
        }
        if (!serve_request(node, c, &r))
            break;
        at += used;
        c->waited = c->continued = false;
    }
    buf_drop_front(&c->in, at);
}
