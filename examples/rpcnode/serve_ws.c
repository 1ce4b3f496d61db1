/* What a websocket is answered: JSON-RPC (slotSubscribe above all), ping, close. */
#include "conn.h"
#include "rpc.h"
#include "ws.h"

#include <stdio.h>

static void serve_message(struct node *node, struct conn *c, const char *text, size_t n)
{
    struct rpc_call call;
    struct buf reply = {0};
    char label[RPC_TEXT_MAX];
    rpc_parse(text, n, &call);
    rpc_answer(node, &call, &c->subscription, &reply);
    snprintf(label, sizeof(label), "ws:%.200s", call.method);
    reqlog_add(node, label, call.id, 200);
    ws_write_frame(&c->out, WS_TEXT, reply.p, reply.n);
    buf_free(&reply);
    rpc_free(&call);
}

static void serve_data(struct node *node, struct conn *c, const struct ws_frame *f)
{
    if (f->final && c->message.n == 0) {
        serve_message(node, c, f->payload, f->payload_n);
        return;
    }
    buf_add(&c->message, f->payload, f->payload_n);
    if (c->message.n > WS_MESSAGE_MAX) {
        conn_close(node, c);
    } else if (f->final) {
        serve_message(node, c, c->message.p, c->message.n);
        c->message.n = 0;
    }
}

void ws_serve(struct node *node, struct conn *c)
{
    size_t at = 0;
    while (at < c->in.n && !c->closing && !c->closed) {
        struct ws_frame f;
        long used = ws_parse_frame(c->in.p + at, c->in.n - at, &f);
        if (used < 0)
            conn_close(node, c);
        if (used <= 0)
            break;
        at += (size_t)used;
        if (f.opcode == WS_CLOSE) {
            ws_write_frame(&c->out, WS_CLOSE, f.payload, f.payload_n);
            c->closing = true;
        } else if (f.opcode == WS_PING) {
            ws_write_frame(&c->out, WS_PONG, f.payload, f.payload_n);
        } else if (f.opcode <= WS_BINARY) {
            serve_data(node, c, &f);
        }
    }
    buf_drop_front(&c->in, at);
}
