#include "tests/c/test.h"
#include "base/json.h"

#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* -- reading -- */

/* The text lies at the end of a block, so that a read behind it is seen. */
static cJSON *parse(const char *text, size_t len, struct err *e)
{
    char *exact = malloc(len ? len : 1);
    memcpy(exact, text, len);
    cJSON *value = json_parse(exact, len, e);
    free(exact);
    return value;
}

static void assert_same(const char *text, const char *printed)
{
    struct err e = {0};
    cJSON *value = parse(text, strlen(text), &e);
    if (value == NULL) fail_msg("%s: %s", text, e.text);
    char *out = cJSON_PrintUnformatted(value);
    assert_string_equal(out, printed);
    free(out);
    cJSON_Delete(value);
}

TEST(a_value_is_read_whatever_blanks_surround_it)
{
    assert_same("{\"a\":[1,-2.5e3,true,false,null,\"x\"]}",
                "{\"a\":[1,-2500,true,false,null,\"x\"]}");
    assert_same(" \t\r\n[ 1 ,\n2 ] \t\r\n", "[1,2]");
    assert_same("\"\\u00e9\\ud83d\\ude00\\n\\\"\\\\\\/\"", "\"é😀\\n\\\"\\\\/\"");
    assert_same("\"\\\\u0000\"", "\"\\\\u0000\""); /* a backslash and letters: no NUL */
    assert_same("0", "0");
}

TEST(what_is_wrong_is_told_by_line_and_column)
{
#define TEXT(s) s, sizeof(s) - 1
    static const struct {
        const char *text;
        size_t len;
        const char *words;
    } wrong[] = {
        {TEXT(""), "invalid JSON at line 1, column 1"},
        {TEXT("[1] x"), "invalid JSON at line 1, column 5"},
        {TEXT("[1] [2]"), "invalid JSON at line 1, column 5"},
        {TEXT("[1,\n2,\n ]"), "invalid JSON at line 3, column 2"},
        {TEXT("{\n\"a\": 1,\n\"b\" 2}"), "invalid JSON at line 3, column 5"},
        {TEXT("nul"), "invalid JSON at line 1, column 1"},
        {TEXT("[NaN]"), "invalid JSON at line 1, column 2"},
        {TEXT("'a'"), "invalid JSON at line 1, column 1"},
        {TEXT("\n\n\xff"), "JSON is not valid UTF-8 at line 3, column 1"},
        {TEXT("[\"\xc3\xa9\xed\xa0\x80\"]"), "JSON is not valid UTF-8 at line 1, column 5"},
        {TEXT("[\n\"a\\u0000b\"]"), "JSON may not have a NUL character at line 2, column 3"},
        {TEXT("\"\\\\\\u0000\""), "JSON may not have a NUL character at line 1, column 4"},
        {TEXT("\"a\0b\""), "JSON may not have a NUL character at line 1, column 3"},
        {TEXT("{\"a\0b\":1}"), "JSON may not have a NUL character at line 1, column 4"},
        {TEXT("[1,\0 2]"), "JSON may not have a NUL character at line 1, column 4"},
    };
#undef TEXT
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct err e = {0};
        assert_null(parse(wrong[i].text, wrong[i].len, &e));
        assert_string_equal(e.text, wrong[i].words);
        assert_int_equal(e.code, -EINVAL);
        assert_null(parse(wrong[i].text, wrong[i].len, NULL)); /* who wants no words */
    }
}

TEST(no_beginning_of_a_text_is_a_text)
{
    static const char whole[] = "{\"a\":[1.5e3,true,\"\\u00e9\\n\"],\"b\":{\"c\":null}}";
    struct err e;
    for (size_t len = 0; len < sizeof whole - 1; len++) assert_null(parse(whole, len, &e));
    cJSON *value = parse(whole, sizeof whole - 1, &e);
    assert_non_null(value);
    cJSON_Delete(value);
}

