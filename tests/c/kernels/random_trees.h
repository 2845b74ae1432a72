/* random_trees.h - ensembles with all kinds of splits, and rows that hit their thresholds. */
#ifndef TESTS_C_KERNELS_RANDOM_TREES_H
#define TESTS_C_KERNELS_RANDOM_TREES_H

#include "kernels/trees.h"
#include "tests/c/test.h"
#include <math.h>

struct random_kind {
    size_t features, groups, trees;
    unsigned most_leaves, most_depth;
    unsigned values; /* thresholds are among so many */
    bool single, zero, categories, linear;
};

static inline double random_threshold(uint64_t *seed, unsigned values)
{
    static const double odd[] = {0, -0.0, 1e-36, -1e-36, TREES_ZERO, -TREES_ZERO, 1e30, -1e30};
    if (xorshift(seed) % 16 == 0) return odd[xorshift(seed) % 8];
    return (double)(xorshift(seed) % values) / 8 - values / 16.;
}

static inline void random_split(struct trees *t, const struct random_kind *k, uint64_t *seed,
                                struct err *e)
{
    size_t feature = xorshift(seed) % k->features;
    unsigned flags = xorshift(seed) % 2 ? TREES_MISSING_LEFT : 0;
    double gain = uniform(seed), cover = (double)(xorshift(seed) % 100);
    if (k->categories && feature % 3 == 2) {
        uint32_t words[3];
        for (int i = 0; i < 3; i++) words[i] = (uint32_t)xorshift(seed);
        assert_true(trees_split_set(t, feature, words, xorshift(seed) % 4, flags, gain, cover, e) >=
                    0);
        return;
    }
    double at = random_threshold(seed, k->values);
    if (k->zero && feature % 3 == 1) { /* as LightGBM's loader does: none within the zeros */
        flags |= xorshift(seed) % 2 ? TREES_ZERO_MISSING : 0;
        if (fabs(at) <= TREES_ZERO) at = at >= 0 ? TREES_ZERO : nextafter(-TREES_ZERO, -1);
    }
    assert_true(trees_split(t, feature, at, flags, gain, cover, e) >= 0);
}

static inline void random_leaf(struct trees *t, const struct random_kind *k, uint64_t *seed,
                               size_t node, struct err *e)
{
    double value = uniform(seed) - 0.5;
    if (k->single) value = (double)(float)value;
    assert_true(trees_leaf(t, value, (double)(xorshift(seed) % 50), e) >= 0);
    if (k->linear && xorshift(seed) % 4 == 0) {
        uint32_t features[2] = {(uint32_t)(xorshift(seed) % k->features), 0};
        double weights[2] = {uniform(seed), -0.25};
        assert_int_equal(trees_make_linear(t, node, 0.5, features, weights, xorshift(seed) % 3, e),
                         0);
    }
}

/* Splits one leaf after another, chosen at random; then the nodes are added. */
static inline void random_tree(struct trees *t, const struct random_kind *k, uint64_t *seed)
{
    struct {
        unsigned left, right, depth;
    } plan[1024] = {0};
    unsigned n = 1, leaves = 1, most = 1 + (unsigned)(xorshift(seed) % k->most_leaves);
    for (unsigned tries = 0; leaves < most && n + 2 <= 1024 && tries < 8 * most; tries++) {
        unsigned i = (unsigned)(xorshift(seed) % n);
        if (plan[i].left > 0 || plan[i].depth >= k->most_depth) continue;
        plan[i].left = n++;
        plan[i].right = n++;
        plan[plan[i].left].depth = plan[plan[i].right].depth = plan[i].depth + 1;
        leaves++;
    }
    struct err e = {0};
    assert_int_equal(trees_open(t, xorshift(seed) % k->groups, &e), 0);
    for (unsigned i = 0; i < n; i++) {
        if (plan[i].left == 0) {
            random_leaf(t, k, seed, i, &e);
            continue;
        }
        random_split(t, k, seed, &e);
        trees_children(t, i, plan[i].left, plan[i].right);
    }
    if (trees_close(t, &e) < 0) fail_msg("%s", e.text);
}

static inline struct trees *random_trees(const struct random_kind *k, uint64_t seed)
{
    struct trees *t;
    assert_int_equal(trees_new(&t, k->features, k->groups, NULL), 0);
    t->single = k->single;
    for (size_t g = 0; g < k->groups; g++) t->base[g] = 0.125 * (double)g;
    for (size_t i = 0; i < k->trees; i++) random_tree(t, k, &seed);
    assert_int_equal(trees_finish(t), 0);
    return t;
}

static inline double random_value(const struct random_kind *k, uint64_t *seed)
{
    double x = random_threshold(seed, k->values);
    switch (xorshift(seed) % 12) {
    case 0: return NAN;
    case 1: return nextafter(x, INFINITY);
    case 2: return nextafter(x, -INFINITY);
    case 3: return (double)(xorshift(seed) % 120) - 4;
    case 4: return uniform(seed) * 90 - 2;
    case 5: return uniform(seed) < 0.5 ? INFINITY : -INFINITY;
    default: return x;
    }
}

static inline double *random_rows(const struct random_kind *k, size_t n, uint64_t seed)
{
    double *x = malloc((n * k->features + 1) * sizeof *x);
    for (size_t i = 0; i < n * k->features; i++) x[i] = random_value(k, &seed);
    return x;
}

#endif
