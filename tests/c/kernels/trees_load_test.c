#include "tests/c/kernels/random_trees.h"
#include "base/pack.h"
#include <errno.h>

/* --- what is written here by hand ---------------------------------------------------------------
 */

/* A number below 1, one that is missing when zero, a set {1, 3}; a stump; both as LightGBM does. */
static const char lightgbm[] =
    "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=2\n"
    "objective=binary sigmoid:0.5\nfeature_names=a b c\nfeature_infos=none none none\n"
    "tree_sizes=1 1\n\n"
    "Tree=0\nnum_leaves=4\nnum_cat=1\nsplit_feature=0 1 2\nsplit_gain=3 2 1\n"
    "threshold=1 -5 0\ndecision_type=8 6 1\nleft_child=1 -1 -3\nright_child=2 -2 -4\n"
    "leaf_value=1 2 4 8\nleaf_count=10 10 10 10\ninternal_count=40 20 20\n"
    "cat_boundaries=0 1\ncat_threshold=10\nis_linear=0\nshrinkage=1\n\n\n"
    "Tree=1\nnum_leaves=1\nnum_cat=0\nleaf_value=0.5\nleaf_count=40\n\n\n"
    "end of trees\n\nfeature_importances:\na=1\n";

static struct trees *load(const char *data)
{
    struct trees *t;
    struct err e;
    if (trees_load(&t, data, strlen(data), &e) < 0) fail_msg("%s", e.text);
    return t;
}

TEST(lightgbm_by_hand)
{
    static const struct {
        double x[3], margin;
    } rows[] = {
        {{1, -5, 0}, 1.5},  {{1, -4, 0}, 2.5},    {{1, 0, 0}, 1.5}, /* zero: missing, left */
        {{1, NAN, 0}, 1.5}, {{1, 1e-36, 0}, 1.5}, {{1, 1e-34, 0}, 2.5}, {{NAN, 0, 1}, 4.5},
        {{2, 0, 1}, 4.5},   {{2, 0, 3.9}, 4.5},   {{2, 0, 2}, 8.5},     {{2, 0, NAN}, 8.5},
        {{2, 0, -1}, 8.5},  {{2, 0, 1e12}, 8.5},  {{2, 0, 33}, 8.5},    {{1 + 0x1p-52, 0, 0}, 8.5},
    };
    struct trees *t = load(lightgbm);
    double out, importances[3];
    assert_string_equal(t->names[2], "c");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        trees_margins(t, rows[i].x, 1, &out);
        if (out != rows[i].margin) fail_msg("row %zu: %g", i, out);
    }
    out = 3;
    trees_probabilities(t, &out, 1);
    assert_true(fabs(out - 1 / (1 + exp(-1.5))) < 1e-15);
    trees_importances(t, importances);
    assert_true(fabs(importances[0] - 0.5) < 1e-15);
    trees_free(t);
}

/* One split at 0.1 as a float, whose double is above 0.1; the deleted nodes 3 and 4 hang on none.
 */
static const char xgboost[] =
    "{\"learner\":{\"feature_names\":[\"caf\\u00e9\",\"b\"],\"gradient_booster\":{\"model\":{"
    "\"gbtree_model_param\":{\"num_trees\":\"1\",\"size_leaf_vector\":\"0\"},\"tree_info\":[0],"
    "\"trees\":[{\"left_children\":[1,-1,-1,-1,-1],\"right_children\":[2,-1,-1,-1,-1],"
    "\"split_conditions\":[1E-1,2.5E-1,-1.5E0,0,0],\"split_indices\":[1,0,0,0,0],"
    "\"default_left\":[1,0,0,0,0],\"loss_changes\":[2,0,0,0,0],\"sum_hessian\":[4,1,3,0,0],"
    "\"tree_param\":{\"num_nodes\":\"5\",\"size_leaf_vector\":\"1\"}}]},\"name\":\"gbtree\"},"
    "\"learner_model_param\":{\"base_score\":\"[5E-1]\",\"num_class\":\"0\",\"num_feature\":\"2\"},"
    "\"objective\":{\"name\":\"binary:logistic\"}},\"version\":[3,2,0]}";

