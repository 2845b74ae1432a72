/* scikit-learn's own search (its GradientBoostingClassifier with the criterion friedman_mse): every
 * value of every feature, as float, is a place to split at. Where several splits are equally good
 * scikit-learn's choice depends on its random_state; here it is the first feature's, and there the
 * lowest. */
#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "kernels/boost_parts.h"

static const float SAME = 1e-7f;            /* values no further apart are one */
static const double NO_WIDTH = DBL_EPSILON; /* variance of a node that is a leaf */
static const double NO_DIVISOR = 1e-150;
enum { STREAM_SEEN = 1 << 20, STREAM_DRAWN = 1 << 21, ROWS_WORTH_THREADS = 1 << 12 };

struct candidate {
    double proxy; /* -INFINITY: there is none */
    double threshold;
};

struct exact_node {
    size_t left, right; /* 0 in a leaf */
    size_t feature;
    double threshold, value, cover, gain;
};

struct exact {
    const struct boost_options *o;
    const struct matrix *X;
    const double *y;
    size_t n, columns; /* rows trained on, the first */
    float *x;          /* (columns, n) */
    uint32_t *sorted;  /* (columns, n) rows by value, once for all */
    uint32_t *order;   /* (columns, n) the same of the tree's rows, those of a node together */
    uint32_t *aside;   /* (threads, n) */
    unsigned char *seen, *goes_left; /* (n) */
    double *raw;                     /* (X->rows) margins */
    double *residual, *slope;        /* (n) y - p, p(1 - p) */
    double *weight;                  /* (n) */
    double weights[2];
    struct exact_node *nodes;
    size_t n_nodes, capacity;
    struct candidate *best; /* (columns) */
    bool *features;         /* (columns) of the tree */
    size_t *draw;           /* (columns) */
    struct parallel *team;
    /* of the node that is searched */
    size_t start, end;
    size_t feature;            /* that splits it */
    double sum, total, slopes; /* of weighted residuals, of weights, of second derivatives */
};

/* -- the best split of a node -- */

/* What lies left of a place that moves to the right. */
struct left {
    size_t at;
    double sum, weight, slope; /* of weighted residuals, of weights, of second derivatives */
};

/* To the place `to`, from whichever side is nearer: so scikit-learn adds up, and where splits are
 * equally good it is rounding that decides. */
static void move_to(const struct exact *t, const uint32_t *order, struct left *l, size_t to)
{
    bool from_end = to - l->at > t->end - to;
    double sign = from_end ? -1 : 1;
    if (from_end) *l = (struct left){t->end, t->sum, t->total, t->slopes};
    while (l->at != to) {
        uint32_t i = from_end ? order[--l->at] : order[l->at++];
        l->sum += sign * t->weight[i] * t->residual[i];
        l->weight += sign * t->weight[i];
        l->slope += sign * t->slope[i];
    }
}

static void search_feature(struct exact *t, size_t j)
{
    struct candidate *best = &t->best[j];
    const uint32_t *order = t->order + j * t->n;
    const float *x = t->x + j * t->n;
    struct left left = {t->start, 0, 0, 0};
    size_t least = t->o->min_samples_leaf;
    double least_slope = t->o->min_child_weight;
    *best = (struct candidate){-INFINITY, 0};
    if (x[order[t->end - 1]] <= x[order[t->start]] + SAME) return;
    for (size_t p = t->start + 1; p < t->end; p++) {
        float here = x[order[p - 1]], next = x[order[p]];
        if (next <= here + SAME || p - t->start < least || t->end - p < least) continue;
        move_to(t, order, &left, p);
        if (least_slope > 0 && (left.slope < least_slope || t->slopes - left.slope < least_slope))
            continue;
        double right = t->sum - left.sum, w_right = t->total - left.weight;
        double difference = w_right * left.sum - left.weight * right;
        double proxy = difference * difference / (left.weight * w_right);
        if (!(proxy > best->proxy)) continue;
        best->proxy = proxy;
        best->threshold = (double)here / 2 + (double)next / 2;
        if (best->threshold == (double)next) best->threshold = (double)here;
    }
}

static void search(void *ud, size_t first, size_t last, unsigned worker)
{
    struct exact *t = ud;
    (void)worker;
    for (size_t j = first; j < last; j++) {
        if (t->features[j])
            search_feature(t, j);
        else
            t->best[j] = (struct candidate){-INFINITY, 0};
    }
}

