/* RFC 6455, the server's side: handshake and frames. No extensions. */
#ifndef RPCNODE_WS_H
#define RPCNODE_WS_H

#include "util.h"

#define WS_MESSAGE_MAX (1u << 20)

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

struct ws_frame {
    unsigned opcode;
    bool final;
    char *payload; /* unmasked in place */
    size_t payload_n;
};

/* The whole 101 answer for a client's key. */
void ws_write_handshake(struct buf *out, const char *key, const char *backend);
void ws_write_frame(struct buf *out, enum ws_opcode opcode, const char *payload, size_t n);
/* One frame at the start of p[0..n). Returns bytes used, 0 if incomplete, -1 if not allowed. */
long ws_parse_frame(char *p, size_t n, struct ws_frame *ret);

#endif
