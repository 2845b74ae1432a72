#include "net/curl_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

struct curl_loop {
    struct loop *loop;
    CURLM *multi;
    uv_timer_t timer; /* what curl asks to be woken by */
    curl_done_fn *done;
    void *ud;
    int open_handles; /* the timer and the sockets' polls, until their close callbacks */
    bool closing;
};

struct socket_watch {
    uv_poll_t uv;
    struct curl_loop *owner;
    curl_socket_t fd;
};

int curl_loop_errno(CURLcode rc)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT: return -ECONNREFUSED;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2: /* what a broken connection looks like over HTTP/2 */
    case CURLE_HTTP2_STREAM:
    case CURLE_PARTIAL_FILE: return -ECONNRESET;
    case CURLE_TOO_MANY_REDIRECTS: return -ELOOP;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE: return -EPROTO;
    case CURLE_OUT_OF_MEMORY: return -ENOMEM;
    default: return -EIO;
    }
}

static void tell_done(struct curl_loop *c)
{
    CURLMsg *msg;
    int left;
    while (!c->closing && (msg = curl_multi_info_read(c->multi, &left)) != NULL) {
        if (msg->msg != CURLMSG_DONE) continue;
        CURL *easy = msg->easy_handle; /* msg is gone after the next call into curl */
        CURLcode rc = msg->data.result;
        c->done(c->ud, easy, rc);
    }
}

/* The last handle to be closed takes all of it with it. */
static void let_go(struct curl_loop *c)
{
    if (--c->open_handles == 0) free(c);
}

static void on_closed(uv_handle_t *h) { let_go(h->data); }

static void on_watch_closed(uv_handle_t *h)
{
    struct socket_watch *w = h->data;
    let_go(w->owner);
    free(w);
}

static void on_timer(uv_timer_t *t);

static void act(struct curl_loop *c, curl_socket_t fd, int flags)
{
    enum { LATER_MS = 100 };
    int running;
    /* Where it fails, which is for want of memory, curl leaves a transfer unwatched and does not
     * ask to be woken: without this its time would never be up. */
    if (curl_multi_socket_action(c->multi, fd, flags, &running) != CURLM_OK)
        uv_timer_start(&c->timer, on_timer, LATER_MS, 0);
    tell_done(c);
}

static void on_timer(uv_timer_t *t) { act(t->data, CURL_SOCKET_TIMEOUT, 0); }

static int set_timer(CURLM *multi, long ms, void *ud)
{
    struct curl_loop *c = ud;
    (void)multi;
    if (ms < 0 || c->closing) {
        uv_timer_stop(&c->timer);
    } else {
        uv_update_time(loop_uv(c->loop));
        uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
    }
    return 0;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *w = poll->data;
    int flags = 0;
    /* Told of an error, curl gives up; where it finds one by itself it can tell a connection that
     * was kept and has gone, and takes a new one. */
    if (status < 0) flags |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    act(w->owner, w->fd, flags);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *ud, void *socket_ud)
{
    struct curl_loop *c = ud;
    struct socket_watch *w = socket_ud;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w == NULL) return 0;
        curl_multi_assign(c->multi, fd, NULL);
        uv_poll_stop(&w->uv);
        uv_close((uv_handle_t *)&w->uv, on_watch_closed);
        return 0;
    }
    if (w == NULL) {
        w = xcalloc(1, sizeof *w);
        w->owner = c;
        w->fd = fd;
        if (uv_poll_init(loop_uv(c->loop), &w->uv, fd) < 0) {
            free(w);
            return -1;
        }
        w->uv.data = w;
        c->open_handles++;
        curl_multi_assign(c->multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&w->uv, events, on_socket) < 0 ? -1 : 0;
}

int curl_loop_open(struct curl_loop **out, struct loop *l, curl_done_fn *done, void *ud)
{
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return -ENOMEM;
    initialised = true;
    struct curl_loop *c = xcalloc(1, sizeof *c);
    c->loop = l;
    c->done = done;
    c->ud = ud;
    c->multi = curl_multi_init();
    if (c->multi == NULL) {
        free(c);
        return -ENOMEM;
    }
    uv_timer_init(loop_uv(l), &c->timer);
    c->timer.data = c;
    c->open_handles = 1;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 64L); /* kept when idle */
    *out = c;
    return 0;
}

void curl_loop_close(struct curl_loop *c)
{
    if (c == NULL) return;
    c->closing = true;
    curl_multi_cleanup(c->multi); /* removes its sockets through watch_socket() */
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

int curl_loop_add(struct curl_loop *c, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* else it joins the thread that resolves */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    return curl_multi_add_handle(c->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

void curl_loop_remove(struct curl_loop *c, CURL *easy) { curl_multi_remove_handle(c->multi, easy); }
