/* Logistic growth and multiplicative parts: steps to the mode of a quadratic model of the
 * likelihood, each by the solver of the linear case.
 *
 * A logistic trend is cap / (1 + exp(-f)) of a line f with changes of slope, whose offset is -k m.
 * So the second derivatives are again sums by segment, weighted. Steps begin with Gauss-Newton's
 * approximation, which is never indefinite, and end with Newton's, which converges quadratically.
 */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 400, HALVINGS = 4, DAMPINGS = 20 };
enum { MOST_KEPT = 1 << 20 }; /* features, 8 MiB of them, that are kept from pass to pass */

struct newton {
    struct seasonal *m;
    const double *y;
    const atomic_bool *cancel;
    struct seasonal_sums *sums; /* of weights, u = t, r the residuals */
    struct seasonal_problem *p;
    double *slope, *offset; /* (n_changes + 1) */
    double *rows;           /* (SEASONAL_BLOCK, stride) */
    double *kept;           /* (rows, stride) the features of all rows, or NULL */
    double *theta, *aim;    /* (p->n) */
    bool exact;             /* Newton's, not Gauss' */
    bool held;              /* Gauss', damped, and the variance as it is */
    double damping;         /* of held steps: a share of each parameter's curvature */
    double *diagonal;       /* (p->n) of G */
};

/* -- one pass -- */

struct point { /* of one row: the trend, its first two derivatives by the line */
    double trend, d1, d2;
};

static struct point trend_at(const struct newton *w, size_t i, double line)
{
    const struct seasonal_series *s = w->m->series;
    if (s->growth != SEASONAL_LOGISTIC) return (struct point){line, 1, 0};
    double cap = (s->cap[i] - s->low[i]) / w->m->y_scale, q = 1 / (1 + exp(-line));
    return (struct point){cap * q, cap * q * (1 - q), cap * q * (1 - q) * (1 - 2 * q)};
}

/* Adds row i, whose features are in row; turns them into those of the linearised model. */
static void add_row(struct newton *w, size_t i, size_t seg, double *row)
{
    const struct seasonal_series *s = w->m->series;
    struct seasonal_sums *sums = w->sums;
    double t = (s->ds[i] - w->m->start) / w->m->t_scale;
    double low = s->low == NULL ? 0 : s->low[i], y = (w->y[i] - low) / w->m->y_scale;
    struct point at = trend_at(w, i, w->slope[seg] * t + w->offset[seg]);
    double factor = 1, additive = 0;
    for (size_t p = 0; p < s->n_parts; p++) {
        double sum = 0;
        for (size_t c = s->parts[p].first; c < s->parts[p].first + s->parts[p].n; c++)
            sum += row[c] * w->m->beta[c];
        *(s->parts[p].multiplicative ? &factor : &additive) += sum;
    }
    double r = y - at.trend * factor - additive, d = at.d1 * factor;
    double across = d * at.trend - (w->exact ? r * at.d1 : 0); /* line by multiplicative column */
    double square = d * d - (w->exact ? r * at.d2 * factor : 0);
    double *seg_sums = sums->seg + seg * SUM_COUNT, *f = sums->f + seg * sums->stride,
           *uf = sums->uf + seg * sums->stride;
    seg_sums[SUM_W] += square;
    seg_sums[SUM_WU] += square * t;
    seg_sums[SUM_WUU] += square * t * t;
    seg_sums[SUM_R] += d * r;
    seg_sums[SUM_RU] += d * r * t;
    sums->rr += r * r;
    for (size_t p = 0; p < s->n_parts; p++) {
        bool times = s->parts[p].multiplicative;
        double by = times ? at.trend : 1, weight = times ? across : d;
        for (size_t c = s->parts[p].first; c < s->parts[p].first + s->parts[p].n; c++) {
            double wf = weight * row[c];
            f[c] += wf;
            uf[c] += wf * t;
            row[c] *= by;
            sums->fr[c] += row[c] * r;
        }
    }
}

/* Making features takes half of a pass. Where there is no room for them each pass makes them. */
static void keep_features(struct newton *w)
{
    const struct seasonal_series *s = w->m->series;
    if (s->stride == 0 || w->m->rows > MOST_KEPT / s->stride) return;
    w->kept = malloc(w->m->rows * s->stride * sizeof *w->kept);
    if (w->kept != NULL) seasonal_features(s, s->ds, s->x, w->m->rows, w->kept);
}

/* Features of rows i, … into w->rows. */
static void take_features(struct newton *w, size_t i, size_t count)
{
    const struct seasonal_series *s = w->m->series;
    if (w->kept != NULL)
        memcpy(w->rows, w->kept + i * s->stride, count * s->stride * sizeof *w->rows);
    else
        seasonal_features(s, s->ds + i, s->x == NULL ? NULL : s->x + i * s->n_regressors, count,
                          w->rows);
}

