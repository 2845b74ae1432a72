/* The Lua module perigee.http_server: each request becomes a task. Its face is http.lua. */
#include "net/http_server.h"

#include <ctype.h>
#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "bindings/exchange.h"
#include "host/state.h"
#include "host/task.h"

#define TYPE "perigee.http_server"

struct box {
    struct http_server *server; /* NULL once closed */
    struct state *state;
    int handler; /* reference of the Lua function */
};

static void on_request(void *ud, struct http_exchange *x)
{
    struct box *b = ud;
    exchange_dispatch(b->state, b->handler, x);
}

static int l_close(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    if (b->server == NULL) return 0;
    http_server_close(b->server);
    b->server = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, b->handler);
    return 0;
}

/* serve({host=, port=, max_body=, max_connections=, request_timeout=, answer_timeout=}, handler) ->
 * server | nil, message. handler(request) -> {status=, headers=, body=}, in a task of its own. With
 * stream=function(send) the body is what that sends; with drop=true there is no answer. */
static int l_serve(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct http_server_options o = {
        .host = bind_opt_string(L, 1, "host", "127.0.0.1"),
        .port = (int)bind_opt_integer(L, 1, "port", 0),
        .max_body = (size_t)bind_opt_integer(L, 1, "max_body", 1 << 20),
        .max_connections = (unsigned)bind_opt_integer(L, 1, "max_connections", 200),
        .request_ms = (int64_t)(bind_opt_number(L, 1, "request_timeout", 10) * 1000),
        .answer_ms = (int64_t)(bind_opt_number(L, 1, "answer_timeout", 30) * 1000),
    };
    luaL_argcheck(L, o.port >= 0 && o.port <= 65535, 1, "a port is between 0 and 65535");
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0); /* options handler box */
    memset(b, 0, sizeof *b);
    luaL_setmetatable(L, TYPE);
    b->state = state_of(L);
    lua_pushvalue(L, 2);
    b->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    struct err e = {0};
    if (http_server_open(&b->server, b->state->host->loop, &o, on_request, b, &e) < 0) {
        luaL_unref(L, LUA_REGISTRYINDEX, b->handler);
        return bind_error(L, &e);
    }
    return 1;
}

static int l_port(lua_State *L) /* server:port() -> the port it listens on */
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, b->server != NULL, 1, "already closed");
    lua_pushinteger(L, http_server_port(b->server));
    return 1;
}

int luaopen_perigee_http_server(lua_State *L)
{
    static const luaL_Reg methods[] = {{"port", l_port}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"serve", l_serve}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    exchange_open(L);
    luaL_newlib(L, functions);
    return 1;
}
