/* From a series to the mode of its posterior: scales, changepoints, and which solver. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DAY = 86400;

void seasonal_free(struct seasonal *m)
{
    if (m == NULL) return;
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

static void place_changes(struct seasonal *m)
{
    const struct seasonal_series *s = m->series;
    if (m->dummy) {
        m->changepoints[0] = m->start;
        m->boundary[0] = 0;
        return;
    }
    size_t history = (size_t)floor(s->changepoint_range * (double)m->rows);
    for (size_t j = 0; j < m->n_changes; j++) {
        if (s->changepoints != NULL) {
            m->changepoints[j] = s->changepoints[j];
            m->boundary[j] = rows_before(m, s->changepoints[j]);
            continue;
        }
        double at = (double)(j + 1) * (double)(history - 1) / (double)m->n_changes;
        m->boundary[j] = (size_t)rint(at);
        m->changepoints[j] = s->ds[m->boundary[j]];
    }
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
    place_changes(m);
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

static int solve_sums(struct seasonal *m, bool warm)
{
    struct seasonal_problem *p = NULL;
    if (seasonal_problem_new(&p, m) < 0) return -ENOMEM;
    double *theta = calloc(p->n, sizeof *theta);
    if (theta == NULL) {
        seasonal_problem_free(p);
        return -ENOMEM;
    }
    seasonal_problem_fill(p, m->sums, m, DAY / m->t_scale, 1 / m->y_scale);
    p->centre[1] = -m->centre / m->y_scale;
    double v = warm ? m->sigma * m->sigma : seasonal_profile_v(p->rr, m->rows), rss;
    if (warm) memcpy(theta + p->n_plain, m->delta, p->n_delta * sizeof *theta);
    seasonal_solve(p, theta, &v, &rss);
    take_theta(m, p, theta);
    m->sigma = sqrt(v);
    m->log_posterior = seasonal_log_posterior(m, rss);
    free(theta);
    seasonal_problem_free(p);
    return 0;
}

static int fit_linear(struct seasonal *m, const double *y, const atomic_bool *cancel)
{
    const struct seasonal_series *s = m->series;
    int rc = seasonal_sums_new(&m->sums, m->n_changes + 1, s->n_columns, s->stride);
    m->centre = mean_of(y, m->rows);
    if (rc == 0) rc = seasonal_sums_fill(m->sums, m, y, cancel);
    if (rc == 0) rc = solve_sums(m, false);
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

static int fit_rows(struct seasonal *m, const double *y, const atomic_bool *cancel, struct err *e)
{
    const struct seasonal_series *s = m->series;
    m->start = s->ds[0];
    m->t_scale = s->ds[m->rows - 1] - m->start;
    if (!(m->t_scale > 0)) return err_set(e, -EINVAL, "all rows have the same time");
    m->y_scale = scale_of(m, y);
    int rc = make_changes(m);
    if (rc == 0 && s->growth != SEASONAL_LOGISTIC && is_constant(m, y))
        fit_constant(m, y[0]);
    else if (rc == 0 && s->growth != SEASONAL_LOGISTIC && !s->has_multiplicative)
        rc = fit_linear(m, y, cancel);
    else if (rc == 0)
        rc = err_set(e, -EINVAL, "only linear and flat growth with additive parts");
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    if (rc == 0 && m->dummy) {
        m->k += m->delta[0];
        m->delta[0] = 0;
    }
    return rc;
}

int seasonal_fit(struct seasonal **out, struct seasonal_series *s, const struct seasonal_cut *cut,
                 const atomic_bool *cancel, struct err *e)
{
    struct seasonal *m = calloc(1, sizeof *m);
    if (m == NULL) return err_set(e, -ENOMEM, "not enough memory");
    m->series = s;
    s->owners++;
    m->rows = cut == NULL || cut->rows == 0 ? s->n : cut->rows;
    const double *y = cut == NULL || cut->y == NULL ? s->y : cut->y;
    int rc = m->rows < 2 || m->rows > s->n ? err_set(e, -EINVAL, "%zu rows of %zu", m->rows, s->n)
                                           : fit_rows(m, y, cancel, e);
    if (rc == 0 && (y != s->y || m->rows < s->n)) { /* nothing to update from */
        free(m->sums);
        m->sums = NULL;
    }
    if (rc < 0) {
        seasonal_free(m);
        return rc;
    }
    *out = m;
    return 0;
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
                                  .samples = m->series->samples};
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
