/* The forecasters together: the forecast, its bounds, when it reaches a threshold, what drives it.
 */
#include "kernels/seasonal_auto.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "kernels/seasonal_auto_inner.h"

double auto_spread(const struct seasonal_auto *a, double ahead)
{
    /* Beyond the backtest errors of a level go on growing with the square root of time. */
    if (ahead > a->reach) return a->spread[SEASONAL_BUCKETS - 1] * sqrt(ahead / a->reach);
    /* Straight between the middles of the buckets, so that bounds have no steps. */
    double at = fmax(ahead / a->reach * SEASONAL_BUCKETS - 0.5, 0);
    size_t i = (size_t)at;
    if (i + 1 >= SEASONAL_BUCKETS) return a->spread[SEASONAL_BUCKETS - 1];
    return a->spread[i] + (at - (double)i) * (a->spread[i + 1] - a->spread[i]);
}

double auto_quantile(const struct seasonal_auto *a, double p)
{
    double at = p * (SEASONAL_LEVELS - 1);
    size_t i = (size_t)at;
    if (i + 1 >= SEASONAL_LEVELS) return a->quantile[SEASONAL_LEVELS - 1];
    return a->quantile[i] + (at - (double)i) * (a->quantile[i + 1] - a->quantile[i]);
}

static double keep_sign(const struct seasonal_auto *a, double y)
{
    return a->positive && y < 0 ? 0 : y;
}

int seasonal_auto_predict(const struct seasonal_auto *a, const struct seasonal_future *f,
                          const double *effect, double width,
                          const struct seasonal_auto_forecast *out, struct err *e)
{
    size_t n = f->n;
    double *experts = malloc((n * SEASONAL_EXPERTS + 1) * sizeof *experts);
    if (experts == NULL) return err_set(e, -ENOMEM, "not enough memory");
    int rc = auto_core_predict(&a->core, f, experts, out->trend, a->weight, e);
    double half = auto_quantile(a, width);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        double sum = 0, ahead = f->ds[i] - a->core.end;
        for (size_t x = 0; x < SEASONAL_EXPERTS; x++)
            if (a->weight[x] > 0) sum += a->weight[x] * experts[x * n + i];
        if (ahead <= 0) sum = experts[i]; /* the fit: line with its profile */
        if (effect != NULL) sum += effect[i];
        double by = half * auto_spread(a, fmax(ahead, 0));
        if (out->yhat != NULL) out->yhat[i] = keep_sign(a, sum);
        if (out->lower != NULL) out->lower[i] = keep_sign(a, sum - by);
        if (out->upper != NULL) out->upper[i] = keep_sign(a, sum + by);
    }
    free(experts);
    return rc;
}

/* -- when -- */

enum { LASTING = 41 }; /* sizes of the error that lasts */

/* Of a standard normal, at the middles of LASTING equal shares: bisection on erfc is plenty. */
static double normal_quantile(double p)
{
    double low = -9, high = 9;
    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;
        if (0.5 * erfc(-mid / sqrt(2)) < p)
            low = mid;
        else
            high = mid;
    }
    return (low + high) / 2;
}

struct margin { /* at one time: how far the threshold is off, and by how much errors move */
    double distance, lasting, noise;
};

/* The share of paths that reach the threshold there who have not before, for one lasting error. */
static double hazard(const struct margin *m, double z)
{
    double distance = m->distance - z * m->lasting;
    if (m->noise <= 0) return distance <= 0;
    return 0.5 * erfc(distance / (m->noise * sqrt(2)));
}

static void reach(const struct margin *m, const double *ahead, size_t n, struct seasonal_reach *out)
{
    static const double shares[3] = {0.1, 0.5, 0.9};
    double z[LASTING], alive[LASTING], reached = 0;
    for (size_t k = 0; k < LASTING; k++) {
        z[k] = normal_quantile(((double)k + 0.5) / LASTING);
        alive[k] = 1;
    }
    *out = (struct seasonal_reach){INFINITY, 0, {INFINITY, INFINITY, INFINITY}};
    for (size_t i = 0; i < n; i++) {
        if (out->first == INFINITY && m[i].distance <= 0) out->first = ahead[i];
        double sum = 0;
        for (size_t k = 0; k < LASTING; k++) {
            if (alive[k] > 1e-9) alive[k] *= 1 - hazard(&m[i], z[k]);
            sum += alive[k];
        }
        reached = 1 - sum / LASTING;
        for (int q = 0; q < 3; q++)
            if (out->quantile[q] == INFINITY && reached >= shares[q]) out->quantile[q] = ahead[i];
    }
    out->probability = fmin(fmax(reached, 0), 1);
}

int seasonal_auto_time_to(const struct seasonal_auto *a, const struct seasonal_future *f,
                          const double *effect, double threshold, bool falling, bool noise,
                          struct seasonal_reach *out, struct err *e)
{
    size_t n = f->n;
    double *yhat = malloc((2 * n + 1) * sizeof *yhat), *ahead = yhat + n;
    struct margin *m = malloc((n + 1) * sizeof *m);
    struct seasonal_auto_forecast to = {.yhat = yhat};
    int rc = -ENOMEM;
    if (yhat != NULL && m != NULL) {
        rc = seasonal_auto_predict(a, f, effect, 0.5, &to, e);
        /* Errors are spread as the backtest's median says: of a normal it is 0.6745 deviations. */
        double unit = auto_quantile(a, 0.5) / 0.6745, still = noise ? a->core.noise : 0;
        for (size_t i = 0; rc == 0 && i < n; i++) {
            ahead[i] = f->ds[i] - a->core.end;
            double all = unit * auto_spread(a, ahead[i]), rest = a->core.noise;
            m[i].distance = falling ? yhat[i] - threshold : threshold - yhat[i];
            m[i].lasting = sqrt(fmax(all * all - rest * rest, 0));
            m[i].noise = still;
        }
        if (rc == 0) reach(m, ahead, n, out);
    }
    free(yhat);
    free(m);
    return rc == -ENOMEM ? err_set(e, rc, "not enough memory") : rc;
}

/* -- what drives it -- */

struct seasonal_drivers seasonal_auto_drivers(const struct seasonal_auto *a)
{
    struct seasonal_drivers d = {.step_ds = a->step_ds, .step = a->step, .folds = a->folds};
    const struct auto_core *c = &a->core;
    static const double keep[PHIS] = {1, 0.9, 0.75, 0};
    double most = -INFINITY, least = INFINITY, high = -INFINITY, low = INFINITY, total = 0;
    for (size_t x = 0; x < SEASONAL_EXPERTS; x++) d.weight[x] = a->weight[x];
    for (size_t x = 0; x < FIRST_PROFILE; x++) {
        d.trend += a->weight[x] * keep[x % PHIS] * c->slope;
        total += a->weight[x];
    }
    if (total > 0) d.trend /= total;
    double hour[24] = {0}, day[7] = {0};
    for (size_t h = 0; h < 168; h++) {
        hour[h % 24] += c->profile[0][h] / 7;
        day[h / 24] += c->profile[0][h] / 24;
    }
    for (size_t h = 0; h < 24; h++) {
        most = fmax(most, hour[h]);
        least = fmin(least, hour[h]);
    }
    for (size_t w = 0; w < 7; w++) {
        high = fmax(high, day[w]);
        low = fmin(low, day[w]);
    }
    d.daily = most - least;
    d.weekly = high - low;
    d.error = a->error;
    return d;
}
