/* The Lua module perigee.json. An object's null is an absent field, unless asked for; an array's is
 * json.null, so that positions hold. Encoding is always the canonical form of RFC 8785: one value,
 * one text. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "bindings/bind.h"
#include "bindings/modules.h"

#define TREE_TYPE "perigee.json.tree"
static const char array_key; /* of the registry: the metatable that marks an array */

/* -- decoding -- */

static int l_free_tree(lua_State *L)
{
    cJSON **tree = luaL_checkudata(L, 1, TREE_TYPE);
    cJSON_Delete(*tree);
    *tree = NULL;
    return 0;
}

static void mark_array(lua_State *L) /* t -> t */
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, -2);
}

static void push_number(lua_State *L, double x)
{
    if (x == floor(x) && fabs(x) <= 9007199254740992.0)
        lua_pushinteger(L, (lua_Integer)x);
    else
        lua_pushnumber(L, x);
}

/* Whether arrays and objects are nested deeper than that: what write_table() refuses, no more and
 * no less. cJSON itself stops at 1,000, so neither this nor push_value() runs out of stack. */
static bool is_deeper(const cJSON *v, int depth)
{
    if (!cJSON_IsArray(v) && !cJSON_IsObject(v)) return false;
    if (depth < 0) return true;
    for (const cJSON *item = v->child; item != NULL; item = item->next)
        if (is_deeper(item, depth - 1)) return true;
    return false;
}

static void push_value(lua_State *L, const cJSON *v, bool nulls)
{
    luaL_checkstack(L, 4, "JSON is nested too deep");
    if (cJSON_IsObject(v)) {
        lua_newtable(L); /* t */
        for (const cJSON *item = v->child; item != NULL; item = item->next) {
            if (cJSON_IsNull(item) && !nulls) continue;
            push_value(L, item, nulls); /* t v */
            lua_setfield(L, -2, item->string);
        }
    } else if (cJSON_IsArray(v)) {
        lua_newtable(L); /* t */
        lua_Integer i = 0;
        for (const cJSON *item = v->child; item != NULL; item = item->next) {
            push_value(L, item, nulls); /* t v */
            lua_rawseti(L, -2, ++i);
        }
        mark_array(L);
    } else if (cJSON_IsString(v)) {
        lua_pushstring(L, v->valuestring);
    } else if (cJSON_IsNumber(v)) {
        push_number(L, v->valuedouble);
    } else if (cJSON_IsNull(v)) {
        lua_pushlightuserdata(L, NULL);
    } else {
        lua_pushboolean(L, cJSON_IsTrue(v));
    }
}

/* decode(text [, nulls = false]) -> value | nil, message; nulls: whether an object's null is kept
 */
static int l_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    bool nulls = lua_toboolean(L, 2);
    struct err e = {0};
    cJSON **tree = lua_newuserdatauv(L, sizeof *tree, 0); /* tree */
    *tree = NULL;
    luaL_setmetatable(L, TREE_TYPE);
    *tree = json_parse(text, len, &e);
    if (*tree == NULL) return bind_error(L, &e);
    if (is_deeper(*tree, JSON_DEPTH)) {
        err_set(&e, -EINVAL, "JSON is nested deeper than %d", JSON_DEPTH);
        return bind_error(L, &e);
    }
    push_value(L, *tree, nulls);
    cJSON_Delete(*tree);
    *tree = NULL;
    return 1;
}

/* -- encoding -- */

struct writer {
    lua_State *L;
    struct text *out;
    int indent; /* blanks a level; 0: all in one line */
};

static void write_value(struct writer *w, int i, int depth);

static void new_line(struct writer *w, int depth)
{
    if (w->indent == 0) return;
    text_addc(w->out, '\n');
    for (int n = depth * w->indent; n > 0; n--) text_addc(w->out, ' ');
}

