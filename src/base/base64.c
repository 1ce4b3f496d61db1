#include "base/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t n, struct str *ret)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t v = (uint32_t)b[i] << 16;
        if (have > 1)
            v |= (uint32_t)b[i + 1] << 8;
        if (have > 2)
            v |= b[i + 2];
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], have > 1 ? digits[v >> 6 & 63] : '=',
                        have > 2 ? digits[v & 63] : '='};
        str_add_n(ret, four, sizeof(four));
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The last 2 or 3 digits, whose missing ones are padded. */
static bool put_rest(uint32_t v, unsigned have, unsigned pads, struct str *ret)
{
    if (have + pads == 0)
        return true;
    if (have < 2 || have + pads != 4)
        return false;
    char bytes[2] = {(char)(v >> (have == 3 ? 10 : 4)), (char)(v >> 2)};
    str_add_n(ret, bytes, have - 1);
    return true;
}

static bool decode(const char *text, size_t n, struct str *ret)
{
    uint32_t v = 0;
    unsigned have = 0, pads = 0;
    for (size_t i = 0; i < n; i++) {
        const char *at = text[i] ? strchr(digits, text[i]) : NULL;
        if (is_blank(text[i]))
            continue;
        if (text[i] == '=') {
            pads++;
            continue;
        }
        if (!at || pads)
            return false;
        v = v << 6 | (uint32_t)(at - digits);
        if (++have < 4)
            continue;
        char bytes[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        str_add_n(ret, bytes, sizeof(bytes));
        v = have = 0;
    }
    return put_rest(v, have, pads, ret);
}

bool base64_decode(const char *text, size_t n, struct str *ret)
{
    size_t before = ret->len;
    if (decode(text, n, ret))
        return true;
    if (ret->buf)
        ret->buf[ret->len = before] = '\0';
    return false;
}
