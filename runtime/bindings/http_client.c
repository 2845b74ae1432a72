/* The Lua module perigee.http_client: one request, waited for whole or read line by line. Its face
 * is http.lua. */
#include "net/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/line_reader.h"
#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/state.h"
#include "host/task.h"

struct http_op {
    struct op op;
    struct http_call *call; /* NULL once it has ended */
    int rc;
    struct err err;
    struct http_response response;
    int refuse_port; /* guarded: our own listener */
};

static void push_headers(lua_State *L, const struct text *headers)
{
    lua_newtable(L); /* t */
    const char *line = headers->data, *end = line != NULL ? line + headers->len : NULL;
    while (line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        if (eol == NULL) eol = end;
        const char *colon = memchr(line, ':', (size_t)(eol - line));
        if (colon != NULL) {
            luaL_Buffer name;
            luaL_buffinit(L, &name);
            for (const char *c = line; c < colon; c++)
                luaL_addchar(&name, (char)tolower((unsigned char)*c));
            luaL_pushresult(&name); /* t name */
            const char *value = colon + 1, *last = eol;
            while (value < last && isspace((unsigned char)*value)) value++;
            while (last > value && isspace((unsigned char)last[-1])) last--;
            lua_pushlstring(L, value, (size_t)(last - value)); /* t name value */
            lua_rawset(L, -3);
        }
        line = eol + 1;
    }
}

/* A response, or nil, message and code: their number. */
static int push_answer(lua_State *L, int rc, const struct err *e, const struct http_response *r)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {{-ETIMEDOUT, "timeout"},       {-EMSGSIZE, "too_large"}, {-EACCES, "refused"},
                 {-ECONNREFUSED, "connection"}, {-EHOSTUNREACH, "dns"},   {-EPROTO, "tls"},
                 {-ECONNRESET, "reset"}};
    if (rc < 0) {
        const char *code = "io";
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
            if (codes[i].code == rc) code = codes[i].name;
        bind_error(L, e);
        lua_pushstring(L, code);
        return 3;
    }
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    push_headers(L, &r->headers);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, r->body.data != NULL ? r->body.data : "", r->body.len);
    lua_setfield(L, -2, "body");
    lua_pushnumber(L, r->seconds);
    lua_setfield(L, -2, "seconds");
    return 1;
}

static int push_response(lua_State *L, struct op *op)
{
    struct http_op *o = (struct http_op *)op;
    return push_answer(L, o->rc, &o->err, &o->response);
}

static void drop_http(struct op *op)
{
    struct http_op *o = (struct http_op *)op;
    if (o->call != NULL) http_cancel(o->call);
    o->call = NULL;
    text_free(&o->response.headers);
    text_free(&o->response.body);
}

static void on_done(void *ud, int rc, const struct err *e, struct http_response *r)
{
    struct http_op *o = ud;
    o->call = NULL;
    o->rc = rc;
    o->err = *e;
    o->response = *r; /* the texts move over */
    r->headers = r->body = (struct text){0};
    op_finish(&o->op);
}

static bool may_connect(void *ud, const char *address, int port)
{
    const struct http_op *o = ud;
    bool loopback = strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
                    strncmp(address, "::ffff:127.", 11) == 0 || strcmp(address, "0.0.0.0") == 0 ||
                    strcmp(address, "::") == 0;
    return !(loopback && port == o->refuse_port);
}

/* "Name: value" lines, NULL-ended, of the table headers at index i; NULL if there is none. A line
 * feed in either would smuggle in a header of somebody else's making. */
