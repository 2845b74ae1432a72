/* How much each forecaster is worth, and how wrong they are together: by forecasting the last weeks
 * of the history from what came before. */
#include "kernels/seasonal_auto.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/seasonal_auto_inner.h"

static const double HOUR = 3600, DAY = 86400;

enum {
    FOLDS = 4,
    LEAST_BINS = 24,   /* with fewer there is no backtest */
    MOST_ERRORS = 8192 /* that are looked at for the bounds */
};
static const double SHARPNESS = 10; /* weight = error to the power of minus this */
/* The weights were chosen on the errors that the bounds come from, which makes those too small. */
static const double OPTIMISM = 1.1;
/* Where each backtest begins, in reaches before the end. */
static const double back[FOLDS] = {0.5, 1, 1.5, 2};

/* -- the grid -- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What holidays and regressors contribute to the rows of base: subtracted from y. */
static int without_effects(const struct seasonal *base, double *y, struct err *e)
{
    const struct seasonal_series *s = base->series;
    size_t n = base->rows, regressors = s->n_regressors, any = 0;
    memcpy(y, s->y, n * sizeof *y);
    for (size_t p = 0; p < s->n_parts; p++) any += s->parts[p].kind != SEASONAL_SEASON;
    if (any == 0) return 0;
    double **parts = calloc(s->n_parts, sizeof *parts);
    double *x = malloc((n * (any + regressors + 1) + 1) * sizeof *x), *trend = x;
    int rc = -ENOMEM;
    if (parts != NULL && x != NULL) {
        double *at = trend + n, *columns;
        for (size_t p = 0; p < s->n_parts; p++) {
            if (s->parts[p].kind == SEASONAL_SEASON) continue;
            parts[p] = at;
            at += n;
        }
        columns = at;
        for (size_t r = 0; r < regressors; r++)
            for (size_t i = 0; i < n; i++) columns[r * n + i] = s->x[i * regressors + r];
        struct seasonal_future f = {s->ds, n, s->cap, s->low, regressors > 0 ? columns : NULL};
        struct seasonal_forecast to = {.trend = trend, .parts = parts};
        rc = seasonal_predict(base, &f, &to, NULL, e);
        for (size_t p = 0; rc == 0 && p < s->n_parts; p++)
            for (size_t i = 0; parts[p] != NULL && i < n; i++)
                y[i] -= parts[p][i] * (s->parts[p].multiplicative ? trend[i] : 1);
    }
    free(parts);
    free(x);
    return rc == -ENOMEM ? err_set(e, rc, "not enough memory") : rc;
}

/* An hour, or longer where rows are rarer; a history of less than a day is cut into 24 pieces. */
static double usual_step(const struct seasonal *base, double *work)
{
    const double *ds = base->series->ds;
    size_t n = base->rows;
    for (size_t i = 1; i < n; i++) work[i - 1] = ds[i] - ds[i - 1];
    double gap = auto_nth(work, n - 1, (n - 1) / 2);
    return fmax(gap, fmin((ds[n - 1] - ds[0]) / 24, HOUR));
}

static void fill(struct auto_grid *g, const struct seasonal *base, const double *y)
{
    const struct seasonal_series *s = base->series;
    size_t n = base->rows;
    double phase = 0, bin = -INFINITY;
    double origin = g->step == HOUR ? 0 : s->ds[0];
    g->n = 0;
    for (size_t i = 0; i < n; i++) {
        double b = floor((s->ds[i] - origin) / g->step);
        if (b != bin) {
            g->first[g->n] = i;
            g->t[g->n] = g->y[g->n] = 0;
            if (g->cap != NULL) g->cap[g->n] = g->low[g->n] = 0;
            g->n++;
            bin = b;
        }
        size_t k = g->n - 1;
        g->t[k] += s->ds[i] - s->ds[g->first[k]];
        g->y[k] += y[i];
        if (g->cap != NULL) {
            g->cap[k] += s->cap[i];
            g->low[k] += s->low[i];
        }
    }
    g->first[g->n] = n;
    for (size_t k = 0; k < g->n; k++) {
        double rows = (double)(g->first[k + 1] - g->first[k]);
        g->t[k] = s->ds[g->first[k]] + g->t[k] / rows;
        g->y[k] /= rows;
        if (g->cap != NULL) {
            g->cap[k] /= rows;
            g->low[k] /= rows;
        }
        phase += g->t[k] - floor(g->t[k] / HOUR) * HOUR;
    }
    g->phase = phase / (double)g->n;
}

struct made {
    struct auto_grid g;
    double *y;                            /* (rows) without effects */
    struct seasonal_series *lines, *logs; /* of the grid; logs NULL unless all is positive */
};

static void drop(struct made *m)
{
    seasonal_series_free(m->lines);
    seasonal_series_free(m->logs);
    free(m->g.t);
    free(m->g.first);
    free(m->y);
}

