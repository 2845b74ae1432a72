#include "tests/c/test.h"

#include <errno.h>
#include <math.h>

#include "kernels/boost.h"
#include "kernels/boost_move.h"
#include "kernels/boost_parts.h"
#include "kernels/boost_search.h"

static const struct boost_options defaults = {.n_estimators = 20,
                                              .max_depth = 4,
                                              .learning_rate = 0.1,
                                              .min_samples_leaf = 20,
                                              .min_child_weight = 1,
                                              .subsample = 1,
                                              .colsample = 1,
                                              .max_bins = 255,
                                              .weight = {1, 1},
                                              .seed = 7,
                                              .threads = 1};

struct data {
    struct matrix *X;
    double *y;
};

/* Labels follow from the first two columns and chance; share of the values is missing. */
static struct data make(size_t n, size_t d, double missing, uint64_t seed)
{
    struct data data;
    assert_int_equal(matrix_new(&data.X, n, d), 0);
    data.y = malloc(n * sizeof *data.y);
    for (size_t i = 0; i < n; i++) {
        double *row = data.X->x + i * d;
        for (size_t j = 0; j < d; j++) {
            double u = uniform(&seed);
            row[j] = j % 3 == 2 ? floor(u * 12) : u * u;
        }
        double z = 4 * row[0] - 3 * row[1 % d] * row[0] - 1.5;
        data.y[i] = uniform(&seed) < 1 / (1 + exp(-z));
        for (size_t j = 0; j < d; j++)
            if (uniform(&seed) < missing) row[j] = NAN;
    }
    return data;
}

static void drop(struct data data)
{
    matrix_free(data.X);
    free(data.y);
}

static struct boost_fitted fit(struct data data, const struct boost_options *o)
{
    struct boost_fitted f;
    struct err e = {0};
    int rc = boost_fit(&f, data.X, data.y, o, NULL, NULL, &e);
    if (rc != 0) fail_msg("%s", e.text);
    return f;
}

static double log_loss(const struct trees *t, struct data data, size_t first, size_t last)
{
    double sum = 0;
    for (size_t i = first; i < last; i++) {
        double z;
        trees_walk(t, matrix_row(data.X, i), &z);
        sum += data.y[i] == 1 ? log1p(exp(-z)) : log1p(exp(z));
    }
    return sum / (double)(last - first);
}

static double prior_loss(struct data data)
{
    double p = 0;
    for (size_t i = 0; i < data.X->rows; i++) p += data.y[i] / (double)data.X->rows;
    return -p * log(p) - (1 - p) * log(1 - p);
}

/* -- bins -- */

static struct boost_bins *bins_of(struct data data, const struct boost_options *o)
{
    struct boost_bins *b;
    struct parallel *team;
    struct err e = {0};
    assert_int_equal(parallel_open(&team, 1), 0);
    int rc = boost_bins_make(&b, data.X, data.X->rows, o, team, NULL, &e);
    parallel_close(team);
    if (rc != 0) fail_msg("%s", e.text);
    return b;
}

TEST(bins_keep_the_order_of_numbers_and_hold_about_as_many_rows_each)
{
    struct data data = make(5000, 3, 0.1, 1);
    struct boost_options o = defaults;
    o.max_bins = 33;
    struct boost_bins *b = bins_of(data, &o);
    for (size_t j = 0; j < 3; j++) {
        const struct boost_feature *f = &b->features[j];
        size_t count[BOOST_BINS] = {0};
        assert_int_equal(f->n_values, j == 2 ? 12 : 32);
        assert_true(f->missing);
        for (size_t i = 0; i < 5000; i++) {
            double x = matrix_get(data.X, i, j);
            unsigned bin = boost_bin(b, i, j);
            count[bin]++;
            assert_int_equal(bin == f->n_values, isnan(x));
            if (isnan(x)) continue;
            if (bin > 0) assert_true(x > f->cuts[bin - 1]);
            if (bin + 1 < f->n_values) assert_true(x <= f->cuts[bin]);
        }
        for (unsigned k = 0; j != 2 && k < 32; k++) assert_in_range(count[k], 120, 165);
    }
    boost_bins_free(b);
    drop(data);
}