static void divide_orders(void *ud, size_t first, size_t last, unsigned worker)
{
    struct exact *t = ud;
    uint32_t *aside = t->aside + worker * t->n;
    for (size_t j = first; j < last; j++) {
        uint32_t *order = t->order + j * t->n;
        size_t l = t->start, r = 0;
        for (size_t p = t->start; p < t->end; p++) {
            uint32_t i = order[p];
            order[l] = aside[r] = i;
            l += t->goes_left[i];
            r += 1 - (size_t)t->goes_left[i];
        }
        memcpy(order + l, aside, r * sizeof *order);
    }
}

/* -- a tree -- */

/* Weighted sums over the rows [start, end) of the first feature's order. */
static void sum_up(const struct exact *t, size_t start, size_t end, double *total, double *sum,
                   double *variance)
{
    double squares = 0;
    *total = *sum = 0;
    for (size_t p = start; p < end; p++) {
        uint32_t i = t->order[p];
        double wy = t->weight[i] * t->residual[i];
        *total += t->weight[i];
        *sum += wy;
        squares += wy * t->residual[i];
    }
    *variance = squares / *total - (*sum / *total) * (*sum / *total);
}

static int new_node(struct exact *t, size_t *at)
{
    if (t->n_nodes == t->capacity) {
        size_t capacity = t->capacity > 0 ? 2 * t->capacity : 64;
        void *nodes = realloc(t->nodes, capacity * sizeof *t->nodes);
        if (nodes == NULL) return -ENOMEM;
        t->nodes = nodes;
        t->capacity = capacity;
    }
    *at = t->n_nodes++;
    t->nodes[*at] = (struct exact_node){0};
    return 0;
}

static void make_leaf(struct exact *t, size_t at, size_t start, size_t end)
{
    double above = 0, below = t->o->l2;
    for (size_t p = start; p < end; p++) {
        uint32_t i = t->order[p];
        double r = t->residual[i], y = t->y[i];
        above += t->weight[i] * r;
        below += t->weight[i] * (y - r) * (1 - y + r);
    }
    t->nodes[at].value = fabs(below) < NO_DIVISOR ? 0 : t->o->learning_rate * (above / below);
}

/* Sets goes_left of the node's rows, and tells how many do. */
static size_t mark(struct exact *t, size_t feature, double threshold)
{
    size_t n = 0;
    for (size_t p = t->start; p < t->end; p++) {
        uint32_t i = t->order[p];
        t->goes_left[i] = (double)t->x[feature * t->n + i] <= threshold;
        n += t->goes_left[i];
    }
    return n;
}

static const struct candidate *first_best(const struct exact *t, size_t *feature)
{
    const struct candidate *best = NULL;
    for (size_t j = 0; j < t->columns; j++) {
        if (!(t->best[j].proxy > (best != NULL ? best->proxy : -INFINITY))) continue;
        best = &t->best[j];
        *feature = j;
    }
    return best;
}

/* The node `at` of the rows [start, end), which weigh `root` in the whole tree. */
static int grow_below(struct exact *t, size_t at, size_t start, size_t end, unsigned depth,
                      double root)
{
    double total, sum, variance, w[2], s[2], v[2];
    size_t n = end - start, least = t->o->min_samples_leaf, feature = 0, l, r;
    sum_up(t, start, end, &total, &sum, &variance);
    t->nodes[at].cover = total;
    t->start = start;
    t->end = end;
    t->sum = sum;
    t->total = total;
    t->slopes = 0;
    for (size_t p = start; p < end; p++) t->slopes += t->slope[t->order[p]];
    const struct candidate *best = NULL;
    if (depth < t->o->max_depth && n >= 2 && n >= 2 * least && variance > NO_WIDTH) {
        parallel_for(t->team, t->columns, n < ROWS_WORTH_THREADS ? t->columns : 1, search, t);
        best = first_best(t, &feature);
    }
    if (best == NULL) {
        make_leaf(t, at, start, end);
        return 0;
    }
    t->nodes[at].feature = feature;
    t->nodes[at].threshold = best->threshold;
    size_t middle = start + mark(t, feature, best->threshold);
    parallel_for(t->team, t->columns, n < ROWS_WORTH_THREADS ? t->columns : 1, divide_orders, t);
    sum_up(t, start, middle, &w[0], &s[0], &v[0]);
    sum_up(t, middle, end, &w[1], &s[1], &v[1]);
    double gain = (total * variance - w[0] * v[0] - w[1] * v[1]) / root;
    t->nodes[at].gain = gain > 0 ? gain : 0;
    int rc = new_node(t, &l);
    if (rc == 0) t->nodes[at].left = l;
    if (rc == 0) rc = grow_below(t, l, start, middle, depth + 1, root);
    if (rc == 0) rc = new_node(t, &r);
    if (rc == 0) t->nodes[at].right = r;
    return rc == 0 ? grow_below(t, r, middle, end, depth + 1, root) : rc;
}

