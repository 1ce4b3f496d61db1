#include "base/base58.h"

#include <string.h>

static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

const char *base58_encode(char *buf, size_t size, const uint8_t *bytes, size_t n)
{
    uint8_t digit[96]; /* least significant first; 64 bytes need 88 */
    size_t len = 0, zeros = 0;

    if (!size)
        return "";
    buf[0] = '\0';
    if (n > 64)
        return buf;
    while (zeros < n && !bytes[zeros])
        zeros++;
    for (size_t i = zeros; i < n; i++) {
        unsigned carry = bytes[i];
        for (size_t k = 0; k < len; k++) {
            carry += (unsigned)digit[k] << 8;
            digit[k] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry; carry /= 58)
            digit[len++] = (uint8_t)(carry % 58);
    }
    if (zeros + len + 1 > size)
        return buf;
    memset(buf, alphabet[0], zeros);
    for (size_t k = 0; k < len; k++)
        buf[zeros + k] = alphabet[digit[len - 1 - k]];
    buf[zeros + len] = '\0';
    return buf;
}
