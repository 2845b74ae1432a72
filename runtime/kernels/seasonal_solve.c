/* The mode of a quadratic likelihood with normal priors, Laplace priors and an unknown variance.
 *
 * With RSS fixed the best variance v solves 4 v^2 + n v = RSS. With v fixed, slope, offset and beta
 * are eliminated by Cholesky, and what is left is a lasso in the changes of slope: an active set to
 * which the worst violator of the optimality conditions is added, with steps that end where a sign
 * changes. So changes that are not needed are exactly 0. The two alternate, sped up by a secant. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_V = 1e-18; /* sigma 1e-9 of y_scale: data that the model meets exactly */

enum { ROUNDS = 200 };

/* Everything of one solution, in p->scratch. e = n_plain, s = n_delta. */
struct work {
    size_t e, s;
    double *L;      /* (e, e) Cholesky factor, lower */
    double *W;      /* (e, s) L^-1 G_E,delta */
    double *we;     /* (e) L^-1 of the right side */
    double *H, *b;  /* (s, s), (s): the lasso */
    double *delta;  /* (s) */
    double *sign;   /* (s) of the active ones, else 0 */
    double *K, *x;  /* (s, s), (s): Cholesky and solution on the active ones */
    double *d;      /* (e + s) */
    size_t *active; /* (s) */
    bool *blocked;  /* (s) */
};

static size_t scratch_doubles(size_t e, size_t s)
{
    return e * e + e * s + e + 2 * s * s + 4 * s + (e + s) + 2 * s + 8;
}

static struct work work_of(struct seasonal_problem *p)
{
    struct work w = {.e = p->n_plain, .s = p->n_delta};
    double *at = p->scratch;
    w.L = at, at += w.e * w.e;
    w.W = at, at += w.e * w.s;
    w.we = at, at += w.e;
    w.H = at, at += w.s * w.s;
    w.b = at, at += w.s;
    w.delta = at, at += w.s;
    w.sign = at, at += w.s;
    w.K = at, at += w.s * w.s;
    w.x = at, at += w.s;
    w.d = at, at += w.e + w.s;
    w.active = (size_t *)(void *)at, at += w.s;
    w.blocked = (bool *)(void *)at;
    return w;
}

/* -- the problem -- */

int seasonal_problem_new(struct seasonal_problem **out, const struct seasonal *m)
{
    bool flat = m->series->growth == SEASONAL_FLAT;
    size_t e = 2 + m->series->n_columns, s = flat ? 0 : m->n_changes, n = e + s;
    size_t doubles = n * n + 2 * n + 2 * e + scratch_doubles(e, s);
    struct seasonal_problem *p = calloc(1, sizeof *p + doubles * sizeof(double));
    if (p == NULL) return -ENOMEM;
    double *at = (double *)(void *)(p + 1);
    p->n_rows = m->rows;
    p->n_plain = e;
    p->n_delta = s;
    p->n = n;
    p->flat = flat;
    p->tau = m->series->tau;
    p->G = at, at += n * n;
    p->g = at, at += n;
    p->theta0 = at, at += n;
    p->precision = at, at += e;
    p->centre = at, at += e;
    p->scratch = at;
    p->precision[0] = p->precision[1] = 1.0 / 25;
    for (size_t i = 0; i < m->series->n_parts; i++) {
        const struct seasonal_column_set *part = &m->series->parts[i];
        for (size_t c = 0; c < part->n; c++)
            p->precision[2 + part->first + c] = 1 / (part->prior_scale * part->prior_scale);
    }
    *out = p;
    return 0;
}

void seasonal_problem_free(struct seasonal_problem *p) { free(p); }

/* What the rows behind a changepoint at u = c add to column j and its products with the others. */
static void fill_hinge(struct seasonal_problem *p, size_t j, const double *seg, const double *f,
                       const double *uf, double c, double unit, double y_unit)
{
    size_t n = p->n, h = p->n_plain + j, columns = p->n_plain - 2;
    double *row = p->G + h * n;
    row[0] = (seg[SUM_WUU] - c * seg[SUM_WU]) * unit * unit;
    row[1] = (seg[SUM_WU] - c * seg[SUM_W]) * unit;
    for (size_t i = 0; i < columns; i++) row[2 + i] = (uf[i] - c * f[i]) * unit;
    p->g[h] = (seg[SUM_RU] - c * seg[SUM_R]) * unit * y_unit;
}

