#include "tests/c/test.h"
#include "kernels/matrix.h"
#include <errno.h>
#include <math.h>
#include <stdbool.h>

static struct matrix *counting(size_t rows, size_t columns) /* 0, 1, 2, … row by row; a, b, c, … */
{
    struct matrix *m;
    assert_int_equal(matrix_new(&m, rows, columns), 0);
    for (size_t i = 0; i < rows * columns; i++) m->x[i] = (double)i;
    for (size_t j = 0; j < columns; j++)
        assert_int_equal(matrix_set_name(m, j, &"abcdefgh"[j], 1), 0);
    return m;
}

TEST(a_new_one_is_all_missing_and_without_names)
{
    struct matrix *m;
    assert_int_equal(matrix_new(&m, 2, 3), 0);
    for (size_t i = 0; i < 6; i++) assert_true(isnan(m->x[i]));
    assert_null(m->names);
    assert_int_equal(matrix_find(m, "a"), 3);
    assert_int_equal(matrix_find_twin(m), 3);
    matrix_free(m);
    assert_int_equal(matrix_new(&m, 0, 0), 0);
    matrix_free(m);
    matrix_free(NULL);
}

TEST(sizes_that_overflow_are_refused)
{
    struct matrix *m = NULL;
    assert_int_equal(matrix_new(&m, SIZE_MAX, 2), -EOVERFLOW);
    assert_int_equal(matrix_new(&m, (size_t)1 << 32, (size_t)1 << 32), -EOVERFLOW);
    assert_int_equal(matrix_new(&m, (size_t)1 << 60, 1), -EOVERFLOW);
    assert_null(m);
}

TEST(cells_rows_and_columns_agree)
{
    struct matrix *m = counting(4, 3);
    for (size_t j = 0; j < 3; j++) {
        for (size_t i = 0; i < 4; i++) {
            assert_true(matrix_get(m, i, j) == (double)(3 * i + j));
            assert_true(matrix_row(m, i)[j] == (double)(3 * i + j));
        }
    }
    matrix_free(m);
}

TEST(parts_are_copies_with_their_names)
{
    struct matrix *m = counting(4, 3), *part;
    assert_int_equal(matrix_select(&part, m, (size_t[]){2, 0}, 2), 0);
    assert_true(part->rows == 4 && part->columns == 2);
    assert_string_equal(part->names[0], "c");
    assert_string_equal(part->names[1], "a");
    for (size_t i = 0; i < 4; i++) {
        assert_true(matrix_get(part, i, 0) == matrix_get(m, i, 2));
        assert_true(matrix_get(part, i, 1) == matrix_get(m, i, 0));
    }
    matrix_free(part);
    assert_int_equal(matrix_slice(&part, m, 1, 2), 0);
    assert_true(part->rows == 2 && part->columns == 3 && part->x[0] == 3 && part->x[5] == 8);
    assert_int_equal(matrix_find(part, "b"), 1);
    matrix_free(part);
    assert_int_equal(matrix_slice(&part, m, 4, 0), 0);
    assert_true(part->rows == 0 && part->columns == 3);
    matrix_free(part);
    matrix_free(m);
}

TEST(names_that_are_there_twice_are_found)
{
    struct matrix *m = counting(0, 4);
    assert_int_equal(matrix_find_twin(m), 4);
    assert_int_equal(matrix_set_name(m, 3, "b", 1), 0);
    assert_int_equal(matrix_find_twin(m), 3);
    assert_int_equal(matrix_find(m, "b"), 1);
    assert_int_equal(matrix_set_name(m, 1, "", 0), 0); /* no name is no twin */
    assert_int_equal(matrix_set_name(m, 2, "", 0), 0);
    assert_int_equal(matrix_find_twin(m), 4);
    assert_int_equal(matrix_find(m, ""), 4);
    matrix_free(m);
}

static int read_csv(struct matrix **m, const char *text, char **wanted, size_t n, struct err *e)
{
    struct matrix_csv how = {',', n, wanted};
    *m = NULL;
    return matrix_from_csv(m, text, strlen(text), &how, NULL, e);
}