static int pass(struct newton *w)
{
    const struct seasonal *m = w->m;
    const struct seasonal_series *s = m->series;
    seasonal_lines(m, w->slope, w->offset);
    seasonal_sums_clear(w->sums);
    for (size_t seg = 0; seg <= m->n_changes; seg++) {
        size_t first = seg == 0 ? 0 : m->boundary[seg - 1];
        size_t last = seg == m->n_changes ? m->rows : m->boundary[seg];
        for (size_t i = first; i < last; i += SEASONAL_BLOCK) {
            size_t count = last - i < SEASONAL_BLOCK ? last - i : SEASONAL_BLOCK;
            take_features(w, i, count);
            for (size_t k = 0; k < count; k++) add_row(w, i + k, seg, w->rows + k * s->stride);
            seasonal_sums_gram(w->sums->ff, s->stride, w->rows, count);
        }
        if (w->cancel != NULL && atomic_load(w->cancel)) return -ECANCELED;
    }
    return 0;
}

/* -- parameters -- */

static void put_theta(struct newton *w, const double *theta)
{
    struct seasonal *m = w->m;
    m->k = theta[0];
    m->m = theta[1];
    memcpy(m->beta, theta + 2, m->series->n_columns * sizeof *theta);
    if (w->p->n_delta > 0) memcpy(m->delta, theta + w->p->n_plain, w->p->n_delta * sizeof *theta);
}

static void get_theta(const struct newton *w, double *theta)
{
    const struct seasonal *m = w->m;
    theta[0] = m->k;
    theta[1] = m->m;
    memcpy(theta + 2, m->beta, m->series->n_columns * sizeof *theta);
    if (w->p->n_delta > 0) memcpy(theta + w->p->n_plain, m->delta, w->p->n_delta * sizeof *theta);
}

/* The log posterior at the present parameters and their best variance, by a pass. */
static int value(struct newton *w, double *lp)
{
    int rc = pass(w);
    if (rc < 0) return rc;
    w->m->sigma = sqrt(seasonal_profile_v(w->sums->rr, w->m->rows));
    *lp = seasonal_log_posterior(w->m, w->sums->rr);
    return 0;
}

/* Where Prophet begins: a trend through the first and the last row. */
static void guess(struct newton *w)
{
    struct seasonal *m = w->m;
    const struct seasonal_series *s = m->series;
    size_t last = m->rows - 1;
    double low0 = s->low == NULL ? 0 : s->low[0], low1 = s->low == NULL ? 0 : s->low[last];
    double y0 = (w->y[0] - low0) / m->y_scale, y1 = (w->y[last] - low1) / m->y_scale;
    if (s->growth == SEASONAL_FLAT) {
        double sum = 0;
        for (size_t i = 0; i < m->rows; i++) sum += w->y[i] / m->y_scale;
        m->m = sum / (double)m->rows;
    } else if (s->growth == SEASONAL_LINEAR) {
        m->k = y1 - y0;
        m->m = y0;
    } else {
        double c0 = (s->cap[0] - low0) / m->y_scale, c1 = (s->cap[last] - low1) / m->y_scale;
        double r0 = c0 / fmax(0.01 * c0, fmin(0.99 * c0, y0));
        double r1 = c1 / fmax(0.01 * c1, fmin(0.99 * c1, y1));
        if (fabs(r0 - r1) <= 0.01) r0 *= 1.05;
        double l0 = log(r0 - 1), l1 = log(r1 - 1);
        m->m = l0 / (l0 - l1);
        m->k = l0 - l1;
    }
}

/* From the offset of the line, which the sums know, to m, of which it is -k m. */
static void offset_to_m(struct newton *w)
{
    struct seasonal_problem *p = w->p;
    size_t n = p->n;
    double k = w->m->k, m = w->m->m, cross = p->g[1];
    for (size_t j = 0; j < n; j++) { /* rows */
        p->G[j] -= m * p->G[n + j];
        p->G[n + j] *= -k;
    }
    for (size_t i = 0; i < n; i++) { /* columns */
        p->G[i * n] -= m * p->G[i * n + 1];
        p->G[i * n + 1] *= -k;
    }
    if (w->exact) {
        p->G[1] += cross;
        p->G[n] += cross;
    }
    p->g[0] -= m * p->g[1];
    p->g[1] *= -k;
}

/* How far it is from theta to aim, at most; INFINITY where that is nowhere. */
static double distance(const struct newton *w)
{
    double most = 0;
    for (size_t i = 0; i < w->p->n; i++) {
        double d = fabs(w->aim[i] - w->theta[i]);
        if (!isfinite(d)) return INFINITY;
        if (d > most) most = d;
    }
    return most;
}

