#include "tests/c/test.h"
#include "base/hash.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

TEST(sha256_is_that_of_the_vectors_of_nist)
{
    /* FIPS 180-4's examples, and messages of the CAVP's SHA256ShortMsg.rsp */
    static const struct {
        const char *message;
        size_t len;
        const char *digest;
    } vectors[] = {
        {"abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
         "klmnopqrlmnopqrsmnopqrstnopqrstu",
         112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
        {"\xd3", 1, "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
        {"\x11\xaf", 2, "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"},
        {"\xb4\x19\x0e", 3, "dff2e73091f6c05e528896c4c831b9448653dc2ff043528f6769437bc7b975c2"},
    };
    char digest[HASH_HEX];
    for (size_t i = 0; i < COUNT(vectors); i++) {
        hash_sha256_hex(vectors[i].message, vectors[i].len, digest);
        assert_string_equal(digest, vectors[i].digest);
    }
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    hash_sha256_hex(million, 1000000, digest);
    assert_string_equal(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

TEST(hmac_sha256_is_that_of_rfc_4231)
{
    unsigned char ones[131];
    memset(ones, 0xaa, sizeof ones);
    char digest[HASH_HEX];
    hash_hmac_sha256_hex("Jefe", 4, "what do ya want for nothing?", 28, digest);
    assert_string_equal(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hash_hmac_sha256_hex("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
                         "\x0b\x0b\x0b\x0b",
                         20, "Hi There", 8, digest);
    assert_string_equal(digest, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hash_hmac_sha256_hex(ones, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                         digest);
    assert_string_equal(digest, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hash_hmac_sha256_hex("", 0, "", 0, digest);
    assert_string_equal(digest, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(random_digits_fill_their_length_and_never_come_again)
{
    char a[129], b[129];
    memset(a, '?', sizeof a);
    hash_random_hex(8, a);
    assert_int_equal(strlen(a), 16);
    assert_int_equal(a[17], '?');
    int counts[16] = {0};
    for (int i = 0; i < 100; i++) {
        hash_random_hex(64, a);
        hash_random_hex(64, b);
        assert_int_equal(strlen(a), 128);
        assert_int_equal(strspn(a, "0123456789abcdef"), 128);
        assert_string_not_equal(a, b);
        for (int k = 0; k < 128; k++) counts[a[k] <= '9' ? a[k] - '0' : a[k] - 'a' + 10]++;
    }
    for (int i = 0; i < 16; i++) assert_in_range(counts[i], 600, 1000); /* 800 ± 7 deviations */
}

TEST(equal_compares_lengths_and_every_byte)
{
    const char a[] = "0123456789abcdef";
    assert_true(hash_equal(a, 16, "0123456789abcdef", 16));
    assert_true(hash_equal("", 0, a, 0));
    assert_false(hash_equal(a, 16, a, 15));
    for (size_t i = 0; i < 16; i++) {
        char b[] = "0123456789abcdef";
        b[i] ^= 1;
        assert_false(hash_equal(a, 16, b, 16));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(sha256_is_that_of_the_vectors_of_nist),
        CHECK(hmac_sha256_is_that_of_rfc_4231),
        CHECK(random_digits_fill_their_length_and_never_come_again),
        CHECK(equal_compares_lengths_and_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
