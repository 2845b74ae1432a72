/* base64.h - bytes as text and back: RFC 4648's base64, padded. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

static inline size_t base64_encoded(size_t n) { return (n + 2) / 3 * 4; }
void base64_encode(const void *data, size_t n, char *out /* (base64_encoded(n)), without a NUL */);

/* The bytes of a text, at most len / 4 * 3, and their number in *n. False for what is no base64: a
 * foreign character, a length that is no multiple of four, padding elsewhere than at the end or
 * over bits that are set. */
bool base64_decode(const char *text, size_t len, unsigned char *out, size_t *n);

#endif