TEST(a_value_that_most_rows_have_takes_one_bin)
{
    struct data data = make(2000, 1, 0, 2);
    for (size_t i = 0; i < 2000; i++)
        if (i % 10 != 0) data.X->x[i] = 0.5;
    struct boost_options o = defaults;
    o.max_bins = 21;
    struct boost_bins *b = bins_of(data, &o);
    assert_in_range(b->features[0].n_values, 18, 20);
    boost_bins_free(b);
    drop(data);
}

TEST(the_commonest_categories_have_bins_and_the_others_share_one)
{
    struct data data = make(1000, 1, 0, 3);
    for (size_t i = 0; i < 1000;
         i++) /* category c has so many rows: 400, 200, 100, …, and one each */
        data.X->x[i] = i < 400 ? 70 : i < 600 ? 3 : i < 700 ? 65535 : i < 960 ? 5 : (double)i;
    struct boost_options o = defaults;
    bool categorical = true;
    o.categorical = &categorical;
    o.max_bins = 5; /* three categories, the others, the missing */
    struct boost_bins *b = bins_of(data, &o);
    const struct boost_feature *f = &b->features[0];
    assert_int_equal(f->n_values, 4);
    assert_true(f->categories[0] == 3 && f->categories[1] == 5 && f->categories[2] == 70);
    assert_int_equal(boost_bin(b, 0, 0), 2);
    assert_int_equal(boost_bin(b, 650, 0), 3);
    assert_int_equal(boost_bin(b, 999, 0), 3);
    boost_bins_free(b);
    drop(data);
}

/* -- moving rows -- */

TEST(rows_are_moved_in_their_order_with_and_without_vectors)
{
    uint64_t seed = 4;
    for (int round = 0; round < 600; round++) {
        size_t n = xorshift(&seed) % 70;
        unsigned char left[80];
        uint64_t x[80], want[80], aside[80 + BOOST_ASIDE];
        uint32_t half[80], aside_half[80 + BOOST_ASIDE];
        size_t at = 0;
        for (size_t i = 0; i < n; i++) {
            left[i] = xorshift(&seed) % (round % 3 == 0 ? 2 : 9) == 0;
            x[i] = xorshift(&seed);
            half[i] = (uint32_t)x[i];
        }
        for (size_t i = 0; i < n; i++)
            if (left[i]) want[at++] = x[i];
        for (size_t i = 0; i < n; i++)
            if (!left[i]) want[at++] = x[i];
        boost_use_vectors(round % 2 == 0);
        boost_move_64(x, aside, left, n);
        boost_move_32(half, aside_half, left, n);
        for (size_t i = 0; i < n; i++) assert_true(x[i] == want[i] && half[i] == (uint32_t)want[i]);
    }
    boost_use_vectors(true);
}

/* -- growing -- */

static struct boost_sums sum_where(const struct boost_bins *b, const struct boost_rows *r,
                                   const unsigned char *here, size_t feature, uint64_t low,
                                   bool missing_left)
{
    struct boost_sums s = {0, 0};
    unsigned missing = b->features[feature].n_values;
    for (size_t i = 0; i < r->n; i++) {
        unsigned bin = boost_bin(b, i, feature);
        bool left = bin == missing ? missing_left : bin <= low;
        uint32_t state = r->state[i];
        if (!here[i] || !left || !(state & BOOST_SEEN)) continue;
        s.g += (int32_t)state >> BOOST_G_SHIFT;
        s.hn += ((uint64_t)(state >> BOOST_H_SHIFT & BOOST_LEVELS) << BOOST_COUNT_BITS) + 1;
    }
    return s;
}

/* The definition: every bin of every feature, both ways for missing values, from the rows. */
static double slow_gain(const struct boost_bins *b, const struct boost_rows *r,
                        const unsigned char *here, const struct boost_options *o)
{
    double best = 0;
    struct boost_sums all = sum_where(b, r, here, 0, BOOST_BINS, true);
    for (size_t j = 0; j < b->columns; j++)
        for (unsigned bin = 0; bin < b->features[j].n_values; bin++)
            for (int missing_left = 0; missing_left < 2; missing_left++) {
                struct boost_sums left = sum_where(b, r, here, j, bin, missing_left);
                struct boost_sums right = {all.g - left.g, all.hn - left.hn};
                double gl = (double)left.g * r->g_unit, gr = (double)right.g * r->g_unit;
                double hl = (double)boost_h(left) * r->h_unit;
                double hr = (double)boost_h(right) * r->h_unit;
                if (boost_count(left) < o->min_samples_leaf ||
                    boost_count(right) < o->min_samples_leaf || hl < o->min_child_weight ||
                    hr < o->min_child_weight)
                    continue;
                double gain = gl * gl / (hl + o->l2) + gr * gr / (hr + o->l2) -
                              (gl + gr) * (gl + gr) / (hl + hr + o->l2);
                if (gain > best) best = gain;
            }
    return best;
}