static const char **header_lines(lua_State *L, int i)
{
    if (lua_getfield(L, i, "headers") != LUA_TTABLE) return NULL; /* headers */
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) n++;
    int table = lua_gettop(L);
    const char **lines = lua_newuserdatauv(L, (n + 1) * sizeof *lines, 0); /* headers lines */
    lua_createtable(L, (int)n, 0); /* headers lines anchor: holds the strings */
    size_t k = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) { /* … name value */
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
            luaL_error(L, "headers are a table of names and texts");
        const char *name = lua_tostring(L, -2), *value = lua_tostring(L, -1);
        if (strpbrk(name, "\r\n: ") != NULL || strpbrk(value, "\r\n") != NULL || *name == '\0')
            luaL_error(L, "header \"%s\" is not valid", name);
        /* An empty value is written with ";" or curl would take the header out instead. */
        lines[k] =
            *value ? lua_pushfstring(L, "%s: %s", name, value) : lua_pushfstring(L, "%s;", name);
        lua_rawseti(L, table + 2, (lua_Integer)++k);
    }
    lines[n] = NULL;
    return lines;
}

static struct http_tls tls_options(lua_State *L, int i)
{
    struct http_tls tls = {0};
    lua_getfield(L, i, "tls"); /* tls: stays there */
    int t = lua_gettop(L);
    tls.ca_file = bind_opt_string(L, t, "ca_file", NULL);
    tls.cert_file = bind_opt_string(L, t, "cert_file", NULL);
    tls.key_file = bind_opt_string(L, t, "key_file", NULL);
    tls.ca_data = bind_opt_string(L, t, "ca_data", NULL);
    tls.cert_data = bind_opt_string(L, t, "cert_data", NULL);
    tls.key_data = bind_opt_string(L, t, "key_data", NULL);
    tls.server_name = bind_opt_string(L, t, "server_name", NULL);
    tls.insecure_skip_verify = bind_opt_boolean(L, t, "insecure_skip_verify", false);
    return tls;
}

/* What both kinds of request have, from the table at index 1. The strings lie there, or above it on
 * the stack. */
static struct http_request read_request(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct http_request r = {
        .method = bind_opt_string(L, 1, "method", "GET"),
        .url = bind_opt_string(L, 1, "url", NULL),
        .connect_timeout_ms = (int64_t)(bind_opt_number(L, 1, "connect_timeout", 5) * 1000),
        .max_body = (size_t)bind_opt_integer(L, 1, "max_body", 1 << 20),
        .max_redirects = (int)bind_opt_integer(L, 1, "max_redirects", 0),
        .proxy = bind_opt_string(L, 1, "proxy", NULL),
        .target = bind_opt_string(L, 1, "target", "other"),
    };
    luaL_argcheck(L, r.url != NULL, 1, "url is missing");
    luaL_argcheck(L, r.connect_timeout_ms > 0, 1, "a timeout is more than 0");
    for (const char *m = r.method; *m; m++)
        luaL_argcheck(L, isupper((unsigned char)*m), 1, "no such method");
    r.headers = header_lines(L, 1);
    if (lua_getfield(L, 1, "body") == LUA_TSTRING) r.body = lua_tolstring(L, -1, &r.body_len);
    r.tls = tls_options(L, 1);
    return r;
}

/* request{method=, url=, headers=, body=, timeout=, connect_timeout=, max_body=, max_redirects=,
 * tls=, proxy=, target=, guarded=, refuse_port=, once=} -> {status=, headers=, body=, seconds=} |
 * nil, message, code. Times in seconds, header names of the answer in lower case. Waits. */
static int l_request(lua_State *L)
{
    struct http_request r = read_request(L);
    r.timeout_ms = (int64_t)(bind_opt_number(L, 1, "timeout", 30) * 1000);
    luaL_argcheck(L, r.timeout_ms > 0, 1, "a timeout is more than 0");
    r.guarded = bind_opt_boolean(L, 1, "guarded", false);
    r.once = bind_opt_boolean(L, 1, "once", false);
    struct http_op *o = op_new(L, sizeof *o, push_response, drop_http);
    o->refuse_port = (int)bind_opt_integer(L, 1, "refuse_port", 0);
    r.may_connect = may_connect;
    r.may_connect_ud = o;
    struct err e = {0};
    if (http_start(host_http(state_of(L)->host), &r, on_done, o, &o->call, &e) < 0) {
        bind_error(L, &e);
        lua_pushliteral(L, "url");
        return 3;
    }
    return task_wait(L, &o->op);
}

