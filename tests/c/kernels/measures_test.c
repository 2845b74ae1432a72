#include "kernels/measures.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "tests/c/test.h"

enum { N = 40 };

struct data {
    size_t n, positives;
    double y[N], s[N];
    struct measures *m;
};

/* Outcomes and scores in [0, 1] with many ties, both classes there. */
static void draw(struct data *d, uint64_t *seed)
{
    d->n = 2 + xorshift(seed) % (N - 1);
    d->positives = 0;
    for (size_t i = 0; i < d->n; i++) {
        d->y[i] = i == 0 ? 1 : i == 1 ? 0 : (double)(xorshift(seed) % 3 == 0);
        d->s[i] = (double)(xorshift(seed) % 9) / 8;
        d->positives += d->y[i] == 1;
    }
    d->m = malloc(measures_bytes(d->n));
    assert_int_equal(measures_fit_at(d->m, d->y, d->s, d->n), 0);
    assert_int_equal(measures_count(d->m), d->n);
    assert_int_equal(measures_positives(d->m), d->positives);
}

static struct measures_confusion slow_at(const struct data *d, double threshold)
{
    struct measures_confusion c = {0};
    for (size_t i = 0; i < d->n; i++) {
        bool alarm = d->s[i] > threshold, failed = d->y[i] == 1;
        c.true_positives += alarm && failed;
        c.false_positives += alarm && !failed;
        c.false_negatives += !alarm && failed;
        c.true_negatives += !alarm && !failed;
    }
    return c;
}

/* Every pair of a positive and a negative, compared. */
static double slow_auc(const struct data *d)
{
    double right = 0, pairs = 0;
    for (size_t i = 0; i < d->n; i++)
        for (size_t j = 0; j < d->n; j++)
            if (d->y[i] == 1 && d->y[j] == 0) {
                right += d->s[i] > d->s[j] ? 1 : d->s[i] == d->s[j] ? 0.5 : 0;
                pairs += 1;
            }
    return right / pairs;
}

/* Over the positives, the share of positives among all whose score is not lower. */
static double slow_average_precision(const struct data *d)
{
    double sum = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (d->y[i] == 0) continue;
        double positives = 0, all = 0;
        for (size_t j = 0; j < d->n; j++)
            if (d->s[j] >= d->s[i]) {
                positives += d->y[j];
                all += 1;
            }
        sum += positives / all;
    }
    return sum / (double)d->positives;
}

TEST(ranking_is_the_definition_on_any_pairs)
{
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        struct data d;
        draw(&d, &seed);
        assert_true(fabs(measures_auc(d.m) - slow_auc(&d)) < 1e-14);
        assert_true(fabs(measures_average_precision(d.m) - slow_average_precision(&d)) < 1e-14);
        free(d.m);
    }
}

/* What scikit-learn answers: roc_auc_score, average_precision_score, log_loss, brier_score_loss. */
TEST(a_known_case_is_that_of_scikit_learn)
{
    double y[] = {0, 0, 1, 1, 1, 0}, s[] = {0.1, 0.4, 0.35, 0.8, 0.4, 0.05};
    struct measures *m = malloc(measures_bytes(6));
    assert_int_equal(measures_fit_at(m, y, s, 6), 0);
    assert_true(fabs(measures_auc(m) - 15.0 / 18) < 1e-15);
    assert_true(fabs(measures_average_precision(m) - (1 + 2.0 / 3 + 3.0 / 4) / 3) < 1e-15);
    assert_true(fabs(measures_log_loss(m) - 0.476122640249735) < 1e-15);
    assert_true(fabs(measures_brier(m) - 0.16583333333333336) < 1e-15);
    free(m);
}

TEST(losses_are_their_definitions_and_certainty_costs_a_finite_amount)
{
    uint64_t seed = 2;
    for (int round = 0; round < 500; round++) {
        struct data d;
        draw(&d, &seed);
        double log_loss = 0, brier = 0;
        for (size_t i = 0; i < d.n; i++) {
            double p = fmin(fmax(d.s[i], DBL_EPSILON), 1 - DBL_EPSILON);
            log_loss -= log(d.y[i] == 1 ? p : 1 - p);
            brier += (d.s[i] - d.y[i]) * (d.s[i] - d.y[i]);
        }
        assert_true(fabs(measures_log_loss(d.m) - log_loss / (double)d.n) < 1e-13);
        assert_true(fabs(measures_brier(d.m) - brier / (double)d.n) < 1e-14);
        free(d.m);
    }
}

