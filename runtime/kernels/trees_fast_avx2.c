/* For x86-64 processors with AVX2. Nothing here is called on others. */
#if defined __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,popcnt")
#endif
#include <immintrin.h>

#define WIDTH 32
#define SELECT(m, a, b) ((vector)_mm256_blendv_epi8((__m256i)(b), (__m256i)(a), (__m256i)(m)))
#define CODE fast_avx2
#define LOOKUP
#define LOOKUP_SINGLE look_up_single
#define LOOKUP_DOUBLE look_up_double
#include "kernels/trees_fast.h"

/* Byte `plane` of the values of leaves 0..31; high has its top bits set where leaf >= 16. */
static inline __attribute__((always_inline)) __m256i plane_of(const uint8_t *planes, int plane,
                                                              __m256i leaf, __m256i high)
{
    const __m128i *p = (const __m128i *)(const void *)(planes + 32 * plane);
    __m256i lower = _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
    __m256i upper = _mm256_broadcastsi128_si256(_mm_loadu_si128(p + 1));
    return _mm256_blendv_epi8(_mm256_shuffle_epi8(lower, leaf), _mm256_shuffle_epi8(upper, leaf),
                              high);
}

#define LOW8 _mm256_unpacklo_epi8
#define HIGH8 _mm256_unpackhi_epi8
#define LOW16 _mm256_unpacklo_epi16
#define HIGH16 _mm256_unpackhi_epi16
#define LOW32 _mm256_unpacklo_epi32
#define HIGH32 _mm256_unpackhi_epi32

#define ADD_SINGLE(k, bits)                                                                        \
    _mm256_store_ps(sums + 8 * (k),                                                                \
                    _mm256_add_ps(_mm256_load_ps(sums + 8 * (k)), _mm256_castsi256_ps(bits)))
#define ADD_DOUBLE(k, bits)                                                                        \
    _mm256_store_pd(sums + 4 * (k),                                                                \
                    _mm256_add_pd(_mm256_load_pd(sums + 4 * (k)), _mm256_castsi256_pd(bits)))

/* Four bytes at a time become a float; that leaves the rows in the order of `place_single`. */
static inline __attribute__((always_inline)) void look_up_single_planes(const uint8_t *planes,
                                                                        __m256i leaf, float *sums)
{
    __m256i high = _mm256_slli_epi16(leaf, 3);
    __m256i p0 = plane_of(planes, 0, leaf, high), p1 = plane_of(planes, 1, leaf, high);
    __m256i p2 = plane_of(planes, 2, leaf, high), p3 = plane_of(planes, 3, leaf, high);
    __m256i a = LOW8(p0, p1), b = LOW8(p2, p3), c = HIGH8(p0, p1), d = HIGH8(p2, p3);
    ADD_SINGLE(0, LOW16(a, b));
    ADD_SINGLE(1, HIGH16(a, b));
    ADD_SINGLE(2, LOW16(c, d));
    ADD_SINGLE(3, HIGH16(c, d));
}

static inline __attribute__((always_inline)) void look_up_double_planes(const uint8_t *planes,
                                                                        __m256i leaf, double *sums)
{
    __m256i high = _mm256_slli_epi16(leaf, 3), p[8];
    for (int k = 0; k < 8; k++) p[k] = plane_of(planes, k, leaf, high);
    __m256i a = LOW8(p[0], p[1]), b = LOW8(p[2], p[3]), c = LOW8(p[4], p[5]), d = LOW8(p[6], p[7]);
    for (int half = 0; half < 2; half++) {
        __m256i w = LOW16(a, b), x = LOW16(c, d), y = HIGH16(a, b), z = HIGH16(c, d);
        ADD_DOUBLE(4 * half, LOW32(w, x));
        ADD_DOUBLE(4 * half + 1, HIGH32(w, x));
        ADD_DOUBLE(4 * half + 2, LOW32(y, z));
        ADD_DOUBLE(4 * half + 3, HIGH32(y, z));
        a = HIGH8(p[0], p[1]);
        b = HIGH8(p[2], p[3]);
        c = HIGH8(p[4], p[5]);
        d = HIGH8(p[6], p[7]);
    }
}