static void check_node(const struct boost_bins *b, const struct boost_rows *r,
                       const struct boost_options *o, const struct boost_tree *t, uint32_t at,
                       const unsigned char *here, unsigned depth, double base)
{
    const struct boost_node *node = &t->nodes[at];
    struct boost_sums all = sum_where(b, r, here, 0, BOOST_BINS, true);
    assert_int_equal(boost_count(all), node->n);
    if (depth < o->max_depth) {
        double gain = slow_gain(b, r, here, o);
        assert_true(fabs(gain - node->gain) <= 1e-9 * gain + (node->left == 0 ? 1e-6 : 0));
    }
    unsigned char *below = calloc(r->n, 1);
    for (int side = 0; side < 2 && node->left != 0; side++) {
        for (size_t i = 0; i < r->n; i++)
            below[i] =
                here[i] && boost_goes_left(node, boost_bin(b, i, node->feature)) == (side == 0);
        check_node(b, r, o, t, side == 0 ? node->left : node->right, below, depth + 1, base);
    }
    free(below);
    if (node->left != 0) return;
    double value = -(double)all.g * r->g_unit / ((double)boost_h(all) * r->h_unit + o->l2);
    assert_true(fabs(value * o->learning_rate - node->value) < 1e-12);
    for (size_t i = 0; i < r->n; i++)
        if (here[i])
            assert_true(fabs((double)boost_margin(r->margin[i]) - base - node->value) < 1e-6);
}

TEST(every_split_is_the_best_there_is_and_every_row_gets_the_value_of_its_leaf)
{
    struct data data = make(BOOST_CHUNK + 700, 10, 0.15, 5);
    for (int round = 0; round < 3; round++) {
        struct boost_options o = defaults;
        o.max_bins = 9;
        o.l2 = round;
        o.subsample = round == 2 ? 0.5 : 1;
        o.threads = 1 + (unsigned)round;
        struct parallel *team;
        struct boost_bins *b = bins_of(data, &o);
        assert_int_equal(parallel_open(&team, o.threads), 0);
        size_t n = data.X->rows;
        struct boost_chunk of_chunk[2];
        struct boost_rows r = {.n = n, .chunks = 2, .weight = {1, 2}, .of_chunk = of_chunk};
        r.state = malloc(n * sizeof *r.state);
        r.margin = malloc(n * sizeof *r.margin);
        for (size_t i = 0; i < n; i++) {
            r.state[i] = data.y[i] == 1 ? BOOST_LABEL : 0;
            r.margin[i] = boost_margin_bits(-0.25f);
        }
        double loss = boost_loss_derive(&r, &o, 1, team), want = 0;
        for (size_t i = 0; i < n; i++)
            want += data.y[i] == 1 ? 2 * log1p(exp(0.25)) : log1p(exp(-0.25));
        assert_true(fabs(loss - want) < 1e-6 * want);
        struct boost_grower *g;
        struct boost_tree t = {0};
        bool features[10] = {true, true, true, true, true, true, true, true, true, true};
        unsigned char *all = malloc(n);
        memset(all, 1, n);
        assert_int_equal(boost_grower_open(&g, b, &r, &o, team), 0);
        assert_int_equal(boost_grow(g, &t, features, NULL), 0);
        assert_true(t.n > 15);
        check_node(b, &r, &o, &t, 0, all, 0, -0.25);
        boost_grower_close(g);
        boost_bins_free(b);
        parallel_close(team);
        free(t.nodes);
        free(r.state);
        free(r.margin);
        free(all);
    }
    drop(data);
}

