/* Paths of the generative model: behind the last row changes of slope come as they did before it,
 * by a Poisson process at the rate of the history, with Laplace sizes. A stream of random numbers
 * for each path, so that a path is the same however many there are. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

struct path {
    struct random random;
    double slope, offset; /* of the line, in scaled time */
    double next;          /* when its slope changes */
};

struct walk {
    const struct seasonal *m;
    const struct seasonal_future *f;
    double rate, size;
    double cap, low; /* where the future has none of its own */
    struct path *paths;
    size_t n;
};

static double wait_of(struct random *r, double rate) { return -log1p(-random_unit(r)) / rate; }

static double laplace(struct random *r, double size)
{
    double u = random_unit(r) - 0.5;
    return u < 0 ? size * log1p(2 * u) : -size * log1p(-2 * u);
}

/* Changes come for ever: a path that goes on for too long would take as long. */
enum { MOST_CHANGES = 100000 };

static int check_reach(const struct seasonal *m, const struct seasonal_future *f, struct err *e)
{
    double last = m->start;
    for (size_t i = 0; i < f->n; i++)
        if (f->ds[i] > last) last = f->ds[i];
    double histories = (last - m->start) / m->t_scale - 1;
    if (histories * seasonal_rate(m) <= MOST_CHANGES) return 0;
    return err_set(e, -EINVAL, "paths of %.0f times the history's length are too long", histories);
}

static int begin(struct walk *w, const struct seasonal *m, const struct seasonal_future *f)
{
    size_t segments = m->n_changes + 1;
    *w = (struct walk){.m = m, .f = f, .size = seasonal_change_size(m)};
    w->rate = m->series->growth == SEASONAL_FLAT ? 0 : seasonal_rate(m);
    w->n = (size_t)m->series->samples;
    if (m->series->growth == SEASONAL_LOGISTIC) {
        w->cap = m->series->cap[m->rows - 1];
        w->low = m->series->low[m->rows - 1];
    }
    w->paths = malloc((w->n + 1) * sizeof *w->paths);
    double *lines = malloc(2 * segments * sizeof *lines);
    if (w->paths == NULL || lines == NULL) {
        free(w->paths);
        free(lines);
        return -ENOMEM;
    }
    seasonal_lines(m, lines, lines + segments);
    for (size_t p = 0; p < w->n; p++) {
        struct path *path = &w->paths[p];
        random_seed(&path->random, m->series->seed, p);
        path->slope = lines[segments - 1];
        path->offset = lines[2 * segments - 1];
        path->next = w->rate > 0 ? 1 + wait_of(&path->random, w->rate) : INFINITY;
    }
    if (m->series->growth == SEASONAL_FLAT)
        for (size_t p = 0; p < w->n; p++) w->paths[p].slope = 0;
    free(lines);
    return 0;
}

/* The path's trend at time number i of the future, which is not before the last one asked for. */
static double advance(const struct walk *w, struct path *path, size_t i)
{
    const struct seasonal *m = w->m;
    double t = (w->f->ds[i] - m->start) / m->t_scale;
    while (path->next < t) {
        double change = laplace(&path->random, w->size);
        path->slope += change;
        path->offset -= change * path->next;
        path->next += wait_of(&path->random, w->rate);
    }
    double cap = w->f->cap == NULL ? w->cap : w->f->cap[i];
    double low = w->f->floor == NULL ? w->low : w->f->floor[i];
    return seasonal_trend_at(m, path->slope * t + path->offset, cap, low);
}

/* -- quantiles -- */

static void swap(double *a, double *b)
{
    double c = *a;
    *a = *b;
    *b = c;
}

/* Orders x so that x[k] is where sorting would put it: Hoare's selection. n > 0. */
static double nth(double *x, size_t n, size_t k)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, at = (ptrdiff_t)k;
    while (low < high) {
        double pivot = x[at];
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (pivot < x[j]) j--;
            if (i <= j) swap(&x[i++], &x[j--]);
        }
        if (j < at) low = i;
        if (at < i) high = j;
    }
    return x[k];
}

static double quantile(double *x, size_t n, double p) /* type 7 */
{
    if (n == 0) return NAN;
    double at = p * (double)(n - 1);
    size_t k = (size_t)at;
    double below = nth(x, n, k), above = INFINITY;
    if (k + 1 >= n || at == (double)k) return below;
    for (size_t i = k + 1; i < n; i++)
        if (x[i] < above) above = x[i];
    return below + (at - (double)k) * (above - below);
}

/* -- bounds -- */

struct key {
    double ds;
    size_t i;
};

static int by_time(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->ds != y->ds) return x->ds < y->ds ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static void bounds_of(double *samples, size_t n, double width, double *lower, double *upper)
{
    if (lower != NULL) *lower = quantile(samples, n, (1 - width) / 2);
    if (upper != NULL) *upper = quantile(samples, n, (1 + width) / 2);
}

static double *at(double *x, size_t i) { return x == NULL ? NULL : x + i; }

static void bounds_at(struct walk *w, const struct seasonal_forecast *out, size_t i, double *trend,
                      double *y)
{
    const struct seasonal *m = w->m;
    double factor = 1 + out->multiplicative[i], rest = out->yhat[i] - out->trend[i] * factor;
    bool behind = w->f->ds[i] - m->start > m->t_scale;
    for (size_t p = 0; p < w->n; p++) {
        trend[p] = behind ? advance(w, &w->paths[p], i) : out->trend[i];
        y[p] =
            trend[p] * factor + rest + m->sigma * m->y_scale * random_normal(&w->paths[p].random);
    }
    bounds_of(y, w->n, m->series->interval_width, at(out->yhat_lower, i), at(out->yhat_upper, i));
    if (out->trend_lower != NULL || out->trend_upper != NULL)
        bounds_of(trend, w->n, m->series->interval_width, at(out->trend_lower, i),
                  at(out->trend_upper, i));
}