/* Which rows and which features the tree sees. Tells how many rows. */
static size_t draw(struct exact *t, uint64_t number)
{
    struct random chance;
    size_t n = (size_t)(t->o->subsample * (double)t->n), left = n > 0 ? n : 1, d = t->columns;
    size_t seen = left, features = (size_t)ceil(t->o->colsample * (double)d - 1e-9);
    random_seed(&chance, t->o->seed, STREAM_SEEN + number);
    for (size_t i = 0; i < t->n; i++) {
        t->seen[i] = left == t->n - i || random_below(&chance, (uint32_t)(t->n - i)) < left;
        left -= t->seen[i];
    }
    random_seed(&chance, t->o->seed, STREAM_DRAWN + number);
    for (size_t j = 0; j < d; j++) t->draw[j] = j;
    memset(t->features, 0, d * sizeof *t->features);
    for (size_t k = 0; k < features && k < d; k++) {
        size_t other = k + random_below(&chance, (uint32_t)(d - k));
        t->features[t->draw[other]] = true;
        t->draw[other] = t->draw[k];
    }
    for (size_t j = 0; j < d; j++)
        for (size_t p = 0, at = 0; p < t->n; p++) {
            uint32_t i = t->sorted[j * t->n + p];
            if (t->seen[i]) t->order[j * t->n + at++] = i;
        }
    return seen;
}

static int grow_tree(struct exact *t, uint64_t number)
{
    size_t n = draw(t, number), root;
    double total, sum, variance;
    for (size_t i = 0; i < t->n; i++) {
        double p = 1 / (1 + exp(-t->raw[i]));
        t->residual[i] = t->y[i] - p;
        t->slope[i] = t->weight[i] * p * (1 - p);
    }
    t->n_nodes = 0;
    sum_up(t, 0, n, &total, &sum, &variance);
    int rc = new_node(t, &root);
    return rc == 0 ? grow_below(t, root, 0, n, 0, total) : rc;
}

/* -- the whole -- */

static int add_exact(const struct exact *t, struct trees *trees, struct err *e)
{
    int rc = trees_open(trees, 0, e);
    for (size_t k = 0; k < t->n_nodes && rc == 0; k++) {
        const struct exact_node *node = &t->nodes[k];
        bool left_larger = t->nodes[node->left].cover > t->nodes[node->right].cover;
        int64_t at =
            node->left == 0
                ? trees_leaf(trees, node->value, node->cover, e)
                : trees_split(trees, node->feature, trees_within(node->threshold, 0, 1),
                              left_larger ? TREES_MISSING_LEFT : 0, node->gain, node->cover, e);
        if (at < 0) rc = (int)at;
    }
    for (size_t k = 0; k < t->n_nodes && rc == 0; k++)
        if (t->nodes[k].left != 0) trees_children(trees, k, t->nodes[k].left, t->nodes[k].right);
    return rc == 0 ? trees_close(trees, e) : rc;
}

static void add_margins(struct exact *t)
{
    for (size_t i = 0; i < t->X->rows; i++) {
        const struct exact_node *node = t->nodes;
        while (node->left != 0) {
            float x = (float)matrix_get(t->X, i, node->feature);
            node = &t->nodes[(double)x <= node->threshold ? node->left : node->right];
        }
        t->raw[i] += node->value;
    }
}

/* Mean deviance of the rows [first, last), of those that the last tree has seen where it is told.
 */
static double deviance(const struct exact *t, size_t first, size_t last, const unsigned char *seen)
{
    double sum = 0, total = 0;
    for (size_t i = first; i < last; i++) {
        double w = t->weights[t->y[i] == 1], raw = t->raw[i];
        if (seen != NULL && !seen[i]) continue;
        double softplus = raw > 0 ? raw + log1p(exp(-raw)) : log1p(exp(raw));
        sum += w * (softplus - t->y[i] * raw);
        total += w;
    }
    return 2 * sum / total;
}

static int train_exact(struct exact *t, struct boost_fitted *out, const atomic_bool *cancel,
                       atomic_uint *done, struct err *e)
{
    double least = INFINITY;
    unsigned rounds = t->o->early_stopping_rounds;
    for (unsigned k = 0; k < t->o->n_estimators; k++) {
        int rc = boost_cancelled(cancel) ? -ECANCELED : grow_tree(t, k);
        if (rc == 0) rc = add_exact(t, out->trees, e);
        if (rc < 0) return rc;
        add_margins(t);
        out->train_score[k] = deviance(t, 0, t->n, t->seen);
        out->n_scores = k + 1;
        if (done != NULL) atomic_store_explicit(done, k + 1, memory_order_relaxed);
        if (out->validation_score != NULL)
            out->validation_score[k] = deviance(t, t->n, t->X->rows, NULL);
        if (out->validation_score == NULL || rounds == 0 || out->validation_score[k] < least) {
            least = out->validation_score != NULL ? out->validation_score[k] : 0;
            out->best = k + 1;
        }
        if (rounds > 0 && k + 1 - out->best >= rounds) break;
    }
    trees_keep(out->trees, out->best);
    return 0;
}