TEST(derivatives_are_right_on_average)
{
    enum { N = 4000 };
    struct boost_chunk of_chunk[1];
    struct boost_rows r = {.n = N, .chunks = 1, .weight = {1, 3}, .of_chunk = of_chunk};
    struct parallel *team;
    uint64_t seed = 6;
    double want[2] = {0, 0};
    r.state = malloc(N * sizeof *r.state);
    r.margin = malloc(N * sizeof *r.margin);
    for (size_t i = 0; i < N; i++) {
        float m = (float)(uniform(&seed) * 12 - 9);
        bool yes = uniform(&seed) < 0.2;
        double p = 1 / (1 + exp(-(double)m)), w = yes ? 3 : 1;
        r.margin[i] = boost_margin_bits(m);
        r.state[i] = yes ? BOOST_LABEL : 0;
        want[0] += w * (p - yes);
        want[1] += w * p * (1 - p);
    }
    assert_int_equal(parallel_open(&team, 1), 0);
    for (int vectors = 0; vectors < 2; vectors++) {
        boost_use_vectors(vectors);
        boost_loss_derive(&r, &defaults, 3, team);
        assert_int_equal(boost_count(r.all), N);
        assert_true(fabs((double)r.all.g * r.g_unit - want[0]) < 4 * sqrt(N) * r.g_unit);
        assert_true(fabs((double)boost_h(r.all) * r.h_unit - want[1]) < 4 * sqrt(N) * r.h_unit);
    }
    parallel_close(team);
    free(r.state);
    free(r.margin);
}

/* -- models -- */

static struct text bytes_of(struct data data, const struct boost_options *o)
{
    struct boost_fitted f = fit(data, o);
    struct text out = {0};
    trees_pack(f.trees, &out);
    assert_false(out.failed);
    boost_fitted_free(&f);
    return out;
}

TEST(the_same_seed_gives_the_same_bytes_whatever_the_threads_and_vectors)
{
    struct data data = make(3 * BOOST_CHUNK + 11, 9, 0.05, 8);
    struct boost_options o = defaults;
    o.n_estimators = 5;
    o.subsample = 0.7;
    o.colsample = 0.6;
    for (int split = 0; split < 2; split++) {
        if (split == 1) {
            drop(data);
            data = make(5000, 4, 0, 9);
            o.split = BOOST_EXACT;
        }
        struct text first = bytes_of(data, &o);
        for (unsigned threads = 2; threads <= 3; threads++) {
            o.threads = threads;
            boost_use_vectors(threads == 2);
            struct text other = bytes_of(data, &o);
            assert_int_equal(other.len, first.len);
            assert_memory_equal(other.data, first.data, first.len);
            text_free(&other);
        }
        o.seed++;
        struct text other = bytes_of(data, &o);
        assert_true(other.len != first.len || memcmp(other.data, first.data, first.len) != 0);
        text_free(&other);
        text_free(&first);
        boost_use_vectors(true);
    }
    drop(data);
}

TEST(train_score_is_the_deviance_of_the_model_on_its_rows)
{
    struct data data = make(3000, 5, 0.1, 10);
    for (int watched = 0; watched < 2; watched++) {
        struct boost_options o = defaults;
        o.validation_fraction = watched ? 0.25 : 0;
        struct boost_fitted f = fit(data, &o);
        size_t n = watched ? 2250 : 3000;
        assert_int_equal(f.n_scores, 20);
        assert_int_equal(f.best, 20);
        assert_true(fabs(f.train_score[19] - 2 * log_loss(f.trees, data, 0, n)) < 1e-5);
        assert_true(f.train_score[19] < 2 * prior_loss(data) - 0.05);
        if (watched) {
            double want = 2 * log_loss(f.trees, data, n, 3000);
            assert_true(fabs(f.validation_score[19] - want) < 1e-5);
        }
        boost_fitted_free(&f);
    }
    drop(data);
}

TEST(early_stopping_keeps_the_trees_up_to_the_best)
{
    struct data data = make(1500, 6, 0, 11);
    for (int split = 0; split < 2; split++) {
        struct boost_options o = defaults;
        o.split = split == 0 ? BOOST_HISTOGRAM : BOOST_EXACT;
        o.n_estimators = 300;
        o.learning_rate = 0.4;
        o.validation_fraction = 0.3;
        o.early_stopping_rounds = 4;
        struct boost_fitted f = fit(data, &o);
        assert_true(f.n_scores < 300 && f.n_scores == f.best + 4);
        assert_int_equal(f.trees->n_trees, f.best);
        for (size_t k = 0; k < f.n_scores; k++)
            assert_true(f.validation_score[k] >= f.validation_score[f.best - 1]);
        boost_fitted_free(&f);
    }
    drop(data);
}

