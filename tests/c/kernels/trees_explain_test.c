#include "tests/c/kernels/random_trees.h"
#include <errno.h>

/* The value of a coalition: what is in it goes where the row goes, at all else both ways, weighted
 * by the training rows. */
static double value_of(const struct trees *t, uint32_t at, const double *x, unsigned coalition)
{
    const struct trees_node *node = &t->nodes[at];
    if (node->left == TREES_NONE) return node->at;
    if (coalition >> node->feature & 1)
        return value_of(t, trees_goes_left(t, node, x[node->feature]) ? node->left : node->right, x,
                        coalition);
    double l = t->cover[node->left], r = t->cover[node->right];
    double share = l + r > 0 ? l / (l + r) : 0.5;
    return share * value_of(t, node->left, x, coalition) +
           (1 - share) * value_of(t, node->right, x, coalition);
}

static double worth(const struct trees *t, size_t group, const double *x, unsigned coalition)
{
    double sum = t->base[group];
    for (size_t k = 0; k < t->n_trees; k++)
        if (t->trees[k].group == group) sum += value_of(t, t->trees[k].first, x, coalition);
    return sum;
}

/* Shapley's definition: the mean over all orders in which the features may come. */
static double definition(const struct trees *t, size_t group, const double *x, unsigned j)
{
    unsigned d = (unsigned)t->features;
    double sum = 0;
    for (unsigned s = 0; s < 1U << d; s++) {
        if (s >> j & 1) continue;
        int in = __builtin_popcount(s);
        double weight = tgamma(in + 1) * tgamma(d - (unsigned)in) / tgamma(d + 1);
        sum += weight * (worth(t, group, x, s | 1U << j) - worth(t, group, x, s));
    }
    return sum;
}

static void try_kind(const struct random_kind *k, uint64_t seed)
{
    enum { ROWS = 7 };
    struct trees *t = random_trees(k, seed);
    double *x = random_rows(k, ROWS, seed + 5);
    size_t d = t->features, width = t->groups * (d + 1);
    double *out = malloc(ROWS * width * sizeof *out);
    assert_int_equal(trees_explain(t, x, ROWS, NULL, out, NULL), 0);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t g = 0; g < t->groups; g++) {
            const double *phi = out + i * width + g * (d + 1);
            for (unsigned j = 0; j < d; j++) {
                double y = definition(t, g, x + i * d, j);
                if (fabs(phi[j] - y) > 1e-11) fail_msg("%u: %.17g, not %.17g", j, phi[j], y);
            }
            double bias = worth(t, g, x + i * d, 0);
            if (fabs(phi[d] - bias) > 1e-11) fail_msg("bias %.17g, not %.17g", phi[d], bias);
        }
    }
    free(x);
    free(out);
    trees_free(t);
}

static void try_both(const struct random_kind *k, uint64_t seed)
{
    trees_choose_vector_code("portable");
    try_kind(k, seed);
    if (trees_choose_vector_code(NULL)) try_kind(k, seed);
}

TEST(contributions_are_the_definition_on_small_trees)
{
    struct random_kind k = {
        .features = 6, .groups = 1, .trees = 5, .most_leaves = 32, .most_depth = 5, .values = 40};
    for (uint64_t seed = 1; seed < 6; seed++) try_both(&k, seed);
    k.features = 9;
    k.most_depth = 14;
    k.most_leaves = 60;
    try_both(&k, 11);
    k.features = 1;
    try_both(&k, 12);
}

TEST(contributions_of_zeros_categories_and_classes)
{
    struct random_kind k = {.features = 7,
                            .groups = 3,
                            .trees = 9,
                            .most_leaves = 20,
                            .most_depth = 7,
                            .values = 64,
                            .zero = true,
                            .categories = true};
    for (uint64_t seed = 21; seed < 25; seed++) try_both(&k, seed);
}

