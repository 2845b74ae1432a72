/* random.h - seeded generators: the same seed gives the same numbers on every machine.
 *
 * xoshiro256++ (Blackman and Vigna, 2019), its state filled by splitmix64. One generator belongs to
 * one thread; a stream for each part of the work keeps the result apart from how it was divided. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t s[4]; /* never all 0 */
};

/* Streams of one seed are independent of each other. */
void random_seed(struct random *r, uint64_t seed, uint64_t stream);

static inline uint64_t random_next(struct random *r)
{
    uint64_t *s = r->s, sum = s[0] + s[3], result = ((sum << 23) | (sum >> 41)) + s[0],
             t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

static inline double random_unit(struct random *r) /* in [0, 1), 53 bits */
{
    return (double)(random_next(r) >> 11) * 0x1p-53;
}

/* In [0, n), n > 0: Lemire's multiplication, without its rejection: the bias is below n / 2^32. */
static inline uint32_t random_below(struct random *r, uint32_t n)
{
    return (uint32_t)(((random_next(r) >> 32) * n) >> 32);
}

double random_normal(struct random *r); /* mean 0, variance 1: polar method */

#endif
