#include "tests/c/test.h"
#include "base/regex.h"
#include "base/clock.h"
#include <errno.h>

static struct regex *compile(const char *pattern)
{
    struct regex *re = NULL;
    struct err e = {0};
    if (regex_compile(&re, pattern, strlen(pattern), &e) < 0) fail_msg("%s", e.text);
    return re;
}

static int match(const char *pattern, const char *s)
{
    struct regex *re = compile(pattern);
    int rc = regex_match(re, s, strlen(s));
    regex_free(re);
    return rc;
}

static const char *replace(const char *pattern, const char *s, const char *by)
{
    static char out[400];
    struct regex *re = compile(pattern);
    struct text t = {0};
    assert_int_equal(regex_replace(re, s, strlen(s), by, strlen(by), &t), 0);
    snprintf(out, sizeof out, "%s", t.data != NULL ? t.data : "");
    text_free(&t);
    regex_free(re);
    return out;
}

static const char *why_not(const char *pattern)
{
    static struct err e;
    struct regex *re = NULL;
    e = (struct err){0};
    assert_int_equal(regex_compile(&re, pattern, strlen(pattern), &e), -EINVAL);
    assert_int_equal(e.code, -EINVAL);
    assert_null(re);
    static const char prefix[] = "error parsing regexp: ";
    assert_int_equal(strncmp(e.text, prefix, strlen(prefix)), 0);
    return e.text + strlen(prefix);
}

/* -- the definition, on random patterns -- */

/* A random pattern over a and b as text, and beside it what it means: from which places of s it can
 * reach which. A set of places is a bit mask. */
struct random_regex {
    uint64_t seed;
    const char *s;
    unsigned len;
    char *at;
};

typedef struct {
    uint32_t to[12]; /* the ends a match beginning at i may have */
} relation;

static void put(struct random_regex *r, const char *text) { r->at = stpcpy(r->at, text); }

static relation one_of(const struct random_regex *r, const char *set)
{
    relation m = {{0}};
    for (unsigned i = 0; i < r->len; i++)
        if (strchr(set, r->s[i]) != NULL) m.to[i] = 1u << (i + 1);
    return m;
}

static relation either(const struct random_regex *r, relation a, relation b)
{
    for (unsigned i = 0; i <= r->len; i++) a.to[i] |= b.to[i];
    return a;
}

static relation then(const struct random_regex *r, relation a, relation b)
{
    relation m = {{0}};
    for (unsigned i = 0; i <= r->len; i++)
        for (unsigned j = i; j <= r->len; j++)
            if (a.to[i] >> j & 1) m.to[i] |= b.to[j];
    return m;
}

static relation nothing(const struct random_regex *r)
{
    relation m = {{0}};
    for (unsigned i = 0; i <= r->len; i++) m.to[i] = 1u << i;
    return m;
}

static relation times(const struct random_regex *r, relation a, unsigned min, unsigned max)
{
    relation all = {{0}}, power = nothing(r);
    for (unsigned n = 0; n <= max; n++) {
        if (n >= min) all = either(r, all, power);
        power = then(r, power, a);
    }
    return all;
}

static relation piece(struct random_regex *r, int depth);

static relation sequence(struct random_regex *r, int depth)
{
    relation m = nothing(r);
    for (uint64_t n = xorshift(&r->seed) % 4; n > 0; n--) m = then(r, m, piece(r, depth));
    return m;
}

static relation alternatives(struct random_regex *r, int depth)
{
    relation m = sequence(r, depth);
    for (uint64_t n = xorshift(&r->seed) % 3; n > 0; n--) {
        put(r, "|");
        m = either(r, m, sequence(r, depth));
    }
    return m;
}

static relation atom(struct random_regex *r, int depth)
{
    static const struct {
        const char *text, *set;
    } sets[] = {{"a", "a"}, {"b", "b"}, {".", "ab"}, {"[^a]", "b"}, {"[a-b]", "ab"}, {"c", ""}};
    if (depth == 0 || xorshift(&r->seed) % 3 > 0) {
        size_t i = xorshift(&r->seed) % 6;
        put(r, sets[i].text);
        return one_of(r, sets[i].set);
    }
    put(r, xorshift(&r->seed) % 2 ? "(" : "(?:");
    relation m = alternatives(r, depth - 1);
    put(r, ")");
    return m;
}

