/* WebSockets, with every allocation failing once: Lua's, and then those of C and of curl. */
#include "tests/c/bindings/sweep.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <curl/curl.h>

#include "base/base64.h"
#include "base/hash.h"

#define malloc sweep_malloc
#include "runtime/bindings/websocket.c"
#undef malloc

static const char websocket[] =
    "local servers, m = require 'perigee.http_server', require 'perigee.websocket'\n"
    "local server <close> = assert(servers.serve({}, function() return {status = 404} end))\n"
    "local function refused()\n"
    "  local ws <close> = assert(m.start {url = 'ws://127.0.0.1:' .. server:port() .. '/',\n"
    "    open_timeout = 0.3})\n" /* a connection that curl forgets is ended by its time */
    "  local ok, message, code = ws:opened()\n"
    "  assert(not ok and message)\n"
    "  assert(code == 'handshake', 'no memory')\n"
    "  assert(not ws:receive() and ws:ended() and not ws:send 'x')\n"
    "end\n"
    "refused() arm() refused()\n"
    "assert(not m.start {url = 'x:'} and not pcall(m.start, {}))";
TEST(a_handshake_that_fails_survives_lua_without_memory) { sweep_lua(websocket, 20); }
TEST(a_handshake_that_fails_survives_c_without_memory)
{
    sweep_least = 128; /* the names of metrics are never refused */
    sweep_c(websocket, 10);
    sweep_least = 0;
}

/* -- a server, in a process of its own -- */

/* Shakes hands, says two messages and pings; says goodbye when it is told something. */
static void serve(int fd)
{
    static const char says[] = "\x81\x02hi\x89\x01?\x82\x7e\x27\x10";
    static char big[10000];
    char head[4096], text[80], accept[29] = {0};
    unsigned char digest[20];
    size_t n = 0;
    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        ssize_t k = read(fd, head + n, sizeof head - 1 - n);
        if (k < 1) return;
        n += (size_t)k;
    }
    head[n] = '\0';
    const char *key = strstr(head, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    hash_sha1(text, strlen(text), digest);
    base64_encode(digest, sizeof digest, accept);
    dprintf(fd,
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: %s\r\n\r\n",
            accept);
    if (write(fd, says, sizeof says - 1) < 0 || write(fd, big, sizeof big) < 0) return;
    for (n = 0; n < 7 + 8; n++) /* a pong, and a message of two */
        if (read(fd, head, 1) < 1) return;
    if (write(fd, "\x88\x02\x03\xe8", 4) < 0) return;
    while (read(fd, head, sizeof head) > 0) continue;
}

static pid_t start_server(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    char port[16];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 16) == 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(port, sizeof port, "%d", ntohs(a.sin_port));
    setenv("PORT", port, 1);
    pid_t child = fork();
    if (child == 0) signal(SIGPIPE, SIG_IGN);
    while (child == 0) {
        int connection = accept(fd, NULL, NULL);
        serve(connection);
        close(connection);
    }
    close(fd);
    return child;
}

static const char talk[] =
    "local m = require 'perigee.websocket'\n"
    "local function talk()\n"
    "  local ws <close> = assert(m.start {url = 'ws://127.0.0.1:' .. os.getenv 'PORT' .. '/',\n"
    "    open_timeout = 0.3, close_timeout = 0.1})\n"
    "  local ok, message = ws:opened()\n"
    "  if not ok then error('no memory: ' .. message, 0) end\n"
    "  assert(ws:send 'yo', 'no memory')\n"
    "  local text, is_text = ws:receive(0.3)\n"
    "  assert(text, 'no memory')\n"
    "  assert(text == 'hi' and is_text)\n"
    "  text, is_text = ws:receive(0.3)\n"
    "  assert(text, 'no memory')\n"
    "  assert(#text == 10000 and not is_text)\n"
    "  local _, message, code = ws:receive(0.3)\n"
    "  assert(code == 'closed' and message == 'closed with code 1000', 'no memory: ' .. message)\n"
    "end\n"
    "talk() arm() talk()";
TEST(messages_survive_lua_without_memory) { sweep_lua(talk, 20); }
TEST(messages_survive_c_without_memory) { sweep_c(talk, 20); }

TEST(a_frame_without_memory_leaves_nothing_of_itself)
{
    static char block[10000];
    int rc = -ENOMEM;
    for (long left = 0; rc != 0; left++) {
        struct websocket_frames *f;
        size_t n;
        assert_int_equal(websocket_frames_open(&f, 1000, NULL, NULL), 0);
        sweep_left = left;
        rc = websocket_frames_send(f, WEBSOCKET_TEXT, block, sizeof block);
        sweep_left = SWEEP_ALL;
        assert_true(rc == 0 || rc == -ENOMEM);
        websocket_frames_pending(f, &n);
        assert_int_equal(n, rc == 0 ? 8 + sizeof block : 0);
        assert_int_equal(websocket_frames_send(f, WEBSOCKET_TEXT, "x", 1), 0);
        const char *pending = websocket_frames_pending(f, &n);
        if (rc < 0) assert_true(n == 7 && memcmp(pending, "\x81\x81", 2) == 0);
        websocket_frames_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_handshake_that_fails_survives_lua_without_memory),
        CHECK(a_handshake_that_fails_survives_c_without_memory),
        CHECK(messages_survive_lua_without_memory),
        CHECK(messages_survive_c_without_memory),
        CHECK(a_frame_without_memory_leaves_nothing_of_itself),
    };
    alarm(300); /* what hangs is ended */
    pid_t server = start_server();
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, sweep_malloc, free, sweep_realloc, sweep_strdup,
                         sweep_calloc);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return rc;
}
