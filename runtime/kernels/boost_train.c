#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "kernels/boost_parts.h"

/* Streams of the seed: each tree has two. */
enum { STREAM_DERIVE = 1 << 20, STREAM_FEATURES = 1 << 21 };

enum { WORTH_THREADS = 1 << 17 }; /* values; with fewer, waiting for another takes longer */

struct training {
    const struct boost_options *o;
    struct boost_bins *bins;
    struct boost_rows rows;
    struct boost_grower *grower;
    struct boost_tree tree;
    bool *features; /* (columns) those of the tree */
    size_t *order;  /* (columns) */
    struct parallel *team;
    size_t n_watched;         /* rows behind those trained on */
    float *watched_margin;    /* (n_watched) */
    unsigned char *watched;   /* (n_watched) their labels */
    double sum_of_weights[2]; /* trained on, watched */
    double best_loss;
};

/* -- data that nothing can be learned from -- */

static int check_labels(const struct matrix *X, const double *y, size_t n_train,
                        const struct boost_options *o, struct err *e)
{
    size_t yes = 0;
    if (X->columns == 0) return err_set(e, -EINVAL, "there are no columns to learn from");
    if (X->rows > BOOST_MOST_ROWS)
        return err_set(e, -EINVAL, "%zu rows; %d at most", X->rows, BOOST_MOST_ROWS);
    for (size_t i = 0; i < X->rows; i++) {
        if (isnan(y[i])) return err_set(e, -EINVAL, "label %zu is missing; expected 0 or 1", i + 1);
        if (y[i] != 0 && y[i] != 1)
            return err_set(e, -EINVAL, "label %zu is %g; expected 0 or 1", i + 1, y[i]);
        if (i < n_train) yes += y[i] == 1;
    }
    const char *rest = n_train < X->rows ? " of those that are not kept for validation" : "";
    size_t least = 2 * (size_t)o->min_samples_leaf;
    if (n_train < (least > 2 ? least : 2))
        return err_set(e, -EINVAL,
                       "only %zu rows to learn from; with at least %u in each leaf %zu are needed",
                       n_train, o->min_samples_leaf, least > 2 ? least : 2);
    if (o->validation_fraction > 0 && n_train == X->rows)
        return err_set(e, -EINVAL, "a validation_fraction of %g leaves none of %zu rows to watch",
                       o->validation_fraction, X->rows);
    if (yes == 0 || yes == n_train)
        return err_set(e, -EINVAL, "all labels%s are %d; there must be some of each", rest,
                       yes > 0);
    return 0;
}

double boost_weigh(const double *y, size_t n, const struct boost_options *o, double weight[2])
{
    size_t yes = 0;
    for (size_t i = 0; i < n; i++) yes += y[i] == 1;
    double n0 = (double)(n - yes), n1 = (double)yes;
    weight[0] = o->balanced ? (double)n / (2 * n0) : o->weight[0];
    weight[1] = o->balanced ? (double)n / (2 * n1) : o->weight[1];
    return log(weight[1] * n1 / (weight[0] * n0));
}

/* -- a tree more -- */

static void choose_features(struct training *t, uint64_t number)
{
    size_t d = t->bins->columns, n = (size_t)ceil(t->o->colsample * (double)d - 1e-9);
    struct random chance;
    random_seed(&chance, t->o->seed, STREAM_FEATURES + number);
    for (size_t j = 0; j < d; j++) {
        t->order[j] = j;
        t->features[j] = false;
    }
    for (size_t k = 0; k < n && k < d; k++) {
        size_t other = k + random_below(&chance, (uint32_t)(d - k)), j = t->order[other];
        t->order[other] = t->order[k];
        t->features[j] = true;
    }
}

static void watch(void *ud, size_t first, size_t last, unsigned worker)
{
    struct training *t = ud;
    (void)worker;
    for (size_t i = first; i < last; i++) {
        const struct boost_node *nodes = t->tree.nodes, *node = nodes;
        while (node->left != 0) {
            unsigned bin = boost_bin(t->bins, t->rows.n + i, node->feature);
            node = &nodes[boost_goes_left(node, bin) ? node->left : node->right];
        }
        t->watched_margin[i] += (float)node->value;
    }
}

