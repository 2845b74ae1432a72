#include "net/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "net/curl_loop.h"
#include "net/url.h"

enum { SPARE_HANDLES = 16 };

struct http_client {
    struct curl_loop *curl;
    struct list calls;
    CURL *spare[SPARE_HANDLES]; /* handles to be used again: making one costs more than a request */
    size_t n_spare;
    bool closing;
    struct metric *requests, *seconds;
};

struct http_call {
    struct list link;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    char *body, *target;
    size_t max_body;
    bool too_large, refused;
    int piece_rc; /* what ended a streamed answer */
    char refused_address[INET6_ADDRSTRLEN];
    bool (*may_connect)(void *, const char *, int);
    void *may_connect_ud;
    int (*on_piece)(void *, const char *, size_t);
    void *on_piece_ud;
    struct http_response response;
    char curl_error[CURL_ERROR_SIZE];
    char *where; /* scheme, host and path: what errors may show of the URL */
    int64_t started_ns;
    http_done_fn *done;
    void *ud;
};

static void put_back(struct http_client *c, CURL *easy)
{
    if (c->closing || c->n_spare == SPARE_HANDLES) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy); /* nothing of the request stays but caches of sessions and names */
    c->spare[c->n_spare++] = easy;
}

static void give_back_handle(struct http_call *call)
{
    if (call->easy == NULL) return;
    curl_loop_remove(call->client->curl, call->easy);
    put_back(call->client, call->easy);
    call->easy = NULL;
}

static void free_call(struct http_call *call)
{
    list_remove(&call->link);
    give_back_handle(call);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    text_free(&call->response.headers);
    text_free(&call->response.body);
    free(call->body);
    free(call->target);
    free(call->where);
    free(call);
}

static int code_of(const struct http_call *call, CURLcode rc)
{
    if (call->too_large) return -EMSGSIZE;
    if (call->piece_rc < 0) return call->piece_rc;
    if (call->refused) return -EACCES;
    if (call->response.headers.failed || call->response.body.failed) return -ENOMEM;
    return curl_loop_errno(rc);
}

static void describe(const struct http_call *call, CURLcode rc, struct err *e)
{
    int code = code_of(call, rc);
    if (call->too_large)
        err_set(e, code, "%s: the answer is larger than the limit of %zu bytes", call->where,
                call->max_body);
    else if (call->piece_rc < 0)
        err_sys(e, code, "%s: the answer is not read on", call->where);
    else if (call->refused)
        err_set(e, code, "%s: address %s is refused", call->where, call->refused_address);
    else
        err_set(e, code, "%s: %s", call->where,
                call->curl_error[0] ? call->curl_error : curl_easy_strerror(rc));
}

static void finish(struct http_call *call, CURLcode rc)
{
    struct http_client *c = call->client;
    struct err e = {0};
    long status = 0;
    if (rc == CURLE_OK) {
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        call->response.status = (int)status;
    } else {
        describe(call, rc, &e);
    }
    call->response.seconds = (double)(clock_monotonic_ns() - call->started_ns) / 1e9;
    char code[16];
    if (rc == CURLE_OK)
        snprintf(code, sizeof code, "%ld", status);
    else
        snprintf(code, sizeof code, "error");
    metric_add(c->requests, (const char *[]){call->target, code}, 1);
    metric_observe(c->seconds, (const char *[]){call->target}, call->response.seconds);
    /* It leaves the client first: what it calls may close that. */
    list_remove(&call->link);
    give_back_handle(call);
    call->done(call->ud, e.code, &e, &call->response);
    free_call(call);
}

static void on_transferred(void *ud, CURL *easy, CURLcode rc)
{
    struct http_call *call = NULL;
    (void)ud;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
    finish(call, rc);
}

int http_client_open(struct http_client **out, struct loop *l)
{
    static const double buckets[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60};
    struct http_client *c = xcalloc(1, sizeof *c);
    int rc = curl_loop_open(&c->curl, l, on_transferred, c);
    if (rc < 0) {
        free(c);
        return rc;
    }
    list_init(&c->calls);
    c->requests = metric_family("perigee_http_client_requests_total",
                                "Requests sent, by whom they went to and the answer's status.",
                                METRIC_COUNTER, "target,code", NULL, 0);
    c->seconds =
        metric_family("perigee_http_client_duration_seconds",
                      "Time from the start of a request to the end of its answer.",
                      METRIC_HISTOGRAM, "target", buckets, sizeof buckets / sizeof *buckets);
    *out = c;
    return 0;
}

const char *http_client_library(void) { return curl_version_info(CURLVERSION_NOW)->version; }

