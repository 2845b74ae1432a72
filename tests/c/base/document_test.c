#include "tests/c/test.h"
#include "base/document.h"
#include <errno.h>
#include <math.h>

TEST(decimals_are_read_as_by_the_c_library)
{
    static const char *const odd[] = {"0",
                                      "-0",
                                      "1e22",
                                      "1e23",
                                      "123456789012345678",
                                      "1e-400",
                                      "1e400",
                                      "4.9e-324",
                                      "0.1e1",
                                      "1.",
                                      "-.5",
                                      "9007199254740993",
                                      "0.000000000000000000000001",
                                      "3.4028235E38",
                                      "1E-45",
                                      "+7",
                                      "12345678901234567890123e-5"};
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char s[64];
        double x = 7;
        if (round < (int)(sizeof odd / sizeof *odd))
            snprintf(s, sizeof s, "%s", odd[round]);
        else
            snprintf(s, sizeof s, "%.*e", (int)(xorshift(&seed) % 20),
                     (uniform(&seed) - 0.5) * pow(10, (double)(xorshift(&seed) % 60) - 30));
        assert_int_equal(document_decimal(s, s + strlen(s), &x), strlen(s));
        double y = strtod(s, NULL);
        if (memcmp(&x, &y, sizeof x) != 0) fail_msg("%s: %.17g, not %.17g", s, x, y);
    }
}

TEST(a_decimal_ends_where_it_ends)
{
    double x;
    static const struct {
        const char *s;
        size_t len;
    } all[] = {{"1,2", 1}, {"1e", 1}, {"1e+", 1}, {"2.5e3x", 5}, {"", 0},
               {"-", 0},   {".", 0},  {"e5", 0},  {"nan", 0}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(document_decimal(all[i].s, all[i].s + strlen(all[i].s), &x), all[i].len);
}

static void open_json(struct document *d, const char *s, struct err *e)
{
    document_open(d, s, strlen(s), false, e);
}

TEST(json_is_walked_through)
{
    struct document d;
    struct document_list object;
    struct document_numbers numbers = {0};
    struct err e = {0};
    const char *key;
    size_t len, members = 0;
    open_json(&d,
              " { \"a\" : [1, -2.5 , true] , \"b\":\"x\\n\\u00e9\\ud83d\\ude00\\\"\", "
              "\"c\":{\"d\":[[],{}]}, \"e\":null } ",
              &e);
    assert_int_equal(document_kind(&d), '{');
    assert_true(document_enter(&d, '{', &object));
    while (document_next_key(&d, &object, &key, &len)) {
        members++;
        if (*key == 'a') {
            assert_int_equal(document_kind(&d), '[');
            assert_true(document_numbers(&d, &numbers));
            assert_true(numbers.n == 3 && numbers.x[1] == -2.5 && numbers.x[2] == 1);
        } else if (*key == 'b') {
            char *s = document_string(&d);
            assert_string_equal(s, "x\n\xc3\xa9\xf0\x9f\x98\x80\"");
            free(s);
        } else {
            document_skip(&d);
        }
    }
    assert_int_equal(members, 4);
    assert_true(document_close(&d));
    assert_int_equal(e.code, 0);
    free(numbers.x);
}

TEST(ubjson_is_walked_through)
{
    static const unsigned char data[] =
        "{U\1a[$d#U\2\x3f\x80\0\0\xc0\0\0\0i\1b[TI\xff\xfel\0\0\1\0]"
        "U\1cSU\2hiU\1d{U\1xZU\1y[#i\2CaD\x3f\xf0\0\0\0\0\0\0}N}";
    struct document d;
    struct document_list object;
    struct document_numbers numbers = {0};
    struct err e = {0};
    const char *key;
    size_t len, members = 0;
    document_open(&d, data, sizeof data - 1, true, &e);
    assert_true(document_enter(&d, '{', &object));
    while (document_next_key(&d, &object, &key, &len)) {
        members++;
        if (*key == 'a') {
            assert_true(document_numbers(&d, &numbers));
            assert_true(numbers.n == 2 && numbers.x[0] == 1 && numbers.x[1] == -2);
        } else if (*key == 'b') {
            assert_true(document_numbers(&d, &numbers));
            assert_true(numbers.n == 3 && numbers.x[0] == 1 && numbers.x[1] == -2 &&
                        numbers.x[2] == 256);
        } else if (*key == 'c') {
            char *s = document_string(&d);
            assert_string_equal(s, "hi");
            free(s);
        } else {
            document_skip(&d);
        }
    }
    if (d.failed) fail_msg("%s", e.text);
    assert_int_equal(members, 4);
    assert_true(document_close(&d));
    free(numbers.x);
}

TEST(what_is_not_as_asked_is_told_with_its_byte)
{
    struct document d;
    struct document_list list;
    struct document_numbers numbers = {0};
    static const struct {
        const char *json, *message;
    } all[] = {{"[1 2]", "byte 4: a comma or the end of a list was expected"},
               {"[1,2", "byte 5: a comma or the end of a list was expected"},
               {"[1,", "byte 4: the file ends within a list"},
               {"[1,x]", "byte 4: a number was expected"},
               {"[+1]", "byte 2: a number was expected"},
               {"{}", "byte 1: an array was expected"},
               {"", "byte 1: an array was expected"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct err e = {0};
        open_json(&d, all[i].json, &e);
        assert_false(document_numbers(&d, &numbers));
        assert_string_equal(e.text, all[i].message);
        assert_int_equal(document_kind(&d), 0);
        assert_null(document_string(&d)); /* and so it stays */
        assert_false(document_enter(&d, '[', &list));
        assert_false(document_close(&d));
    }
    static const char *const skipped[] = {"[1,{\"a\":[}]", "[[\"x]", "{\"a\\", "[", "nul"};
    for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++) {
        open_json(&d, skipped[i], NULL);
        document_skip(&d);
        assert_true(d.failed);
    }
    static const char *const strings[] = {"\"\\x\"", "\"\\u12\"", "\"\\u0000\"", "\"a", "7"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        open_json(&d, strings[i], NULL);
        assert_null(document_string(&d));
    }
    open_json(&d, "1 2", NULL);
    document_skip(&d);
    assert_false(document_close(&d));
    free(numbers.x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(decimals_are_read_as_by_the_c_library), CHECK(a_decimal_ends_where_it_ends),
        CHECK(json_is_walked_through), CHECK(ubjson_is_walked_through),
        CHECK(what_is_not_as_asked_is_told_with_its_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
