#include "tests/c/test.h"
#include "kernels/forest.h"
#include "kernels/forest_form.h"
#include <errno.h>

static void assert_near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance)) fail_msg("%.17g, expected %.17g", got, expected);
}

/* Rows of a normal cloud; the last one is far off in column 0. */
static struct matrix *cloud(size_t rows, size_t columns, uint64_t seed)
{
    struct matrix *m;
    assert_int_equal(matrix_new(&m, rows, columns), 0);
    for (size_t i = 0; i < rows * columns; i++)
        m->x[i] = uniform(&seed) + uniform(&seed) + uniform(&seed) - 1.5;
    m->x[(rows - 1) * columns] = 9;
    return m;
}

static struct forest_options options(void)
{
    return (struct forest_options){.n_estimators = 50,
                                   .max_samples = 128,
                                   .max_features = 1,
                                   .ndim = 1,
                                   .contamination = NAN,
                                   .seed = 3,
                                   .threads = 1};
}

static struct forest *fit(const struct matrix *m, struct forest_options o)
{
    struct forest *f = NULL;
    struct err e = {0};
    if (forest_fit(&f, m, &o, NULL, &e) != 0) fail_msg("%s", e.text);
    return f;
}

static double *scores(const struct forest *f, const struct matrix *m)
{
    size_t which[64];
    double *out = malloc(m->rows * sizeof *out);
    struct err e = {0};
    assert_int_equal(forest_match(f, m, which, &e), 0);
    assert_int_equal(forest_score(f, m, which, 1, NULL, out), 0);
    return out;
}

/* -- the naive twin: the published definition over the forest's own nodes -- */

static double naive_path(const struct forest *f, size_t tree, uint32_t at, const double *x,
                         int depth)
{
    uint32_t first = f->first[tree], k = first + at, child = forest_child(f, first, f->node[k]);
    if (child == at) {
        double n = f->rows[k];
        double c = n <= 1   ? 0
                   : n == 2 ? 1
                            : 2 * (log(n - 1) + 0.5772156649015329) - 2 * (n - 1) / n;
        return depth + c;
    }
    uint32_t a = forest_feature(f, f->node[k]);
    double z = (double)(float)x[a], t = (double)f->node[k].t;
    if (f->pair != NULL) {
        const struct forest_pair *p = &f->pair[k];
        z = (double)p->w[0] * z + (double)p->w[1] * (double)(float)x[p->second];
        t = p->t;
    }
    if (isnan(z)) {
        double l = f->rows[first + child], r = f->rows[first + child + 1];
        return (l * naive_path(f, tree, child, x, depth + 1) +
                r * naive_path(f, tree, child + 1, x, depth + 1)) /
               (l + r);
    }
    return naive_path(f, tree, child + (z > t), x, depth + 1);
}

static double naive_score(const struct forest *f, const double *x)
{
    double sum = 0;
    for (size_t t = 0; t < f->trees; t++) sum += naive_path(f, t, 0, x, 0);
    return -pow(2, -sum / ((double)f->trees * forest_c((double)f->max_samples)));
}

TEST(scores_are_those_of_the_definition)
{
    for (unsigned ndim = 1; ndim <= 2; ndim++) {
        for (size_t columns = 1; columns <= 9; columns += 2) {
            struct matrix *m = cloud(700, columns, 7 + columns);
            struct forest_options o = options();
            o.ndim = ndim;
            struct forest *f = fit(m, o);
            for (size_t i = 0; i < 700; i += 9) m->x[i * columns + i % columns] = NAN;
            m->x[columns] = INFINITY;
            double *s = scores(f, m);
            for (size_t i = 0; i < m->rows; i++) {
                const double *x = matrix_row(m, i);
                if (i != 1 || ndim == 1) assert_near(s[i], naive_score(f, x), 1e-13);
                assert_true(forest_score_row(f, x) == s[i]);
            }
            free(s);
            forest_free(f);
            matrix_free(m);
        }
    }
}

