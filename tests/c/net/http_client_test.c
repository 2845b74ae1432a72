#include "tests/c/test.h"
#include "net/http_client.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/metrics.h"

static struct loop *loop;
static struct http_client *client;

/* -- a peer that says what it is told to, whatever it is asked -- */

struct peer {
    uv_tcp_t uv;
    struct list connections;
    const char *says; /* NULL: nothing */
    size_t len;
    bool hangs_up; /* when it has said it */
    int port, n_connections;
    char heard[70000]; /* of the last connection */
    size_t n_heard;
};

struct connection {
    uv_tcp_t uv;
    struct list link;
    struct peer *peer;
    uv_write_t write;
    char chunk[65536];
};

static void on_closed(uv_handle_t *h) { free(h->data); }

static void hang_up(struct connection *c)
{
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->uv, on_closed);
}

static void on_written(uv_write_t *req, int status)
{
    (void)status;
    struct connection *c = req->handle->data;
    if (c->peer->hangs_up && !uv_is_closing((uv_handle_t *)&c->uv)) hang_up(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct connection *c = h->data;
    (void)suggested;
    *buf = uv_buf_init(c->chunk, sizeof c->chunk);
}

/* A request is whole once a blank line is there: the peer does not look at bodies. */
static void on_heard(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    struct peer *p = c->peer;
    if (n < 0) {
        hang_up(c);
        return;
    }
    size_t room = sizeof p->heard - 1 - p->n_heard;
    memcpy(p->heard + p->n_heard, buf->base, (size_t)n < room ? (size_t)n : room);
    p->n_heard += (size_t)n < room ? (size_t)n : room;
    p->heard[p->n_heard] = '\0';
    if (strstr(p->heard, "\r\n\r\n") == NULL || p->says == NULL) return;
    uv_buf_t answer = uv_buf_init((char *)(uintptr_t)p->says, (unsigned)p->len);
    uv_write(&c->write, stream, &answer, 1, on_written);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct peer *p = server->data;
    assert_int_equal(status, 0);
    struct connection *c = calloc(1, sizeof *c);
    c->peer = p;
    uv_tcp_init(loop_uv(loop), &c->uv);
    c->uv.data = c;
    assert_int_equal(uv_accept(server, (uv_stream_t *)&c->uv), 0);
    list_append(&p->connections, &c->link);
    p->n_connections++;
    p->n_heard = 0;
    uv_read_start((uv_stream_t *)&c->uv, on_alloc, on_heard);
}

static struct peer peer;

static void says(const char *answer, size_t len, bool hangs_up)
{
    peer.says = answer;
    peer.len = len;
    peer.hangs_up = hangs_up;
}

static void peer_open(void)
{
    struct sockaddr_in a;
    int len = sizeof a;
    memset(&peer, 0, sizeof peer);
    list_init(&peer.connections);
    uv_tcp_init(loop_uv(loop), &peer.uv);
    peer.uv.data = &peer;
    uv_ip4_addr("127.0.0.1", 0, &a);
    assert_int_equal(uv_tcp_bind(&peer.uv, (struct sockaddr *)&a, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&peer.uv, 512, on_connection), 0);
    uv_tcp_getsockname(&peer.uv, (struct sockaddr *)&a, &len);
    peer.port = ntohs(a.sin_port);
}

static int open_all(void **state)
{
    (void)state;
    if (loop_open(&loop) < 0 || http_client_open(&client, loop) < 0) return -1;
    peer_open();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    http_client_close(client);
    while (!list_empty(&peer.connections))
        hang_up(LIST_ITEM(peer.connections.next, struct connection, link));
    uv_close((uv_handle_t *)&peer.uv, NULL);
    loop_close(loop);
    return 0;
}

#define WITH_PEER(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

/* -- a request and what came of it -- */

struct answer {
    bool there, stop;
    int rc, status;
    struct err err;
    char body[100], headers[400];
    size_t body_len;
    double seconds;
};

static void on_done(void *ud, int rc, const struct err *e, struct http_response *r)
{
    struct answer *a = ud;
    assert_false(a->there); /* once */
    a->there = a->stop = true;
    a->rc = rc;
    a->status = r->status;
    a->err = *e;
    a->seconds = r->seconds;
    a->body_len = r->body.len;
    snprintf(a->body, sizeof a->body, "%s", r->body.data != NULL ? r->body.data : "");
    snprintf(a->headers, sizeof a->headers, "%s", r->headers.data != NULL ? r->headers.data : "");
}

static struct http_request to_peer(const char *path)
{
    static char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", peer.port, path);
    return (struct http_request){.method = "GET",
                                 .url = url,
                                 .timeout_ms = 20000,
                                 .connect_timeout_ms = 5000,
                                 .max_body = 1000,
                                 .target = "peer"};
}

static struct answer ask(const struct http_request *r)
{
    struct answer a = {0};
    struct http_call *call;
    struct err e = {0};
    if (http_start(client, r, on_done, &a, &call, &e) < 0) fail_msg("%s", e.text);
    assert_false(a.there); /* never from inside */
    loop_run(loop, &a.stop);
    assert_true(a.there);
    return a;
}

static struct answer ask_for(const char *path)
{
    struct http_request r = to_peer(path);
    return ask(&r);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi"

/* -- the usual -- */

TEST(an_answer_has_its_status_headers_and_body)
{
    says("HTTP/1.1 404 No\r\nContent-Length: 3\r\nX-A:  b \r\n\r\na\0c", 51, false);
    struct answer a = ask_for("/");
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.status, 404);
    assert_int_equal(a.body_len, 3);
    assert_string_equal(a.headers, "Content-Length: 3\r\nX-A:  b \r\n\r\n");
    assert_true(a.seconds > 0 && a.seconds < 20);
}

TEST(what_is_asked_arrives_as_it_was_meant)
{
    static const char *const headers[] = {"X-One: 1", "X-Empty;", NULL};
    struct http_request r = to_peer("/a%20b?c=d");
    says(OK, strlen(OK), true);
    r.method = "PATCH";
    r.headers = headers;
    r.body = "a body";
    r.body_len = 6;
    assert_int_equal(ask(&r).rc, 0);
    assert_memory_equal(peer.heard, "PATCH /a%20b?c=d HTTP/1.1\r\n", 27);
    static const char *const parts[] = {
        "\r\nX-One: 1\r\n", "\r\nX-Empty:\r\n", "\r\nContent-Length: 6\r\n",
        "\r\nUser-Agent: perigee/" PERIGEE_VERSION "\r\n", "\r\n\r\na body"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(peer.heard, parts[i]) == NULL) fail_msg("no %s in %s", parts[i], peer.heard);
    assert_null(strstr(peer.heard, "Expect"));
}

TEST(a_connection_is_used_again)
{
    says(OK, strlen(OK), false);
    for (int i = 0; i < 20; i++) {
        peer.n_heard = 0;
        assert_int_equal(ask_for("/").rc, 0);
    }
    assert_int_equal(peer.n_connections, 1);
}

TEST(head_wants_no_body)
{
    struct http_request r = to_peer("/");
    r.method = "HEAD";
    says("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 43, false);
    struct answer a = ask(&r);
    assert_true(a.rc == 0 && a.status == 200 && a.body_len == 0);
}

TEST(requests_are_counted_by_target_and_status)
{
    struct metric *m = metric_family("perigee_http_client_requests_total", "", METRIC_COUNTER,
                                     "target,code", NULL, 0);
    double before = metric_value(m, (const char *[]){"peer", "200"}),
           failed = metric_value(m, (const char *[]){"peer", "error"});
    says(OK, strlen(OK), true);
    ask_for("/");
    says("", 0, true);
    ask_for("/");
    assert_true(metric_value(m, (const char *[]){"peer", "200"}) == before + 1);
    assert_true(metric_value(m, (const char *[]){"peer", "error"}) == failed + 1);
}

/* -- limits -- */

static char large[400000]; /* an answer larger than any limit */

TEST(a_body_beyond_the_limit_is_refused_however_it_comes)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n",
        "HTTP/1.1 200 OK\r\n\r\n"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = (size_t)snprintf(large, sizeof large, "%s", heads[i]);
        memset(large + n, 'x', 300000);
        says(large, n + 300000, true);
        peer.n_heard = 0;
        struct answer a = ask_for("/p?secret=1");
        assert_int_equal(a.rc, -EMSGSIZE);
        assert_non_null(strstr(a.err.text, "larger than the limit of 1000 bytes"));
        assert_null(strstr(a.err.text, "secret"));
    }
    struct http_request r = to_peer("/");
    r.max_body = 300000; /* just enough */
    peer.n_heard = 0;
    assert_int_equal(ask(&r).body_len, 300000);
}

