#include "tests/c/test.h"

#include "base/base64.h"

static void expect(const char *bytes, const char *text)
{
    char encoded[64];
    unsigned char decoded[64];
    size_t n;
    base64_encode(bytes, strlen(bytes), encoded);
    assert_int_equal(base64_encoded(strlen(bytes)), strlen(text));
    assert_memory_equal(encoded, text, strlen(text));
    assert_true(base64_decode(text, strlen(text), decoded, &n));
    assert_int_equal(n, strlen(bytes));
    assert_memory_equal(decoded, bytes, n);
}

TEST(the_vectors_of_the_rfc_hold)
{
    expect("", "");
    expect("f", "Zg==");
    expect("fo", "Zm8=");
    expect("foo", "Zm9v");
    expect("foob", "Zm9vYg==");
    expect("fooba", "Zm9vYmE=");
    expect("foobar", "Zm9vYmFy");
}

TEST(any_bytes_come_back)
{
    uint64_t seed = 3;
    for (size_t len = 0; len < 300; len++) {
        unsigned char *data = malloc(len + 1), *back = malloc(base64_encoded(len) / 4 * 3 + 1);
        char *text = malloc(base64_encoded(len) + 1);
        size_t n;
        for (size_t i = 0; i < len; i++) data[i] = (unsigned char)xorshift(&seed);
        base64_encode(data, len, text);
        assert_true(base64_decode(text, base64_encoded(len), back, &n));
        assert_int_equal(n, len);
        assert_memory_equal(back, data, len);
        free(data);
        free(back);
        free(text);
    }
}

TEST(what_is_no_base64_is_refused)
{
    static const char *const cases[] = {"Z",    "Zg",   "Zg=",  "Zg=a", "Z===",     "====",
                                        "Zm9-", "Zm 9", "Zh==", "Zm9=", "Zg==Zm9v", "=Zg="};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char out[16];
        size_t n;
        assert_false(base64_decode(cases[i], strlen(cases[i]), out, &n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(the_vectors_of_the_rfc_hold),
        CHECK(any_bytes_come_back),
        CHECK(what_is_no_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
