#include "kernels/boost_parts.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "kernels/boost_move.h"

/* exp(x) for x <= 0, to 2e-7 of itself; below -87 as at -87. Made of the four operations alone, so
 * that every machine and every compiler gets the same, and loops over it are vectorised. */
static inline float exp_below_0(float x)
{
    x = x > -87.0f ? x : -87.0f;
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* the nearest whole number */
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  /* Cody and Waite's ln 2, in two */
    float p = 1.9875691500e-4f;                              /* Cephes' polynomial */
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) * (1 << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* log(1 + e) for 0 <= e <= 1, to 2e-7: 2 artanh(e / (2 + e)). */
static inline float log_1_plus(float e)
{
    float s = e / (2.0f + e), q = s * s;
    float p = 2.0f / 11;
    p = p * q + 2.0f / 9;
    p = p * q + 2.0f / 7;
    p = p * q + 2.0f / 5;
    p = p * q + 2.0f / 3;
    return s * (p * q + 2.0f);
}

static inline float loss_of(float margin, uint32_t label, float e)
{
    float z = label ? -margin : margin;
    return (z > 0 ? z : 0) + log_1_plus(e);
}

/* Bits that look random and follow from the row's place alone. */
static inline uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352d;
    x ^= x >> 15;
    x *= 0x846ca68b;
    return x ^ x >> 16;
}

static double add_up(const float *x, size_t n)
{
    double sum[4] = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i++) sum[i % 4] += x[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

struct deriving {
    struct boost_rows *r;
    float g_scale, h_scale, weight[2];
    uint32_t salt, seen_below;
};

/* Floats in the order of whole numbers, whose least and greatest are found by vectors. */
static inline int32_t to_order(uint32_t bits)
{
    int32_t x = (int32_t)bits;
    return x < 0 ? x ^ INT32_MAX : x;
}

static float of_order(int32_t order)
{
    return boost_margin((uint32_t)(order < 0 ? order ^ INT32_MAX : order));
}

static inline __attribute__((always_inline)) void extremes_of(const struct boost_rows *r,
                                                              size_t first, size_t last)
{
    struct boost_chunk *c = &r->of_chunk[first / BOOST_CHUNK];
    int32_t low_yes = to_order(boost_margin_bits(INFINITY)),
            high_no = to_order(boost_margin_bits(-INFINITY)), nearest = low_yes;
    for (size_t i = first; i < last; i++) {
        int32_t m = to_order(r->margin[i]), far = m < 0 ? ~m : m;
        int32_t yes = r->state[i] & BOOST_LABEL ? m : INT32_MAX;
        int32_t no = r->state[i] & BOOST_LABEL ? INT32_MIN : m;
        low_yes = yes < low_yes ? yes : low_yes;
        high_no = no > high_no ? no : high_no;
        nearest = far < nearest ? far : nearest;
    }
    c->low_yes = of_order(low_yes);
    c->high_no = of_order(high_no);
    c->nearest = of_order(nearest);
}

static void find_extremes(void *ud, size_t first, size_t last, unsigned worker)
{
    (void)worker;
    extremes_of(((struct deriving *)ud)->r, first, last);
}

/* The rows of one chunk. Compiled for two kinds of vectors, with the same result: no operation is
 * fused or taken in another order. */
static inline __attribute__((always_inline)) void derive_rows(const struct deriving *d,
                                                              size_t first, size_t n, bool all_seen)
{
    uint32_t *state = d->r->state + first;
    const uint32_t *margin = d->r->margin + first;
    float loss[BOOST_CHUNK], g_scale = d->g_scale, h_scale = d->h_scale, w0 = d->weight[0],
                             w1 = d->weight[1];
    uint32_t salt = d->salt ^ mix((uint32_t)(first / BOOST_CHUNK) + 1), below = d->seen_below;
    int32_t sum_g = 0, sum_h = 0, sum_n = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t label = state[i] & BOOST_LABEL;
        float m = boost_margin(margin[i]), w = label ? w1 : w0;
        float e = exp_below_0(-fabsf(m)), near = 1.0f / (1.0f + e), far = e * near;
        float p = m >= 0 ? near : far, not_p = m >= 0 ? far : near;
        loss[i] = w * loss_of(m, label, e);
        uint32_t chance = mix(salt + (uint32_t)i);
        float up_g = (float)(int32_t)(chance & 0xffff) * 0x1p-16f;
        float up_h = (float)(int32_t)(chance >> 16) * 0x1p-16f;
        float g = (label ? -not_p : p) * w * g_scale + up_g;
        float h = near * far * w * h_scale + up_h;
        int32_t gi = (int32_t)(g + 8192.0f) - 8192, hi = (int32_t)h;
        gi = gi > BOOST_LEVELS ? BOOST_LEVELS : gi;
        hi = hi > BOOST_LEVELS ? BOOST_LEVELS : hi;
        uint32_t all = (uint32_t)gi << BOOST_G_SHIFT | (uint32_t)hi << BOOST_H_SHIFT | BOOST_SEEN;
        uint32_t seen = all_seen || mix(chance ^ 0x9e3779b9) >> 1 < below ? UINT32_MAX : 0;
        state[i] = (all & seen) | label;
        sum_g += gi & (int32_t)seen;
        sum_h += hi & (int32_t)seen;
        sum_n += (int32_t)(seen & 1);
    }
    struct boost_chunk *c = &d->r->of_chunk[first / BOOST_CHUNK];
    c->loss = add_up(loss, n);
    c->sums.g = sum_g;
    c->sums.hn = ((uint64_t)sum_h << BOOST_COUNT_BITS) + (uint64_t)sum_n;
}

