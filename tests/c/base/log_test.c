#include "tests/c/test.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/json.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* -- what was logged -- */

static struct text seen; /* every line, with a line feed */

static void see(void *ud, const char *line, size_t len)
{
    (void)ud;
    text_add(&seen, line, len);
    text_addc(&seen, '\n');
}

/* Lines of the form go here until the next begin(). */
static void begin(enum log_level least, bool as_json)
{
    text_free(&seen);
    log_setup(least, as_json);
    log_divert(see, NULL);
}

static const char *end(void)
{
    log_divert(NULL, NULL);
    return seen.data != NULL ? seen.data : "";
}

/* A line with a field `f` of that value, without the time and the line feed. */
static const char *line_of(const char *value, bool as_json)
{
    static char out[500];
    begin(LOG_INFO, as_json);
    log_write(LOG_INFO, "m", (const struct log_field[]){{"f", value}, {NULL, NULL}});
    const char *line = end(), *level = strstr(line, as_json ? "\"level\"" : "level=");
    assert_non_null(level);
    snprintf(out, sizeof out, "%s", level);
    out[strlen(out) - 1] = '\0';
    return out;
}

/* -- the two formats -- */

TEST(a_line_has_time_level_message_and_fields_in_this_order)
{
    static const struct log_field fields[] = {
        {"rule", "checkout p99"}, {"took_ms", "12"}, {NULL, NULL}};
    begin(LOG_DEBUG, false);
    log_write(LOG_WARN, "too slow", fields);
    assert_string_equal(end(), "ts=2023-11-14T22:13:20.123Z level=warn msg=\"too slow\" "
                               "rule=\"checkout p99\" took_ms=12\n");
    begin(LOG_DEBUG, true);
    log_write(LOG_WARN, "too slow", fields);
    assert_string_equal(end(),
                        "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\","
                        "\"msg\":\"too slow\",\"rule\":\"checkout p99\",\"took_ms\":\"12\"}\n");
}

TEST(a_message_alone_takes_the_notation_of_printf)
{
    char *longest = malloc(5000);
    begin(LOG_INFO, false);
    log_printf(LOG_INFO, "%d of %s", 3, "four");
    assert_non_null(strstr(end(), "msg=\"3 of four\"\n"));
    memset(longest, 'x', 4999);
    longest[4999] = '\0';
    begin(LOG_INFO, false);
    log_printf(LOG_INFO, "%s", longest); /* is cut, and does no harm */
    assert_true(strlen(end()) > 1000 && strlen(end()) < 1100);
    free(longest);
}

TEST(logfmt_quotes_only_what_needs_it)
{
    static const char *const pairs[][2] = {
        {"plain", "plain"}, {"a/b?c&d", "a/b?c&d"}, {"é😀", "é😀"},           {"", "\"\""},
        {"a b", "\"a b\""}, {"a=b", "\"a=b\""},     {"a\"b", "\"a\\\"b\""}, {"a\\b", "\"a\\\\b\""},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        char expected[100];
        snprintf(expected, sizeof expected, "level=info msg=m f=%s", pairs[i][1]);
        assert_string_equal(line_of(pairs[i][0], false), expected);
    }
}

