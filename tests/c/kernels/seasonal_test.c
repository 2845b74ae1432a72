#include "kernels/seasonal.h"

#include <errno.h>
#include <math.h>

#include "kernels/seasonal_inner.h"
#include "tests/c/test.h"

static const double TURN = 6.283185307179586;

#define near(a, b, limit) check_near(__LINE__, a, b, limit)
static void check_near(int line, double a, double b, double limit)
{
    if (!(fabs(a - b) <= limit)) fail_msg("line %d: %.17g and %.17g", line, a, b);
}

/* -- data -- */

enum { N = 720 };

struct data {
    double ds[4 * N], y[4 * N], cap[4 * N], floor[4 * N], x[4 * N];
    size_t n;
};

/* Hourly values with a bend, a daily and a weekly season. */
static struct data *make(size_t n, uint64_t seed, double noise)
{
    static struct data d;
    d.n = n;
    for (size_t i = 0; i < n; i++) {
        double t = (double)i / (double)n, ds = 1.7e9 + 3600.0 * (double)i;
        d.ds[i] = ds;
        d.x[i] = sin((double)(i * i % 97));
        d.y[i] = 40 + 20 * t + (t > 0.4 ? 30 * (t - 0.4) : 0) + 6 * sin(TURN * ds / 86400) +
                 2 * cos(TURN * ds / 604800) + noise * (uniform(&seed) - 0.5) + 1.5 * d.x[i];
        d.cap[i] = 120;
        d.floor[i] = 5;
    }
    return &d;
}

static const struct seasonal_part PARTS[] = {
    {.name = "halfday", .prior_scale = 0.3, .period = 0.5, .order = 2, .multiplicative = true},
    {.name = "weekly", .prior_scale = 10, .period = 7, .order = 3},
    {.name = "daily", .prior_scale = 10, .period = 1, .order = 4},
};

static struct seasonal_spec spec_of(size_t first, size_t n)
{
    struct seasonal_spec spec = seasonal_defaults();
    spec.parts = PARTS + first;
    spec.n_parts = n;
    return spec;
}

static struct seasonal *fit(const struct seasonal_spec *spec, const struct data *d)
{
    struct err e = {0};
    struct seasonal_series *s = NULL;
    struct seasonal *m = NULL;
    if (seasonal_series_new(&s, spec, d->ds, d->y, d->cap, d->floor, d->n, &e) < 0)
        fail_msg("%s", e.text);
    if (seasonal_fit(&m, s, NULL, NULL, &e) < 0) fail_msg("%s", e.text);
    seasonal_series_free(s);
    return m;
}

/* -- the twin: the log posterior by its definition -- */

static double naive_trend(const struct seasonal *m, double t, double cap)
{
    struct seasonal_view v = seasonal_view(m);
    double k = v.k, offset = v.m, gamma = 0;
    for (size_t j = 0; j < v.n_changepoints; j++) {
        double s = (v.changepoints[j] - v.start) / v.t_scale;
        if (t < s) break;
        if (v.growth == SEASONAL_LOGISTIC) {
            if (v.delta[j] != 0) gamma = (s - offset) * (1 - k / (k + v.delta[j]));
            offset += v.delta[j] != 0 ? gamma : 0;
        } else {
            offset -= s * v.delta[j];
        }
        k += v.delta[j];
    }
    if (v.growth == SEASONAL_FLAT) return v.m;
    if (v.growth == SEASONAL_LINEAR) return k * t + offset;
    return cap / (1 + exp(-k * (t - offset)));
}

