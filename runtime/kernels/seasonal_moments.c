/* The pass over the data: everything that the normal equations of a trend with changes and of
 * seasons need, as sums for each segment between changepoints.
 *
 * The hinge (t - s_j)+ is a straight line behind s_j and 0 before it, so sums of 1, t, t^2, y, ty,
 * F and tF by segment, added up from the last one backwards, are the whole Gram matrix. Where times
 * lie on a grid and all seasons repeat within some weeks, rows fall into few phases: features are
 * made once for each, and F F' is summed over phases instead of rows. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DAY = 86400;
enum { MOST_PHASES = 20160, POLL = 1024 };

typedef double v4 __attribute__((vector_size(32), aligned(8), may_alias));
#define INLINE static inline __attribute__((always_inline))

int seasonal_sums_new(struct seasonal_sums **out, size_t n_segments, size_t n_columns,
                      size_t stride)
{
    size_t n = n_segments * (SUM_COUNT + 2 * stride) + stride * stride + stride;
    struct seasonal_sums *s = calloc(1, sizeof *s + n * sizeof(double));
    if (s == NULL) return -ENOMEM;
    s->n_segments = n_segments;
    s->n_columns = n_columns;
    s->stride = stride;
    s->seg = s->block;
    s->f = s->seg + n_segments * SUM_COUNT;
    s->uf = s->f + n_segments * stride;
    s->ff = s->uf + n_segments * stride;
    s->fr = s->ff + stride * stride;
    *out = s;
    return 0;
}

void seasonal_sums_clear(struct seasonal_sums *s)
{
    size_t n = s->n_segments * (SUM_COUNT + 2 * s->stride) + s->stride * s->stride + s->stride;
    memset(s->block, 0, n * sizeof(double));
    s->rr = 0;
}

/* -- the Gram matrix of rows -- */

/* ff[i][4 j …] += sum of rows[r][i] * rows[r][4 j …], for up to four vectors j at once. */
INLINE void gram_body(double *ff, size_t stride, const double *rows, size_t count)
{
    for (size_t i = 0; i < stride; i++) {
        double *to = ff + i * stride;
        size_t vectors = i / 4 + 1, j = 0;
        for (; j + 2 <= vectors; j += 2) {
            v4 a = *(v4 *)(to + 4 * j), b = *(v4 *)(to + 4 * j + 4);
            for (size_t r = 0; r < count; r++) {
                const double *row = rows + r * stride, *at = row + 4 * j;
                a += row[i] * *(const v4 *)at;
                b += row[i] * *(const v4 *)(at + 4);
            }
            *(v4 *)(to + 4 * j) = a;
            *(v4 *)(to + 4 * j + 4) = b;
        }
        for (; j < vectors; j++) {
            v4 a = *(v4 *)(to + 4 * j);
            for (size_t r = 0; r < count; r++)
                a += rows[r * stride + i] * *(const v4 *)(rows + r * stride + 4 * j);
            *(v4 *)(to + 4 * j) = a;
        }
    }
}

INLINE void axpy_body(double *to, double a, const double *x, size_t stride)
{
    for (size_t j = 0; j < stride; j += 4) *(v4 *)(to + j) += a * *(const v4 *)(x + j);
}

/* Rows on a grid, one segment: their features come from a table by phase. */
struct grid {
    size_t n_phases;
    int64_t step;        /* seconds from phase to phase */
    double *table;       /* (n_phases, stride) */
    double *count, *sum; /* (n_phases) rows, and the sum of their r */
    int64_t period;
    double before, gap; /* where counting has come to: a time on the wall, its distance to the */
    uint32_t at, hop;   /* one before; its phase, and that distance in phases */
};

struct chunk { /* of rows of one segment */
    const uint32_t *phase;
    const double *u, *r; /* (count) */
    size_t count;
};

/* f += F, uf += u F over the chunk: four vectors, what daily and weekly seasons take, stay in
 * registers. */
