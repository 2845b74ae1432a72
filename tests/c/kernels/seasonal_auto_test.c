#include "tests/c/test.h"

#include "kernels/seasonal_auto.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "kernels/seasonal_auto_inner.h"

enum { MOST = 1200 };
static const double START = 1767571200; /* a Monday */

struct made {
    double ds[MOST], y[MOST];
};

/* A service busy in office hours on five days of the week. */
static double office(double t)
{
    int hour = (int)fmod((t - START) / 3600, 168), day = hour / 24;
    return 40 + (day < 5 ? 30 : 5) * fmax(0, sin(3.14159265358979 * (hour % 24 - 6) / 12));
}

static void make(struct made *s, size_t n, double noise, uint64_t seed)
{
    struct random r;
    random_seed(&r, seed, 0);
    for (size_t i = 0; i < n; i++) {
        s->ds[i] = START + 3600 * (double)i;
        s->y[i] = office(s->ds[i]) + noise * random_normal(&r);
    }
}

static struct seasonal *base_of(const double *ds, const double *y, size_t n)
{
    struct seasonal_part parts[2] = {
        {.name = "weekly", .period = 7, .order = SEASONAL_AUTO, .prior_scale = 10},
        {.name = "daily", .period = 1, .order = SEASONAL_AUTO, .prior_scale = 10}};
    struct seasonal_spec spec = seasonal_defaults();
    spec.parts = parts;
    spec.n_parts = 2;
    struct seasonal_series *s;
    struct seasonal *m;
    assert_int_equal(seasonal_series_new(&s, &spec, ds, y, NULL, NULL, n, NULL), 0);
    assert_int_equal(seasonal_fit(&m, s, NULL, NULL, NULL), 0);
    seasonal_series_free(s);
    return m;
}

static struct seasonal_auto *auto_of(const double *ds, const double *y, size_t n)
{
    struct seasonal *base = base_of(ds, y, n);
    struct seasonal_auto *a;
    assert_int_equal(seasonal_auto_fit(&a, base, NULL, NULL), 0);
    seasonal_free(base);
    return a;
}

static void forecast(const struct seasonal_auto *a, const double *ds, size_t n, double *out)
{
    struct seasonal_future f = {ds, n, NULL, NULL, NULL};
    struct seasonal_auto_forecast to = {out, out + n, out + 2 * n, NULL};
    assert_int_equal(seasonal_auto_predict(a, &f, NULL, 0.8, &to, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(out[i]));
        assert_true(out[n + i] <= out[i] && out[i] <= out[2 * n + i]);
    }
}

static double error_of(const double *ds, const double *yhat, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs(yhat[i] - office(ds[i])) / (double)n;
    return sum;
}

TEST(a_shape_that_depends_on_the_weekday_is_learnt)
{
    struct made s;
    make(&s, 720 + 168, 1, 1);
    const double *ahead = s.ds + 720;
    double ours[3 * 168], theirs[168];
    struct seasonal *base = base_of(s.ds, s.y, 720);
    struct seasonal_future f = {ahead, 168, NULL, NULL, NULL};
    assert_int_equal(
        seasonal_predict(base, &f, &(struct seasonal_forecast){.yhat = theirs}, NULL, NULL), 0);
    struct seasonal_auto *a = auto_of(s.ds, s.y, 720);
    forecast(a, ahead, 168, ours);
    assert_true(error_of(ahead, ours, 168) < 0.3 * error_of(ahead, theirs, 168));
    size_t inside = 0;
    for (size_t i = 0; i < 168; i++)
        inside += s.y[720 + i] >= ours[168 + i] && s.y[720 + i] <= ours[2 * 168 + i];
    assert_in_range(inside, 168 * 70 / 100, 168 * 95 / 100);
    seasonal_auto_free(a);
    seasonal_free(base);
}

