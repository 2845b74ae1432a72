#include "tests/c/test.h"

#include <errno.h>
#include <math.h>

#include "kernels/features.h"

enum { DAY = 86400, MOST = 4096 };

static struct sample samples[MOST];
static const enum feature all[] = {FEATURE_VALUE,      FEATURE_HOUR,        FEATURE_WEEKDAY,
                                   FEATURE_DIFFERENCE, FEATURE_CHANGE,      FEATURE_MEAN_1H,
                                   FEATURE_MEAN_6H,    FEATURE_SD_1H,       FEATURE_SD_6H,
                                   FEATURE_RESIDUAL,   FEATURE_RESIDUAL_1H, FEATURE_RESIDUAL_6H};

static struct features of(size_t n, double step)
{
    return (struct features){
        .samples = samples, .n = n, .step = step, .which = all, .n_which = FEATURE_COUNT};
}

static struct matrix *compute(const struct features *f, size_t first)
{
    struct matrix *m = NULL;
    struct err e = {0};
    assert_int_equal(features_compute(&m, f, first, NULL, &e), 0);
    assert_int_equal(m->rows, f->n - first);
    return m;
}

/* A daily wave with noise; jitter of the times and gaps where asked for. */
static size_t make(size_t n, double step, double jitter, double gaps, double offset)
{
    uint64_t seed = 11 + n;
    double t = 1700000000;
    size_t k = 0;
    for (size_t i = 0; i < n; i++, t += step) {
        if (uniform(&seed) < gaps) t += step * floor(uniform(&seed) * 60);
        samples[k].ds = t + jitter * step * uniform(&seed);
        if (k > 0 && samples[k].ds < samples[k - 1].ds) samples[k].ds = samples[k - 1].ds;
        samples[k++].y = offset + 10 * sin(2 * M_PI * t / DAY) + uniform(&seed);
    }
    return k;
}

/* -- the definition -- */

static double twin_mean(const struct features *f, size_t i, double window, bool spread)
{
    long double sum = 0, squares = 0, n = 0;
    for (size_t j = 0; j <= i; j++)
        if (f->samples[j].ds > f->samples[i].ds - window) sum += f->samples[j].y, n++;
    if (n < 3 || n < window / f->step / 4) return NAN;
    for (size_t j = 0; j <= i; j++)
        if (f->samples[j].ds > f->samples[i].ds - window)
            squares += powl(f->samples[j].y - sum / n, 2);
    return (double)(spread ? sqrtl(squares / n) : sum / n);
}

