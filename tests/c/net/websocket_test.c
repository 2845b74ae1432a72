#include "tests/c/test.h"
#include "net/websocket.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/base64.h"
#include "base/hash.h"

static struct loop *loop;

/* -- a server that shakes hands, then says what it is told to -- */

enum shake { RIGHT, WRONG_KEY, NO_UPGRADE, EXTENSION, STATUS, ENDLESS, HANG_UP, SILENT, PROXY };

static struct server {
    uv_tcp_t uv, connection;
    bool connected, shaken, reads_not, answers_close, ends_after_close;
    enum shake shake;
    int port;
    const char *says; /* behind the handshake, in the same write */
    size_t n_says;
    struct text head;   /* of the request */
    struct text frames; /* what came behind it, as it came */
    char chunk[65536];
} server;

static void on_written(uv_write_t *w, int status)
{
    (void)status;
    free(w->data);
    free(w);
}

static void say(const char *bytes, size_t n)
{
    uv_write_t *w = calloc(1, sizeof *w);
    w->data = malloc(n + 1);
    memcpy(w->data, bytes, n);
    uv_buf_t buf = uv_buf_init(w->data, (unsigned)n);
    uv_write(w, (uv_stream_t *)&server.connection, &buf, 1, on_written);
}

static void hang_up(void)
{
    if (server.connected && !uv_is_closing((uv_handle_t *)&server.connection))
        uv_close((uv_handle_t *)&server.connection, NULL);
}

static void add_accept(struct text *answer)
{
    char text[80], accept[29] = {0};
    unsigned char digest[20];
    const char *key = strstr(server.head.data, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    if (server.shake == WRONG_KEY) text[0] ^= 1;
    hash_sha1(text, strlen(text), digest);
    base64_encode(digest, sizeof digest, accept);
    text_addf(answer, "sec-websocket-ACCEPT:  %s \r\n", accept);
}

static void answer_head(void)
{
    struct text answer = {0};
    if (server.shake == SILENT) return;
    if (server.shake == HANG_UP) {
        hang_up();
        return;
    }
    if (server.shake == PROXY && strncmp(server.head.data, "CONNECT ", 8) == 0) {
        say("HTTP/1.1 200 OK\r\n\r\n", 19);
        text_free(&server.head);
        return;
    }
    server.shaken = true;
    text_addf(&answer, "HTTP/1.1 %d x\r\n", server.shake == STATUS ? 429 : 101);
    if (server.shake != NO_UPGRADE) text_adds(&answer, "Upgrade: WebSocket\r\n");
    text_adds(&answer, "Connection: keep-alive, Upgrade\r\n");
    if (server.shake == EXTENSION) text_adds(&answer, "Sec-WebSocket-Extensions: x\r\n");
    for (int i = 0; server.shake == ENDLESS && i < 2000; i++) text_addf(&answer, "X-%d: y\r\n", i);
    add_accept(&answer);
    text_adds(&answer, "\r\n");
    text_add(&answer, server.says != NULL ? server.says : "", server.n_says);
    say(answer.data, answer.len);
    text_free(&answer);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)h;
    (void)suggested;
    *buf = uv_buf_init(server.chunk, sizeof server.chunk);
}

/* The next whole frame of the client from *at on, unmasked: its first byte, or -1. */
static int frame_at(size_t *at, struct text *out)
{
    const unsigned char *p = (const unsigned char *)server.frames.data + *at;
    size_t left = server.frames.len - *at, head = 2;
    text_free(out);
    text_adds(out, "");
    if (left < 6) return -1;
    assert_true(p[1] & 0x80);
    size_t len = p[1] & 0x7f;
    if (len >= 126) {
        size_t more = len == 126 ? 2 : 8;
        for (size_t i = len = 0; i < more; i++) len = len << 8 | p[2 + i];
        head += more;
    }
    if (left < head + 4 + len) return -1;
    for (size_t i = 0; i < len; i++) text_addc(out, (char)(p[head + 4 + i] ^ p[head + i % 4]));
    *at += head + 4 + len;
    return p[0];
}

/* The bytes of the last frame of the client that begins so, in out; false: there was none. */
static bool heard(int first, struct text *out)
{
    struct text one = {0};
    size_t at = 0;
    int byte;
    bool found = false;
    while (server.frames.data != NULL && (byte = frame_at(&at, &one)) >= 0) {
        if (byte != first) continue;
        text_free(out);
        text_add(out, one.data, one.len);
        found = true;
    }
    text_free(&one);
    return found;
}

