/* Values from one state to another: the bytes are a program that builds any value, circles,
 * functions and metatables included. What arrives is equal or it was refused; nothing leaks,
 * whatever the limits hit. Build: make build/fuzz/transfer */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "host/transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int l_raise(lua_State *L) { return luaL_error(L, "a metamethod was called"); }

/* Each byte does one thing to the stack, which always holds a value. */
static void step(lua_State *L, const uint8_t **at, const uint8_t *end)
{
    uint8_t op = *(*at)++;
    size_t n = op >> 4;
    switch (op & 15) {
    case 0: lua_pushnil(L); break;
    case 1: lua_pushboolean(L, (int)n & 1); break;
    case 2: lua_pushinteger(L, (lua_Integer)n - 8); break;
    case 3: lua_pushnumber(L, (double)n / 3); break;
    case 4:
        if ((size_t)(end - *at) < n) n = (size_t)(end - *at);
        lua_pushlstring(L, (const char *)*at, n);
        *at += n;
        break;
    case 5: lua_pushcfunction(L, l_raise); break;
    case 6:
        if (lua_istable(L, -1))
            lua_pushvalue(L, -1); /* itself: a circle, perhaps */
        else
            lua_newtable(L);
        break;
    case 7: lua_pushvalue(L, 1 + (int)n % lua_gettop(L)); break;
    case 8: /* t k v -> t */
        if (lua_gettop(L) < 3 || !lua_istable(L, -3) || lua_isnil(L, -2)) break;
        if (lua_isnumber(L, -2) && lua_tonumber(L, -2) != lua_tonumber(L, -2)) break;
        lua_rawset(L, -3);
        break;
    case 9: /* a metatable that nobody may notice */
        if (!lua_istable(L, -1)) break;
        lua_newtable(L);
        lua_pushcfunction(L, l_raise);
        lua_setfield(L, -2, n & 1 ? "__index" : n & 2 ? "__pairs" : "__len");
        lua_setmetatable(L, -2);
        break;
    default: lua_newtable(L);
    }
}

static int l_build(lua_State *L)
{
    const uint8_t *at = lua_touserdata(L, 1), *end = at + lua_tointeger(L, 2);
    lua_settop(L, 0);
    luaL_checkstack(L, 220, NULL);
    lua_newtable(L);
    while (at < end && lua_gettop(L) < 200) step(L, &at, end);
    return 1;
}

static int l_transfer(lua_State *to)
{
    const struct transfer_options o = {.what = "the value"};
    transfer(to, lua_touserdata(to, 1), -1, &o);
    return 1;
}

static int same(lua_State *a, int i, lua_State *b, int j)
{
    if (lua_type(a, i) != lua_type(b, j)) return 0;
    if (lua_type(a, i) != LUA_TTABLE) {
        size_t n, m;
        if (lua_type(a, i) == LUA_TNUMBER) return lua_tonumber(a, i) == lua_tonumber(b, j);
        if (lua_type(a, i) == LUA_TBOOLEAN) return lua_toboolean(a, i) == lua_toboolean(b, j);
        if (lua_type(a, i) != LUA_TSTRING) return 1;
        const char *s = lua_tolstring(a, i, &n), *t = lua_tolstring(b, j, &m);
        return n == m && memcmp(s, t, n) == 0;
    }
    size_t fields = 0, others = 0;
    i = lua_absindex(a, i);
    j = lua_absindex(b, j);
    lua_checkstack(a, 10);
    lua_checkstack(b, 10);
    for (lua_pushnil(a); lua_next(a, i); lua_pop(a, 1)) fields++;
    for (lua_pushnil(b); lua_next(b, j); lua_pop(b, 1)) others++;
    return fields == others;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_State *from = luaL_newstate(), *to = luaL_newstate();
    lua_pushcfunction(from, l_build);
    lua_pushlightuserdata(from, (void *)(uintptr_t)data);
    lua_pushinteger(from, (lua_Integer)size);
    if (lua_pcall(from, 2, 1, 0) == LUA_OK) {
        int top = lua_gettop(from);
        lua_pushcfunction(to, l_transfer);
        lua_pushlightuserdata(to, from);
        if (lua_pcall(to, 1, 1, 0) == LUA_OK)
            assert(same(from, top, to, -1));
        else
            assert(strstr(lua_tostring(to, -1), "the value") != NULL);
    }
    lua_close(from);
    lua_close(to);
    return 0;
}