static int add_split(struct trees *trees, const struct boost_feature *f,
                     const struct boost_node *node, struct err *e)
{
    unsigned flags = boost_goes_left(node, f->n_values) ? TREES_MISSING_LEFT : 0;
    if (!f->categorical) {
        double at = node->bin + 1 < f->n_values ? f->cuts[node->bin] : DBL_MAX;
        return (int)trees_split(trees, node->feature, at, flags, node->gain, (double)node->n, e) < 0
                   ? e->code
                   : 0;
    }
    size_t n = 1; /* words */
    uint32_t *set = calloc((BOOST_MOST_CATEGORY + 1) / 32, sizeof *set);
    if (set == NULL) return err_set(e, -ENOMEM, "not enough memory");
    for (unsigned b = 0; b + 1 < f->n_values; b++) {
        if (!boost_goes_left(node, b)) continue;
        set[f->categories[b] / 32] |= (uint32_t)1 << f->categories[b] % 32;
        n = f->categories[b] / 32 + 1;
    }
    int64_t at =
        trees_split_set(trees, node->feature, set, n, flags, node->gain, (double)node->n, e);
    free(set);
    return at < 0 ? (int)at : 0;
}

static int add_tree(struct trees *trees, const struct boost_bins *bins,
                    const struct boost_tree *tree, struct err *e)
{
    int rc = trees_open(trees, 0, e);
    for (size_t k = 0; k < tree->n && rc == 0; k++) {
        const struct boost_node *node = &tree->nodes[k];
        if (node->left != 0)
            rc = add_split(trees, &bins->features[node->feature], node, e);
        else if (trees_leaf(trees, node->value, (double)node->n, e) < 0)
            rc = e->code;
    }
    for (size_t k = 0; k < tree->n && rc == 0; k++)
        if (tree->nodes[k].left != 0)
            trees_children(trees, k, tree->nodes[k].left, tree->nodes[k].right);
    return rc == 0 ? trees_close(trees, e) : rc;
}

/* The losses after the trees so far. True while it is worth going on. */
static bool note_scores(struct training *t, struct boost_fitted *out, double loss)
{
    size_t k = out->n_scores++;
    out->train_score[k] = 2 * loss / t->sum_of_weights[0];
    if (t->n_watched == 0) {
        out->best = k + 1;
        return true;
    }
    double of = boost_loss_of(t->watched_margin, t->watched, t->n_watched, t->rows.weight);
    out->validation_score[k] = 2 * of / t->sum_of_weights[1];
    if (t->o->early_stopping_rounds == 0 || out->validation_score[k] < t->best_loss) {
        t->best_loss = out->validation_score[k];
        out->best = k + 1;
    }
    return t->o->early_stopping_rounds == 0 || k + 1 - out->best < t->o->early_stopping_rounds;
}

static int train(struct training *t, struct boost_fitted *out, const atomic_bool *cancel,
                 atomic_uint *done, struct err *e)
{
    (void)boost_loss_derive(&t->rows, t->o, STREAM_DERIVE, t->team);
    for (unsigned k = 0; k < t->o->n_estimators; k++) {
        choose_features(t, k);
        int rc = boost_grow(t->grower, &t->tree, t->features, cancel);
        if (rc == 0) rc = add_tree(out->trees, t->bins, &t->tree, e);
        if (rc < 0) return rc;
        if (t->n_watched > 0) parallel_for(t->team, t->n_watched, BOOST_CHUNK, watch, t);
        double loss = boost_loss_derive(&t->rows, t->o, STREAM_DERIVE + k + 1, t->team);
        if (done != NULL) atomic_store_explicit(done, k + 1, memory_order_relaxed);
        if (!note_scores(t, out, loss)) break;
    }
    trees_keep(out->trees, out->best);
    return 0;
}

/* -- before and after -- */

