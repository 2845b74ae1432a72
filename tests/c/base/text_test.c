#include "tests/c/test.h"
#include "base/text.h"

#include <math.h>

#include "base/hash.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* -- numbers -- */

TEST(numbers_are_written_as_in_the_samples_of_rfc_8785)
{
    static const struct {
        uint64_t bits;
        const char *text;
    } samples[] = {
        /* appendix B */
        {0x0000000000000000, "0"},
        {0x8000000000000000, "0"},
        {0x0000000000000001, "5e-324"},
        {0x8000000000000001, "-5e-324"},
        {0x7fefffffffffffff, "1.7976931348623157e+308"},
        {0xffefffffffffffff, "-1.7976931348623157e+308"},
        {0x4340000000000000, "9007199254740992"},
        {0xc340000000000000, "-9007199254740992"},
        {0x4430000000000000, "295147905179352830000"},
        {0x44b52d02c7e14af5, "9.999999999999997e+22"},
        {0x44b52d02c7e14af6, "1e+23"},
        {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
        {0x444b1ae4d6e2ef4e, "999999999999999700000"},
        {0x444b1ae4d6e2ef4f, "999999999999999900000"},
        {0x444b1ae4d6e2ef50, "1e+21"},
        {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
        {0x3eb0c6f7a0b5ed8d, "0.000001"},
        {0x41b3de4355555553, "333333333.3333332"},
        {0x41b3de4355555554, "333333333.33333325"},
        {0x41b3de4355555555, "333333333.3333333"},
        {0x41b3de4355555556, "333333333.3333334"},
        {0x41b3de4355555557, "333333333.33333343"},
        {0xbecbf647612f3696, "-0.0000033333333333333333"},
        {0x43143ff3c1cb0959, "1424953923781206.2"},
        /* section 3.2.2.3 speaks of these */
        {0x4024000000000000, "10"},
        {0x3ff8000000000000, "1.5"},
        {0x3fb999999999999a, "0.1"},
    };
    char out[TEXT_NUMBER];
    for (size_t i = 0; i < COUNT(samples); i++)
        assert_string_equal(text_number(from_bits(samples[i].bits), out), samples[i].text);
}

/* The i-th of a series in which powers of two, whose neighbours are not equally far on both sides,
 * and short decimals are as frequent as anything else. */
static double number_of(int i, uint64_t *seed)
{
    uint64_t r = xorshift(seed);
    if (i % 3 == 0) return from_bits(r);
    if (i % 3 == 1) return from_bits((1 + r % 2046) << 52);
    double power = 1;
    for (uint64_t k = (r >> 32) % 12; k > 0; k--) power *= 10; /* exact */
    return (double)(r % 1000000) / power;
}

TEST(numbers_are_written_as_node_writes_them)
{
    /* The digest of 99,981 lines that node 20 printed as
     *   x.toString(16) + ',' + String(number) + '\n'
     * for the bits x of the same series, with BigInt for the generator. */
    static const char by_node[] =
        "414f52639231bc15cd65de0aa51e361776d535d5fcdeb8e4ff132abeef886036";
    char n[TEXT_NUMBER], digest[HASH_HEX];
    struct text all = {0};
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        double x = number_of(i, &seed);
        if (!isfinite(x)) continue;
        text_addf(&all, "%llx,%s\n", (unsigned long long)to_bits(x), text_number(x, n));
    }
    hash_sha256_hex(all.data, all.len, digest);
    text_free(&all);
    assert_string_equal(digest, by_node);
}

TEST(numbers_read_back_as_they_were_and_nothing_shorter_does)
{
    uint64_t seed = 2;
    for (int i = 0; i < 100000; i++) {
        double x = number_of(i, &seed);
        char n[TEXT_NUMBER], shorter[40], digits[20];
        int exponent;
        if (!isfinite(x) || x == 0) continue;
        assert_true(strtod(text_number(x, n), NULL) == x);
        assert_true(strlen(n) < TEXT_NUMBER);
        int len = text_shortest(x, digits, &exponent);
        assert_true(len >= 1 && len <= 17 && digits[0] != '0' && digits[len - 1] != '0');
        if (len == 1) continue;
        for (int up = 0; up <= 1; up++) { /* the decimals with a digit less, to both sides */
            long long cut = 0;
            for (int k = 0; k < len - 1; k++) cut = cut * 10 + (digits[k] - '0');
            snprintf(shorter, sizeof shorter, "%llde%d", cut + up, exponent - len + 1);
            assert_true(strtod(shorter, NULL) != fabs(x));
        }
    }
}

/* -- UTF-8 -- */

/* Table 3-7 of the Unicode Standard, "Well-Formed UTF-8 Byte Sequences". */
static const struct {
    unsigned char from[4], to[4];
    size_t len;
} well_formed[] = {
    {{0x00}, {0x7f}, 1},
    {{0xc2, 0x80}, {0xdf, 0xbf}, 2},
    {{0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}, 3},
    {{0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}, 3},
    {{0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}, 3},
    {{0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}, 3},
    {{0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}, 4},
    {{0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}, 4},
    {{0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}, 4},
};

static size_t slow_char(const unsigned char *s, size_t len)
{
    for (size_t r = 0; r < COUNT(well_formed); r++) {
        size_t i = 0, n = well_formed[r].len;
        while (i < n && i < len && s[i] >= well_formed[r].from[i] && s[i] <= well_formed[r].to[i])
            i++;
        if (i == n) return n;
    }
    return 0;
}

static bool slow_is_utf8(const unsigned char *s, size_t len)
{
    if (len == 0) return true;
    size_t n = slow_char(s, len);
    return n > 0 && slow_is_utf8(s + n, len - n);
}

TEST(utf8_is_what_the_unicode_standard_calls_well_formed)
{
    unsigned char *s = malloc(4); /* so that a read behind the end is seen */
    for (unsigned i = 0; i < 1u << 24; i += i < 1u << 16 ? 1 : 7) {
        size_t len = i < 1u << 8 ? 1 : i < 1u << 16 ? 2 : 3;
        for (size_t k = 0; k < len; k++) s[k] = (unsigned char)(i >> 8 * k);
        if (text_is_utf8((char *)s, len) != slow_is_utf8(s, len)) fail_msg("%06x", i);
    }
    free(s);
}

TEST(utf8_of_four_bytes_is_what_the_unicode_standard_calls_well_formed)
{
    static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                          0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xec, 0xed, 0xef, 0xf0,
                                          0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xfe, 0xff};
    enum { N = COUNT(edges) };
    for (size_t i = 0; i < (size_t)N * N * N * N; i++) {
        unsigned char s[] = {edges[i % N], edges[i / N % N], edges[i / N / N % N],
                             edges[i / N / N / N]};
        for (size_t len = 0; len <= 4; len++)
            assert_true(text_is_utf8((char *)s, len) == slow_is_utf8(s, len));
        for (size_t len = 1; len <= 4; len++)
            assert_int_equal(text_utf8_char((char *)s, len), slow_char(s, len));
    }
}