/* gzip of 100,000 times "x". */
static const unsigned char bomb[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0x31, 0x01, 0x00,
    0x00, 0x00, 0xc2, 0xa0, 0xda, 0x8b, 0x6f, 0x0d, 0x0f, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x80, 0x57, 0x03, 0x71, 0x11, 0x07, 0xfe, 0xa0, 0x86, 0x01, 0x00};

TEST(the_limit_is_that_of_the_unpacked_body)
{
    int n = snprintf(large, sizeof large,
                     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                     sizeof bomb);
    memcpy(large + n, bomb, sizeof bomb);
    says(large, (size_t)n + sizeof bomb, true);
    struct http_request r = to_peer("/");
    assert_int_equal(ask(&r).rc, -EMSGSIZE);
    r.max_body = 100000;
    assert_int_equal(ask(&r).body_len, 100000);
}

TEST(headers_without_end_are_refused)
{
    size_t n = (size_t)snprintf(large, sizeof large, "HTTP/1.1 200 OK\r\n");
    while (n < 350000) n += (size_t)snprintf(large + n, 100, "X-%zu: %060d\r\n", n, 0);
    says(large, n, false);
    struct answer a = ask_for("/");
    assert_true(a.rc < 0 && a.err.code == a.rc && a.err.text[0] != '\0');
}

