#include "base/hash.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/err.h"

static void to_hex(const unsigned char *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) sprintf(out + 2 * i, "%02x", bytes[i]);
}

void hash_sha256_hex(const void *data, size_t len, char out[HASH_HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    require(EVP_Digest(data, len, digest, &n, EVP_sha256(), NULL) == 1 && n == 32);
    to_hex(digest, n, out);
}

void hash_hmac_sha256_hex(const void *key, size_t key_len, const void *data, size_t len,
                          char out[HASH_HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    require(key_len <= INT_MAX &&
            HMAC(EVP_sha256(), key, (int)key_len, data, len, digest, &n) != NULL && n == 32);
    to_hex(digest, n, out);
}

void hash_sha1(const void *data, size_t len, unsigned char out[20])
{
    unsigned n = 0;
    require(EVP_Digest(data, len, out, &n, EVP_sha1(), NULL) == 1 && n == 20);
}

void hash_random(void *out, size_t bytes)
{
    require(bytes <= INT_MAX && RAND_bytes(out, (int)bytes) == 1);
}

void hash_random_hex(size_t bytes, char *out)
{
    unsigned char b[64];
    require(bytes <= sizeof b);
    hash_random(b, bytes);
    to_hex(b, bytes, out);
}

bool hash_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

const char *hash_library(void) { return OpenSSL_version(OPENSSL_VERSION_STRING); }