int seasonal_sampled_bounds(const struct seasonal *m, const struct seasonal_future *f,
                            const struct seasonal_forecast *out, const atomic_bool *cancel,
                            struct err *e)
{
    struct walk w;
    int rc = check_reach(m, f, e);
    if (rc == 0) rc = begin(&w, m, f);
    if (rc < 0) return rc;
    struct key *keys = malloc((f->n + 1) * sizeof *keys);
    double *samples = malloc((2 * w.n + 1) * sizeof *samples);
    rc = keys == NULL || samples == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        for (size_t i = 0; i < f->n; i++) keys[i] = (struct key){f->ds[i], i};
        qsort(keys, f->n, sizeof *keys, by_time);
    }
    for (size_t k = 0; rc == 0 && k < f->n; k++) {
        bounds_at(&w, out, keys[k].i, samples, samples + w.n);
        if (cancel != NULL && atomic_load(cancel)) rc = -ECANCELED;
    }
    free(samples);
    free(keys);
    free(w.paths);
    return rc;
}

/* -- when a threshold is reached -- */

/* Where between two times a line through both values meets the threshold. */
static double meet(double ds0, double y0, double ds1, double y1, double threshold)
{
    double share = (threshold - y0) / (y1 - y0);
    return share > 0 && share <= 1 ? ds0 + share * (ds1 - ds0) : ds1;
}

struct target {
    double threshold, last; /* of the history: Unix seconds */
    bool falling, noise;
};

static bool reached(const struct target *t, double y)
{
    return t->falling ? y <= t->threshold : y >= t->threshold;
}

/* Seconds until one path is there, or INFINITY. */
static double walk_to(struct walk *w, struct path *path, const struct target *t,
                      const double *factor, const double *rest)
{
    const struct seasonal *m = w->m;
    double before = 0, sigma = m->sigma * m->y_scale;
    for (size_t i = 0; i < w->f->n; i++) {
        double y = advance(w, path, i) * factor[i] + rest[i];
        if (t->noise) y += sigma * random_normal(&path->random);
        if (reached(t, y)) {
            double ds = w->f->ds[i];
            if (i > 0 && !t->noise) ds = meet(w->f->ds[i - 1], before, ds, y, t->threshold);
            return ds - t->last;
        }
        before = y;
    }
    return INFINITY;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int simulate(struct walk *w, const struct target *t, const double *factor,
                    const double *rest, struct seasonal_reach *out, const atomic_bool *cancel)
{
    static const double share[3] = {0.1, 0.5, 0.9};
    double *times = malloc((w->n + 1) * sizeof *times);
    if (times == NULL) return -ENOMEM;
    size_t n = 0;
    for (size_t p = 0; p < w->n; p++) {
        times[p] = walk_to(w, &w->paths[p], t, factor, rest);
        n += times[p] < INFINITY;
        if (cancel == NULL || !atomic_load(cancel)) continue;
        free(times);
        return -ECANCELED;
    }
    qsort(times, w->n, sizeof *times, ascending);
    out->probability = w->n == 0 ? NAN : (double)n / (double)w->n;
    for (int q = 0; q < 3; q++) {
        size_t k = (size_t)ceil(share[q] * (double)w->n);
        out->quantile[q] = w->n == 0 ? INFINITY : times[k > 0 ? k - 1 : 0];
    }
    free(times);
    return 0;
}

static double first_of(const struct seasonal_future *f, const double *yhat, const struct target *t)
{
    for (size_t i = 0; i < f->n; i++) {
        if (!reached(t, yhat[i])) continue;
        double ds = f->ds[i];
        if (i > 0) ds = meet(f->ds[i - 1], yhat[i - 1], ds, yhat[i], t->threshold);
        return ds - t->last;
    }
    return INFINITY;
}

int seasonal_time_to(const struct seasonal *m, const struct seasonal_future *f, double threshold,
                     bool falling, bool noise, struct seasonal_reach *out,
                     const atomic_bool *cancel, struct err *e)
{
    struct target t = {threshold, m->start + m->t_scale, falling, noise};
    struct walk w;
    double *work = malloc((f->n + 1) * 4 * sizeof *work);
    if (work == NULL) return err_set(e, -ENOMEM, "not enough memory");
    double *yhat = work, *trend = yhat + f->n, *factor = trend + f->n, *rest = factor + f->n;
    struct seasonal_forecast want = {.yhat = yhat, .trend = trend, .multiplicative = factor};
    int rc = seasonal_predict(m, f, &want, cancel, e);
    if (rc == 0) rc = check_reach(m, f, e);
    if (rc == 0) {
        for (size_t i = 0; i < f->n; i++) {
            factor[i] += 1;
            rest[i] = yhat[i] - trend[i] * factor[i];
        }
        out->first = first_of(f, yhat, &t);
        rc = begin(&w, m, f);
        if (rc == 0) {
            rc = simulate(&w, &t, factor, rest, out, cancel);
            free(w.paths);
        }
        if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
        if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    }
    free(work);
    return rc;
}