static int prepare_rows(struct training *t, const double *y, size_t n, double margin)
{
    struct boost_rows *r = &t->rows;
    size_t chunks = (n + BOOST_CHUNK - 1) / BOOST_CHUNK;
    r->n = n;
    r->chunks = chunks;
    r->state = malloc(n * sizeof *r->state);
    r->margin = malloc(n * sizeof *r->margin);
    r->of_chunk = calloc(chunks, sizeof *r->of_chunk);
    t->watched = malloc(t->n_watched + 1);
    t->watched_margin = malloc((t->n_watched + 1) * sizeof *t->watched_margin);
    t->features = calloc(t->bins->columns, sizeof *t->features);
    t->order = calloc(t->bins->columns, sizeof *t->order);
    if (r->state == NULL || r->margin == NULL || r->of_chunk == NULL || t->watched == NULL ||
        t->watched_margin == NULL || t->features == NULL || t->order == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        r->state[i] = y[i] == 1 ? BOOST_LABEL : 0;
        r->margin[i] = boost_margin_bits((float)margin);
        t->sum_of_weights[0] += r->weight[y[i] == 1];
    }
    for (size_t i = 0; i < t->n_watched; i++) {
        t->watched[i] = y[n + i] == 1;
        t->watched_margin[i] = (float)margin;
        t->sum_of_weights[1] += r->weight[t->watched[i]];
    }
    return 0;
}

int boost_result(struct boost_fitted *out, const struct matrix *X, const struct boost_options *o,
                 bool watched, double margin, struct err *e)
{
    int rc = trees_new(&out->trees, X->columns, 1, e);
    if (rc < 0) return rc;
    out->trees->link = TREES_LOGISTIC;
    out->trees->base[0] = margin;
    if (X->names != NULL) rc = trees_set_names(out->trees, (const char *const *)X->names);
    out->train_score = malloc(o->n_estimators * sizeof *out->train_score);
    if (watched) out->validation_score = malloc(o->n_estimators * sizeof *out->validation_score);
    if (rc < 0 || out->train_score == NULL || (watched && out->validation_score == NULL))
        return -ENOMEM;
    return 0;
}

static void training_free(struct training *t)
{
    boost_grower_close(t->grower);
    boost_bins_free(t->bins);
    free(t->tree.nodes);
    free(t->rows.state);
    free(t->rows.margin);
    free(t->rows.of_chunk);
    free(t->watched);
    free(t->watched_margin);
    free(t->features);
    free(t->order);
    parallel_close(t->team);
}

static int fit_histogram(struct boost_fitted *out, const struct matrix *X, const double *y,
                         size_t n_train, const struct boost_options *o, const atomic_bool *cancel,
                         atomic_uint *done, struct err *e)
{
    struct training t = {.o = o, .n_watched = X->rows - n_train, .best_loss = INFINITY};
    unsigned threads = X->rows * X->columns < WORTH_THREADS ? 1 : o->threads;
    double margin = boost_weigh(y, n_train, o, t.rows.weight);
    int rc = parallel_open(&t.team, threads);
    if (rc == 0) rc = boost_bins_make(&t.bins, X, n_train, o, t.team, cancel, e);
    if (rc == 0) rc = prepare_rows(&t, y, n_train, margin);
    if (rc == 0) rc = boost_result(out, X, o, t.n_watched > 0, margin, e);
    if (rc == 0) rc = boost_grower_open(&t.grower, t.bins, &t.rows, o, t.team);
    if (rc == 0) rc = train(&t, out, cancel, done, e);
    training_free(&t);
    return rc;
}

int boost_fit(struct boost_fitted *out, const struct matrix *X, const double *y,
              const struct boost_options *o, const atomic_bool *cancel, atomic_uint *done,
              struct err *e)
{
    size_t n_train = X->rows - (size_t)(o->validation_fraction * (double)X->rows);
    *out = (struct boost_fitted){0};
    int rc = check_labels(X, y, n_train, o, e);
    if (rc == 0 && o->split == BOOST_EXACT)
        rc = boost_exact_fit(out, X, y, n_train, o, cancel, done, e);
    else if (rc == 0)
        rc = fit_histogram(out, X, y, n_train, o, cancel, done, e);
    if (rc == 0) rc = trees_finish(out->trees);
    if (rc < 0) boost_fitted_free(out);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(e, rc, "cancelled");
    return rc;
}

void boost_fitted_free(struct boost_fitted *f)
{
    trees_free(f->trees);
    free(f->train_score);
    free(f->validation_score);
    *f = (struct boost_fitted){0};
}
