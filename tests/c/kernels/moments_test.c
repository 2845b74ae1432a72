#include "tests/c/test.h"
#include "kernels/moments.h"
#include <math.h>

/* Digits that agree with the certified value, as NIST counts them; 15 when all do. */
static double digits(double got, double certified)
{
    if (got == certified) return 15;
    return -log10(fabs(got - certified) / fabs(certified));
}

static void add_all(struct moments *m, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) moments_add(m, x[i]);
}

static double stddev(const struct moments *m) { return sqrt(moments_variance(m, 1)); }

/* NIST's Statistical Reference Datasets, univariate: NumAcc2 to NumAcc4 are one middle and then 500
 * pairs beside it; https://www.itl.nist.gov/div898/strd/univ/homepage.html */
static struct moments num_acc(double middle, double low, double high)
{
    struct moments m;
    moments_init(&m);
    moments_add(&m, middle);
    for (int i = 0; i < 500; i++) {
        moments_add(&m, low);
        moments_add(&m, high);
    }
    return m;
}

TEST(nist_num_acc_is_met)
{
    struct moments m;
    moments_init(&m);
    add_all(&m, (double[]){10000001, 10000003, 10000002}, 3);
    assert_true(m.mean == 10000002 && stddev(&m) == 1);
    m = num_acc(1.2, 1.1, 1.3);
    assert_true(digits(m.mean, 1.2) > 14 && digits(stddev(&m), 0.1) > 13);
    m = num_acc(1000000.2, 1000000.1, 1000000.3);
    assert_true(digits(m.mean, 1000000.2) > 14 && digits(stddev(&m), 0.1) > 9);
    /* The 0.1 in a double near 1e7 has no more than 8 digits to begin with. */
    m = num_acc(10000000.2, 10000000.1, 10000000.3);
    assert_true(digits(m.mean, 10000000.2) > 14 && digits(stddev(&m), 0.1) > 8);
}

/* NIST's Michelso: the speed of light as Michelson measured it in 1879, in Mm/s. */
TEST(nist_michelson_is_met)
{
    static const uint8_t hundredths[100] = {
        85, 74, 90, 107, 93, 85, 95, 98, 98, 88, 100, 98, 93, 65, 76, 81, 100, 100, 96, 96,
        96, 94, 96, 94,  88, 80, 85, 88, 90, 84, 83,  79, 81, 88, 88, 83, 80,  79,  76, 80,
        88, 88, 88, 86,  72, 72, 62, 86, 97, 95, 88,  91, 85, 87, 84, 84, 85,  84,  84, 84,
        89, 81, 81, 82,  80, 77, 76, 74, 75, 76, 91,  92, 89, 86, 88, 72, 84,  85,  85, 78,
        89, 84, 78, 81,  76, 81, 79, 81, 82, 85, 87,  87, 81, 74, 81, 94, 95,  80,  81, 87};
    struct moments m;
    moments_init(&m);
    for (int i = 0; i < 100; i++) moments_add(&m, (29900 + hundredths[i]) / 100.0);
    assert_true(m.count == 100 && m.min == 299.62 && m.max == 300.07);
    assert_true(digits(m.mean, 299.852400000000) > 14);
    assert_true(digits(stddev(&m), 0.0790105478190518) > 12);
}

/* The definition, in two passes. */
static double slow_variance(const double *x, size_t n)
{
    long double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    for (size_t i = 0; i < n; i++) squares += (x[i] - sum / n) * (x[i] - sum / n);
    return (double)(squares / (n - 1));
}

TEST(a_byte_counter_has_a_variance_too)
{
    double x[1000];
    uint64_t seed = 3;
    struct moments m;
    moments_init(&m);
    for (int i = 0; i < 1000; i++) x[i] = 1e12 + floor(uniform(&seed) * 8);
    add_all(&m, x, 1000);
    /* The mean is rounded to 1e-4 there; the textbook's sum of squares would leave no digit. */
    assert_true(digits(moments_variance(&m, 1), slow_variance(x, 1000)) > 4);
}

TEST(parts_merge_to_the_whole_wherever_they_are_cut)
{
    double x[60];
    uint64_t seed = 4;
    struct moments whole;
    moments_init(&whole);
    for (int i = 0; i < 60; i++) x[i] = 1e6 + 100 * uniform(&seed);
    add_all(&whole, x, 60);
    for (size_t cut = 0; cut <= 60; cut++) {
        struct moments left, right;
        moments_init(&left);
        moments_init(&right);
        add_all(&left, x, cut);
        add_all(&right, x + cut, 60 - cut);
        moments_merge(&left, &right);
        assert_true(left.count == 60 && left.min == whole.min && left.max == whole.max);
        assert_true(digits(left.mean, whole.mean) > 14 && digits(left.m2, whole.m2) > 10);
    }
}

TEST(missing_samples_change_nothing)
{
    struct moments m, same;
    moments_init(&m);
    add_all(&m, (double[]){NAN, 1, INFINITY, 3, -INFINITY}, 5);
    assert_true(m.count == 2 && m.mean == 2 && m.m2 == 2 && m.min == 1 && m.max == 3);
    moments_init(&same);
    add_all(&same, (double[]){1, 3}, 2);
    assert_memory_equal(&m, &same, sizeof m);
}

TEST(too_few_values_have_no_variance)
{
    struct moments m;
    moments_init(&m);
    assert_true(isnan(moments_variance(&m, 0)) && isnan(moments_zscore(&m, 1, 0)));
    moments_add(&m, 5);
    assert_true(moments_variance(&m, 0) == 0 && isnan(moments_variance(&m, 1)));
}

TEST(a_zscore_counts_deviations_and_is_infinite_off_a_flat_series)
{
    struct moments m;
    moments_init(&m);
    add_all(&m, (double[]){2, 4, 4, 4, 5, 5, 7, 9}, 8); /* mean 5, stddev 2 */
    assert_true(moments_zscore(&m, 9, 0) == 2 && moments_zscore(&m, 2, 0) == -1.5);
    assert_true(isnan(moments_zscore(&m, NAN, 0)));
    moments_init(&m);
    add_all(&m, (double[]){0.1, 0.1, 0.1}, 3);
    assert_true(m.m2 == 0 && moments_zscore(&m, 0.1, 1) == 0);
    assert_true(moments_zscore(&m, 1, 1) == INFINITY && moments_zscore(&m, -1, 1) == -INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(nist_num_acc_is_met),
        CHECK(nist_michelson_is_met),
        CHECK(a_byte_counter_has_a_variance_too),
        CHECK(parts_merge_to_the_whole_wherever_they_are_cut),
        CHECK(missing_samples_change_nothing),
        CHECK(too_few_values_have_no_variance),
        CHECK(a_zscore_counts_deviations_and_is_infinite_off_a_flat_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