TEST(missing_values_learn_their_way)
{
    struct data data = make(2000, 1, 0, 12);
    for (size_t i = 0; i < 2000; i++) {
        data.X->x[i] = i % 4 == 0 ? NAN : (double)(i % 7);
        data.y[i] = i % 4 == 0 ? i % 5 != 0 : i % 5 == 0;
    }
    struct boost_fitted f = fit(data, &defaults);
    double none = NAN, some = 3, z[2];
    trees_walk(f.trees, &none, &z[0]);
    trees_walk(f.trees, &some, &z[1]);
    assert_true(z[0] > 0.5 && z[1] < -0.5);
    boost_fitted_free(&f);
    drop(data);
}

TEST(monotone_constraints_hold_wherever_one_looks)
{
    struct data data = make(4000, 3, 0.05, 13);
    for (int direction = -1; direction <= 1; direction += 2) {
        signed char monotone[3] = {(signed char)direction, 0, 0};
        struct boost_options o = defaults;
        o.monotone = monotone;
        o.n_estimators = 40;
        struct boost_fitted f = fit(data, &o);
        uint64_t seed = 14;
        for (int k = 0; k < 200; k++) {
            double row[3] = {0, uniform(&seed), floor(uniform(&seed) * 12)}, before = -INFINITY;
            for (int step = 0; step <= 50; step++) {
                double z;
                row[0] = (direction > 0 ? step : 50 - step) / 50.0;
                trees_walk(f.trees, row, &z);
                assert_true(z >= before - 1e-9);
                before = z;
            }
        }
        boost_fitted_free(&f);
    }
    drop(data);
}

TEST(categories_are_split_by_what_they_are_not_by_their_order)
{
    struct data data = make(6000, 1, 0, 15);
    uint64_t seed = 16;
    for (size_t i = 0; i < 6000; i++) {
        unsigned c = (unsigned)(xorshift(&seed) % 300);
        data.X->x[i] = c;
        data.y[i] = uniform(&seed) < (c * 7 % 5 < 2 ? 0.9 : 0.1);
    }
    bool categorical = true;
    struct boost_options o = defaults;
    o.categorical = &categorical;
    struct boost_fitted f = fit(data, &o);
    assert_true(log_loss(f.trees, data, 0, 6000) < 0.45);
    /* Never seen, and too rare to have a bin, is the same: what the split does not list. */
    double unseen = 60000, z[2], huge = 1e9;
    trees_walk(f.trees, &unseen, &z[0]);
    trees_walk(f.trees, &huge, &z[1]);
    assert_true(z[0] == z[1]);
    boost_fitted_free(&f);
    o.max_bins = 5; /* three categories, each against the rest */
    f = fit(data, &o);
    assert_true(isfinite(log_loss(f.trees, data, 0, 6000)));
    boost_fitted_free(&f);
    drop(data);
}

TEST(the_bias_of_an_explanation_is_the_mean_margin_of_the_rows_trained_on)
{
    struct data data = make(2000, 3, 0.1, 21);
    struct boost_fitted f = fit(data, &defaults);
    double parts[4], mean = 0, z;
    struct err e = {0};
    for (size_t i = 0; i < 2000; i++) {
        trees_walk(f.trees, matrix_row(data.X, i), &z);
        mean += z / 2000;
    }
    assert_int_equal(trees_explain(f.trees, matrix_row(data.X, 0), 1, NULL, parts, &e), 0);
    assert_true(fabs(parts[3] - mean) < 1e-6);
    boost_fitted_free(&f);
    drop(data);
}

TEST(weights_move_the_base_rate)
{
    struct data data = make(2000, 2, 0, 17);
    struct boost_options o = defaults;
    o.balanced = true;
    struct boost_fitted f = fit(data, &o);
    assert_true(fabs(f.trees->base[0]) < 1e-12);
    boost_fitted_free(&f);
    o.balanced = false;
    o.weight[1] = 3;
    f = fit(data, &o);
    double n1 = 0;
    for (size_t i = 0; i < 2000; i++) n1 += data.y[i];
    assert_true(fabs(f.trees->base[0] - log(3 * n1 / (2000 - n1))) < 1e-12);
    boost_fitted_free(&f);
    drop(data);
}

