/* See ws.h. SHA-1 is here only because the handshake asks for it. */
#include "ws.h"

#include <endian.h>
#include <string.h>

static uint32_t rotate(uint32_t x, unsigned n)
{
    return (x << n) | (x >> (32 - n));
}

static void sha1_block(uint32_t state[5], const uint8_t *p)
{
    uint32_t w[80];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* Of at most 183 bytes: a key and the fixed suffix. */
static void sha1(const char *text, size_t n, uint8_t digest[20])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t message[192] = {0};
    if (n > sizeof(message) - 9)
        n = sizeof(message) - 9;
    size_t blocks = (n + 9 + 63) / 64;
    uint64_t bits = htobe64((uint64_t)n * 8);
    memcpy(message, text, n);
    message[n] = 0x80;
    memcpy(message + blocks * 64 - 8, &bits, 8);
    for (size_t i = 0; i < blocks; i++)
        sha1_block(state, message + i * 64);
    for (unsigned i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t in[20], char out[29])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[21] = {0};
    memcpy(bytes, in, 20);
    for (unsigned i = 0; i < 7; i++) {
        uint32_t three =
            (uint32_t)bytes[3 * i] << 16 | (uint32_t)bytes[3 * i + 1] << 8 | bytes[3 * i + 2];
        for (unsigned j = 0; j < 4; j++)
            out[4 * i + j] = digits[(three >> (18 - 6 * j)) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}

void ws_write_handshake(struct buf *out, const char *key, const char *backend)
{
    struct buf text = {0};
    uint8_t digest[20];
    char accept[29];
    buf_printf(&text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text.p, text.n, digest);
    base64(digest, accept);
    buf_free(&text);
    buf_printf(out,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\nX-Backend: %s\r\n\r\n",
               accept, backend);
}

void ws_write_frame(struct buf *out, enum ws_opcode opcode, const char *payload, size_t n)
{
    uint8_t head[10] = {(uint8_t)(0x80u | opcode)};
    size_t head_n = 2;
    if (n < 126) {
        head[1] = (uint8_t)n;
    } else if (n < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(n >> 8);
        head[3] = (uint8_t)n;
        head_n = 4;
    } else {
        uint64_t length = htobe64(n);
        head[1] = 127;
        memcpy(head + 2, &length, 8);
        head_n = 10;
    }
    buf_add(out, head, head_n);
    buf_add(out, payload, n);
}

long ws_parse_frame(char *p, size_t n, struct ws_frame *ret)
{
    uint8_t head[10] = {0};
    size_t at = 2;
    if (n < 2)
        return 0;
    memcpy(head, p, n < sizeof(head) ? n : sizeof(head));
    uint64_t length = head[1] & 127u;
    if ((head[0] & 0x70u) != 0 || (head[1] & 0x80u) == 0)
        return -1; /* a client masks, and we agreed on no extension */
    if (length == 126) {
        length = (uint64_t)head[2] << 8 | head[3];
        at = 4;
    } else if (length == 127) {
        memcpy(&length, head + 2, 8);
        length = be64toh(length);
        at = 10;
    }
    if (length > WS_MESSAGE_MAX)
        return -1;
    if (n < at + 4 + length)
        return 0;
    const char *mask = p + at;
    ret->opcode = head[0] & 15u;
    ret->final = (head[0] & 0x80u) != 0;
    ret->payload = p + at + 4;
    ret->payload_n = (size_t)length;
    for (size_t i = 0; i < ret->payload_n; i++)
        ret->payload[i] = (char)(ret->payload[i] ^ mask[i % 4]);
    return (long)(at + 4 + length);
}