TEST(contributions_of_deep_trees_sum_to_the_margin)
{
    enum { ROWS = 9 };
    struct random_kind k = {.features = 60,
                            .groups = 2,
                            .trees = 12,
                            .most_leaves = 500,
                            .most_depth = 400,
                            .values = 64};
    struct trees *t = random_trees(&k, 31);
    double *x = random_rows(&k, ROWS, 32), margins[2 * ROWS];
    double *out = malloc(ROWS * 2 * 61 * sizeof *out);
    trees_margins(t, x, ROWS, margins);
    assert_int_equal(trees_explain(t, x, ROWS, NULL, out, NULL), 0);
    for (size_t i = 0; i < 2 * ROWS; i++) {
        double sum = 0;
        for (size_t j = 0; j < 61; j++) sum += out[i * 61 + j];
        assert_true(fabs(sum - margins[i]) < 1e-10);
    }
    atomic_bool cancel = true;
    assert_int_equal(trees_explain(t, x, ROWS, &cancel, out, NULL), -ECANCELED);
    free(x);
    free(out);
    trees_free(t);
}

TEST(a_chain_of_a_feature_each_is_exact_at_any_depth)
{
    enum { DEPTH = 200 }; /* of that many features, all but one of which decide nothing */
    struct trees *t;
    static double x[DEPTH], out[DEPTH + 1];
    assert_int_equal(trees_new(&t, DEPTH, 1, NULL), 0);
    assert_int_equal(trees_open(t, 0, NULL), 0);
    for (size_t i = 0; i < DEPTH; i++) {
        trees_split(t, i, 0, 0, 1, 1, NULL);
        trees_leaf(t, i == 100 ? 1 : 0, 0.01, NULL);
        trees_children(t, 2 * i, 2 * i + 1, 2 * i + 2);
        x[i] = i == 100 ? -1 : 1;
    }
    trees_leaf(t, 0, 1, NULL);
    assert_int_equal(trees_close(t, NULL), 0);
    assert_int_equal(trees_finish(t), 0);
    assert_int_equal(trees_explain(t, x, 1, NULL, out, NULL), 0);
    double sum = 0;
    for (size_t j = 0; j <= DEPTH; j++) sum += out[j];
    assert_true(fabs(sum - 1) < 1e-12);
    for (size_t j = 1; j < 100; j++) assert_true(fabs(out[j] - out[0]) < 1e-12);
    for (size_t j = 101; j < DEPTH; j++) assert_true(out[j] == 0);
    trees_free(t);
}

TEST(linear_leaves_are_not_explained)
{
    struct random_kind k = {.features = 3,
                            .groups = 1,
                            .trees = 20,
                            .most_leaves = 9,
                            .most_depth = 4,
                            .values = 64,
                            .linear = true};
    struct trees *t = random_trees(&k, 41);
    struct err e = {0};
    double x[3] = {0}, out[4];
    assert_int_equal(trees_explain(t, x, 1, NULL, out, &e), -ENOTSUP);
    assert_non_null(strstr(e.text, "linear functions"));
    trees_free(t);
}

TEST(importances_are_shares_of_the_gain)
{
    struct trees *t;
    double out[3];
    assert_int_equal(trees_new(&t, 3, 1, NULL), 0);
    trees_importances(t, out);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(trees_open(t, 0, NULL), 0);
        trees_split(t, i ? 2 : 0, 1, 0, i ? 3e300 : 1e300, 1, NULL);
        trees_leaf(t, 1, 1, NULL);
        trees_leaf(t, 1, 1, NULL);
        trees_children(t, 0, 1, 2);
        assert_int_equal(trees_close(t, NULL), 0);
    }
    trees_importances(t, out);
    assert_true(fabs(out[0] - 0.25) < 1e-15 && out[1] == 0 && fabs(out[2] - 0.75) < 1e-15);
    trees_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK(contributions_are_the_definition_on_small_trees),
                                       CHECK(contributions_of_zeros_categories_and_classes),
                                       CHECK(contributions_of_deep_trees_sum_to_the_margin),
                                       CHECK(a_chain_of_a_feature_each_is_exact_at_any_depth),
                                       CHECK(linear_leaves_are_not_explained),
                                       CHECK(importances_are_shares_of_the_gain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
