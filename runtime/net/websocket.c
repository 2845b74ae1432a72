#include "net/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "net/curl_loop.h"
#include "net/url.h"
#include "net/websocket_handshake.h"

/* Connecting: curl has the socket. Shaking hands, open, closing: we poll it. Over: only closed() is
 * still to be told. */
enum state { CONNECTING, SHAKING, OPEN, CLOSING, OVER };

enum { CHUNK = 16384, MAX_HEAD = 16384, MAX_CHUNKS = 64 };

struct poll {
    uv_poll_t uv; /* outlives the websocket by the turn that closing a handle takes */
};

struct websocket {
    struct loop *loop;
    struct curl_loop *curl;
    CURL *easy;
    struct poll *poll; /* NULL while curl has the socket, and once it is gone */
    uv_timer_t timer;
    enum state state;
    bool paused, unread; /* unread: bytes may be there that the socket does not tell of */
    struct websocket_frames *frames;
    struct text request, head; /* the handshake's two halves; of ours what is not sent yet */
    char out[CHUNK]; /* being sent, from out_at on: what TLS has begun with must not move */
    size_t n_out, out_at;
    char key[WEBSOCKET_KEY],
        *where;          /* where: what errors may show of the URL, which is not its query */
    int64_t deadline_ms; /* of opening or closing */
    int64_t next_ping_ms, last_pong_ms, last_peer_ping_ms; /* the last: 0 before there was one */
    int64_t close_timeout_ms, ping_ms, pong_timeout_ms, peer_ping_timeout_ms;
    char curl_error[CURL_ERROR_SIZE];
    struct err err; /* the first thing that went wrong; code 0: nothing has */
    struct websocket_events events;
    void *ud;
};

static int64_t now_ms(void) { return clock_monotonic_ns() / 1000000; }

/* -- the end -- */

static void free_poll(uv_handle_t *h) { free(h); }

static void release(struct websocket *ws)
{
    if (ws->poll != NULL) uv_close((uv_handle_t *)&ws->poll->uv, free_poll);
    ws->poll = NULL;
    if (ws->easy != NULL) { /* which closes the connection, too */
        curl_loop_remove(ws->curl, ws->easy);
        curl_easy_cleanup(ws->easy);
    }
    ws->easy = NULL;
}

static void free_websocket(uv_handle_t *timer)
{
    struct websocket *ws = timer->data;
    websocket_frames_free(ws->frames);
    text_free(&ws->head);
    text_free(&ws->request);
    free(ws->where);
    free(ws);
}

static void dispose(struct websocket *ws)
{
    release(ws);
    curl_loop_close(ws->curl);
    uv_close((uv_handle_t *)&ws->timer, free_websocket);
}

static void on_timer(uv_timer_t *t);