void seasonal_problem_fill(struct seasonal_problem *p, const struct seasonal_sums *sums,
                           const struct seasonal *m, double unit, double y_unit)
{
    size_t n = p->n, e = p->n_plain, columns = e - 2, stride = sums->stride;
    double all[SUM_COUNT] = {0}, f[SEASONAL_COLUMNS + 4] = {0}, uf[SEASONAL_COLUMNS + 4] = {0};
    for (size_t seg = sums->n_segments; seg-- > 0;) {
        for (size_t k = 0; k < SUM_COUNT; k++) all[k] += sums->seg[seg * SUM_COUNT + k];
        for (size_t k = 0; k < columns; k++) {
            f[k] += sums->f[seg * stride + k];
            uf[k] += sums->uf[seg * stride + k];
        }
        if (seg == 0 || p->n_delta == 0) continue;
        size_t j = seg - 1;
        double per_t = m->t_scale * unit; /* u = (ds - start) / per_t */
        double c = (m->changepoints[j] - m->start) / per_t;
        fill_hinge(p, j, all, f, uf, c, unit, y_unit);
        for (size_t i = 0; i <= j; i++) {
            double b = (m->changepoints[i] - m->start) / per_t;
            p->G[(e + j) * n + e + i] =
                (all[SUM_WUU] - (b + c) * all[SUM_WU] + b * c * all[SUM_W]) * unit * unit;
        }
    }
    p->G[0] = all[SUM_WUU] * unit * unit;
    p->G[n] = all[SUM_WU] * unit;
    p->G[n + 1] = all[SUM_W];
    p->g[0] = all[SUM_RU] * unit * y_unit;
    p->g[1] = all[SUM_R] * y_unit;
    p->rr = sums->rr * y_unit * y_unit;
    for (size_t k = 0; k < columns; k++) {
        double *row = p->G + (2 + k) * n;
        row[0] = uf[k] * unit;
        row[1] = f[k];
        p->g[2 + k] = sums->fr[k] * y_unit;
        for (size_t i = 0; i <= k; i++) row[2 + i] = sums->ff[k * stride + i];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) p->G[j * n + i] = p->G[i * n + j];
}

/* -- small linear algebra -- */

/* L L' = A in place (lower). A pivot that rounding alone has made is infinite: its variable stays.
 */
static void cholesky(double *A, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double *row = A + i * n, was = row[i];
        for (size_t j = 0; j <= i; j++) {
            const double *other = A + j * n;
            double sum = row[j];
            for (size_t k = 0; k < j; k++) sum -= row[k] * other[k];
            if (j < i)
                row[j] = sum / other[j];
            else
                row[i] = sum > 1e-14 * was && sum > 0 ? sqrt(sum) : INFINITY;
        }
    }
}

static void solve_lower(const double *L, size_t n, double *x) /* L x = x */
{
    for (size_t i = 0; i < n; i++) {
        double sum = x[i];
        for (size_t k = 0; k < i; k++) sum -= L[i * n + k] * x[k];
        x[i] = sum / L[i * n + i];
    }
}

static void solve_upper(const double *L, size_t n, double *x) /* L' x = x */
{
    for (size_t i = n; i-- > 0;) {
        x[i] /= L[i * n + i];
        for (size_t k = 0; k < i; k++) x[k] -= L[i * n + k] * x[i];
    }
}

/* -- one variance -- */

/* Eliminates the plain parameters. */
static void reduce(const struct seasonal_problem *p, struct work *w, double v)
{
    size_t n = p->n, e = w->e, s = w->s;
    for (size_t i = 0; i < e; i++) {
        memcpy(w->L + i * e, p->G + i * n, e * sizeof(double));
        w->L[i * e + i] += v * p->precision[i];
        w->we[i] = p->g[i] - v * p->precision[i] * (p->theta0[i] - p->centre[i]);
    }
    if (p->flat) {
        for (size_t i = 0; i < e; i++) w->L[i * e] = w->L[i] = i == 0;
        w->we[0] = 0;
    }
    cholesky(w->L, e);
    solve_lower(w->L, e, w->we);
    for (size_t i = 0; i < e; i++) {
        double *row = w->W + i * s, pivot = 1 / w->L[i * e + i];
        memcpy(row, p->G + i * n + e, s * sizeof(double));
        for (size_t k = 0; k < i; k++) {
            double a = w->L[i * e + k];
            const double *other = w->W + k * s;
            for (size_t j = 0; j < s; j++) row[j] -= a * other[j];
        }
        for (size_t j = 0; j < s; j++) row[j] *= pivot;
    }
    for (size_t i = 0; i < s; i++) {
        memcpy(w->H + i * s, p->G + (e + i) * n + e, s * sizeof(double));
        w->b[i] = p->g[e + i];
    }
    for (size_t k = 0; k < e; k++) {
        const double *row = w->W + k * s;
        for (size_t i = 0; i < s; i++) {
            double a = row[i], *to = w->H + i * s;
            w->b[i] -= a * w->we[k];
            for (size_t j = 0; j < s; j++) to[j] -= a * row[j];
        }
    }
    for (size_t i = 0; i < s; i++)
        for (size_t j = 0; j < s; j++) w->b[i] += w->H[i * s + j] * p->theta0[e + j];
}

/* The solution on the active ones, were their signs to stay. */
static void solve_active(struct work *w, size_t n, double lambda)
{
    for (size_t i = 0; i < n; i++) {
        size_t a = w->active[i];
        for (size_t j = 0; j <= i; j++) w->K[i * n + j] = w->H[a * w->s + w->active[j]];
        w->x[i] = w->b[a] - lambda * w->sign[a];
    }
    cholesky(w->K, n);
    solve_lower(w->K, n, w->x);
    solve_upper(w->K, n, w->x);
}