static double naive_log_posterior(const struct seasonal *m, const struct data *d)
{
    struct seasonal_view v = seasonal_view(m);
    bool logistic = v.growth == SEASONAL_LOGISTIC;
    double rss = 0, sigma = v.sigma_obs;
    for (size_t i = 0; i < d->n; i++) {
        double t = (d->ds[i] - v.start) / v.t_scale, low = logistic ? d->floor[i] : 0;
        double trend = naive_trend(m, t, (d->cap[i] - low) / v.y_scale), factor = 1, add = 0;
        for (size_t p = 0; p < v.n_parts; p++) {
            size_t first, n;
            struct seasonal_part part = seasonal_part_at(m, p, &first, &n);
            for (size_t c = 0; c < n; c++) {
                double angle = TURN * (double)(c / 2 + 1) * (d->ds[i] / 86400) / part.period;
                double f = c % 2 == 0 ? sin(angle) : cos(angle);
                *(part.multiplicative ? &factor : &add) += f * v.beta[first + c];
            }
        }
        double r = (d->y[i] - low) / v.y_scale - trend * factor - add;
        rss += r * r;
    }
    double lp = -(double)d->n * log(sigma) - rss / (2 * sigma * sigma) - 2 * sigma * sigma -
                v.k * v.k / 50 - v.m * v.m / 50;
    for (size_t j = 0; j < v.n_changepoints; j++) lp -= fabs(v.delta[j]) / 0.05;
    for (size_t p = 0; p < v.n_parts; p++) {
        size_t first, n;
        struct seasonal_part part = seasonal_part_at(m, p, &first, &n);
        for (size_t c = first; c < first + n; c++)
            lp -= v.beta[c] * v.beta[c] / (2 * part.prior_scale * part.prior_scale);
    }
    return lp;
}

/* No step along any one parameter gains what matters. */
static void check_mode(struct seasonal *m, const struct data *d)
{
    double lp = naive_log_posterior(m, d);
    near(lp, seasonal_view(m).log_posterior, 1e-7 * fabs(lp));
    double *places[8 + 400];
    size_t n = 0;
    places[n++] = &m->m;
    places[n++] = &m->sigma;
    if (m->series->growth != SEASONAL_FLAT) {
        places[n++] = &m->k;
        for (size_t j = 0; j < m->n_changes; j++) places[n++] = &m->delta[j];
    }
    for (size_t c = 0; c < m->series->n_columns; c++) places[n++] = &m->beta[c];
    for (size_t i = 0; i < n; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            double was = *places[i];
            *places[i] += sign * 1e-5;
            double there = naive_log_posterior(m, d);
            *places[i] = was;
            if (there > lp + 1e-6) fail_msg("parameter %zu: %.9f beats %.9f", i, there, lp);
        }
    }
}

TEST(a_linear_fit_is_the_mode_of_the_posterior)
{
    struct seasonal_spec spec = spec_of(1, 2);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const struct data *d = make(N, seed, 4);
        struct seasonal *m = fit(&spec, d);
        check_mode(m, d);
        seasonal_free(m);
    }
}

TEST(so_is_one_whose_seasons_multiply_in_part)
{
    struct seasonal_spec spec = spec_of(0, 3);
    const struct data *d = make(N, 5, 4);
    struct seasonal *m = fit(&spec, d);
    check_mode(m, d);
    seasonal_free(m);
}

TEST(so_is_a_logistic_one_and_a_flat_one)
{
    for (int growth = SEASONAL_LOGISTIC; growth <= SEASONAL_FLAT; growth++) {
        struct seasonal_spec spec = spec_of(growth == SEASONAL_FLAT ? 0 : 1, 2);
        spec.growth = (enum seasonal_growth)growth;
        const struct data *d = make(N, 6, 4);
        struct seasonal *m = fit(&spec, d);
        check_mode(m, d);
        seasonal_free(m);
    }
}

/* Shapes that the model can only bend to: on the way steps with the best variance lead nowhere. */
TEST(curves_and_factors_reach_the_mode_of_data_that_are_neither)
{
    struct seasonal_spec logistic = spec_of(2, 1), factor = spec_of(0, 1);
    logistic.growth = SEASONAL_LOGISTIC;
    struct data *d = make(60, 1, 0);
    for (size_t i = 0; i < d->n; i++) {
        d->y[i] = (double)i + 1;
        d->cap[i] = 200;
        d->floor[i] = 0;
    }
    struct seasonal *m = fit(&logistic, d);
    check_mode(m, d);
    assert_true(m->log_posterior > 211.665);
    seasonal_free(m);
    struct seasonal_part times = {"daily", SEASONAL_SEASON, true, 10, .period = 1, .order = 4};
    factor.parts = &times;
    d = make(400, 1, 0);
    for (size_t i = 0; i < d->n; i++) d->y[i] = sin(TURN * d->ds[i] / 86400);
    m = fit(&factor, d);
    check_mode(m, d);
    seasonal_free(m);
}

