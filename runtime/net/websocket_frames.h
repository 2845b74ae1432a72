/* websocket_frames.h - WebSocket's frames (RFC 6455, the client's side) without a connection: bytes
 * of the peer in, whole messages and bytes for the peer out.
 *
 * wslay takes frames apart and makes them; the order of frames, their limits and the text's
 * encoding are judged here. A ping is answered by a pong of the same bytes, a close by a close. */
#ifndef NET_WEBSOCKET_FRAMES_H
#define NET_WEBSOCKET_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

struct websocket_frames;

enum websocket_kind { WEBSOCKET_TEXT, WEBSOCKET_BINARY, WEBSOCKET_PING, WEBSOCKET_PONG };

/* The bytes are the callee's until it returns. Text is UTF-8. */
typedef void websocket_frame_fn(void *ud, enum websocket_kind kind, const char *data, size_t len);

/* The codes of RFC 6455, section 7.4, that are used here. */
enum {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_NO_CODE = 1005, /* there was a close without one */
    WEBSOCKET_BAD_DATA = 1007,
    WEBSOCKET_TOO_BIG = 1009,
};

/* Messages of at most max_message bytes are taken. 0 or -ENOMEM. */
int websocket_frames_open(struct websocket_frames **out, size_t max_message, websocket_frame_fn *fn,
                          void *ud);
void websocket_frames_free(struct websocket_frames *f); /* NULL is fine */

/* Takes what the peer has sent. 0, or with e what is wrong with it: -EPROTO, -EMSGSIZE, -ENOMEM, or
 * -ENOBUFS where too many answers have not been sent yet. A close for the peer is then among what
 * is to be sent, and all that comes later is thrown away, as it is behind the peer's own close. */
int websocket_frames_take(struct websocket_frames *f, const char *bytes, size_t n, struct err *e);

/* Queues one message: 0; -EINVAL for text that is no UTF-8, or a ping or pong of more than 125
 * bytes; -ENOBUFS while too much waits to be sent; -EPIPE behind a close; -ENOMEM. */
int websocket_frames_send(struct websocket_frames *f, enum websocket_kind kind, const char *data,
                          size_t len);
void websocket_frames_close(struct websocket_frames *f, int code); /* twice is fine */

bool websocket_frames_close_sent(const struct websocket_frames *f);    /* is queued, or gone out */
int websocket_frames_close_received(const struct websocket_frames *f); /* its code; 0: none yet */

/* What is to be sent: bytes, and their number. websocket_frames_sent() takes n of them away. */
const char *websocket_frames_pending(const struct websocket_frames *f, size_t *n);
void websocket_frames_sent(struct websocket_frames *f, size_t n);

const char *websocket_frames_library(void); /* wslay's version */

#endif