static void write_array(struct writer *w, int i, size_t n, int depth)
{
    text_addc(w->out, '[');
    for (size_t k = 1; k <= n; k++) {
        if (k > 1) text_addc(w->out, ',');
        new_line(w, depth + 1);
        lua_rawgeti(w->L, i, (lua_Integer)k); /* v */
        write_value(w, lua_gettop(w->L), depth + 1);
        lua_pop(w->L, 1);
    }
    if (n > 0) new_line(w, depth);
    text_addc(w->out, ']');
}

struct key {
    const char *s; /* held by the table */
    size_t len;
};

static int by_utf16(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    return json_compare_keys(x->s, x->len, y->s, y->len);
}

static void write_object(struct writer *w, int i, int depth)
{
    lua_State *L = w->L;
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) n++;
    struct key *keys = lua_newuserdatauv(L, (n + 1) * sizeof *keys, 0); /* keys */
    n = 0;
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) { /* keys k v */
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a JSON object's key is a string, not a %s", luaL_typename(L, -2));
        keys[n].s = lua_tolstring(L, -2, &keys[n].len);
        n++;
    }
    qsort(keys, n, sizeof *keys, by_utf16);
    text_addc(w->out, '{');
    for (size_t k = 0; k < n; k++) {
        if (k > 0) text_addc(w->out, ',');
        new_line(w, depth + 1);
        json_add_string(w->out, keys[k].s, keys[k].len);
        text_adds(w->out, w->indent > 0 ? ": " : ":");
        lua_pushlstring(L, keys[k].s, keys[k].len);
        lua_rawget(L, i); /* keys v */
        write_value(w, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    if (n > 0) new_line(w, depth);
    text_addc(w->out, '}');
    lua_pop(L, 1);
}

/* An array is what has a first element, or is marked as one: an empty table is an object. */
static void write_table(struct writer *w, int i, int depth)
{
    lua_State *L = w->L;
    if (depth > JSON_DEPTH) luaL_error(L, "nested deeper than %d, or in a circle", JSON_DEPTH);
    luaL_checkstack(L, 8, "nested too deep");
    size_t n = lua_rawlen(L, i);
    bool is_array = n > 0;
    if (n == 0 && lua_getmetatable(L, i)) { /* mt */
        lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
        is_array = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (is_array)
        write_array(w, i, n, depth);
    else
        write_object(w, i, depth);
}

static void write_value(struct writer *w, int i, int depth)
{
    lua_State *L = w->L;
    size_t len;
    const char *s;
    switch (lua_type(L, i)) {
    case LUA_TNIL: text_adds(w->out, "null"); break;
    case LUA_TBOOLEAN: text_adds(w->out, lua_toboolean(L, i) ? "true" : "false"); break;
    case LUA_TNUMBER:
        if (!isfinite(lua_tonumber(L, i))) luaL_error(L, "JSON has no NaN and no infinity");
        json_add_number(w->out, lua_tonumber(L, i));
        break;
    case LUA_TSTRING:
        s = lua_tolstring(L, i, &len);
        json_add_string(w->out, s, len);
        break;
    case LUA_TTABLE: write_table(w, i, depth); break;
    default:
        if (lua_islightuserdata(L, i) && lua_touserdata(L, i) == NULL)
            text_adds(w->out, "null");
        else
            luaL_error(L, "a %s is no JSON", luaL_typename(L, i));
    }
}

/* encode(value [, indent]) -> text; raises for what JSON cannot hold */
static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    int indent = (int)luaL_optinteger(L, 2, 0);
    lua_settop(L, 1);
    struct text *out = bind_text(L); /* value box */
    struct writer w = {.L = L, .out = out, .indent = indent};
    write_value(&w, 1, 0);
    if (out->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->data, out->len);
    text_free(out);
    return 1;
}

static int l_array(lua_State *L) /* array([t]) -> t, marked: it is [] even when it is empty */
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    mark_array(L);
    return 1;
}

int luaopen_perigee_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", l_decode}, {"encode", l_encode}, {"array", l_array}, {NULL, NULL}};
    bind_type(L, TREE_TYPE, (const luaL_Reg[]){{NULL, NULL}}, l_free_tree);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
