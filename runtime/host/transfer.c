#include "host/transfer.h"

#include <stdio.h>

#include <lauxlib.h>

#include "base/text.h"

struct transfer {
    lua_State *to, *from;
    const struct transfer_options *o;
    int nodes;
    size_t text;    /* bytes of all strings */
    char path[120]; /* of the value that is being copied, for messages */
};

static void copy(struct transfer *t, int i, int depth, size_t path_len);

/* Extends the path by the key at index i of `from`. */
static size_t extend(struct transfer *t, int i, size_t len)
{
    size_t room = sizeof t->path - len;
    int n = 0;
    if (lua_type(t->from, i) == LUA_TSTRING)
        n = snprintf(t->path + len, room, ".%s", lua_tostring(t->from, i));
    else if (lua_isinteger(t->from, i))
        n = snprintf(t->path + len, room, "[%lld]", (long long)lua_tointeger(t->from, i));
    return n < 0 || (size_t)n >= room ? sizeof t->path - 1 : len + (size_t)n;
}

static void copy_table(struct transfer *t, int i, int depth, size_t path_len)
{
    if (depth >= TRANSFER_DEPTH)
        luaL_error(t->to, "%s is nested deeper than %d tables, or in a circle", t->path,
                   TRANSFER_DEPTH);
    /* One step of lua_next() may pass over all that a table once held, and the same table may be
     * there many times: no count of values tells how long that takes. */
    if (t->o->is_late != NULL && t->o->is_late(t->o->ud))
        luaL_error(t->to, "%s takes too long to read", t->path);
    if (!lua_checkstack(t->from, 4)) luaL_error(t->to, "%s: no stack left", t->path);
    luaL_checkstack(t->to, 4, "too deep");
    lua_newtable(t->to);           /* to: copy */
    lua_pushnil(t->from);          /* from: key */
    while (lua_next(t->from, i)) { /* from: key value */
        int key = lua_absindex(t->from, -2);
        size_t len = extend(t, key, path_len);
        int type = lua_type(t->from, key);
        if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
            luaL_error(t->to, "%s has a key that is a %s", t->path, lua_typename(t->to, type));
        copy(t, key, depth + 1, len);     /* to: copy key */
        copy(t, key + 1, depth + 1, len); /* to: copy key value */
        lua_rawset(t->to, -3);            /* to: copy */
        lua_pop(t->from, 1);              /* from: key */
        t->path[path_len] = '\0';
    }
}

static void copy_string(struct transfer *t, int i)
{
    size_t len;
    const char *s = lua_tolstring(t->from, i, &len); /* is a string: converts, allocates nothing */
    t->text += len;
    if (t->text > TRANSFER_TEXT)
        luaL_error(t->to, "%s: there is more than %d MiB of text", t->path, TRANSFER_TEXT >> 20);
    if (!text_is_utf8(s, len)) luaL_error(t->to, "%s is a text that is not UTF-8", t->path);
    lua_pushlstring(t->to, s, len);
}

static void copy(struct transfer *t, int i, int depth, size_t path_len)
{
    if (++t->nodes > TRANSFER_NODES)
        luaL_error(t->to, "%s holds more than %d values", t->path, TRANSFER_NODES);
    switch (lua_type(t->from, i)) {
    case LUA_TNIL: lua_pushnil(t->to); break;
    case LUA_TBOOLEAN: lua_pushboolean(t->to, lua_toboolean(t->from, i)); break;
    case LUA_TNUMBER:
        if (lua_isinteger(t->from, i))
            lua_pushinteger(t->to, lua_tointeger(t->from, i));
        else
            lua_pushnumber(t->to, lua_tonumber(t->from, i));
        break;
    case LUA_TSTRING: copy_string(t, i); break;
    case LUA_TTABLE: copy_table(t, i, depth, path_len); break;
    default:
        luaL_error(t->to, "%s is a %s; only plain values go here", t->path,
                   lua_typename(t->to, lua_type(t->from, i)));
    }
}

void transfer(lua_State *to, lua_State *from, int i, const struct transfer_options *o)
{
    struct transfer t = {.to = to, .from = from, .o = o};
    int len = snprintf(t.path, sizeof t.path, "%s", o->what);
    copy(&t, lua_absindex(from, i), 0, len < (int)sizeof t.path ? (size_t)len : sizeof t.path - 1);
}