TEST(alarms_are_strictly_above_the_threshold)
{
    uint64_t seed = 3;
    for (int round = 0; round < 500; round++) {
        struct data d;
        draw(&d, &seed);
        for (double t = -0.0625; t < 1.1; t += 0.0625) {
            struct measures_confusion a = measures_at(d.m, t), b = slow_at(&d, t);
            assert_memory_equal(&a, &b, sizeof a);
        }
        free(d.m);
    }
}

static double precision(struct measures_confusion c)
{
    return (double)c.true_positives / (double)(c.true_positives + c.false_positives);
}

static size_t alarms(struct measures_confusion c) { return c.true_positives + c.false_positives; }

/* Of every threshold that gives alarms: is there a lower one that does as well? */
TEST(a_threshold_by_precision_is_the_lowest_so_precise)
{
    uint64_t seed = 4;
    for (int round = 0; round < 1000; round++) {
        struct data d;
        draw(&d, &seed);
        double wanted = (double)(1 + xorshift(&seed) % 20) / 20;
        double t = measures_by_precision(d.m, wanted);
        if (!isnan(t)) assert_true(precision(slow_at(&d, t)) >= wanted);
        size_t most = isnan(t) ? 0 : alarms(slow_at(&d, t));
        for (double other = -0.0625; other < 1; other += 0.125) {
            struct measures_confusion c = slow_at(&d, other);
            assert_true(alarms(c) <= most || precision(c) < wanted);
        }
        free(d.m);
    }
}

TEST(a_threshold_by_alarms_is_the_lowest_with_so_few)
{
    uint64_t seed = 5;
    for (int round = 0; round < 1000; round++) {
        struct data d;
        draw(&d, &seed);
        size_t most = xorshift(&seed) % (d.n + 1);
        size_t got = alarms(slow_at(&d, measures_by_alarms(d.m, most)));
        assert_true(got <= most);
        for (double other = -0.0625; other < 1; other += 0.125) {
            size_t n = alarms(slow_at(&d, other));
            assert_true(n <= got || n > most);
        }
        free(d.m);
    }
}

/* Each alarm walked through from its first row. */
static size_t slow_episodes(const struct measures_rows *r, double t)
{
    size_t count = 0;
    for (size_t i = 0, end; i < r->n; i = end) {
        for (end = i; end < r->n && r->score[end] > t; end++)
            if (end > i && r->run != NULL && r->run[end] != r->run[i]) break;
        for (size_t k = i; k < end; k += r->again) count++;
        if (end == i) end++;
    }
    return count;
}

TEST(neighbours_above_a_threshold_are_one_alarm)
{
    uint64_t seed = 6;
    for (int round = 0; round < 2000; round++) {
        struct data d;
        double run[N] = {0}, t;
        draw(&d, &seed);
        for (size_t i = 1; i < d.n; i++) run[i] = run[i - 1] + (double)(xorshift(&seed) % 4 == 0);
        if (round % 3 == 0) d.s[xorshift(&seed) % d.n] = NAN;
        struct measures_rows rows = {d.n, d.s, round % 2 ? run : NULL,
                                     round % 5 ? 1 + xorshift(&seed) % 6 : 1000};
        size_t most = xorshift(&seed) % 8;
        assert_int_equal(measures_by_episodes(&t, &rows, most), 0);
        assert_true(slow_episodes(&rows, t) <= most);
        /* From above down to t none has too many; and the next that changes anything has. */
        double found = INFINITY;
        for (double at = 1.0625; at > -0.1; at -= 0.125) {
            size_t n = slow_episodes(&rows, at);
            assert_int_equal(measures_episodes(&rows, at), n);
            if (n > most) {
                found = at;
                break;
            }
        }
        /* The rows that alarm are all whose score is above the level with which it is too many. */
        double level = isnan(t) || found == INFINITY ? -INFINITY : found + 0.0625;
        for (size_t i = 0; i < d.n; i++) assert_int_equal(d.s[i] > t, d.s[i] > level);
        free(d.m);
    }
}

TEST(rows_without_a_score_have_no_threshold)
{
    double t = 0;
    struct measures_rows rows = {2, (double[]){NAN, NAN}, NULL, 1}, none = {0, NULL, NULL, 1};
    assert_int_equal(measures_by_episodes(&t, &rows, 1), 0);
    assert_true(isnan(t));
    assert_int_equal(measures_by_episodes(&t, &none, 1), 0);
    assert_true(isnan(t));
    rows = (struct measures_rows){4, (double[]){NAN, 1, NAN, 1}, NULL, 9};
    assert_int_equal(measures_episodes(&rows, 0), 2);
}