void http_client_close(struct http_client *c)
{
    if (c == NULL) return;
    c->closing = true;
    while (!list_empty(&c->calls)) free_call(LIST_ITEM(c->calls.next, struct http_call, link));
    while (c->n_spare > 0) curl_easy_cleanup(c->spare[--c->n_spare]);
    curl_loop_close(c->curl);
    free(c);
}

/* -- one request -- */

static size_t hand_on(struct http_call *call, const char *data, size_t len)
{
    int rc = call->on_piece(call->on_piece_ud, data, len);
    if (rc == -EAGAIN) return CURL_WRITEFUNC_PAUSE;
    call->piece_rc = rc;
    return rc < 0 ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t n, void *ud)
{
    struct http_call *call = ud;
    size_t len = size * n;
    long status = 0;
    if (call->on_piece != NULL) curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2) return hand_on(call, data, len);
    if (call->response.body.len + len > call->max_body) {
        call->too_large = true;
        return 0; /* makes curl end the transfer */
    }
    text_add(&call->response.body, data, len);
    return call->response.body.failed ? 0 : len;
}

static size_t on_header(char *data, size_t size, size_t n, void *ud)
{
    enum { MAX_HEADERS = 262144 };
    struct http_call *call = ud;
    size_t len = size * n;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* of a redirect's target, or after a 100 */
        text_free(&call->response.headers);
        return len;
    }
    if (call->response.headers.len + len > MAX_HEADERS) return 0;
    text_add(&call->response.headers, data, len);
    return call->response.headers.failed ? 0 : len;
}

static bool is_link_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 16 == 0xa9fe; /* 169.254/16: cloud metadata */
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    const unsigned char *b = in6->sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) return b[12] == 0xa9 && b[13] == 0xfe;
    return (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) ||                      /* fe80::/10 */
           (b[0] == 0xfd && b[1] == 0x00 && b[2] == 0x0e && b[3] == 0xc2); /* fd00:ec2::/32 */
}

/* The name has been resolved here, so what it resolves to cannot change under the check. */
static curl_socket_t open_guarded(void *ud, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *call = ud;
    (void)purpose;
    const struct sockaddr *a = &address->addr;
    if (a->sa_family != AF_INET && a->sa_family != AF_INET6) return CURL_SOCKET_BAD;
    const void *bytes =
        a->sa_family == AF_INET
            ? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
            : (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(a->sa_family, bytes, text, sizeof text) == NULL) return CURL_SOCKET_BAD;
    int port =
        ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port); /* same place in both */
    if (is_link_local(a) ||
        (call->may_connect != NULL && !call->may_connect(call->may_connect_ud, text, port))) {
        call->refused = true;
        memcpy(call->refused_address, text, sizeof text);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool add_header(struct http_call *call, const char *line)
{
    struct curl_slist *longer = curl_slist_append(call->headers, line);
    if (longer == NULL) return false;
    call->headers = longer;
    return true;
}

/* The server's certificate is checked against tls.server_name while the connection still goes to
 * the URL's host: the URL names the former, curl connects to the latter. */
static int set_server_name(struct http_call *call, const struct http_request *r,
                           const struct url *u, struct text *url)
{
    struct text via = {0};
    bool v6 = strchr(u->host, ':') != NULL;
    char real[300], host[310];
    snprintf(real, sizeof real, "%s%s%s:%d", v6 ? "[" : "", u->host, v6 ? "]" : "", u->port);
    snprintf(host, sizeof host, "Host: %s", real);
    text_addf(&via, "%s:%d:%s", r->tls.server_name, u->port, real);
    text_addf(url, "%s://%s:%d%s%s%s", u->scheme, r->tls.server_name, u->port, u->path,
              u->query ? "?" : "", u->query ? u->query : "");
    if (!via.failed) call->connect_to = curl_slist_append(NULL, via.data);
    text_free(&via);
    if (call->connect_to == NULL || url->failed || !add_header(call, host)) return -ENOMEM;
    curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
    return 0;
}

static int set_headers(struct http_call *call, const struct http_request *r)
{
    for (const char *const *h = r->headers; h != NULL && *h != NULL; h++)
        if (!add_header(call, *h)) return -ENOMEM;
    /* curl would wait for a "100 Continue" that many servers never send. */
    if (!add_header(call, "Expect:")) return -ENOMEM;
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    return 0;
}

static void set_body(struct http_call *call, const struct http_request *r)
{
    CURL *easy = call->easy;
    if (r->body != NULL) {
        call->body = xmemdup0(r->body, r->body_len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
    }
    if (strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (strcmp(r->method, "GET") != 0 || r->body != NULL)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
}

static void set_guards(struct http_call *call, const struct http_request *r)
{
    if (r->once) curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    if (!r->guarded) return;
    call->may_connect = r->may_connect;
    call->may_connect_ud = r->may_connect_ud;
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, open_guarded);
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(call->easy, CURLOPT_PROXY, "");
}

static int set_blob(CURL *easy, CURLoption option, const char *pem)
{
    if (pem == NULL) return 0;
    struct curl_blob blob = {(void *)(uintptr_t)pem, strlen(pem), CURL_BLOB_COPY};
    return curl_easy_setopt(easy, option, &blob) == CURLE_OK ? 0 : -ENOMEM;
}

static int set_tls(CURL *easy, const struct http_tls *tls)
{
    if (tls->ca_file != NULL) curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file);
    /* The authorities that are named are all that are believed: not the system's beside them. */
    if (tls->ca_file != NULL || tls->ca_data != NULL) curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (tls->cert_file != NULL) curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
    if (tls->key_file != NULL) curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
    if (tls->insecure_skip_verify) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    int rc = set_blob(easy, CURLOPT_CAINFO_BLOB, tls->ca_data);
    if (rc == 0) rc = set_blob(easy, CURLOPT_SSLCERT_BLOB, tls->cert_data);
    return rc == 0 ? set_blob(easy, CURLOPT_SSLKEY_BLOB, tls->key_data) : rc;
}

static void set_limits(struct http_call *call, const struct http_request *r, const struct url *u)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR,
                     strcmp(u->scheme, "https") == 0 ? "https" : "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, r->max_redirects > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)r->max_redirects);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "perigee/" PERIGEE_VERSION);
    call->max_body = r->max_body;
}