TEST(xgboost_by_hand)
{
    struct trees *t = load(xgboost);
    const double at = (double)0.1f;
    const double x[] = {
        0, at, 0, 0.1, 0, nextafter(0.1, 0), 0, NAN, 0, (double)nextafterf(0.1f, 0)};
    const double y[] = {-1.5, -1.5, -1.5, 0.25, 0.25}; /* 0.1 rounds up to the threshold */
    double out[5], phi[3];
    assert_string_equal(t->names[0], "caf\xc3\xa9");
    trees_margins(t, x, 5, out);
    for (int i = 0; i < 5; i++) assert_true(out[i] == y[i]);
    assert_int_equal(t->n_nodes, 3);
    assert_int_equal(trees_explain(t, x, 1, NULL, phi, NULL), 0);
    assert_true(fabs(phi[2] - (0.25 - 4.5) / 4) < 1e-15 && phi[0] == 0);
    trees_free(t);
}

static const char sklearn[] =
    "{\"library\":\"sklearn\",\"feature_names\":[\"a\"],\"nan_fill\":0.0,\"scaler\":{\"mean\":[3],"
    "\"scale\":[0.5]},\"init\":{\"raw\":-1},\"learning_rate\":0.1,\"trees\":[{\"left\":[1,-1,-1],"
    "\"right\":[2,-1,-1],\"feature\":[0,-2,-2],\"threshold\":[0.2,-2,-2],\"value\":[0,1,2],"
    "\"n\":[9,5,4],\"impurity\":[1,0.5,0.25]}]}";

TEST(scikit_learn_by_hand)
{
    struct trees *t = load(sklearn);
    for (int i = -100; i <= 100; i++) { /* around 3.1, where (x - 3) / 0.5 is 0.2 */
        double x = 3.1 + i * 1e-9, out;
        bool left = (double)(float)((x - 3) / 0.5) <= 0.2;
        trees_margins(t, &x, 1, &out);
        assert_true(out == -1 + 0.1 * (left ? 1 : 2));
    }
    trees_free(t);
}

/* --- thresholds ---------------------------------------------------------------------------------
 */

TEST(a_threshold_below_is_that_of_the_float)
{
    static const float odd[] = {0, -0.0F,   1e-45F, -1e-45F, 3.4028235e38F, -3.4028235e38F,
                                1, INFINITY};
    uint64_t seed = 3;
    for (int round = 0; round < 20000; round++) {
        uint32_t bits = (uint32_t)xorshift(&seed);
        float t;
        memcpy(&t, &bits, sizeof t);
        if (round < 8) t = odd[round];
        if (isnan(t) || t == -INFINITY) continue;
        double at = trees_below(t), after = nextafter(at, INFINITY);
        assert_true((float)at < t && !((float)after < t));
    }
}

TEST(a_threshold_within_is_that_of_the_standardised)
{
    uint64_t seed = 5;
    for (int round = 0; round < 3000; round++) {
        double mean = (uniform(&seed) - 0.5) * pow(10, (double)(xorshift(&seed) % 9) - 3);
        double scale = 1e-3 + uniform(&seed) * 100, t = (uniform(&seed) - 0.5) * 6;
        double at = trees_within(t, mean, scale), after = nextafter(at, INFINITY);
        assert_true((double)(float)((at - mean) / scale) <= t);
        assert_true((double)(float)((after - mean) / scale) > t);
    }
}

/* --- what is refused ----------------------------------------------------------------------------
 */

static void refused(const char *data, size_t len, const char *word)
{
    struct trees *t = NULL;
    struct err e = {0};
    int rc = trees_load(&t, data, len, &e);
    if (rc != -EINVAL || t != NULL || e.code != rc) fail_msg("%s: %d %s", word, rc, e.text);
    if (strstr(e.text, word) == NULL) fail_msg("\"%s\" does not speak of \"%s\"", e.text, word);
}

/* A copy of data in which `from` has become `to`. */
static void refused_with(const char *data, const char *from, const char *to, const char *word)
{
    char *copy = malloc(strlen(data) + strlen(to) + 1);
    const char *at = strstr(data, from);
    assert_non_null(at);
    sprintf(copy, "%.*s%s%s", (int)(at - data), data, to, at + strlen(from));
    refused(copy, strlen(copy), word);
    free(copy);
}

