#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "net/url.h"

enum { STREAM_LIMIT = 16 << 20 }; /* bytes that wait for a client that does not take them */

struct connection {
    struct list link;
    int fd;
    struct http_server *server;
    int64_t deadline_ns; /* when it is cut if the request, or its answer, is still not complete */
};

struct http_server {
    struct loop *loop;
    struct MHD_Daemon *daemon;
    int epoll, port;
    uv_poll_t poll;
    uv_timer_t timer; /* microhttpd's own timeouts */
    uv_timer_t sweep; /* ours; runs while there are connections */
    int open_handles;
    struct http_server_options limits;
    http_handler_fn *handler;
    void *ud;
    struct list connections;
    struct list arrived;   /* complete requests that the handler has not been called for */
    struct list exchanges; /* those it has, not answered yet */
    bool running, again;
    struct metric *requests;
};

struct http_exchange {
    struct list link;
    struct http_server *server;        /* NULL once the server is closed */
    struct MHD_Connection *connection; /* NULL once the client is gone */
    char *uri, *method, *path;
    const char *query; /* in uri */
    struct text body;
    bool too_large, handed_over;
    char peer[INET6_ADDRSTRLEN];
    struct MHD_Response *answer; /* set while the connection is being resumed */
    unsigned status;
    bool dropped;
    /* Of an answer in pieces. Until it has ended the exchange is whose it was handed to. */
    bool streams, ended;
    bool starved; /* suspended until there is another piece */
    struct text pieces;
    size_t taken; /* bytes of the pieces */
};

static void run(struct http_server *s);

static void free_exchange(struct http_exchange *x)
{
    list_remove(&x->link);
    if (x->answer != NULL) MHD_destroy_response(x->answer);
    text_free(&x->body);
    text_free(&x->pieces);
    free(x->uri);
    free(x->method);
    free(x->path);
    free(x);
}

/* -- microhttpd's callbacks -- */

/* Called first for each request: the only place that sees the URI as it was sent. */
static void *on_uri(void *ud, const char *uri, struct MHD_Connection *connection)
{
    (void)connection;
    struct http_exchange *x = xcalloc(1, sizeof *x);
    list_init(&x->link);
    x->server = ud;
    x->uri = xstrdup(uri);
    x->body.limit = x->server->limits.max_body;
    return x;
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void set_deadline(struct MHD_Connection *mhd, int64_t ms)
{
    struct connection *c = connection_of(mhd);
    if (c != NULL) c->deadline_ns = clock_monotonic_ns() + ms * 1000000;
}

static void on_connection(void *ud, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = ud;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *c = xcalloc(1, sizeof *c);
        c->server = s;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->deadline_ns = clock_monotonic_ns() + s->limits.request_ms * 1000000;
        list_append(&s->connections, &c->link);
        *context = c;
    } else if (*context != NULL) {
        struct connection *c = *context;
        list_remove(&c->link);
        free(c);
        *context = NULL;
        s->again = true; /* at its limit microhttpd does not listen until it is run once more */
    }
}

static void on_completed(void *ud, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct http_server *s = ud;
    struct http_exchange *x = *context;
    (void)why;
    set_deadline(mhd, s->limits.request_ms); /* for the next request */
    if (x == NULL) return;
    *context = NULL;
    if (x->handed_over && (x->answer == NULL || (x->streams && !x->ended)))
        x->connection = NULL; /* http_respond() or http_end() frees it */
    else
        free_exchange(x);
}

static void read_peer(struct http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL) return;
    const struct sockaddr *a = info->client_addr;
    const void *bytes =
        a->sa_family == AF_INET
            ? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
            : (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    inet_ntop(a->sa_family, bytes, x->peer, sizeof x->peer);
}

static bool split_uri(struct http_exchange *x)
{
    size_t len = strcspn(x->uri, "?");
    x->query = x->uri[len] == '?' ? x->uri + len + 1 : x->uri + len;
    struct text path = {0};
    url_unescape(&path, x->uri, len, false);
    bool ok = !path.failed && path.len > 0 && strlen(path.data) == path.len && path.data[0] == '/';
    x->path = ok ? path.data : NULL;
    if (!ok) text_free(&path);
    return ok;
}