TEST(few_rows_have_few_changepoints_and_still_a_mode)
{
    struct seasonal_spec spec = spec_of(2, 1);
    for (size_t n = 12; n <= 60; n += 16) {
        const struct data *d = make(n, 7, 4);
        struct seasonal *m = fit(&spec, d);
        size_t history = (size_t)(0.8 * (double)n);
        size_t expected = history - 1 < 25 ? history - 1 : 25;
        assert_int_equal(seasonal_view(m).n_changepoints, expected);
        check_mode(m, d);
        seasonal_free(m);
    }
}

TEST(changes_that_are_not_needed_are_exactly_none)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct seasonal *m = fit(&spec, make(N, 8, 4));
    struct seasonal_view v = seasonal_view(m);
    size_t zeros = 0;
    for (size_t j = 0; j < v.n_changepoints; j++) zeros += v.delta[j] == 0;
    assert_true(zeros >= 10 && zeros < 25);
    seasonal_free(m);
}

/* -- the ways to the sums -- */

TEST(times_on_a_grid_and_times_off_it_give_the_same_fit)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct seasonal_part parts[2] = {PARTS[1], PARTS[2]};
    const struct data *d = make(4 * N, 9, 4);
    struct seasonal *a = fit(&spec, d);
    parts[0].period *= 1 + 1e-14; /* no whole seconds: no grid */
    spec.parts = parts;
    struct seasonal *b = fit(&spec, d);
    struct seasonal_view v = seasonal_view(a), w = seasonal_view(b);
    near(v.log_posterior, w.log_posterior, 1e-7);
    for (size_t c = 0; c < v.n_columns; c++) near(v.beta[c], w.beta[c], 1e-9);
    seasonal_free(a);
    seasonal_free(b);
}

TEST(rows_in_any_order_doubled_and_missing_are_a_history)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct data *d = make(N, 10, 4);
    struct seasonal *a = fit(&spec, d);
    for (size_t i = 0; i < N / 2; i++) {
        double t = d->ds[i], y = d->y[i];
        d->ds[i] = d->ds[N - 1 - i];
        d->y[i] = d->y[N - 1 - i];
        d->ds[N - 1 - i] = t;
        d->y[N - 1 - i] = y;
    }
    d->ds[N] = d->ds[3] + 17;
    d->y[N] = NAN;
    d->n = N + 1;
    struct seasonal *b = fit(&spec, d);
    assert_int_equal(seasonal_view(b).rows, N);
    assert_true(seasonal_view(a).log_posterior == seasonal_view(b).log_posterior);
    seasonal_free(a);
    d = make(N, 10, 4);
    memcpy(d->ds + N, d->ds, N * sizeof(double));
    memcpy(d->y + N, d->y, N * sizeof(double));
    d->n = 2 * N;
    a = fit(&spec, d); /* each row twice: certain of less noise */
    assert_int_equal(seasonal_view(a).rows, 2 * N);
    assert_true(seasonal_view(a).log_posterior > 1.9 * seasonal_view(b).log_posterior);
    seasonal_free(a);
    seasonal_free(b);
}

TEST(the_first_rows_of_a_series_are_a_series)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct data *d = make(2 * N, 11, 4);
    struct err e;
    struct seasonal_series *s;
    struct seasonal *a, *b;
    assert_int_equal(seasonal_series_new(&s, &spec, d->ds, d->y, NULL, NULL, d->n, &e), 0);
    double other[2 * N];
    for (size_t i = 0; i < 2 * N; i++) other[i] = 100 - d->y[i];
    struct seasonal_cut cut = {N, other};
    assert_int_equal(seasonal_fit(&a, s, &cut, NULL, &e), 0);
    d->n = N;
    memcpy(d->y, other, N * sizeof(double));
    b = fit(&spec, d);
    assert_true(seasonal_view(a).log_posterior == seasonal_view(b).log_posterior);
    assert_false(seasonal_is_warm(a, d->ds + N, 1));
    seasonal_free(a);
    seasonal_free(b);
    seasonal_series_free(s);
}