static relation piece(struct random_regex *r, int depth)
{
    relation m = nothing(r);
    if (xorshift(&r->seed) % 8 == 0) {
        bool begin = xorshift(&r->seed) % 2;
        put(r, begin ? "^" : "$");
        for (unsigned i = 0; i <= r->len; i++)
            if (i != (begin ? 0 : r->len)) m.to[i] = 0;
        return m;
    }
    static const struct {
        const char *text;
        unsigned min, max;
    } counts[] = {{"*", 0, 12},  {"+", 1, 12},     {"?", 0, 1},     {"{2}", 2, 2},
                  {"*?", 0, 12}, {"{1,}?", 1, 12}, {"{0,2}", 0, 2}, {"{0}", 0, 0}};
    m = atom(r, depth);
    if (xorshift(&r->seed) % 2) return m;
    size_t i = xorshift(&r->seed) % 8;
    put(r, counts[i].text);
    return times(r, m, counts[i].min, counts[i].max);
}

TEST(what_matches_is_the_definition_on_random_patterns)
{
    struct random_regex r = {.seed = 7};
    int given_up = 0;
    for (int round = 0; round < 20000; round++) {
        char pattern[4096] = "", s[12];
        r.len = (unsigned)(xorshift(&r.seed) % 10);
        for (unsigned i = 0; i < r.len; i++) s[i] = "ab"[xorshift(&r.seed) % 2];
        s[r.len] = '\0';
        r.s = s;
        r.at = pattern;
        relation m = alternatives(&r, 2);
        uint32_t any = 0;
        for (unsigned i = 0; i <= r.len; i++) any |= m.to[i];
        struct regex *re = compile(pattern);
        int found = regex_match(re, s, r.len), full = regex_match_full(re, s, r.len);
        if (found == -ETIME || full == -ETIME) { /* the price of going back */
            given_up++;
            regex_free(re);
            continue;
        }
        if (found != (any != 0) || full != (int)(m.to[0] >> r.len & 1))
            fail_msg("%s on \"%s\": %d, full %d", pattern, s, found, full);
        struct text out = {0}; /* each match by itself: nothing changes */
        assert_int_equal(regex_replace(re, s, r.len, "${0}", 4, &out), 0);
        assert_string_equal(out.data, s);
        text_free(&out);
        regex_free(re);
    }
    assert_true(given_up < 40);
}

/* -- what Go's syntax is, and PCRE2's is not -- */

TEST(classes_and_anchors_are_those_of_go)
{
    assert_int_equal(match("^a$", "a\n"), 0); /* $ is the very end */
    assert_int_equal(match("(?m)^$", "a\n"), 1);
    assert_int_equal(match("\\s", "\v"), 0);
    assert_int_equal(match("\\S", "\v"), 1);
    assert_int_equal(match("^\\v$", "\n"), 0); /* one character, no class */
    assert_int_equal(match("a{,2}", "a"), 0);  /* a brace is a brace */
    assert_int_equal(match("^a{,2}$", "a{,2}"), 1);
    assert_int_equal(match("\\w", "é"), 0);
    assert_int_equal(match("^.$", "é"), 1);
    assert_int_equal(match("(?i)^K$", "\u212a"), 1);
    assert_int_equal(match("\\p{Greek}", "λ"), 1);
    assert_int_equal(match("^[[:alpha:]\\d-]+$", "a-1"), 1);
    assert_int_equal(match("\\Qa.b\\E+$", "a.bb"), 1);
    assert_int_equal(match("^\\101\\x41\\x{41}$", "AAA"), 1);
    assert_int_equal(match("^\\b*a$", "a"), 1); /* assertions can be repeated */
}

TEST(what_go_does_not_have_is_refused_in_its_words)
{
    assert_string_equal(why_not("(?=a)"), "invalid or unsupported Perl syntax: `(?=`");
    assert_string_equal(why_not("(?<!a)"), "invalid or unsupported Perl syntax: `(?<`");
    assert_string_equal(why_not("(a)\\1"), "invalid escape sequence: `\\1`");
    assert_string_equal(why_not("a*+"), "invalid nested repetition operator: `*+`");
    assert_string_equal(why_not("(?>a)"), "invalid or unsupported Perl syntax: `(?>`");
    assert_string_equal(why_not("(?P>n)"), "invalid or unsupported Perl syntax: `(?P`");
    assert_string_equal(why_not("(?(1)a)"), "invalid or unsupported Perl syntax: `(?(`");
    assert_string_equal(why_not("(*ACCEPT)"), "missing argument to repetition operator: `*`");
    assert_string_equal(why_not("\\p{greek}"), "invalid character class range: `\\p{greek}`");
    assert_string_equal(why_not("[z-a]"), "invalid character class range: `z-a`");
    assert_string_equal(why_not("a{1001}"), "invalid repeat count: `{1001}`");
    assert_string_equal(why_not("(a{40}){40}"), "invalid repeat count: `{40}`");
    assert_string_equal(why_not("a\xff"), "invalid UTF-8: `\xff`");
}

