#include "tests/c/test.h"
#include "net/url.h"

#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* -- taking apart -- */

static void assert_same(const char *what, const char *text, const char *got, const char *expected)
{
    if (got == NULL ? expected != NULL : expected == NULL || strcmp(got, expected) != 0)
        fail_msg("%s: %s is %s", text, what, got != NULL ? got : "none");
}

TEST(a_url_is_taken_apart)
{
    static const struct {
        const char *text, *scheme, *host;
        int port;
        const char *path, *query;
        bool has_user;
    } cases[] = {
        {"http://web", "http", "web", 80, "/", NULL, false},
        {"https://web", "https", "web", 443, "/", NULL, false},
        {"HTTP://WEB.Example:8080/A/b", "http", "web.example", 8080, "/A/b", NULL, false},
        {"http://web/a/./b/../c?x=1&y=/../", "http", "web", 80, "/a/c", "x=1&y=/../", false},
        {"http://web/a%20b?q=%41#part", "http", "web", 80, "/a%20b", "q=%41", false},
        {"http://web?q", "http", "web", 80, "/", "q", false},
        {"http://web/?", "http", "web", 80, "/", "", false},
        {"http://web#part", "http", "web", 80, "/", NULL, false},
        {"https://[2001:DB8::1]:9090/x", "https", "2001:db8::1", 9090, "/x", NULL, false},
        {"http://[::1]", "http", "::1", 80, "/", NULL, false},
        {"http://127.0.0.1:1/", "http", "127.0.0.1", 1, "/", NULL, false},
        {"http://user@web/", "http", "web", 80, "/", NULL, true},
        {"http://user:secret@web/", "http", "web", 80, "/", NULL, true},
        {"http://@web/", "http", "web", 80, "/", NULL, true},
        {"http://web@evil/", "http", "evil", 80, "/", NULL, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct url u;
        struct err e = {0};
        if (url_parse(&u, cases[i].text, &e) < 0) fail_msg("%s: %s", cases[i].text, e.text);
        assert_same("the scheme", cases[i].text, u.scheme, cases[i].scheme);
        assert_same("the host", cases[i].text, u.host, cases[i].host);
        assert_same("the path", cases[i].text, u.path, cases[i].path);
        assert_same("the query", cases[i].text, u.query, cases[i].query);
        if (u.port != cases[i].port) fail_msg("%s: port %d", cases[i].text, u.port);
        if (u.has_user != cases[i].has_user) fail_msg("%s: has_user", cases[i].text);
        url_free(&u);
        url_free(&u); /* twice is fine */
    }
}

TEST(what_is_no_absolute_http_url_is_refused_with_words)
{
    static const char *const cases[] = {
        "",           "web",          "//web/",        "/path",      "http:",
        "http://",    "ftp://web/",   "file:///etc",   "gopher://x", "http://web:99999/",
        "http://[::", "http://a b/",  "http://web:x/", "http://[]/", "javascript:alert(1)",
        "http//web/", "http://we\nb", "http:///",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct url u;
        struct err e = {0};
        int rc = url_parse(&u, cases[i], &e);
        if (rc != -EINVAL || e.code != rc || strstr(e.text, "URL") == NULL)
            fail_msg("\"%s\": %d %s", cases[i], rc, e.text);
        url_free(&u); /* fine after a failure too */
    }
}

/* -- percent-encoding -- */

static void assert_unescaped(const char *text, bool form, const char *expected, size_t len)
{
    struct text t = {0};
    url_unescape(&t, text, strlen(text), form);
    text_adds(&t, "");
    if (t.len != len || memcmp(t.data, expected, len) != 0) fail_msg("%s: %s", text, t.data);
    text_free(&t);
}

TEST(only_whole_escapes_are_undone)
{
    assert_unescaped("", false, "", 0);
    assert_unescaped("a%41%2f%2F%7e", false, "aA//~", 5);
    assert_unescaped("%00%ff", false, "\0\xff", 2);
    assert_unescaped("%", false, "%", 1);
    assert_unescaped("%4", false, "%4", 2);
    assert_unescaped("%4g%g4%%41", false, "%4g%g4%A", 8);
    assert_unescaped("%2541", false, "%41", 3); /* once, not until nothing is left */
    assert_unescaped("a+b%2B", false, "a+b+", 4);
    assert_unescaped("a+b%2B", true, "a b+", 4);
}

TEST(what_is_unreserved_stays_and_all_else_is_escaped)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (int c = 0; c < 256; c++) {
        struct text t = {0};
        char byte = (char)c, expected[4];
        url_escape(&t, &byte, 1);
        if (c != 0 && strchr(plain, c) != NULL)
            snprintf(expected, sizeof expected, "%c", c);
        else
            snprintf(expected, sizeof expected, "%%%02X", (unsigned)c);
        assert_string_equal(t.data, expected);
        text_free(&t);
    }
}

TEST(random_bytes_survive_the_way_there_and_back)
{
    uint64_t seed = 1;
    for (int round = 0; round < 1000; round++) {
        char bytes[64];
        size_t len = xorshift(&seed) % sizeof bytes;
        for (size_t i = 0; i < len; i++) bytes[i] = (char)xorshift(&seed);
        struct text there = {0}, back = {0};
        url_escape(&there, bytes, len);
        url_unescape(&back, there.data != NULL ? there.data : "", there.len, round % 2);
        assert_int_equal(back.len, len);
        if (len > 0) assert_memory_equal(back.data, bytes, len);
        text_free(&there);
        text_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_url_is_taken_apart),
        CHECK(what_is_no_absolute_http_url_is_refused_with_words),
        CHECK(only_whole_escapes_are_undone),
        CHECK(what_is_unreserved_stays_and_all_else_is_escaped),
        CHECK(random_bytes_survive_the_way_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