static void on_heard(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct text body = {0};
    (void)stream;
    if (n < 0) {
        hang_up();
        return;
    }
    if (server.shaken) {
        text_add(&server.frames, buf->base, (size_t)n);
        if (server.answers_close && heard(0x88, &body)) {
            say("\x88\x02\x03\xe8", 4);
            if (server.ends_after_close) hang_up();
        }
        text_free(&body);
        return;
    }
    text_add(&server.head, buf->base, (size_t)n);
    if (strstr(server.head.data, "\r\n\r\n") == NULL) return;
    answer_head();
    if (server.shaken && server.reads_not) uv_read_stop((uv_stream_t *)&server.connection);
}

static void on_connection(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    uv_tcp_init(loop_uv(loop), &server.connection);
    assert_int_equal(uv_accept(s, (uv_stream_t *)&server.connection), 0);
    server.connected = true;
    uv_read_start((uv_stream_t *)&server.connection, on_alloc, on_heard);
}

/* -- the client, and what it told -- */

static struct websocket *ws; /* NULL once it is closed */
static struct told {
    bool opened, closed, stop;
    int rc, code, messages, pings, pongs;
    struct err err;
    struct text last;
} told;

static void on_open(void *ud)
{
    (void)ud;
    assert_false(told.opened || told.closed);
    told.opened = told.stop = true;
}

static void on_frame(void *ud, enum websocket_kind kind, const char *data, size_t len)
{
    (void)ud;
    assert_false(told.closed);
    told.stop = true;
    if (kind == WEBSOCKET_PING) told.pings++;
    if (kind == WEBSOCKET_PONG) told.pongs++;
    if (kind > WEBSOCKET_BINARY) return;
    told.messages++;
    text_free(&told.last);
    text_add(&told.last, data, len);
}

static void on_closed(void *ud, int rc, int code, const struct err *e)
{
    (void)ud;
    assert_false(told.closed);
    told.closed = told.stop = true;
    told.rc = rc;
    told.code = code;
    told.err = *e;
    ws = NULL;
}

static struct websocket_options options(void)
{
    static char url[100];
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/link/?ticket=secret", server.port);
    return (struct websocket_options){.url = url,
                                      .max_message = 1 << 20,
                                      .open_timeout_ms = 20000,
                                      .close_timeout_ms = 100,
                                      .ping_ms = 20000,
                                      .pong_timeout_ms = 60000};
}

static void start(const struct websocket_options *o)
{
    static const struct websocket_events events = {on_open, on_frame, on_closed};
    struct err e = {0};
    if (websocket_open(&ws, loop, o, &events, NULL, &e) < 0) fail_msg("%s", e.text);
}

static void run(void) /* until something is told */
{
    told.stop = false;
    loop_run(loop, &told.stop);
}

static void run_until_closed(void)
{
    while (!told.closed) run();
}

static void open_websocket(void)
{
    struct websocket_options o = options();
    start(&o);
    run();
    assert_true(told.opened);
}

static int open_all(void **state)
{
    struct sockaddr_in a;
    int len = sizeof a;
    (void)state;
    memset(&server, 0, sizeof server);
    memset(&told, 0, sizeof told);
    server.answers_close = true;
    if (loop_open(&loop) < 0) return -1;
    uv_tcp_init(loop_uv(loop), &server.uv);
    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_bind(&server.uv, (struct sockaddr *)&a, 0);
    if (uv_listen((uv_stream_t *)&server.uv, 16, on_connection) < 0) return -1;
    uv_tcp_getsockname(&server.uv, (struct sockaddr *)&a, &len);
    server.port = ntohs(a.sin_port);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    if (ws != NULL) websocket_abandon(ws);
    ws = NULL;
    hang_up();
    uv_close((uv_handle_t *)&server.uv, NULL);
    loop_close(loop);
    text_free(&server.head);
    text_free(&server.frames);
    text_free(&told.last);
    return 0;
}

/* -- the usual -- */