/* Masks shrink to two bytes, or two bits, for each key. */
static inline __attribute__((always_inline)) uint32_t count_wide(const double *k, double x)
{
    __m256d y = _mm256_set1_pd(x);
#define BELOW(i) _mm256_castpd_si256(_mm256_cmp_pd(_mm256_load_pd(k + 4 * (i)), y, _CMP_LT_OQ))
    __m256i a = _mm256_packs_epi32(BELOW(0), BELOW(1)), b = _mm256_packs_epi32(BELOW(2), BELOW(3));
#undef BELOW
    return (uint32_t)_mm_popcnt_u32((unsigned)_mm256_movemask_epi8(_mm256_packs_epi16(a, b))) / 2;
}

static inline __attribute__((always_inline)) uint32_t count_narrow(const float *k, float x)
{
    __m256 y = _mm256_set1_ps(x);
#define BELOW(i) _mm256_castps_si256(_mm256_cmp_ps(_mm256_load_ps(k + 8 * (i)), y, _CMP_LE_OQ))
    __m256i both = _mm256_packs_epi32(BELOW(0), BELOW(1));
#undef BELOW
    return (uint32_t)_mm_popcnt_u32((unsigned)_mm256_movemask_epi8(both)) / 2;
}
#define COUNT_WIDE count_wide
#define COUNT_NARROW count_narrow

#define look_up_single(f, ft, leaf, sums)                                                          \
    look_up_single_planes((f)->planes + (ft)->planes, (__m256i)(leaf), sums)
#define look_up_double(f, ft, leaf, sums)                                                          \
    look_up_double_planes((f)->planes + (ft)->planes, (__m256i)(leaf), sums)
#include "kernels/trees_fast_code.h"

/* --- one row: the same split of 32 trees at once --------------------------------------------- */

INLINE vector bins_of(const uint8_t *columns, vector low, vector high, bool wide)
{
    __m256i which = _mm256_loadu_si256((const __m256i *)(const void *)columns);
    __m256i bins = _mm256_shuffle_epi8((__m256i)low, which);
    if (!wide) return (vector)bins;
    return (vector)_mm256_blendv_epi8(bins, _mm256_shuffle_epi8((__m256i)high, which),
                                      _mm256_slli_epi16(which, 3));
}

INLINE void places(const struct trees_fast *f, const struct fast_block *b, vector low, vector high,
                   bool wide, uint8_t *leaf)
{
    for (uint32_t first = 0; first < b->full; first += FAST_LANES) {
        const uint8_t *at = f->places + b->by_place + first * (size_t)(FAST_NODES * 2);
        vector found;
#define MASK(i)                                                                                    \
    (vector)(*(const loose *)(const void *)(at + (2 * (i) + 1) * FAST_LANES) >                     \
             bins_of(at + 2 * (i)*FAST_LANES, low, high, wide))
        CHOOSE(MASK, found);
#undef MASK
        *(loose *)(void *)(leaf + first) = found;
    }
}

static void one(const struct trees_fast *f, const struct fast_block *b, const int8_t *bins,
                uint8_t *leaf)
{
    if (b->columns > 32) {
        walk_each(f, b, bins, leaf, true);
        return;
    }
    int8_t part[32] = {0};
    memcpy(part, bins, b->columns);
    const __m128i *p = (const __m128i *)(const void *)part;
    vector low = (vector)_mm256_broadcastsi128_si256(_mm_loadu_si128(p));
    vector high = (vector)_mm256_broadcastsi128_si256(_mm_loadu_si128(p + 1));
    if (b->columns > 16)
        places(f, b, low, high, true, leaf);
    else
        places(f, b, low, high, false, leaf);
    walk_each(f, b, bins, leaf, false);
}

const struct fast_code fast_avx2 = {"avx2",
                                    code_row,
                                    code_rows,
                                    one,
                                    batch,
                                    {0, 1, 2, 3, 8,  9,  10, 11, 16, 17, 18, 19, 24, 25, 26, 27,
                                     4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31},
                                    {0, 1, 4, 5, 8,  9,  12, 13, 16, 17, 20, 21, 24, 25, 28, 29,
                                     2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31}};

#define EXPLAIN explain_avx2
#include "kernels/trees_explain_code.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int trees_no_avx2_here; /* a file is not empty in C */
#endif
