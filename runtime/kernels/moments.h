/* moments.h - the running mean, variance, minimum and maximum of a series, in constant memory.
 *
 * Welford's update keeps the mean and the squared differences from it, never a sum of squares, so a
 * byte counter near 1e12 has a variance too. Danger: beyond magnitudes of about 1e150 the squares
 * overflow and the variance is infinite. */
#ifndef KERNELS_MOMENTS_H
#define KERNELS_MOMENTS_H

#include <stddef.h>
#include <stdint.h>

/* Plain data, so it may be copied and stored. */
struct moments {
    uint64_t count;  /* of finite values */
    double mean;     /* 0 while there are none */
    double m2;       /* sum of squared differences from the mean, >= 0 */
    double min, max; /* INFINITY, -INFINITY while there are none */
};

void moments_init(struct moments *m); /* of no values */

/* NaN and infinities are missing samples: they change nothing. */
void moments_add(struct moments *m, double x);

/* Makes *m what it would be had it seen the values of both, but for rounding. */
void moments_merge(struct moments *m, const struct moments *other);

/* m2 / (count - ddof): with ddof 0 the variance of just these values, with 1 the unbiased estimate
 * of what they were drawn from. NaN unless count > ddof. */
double moments_variance(const struct moments *m, unsigned ddof);

/* How many standard deviations x lies above the mean. Where there is no spread, 0 at the mean and
 * an infinity off it; NaN for NaN and unless count > ddof. */
double moments_zscore(const struct moments *m, double x, unsigned ddof);

#endif
