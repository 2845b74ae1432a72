/* websocket.h - a WebSocket (RFC 6455) to a server, on the loop.
 *
 * curl connects (names, proxies of the environment by CONNECT, TLS with its certificates, HTTP/1.1
 * alone in ALPN) and then only carries bytes; the handshake is made here, the frames are
 * websocket_frames.h's. No extension and no subprotocol is offered. Times are real, never virtual.
 */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include "net/websocket_frames.h"

#include "loop/loop.h"

struct websocket;

struct websocket_options {
    const char *url;              /* ws or wss */
    const char *ca_file;          /* NULL: the system's authorities */
    size_t max_message;           /* bytes; a larger one ends the connection */
    int64_t open_timeout_ms;      /* from now to the end of the handshake */
    int64_t close_timeout_ms;     /* how long the peer's close is waited for */
    int64_t ping_ms;              /* between two pings of ours */
    int64_t pong_timeout_ms;      /* without a pong for so long the peer is given up */
    int64_t peer_ping_timeout_ms; /* the same once the peer pings, and stops to; 0: it need not */
};

struct websocket_events {
    void (*opened)(void *ud);
    websocket_frame_fn *received; /* messages, pings and pongs */
    /* Once, the last; the websocket is gone. rc 0: it was closed in order, code says how. Else
     * -errno with e: -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET, -EMSGSIZE, -ENOBUFS,
     * -EPROTO (TLS, or what the peer sends), -EBADMSG (the server answered something else). */
    void (*closed)(void *ud, int rc, int code, const struct err *e);
};

/* 0, or -errno with e when it cannot even begin. The options are copied; none of the events comes
 * from within a call of these functions. */
int websocket_open(struct websocket **out, struct loop *l, const struct websocket_options *o,
                   const struct websocket_events *events, void *ud, struct err *e);

/* Text, whole: 0, -ENOTCONN before it is open, or as websocket_frames_send(). */
int websocket_send(struct websocket *ws, const char *data, size_t len);
/* Paused: nothing is read, and no peer given up for its silence. */
void websocket_pause(struct websocket *ws, bool paused);
void websocket_close(
    struct websocket *ws); /* in order, with 1000; closed() comes within the time */
void websocket_abandon(struct websocket *ws); /* at once, and nobody is told; not from an event */

#endif
