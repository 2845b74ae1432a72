#include "kernels/moments.h"

#include <math.h>

void moments_init(struct moments *m) { *m = (struct moments){.min = INFINITY, .max = -INFINITY}; }

void moments_add(struct moments *m, double x)
{
    if (!isfinite(x)) return;
    /* Welford, "Note on a method for calculating corrected sums of squares and products",
     * Technometrics 4 (1962). The new mean lies between the old one and x, rounded or not, so both
     * factors have the same sign and m2 cannot sink. */
    m->count++;
    double delta = x - m->mean;
    m->mean += delta / (double)m->count;
    m->m2 += delta * (x - m->mean);
    if (x < m->min) m->min = x;
    if (x > m->max) m->max = x;
}

void moments_merge(struct moments *m, const struct moments *other)
{
    if (other->count == 0) return;
    if (m->count == 0) {
        *m = *other;
        return;
    }
    /* Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
     * variances", Stanford STAN-CS-79-773 (1979), equation 2.1. */
    double a = (double)m->count, b = (double)other->count;
    double delta = other->mean - m->mean;
    m->count += other->count;
    m->mean += delta * (b / (a + b));
    m->m2 += other->m2 + delta * delta * (a * (b / (a + b)));
    m->min = fmin(m->min, other->min);
    m->max = fmax(m->max, other->max);
}

double moments_variance(const struct moments *m, unsigned ddof)
{
    return m->count > ddof ? m->m2 / (double)(m->count - ddof) : NAN;
}

double moments_zscore(const struct moments *m, double x, unsigned ddof)
{
    double stddev = sqrt(moments_variance(m, ddof));
    if (stddev == 0 && x == m->mean) return 0;
    return (x - m->mean) / stddev; /* x / 0 is the infinity of the right sign */
}