TEST(the_most_unequal_weights_leave_every_number_finite)
{
    struct data data = make(2000, 2, 0, 23);
    for (unsigned k = 0; k < 4; k++) {
        struct boost_options o = defaults;
        o.split = k / 2 ? BOOST_EXACT : BOOST_HISTOGRAM;
        o.n_estimators = 20;
        o.learning_rate = 1;
        o.weight[k % 2] = BOOST_MOST_WEIGHT;
        o.weight[1 - k % 2] = 1.0 / BOOST_MOST_WEIGHT;
        struct boost_fitted f = fit(data, &o);
        double out[1];
        assert_true(isfinite(f.trees->base[0]));
        for (size_t i = 0; i < f.n_scores; i++) assert_true(isfinite(f.train_score[i]));
        for (size_t i = 0; i < 2000; i += 100) {
            assert_int_equal(trees_predict(f.trees, data.X->x + 2 * i, 1, 1, NULL, out), 0);
            assert_true(isfinite(out[0]));
        }
        boost_fitted_free(&f);
    }
    drop(data);
}

TEST(columns_without_anything_to_tell_leave_the_base_rate)
{
    struct data data = make(500, 3, 0, 18);
    for (size_t i = 0; i < 500; i++) {
        data.X->x[3 * i] = 5;
        data.X->x[3 * i + 1] = NAN;
        data.X->x[3 * i + 2] = -1e300;
    }
    struct boost_fitted f = fit(data, &defaults);
    assert_true(fabs(log_loss(f.trees, data, 0, 500) - prior_loss(data)) < 1e-6);
    assert_int_equal(f.trees->n_nodes, 20);
    boost_fitted_free(&f);
    drop(data);
}

/* -- refusals -- */

