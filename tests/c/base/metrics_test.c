#include "tests/c/test.h"
#include "base/metrics.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Of what is exposed, the lines in which the text occurs. The caller frees it. */
static char *lines_with(const char *part, bool openmetrics)
{
    struct text all = {0}, out = {0};
    metrics_expose(&all, openmetrics);
    text_adds(&out, "");
    for (char *line = strtok(all.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strstr(line, part) != NULL) text_addf(&out, "%s\n", line);
    text_free(&all);
    return out.data;
}

static void assert_exposed(const char *part, bool openmetrics, const char *expected)
{
    char *lines = lines_with(part, openmetrics);
    assert_string_equal(lines, expected);
    free(lines);
}

static struct metric *family(const char *name, enum metric_type type, const char *labels)
{
    struct metric *m = metric_family(name, "A help.", type, labels, NULL, 0);
    assert_non_null(m);
    return m;
}

/* -- what Prometheus says of it -- */

static const double bounds[] = {0.005, 0.1, 1, 2.5, 10, 1e6};

static void fill_with_everything(void)
{
    struct metric *counter = family("t_all_total", METRIC_COUNTER, "kind,text");
    static const char *const texts[] = {"",         "plain",      "a\"b\\c\nd", "é😀",
                                        "\xff\xc3", "a,b=\"c\"}", "\\n",        "\t\x01"};
    for (size_t i = 0; i < COUNT(texts); i++)
        metric_add(counter, (const char *[]){"x", texts[i]}, (double)i + 0.5);
    struct metric *gauge =
        metric_family("t_all_degrees", "With \\d, \"quotes\", \n and \xff in it.", METRIC_GAUGE,
                      "which", NULL, 0);
    static const double values[] = {0,        -0.0,      1e300, -5e-324,  NAN,
                                    INFINITY, -INFINITY, 1e21,  123456789};
    for (size_t i = 0; i < COUNT(values); i++) {
        char which[16];
        snprintf(which, sizeof which, "%zu", i);
        metric_set(gauge, (const char *[]){which}, values[i]);
    }
    struct metric *h =
        metric_family("t_all_seconds", "Time.", METRIC_HISTOGRAM, "route", bounds, COUNT(bounds));
    for (double x = 1e-4; x < 1e8; x *= 3) metric_observe(h, (const char *[]){"/a\"b"}, x);
    metric_observe(metric_family("t_all_bytes", "Size.", METRIC_HISTOGRAM, "", NULL, 0), NULL, 1);
}

static int promtool(const char *arguments, const char *input)
{
    char folder[64], path[100], command[400];
    snprintf(path, sizeof path, "%s/in", test_folder(folder));
    FILE *f = fopen(path, "w");
    fputs(input, f);
    fclose(f);
    snprintf(command, sizeof command, arguments, path, folder);
    int status = system(command);
    test_remove(folder);
    return status;
}

TEST(promtool_finds_nothing_wrong_with_the_text_format)
{
    struct text all = {0};
    fill_with_everything();
    metrics_expose(&all, false);
    assert_int_equal(promtool("promtool check metrics <%s", all.data), 0);
    text_adds(&all, "x{y=\"\xff\"} 1\n"); /* and it would say so */
    assert_int_not_equal(promtool("promtool check metrics <%s 2>/dev/null", all.data), 0);
    text_free(&all);
}

TEST(promtool_reads_the_openmetrics_format)
{
    static const char command[] = "promtool tsdb create-blocks-from openmetrics %s %s/blocks "
                                  ">/dev/null 2>&1";
    struct text all = {0}, timed = {0};
    fill_with_everything();
    metrics_expose(&all, true);
    assert_string_equal(all.data + all.len - 6, "# EOF\n");
    for (char *line = strtok(all.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
        text_addf(&timed, "%s%s\n", line, *line == '#' ? "" : " 1700000000"); /* it wants a time */
    assert_int_equal(promtool(command, timed.data), 0);
    timed.data[timed.len - 6] = '\0'; /* no EOF */
    assert_int_not_equal(promtool(command, timed.data), 0);
    text_free(&all);
    text_free(&timed);
}

/* -- families and children -- */

TEST(a_name_is_one_family_and_must_not_change_its_kind)
{
    struct metric *m = family("t_kind_total", METRIC_COUNTER, "rule,kind");
    assert_ptr_equal(family("t_kind_total", METRIC_COUNTER, "rule,kind"), m);
    assert_null(metric_family("t_kind_total", "", METRIC_GAUGE, "rule,kind", NULL, 0));
    static const char *const others[] = {"",           "rule",     "kind,rule", "rule,kind,x",
                                         "rule,kinds", "rul,kind", "rule,kin"};
    for (size_t i = 0; i < COUNT(others); i++)
        assert_null(metric_family("t_kind_total", "", METRIC_COUNTER, others[i], NULL, 0));
}

TEST(children_are_told_apart_by_their_label_values)
{
    struct metric *m = family("t_child_total", METRIC_COUNTER, "a,b");
    metric_add(m, (const char *[]){"x", "y"}, 1);
    metric_add(m, (const char *[]){"x", "y"}, 2);
    metric_add(m, (const char *[]){"x\",b=\"y", ""}, 4); /* not the same once it is printed */
    metric_add(m, (const char *[]){"", "x"}, 8);
    assert_true(metric_value(m, (const char *[]){"x", "y"}) == 3);
    assert_true(metric_value(m, (const char *[]){"x", "z"}) == 0);
    assert_exposed("t_child_total{", false,
                   "t_child_total{a=\"\",b=\"x\"} 8\n"
                   "t_child_total{a=\"x\",b=\"y\"} 3\n"
                   "t_child_total{a=\"x\\\",b=\\\"y\",b=\"\"} 4\n");
}

TEST(a_gauge_holds_what_was_set_last_and_forgets_when_cleared)
{
    struct metric *m = family("t_gauge", METRIC_GAUGE, "x");
    metric_set(m, (const char *[]){"a"}, 5);
    metric_set(m, (const char *[]){"a"}, -1.5);
    metric_add(m, (const char *[]){"a"}, 1);
    assert_exposed("t_gauge", false,
                   "# HELP t_gauge A help.\n# TYPE t_gauge gauge\nt_gauge{x=\"a\"} -0.5\n");
    metric_clear(m);
    assert_exposed("t_gauge", false, ""); /* no head without a sample */
    assert_true(metric_value(m, (const char *[]){"a"}) == 0);
    metric_set(m, (const char *[]){"b"}, 1);
    assert_exposed("t_gauge{", false, "t_gauge{x=\"b\"} 1\n");
}

TEST(a_family_takes_a_limited_number_of_children_and_counts_the_rest)
{
    struct metric *m = family("t_limit_total", METRIC_COUNTER, "x"), *dropped;
    char x[16];
    for (int i = 0; i < METRICS_CHILDREN + 10; i++) {
        snprintf(x, sizeof x, "%d", i);
        metric_add(m, (const char *[]){x}, 1);
    }
    dropped = metric_family("perigee_metrics_dropped_total", "", METRIC_COUNTER, "", NULL, 0);
    assert_true(metric_value(dropped, NULL) == 10);
    metric_add(m, (const char *[]){"0"}, 1); /* one that is there goes on */
    assert_true(metric_value(m, (const char *[]){"0"}) == 2);
    assert_true(metric_value(m, (const char *[]){x}) == 0);
    assert_true(metric_value(dropped, NULL) == 10);
    metric_clear(m);
    metric_add(m, (const char *[]){x}, 1);
    assert_true(metric_value(m, (const char *[]){x}) == 1);
}

/* -- histograms -- */

TEST(buckets_count_what_is_at_most_their_bound)
{
    struct metric *m =
        metric_family("t_hist_seconds", "Time.", METRIC_HISTOGRAM, "", bounds, COUNT(bounds));
    uint64_t seed = 1;
    double x[500], sum = 0;
    for (size_t i = 0; i < COUNT(x); i++) {
        x[i] = i % 7 == 0 ? bounds[i % COUNT(bounds)] : pow(10, uniform(&seed) * 10 - 4);
        sum += x[i];
        metric_observe(m, NULL, x[i]);
    }
    struct text expected = {0};
    char n[TEXT_NUMBER];
    for (size_t b = 0; b < COUNT(bounds); b++) {
        int count = 0;
        for (size_t i = 0; i < COUNT(x); i++) count += x[i] <= bounds[b];
        text_addf(&expected, "t_hist_seconds_bucket{le=\"%s\"} %d\n", text_number(bounds[b], n),
                  count);
    }
    text_addf(&expected, "t_hist_seconds_bucket{le=\"+Inf\"} 500\n");
    text_addf(&expected, "t_hist_seconds_sum %s\n", text_number(sum, n));
    text_addf(&expected, "t_hist_seconds_count 500\n");
    assert_exposed("t_hist_seconds_", false, expected.data);
    assert_true(metric_value(m, NULL) == 500);
    text_free(&expected);
}

TEST(what_is_not_a_number_counts_beyond_every_bound)
{
    static const double one[] = {1};
    struct metric *m = metric_family("t_nan_seconds", "Time.", METRIC_HISTOGRAM, "", one, 1);
    metric_observe(m, NULL, NAN);
    metric_observe(m, NULL, -INFINITY);
    assert_exposed("t_nan_seconds_", false,
                   "t_nan_seconds_bucket{le=\"1\"} 1\nt_nan_seconds_bucket{le=\"+Inf\"} 2\n"
                   "t_nan_seconds_sum NaN\nt_nan_seconds_count 2\n");
}

/* -- formats -- */

TEST(families_are_sorted_by_name)
{
    metric_add(family("t_sort_b_total", METRIC_COUNTER, ""), NULL, 1);
    metric_add(family("t_sort_a_total", METRIC_COUNTER, ""), NULL, 1);
    assert_exposed(
        "t_sort", false,
        "# HELP t_sort_a_total A help.\n# TYPE t_sort_a_total counter\nt_sort_a_total 1\n"
        "# HELP t_sort_b_total A help.\n# TYPE t_sort_b_total counter\nt_sort_b_total 1\n");
}

TEST(openmetrics_names_a_counter_without_total_and_writes_bounds_as_floats)
{
    static const double few[] = {0.5, 1, 1e21};
    metric_add(family("t_om_total", METRIC_COUNTER, ""), NULL, 2);
    metric_add(family("t_om_plain", METRIC_COUNTER, ""), NULL, 2); /* none, then */
    metric_observe(metric_family("t_om_seconds", "\"T\" \\.", METRIC_HISTOGRAM, "", few, 3), NULL,
                   1);
    assert_exposed("t_om", true,
                   "# HELP t_om_plain A help.\n# TYPE t_om_plain unknown\nt_om_plain 2\n"
                   "# HELP t_om_seconds \\\"T\\\" \\\\.\n# TYPE t_om_seconds histogram\n"
                   "t_om_seconds_bucket{le=\"0.5\"} 0\nt_om_seconds_bucket{le=\"1.0\"} 1\n"
                   "t_om_seconds_bucket{le=\"1e+21\"} 1\nt_om_seconds_bucket{le=\"+Inf\"} 1\n"
                   "t_om_seconds_sum 1\nt_om_seconds_count 1\n"
                   "# HELP t_om A help.\n# TYPE t_om counter\nt_om_total 2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(promtool_finds_nothing_wrong_with_the_text_format), /* first: it wants good names */
        CHECK(promtool_reads_the_openmetrics_format),
        CHECK(a_name_is_one_family_and_must_not_change_its_kind),
        CHECK(children_are_told_apart_by_their_label_values),
        CHECK(a_gauge_holds_what_was_set_last_and_forgets_when_cleared),
        CHECK(a_family_takes_a_limited_number_of_children_and_counts_the_rest),
        CHECK(buckets_count_what_is_at_most_their_bound),
        CHECK(what_is_not_a_number_counts_beyond_every_bound),
        CHECK(families_are_sorted_by_name),
        CHECK(openmetrics_names_a_counter_without_total_and_writes_bounds_as_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