TEST(a_peer_that_says_nothing_is_given_up_in_time)
{
    struct http_request r = to_peer("/");
    r.timeout_ms = 150;
    struct answer a = ask(&r);
    assert_int_equal(a.rc, -ETIMEDOUT);
    assert_true(a.seconds >= 0.1 && a.seconds < 10);
    assert_non_null(strstr(a.err.text, "127.0.0.1"));
}

TEST(a_peer_that_stops_halfway_is_given_up_in_time)
{
    struct http_request r = to_peer("/");
    says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 41, false);
    r.timeout_ms = 150;
    assert_int_equal(ask(&r).rc, -ETIMEDOUT);
}

TEST(an_answer_that_is_none_is_an_error)
{
    static const struct {
        const char *says;
        int rc;
    } cases[] = {
        {"", -ECONNRESET},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", -ECONNRESET},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", -ECONNRESET},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", 0},
        {"nonsense\r\n\r\n", 0},
        {"HTTP/1.1 2x0 OK\r\n\r\n", 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab", 0},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        says(cases[i].says, strlen(cases[i].says), true);
        struct answer a = ask_for("/");
        if (a.rc >= 0 || a.err.text[0] == '\0' || (cases[i].rc != 0 && a.rc != cases[i].rc))
            fail_msg("%s: %d %s", cases[i].says, a.rc, a.err.text);
    }
}

TEST(nobody_at_home_is_told_apart_from_no_such_name)
{
    struct http_request r = to_peer("/");
    r.url = "http://127.0.0.1:1/";
    assert_int_equal(ask(&r).rc, -ECONNREFUSED);
    r.url = "http://one-label-of-a-name-that-is-longer-than-the-63-bytes-that-it-may-have.invalid/";
    assert_int_equal(ask(&r).rc, -EHOSTUNREACH);
    r.url = "https://127.0.0.1:1/";
    assert_int_equal(ask(&r).rc, -ECONNREFUSED);
}

TEST(what_cannot_begin_says_so_at_once)
{
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    r.url = "ftp://web/";
    assert_int_equal(http_start(client, &r, on_done, NULL, &call, &e), -EINVAL);
    assert_true(e.code == -EINVAL && e.text[0] != '\0');
}

/* -- redirects and guards -- */

static const char *redirect_to(const char *url)
{
    static char answer[300];
    snprintf(answer, sizeof answer,
             "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", url);
    return answer;
}

TEST(redirects_are_followed_as_far_as_allowed)
{
    struct http_request r = to_peer("/");
    const char *answer = redirect_to("/again");
    says(answer, strlen(answer), false);
    assert_int_equal(ask(&r).status, 302);
    r.max_redirects = 3;
    peer.n_heard = 0;
    assert_int_equal(ask(&r).rc, -ELOOP);
    answer = redirect_to("file:///etc/hostname");
    says(answer, strlen(answer), true);
    struct answer a = ask(&r);
    assert_true(a.rc < 0);
    assert_null(strstr(a.body, "/"));
}

