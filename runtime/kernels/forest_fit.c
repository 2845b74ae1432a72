/* Growing the trees. Each has its own stream of random numbers, and reads only the rows drawn for
 * it.
 *
 * A column whose values lie within 2^-11 of each other, relative to their size, would be left with
 * fewer than 2^13 steps of float32: a counter of bytes near 1e12 moves in steps of 65,536. Where
 * that is so for more than half of a sample of rows, one of these values becomes the column's
 * origin, which is subtracted, in double, before anything is compared. Differences below 2^-40 are
 * the noise of double itself and remain hidden. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/forest.h"
#include "kernels/forest_form.h"

enum {
    GATHER = 1 << 20,   /* values that a tree copies at most; else it reads the matrix itself */
    AHEAD = 12,         /* rows that are fetched before they are wanted */
    ORIGIN_SAMPLE = 256 /* rows */
};
static const uint64_t ORIGIN_STREAM = UINT64_MAX;

struct job {
    const struct matrix *m;
    const struct forest_options *o;
    const atomic_bool *cancel;
    double *origin;            /* (columns) */
    struct forest_tree *trees; /* (n_estimators) */
    struct scratch *scratch;   /* one a thread */
    uint32_t samples, features, limit;
    atomic_bool failed;
};

struct range { /* rows of a node yet to be grown */
    uint32_t first, last;
    uint32_t depth, constants; /* the first so many of `order` are constant within it */
    uint32_t *link;            /* where its number goes: the parent's left or right */
};

/* What one thread grows trees in. */
struct scratch {
    struct random random;
    uint32_t *drawn;    /* (samples) rows of the matrix */
    uint32_t *table;    /* (slots) the drawn ones plus 1, hashed; 0 is free */
    uint32_t slots;     /* a power of two */
    uint32_t *order;    /* (columns) a permutation; the tree uses the first `features` of them */
    float *x;           /* (samples, columns) or NULL: too many */
    uint32_t *at;       /* (samples) indices into drawn, by node */
    uint32_t *other;    /* (samples) */
    double *z;          /* (samples) what is cut along two columns, of each row of the node */
    float *value;       /* (samples) of the column that was looked at last */
    uint8_t *right;     /* (samples) 1 for rows of the node that go right */
    struct range *todo; /* (limit + 2) */
    struct forest_sprout *nodes; /* (2 * samples - 1) */
    uint32_t n;
};

static void scratch_free(struct scratch *s)
{
    free(s->drawn);
    free(s->table);
    free(s->order);
    free(s->x);
    free(s->at);
    free(s->other);
    free(s->z);
    free(s->value);
    free(s->right);
    free(s->todo);
    free(s->nodes);
}

static int scratch_init(struct scratch *s, const struct job *j)
{
    size_t n = j->samples, columns = j->m->columns;
    for (s->slots = 4; s->slots < 2 * n; s->slots *= 2) continue;
    bool gathers = columns <= GATHER / n;
    s->drawn = malloc(n * sizeof *s->drawn);
    s->table = malloc(s->slots * sizeof *s->table);
    s->order = malloc(columns * sizeof *s->order);
    s->x = gathers ? malloc(n * columns * sizeof *s->x) : NULL;
    s->at = malloc(n * sizeof *s->at);
    s->other = malloc(n * sizeof *s->other);
    s->z = malloc(n * sizeof *s->z);
    s->value = malloc(n * sizeof *s->value);
    s->right = malloc(n);
    s->todo = malloc((j->limit + 2) * sizeof *s->todo);
    s->nodes = malloc((2 * n - 1) * sizeof *s->nodes);
    bool all = s->drawn != NULL && s->table != NULL && s->order != NULL && s->at != NULL &&
               s->other != NULL && s->z != NULL && s->value != NULL && s->right != NULL &&
               s->todo != NULL && s->nodes != NULL && (s->x != NULL || !gathers);
    return all ? 0 : -ENOMEM;
}

/* -- drawing -- */

