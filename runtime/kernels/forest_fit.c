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
    LANES = 4,          /* rows that are looked at together */
    FETCHED = 3,        /* rows a node: a tree has half as many nodes that cut as it has rows */
    AHEAD = 64,         /* columns of a row that are fetched before they are wanted, at most */
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
    uint32_t node;
};

/* What a tree is grown from. */
struct draw {
    struct random random;
    const double **rows; /* (samples) */
    uint32_t *order;     /* (columns) a permutation; the tree uses the first `features` of them */
};

/* What one thread grows trees in. (room) is a few more than the samples: rows are looked at LANES
 * at a time, and what is beyond those of the node is not used. */
struct scratch {
    struct draw draw, next; /* of this tree, and of the one to be grown after it */
    uint32_t fetched;       /* rows of the next one that have been asked for */
    uint32_t *table;        /* (slots) the drawn rows plus 1, hashed; 0 is free */
    size_t slots;           /* a power of two */
    const double **at[2];   /* (room) rows by node: those of even depth, those of odd depth */
    float *value;           /* (room) of the column that was looked at last; NaN beyond the last */
    double *z;              /* (room) what is cut along two columns, of each row of the node */
    int32_t *right;         /* (room) -1 for rows of the node that go right, else 0 */
    struct range *todo;     /* (limit + 2) */
    struct forest_sprout *nodes; /* (2 * samples - 1) */
    struct forest_pair *pairs;   /* the same, or NULL */
    uint32_t n;
};

typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t ints __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef double doubles __attribute__((vector_size(LANES * sizeof(double))));

static void scratch_free(struct scratch *s)
{
    free(s->draw.rows);
    free(s->draw.order);
    free(s->next.rows);
    free(s->next.order);
    free(s->table);
    free(s->at[0]);
    free(s->at[1]);
    free(s->value);
    free(s->z);
    free(s->right);
    free(s->todo);
    free(s->nodes);
    free(s->pairs);
}

static bool draw_init(struct draw *d, size_t samples, size_t columns)
{
    d->rows = malloc(samples * sizeof *d->rows);
    d->order = malloc(columns * sizeof *d->order);
    return d->rows != NULL && d->order != NULL;
}

static int scratch_init(struct scratch *s, const struct job *j)
{
    size_t n = j->samples, columns = j->m->columns, room = n + LANES;
    for (s->slots = 16; s->slots < 4 * n; s->slots *= 2) continue;
    bool all = draw_init(&s->draw, n, columns) && draw_init(&s->next, n, columns);
    s->table = malloc(s->slots * sizeof *s->table);
    s->at[0] = malloc(room * sizeof *s->at[0]);
    s->at[1] = malloc(room * sizeof *s->at[1]);
    s->value = malloc(room * sizeof *s->value);
    s->right = malloc(room * sizeof *s->right);
    s->todo = malloc((j->limit + 2) * sizeof *s->todo);
    s->nodes = malloc((2 * n - 1) * sizeof *s->nodes);
    all = all && s->table != NULL && s->at[0] != NULL && s->at[1] != NULL && s->value != NULL &&
          s->right != NULL && s->todo != NULL && s->nodes != NULL;
    if (!all) return -ENOMEM;
    for (size_t i = 0; i < room; i++) s->at[0][i] = s->at[1][i] = j->m->x; /* readable, at least */
    if (j->o->ndim == 1) return 0;
    s->z = malloc(room * sizeof *s->z);
    s->pairs = malloc((2 * n - 1) * sizeof *s->pairs);
    return s->z != NULL && s->pairs != NULL ? 0 : -ENOMEM;
}

/* -- drawing -- */

static bool add_to_table(struct scratch *s, uint32_t row) /* false where it is in there */
{
    size_t i = (row * 2654435761u) & (s->slots - 1);
    for (; s->table[i] != 0; i = (i + 1) & (s->slots - 1))
        if (s->table[i] == row + 1) return false;
    s->table[i] = row + 1;
    return true;
}

