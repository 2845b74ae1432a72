#include "tests/c/test.h"

#include <errno.h>
#include <math.h>

#include "kernels/series.h"

static struct series s;
static struct err e;

static int read_text(const char *csv)
{
    /* A block of its own size, so that a sanitizer sees one byte too far. */
    size_t len = strlen(csv);
    char *copy = malloc(len + !len);
    assert_non_null(copy);
    memcpy(copy, csv, len);
    series_free(&s);
    e = (struct err){0};
    int rc = series_from_csv(&s, copy, len, NULL, &e);
    free(copy);
    return rc;
}

static void expect_samples(const char *csv, size_t n, const struct sample *expected)
{
    assert_int_equal(read_text(csv), 0);
    assert_int_equal(s.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(s.samples[i].ds == expected[i].ds);
        assert_true(s.samples[i].y == expected[i].y ||
                    (isnan(s.samples[i].y) && isnan(expected[i].y)));
    }
}

static void expect_error(const char *csv, const char *message)
{
    assert_int_equal(read_text(csv), -EINVAL);
    assert_string_equal(e.text, message);
    assert_null(s.samples);
}

TEST(columns_are_found_by_every_name_and_others_are_ignored)
{
    static const struct sample two[] = {{10, 1}, {20, -2.5}};
    expect_samples("ts,value\n10,1\n20,-2.5\n", 2, two);
    expect_samples("ds,y\n10,1\n20,-2.5", 2, two);
    expect_samples("\xEF\xBB\xBFtimestamp,y\r\n10,1\r\n\r\n20,-2.5\r\n", 2, two);
    expect_samples("value,label,DS,note\n1,x,10,\n-2.5,y,20,\"a,\nb\"\n", 2, two);
    expect_samples(" Timestamp , Value\n10,1\n20,-2.5\n", 2, two);
}

TEST(of_several_names_the_first_of_the_list_counts)
{
    static const struct sample one[] = {{10, 1}};
    expect_samples("value,timestamp,ds,y,ts\n7,8,9,1,10\n", 1, one);
}

TEST(what_is_missing_is_nan)
{
    static const struct sample samples[] = {{1, NAN}, {2, NAN}, {3, INFINITY}};
    expect_samples("ts,value\n1,\n2,NaN\n3,+Inf\n", 3, samples);
}

TEST(rows_are_sorted_and_equal_times_stay_in_order)
{
    static const struct sample samples[] = {{1, 5}, {2, 3}, {2, 1}, {2, 4}, {3, 2}, {3, 6}, {9, 0}};
    expect_samples("ts,y\n9,0\n2,3\n3,2\n2,1\n1,5\n2,4\n3,6\n", 7, samples);
}

TEST(sorting_agrees_with_the_obvious_way)
{
    uint64_t seed = 7;
    for (int round = 0; round < 50; round++) {
        enum { MOST = 70 };
        char csv[32 + MOST * 16] = "ts,y\n";
        int keys[MOST], n = 1 + (int)(uniform(&seed) * MOST);
        for (int i = 0; i < n; i++) {
            keys[i] = (int)(uniform(&seed) * 20);
            sprintf(csv + strlen(csv), "%d,%d\n", keys[i], i);
        }
        assert_int_equal(read_text(csv), 0);
        assert_int_equal(s.n, n);
        for (size_t i = 0; i < s.n; i++) {
            assert_true(keys[(int)s.samples[i].y] == (int)s.samples[i].ds);
            if (i == 0) continue;
            assert_true(
                s.samples[i - 1].ds < s.samples[i].ds ||
                (s.samples[i - 1].ds == s.samples[i].ds && s.samples[i - 1].y < s.samples[i].y));
        }
    }
}

