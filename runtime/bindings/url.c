/* The Lua module perigee.url. */
#include "net/url.h"

#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

#define TYPE "perigee.url"

static int l_free(lua_State *L)
{
    url_free(luaL_checkudata(L, 1, TYPE));
    return 0;
}

static void set(lua_State *L, const char *field, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, field);
}

/* parse(text) -> {scheme=, host=, port=, path=, query=, has_user=} | nil, message */
static int l_parse(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    struct err e = {0};
    struct url *u = lua_newuserdatauv(L, sizeof *u, 0); /* box */
    memset(u, 0, sizeof *u);
    luaL_setmetatable(L, TYPE);
    if (url_parse(u, text, &e) < 0) return bind_error(L, &e);
    lua_createtable(L, 0, 6);
    set(L, "scheme", u->scheme);
    set(L, "host", u->host);
    set(L, "path", u->path);
    set(L, "query", u->query);
    lua_pushinteger(L, u->port);
    lua_setfield(L, -2, "port");
    lua_pushboolean(L, u->has_user);
    lua_setfield(L, -2, "has_user");
    return 1;
}

static int push_text(lua_State *L, const struct text *t)
{
    if (t->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, t->data != NULL ? t->data : "", t->len);
    return 1;
}

static int l_escape(lua_State *L) /* escape(text) -> percent-encoded */
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    struct text *t = bind_text(L);
    url_escape(t, s, len);
    return push_text(L, t);
}

static int l_unescape(lua_State *L) /* unescape(text [, form]) */
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    bool form = lua_toboolean(L, 2);
    struct text *t = bind_text(L);
    url_unescape(t, s, len, form);
    return push_text(L, t);
}

int luaopen_perigee_url(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"parse", l_parse}, {"escape", l_escape}, {"unescape", l_unescape}, {NULL, NULL}};
    bind_type(L, TYPE, (const luaL_Reg[]){{NULL, NULL}}, l_free);
    luaL_newlib(L, functions);
    return 1;
}
