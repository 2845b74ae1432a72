#include "kernels/trees.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/parallel.h"
#include "kernels/trees_fast.h"

enum { PIECE = 1024 }; /* rows */

int64_t trees_category(const struct trees *t, double x)
{
    if (isnan(x)) return -1;
    if (t->single) { /* what lies between -1 and 0 is none of XGBoost's, but LightGBM's 0 */
        x = (double)(float)x;
        if (x < 0) return -1;
    }
    return x > -1 && x < TREES_MOST_CATEGORY ? (int64_t)x : -1;
}

static bool in_set(const struct trees *t, uint32_t set, int64_t category)
{
    if (category < 0) return false;
    size_t at = t->sets[set] + (size_t)category / 32;
    return at < t->sets[set + 1] && (t->words[at] >> (category % 32) & 1);
}

bool trees_goes_left(const struct trees *t, const struct trees_node *node, double x)
{
    bool missing = isnan(x) || ((node->flags & TREES_ZERO_MISSING) && fabs(x) <= TREES_ZERO);
    if (missing) return node->flags & TREES_MISSING_LEFT;
    if (node->flags & TREES_CATEGORICAL) return in_set(t, node->set, trees_category(t, x));
    return x <= node->at;
}

static double linear(const struct trees *t, const struct trees_node *leaf, const double *x)
{
    const struct trees_linear *f = &t->linear[leaf->set];
    double sum = f->constant;
    for (uint32_t i = f->first; i < f->first + f->count; i++) {
        double value = x[t->linear_features[i]];
        if (isnan(value)) return leaf->at;
        sum += t->linear_weights[i] * value;
    }
    return sum;
}

double trees_walk_tree(const struct trees *t, const struct trees_tree *tree, const double *x)
{
    const struct trees_node *node = &t->nodes[tree->first];
    while (node->left != TREES_NONE)
        node = &t->nodes[trees_goes_left(t, node, x[node->feature]) ? node->left : node->right];
    return node->flags & TREES_LINEAR ? linear(t, node, x) : node->at;
}

void trees_walk(const struct trees *t, const double *x, double *out)
{
    for (size_t g = 0; g < t->groups; g++) out[g] = t->base[g];
    for (const struct trees_tree *tree = t->trees; tree < t->trees + t->n_trees; tree++) {
        double value = trees_walk_tree(t, tree, x), *sum = &out[tree->group];
        *sum = t->single ? (double)((float)*sum + (float)value) : *sum + value;
    }
}

struct prediction {
    const struct trees *t;
    const double *x;
    double *out;
    const atomic_bool *cancel;
};

static void on_piece(void *ud, size_t first, size_t last, unsigned worker)
{
    const struct prediction *p = ud;
    (void)worker;
    if (p->cancel != NULL && atomic_load_explicit(p->cancel, memory_order_relaxed)) return;
    trees_margins(p->t, p->x + first * p->t->features, last - first, p->out + first * p->t->groups);
}

int trees_predict(const struct trees *t, const double *x, size_t n, unsigned threads,
                  const atomic_bool *cancel, double *out)
{
    struct prediction p = {t, x, out, cancel};
    struct parallel *team;
    int rc = parallel_open(&team, n <= PIECE ? 1 : threads);
    if (rc < 0) return rc;
    parallel_for(team, n, PIECE, on_piece, &p);
    parallel_close(team);
    return cancel != NULL && atomic_load(cancel) ? -ECANCELED : 0;
}

static void softmax(double *margins, size_t n)
{
    double most = margins[0], sum = 0;
    for (size_t g = 1; g < n; g++) most = fmax(most, margins[g]);
    for (size_t g = 0; g < n; g++) sum += margins[g] = exp(margins[g] - most);
    for (size_t g = 0; g < n; g++) margins[g] /= sum;
}

void trees_probabilities(const struct trees *t, double *margins, size_t n)
{
    double scale = t->mean && t->n_trees > 0 ? (double)t->groups / (double)t->n_trees : 1;
    for (size_t i = 0; i < n; i++, margins += t->groups) {
        for (size_t g = 0; g < t->groups; g++) margins[g] *= scale;
        if (t->link == TREES_SOFTMAX)
            softmax(margins, t->groups);
        else if (t->link == TREES_LOGISTIC)
            for (size_t g = 0; g < t->groups; g++)
                margins[g] = 1 / (1 + exp(-t->sigmoid * margins[g]));
    }
}
