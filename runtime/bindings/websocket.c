/* The Lua module perigee.websocket: a connection, its messages waited for. Its face is
 * websocket.lua. */
#include "net/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/state.h"
#include "host/task.h"

#define TYPE "perigee.websocket"

/* Beyond it no more is read from the connection until some have been received. */
enum { MAX_QUEUED = 64, MAX_QUEUED_BYTES = 4 << 20 };

struct message {
    struct message *next;
    size_t len;
    bool is_text;
    char data[];
};

struct box {
    struct websocket *ws;                /* NULL once it has ended */
    struct event opened, arrived, ended; /* opened and arrived are set by the end, too */
    bool is_open;
    int rc, code; /* how it ended */
    struct err err;
    struct message *first, **last;
    size_t n_queued, queued_bytes;
};

static struct box *check(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

static void on_opened(void *ud)
{
    struct box *b = ud;
    b->is_open = true;
    event_set(&b->opened);
}

static void on_frame(void *ud, enum websocket_kind kind, const char *data, size_t len)
{
    struct box *b = ud;
    if (kind != WEBSOCKET_TEXT && kind != WEBSOCKET_BINARY) return;
    struct message *m = malloc(sizeof *m + len);
    if (m == NULL) { /* whoever sent it sends it again to the next connection, or it is lost */
        websocket_close(b->ws);
        return;
    }
    m->next = NULL;
    m->len = len;
    m->is_text = kind == WEBSOCKET_TEXT;
    memcpy(m->data, data, len);
    *b->last = m;
    b->last = &m->next;
    b->n_queued++;
    b->queued_bytes += len;
    if (b->n_queued >= MAX_QUEUED || b->queued_bytes >= MAX_QUEUED_BYTES)
        websocket_pause(b->ws, true);
    event_set(&b->arrived);
}

static void on_closed(void *ud, int rc, int code, const struct err *e)
{
    struct box *b = ud;
    b->ws = NULL;
    b->is_open = false;
    b->rc = rc;
    b->code = code;
    b->err = *e;
    event_set(&b->opened);
    event_set(&b->arrived);
    event_set(&b->ended);
}

static struct message *take(struct box *b)
{
    struct message *m = b->first;
    if (m == NULL) return NULL;
    b->first = m->next;
    if (b->first == NULL) b->last = &b->first;
    b->n_queued--;
    b->queued_bytes -= m->len;
    if (b->first == NULL && b->ws != NULL) b->arrived.set = false;
    if (b->ws != NULL && b->n_queued == 0) websocket_pause(b->ws, false);
    return m;
}

static int l_abandon(lua_State *L) /* __gc and __close */
{
    struct box *b = check(L);
    struct message *m;
    if (b->ws != NULL) {
        websocket_abandon(b->ws);
        on_closed(b, 0, 0, &(struct err){0});
    }
    while ((m = take(b)) != NULL) free(m);
    return 0;
}

/* start{url=, ca_file=, max_message=, open_timeout=, close_timeout=, ping_interval=, pong_timeout=,
 * peer_ping_timeout=} -> websocket | nil, message. Times in seconds. */
static int l_start(lua_State *L)
{
    static const struct websocket_events events = {on_opened, on_frame, on_closed};
    luaL_checktype(L, 1, LUA_TTABLE);
    struct websocket_options o = {
        .url = bind_opt_string(L, 1, "url", NULL),
        .ca_file = bind_opt_string(L, 1, "ca_file", NULL),
        .max_message = (size_t)bind_opt_integer(L, 1, "max_message", 1 << 20),
        .open_timeout_ms = (int64_t)(bind_opt_number(L, 1, "open_timeout", 10) * 1000),
        .close_timeout_ms = (int64_t)(bind_opt_number(L, 1, "close_timeout", 1) * 1000),
        .ping_ms = (int64_t)(bind_opt_number(L, 1, "ping_interval", 5) * 1000),
        .pong_timeout_ms = (int64_t)(bind_opt_number(L, 1, "pong_timeout", 20) * 1000),
        .peer_ping_timeout_ms = (int64_t)(bind_opt_number(L, 1, "peer_ping_timeout", 0) * 1000),
    };
    luaL_argcheck(L, o.url != NULL, 1, "url is missing");
    struct err e = {0};
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0); /* … box */
    memset(b, 0, sizeof *b);
    event_init(&b->opened);
    event_init(&b->arrived);
    event_init(&b->ended);
    b->last = &b->first;
    luaL_setmetatable(L, TYPE);
    if (websocket_open(&b->ws, state_of(L)->host->loop, &o, &events, b, &e) < 0)
        return bind_error(L, &e);
    return 1;
}