TEST(every_path_gives_the_same_bits)
{
    static const enum forest_path paths[] = {FOREST_WALK, FOREST_PORTABLE, FOREST_AVX2,
                                             FOREST_AVX512};
    for (size_t columns = 1; columns <= 40; columns += 13) {
        struct matrix *m = cloud(1100, columns, columns);
        for (size_t i = 0; i < 1100; i += 2) /* ties, repeated values, missing ones, infinities */
            m->x[i * columns] = floor(4 * m->x[i * columns]);
        struct forest_options o = options();
        o.max_samples = 256; /* leaves up to the last number of a byte */
        o.n_estimators = 52; /* not all of them in groups of those walked at once */
        struct forest *f = fit(m, o);
        m->x[5 * columns] = NAN;
        m->x[6 * columns] = INFINITY;
        m->x[7 * columns] = -INFINITY;
        double *best = scores(f, m);
        for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
            if (!forest_has_path(f, paths[p])) continue;
            forest_set_path(paths[p]);
            double *s = scores(f, m);
            forest_set_path(FOREST_BEST);
            assert_memory_equal(s, best, m->rows * sizeof *s);
            free(s);
        }
        free(best);
        forest_free(f);
        matrix_free(m);
    }
}

static struct text packed(const struct forest *f)
{
    struct text t = {0};
    forest_pack(f, &t);
    assert_false(t.failed);
    return t;
}

TEST(the_number_of_threads_does_not_show)
{
    struct matrix *m = cloud(20000, 3, 5);
    struct forest_options o = options();
    o.n_estimators = 1000;
    o.contamination = 0.1;
    struct forest *one = fit(m, o);
    o.threads = 3;
    struct forest *three = fit(m, o);
    struct text a = packed(one), b = packed(three);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    text_free(&a);
    text_free(&b);
    forest_free(one);
    forest_free(three);
    matrix_free(m);
}

TEST(a_forest_comes_back_from_its_bytes)
{
    for (unsigned ndim = 1; ndim <= 2; ndim++) {
        struct matrix *m = cloud(300, 2, 11);
        for (size_t i = 0; i < 300; i++) m->x[2 * i] += 1e12; /* with an origin */
        assert_int_equal(matrix_set_name(m, 0, "bytes", 5), 0);
        struct forest_options o = options();
        o.ndim = ndim;
        o.contamination = 0.05;
        struct forest *f = fit(m, o), *back = NULL;
        struct text t = packed(f);
        assert_int_equal(forest_unpack(&back, t.data, t.len, NULL), 0);
        struct forest_about a = forest_about(f), b = forest_about(back);
        assert_true(a.offset == b.offset && a.contamination == b.contamination);
        assert_string_equal(b.names[0], "bytes");
        double *x = scores(f, m), *y = scores(back, m);
        assert_memory_equal(x, y, 300 * sizeof *x);
        struct text again = packed(back);
        assert_int_equal(again.len, t.len);
        assert_memory_equal(again.data, t.data, t.len);
        free(x);
        free(y);
        text_free(&t);
        text_free(&again);
        forest_free(f);
        forest_free(back);
        matrix_free(m);
    }
}

TEST(bytes_that_are_cut_or_changed_are_refused_or_make_sense)
{
    struct matrix *m = cloud(60, 2, 1);
    struct forest_options o = options();
    o.n_estimators = 3;
    struct forest *f = fit(m, o);
    struct text t = packed(f);
    for (size_t len = 0; len < t.len; len++) {
        struct forest *back = NULL;
        struct err e = {0};
        assert_int_equal(forest_unpack(&back, t.data, len, &e), -EINVAL);
        assert_true(e.text[0] != '\0');
    }
    text_free(&t);
    forest_free(f);
    matrix_free(m);
}

TEST(trees_keep_to_their_depth_rows_and_columns)
{
    struct matrix *m = cloud(1000, 6, 2);
    struct forest_options o = options();
    o.max_features = 2;
    o.whole_features = true;
    for (int bootstrap = 0; bootstrap <= 1; bootstrap++) {
        o.bootstrap = bootstrap;
        struct forest *f = fit(m, o);
        assert_true(f->levels <= 7); /* of 128 rows */
        for (size_t t = 0; t < f->trees; t++) {
            unsigned used = 0;
            assert_int_equal(f->rows[f->first[t]], 128);
            for (uint32_t k = f->first[t]; k < f->first[t + 1]; k++)
                if (forest_child(f, f->first[t], f->node[k]) != k - f->first[t])
                    used |= 1u << forest_feature(f, f->node[k]);
            assert_true(__builtin_popcount(used) <= 2);
        }
        forest_free(f);
    }
    matrix_free(m);
}