/* -- distance -- */

static size_t slow_distance(const char *a, const char *b) /* the recursive definition */
{
    if (*a == '\0') return strlen(b);
    if (*b == '\0') return strlen(a);
    size_t swap = slow_distance(a + 1, b + 1) + (*a != *b);
    size_t remove = slow_distance(a + 1, b) + 1, insert = slow_distance(a, b + 1) + 1;
    size_t least = remove < insert ? remove : insert;
    return least < swap ? least : swap;
}

static void random_word(char *out, size_t most, uint64_t *seed)
{
    size_t len = xorshift(seed) % (most + 1);
    for (size_t i = 0; i < len; i++) out[i] = (char)('a' + xorshift(seed) % 3);
    out[len] = '\0';
}

TEST(distance_is_the_recursive_definition)
{
    uint64_t seed = 3;
    for (int round = 0; round < 3000; round++) {
        char a[8], b[8];
        random_word(a, 6, &seed);
        random_word(b, 6, &seed);
        assert_int_equal(text_distance(a, b), slow_distance(a, b));
    }
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_int_equal(text_distance("treshold", "threshold"), 1);
}

TEST(distance_of_what_is_longer_than_64_bytes_is_64)
{
    char a[80];
    memset(a, 'a', sizeof a);
    a[64] = '\0';
    assert_int_equal(text_distance(a, a), 0);
    assert_int_equal(text_distance(a, ""), 64);
    a[64] = 'a';
    a[65] = '\0';
    assert_int_equal(text_distance(a, a), 64);
    assert_int_equal(text_distance("", a), 64);
}

