#include "net/websocket_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <wslay/wslay.h>

#include "base/hash.h"
#include "base/memory.h"

enum {
    MAX_CONTROL = 125,
    MAX_PENDING = 4 << 20,   /* messages are refused beyond it */
    MAX_ANSWERS = 256 << 10, /* a peer that asks so much and does not read is given up */
};

/* Invariant: offset <= pending.len; a message is under way exactly when opcode is not 0. */
struct websocket_frames {
    wslay_frame_context_ptr wslay;
    const uint8_t *in; /* what is being taken */
    size_t n_in;
    uint64_t frame_seen; /* bytes of the frame that has begun */
    bool in_frame;
    uint8_t opcode;      /* of the message under way; 0: none */
    struct text message; /* its bytes so far */
    char control[MAX_CONTROL];
    size_t n_control;
    struct text pending; /* encoded, to be sent from offset on */
    size_t offset, max_message;
    bool deaf; /* nothing of the peer counts any more */
    bool close_sent;
    int close_received;
    websocket_frame_fn *fn;
    void *ud;
};

/* -- what wslay asks for -- */

static ssize_t give(uint8_t *buf, size_t len, int flags, void *ud)
{
    struct websocket_frames *f = ud;
    (void)flags;
    size_t n = len < f->n_in ? len : f->n_in;
    memcpy(buf, f->in, n);
    f->in += n;
    f->n_in -= n;
    return (ssize_t)n;
}

static ssize_t keep(const uint8_t *data, size_t len, int flags, void *ud)
{
    struct websocket_frames *f = ud;
    (void)flags;
    text_add(&f->pending, data, len);
    return (ssize_t)len; /* what has failed is seen by queue() */
}

static int mask(uint8_t *buf, size_t len, void *ud)
{
    (void)ud;
    hash_random(buf, len);
    return 0;
}

int websocket_frames_open(struct websocket_frames **out, size_t max_message, websocket_frame_fn *fn,
                          void *ud)
{
    static const struct wslay_frame_callbacks callbacks = {keep, give, mask};
    struct websocket_frames *f = xcalloc(1, sizeof *f);
    f->max_message = max_message;
    f->fn = fn;
    f->ud = ud;
    if (wslay_frame_context_init(&f->wslay, &callbacks, f) != 0) {
        free(f);
        return -ENOMEM;
    }
    *out = f;
    return 0;
}

void websocket_frames_free(struct websocket_frames *f)
{
    if (f == NULL) return;
    wslay_frame_context_free(f->wslay);
    text_free(&f->message);
    text_free(&f->pending);
    free(f);
}

/* -- sending -- */

static int queue(struct websocket_frames *f, uint8_t opcode, const char *data, size_t len)
{
    struct wslay_frame_iocb frame = {.fin = 1,
                                     .opcode = opcode,
                                     .mask = 1,
                                     .payload_length = len,
                                     .data = (const uint8_t *)data,
                                     .data_length = len};
    size_t before = f->pending.len;
    /* keep() takes all that it is given, so a frame is never cut here. */
    require(wslay_frame_send(f->wslay, &frame) == (ssize_t)len);
    if (!f->pending.failed) return 0;
    f->pending.len = before; /* the rest of a frame would be taken from the next one */
    f->pending.failed = false;
    return -ENOMEM;
}

int websocket_frames_send(struct websocket_frames *f, enum websocket_kind kind, const char *data,
                          size_t len)
{
    static const uint8_t opcodes[] = {[WEBSOCKET_TEXT] = WSLAY_TEXT_FRAME,
                                      [WEBSOCKET_BINARY] = WSLAY_BINARY_FRAME,
                                      [WEBSOCKET_PING] = WSLAY_PING,
                                      [WEBSOCKET_PONG] = WSLAY_PONG};
    if (f->close_sent) return -EPIPE;
    if (kind == WEBSOCKET_TEXT && !text_is_utf8(data, len)) return -EINVAL;
    if (kind >= WEBSOCKET_PING && len > MAX_CONTROL) return -EINVAL;
    if (len > MAX_PENDING || f->pending.len - f->offset > MAX_PENDING - len) return -ENOBUFS;
    return queue(f, opcodes[kind], data, len);
}

void websocket_frames_close(struct websocket_frames *f, int code)
{
    if (f->close_sent) return;
    char body[2] = {(char)(code >> 8), (char)(code & 0xff)};
    queue(f, WSLAY_CONNECTION_CLOSE, body, code == WEBSOCKET_NO_CODE ? 0 : sizeof body);
    f->close_sent = true;
}

const char *websocket_frames_pending(const struct websocket_frames *f, size_t *n)
{
    *n = f->pending.len - f->offset;
    return *n > 0 ? f->pending.data + f->offset : NULL;
}

void websocket_frames_sent(struct websocket_frames *f, size_t n)
{
    f->offset += n;
    require(f->offset <= f->pending.len);
    if (f->offset == f->pending.len) {
        text_free(&f->pending);
        f->offset = 0;
    } else {
        text_compact(&f->pending, &f->offset);
    }
}

bool websocket_frames_close_sent(const struct websocket_frames *f) { return f->close_sent; }
int websocket_frames_close_received(const struct websocket_frames *f) { return f->close_received; }

/* -- receiving -- */

static int refuse(struct websocket_frames *f, int code, struct err *e, int rc, const char *words)
{
    f->deaf = true;
    websocket_frames_close(f, code);
    return err_set(e, rc, "%s", words);
}

