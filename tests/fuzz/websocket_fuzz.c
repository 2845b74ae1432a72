/* WebSocket frames from outside: whatever the bytes and however they are cut, whole messages that
 * are what they say, or a refusal with a close, and nothing behind it. Build: clang
 * -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iruntime -I. tests/fuzz/websocket_fuzz.c \
 *   runtime/net/websocket_frames.c runtime/base/{err,hash,memory,text}.c -lwslay -lcrypto */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/websocket_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_MESSAGE = 300 };

struct seen {
    struct text all; /* kinds, lengths and bytes of what was told */
    bool over;       /* it was refused, or closed by the peer */
};

static void on_frame(void *ud, enum websocket_kind kind, const char *data, size_t len)
{
    struct seen *s = ud;
    assert(!s->over);
    assert(len <= (kind >= WEBSOCKET_PING ? 125 : MAX_MESSAGE));
    assert(kind != WEBSOCKET_TEXT || text_is_utf8(data, len));
    text_addf(&s->all, "%d %zu ", (int)kind, len);
    text_add(&s->all, data, len);
}

/* In pieces of so many bytes. */
static int take(struct seen *s, const char *bytes, size_t n, size_t piece)
{
    struct websocket_frames *f;
    struct err e = {0};
    int rc = 0;
    assert(websocket_frames_open(&f, MAX_MESSAGE, on_frame, s) == 0);
    for (size_t i = 0; i < n; i += piece) {
        size_t len = n - i < piece ? n - i : piece;
        char *copy = malloc(len); /* a block of its own, so that one byte too far is seen */
        memcpy(copy, bytes + i, len);
        int now = websocket_frames_take(f, copy, len, &e);
        free(copy);
        assert(!s->over || now == 0);
        if (now < 0) rc = now;
        s->over = now < 0 || s->over || websocket_frames_close_received(f) != 0;
        assert(s->over == websocket_frames_close_sent(f));
        size_t pending;
        websocket_frames_pending(f, &pending);
        websocket_frames_sent(f, pending);
    }
    assert(rc == e.code);
    websocket_frames_free(f);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, cut = {0};
    if (size < 1) return 0;
    size_t piece = 1 + data[0] % 16;
    int rc = take(&whole, (const char *)data + 1, size - 1, size);
    assert(take(&cut, (const char *)data + 1, size - 1, piece) == rc);
    assert(whole.all.len == cut.all.len && whole.over == cut.over);
    assert(whole.all.len == 0 || memcmp(whole.all.data, cut.all.data, cut.all.len) == 0);
    text_free(&whole.all);
    text_free(&cut.all);
    return 0;
}
