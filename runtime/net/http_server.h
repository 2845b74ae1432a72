/* http_server.h - an HTTP/1.1 server on the loop: libmicrohttpd without a thread of its own.
 *
 * It guards against slow and greedy clients: a request has to be complete within request_ms of the
 * connection's opening or of the answer before it, its body within max_body, its answer has to be
 * taken within answer_ms, and there are at most max_connections. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

struct http_server;
struct http_exchange; /* one request, until it is answered */

struct http_server_options {
    const char *host; /* an IPv4 or IPv6 address, or "localhost" */
    int port;         /* 0: any that is free */
    size_t max_body;
    unsigned max_connections;
    int64_t request_ms, answer_ms;
};

/* Called from the loop, never from inside http_respond(). Exactly one http_respond(), http_drop(),
 * or http_begin() with its http_end() must follow, at once or later. */
typedef void http_handler_fn(void *ud, struct http_exchange *x);

int http_server_open(struct http_server **out, struct loop *l, const struct http_server_options *o,
                     http_handler_fn *handler, void *ud, struct err *e);
const char *http_server_library(void); /* its version */
int http_server_port(const struct http_server *s);
void http_server_pause(struct http_server *s); /* takes no new connections; the open ones go on */
/* Ends all connections. Exchanges that are not answered yet stay valid until they are. */
void http_server_close(struct http_server *s);

const char *http_method(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x);  /* percent-decoded; no NUL inside */
const char *http_query(const struct http_exchange *x); /* as sent, without "?"; "" if none */
const char *http_body(const struct http_exchange *x, size_t *len);
const char *http_peer(const struct http_exchange *x); /* the client's address, without port */
void http_each_header(const struct http_exchange *x,
                      void (*fn)(void *ud, const char *name, const char *value), void *ud);

/* headers: names and values in turn, ends with NULL; or NULL. The body is copied. After this x is
 * gone. */
void http_respond(struct http_exchange *x, int status, const char *const *headers, const void *body,
                  size_t len);
/* Ends the connection without an answer, or without the rest of one in pieces. After this x is
 * gone. */
void http_drop(struct http_exchange *x);

/* An answer in pieces, for as long as it takes: the head now, each piece as it comes. A client that
 * has gone is noticed by what is sent to it, so something should be sent now and then. */
void http_begin(struct http_exchange *x, int status, const char *const *headers);
/* The piece is copied. False once the client is gone, or too much waits for it. */
bool http_send(struct http_exchange *x, const void *data, size_t len);
void http_end(struct http_exchange *x); /* after this x is gone */

#endif