TEST(rows_are_drawn_evenly)
{
    /* Each row has a value of its own; where a tree of two rows cuts tells of both. */
    enum { ROWS = 10, TREES = 20000 };
    struct matrix *m;
    assert_int_equal(matrix_new(&m, ROWS, 1), 0);
    for (size_t i = 0; i < ROWS; i++) m->x[i] = (double)(1u << i);
    struct forest_options o = options();
    o.n_estimators = TREES;
    o.max_samples = 2;
    struct forest *f = fit(m, o);
    size_t between[ROWS] = {0}; /* cuts between row i - 1 and i */
    for (size_t t = 0; t < f->trees; t++) {
        float cut = f->node[f->first[t]].t;
        size_t i = 1;
        while ((float)m->x[i] <= cut) i++;
        between[i]++;
        assert_int_equal(f->first[t + 1] - f->first[t], 3); /* never the same row twice */
    }
    for (size_t i = 1; i < ROWS; i++) { /* of all pairs, the uniform cut's share in this gap */
        double expected = 0;
        for (size_t a = 0; a < i; a++)
            for (size_t b = i; b < ROWS; b++)
                expected += (m->x[i] - m->x[i - 1]) / (m->x[b] - m->x[a]) / (ROWS * (ROWS - 1) / 2);
        double sd = sqrt(expected * (1 - expected) / TREES);
        assert_near((double)between[i] / TREES, expected, 5 * sd);
    }
    forest_free(f);
    matrix_free(m);
}

TEST(contributions_add_up_and_blame_what_is_odd)
{
    for (unsigned ndim = 1; ndim <= 2; ndim++) {
        struct matrix *m = cloud(400, 4, 9);
        struct forest_options o = options();
        o.ndim = ndim;
        struct forest *f = fit(m, o);
        for (size_t i = 0; i < 400; i += 7) m->x[4 * i + 2] = NAN;
        for (size_t i = 0; i < 400; i++) {
            double out[4], sum = 0;
            assert_int_equal(forest_explain(f, matrix_row(m, i), out), 0);
            for (size_t c = 0; c < 4; c++) sum += out[c];
            double score = forest_score_row(f, matrix_row(m, i));
            assert_near(sum, score - forest_expectation(f), 1e-13);
            if (i % 7 == 0 && ndim == 1) assert_true(out[2] == 0);
            for (size_t c = 1; i == 399 && c < 4; c++) assert_true(out[0] < out[c]);
        }
        forest_free(f);
        matrix_free(m);
    }
}

TEST(missing_values_do_not_matter_where_all_are)
{
    struct matrix *m = cloud(300, 3, 4);
    for (size_t i = 0; i < 300; i++) m->x[3 * i + 1] = NAN;
    struct forest *f = fit(m, options());
    double none[] = {NAN, NAN, NAN}, a[] = {0.1, 5, 0.2}, b[] = {0.1, NAN, 0.2};
    assert_near(forest_score_row(f, none), forest_expectation(f), 1e-13);
    assert_true(forest_score_row(f, a) == forest_score_row(f, b));
    forest_free(f);
    matrix_free(m);
}

TEST(what_cannot_be_cut_scores_a_half)
{
    struct matrix *m;
    assert_int_equal(matrix_new(&m, 500, 2), 0);
    for (size_t i = 0; i < 1000; i++) m->x[i] = 7;
    for (unsigned ndim = 1; ndim <= 2; ndim++) {
        struct forest_options o = options();
        o.ndim = ndim;
        struct forest *f = fit(m, o);
        double *s = scores(f, m), far[] = {1e9, -1e9};
        for (size_t i = 0; i < 500; i++) assert_true(s[i] == -0.5);
        assert_true(forest_score_row(f, far) == -0.5);
        free(s);
        forest_free(f);
    }
    matrix_free(m);
}

