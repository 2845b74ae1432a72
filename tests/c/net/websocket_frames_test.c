#include "tests/c/test.h"
#include "net/websocket_frames.h"

#include <errno.h>

/* What the frames told: one line each, "kind:bytes". */
static struct text told;
static struct websocket_frames *frames;

static void on_frame(void *ud, enum websocket_kind kind, const char *data, size_t len)
{
    static const char *const names[] = {"text", "binary", "ping", "pong"};
    (void)ud;
    text_addf(&told, "%s:", names[kind]);
    text_add(&told, data, len);
    text_addc(&told, '\n');
}

static int open_frames(void **state)
{
    (void)state;
    return websocket_frames_open(&frames, 1000, on_frame, NULL);
}

static int close_frames(void **state)
{
    (void)state;
    websocket_frames_free(frames);
    text_free(&told);
    return 0;
}

static int take(const char *bytes, size_t n)
{
    struct err e = {0};
    int rc = websocket_frames_take(frames, bytes, n, &e);
    assert_int_equal(rc, e.code);
    return rc;
}
#define TAKE(bytes) take(bytes, sizeof(bytes) - 1)

static void assert_told(const char *expected)
{
    assert_string_equal(told.data != NULL ? told.data : "", expected);
    text_free(&told);
}

/* Takes the first pending frame away, unmasked: its first byte, and its bytes in out. -1: none. */
static int next_sent(struct text *out)
{
    size_t n, at = 2;
    const unsigned char *p = (const unsigned char *)websocket_frames_pending(frames, &n);
    text_free(out);
    text_adds(out, "");
    if (n == 0) return -1;
    int first = p[0];
    assert_true(p[1] & 0x80); /* masked, always */
    size_t len = p[1] & 0x7f;
    if (len == 126) {
        len = (size_t)p[2] << 8 | p[3];
        at = 4;
    }
    const unsigned char *mask = p + at;
    for (size_t i = 0; i < len; i++) text_addc(out, (char)(p[at + 4 + i] ^ mask[i % 4]));
    websocket_frames_sent(frames, at + 4 + len);
    return first;
}

static void assert_close_sent(int code)
{
    struct text body = {0};
    assert_int_equal(next_sent(&body), 0x88);
    assert_int_equal(body.len, 2);
    assert_int_equal((unsigned char)body.data[0] << 8 | (unsigned char)body.data[1], code);
    assert_int_equal(next_sent(&body), -1);
    assert_true(websocket_frames_close_sent(frames));
    text_free(&body);
}

TEST(messages_are_whole_whatever_frames_and_reads_they_come_in)
{
    static const char bytes[] = "\x81\x02hi"       /* a text */
                                "\x01\x03one"      /* begins */
                                "\x89\x04who?"     /* a ping in between */
                                "\x00\x00"         /* goes on, with nothing */
                                "\x8a\x00"         /* a pong in between */
                                "\x80\x04 two"     /* ends */
                                "\x82\x02\xff\x00" /* binary */
                                "\x81\x00"         /* empty */
                                "\x81\x7e\x00\x7e" /* 126 bytes */
                                "0123456789012345678901234567890123456789012345678901234567890"
                                "12345678901234567890123456789012345678901234567890123456789012345";
    for (size_t piece = 1; piece <= 40; piece++) {
        struct text body = {0};
        for (size_t i = 0; i < sizeof bytes - 1; i += piece)
            assert_int_equal(
                take(bytes + i, i + piece < sizeof bytes ? piece : sizeof bytes - 1 - i), 0);
        assert_memory_equal(told.data,
                            "text:hi\nping:who?\npong:\ntext:one two\nbinary:\xff\0\ntext:\n", 53);
        assert_int_equal(told.len, 53 + 5 + 126 + 1);
        assert_int_equal(next_sent(&body), 0x8a);
        assert_string_equal(body.data, "who?");
        assert_int_equal(next_sent(&body), -1);
        text_free(&told);
        text_free(&body);
    }
}

TEST(characters_may_be_cut_by_frames_but_not_by_messages)
{
    assert_int_equal(TAKE("\x01\x01\xc3\x80\x01\xbc"), 0);
    assert_told("text:\xc3\xbc\n");
    assert_int_equal(TAKE("\x81\x01\xc3"), -EPROTO);
    assert_close_sent(WEBSOCKET_BAD_DATA);
}