static int protocol_error(struct websocket_frames *f, struct err *e, const char *words)
{
    return refuse(f, WEBSOCKET_PROTOCOL_ERROR, e, -EPROTO, words);
}

/* Codes that may stand in a close: the RFC's own, registered ones, and applications'. */
static bool is_close_code(int code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

static int closed_by_peer(struct websocket_frames *f, struct err *e)
{
    int code = WEBSOCKET_NO_CODE;
    if (f->n_control == 1) return protocol_error(f, e, "a close of one byte");
    if (f->n_control >= 2) {
        code = (unsigned char)f->control[0] << 8 | (unsigned char)f->control[1];
        if (!is_close_code(code)) return protocol_error(f, e, "a close with a code that is none");
        if (!text_is_utf8(f->control + 2, f->n_control - 2))
            return refuse(f, WEBSOCKET_BAD_DATA, e, -EPROTO, "a close that is not UTF-8");
    }
    f->deaf = true;
    f->close_received = code;
    websocket_frames_close(f, code);
    return 0;
}

static int control_ended(struct websocket_frames *f, uint8_t opcode, struct err *e)
{
    if (opcode == WSLAY_CONNECTION_CLOSE) return closed_by_peer(f, e);
    if (opcode == WSLAY_PING && !f->close_sent) {
        if (f->pending.len - f->offset > MAX_ANSWERS)
            return refuse(f, WEBSOCKET_PROTOCOL_ERROR, e, -ENOBUFS, "pings, but nothing is read");
        if (queue(f, WSLAY_PONG, f->control, f->n_control) < 0)
            return refuse(f, WEBSOCKET_PROTOCOL_ERROR, e, -ENOMEM, "not enough memory");
    }
    f->fn(f->ud, opcode == WSLAY_PING ? WEBSOCKET_PING : WEBSOCKET_PONG, f->control, f->n_control);
    return 0;
}

static int message_ended(struct websocket_frames *f, struct err *e)
{
    const char *data = f->message.data != NULL ? f->message.data : "";
    bool is_text = f->opcode == WSLAY_TEXT_FRAME;
    if (is_text && !text_is_utf8(data, f->message.len))
        return refuse(f, WEBSOCKET_BAD_DATA, e, -EPROTO, "text that is not UTF-8");
    f->opcode = 0;
    f->fn(f->ud, is_text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, data, f->message.len);
    text_free(&f->message);
    return 0;
}

/* Whether a frame may begin here: what it may be depends on what is under way. */
static int frame_began(struct websocket_frames *f, const struct wslay_frame_iocb *frame,
                       struct err *e)
{
    uint8_t op = frame->opcode;
    if (frame->rsv != 0) return protocol_error(f, e, "a frame with reserved bits");
    if (frame->mask) return protocol_error(f, e, "a frame that a server has masked");
    f->n_control = 0;
    if (op == WSLAY_CONNECTION_CLOSE || op == WSLAY_PING || op == WSLAY_PONG) return 0;
    if (op == WSLAY_CONTINUATION_FRAME) {
        if (f->opcode == 0) return protocol_error(f, e, "a continuation of nothing");
    } else if (op == WSLAY_TEXT_FRAME || op == WSLAY_BINARY_FRAME) {
        if (f->opcode != 0) return protocol_error(f, e, "a message within a message");
        f->opcode = op;
    } else {
        return protocol_error(f, e, "a frame of an unknown kind");
    }
    if (frame->payload_length > f->max_message - f->message.len)
        return refuse(f, WEBSOCKET_TOO_BIG, e, -EMSGSIZE, "a message larger than the limit");
    return 0;
}

static int take_piece(struct websocket_frames *f, const struct wslay_frame_iocb *frame,
                      struct err *e)
{
    bool is_control = wslay_is_ctrl_frame(frame->opcode);
    int rc = 0;
    if (!f->in_frame) {
        rc = frame_began(f, frame, e);
        f->in_frame = true;
        f->frame_seen = 0;
    }
    if (rc < 0) return rc;
    if (is_control) {
        memcpy(f->control + f->n_control, frame->data, frame->data_length);
        f->n_control += frame->data_length;
    } else {
        text_add(&f->message, frame->data, frame->data_length);
        if (f->message.failed) return refuse(f, WEBSOCKET_TOO_BIG, e, -ENOMEM, "not enough memory");
    }
    f->frame_seen += frame->data_length;
    if (f->frame_seen < frame->payload_length) return 0;
    f->in_frame = false;
    if (is_control) return control_ended(f, frame->opcode, e);
    return frame->fin ? message_ended(f, e) : 0;
}

int websocket_frames_take(struct websocket_frames *f, const char *bytes, size_t n, struct err *e)
{
    f->in = (const uint8_t *)bytes;
    f->n_in = n;
    int rc = 0;
    while (rc == 0 && !f->deaf) {
        struct wslay_frame_iocb frame = {0};
        ssize_t got = wslay_frame_recv(f->wslay, &frame);
        if (got == WSLAY_ERR_WANT_READ) break;
        rc = got < 0 ? protocol_error(f, e, "a frame that is not valid") : take_piece(f, &frame, e);
    }
    f->in = NULL;
    f->n_in = 0;
    return rc;
}

/* What its header says; the library itself says nothing. */
const char *websocket_frames_library(void) { return WSLAY_VERSION; }