TEST(it_shakes_hands_and_carries_messages_both_ways)
{
    struct text body = {0};
    server.says = "\x81\x02hi";
    server.n_says = 4;
    open_websocket();
    assert_non_null(strstr(server.head.data, "GET /link/?ticket=secret HTTP/1.1\r\n"));
    assert_non_null(strstr(server.head.data, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                             "Sec-WebSocket-Version: 13\r\n"));
    assert_null(strstr(server.head.data, "Extensions"));
    while (told.messages < 1) run();
    assert_string_equal(told.last.data, "hi");
    assert_int_equal(websocket_send(ws, "{\"a\":1}", 7), 0);
    say("\x89\x03you", 5);
    while (told.pings < 1) run();
    websocket_close(ws);
    run_until_closed();
    assert_int_equal(told.rc, 0);
    assert_int_equal(told.code, WEBSOCKET_NORMAL);
    assert_true(heard(0x81, &body));
    assert_string_equal(body.data, "{\"a\":1}");
    assert_true(heard(0x8a, &body));
    assert_string_equal(body.data, "you");
    assert_true(heard(0x88, &body));
    assert_memory_equal(body.data, "\x03\xe8", 2);
    text_free(&body);
}

TEST(messages_up_to_the_limit_pass_whole)
{
    enum { MIB = 1 << 20 };
    char *big = malloc(MIB + 10);
    memcpy(big, "\x81\x7f\0\0\0\0\0\x10\0\0", 10);
    memset(big + 10, 'x', MIB);
    server.answers_close = false; /* it would be looked for in every piece */
    open_websocket();
    say(big, MIB + 10);
    assert_int_equal(websocket_send(ws, big + 10, MIB), 0);
    while (told.messages < 1 || server.frames.len < MIB + 14) uv_run(loop_uv(loop), UV_RUN_ONCE);
    assert_int_equal(told.last.len, MIB);
    struct text body = {0};
    assert_true(heard(0x81, &body));
    assert_memory_equal(body.data, big + 10, MIB);
    big[7] = 0x11;
    say(big, 11);
    run_until_closed();
    assert_int_equal(told.rc, -EMSGSIZE);
    text_free(&body);
    free(big);
}

TEST(it_goes_through_the_proxy_of_the_environment)
{
    char proxy[60], connect[60];
    server.shake = PROXY;
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server.port);
    snprintf(connect, sizeof connect, "ws://slack.invalid:8080/");
    setenv("http_proxy", proxy, 1);
    unsetenv("no_proxy");
    struct websocket_options o = options();
    o.url = connect;
    start(&o);
    run();
    unsetenv("http_proxy");
    setenv("no_proxy", "*", 1);
    assert_true(told.opened);
    assert_non_null(strstr(server.head.data, "\r\nHost: slack.invalid:8080\r\n"));
}

/* -- it does not open -- */

static void assert_fails(enum shake shake, int rc, const char *words)
{
    close_all(NULL);
    open_all(NULL);
    server.shake = shake;
    struct websocket_options o = options();
    o.open_timeout_ms = 300;
    if (shake != SILENT) o.open_timeout_ms = 20000;
    start(&o);
    run_until_closed();
    assert_false(told.opened);
    assert_int_equal(told.rc, rc);
    if (strstr(told.err.text, words) == NULL) fail_msg("%s", told.err.text);
    assert_null(strstr(told.err.text, "secret"));
}

TEST(a_handshake_that_is_not_right_is_no_connection)
{
    assert_fails(WRONG_KEY, -EBADMSG, "Sec-WebSocket-Accept is wrong");
    assert_fails(NO_UPGRADE, -EBADMSG, "does not upgrade");
    assert_fails(EXTENSION, -EBADMSG, "not offered");
    assert_fails(STATUS, -EBADMSG, "answered 429 instead of 101");
    assert_fails(ENDLESS, -EBADMSG, "the head of the answer");
    assert_fails(HANG_UP, -ECONNRESET, "before it was open");
    assert_fails(SILENT, -ETIMEDOUT, "did not open in time");
}

TEST(nobody_at_home_is_told_apart_from_no_such_name)
{
    struct websocket_options o = options();
    o.url = "ws://127.0.0.1:1/";
    start(&o);
    run_until_closed();
    assert_int_equal(told.rc, -ECONNREFUSED);
    told.closed = false;
    o.url = "wss://no-such-name.invalid/";
    start(&o);
    run_until_closed();
    assert_int_equal(told.rc, -EHOSTUNREACH);
}