TEST(what_is_wrong_is_refused_with_its_code_and_nothing_more_is_heard)
{
    static const struct {
        const char *bytes;
        size_t n;
        int rc, code;
    } cases[] = {
        {"\xc1\x00", 2, -EPROTO, 1002},          /* a reserved bit */
        {"\x81\x80zzzz", 6, -EPROTO, 1002},      /* masked by a server */
        {"\x83\x00", 2, -EPROTO, 1002},          /* unknown kinds */
        {"\x8b\x00", 2, -EPROTO, 1002},          /* … of control */
        {"\x80\x00", 2, -EPROTO, 1002},          /* a continuation of nothing */
        {"\x01\x00\x81\x00", 4, -EPROTO, 1002},  /* a message within a message */
        {"\x09\x00", 2, -EPROTO, 1002},          /* a ping in pieces */
        {"\x89\x7e\x00\x7e", 4, -EPROTO, 1002},  /* a long ping */
        {"\x81\x7e\x00\x01x", 5, -EPROTO, 1002}, /* a length that is longer than need be */
        {"\x81\x7f\x80\0\0\0\0\0\0\0", 10, -EPROTO, 1002},
        {"\x88\x01x", 3, -EPROTO, 1002},        /* closes that are none */
        {"\x88\x02\x03\xed", 4, -EPROTO, 1002}, /* 1005 */
        {"\x88\x02\x0b\xb7", 4, -EPROTO, 1002}, /* 2999 */
        {"\x88\x03\x03\xe8\xff", 5, -EPROTO, 1007},
        {"\x81\x02\xc0\x80", 4, -EPROTO, 1007},
        {"\x81\x7e\x03\xe9x", 5, -EMSGSIZE, 1009},          /* 1001 bytes */
        {"\x01\x01x\x80\x7e\x03\xe8x", 8, -EMSGSIZE, 1009}, /* 1 and 1000 */
        {"\x82\x7f\0\0\x7f\xff\xff\xff\xff\xffx", 11, -EMSGSIZE, 1009},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        close_frames(NULL);
        open_frames(NULL);
        assert_int_equal(take(cases[i].bytes, cases[i].n), cases[i].rc);
        assert_close_sent(cases[i].code);
        assert_int_equal(TAKE("\x81\x02hi\x89\x00\x88\x00"), 0);
        assert_told("");
        assert_int_equal(websocket_frames_close_received(frames), 0);
    }
}

TEST(a_close_is_answered_by_its_own_code_once)
{
    assert_int_equal(TAKE("\x88\x06\x0f\xa1"
                          "bye!\x81\x02hi"),
                     0);
    assert_int_equal(websocket_frames_close_received(frames), 4001);
    assert_close_sent(4001);
    assert_told("");
    websocket_frames_close(frames, WEBSOCKET_NORMAL);
    assert_int_equal(websocket_frames_send(frames, WEBSOCKET_TEXT, "x", 1), -EPIPE);
    struct text body = {0};
    assert_int_equal(next_sent(&body), -1);
    text_free(&body);
}

TEST(a_close_without_a_code_is_answered_without_one)
{
    struct text body = {0};
    assert_int_equal(TAKE("\x88\x00"), 0);
    assert_int_equal(websocket_frames_close_received(frames), WEBSOCKET_NO_CODE);
    assert_int_equal(next_sent(&body), 0x88);
    assert_int_equal(body.len, 0);
    text_free(&body);
}

TEST(what_arrives_behind_our_own_close_is_still_told)
{
    websocket_frames_close(frames, WEBSOCKET_NORMAL);
    assert_close_sent(WEBSOCKET_NORMAL);
    assert_int_equal(TAKE("\x81\x02hi\x89\x00\x88\x02\x03\xe8"), 0);
    assert_told("text:hi\nping:\n");
    assert_int_equal(websocket_frames_close_received(frames), WEBSOCKET_NORMAL);
    size_t n;
    websocket_frames_pending(frames, &n);
    assert_int_equal(n, 0); /* no pong behind a close */
}

TEST(what_waits_to_be_sent_has_a_bound)
{
    static char block[1 << 20];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 3; i++)
        assert_int_equal(websocket_frames_send(frames, WEBSOCKET_TEXT, block, sizeof block), 0);
    assert_int_equal(websocket_frames_send(frames, WEBSOCKET_TEXT, block, sizeof block), -ENOBUFS);
    size_t n;
    websocket_frames_pending(frames, &n);
    websocket_frames_sent(frames, n - 10); /* in parts, too */
    websocket_frames_pending(frames, &n);
    assert_int_equal(n, 10);
    assert_int_equal(websocket_frames_send(frames, WEBSOCKET_TEXT, block, sizeof block), 0);
}

TEST(a_peer_that_pings_and_does_not_read_is_given_up)
{
    int rc = 0, pings = 0;
    for (; rc == 0 && pings < 10000; pings++)
        rc = TAKE("\x89\x3c"
                  "012345678901234567890123456789"
                  "012345678901234567890123456789");
    assert_int_equal(rc, -ENOBUFS);
    assert_in_range(pings, 3000, 5000); /* 256 KiB of pongs */
}

TEST(only_what_may_be_sent_is_sent)
{
    char long_ping[126] = {0};
    assert_int_equal(websocket_frames_send(frames, WEBSOCKET_TEXT, "\xff", 1), -EINVAL);
    assert_int_equal(websocket_frames_send(frames, WEBSOCKET_PING, long_ping, 126), -EINVAL);
    assert_int_equal(websocket_frames_send(frames, WEBSOCKET_PING, long_ping, 125), 0);
    struct text body = {0};
    assert_int_equal(next_sent(&body), 0x89);
    assert_int_equal(body.len, 125);
    text_free(&body);
}

int main(void)
{
#define FRESH(name) cmocka_unit_test_setup_teardown(name, open_frames, close_frames)
    const struct CMUnitTest tests[] = {
        FRESH(messages_are_whole_whatever_frames_and_reads_they_come_in),
        FRESH(characters_may_be_cut_by_frames_but_not_by_messages),
        FRESH(what_is_wrong_is_refused_with_its_code_and_nothing_more_is_heard),
        FRESH(a_close_is_answered_by_its_own_code_once),
        FRESH(a_close_without_a_code_is_answered_without_one),
        FRESH(what_arrives_behind_our_own_close_is_still_told),
        FRESH(what_waits_to_be_sent_has_a_bound),
        FRESH(a_peer_that_pings_and_does_not_read_is_given_up),
        FRESH(only_what_may_be_sent_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