/* Moves to the solution, or as far as all signs hold. Returns how many stay active. */
static size_t step(struct work *w, size_t n)
{
    double alpha = 1;
    size_t out = n;
    for (size_t i = 0; i < n; i++) {
        size_t a = w->active[i];
        if (w->x[i] * w->sign[a] > 0) continue;
        double to_zero = w->delta[a] == 0 ? 0 : w->delta[a] / (w->delta[a] - w->x[i]);
        if (to_zero < alpha || out == n) {
            alpha = to_zero;
            out = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        size_t a = w->active[i];
        w->delta[a] += alpha * (w->x[i] - w->delta[a]);
    }
    if (out == n) return n;
    size_t a = w->active[out];
    if (alpha == 0) w->blocked[a] = true; /* it came in by rounding: not again */
    w->delta[a] = w->sign[a] = 0;
    w->active[out] = w->active[n - 1];
    return n - 1;
}

/* The inactive one whose condition |gradient| <= lambda is violated most, or s. */
static size_t worst(const struct work *w, double lambda, double *sign)
{
    double most = lambda * (1 + 1e-10);
    size_t found = w->s;
    for (size_t j = 0; j < w->s; j++) {
        if (w->sign[j] != 0 || w->blocked[j]) continue;
        double c = w->b[j];
        for (size_t k = 0; k < w->s; k++) c -= w->H[j * w->s + k] * w->delta[k];
        if (fabs(c) <= most) continue;
        most = fabs(c);
        *sign = c > 0 ? 1 : -1;
        found = j;
    }
    return found;
}

/* min 1/2 delta' H delta - b' delta + lambda |delta|, from the present delta. */
static void lasso(struct work *w, double lambda)
{
    size_t n = 0;
    for (size_t j = 0; j < w->s; j++) {
        w->sign[j] = w->delta[j] > 0 ? 1 : w->delta[j] < 0 ? -1 : 0;
        w->blocked[j] = false;
        if (w->sign[j] != 0) w->active[n++] = j;
    }
    for (size_t round = 0; round < 20 * w->s + 100; round++) {
        if (n > 0) {
            solve_active(w, n, lambda);
            size_t left = step(w, n);
            if (left < n) {
                n = left;
                continue;
            }
        }
        double sign = 0;
        size_t j = worst(w, lambda, &sign);
        if (j == w->s) return;
        w->sign[j] = sign;
        w->active[n++] = j;
    }
}

/* theta at one variance, and its RSS. */
static double solve_at(struct seasonal_problem *p, struct work *w, double v, double *theta)
{
    size_t n = p->n, e = w->e, s = w->s;
    reduce(p, w, v);
    lasso(w, v / p->tau);
    for (size_t j = 0; j < s; j++) w->d[e + j] = w->delta[j] - p->theta0[e + j];
    for (size_t i = 0; i < e; i++) {
        w->d[i] = w->we[i];
        for (size_t j = 0; j < s; j++) w->d[i] -= w->W[i * s + j] * w->d[e + j];
    }
    solve_upper(w->L, e, w->d);
    double rss = p->rr;
    for (size_t i = 0; i < n; i++) {
        double sum = -2 * p->g[i];
        for (size_t j = 0; j < n; j++) sum += p->G[i * n + j] * w->d[j];
        rss += w->d[i] * sum;
        theta[i] = i < e ? p->theta0[i] + w->d[i] : w->delta[i - e];
    }
    return rss > 0 ? rss : 0;
}

double seasonal_profile_v(double rss, size_t n)
{
    double v = 2 * rss / ((double)n + sqrt((double)n * (double)n + 16 * rss));
    return v > LEAST_V ? v : LEAST_V;
}

double seasonal_solve_at(struct seasonal_problem *p, double v, double *theta)
{
    struct work w = work_of(p);
    memcpy(w.delta, theta + w.e, w.s * sizeof(double));
    return solve_at(p, &w, v, theta);
}

void seasonal_solve(struct seasonal_problem *p, double *theta, double *v, double *rss)
{
    struct work w = work_of(p);
    double before = 0, after_before = 0, least = INFINITY;
    int idle = 0;
    memcpy(w.delta, theta + w.e, w.s * sizeof(double));
    for (int round = 0; round < ROUNDS; round++) {
        *rss = solve_at(p, &w, *v, theta);
        double now = log(*v), after = log(seasonal_profile_v(*rss, p->n_rows));
        double miss = fabs(after - now);
        if (miss < 1e-12) return;
        /* RSS is what is left of larger sums: where it is small, rounding keeps the two apart. */
        if (miss < least / 2) {
            least = miss;
            idle = 0;
        } else if (least < 1e-6 && ++idle > 2) {
            return;
        }
        double next = after, slope = (after - after_before) / (now - before);
        if (round > 1 && fabs(slope) < 0.9) next = now + (after - now) / (1 - slope);
        if (fabs(next - after) > 1) next = after;
        before = now;
        after_before = after;
        *v = exp(next);
        if (*v < LEAST_V) *v = LEAST_V;
    }
}
