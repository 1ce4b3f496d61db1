/* JSON-RPC 2.0: one request's text in, one answer's text out. */
#ifndef RPCNODE_RPC_H
#define RPCNODE_RPC_H

#include "node.h"
#include "util.h"

#include <jansson.h>

#define RPC_TEXT_MAX 256

struct rpc_call {
    json_t *request;
    const char *method; /* borrowed from request; "-" if there is none */
    char id[RPC_TEXT_MAX];
    uint64_t delay_ms; /* what the request asks for: wait, then rpc_answer */
};

/* Parse; always leaves a call that rpc_answer can answer (with an error) and rpc_free frees. */
void rpc_parse(const char *text, size_t n, struct rpc_call *ret);
/* `subscription`: where a websocket keeps the id of its slotSubscribe (0: none); NULL elsewhere. */
void rpc_answer(struct node *node, const struct rpc_call *call, uint64_t *subscription,
                struct buf *out);
void rpc_free(struct rpc_call *call);

/* The message of a subscription. */
void rpc_write_slot_notification(struct buf *out, uint64_t slot, uint64_t subscription);

#endif