/* What would start a new line or move the cursor, in both formats and whatever its bytes. */
TEST(no_control_character_reaches_the_terminal)
{
    for (int form = 0; form <= 1; form++) {
        for (int c = 1; c < 0x100; c++) {
            char alone[] = {(char)c, '\0'}, latin1[] = {'a', (char)c, 'b', '\0'};
            char utf8[] = {(char)0xc2, (char)c, '\0'}; /* U+0080 to U+00BF */
            const char *values[] = {alone, latin1, utf8};
            for (size_t i = 0; i < COUNT(values); i++) {
                const char *line = line_of(values[i], form);
                assert_true(text_is_utf8(line, strlen(line)));
                for (const char *p = line; *p; p++) {
                    assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
                    bool is_c1 = (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0;
                    assert_false(is_c1);
                }
            }
        }
    }
    assert_string_equal(line_of("\x1b[31m\xc2\x9bK\x7f\n\t", false),
                        "level=info msg=m f=\"\\u001b[31m\\u009bK\\u007f\\n\\t\"");
    assert_string_equal(line_of("\xff\xc3\xa9", false), "level=info msg=m f=\"\\ufffdé\"");
}

TEST(a_json_line_reads_back_as_what_was_logged)
{
    static const char *const pieces[] = {"a",    "\"", "\\",       "é", "😀", "\n", "\x01",
                                         "\x7f", " ",  "\xc2\x85", "=", "{", "\t", "/"};
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        struct text value = {0};
        struct err e = {0};
        text_adds(&value, "x");
        for (size_t n = xorshift(&seed) % 8; n > 0; n--)
            text_adds(&value, pieces[xorshift(&seed) % COUNT(pieces)]);
        begin(LOG_INFO, true);
        log_write(LOG_ERROR, value.data,
                  (const struct log_field[]){{"f", value.data}, {NULL, NULL}});
        end();
        cJSON *line = json_parse(seen.data, seen.len, &e);
        if (line == NULL) fail_msg("%s: %s", seen.data, e.text);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(line, "msg")), value.data);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(line, "f")), value.data);
        cJSON_Delete(line);
        text_free(&value);
    }
}

/* -- levels -- */

TEST(what_is_below_the_least_level_is_not_written)
{
    for (enum log_level least = LOG_DEBUG; least <= LOG_OFF; least++) {
        begin(least, false);
        for (enum log_level level = LOG_DEBUG; level <= LOG_OFF; level++) {
            size_t before = seen.len;
            bool wants = level >= least && level != LOG_OFF;
            assert_true(log_wants(level) == wants);
            log_write(level, "m", NULL);
            assert_true((seen.len > before) == wants);
        }
        end();
    }
    assert_int_equal(log_level_of("debug"), LOG_DEBUG);
    assert_int_equal(log_level_of("off"), LOG_OFF);
    assert_int_equal(log_level_of("warning"), -1);
    assert_int_equal(log_level_of(""), -1);
}

/* -- secrets -- */

static bool shows(const char *message, const char *secret)
{
    bool shown = false;
    for (int form = 0; form <= 1; form++) {
        begin(LOG_INFO, form);
        log_write(LOG_INFO, message, (const struct log_field[]){{"field", message}, {NULL, NULL}});
        const char *line = end();
        shown = shown || strstr(line, secret) != NULL;
        const char *cover = strstr(line, "[redacted]");
        assert_true(shown || (cover != NULL && strstr(cover + 1, "[redacted]") != NULL));
    }
    return shown;
}

TEST(a_secret_is_redacted_wherever_it_stands)
{
    assert_true(shows("token hunter22 is it", "hunter22"));
    log_secret("hunter22");
    log_secret("hunter22"); /* again is fine */
    assert_false(shows("token hunter22 is it", "hunter22"));
    assert_false(shows("hunter22", "hunter22"));
    assert_false(shows("hunter22hunter22", "hunter"));
    assert_false(shows("Authorization: Bearer hunter22\r\n", "hunter22"));
    assert_string_equal(line_of("a hunter22\" hunter22", false),
                        "level=info msg=m f=\"a [redacted]\\\" [redacted]\"");
}

TEST(a_secret_with_characters_that_are_escaped_is_redacted_too)
{
    log_secret("pass\"word\\1\n");
    log_secret("g\xc3\xa4nsefl\xc3\xbcgel");
    log_secret("bytes\xff\xfe#");
    assert_false(shows("is pass\"word\\1\n it", "word"));
    assert_false(shows("{\"body\":\"pass\\\"word\\\\1\\n\"}", "word")); /* quoted once already */
    assert_false(shows("g\xc3\xa4nsefl\xc3\xbcgel", "nsefl"));
    assert_false(shows("\xff g\xc3\xa4nsefl\xc3\xbcgel", "nsefl")); /* beside what is no UTF-8 */
    assert_false(shows("bytes\xff\xfe#", "bytes"));
}

