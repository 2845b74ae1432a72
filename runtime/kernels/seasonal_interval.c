/* The bounds of a forecast.
 *
 * Behind the history, at a distance h in scaled time, changes come with a rate of S (their number
 * over the whole history), at uniform times, of sizes that are Laplace with the mean size lambda of
 * those found. What they add is symmetric, with the characteristic function
 *   exp(S (atan(lambda h w) / (lambda w) - h)),
 * and the noise is normal. So bounds are exact, and need no simulation: Gil-Pelaez' inversion
 * (1951) by the trapezoidal rule, whose error is the probability beyond a period, and Newton's
 * method. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { MOST_NODES = 1 << 14 };
static const double PI = 3.141592653589793238462643383280;
static const double NEGLIGIBLE = 1e-10;

double seasonal_rate(const struct seasonal *m) { return (double)m->n_changes; }

double seasonal_change_size(const struct seasonal *m)
{
    double sum = 0;
    for (size_t j = 0; j < m->n_changes; j++) sum += fabs(m->delta[j]);
    return sum / (double)m->n_changes + 1e-8;
}

/* z with P(N <= z) = p, 0.5 <= p < 1. */
static double normal_quantile(double p)
{
    double z = 0, low = 0, high = 40;
    for (int i = 0; i < 200 && high - low > 1e-15 * high; i++) {
        double tail = 0.5 * erfc(z / sqrt(2)), density = exp(-z * z / 2) / sqrt(2 * PI);
        if (tail > 1 - p)
            low = z;
        else
            high = z;
        double next = z + (tail - (1 - p)) / density;
        if (fabs(next - z) < 1e-15 * next) return next;
        z = next > low && next < high ? next : (low + high) / 2;
    }
    return z;
}

/* A distance beyond which the sum of changes (count of them expected, each of scale a) and normal
 * noise lies with a probability below 1e-10: Chernoff's bound over a few exponents. */
static double reach(double count, double a, double sigma)
{
    double least = INFINITY;
    for (double s = 0.95; s > 1e-6; s *= 0.7) {
        double k = s > 1e-3 ? atanh(s) / s - 1 : s * s / 3, w = s / a;
        double x = (23.1 + count * k + w * w * sigma * sigma / 2) / w;
        if (x < least)
            least = x;
        else if (x > 2 * least)
            break;
    }
    double normal = 6.8 * sigma; /* were there no changes at all */
    return least < normal ? normal : least;
}

/* Half the width that holds the share `inner` of the distribution. phi: (MOST_NODES) scratch. */
static double half_width(double count, double a, double sigma, double inner, double guess,
                         double *phi)
{
    double far = reach(count, a, sigma), step = 2 * PI / (1.7 * far);
    size_t n = 0;
    while (n < MOST_NODES) {
        double w = (double)(n + 1) * step, b = a * w;
        phi[n] = exp(count * (atan(b) / b - 1) - sigma * sigma * w * w / 2);
        if (phi[n++] < NEGLIGIBLE) break;
    }
    double x = guess < far ? guess : far / 2, low = 0, high = far;
    for (int round = 0; round < 60; round++) {
        double s1 = sin(step * x), c1 = cos(step * x), s = s1, c = c1, cdf = x * step / 2,
               density = step / 2;
        for (size_t k = 0; k < n; k++) {
            cdf += phi[k] * s / (double)(k + 1);
            density += step * phi[k] * c;
            double next = s * c1 + c * s1;
            c = c * c1 - s * s1;
            s = next;
        }
        double off = 2 * cdf / PI - inner; /* of P(|X| <= x) */
        if (off < 0)
            low = x;
        else
            high = x;
        double next = x - off / (2 * density / PI);
        if (!(next > low && next < high)) next = (low + high) / 2;
        if (fabs(next - x) < 1e-10 * far) return next;
        x = next;
    }
    return x;
}

static void put_bounds(double *lower, double *upper, size_t i, double middle, double half)
{
    if (lower != NULL) lower[i] = middle - half;
    if (upper != NULL) upper[i] = middle + half;
}

/* Changes alone: at a distance where they are rare both bounds are the trend itself. The normal
 * that smooths the jump at 0 is 1/250 of their size. */
static double trend_half(double count, double a, double inner, double *phi)
{
    if (exp(-count) >= inner) return 0;
    return half_width(count, a, a / 250, inner, a, phi);
}

static int exact_bounds(const struct seasonal *m, const struct seasonal_future *f,
                        const struct seasonal_forecast *out, const atomic_bool *cancel)
{
    double *phi = malloc(MOST_NODES * sizeof *phi);
    if (phi == NULL) return -ENOMEM;
    int rc = 0;
    double inner = m->series->interval_width, z = normal_quantile((1 + inner) / 2);
    double rate = m->series->growth == SEASONAL_FLAT ? 0 : seasonal_rate(m);
    double lambda = seasonal_change_size(m);
    for (size_t i = 0; i < f->n && rc == 0; i++) {
        double h = (f->ds[i] - m->start) / m->t_scale - 1, half = z * m->sigma, trend = 0;
        double factor = fabs(1 + out->multiplicative[i]), size = lambda * h;
        if (h > 0 && rate > 0) {
            double sd = hypot(m->sigma, factor * size * sqrt(2 * rate * h / 3));
            if (factor > 0)
                half = half_width(rate * h, factor * size, m->sigma, inner, z * sd, phi);
            if (out->trend_lower != NULL || out->trend_upper != NULL)
                trend = trend_half(rate * h, size, inner, phi);
        }
        put_bounds(out->yhat_lower, out->yhat_upper, i, out->yhat[i], half * m->y_scale);
        put_bounds(out->trend_lower, out->trend_upper, i, out->trend[i], trend * m->y_scale);
        if (cancel != NULL && atomic_load(cancel)) rc = -ECANCELED;
    }
    free(phi);
    return rc;
}

int seasonal_bounds(const struct seasonal *m, const struct seasonal_future *f,
                    const struct seasonal_forecast *out, const atomic_bool *cancel, struct err *e)
{
    if (m->series->growth == SEASONAL_LOGISTIC)
        return seasonal_sampled_bounds(m, f, out, cancel, e);
    return exact_bounds(m, f, out, cancel);
}
