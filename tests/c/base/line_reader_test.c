#include "tests/c/test.h"
#include "base/line_reader.h"

#include <errno.h>

/* All lines of a text that comes in pieces of those sizes, each in brackets. */
static void read_in(const char *text, size_t len, size_t size, char *out)
{
    struct line_reader l = {.max = 100};
    const char *line;
    size_t n;
    char *at = out;
    for (size_t i = 0; i < len; i += size) {
        assert_int_equal(line_reader_add(&l, text + i, len - i < size ? len - i : size), 0);
        while (line_reader_next(&l, &line, &n)) at += sprintf(at, "[%.*s]", (int)n, line);
    }
    if (line_reader_rest(&l, &line, &n)) at += sprintf(at, "(%.*s)", (int)n, line);
    assert_false(line_reader_rest(&l, &line, &n));
    assert_int_equal(line_reader_held(&l), 0);
    *at = '\0';
    line_reader_free(&l);
}

TEST(lines_are_the_same_however_they_come)
{
    static const char text[] = "a\n\nlonger\r\n\r\n\rx\nrest";
    char out[200];
    for (size_t size = 1; size <= sizeof text; size++) {
        read_in(text, sizeof text - 1, size, out);
        assert_string_equal(out, "[a][][longer][][\rx](rest)");
    }
    read_in("a\n", 2, 1, out);
    assert_string_equal(out, "[a]");
    read_in("", 0, 1, out);
    assert_string_equal(out, "");
}

TEST(lines_may_be_taken_later_than_they_come)
{
    struct line_reader l = {.max = 10};
    const char *line;
    size_t n, taken = 0;
    uint64_t seed = 7;
    char expected[8];
    for (size_t i = 0; i < 5000; i++) {
        char piece[8];
        int len = snprintf(piece, sizeof piece, "%zu\n", i);
        assert_int_equal(line_reader_add(&l, piece, (size_t)len), 0);
        for (uint64_t k = xorshift(&seed) % 3; k > 0 && line_reader_next(&l, &line, &n); k--) {
            snprintf(expected, sizeof expected, "%zu", taken++);
            assert_int_equal(n, strlen(expected));
            assert_memory_equal(line, expected, n);
        }
    }
    while (line_reader_next(&l, &line, &n)) taken++;
    assert_int_equal(taken, 5000);
    line_reader_free(&l);
}

TEST(a_line_beyond_the_limit_is_refused_and_nothing_more_taken)
{
    struct line_reader l = {.max = 4};
    assert_int_equal(line_reader_add(&l, "1234\n1234\r\n", 5), 0);
    assert_int_equal(line_reader_add(&l, "12", 2), 0);
    assert_int_equal(line_reader_add(&l, "345", 3), -EMSGSIZE);
    assert_int_equal(line_reader_add(&l, "\n", 1), -EMSGSIZE);
    line_reader_free(&l);
    struct line_reader whole = {.max = 4};
    assert_int_equal(line_reader_add(&whole, "12345\n1", 7), -EMSGSIZE);
    assert_int_equal(line_reader_add(&whole, "1\n", 2), -EMSGSIZE);
    line_reader_free(&whole);
    struct line_reader mixed = {.max = 4};
    const char *line;
    size_t n;
    assert_int_equal(line_reader_add(&mixed, "a\n", 2), 0);
    assert_int_equal(line_reader_add(&mixed, "b\n12345", 7), -EMSGSIZE);
    assert_true(line_reader_next(&mixed, &line, &n) && n == 1 && *line == 'a');
    assert_false(line_reader_next(&mixed, &line, &n)); /* nothing of what was refused is there */
    line_reader_free(&mixed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_however_they_come),
        cmocka_unit_test(lines_may_be_taken_later_than_they_come),
        cmocka_unit_test(a_line_beyond_the_limit_is_refused_and_nothing_more_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