static void derive(void *ud, size_t first, size_t last, unsigned worker)
{
    const struct deriving *d = ud;
    (void)worker;
    if (d->seen_below > INT32_MAX)
        derive_rows(d, first, last - first, true);
    else
        derive_rows(d, first, last - first, false);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void derive_avx2(void *ud, size_t first, size_t last,
                                                        unsigned worker)
{
    const struct deriving *d = ud;
    (void)worker;
    if (d->seen_below > INT32_MAX)
        derive_rows(d, first, last - first, true);
    else
        derive_rows(d, first, last - first, false);
}

__attribute__((target("avx2"))) static void find_extremes_avx2(void *ud, size_t first, size_t last,
                                                               unsigned worker)
{
    (void)worker;
    extremes_of(((struct deriving *)ud)->r, first, last);
}
#else
#define derive_avx2 derive
#define find_extremes_avx2 find_extremes
#endif

static float sigmoid(float m)
{
    float e = exp_below_0(-fabsf(m)), near = 1.0f / (1.0f + e);
    return m >= 0 ? near : e * near;
}

/* The units in which the largest derivatives take up all levels. */
static void choose_units(struct deriving *d)
{
    struct boost_rows *r = d->r;
    struct boost_chunk x = {.low_yes = INFINITY, .high_no = -INFINITY, .nearest = INFINITY};
    for (size_t c = 0; c < r->chunks; c++) {
        const struct boost_chunk *of = &r->of_chunk[c];
        if (of->low_yes < x.low_yes) x.low_yes = of->low_yes;
        if (of->high_no > x.high_no) x.high_no = of->high_no;
        if (of->nearest < x.nearest) x.nearest = of->nearest;
    }
    float yes = d->weight[1] * sigmoid(-x.low_yes), no = d->weight[0] * sigmoid(x.high_no);
    float p = sigmoid(-x.nearest), w = d->weight[1] > d->weight[0] ? d->weight[1] : d->weight[0];
    float g = yes > no ? yes : no, h = w * p * (1.0f - p);
    g = g > 1e-30f ? g : 1e-30f;
    h = h > 1e-30f ? h : 1e-30f;
    d->g_scale = BOOST_LEVELS / g;
    d->h_scale = BOOST_LEVELS / h;
    r->g_unit = (double)g / BOOST_LEVELS;
    r->h_unit = (double)h / BOOST_LEVELS;
}

double boost_loss_derive(struct boost_rows *r, const struct boost_options *o, uint64_t stream,
                         struct parallel *team)
{
    struct random chance;
    struct deriving d = {.r = r};
    double sum = 0;
    random_seed(&chance, o->seed, stream);
    d.salt = (uint32_t)random_next(&chance);
    d.seen_below = (uint32_t)(o->subsample * 0x1p31); /* of 31 bits; all at 2^31 */
    d.weight[0] = (float)r->weight[0];
    d.weight[1] = (float)r->weight[1];
    bool vectors = boost_has_vectors();
    parallel_for(team, r->n, BOOST_CHUNK, vectors ? find_extremes_avx2 : find_extremes, &d);
    choose_units(&d);
    parallel_for(team, r->n, BOOST_CHUNK, vectors ? derive_avx2 : derive, &d);
    r->all = (struct boost_sums){0, 0};
    for (size_t c = 0; c < r->chunks; c++) {
        sum += r->of_chunk[c].loss;
        r->all.g += r->of_chunk[c].sums.g;
        r->all.hn += r->of_chunk[c].sums.hn;
    }
    return sum;
}

double boost_loss_of(const float *margin, const unsigned char *label, size_t n,
                     const double weight[2])
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum +=
            weight[label[i]] * (double)loss_of(margin[i], label[i], exp_below_0(-fabsf(margin[i])));
    return sum;
}