static bool refuse(void *ud, const char *address, int port)
{
    snprintf(ud, 80, "%s %d", address, port);
    return false;
}

TEST(a_guarded_request_goes_only_where_it_may)
{
    static const char *const refused[] = {
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
    };
    struct http_request r = to_peer("/");
    r.guarded = true;
    r.max_redirects = 1;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *to_self = r.url, *answer = redirect_to(refused[i]);
        says(answer, strlen(answer), true);
        struct answer a = ask(&r); /* nor by way of a redirect */
        if (a.rc != -EACCES) fail_msg("redirect to %s: %d", refused[i], a.rc);
        r.url = refused[i];
        a = ask(&r);
        if (a.rc != -EACCES || strstr(a.err.text, "refused") == NULL)
            fail_msg("%s: %d %s", refused[i], a.rc, a.err.text);
        r.url = to_self;
    }
}

TEST(a_guard_is_asked_with_the_address_and_port)
{
    struct http_request r = to_peer("/");
    char asked[80] = "", expected[80];
    r.guarded = true;
    r.may_connect = refuse;
    r.may_connect_ud = asked;
    says(OK, strlen(OK), false);
    assert_int_equal(ask(&r).rc, -EACCES);
    snprintf(expected, sizeof expected, "127.0.0.1 %d", peer.port);
    assert_string_equal(asked, expected);
    assert_int_equal(peer.n_connections, 0);
    r.guarded = false; /* then it is of no concern */
    assert_int_equal(ask(&r).rc, 0);
    r.guarded = true;
    assert_int_equal(ask(&r).rc, -EACCES); /* also where a connection is still open */
}

/* -- many, cancelled, closed -- */

static void count_down(void *ud, int rc, const struct err *e, struct http_response *r)
{
    int *left = ud;
    (void)r;
    if (rc < 0) fail_msg("%s", e->text);
    --*left;
}

TEST(many_requests_are_under_way_at_once)
{
    enum { N = 200 };
    int left = N;
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    says(OK, strlen(OK), true);
    for (int i = 0; i < N; i++)
        assert_int_equal(http_start(client, &r, count_down, &left, &call, &e), 0);
    while (left > 0) uv_run(loop_uv(loop), UV_RUN_ONCE);
}

static void never(void *ud, int rc, const struct err *e, struct http_response *r)
{
    (void)ud, (void)rc, (void)e, (void)r;
    fail_msg("called");
}

TEST(a_cancelled_request_calls_nobody_and_hangs_up)
{
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    assert_int_equal(http_start(client, &r, never, NULL, &call, &e), 0);
    http_cancel(call); /* before it began */
    assert_int_equal(http_start(client, &r, never, NULL, &call, &e), 0);
    while (peer.n_heard == 0) uv_run(loop_uv(loop), UV_RUN_ONCE);
    assert_false(list_empty(&peer.connections));
    http_cancel(call); /* in flight */
    while (!list_empty(&peer.connections)) uv_run(loop_uv(loop), UV_RUN_ONCE);
    says(OK, strlen(OK), true);
    assert_int_equal(ask_for("/").rc, 0);
}

TEST(the_client_may_be_closed_with_requests_under_way)
{
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    for (int i = 0; i < 10; i++)
        assert_int_equal(http_start(client, &r, never, NULL, &call, &e), 0);
    while (peer.n_connections < 5) uv_run(loop_uv(loop), UV_RUN_ONCE);
    http_client_close(client); /* the rest is close_all()'s */
    client = NULL;
}

/* -- names -- */

/* "slow.test" is resolved no sooner than asked for, on curl's own thread; other names as ever. */
static int resolver[2]; /* a pipe: what is written lets one go */
static atomic_int resolving, resolved;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    char byte;
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name == NULL || strcmp(name, "slow.test") != 0) return real(name, service, hints, found);
    resolving++;
    while (read(resolver[0], &byte, 1) < 1) continue;
    resolved++;
    return EAI_FAIL;
}

