#include "tests/c/kernels/random_trees.h"
#include <errno.h>

/* What the definition says and what comes out fast must be the same bits, in any number of rows. */
static void compare_with_definition(const struct trees *t, const double *x, size_t n,
                                    const char *what)
{
    double *slow = malloc((n * t->groups + 1) * sizeof *slow),
           *fast = malloc((n * t->groups + 1) * sizeof *fast);
    for (size_t i = 0; i < n; i++) trees_walk(t, x + i * t->features, slow + i * t->groups);
    memset(fast, 0xff, n * t->groups * sizeof *fast);
    trees_margins(t, x, n, fast);
    for (size_t i = 0; i < n * t->groups; i++)
        if (memcmp(&slow[i], &fast[i], sizeof *slow) != 0)
            fail_msg("%s, %zu rows, %s: margin %zu is %.17g, not %.17g", trees_vector_code(), n,
                     what, i, fast[i], slow[i]);
    free(slow);
    free(fast);
}

static void try_kind(const struct random_kind *k, uint64_t seed, const char *what)
{
    static const char *const codes[] = {"portable", "avx2"};
    static const size_t rows[] = {1, 2, 11, 12, 31, 33, 255, 300, 600};
    struct trees *t = random_trees(k, seed);
    double *x = random_rows(k, 600, seed + 7);
    assert_non_null(t->fast);
    for (int c = 0; c < 2; c++) {
        if (!trees_choose_vector_code(codes[c])) {
            print_message("%s: not on this processor\n", codes[c]);
            continue;
        }
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            compare_with_definition(t, x, rows[i], what);
    }
    trees_choose_vector_code(NULL);
    free(x);
    trees_free(t);
}

TEST(full_trees_answer_as_the_definition)
{
    for (unsigned depth = 0; depth <= 5; depth++) {
        struct random_kind k = {.features = 8,
                                .groups = 1,
                                .trees = 70,
                                .most_leaves = 32,
                                .most_depth = depth,
                                .values = 200};
        try_kind(&k, depth + 1, "double");
        k.single = true;
        try_kind(&k, depth + 11, "single");
    }
}

TEST(trees_of_any_shape_answer_as_the_definition)
{
    struct random_kind k = {
        .features = 5, .groups = 1, .trees = 20, .most_leaves = 32, .most_depth = 30, .values = 90};
    try_kind(&k, 21, "up to 32 leaves");
    k.single = true;
    try_kind(&k, 22, "up to 32 leaves, single");
    k.most_leaves = 250;
    try_kind(&k, 23, "up to 250 leaves");
    k.most_leaves = 500;
    try_kind(&k, 24, "leaves beyond what bytes can count");
}

TEST(more_thresholds_than_bytes_can_count)
{
    struct random_kind k = {.features = 3,
                            .groups = 1,
                            .trees = 150,
                            .most_leaves = 32,
                            .most_depth = 6,
                            .values = 100000};
    try_kind(&k, 31, "many thresholds");
    k.features = 200;
    k.trees = 60;
    try_kind(&k, 32, "many columns");
    k.features = 20;
    try_kind(&k, 33, "two registers of columns");
    k = (struct random_kind){.features = 1,
                             .groups = 1,
                             .trees = 140,
                             .most_leaves = 500,
                             .most_depth = 30,
                             .values = 1000000};
    try_kind(&k, 34, "more thresholds than codes");
}

TEST(zeros_categories_classes_and_linear_leaves)
{
    struct random_kind k = {.features = 7,
                            .groups = 3,
                            .trees = 45,
                            .most_leaves = 20,
                            .most_depth = 7,
                            .values = 64,
                            .zero = true,
                            .categories = true};
    try_kind(&k, 41, "double");
    k.single = true;
    try_kind(&k, 42, "single");
    k.single = false;
    k.linear = true;
    try_kind(&k, 43, "linear");
    k.groups = 1;
    try_kind(&k, 44, "one group");
}

TEST(a_zero_that_is_missing_with_thresholds_among_the_zeros)
{
    struct trees *t;
    assert_int_equal(trees_new(&t, 1, 1, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(trees_open(t, 0, NULL), 0);
        trees_split(t, 0, i ? 1e-36 : 5, i ? 0 : TREES_ZERO_MISSING, 0, 0, NULL);
        trees_leaf(t, 1 + i, 0, NULL);
        trees_leaf(t, 10 + i, 0, NULL);
        trees_children(t, 0, 1, 2);
        assert_int_equal(trees_close(t, NULL), 0);
    }
    assert_int_equal(trees_finish(t), 0);
    const double x[] = {0, 1e-36, 2e-36, -1e-36, 1, 6, NAN, -1, TREES_ZERO, -TREES_ZERO};
    compare_with_definition(t, x, 10, "zeros");
    trees_free(t);
}

TEST(an_ensemble_without_trees_says_its_base)
{
    struct trees *t;
    double out[40];
    assert_int_equal(trees_new(&t, 0, 2, NULL), 0);
    t->base[1] = 7;
    assert_int_equal(trees_finish(t), 0);
    trees_margins(t, NULL, 20, out);
    for (int i = 0; i < 40; i++) assert_true(out[i] == (i % 2 ? 7 : 0));
    trees_free(t);
}

TEST(threads_change_nothing_and_work_can_be_cancelled)
{
    struct random_kind k = {
        .features = 4, .groups = 2, .trees = 10, .most_leaves = 12, .most_depth = 5, .values = 50};
    enum { ROWS = 5000 };
    struct trees *t = random_trees(&k, 51);
    double *x = random_rows(&k, ROWS, 52), *one = malloc(2 * ROWS * sizeof *one),
           *many = malloc(2 * ROWS * sizeof *many);
    assert_int_equal(trees_predict(t, x, ROWS, 1, NULL, one), 0);
    assert_int_equal(trees_predict(t, x, ROWS, 3, NULL, many), 0);
    assert_memory_equal(one, many, 2 * ROWS * sizeof *one);
    atomic_bool cancel = true;
    assert_int_equal(trees_predict(t, x, ROWS, 2, &cancel, many), -ECANCELED);
    free(x);
    free(one);
    free(many);
    trees_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(full_trees_answer_as_the_definition),
        CHECK(trees_of_any_shape_answer_as_the_definition),
        CHECK(more_thresholds_than_bytes_can_count),
        CHECK(zeros_categories_classes_and_linear_leaves),
        CHECK(a_zero_that_is_missing_with_thresholds_among_the_zeros),
        CHECK(an_ensemble_without_trees_says_its_base),
        CHECK(threads_change_nothing_and_work_can_be_cancelled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
