#include "tests/c/test.h"
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/metrics.h"

enum { MAX_BODY = 1000, MAX_CONNECTIONS = 5, REQUEST_MS = 300, ANSWER_MS = 300 };

static struct loop *loop;
static struct http_server *server;

/* -- a handler that notes what it was asked, and answers or keeps the exchange -- */

static struct {
    int n;
    bool keeps;
    struct http_exchange *kept[64];
    size_t n_kept;
    char method[20], path[100], query[100], peer[60], header[100], body[MAX_BODY + 1];
    size_t body_len, answer_len;
} handler;

static char answer[8 << 20];

static void note_header(void *ud, const char *name, const char *value)
{
    if (strcmp(name, "X-Test") == 0) snprintf(ud, sizeof handler.header, "%s", value);
}

static void on_request(void *ud, struct http_exchange *x)
{
    static const char *const headers[] = {"Content-Type", "text/plain", "X-A", "b", NULL};
    assert_ptr_equal(ud, &handler);
    handler.n++;
    snprintf(handler.method, sizeof handler.method, "%s", http_method(x));
    snprintf(handler.path, sizeof handler.path, "%s", http_path(x));
    snprintf(handler.query, sizeof handler.query, "%s", http_query(x));
    snprintf(handler.peer, sizeof handler.peer, "%s", http_peer(x));
    http_each_header(x, note_header, handler.header);
    const char *body = http_body(x, &handler.body_len);
    memcpy(handler.body, body, handler.body_len);
    if (handler.keeps)
        handler.kept[handler.n_kept++] = x;
    else
        http_respond(x, 200, headers, answer, handler.answer_len);
}

static int open_all(void **state)
{
    struct http_server_options o = {.host = "127.0.0.1",
                                    .max_body = MAX_BODY,
                                    .max_connections = MAX_CONNECTIONS,
                                    .request_ms = REQUEST_MS,
                                    .answer_ms = ANSWER_MS};
    struct err e = {0};
    (void)state;
    memset(&handler, 0, sizeof handler);
    handler.answer_len = (size_t)snprintf(answer, sizeof answer, "hello");
    if (loop_open(&loop) < 0) return -1;
    return http_server_open(&server, loop, &o, on_request, &handler, &e);
}

static int close_all(void **state)
{
    (void)state;
    http_server_close(server);
    loop_close(loop);
    return 0;
}

#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

/* -- a client of bare bytes; while it waits, the loop runs -- */

static char got[4096]; /* the begin of what came */
static size_t n_got;

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)http_server_port(server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void turn(void)
{
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    poll(NULL, 0, 1);
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return; /* hung up on */
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        turn();
    }
}

static void say(int fd, const char *text) { send_all(fd, text, strlen(text)); }

/* Takes what is there; false once the server has hung up. */
static bool take(int fd)
{
    char chunk[65536];
    ssize_t n;
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        size_t room = sizeof got - 1 - n_got;
        memcpy(got + n_got, chunk, (size_t)n < room ? (size_t)n : room);
        n_got += (size_t)n < room ? (size_t)n : room;
        got[n_got] = '\0';
    }
    return n < 0 && errno == EAGAIN;
}

static void wait_for(int fd, const char *text)
{
    n_got = 0;
    got[0] = '\0';
    while (strstr(got, text) == NULL) {
        if (!take(fd) && strstr(got, text) == NULL) fail_msg("no %s in: %s", text, got);
        turn();
    }
}

/* Milliseconds until the server hangs up. */
static int64_t wait_for_end(int fd)
{
    int64_t began = clock_monotonic_ms();
    n_got = 0;
    got[0] = '\0';
    while (take(fd)) turn();
    close(fd);
    return clock_monotonic_ms() - began;
}

/* The status of the answer to one request; 0 where there is none. The connection ends with it. */
static int ask(const char *request, size_t len)
{
    int fd = dial(), status = 0;
    send_all(fd, request, len);
    shutdown(fd, SHUT_WR);
    wait_for_end(fd);
    sscanf(got, "HTTP/1.1 %d", &status);
    return status;
}

static int ask_text(const char *request) { return ask(request, strlen(request)); }

/* -- the usual -- */