static void day_and_slot(const struct features *f, size_t i, double *day, double *slot)
{
    double t = floor(f->samples[i].ds) + (f->offsets != NULL ? f->offsets[i] : 0);
    double slots = floor(DAY / fmax(f->step, 300));
    *day = floor(t / DAY);
    *slot = fmin(floor((t - *day * DAY) / (DAY / slots)), slots - 1);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double twin_residual(const struct features *f, size_t i)
{
    double means[7], today, slot;
    size_t found = 0;
    day_and_slot(f, i, &today, &slot);
    for (int back = 1; back <= 7; back++) {
        double sum = 0, n = 0;
        for (size_t j = 0; j < f->n; j++) {
            double day, own;
            day_and_slot(f, j, &day, &own);
            if (day == today - back && own == slot) sum += f->samples[j].y, n++;
        }
        if (n > 0) means[found++] = sum / n;
    }
    if (found < 2) return NAN;
    qsort(means, found, sizeof *means, ascending);
    double median = found % 2 ? means[found / 2] : (means[found / 2 - 1] + means[found / 2]) / 2;
    return f->samples[i].y - median;
}

static double twin_mean_residual(const struct features *f, size_t i, double window)
{
    double sum = 0, n = 0;
    for (size_t j = 0; j <= i; j++) {
        if (f->samples[j].ds <= f->samples[i].ds - window) continue;
        double r = twin_residual(f, j);
        if (!isnan(r)) sum += r, n++;
    }
    return n > 0 ? sum / n : NAN;
}

static void close_to(double x, double y, double scale)
{
    if (isnan(y))
        assert_true(isnan(x));
    else
        assert_true(fabs(x - y) <= 1e-12 * scale);
}

static void expect_definition(const struct features *f, double scale)
{
    double short_one = features_window(f->step, false), long_one = features_window(f->step, true);
    struct matrix *m = compute(f, 0);
    for (size_t i = 0; i < f->n; i += i < 50 ? 1 : 97) {
        const double *row = matrix_row(m, i);
        bool before = i > 0 && samples[i - 1].ds > samples[i].ds - short_one;
        double difference = before ? samples[i].y - samples[i - 1].y : NAN;
        assert_true(row[FEATURE_VALUE] == samples[i].y);
        close_to(row[FEATURE_DIFFERENCE], difference, 1);
        close_to(row[FEATURE_CHANGE], fabs(difference), 1);
        close_to(row[FEATURE_MEAN_1H], twin_mean(f, i, short_one, false), scale);
        close_to(row[FEATURE_MEAN_6H], twin_mean(f, i, long_one, false), scale);
        close_to(row[FEATURE_SD_1H], twin_mean(f, i, short_one, true), scale);
        close_to(row[FEATURE_SD_6H], twin_mean(f, i, long_one, true), scale);
        close_to(row[FEATURE_RESIDUAL], twin_residual(f, i), scale);
        if (i % 5 != 0) continue; /* the twin is slow */
        close_to(row[FEATURE_RESIDUAL_1H], twin_mean_residual(f, i, short_one), scale);
    }
    matrix_free(m);
}

TEST(features_are_what_they_are_said_to_be)
{
    struct features f = of(make(2000, 300, 0, 0, 0), 300);
    expect_definition(&f, 100);
    f = of(make(400, 3600, 0, 0, 0), 3600);
    expect_definition(&f, 100);
}

TEST(irregular_times_and_gaps_change_nothing_of_that)
{
    struct features f = of(make(1500, 600, 1.2, 0.02, 0), 600);
    expect_definition(&f, 100);
}

TEST(a_large_offset_takes_nothing_of_a_small_spread)
{
    size_t n = make(500, 300, 0, 0, 0);
    struct features f = of(n, 300);
    struct matrix *plain = compute(&f, 0);
    for (size_t i = 0; i < n; i++) samples[i].y += 1099511627776.0; /* 2^40 */
    struct matrix *shifted = compute(&f, 0);
    for (size_t i = 20; i < n; i++)
        assert_true(fabs(matrix_get(plain, i, FEATURE_SD_6H) -
                         matrix_get(shifted, i, FEATURE_SD_6H)) < 1e-3);
    matrix_free(plain);
    matrix_free(shifted);
}

static void expect_same_row(const double *a, const double *b)
{
    for (size_t k = 0; k < FEATURE_COUNT; k++)
        assert_true(memcmp(&a[k], &b[k], sizeof *a) == 0 || (isnan(a[k]) && isnan(b[k])));
}

/* The row of each sample from what features_reach() tells to fetch is the row of the history. */
static void expect_incremental(const struct features *f)
{
    double reach = features_reach(f->step, f->which, f->n_which);
    struct matrix *m = compute(f, 0);
    for (size_t i = 0; i < f->n; i += 1 + i / 40) {
        struct features recent = *f;
        size_t from = 0;
        while (samples[from].ds < samples[i].ds - reach) from++;
        recent.samples += from;
        if (recent.offsets != NULL) recent.offsets += from;
        recent.n = i + 1 - from;
        struct matrix *last = compute(&recent, recent.n - 1);
        expect_same_row(matrix_row(last, 0), matrix_row(m, i));
        matrix_free(last);
    }
    matrix_free(m);
}

TEST(a_row_of_recent_samples_is_that_of_the_whole_history)
{
    struct features f = of(make(4000, 300, 0, 0, 0), 300);
    expect_incremental(&f);
    f = of(make(3000, 420, 1.5, 0.01, 1e9), 420);
    expect_incremental(&f);
}

TEST(clocks_that_change_are_followed)
{
    static int32_t offsets[MOST];
    struct features f = of(make(4000, 300, 0, 0, 0), 300);
    for (size_t i = 0; i < f.n; i++) offsets[i] = i < 2500 ? 7200 : 3600; /* an hour back */
    f.offsets = offsets;
    expect_incremental(&f);
    struct matrix *m = compute(&f, 0);
    for (size_t i = 2300; i < 2700; i += 7)
        close_to(matrix_get(m, i, FEATURE_RESIDUAL), twin_residual(&f, i), 100);
    matrix_free(m);
    for (size_t i = 0; i < f.n; i++) offsets[i] = i < 2500 ? 3600 : 7200; /* an hour ahead */
    expect_incremental(&f);
}

TEST(hours_and_weekdays_are_those_of_the_place)
{
    int32_t offsets[] = {0, 7200, -39600};
    static const double hours[] = {22, 0, 11}, weekdays[] = {1, 2, 1};
    for (size_t i = 0; i < 3; i++) samples[i] = (struct sample){1700000000, 1}; /* Tue 22:13:20 */
    struct features f = of(3, 300);
    f.offsets = offsets;
    struct matrix *m = compute(&f, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(matrix_get(m, i, FEATURE_HOUR) == hours[i]);
        assert_true(matrix_get(m, i, FEATURE_WEEKDAY) == weekdays[i]);
    }
    matrix_free(m);
    samples[0].ds = -1; /* Wednesday, the last second of 1969 */
    f = of(1, 300);
    m = compute(&f, 0);
    assert_true(matrix_get(m, 0, FEATURE_HOUR) == 23 && matrix_get(m, 0, FEATURE_WEEKDAY) == 2);
    matrix_free(m);
}

TEST(windows_follow_the_step)
{
    assert_true(features_window(300, false) == 3600 && features_window(300, true) == 21600);
    assert_true(features_window(3600, false) == 21600);
    assert_true(features_window(10, false) == 600);
    enum feature f = FEATURE_WEEKDAY;
    assert_true(features_reach(300, &f, 1) == 0);
    f = FEATURE_SD_6H;
    assert_true(features_reach(300, &f, 1) == 21600);
    f = FEATURE_RESIDUAL;
    assert_true(features_reach(300, &f, 1) > 7 * DAY);
}

TEST(names_are_found_and_columns_bear_them)
{
    static const enum feature two[] = {FEATURE_SD_6H, FEATURE_VALUE};
    enum feature f;
    for (int i = 0; i < FEATURE_COUNT; i++)
        assert_true(feature_by_name(feature_name((enum feature)i), &f) && f == (enum feature)i);
    assert_false(feature_by_name("valu", &f));
    struct features x = of(make(5, 300, 0, 0, 0), 300);
    x.which = two;
    x.n_which = 2;
    struct matrix *m = compute(&x, 0);
    assert_string_equal(m->names[0], "sd_6h");
    assert_true(matrix_get(m, 4, 1) == samples[4].y);
    matrix_free(m);
    m = compute(&x, 5);
    assert_int_equal(m->rows, 0);
    matrix_free(m);
}

TEST(the_work_can_be_cancelled)
{
    struct features f = of(make(10, 300, 0, 0, 0), 300);
    struct matrix *m = NULL;
    struct err e;
    atomic_bool cancel = true;
    assert_int_equal(features_compute(&m, &f, 0, &cancel, &e), -ECANCELED);
    assert_null(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(features_are_what_they_are_said_to_be),
        CHECK(irregular_times_and_gaps_change_nothing_of_that),
        CHECK(a_large_offset_takes_nothing_of_a_small_spread),
        CHECK(a_row_of_recent_samples_is_that_of_the_whole_history),
        CHECK(clocks_that_change_are_followed),
        CHECK(hours_and_weekdays_are_those_of_the_place),
        CHECK(windows_follow_the_step),
        CHECK(names_are_found_and_columns_bear_them),
        CHECK(the_work_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
