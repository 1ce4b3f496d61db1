#include "net/ws.h"

#include "base/base64.h"

#include <string.h>
#include <strings.h>

/* SHA-1 (RFC 3174): only the handshake's digest; nothing here relies on its strength. */
struct sha1 {
    uint32_t h[5];
};

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

static void sha1_block(struct sha1 *s, const uint8_t block[64])
{
    static const uint32_t k[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t w[80];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20              ? (b & c) | (~b & d)
                     : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                         : b ^ c ^ d;
        uint32_t t = rotate(a, 5) + f + e + k[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    const uint32_t add[5] = {a, b, c, d, e};
    for (unsigned i = 0; i < 5; i++)
        s->h[i] += add[i];
}

/* n is at most 119: the key and the RFC's constant are 60 bytes together. */
static void sha1(const char *bytes, size_t n, uint8_t ret[20])
{
    struct sha1 s = {{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}};
    uint8_t block[128] = {0};
    size_t whole = n < 56 ? 64 : 128;
    memcpy(block, bytes, n);
    block[n] = 0x80;
    block[whole - 2] = (uint8_t)(n * 8 >> 8);
    block[whole - 1] = (uint8_t)(n * 8);
    for (size_t at = 0; at < whole; at += 64)
        sha1_block(&s, block + at);
    for (unsigned i = 0; i < 20; i++)
        ret[i] = (uint8_t)(s.h[i / 4] >> (24 - 8 * (i % 4)));
}

static void put_base64(const void *bytes, size_t n, char *ret, size_t size)
{
    cleanup_str struct str text = {0};
    base64_encode(bytes, n, &text);
    str_format(ret, size, "%s", str_cstr(&text));
}

void ws_key(uint64_t random_high, uint64_t random_low, char ret[WS_KEY_SIZE])
{
    uint8_t raw[16];
    memcpy(raw, &random_high, 8);
    memcpy(raw + 8, &random_low, 8);
    put_base64(raw, sizeof(raw), ret, WS_KEY_SIZE);
}

void ws_accept(const char *key, char ret[WS_ACCEPT_SIZE])
{
    char text[120];
    uint8_t digest[20];
    int n = snprintf(text, sizeof(text), "%.60s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, (size_t)n, digest);
    put_base64(digest, sizeof(digest), ret, WS_ACCEPT_SIZE);
}

void ws_request_add(struct str *out, const char *host, const char *path, const char *key,
                    const char *more)
{
    str_addf(out,
             "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
             path, host, key, more);
}

/* The value of a header line of `name`, trimmed, within head; its length in *n. NULL if there is
 * none. */
static const char *header_find(const char *head, size_t head_len, const char *name, size_t *n)
{
    size_t name_len = strlen(name);
    const char *end = head + head_len;
    for (const char *line = head; line < end;) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        if (!eol)
            return NULL;
        if ((size_t)(eol - line) > name_len && line[name_len] == ':' &&
            strncasecmp(line, name, name_len) == 0) {
            const char *from = line + name_len + 1, *to = eol;
            while (from < to && (*from == ' ' || *from == '\t'))
                from++;
            while (to > from && (to[-1] == '\r' || to[-1] == ' '))
                to--;
            *n = (size_t)(to - from);
            return from;
        }
        line = eol + 1;
    }
    return NULL;
}

ssize_t ws_answer_check(const char *bytes, size_t n, const char *key, struct err *err)
{
    enum { MAX_HEAD = 16384 };
    const char *end = memmem(bytes, n, "\r\n\r\n", 4);
    if (!end && n < MAX_HEAD)
        return 0;
    if (!end)
        return err_set(err, ERR_FAILED, "websocket upgrade: the answer has no end of header");
    size_t head_len = (size_t)(end - bytes) + 2, value_len = 0;
    int line_len = (int)strcspn(bytes, "\r\n");
    if (head_len < 14 || strncmp(bytes, "HTTP/1.1 101", 12) != 0)
        return err_set(err, ERR_FAILED, "websocket upgrade refused: '%.*s'",
                       line_len > 100 ? 100 : line_len, bytes);
    char want[WS_ACCEPT_SIZE];
    ws_accept(key, want);
    const char *got = header_find(bytes, head_len, "Sec-WebSocket-Accept", &value_len);
    if (!got || value_len != strlen(want) || memcmp(got, want, value_len) != 0)
        return err_set(err, ERR_FAILED,
                       "websocket upgrade: Sec-WebSocket-Accept does not answer our key");
    return (ssize_t)head_len + 2;
}

void ws_mask(char *bytes, size_t n, const uint8_t mask[4])
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)((uint8_t)bytes[i] ^ mask[i % 4]);
}

void ws_frame_add(struct str *out, enum ws_opcode opcode, const void *payload, size_t n,
                  const uint8_t mask[4])
{
    uint8_t head[14] = {(uint8_t)(0x80U | (unsigned)opcode)};
    size_t len = 2, wide = n < 126 ? 0 : n <= 0xFFFF ? 2 : 8;
    head[1] = wide == 0 ? (uint8_t)n : wide == 2 ? 126 : 127;
    for (size_t i = 0; i < wide; i++)
        head[len++] = (uint8_t)(n >> (8 * (wide - 1 - i)));
    if (mask) {
        head[1] |= 0x80;
        memcpy(head + len, mask, 4);
        len += 4;
    }
    str_add_n(out, (const char *)head, len);
    size_t at = out->len;
    if (!n)
        return;
    str_add_n(out, payload, n);
    if (mask && out->len == at + n)
        ws_mask(out->buf + at, n, mask);
}

int ws_frame_parse(const char *bytes, size_t n, size_t max, struct ws_frame *ret)
{
    const uint8_t *b = (const uint8_t *)bytes;
    if (n < 2)
        return 0;
    struct ws_frame f = {.fin = b[0] >> 7, .opcode = b[0] & 15, .masked = b[1] >> 7};
    if (b[0] & 0x70 || (f.opcode > WS_BINARY && f.opcode < WS_CLOSE) || f.opcode > WS_PONG)
        return -1;
    size_t at = 2, wide = (b[1] & 127) == 126 ? 2 : (b[1] & 127) == 127 ? 8 : 0;
    if (f.opcode >= WS_CLOSE && (wide || !f.fin))
        return -1;
    uint64_t len = wide ? 0 : b[1] & 127;
    if (n < at + wide)
        return 0;
    for (size_t i = 0; i < wide; i++)
        len = len << 8 | b[at++];
    if (len > max)
        return -1;
    if (f.masked && n < at + 4)
        return 0;
    if (f.masked)
        memcpy(f.mask, b + at, 4);
    at += f.masked ? 4 : 0;
    if (n - at < len)
        return 0;
    f.payload = bytes + at;
    f.len = (size_t)len;
    f.used = at + f.len;
    *ret = f;
    return 1;
}