TEST(an_update_gives_what_a_fit_to_all_rows_gives)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct data *d = make(2 * N, 12, 4);
    struct err e;
    d->n = N;
    struct seasonal *m = fit(&spec, d), *all, *again;
    size_t n = N;
    for (size_t more = 1; n + more <= 2 * N; n += more, more = more % 29 + 5) {
        assert_true(seasonal_is_warm(m, d->ds + n, more));
        assert_int_equal(seasonal_update(m, d->ds + n, d->y + n, more, &e), 0);
    }
    d->n = n;
    all = fit(&spec, d);
    struct seasonal_view v = seasonal_view(m), w = seasonal_view(all);
    assert_int_equal(v.rows, n);
    near(v.log_posterior, w.log_posterior, 1e-6);
    for (size_t j = 0; j < v.n_changepoints; j++) {
        assert_true(v.changepoints[j] == w.changepoints[j]);
        near(v.delta[j], w.delta[j], 1e-7);
    }
    /* A row before the last one is no warm update, but a fit. */
    double late = d->ds[n - 1] - 1800, y = 60;
    assert_false(seasonal_is_warm(m, &late, 1));
    assert_int_equal(seasonal_refit(&again, m, &late, &y, NULL, NULL, NULL, 1, NULL, &e), 0);
    assert_int_equal(seasonal_view(again).rows, n + 1);
    double bad = INFINITY;
    assert_int_equal(seasonal_update(m, d->ds + n, &bad, 1, &e), -EINVAL);
    assert_true(seasonal_view(m).log_posterior == v.log_posterior);
    seasonal_free(again);
    seasonal_free(all);
    seasonal_free(m);
}

/* -- forecasts -- */

TEST(exact_bounds_are_those_of_many_simulated_paths)
{
    struct seasonal_spec spec = spec_of(1, 2);
    spec.changepoint_prior_scale = 0.5; /* much to come */
    spec.samples = TEST_SLOW > 1 ? 4000 : 40000;
    struct data *d = make(N, 13, 8);
    struct seasonal *m = fit(&spec, d);
    struct err e;
    double ds[4], yhat[4], trend[4], factor[4], b[16];
    for (size_t i = 0; i < 4; i++) ds[i] = d->ds[N - 1] + 86400.0 * (double)(1 + i * i * 3);
    struct seasonal_future f = {.ds = ds, .n = 4};
    struct seasonal_forecast exact = {yhat, trend, b, b + 4, b + 8, b + 12, NULL, factor, NULL};
    assert_int_equal(seasonal_predict(m, &f, &exact, NULL, &e), 0);
    double c[16], limit = 4 / sqrt(spec.samples);
    struct seasonal_forecast drawn = {yhat, trend, c, c + 4, c + 8, c + 12, NULL, factor, NULL};
    assert_int_equal(seasonal_sampled_bounds(m, &f, &drawn, NULL, &e), 0);
    for (size_t i = 0; i < 16; i++) {
        double width = b[4 + i % 4] - b[i % 4];
        near(b[i], c[i], limit * width);
    }
    seasonal_free(m);
}

TEST(parameters_from_elsewhere_forecast_by_the_definition)
{
    struct seasonal_spec spec = spec_of(0, 3);
    spec.growth = SEASONAL_LOGISTIC;
    struct data *d = make(N, 14, 8);
    for (size_t i = 0; i < N; i++) d->floor[i] = 0;
    struct seasonal *m = fit(&spec, d);
    double delta[25] = {0}, beta[18], yhat[N];
    for (size_t c = 0; c < 18; c++) beta[c] = 0.01 * (double)(c + 1);
    delta[3] = 0.5;
    delta[20] = -1.5;
    assert_int_equal(seasonal_set_parameters(m, 1.2, 0.3, delta, beta, 0.05), 0);
    double lp = naive_log_posterior(m, d);
    near(seasonal_view(m).log_posterior, lp, 1e-9 * fabs(lp));
    struct err e;
    struct seasonal_future f = {.ds = d->ds, .n = N};
    struct seasonal_forecast out = {.yhat = yhat};
    assert_int_equal(seasonal_predict(m, &f, &out, NULL, &e), 0);
    assert_true(isfinite(yhat[0]) && isfinite(yhat[N - 1]));
    seasonal_free(m);
}

