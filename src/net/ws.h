/* RFC 6455 websocket framing and the client's handshake, on bytes in memory: no sockets here.
 *
 * Randomness (key, masks) comes from the caller; it hides nothing here, it only has to differ. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10
};

enum { WS_KEY_SIZE = 25, WS_ACCEPT_SIZE = 29 };

/* The value of Sec-WebSocket-Key, and the Sec-WebSocket-Accept that answers it. */
void ws_key(uint64_t random_high, uint64_t random_low, char ret[WS_KEY_SIZE]);
void ws_accept(const char *key, char ret[WS_ACCEPT_SIZE]);

/* Appends the whole upgrade request. host: with port, as the Host header shows it. more: further
 * header lines, each ending in CRLF; may be "". */
void ws_request_add(struct str *out, const char *host, const char *path, const char *key,
                    const char *more);

/* Looks for the whole answer to the upgrade in n bytes. Its length (frames follow) when it is there
 * and the server agreed, 0 when more bytes are needed, -1 with err when it is no upgrade to this
 * key. */
ssize_t ws_answer_check(const char *bytes, size_t n, const char *key, struct err *err);

/* Appends one frame (FIN set). mask: 4 bytes, as a client must; NULL: unmasked, as a server must.
 */
void ws_frame_add(struct str *out, enum ws_opcode opcode, const void *payload, size_t n,
                  const uint8_t mask[4]);

struct ws_frame {
    bool fin;
    bool masked;
    uint8_t mask[4];
    unsigned opcode;
    const char *payload; /* into the bytes given; still masked if `masked` */
    size_t len;
    size_t used; /* the whole frame: where the next one begins */
};

/* 1: one frame is whole; 0: more bytes are needed; -1: not a legal frame, or longer than max. */
int ws_frame_parse(const char *bytes, size_t n, size_t max, struct ws_frame *ret);

/* Masks or unmasks in place (the same act). */
void ws_mask(char *bytes, size_t n, const uint8_t mask[4]);