TEST(a_request_reaches_the_handler_and_its_answer_the_client)
{
    assert_int_equal(ask_text("PUT /a%20b/%C3%A9?c=%41&d HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\n"
                              "Content-Length: 3\r\nConnection: close\r\n\r\na\nb"),
                     200);
    assert_string_equal(handler.method, "PUT");
    assert_string_equal(handler.path, "/a b/é");
    assert_string_equal(handler.query, "c=%41&d");
    assert_string_equal(handler.peer, "127.0.0.1");
    assert_string_equal(handler.header, "yes");
    assert_int_equal(handler.body_len, 3);
    assert_memory_equal(handler.body, "a\nb", 3);
    assert_non_null(strstr(got, "\r\nX-A: b\r\n"));
    assert_non_null(strstr(got, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(got, "\r\n\r\nhello"));
}

TEST(a_request_may_come_byte_by_byte_and_in_chunks)
{
    static const char request[] = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n";
    int fd = dial();
    for (size_t i = 0; i < sizeof request - 1; i++) send_all(fd, request + i, 1);
    wait_for(fd, "hello");
    assert_memory_equal(handler.body, "abcdefg", handler.body_len);
    assert_int_equal(handler.body_len, 7);
    close(fd);
}

TEST(a_connection_serves_one_request_after_the_other)
{
    int fd = dial();
    for (int i = 1; i <= 20; i++) {
        say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_for(fd, "hello");
        assert_int_equal(handler.n, i);
    }
    say(fd, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: "
            "close\r\n\r\n");
    wait_for_end(fd); /* both at once: both answered, in order */
    assert_int_equal(handler.n, 22);
    assert_string_equal(handler.path, "/2");
    const char *first = strstr(got, "hello");
    assert_non_null(first);
    assert_non_null(strstr(first + 5, "hello"));
}

TEST(head_is_answered_without_a_body)
{
    assert_int_equal(ask_text("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
    assert_non_null(strstr(got, "Content-Length: 5\r\n"));
    assert_null(strstr(got, "hello"));
}

TEST(answers_are_counted_by_method_and_status)
{
    struct metric *m = metric_family("perigee_http_server_requests_total", "", METRIC_COUNTER,
                                     "method,code", NULL, 0);
    double get = metric_value(m, (const char *[]){"GET", "200"}),
           other = metric_value(m, (const char *[]){"other", "200"});
    ask_text("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ask_text("BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); /* a label has bounds */
    assert_true(metric_value(m, (const char *[]){"GET", "200"}) == get + 1);
    assert_true(metric_value(m, (const char *[]){"other", "200"}) == other + 1);
}

/* -- too much, or nonsense -- */

TEST(a_body_may_be_as_large_as_the_limit_and_no_larger)
{
    static char request[3000];
    for (size_t extra = 0; extra <= 1; extra++) {
        size_t size = MAX_BODY + extra;
        int n = snprintf(request, sizeof request,
                         "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                         "Content-Length: %zu\r\n\r\n%0*d",
                         size, (int)size, 0);
        assert_int_equal(ask(request, (size_t)n), extra ? 413 : 200);
        n = snprintf(request, sizeof request,
                     "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%0*d\r\n0\r\n\r\n",
                     size, (int)size, 0);
        assert_int_equal(ask(request, (size_t)n), extra ? 413 : 200);
    }
    assert_int_equal(handler.n, 2);
}

TEST(a_body_that_is_announced_too_large_is_not_waited_for)
{
    int fd = dial();
    say(fd,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    wait_for(fd, "413");
    assert_null(strstr(got, "100 Continue"));
    close(fd);
    fd = dial();
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    wait_for(fd, "100 Continue");
    say(fd, "ab");
    wait_for(fd, "hello");
    close(fd);
}

TEST(headers_without_end_are_refused)
{
    static char request[200000];
    size_t n = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: x\r\n");
    while (n < sizeof request - 200)
        n += (size_t)snprintf(request + n, 200, "X-%zu: %080d\r\n", n, 0);
    int status = ask(request, n);
    assert_true(status == 0 || (status >= 400 && status < 500));
    memset(request + 5, 'a', 100000); /* nor may the path be endless */
    status = ask(request, n);
    assert_true(status == 0 || (status >= 400 && status < 500));
    assert_int_equal(handler.n, 0);
}

TEST(nonsense_never_reaches_the_handler)
{
    static const char *const requests[] = {
        "\r\n\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\nabcde",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
        "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        int status = ask_text(requests[i]);
        if (handler.n > 0 || (status != 0 && (status < 400 || status > 599)))
            fail_msg("%d for %s", status, requests[i]);
    }
}

TEST(random_bytes_do_no_harm)
{
    static const char valid[] =
        "POST /a?b HTTP/1.1\r\nHost: x\r\nX-Test: y\r\nContent-Length: 4\r\n"
        "Connection: close\r\n\r\nabcd";
    uint64_t seed = 1;
    for (int round = 0; round < 100; round++) {
        char request[sizeof valid];
        memcpy(request, valid, sizeof valid);
        for (int flips = round % 4; flips >= 0; flips--)
            request[xorshift(&seed) % (sizeof valid - 1)] = (char)xorshift(&seed);
        ask(request, sizeof valid - 1);
    }
    assert_int_equal(ask(valid, sizeof valid - 1), 200);
}

/* -- slow, greedy and gone -- */

TEST(a_client_that_does_not_finish_its_request_is_cut_off)
{
    static const char *const begins[] = {
        "", "GET / HTTP/1.1\r\nHost", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        int fd = dial();
        say(fd, begins[i]);
        int64_t ms = wait_for_end(fd);
        assert_true(ms >= REQUEST_MS - 50);
        assert_int_equal(n_got, 0);
    }
    assert_int_equal(handler.n, 0);
}

TEST(a_byte_now_and_then_buys_no_time)
{
    int fd = dial();
    int64_t began = clock_monotonic_ms();
    say(fd, "GET / HTTP/1.1\r\nX: ");
    do {
        say(fd, "y");
        for (int i = 0; i < 20; i++) turn();
    } while (take(fd) && clock_monotonic_ms() - began < 20000);
    assert_true(clock_monotonic_ms() - began < 20000);
    close(fd);
}

TEST(an_idle_connection_is_ended)
{
    int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(fd, "hello");
    assert_true(wait_for_end(fd) >= REQUEST_MS - 50);
}

TEST(the_time_of_the_handler_is_not_the_clients)
{
    handler.keeps = true;
    int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (handler.n_kept == 0) turn();
    int64_t began = clock_monotonic_ms();
    while (clock_monotonic_ms() - began < REQUEST_MS + ANSWER_MS + 600) turn(); /* over a sweep */
    http_respond(handler.kept[0], 204, NULL, "", 0);
    wait_for(fd, "HTTP/1.1 204");
    close(fd);
}

TEST(a_client_that_does_not_take_its_answer_is_cut_off)
{
    handler.answer_len = sizeof answer;
    int fd = dial(), files = test_open_files();
    int64_t began = clock_monotonic_ms();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (handler.n == 0) turn();
    while (test_open_files() > files) turn(); /* the server's end of it is one */
    assert_true(clock_monotonic_ms() - began >= ANSWER_MS - 50);
    close(fd);
}

TEST(there_are_only_so_many_connections)
{
    int fd[MAX_CONNECTIONS];
    for (int i = 0; i < MAX_CONNECTIONS; i++) {
        fd[i] = dial();
        say(fd[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_for(fd[i], "hello");
    }
    int more = dial();
    say(more, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 50; i++) turn();
    take(more);
    assert_int_equal(handler.n, MAX_CONNECTIONS);
    for (int i = 0; i < MAX_CONNECTIONS; i++) close(fd[i]);
    close(more);
    int status = 0; /* with room again the next is served */
    for (int i = 0; i < 100 && status == 0; i++)
        status = ask_text("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(status, 200);
}

TEST(a_client_that_is_gone_is_answered_in_vain)
{
    handler.keeps = true;
    for (int i = 0; i < 3; i++) {
        int fd = dial();
        struct linger reset = {1, 0};
        say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        while (handler.n_kept == (size_t)i) turn();
        if (i == 1) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        for (int k = 0; k < 5; k++) turn();
        http_respond(handler.kept[i], 200, NULL, answer, i == 2 ? sizeof answer : 5);
        for (int k = 0; k < 5; k++) turn();
    }
    handler.keeps = false;
    assert_int_equal(ask_text("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
}

/* -- opening and closing -- */

TEST(a_place_to_listen_that_is_none_is_refused_with_words)
{
    static const char *const hosts[] = {"", "web.example", "300.0.0.1", "[::1]"};
    struct http_server_options o = {.port = http_server_port(server), .max_connections = 1};
    struct http_server *other;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct err e = {0};
        o.host = hosts[i];
        if (http_server_open(&other, loop, &o, on_request, NULL, &e) != -EINVAL ||
            e.text[0] == '\0')
            fail_msg("%s is taken: %s", hosts[i], e.text);
    }
    struct err e = {0};
    o.host = "127.0.0.1";
    assert_int_equal(http_server_open(&other, loop, &o, on_request, NULL, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "cannot listen on 127.0.0.1"));
}

TEST(localhost_and_ipv6_are_places_to_listen)
{
    static const char *const hosts[] = {"localhost", "::1", "0.0.0.0"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct http_server_options o = {.host = hosts[i], .max_connections = 1};
        struct http_server *other;
        struct err e = {0};
        if (http_server_open(&other, loop, &o, on_request, NULL, &e) < 0) fail_msg("%s", e.text);
        assert_true(http_server_port(other) > 0);
        http_server_close(other);
    }
}

TEST(a_paused_server_finishes_what_it_has_and_takes_no_more)
{
    int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(fd, "hello");
    http_server_pause(server);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(fd, "hello");
    close(fd);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)http_server_port(server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

TEST(a_server_may_be_closed_in_the_middle_of_everything)
{
    handler.keeps = true;
    int idle = dial(), half = dial(), waiting = dial(), pipelined = dial();
    say(half, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    say(waiting, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    say(pipelined, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (handler.n_kept < 2) turn();
    http_server_close(server);
    server = NULL;
    http_respond(handler.kept[0], 200, NULL, "late", 4); /* before the loop has gone on */
    for (int i = 0; i < 5; i++) turn();
    http_respond(handler.kept[1], 200, NULL, "later", 5);
    assert_true(handler.n_kept == 2);
    wait_for_end(idle);
    wait_for_end(half);
    wait_for_end(waiting);
    wait_for_end(pipelined);
}

/* -- answers in pieces, and none -- */

/* A client whose request the handler has kept. */
static int ask_and_keep(void)
{
    size_t before = handler.n_kept;
    handler.keeps = true;
    int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (handler.n_kept == before) turn();
    return fd;
}

TEST(an_answer_may_come_in_pieces)
{
    int fd = ask_and_keep();
    http_begin(handler.kept[0], 201, (const char *[]){"X-A", "b", NULL});
    wait_for(fd, "X-A: b\r\n");
    for (int i = 0; i < 100; i++) turn(); /* longer than microhttpd goes round for nothing */
    assert_true(http_send(handler.kept[0], "one\n", 4));
    wait_for(fd, "one\n");
    for (int i = 0; i < 400; i++) turn(); /* longer than an answer may be left lying */
    assert_true(http_send(handler.kept[0], "two\n", 4));
    assert_true(http_send(handler.kept[0], "three\n", 6));
    wait_for(fd, "three\n");
    http_end(handler.kept[0]);
    wait_for(fd, "0\r\n\r\n");
    handler.keeps = false;
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    wait_for_end(fd);
    assert_non_null(strstr(got, "hello"));
}

TEST(pieces_for_a_client_that_is_gone_are_refused)
{
    int fd = ask_and_keep();
    http_begin(handler.kept[0], 200, NULL);
    wait_for(fd, "200 OK");
    close(fd);
    while (http_send(handler.kept[0], answer, 65536)) turn();
    http_end(handler.kept[0]);
}

TEST(pieces_that_nobody_takes_are_refused_in_the_end)
{
    int fd = ask_and_keep();
    http_begin(handler.kept[0], 200, NULL);
    int sent = 0;
    while (http_send(handler.kept[0], answer, sizeof answer)) sent++;
    assert_in_range(sent, 1, 10);
    http_end(handler.kept[0]);
    /* What is missing is not hidden: the last chunk does not come. */
    char chunk[65536], last[6] = "";
    size_t came = 0;
    for (bool there = true; there;) {
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        there = n > 0 || (n < 0 && errno == EAGAIN);
        came += n > 0 ? (size_t)n : 0;
        if (n >= 5) memcpy(last, chunk + n - 5, 5);
        if (n < 0) turn();
    }
    assert_true(came > sizeof answer);
    assert_string_not_equal(last, "0\r\n\r\n");
    close(fd);
}

TEST(pieces_that_are_taken_may_be_many)
{
    enum { MIB = 1 << 20 };
    static char block[MIB], chunk[65536];
    int fd = ask_and_keep();
    http_begin(handler.kept[0], 200, NULL);
    /* There is always something that waits, and there are many times what may wait. */
    for (ssize_t sent = 0, came = 0; sent < 64 * MIB; sent += MIB) {
        assert_true(http_send(handler.kept[0], block, MIB));
        while (sent - came > 7 * MIB) {
            ssize_t n = recv(fd, chunk, sizeof chunk, 0);
            if (n > 0) came += n;
            if (n < 0) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
        }
    }
    http_end(handler.kept[0]);
    close(fd);
}

TEST(an_answer_in_pieces_may_see_its_server_closed)
{
    int starved = ask_and_keep(), full = ask_and_keep();
    http_begin(handler.kept[0], 200, NULL);
    http_begin(handler.kept[1], 200, NULL);
    http_send(handler.kept[1], answer, sizeof answer);
    for (int i = 0; i < 5; i++) turn();
    http_server_close(server);
    server = NULL;
    assert_false(http_send(handler.kept[0], "x", 1));
    http_end(handler.kept[0]);
    http_end(handler.kept[1]);
    wait_for_end(starved);
    wait_for_end(full);
}

TEST(a_connection_may_be_ended_without_an_answer)
{
    int fd = ask_and_keep();
    http_drop(handler.kept[0]);
    wait_for_end(fd);
    assert_string_equal(got, "");
    int gone = ask_and_keep();
    http_server_close(server);
    server = NULL;
    http_drop(handler.kept[1]);
    wait_for_end(gone);
}

TEST(an_answer_in_pieces_may_be_cut_off_and_is_seen_to_be)
{
    int fd = ask_and_keep();
    http_begin(handler.kept[0], 200, NULL);
    http_send(handler.kept[0], "one\n", 4);
    http_drop(handler.kept[0]);
    wait_for_end(fd);
    assert_non_null(strstr(got, "one\n"));
    assert_null(strstr(got, "\r\n0\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_request_reaches_the_handler_and_its_answer_the_client),
        WITH_SERVER(a_request_may_come_byte_by_byte_and_in_chunks),
        WITH_SERVER(a_connection_serves_one_request_after_the_other),
        WITH_SERVER(head_is_answered_without_a_body),
        WITH_SERVER(answers_are_counted_by_method_and_status),
        WITH_SERVER(a_body_may_be_as_large_as_the_limit_and_no_larger),
        WITH_SERVER(a_body_that_is_announced_too_large_is_not_waited_for),
        WITH_SERVER(headers_without_end_are_refused),
        WITH_SERVER(nonsense_never_reaches_the_handler),
        WITH_SERVER(random_bytes_do_no_harm),
        WITH_SERVER(a_client_that_does_not_finish_its_request_is_cut_off),
        WITH_SERVER(a_byte_now_and_then_buys_no_time),
        WITH_SERVER(an_idle_connection_is_ended),
        WITH_SERVER(the_time_of_the_handler_is_not_the_clients),
        WITH_SERVER(a_client_that_does_not_take_its_answer_is_cut_off),
        WITH_SERVER(there_are_only_so_many_connections),
        WITH_SERVER(a_client_that_is_gone_is_answered_in_vain),
        WITH_SERVER(a_place_to_listen_that_is_none_is_refused_with_words),
        WITH_SERVER(localhost_and_ipv6_are_places_to_listen),
        WITH_SERVER(a_paused_server_finishes_what_it_has_and_takes_no_more),
        WITH_SERVER(a_server_may_be_closed_in_the_middle_of_everything),
        WITH_SERVER(an_answer_may_come_in_pieces),
        WITH_SERVER(pieces_for_a_client_that_is_gone_are_refused),
        WITH_SERVER(pieces_that_nobody_takes_are_refused_in_the_end),
        WITH_SERVER(pieces_that_are_taken_may_be_many),
        WITH_SERVER(an_answer_in_pieces_may_see_its_server_closed),
        WITH_SERVER(an_answer_in_pieces_may_be_cut_off_and_is_seen_to_be),
        WITH_SERVER(a_connection_may_be_ended_without_an_answer),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