static bool add_to_table(struct scratch *s, uint32_t row) /* false where it is in there */
{
    uint32_t i = (row * 2654435761u) & (s->slots - 1);
    for (; s->table[i] != 0; i = (i + 1) & (s->slots - 1))
        if (s->table[i] == row + 1) return false;
    s->table[i] = row + 1;
    return true;
}

/* Floyd's way: k of n without another, in k steps. */
static void draw_rows(struct scratch *s, uint32_t n, uint32_t k, bool with_replacement)
{
    if (with_replacement || k == n) {
        for (uint32_t i = 0; i < k; i++)
            s->drawn[i] = with_replacement ? random_below(&s->random, n) : i;
        return;
    }
    memset(s->table, 0, s->slots * sizeof *s->table);
    for (uint32_t i = 0, last = n - k; last < n; i++, last++) {
        uint32_t row = random_below(&s->random, last + 1);
        if (!add_to_table(s, row)) {
            row = last;
            add_to_table(s, row);
        }
        s->drawn[i] = row;
    }
}

/* The drawn rows as they are compared. They lie anywhere, so the next ones are asked for early. */
static void gather(const struct job *j, struct scratch *s)
{
    size_t columns = j->m->columns;
    for (uint32_t i = 0; i < j->samples; i++) {
        if (i + AHEAD < j->samples) {
            const double *ahead = matrix_row(j->m, s->drawn[i + AHEAD]);
            for (size_t c = 0; c < columns; c += 8) __builtin_prefetch(ahead + c);
        }
        const double *row = matrix_row(j->m, s->drawn[i]);
        forest_floats(row, j->origin, columns, j->o->ndim == 2, s->x + i * columns);
    }
}

static float value_of(const struct job *j, const struct scratch *s, uint32_t i, uint32_t column)
{
    if (s->x != NULL) return s->x[i * j->m->columns + column];
    float x = (float)(matrix_get(j->m, s->drawn[i], column) - j->origin[column]);
    return j->o->ndim == 2 ? forest_finite(x) : x;
}

/* Chooses which columns the tree looks at: the first of `order`. */
static void draw_features(const struct job *j, struct scratch *s)
{
    uint32_t n = (uint32_t)j->m->columns;
    for (uint32_t i = 0; i < n; i++) s->order[i] = i;
    for (uint32_t i = 0; j->features < n && i < j->features; i++) {
        uint32_t k = i + random_below(&s->random, n - i), swap = s->order[k];
        s->order[k] = s->order[i];
        s->order[i] = swap;
    }
}

/* -- cutting -- */

/* A column of the node's rows: its values, their range, and how many are missing. False where all
 * that are there are equal. */
static bool look(const struct job *j, struct scratch *s, const struct range *r, uint32_t column,
                 float range[2], uint32_t *missing)
{
    float low = INFINITY, high = -INFINITY;
    uint32_t n = r->last - r->first, none = 0;
    for (uint32_t i = 0; i < n; i++) {
        float v = value_of(j, s, s->at[r->first + i], column);
        s->value[i] = v;
        low = v < low ? v : low;
        high = v > high ? v : high;
        none += v != v;
    }
    range[0] = low;
    range[1] = high;
    *missing = none;
    return high > low;
}

/* The largest float that is not above x. */
static float round_down(double x)
{
    float f = (float)x;
    return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

/* Draws one of the columns that are not known to be constant, until one has something to cut. */
static bool draw_column(const struct job *j, struct scratch *s, struct range *r, float range[2],
                        uint32_t *missing)
{
    while (r->constants < j->features) {
        uint32_t k = r->constants + random_below(&s->random, j->features - r->constants),
                 column = s->order[k];
        s->order[k] = s->order[r->constants];
        s->order[r->constants] = column;
        if (look(j, s, r, column, range, missing)) return true;
        r->constants++;
    }
    return false;
}

/* Splits the node's rows: those that go right to the back. Returns how many are in front. */
static uint32_t partition(struct scratch *s, const struct range *r)
{
    uint32_t n = r->last - r->first, left = 0, right = 0, *at = s->at + r->first, *other = s->other;
    const uint8_t *is_right = s->right;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = at[i];
        at[left] = row;
        other[right] = row;
        right += is_right[i];
        left = i + 1 - right;
    }
    memcpy(at + left, other, right * sizeof *at);
    return left;
}

