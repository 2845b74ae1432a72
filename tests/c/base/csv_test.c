#include "tests/c/test.h"
#include "base/csv.h"
#include <errno.h>
#include <math.h>
#include <stdbool.h>

/* All fields of the text, "|" between two and "$" behind each record; or the error. */
static const char *dump(const char *text, char delimiter)
{
    static char out[2000];
    struct csv csv;
    struct csv_field f;
    struct err e;
    size_t n = 0;
    int rc;
    csv_open(&csv, text, strlen(text), delimiter);
    while ((rc = csv_next(&csv, &f, &e)) > 0) {
        n += csv_copy(&f, out + n);
        out[n++] = f.last ? '$' : '|';
    }
    out[n] = '\0';
    return rc < 0 ? strcpy(out, e.text) : out;
}

TEST(fields_and_records_are_those_of_rfc_4180)
{
    assert_string_equal(dump("a,b,c\r\nd,e,f\r\n", ','), "a|b|c$d|e|f$");
    assert_string_equal(dump("a,b,c\nd,e,f", ','), "a|b|c$d|e|f$");
    assert_string_equal(dump("\"a\",\"b\r\nb\",\"c,c\"\r\n", ','), "a|b\r\nb|c,c$");
    assert_string_equal(dump("a,\"b\"\"c\",\"\"\"\"\n", ','), "a|b\"c|\"$");
    assert_string_equal(dump(" a , b ", ','), " a | b $"); /* blanks belong to the field */
}

TEST(what_is_empty_is_a_field_too)
{
    assert_string_equal(dump("", ','), "");
    assert_string_equal(dump("\n", ','), "$");
    assert_string_equal(dump("a\n\nb", ','), "a$$b$");
    assert_string_equal(dump(",", ','), "|$");
    assert_string_equal(dump("a,\n,b", ','), "a|$|b$");
    assert_string_equal(dump("\"\"\n", ','), "$");
    assert_string_equal(dump("\r\n\r\n", ','), "$$");
}

TEST(other_delimiters_a_mark_and_stray_quotes_are_fine)
{
    assert_string_equal(dump("a;b,c\n", ';'), "a|b,c$");
    assert_string_equal(dump("\xEF\xBB\xBF\"a\"\tb\n", '\t'), "a|b$");
    assert_string_equal(dump("5\" pipe,x\"\"y\n", ','), "5\" pipe|x\"\"y$");
    assert_string_equal(dump("a\rb,c\r", ','), "a\rb|c$");
}

TEST(errors_have_the_line_and_the_column)
{
    assert_string_equal(dump("a,b\nc,\"d\ne", ','), "2:3: a quoted field that does not end");
    assert_string_equal(dump("\"a\nb\",\"c\"d\n", ','),
                        "2:7: a quoted field ends here, and yet the field goes on");
    assert_string_equal(dump("\"", ','), "1:1: a quoted field that does not end");
}

TEST(every_field_knows_where_it_begins)
{
    struct csv csv;
    struct csv_field f;
    const char *text = "\xEF\xBB\xBF"
                       "ab,c\n\"d\n\ne\",f\n";
    static const size_t where[][2] = {{1, 1}, {1, 4}, {2, 1}, {4, 4}};
    csv_open(&csv, text, strlen(text), ',');
    for (int i = 0; i < 4; i++) {
        assert_int_equal(csv_next(&csv, &f, NULL), 1);
        assert_true(f.line == where[i][0] && f.column == where[i][1]);
    }
    assert_int_equal(csv_next(&csv, &f, NULL), 0);
    assert_int_equal(csv_next(&csv, &f, NULL), 0);
}

