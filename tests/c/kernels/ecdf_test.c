#include "tests/c/test.h" /* cmocka, TEST(), xorshift() */
#include "kernels/ecdf.h"
#include <errno.h>
#include <math.h>

static double slow_mad(const double *x, size_t n, double median) /* the definition, sorted anew */
{
    double d[40];
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        for (; j > 0 && d[j - 1] > fabs(x[i] - median); j--) d[j] = d[j - 1];
        d[j] = fabs(x[i] - median);
    }
    return (d[(n - 1) / 2] + d[n / 2]) / 2;
}

static double slow_rank(const double *x, size_t n, double at)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += x[i] <= at;
    return (double)count / (double)n;
}

/* Hyndman and Fan's definition 7: the line through the points ((k - 1) / (n - 1), x[k]). */
static double slow_quantile(const double *x, size_t n, double p)
{
    double sorted[40];
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        for (; j > 0 && sorted[j - 1] > x[i]; j--) sorted[j] = sorted[j - 1];
        sorted[j] = x[i];
    }
    for (size_t k = 0; k + 1 < n; k++) {
        double left = (double)k / (double)(n - 1), right = (double)(k + 1) / (double)(n - 1);
        if (p <= right)
            return sorted[k] + (p - left) / (right - left) * (sorted[k + 1] - sorted[k]);
    }
    return sorted[n - 1];
}

TEST(mad_is_the_definition_on_any_series)
{
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        double x[40];
        size_t n = 1 + xorshift(&seed) % 40;
        for (size_t i = 0; i < n; i++) x[i] = (double)(xorshift(&seed) % 9); /* many ties */
        struct ecdf *e;
        assert_int_equal(ecdf_fit(&e, x, n), 0);
        assert_true(ecdf_mad(e) == slow_mad(x, n, ecdf_quantile(e, 0.5)));
        ecdf_free(e);
    }
}

TEST(quantiles_and_ranks_are_the_definition_on_any_series)
{
    uint64_t seed = 2;
    for (int round = 0; round < 2000; round++) {
        double x[40];
        size_t n = 1 + xorshift(&seed) % 40;
        for (size_t i = 0; i < n; i++) x[i] = (double)(xorshift(&seed) % 9);
        struct ecdf *e;
        assert_int_equal(ecdf_fit(&e, x, n), 0);
        assert_int_equal(ecdf_count(e), n);
        for (double p = 0; p <= 1; p += 0.125)
            assert_true(fabs(ecdf_quantile(e, p) - slow_quantile(x, n, p)) < 1e-12);
        for (double at = -0.5; at < 9.5; at += 0.5)
            assert_true(ecdf_rank(e, at) == slow_rank(x, n, at));
        ecdf_free(e);
    }
}

/* What numpy.quantile([15, 20, 35, 40, 50], p) answers. */
TEST(quantiles_are_those_of_numpy)
{
    struct ecdf *e;
    assert_int_equal(ecdf_fit(&e, (double[]){40, 15, 50, 20, 35}, 5), 0);
    assert_true(ecdf_quantile(e, 0) == 15 && ecdf_quantile(e, 1) == 50);
    assert_true(ecdf_quantile(e, 0.25) == 20 && ecdf_quantile(e, 0.5) == 35);
    assert_true(fabs(ecdf_quantile(e, 0.4) - 29) < 1e-12);
    assert_true(fabs(ecdf_quantile(e, 0.9) - 46) < 1e-12);
    ecdf_free(e);
}

TEST(a_rank_at_a_quantile_is_at_least_its_share)
{
    double x[101];
    for (int i = 0; i < 101; i++) x[i] = sin(i) * 1e12;
    struct ecdf *e;
    assert_int_equal(ecdf_fit(&e, x, 101), 0);
    for (int i = 0; i <= 100; i++)
        assert_true(ecdf_rank(e, ecdf_quantile(e, i / 100.0)) >= i / 101.0);
    assert_true(ecdf_rank(e, -INFINITY) == 0 && ecdf_rank(e, INFINITY) == 1);
    assert_true(isnan(ecdf_rank(e, NAN)));
    ecdf_free(e);
}

TEST(missing_samples_are_no_outliers)
{
    struct ecdf *e;
    assert_int_equal(ecdf_fit(&e, (double[]){NAN, INFINITY}, 2), -ENODATA);
    assert_int_equal(ecdf_fit(&e, NULL, 0), -ENODATA);
    assert_int_equal(ecdf_fit(&e, (double[]){3, NAN, 1, -INFINITY, 2}, 5), 0);
    assert_true(ecdf_quantile(e, 0.75) == 2.5 && ecdf_mad(e) == 1 && ecdf_count(e) == 3);
    ecdf_free(e);
}

TEST(the_memory_may_be_the_callers)
{
    double x[] = {2, 1, NAN, 3};
    void *p = malloc(ecdf_bytes(4));
    assert_int_equal(ecdf_fit_at(p, x, 4), 0);
    assert_true(ecdf_quantile(p, 0.5) == 2);
    assert_int_equal(ecdf_fit_at(p, x + 2, 1), -ENODATA);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(mad_is_the_definition_on_any_series),
        CHECK(quantiles_and_ranks_are_the_definition_on_any_series),
        CHECK(quantiles_are_those_of_numpy),
        CHECK(a_rank_at_a_quantile_is_at_least_its_share),
        CHECK(missing_samples_are_no_outliers),
        CHECK(the_memory_may_be_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