/* The grid's values as base describes them, less holidays and regressors. */
static int describe(struct seasonal_series **out, const struct seasonal_series *s,
                    const struct auto_grid *g, bool logs, const double *y, struct err *e)
{
    struct seasonal_part *parts = calloc(s->n_parts + 1, sizeof *parts);
    if (parts == NULL) return err_set(e, -ENOMEM, "not enough memory");
    struct seasonal_spec spec = seasonal_defaults();
    bool curved = !logs && s->growth == SEASONAL_LOGISTIC;
    spec.growth = logs && s->growth == SEASONAL_LOGISTIC ? SEASONAL_LINEAR : s->growth;
    spec.n_changepoints = s->n_changepoints;
    spec.changepoint_range = s->changepoint_range;
    spec.changepoint_prior_scale = s->tau;
    spec.changepoints = NULL;
    spec.interval_width = s->interval_width;
    spec.samples = 0;
    spec.timezone = s->timezone;
    spec.tzif = s->tzif;
    spec.tzif_len = s->tzif_len;
    size_t n = 0;
    for (size_t p = 0; p < s->n_parts; p++) {
        const struct seasonal_column_set *part = &s->parts[p];
        if (part->kind != SEASONAL_SEASON) continue;
        parts[n++] = (struct seasonal_part){.name = part->name,
                                            .kind = SEASONAL_SEASON,
                                            .multiplicative = part->multiplicative && !logs,
                                            .prior_scale = part->prior_scale,
                                            .period = part->period / DAY,
                                            .order = (int)(part->n / 2)};
    }
    spec.parts = parts;
    spec.n_parts = n;
    int rc = seasonal_series_new(out, &spec, g->t, y, curved ? g->cap : NULL,
                                 curved ? g->low : NULL, g->n, e);
    free(parts);
    return rc;
}

static int make(struct made *m, const struct seasonal *base, struct err *e)
{
    const struct seasonal_series *s = base->series;
    size_t n = base->rows;
    struct auto_grid *g = &m->g;
    g->series = s;
    m->y = malloc((n + 1) * sizeof *m->y);
    g->t = malloc((4 * n + 1) * sizeof *g->t);
    g->first = malloc((n + 1) * sizeof *g->first);
    if (m->y == NULL || g->t == NULL || g->first == NULL)
        return err_set(e, -ENOMEM, "not enough memory");
    g->y = g->t + n;
    if (s->growth == SEASONAL_LOGISTIC) {
        g->cap = g->t + 2 * n;
        g->low = g->t + 3 * n;
    }
    int rc = without_effects(base, m->y, e);
    if (rc < 0) return rc;
    g->step = usual_step(base, g->t);
    fill(g, base, m->y);
    rc = describe(&m->lines, s, g, false, g->y, e);
    bool positive = true;
    for (size_t i = 0; i < g->n; i++) positive = positive && g->y[i] > 0;
    if (rc < 0 || !positive) return rc;
    double *logs = malloc(g->n * sizeof *logs);
    if (logs == NULL) return err_set(e, -ENOMEM, "not enough memory");
    for (size_t i = 0; i < g->n; i++) logs[i] = log(g->y[i]);
    rc = describe(&m->logs, s, g, true, logs, e);
    free(logs);
    return rc;
}

/* -- the backtest -- */

struct fold {
    size_t rows, end; /* bins learnt from; the bins behind the last one forecast */
    double *experts;  /* (SEASONAL_EXPERTS, end - rows) */
};