static enum MHD_Result refuse(struct MHD_Connection *mhd, unsigned status, const char *what)
{
    char body[200];
    int len = snprintf(body, sizeof body,
                       "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"%s\"}", what);
    struct MHD_Response *r =
        MHD_create_response_from_buffer((size_t)len, body, MHD_RESPMEM_MUST_COPY);
    if (r == NULL) return MHD_NO;
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "Connection", "close");
    enum MHD_Result rc = MHD_queue_response(mhd, status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result begin(struct http_exchange *x, struct MHD_Connection *mhd,
                             const char *method)
{
    x->connection = mhd;
    x->method = xstrdup(method);
    if (!split_uri(x)) return refuse(mhd, 400, "bad path");
    read_peer(x);
    const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");
    if (length != NULL && strtoull(length, NULL, 10) > x->server->limits.max_body)
        return refuse(mhd, 413, "the body is larger than the limit");
    return MHD_YES;
}

static enum MHD_Result on_request(void *ud, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **context)
{
    struct http_server *s = ud;
    struct http_exchange *x = *context;
    (void)url;
    (void)version;
    if (x->method == NULL) return begin(x, mhd, method);
    if (*len > 0) {
        if (!x->too_large) text_add(&x->body, data, *len);
        x->too_large = x->too_large || x->body.failed;
        *len = 0;
        return MHD_YES;
    }
    if (x->too_large) return refuse(mhd, 413, "the body is larger than the limit");
    if (x->dropped) return MHD_NO;
    if (x->answer != NULL) {
        if (!x->streams) set_deadline(mhd, s->limits.answer_ms);
        return MHD_queue_response(mhd, x->status, x->answer);
    }
    set_deadline(mhd, 86400000); /* the handler's time is not the client's */
    MHD_suspend_connection(mhd);
    x->handed_over = true;
    list_append(&s->arrived, &x->link);
    return MHD_YES;
}

/* -- on the loop -- */

static void on_timer(uv_timer_t *t) { run(t->data); }

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* Cutting the socket is what makes microhttpd let go of a connection it is still reading from. */
static void on_sweep(uv_timer_t *t)
{
    struct http_server *s = t->data;
    int64_t now = clock_monotonic_ns();
    for (struct list *at = s->connections.next; at != &s->connections; at = at->next) {
        struct connection *c = LIST_ITEM(at, struct connection, link);
        if (now > c->deadline_ns) shutdown(c->fd, SHUT_RDWR);
    }
    run(s);
}

static void run(struct http_server *s)
{
    if (s->running) { /* called from a handler: the loop below goes round again */
        s->again = true;
        return;
    }
    s->running = true;
    do {
        s->again = false;
        MHD_run(s->daemon);
        while (!list_empty(&s->arrived)) {
            struct http_exchange *x = LIST_ITEM(s->arrived.next, struct http_exchange, link);
            list_remove(&x->link);
            list_append(&s->exchanges, &x->link);
            s->handler(s->ud, x);
        }
    } while (s->again);
    s->running = false;
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        uv_timer_start(&s->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&s->timer);
    if (list_empty(&s->connections))
        uv_timer_stop(&s->sweep);
    else if (!uv_is_active((uv_handle_t *)&s->sweep))
        uv_timer_start(&s->sweep, on_sweep, 500, 500);
}

static int listen_on(const struct http_server_options *o, struct err *e)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", o->port);
    const char *host = strcmp(o->host, "localhost") == 0 ? "127.0.0.1" : o->host;
    hints.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(host, service, &hints, &found) != 0)
        return err_set(e, -EINVAL, "cannot listen on \"%s\": no IP address", o->host);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -errno : 0, on = 1, off = 0;
    if (rc == 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rc == 0 && found->ai_family == AF_INET6) /* "::" serves IPv4 too, as elsewhere */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (rc == 0 && (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 1024) < 0))
        rc = -errno;
    freeaddrinfo(found);
    if (rc == 0) return fd;
    if (fd >= 0) close(fd);
    return err_sys(e, rc, "cannot listen on %s:%d", o->host, o->port);
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0) return 0;
    return ntohs(
        ((struct sockaddr_in *)(void *)&a)->sin_port); /* the same place in both families */
}

static void on_closed(uv_handle_t *h) /* the last one takes the server with it */
{
    struct http_server *s = h->data;
    if (--s->open_handles == 0) free(s);
}

int http_server_open(struct http_server **out, struct loop *l, const struct http_server_options *o,
                     http_handler_fn *handler, void *ud, struct err *e)
{
    int fd = listen_on(o, e);
    if (fd < 0) return fd;
    struct http_server *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->limits = *o;
    s->handler = handler;
    s->ud = ud;
    s->port = port_of(fd);
    list_init(&s->connections);
    list_init(&s->arrived);
    list_init(&s->exchanges);
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        s, MHD_OPTION_CONNECTION_LIMIT, o->max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(o->answer_ms / 1000 + 1), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
        MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        s->daemon != NULL ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL) {
        if (s->daemon != NULL)
            MHD_stop_daemon(s->daemon);
        else
            close(fd);
        free(s);
        return err_set(e, -ENOMEM, "cannot start the HTTP server on %s:%d", o->host, o->port);
    }
    s->epoll = info->epoll_fd;
    s->limits.host = NULL; /* the caller's; of no use from here on */
    uv_timer_init(loop_uv(l), &s->timer);
    uv_timer_init(loop_uv(l), &s->sweep);
    require(uv_poll_init(loop_uv(l), &s->poll, s->epoll) == 0);
    s->timer.data = s->sweep.data = s->poll.data = s;
    s->open_handles = 3;
    require(uv_poll_start(&s->poll, UV_READABLE, on_ready) == 0);
    s->requests = metric_family("perigee_http_server_requests_total",
                                "Requests answered, by method and status.", METRIC_COUNTER,
                                "method,code", NULL, 0);
    *out = s;
    return 0;
}

const char *http_server_library(void) { return MHD_get_version(); }
int http_server_port(const struct http_server *s) { return s->port; }