/* -- the buffer -- */

TEST(a_text_holds_what_was_added_with_a_nul_behind_it)
{
    uint64_t seed = 4;
    struct text t = {0};
    char *twin = calloc(1, 300000), piece[100];
    size_t len = 0;
    assert_null(t.data);
    for (int i = 0; i < 5000; i++) {
        size_t n = xorshift(&seed) % 50;
        for (size_t k = 0; k < n; k++) piece[k] = (char)(1 + xorshift(&seed) % 255);
        piece[n] = '\0';
        switch (i % 3) {
        case 0: text_add(&t, piece, n); break;
        case 1: text_adds(&t, piece); break;
        default: text_addf(&t, "%s", piece);
        }
        memcpy(twin + len, piece, n + 1);
        len += n;
        assert_int_equal(t.len, len);
        assert_int_equal(t.data[t.len], '\0');
    }
    assert_memory_equal(t.data, twin, len + 1);
    text_addc(&t, '\0'); /* a byte like any other */
    assert_int_equal(t.len, len + 1);
    assert_false(t.failed);
    text_free(&t);
    assert_true(t.data == NULL && t.len == 0);
    free(twin);
}

TEST(a_text_beyond_its_limit_keeps_what_it_has_and_takes_nothing_more)
{
    struct text t = {.limit = 5};
    text_adds(&t, "abcd");
    text_addc(&t, 'e'); /* just fits */
    assert_false(t.failed);
    text_addf(&t, "%d", 1);
    assert_true(t.failed);
    text_add(&t, "", 0);
    text_addc(&t, 'f');
    assert_true(t.failed);
    assert_string_equal(t.data, "abcde");
    text_free(&t);
    assert_false(t.failed);
    text_adds(&t, "abcdef"); /* the limit stays */
    assert_true(t.failed && t.len == 0);
    text_free(&t);
}

TEST(a_length_that_no_memory_holds_fails_and_writes_nothing)
{
    struct text t = {0};
    text_adds(&t, "x");
    text_add(&t, "", SIZE_MAX);
    assert_true(t.failed);
    assert_string_equal(t.data, "x");
    text_free(&t);
}

TEST(a_queue_is_compacted_once_half_of_it_is_done_with)
{
    struct text t = {0};
    size_t taken = 0;
    text_compact(&t, &taken);
    assert_true(t.data == NULL && taken == 0);
    text_adds(&t, "abcdef");
    taken = 2;
    text_compact(&t, &taken);
    assert_string_equal(t.data + taken, "cdef");
    assert_int_equal(taken, 2);
    taken = 3;
    text_compact(&t, &taken);
    assert_string_equal(t.data, "def");
    assert_true(t.len == 3 && taken == 0);
    taken = 3;
    text_compact(&t, &taken);
    assert_string_equal(t.data, "");
    assert_true(t.len == 0 && taken == 0);
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(numbers_are_written_as_in_the_samples_of_rfc_8785),
        CHECK(numbers_are_written_as_node_writes_them),
        CHECK(numbers_read_back_as_they_were_and_nothing_shorter_does),
        CHECK(utf8_is_what_the_unicode_standard_calls_well_formed),
        CHECK(utf8_of_four_bytes_is_what_the_unicode_standard_calls_well_formed),
        CHECK(distance_is_the_recursive_definition),
        CHECK(distance_of_what_is_longer_than_64_bytes_is_64),
        CHECK(a_text_holds_what_was_added_with_a_nul_behind_it),
        CHECK(a_text_beyond_its_limit_keeps_what_it_has_and_takes_nothing_more),
        CHECK(a_length_that_no_memory_holds_fails_and_writes_nothing),
        CHECK(a_queue_is_compacted_once_half_of_it_is_done_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