TEST(nesting_has_a_limit_however_deep_the_text)
{
    for (size_t depth = 1; depth < 2000000; depth *= 10) {
        char *text = malloc(2 * depth);
        struct err e = {0};
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        cJSON *value = json_parse(text, 2 * depth, &e);
        if (depth <= 1000)
            assert_non_null(value);
        else
            assert_string_equal(e.text, "invalid JSON at line 1, column 1001");
        cJSON_Delete(value);
        memset(text, '[', 2 * depth);
        assert_null(json_parse(text, 2 * depth, &e));
        free(text);
    }
}

TEST(any_bytes_are_read_or_refused)
{
    static const char bits[] = "{}[],:\"\\u0dD8e+-.1 \n\xc3\xa9\xff\0tfn";
    uint64_t seed = 1;
    int read = 0;
    for (int round = 0; round < 200000; round++) {
        char text[24];
        size_t len = xorshift(&seed) % sizeof text;
        struct err e = {0};
        for (size_t i = 0; i < len; i++) text[i] = bits[xorshift(&seed) % (sizeof bits - 1)];
        cJSON *value = parse(text, len, &e);
        assert_true((value == NULL) == (e.code == -EINVAL));
        read += value != NULL;
        cJSON_Delete(value);
    }
    assert_true(read > 100); /* or it would say nothing */
}

/* -- writing -- */

static void assert_written(const char *s, size_t len, const char *json)
{
    struct text t = {0};
    json_add_string(&t, s, len);
    assert_string_equal(t.data, json);
    text_free(&t);
}

