#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t n, char *out)
{
    const unsigned char *p = data;
    for (; n >= 3; n -= 3, p += 3) {
        uint32_t x = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        for (int shift = 18; shift >= 0; shift -= 6) *out++ = alphabet[x >> shift & 63];
    }
    if (n == 0) return;
    uint32_t x = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
    *out++ = alphabet[x >> 18];
    *out++ = alphabet[x >> 12 & 63];
    *out++ = n == 2 ? alphabet[x >> 6 & 63] : '=';
    *out = '=';
}

/* What each character stands for, one more than that; 0 for those that stand for nothing. */
static void invert(unsigned char digits[256])
{
    memset(digits, 0, 256);
    for (int i = 0; i < 64; i++) digits[(unsigned char)alphabet[i]] = (unsigned char)(i + 1);
}

bool base64_decode(const char *text, size_t len, unsigned char *out, size_t *n)
{
    unsigned char digits[256];
    invert(digits);
    *n = 0;
    if (len % 4 != 0) return false;
    size_t padding = 0;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=') padding++;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t x = 0;
        size_t known = i + 4 == len ? 4 - padding : 4;
        for (size_t k = 0; k < 4; k++) {
            unsigned char digit = k < known ? digits[(unsigned char)text[i + k]] : 1;
            if (digit == 0) return false;
            x = x << 6 | (uint32_t)(digit - 1);
        }
        if (known < 4 && (x & (known == 3 ? 0xff : 0xffff)) != 0) return false;
        for (size_t k = 0; k + 1 < known; k++) out[(*n)++] = (unsigned char)(x >> (16 - 8 * k));
    }
    return true;
}
