#include "bindings/exchange.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bindings/bind.h"
#include "host/task.h"

#define TYPE "perigee.exchange"

static const char failed[] =
    "{\"status\":\"error\",\"errorType\":\"internal\",\"error\":\"internal error\"}";
static const char *const failed_headers[] = {"Content-Type", "application/json", NULL};

struct box {
    struct http_exchange *x; /* NULL once answered */
    bool streams;            /* its answer has begun */
};

/* The handler will not: an answer that has begun is cut off, which its client is to see; any other
 * is a failure. */
static void give_up(struct box *b)
{
    if (b->x != NULL && b->streams)
        http_drop(b->x);
    else if (b->x != NULL)
        http_respond(b->x, 500, failed_headers, failed, sizeof failed - 1);
    b->x = NULL;
}

static int l_drop(lua_State *L) /* a task that was cancelled leaves its client without an answer */
{
    give_up(luaL_checkudata(L, 1, TYPE));
    return 0;
}

/* -- the request -- */

static void add_header(void *ud, const char *name, const char *value)
{
    lua_State *L = ud; /* … headers */
    luaL_Buffer lower;
    luaL_buffinit(L, &lower);
    for (; *name; name++) luaL_addchar(&lower, (char)tolower((unsigned char)*name));
    luaL_pushresult(&lower);
    lua_pushstring(L, value);
    lua_rawset(L, -3);
}

static void push_request(lua_State *L, const struct http_exchange *x)
{
    size_t len;
    lua_createtable(L, 0, 6); /* request */
    lua_pushstring(L, http_method(x));
    lua_setfield(L, -2, "method");
    lua_pushstring(L, http_path(x));
    lua_setfield(L, -2, "path");
    lua_pushstring(L, http_query(x));
    lua_setfield(L, -2, "query");
    lua_pushstring(L, http_peer(x));
    lua_setfield(L, -2, "peer");
    const char *body = http_body(x, &len);
    lua_pushlstring(L, body, len);
    lua_setfield(L, -2, "body");
    lua_newtable(L); /* request headers */
    http_each_header(x, add_header, L);
    lua_setfield(L, -2, "headers");
}

/* -- the answer -- */

/* respond(box, answer) -> the function that makes the answer's pieces, or nil where it is whole */
static int l_respond(lua_State *L)
{
    enum { MAX_HEADERS = 32 };
    struct box *b = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, b->x != NULL, 1, "already answered");
    luaL_argexpected(L, lua_istable(L, 2), 2, "table {status=, headers=, body=}");
    int status = (int)bind_opt_integer(L, 2, "status", 200);
    const char *headers[2 * MAX_HEADERS + 1] = {NULL};
    size_t n = 0, len = 0;
    const char *body = "";
    if (lua_getfield(L, 2, "body") != LUA_TNIL) body = luaL_checklstring(L, -1, &len);
    luaL_argcheck(L, status >= 200 && status <= 599, 2, "status is not between 200 and 599");
    if (lua_getfield(L, 2, "headers") == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, -2) && n < MAX_HEADERS; lua_pop(L, 1)) {
            /* No conversion of either: that would confuse lua_next(). The table holds the strings.
             */
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
                return luaL_error(L, "headers are a table of names and texts");
            headers[2 * n] = lua_tostring(L, -2);
            headers[2 * n++ + 1] = lua_tostring(L, -1);
        }
    }
    struct http_exchange *x = b->x;
    if (lua_getfield(L, 2, "stream") == LUA_TFUNCTION) {
        b->streams = true;
        http_begin(x, status, headers);
        return 1;
    }
    bool drop = lua_getfield(L, 2, "drop") != LUA_TNIL;
    b->x = NULL; /* behind all that may fail for want of memory */
    if (drop)
        http_drop(x);
    else
        http_respond(x, status, headers, body, len);
    return 0;
}

static int l_send(lua_State *L) /* send(text) -> boolean: whether the client is still there */
{
    struct box *b = luaL_checkudata(L, lua_upvalueindex(1), TYPE);
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushboolean(L, b->x != NULL && http_send(b->x, text, len));
    return 1;
}

static int end_stream(lua_State *L, int status, lua_KContext context) /* box … */
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    (void)status;
    (void)context;
    if (b->x != NULL) http_end(b->x);
    b->x = NULL;
    return 0;
}

/* In the request's task: respond(box, handler(request)), and the stream, where there is one. */
static int go_on(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pushcfunction(L, l_respond); /* box answer respond */
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1); /* box answer stream */
    if (lua_isnil(L, -1)) return 0;
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, l_send, 1); /* box answer stream send */
    lua_callk(L, 1, 0, 0, end_stream);
    return end_stream(L, LUA_OK, 0);
}

static int l_handle(lua_State *L) /* box handler */
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    push_request(L, b->x); /* box handler request */
    lua_callk(L, 1, 1, 0, go_on);
    return go_on(L, LUA_OK, 0);
}

static void on_end(void *ud, struct task *t, const char *error)
{
    struct box *b = ud;
    (void)t;
    if (error != NULL)
        log_write(LOG_ERROR, "a request's handler failed",
                  (const struct log_field[]){{"error", error}, {NULL, NULL}});
    give_up(b);
}

static int l_dispatch(lua_State *L) /* handler reference, exchange */
{
    struct http_exchange *x = lua_touserdata(L, 2);
    lua_pushcfunction(L, l_handle);
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0); /* … handle box */
    memset(b, 0, sizeof *b);
    luaL_setmetatable(L, TYPE);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua_tointeger(L, 1)); /* … handle box handler */
    task_on_end(task_spawn(L, 2), on_end, b);
    b->x = x; /* from here on the task answers */
    return 0;
}

void exchange_dispatch(struct state *s, int handler, struct http_exchange *x)
{
    struct err e;
    lua_pushcfunction(s->L, l_dispatch);
    lua_pushinteger(s->L, handler);
    lua_pushlightuserdata(s->L, x);
    if (state_call(s, 2, 0, &e) == 0) return;
    log_printf(LOG_ERROR, "a request could not be handled: %s", e.text);
    http_respond(x, 500, failed_headers, failed, sizeof failed - 1);
}

void exchange_open(lua_State *L) { bind_type(L, TYPE, (const luaL_Reg[]){{NULL, NULL}}, l_drop); }