/* -- an answer read line by line -- */

#define STREAM_TYPE "perigee.http_stream"
enum { AHEAD = 256 << 10 }; /* bytes that are read before somebody wants them */

struct stream {
    struct http_call *call; /* NULL once it has ended */
    struct line_reader lines;
    bool paused;
    struct event news; /* a piece has come, or the end */
    int rc;
    struct err err;
    struct http_response response;
};

static int on_piece(void *ud, const char *bytes, size_t len)
{
    struct stream *s = ud;
    /* A line longer than that must still get its end. */
    s->paused = s->lines.whole > 0 && line_reader_held(&s->lines) > AHEAD;
    if (s->paused) return -EAGAIN;
    int rc = line_reader_add(&s->lines, bytes, len);
    event_set(&s->news);
    return rc;
}

static void on_stream_done(void *ud, int rc, const struct err *e, struct http_response *r)
{
    struct stream *s = ud;
    s->call = NULL;
    s->rc = rc;
    s->err = *e;
    if (rc == -EMSGSIZE && s->lines.open > s->lines.max)
        err_set(&s->err, rc, "a line of the answer is longer than %zu bytes", s->lines.max);
    s->response = *r; /* the texts move over */
    r->headers = r->body = (struct text){0};
    event_set(&s->news);
}

static int l_close_stream(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM_TYPE);
    if (s->call != NULL) {
        http_cancel(s->call);
        s->call = NULL;
        err_set(&s->err, s->rc = -ECANCELED, "closed");
        event_set(&s->news);
    }
    line_reader_free(&s->lines);
    text_free(&s->response.headers);
    text_free(&s->response.body);
    return 0;
}

/* stream:next() -> line | nil: none is there now. The last may have no end. */
static int l_next_line(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM_TYPE);
    const char *line;
    size_t len;
    bool there = line_reader_next(&s->lines, &line, &len);
    if (!there && s->call != NULL && s->paused) {
        s->paused = false;
        http_resume(s->call);
        there = line_reader_next(&s->lines, &line, &len);
    }
    if (!there && s->call == NULL && s->rc == 0) there = line_reader_rest(&s->lines, &line, &len);
    if (!there) return 0;
    lua_pushlstring(L, line, len);
    return 1;
}

/* stream:wait([seconds]) -> true once more has come, or the end; false when time is up. Waits. */
static int l_wait_stream(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM_TYPE);
    s->news.set = s->call == NULL;
    return event_wait(L, &s->news, luaL_optnumber(L, 2, -1));
}

/* stream:answer() -> as request(), its body empty where it was streamed | false while it comes */
static int l_answer(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM_TYPE);
    lua_pushboolean(L, 0);
    return s->call != NULL ? 1 : push_answer(L, s->rc, &s->err, &s->response);
}

/* stream{as request's, without timeout; max_line=} -> stream | nil, message, code */
static int l_stream(lua_State *L)
{
    struct http_request r = read_request(L);
    struct stream *s = lua_newuserdatauv(L, sizeof *s, 0); /* … stream */
    memset(s, 0, sizeof *s);
    event_init(&s->news);
    s->lines.max = (size_t)bind_opt_integer(L, 1, "max_line", 4 << 20);
    luaL_setmetatable(L, STREAM_TYPE);
    r.on_piece = on_piece;
    r.on_piece_ud = s;
    struct err e = {0};
    if (http_start(host_http(state_of(L)->host), &r, on_stream_done, s, &s->call, &e) < 0) {
        bind_error(L, &e);
        lua_pushliteral(L, "url");
        return 3;
    }
    return 1;
}

int luaopen_perigee_http_client(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", l_request}, {"stream", l_stream}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"next", l_next_line},
                                       {"wait", l_wait_stream},
                                       {"answer", l_answer},
                                       {"close", l_close_stream},
                                       {NULL, NULL}};
    bind_type(L, STREAM_TYPE, methods, l_close_stream);
    luaL_newlib(L, functions);
    return 1;
}