static void set_stream(struct http_call *call, const struct http_request *r)
{
    if (r->on_piece == NULL) return;
    call->on_piece = r->on_piece;
    call->on_piece_ud = r->on_piece_ud;
    curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(call->easy, CURLOPT_ACCEPT_ENCODING, NULL); /* pieces come as they are sent */
}

static int prepare(struct http_call *call, const struct http_request *r, const struct url *u)
{
    struct http_client *c = call->client;
    CURL *easy = call->easy = c->n_spare > 0 ? c->spare[--c->n_spare] : curl_easy_init();
    if (easy == NULL) return -ENOMEM;
    struct text url = {0};
    int rc = 0;
    if (r->tls.server_name != NULL)
        rc = set_server_name(call, r, u, &url);
    else
        text_adds(&url, r->url);
    if (rc == 0) rc = set_headers(call, r);
    if (rc == 0 && (url.failed || curl_easy_setopt(easy, CURLOPT_URL, url.data) != CURLE_OK))
        rc = -ENOMEM;
    text_free(&url);
    if (rc == 0) rc = set_tls(easy, &r->tls);
    if (rc < 0) return rc;
    set_body(call, r);
    set_limits(call, r, u);
    if (r->proxy != NULL) curl_easy_setopt(easy, CURLOPT_PROXY, r->proxy);
    set_guards(call, r);
    set_stream(call, r);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    return 0;
}

int http_start(struct http_client *c, const struct http_request *r, http_done_fn *done, void *ud,
               struct http_call **out, struct err *e)
{
    struct url u;
    int rc = url_parse(&u, r->url, e);
    if (rc < 0) {
        url_free(&u);
        return rc;
    }
    struct http_call *call = xcalloc(1, sizeof *call);
    list_init(&call->link);
    call->client = c;
    call->done = done;
    call->ud = ud;
    call->target = xstrdup(r->target != NULL ? r->target : "other");
    struct text where = {0};
    text_addf(&where, "%s://%s:%d%s", u.scheme, u.host, u.port, u.path);
    require(!where.failed);
    call->where = where.data;
    call->started_ns = clock_monotonic_ns();
    rc = prepare(call, r, &u);
    url_free(&u);
    if (rc == 0) rc = curl_loop_add(c->curl, call->easy);
    if (rc < 0) {
        free_call(call);
        return err_sys(e, rc, "cannot start the request");
    }
    list_append(&c->calls, &call->link);
    *out = call;
    return 0;
}

void http_resume(struct http_call *call)
{
    CURLcode rc = curl_easy_pause(call->easy, CURLPAUSE_CONT);
    if (rc != CURLE_OK) finish(call, rc); /* what was held back has been refused */
}

void http_cancel(struct http_call *call) { free_call(call); }