/* nil, message, code: why there is nothing more. */
static int push_end(lua_State *L, const struct box *b)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {{0, "closed"},          {-ETIMEDOUT, "timeout"}, {-ECONNREFUSED, "connection"},
                 {-EHOSTUNREACH, "dns"}, {-ECONNRESET, "reset"},  {-EMSGSIZE, "too_large"},
                 {-EPROTO, "protocol"},  {-EBADMSG, "handshake"}};
    const char *name = "io";
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == b->rc) name = codes[i].name;
    lua_pushnil(L);
    if (b->rc == 0)
        lua_pushfstring(L, "closed with code %d", b->code);
    else
        lua_pushstring(L, b->err.text);
    lua_pushstring(L, name);
    return 3;
}

static int push_waiting(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "nothing within the time");
    lua_pushliteral(L, "waiting");
    return 3;
}

static int wait_for(lua_State *L, struct event *e, lua_CFunction wait, lua_KFunction then)
{
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    if (e->set) {
        lua_settop(L, 1);
        return then(L, LUA_OK, 0);
    }
    lua_settop(L, 1);
    lua_pushcfunction(L, wait);
    lua_pushvalue(L, 1);
    lua_pushnumber(L, seconds);
    lua_callk(L, 2, 1, 0, then);
    return then(L, LUA_OK, 0);
}

static int l_wait_opened(lua_State *L)
{
    return event_wait(L, &check(L)->opened, luaL_checknumber(L, 2));
}

static int push_opened(lua_State *L, int status, lua_KContext context)
{
    struct box *b = check(L);
    (void)status;
    (void)context;
    if (!b->opened.set) return push_waiting(L);
    if (!b->is_open) return push_end(L, b);
    lua_pushboolean(L, true);
    return 1;
}

/* websocket:opened([seconds]) -> true | nil, message, code; code "waiting" where it is neither open
 * nor at its end by then */
static int l_opened(lua_State *L)
{
    return wait_for(L, &check(L)->opened, l_wait_opened, push_opened);
}

static int l_wait_arrived(lua_State *L)
{
    return event_wait(L, &check(L)->arrived, luaL_checknumber(L, 2));
}

static int push_received(lua_State *L, int status, lua_KContext context)
{
    struct box *b = check(L);
    (void)status;
    (void)context;
    struct message *m = b->first;
    if (m == NULL) return b->ended.set ? push_end(L, b) : push_waiting(L);
    lua_pushlstring(L, m->data, m->len);
    lua_pushboolean(L, m->is_text);
    free(take(b));
    return 2;
}

/* websocket:receive([seconds]) -> message, is_text | nil, message, code; code "waiting" where there
 * is none by then, "closed" behind an orderly end. One task at a time. */
static int l_receive(lua_State *L)
{
    return wait_for(L, &check(L)->arrived, l_wait_arrived, push_received);
}

static int l_wait_ended(lua_State *L)
{
    return event_wait(L, &check(L)->ended, luaL_checknumber(L, 2));
}

static int push_ended(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pushboolean(L, check(L)->ended.set);
    return 1;
}

static int l_ended(lua_State *L) /* websocket:ended([seconds]) -> boolean */
{
    return wait_for(L, &check(L)->ended, l_wait_ended, push_ended);
}

static int l_send(lua_State *L) /* websocket:send(text) -> true | nil, message */
{
    struct box *b = check(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    int rc = b->ws != NULL ? websocket_send(b->ws, text, len) : -ENOTCONN;
    if (rc < 0) return bind_fail(L, rc);
    lua_pushboolean(L, true);
    return 1;
}

static int l_close(lua_State *L) /* websocket:close(): in order; ended() waits for it */
{
    struct box *b = check(L);
    if (b->ws != NULL) websocket_close(b->ws);
    return 0;
}

int luaopen_perigee_websocket(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"opened", l_opened}, {"receive", l_receive}, {"ended", l_ended}, {"send", l_send},
        {"close", l_close},   {"abandon", l_abandon}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"start", l_start}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_abandon);
    luaL_newlib(L, functions);
    return 1;
}