TEST(times_are_read_in_every_form)
{
    static const struct {
        const char *text;
        double t;
    } cases[] = {
        {"1700000000", 1700000000},
        {" 1.5e9 ", 1.5e9},
        {"-1.25", -1.25},
        {"1970-01-02", 86400},
        {"2026-01-31 23:59:00", 1769903940},
        {"2026-01-31 23:59", 1769903940},
        {"2026-01-31T23:59:00", 1769903940},
        {"2026-01-31T23:59:00Z", 1769903940},
        {"2026-02-01t01:59:00+02:00", 1769903940},
        {"2026-01-31 18:29:00-05:30", 1769903940},
        {"2026-01-31T23:59:00.25Z", 1769903940.25},
        {"2024-02-29", 1709164800},
        {"2016-12-31T23:59:60Z", 1483228800},
        {"1969-12-31T23:59:59Z", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double t = 0;
        assert_true(series_time(cases[i].text, strlen(cases[i].text), &t));
        assert_true(t == cases[i].t);
    }
}

TEST(what_is_no_time_is_refused)
{
    static const char *const cases[] = {"",
                                        " ",
                                        "nan",
                                        "inf",
                                        "x",
                                        "2026-1-31",
                                        "2026-13-01",
                                        "2026-00-01",
                                        "2023-02-29",
                                        "2026-01-32",
                                        "2026-01-31T",
                                        "2026-01-31T24:00",
                                        "2026-01-31T23:60",
                                        "2026-01-31T23:59:61",
                                        "2026-01-31T23:59:00.",
                                        "2026-01-31T23:59:00Zx",
                                        "2026-01-31T23:59:00+2",
                                        "2026-01-31 2:00",
                                        "2026-01-31T23:59:00+24:00",
                                        "2026-01-31x",
                                        "1700000000000",
                                        "31.01.2026",
                                        "20x6-01-31"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double t;
        char *copy = strdup(cases[i]);
        size_t len = strlen(copy);
        char *exact = realloc(copy, len + !len);
        assert_false(series_time(exact, len, &t));
        free(exact);
    }
}

TEST(errors_name_line_and_column)
{
    expect_error("", "1:1: there is nothing; the first line names the columns");
    expect_error("1,2\n3,4\n", "1:1: no column is named ts, ds or timestamp; the first line names "
                               "the columns, and begins with \"1\"");
    expect_error("# TYPE load gauge\nload 1 1700000000\n# EOF\n",
                 "1:1: these are metrics as Prometheus exposes them; expected is CSV whose first "
                 "line names the columns, such as ts,value");
    expect_error("ts,values\n1,2\n", "1:1: no column is named y or value");
    expect_error("ts,y\n1,2\nsoon,3\n",
                 "3:1: \"soon\" is no time: expected Unix seconds, 2026-01-31T23:59:00Z, or "
                 "2026-01-31 23:59:00");
    expect_error("ts,y\n1700000000000,2\n", "2:1: \"1700000000000\" is too far away for Unix "
                                            "seconds; are these milliseconds?");
    expect_error("ts,y\n1,2,3\n", "2:5: one field more than the 2 columns");
    expect_error("ts,y,z\n1,2,\n1,2\n", "3:3: the line ends here, with field 2 of 3");
    expect_error("ts,y\n1,2\n1,fast\n", "3:3: \"fast\" is no number");
    expect_error("ts,y\n1,\"2\n", "2:3: a quoted field that does not end");
}

TEST(reading_can_be_cancelled)
{
    size_t n = 10000, len = 5;
    char *csv = malloc(len + n * 4 + 1);
    assert_non_null(csv);
    strcpy(csv, "ts,y\n");
    for (size_t i = 0; i < n; i++, len += 4) memcpy(csv + len, "1,2\n", 4);
    atomic_bool cancel = true;
    series_free(&s);
    assert_int_equal(series_from_csv(&s, csv, len, &cancel, &e), -ECANCELED);
    assert_null(s.samples);
    cancel = false;
    assert_int_equal(series_from_csv(&s, csv, len, &cancel, &e), 0);
    assert_int_equal(s.n, n);
    free(csv);
}

static int teardown(void **state)
{
    (void)state;
    series_free(&s);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(columns_are_found_by_every_name_and_others_are_ignored),
        CHECK(of_several_names_the_first_of_the_list_counts),
        CHECK(what_is_missing_is_nan),
        CHECK(rows_are_sorted_and_equal_times_stay_in_order),
        CHECK(sorting_agrees_with_the_obvious_way),
        CHECK(times_are_read_in_every_form),
        CHECK(what_is_no_time_is_refused),
        CHECK(errors_name_line_and_column),
        CHECK(reading_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
