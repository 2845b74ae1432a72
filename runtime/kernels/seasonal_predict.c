/* The forecast: trend, terms of the parts, and the bounds that seasonal_interval.c finds. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* The trend's straight lines between changepoints, for times in any order. */
struct lines {
    const struct seasonal *m;
    double *slope, *offset; /* (n_changes + 1) */
};

static size_t segment_of(const struct seasonal *m, double ds)
{
    size_t low = 0, high = m->n_changes;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (m->changepoints[mid] <= ds)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static double cap_at(const struct seasonal *m, const struct seasonal_future *f, size_t i)
{
    return f->cap == NULL ? m->series->cap[m->rows - 1] : f->cap[i];
}

static double floor_at(const struct seasonal *m, const struct seasonal_future *f, size_t i)
{
    if (m->series->growth != SEASONAL_LOGISTIC) return 0;
    return f->floor == NULL ? m->series->low[m->rows - 1] : f->floor[i];
}

double seasonal_trend_at(const struct seasonal *m, double line, double cap, double low)
{
    if (m->series->growth != SEASONAL_LOGISTIC) return line * m->y_scale;
    return (cap - low) / (1 + exp(-line)) + low;
}

static double trend_of(const struct lines *l, const struct seasonal_future *f, size_t i)
{
    const struct seasonal *m = l->m;
    if (m->series->growth == SEASONAL_FLAT) return m->m * m->y_scale;
    size_t seg = segment_of(m, f->ds[i]);
    double t = (f->ds[i] - m->start) / m->t_scale, line = l->slope[seg] * t + l->offset[seg];
    double low = floor_at(m, f, i),
           cap = m->series->growth == SEASONAL_LOGISTIC ? cap_at(m, f, i) : 0;
    return seasonal_trend_at(m, line, cap, low);
}

/* One row: the sums of its additive (in units of y) and multiplicative parts. */
static void terms(const struct seasonal *m, const double *row, size_t i,
                  const struct seasonal_forecast *out, double *additive, double *multiplicative)
{
    const struct seasonal_series *s = m->series;
    *additive = *multiplicative = 0;
    for (size_t p = 0; p < s->n_parts; p++) {
        const struct seasonal_column_set *part = &s->parts[p];
        double sum = 0;
        for (size_t c = part->first; c < part->first + part->n; c++) sum += row[c] * m->beta[c];
        if (!part->multiplicative) sum *= m->y_scale;
        *(part->multiplicative ? multiplicative : additive) += sum;
        if (out->parts != NULL && out->parts[p] != NULL) out->parts[p][i] = sum;
    }
}

static void put(double *to, size_t i, double x)
{
    if (to != NULL) to[i] = x;
}

static void gather_x(const struct seasonal *m, const struct seasonal_future *f, size_t first,
                     size_t count, double *x)
{
    size_t n = m->series->n_regressors;
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < n; r++) x[i * n + r] = f->x[r * f->n + first + i];
}

static int check_future(const struct seasonal *m, const struct seasonal_future *f, struct err *e)
{
    if (f->n > SEASONAL_ROWS)
        return err_set(e, -EINVAL, "%zu times; at most %d", f->n, SEASONAL_ROWS);
    if (m->series->n_regressors > 0 && f->x == NULL)
        return err_set(e, -EINVAL, "a forecast takes the regressors' values at its times");
    for (size_t i = 0; i < f->n; i++) {
        if (!(fabs(f->ds[i]) <= (double)CALENDAR_LIMIT))
            return err_set(e, -EINVAL, "ds[%zu] is no time in Unix seconds: %g", i + 1, f->ds[i]);
        if (m->series->growth != SEASONAL_LOGISTIC) continue;
        double cap = cap_at(m, f, i), low = floor_at(m, f, i);
        if (!isfinite(cap) || !isfinite(low) || !(cap > low))
            return err_set(e, -EINVAL, "cap %g of time %zu is not above its floor %g", cap, i + 1,
                           low);
    }
    for (size_t i = 0; i < f->n * m->series->n_regressors; i++)
        if (!isfinite(f->x[i])) return err_set(e, -EINVAL, "a regressor's value is not finite");
    return 0;
}

static int point_forecast(const struct seasonal *m, const struct seasonal_future *f,
                          const struct seasonal_forecast *out)
{
    const struct seasonal_series *s = m->series;
    size_t doubles = SEASONAL_BLOCK * (s->stride + s->n_regressors) + 2 * (m->n_changes + 1);
    double *work = malloc(doubles * sizeof *work);
    if (work == NULL) return -ENOMEM;
    double *rows = work, *x = rows + SEASONAL_BLOCK * s->stride;
    struct lines l = {m, x + SEASONAL_BLOCK * s->n_regressors, NULL};
    l.offset = l.slope + m->n_changes + 1;
    seasonal_lines(m, l.slope, l.offset);
    for (size_t first = 0; first < f->n; first += SEASONAL_BLOCK) {
        size_t count = f->n - first < SEASONAL_BLOCK ? f->n - first : SEASONAL_BLOCK;
        if (s->n_regressors > 0) gather_x(m, f, first, count, x);
        seasonal_features(s, f->ds + first, x, count, rows);
        for (size_t i = first; i < first + count; i++) {
            double additive, multiplicative, trend = trend_of(&l, f, i);
            terms(m, rows + (i - first) * s->stride, i, out, &additive, &multiplicative);
            put(out->trend, i, trend);
            put(out->additive, i, additive);
            put(out->multiplicative, i, multiplicative);
            put(out->yhat, i, trend * (1 + multiplicative) + additive);
        }
    }
    free(work);
    return 0;
}

/* Bounds lie around yhat and trend, which need not be wanted themselves. */
static int with_bounds(const struct seasonal *m, const struct seasonal_future *f,
                       struct seasonal_forecast out, const atomic_bool *cancel, struct err *e)
{
    double *own = malloc((f->n + 1) * 3 * sizeof *own);
    if (own == NULL) return -ENOMEM;
    if (out.yhat == NULL) out.yhat = own;
    if (out.trend == NULL) out.trend = own + f->n;
    if (out.multiplicative == NULL) out.multiplicative = own + 2 * f->n;
    int rc = point_forecast(m, f, &out);
    if (rc == 0) rc = seasonal_bounds(m, f, &out, cancel, e);
    free(own);
    return rc;
}

int seasonal_predict(const struct seasonal *m, const struct seasonal_future *f,
                     const struct seasonal_forecast *out, const atomic_bool *cancel, struct err *e)
{
    int rc = check_future(m, f, e);
    if (rc < 0) return rc;
    if (out->yhat_lower == NULL && out->yhat_upper == NULL && out->trend_lower == NULL &&
        out->trend_upper == NULL)
        rc = point_forecast(m, f, out);
    else
        rc = with_bounds(m, f, *out, cancel, e);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    return rc;
}