TEST(a_server_without_tls_is_none_for_wss)
{
    char url[60];
    struct websocket_options o = options();
    snprintf(url, sizeof url, "wss://127.0.0.1:%d/", server.port);
    o.url = url;
    o.open_timeout_ms = 500; /* the server waits for a request, too */
    start(&o);
    run_until_closed();
    assert_false(told.opened);
    assert_true(told.rc == -EPROTO || told.rc == -ETIMEDOUT);
}

TEST(what_cannot_begin_says_so_at_once)
{
    static const char *const urls[] = {"http://127.0.0.1/", "ws:/x", "", "ws://",
                                       "ws://me:secret@127.0.0.1/"};
    static const struct websocket_events events = {on_open, on_frame, on_closed};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct websocket_options o = options();
        struct err e = {0};
        o.url = urls[i];
        assert_int_equal(websocket_open(&ws, loop, &o, &events, NULL, &e), -EINVAL);
        assert_true(e.text[0] != '\0');
    }
    assert_null(ws);
}

/* -- it ends -- */

TEST(a_close_of_the_peer_is_answered)
{
    struct text body = {0};
    server.answers_close = false;
    server.says = "\x88\x02\x03\xe9";
    server.n_says = 4;
    open_websocket();
    run_until_closed();
    assert_int_equal(told.rc, 0);
    assert_int_equal(told.code, 1001);
    while (!heard(0x88, &body)) uv_run(loop_uv(loop), UV_RUN_ONCE);
    assert_memory_equal(body.data, "\x03\xe9", 2);
    text_free(&body);
}

TEST(a_close_that_is_not_answered_ends_in_time)
{
    server.answers_close = false;
    open_websocket();
    websocket_close(ws);
    assert_int_equal(websocket_send(ws, "x", 1), -ENOTCONN);
    run_until_closed();
    assert_int_equal(told.rc, 0);
    assert_int_equal(told.code, 0);
}

TEST(a_connection_that_is_cut_is_an_error)
{
    open_websocket();
    hang_up();
    run_until_closed();
    assert_int_equal(told.rc, -ECONNRESET);
    assert_non_null(strstr(told.err.text, "ended without a close"));
}

TEST(frames_that_are_wrong_end_it_and_the_peer_is_told)
{
    static const struct {
        const char *says;
        size_t n;
        int code;
    } cases[] = {{"\x81\x02\xc0\x80", 4, 1007}, {"\xf1\x00", 2, 1002}, {"\x80\x00", 2, 1002}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text body = {0};
        close_all(NULL);
        open_all(NULL);
        server.says = cases[i].says;
        server.n_says = cases[i].n;
        open_websocket();
        run_until_closed();
        assert_int_equal(told.rc, -EPROTO);
        assert_true(heard(0x88, &body));
        assert_int_equal((unsigned char)body.data[0] << 8 | (unsigned char)body.data[1],
                         cases[i].code);
        text_free(&body);
    }
}

TEST(a_peer_that_goes_silent_is_given_up)
{
    struct websocket_options o = options();
    o.ping_ms = 20;
    o.pong_timeout_ms = 100;
    start(&o);
    run_until_closed();
    assert_true(told.opened);
    assert_int_equal(told.rc, -ETIMEDOUT);
    assert_non_null(strstr(told.err.text, "no pong for 0.1 s"));
    struct text body = {0};
    assert_true(heard(0x89, &body));
    text_free(&body);
}

TEST(a_peer_that_stops_to_ping_is_given_up_and_one_that_never_did_is_not)
{
    struct websocket_options o = options();
    o.ping_ms = 20;
    o.peer_ping_timeout_ms = 60;
    start(&o);
    run();
    struct text body = {0};
    for (int pings = 0; pings < 6;) { /* longer than the time */
        uv_run(loop_uv(loop), UV_RUN_ONCE);
        if (!heard(0x89, &body)) continue;
        pings++;
        text_free(&server.frames);
    }
    assert_false(told.closed);
    say("\x89\x00", 2);
    run_until_closed();
    assert_int_equal(told.rc, -ETIMEDOUT);
    assert_non_null(strstr(told.err.text, "no ping for 0.06 s"));
    text_free(&body);
}

/* -- bounds -- */