TEST(a_name_that_nobody_resolves_is_given_up_in_time)
{
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    assert_int_equal(pipe(resolver), 0);
    r.url = "http://slow.test/";
    r.timeout_ms = 100;
    assert_int_equal(ask(&r).rc, -ETIMEDOUT);
    r.timeout_ms = 20000;
    assert_int_equal(http_start(client, &r, never, NULL, &call, &e), 0);
    while (resolving < 2) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    http_cancel(call);
    assert_int_equal(http_start(client, &r, never, NULL, &call, &e), 0);
    while (resolving < 3) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    http_client_close(client);
    client = NULL;
    assert_int_equal(resolved, 0); /* nobody waited for it */
    assert_int_equal(write(resolver[1], "abc", 3), 3);
    while (resolved < 3) usleep(1000);
    close(resolver[0]);
    close(resolver[1]);
}

/* -- from inside -- */

static void close_client(void *ud, int rc, const struct err *e, struct http_response *r)
{
    (void)rc, (void)e, (void)r;
    *(bool *)ud = true;
    http_client_close(client);
    client = NULL;
}

TEST(the_client_may_be_closed_by_what_it_calls)
{
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    bool stop = false;
    says(OK, strlen(OK), true);
    assert_int_equal(http_start(client, &r, close_client, &stop, &call, &e), 0);
    loop_run(loop, &stop);
    assert_true(stop);
}

struct chain {
    int left;
    bool stop;
};

static void ask_again(void *ud, int rc, const struct err *e, struct http_response *r)
{
    struct chain *chain = ud;
    struct http_request next = to_peer("/");
    struct http_call *call;
    struct err ignored;
    (void)r;
    if (rc < 0) fail_msg("%s", e->text);
    chain->stop = --chain->left == 0;
    if (!chain->stop)
        assert_int_equal(http_start(client, &next, ask_again, chain, &call, &ignored), 0);
}

TEST(a_request_may_be_started_by_what_another_calls)
{
    struct chain chain = {.left = 10};
    struct http_request r = to_peer("/");
    struct http_call *call;
    struct err e = {0};
    says(OK, strlen(OK), true);
    assert_int_equal(http_start(client, &r, ask_again, &chain, &call, &e), 0);
    loop_run(loop, &chain.stop);
    assert_int_equal(chain.left, 0);
}

/* -- a streamed answer -- */

struct reading {
    struct answer answer;
    struct http_call *call;
    size_t n, pieces, not_now; /* not_now: pieces that are not taken at once */
    int refuse_with;           /* after the first piece; 0: nothing is refused */
    bool cancel, cancelled;    /* once a piece is there */
    char first[16];
};

static int on_piece(void *ud, const char *bytes, size_t len)
{
    struct reading *r = ud;
    if (r->pieces > 0 && r->refuse_with < 0) return r->refuse_with;
    if (r->not_now > 0) {
        r->not_now--;
        r->answer.stop = true;
        return -EAGAIN;
    }
    if (r->n == 0) snprintf(r->first, sizeof r->first, "%.*s", len > 8 ? 8 : (int)len, bytes);
    r->n += len;
    r->pieces++;
    if (r->cancel) r->answer.stop = true;
    return 0;
}

static struct http_request stream_of(struct reading *r)
{
    struct http_request request = to_peer("/");
    request.timeout_ms = 0;
    request.max_body = 10;
    request.on_piece = on_piece;
    request.on_piece_ud = r;
    return request;
}

static void read_stream(struct reading *r)
{
    struct http_request request = stream_of(r);
    struct err e = {0};
    assert_int_equal(http_start(client, &request, on_done, &r->answer, &r->call, &e), 0);
    while (!r->answer.there && !r->cancelled) {
        loop_run(loop, &r->answer.stop);
        if (r->answer.there) break;
        r->answer.stop = false; /* resuming may stop it again at once */
        r->cancelled = r->cancel;
        if (r->cancel)
            http_cancel(r->call);
        else
            http_resume(r->call);
    }
}

/* An answer of 300,000 bytes, with the head that is given. */
static void says_much(const char *head)
{
    size_t n = (size_t)snprintf(large, sizeof large, "%s", head);
    memset(large + n, 'x', 300000);
    says(large, n + 300000, true);
}

TEST(a_streamed_answer_comes_in_pieces_and_knows_no_limit)
{
    struct reading r = {0};
    says_much("HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n");
    read_stream(&r);
    assert_true(r.answer.rc == 0 && r.answer.status == 200 && r.answer.body_len == 0);
    assert_string_equal(r.answer.headers, "X-A: b\r\n\r\n");
    assert_int_equal(r.n, 300000);
    assert_true(r.pieces > 1);
    assert_string_equal(r.first, "xxxxxxxx");
    assert_null(strstr(peer.heard, "Accept-Encoding"));
}