static void refused(struct data data, const struct boost_options *o, const char *words)
{
    struct boost_fitted f;
    struct err e = {0};
    assert_int_equal(boost_fit(&f, data.X, data.y, o, NULL, NULL, &e), -EINVAL);
    if (strstr(e.text, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", e.text, words);
    assert_null(f.trees);
}

TEST(data_that_nothing_can_be_learned_from_is_refused_in_words)
{
    struct data data = make(100, 2, 0, 19);
    struct boost_options o = defaults;
    bool categorical[2] = {false, true};
    double keep = data.y[7];
    assert_int_equal(matrix_set_name(data.X, 1, "cpu", 3), 0);
    data.y[7] = 2;
    refused(data, &o, "label 8 is 2");
    data.y[7] = NAN;
    refused(data, &o, "label 8 is missing");
    data.y[7] = keep;
    data.X->x[9] = INFINITY;
    refused(data, &o, "row 5, column \"cpu\": infinite");
    o.split = BOOST_EXACT;
    refused(data, &o, "row 5, column 2");
    o.split = BOOST_HISTOGRAM;
    o.categorical = categorical;
    for (size_t i = 0; i < 100; i++) data.X->x[2 * i + 1] = 1;
    data.X->x[9] = 2.5;
    refused(data, &o, "2.5 is no category");
    o = defaults;
    o.min_samples_leaf = 51;
    refused(data, &o, "only 100 rows");
    o = defaults;
    for (size_t i = 0; i < 100; i++) data.y[i] = i >= 90;
    o.validation_fraction = 0.2;
    refused(data, &o, "all labels of those that are not kept for validation are 0");
    o.validation_fraction = 0.001;
    refused(data, &o, "a validation_fraction of 0.001 leaves none of 100 rows to watch");
    drop(data);
}

TEST(what_is_cancelled_ends)
{
    struct data data = make(3000, 3, 0, 20);
    for (int split = 0; split < 2; split++) {
        struct boost_options o = defaults;
        struct boost_fitted f;
        struct err e = {0};
        atomic_bool cancel = true;
        atomic_uint done = 0;
        o.split = split == 0 ? BOOST_HISTOGRAM : BOOST_EXACT;
        assert_int_equal(boost_fit(&f, data.X, data.y, &o, &cancel, &done, &e), -ECANCELED);
        assert_int_equal(done, 0);
        cancel = false;
        assert_int_equal(boost_fit(&f, data.X, data.y, &o, &cancel, &done, &e), 0);
        assert_int_equal(done, 20);
        boost_fitted_free(&f);
    }
    drop(data);
}

/* -- scikit-learn's search -- */

/* Numbers that scikit-learn 1.2.1 was given too. */
static struct data shared(void)
{
    struct data data;
    uint32_t s = 12345;
    double u[6];
    assert_int_equal(matrix_new(&data.X, 300, 4), 0);
    data.y = malloc(300 * sizeof *data.y);
    for (size_t i = 0; i < 300; i++) {
        for (int k = 0; k < 5; k++) {
            s = (s * 1103515245u + 12345u) & 0x7fffffff;
            u[k] = (double)((s >> 8) % 1000) / 1000.0;
            if (k < 4) data.X->x[4 * i + (size_t)k] = u[k];
        }
        data.y[i] = u[0] * u[1] + 0.3 * u[2] + 0.2 * u[4] > 0.5;
    }
    return data;
}

TEST(the_exact_search_is_that_of_scikit_learn)
{
    static const double deviance[] = {1.18207120276,  1.06748576675,  0.97246716214,
                                      0.893009419381, 0.824300675937, 0.762166263589};
    static const double importance[] = {0.4575905392, 0.5180888276, 0.0232889643, 0.0010316689};
    static const double probability[] = {0.6614579441352139, 0.6614579441352139,
                                         0.6383280326564892};
    struct data data = shared();
    struct boost_options o = defaults;
    o.split = BOOST_EXACT;
    o.n_estimators = 6;
    o.max_depth = 3;
    o.min_samples_leaf = 1;
    o.min_child_weight = 0;
    struct boost_fitted f = fit(data, &o);
    double got[4], p[3];
    for (int k = 0; k < 6; k++) assert_true(fabs(f.train_score[k] - deviance[k]) < 1e-10);
    trees_importances(f.trees, got);
    for (int j = 0; j < 4; j++) assert_true(fabs(got[j] - importance[j]) < 1e-9);
    for (size_t i = 0; i < 3; i++) trees_walk(f.trees, matrix_row(data.X, i), &p[i]);
    trees_probabilities(f.trees, p, 3);
    for (int i = 0; i < 3; i++) assert_true(fabs(p[i] - probability[i]) < 1e-12);
    boost_fitted_free(&f);
    drop(data);
}

TEST(the_exact_search_with_weights_is_that_of_scikit_learn)
{
    static const double deviance[] = {0.792519543972, 0.628414886143, 0.528684056679,
                                      0.461930314072};
    struct data data = shared();
    struct boost_options o = defaults;
    o.split = BOOST_EXACT;
    o.n_estimators = 4;
    o.max_depth = 2;
    o.min_samples_leaf = 7;
    o.min_child_weight = 0;
    o.learning_rate = 0.3;
    o.weight[0] = 0.5;
    o.weight[1] = 2.5;
    struct boost_fitted f = fit(data, &o);
    for (int k = 0; k < 4; k++) assert_true(fabs(f.train_score[k] - deviance[k]) < 1e-10);
    boost_fitted_free(&f);
    drop(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(bins_keep_the_order_of_numbers_and_hold_about_as_many_rows_each),
        CHECK(a_value_that_most_rows_have_takes_one_bin),
        CHECK(the_commonest_categories_have_bins_and_the_others_share_one),
        CHECK(rows_are_moved_in_their_order_with_and_without_vectors),
        CHECK(every_split_is_the_best_there_is_and_every_row_gets_the_value_of_its_leaf),
        CHECK(derivatives_are_right_on_average),
        CHECK(the_same_seed_gives_the_same_bytes_whatever_the_threads_and_vectors),
        CHECK(train_score_is_the_deviance_of_the_model_on_its_rows),
        CHECK(early_stopping_keeps_the_trees_up_to_the_best),
        CHECK(missing_values_learn_their_way),
        CHECK(monotone_constraints_hold_wherever_one_looks),
        CHECK(categories_are_split_by_what_they_are_not_by_their_order),
        CHECK(the_bias_of_an_explanation_is_the_mean_margin_of_the_rows_trained_on),
        CHECK(weights_move_the_base_rate),
        CHECK(the_most_unequal_weights_leave_every_number_finite),
        CHECK(columns_without_anything_to_tell_leave_the_base_rate),
        CHECK(data_that_nothing_can_be_learned_from_is_refused_in_words),
        CHECK(what_is_cancelled_ends),
        CHECK(the_exact_search_is_that_of_scikit_learn),
        CHECK(the_exact_search_with_weights_is_that_of_scikit_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