TEST(csv_becomes_rows_and_named_columns)
{
    struct matrix *m;
    assert_int_equal(
        read_csv(&m, "cpu,\"disk \"\"io\"\"\"\r\n1,2.5\r\n\r\n,-3e2\r\n", NULL, 0, NULL), 0);
    assert_true(m->rows == 2 && m->columns == 2);
    assert_string_equal(m->names[0], "cpu");
    assert_string_equal(m->names[1], "disk \"io\"");
    assert_true(m->x[0] == 1 && m->x[1] == 2.5 && isnan(m->x[2]) && m->x[3] == -300);
    matrix_free(m);
    assert_int_equal(read_csv(&m, "x\n1\n\n3\n", NULL, 0, NULL),
                     0); /* one column: a missing value */
    assert_true(m->rows == 3 && isnan(m->x[1]) && m->x[2] == 3);
    matrix_free(m);
    assert_int_equal(read_csv(&m, "a,b", NULL, 0, NULL), 0);
    assert_true(m->rows == 0 && m->columns == 2);
    matrix_free(m);
}

TEST(only_the_wanted_columns_of_csv_must_be_numbers)
{
    struct matrix *m;
    char b[] = "b", d[] = "d";
    assert_int_equal(read_csv(&m, "a,b,c,d\nx,1,2020-01-01,2\ny,3,,4\n", (char *[]){d, b}, 2, NULL),
                     0);
    assert_true(m->rows == 2 && m->columns == 2);
    assert_string_equal(m->names[0], "d");
    assert_true(m->x[0] == 2 && m->x[1] == 1 && m->x[2] == 4 && m->x[3] == 3);
    matrix_free(m);
}

TEST(csv_errors_have_line_column_and_words)
{
    char cpu[] = "cpu", cqu[] = "cqu", x[] = "x";
    const struct {
        const char *text;
        char *wanted[2];
        size_t n;
        const char *words;
    } cases[] = {
        {"", {NULL}, 0, "1:1: there is nothing; the first line names the columns"},
        {"a,b\n1,2\n3,x y\n", {NULL}, 0, "3:3: column \"b\": \"x y\" is no number"},
        {"a,b\n1\n", {NULL}, 0, "2:1: the line ends here, with field 1 of 2"},
        {"a,b\n1,2,3\n", {NULL}, 0, "2:5: one field more than the 2 columns"},
        {"a,b,a\n", {NULL}, 0, "1:1: column \"a\" is there twice"},
        {"cpu,b,cpu\n", {cpu}, 1, "1:1: column \"cpu\" is there twice"},
        {"cpu,b\n", {cpu, cpu}, 2, "1:1: column \"cpu\" is asked for twice"},
        {"a,cpu\n1,2\n", {cqu}, 1, "1:1: there is no column \"cqu\"; did you mean \"cpu\"?"},
        {"latency,cpu_usage\n1,2\n", {x}, 1, "1:1: there is no column \"x\""},
        {"a\n\"1\n", {NULL}, 0, "2:1: a quoted field that does not end"},
        {"\"a\nb\",c\n1,2\n3,z\n", {NULL}, 0, "4:3: column \"c\": \"z\" is no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        struct matrix *m;
        char *wanted[2] = {cases[i].wanted[0], cases[i].wanted[1]};
        assert_int_equal(read_csv(&m, cases[i].text, wanted, cases[i].n, &e), -EINVAL);
        assert_string_equal(e.text, cases[i].words);
        assert_null(m);
    }
}

TEST(reading_csv_ends_soon_after_it_is_cancelled)
{
    enum { N = 20000 };
    static char text[2 * N + 1];
    for (size_t i = 0; i < N; i++) memcpy(text + 2 * i, "1\n", 2);
    struct matrix_csv how = {.delimiter = ','};
    struct matrix *m = NULL;
    atomic_bool cancel = true;
    struct err e;
    assert_int_equal(matrix_from_csv(&m, text, 2 * N, &how, &cancel, &e), -ECANCELED);
    assert_null(m);
    cancel = false;
    assert_int_equal(matrix_from_csv(&m, text, 2 * N, &how, &cancel, &e), 0);
    assert_int_equal(m->rows, N - 1);
    matrix_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_new_one_is_all_missing_and_without_names),
        CHECK(sizes_that_overflow_are_refused),
        CHECK(cells_rows_and_columns_agree),
        CHECK(parts_are_copies_with_their_names),
        CHECK(names_that_are_there_twice_are_found),
        CHECK(csv_becomes_rows_and_named_columns),
        CHECK(only_the_wanted_columns_of_csv_must_be_numbers),
        CHECK(csv_errors_have_line_column_and_words),
        CHECK(reading_csv_ends_soon_after_it_is_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
