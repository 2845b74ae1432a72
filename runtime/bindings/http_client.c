/* The Lua module perigee.http_client: one request, waited for. Its face is http.lua. */
#include "net/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

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

static int push_response(lua_State *L, struct op *op)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {{-ETIMEDOUT, "timeout"},       {-EMSGSIZE, "too_large"}, {-EACCES, "refused"},
                 {-ECONNREFUSED, "connection"}, {-EHOSTUNREACH, "dns"},   {-EPROTO, "tls"},
                 {-ECONNRESET, "reset"}};
    struct http_op *o = (struct http_op *)op;
    if (o->rc < 0) {
        const char *code = "io";
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
            if (codes[i].code == o->rc) code = codes[i].name;
        bind_error(L, &o->err);
        lua_pushstring(L, code);
        return 3;
    }
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, o->response.status);
    lua_setfield(L, -2, "status");
    push_headers(L, &o->response.headers);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, o->response.body.data != NULL ? o->response.body.data : "",
                    o->response.body.len);
    lua_setfield(L, -2, "body");
    lua_pushnumber(L, o->response.seconds);
    lua_setfield(L, -2, "seconds");
    return 1;
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

/* request{method=, url=, headers=, body=, timeout=, connect_timeout=, max_body=, max_redirects=,
 * tls=, proxy=, target=, guarded=, refuse_port=, once=} -> {status=, headers=, body=, seconds=} |
 * nil, message, code. Times in seconds, header names of the answer in lower case. Waits. */
static int l_request(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct http_request r = {
        .method = bind_opt_string(L, 1, "method", "GET"),
        .url = bind_opt_string(L, 1, "url", NULL),
        .timeout_ms = (int64_t)(bind_opt_number(L, 1, "timeout", 30) * 1000),
        .connect_timeout_ms = (int64_t)(bind_opt_number(L, 1, "connect_timeout", 5) * 1000),
        .max_body = (size_t)bind_opt_integer(L, 1, "max_body", 1 << 20),
        .max_redirects = (int)bind_opt_integer(L, 1, "max_redirects", 0),
        .proxy = bind_opt_string(L, 1, "proxy", NULL),
        .target = bind_opt_string(L, 1, "target", "other"),
        .guarded = bind_opt_boolean(L, 1, "guarded", false),
        .once = bind_opt_boolean(L, 1, "once", false),
    };
    luaL_argcheck(L, r.url != NULL, 1, "url is missing");
    luaL_argcheck(L, r.timeout_ms > 0 && r.connect_timeout_ms > 0, 1, "a timeout is more than 0");
    for (const char *m = r.method; *m; m++)
        luaL_argcheck(L, isupper((unsigned char)*m), 1, "no such method");
    r.headers = header_lines(L, 1);
    if (lua_getfield(L, 1, "body") == LUA_TSTRING) r.body = lua_tolstring(L, -1, &r.body_len);
    r.tls = tls_options(L, 1);
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

int luaopen_perigee_http_client(lua_State *L)
{
    static const luaL_Reg functions[] = {{"request", l_request}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
