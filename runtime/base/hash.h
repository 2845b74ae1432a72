/* hash.h - digests and random bytes over libcrypto. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>

enum { HASH_HEX = 65 }; /* 64 digits and a NUL */

void hash_sha256_hex(const void *data, size_t len, char out[HASH_HEX]);
/* RFC 2104 with SHA-256. */
void hash_hmac_sha256_hex(const void *key, size_t key_len, const void *data, size_t len,
                          char out[HASH_HEX]);
void hash_sha1(const void *data, size_t len, unsigned char out[20]); /* for old protocols only */
void hash_random(void *out, size_t bytes);
void hash_random_hex(size_t bytes, char *out); /* 2 * bytes digits and a NUL */
/* In time that depends on the lengths alone. */
bool hash_equal(const void *a, size_t a_len, const void *b, size_t b_len);

const char *hash_library(void); /* OpenSSL's version */

#endif