TEST(what_a_peer_does_not_read_is_not_kept_without_bound)
{
    static char block[1 << 20];
    int rc = 0, n = 0;
    memset(block, 'x', sizeof block);
    server.reads_not = true;
    open_websocket();
    for (; rc == 0 && n < 100; n++) rc = websocket_send(ws, block, sizeof block);
    assert_int_equal(rc, -ENOBUFS);
    assert_in_range(n, 4, 50); /* ours, and what the system keeps */
    uv_read_start((uv_stream_t *)&server.connection, on_alloc, on_heard);
    server.answers_close = false; /* it would be looked for in every piece */
    while ((rc = websocket_send(ws, block, sizeof block)) == -ENOBUFS)
        uv_run(loop_uv(loop), UV_RUN_ONCE);
    assert_int_equal(rc, 0);
}

TEST(a_pause_leaves_bytes_where_they_are)
{
    open_websocket();
    websocket_pause(ws, true);
    say("\x81\x02hi", 4);
    say("\x81\x02ho", 4);
    for (int i = 0; i < 20; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    assert_int_equal(told.messages, 0);
    websocket_pause(ws, false);
    while (told.messages < 2) run();
    assert_string_equal(told.last.data, "ho");
}

TEST(a_pause_is_not_taken_for_the_peers_silence)
{
    struct websocket_options o = options();
    struct text body = {0};
    o.ping_ms = 20;
    o.pong_timeout_ms = 60;
    start(&o);
    run();
    websocket_pause(ws, true);
    for (int pings = 0; pings < 6;) { /* longer than the time */
        uv_run(loop_uv(loop), UV_RUN_ONCE);
        if (!heard(0x89, &body)) continue;
        pings++;
        text_free(&server.frames);
    }
    assert_false(told.closed);
    websocket_pause(ws, false);
    run_until_closed();
    assert_non_null(strstr(told.err.text, "no pong for 0.06 s"));
    text_free(&body);
}

TEST(it_may_be_abandoned_at_any_moment)
{
    for (int turns = 0; turns < 40; turns++) {
        int files = test_open_files();
        struct websocket_options o = options();
        server.connected = server.shaken = false;
        text_free(&server.head);
        start(&o);
        told.opened = false;
        for (int i = 0; i < turns && !told.opened; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        if (turns >= 35) {
            while (!told.opened) run();
            websocket_close(ws);
        }
        websocket_abandon(ws);
        ws = NULL;
        for (int i = 0; i < 20; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        hang_up();
        for (int i = 0; i < 20; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        assert_false(told.closed);
        if (turns > 0) assert_true(test_open_files() <= files + 1);
    }
}

TEST(it_may_be_closed_before_it_is_open)
{
    struct websocket_options o = options();
    start(&o);
    websocket_close(ws);
    run_until_closed();
    assert_int_equal(told.rc, 0);
    assert_false(told.opened);
}

int main(void)
{
#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(it_shakes_hands_and_carries_messages_both_ways),
        WITH_SERVER(messages_up_to_the_limit_pass_whole),
        WITH_SERVER(it_goes_through_the_proxy_of_the_environment),
        WITH_SERVER(a_handshake_that_is_not_right_is_no_connection),
        WITH_SERVER(nobody_at_home_is_told_apart_from_no_such_name),
        WITH_SERVER(a_server_without_tls_is_none_for_wss),
        WITH_SERVER(what_cannot_begin_says_so_at_once),
        WITH_SERVER(a_close_of_the_peer_is_answered),
        WITH_SERVER(a_close_that_is_not_answered_ends_in_time),
        WITH_SERVER(a_connection_that_is_cut_is_an_error),
        WITH_SERVER(frames_that_are_wrong_end_it_and_the_peer_is_told),
        WITH_SERVER(a_peer_that_goes_silent_is_given_up),
        WITH_SERVER(a_peer_that_stops_to_ping_is_given_up_and_one_that_never_did_is_not),
        WITH_SERVER(what_a_peer_does_not_read_is_not_kept_without_bound),
        WITH_SERVER(a_pause_leaves_bytes_where_they_are),
        WITH_SERVER(a_pause_is_not_taken_for_the_peers_silence),
        WITH_SERVER(it_may_be_abandoned_at_any_moment),
        WITH_SERVER(it_may_be_closed_before_it_is_open),
    };
    alarm(120);                 /* what hangs is ended */
    setenv("no_proxy", "*", 1); /* whatever the environment says */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