TEST(an_outage_in_the_history_moves_little)
{
    struct made s, hurt;
    make(&s, 720 + 168, 1, 2);
    hurt = s;
    for (size_t i = 500; i < 506; i++) hurt.y[i] = 1000;
    double clean[3 * 168], scarred[3 * 168];
    struct seasonal_auto *a = auto_of(s.ds, s.y, 720), *b = auto_of(hurt.ds, hurt.y, 720);
    forecast(a, s.ds + 720, 168, clean);
    forecast(b, s.ds + 720, 168, scarred);
    /* Values some 950 off: a mean over the four of an hour of the week would be 240 off. */
    double mean = 0, most = 0;
    for (size_t i = 0; i < 168; i++) {
        mean += fabs(clean[i] - scarred[i]) / 168;
        most = fmax(most, fabs(clean[i] - scarred[i]));
    }
    if (!(mean < 5 && most < 20)) fail_msg("mean %g, most %g", mean, most);
    seasonal_auto_free(a);
    seasonal_auto_free(b);
}

TEST(a_new_level_is_the_level_of_the_forecast)
{
    struct made s;
    make(&s, 720 + 168, 1, 3);
    for (size_t i = 640; i < 720; i++) s.y[i] += 50;
    struct seasonal_auto *a = auto_of(s.ds, s.y, 720);
    double out[3 * 168], mean = 0;
    forecast(a, s.ds + 720, 168, out);
    for (size_t i = 0; i < 168; i++) mean += (out[i] - office(s.ds[720 + i])) / 168;
    assert_true(mean > 25 && mean < 75);
    struct seasonal_drivers d = seasonal_auto_drivers(a);
    assert_true(fabs(d.step - 50) < 8 && fabs(d.step_ds - s.ds[640]) <= 6 * 3600);
    seasonal_auto_free(a);
}

TEST(what_was_never_negative_is_not_forecast_below_nothing)
{
    struct made s;
    make(&s, 720, 0, 4);
    for (size_t i = 0; i < 720; i++)
        s.y[i] = fmax(0, 70 - 0.1 * (double)i); /* empties at the end */
    struct seasonal_auto *a = auto_of(s.ds, s.y, 720);
    double ds[400], out[1200];
    for (size_t i = 0; i < 400; i++) ds[i] = s.ds[719] + 3600 * (double)(i + 1);
    forecast(a, ds, 400, out);
    for (size_t i = 0; i < 1200; i++) assert_true(out[i] >= 0);
    seasonal_auto_free(a);
}

TEST(slopes_noise_and_outages_that_ended_are_no_steps)
{
    for (int kind = 0; kind < 3; kind++) {
        struct made s;
        make(&s, 720, 2, 20 + (uint64_t)kind);
        for (size_t i = 0; i < 720; i++) {
            if (kind == 1) s.y[i] += 0.1 * (double)i;
            if (kind == 2 && i >= 500 && i < 510) s.y[i] = 0;
        }
        struct seasonal_auto *a = auto_of(s.ds, s.y, 720);
        assert_true(seasonal_auto_drivers(a).step == 0);
        seasonal_auto_free(a);
    }
}

TEST(the_same_history_gives_the_same_forecast)
{
    struct made s;
    make(&s, 720 + 168, 2, 5);
    double one[3 * 168], two[3 * 168];
    struct seasonal_auto *a = auto_of(s.ds, s.y, 720), *b = auto_of(s.ds, s.y, 720);
    forecast(a, s.ds + 720, 168, one);
    forecast(b, s.ds + 720, 168, two);
    assert_memory_equal(one, two, sizeof one);
    seasonal_auto_free(a);
    seasonal_auto_free(b);
}

TEST(any_history_has_a_finite_answer)
{
    uint64_t seed = 7;
    for (int round = 0; round < 60; round++) {
        double ds[400], y[400], at = START, out[300], ahead[100];
        size_t n = 3 + xorshift(&seed) % (round % 3 == 0 ? 12 : 390);
        double step = (double[]){60, 300, 3600, 21600, 86400, 604800}[xorshift(&seed) % 6];
        uint64_t kind = xorshift(&seed) % 4;
        for (size_t i = 0; i < n; i++) {
            at += step * (1 + (double)(xorshift(&seed) % (kind == 1 ? 50 : 1))); /* gaps */
            ds[i] = at;
            y[i] = kind == 0   ? 5
                   : kind == 2 ? (double)(xorshift(&seed) % 2) * 1e12
                               : (double)(xorshift(&seed) % 1000) - 500;
        }
        struct seasonal *base = base_of(ds, y, n);
        struct seasonal_auto *a = NULL;
        assert_int_equal(seasonal_auto_fit(&a, base, NULL, NULL), 0);
        for (size_t i = 0; i < 100; i++) ahead[i] = at + step * (double)(i + 1);
        forecast(a, ahead, 100, out);
        if (kind == 0) assert_true(fabs(out[99] - 5) < 1e-6);
        struct seasonal_drivers d = seasonal_auto_drivers(a);
        assert_true(isfinite(d.trend) && isfinite(d.daily) && isfinite(d.weekly));
        seasonal_auto_free(a);
        seasonal_free(base);
    }
}