TEST(a_curve_above_a_floor_keeps_its_posterior_when_it_is_given_back)
{
    struct seasonal_spec spec = spec_of(0, 2);
    spec.growth = SEASONAL_LOGISTIC;
    struct data *d = make(N, 14, 4);
    struct seasonal *m = fit(&spec, d);
    struct seasonal_view v = seasonal_view(m);
    double lp = v.log_posterior, delta[400], beta[400];
    memcpy(delta, v.delta, v.n_changepoints * sizeof *delta);
    memcpy(beta, v.beta, v.n_columns * sizeof *beta);
    assert_int_equal(seasonal_set_parameters(m, v.k, v.m, delta, beta, v.sigma_obs), 0);
    near(seasonal_view(m).log_posterior, lp, 1e-7 * fabs(lp));
    seasonal_free(m);
}

TEST(a_steep_curve_without_changepoints_stays_where_it_is)
{
    struct seasonal_spec spec = spec_of(0, 0);
    spec.growth = SEASONAL_LOGISTIC;
    spec.n_changepoints = 0;
    spec.changepoint_prior_scale = 10; /* so cheap that a change at the start takes over */
    struct data *d = make(80, 1, 0);
    for (size_t i = 0; i < d->n; i++) {
        d->y[i] = i > 40 ? 10 : 0;
        d->cap[i] = 10.5;
        d->floor[i] = 0;
    }
    struct seasonal *m = fit(&spec, d);
    struct err e;
    double yhat[80], rss = 0;
    struct seasonal_future f = {.ds = d->ds, .n = d->n, .cap = d->cap, .floor = d->floor};
    struct seasonal_forecast out = {.yhat = yhat};
    assert_int_equal(seasonal_predict(m, &f, &out, NULL, &e), 0);
    for (size_t i = 0; i < d->n; i++) rss += (d->y[i] - yhat[i]) * (d->y[i] - yhat[i]);
    near(sqrt(rss / 80) / 10, m->sigma, 0.05 * m->sigma);
    seasonal_free(m);
}

TEST(a_threshold_is_reached_when_the_line_is_there)
{
    struct seasonal_spec spec = spec_of(0, 0);
    struct data *d = make(N, 15, 0);
    for (size_t i = 0; i < N; i++) d->y[i] = 10 + (double)i / 24; /* one a day */
    struct seasonal *m = fit(&spec, d);
    struct err e;
    static double ds[N];
    for (size_t i = 0; i < N; i++) ds[i] = d->ds[N - 1] + 3600.0 * (double)(i + 1);
    struct seasonal_future f = {.ds = ds, .n = N};
    struct seasonal_reach r, again;
    double last = d->y[N - 1];
    assert_int_equal(seasonal_time_to(m, &f, last + 10, false, false, &r, NULL, &e), 0);
    near(r.first, 10 * 86400, 60);
    near(r.quantile[1], 10 * 86400, 600);
    assert_true(r.probability == 1);
    assert_int_equal(seasonal_time_to(m, &f, last + 10, false, false, &again, NULL, &e), 0);
    assert_memory_equal(&r, &again, sizeof r);
    assert_int_equal(seasonal_time_to(m, &f, last + 100, false, true, &r, NULL, &e), 0);
    assert_true(r.first == INFINITY && r.quantile[0] == INFINITY && r.probability == 0);
    assert_int_equal(seasonal_time_to(m, &f, last - 5, true, false, &r, NULL, &e), 0);
    assert_true(r.first == INFINITY); /* it does not fall */
    double far = 1e14;
    struct seasonal_future never = {.ds = &far, .n = 1};
    assert_int_equal(seasonal_time_to(m, &never, 1e9, false, true, &r, NULL, &e), -EINVAL);
    seasonal_free(m);
}

