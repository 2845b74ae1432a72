#include "kernels/boost_move.h"

#include <stdatomic.h>
#include <string.h>

/* -- portable -- */

/* Without branches: each goes to both sides, and one of them moves on. No one is overwritten before
 * it was read, for the front is never ahead of the reading. */
#define MOVE(type)                                                                                 \
    static size_t move_##type(type *x, type *aside, const unsigned char *left, size_t first,       \
                              size_t n, size_t *to_left, size_t *to_right)                         \
    {                                                                                              \
        size_t l = *to_left, r = *to_right;                                                        \
        for (size_t i = first; i < n; i++) {                                                       \
            x[l] = aside[r] = x[i];                                                                \
            l += left[i];                                                                          \
            r += 1 - (size_t)left[i];                                                              \
        }                                                                                          \
        *to_left = l;                                                                              \
        *to_right = r;                                                                             \
        return l;                                                                                  \
    }
MOVE(uint64_t)
MOVE(uint32_t)

/* -- AVX2 -- */

#ifdef __x86_64__
#include <immintrin.h>

/* For every mask of 8 bits the places of those that are set, a byte each, in order: what a
 * permutation takes to bring them to the front. Those of the others are at ~mask. */
#define BIT(m, b) ((uint64_t)((m) >> (b)) & 1)
#define ONES(m)                                                                                    \
    (BIT(m, 0) + BIT(m, 1) + BIT(m, 2) + BIT(m, 3) + BIT(m, 4) + BIT(m, 5) + BIT(m, 6) + BIT(m, 7))
#define PLACE(m, b) (BIT(m, b) * (uint64_t)(b) << 8 * (ONES((m) & ((1 << (b)) - 1)) & 7))
#define PLACES(m)                                                                                  \
    (PLACE(m, 0) | PLACE(m, 1) | PLACE(m, 2) | PLACE(m, 3) | PLACE(m, 4) | PLACE(m, 5) |           \
     PLACE(m, 6) | PLACE(m, 7))
#define FOUR(m) PLACES(m), PLACES((m) + 1), PLACES((m) + 2), PLACES((m) + 3)
#define SIXTEEN(m) FOUR(m), FOUR((m) + 4), FOUR((m) + 8), FOUR((m) + 12)
#define ALL(m) SIXTEEN(m), SIXTEEN((m) + 16), SIXTEEN((m) + 32), SIXTEEN((m) + 48)
static const uint64_t places[256] = {ALL(0), ALL(64), ALL(128), ALL(192)};

/* Each of 4 bits twice: a word of 64 bits is moved as its two halves. */
static const unsigned char twice[16] = {0x00, 0x03, 0x0c, 0x0f, 0x30, 0x33, 0x3c, 0x3f,
                                        0xc0, 0xc3, 0xcc, 0xcf, 0xf0, 0xf3, 0xfc, 0xff};

__attribute__((target("avx2"))) static inline __m256i permuted(__m256i v, unsigned mask)
{
    __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)places[mask]));
    return _mm256_permutevar8x32_epi32(v, order);
}

static inline unsigned mask_of(const unsigned char *left)
{
    int64_t bytes;
    memcpy(&bytes, left, sizeof bytes);
    return (unsigned)_mm_movemask_epi8(_mm_slli_epi64(_mm_cvtsi64_si128(bytes), 7)) & 0xff;
}

__attribute__((target("avx2,popcnt"))) static size_t move_64_avx2(uint64_t *x, uint64_t *aside,
                                                                  const unsigned char *left,
                                                                  size_t n, size_t *to_left,
                                                                  size_t *to_right)
{
    size_t i = 0, l = 0, r = 0;
    for (; i + 8 <= n; i += 8) {
        unsigned mask = mask_of(left + i);
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(x + i + 4));
        unsigned low = twice[mask & 15], high = twice[mask >> 4];
        size_t k = (size_t)__builtin_popcount(mask & 15), all = (size_t)__builtin_popcount(mask);
        _mm256_storeu_si256((__m256i *)(void *)(x + l), permuted(a, low));
        _mm256_storeu_si256((__m256i *)(void *)(x + l + k), permuted(b, high));
        _mm256_storeu_si256((__m256i *)(void *)(aside + r), permuted(a, low ^ 0xff));
        _mm256_storeu_si256((__m256i *)(void *)(aside + r + 4 - k), permuted(b, high ^ 0xff));
        l += all;
        r += 8 - all;
    }
    *to_left = l;
    *to_right = r;
    return i;
}

__attribute__((target("avx2,popcnt"))) static size_t move_32_avx2(uint32_t *x, uint32_t *aside,
                                                                  const unsigned char *left,
                                                                  size_t n, size_t *to_left,
                                                                  size_t *to_right)
{
    size_t i = 0, l = 0, r = 0;
    for (; i + 8 <= n; i += 8) {
        unsigned mask = mask_of(left + i);
        size_t k = (size_t)__builtin_popcount(mask);
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        _mm256_storeu_si256((__m256i *)(void *)(x + l), permuted(v, mask));
        _mm256_storeu_si256((__m256i *)(void *)(aside + r), permuted(v, mask ^ 0xff));
        l += k;
        r += 8 - k;
    }
    *to_left = l;
    *to_right = r;
    return i;
}
#endif

/* -- which -- */

static atomic_int vectors = -1; /* -1: not asked yet; the answer is always the same */

void boost_use_vectors(bool yes)
{
    bool can = false;
#ifdef __x86_64__
    can = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
#endif
    atomic_store_explicit(&vectors, can && yes, memory_order_relaxed);
}

bool boost_has_vectors(void)
{
    if (atomic_load_explicit(&vectors, memory_order_relaxed) < 0) boost_use_vectors(true);
    return atomic_load_explicit(&vectors, memory_order_relaxed) > 0;
}

void boost_move_64(uint64_t *x, uint64_t *aside, const unsigned char *left, size_t n)
{
    size_t l = 0, r = 0, first = 0;
#ifdef __x86_64__
    if (boost_has_vectors()) first = move_64_avx2(x, aside, left, n, &l, &r);
#endif
    move_uint64_t(x, aside, left, first, n, &l, &r);
    memcpy(x + l, aside, r * sizeof *x);
}

void boost_move_32(uint32_t *x, uint32_t *aside, const unsigned char *left, size_t n)
{
    size_t l = 0, r = 0, first = 0;
#ifdef __x86_64__
    if (boost_has_vectors()) first = move_32_avx2(x, aside, left, n, &l, &r);
#endif
    move_uint32_t(x, aside, left, first, n, &l, &r);
    memcpy(x + l, aside, r * sizeof *x);
}