static int refuse(const struct matrix *X, size_t i, size_t j, struct err *e)
{
    double x = matrix_get(X, i, j);
    return err_set(e, -EINVAL,
                   "row %zu, column %zu: %s; split = \"exact\" takes finite floats alone", i + 1,
                   j + 1, isnan(x) ? "missing" : "too large");
}

struct keyed {
    float x;
    uint32_t row;
};

static int by_value(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->x != y->x) return x->x < y->x ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int sort_columns(struct exact *t, struct err *e)
{
    struct keyed *keyed = malloc(t->n * sizeof *keyed);
    if (keyed == NULL) return -ENOMEM;
    int rc = 0;
    for (size_t j = 0; j < t->columns && rc == 0; j++) {
        for (size_t i = 0; i < t->X->rows && rc == 0; i++)
            if (!(fabs(matrix_get(t->X, i, j)) <= (double)FLT_MAX)) rc = refuse(t->X, i, j, e);
        for (size_t i = 0; i < t->n; i++) {
            t->x[j * t->n + i] = rc == 0 ? (float)matrix_get(t->X, i, j) : 0;
            keyed[i] = (struct keyed){t->x[j * t->n + i], (uint32_t)i};
        }
        qsort(keyed, t->n, sizeof *keyed, by_value);
        for (size_t i = 0; i < t->n; i++) t->sorted[j * t->n + i] = keyed[i].row;
    }
    free(keyed);
    return rc;
}

static int make_room(struct exact *t)
{
    size_t n = t->n, d = t->columns;
    int rc = parallel_open(&t->team, n * d < ROWS_WORTH_THREADS ? 1 : t->o->threads);
    if (rc < 0) return rc;
    t->x = calloc(d * n, sizeof *t->x);
    t->sorted = calloc(d * n, sizeof *t->sorted);
    t->order = calloc(d * n, sizeof *t->order);
    t->aside = calloc(parallel_threads(t->team) * n, sizeof *t->aside);
    t->seen = calloc(n, 1);
    t->goes_left = calloc(n, 1);
    t->raw = calloc(t->X->rows, sizeof *t->raw);
    t->residual = calloc(n, sizeof *t->residual);
    t->slope = calloc(n, sizeof *t->slope);
    t->weight = calloc(n, sizeof *t->weight);
    t->best = calloc(d, sizeof *t->best);
    t->features = calloc(d, sizeof *t->features);
    t->draw = calloc(d, sizeof *t->draw);
    bool all = t->x != NULL && t->sorted != NULL && t->order != NULL && t->aside != NULL &&
               t->seen != NULL && t->goes_left != NULL && t->raw != NULL && t->residual != NULL &&
               t->slope != NULL && t->weight != NULL && t->best != NULL && t->features != NULL &&
               t->draw != NULL;
    return all ? 0 : -ENOMEM;
}

static void release(struct exact *t)
{
    free(t->x);
    free(t->sorted);
    free(t->order);
    free(t->aside);
    free(t->seen);
    free(t->goes_left);
    free(t->raw);
    free(t->residual);
    free(t->slope);
    free(t->weight);
    free(t->nodes);
    free(t->best);
    free(t->features);
    free(t->draw);
    parallel_close(t->team);
}

int boost_exact_fit(struct boost_fitted *out, const struct matrix *X, const double *y,
                    size_t n_train, const struct boost_options *o, const atomic_bool *cancel,
                    atomic_uint *done, struct err *e)
{
    struct exact t = {.o = o, .X = X, .y = y, .n = n_train, .columns = X->columns};
    double margin = boost_weigh(y, n_train, o, t.weights);
    int rc = make_room(&t);
    if (rc == 0) rc = sort_columns(&t, e);
    if (rc == 0) rc = boost_result(out, X, o, n_train < X->rows, margin, e);
    if (rc == 0) {
        for (size_t i = 0; i < X->rows; i++) t.raw[i] = margin;
        for (size_t i = 0; i < n_train; i++) t.weight[i] = t.weights[y[i] == 1];
        rc = train_exact(&t, out, cancel, done, e);
    }
    release(&t);
    return rc;
}