TEST(what_is_too_large_is_refused)
{
    char pattern[4000];
    memset(pattern, '(', 300);
    memset(pattern + 300, ')', 300);
    pattern[600] = '\0';
    assert_int_equal(strncmp(why_not(pattern), "expression nests too deeply", 27), 0);
    assert_non_null(why_not("((?:[^\\pL\\d]{1,9}a|b){100}c){10}"));
    char *long_one = malloc(100001);
    memset(long_one, '.', 100000);
    long_one[100000] = '\0';
    assert_non_null(why_not(long_one));
    free(long_one);
}

TEST(replacements_name_groups_as_go_does)
{
    assert_string_equal(replace("(?P<n>a)(b)?", "abxa", "[$1|${2}|$n|$1x|${1}x|$9|$$|$]"),
                        "[a|b|a||ax||$|$]x[a||a||ax||$|$]");
    assert_string_equal(replace("(?<n>a)", "a", "${n}${n"), "a${n");
    assert_string_equal(replace("a", "a", "$é$0é$0→"), "a→"); /* é may stand in a name */
    assert_string_equal(replace("x*", "abc", "-"), "-a-b-c-");
    assert_string_equal(replace("b*", "abbc", "-"), "-a-c-");
    assert_string_equal(replace("(?m)^", "a\nb\n", "> "), "> a\n> b\n> ");
    assert_string_equal(replace("", "é", "-"), "-é-");
}

TEST(a_text_that_is_no_utf8_is_seen_as_go_sees_it)
{
    assert_int_equal(match("^a.z$", "a\xffz"), 1);
    assert_int_equal(match("\xef\xbf\xbd", "\x80"), 1);
    assert_string_equal(replace("b",
                                "\xc3"
                                "b\xe2\x82",
                                "x"),
                        "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(no_pattern_runs_away)
{
    char ambiguous[200] = "";
    for (int i = 0; i < 21; i++) strcat(ambiguous, "(a|a)");
    strcat(ambiguous, "[^a]");
    const char *const hostile[] = {"(a|a)*(a|a)*[^a]b", "(a+)+[^a]b",
                                   "(a*)*(a*)*[^a]b",   "(.*)(.*)(.*)(.*)(.*)[^a]b",
                                   ambiguous,           "(?:a?){30}(?:a){30}[^a]"};
    char s[1001];
    memset(s, 'a', 1000);
    s[1000] = '\0';
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct regex *re = compile(hostile[i]);
        for (size_t n = 30; n <= 1000; n += 970) {
            int64_t start = clock_thread_cpu_ns();
            int rc = regex_match(re, s, n), full = regex_match_full(re, s, n);
            assert_true(rc == 0 || rc == -ETIME);
            assert_true(full == 0 || full == -ETIME);
            /* 3 ms each, were it not for sanitizers and valgrind. */
            assert_true(clock_thread_cpu_ns() - start < 2000000000);
        }
        struct text out = {0};
        int rc = regex_replace(re, s, 1000, "", 0, &out);
        assert_true(rc == 0 || rc == -ETIME);
        text_free(&out);
        regex_free(re);
    }
}

TEST(a_replacement_ends_at_the_limit)
{
    struct regex *re = compile("a");
    struct text out = {.limit = 10};
    assert_int_equal(regex_replace(re, "aaaa", 4, "xyz$0", 5, &out), -EFBIG);
    assert_true(out.len <= 10);
    text_free(&out);
    regex_free(re);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(what_matches_is_the_definition_on_random_patterns),
        CHECK(classes_and_anchors_are_those_of_go),
        CHECK(what_go_does_not_have_is_refused_in_its_words),
        CHECK(what_is_too_large_is_refused),
        CHECK(replacements_name_groups_as_go_does),
        CHECK(a_text_that_is_no_utf8_is_seen_as_go_sees_it),
        CHECK(no_pattern_runs_away),
        CHECK(a_replacement_ends_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