void http_server_pause(struct http_server *s)
{
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET) close(fd);
}

void http_server_close(struct http_server *s)
{
    if (s == NULL) return;
    /* microhttpd wants no suspended connection when it stops. */
    struct list *lists[] = {&s->arrived, &s->exchanges};
    for (size_t i = 0; i < 2; i++) {
        while (!list_empty(lists[i])) {
            struct http_exchange *x = LIST_ITEM(lists[i]->next, struct http_exchange, link);
            list_remove(&x->link);
            if (x->connection != NULL && (!x->streams || x->starved))
                MHD_resume_connection(x->connection);
            x->server = NULL;
            if (lists[i] == &s->arrived) x->handed_over = false; /* nobody will answer it */
        }
    }
    MHD_stop_daemon(s->daemon);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
    uv_close((uv_handle_t *)&s->sweep, on_closed);
}

/* -- the exchange -- */

const char *http_method(const struct http_exchange *x) { return x->method; }
const char *http_path(const struct http_exchange *x) { return x->path; }
const char *http_query(const struct http_exchange *x) { return x->query; }
const char *http_peer(const struct http_exchange *x) { return x->peer; }

const char *http_body(const struct http_exchange *x, size_t *len)
{
    *len = x->body.len;
    return x->body.data != NULL ? x->body.data : "";
}

struct visit {
    void (*fn)(void *, const char *, const char *);
    void *ud;
};

static enum MHD_Result visit_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct visit *v = cls;
    (void)kind;
    v->fn(v->ud, name, value != NULL ? value : "");
    return MHD_YES;
}

void http_each_header(const struct http_exchange *x,
                      void (*fn)(void *ud, const char *name, const char *value), void *ud)
{
    struct visit v = {fn, ud};
    if (x->connection != NULL)
        MHD_get_connection_values(x->connection, MHD_HEADER_KIND, visit_header, &v);
}

/* A label is bounded; what a client calls its method is not. */
static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], method) == 0) return known[i];
    return "other";
}

/* Has microhttpd send the answer; the client must be there. */
static void go_on(struct http_exchange *x, int status, const char *const *headers)
{
    char code[16];
    snprintf(code, sizeof code, "%d", status);
    metric_add(x->server->requests, (const char *[]){known_method(x->method), code}, 1);
    x->status = (unsigned)status;
    for (; headers != NULL && headers[0] != NULL; headers += 2)
        MHD_add_response_header(x->answer, headers[0], headers[1]);
    MHD_resume_connection(x->connection);
    run(x->server);
}

static bool is_gone(const struct http_exchange *x)
{
    return x->server == NULL || x->connection == NULL;
}

void http_respond(struct http_exchange *x, int status, const char *const *headers, const void *body,
                  size_t len)
{
    if (is_gone(x)) {
        free_exchange(x);
        return;
    }
    /* microhttpd wants a pointer that is not const, and copies from it. */
    x->answer =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    require(x->answer != NULL);
    list_remove(&x->link);
    go_on(x, status, headers);
}

void http_drop(struct http_exchange *x)
{
    if (x->streams) {
        x->pieces.failed = true;
        http_end(x);
        return;
    }
    if (is_gone(x)) {
        free_exchange(x);
        return;
    }
    struct http_server *s = x->server;
    x->dropped = true;
    x->handed_over = false; /* on_completed() frees it */
    list_remove(&x->link);
    MHD_resume_connection(x->connection);
    run(s);
}

/* -- an answer in pieces -- */

static ssize_t on_read(void *ud, uint64_t at, char *out, size_t room)
{
    struct http_exchange *x = ud;
    size_t left = x->pieces.len - x->taken, n = left < room ? left : room;
    (void)at;
    if (x->server == NULL) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0) {
        if (x->pieces.failed) return MHD_CONTENT_READER_END_WITH_ERROR; /* it is not whole */
        if (x->ended) return MHD_CONTENT_READER_END_OF_STREAM;
        x->starved = true;
        MHD_suspend_connection(x->connection);
        return 0;
    }
    memcpy(out, x->pieces.data + x->taken, n);
    x->taken += n;
    text_compact(&x->pieces, &x->taken);
    return (ssize_t)n;
}

static void feed(struct http_exchange *x) /* there is something new for on_read() */
{
    struct http_server *s = x->server;
    if (x->starved) MHD_resume_connection(x->connection);
    x->starved = false;
    run(s);
}

void http_begin(struct http_exchange *x, int status, const char *const *headers)
{
    x->streams = true;
    x->pieces.limit = STREAM_LIMIT;
    if (is_gone(x)) return;
    x->answer = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_read, x, NULL);
    require(x->answer != NULL);
    go_on(x, status, headers);
}

bool http_send(struct http_exchange *x, const void *data, size_t len)
{
    if (is_gone(x)) return false;
    text_add(&x->pieces, data, len);
    if (x->pieces.failed) return false;
    feed(x);
    return !is_gone(x);
}

void http_end(struct http_exchange *x)
{
    x->ended = true;
    if (is_gone(x)) {
        free_exchange(x);
        return;
    }
    list_remove(&x->link); /* on_completed() frees it */
    feed(x);
}