static size_t before(const struct auto_grid *g, double t) /* how many bins lie up to t */
{
    size_t low = 0, high = g->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (g->t[mid] <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int run_fold(struct fold *f, const struct made *m, double *error, const atomic_bool *cancel,
                    struct err *e)
{
    const struct auto_grid *g = &m->g;
    size_t n = f->end - f->rows;
    f->experts = malloc(n * SEASONAL_EXPERTS * sizeof *f->experts);
    if (f->experts == NULL) return err_set(e, -ENOMEM, "not enough memory");
    struct auto_core core;
    int rc = auto_core_fit(&core, g, m->lines, m->logs, f->rows, cancel, e);
    if (rc < 0) return rc;
    struct seasonal_future future = {g->t + f->rows, n, NULL, NULL, NULL};
    if (g->cap != NULL) {
        future.cap = g->cap + f->rows;
        future.floor = g->low + f->rows;
    }
    rc = auto_core_predict(&core, &future, f->experts, NULL, NULL, e);
    auto_core_free(&core);
    for (size_t x = 0; rc == 0 && x < SEASONAL_EXPERTS; x++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += fabs(f->experts[x * n + i] - g->y[f->rows + i]);
        error[x] += sum / (double)n;
    }
    return rc;
}

static void weigh(double *weight, const double *error, int folds, bool logs)
{
    double least = INFINITY, total = 0;
    for (int x = 0; x < SEASONAL_EXPERTS; x++)
        if (isfinite(error[x])) least = fmin(least, error[x]);
    for (int x = 0; x < SEASONAL_EXPERTS; x++) {
        bool there = x < FIRST_LOG || logs;
        if (folds == 0)
            weight[x] = x < FIRST_LOG && x % PHIS != 0; /* the undamped slope has shown nothing */
        else if (!there || !isfinite(error[x]))
            weight[x] = 0;
        else if (!(least > 0))
            weight[x] = error[x] == least;
        else
            weight[x] = pow(error[x] / least, -SHARPNESS);
        total += weight[x];
    }
    if (!(total > 0)) { /* every error is beyond a double */
        weight[PHIS - 1] = total = 1;
    }
    for (int x = 0; x < SEASONAL_EXPERTS; x++) weight[x] /= total;
}

static double together(const double *weight, const double *experts, size_t n, size_t i)
{
    double sum = 0;
    for (size_t x = 0; x < SEASONAL_EXPERTS; x++)
        if (weight[x] > 0) sum += weight[x] * experts[x * n + i];
    return sum;
}

static size_t bucket(double ahead, double reach)
{
    double b = ahead / reach * SEASONAL_BUCKETS;
    return b < 0 ? 0 : b >= SEASONAL_BUCKETS ? SEASONAL_BUCKETS - 1 : (size_t)b;
}

/* Pools neighbours until the means never fall. */
static void never_falling(double *mean, double *weight)
{
    size_t size[SEASONAL_BUCKETS], n = 0;
    double m[SEASONAL_BUCKETS], w[SEASONAL_BUCKETS];
    for (size_t b = 0; b < SEASONAL_BUCKETS; b++) {
        m[n] = mean[b];
        w[n] = weight[b];
        size[n++] = 1;
        while (n > 1 && m[n - 2] >= m[n - 1]) {
            double both = w[n - 2] + w[n - 1];
            m[n - 2] = both > 0 ? (m[n - 2] * w[n - 2] + m[n - 1] * w[n - 1]) / both : m[n - 1];
            w[n - 2] = both;
            size[n - 2] += size[n - 1];
            n--;
        }
    }
    for (size_t b = 0, k = 0; k < n; k++)
        for (size_t i = 0; i < size[k]; i++) mean[b++] = m[k];
}

/* errors: each row's, with how far ahead it was, (count) each. */
static void calibrate(struct seasonal_auto *a, double *errors, const double *ahead, size_t count)
{
    double weight[SEASONAL_BUCKETS] = {0}, mean = 0;
    for (size_t i = 0; i < count; i++) {
        size_t b = bucket(ahead[i], a->reach);
        a->spread[b] += errors[i];
        weight[b]++;
        mean += errors[i] / (double)count;
    }
    for (size_t b = 0; b < SEASONAL_BUCKETS; b++)
        a->spread[b] = weight[b] > 0 ? a->spread[b] / weight[b] : 0;
    never_falling(a->spread, weight);
    a->error = mean;
    if (!(mean > 0)) { /* forecast without any error: a flat series */
        memset(a->quantile, 0, sizeof a->quantile);
        return;
    }
    for (size_t b = 0; b < SEASONAL_BUCKETS; b++) a->spread[b] = fmax(a->spread[b], 1e-3 * mean);
    for (size_t i = 0; i < count; i++) errors[i] /= a->spread[bucket(ahead[i], a->reach)];
    qsort(errors, count, sizeof *errors, compare);
    for (size_t q = 0; q < SEASONAL_LEVELS; q++) {
        double at = (double)q / (SEASONAL_LEVELS - 1) * (double)(count - 1);
        size_t i = (size_t)at;
        double next = i + 1 < count ? errors[i + 1] : errors[i];
        a->quantile[q] = OPTIMISM * (errors[i] + (at - (double)i) * (next - errors[i]));
    }
}

/* Without a backtest: normal errors of the fit's size, growing with the square root of time. */
static void guess(struct seasonal_auto *a)
{
    static const double normal[11] = {0,     0.126, 0.253, 0.385, 0.524, 0.674,
                                      0.842, 1.036, 1.282, 1.645, 2.576};
    a->error = NAN;
    for (size_t b = 0; b < SEASONAL_BUCKETS; b++)
        a->spread[b] = a->core.noise * sqrt(1 + (double)(b + 1));
    for (size_t q = 0; q < SEASONAL_LEVELS; q++) {
        double at = (double)q / (SEASONAL_LEVELS - 1) * 10;
        size_t i = (size_t)fmin(at, 9);
        a->quantile[q] = normal[i] + (at - (double)i) * (normal[i + 1] - normal[i]);
    }
}

static int measure(struct seasonal_auto *a, const struct made *m, const struct fold *folds,
                   struct err *e)
{
    const struct auto_grid *g = &m->g;
    size_t rows = 0;
    for (int k = 0; k < a->folds; k++) rows += g->first[folds[k].end] - g->first[folds[k].rows];
    size_t stride = rows / MOST_ERRORS + 1, count = 0;
    double *errors = malloc(2 * (rows / stride + FOLDS + 1) * sizeof *errors);
    if (errors == NULL) return err_set(e, -ENOMEM, "not enough memory");
    double *ahead = errors + rows / stride + FOLDS + 1;
    for (int k = 0; k < a->folds; k++) {
        size_t n = folds[k].end - folds[k].rows, next = g->first[folds[k].rows];
        for (size_t i = 0; i < n; i++) {
            size_t bin = folds[k].rows + i;
            double yhat = together(a->weight, folds[k].experts, n, i);
            if (a->positive) yhat = fmax(yhat, 0);
            for (; next < g->first[bin + 1]; next += stride) {
                errors[count] = fabs(m->y[next] - yhat);
                ahead[count++] = g->t[bin] - g->t[folds[k].rows - 1];
            }
        }
    }
    calibrate(a, errors, ahead, count);
    free(errors);
    return 0;
}

static int backtest(struct seasonal_auto *a, const struct made *m, const atomic_bool *cancel,
                    struct err *e)
{
    const struct auto_grid *g = &m->g;
    double end = g->t[g->n - 1], span = end - g->t[0], error[SEASONAL_EXPERTS] = {0};
    struct fold folds[FOLDS] = {{0}};
    int rc = 0;
    a->reach = fmax(fmin(7 * DAY, span / 3), HOUR);
    for (int k = 0; k < FOLDS && rc == 0 && g->n >= LEAST_BINS; k++) {
        struct fold *f = &folds[a->folds];
        double from = end - back[k] * a->reach;
        f->rows = before(g, from);
        f->end = before(g, from + a->reach);
        if (f->rows < LEAST_BINS / 3 || f->end < f->rows + LEAST_BINS / 6) continue;
        rc = run_fold(f, m, error, cancel, e);
        a->folds++;
    }
    if (rc == 0) {
        weigh(a->weight, error, a->folds, m->logs != NULL);
        if (a->folds > 0)
            rc = measure(a, m, folds, e);
        else
            guess(a);
    }
    for (int k = 0; k < FOLDS; k++) free(folds[k].experts);
    return rc;
}

/* By the values less the mean of their hour of the week, which a jump has no part in. */
static int find_step(struct seasonal_auto *a, const struct auto_grid *g, struct err *e)
{
    double *x = malloc(3 * g->n * sizeof *x), mean = 0;
    if (x == NULL) return err_set(e, -ENOMEM, "not enough memory");
    for (size_t h = 0; h < WEEK; h++) mean += a->core.line_q[h] / WEEK;
    struct seasonal_future f = {g->t, g->n, g->cap, g->low, NULL};
    struct seasonal_forecast to = {.yhat = x, .trend = x + g->n};
    int rc = seasonal_predict(a->core.line, &f, &to, NULL, e);
    for (size_t i = 0; rc == 0 && i < g->n; i++) {
        double week = a->core.line_q[auto_cell(g, g->t[i])] - mean;
        x[i] = g->y[i] - (x[i] - x[g->n + i]) - week;
    }
    if (rc == 0) {
        size_t at = auto_step(x, g->n, a->core.noise, x + g->n, &a->step);
        a->step_ds = g->t[at];
    }
    free(x);
    return rc;
}

int seasonal_auto_fit(struct seasonal_auto **out, const struct seasonal *base,
                      const atomic_bool *cancel, struct err *e)
{
    struct seasonal_auto *a = calloc(1, sizeof *a);
    if (a == NULL) return err_set(e, -ENOMEM, "not enough memory");
    a->owners = 1;
    struct made m = {0};
    int rc = make(&m, base, e);
    a->positive = true;
    for (size_t i = 0; i < base->rows; i++) a->positive &= base->series->y[i] >= 0;
    if (rc == 0) rc = auto_core_fit(&a->core, &m.g, m.lines, m.logs, m.g.n, cancel, e);
    if (rc == 0) rc = find_step(a, &m.g, e);
    if (rc == 0) rc = backtest(a, &m, cancel, e);
    drop(&m);
    if (rc < 0) {
        seasonal_auto_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

void seasonal_auto_free(struct seasonal_auto *a)
{
    if (a == NULL || --a->owners > 0) return;
    auto_core_free(&a->core);
    free(a);
}

struct seasonal_auto *seasonal_auto_share(struct seasonal_auto *a)
{
    a->owners++;
    return a;
}