/* Floyd's way: k of n without another, in k steps. */
static void draw_rows(const struct job *j, struct scratch *s, struct draw *d)
{
    struct random random = d->random; /* a copy, to stay in registers */
    uint32_t n = (uint32_t)j->m->rows, k = j->samples;
    bool any = j->o->bootstrap, all = !any && k == n;
    if (!any && !all) memset(s->table, 0, s->slots * sizeof *s->table);
    for (uint32_t i = 0, last = n - k; i < k; i++, last++) {
        uint32_t row = all ? i : random_below(&random, any ? n : last + 1);
        if (!any && !all && !add_to_table(s, row)) {
            row = last;
            add_to_table(s, row);
        }
        d->rows[i] = matrix_row(j->m, row);
    }
    d->random = random;
}

/* Chooses which columns the tree looks at: the first of `order`. */
static void draw_features(const struct job *j, struct draw *d)
{
    uint32_t n = (uint32_t)j->m->columns;
    for (uint32_t i = 0; i < n; i++) d->order[i] = i;
    for (uint32_t i = 0; j->features < n && i < j->features; i++) {
        uint32_t k = i + random_below(&d->random, n - i), swap = d->order[k];
        d->order[k] = d->order[i];
        d->order[i] = swap;
    }
}

static void draw_tree(const struct job *j, struct scratch *s, struct draw *d, size_t tree)
{
    random_seed(&d->random, j->o->seed, tree);
    draw_rows(j, s, d);
    draw_features(j, d);
}

/* The drawn rows lie anywhere. Those of the next tree are asked for while this one grows, a few
 * after each node, so that they come while there is other work. */
static void fetch_next(const struct job *j, struct scratch *s)
{
    size_t columns = j->m->columns < AHEAD ? j->m->columns : AHEAD;
    for (int i = 0; i < FETCHED && s->fetched < j->samples; i++) {
        const double *row = s->next.rows[s->fetched++];
        for (size_t c = 0; c < columns; c += 8) __builtin_prefetch(row + c);
        __builtin_prefetch(row + columns - 1);
    }
}

/* -- cutting -- */

static const double **rows_of(const struct scratch *s, const struct range *r)
{
    return s->at[r->depth & 1] + r->first;
}

static floats all_finite(floats x)
{
    for (int i = 0; i < LANES; i++) x[i] = forest_finite(x[i]);
    return x;
}

/* A column of the node's rows: its values, their range, and how many are missing. False where all
 * that are there are equal. */
static bool look(const struct job *j, struct scratch *s, const struct range *r, uint32_t column,
                 float range[2], uint32_t *missing)
{
    const double **row = rows_of(s, r), origin = j->origin[column];
    floats low = INFINITY - (floats){0}, high = -low;
    ints none = {0}, place = {0, 1, 2, 3};
    uint32_t n = r->last - r->first, i = 0;
    for (; i < n; i += LANES) {
        doubles x = {row[i][column], row[i + 1][column], row[i + 2][column], row[i + 3][column]};
        floats v = __builtin_convertvector(x - origin, floats);
        if (s->z != NULL) v = all_finite(v);
        /* What is beyond the last is missing, too: all bits set are NaN. */
        v = (floats)((ints)v | (place >= (int32_t)(n - i < LANES ? n - i : LANES)));
        memcpy(s->value + i, &v, sizeof v);
        ints below = v < low;
        ints above = v > high;
        low = (floats)((below & (ints)v) | (~below & (ints)low));
        high = (floats)((above & (ints)v) | (~above & (ints)high));
        none -= (ints)(v != v);
    }
    for (int k = 1; k < LANES; k++) {
        low[0] = low[k] < low[0] ? low[k] : low[0];
        high[0] = high[k] > high[0] ? high[k] : high[0];
    }
    range[0] = low[0];
    range[1] = high[0];
    *missing = (uint32_t)(none[0] + none[1] + none[2] + none[3]) - (i - n);
    return high[0] > low[0];
}