/* -- what is odd, and what is wrong -- */

TEST(a_constant_and_an_exact_line_have_answers)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct data *d = make(N, 16, 0);
    struct err e;
    for (int slope = 0; slope <= 1; slope++) {
        for (double level = 0; level <= 1e12; level = level * 1e6 + 1) {
            for (size_t i = 0; i < N; i++) d->y[i] = level + slope * (double)i;
            struct seasonal *m = fit(&spec, d);
            double ds = d->ds[N - 1] + 36000, yhat, lower, upper;
            struct seasonal_future f = {.ds = &ds, .n = 1};
            struct seasonal_forecast out = {
                .yhat = &yhat, .yhat_lower = &lower, .yhat_upper = &upper};
            assert_int_equal(seasonal_predict(m, &f, &out, NULL, &e), 0);
            double expected = level + slope * (N + 9);
            near(yhat, expected, 1e-3 * slope * N + 1e-9 * level);
            assert_true(lower <= yhat && yhat <= upper);
            seasonal_free(m);
        }
    }
}

static int try(const struct seasonal_spec *spec, const struct data *d)
{
    struct err e = {0};
    struct seasonal_series *s = NULL;
    struct seasonal *m = NULL;
    int rc = seasonal_series_new(&s, spec, d->ds, d->y, d->cap, d->floor, d->n, &e);
    if (rc == 0) rc = seasonal_fit(&m, s, NULL, NULL, &e);
    assert_true(rc == 0 || e.text[0] != '\0');
    seasonal_free(m);
    seasonal_series_free(s);
    return rc;
}

TEST(what_cannot_be_fitted_is_refused)
{
    struct seasonal_spec spec = spec_of(1, 2);
    struct data *d = make(N, 17, 4);
    d->n = 1;
    assert_int_equal(try(&spec, d), -EINVAL);
    d = make(2, 17, 4);
    d->ds[1] = d->ds[0];
    assert_int_equal(try(&spec, d), -EINVAL);
    d = make(2, 17, 4);
    assert_int_equal(try(&spec, d), 0);
    d->y[1] = NAN;
    assert_int_equal(try(&spec, d), -EINVAL);
    d->y[1] = INFINITY;
    assert_int_equal(try(&spec, d), -EINVAL);
    d = make(3, 17, 4);
    d->ds[1] = NAN;
    assert_int_equal(try(&spec, d), -EINVAL);
    d = make(N, 17, 4);
    spec.growth = SEASONAL_LOGISTIC;
    d->cap[5] = d->floor[5];
    assert_int_equal(try(&spec, d), -EINVAL);
    spec = spec_of(1, 2);
    struct seasonal_part wide[2] = {PARTS[1], PARTS[1]};
    spec.parts = wide;
    assert_int_equal(try(&spec, d), -EINVAL); /* one name twice */
    wide[1].name = "other";
    wide[0].order = wide[1].order = 150;
    assert_int_equal(try(&spec, d), -EINVAL); /* 600 columns */
    double change = d->ds[0] - 1;
    spec = spec_of(1, 2);
    spec.changepoints = &change;
    spec.n_changepoints = 1;
    assert_int_equal(try(&spec, d), -EINVAL);
}

TEST(values_too_small_to_be_squared_are_refused)
{
    struct seasonal_spec spec = spec_of(0, 1);
    struct data *d = make(100, 1, 1);
    for (size_t i = 0; i < d->n; i++) d->y[i] *= 1e-200;
    assert_int_equal(try(&spec, d), -EINVAL);
}

TEST(a_fit_ends_when_it_is_cancelled)
{
    struct seasonal_spec spec = spec_of(0, 3);
    const struct data *d = make(N, 18, 4);
    struct err e;
    struct seasonal_series *s;
    struct seasonal *m = NULL;
    atomic_bool cancel = true;
    assert_int_equal(seasonal_series_new(&s, &spec, d->ds, d->y, NULL, NULL, d->n, &e), 0);
    assert_int_equal(seasonal_fit(&m, s, NULL, &cancel, &e), -ECANCELED);
    seasonal_series_free(s);
}