TEST(what_xgboost_cannot_mean_is_refused)
{
    refused_with(xgboost, "binary:logistic", "rank:pairwise", "rank:pairwise");
    refused_with(xgboost, "\"gbtree\"", "\"gblinear\"", "gblinear");
    refused_with(xgboost, "[5E-1]", "[1E0]", "base_score");
    refused_with(xgboost, "[5E-1]", "[]", "base_score");
    refused_with(xgboost, "[5E-1]", "[5E-1,5E-1]", "base_score");
    refused_with(xgboost, "[1,-1", "[0,-1", "circle");
    refused_with(xgboost, "[1,-1", "[7,-1", "child");
    refused_with(xgboost, "[1,-1", "[2,-1", "circle");
    refused_with(xgboost, "[1E-1", "[NaN", "threshold");
    refused_with(xgboost, "2.5E-1", "NaN", "leaf");
    refused_with(xgboost, "[1,0,0,0,0],\"default", "[2,0,0,0,0],\"default", "feature 2 of 2");
    refused_with(xgboost, "\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\"", "vectors");
    refused_with(xgboost, "[4,1,3", "[4,-1,3", "weight");
    refused_with(xgboost, "\"tree_info\":[0]", "\"tree_info\":[1]", "class");
    refused_with(xgboost, "\"tree_info\":[0]", "\"tree_info\":[0,0]", "trees");
    refused_with(xgboost, "num_trees\":\"1", "num_trees\":\"2", "trees");
    refused_with(xgboost, "\"num_feature\":\"2\"", "\"num_feature\":\"3\"", "names");
    refused_with(xgboost, "\"num_feature\":\"2\"", "\"num_feature\":\"1e9\"", "features");
    refused_with(xgboost, "\"num_class\":\"0\"", "\"num_class\":\"3\"", "classes");
    refused_with(xgboost, "\"num_class\":\"0\"", "\"num_target\":\"2\"", "targets");
    refused_with(xgboost, "\"objective\"", "\"objection\"", "objective");
}

TEST(what_lightgbm_cannot_mean_is_refused)
{
    refused_with(lightgbm, "version=v4", "version=v9", "version");
    refused_with(lightgbm, "binary sigmoid:0.5", "lambdarank", "lambdarank");
    refused_with(lightgbm, "binary sigmoid:0.5", "regression sqrt", "sqrt");
    refused_with(lightgbm, "binary sigmoid:0.5", "multiclass num_class:1", "multiclass");
    refused_with(lightgbm, "sigmoid:0.5", "sigmoid:-1", "sigmoid");
    refused_with(lightgbm, "end of trees", "feature of trees", "cut off");
    refused_with(lightgbm, "tree_sizes=1 1", "tree_sizes=1 1 1", "cut off");
    refused_with(lightgbm, "num_leaves=4", "num_leaves=5", "lengths");
    refused_with(lightgbm, "left_child=1", "left_child=0", "no tree");
    refused_with(lightgbm, "left_child=1", "left_child=9", "child");
    refused_with(lightgbm, "left_child=1", "left_child=2", "no tree");
    refused_with(lightgbm, "leaf_value=1 2", "leaf_value=1 nan", "number");
    refused_with(lightgbm, "leaf_value=1 2", "leaf_value=1 1e999", "finite");
    refused_with(lightgbm, "decision_type=8", "decision_type=14", "decision");
    refused_with(lightgbm, "cat_boundaries=0 1", "cat_boundaries=0 9", "categories");
    refused_with(lightgbm, "cat_boundaries=0 1", "cat_boundaries=1 0", "categories");
    refused_with(lightgbm, "cat_threshold=10", "cat_threshold=-1", "set");
    refused_with(lightgbm, "feature_names=a b c", "feature_names=a b", "names");
    refused_with(lightgbm, "max_feature_idx=2", "max_feature_idx=1e9", "max_feature_idx");
    refused_with(lightgbm, "num_class=1", "num_class=2", "classes");
}

