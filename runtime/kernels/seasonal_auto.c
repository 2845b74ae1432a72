/* The forecasters of one history, and their forecasts. */
#include "kernels/seasonal_auto.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/seasonal_auto_inner.h"

static const double HOUR = 3600, DAY = 86400;
static const double phi[PHIS] = {1, 0.9, 0.75, 0}; /* what a slope keeps from day to day */
static const double half_life[2] = {6, 24};        /* hours, of the present level */

const char *seasonal_expert_name(int i)
{
    static const char *const names[SEASONAL_EXPERTS] = {
        "trend_level6",  "damped90_level6",     "damped75_level6",  "flat_level6",
        "trend_level24", "damped90_level24",    "damped75_level24", "flat_level24",
        "week_profile",  "week_profile_recent", "log_damped90",     "log_flat"};
    return i >= 0 && i < SEASONAL_EXPERTS ? names[i] : "";
}

/* -- profiles of the hours of the week -- */

size_t auto_cell(const struct auto_grid *g, double t)
{
    double hour = floor((seasonal_local(g->series, t) - g->phase) / HOUR + 0.5);
    return (size_t)(hour - floor(hour / WEEK) * WEEK);
}

/* Between the middles of two hours: straight. */
static double profile_at(const double *q, double local, double phase)
{
    double u = (local - phase) / HOUR, i = floor(u), part = u - i;
    size_t a = (size_t)(i - floor(i / WEEK) * WEEK);
    return part == 0 ? q[a] : (1 - part) * q[a] + part * q[(a + 1) % WEEK];
}

struct cells {
    double sum[WEEK], weight[WEEK];
};

/* x less what is in q already, into cells of `size` hours modulo `cycle`. */
static void tally(struct cells *c, const size_t *at, const double *w, const double *x,
                  const double *q, size_t n, size_t cycle, size_t size)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < n; i++) {
        size_t k = at[i] % cycle / size;
        c->sum[k] += w[i] * (x[i] - q[at[i]]);
        c->weight[k] += w[i];
    }
}

/* The hours of the week as the mean, plus the hour of the day, plus the day, plus the hour of the
 * week, each shrunken towards nothing as if `shrink` values more had shown no effect. Weights fall
 * by `keep` a week. */
static void profile_fit(double q[WEEK], const struct auto_grid *g, const size_t *at,
                        const double *x, size_t n, double shrink, double keep, double *w)
{
    double mean = 0, total = 0, end = g->t[n - 1], k = log(keep) / (7 * DAY);
    for (size_t i = 0; i < n; i++) {
        w[i] = keep == 1 ? 1 : exp(k * (end - g->t[i]));
        mean += w[i] * x[i];
        total += w[i];
    }
    mean /= total;
    for (size_t h = 0; h < WEEK; h++) q[h] = mean;
    struct cells c;
    tally(&c, at, w, x, q, n, 24, 1);
    for (size_t h = 0; h < WEEK; h++) q[h] += c.sum[h % 24] / (c.weight[h % 24] + 0.5);
    tally(&c, at, w, x, q, n, WEEK, 24);
    for (size_t h = 0; h < WEEK; h++) q[h] += c.sum[h / 24] / (c.weight[h / 24] + 6 * shrink);
    tally(&c, at, w, x, q, n, WEEK, 1);
    for (size_t h = 0; h < WEEK; h++) q[h] += c.sum[h] / (c.weight[h] + shrink);
}

/* The mean of x less its profile, recent values counting most. */
static double level_of(const struct auto_grid *g, const size_t *at, const double *x,
                       const double *q, size_t n, double hours)
{
    double sum = 0, total = 0, k = -log(2) / (hours * g->step);
    for (size_t i = n; i-- > 0;) {
        double w = exp(k * (g->t[n - 1] - g->t[i]));
        if (w < 1e-9) break;
        sum += w * (x[i] - q[at[i]]);
        total += w;
    }
    return sum / total;
}

double auto_nth(double *x, size_t n, size_t k) /* Hoare's quickselect, from the middle */
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        double pivot = x[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i >= j) break;
            double swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        /* x[low .. j] <= pivot <= x[j + 1 .. high], and j < high: the pivot was before it. */
        if (k <= j)
            high = j;
        else
            low = j + 1;
    }
    return x[k];
}

/* Median and 1.4826 times the median deviation of x; where more than half are equal, the deviation
 * of all. */
static void robust(const double *x, size_t n, double *work, double *median, double *deviation)
{
    double sum = 0;
    memcpy(work, x, n * sizeof *x);
    *median = auto_nth(work, n, n / 2);
    for (size_t i = 0; i < n; i++) {
        sum += (x[i] - *median) * (x[i] - *median);
        work[i] = fabs(x[i] - *median);
    }
    *deviation = 1.4826 * auto_nth(work, n, n / 2);
    if (*deviation <= 0) *deviation = sqrt(sum / (double)n);
}

/* -- a model of the grid's values, and of what it leaves -- */

struct work {
    size_t *at;
    double *y, *fit, *rest, *scratch;
};