TEST(values_beyond_float32_are_the_largest)
{
    struct matrix *m = cloud(200, 2, 8);
    m->x[0] = INFINITY;
    m->x[2] = -INFINITY;
    m->x[4] = 1e300;
    for (unsigned ndim = 1; ndim <= 2; ndim++) {
        struct forest_options o = options();
        o.ndim = ndim;
        o.max_samples = 200;
        struct forest *f = fit(m, o);
        double inf[] = {INFINITY, 0}, huge[] = {1e301, 0}, usual[] = {0.1, 0};
        assert_true(forest_score_row(f, inf) == forest_score_row(f, huge));
        assert_true(forest_score_row(f, inf) < forest_score_row(f, usual));
        forest_free(f);
    }
    matrix_free(m);
}

TEST(values_that_float32_cannot_tell_apart_are_measured_from_one_of_them)
{
    struct matrix *m = cloud(300, 2, 12);
    struct forest *plain = fit(m, options());
    assert_true(plain->origin[0] == 0 && plain->origin[1] == 0);
    for (size_t i = 0; i < 300; i++) m->x[2 * i] += 1e12;
    struct forest *f = fit(m, options());
    assert_near(f->origin[0], 1e12, 10);
    double *s = scores(f, m);
    for (size_t i = 0; i < 299; i++) assert_true(s[i] > s[299]);
    free(s);
    forest_free(plain);
    forest_free(f);
    matrix_free(m);
}

TEST(the_offset_is_the_quantile_of_the_scores)
{
    struct matrix *m = cloud(101, 2, 6);
    struct forest_options o = options();
    o.contamination = 0.1;
    struct forest *f = fit(m, o);
    double *s = scores(f, m), offset = forest_about(f).offset;
    int below = 0, at = 0;
    for (size_t i = 0; i < 101; i++) {
        below += s[i] < offset;
        at += s[i] == offset;
    }
    assert_int_equal(below, 10); /* the 11th of 101 is the tenth part exactly */
    assert_true(at >= 1);
    free(s);
    forest_free(f);
    matrix_free(m);
}

TEST(too_little_is_refused)
{
    struct matrix *none, *one, *empty;
    struct forest *f = NULL;
    struct err e = {0};
    struct forest_options o = options();
    assert_int_equal(matrix_new(&none, 0, 3), 0);
    assert_int_equal(matrix_new(&empty, 9, 3), 0);
    one = cloud(1, 3, 1);
    assert_int_equal(forest_fit(&f, none, &o, NULL, &e), -EINVAL);
    assert_int_equal(forest_fit(&f, one, &o, NULL, &e), -EINVAL);
    assert_non_null(strstr(e.text, "at least 2 rows"));
    assert_int_equal(forest_fit(&f, empty, &o, NULL, &e), -EINVAL);
    assert_non_null(strstr(e.text, "missing"));
    o.max_samples = 1;
    struct matrix *m = cloud(9, 3, 1);
    assert_int_equal(forest_fit(&f, m, &o, NULL, &e), -EINVAL);
    assert_non_null(strstr(e.text, "max_samples"));
    matrix_free(none);
    matrix_free(one);
    matrix_free(empty);
    matrix_free(m);
}

TEST(what_is_cancelled_ends)
{
    struct matrix *m = cloud(5000, 3, 1);
    atomic_bool cancel = true;
    struct forest *f = NULL;
    struct err e = {0};
    struct forest_options o = options();
    assert_int_equal(forest_fit(&f, m, &o, &cancel, &e), -ECANCELED);
    assert_null(f);
    f = fit(m, o);
    size_t which[] = {0, 1, 2};
    double *out = malloc(m->rows * sizeof *out);
    assert_int_equal(forest_score(f, m, which, 1, &cancel, out), -ECANCELED);
    free(out);
    forest_free(f);
    matrix_free(m);
}

TEST(trees_larger_than_a_plan_holds_are_walked)
{
    struct matrix *m = cloud(3000, 2, 15);
    struct forest_options o = options();
    o.n_estimators = 11; /* not eight abreast alone */
    o.max_samples = 3000;
    struct forest *f = fit(m, o);
    assert_false(forest_has_path(f, FOREST_PORTABLE));
    double *s = scores(f, m);
    for (size_t i = 0; i < 3000; i += 10)
        assert_near(s[i], naive_score(f, matrix_row(m, i)), 1e-13);
    free(s);
    forest_free(f);
    matrix_free(m);
}

/* -- scikit-learn's trees -- */