/* Sends the rows whose value is missing to either side, by the shares of the others. */
static void draw_sides(struct scratch *s, uint32_t n, uint32_t missing)
{
    uint32_t right = 0;
    for (uint32_t i = 0; i < n; i++) right += s->right[i];
    double share = (double)right / (n - missing);
    for (uint32_t i = 0; i < n; i++)
        if (isnan(s->value[i])) s->right[i] = random_unit(&s->random) < share;
}

static bool cut_one(const struct job *j, struct scratch *s, struct range *r,
                    struct forest_sprout *node, uint32_t *left)
{
    float range[2];
    uint32_t missing, n = r->last - r->first;
    if (!draw_column(j, s, r, range, &missing)) return false;
    /* Infinite values are beyond whatever is drawn. */
    double low = forest_finite(range[0]), high = forest_finite(range[1]),
           t = low + random_unit(&s->random) * (high - low);
    node->feature = s->order[r->constants];
    float cut = t < high ? round_down(t) : (float)low;
    if (cut >= range[1]) cut = range[0];
    for (uint32_t i = 0; i < n; i++) s->right[i] = s->value[i] > cut;
    if (missing > 0) draw_sides(s, n, missing);
    node->t = cut;
    *left = partition(s, r);
    return true;
}

/* The spread of the values that look() has left, for columns of different units to weigh the same.
 */
static double deviation(const struct scratch *s, uint32_t n)
{
    double mean = 0, m2 = 0, k = 0;
    for (uint32_t i = 0; i < n; i++) {
        double v = s->value[i];
        if (v != v) continue;
        double d = v - mean;
        k++;
        mean += d / k;
        m2 += d * (v - mean);
    }
    return sqrt(m2 / k);
}

/* A normal weight in units of the column. */
static float draw_weight(struct scratch *s, uint32_t n)
{
    double w = random_normal(&s->random) / deviation(s, n);
    return forest_finite((float)w); /* however small the deviation */
}

/* Two columns with normal weights. With one column left to cut it is a cut along that. */
static bool cut_two(const struct job *j, struct scratch *s, struct range *r,
                    struct forest_sprout *node, uint32_t *left)
{
    float range[2];
    uint32_t missing, n = r->last - r->first, constants;
    if (!draw_column(j, s, r, range, &missing)) return false;
    constants = r->constants;
    node->feature = node->second = s->order[constants];
    node->w[0] = draw_weight(s, n);
    for (uint32_t i = 0; i < n; i++) s->z[i] = (double)node->w[0] * (double)s->value[i];
    r->constants++;
    if (draw_column(j, s, r, range, &missing)) {
        node->second = s->order[r->constants];
        node->w[1] = draw_weight(s, n);
        for (uint32_t i = 0; i < n; i++) s->z[i] += (double)node->w[1] * (double)s->value[i];
    }
    /* The columns found constant meanwhile stand behind the first, which is not constant. */
    uint32_t swap = s->order[constants];
    s->order[constants] = s->order[r->constants - 1];
    s->order[--r->constants] = swap;
    double low = INFINITY, high = -INFINITY;
    missing = 0;
    for (uint32_t i = 0; i < n; i++) {
        double z = s->z[i];
        low = z < low ? z : low;
        high = z > high ? z : high;
        missing += z != z;
        s->value[i] = z != z ? NAN : 0;
    }
    if (!(high > low)) return false;
    double t = low + random_unit(&s->random) * (high - low);
    node->t2 = t < high ? t : low;
    for (uint32_t i = 0; i < n; i++) s->right[i] = s->z[i] > node->t2;
    if (missing > 0) draw_sides(s, n, missing);
    *left = partition(s, r);
    return true;
}