INLINE void add_features(double *f, double *uf, size_t stride, const struct grid *g,
                         const struct chunk *c)
{
    if (stride != 16) {
        for (size_t i = 0; i < c->count; i++) {
            const double *row = g->table + c->phase[i] * stride;
            axpy_body(f, 1, row, stride);
            axpy_body(uf, c->u[i], row, stride);
        }
        return;
    }
    v4 *to = (v4 *)f, *uto = (v4 *)uf;
    v4 f0 = to[0], f1 = to[1], f2 = to[2], f3 = to[3];
    v4 u0 = uto[0], u1 = uto[1], u2 = uto[2], u3 = uto[3];
    for (size_t i = 0; i < c->count; i++) {
        const v4 *x = (const v4 *)(g->table + c->phase[i] * 16);
        double u = c->u[i];
        f0 += x[0], f1 += x[1], f2 += x[2], f3 += x[3];
        u0 += u * x[0], u1 += u * x[1], u2 += u * x[2], u3 += u * x[3];
    }
    to[0] = f0, to[1] = f1, to[2] = f2, to[3] = f3;
    uto[0] = u0, uto[1] = u1, uto[2] = u2, uto[3] = u3;
}

INLINE void segment_body(struct seasonal_sums *s, size_t seg, const struct grid *g,
                         const struct chunk *c)
{
    double *at = s->seg + seg * SUM_COUNT, wu = 0, wuu = 0, sr = 0, sru = 0, rr = 0;
    for (size_t i = 0; i < c->count; i++) {
        double u = c->u[i], r = c->r[i];
        g->count[c->phase[i]] += 1;
        g->sum[c->phase[i]] += r;
        wu += u;
        wuu += u * u;
        sr += r;
        sru += r * u;
        rr += r * r;
    }
    at[SUM_W] += (double)c->count;
    at[SUM_WU] += wu;
    at[SUM_WUU] += wuu;
    at[SUM_R] += sr;
    at[SUM_RU] += sru;
    s->rr += rr;
    add_features(s->f + seg * s->stride, s->uf + seg * s->stride, s->stride, g, c);
}

static void gram_plain(double *ff, size_t stride, const double *rows, size_t count)
{
    gram_body(ff, stride, rows, count);
}
static void segment_plain(struct seasonal_sums *s, size_t seg, const struct grid *g,
                          const struct chunk *c)
{
    segment_body(s, seg, g, c);
}

#if defined __x86_64__
/* The same operations on the same lanes, so the same results. */
__attribute__((target("avx2"))) static void gram_avx2(double *ff, size_t stride, const double *rows,
                                                      size_t count)
{
    gram_body(ff, stride, rows, count);
}
__attribute__((target("avx2"))) static void
segment_avx2(struct seasonal_sums *s, size_t seg, const struct grid *g, const struct chunk *c)
{
    segment_body(s, seg, g, c);
}
static bool wide(void) { return __builtin_cpu_supports("avx2") != 0; }
#else
#define gram_avx2 gram_plain
#define segment_avx2 segment_plain
static bool wide(void) { return false; }
#endif

void seasonal_sums_gram(double *ff, size_t stride, const double *rows, size_t count)
{
    (wide() ? gram_avx2 : gram_plain)(ff, stride, rows, count);
}

/* -- row by row -- */

/* Rows of one segment, features and all, with a sign. */
static void add_block(struct seasonal_sums *s, const struct seasonal *m, const double *y,
                      size_t first, size_t count, size_t seg, double sign, double *rows)
{
    const struct seasonal_series *series = m->series;
    const double *x = series->x == NULL ? NULL : series->x + first * series->n_regressors;
    double *at = s->seg + seg * SUM_COUNT;
    seasonal_features(series, series->ds + first, x, count, rows);
    for (size_t i = 0; i < count; i++) {
        double u = (series->ds[first + i] - m->start) / DAY, r = y[first + i] - m->centre;
        at[SUM_W] += sign;
        at[SUM_WU] += sign * u;
        at[SUM_WUU] += sign * u * u;
        at[SUM_R] += sign * r;
        at[SUM_RU] += sign * r * u;
        const double *row = rows + i * s->stride;
        axpy_body(s->f + seg * s->stride, sign, row, s->stride);
        axpy_body(s->uf + seg * s->stride, sign * u, row, s->stride);
    }
}

