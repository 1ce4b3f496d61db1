/* A blocking JSON-RPC client for the chain thread: what this node hears from others. */
#ifndef RPCNODE_PEER_H
#define RPCNODE_PEER_H

#include "store.h"
#include "util.h"

struct peer {
    const char *url;
    int fd;
    struct buf in;
};

void peer_close(struct peer *p);
/* Each returns 0, or -1 (no answer within 1 s, or not a good one; the connection is closed). */
int peer_get_slot(struct peer *p, uint64_t *ret_slot);
int peer_get_block(struct peer *p, uint64_t slot, struct block *ret);

#endif