/* To the aim, or a part of the way: the first that is no worse. */
static int search_line(struct newton *w, double before, double *lp)
{
    struct seasonal_problem *p = w->p;
    double alpha = 1;
    for (int half = 0; half <= HALVINGS; half++, alpha /= 2) {
        for (size_t i = 0; i < p->n; i++)
            p->theta0[i] = w->theta[i] + alpha * (w->aim[i] - w->theta[i]);
        if (alpha == 1) memcpy(p->theta0, w->aim, p->n * sizeof(double));
        put_theta(w, p->theta0);
        int rc = value(w, lp);
        if (rc < 0 || *lp >= before) return rc;
    }
    return 0;
}

/* Levenberg's steps: the more damped, the shorter and the steeper uphill. */
static int search_damped(struct newton *w, double v, double before, double *lp, double *moved)
{
    struct seasonal_problem *p = w->p;
    size_t n = p->n;
    for (size_t i = 0; i < n; i++) w->diagonal[i] = p->G[i * n + i];
    for (int i = 0; i < DAMPINGS; i++) {
        for (size_t j = 0; j < n; j++) p->G[j * n + j] = w->diagonal[j] * (1 + w->damping);
        memcpy(w->aim, w->theta, n * sizeof(double));
        seasonal_solve_at(p, v, w->aim);
        double there = distance(w);
        if (there < INFINITY) {
            *moved = there;
            put_theta(w, w->aim);
            int rc = value(w, lp);
            if (rc == 0 && *lp >= before) w->damping /= 8;
            if (rc < 0 || *lp >= before) return rc;
        }
        w->damping = fmax(1e-4, 4 * w->damping);
    }
    return 0;
}

/* From the present parameters, whose pass is done, towards the mode of their quadratic model. */
static int improve(struct newton *w, double *lp, double *gain, double *moved)
{
    struct seasonal_problem *p = w->p;
    seasonal_problem_fill(p, w->sums, w->m, 1, 1);
    if (w->m->series->growth == SEASONAL_LOGISTIC) offset_to_m(w);
    get_theta(w, w->theta);
    memcpy(p->theta0, w->theta, p->n * sizeof(double));
    double v = seasonal_profile_v(p->rr, p->n_rows), rss, before = *lp;
    int rc = 0;
    *gain = 0;
    *moved = INFINITY;
    if (w->held) {
        rc = search_damped(w, v, before, lp, moved);
    } else {
        memcpy(w->aim, w->theta, p->n * sizeof(double));
        seasonal_solve(p, w->aim, &v, &rss);
        *moved = distance(w);
        if (*moved < INFINITY) rc = search_line(w, before, lp);
    }
    if (rc == 0 && *lp >= before) {
        *gain = *lp - before;
        return 0;
    }
    put_theta(w, w->theta);
    return rc < 0 ? rc : value(w, lp);
}

/* Newton's steps once Gauss' are small. Where either finds nothing better, one of Gauss' with the
 * variance held, damped: a convex model with the right gradient, whose mode lies uphill. Where that
 * finds nothing either, this is the mode. */
static int climb(struct newton *w)
{
    double lp, gain, moved;
    int rc = value(w, &lp);
    for (int i = 0; i < STEPS && rc == 0; i++) {
        rc = improve(w, &lp, &gain, &moved);
        if (rc < 0) break;
        bool small = gain <= 1e-12 * (1 + fabs(lp));
        if (small && (moved < 1e-9 || w->held)) break;
        w->held = small || (w->held && gain >= 1);
        bool exact = gain < 1 && !small;
        if (exact == w->exact) continue;
        w->exact = exact;
        rc = pass(w);
    }
    w->m->log_posterior = lp;
    return rc;
}

int seasonal_newton(struct seasonal *m, const double *y, bool warm, const atomic_bool *cancel)
{
    const struct seasonal_series *s = m->series;
    struct newton w = {.m = m, .y = y, .cancel = cancel};
    int rc = seasonal_sums_new(&w.sums, m->n_changes + 1, s->n_columns, s->stride);
    if (rc == 0) rc = seasonal_problem_new(&w.p, m);
    double *work = NULL;
    if (rc == 0) {
        size_t n = 2 * (m->n_changes + 1) + SEASONAL_BLOCK * s->stride + 3 * w.p->n;
        work = calloc(n, sizeof *work);
        if (work == NULL) rc = -ENOMEM;
    }
    if (rc == 0) {
        w.slope = work;
        w.offset = w.slope + m->n_changes + 1;
        w.theta = w.offset + m->n_changes + 1;
        w.aim = w.theta + w.p->n;
        w.diagonal = w.aim + w.p->n;
        w.rows = w.diagonal + w.p->n;
        keep_features(&w);
        if (!warm) guess(&w);
        rc = climb(&w);
    }
    free(work);
    free(w.kept);
    free(w.sums);
    seasonal_problem_free(w.p);
    return rc;
}
