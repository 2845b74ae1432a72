#include "kernels/ecdf.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct ecdf {
    size_t n;   /* at least 1 */
    double x[]; /* ascending, finite */
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

size_t ecdf_bytes(size_t n) { return sizeof(struct ecdf) + n * sizeof(double); }

int ecdf_fit_at(void *p, const double *x, size_t n)
{
    struct ecdf *e = p;
    e->n = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) e->x[e->n++] = x[i];
    if (e->n == 0) return -ENODATA;
    qsort(e->x, e->n, sizeof *e->x, ascending);
    return 0;
}

int ecdf_fit(struct ecdf **out, const double *x, size_t n)
{
    struct ecdf *e = malloc(ecdf_bytes(n));
    if (e == NULL) return -ENOMEM;
    int rc = ecdf_fit_at(e, x, n);
    if (rc < 0) {
        ecdf_free(e);
        return rc;
    }
    *out = e;
    return 0;
}

void ecdf_free(struct ecdf *e) { free(e); }

size_t ecdf_count(const struct ecdf *e) { return e->n; }

double ecdf_quantile(const struct ecdf *e, double p)
{
    assert(p >= 0 && p <= 1);
    double at = p * (double)(e->n - 1);
    size_t i = (size_t)at;
    if (i + 1 == e->n) return e->x[i];
    return e->x[i] + (at - (double)i) * (e->x[i + 1] - e->x[i]);
}

double ecdf_rank(const struct ecdf *e, double x)
{
    if (isnan(x)) return NAN;
    size_t below = 0, above = e->n; /* x[below - 1] <= x < x[above], were there such */
    while (below < above) {
        size_t middle = below + (above - below) / 2;
        if (e->x[middle] <= x)
            below = middle + 1;
        else
            above = middle;
    }
    return (double)below / (double)e->n;
}

double ecdf_mad(const struct ecdf *e)
{
    /* Seen from the median the deviations are two ascending runs, one to each side. Walking both
     * as a merge does meets them in order: the middle one is found without a second sort. */
    double median = ecdf_quantile(e, 0.5), before = 0, d = 0;
    size_t right = e->n / 2, left = right; /* next to take: x[right], x[left - 1] */
    for (size_t k = 0; k <= e->n / 2; k++) {
        before = d;
        if (left == 0 || (right < e->n && e->x[right] - median <= median - e->x[left - 1]))
            d = e->x[right++] - median;
        else
            d = median - e->x[--left];
    }
    return e->n % 2 ? d : (before + d) / 2;
}