/* -- bytes -- */

static const int64_t DAYS[2] = {19680, 19700};

static struct seasonal *rich(const struct data *d)
{
    struct seasonal_part parts[] = {
        PARTS[0],
        PARTS[2],
        {.name = "sale",
         .kind = SEASONAL_HOLIDAY,
         .prior_scale = 5,
         .days = DAYS,
         .n_days = 2,
         .lower = -1,
         .upper = 1},
        {.name = "x", .kind = SEASONAL_REGRESSOR, .prior_scale = 10, .values = d->x},
    };
    struct seasonal_spec spec = seasonal_defaults();
    spec.parts = parts;
    spec.n_parts = 4;
    spec.growth = SEASONAL_LOGISTIC;
    return fit(&spec, d);
}

TEST(a_model_survives_as_bytes)
{
    struct data *d = make(300, 19, 4);
    d->ds[200] += 60; /* off the grid */
    struct seasonal *m = rich(d), *back = NULL;
    struct text a = {0}, b = {0};
    struct err e;
    seasonal_pack(m, &a);
    assert_false(a.failed);
    assert_int_equal(seasonal_unpack(&back, a.data, a.len, &e), 0);
    seasonal_pack(back, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    double ds[2] = {19680 * 86400.0, 1.72e9}, x[2] = {0.1, 0.2}, yhat[2], other[2];
    struct seasonal_future f = {.ds = ds, .n = 2, .x = x};
    struct seasonal_forecast out = {.yhat = yhat}, out2 = {.yhat = other};
    assert_int_equal(seasonal_predict(m, &f, &out, NULL, &e), 0);
    assert_int_equal(seasonal_predict(back, &f, &out2, NULL, &e), 0);
    assert_memory_equal(yhat, other, sizeof yhat);
    text_free(&a);
    text_free(&b);
    seasonal_free(back);
    seasonal_free(m);
}

TEST(bytes_cut_off_or_changed_are_refused)
{
    struct seasonal *m = rich(make(40, 20, 4)), *back = NULL;
    struct text a = {0};
    struct err e;
    seasonal_pack(m, &a);
    for (size_t len = 0; len < a.len; len += 1 + len / 40)
        assert_int_equal(seasonal_unpack(&back, a.data, len, &e), -EINVAL);
    for (size_t i = 0; i < a.len; i += 1 + i / 40) {
        a.data[i] ^= 0x55;
        assert_int_equal(seasonal_unpack(&back, a.data, a.len, &e), -EINVAL);
        a.data[i] ^= 0x55;
    }
    text_free(&a);
    seasonal_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_linear_fit_is_the_mode_of_the_posterior),
        CHECK(so_is_one_whose_seasons_multiply_in_part),
        CHECK(so_is_a_logistic_one_and_a_flat_one),
        CHECK(curves_and_factors_reach_the_mode_of_data_that_are_neither),
        CHECK(few_rows_have_few_changepoints_and_still_a_mode),
        CHECK(changes_that_are_not_needed_are_exactly_none),
        CHECK(times_on_a_grid_and_times_off_it_give_the_same_fit),
        CHECK(rows_in_any_order_doubled_and_missing_are_a_history),
        CHECK(the_first_rows_of_a_series_are_a_series),
        CHECK(an_update_gives_what_a_fit_to_all_rows_gives),
        CHECK(exact_bounds_are_those_of_many_simulated_paths),
        CHECK(parameters_from_elsewhere_forecast_by_the_definition),
        CHECK(a_curve_above_a_floor_keeps_its_posterior_when_it_is_given_back),
        CHECK(a_steep_curve_without_changepoints_stays_where_it_is),
        CHECK(a_threshold_is_reached_when_the_line_is_there),
        CHECK(a_constant_and_an_exact_line_have_answers),
        CHECK(what_cannot_be_fitted_is_refused),
        CHECK(values_too_small_to_be_squared_are_refused),
        CHECK(a_fit_ends_when_it_is_cancelled),
        CHECK(a_model_survives_as_bytes),
        CHECK(bytes_cut_off_or_changed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