static void grow(const struct job *j, struct scratch *s)
{
    uint32_t depth = 0, root;
    for (uint32_t i = 0; i < j->samples; i++) s->at[i] = i;
    s->n = 0;
    s->todo[depth++] = (struct range){0, j->samples, 0, 0, &root};
    while (depth > 0) {
        struct range r = s->todo[--depth];
        struct forest_sprout *node = &s->nodes[s->n];
        uint32_t left = 0, n = r.last - r.first;
        *r.link = s->n++;
        *node = (struct forest_sprout){.rows = n};
        if (n < 2 || r.depth == j->limit) continue;
        bool cut =
            j->o->ndim == 2 ? cut_two(j, s, &r, node, &left) : cut_one(j, s, &r, node, &left);
        if (!cut) continue;
        uint32_t middle = r.first + left;
        s->todo[depth++] = (struct range){middle, r.last, r.depth + 1, r.constants, &node->right};
        s->todo[depth++] = (struct range){r.first, middle, r.depth + 1, r.constants, &node->left};
    }
}

/* -- all of them -- */

static void grow_trees(void *ud, size_t first, size_t last, unsigned worker)
{
    struct job *j = ud;
    struct scratch *s = &j->scratch[worker];
    for (size_t t = first; t < last; t++) {
        bool stop = j->cancel != NULL && atomic_load_explicit(j->cancel, memory_order_relaxed);
        if (stop || atomic_load_explicit(&j->failed, memory_order_relaxed)) return;
        random_seed(&s->random, j->o->seed, t);
        draw_rows(s, (uint32_t)j->m->rows, j->samples, j->o->bootstrap);
        draw_features(j, s);
        if (s->x != NULL) gather(j, s);
        grow(j, s);
        size_t size = s->n * sizeof *s->nodes;
        if ((j->trees[t].nodes = malloc(size)) == NULL) {
            atomic_store(&j->failed, true);
            return;
        }
        memcpy(j->trees[t].nodes, s->nodes, size);
        j->trees[t].n = s->n;
    }
}

/* As the head of this file says; from rows that are drawn for this alone. */
static void find_origins(const struct job *j, struct scratch *s)
{
    const struct matrix *m = j->m;
    uint32_t n = m->rows < ORIGIN_SAMPLE ? (uint32_t)m->rows : ORIGIN_SAMPLE;
    uint32_t rows[ORIGIN_SAMPLE];
    random_seed(&s->random, j->o->seed, ORIGIN_STREAM);
    for (uint32_t i = 0; i < n; i++)
        rows[i] = m->rows <= ORIGIN_SAMPLE ? i : random_below(&s->random, (uint32_t)m->rows);
    for (size_t c = 0; c < m->columns; c++) {
        double origin = NAN;
        uint32_t known = 0, close = 0, apart = 0;
        for (uint32_t i = 0; i < n; i++) {
            double x = matrix_get(m, rows[i], c);
            if (!isfinite(x)) continue;
            if (known++ == 0) origin = x;
            double d = fabs(x - origin);
            close += d < 0x1p-11 * fabs(origin);
            apart += d < 0x1p-11 * fabs(origin) && d > 0x1p-40 * fabs(origin);
        }
        j->origin[c] = 2 * close > known && apart > 0 ? origin : 0;
    }
}

static bool has_value(const struct matrix *m)
{
    for (size_t i = 0; i < m->rows * m->columns; i++)
        if (!isnan(m->x[i])) return true;
    return false;
}

static uint32_t depth_limit(uint32_t samples) /* ceil(log2(samples)) */
{
    uint32_t limit = 1;
    while (((uint64_t)1 << limit) < samples) limit++;
    return limit;
}

static uint32_t count_features(const struct matrix *m, const struct forest_options *o)
{
    double n = o->whole_features ? o->max_features : o->max_features * (double)m->columns;
    if (n < 1) return 1;
    return (uint32_t)(n < (double)m->columns ? n : (double)m->columns);
}