#define NODES(feature, threshold, left, right, n)                                                  \
    "{\"n_features\":2,\"max_samples\":4,\"offset\":-0.6,\"trees\":[{\"feature\":" feature         \
    ",\"threshold\":" threshold ",\"left\":" left ",\"right\":" right ",\"n\":" n "}]}"

static int import(struct forest **f, const char *json, struct err *e)
{
    return forest_import(f, json, strlen(json), e);
}

TEST(thresholds_of_doubles_decide_as_scikit_learn_does)
{
    struct forest *f = NULL;
    struct err e = {0};
    assert_int_equal(
        import(&f, NODES("[1,-2,-2]", "[0.1,0,0]", "[1,-1,-1]", "[2,-1,-1]", "[4,1,3]"), &e), 0);
    /* (double)(float)x <= 0.1, of the floats around it */
    double above[] = {0, (double)0.1f}, below[] = {0, (double)nextafterf(0.1f, 0)};
    assert_true((double)0.1f > 0.1);
    double c = 2 * (log(3) + 0.5772156649015329) - 2 * 3.0 / 4,
           c3 = 2 * (log(2) + 0.5772156649015329) - 2 * 2.0 / 3;
    assert_near(forest_score_row(f, below), -pow(2, -1 / c), 1e-15);
    assert_near(forest_score_row(f, above), -pow(2, -(1 + c3) / c), 1e-15);
    assert_true(forest_about(f).offset == -0.6);
    forest_free(f);
}

TEST(json_that_is_no_forest_is_refused_with_the_reason)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"[]", "no object"},
        {"{", "line 1"},
        {"{}", "n_features"},
        {"{\"n_features\":1,\"max_samples\":1}", "max_samples"},
        {"{\"n_features\":1,\"max_samples\":9,\"trees\":[]}", "trees"},
        {NODES("[1,-2]", "[0.1,0,0]", "[1,-1,-1]", "[2,-1,-1]", "[4,1,3]"), "threshold"},
        {NODES("[2,-2,-2]", "[0.1,0,0]", "[1,-1,-1]", "[2,-1,-1]", "[4,1,3]"), "feature"},
        {NODES("[1,-2,-2]", "[0.1,0,0]", "[1,-1,-1]", "[1,-1,-1]", "[4,1,3]"), "child"},
        {NODES("[1,-2,-2]", "[0.1,0,0]", "[1,-1,-1]", "[3,-1,-1]", "[4,1,3]"), "right"},
        {NODES("[1,-2,-2]", "[0.1,0,0]", "[0,-1,-1]", "[2,-1,-1]", "[4,1,3]"), "left"},
        {NODES("[1,-2,-2]", "[0.1,0,0]", "[1,-1,-1]", "[2,-1,-1]", "[4,0,3]"), "n"},
        {NODES("[-2,1,-2,-2]", "[0,1,0,0]", "[-1,2,-1,-1]", "[-1,3,-1,-1]", "[9,4,1,3]"), "tree"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct forest *f = NULL;
        struct err e = {0};
        assert_int_equal(import(&f, cases[i].json, &e), -EINVAL);
        if (strstr(e.text, cases[i].why) == NULL) fail_msg("%zu: %s", i, e.text);
        assert_null(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(scores_are_those_of_the_definition),
        CHECK(every_path_gives_the_same_bits),
        CHECK(the_number_of_threads_does_not_show),
        CHECK(a_forest_comes_back_from_its_bytes),
        CHECK(bytes_that_are_cut_or_changed_are_refused_or_make_sense),
        CHECK(trees_keep_to_their_depth_rows_and_columns),
        CHECK(rows_are_drawn_evenly),
        CHECK(contributions_add_up_and_blame_what_is_odd),
        CHECK(missing_values_do_not_matter_where_all_are),
        CHECK(what_cannot_be_cut_scores_a_half),
        CHECK(values_beyond_float32_are_the_largest),
        CHECK(values_that_float32_cannot_tell_apart_are_measured_from_one_of_them),
        CHECK(the_offset_is_the_quantile_of_the_scores),
        CHECK(too_little_is_refused),
        CHECK(what_is_cancelled_ends),
        CHECK(trees_larger_than_a_plan_holds_are_walked),
        CHECK(thresholds_of_doubles_decide_as_scikit_learn_does),
        CHECK(json_that_is_no_forest_is_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