static void add_whole(struct seasonal_sums *s, const struct seasonal *m, const double *y,
                      size_t first, size_t count, const double *rows)
{
    for (size_t i = 0; i < count; i++) {
        double r = y[first + i] - m->centre;
        axpy_body(s->fr, r, rows + i * s->stride, s->stride);
        s->rr += r * r;
    }
    seasonal_sums_gram(s->ff, s->stride, rows, count);
}

void seasonal_sums_move(struct seasonal_sums *s, const struct seasonal *m, size_t first,
                        size_t last, size_t segment, double sign, bool whole, double *rows)
{
    for (size_t i = first; i < last; i += SEASONAL_BLOCK) {
        size_t count = last - i < SEASONAL_BLOCK ? last - i : SEASONAL_BLOCK;
        add_block(s, m, m->series->y, i, count, segment, sign, rows);
        if (whole) add_whole(s, m, m->series->y, i, count, rows);
    }
}

static int fill_directly(struct seasonal_sums *s, const struct seasonal *m, const double *y,
                         const atomic_bool *cancel)
{
    double *rows = malloc(SEASONAL_BLOCK * (s->stride + 1) * sizeof *rows);
    if (rows == NULL) return -ENOMEM;
    int rc = 0;
    for (size_t seg = 0; seg <= m->n_changes && rc == 0; seg++) {
        size_t first = seg == 0 ? 0 : m->boundary[seg - 1];
        size_t last = seg == m->n_changes ? m->rows : m->boundary[seg];
        for (size_t i = first; i < last && rc == 0; i += SEASONAL_BLOCK) {
            size_t count = last - i < SEASONAL_BLOCK ? last - i : SEASONAL_BLOCK;
            add_block(s, m, y, i, count, seg, 1, rows);
            add_whole(s, m, y, i, count, rows);
            if (cancel != NULL && atomic_load(cancel)) rc = -ECANCELED;
        }
    }
    free(rows);
    return rc;
}

/* -- by phase -- */

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t c = a % b;
        a = b;
        b = c;
    }
    return a;
}

/* Seconds after which all features repeat, or 0 where they do not soon. */
static int64_t common_period(const struct seasonal_series *s)
{
    int64_t all = 1;
    for (size_t p = 0; p < s->n_parts; p++) {
        double period = s->parts[p].period;
        if (s->parts[p].kind != SEASONAL_SEASON || period != floor(period) || period > 5e6)
            return 0;
        all = all / gcd(all, (int64_t)period) * (int64_t)period;
        if (all > 10000000) return 0;
    }
    return all;
}

/* The widest grid that all local times lie on, counted from the first; 0 where there is none. */
static int64_t find_step(const struct seasonal *m, int64_t period)
{
    const struct seasonal_series *s = m->series;
    double before = seasonal_local(s, s->ds[0]), gap = 0;
    int64_t step = period;
    for (size_t i = 1; i < m->rows; i++) {
        double now = seasonal_local(s, s->ds[i]);
        if (now - before != gap) {
            gap = now - before;
            if (gap != floor(gap) || fabs(gap) > 1e12) return 0;
            step = gcd(step, (int64_t)fabs(gap));
            if (period / step > MOST_PHASES) return 0;
        }
        before = now;
    }
    return step;
}

/* Row b of the table. A season that has been round is copied from its last time. */
static void fill_phase(const struct seasonal_series *s, const struct grid *g, size_t b, double ds)
{
    double *row = g->table + b * s->stride;
    for (size_t p = 0; p < s->n_parts; p++) {
        const struct seasonal_column_set *part = &s->parts[p];
        int64_t round = (int64_t)part->period / g->step;
        if ((int64_t)part->period % g->step == 0 && (int64_t)b >= round)
            memcpy(row + part->first, row + part->first - (size_t)round * s->stride,
                   part->n * sizeof *row);
        else
            seasonal_season(ds, part->period, part->n / 2, row + part->first);
    }
}

