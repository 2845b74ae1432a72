/* ecdf.h - the empirical distribution of one window of one series: its order statistics. */
#ifndef KERNELS_ECDF_H
#define KERNELS_ECDF_H

#include <stddef.h>

struct ecdf; /* the finite values in order; never changes once fitted, so any thread may read it */

/* Fits to the finite values among x[0..n): NaN and infinities are missing samples, not outliers.
 * 0, -ENODATA when none is finite, or -ENOMEM. On 0 the caller owns *out. O(n log n). */
int ecdf_fit(struct ecdf **out, const double *x, size_t n);
void ecdf_free(struct ecdf *e); /* NULL is fine */

/* The same in the caller's own memory, so that it counts against the caller's limits: on 0 the
 * ecdf_bytes(n) at p, aligned for doubles, are a struct ecdf that ecdf_free() is not called for.
 * 0 or -ENODATA. */
size_t ecdf_bytes(size_t n);
int ecdf_fit_at(void *p, const double *x, size_t n);

size_t ecdf_count(const struct ecdf *e); /* of finite values, at least 1 */

/* Quantile at 0 <= p <= 1 by linear interpolation: Hyndman and Fan's type 7, numpy's default. */
double ecdf_quantile(const struct ecdf *e, double p);

/* The share of values <= x, from 0 to 1; NaN for NaN. O(log n). */
double ecdf_rank(const struct ecdf *e, double x);

/* Median absolute deviation, unscaled: 0 when more than half of the values are equal. O(n). */
double ecdf_mad(const struct ecdf *e);

#endif
