/* text.h - a growing buffer of bytes, and small questions about text. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* {0} is an empty one. Once memory or the limit is gone it stays `failed` and takes nothing more,
 * so a writer checks once, at the end. data has a NUL behind its len bytes, or is NULL. */
struct text {
    char *data;
    size_t len, capacity;
    size_t limit; /* 0: none */
    bool failed;
};

void text_add(struct text *t, const void *bytes, size_t n);
void text_adds(struct text *t, const char *s);
void text_addc(struct text *t, char c);
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *t); /* leaves an empty one */

/* Of a queue whose first *taken bytes are done with: takes these away once they are half of it, so
 * that each byte is moved about once. */
void text_compact(struct text *t, size_t *taken);

/* The shortest decimal that reads back as x, as JavaScript prints numbers (RFC 8785 section
 * 3.2.2.3): "1", "0.1", "1e+21", "5e-7". Finite x only. Needs TEXT_NUMBER bytes. */
enum { TEXT_NUMBER = 32 };
const char *text_number(double x, char out[TEXT_NUMBER]);

/* Digits and decimal exponent of the same: x = 0.d1d2d3… * 10^exponent, |x| finite and not 0.
 * Returns the number of digits written, without a NUL. */
int text_shortest(double x, char digits[20], int *exponent);

bool text_is_utf8(const char *s, size_t len); /* no surrogates, no overlong forms */
/* Bytes of the character that s[0..len) begins with, 1 to 4; 0 where that is no UTF-8. len > 0. */
size_t text_utf8_char(const char *s, size_t len);

/* Levenshtein's distance, for "did you mean"; both at most 64 bytes, else 64. */
size_t text_distance(const char *a, const char *b);

#endif