static int make_grid(struct grid *g, const struct seasonal *m, int64_t period)
{
    const struct seasonal_series *s = m->series;
    g->table = calloc(g->n_phases * (s->stride + 2) + 1, sizeof *g->table);
    if (g->table == NULL) return -ENOMEM;
    g->count = g->table + g->n_phases * s->stride;
    g->sum = g->count + g->n_phases;
    g->before = seasonal_local(s, s->ds[0]);
    g->period = period;
    struct seasonal_series wall = *s;
    wall.zone = NULL; /* the times of the table are on the wall already */
    for (size_t b = 0; b < g->n_phases; b++)
        fill_phase(&wall, g, b, g->before + (double)((int64_t)b * g->step));
    return 0;
}

/* Phases of the next rows, in order: mostly as far apart as the last two. */
static void count_phases(const struct seasonal_series *s, struct grid *g, size_t first,
                         size_t count, uint32_t *phase)
{
    uint32_t n = (uint32_t)g->n_phases;
    for (size_t i = 0; i < count; i++) {
        double now = s->zone == NULL ? s->ds[first + i] : seasonal_local(s, s->ds[first + i]);
        if (now - g->before != g->gap) {
            g->gap = now - g->before;
            int64_t k = (int64_t)g->gap % g->period / g->step;
            g->hop = (uint32_t)(k < 0 ? k + n : k);
        }
        g->before = now;
        g->at += g->hop;
        if (g->at >= n) g->at -= n;
        phase[i] = g->at;
    }
}

/* F F' and F r, from phases instead of rows: a row of the table times the root of its count. */
static void sum_phases(struct seasonal_sums *s, const struct grid *g)
{
    double rows[SEASONAL_BLOCK * 8];
    size_t most = SEASONAL_BLOCK * 8 / (s->stride == 0 ? 1 : s->stride), count = 0;
    for (size_t b = 0; b < g->n_phases; b++) {
        const double *row = g->table + b * s->stride;
        if (g->count[b] == 0) continue;
        axpy_body(s->fr, g->sum[b], row, s->stride);
        double root = sqrt(g->count[b]);
        for (size_t j = 0; j < s->stride; j++) rows[count * s->stride + j] = root * row[j];
        if (++count < most) continue;
        seasonal_sums_gram(s->ff, s->stride, rows, count);
        count = 0;
    }
    seasonal_sums_gram(s->ff, s->stride, rows, count);
}

static int fill_by_phase(struct seasonal_sums *s, const struct seasonal *m, const double *y,
                         struct grid *g, const atomic_bool *cancel)
{
    double u[POLL], r[POLL];
    uint32_t phase[POLL];
    bool avx2 = wide();
    for (size_t seg = 0; seg <= m->n_changes; seg++) {
        size_t first = seg == 0 ? 0 : m->boundary[seg - 1];
        size_t last = seg == m->n_changes ? m->rows : m->boundary[seg];
        for (size_t i = first; i < last; i += POLL) {
            size_t count = last - i < POLL ? last - i : POLL;
            for (size_t k = 0; k < count; k++) {
                u[k] = (m->series->ds[i + k] - m->start) / DAY;
                r[k] = y[i + k] - m->centre;
            }
            count_phases(m->series, g, i, count, phase);
            struct chunk c = {phase, u, r, count};
            (avx2 ? segment_avx2 : segment_plain)(s, seg, g, &c);
            if (cancel != NULL && atomic_load(cancel)) return -ECANCELED;
        }
    }
    sum_phases(s, g);
    return 0;
}

int seasonal_sums_fill(struct seasonal_sums *s, const struct seasonal *m, const double *y,
                       const atomic_bool *cancel)
{
    struct grid g = {0};
    int64_t period = common_period(m->series);
    if (period > 0) g.step = find_step(m, period);
    if (g.step > 0) g.n_phases = (size_t)(period / g.step);
    if (g.n_phases == 0 || g.n_phases > MOST_PHASES || g.n_phases > m->rows ||
        s->stride > SEASONAL_BLOCK * 8)
        return fill_directly(s, m, y, cancel);
    int rc = make_grid(&g, m, period);
    if (rc == 0) rc = fill_by_phase(s, m, y, &g, cancel);
    free(g.table);
    return rc;
}