static int fitted(const struct seasonal *m, const struct auto_grid *g, size_t n, double *out,
                  struct err *e)
{
    struct seasonal_future f = {g->t, n, g->cap, g->low, NULL};
    struct seasonal_forecast to = {.yhat = out};
    return seasonal_predict(m, &f, &to, NULL, e);
}

/* Fits, draws outliers in to four deviations, and fits again: y is the values, changed. */
static int fit_without_outliers(struct seasonal **out, const struct auto_grid *g,
                                struct seasonal_series *s, size_t n, struct work *w, bool again,
                                const atomic_bool *cancel, struct err *e)
{
    struct seasonal_cut cut = {n, w->y};
    int rc = seasonal_fit(out, s, &cut, cancel, e);
    if (rc == 0) rc = fitted(*out, g, n, w->fit, e);
    if (rc < 0) return rc;
    double median, deviation;
    for (size_t i = 0; i < n; i++) w->rest[i] = w->y[i] - w->fit[i];
    robust(w->rest, n, w->scratch, &median, &deviation);
    bool clipped = false;
    for (size_t i = 0; i < n; i++) {
        double r = fmin(fmax(w->rest[i], median - 4 * deviation), median + 4 * deviation);
        clipped |= r != w->rest[i];
        w->y[i] = w->fit[i] + r;
        w->rest[i] = r;
    }
    if (!clipped || !again) return 0;
    seasonal_free(*out);
    *out = NULL;
    rc = seasonal_fit(out, s, &cut, cancel, e);
    if (rc == 0) rc = fitted(*out, g, n, w->fit, e);
    for (size_t i = 0; rc == 0 && i < n; i++) w->rest[i] = w->y[i] - w->fit[i];
    return rc;
}

static int trend_end(const struct seasonal *m, const struct auto_grid *g, size_t n, double *level,
                     double *slope, struct err *e)
{
    double ds[2] = {g->t[n - 1], g->t[n - 1] + DAY}, trend[2], cap[2] = {0, 0}, low[2] = {0, 0};
    struct seasonal_future f = {ds, 2, NULL, NULL, NULL};
    if (g->cap != NULL) {
        cap[0] = cap[1] = g->cap[n - 1];
        low[0] = low[1] = g->low[n - 1];
        f.cap = cap;
        f.floor = low;
    }
    struct seasonal_forecast to = {.trend = trend};
    int rc = seasonal_predict(m, &f, &to, NULL, e);
    *level = trend[0];
    *slope = trend[1] - trend[0];
    return rc;
}

static int core_fit(struct auto_core *c, const struct auto_grid *g, struct seasonal_series *lines,
                    struct seasonal_series *logs, size_t n, struct work *w,
                    const atomic_bool *cancel, struct err *e)
{
    for (size_t i = 0; i < n; i++) w->at[i] = auto_cell(g, g->t[i]);
    memcpy(w->y, g->y, n * sizeof *w->y);
    int rc = fit_without_outliers(&c->line, g, lines, n, w, true, cancel, e);
    if (rc == 0) rc = trend_end(c->line, g, n, &c->level, &c->slope, e);
    if (rc < 0) return rc;
    profile_fit(c->line_q, g, w->at, w->rest, n, 2, 1, w->fit);
    /* With the week's shape known, outliers that hid in the first fit's width show. */
    double median;
    for (size_t i = 0; i < n; i++) w->fit[i] = w->rest[i] - c->line_q[w->at[i]];
    robust(w->fit, n, w->scratch, &median, &c->noise);
    for (size_t i = 0; i < n; i++) {
        double by = fmin(fmax(w->fit[i], median - 4 * c->noise), median + 4 * c->noise) - w->fit[i];
        w->rest[i] += by;
        w->y[i] += by;
    }
    profile_fit(c->line_q, g, w->at, w->rest, n, 2, 1, w->fit);
    for (int l = 0; l < 2; l++)
        c->line_level[l] = level_of(g, w->at, w->rest, c->line_q, n, half_life[l]);
    for (int p = 0; p < 2; p++) {
        profile_fit(c->profile[p], g, w->at, w->y, n, 0.5, p == 0 ? 1 : 0.5, w->fit);
        c->profile_level[p] = level_of(g, w->at, w->y, c->profile[p], n, 24);
    }
    if (logs == NULL) return 0;
    c->logs_most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        w->y[i] = log(g->y[i]);
        c->logs_most = fmax(c->logs_most, w->y[i]);
    }
    rc = fit_without_outliers(&c->logs, g, logs, n, w, false, cancel, e);
    if (rc == 0) rc = trend_end(c->logs, g, n, &c->logs_end, &c->logs_slope, e);
    if (rc < 0) return rc;
    profile_fit(c->logs_q, g, w->at, w->rest, n, 2, 1, w->fit);
    c->logs_level = level_of(g, w->at, w->rest, c->logs_q, n, 24);
    return 0;
}