/* The largest float that is not above x, which is within their range. */
static float round_down(double x)
{
    float f = (float)x;
    int32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits += ((double)f > x) * (bits < 0 ? 1 : -1); /* the next one, without a branch */
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Draws one of the columns that are not known to be constant, until one has something to cut. */
static bool draw_column(const struct job *j, struct scratch *s, struct range *r, float range[2],
                        uint32_t *missing)
{
    uint32_t *order = s->draw.order;
    while (r->constants < j->features) {
        uint32_t k = r->constants + random_below(&s->draw.random, j->features - r->constants),
                 column = order[k];
        order[k] = order[r->constants];
        order[r->constants] = column;
        if (look(j, s, r, column, range, missing)) return true;
        r->constants++;
    }
    return false;
}

/* Sends the rows whose value is missing to either side, by the shares of the others. Returns how
 * many go right now. */
static uint32_t draw_sides(struct scratch *s, uint32_t n, uint32_t missing, uint32_t right)
{
    double share = (double)right / (n - missing);
    for (uint32_t i = 0; i < n; i++) {
        if (!isnan(s->value[i])) continue;
        s->right[i] = -(random_unit(&s->draw.random) < share);
        right -= (uint32_t)s->right[i];
    }
    return right;
}

static bool cut_one(const struct job *j, struct scratch *s, struct range *r,
                    struct forest_sprout *node, uint32_t *right)
{
    float range[2];
    uint32_t missing, n = r->last - r->first;
    if (!draw_column(j, s, r, range, &missing)) return false;
    /* Infinite values are beyond whatever is drawn. */
    double low = forest_finite(range[0]), high = forest_finite(range[1]),
           t = low + random_unit(&s->draw.random) * (high - low);
    float cut = t < high ? round_down(t) : (float)low;
    if (cut >= range[1]) cut = range[0];
    node->feature = s->draw.order[r->constants];
    node->t = cut;
    ints count = {0};
    for (uint32_t i = 0; i < n; i += LANES) {
        floats v;
        memcpy(&v, s->value + i, sizeof v);
        ints above = v > cut;
        memcpy(s->right + i, &above, sizeof above);
        count -= above;
    }
    *right = (uint32_t)(count[0] + count[1] + count[2] + count[3]);
    if (missing > 0) *right = draw_sides(s, n, missing, *right);
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
    double w = random_normal(&s->draw.random) / deviation(s, n);
    return forest_finite((float)w); /* however small the deviation */
}

/* Of what two columns come to: the range, and how many are missing; these are NaN in s->value. */
static bool look_at_sums(struct scratch *s, uint32_t n, double range[2], uint32_t *missing)
{
    double low = INFINITY, high = -INFINITY;
    *missing = 0;
    for (uint32_t i = 0; i < n; i++) {
        double z = s->z[i];
        low = z < low ? z : low;
        high = z > high ? z : high;
        *missing += z != z;
        s->value[i] = z != z ? NAN : 0;
    }
    range[0] = low;
    range[1] = high;
    return high > low;
}

/* Two columns with normal weights. With one column left to cut it is a cut along that. */
static bool cut_two(const struct job *j, struct scratch *s, struct range *r,
                    struct forest_sprout *node, struct forest_pair *pair, uint32_t *right)
{
    float range[2];
    double sums[2];
    uint32_t missing, n = r->last - r->first, constants, *order = s->draw.order;
    if (!draw_column(j, s, r, range, &missing)) return false;
    constants = r->constants;
    *pair = (struct forest_pair){.w = {draw_weight(s, n), 0}, .second = order[constants]};
    for (uint32_t i = 0; i < n; i++) s->z[i] = (double)pair->w[0] * (double)s->value[i];
    r->constants++;
    if (draw_column(j, s, r, range, &missing)) {
        pair->second = order[r->constants];
        pair->w[1] = draw_weight(s, n);
        for (uint32_t i = 0; i < n; i++) s->z[i] += (double)pair->w[1] * (double)s->value[i];
    }
    /* The columns found constant meanwhile stand behind the first, which is not constant. */
    uint32_t first = order[constants];
    order[constants] = order[r->constants - 1];
    order[--r->constants] = first;
    if (!look_at_sums(s, n, sums, &missing)) return false;
    double t = sums[0] + random_unit(&s->draw.random) * (sums[1] - sums[0]);
    node->feature = first;
    node->t = 0; /* the cut is the pair's */
    pair->t = t < sums[1] ? t : sums[0];
    *right = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->right[i] = -(s->z[i] > pair->t);
        *right -= (uint32_t)s->right[i];
    }
    if (missing > 0) *right = draw_sides(s, n, missing, *right);
    return true;
}

/* Splits the node's rows for its children: those that go right to the back. */
static void partition(struct scratch *s, const struct range *r, uint32_t right)
{
    uint32_t n = r->last - r->first, left = n - right, lefts = 0;
    const double **from = rows_of(s, r), **to = s->at[~r->depth & 1] + r->first;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t is_right = (uint32_t)s->right[i], if_right = left + i - lefts;
        to[lefts ^ ((lefts ^ if_right) & is_right)] = from[i];
        lefts += 1 + is_right;
    }
}