/* Any table, written as the RFC says, reads back as it was. */
TEST(what_is_written_is_read)
{
    static const char letters[] = "ab,\"\n\r; 1";
    uint64_t seed = 5;
    for (int round = 0; round < 3000; round++) {
        char text[400], expected[400];
        size_t n = 0, m = 0;
        for (uint64_t fields = 1 + xorshift(&seed) % 9; fields > 0; fields--) {
            text[n++] = '"';
            for (uint64_t k = xorshift(&seed) % 6; k > 0; k--) {
                char c = letters[xorshift(&seed) % (sizeof letters - 1)];
                if (c == '"') text[n++] = '"';
                text[n++] = expected[m++] = c;
            }
            bool last = fields == 1 || xorshift(&seed) % 3 == 0;
            text[n++] = '"';
            if (last && xorshift(&seed) % 2 == 0) text[n++] = '\r';
            text[n++] = last ? '\n' : ',';
            expected[m++] = last ? '$' : '|';
        }
        text[n] = expected[m] = '\0';
        assert_string_equal(dump(text, ','), expected);
    }
}

static bool number(const char *s, double *x)
{
    struct csv_field f = {.text = s, .len = strlen(s)};
    return csv_number(&f, x);
}

TEST(numbers_are_the_nearest_doubles)
{
    uint64_t seed = 6;
    double x;
    for (int round = 0; round < 200000; round++) {
        char s[64];
        uint64_t bits = xorshift(&seed);
        double any;
        memcpy(&any, &bits, sizeof any);
        switch (round % 4) {
        case 0: snprintf(s, sizeof s, "%.17g", isfinite(any) ? any : 1); break;
        case 1: snprintf(s, sizeof s, "%.*f", (int)(bits % 9), uniform(&seed) * 1e6); break;
        case 2: snprintf(s, sizeof s, "%lld", (long long)bits); break;
        default:
            snprintf(s, sizeof s, "-%u.%05uE%+d", (unsigned)(bits % 1000),
                     (unsigned)(bits >> 40) % 100000, (int)(bits >> 20) % 40 - 20);
        }
        assert_true(number(s, &x) && x == strtod(s, NULL));
    }
    assert_true(number("9007199254740993", &x) && x == 9007199254740992.0); /* a tie: to even */
    assert_true(number("1e400", &x) && x == INFINITY);
    assert_true(number("-0", &x) && x == 0 && signbit(x));
    assert_true(number(".5", &x) && x == 0.5 && number("5.", &x) && x == 5);
    assert_true(number(" \t1 ", &x) && x == 1);
    assert_true(number("+3e2", &x) && x == 300);
}

TEST(missing_values_are_nan_and_words_no_numbers)
{
    static const char *const bad[] = {"abc", "1x",  "1 2", "0x10", "1e",   "1e+", ".",    "-",
                                      "1,5", "--1", "1_0", "NA",   "null", "in",  "nanx", "1..2"};
    double x;
    assert_true(number("", &x) && isnan(x) && number("  ", &x) && isnan(x));
    assert_true(number("NaN", &x) && isnan(x) && number("-inf", &x) && x == -INFINITY);
    assert_true(number("Infinity", &x) && x == INFINITY);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(number(bad[i], &x));
    char digits[3000];
    memset(digits, '1', sizeof digits);
    assert_false(csv_number(&(struct csv_field){.text = digits, .len = sizeof digits}, &x));
}

TEST(an_excerpt_is_short_and_printable)
{
    char out[CSV_EXCERPT];
    struct csv_field f = {.text = "a\nb\xFF", .len = 4};
    assert_string_equal(csv_excerpt(&f, out), "a?b?");
    f = (struct csv_field){.text = "0123456789012345678901234567890123456789!", .len = 41};
    assert_string_equal(csv_excerpt(&f, out), "0123456789012345678901234567890123456789...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(fields_and_records_are_those_of_rfc_4180),
        CHECK(what_is_empty_is_a_field_too),
        CHECK(other_delimiters_a_mark_and_stray_quotes_are_fine),
        CHECK(errors_have_the_line_and_the_column),
        CHECK(every_field_knows_where_it_begins),
        CHECK(what_is_written_is_read),
        CHECK(numbers_are_the_nearest_doubles),
        CHECK(missing_values_are_nan_and_words_no_numbers),
        CHECK(an_excerpt_is_short_and_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