/* Wakes us when something falls due: at once where it is over, or more may be read. */
static void arm(struct websocket *ws)
{
    int64_t due = ws->deadline_ms;
    if (ws->state == OPEN) due = ws->next_ping_ms;
    if (ws->state == OVER || ws->unread) due = 0;
    int64_t wait = due - now_ms();
    uv_update_time(loop_uv(ws->loop));
    uv_timer_start(&ws->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* It ends here; the events hear of it from the timer. */
static void finish(struct websocket *ws)
{
    if (ws->state == OVER) return;
    ws->state = OVER;
    release(ws);
    arm(ws);
}

static void fail(struct websocket *ws, int code, const char *words)
{
    if (ws->state != OVER && ws->err.code == 0) err_set(&ws->err, code, "%s: %s", ws->where, words);
    finish(ws);
}

static void fail_by_curl(struct websocket *ws, CURLcode rc)
{
    fail(ws, curl_loop_errno(rc), ws->curl_error[0] ? ws->curl_error : curl_easy_strerror(rc));
}

/* A close is queued: it is sent, and the peer's own is waited for a while. */
static void begin_closing(struct websocket *ws)
{
    if (ws->state != OPEN) return;
    ws->state = CLOSING;
    ws->deadline_ms = now_ms() + ws->close_timeout_ms;
    arm(ws);
}

/* -- bytes out -- */

static const char *pending(const struct websocket *ws, size_t *n)
{
    if (ws->state != SHAKING) return websocket_frames_pending(ws->frames, n);
    *n = ws->request.len;
    return ws->request.data;
}

static void sent(struct websocket *ws, size_t n)
{
    if (ws->state != SHAKING) {
        websocket_frames_sent(ws->frames, n);
        return;
    }
    ws->request.len -= n;
    memmove(ws->request.data, ws->request.data + n, ws->request.len + 1);
}

/* Whether there is something to be sent, which then lies in out. */
static bool has_more(struct websocket *ws)
{
    size_t n;
    if (ws->out_at < ws->n_out) return true;
    const char *data = pending(ws, &n);
    ws->out_at = 0;
    ws->n_out = n < CHUNK ? n : CHUNK;
    if (n == 0) return false;
    memcpy(ws->out, data, ws->n_out);
    sent(ws, ws->n_out);
    return true;
}

static void on_socket(uv_poll_t *poll, int status, int events);

static void flush(struct websocket *ws)
{
    size_t n = 0;
    bool more;
    if (ws->poll == NULL) return;
    while ((more = has_more(ws))) {
        CURLcode rc = curl_easy_send(ws->easy, ws->out + ws->out_at, ws->n_out - ws->out_at, &n);
        if (rc == CURLE_AGAIN) break;
        if (rc != CURLE_OK) {
            fail_by_curl(ws, rc);
            return;
        }
        ws->out_at += n;
    }
    if (ws->state == CLOSING && !more && websocket_frames_close_received(ws->frames) != 0) {
        finish(ws);
        return;
    }
    int events = (ws->paused ? 0 : UV_READABLE) | (more ? UV_WRITABLE : 0);
    uv_poll_stop(&ws->poll->uv);
    if (events != 0 && uv_poll_start(&ws->poll->uv, events, on_socket) < 0)
        fail(ws, -EIO, "the socket cannot be watched");
}

/* -- bytes in -- */

static void on_frame(void *ud, enum websocket_kind kind, const char *data, size_t len)
{
    struct websocket *ws = ud;
    if (kind == WEBSOCKET_PONG) ws->last_pong_ms = now_ms();
    if (kind == WEBSOCKET_PING) ws->last_peer_ping_ms = now_ms();
    ws->events.received(ws->ud, kind, data, len);
}

static void take_frames(struct websocket *ws, const char *bytes, size_t n)
{
    struct err e = {0};
    if (websocket_frames_take(ws->frames, bytes, n, &e) < 0 && ws->err.code == 0)
        err_set(&ws->err, e.code, "%s sent %s", ws->where, e.text);
    if (websocket_frames_close_sent(ws->frames)) begin_closing(ws);
}

/* -- the handshake -- */

static void opened(struct websocket *ws)
{
    ws->state = OPEN;
    ws->last_pong_ms = now_ms();
    ws->next_ping_ms = now_ms() + ws->ping_ms;
    arm(ws);
    ws->events.opened(ws->ud);
}

static void take_head(struct websocket *ws, const char *bytes, size_t n)
{
    char words[64];
    text_add(&ws->head, bytes, n);
    if (ws->head.failed) {
        fail(ws, -ENOMEM, "not enough memory");
        return;
    }
    const char *end = strstr(ws->head.data, "\r\n\r\n");
    size_t len = end != NULL ? (size_t)(end - ws->head.data) + 4 : ws->head.len;
    if (len > MAX_HEAD || memchr(ws->head.data, '\0', len) != NULL) {
        fail(ws, -EBADMSG, "the head of the answer is not valid");
        return;
    }
    if (end == NULL) return;
    const char *wrong = websocket_refusal(ws->head.data, ws->key, words);
    if (wrong != NULL) {
        fail(ws, -EBADMSG, wrong);
        return;
    }
    opened(ws);
    if (ws->head.len > len) take_frames(ws, ws->head.data + len, ws->head.len - len);
    text_free(&ws->head);
}

/* -- the socket -- */

static void ended_by_peer(struct websocket *ws)
{
    if (ws->state == SHAKING)
        fail(ws, -ECONNRESET, "the connection ended before it was open");
    else if (ws->state == OPEN)
        fail(ws, -ECONNRESET, "the connection ended without a close");
    else
        finish(ws);
}

/* TLS may hold bytes that the socket no longer shows: all there is is read, and of a peer that
 * never pauses some, with the rest left to the next turn. */
static void read_all(struct websocket *ws)
{
    ws->unread = false;
    for (int i = 0; i < MAX_CHUNKS; i++) {
        char chunk[CHUNK];
        size_t n = 0;
        if (ws->poll == NULL || ws->paused) return;
        CURLcode rc = curl_easy_recv(ws->easy, chunk, sizeof chunk, &n);
        if (rc == CURLE_AGAIN) return;
        if (rc != CURLE_OK && ws->state != CLOSING)
            fail_by_curl(ws, rc);
        else if (rc != CURLE_OK || n == 0)
            ended_by_peer(ws);
        else if (ws->state == SHAKING)
            take_head(ws, chunk, n);
        else
            take_frames(ws, chunk, n);
    }
    ws->unread = true;
    arm(ws);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct websocket *ws = poll->data;
    if (status < 0 || (events & UV_READABLE)) read_all(ws);
    flush(ws);
}

/* curl has connected: from here on the socket is ours to watch, and curl's to read and write. */
static void on_connected(void *ud, CURL *easy, CURLcode rc)
{
    struct websocket *ws = ud;
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (rc == CURLE_OK) rc = curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
    if (rc != CURLE_OK || fd == CURL_SOCKET_BAD) {
        fail_by_curl(ws, rc != CURLE_OK ? rc : CURLE_COULDNT_CONNECT);
        return;
    }
    ws->poll = xcalloc(1, sizeof *ws->poll);
    ws->poll->uv.data = ws;
    if (uv_poll_init(loop_uv(ws->loop), &ws->poll->uv, fd) < 0) {
        free(ws->poll);
        ws->poll = NULL;
        fail(ws, -EIO, "the socket cannot be watched");
        return;
    }
    ws->state = SHAKING;
    flush(ws);
}

/* -- time -- */

static void keep_alive(struct websocket *ws, int64_t now)
{
    char words[80];
    if (ws->paused) { /* what would show that the peer lives may lie unread */
        ws->last_pong_ms = now;
        if (ws->last_peer_ping_ms > 0) ws->last_peer_ping_ms = now;
    }
    if (now - ws->last_pong_ms >= ws->pong_timeout_ms) {
        snprintf(words, sizeof words, "no pong for %g s", (double)ws->pong_timeout_ms / 1000);
        fail(ws, -ETIMEDOUT, words);
    } else if (ws->peer_ping_timeout_ms > 0 && ws->last_peer_ping_ms > 0 &&
               now - ws->last_peer_ping_ms >= ws->peer_ping_timeout_ms) {
        snprintf(words, sizeof words, "no ping for %g s", (double)ws->peer_ping_timeout_ms / 1000);
        fail(ws, -ETIMEDOUT, words);
    } else if (now >= ws->next_ping_ms) {
        websocket_frames_send(ws->frames, WEBSOCKET_PING, "perigee", strlen("perigee"));
        ws->next_ping_ms = now + ws->ping_ms;
    }
}

static void tell_end(struct websocket *ws)
{
    struct websocket_events events = ws->events;
    void *ud = ws->ud;
    struct err e = ws->err;
    int code = websocket_frames_close_received(ws->frames);
    dispose(ws);
    events.closed(ud, e.code, code, &e);
}

static void on_timer(uv_timer_t *t)
{
    struct websocket *ws = t->data;
    int64_t now = now_ms();
    if (ws->state == OVER) {
        tell_end(ws);
        return;
    }
    if (ws->unread) read_all(ws);
    if (ws->state == OPEN)
        keep_alive(ws, now);
    else if (ws->state == CLOSING && now >= ws->deadline_ms)
        finish(ws);
    else if (ws->state < OPEN && now >= ws->deadline_ms)
        fail(ws, -ETIMEDOUT, "it did not open in time");
    flush(ws);
    arm(ws);
}

/* -- the outside -- */

static int prepare(struct websocket *ws, const struct websocket_options *o, const char *url)
{
    CURL *easy = ws->easy = curl_easy_init();
    if (easy == NULL || curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK) return -ENOMEM;
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, ws->curl_error);
    if (o->ca_file != NULL) { /* all that are believed, so not the system's folder beside it */
        curl_easy_setopt(easy, CURLOPT_CAINFO, o->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    return curl_loop_add(ws->curl, easy);
}

static void set_times(struct websocket *ws, const struct websocket_options *o)
{
    ws->deadline_ms = now_ms() + o->open_timeout_ms;
    ws->close_timeout_ms = o->close_timeout_ms;
    ws->ping_ms = o->ping_ms;
    ws->pong_timeout_ms = o->pong_timeout_ms;
    ws->peer_ping_timeout_ms = o->peer_ping_timeout_ms;
}

/* As http or https, which is what curl and url.h know. */
static int parse(struct url *u, struct text *url, const char *text, struct err *e)
{
    *u = (struct url){0};
    if (strncasecmp(text, "ws://", 5) != 0 && strncasecmp(text, "wss://", 6) != 0)
        return err_set(e, -EINVAL, "no ws:// or wss:// URL");
    text_addf(url, "http%s", text + 2);
    if (url->failed) return err_set(e, -ENOMEM, "not enough memory");
    int rc = url_parse(u, url->data, e);
    if (rc == 0 && u->has_user) return err_set(e, -EINVAL, "a password in the URL");
    return rc;
}

static int start(struct websocket *ws, const struct websocket_options *o, const struct url *u,
                 const char *url)
{
    struct text where = {0};
    text_addf(&where, "ws%s://%s:%d%s", strcmp(u->scheme, "https") == 0 ? "s" : "", u->host,
              u->port, u->path);
    ws->where = where.data;
    websocket_request(&ws->request, u, ws->key);
    if (where.failed || ws->request.failed) return -ENOMEM;
    int rc = websocket_frames_open(&ws->frames, o->max_message, on_frame, ws);
    return rc < 0 ? rc : prepare(ws, o, url);
}

int websocket_open(struct websocket **out, struct loop *l, const struct websocket_options *o,
                   const struct websocket_events *events, void *ud, struct err *e)
{
    struct url u;
    struct text url = {0};
    struct websocket *ws = NULL;
    int rc = parse(&u, &url, o->url, e);
    if (rc < 0) goto end;
    ws = xcalloc(1, sizeof *ws);
    ws->loop = l;
    ws->events = *events;
    ws->ud = ud;
    rc = curl_loop_open(&ws->curl, l, on_connected, ws);
    if (rc < 0) {
        free(ws);
        err_sys(e, rc, "cannot connect");
        goto end;
    }
    uv_timer_init(loop_uv(l), &ws->timer);
    ws->timer.data = ws;
    set_times(ws, o);
    rc = start(ws, o, &u, url.data);
    if (rc < 0) {
        dispose(ws);
        err_sys(e, rc, "cannot connect");
        goto end;
    }
    arm(ws);
    *out = ws;
end:
    url_free(&u);
    text_free(&url);
    return rc;
}

int websocket_send(struct websocket *ws, const char *data, size_t len)
{
    if (ws->state != OPEN) return -ENOTCONN;
    int rc = websocket_frames_send(ws->frames, WEBSOCKET_TEXT, data, len);
    flush(ws);
    return rc;
}

void websocket_pause(struct websocket *ws, bool paused)
{
    if (ws->paused == paused) return;
    ws->paused = paused;
    ws->unread = !paused;
    flush(ws);
    arm(ws);
}

void websocket_close(struct websocket *ws)
{
    if (ws->state < OPEN) finish(ws);
    if (ws->state != OPEN) return;
    websocket_frames_close(ws->frames, WEBSOCKET_NORMAL);
    begin_closing(ws);
    flush(ws);
}

void websocket_abandon(struct websocket *ws) { dispose(ws); }