TEST(the_longest_of_several_secrets_is_redacted_whole)
{
    log_secret("correct");
    log_secret("correct horse battery");
    assert_false(shows("correct horse battery staple", "battery"));
    assert_false(shows("correct horse", "correct"));
}

TEST(a_secret_that_is_a_part_of_the_cover_ends)
{
    log_secret("redacted");
    assert_string_equal(line_of("redacted!", false), "level=info msg=m f=[redacted]!");
}

TEST(a_value_of_less_than_six_bytes_is_no_secret)
{
    log_secret("level");
    log_secret("");
    assert_string_equal(line_of("the level", false), "level=info msg=m f=\"the level\"");
}

/* -- standard error, and threads -- */

TEST(lines_go_to_standard_error_one_by_one)
{
    char folder[64], path[100], text[300] = "";
    snprintf(path, sizeof path, "%s/err", test_folder(folder));
    int real = dup(STDERR_FILENO), file = open(path, O_RDWR | O_CREAT, 0600);
    begin(LOG_INFO, false);
    end();
    dup2(file, STDERR_FILENO);
    log_write(LOG_INFO, "one", NULL);
    log_write(LOG_INFO, "two", NULL);
    dup2(real, STDERR_FILENO);
    assert_true(pread(file, text, sizeof text - 1, 0) > 0);
    assert_string_equal(text, "ts=2023-11-14T22:13:20.123Z level=info msg=one\n"
                              "ts=2023-11-14T22:13:20.123Z level=info msg=two\n");
    close(real);
    close(file);
    test_remove(folder);
}

enum { THREADS = 4, LINES = 300 };
static atomic_bool go;

static void *log_many(void *ud)
{
    char number[16];
    while (!go) { /* all at once */
    }
    for (int i = 0; i < LINES; i++) {
        snprintf(number, sizeof number, "%d-%d", *(int *)ud, i);
        log_write(LOG_INFO, "many", (const struct log_field[]){{"n", number}, {NULL, NULL}});
        if (i % 50 == 0) log_secret("another secret of a thread");
        if (i % 70 == 0) log_setup(LOG_INFO, false);
    }
    return NULL;
}

TEST(lines_of_several_threads_are_whole)
{
    pthread_t threads[THREADS];
    int id[THREADS], lines = 0, next[THREADS] = {0};
    begin(LOG_INFO, false);
    for (int i = 0; i < THREADS; i++) {
        id[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &id[i]), 0);
    }
    go = true;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    end();
    for (char *line = strtok(seen.data, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
        int thread, number;
        char rest;
        assert_int_equal(sscanf(line, "ts=2023-11-14T22:13:20.123Z level=info msg=many n=%d-%d%c",
                                &thread, &number, &rest),
                         2);
        assert_int_equal(number, next[thread]++); /* and in order */
    }
    assert_int_equal(lines, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_line_has_time_level_message_and_fields_in_this_order),
        CHECK(a_message_alone_takes_the_notation_of_printf),
        CHECK(logfmt_quotes_only_what_needs_it),
        CHECK(no_control_character_reaches_the_terminal),
        CHECK(a_json_line_reads_back_as_what_was_logged),
        CHECK(what_is_below_the_least_level_is_not_written),
        CHECK(a_secret_is_redacted_wherever_it_stands),
        CHECK(a_secret_with_characters_that_are_escaped_is_redacted_too),
        CHECK(the_longest_of_several_secrets_is_redacted_whole),
        CHECK(a_secret_that_is_a_part_of_the_cover_ends),
        CHECK(a_value_of_less_than_six_bytes_is_no_secret),
        CHECK(lines_go_to_standard_error_one_by_one),
        CHECK(lines_of_several_threads_are_whole),
    };
    clock_make_virtual(1700000000123);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    text_free(&seen);
    return rc;
}