/* Where the tree goes on, or a leaf. */
static uint32_t add_node(const struct job *j, struct scratch *s, uint32_t *depth, struct range r)
{
    uint32_t n = r.last - r.first;
    s->nodes[s->n] = (struct forest_sprout){.rows = n, .t = INFINITY};
    r.node = s->n++;
    if (n >= 2 && r.depth < j->limit) s->todo[(*depth)++] = r;
    return r.node;
}

static void grow(const struct job *j, struct scratch *s)
{
    uint32_t depth = 0;
    memcpy(s->at[0], s->draw.rows, j->samples * sizeof *s->at[0]);
    s->n = 0;
    add_node(j, s, &depth, (struct range){0, j->samples, 0, 0, 0});
    while (depth > 0) {
        struct range r = s->todo[--depth];
        struct forest_sprout *node = &s->nodes[r.node];
        uint32_t right = 0;
        bool cut = s->pairs == NULL ? cut_one(j, s, &r, node, &right)
                                    : cut_two(j, s, &r, node, &s->pairs[r.node], &right);
        fetch_next(j, s);
        if (!cut) continue;
        uint32_t middle = r.last - right;
        struct range a = {r.first, middle, r.depth + 1, r.constants, 0},
                     b = {middle, r.last, r.depth + 1, r.constants, 0};
        if (r.last - r.first > 2 && r.depth + 1 < j->limit) partition(s, &r, right);
        node->right = add_node(j, s, &depth, b); /* the left one is the first to go on with */
        node->left = add_node(j, s, &depth, a);
    }
}

/* -- all of them -- */

static bool keep_tree(struct forest_tree *tree, const struct scratch *s)
{
    size_t size = s->n * sizeof *s->nodes, more = s->n * sizeof *s->pairs;
    tree->nodes = malloc(size);
    if (s->pairs != NULL) tree->pairs = malloc(more);
    if (tree->nodes == NULL || (s->pairs != NULL && tree->pairs == NULL)) return false;
    memcpy(tree->nodes, s->nodes, size);
    if (s->pairs != NULL) memcpy(tree->pairs, s->pairs, more);
    tree->n = s->n;
    return true;
}

static void grow_trees(void *ud, size_t first, size_t last, unsigned worker)
{
    struct job *j = ud;
    struct scratch *s = &j->scratch[worker];
    for (size_t t = first; t < last; t++) {
        bool stop = j->cancel != NULL && atomic_load_explicit(j->cancel, memory_order_relaxed);
        if (stop || atomic_load_explicit(&j->failed, memory_order_relaxed)) return;
        if (t == first) draw_tree(j, s, &s->next, t);
        struct draw swap = s->draw;
        s->draw = s->next;
        s->next = swap;
        s->fetched = j->samples; /* nothing is, after the last */
        if (t + 1 < last) {
            draw_tree(j, s, &s->next, t + 1);
            s->fetched = 0;
        }
        grow(j, s);
        if (!keep_tree(&j->trees[t], s)) {
            atomic_store(&j->failed, true);
            return;
        }
    }
}

/* As the head of this file says; from rows that are drawn for this alone. */
static void find_origins(const struct job *j, struct scratch *s)
{
    const struct matrix *m = j->m;
    uint32_t n = m->rows < ORIGIN_SAMPLE ? (uint32_t)m->rows : ORIGIN_SAMPLE;
    uint32_t rows[ORIGIN_SAMPLE];
    random_seed(&s->draw.random, j->o->seed, ORIGIN_STREAM);
    for (uint32_t i = 0; i < n; i++)
        rows[i] = m->rows <= ORIGIN_SAMPLE ? i : random_below(&s->draw.random, (uint32_t)m->rows);
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
    size_t piece = o->n_estimators / (8 * (size_t)threads) + 1;
    parallel_for(team, o->n_estimators, threads == 1 ? o->n_estimators : piece, grow_trees, j);
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
    for (size_t t = 0; j.trees != NULL && t < o->n_estimators; t++) forest_tree_free(&j.trees[t]);
    free(j.scratch);
    free(j.trees);
    free(j.origin);
    parallel_close(team);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    return rc;
}