static int check(const struct matrix *m, struct err *e)
{
    if (m->columns == 0) return err_set(e, -EINVAL, "there are no columns to fit a forest to");
    if (m->rows < 2)
        return err_set(e, -EINVAL, "a forest needs at least 2 rows to fit; there %s %zu",
                       m->rows == 1 ? "is" : "are", m->rows);
    if (m->rows >= UINT32_MAX || m->columns > INT32_MAX)
        return err_set(e, -EINVAL, "%zu rows of %zu columns are too many", m->rows, m->columns);
    if (!has_value(m)) return err_set(e, -EINVAL, "every value is missing");
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The contamination's quantile of the scores of all rows, by linear interpolation (type 7). */
static int find_offset(struct forest *f, const struct job *j)
{
    size_t n = j->m->rows;
    double *score = malloc(n * sizeof *score);
    size_t *which = malloc(f->features * sizeof *which);
    int rc = score != NULL && which != NULL ? 0 : -ENOMEM;
    for (size_t c = 0; rc == 0 && c < f->features; c++) which[c] = c;
    if (rc == 0) rc = forest_score(f, j->m, which, j->o->threads, j->cancel, score);
    if (rc == 0) {
        qsort(score, n, sizeof *score, compare);
        double at = j->o->contamination * (double)(n - 1);
        size_t i = (size_t)at;
        double above = i + 1 < n ? score[i + 1] : score[i];
        f->offset = score[i] + (at - (double)i) * (above - score[i]);
    }
    free(score);
    free(which);
    return rc;
}

/* All but the offset. */
static int fit(struct forest **out, struct job *j, unsigned threads, struct parallel *team,
               struct err *e)
{
    const struct forest_options *o = j->o;
    j->origin = calloc(j->m->columns, sizeof *j->origin);
    j->trees = calloc(o->n_estimators, sizeof *j->trees);
    j->scratch = calloc(threads, sizeof *j->scratch);
    if (j->origin == NULL || j->trees == NULL || j->scratch == NULL) return -ENOMEM;
    for (unsigned i = 0; i < threads; i++)
        if (scratch_init(&j->scratch[i], j) < 0) return -ENOMEM;
    find_origins(j, &j->scratch[0]);
    parallel_for(team, o->n_estimators, 1, grow_trees, j);
    if (j->cancel != NULL && atomic_load(j->cancel)) return -ECANCELED;
    if (j->failed) return -ENOMEM;
    struct forest head = {.features = j->m->columns,
                          .trees = o->n_estimators,
                          .max_samples = j->samples,
                          .ndim = o->ndim,
                          .contamination = o->contamination,
                          .offset = -0.5};
    struct forest *f;
    int rc = forest_assemble(&f, &head, j->trees, e);
    if (rc < 0) return rc;
    memcpy(f->origin, j->origin, f->features * sizeof *f->origin);
    rc = forest_copy_names(f, j->m->names);
    if (rc == 0 && !isnan(o->contamination)) rc = find_offset(f, j);
    if (rc < 0)
        forest_free(f);
    else
        *out = f;
    return rc;
}

int forest_fit(struct forest **out, const struct matrix *m, const struct forest_options *o,
               const atomic_bool *cancel, struct err *e)
{
    assert(o->n_estimators > 0 && o->max_samples > 0 && o->max_features > 0);
    assert((o->ndim == 1 || o->ndim == 2) && !(o->contamination > 0.5) && !(o->contamination <= 0));
    int rc = check(m, e);
    if (rc < 0) return rc;
    struct job j = {.m = m, .o = o, .cancel = cancel, .features = count_features(m, o)};
    j.samples = (uint32_t)(o->max_samples < m->rows ? o->max_samples : m->rows);
    if (j.samples < 2) return err_set(e, -EINVAL, "a tree needs at least 2 rows; max_samples is 1");
    j.limit = depth_limit(j.samples);
    /* A thread costs more to start than a small forest takes to grow. */
    unsigned threads = (double)o->n_estimators * j.samples < 100000 ? 1 : o->threads;
    struct parallel *team = NULL;
    rc = parallel_open(&team, threads);
    if (rc == 0) rc = fit(out, &j, parallel_threads(team), team, e);
    for (unsigned i = 0; team != NULL && j.scratch != NULL && i < parallel_threads(team); i++)
        scratch_free(&j.scratch[i]);
    for (size_t t = 0; j.trees != NULL && t < o->n_estimators; t++) free(j.trees[t].nodes);
    free(j.scratch);
    free(j.trees);
    free(j.origin);
    parallel_close(team);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    return rc;
}