TEST(strings_are_escaped_as_rfc_8785_wants)
{
    /* its section 3.2.2.2, and the sample of 3.2.2 */
    static const char sample[] = "\xe2\x82\xac$\x0f\nA'B\"\\\\\"/";
    assert_written(sample, sizeof sample - 1, "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
    assert_written("\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\"");
    for (int c = 0; c < 0x20; c++) {
        char s[] = {'<', (char)c, '>'}, expected[12];
        snprintf(expected, sizeof expected, "\"<\\u%04x>\"", c);
        if (strchr("\b\t\n\f\r", c) == NULL || c == 0) assert_written(s, 3, expected);
    }
    assert_written("\x7f\xc2\x80 </script>", 13, "\"\x7f\xc2\x80 </script>\"");
    assert_written("", 0, "\"\"");
}

TEST(bytes_that_are_no_utf8_are_replaced_and_no_others)
{
    assert_written("\xc3\xa9\xff\xf0\x9f\x98\x80", 7, "\"é\xef\xbf\xbd😀\"");
    assert_written("a\xf0\x9f\x98", 4, "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_written("\xed\xa0\x80\"\n", 5, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\\"\\n\"");
}

TEST(any_string_that_is_written_reads_back)
{
    static const char *const pieces[] = {"a", "\"", "\\", "/",  "u0000", "\n", "\x01", "\x1f",
                                         "é", "€",  "😀",  "\b", "\x7f",  "\t", "\\\"", "\r"};
    uint64_t seed = 2;
    for (int round = 0; round < 20000; round++) {
        struct text plain = {0}, t = {0};
        struct err e = {0};
        for (size_t n = 1 + xorshift(&seed) % 8; n > 0; n--)
            text_adds(&plain, pieces[xorshift(&seed) % COUNT(pieces)]);
        json_add_string(&t, plain.data, plain.len);
        cJSON *value = parse(t.data, t.len, &e);
        if (value == NULL) fail_msg("%s: %s", t.data, e.text);
        assert_string_equal(value->valuestring, plain.data);
        cJSON_Delete(value);
        text_free(&plain);
        text_free(&t);
    }
}

/* -- the order of keys -- */

TEST(keys_are_in_the_order_of_the_sample_in_rfc_8785)
{
    /* its section 3.2.3: by UTF-16 units the smiley's surrogates lie before U+FB33 */
    static const char *const ordered[] = {
        "\r", "1", "\xc2\x80", "ö", "€", "\xf0\x9f\x98\x80", "\xef\xac\xb3"};
    for (size_t i = 0; i < COUNT(ordered); i++)
        for (size_t j = 0; j < COUNT(ordered); j++)
            assert_int_equal(
                json_compare_keys(ordered[i], strlen(ordered[i]), ordered[j], strlen(ordered[j])),
                (i > j) - (i < j));
}

struct key {
    char *utf8; /* exact, so that a read behind it is seen */
    size_t len, n_units;
    uint16_t units[12];
};

static void add_code(struct key *k, uint32_t c)
{
    size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    k->utf8[k->len++] = (char)(first[more] | c >> 6 * more);
    while (more-- > 0) k->utf8[k->len++] = (char)(0x80 | (c >> 6 * more & 0x3f));
    if (c >= 0x10000) {
        k->units[k->n_units++] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    k->units[k->n_units++] = (uint16_t)c;
}

static struct key random_key(uint64_t *seed)
{
    static const uint32_t codes[] = {'a',    'b',    0x7f,    0xe9,    0x7ff,   0x800,   0xd7ff,
                                     0xe000, 0xffff, 0x10000, 0x1f600, 0x1f601, 0x10ffff};
    struct key k = {.utf8 = malloc(32)};
    for (size_t n = xorshift(seed) % 5; n > 0; n--)
        add_code(&k, codes[xorshift(seed) % COUNT(codes)]);
    k.utf8 = realloc(k.utf8, k.len ? k.len : 1);
    return k;
}

static int slow_compare(const struct key *a, const struct key *b)
{
    for (size_t i = 0; i < a->n_units && i < b->n_units; i++)
        if (a->units[i] != b->units[i]) return a->units[i] < b->units[i] ? -1 : 1;
    return (a->n_units > b->n_units) - (a->n_units < b->n_units);
}

TEST(keys_are_in_the_order_of_their_utf16_units)
{
    uint64_t seed = 3;
    for (int round = 0; round < 50000; round++) {
        struct key a = random_key(&seed), b = random_key(&seed);
        assert_int_equal(json_compare_keys(a.utf8, a.len, b.utf8, b.len), slow_compare(&a, &b));
        free(a.utf8);
        free(b.utf8);
    }
}

TEST(keys_that_are_no_utf8_have_an_order_too)
{
    uint64_t seed = 4;
    for (int round = 0; round < 50000; round++) {
        char *k[3];
        size_t len[3];
        for (int i = 0; i < 3; i++) {
            len[i] = xorshift(&seed) % 4;
            k[i] = malloc(len[i] ? len[i] : 1);
            for (size_t n = 0; n < len[i]; n++)
                k[i][n] = "a\x80\xbf\xc3\xe2\xf0\xff"[xorshift(&seed) % 7];
        }
        int ab = json_compare_keys(k[0], len[0], k[1], len[1]);
        int bc = json_compare_keys(k[1], len[1], k[2], len[2]);
        int ac = json_compare_keys(k[0], len[0], k[2], len[2]);
        assert_int_equal(json_compare_keys(k[1], len[1], k[0], len[0]), -ab);
        if (ab <= 0 && bc <= 0) assert_true(ac <= 0);
        for (int i = 0; i < 3; i++) free(k[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_value_is_read_whatever_blanks_surround_it),
        CHECK(what_is_wrong_is_told_by_line_and_column),
        CHECK(no_beginning_of_a_text_is_a_text),
        CHECK(nesting_has_a_limit_however_deep_the_text),
        CHECK(any_bytes_are_read_or_refused),
        CHECK(strings_are_escaped_as_rfc_8785_wants),
        CHECK(bytes_that_are_no_utf8_are_replaced_and_no_others),
        CHECK(any_string_that_is_written_reads_back),
        CHECK(keys_are_in_the_order_of_the_sample_in_rfc_8785),
        CHECK(keys_are_in_the_order_of_their_utf16_units),
        CHECK(keys_that_are_no_utf8_have_an_order_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