/* The definition of time_to, by drawing paths. */
static double drawn_probability(const struct seasonal_auto *a, const double *yhat, const double *ds,
                                size_t n, double threshold)
{
    struct random r;
    random_seed(&r, 11, 0);
    double unit = auto_quantile(a, 0.5) / 0.6745;
    size_t reached = 0, paths = 20000;
    for (size_t p = 0; p < paths; p++) {
        double z = random_normal(&r);
        bool there = false;
        for (size_t i = 0; i < n && !there; i++) {
            double all = unit * auto_spread(a, ds[i] - a->core.end);
            double lasting = sqrt(fmax(all * all - a->core.noise * a->core.noise, 0));
            there = yhat[i] + z * lasting + a->core.noise * random_normal(&r) >= threshold;
        }
        reached += there;
    }
    return (double)reached / (double)paths;
}

TEST(time_to_is_what_drawn_paths_say)
{
    struct made s;
    make(&s, 720 + 168, 3, 6);
    struct seasonal_auto *a = auto_of(s.ds, s.y, 720);
    double out[3 * 168];
    forecast(a, s.ds + 720, 168, out);
    struct seasonal_future f = {s.ds + 720, 168, NULL, NULL, NULL};
    for (double threshold = 74; threshold < 86; threshold += 2) {
        struct seasonal_reach reach;
        assert_int_equal(seasonal_auto_time_to(a, &f, NULL, threshold, false, true, &reach, NULL),
                         0);
        double drawn = drawn_probability(a, out, f.ds, 168, threshold);
        assert_true(fabs(reach.probability - drawn) < 0.03);
        assert_true(reach.quantile[0] <= reach.quantile[1] &&
                    reach.quantile[1] <= reach.quantile[2]);
    }
    seasonal_auto_free(a);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

TEST(the_kth_smallest_is_that_of_a_sort)
{
    uint64_t seed = 12;
    for (int round = 0; round < 5000; round++) {
        double x[40], sorted[40];
        size_t n = 1 + xorshift(&seed) % 40, k = xorshift(&seed) % n;
        for (size_t i = 0; i < n; i++) sorted[i] = x[i] = (double)(xorshift(&seed) % 15);
        qsort(sorted, n, sizeof *sorted, ascending);
        assert_true(auto_nth(x, n, k) == sorted[k]);
    }
}

TEST(a_fit_can_be_cancelled)
{
    struct made s;
    make(&s, 720, 1, 8);
    struct seasonal *base = base_of(s.ds, s.y, 720);
    struct seasonal_auto *a;
    atomic_bool cancel = true;
    struct err e;
    assert_int_equal(seasonal_auto_fit(&a, base, &cancel, &e), -ECANCELED);
    seasonal_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_that_depends_on_the_weekday_is_learnt),
        cmocka_unit_test(an_outage_in_the_history_moves_little),
        cmocka_unit_test(a_new_level_is_the_level_of_the_forecast),
        cmocka_unit_test(what_was_never_negative_is_not_forecast_below_nothing),
        cmocka_unit_test(slopes_noise_and_outages_that_ended_are_no_steps),
        cmocka_unit_test(the_same_history_gives_the_same_forecast),
        cmocka_unit_test(any_history_has_a_finite_answer),
        cmocka_unit_test(time_to_is_what_drawn_paths_say),
        cmocka_unit_test(the_kth_smallest_is_that_of_a_sort),
        cmocka_unit_test(a_fit_can_be_cancelled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