int auto_core_fit(struct auto_core *c, const struct auto_grid *g, struct seasonal_series *lines,
                  struct seasonal_series *logs, size_t rows, const atomic_bool *cancel,
                  struct err *e)
{
    memset(c, 0, sizeof *c);
    c->end = g->t[rows - 1];
    c->phase = g->phase;
    c->step = g->step;
    double *doubles = malloc(4 * rows * sizeof *doubles);
    size_t *at = malloc(rows * sizeof *at);
    struct work w = {at, doubles, NULL, NULL, NULL};
    int rc = -ENOMEM;
    if (doubles != NULL && at != NULL) {
        w.fit = doubles + rows;
        w.rest = doubles + 2 * rows;
        w.scratch = doubles + 3 * rows;
        rc = core_fit(c, g, lines, logs, rows, &w, cancel, e);
    }
    free(doubles);
    free(at);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc < 0) auto_core_free(c);
    return rc;
}

void auto_core_free(struct auto_core *c)
{
    seasonal_free(c->line);
    seasonal_free(c->logs);
    c->line = c->logs = NULL;
}

/* -- forecasts -- */

/* Days that a slope runs on until `days` ahead when it keeps p of itself from day to day. */
static double damped(double p, double days)
{
    if (p == 1 || days <= 0) return days;
    return p == 0 ? 0 : p * (1 - pow(p, days)) / (1 - p);
}

struct terms {
    double *trend, *additive, *multiplicative; /* (n) of line at f's times */
    double *warped;                            /* (PHIS, n) line's trend by damping */
    double *ds;                                /* (n) */
    double *log_trend, *log_additive;          /* (n) */
};

static int line_terms(const struct auto_core *c, const struct seasonal_future *f,
                      const struct terms *t, struct err *e)
{
    struct seasonal_forecast to = {
        .trend = t->trend, .additive = t->additive, .multiplicative = t->multiplicative};
    int rc = seasonal_predict(c->line, f, &to, NULL, e);
    bool curved = c->line->series->growth == SEASONAL_LOGISTIC;
    for (int p = 0; rc == 0 && p < PHIS; p++) {
        double *out = t->warped + (size_t)p * f->n;
        for (size_t i = 0; i < f->n; i++) {
            double days = (f->ds[i] - c->end) / DAY, d = damped(phi[p], days);
            out[i] = days <= 0 ? t->trend[i] : c->level + c->slope * d;
            t->ds[i] = days <= 0 ? f->ds[i] : c->end + d * DAY;
        }
        if (!curved) continue;
        struct seasonal_future warped = *f;
        warped.ds = t->ds;
        struct seasonal_forecast trend = {.trend = out};
        rc = seasonal_predict(c->line, &warped, &trend, NULL, e);
    }
    if (rc < 0 || c->logs == NULL) return rc;
    struct seasonal_forecast logs = {.trend = t->log_trend, .additive = t->log_additive};
    return seasonal_predict(c->logs, f, &logs, NULL, e);
}

static void experts_at(const struct auto_core *c, const struct seasonal_future *f,
                       const struct terms *t, size_t i, double *out)
{
    size_t n = f->n;
    double days = (f->ds[i] - c->end) / DAY;
    double local = seasonal_local(c->line->series, f->ds[i]);
    double q = profile_at(c->line_q, local, c->phase), level = days > 0;
    for (size_t x = 0; x < FIRST_PROFILE; x++) {
        double trend = t->warped[x % PHIS * n + i];
        out[x * n + i] = trend * (1 + t->multiplicative[i]) + t->additive[i] + q +
                         level * c->line_level[x / PHIS];
    }
    for (size_t p = 0; p < 2; p++)
        out[(FIRST_PROFILE + p) * n + i] =
            profile_at(c->profile[p], local, c->phase) + level * c->profile_level[p];
    for (size_t g = 0; g < 2; g++) {
        double *to = &out[(FIRST_LOG + g) * n + i];
        if (c->logs == NULL) {
            *to = NAN;
            continue;
        }
        double trend = days <= 0 ? t->log_trend[i]
                                 : c->logs_end + c->logs_slope * damped(g == 0 ? 0.9 : 0, days);
        double x = trend + t->log_additive[i] + profile_at(c->logs_q, local, c->phase) +
                   level * c->logs_level;
        *to = exp(fmin(x, c->logs_most + 1)); /* growth beyond e times the most seen is no news */
    }
}

int auto_core_predict(const struct auto_core *c, const struct seasonal_future *f, double *out,
                      double *trend, const double *w, struct err *e)
{
    size_t n = f->n;
    double *work = malloc((10 * n + 1) * sizeof *work);
    if (work == NULL) return err_set(e, -ENOMEM, "not enough memory");
    struct terms t = {work,         work + n,     work + 2 * n, work + 3 * n,
                      work + 7 * n, work + 8 * n, work + 9 * n};
    int rc = line_terms(c, f, &t, e);
    for (size_t i = 0; rc == 0 && i < n; i++) experts_at(c, f, &t, i, out);
    for (size_t i = 0; rc == 0 && trend != NULL && i < n; i++) {
        double sum = 0, total = 0;
        for (size_t x = 0; x < FIRST_PROFILE; x++) {
            sum += w[x] * t.warped[x % PHIS * n + i];
            total += w[x];
        }
        trend[i] = total > 0 ? sum / total : t.warped[(PHIS - 1) * n + i];
    }
    free(work);
    return rc;
}
