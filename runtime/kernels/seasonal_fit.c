/* From a series to the mode of its posterior: scales, changepoints, and which solver. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DAY = 86400;
static const double LEAST_SCALE = 1e-140; /* whose square is a number yet */
static const double MOST_SIGMA = 1e3;     /* of y_scale: the model is nowhere near the data */

void seasonal_free(struct seasonal *m)
{
    if (m == NULL || --m->owners > 0) return;
    seasonal_series_free(m->series);
    free(m->changepoints);
    free(m->boundary);
    free(m->delta);
    free(m->beta);
    free(m->sums);
    free(m);
}

/* -- changepoints -- */

static size_t rows_before(const struct seasonal *m, double ds)
{
    size_t low = 0, high = m->rows;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (m->series->ds[mid] < ds)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* How many changes the solver has: without any, Prophet puts one at the start, folded into k. */
static size_t count_changes(const struct seasonal *m)
{
    const struct seasonal_series *s = m->series;
    size_t n = (size_t)s->n_changepoints;
    if (s->changepoints != NULL) return n;
    size_t history = (size_t)floor(s->changepoint_range * (double)m->rows);
    if (n + 1 > history) n = history > 0 ? history - 1 : 0;
    return n;
}

/* Of change j: how many rows are before it, and when it is. */
static size_t change_row(const struct seasonal *m, size_t j)
{
    const struct seasonal_series *s = m->series;
    if (m->dummy) return 0;
    if (s->changepoints != NULL) return rows_before(m, s->changepoints[j]);
    size_t history = (size_t)floor(s->changepoint_range * (double)m->rows);
    return (size_t)rint((double)(j + 1) * (double)(history - 1) / (double)m->n_changes);
}

static double change_time(const struct seasonal *m, size_t j)
{
    if (m->dummy) return m->start;
    return m->series->changepoints != NULL ? m->series->changepoints[j]
                                           : m->series->ds[change_row(m, j)];
}

static int make_changes(struct seasonal *m)
{
    m->n_changes = count_changes(m);
    m->dummy = m->n_changes == 0;
    if (m->dummy) m->n_changes = 1;
    m->changepoints = calloc(m->n_changes, sizeof *m->changepoints);
    m->boundary = calloc(m->n_changes, sizeof *m->boundary);
    m->delta = calloc(m->n_changes, sizeof *m->delta);
    m->beta = calloc(m->series->n_columns + 1, sizeof *m->beta);
    if (m->changepoints == NULL || m->boundary == NULL || m->delta == NULL || m->beta == NULL)
        return -ENOMEM;
    for (size_t j = 0; j < m->n_changes; j++) {
        m->boundary[j] = change_row(m, j);
        m->changepoints[j] = change_time(m, j);
    }
    return 0;
}

/* -- scales -- */

static double scale_of(const struct seasonal *m, const double *y)
{
    double most = 0;
    for (size_t i = 0; i < m->rows; i++) {
        double v = fabs(m->series->low == NULL ? y[i] : y[i] - m->series->low[i]);
        if (v > most) most = v;
    }
    return most > 0 ? most : 1;
}

static bool is_constant(const struct seasonal *m, const double *y)
{
    for (size_t i = 1; i < m->rows; i++)
        if (y[i] != y[0]) return false;
    return true;
}

static double mean_of(const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (y[i] - y[0]);
    return y[0] + sum / (double)n;
}

/* -- residuals -- */

void seasonal_lines(const struct seasonal *m, double *slope, double *offset)
{
    slope[0] = m->k;
    offset[0] = m->series->growth == SEASONAL_LOGISTIC ? -m->k * m->m : m->m;
    for (size_t j = 0; j < m->n_changes; j++) {
        double t = (m->changepoints[j] - m->start) / m->t_scale;
        slope[j + 1] = slope[j] + m->delta[j];
        offset[j + 1] = offset[j] - m->delta[j] * t;
    }
}

double seasonal_log_posterior(const struct seasonal *m, double rss)
{
    const struct seasonal_series *s = m->series;
    double v = m->sigma * m->sigma, sum = -(double)m->rows * log(m->sigma) - rss / (2 * v) - 2 * v;
    sum -= m->k * m->k / 50 + m->m * m->m / 50;
    for (size_t j = 0; j < m->n_changes; j++) sum -= fabs(m->delta[j]) / s->tau;
    for (size_t p = 0; p < s->n_parts; p++) {
        double scale = s->parts[p].prior_scale;
        for (size_t c = 0; c < s->parts[p].n; c++) {
            double b = m->beta[s->parts[p].first + c];
            sum -= b * b / (2 * scale * scale);
        }
    }
    return sum;
}

/* -- linear and flat growth, additive parts -- */

static void take_theta(struct seasonal *m, const struct seasonal_problem *p, const double *theta)
{
    m->k = theta[0];
    m->m = theta[1] + m->centre / m->y_scale;
    memcpy(m->beta, theta + 2, m->series->n_columns * sizeof *m->beta);
    memset(m->delta, 0, m->n_changes * sizeof *m->delta);
    memcpy(m->delta, theta + p->n_plain, p->n_delta * sizeof *m->delta);
}

/* What solving takes, made before anything is changed. */
struct solving {
    struct seasonal_problem *p;
    double *theta; /* (p->n) */
};

static void end_solving(struct solving *w)
{
    free(w->theta);
    seasonal_problem_free(w->p);
    *w = (struct solving){0};
}

static int begin_solving(struct solving *w, const struct seasonal *m)
{
    *w = (struct solving){0};
    if (seasonal_problem_new(&w->p, m) < 0) return -ENOMEM;
    w->theta = calloc(w->p->n, sizeof *w->theta);
    if (w->theta != NULL) return 0;
    end_solving(w);
    return -ENOMEM;
}

static void solve_sums(struct seasonal *m, struct solving *w, bool warm)
{
    struct seasonal_problem *p = w->p;
    p->n_rows = m->rows;
    seasonal_problem_fill(p, m->sums, m, DAY / m->t_scale, 1 / m->y_scale);
    p->centre[1] = -m->centre / m->y_scale;
    double v = warm ? m->sigma * m->sigma : seasonal_profile_v(p->rr, m->rows), rss;
    if (warm) memcpy(w->theta + p->n_plain, m->delta, p->n_delta * sizeof *m->delta);
    seasonal_solve(p, w->theta, &v, &rss);
    take_theta(m, p, w->theta);
    m->sigma = sqrt(v);
    m->log_posterior = seasonal_log_posterior(m, rss);
}

static int fit_linear(struct seasonal *m, const double *y, const atomic_bool *cancel)
{
    const struct seasonal_series *s = m->series;
    int rc = seasonal_sums_new(&m->sums, m->n_changes + 1, s->n_columns, s->stride);
    m->centre = mean_of(y, m->rows);
    if (rc == 0) rc = seasonal_sums_fill(m->sums, m, y, cancel);
    struct solving w = {0};
    if (rc == 0) rc = begin_solving(&w, m);
    if (rc == 0) solve_sums(m, &w, false);
    end_solving(&w);
    return rc;
}

/* A constant has no best variance: the answer that Prophet gives. */
static void fit_constant(struct seasonal *m, double y)
{
    m->k = 0;
    m->m = y / m->y_scale;
    m->sigma = 1e-9;
    m->log_posterior = seasonal_log_posterior(m, 0);
}

/* The change at the start is part of the first slope, about which a curve turns at time 0. */
static void fold_dummy(struct seasonal *m)
{
    if (!m->dummy || m->delta[0] == 0) return;
    double k = m->k + m->delta[0];
    if (m->series->growth == SEASONAL_LOGISTIC && k != 0) m->m *= m->k / k;
    m->k = k;
    m->delta[0] = 0;
}

/* Scales, changepoints and room for the parameters. */
static int shape(struct seasonal *m, const double *y, struct err *e)
{
    const struct seasonal_series *s = m->series;
    m->start = s->ds[0];
    m->t_scale = s->ds[m->rows - 1] - m->start;
    if (!(m->t_scale > 0)) return err_set(e, -EINVAL, "all rows have the same time");
    m->y_scale = scale_of(m, y);
    return make_changes(m) < 0 ? err_set(e, -ENOMEM, "not enough memory") : 0;
}

static struct seasonal *new_model(struct seasonal_series *s, size_t rows)
{
    struct seasonal *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    m->owners = 1;
    m->series = s;
    m->rows = rows;
    s->owners++;
    return m;
}

int seasonal_empty(struct seasonal **out, struct seasonal_series *s, struct err *e)
{
    struct seasonal *m = new_model(s, s->n);
    if (m == NULL) return err_set(e, -ENOMEM, "not enough memory");
    int rc = shape(m, s->y, e);
    if (rc < 0)
        seasonal_free(m);
    else
        *out = m;
    return rc;
}

static int fit_shape(struct seasonal *m, const double *y, const atomic_bool *cancel, struct err *e)
{
    const struct seasonal_series *s = m->series;
    int rc = 0;
    if (s->growth != SEASONAL_LOGISTIC && is_constant(m, y))
        fit_constant(m, y[0]);
    else if (m->y_scale < LEAST_SCALE)
        return err_set(e, -EINVAL, "y is %g at most: too small to be squared", m->y_scale);
    else if (s->growth != SEASONAL_LOGISTIC && !s->has_multiplicative)
        rc = fit_linear(m, y, cancel);
    else
        rc = seasonal_newton(m, y, false, cancel);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    if (rc == 0 && !(m->sigma < MOST_SIGMA))
        rc = err_set(e, -EINVAL, "no curve comes near the values: is the cap far above them?");
    if (rc == 0) fold_dummy(m);
    return rc;
}

int seasonal_fit(struct seasonal **out, struct seasonal_series *s, const struct seasonal_cut *cut,
                 const atomic_bool *cancel, struct err *e)
{
    size_t rows = cut == NULL || cut->rows == 0 ? s->n : cut->rows;
    const double *y = cut == NULL || cut->y == NULL ? s->y : cut->y;
    if (rows < 2 || rows > s->n) return err_set(e, -EINVAL, "%zu rows of %zu", rows, s->n);
    struct seasonal *m = new_model(s, rows);
    if (m == NULL) return err_set(e, -ENOMEM, "not enough memory");
    int rc = shape(m, y, e);
    if (rc == 0) rc = fit_shape(m, y, cancel, e);
    if (y != s->y || rows < s->n) { /* nothing to update from */
        free(m->sums);
        m->sums = NULL;
    }
    if (rc < 0)
        seasonal_free(m);
    else
        *out = m;
    return rc;
}

struct seasonal_view seasonal_view(const struct seasonal *m)
{
    return (struct seasonal_view){.growth = m->series->growth,
                                  .rows = m->rows,
                                  .n_changepoints = m->dummy ? 0 : m->n_changes,
                                  .n_columns = m->series->n_columns,
                                  .n_parts = m->series->n_parts,
                                  .start = m->start,
                                  .t_scale = m->t_scale,
                                  .y_scale = m->y_scale,
                                  .k = m->k,
                                  .m = m->m,
                                  .sigma_obs = m->sigma,
                                  .changepoints = m->changepoints,
                                  .delta = m->delta,
                                  .beta = m->beta,
                                  .series = m->series,
                                  .log_posterior = m->log_posterior,
                                  .interval_width = m->series->interval_width,
                                  .samples = m->series->samples,
                                  .timezone = m->series->timezone};
}

struct seasonal_part seasonal_part_at(const struct seasonal *m, size_t i, size_t *first, size_t *n)
{
    const struct seasonal_column_set *part = &m->series->parts[i];
    if (first != NULL) *first = part->first;
    if (n != NULL) *n = part->n;
    return (struct seasonal_part){.name = part->name,
                                  .kind = part->kind,
                                  .multiplicative = part->multiplicative,
                                  .prior_scale = part->prior_scale,
                                  .period = part->period / DAY,
                                  .order = (int)(part->n / 2),
                                  .days = part->days,
                                  .n_days = part->n_days,
                                  .lower = part->lower,
                                  .upper = part->upper};
}

struct seasonal *seasonal_share(struct seasonal *m)
{
    m->owners++;
    return m;
}

double seasonal_step(const struct seasonal *m)
{
    double gaps[501];
    size_t n = 0, stride = m->rows / 500 + 1;
    for (size_t i = 1; i < m->rows && n < 501; i += stride) {
        double gap = m->series->ds[i] - m->series->ds[i - 1];
        if (gap <= 0) continue;
        size_t k = n++;
        for (; k > 0 && gaps[k - 1] > gap; k--) gaps[k] = gaps[k - 1];
        gaps[k] = gap;
    }
    return n > 0 ? gaps[n / 2] : m->t_scale / (double)(m->rows - 1);
}

/* -- more rows -- */

bool seasonal_is_warm(const struct seasonal *m, const double *ds, size_t n)
{
    const struct seasonal_series *s = m->series;
    if (m->sums == NULL || m->owners > 1 || s->owners > 1 || s->n_regressors > 0) return false;
    if (n == 0 || n > s->n / 12 || s->n + n > SEASONAL_ROWS) return false;
    if (s->changepoints == NULL && count_changes(m) < (size_t)s->n_changepoints) return false;
    double last = s->ds[s->n - 1];
    for (size_t i = 0; i < n; i++) {
        if (!(ds[i] >= last && ds[i] <= (double)CALENDAR_LIMIT)) return false;
        last = ds[i];
    }
    return true;
}

/* Room for n rows more, twofold, so that appending row by row costs what the rows do. */
static int reserve(struct seasonal_series *s, size_t n)
{
    if (s->n + n <= s->capacity) return 0;
    size_t capacity = 2 * s->capacity + n;
    double *ds = realloc(s->ds, capacity * sizeof *ds);
    if (ds != NULL) s->ds = ds;
    double *y = realloc(s->y, capacity * sizeof *y);
    if (y != NULL) s->y = y;
    if (ds == NULL || y == NULL) return -ENOMEM;
    s->capacity = capacity;
    return 0;
}

/* The new rows are the last segment's; then every changepoint moves on, the last one first, and the
 * rows that it passes go to the segment before. */
static void move_changes(struct seasonal *m, size_t before, double *rows)
{
    seasonal_sums_move(m->sums, m, before, m->rows, m->n_changes, 1, true, rows);
    size_t *old = m->boundary;
    for (size_t j = m->n_changes; j-- > 0;) {
        size_t now = change_row(m, j);
        m->changepoints[j] = change_time(m, j);
        if (now > old[j]) {
            seasonal_sums_move(m->sums, m, old[j], now, j + 1, -1, false, rows);
            seasonal_sums_move(m->sums, m, old[j], now, j, 1, false, rows);
        }
        m->boundary[j] = now;
    }
}

int seasonal_update(struct seasonal *m, const double *ds, const double *y, size_t n, struct err *e)
{
    struct seasonal_series *s = m->series;
    size_t before = s->n;
    for (size_t i = 0; i < n; i++)
        if (fabs(y[i]) > SEASONAL_LARGEST)
            return err_set(e, -EINVAL, "y[%zu] is beyond %g: %g", i + 1, SEASONAL_LARGEST, y[i]);
    struct solving w = {0};
    double *rows = malloc(SEASONAL_BLOCK * (s->stride + 1) * sizeof *rows);
    int rc = rows == NULL ? -ENOMEM : reserve(s, n);
    if (rc == 0) rc = begin_solving(&w, m);
    if (rc == 0) {
        for (size_t i = 0; i < n; i++) {
            if (isnan(y[i])) continue;
            s->ds[s->n] = ds[i];
            s->y[s->n++] = y[i];
            if (fabs(y[i]) > m->y_scale) m->y_scale = fabs(y[i]);
        }
        m->rows = s->n;
        m->t_scale = s->ds[s->n - 1] - m->start;
        move_changes(m, before, rows);
        solve_sums(m, &w, true);
        fold_dummy(m);
    }
    end_solving(&w);
    free(rows);
    return rc < 0 ? err_set(e, rc, "not enough memory") : 0;
}

/* -- parameters from elsewhere -- */

/* Forecasts multiply the floor too, as Prophet's do; its model, like this one, does not. */
static double rss_of(const struct seasonal *m, double *work)
{
    const struct seasonal_series *s = m->series;
    size_t n = s->n_regressors;
    double *x = malloc((m->rows * n + 1) * sizeof *x), rss = 0;
    if (x == NULL) return NAN;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < m->rows; i++) x[r * m->rows + i] = s->x[i * n + r];
    struct seasonal_future f = {s->ds, m->rows, s->cap, s->low, x};
    double *yhat = work, *factor = work + m->rows;
    struct seasonal_forecast out = {.yhat = yhat, .multiplicative = factor};
    int rc = seasonal_predict(m, &f, &out, NULL, NULL);
    for (size_t i = 0; i < m->rows; i++) {
        double low = s->low == NULL ? 0 : s->low[i];
        double r = (s->y[i] - yhat[i] + low * factor[i]) / m->y_scale;
        rss += r * r;
    }
    free(x);
    return rc < 0 ? NAN : rss;
}

int seasonal_set_parameters(struct seasonal *m, double k, double offset, const double *delta,
                            const double *beta, double sigma_obs)
{
    double *work = malloc(2 * m->rows * sizeof *work);
    if (work == NULL) return -ENOMEM;
    m->k = k;
    m->m = offset;
    m->sigma = sigma_obs;
    if (!m->dummy) memcpy(m->delta, delta, m->n_changes * sizeof *delta);
    memcpy(m->beta, beta, m->series->n_columns * sizeof *beta);
    m->log_posterior = seasonal_log_posterior(m, rss_of(m, work));
    free(work);
    return 0;
}
