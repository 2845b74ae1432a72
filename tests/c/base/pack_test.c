#include "tests/c/test.h"
#include "base/pack.h"

#include <errno.h>
#include <math.h>

static const char NAME[PACK_NAME] = "testpack";

static void write_all(struct text *out)
{
    static const uint16_t shorts[] = {1, 0xfffe};
    static const uint32_t words[] = {7, 0xdeadbeef};
    static const float floats[] = {1.5f, -0.0f};
    static const double doubles[] = {0.1, NAN, -INFINITY};
    pack_begin(out, NAME, 2);
    pack_u8(out, 200);
    pack_u32(out, 0x01020304);
    pack_u64(out, UINT64_MAX - 1);
    pack_f64(out, -2.5);
    pack_bytes(out, "a\0b", 3);
    pack_u16s(out, shorts, 2);
    pack_u32s(out, words, 2);
    pack_f32s(out, floats, 2);
    pack_f64s(out, doubles, 3);
    pack_end(out);
}

/* Whether all that was written is read back; what is missing reads as 0. */
static bool reads_back(const void *data, size_t len, struct err *e)
{
    struct unpack u;
    uint32_t version, words[2];
    uint16_t shorts[2];
    float floats[2];
    double doubles[3];
    size_t n;
    if (unpack_begin(&u, data, len, NAME, 2, &version, e) < 0) return false;
    bool good = version == 2 && unpack_u8(&u) == 200;
    good &= unpack_u32(&u) == 0x01020304;
    good &= unpack_u64(&u) == UINT64_MAX - 1;
    good &= unpack_f64(&u) == -2.5;
    const char *bytes = unpack_bytes(&u, &n);
    good &= n == 3 && memcmp(bytes, "a\0b", 3) == 0;
    unpack_u16s(&u, shorts, 2);
    unpack_u32s(&u, words, 2);
    unpack_f32s(&u, floats, 2);
    unpack_f64s(&u, doubles, 3);
    good &= shorts[0] == 1 && shorts[1] == 0xfffe && words[0] == 7 && words[1] == 0xdeadbeef;
    good &= floats[0] == 1.5f && floats[1] == 0 && signbit(floats[1]);
    good &= doubles[0] == 0.1 && isnan(doubles[1]) && doubles[2] == -INFINITY;
    return unpack_end(&u, e) == 0 && good;
}

TEST(what_was_packed_comes_back_bit_by_bit)
{
    struct text out = {0};
    struct err e;
    write_all(&out);
    assert_false(out.failed);
    assert_true(reads_back(out.data, out.len, &e));
    text_free(&out);
}

TEST(the_bytes_are_the_same_on_every_machine)
{
    struct text out = {0};
    pack_begin(&out, NAME, 1);
    pack_u32(&out, 258);
    pack_f64(&out, 1);
    static const unsigned char expected[] = {'t', 'e', 's', 't', 'p', 'a', 'c',  'k',
                                             1,   0,   0,   0,   2,   1,   0,    0,
                                             0,   0,   0,   0,   0,   0,   0xf0, 0x3f};
    assert_int_equal(out.len, sizeof expected);
    assert_memory_equal(out.data, expected, sizeof expected);
    text_free(&out);
}

TEST(every_cut_and_every_changed_byte_is_found)
{
    struct text out = {0};
    struct err e;
    write_all(&out);
    for (size_t len = 0; len < out.len; len++) {
        char *cut = malloc(len + 1); /* of its own, so that reading past it shows */
        memcpy(cut, out.data, len);
        assert_false(reads_back(cut, len, &e));
        assert_int_equal(e.code, -EINVAL);
        free(cut);
    }
    for (size_t i = 0; i < out.len; i++) {
        out.data[i] ^= 0x10;
        assert_false(reads_back(out.data, out.len, &e));
        out.data[i] ^= 0x10;
    }
    text_free(&out);
}

static int begin(const struct text *t, const char *name, uint32_t newest, struct err *e)
{
    struct unpack u;
    uint32_t version;
    return unpack_begin(&u, t->data, t->len, name, newest, &version, e);
}

TEST(what_is_wrong_is_told_apart)
{
    struct text out = {0};
    struct err e;
    write_all(&out);
    assert_true(pack_is(out.data, out.len, NAME));
    assert_false(pack_is(out.data, out.len, "another1"));
    assert_int_equal(begin(&out, "another1", 2, &e), -EINVAL);
    assert_string_equal(e.text, "it is no model of this kind");
    assert_int_equal(begin(&out, NAME, 1, &e), -EINVAL);
    assert_string_equal(e.text, "the model has format 2; this program reads 1 to 1");
    out.data[20] ^= 1;
    assert_int_equal(begin(&out, NAME, 2, &e), -EINVAL);
    assert_string_equal(e.text, "the model is damaged or cut off: its checksum is wrong");
    text_free(&out);
}

TEST(what_cannot_be_there_is_not_allocated_for)
{
    struct text out = {0};
    struct unpack u;
    struct err e;
    uint32_t version;
    size_t len;
    pack_begin(&out, NAME, 1);
    pack_u64(&out, UINT64_MAX); /* a length that is a lie */
    pack_end(&out);
    assert_int_equal(unpack_begin(&u, out.data, out.len, NAME, 1, &version, &e), 0);
    assert_true(unpack_holds(&u, 1, 8));
    assert_string_equal(unpack_bytes(&u, &len), "");
    assert_int_equal(len, 0);
    assert_false(unpack_holds(&u, 0, 8)); /* once failed, for good */
    assert_int_equal(unpack_u32(&u), 0);
    assert_int_equal(unpack_end(&u, &e), -EINVAL);
    assert_string_equal(e.text, "the model is malformed: it ends too early");
    assert_int_equal(unpack_begin(&u, out.data, out.len, NAME, 1, &version, &e), 0);
    assert_false(unpack_holds(&u, UINT64_MAX / 4, 8)); /* no product that overflows */
    assert_int_equal(unpack_begin(&u, out.data, out.len, NAME, 1, &version, &e), 0);
    assert_int_equal(unpack_end(&u, &e), -EINVAL);
    assert_string_equal(e.text, "the model is malformed: there is more than belongs to it");
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(what_was_packed_comes_back_bit_by_bit),
        CHECK(the_bytes_are_the_same_on_every_machine),
        CHECK(every_cut_and_every_changed_byte_is_found),
        CHECK(what_is_wrong_is_told_apart),
        CHECK(what_cannot_be_there_is_not_allocated_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
