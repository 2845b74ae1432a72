#include "bindings/bind.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define TEXT_TYPE "perigee.text"

int bind_fail(lua_State *L, int rc)
{
    if (rc == -ENOMEM) return luaL_error(L, "not enough memory");
    lua_pushnil(L);
    lua_pushstring(L, strerror(-rc));
    return 2;
}

int bind_error(lua_State *L, const struct err *e)
{
    if (e->code == -ENOMEM) return luaL_error(L, "not enough memory");
    lua_pushnil(L);
    lua_pushstring(L, e->text);
    return 2;
}

static int l_free_text(lua_State *L)
{
    text_free(luaL_checkudata(L, 1, TEXT_TYPE));
    return 0;
}

struct text *bind_text(lua_State *L)
{
    struct text *t = lua_newuserdatauv(L, sizeof *t, 0); /* box */
    *t = (struct text){0};
    if (luaL_newmetatable(L, TEXT_TYPE)) { /* box mt */
        lua_pushcfunction(L, l_free_text);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, l_free_text);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2); /* box */
    return t;
}

void bind_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction close)
{
    if (luaL_newmetatable(L, type)) { /* mt */
        if (close != NULL) {
            lua_pushcfunction(L, close);
            lua_setfield(L, -2, "__gc");
            lua_pushcfunction(L, close);
            lua_setfield(L, -2, "__close");
        }
        lua_newtable(L); /* mt methods */
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index"); /* mt */
        lua_pushboolean(L, 0);          /* all that getmetatable() shows: no script reaches __gc */
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1); /* - */
}

/* Pushes the field (nil without a table) and tells its type. */
static int push_field(lua_State *L, int i, const char *field)
{
    if (lua_isnoneornil(L, i)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    luaL_checktype(L, i, LUA_TTABLE);
    return lua_getfield(L, i, field);
}

static void field_error(lua_State *L, const char *field, const char *expected)
{
    luaL_error(L, "option \"%s\" is a %s; expected a %s", field, luaL_typename(L, -1), expected);
}

lua_Number bind_opt_number(lua_State *L, int i, const char *field, lua_Number otherwise)
{
    int type = push_field(L, i, field); /* v */
    if (type != LUA_TNIL && type != LUA_TNUMBER) field_error(L, field, "number");
    lua_Number n = type == LUA_TNIL ? otherwise : lua_tonumber(L, -1);
    lua_pop(L, 1);
    return n;
}

lua_Integer bind_opt_integer(lua_State *L, int i, const char *field, lua_Integer otherwise)
{
    int type = push_field(L, i, field), exact = 1; /* v */
    lua_Integer n = type == LUA_TNIL ? otherwise : lua_tointegerx(L, -1, &exact);
    if (!exact || (type != LUA_TNIL && type != LUA_TNUMBER)) field_error(L, field, "whole number");
    lua_pop(L, 1);
    return n;
}

bool bind_opt_boolean(lua_State *L, int i, const char *field, bool otherwise)
{
    int type = push_field(L, i, field); /* v */
    if (type != LUA_TNIL && type != LUA_TBOOLEAN) field_error(L, field, "boolean");
    bool b = type == LUA_TNIL ? otherwise : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return b;
}

const char *bind_opt_string(lua_State *L, int i, const char *field, const char *otherwise)
{
    int type = push_field(L, i, field); /* v */
    if (type != LUA_TNIL && type != LUA_TSTRING) field_error(L, field, "string");
    const char *s = type == LUA_TNIL ? otherwise : lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps it alive */
    return s;
}

double *bind_doubles(lua_State *L, int i, size_t *n)
{
    luaL_checktype(L, i, LUA_TTABLE);
    i = lua_absindex(L, i);
    *n = lua_rawlen(L, i);
    double *x = lua_newuserdatauv(L, *n * sizeof *x, 0); /* x */
    for (size_t k = 0; k < *n; k++) {
        int type = lua_rawgeti(L, i, (lua_Integer)k + 1); /* x v */
        if (type == LUA_TNUMBER)
            x[k] = lua_tonumber(L, -1);
        else if (type == LUA_TNIL || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1)))
            x[k] = NAN;
        else
            luaL_error(L, "value %d is a %s; expected a number", (int)k + 1, luaL_typename(L, -1));
        lua_pop(L, 1); /* x */
    }
    return x;
}

void bind_push_doubles(lua_State *L, const double *x, size_t n)
{
    lua_createtable(L, (int)n, 0); /* t */
    for (size_t i = 0; i < n; i++) {
        lua_pushnumber(L, x[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}