TEST(what_is_no_model_is_refused)
{
    refused("", 0, "no model");
    refused("ts,value\n1,2\n", 12, "no model");
    refused("binf\0\0\0\0", 8, "old binary");
    refused("{}", 2, "objective");
    char deep[2000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    refused(deep, sizeof deep, "deep");
    memcpy(deep, "{i\1a[", 5);
    refused(deep, sizeof deep, "deep");
    refused("{i\1a[$Z#L\x7f\xff\xff\xff\xff\xff\xff\xff", 17, "typed array");
    refused("{i\1a[#L\0\xff\xff\xff\xff\xff\xff\xff", 15, "length");
    refused("{i\1a[#l\x7f\xff\xff\xff", 11, "array");
    refused("{i\1aSl\x7f\xff\xff\xff", 10, "string");
    refused_with(sklearn, "\"scale\":[0.5]", "\"scale\":[0]", "scale");
    refused_with(sklearn, "\"learning_rate\"", "\"learning\"", "learning_rate");
    refused_with(sklearn, "\"left\":[1", "\"left\":[0", "no tree");
}

/* --- what is cut off or damaged ------------------------------------------------------------------
 */

static void try_any(const char *data, size_t len)
{
    struct trees *t = NULL;
    struct err e = {0};
    char *copy = malloc(len + 1); /* of its own, so that a byte too far is seen */
    memcpy(copy, data, len);
    int rc = trees_load(&t, copy, len, &e);
    assert_true(rc == e.code && (rc == 0) == (t != NULL));
    free(copy);
    trees_free(t);
}

static void cut_and_damage(const char *data, size_t len, bool whole)
{
    struct trees *t = NULL;
    char *copy = malloc(len);
    uint64_t seed = 9;
    size_t step = len / 900 + 1;
    for (size_t n = 0; n < len; n += step) {
        try_any(data, n);
        if (whole) assert_int_equal(trees_load(&t, data, n, NULL), -EINVAL);
    }
    for (int round = 0; round < 600; round++) {
        memcpy(copy, data, len);
        for (uint64_t n = 1 + xorshift(&seed) % 3; n > 0; n--)
            copy[xorshift(&seed) % len] =
                (char)(round % 2 ? "0123456789-,[]{}"[xorshift(&seed) % 16]
                                 : (char)xorshift(&seed));
        try_any(copy, len);
    }
    free(copy);
}

static void cut_and_damage_file(const char *path)
{
    static char data[1 << 16];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t len = fread(data, 1, sizeof data, f);
    fclose(f);
    cut_and_damage(data, len, true);
}

TEST(files_cut_off_or_damaged_do_no_harm)
{
    cut_and_damage(xgboost, strlen(xgboost), true);
    cut_and_damage(sklearn, strlen(sklearn), true);
    cut_and_damage(lightgbm, strlen(lightgbm), false); /* what follows "end of trees" is not read */
    cut_and_damage_file("tests/golden/trees/categories.ubj");
    cut_and_damage_file("tests/golden/trees/dart.ubj");
    cut_and_damage_file("tests/golden/trees/dart.json");
}

/* --- packing ------------------------------------------------------------------------------------
 */

static struct trees *full_of_everything(bool single)
{
    struct random_kind k = {.features = 7,
                            .groups = 3,
                            .trees = 12,
                            .most_leaves = 20,
                            .most_depth = 7,
                            .values = 64,
                            .zero = true,
                            .categories = true,
                            .linear = true,
                            .single = single};
    struct trees *t = random_trees(&k, 77);
    const char *names[7] = {"a", "", "c", "d", "e", "f", "g \xc3\xa9"};
    assert_int_equal(trees_set_names(t, names), 0);
    assert_int_equal(trees_set_note(t, "a\0b", 3), 0);
    t->link = TREES_SOFTMAX;
    t->mean = true;
    t->sigmoid = 0.7;
    return t;
}

TEST(packed_and_unpacked_it_is_the_same)
{
    for (int single = 0; single < 2; single++) {
        struct trees *t = full_of_everything(single), *again;
        struct random_kind k = {.features = 7, .values = 64};
        struct text out = {0}, twice = {0};
        struct err e;
        double *x = random_rows(&k, 50, 3), one[150], two[150];
        trees_pack(t, &out);
        assert_false(out.failed);
        if (trees_load(&again, out.data, out.len, &e) < 0) fail_msg("%s", e.text);
        trees_pack(again, &twice);
        assert_int_equal(out.len, twice.len);
        assert_memory_equal(out.data, twice.data, out.len);
        trees_margins(t, x, 50, one);
        trees_margins(again, x, 50, two);
        assert_memory_equal(one, two, sizeof one);
        trees_probabilities(t, one, 50);
        trees_probabilities(again, two, 50);
        assert_memory_equal(one, two, sizeof one);
        assert_string_equal(again->names[6], "g \xc3\xa9");
        assert_true(again->note_len == 3 && memcmp(again->note, "a\0b", 3) == 0);
        text_free(&out);
        text_free(&twice);
        free(x);
        trees_free(t);
        trees_free(again);
    }
}

/* Damage with a checksum that is right nevertheless: the reader itself must see to it. */
TEST(packed_damage_does_no_harm)
{
    struct trees *t = full_of_everything(true);
    struct text out = {0};
    uint64_t seed = 4;
    trees_pack(t, &out);
    trees_free(t);
    cut_and_damage(out.data, out.len, true);
    size_t len = out.len - 8;
    for (int round = 0; round < 3000; round++) {
        struct text damaged = {0};
        text_add(&damaged, out.data, len - xorshift(&seed) % 2 * (xorshift(&seed) % len));
        for (uint64_t n = xorshift(&seed) % 3; n > 0 && damaged.len > 12; n--)
            damaged.data[12 + xorshift(&seed) % (damaged.len - 12)] ^= (char)xorshift(&seed);
        pack_end(&damaged);
        try_any(damaged.data, damaged.len);
        text_free(&damaged);
    }
    text_free(&out);
}

/* --- building -----------------------------------------------------------------------------------
 */

TEST(what_is_no_tree_is_not_closed)
{
    struct trees *t;
    struct err e;
    assert_int_equal(trees_new(&t, 1 << 17, 1, &e), -EINVAL);
    assert_int_equal(trees_new(&t, 1, 0, &e), -EINVAL);
    assert_int_equal(trees_new(&t, 2, 1, &e), 0);
    assert_int_equal(trees_open(t, 1, &e), -EINVAL);
    assert_int_equal(trees_open(t, 0, &e), 0);
    assert_int_equal(trees_close(t, &e), -EINVAL); /* no nodes */
    assert_int_equal(trees_split(t, 2, 0, 0, 0, 0, &e), -EINVAL);
    assert_int_equal(trees_split(t, 0, NAN, 0, 0, 0, &e), -EINVAL);
    assert_int_equal(trees_split(t, 0, 0, 0, 0, -1, &e), -EINVAL);
    assert_int_equal(trees_leaf(t, INFINITY, 0, &e), -EINVAL);
    assert_int_equal(trees_split(t, 0, 0, 0, 0, 0, &e), 0);
    assert_int_equal(trees_leaf(t, 1, 0, &e), 1);
    trees_children(t, 0, 1, 1);
    assert_int_equal(trees_close(t, &e), -EINVAL);
    trees_children(t, 0, 1, SIZE_MAX);
    assert_int_equal(trees_close(t, &e), -EINVAL);
    assert_int_equal(trees_leaf(t, 2, 0, &e), 2);
    trees_children(t, 0, 1, 2);
    assert_int_equal(trees_close(t, &e), 0);
    assert_int_equal(trees_leaf(t, 2, 0, &e), 3);
    assert_int_equal(trees_close(t, &e), -EINVAL); /* one hangs on none */
    trees_free(t);
}

TEST(a_chain_too_deep_is_refused)
{
    struct trees *t;
    struct err e;
    assert_int_equal(trees_new(&t, 1, 1, NULL), 0);
    assert_int_equal(trees_open(t, 0, NULL), 0);
    for (size_t i = 0; i <= TREES_MOST_DEPTH; i++) {
        trees_split(t, 0, 0, 0, 0, 0, NULL);
        trees_leaf(t, 0, 0, NULL);
        trees_children(t, 2 * i, 2 * i + 1, 2 * i + 2);
    }
    trees_leaf(t, 0, 0, NULL);
    assert_int_equal(trees_close(t, &e), -EINVAL);
    assert_non_null(strstr(e.text, "deep"));
    trees_free(t);
}

TEST(trees_that_are_not_kept_are_gone)
{
    struct trees *t;
    double out;
    assert_int_equal(trees_new(&t, 1, 1, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(trees_open(t, 0, NULL), 0);
        trees_leaf(t, 1 << i, 0, NULL);
        assert_int_equal(trees_close(t, NULL), 0);
    }
    trees_keep(t, 5);
    trees_keep(t, 2);
    assert_int_equal(trees_finish(t), 0);
    trees_margins(t, &(double){0}, 1, &out);
    assert_true(out == 3);
    trees_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK(lightgbm_by_hand),
                                       CHECK(xgboost_by_hand),
                                       CHECK(scikit_learn_by_hand),
                                       CHECK(a_threshold_below_is_that_of_the_float),
                                       CHECK(a_threshold_within_is_that_of_the_standardised),
                                       CHECK(what_xgboost_cannot_mean_is_refused),
                                       CHECK(what_lightgbm_cannot_mean_is_refused),
                                       CHECK(what_is_no_model_is_refused),
                                       CHECK(files_cut_off_or_damaged_do_no_harm),
                                       CHECK(packed_and_unpacked_it_is_the_same),
                                       CHECK(packed_damage_does_no_harm),
                                       CHECK(what_is_no_tree_is_not_closed),
                                       CHECK(a_chain_too_deep_is_refused),
                                       CHECK(trees_that_are_not_kept_are_gone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