/* Whatever the bins: all pairs are in one, in order, and the sums are right. */
static void check_bins(const struct data *d, const struct measures_bin *bin, size_t n)
{
    size_t count = 0, positives = 0;
    for (size_t k = 0; k < n; k++) {
        assert_true(bin[k].count > 0);
        assert_true(k == 0 || bin[k].lower > bin[k - 1].upper);
        double sum = 0;
        size_t in = 0, failed = 0;
        for (size_t i = 0; i < d->n; i++) {
            if (d->s[i] < bin[k].lower || d->s[i] > bin[k].upper) continue;
            sum += d->s[i];
            in++;
            failed += d->y[i] == 1;
        }
        assert_true(in == bin[k].count && failed == bin[k].positives);
        assert_true(fabs(bin[k].mean - sum / (double)in) < 1e-14);
        count += in;
        positives += failed;
    }
    assert_true(count == d->n && positives == d->positives);
}

TEST(bins_hold_every_pair_once)
{
    uint64_t seed = 7;
    for (int round = 0; round < 1000; round++) {
        struct data d;
        struct measures_bin bin[12];
        size_t most = 1 + xorshift(&seed) % 12;
        draw(&d, &seed);
        size_t n = measures_bins_by_count(d.m, bin, most);
        assert_true(n >= 1 && n <= most);
        check_bins(&d, bin, n);
        n = measures_bins_by_width(d.m, bin, most);
        assert_true(n >= 1 && n <= most);
        check_bins(&d, bin, n);
        for (size_t k = 0; k < n; k++) { /* one interval each */
            double of_lower = fmin(floor(bin[k].lower * (double)most), (double)most - 1);
            assert_true(of_lower == fmin(floor(bin[k].upper * (double)most), (double)most - 1));
        }
        free(d.m);
    }
}

TEST(bins_by_count_are_equally_full_without_ties)
{
    double y[100] = {1}, s[100];
    for (int i = 0; i < 100; i++) s[i] = (i * 37 % 100) / 100.0;
    struct measures *m = malloc(measures_bytes(100));
    struct measures_bin bin[10];
    assert_int_equal(measures_fit_at(m, y, s, 100), 0);
    assert_int_equal(measures_bins_by_count(m, bin, 10), 10);
    for (int k = 0; k < 10; k++) assert_int_equal(bin[k].count, 10);
    free(m);
}

TEST(a_pair_without_outcome_or_score_is_left_out)
{
    double y[] = {1, NAN, 0, 1}, s[] = {INFINITY, 0.5, NAN, -INFINITY};
    struct measures *m = malloc(measures_bytes(4));
    assert_int_equal(measures_fit_at(m, y, s, 4), 0);
    assert_true(measures_count(m) == 2 && measures_positives(m) == 2);
    assert_true(measures_highest(m) == INFINITY && measures_lowest(m) == -INFINITY);
    assert_true(isnan(measures_auc(m)) && measures_average_precision(m) == 1);
    assert_true(measures_by_precision(m, 1) == -INFINITY);
    assert_int_equal(measures_fit_at(m, y + 1, s + 1, 2), -ENODATA);
    assert_int_equal(measures_fit_at(m, NULL, NULL, 0), -ENODATA);
    assert_int_equal(measures_fit_at(m, y + 2, (double[]){0.5}, 1), 0);
    assert_true(isnan(measures_average_precision(m)) && isnan(measures_by_precision(m, 0.1)));
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(ranking_is_the_definition_on_any_pairs),
        CHECK(a_known_case_is_that_of_scikit_learn),
        CHECK(losses_are_their_definitions_and_certainty_costs_a_finite_amount),
        CHECK(alarms_are_strictly_above_the_threshold),
        CHECK(a_threshold_by_precision_is_the_lowest_so_precise),
        CHECK(a_threshold_by_alarms_is_the_lowest_with_so_few),
        CHECK(neighbours_above_a_threshold_are_one_alarm),
        CHECK(rows_without_a_score_have_no_threshold),
        CHECK(bins_hold_every_pair_once),
        CHECK(bins_by_count_are_equally_full_without_ties),
        CHECK(a_pair_without_outcome_or_score_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