TEST(an_answer_that_is_no_success_is_not_streamed)
{
    struct reading r = {0};
    says("HTTP/1.1 410 Gone\r\nContent-Length: 3\r\n\r\nold",
         sizeof "HTTP/1.1 410 Gone\r\nContent-Length: 3\r\n\r\nold" - 1, true);
    read_stream(&r);
    assert_true(r.pieces == 0 && r.answer.rc == 0 && r.answer.status == 410);
    assert_string_equal(r.answer.body, "old");
    struct reading large_one = {0};
    says_much("HTTP/1.1 500 No\r\n\r\n");
    read_stream(&large_one);
    assert_int_equal(large_one.answer.rc, -EMSGSIZE);
}

TEST(a_piece_that_is_not_taken_comes_again)
{
    struct reading r = {.not_now = 3};
    says_much("HTTP/1.1 200 OK\r\n\r\n");
    read_stream(&r);
    assert_true(r.answer.rc == 0 && r.not_now == 0);
    assert_int_equal(r.n, 300000);
}

TEST(whoever_reads_may_end_it)
{
    struct reading r = {.refuse_with = -EMSGSIZE};
    says_much("HTTP/1.1 200 OK\r\n\r\n");
    read_stream(&r);
    assert_int_equal(r.answer.rc, -EMSGSIZE);
    assert_non_null(strstr(r.answer.err.text, "127.0.0.1"));
    struct reading cancelled = {.cancel = true};
    says("HTTP/1.1 200 OK\r\n\r\nabc", sizeof "HTTP/1.1 200 OK\r\n\r\nabc" - 1,
         false); /* and then nothing, for ever */
    read_stream(&cancelled);
    assert_true(cancelled.cancelled && !cancelled.answer.there && cancelled.n == 3);
}

TEST(a_stream_that_breaks_is_told_from_one_that_ends)
{
    struct reading r = {0};
    says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
         sizeof "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" - 1, true);
    read_stream(&r);
    assert_true(r.answer.rc == -ECONNRESET && r.n == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PEER(an_answer_has_its_status_headers_and_body),
        WITH_PEER(what_is_asked_arrives_as_it_was_meant),
        WITH_PEER(a_connection_is_used_again),
        WITH_PEER(head_wants_no_body),
        WITH_PEER(requests_are_counted_by_target_and_status),
        WITH_PEER(a_body_beyond_the_limit_is_refused_however_it_comes),
        WITH_PEER(the_limit_is_that_of_the_unpacked_body),
        WITH_PEER(headers_without_end_are_refused),
        WITH_PEER(a_peer_that_says_nothing_is_given_up_in_time),
        WITH_PEER(a_peer_that_stops_halfway_is_given_up_in_time),
        WITH_PEER(an_answer_that_is_none_is_an_error),
        WITH_PEER(nobody_at_home_is_told_apart_from_no_such_name),
        WITH_PEER(what_cannot_begin_says_so_at_once),
        WITH_PEER(redirects_are_followed_as_far_as_allowed),
        WITH_PEER(a_guarded_request_goes_only_where_it_may),
        WITH_PEER(a_guard_is_asked_with_the_address_and_port),
        WITH_PEER(many_requests_are_under_way_at_once),
        WITH_PEER(a_cancelled_request_calls_nobody_and_hangs_up),
        WITH_PEER(the_client_may_be_closed_with_requests_under_way),
        WITH_PEER(a_name_that_nobody_resolves_is_given_up_in_time),
        WITH_PEER(the_client_may_be_closed_by_what_it_calls),
        WITH_PEER(a_request_may_be_started_by_what_another_calls),
        WITH_PEER(a_streamed_answer_comes_in_pieces_and_knows_no_limit),
        WITH_PEER(an_answer_that_is_no_success_is_not_streamed),
        WITH_PEER(a_piece_that_is_not_taken_comes_again),
        WITH_PEER(whoever_reads_may_end_it),
        WITH_PEER(a_stream_that_breaks_is_told_from_one_that_ends),
    };
    alarm(120);                 /* what hangs is ended */
    setenv("no_proxy", "*", 1); /* whatever the environment says */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
