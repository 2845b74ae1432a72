/* http_client.h - HTTP requests on the loop: curl's multi interface, connections kept and reused.
 *
 * No request is repeated here; what may be tried again is for the caller to know. Proxies are
 * taken from the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), except by guarded requests. */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "loop/loop.h"

struct http_client;
struct http_call;

int http_client_open(struct http_client **out, struct loop *l);
void http_client_close(struct http_client *c); /* cancels what is under way; NULL is fine */

const char *http_client_library(void); /* its version, "7.88.1" */

struct http_tls { /* names as in Prometheus' tls_config; NULL or false where not wanted */
    const char *ca_file, *cert_file, *key_file, *server_name;
    const char *ca_data, *cert_data, *key_data; /* PEM, instead of the files */
    bool insecure_skip_verify;
};

struct http_request {
    const char *method;         /* "GET", … */
    const char *url;            /* http or https */
    const char *const *headers; /* "Name: value", ends with NULL; or NULL */
    const char *body;           /* NULL: none */
    size_t body_len;
    int64_t timeout_ms, connect_timeout_ms; /* timeout_ms 0: none, of a streamed answer */
    size_t max_body;   /* of the decoded answer; beyond it the call fails with -EMSGSIZE */
    int max_redirects; /* 0: a redirect is an answer like others */
    struct http_tls tls;
    const char *proxy;  /* its URL; "": none; NULL: what the environment says */
    const char *target; /* the label of the metrics: who is asked, a bounded name */
    /* Guarded: no proxy, no reused connection, no link-local address, nor one that may_connect
     * refuses. For requests whose URL other people's text had a hand in. */
    bool guarded;
    /* Over a connection of its own: where a kept one turns out to be gone, curl sends a request
     * again by itself, and nobody knows whether it had arrived. */
    bool once;
    bool (*may_connect)(void *ud, const char *address, int port); /* NULL: any */
    void *may_connect_ud;
    /* Not NULL: the answer is streamed. If it is 2xx its body goes there piece by piece, as it
     * comes and however long it gets, and not into the response. 0: taken; -EAGAIN: not now, it
     * comes again after http_resume(); another -errno ends the call, with that. On a connection of
     * its own, for pieces that are not taken would hold up what shares it. */
    int (*on_piece)(void *ud, const char *bytes, size_t len);
    void *on_piece_ud;
};

struct http_response {
    int status;
    struct text headers; /* as received, one a line, of the last answer */
    struct text body;
    double seconds;
};

/* Called once, from the loop. rc 0 with a response, or -errno with e; r is the callee's to keep
 * pieces of until it returns. */
typedef void http_done_fn(void *ud, int rc, const struct err *e, struct http_response *r);

/* 0, or -errno with e when the request cannot even begin; done is then not called. The request's
 * pieces are copied. */
int http_start(struct http_client *c, const struct http_request *r, http_done_fn *done, void *ud,
               struct http_call **out, struct err *e);
void http_resume(struct http_call *call); /* may call on_piece; not from within it */
void http_cancel(struct http_call *call); /* done is not called; valid until done begins */

#endif
