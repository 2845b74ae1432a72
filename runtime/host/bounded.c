/* Most functions are those of stock Lua behind a wrapper that charges first. A wrapper runs the
 * function in its own frame, as a call of C and not of Lua, so messages still name what the rule
 * called. */
#include "host/bounded.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/clock.h"
#include "host/budget.h"
#include "host/patterns.h"

/* Less than LEAST is part of the call, which has been counted as an instruction; MOST spends any
 * budget, and yet adds up. */
static const size_t LEAST = 4, MOST = (size_t)1 << 40;

static inline void charge(lua_State *L, size_t steps)
{
    if (steps >= LEAST) budget_charge(L, steps < MOST ? steps : MOST);
}

/* The function behind the wrapper that is running; it has no upvalues of its own. */
static int original(lua_State *L) { return lua_tocfunction(L, lua_upvalueindex(1))(L); }

static size_t string_len(lua_State *L, int i)
{
    return lua_type(L, i) == LUA_TSTRING ? lua_rawlen(L, i) : 0;
}

/* Bytes of the strings among the arguments from the first-th on: those that stand for numbers are
 * read to their end, too. */
static size_t string_bytes(lua_State *L, int first)
{
    size_t n = 0;
    for (int i = first; i <= lua_gettop(L); i++) n += string_len(L, i);
    return n;
}

/* Argument i as an integer, `otherwise` where it is missing; false when it is none, for then the
 * function behind says so. Charges for one that is a string. */
static bool to_integer(lua_State *L, int i, lua_Integer otherwise, lua_Integer *out)
{
    int exact = 1;
    charge(L, string_len(L, i) / 4);
    *out = lua_isnoneornil(L, i) ? otherwise : lua_tointegerx(L, i, &exact);
    return exact;
}

/* How many from..to are, at most `most`. */
static size_t span(lua_Integer from, lua_Integer to, size_t most)
{
    if (from > to) return 0;
    lua_Unsigned n = (lua_Unsigned)to - (lua_Unsigned)from;
    return n >= most ? most : (size_t)n + 1;
}

/* -- wrappers that serve many -- */

static int l_by_strings(lua_State *L)
{
    charge(L, string_bytes(L, 1) / 4 + (size_t)lua_gettop(L) / 8);
    return original(L);
}

/* f(s, i, j) that looks at the bytes i to j of s. Without j: `alone` says whether it is i or the
 * end. */
static int by_slice(lua_State *L, bool alone)
{
    size_t len = string_len(L, 1), n = 0;
    lua_Integer from, to;
    if (to_integer(L, 2, 1, &from)) {
        if (from < 0) from += (lua_Integer)len + 1;
        if (from < 1) from = 1;
        if (to_integer(L, 3, alone ? from : -1, &to)) {
            if (to < 0) to += (lua_Integer)len + 1;
            n = span(from, to, len);
        }
    }
    charge(L, n / 8);
    return original(L);
}

static int l_by_slice(lua_State *L) { return by_slice(L, false); }
static int l_by_slice_or_one(lua_State *L) { return by_slice(L, true); }

/* -- base -- */

static int l_select(lua_State *L)
{
    charge(L, string_len(L, 1) / 4);
    return original(L);
}

/* The level is walked to: a deep recursion that raises and catches would make it dear. */
static int l_error(lua_State *L)
{
    lua_Integer level;
    if (to_integer(L, 2, 1, &level)) charge(L, span(1, level, 200000) / 8);
    return original(L);
}

/* A __gc that is set later is nothing to Lua; for a __mode see forget_weak_tables(). */
static int l_setmetatable(lua_State *L)
{
    if (lua_istable(L, 2)) {
        lua_settop(L, 2);
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) /* t mt gc */
            return luaL_argerror(L, 2, "in a rule no metatable has __gc");
        lua_pushliteral(L, "__mode");
        if (lua_rawget(L, 2) != LUA_TNIL) /* t mt nil mode */
            return luaL_argerror(L, 2, "in a rule no metatable has __mode");
        lua_settop(L, 2);
    }
    return original(L);
}

/* Not lua_pcall() with a handler: one would run inside the hook that raises, where no hook is run.
 */
static int l_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    lua_insert(L, 3); /* f handler f … */
    if (lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, 0) == LUA_OK) {
        lua_pushboolean(L, 1);
        lua_replace(L, 2); /* f true … */
        return lua_gettop(L) - 1;
    }
    lua_replace(L, 1);     /* error handler */
    lua_pushboolean(L, 0); /* error handler false */
    lua_insert(L, 1);
    lua_insert(L, 2); /* false handler error */
    lua_pcall(L, 1, 1, 0);
    return 2;
}

/* One step over a table looks at all empty slots between two keys, and a table that has been
 * emptied consists of them. A traversal in order meets each slot once; so what is charged is to
 * begin, or to go on from anywhere but the last key, by all the slots there can be: those of the
 * memory in use. Upvalues: the table (no more than its address) and the key of the last step. */
static int l_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    const void *last = lua_touserdata(L, lua_upvalueindex(1)), *t = lua_topointer(L, 1);
    if (t != last || lua_isnil(L, 2) || !lua_rawequal(L, 2, lua_upvalueindex(2))) {
        charge(L, (size_t)lua_gc(L, LUA_GCCOUNT) / 2);
        lua_pushlightuserdata(L, (void *)(uintptr_t)t);
        lua_replace(L, lua_upvalueindex(1));
    }
    int n = 2;
    if (lua_next(L, 1) == 0) { /* t k v, or t */
        lua_pushnil(L);        /* t nil */
        n = 1;
    }
    lua_copy(L, 2, lua_upvalueindex(2));
    return n;
}

static int l_pairs(lua_State *L) /* upvalue: next */
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) { /* t … f */
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
    } else {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        lua_pushnil(L);
    }
    return 3;
}

/* -- string and utf8 -- */

static int l_rep(lua_State *L)
{
    lua_Integer n;
    if (to_integer(L, 2, 0, &n) && n > 0) {
        size_t len, more;
        luaL_checklstring(L, 1, &len);
        luaL_optlstring(L, 3, "", &more);
        if (len == 0 && more == 0) { /* stock Lua would copy nothing n times */
            lua_pushliteral(L, "");
            return 1;
        }
        size_t each = 1 + (len + more) / 16, times = (size_t)n;
        charge(L, times < MOST / each ? times * each / 4 : MOST);
    }
    return original(L);
}

/* printf() takes time for the digits of a large number, as %f has them all: about a step for each
 * power of two. */
static int l_format(lua_State *L)
{
    size_t steps = string_bytes(L, 1) / 4;
    for (int i = 2; i <= lua_gettop(L); i++) {
        int exponent = 0, is_number;
        lua_Number x = lua_tonumberx(L, i, &is_number);
        if (is_number && isfinite(x)) frexp(x, &exponent);
        steps += 8 + (size_t)abs(exponent);
    }
    charge(L, steps);
    return original(L);
}

/* How far it walked shows in the result only. Behind or before all characters: at most everything.
 */
static int l_offset(lua_State *L)
{
    size_t len = string_len(L, 1);
    lua_Integer n, from, to;
    bool known =
        to_integer(L, 2, 1, &n) && to_integer(L, 3, n > 0 ? 1 : (lua_Integer)len + 1, &from);
    int results = original(L);
    if (!known || !to_integer(L, -1, n > 0 ? (lua_Integer)len : 0, &to)) return results;
    if (from < 0) from += (lua_Integer)len + 1;
    charge(L, (from < to ? span(from, to, len) : span(to, from, len)) / 4);
    return results;
}

static int l_next_code(lua_State *L)
{
    lua_Integer from;
    if (!to_integer(L, 2, 0, &from)) return luaL_typeerror(L, 2, "integer");
    int n = original(L);
    lua_Integer to = n > 0 ? lua_tointeger(L, -n) : (lua_Integer)string_len(L, 1);
    charge(L, span(from, to, string_len(L, 1)) / 4);
    return n;
}

static int l_codes(lua_State *L)
{
    int n = original(L);                 /* … f s 0 */
    lua_pushvalue(L, -n);                /* … f s 0 f */
    lua_pushcclosure(L, l_next_code, 1); /* … f s 0 g */
    lua_replace(L, -n - 1);              /* … g s 0 */
    return n;
}

/* -- table -- */

/* What such a metatable says need not be true: of an array without end, say. */
static void check_array(lua_State *L, int i)
{
    static const char *const liars[] = {"__index", "__len", "__newindex"};
    luaL_checktype(L, i, LUA_TTABLE);
    if (!lua_getmetatable(L, i)) return;
    for (size_t k = 0; k < sizeof liars / sizeof *liars; k++) { /* … mt */
        lua_pushstring(L, liars[k]);
        if (lua_rawget(L, -2) != LUA_TNIL)
            luaL_argerror(
                L, i, lua_pushfstring(L, "a table whose metatable has %s is no array", liars[k]));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int l_insert(lua_State *L)
{
    check_array(L, 1);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1), at;
    if (lua_gettop(L) == 3 && to_integer(L, 2, 0, &at) && at >= 1) charge(L, span(at, n, SIZE_MAX));
    return original(L);
}

static int l_remove(lua_State *L)
{
    check_array(L, 1);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1), at;
    if (to_integer(L, 2, n, &at) && at >= 1) charge(L, span(at, n, SIZE_MAX));
    return original(L);
}

static int l_move(lua_State *L)
{
    check_array(L, 1);
    if (!lua_isnoneornil(L, 5)) check_array(L, 5);
    lua_Integer from, to;
    if (to_integer(L, 2, 0, &from) && to_integer(L, 3, 0, &to)) charge(L, span(from, to, SIZE_MAX));
    return original(L);
}

static int l_pack(lua_State *L)
{
    charge(L, (size_t)lua_gettop(L) / 4);
    return original(L);
}

static int l_unpack(lua_State *L)
{
    check_array(L, 1);
    lua_Integer from, to;
    size_t most = 1000000; /* no stack is as large: then it refuses at once */
    if (to_integer(L, 2, 1, &from) && to_integer(L, 3, (lua_Integer)lua_rawlen(L, 1), &to)) {
        size_t n = span(from, to, most);
        charge(L, n < most ? n / 2 : 0);
    }
    return original(L);
}

static void add_element(lua_State *L, luaL_Buffer *b, lua_Integer i)
{
    lua_rawgeti(L, 1, i);
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1),
                   (LUAI_UACINT)i);
    luaL_addvalue(b);
}

/* Not a wrapper: how many elements there are shows on the way only. */
static int l_concat(lua_State *L)
{
    check_array(L, 1);
    charge(L, (string_len(L, 3) + string_len(L, 4)) / 4);
    size_t len, done = 0, n = 0;
    const char *separator = luaL_optlstring(L, 2, "", &len);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    lua_Integer last = luaL_optinteger(L, 4, (lua_Integer)lua_rawlen(L, 1));
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; i <= last; i++) {
        if (++n == 64) {
            charge(L, n + (luaL_bufflen(&b) - done) / 16);
            done = luaL_bufflen(&b);
            n = 0;
        }
        add_element(L, &b, i);
        if (i == last) break; /* which may be the last of all integers */
        luaL_addlstring(&b, separator, len);
    }
    charge(L, n + (luaL_bufflen(&b) - done) / 16);
    luaL_pushresult(&b);
    return 1;
}

/* -- table.sort -- */

/* A merge sort of indices. Stack: t comparison values a; values is a copy of t, a the userdata with
 * room for the indices twice. */
enum { BY = 2, VALUES = 3, COMPARED = 64 };
struct sorter {
    lua_State *L;
    bool by_function;
    size_t steps; /* not yet charged */
};

/* Bytes as the C locale orders them, which is what stock Lua's strcoll() does. */
static bool string_before(lua_State *L, size_t *steps)
{
    size_t a_len, b_len;
    const char *a = lua_tolstring(L, -2, &a_len), *b = lua_tolstring(L, -1, &b_len);
    size_t least = a_len < b_len ? a_len : b_len;
    *steps += least / 16;
    int order = memcmp(a, b, least);
    return order != 0 ? order < 0 : a_len < b_len;
}

static bool before(struct sorter *s, uint32_t a, uint32_t b)
{
    lua_State *L = s->L;
    bool yes;
    if ((s->steps += s->by_function ? 8 : 2) >= COMPARED) {
        budget_charge(L, s->steps);
        s->steps = 0;
    }
    if (s->by_function) lua_pushvalue(L, BY);
    bool strings = lua_rawgeti(L, VALUES, a) == LUA_TSTRING;
    strings &= lua_rawgeti(L, VALUES, b) == LUA_TSTRING; /* … a b */
    if (s->by_function) {
        lua_call(L, 2, 1);
        yes = lua_toboolean(L, -1);
        lua_pop(L, 1);
        return yes;
    }
    yes = strings ? string_before(L, &s->steps) : lua_compare(L, -2, -1, LUA_OPLT);
    lua_pop(L, 2);
    return yes;
}

/* Merges from[at..middle) and from[middle..end) into to[at..end). */
static void merge(struct sorter *s, const uint32_t *from, uint32_t *to, size_t at, size_t middle,
                  size_t end)
{
    size_t left = at, right = middle;
    if (middle < end && before(s, from[middle], from[middle - 1])) {
        while (left < middle && right < end)
            to[at++] = before(s, from[right], from[left]) ? from[right++] : from[left++];
    }
    while (left < middle) to[at++] = from[left++];
    while (right < end) to[at++] = from[right++];
}

static const uint32_t *sorted(struct sorter *s, uint32_t *a, size_t n)
{
    uint32_t *from = a, *to = a + n;
    for (size_t i = 0; i < n; i++) from[i] = (uint32_t)i + 1;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t middle = at + width < n ? at + width : n;
            merge(s, from, to, at, middle, middle + width < n ? middle + width : n);
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static int l_sort(lua_State *L)
{
    check_array(L, 1);
    size_t n = lua_rawlen(L, 1);
    if (n < 2) return 0;
    luaL_argcheck(L, n < INT_MAX, 1, "array too big");
    if (!lua_isnoneornil(L, BY)) luaL_checktype(L, BY, LUA_TFUNCTION);
    lua_settop(L, BY);
    charge(L, n);
    lua_createtable(L, (int)n, 0); /* t by values */
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        lua_rawseti(L, VALUES, (lua_Integer)i);
    }
    uint32_t *a = lua_newuserdatauv(L, 2 * n * sizeof *a, 0); /* t by values a */
    struct sorter s = {L, !lua_isnil(L, BY), 0};
    const uint32_t *order = sorted(&s, a, n);
    charge(L, s.steps);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, VALUES, order[i]);
        lua_rawseti(L, 1, (lua_Integer)i + 1);
    }
    return 0;
}

/* -- what there is -- */

/* NULL: as it is. Else the wrapper, whose upvalue is the function that it stands before. */
static const luaL_Reg base[] = {
    {"_VERSION", NULL},         {"assert", NULL},     {"error", l_error},
    {"getmetatable", NULL},     {"ipairs", NULL},     {"pcall", NULL},
    {"rawequal", NULL},         {"rawget", NULL},     {"rawlen", NULL},
    {"rawset", NULL},           {"select", l_select}, {"setmetatable", l_setmetatable},
    {"tonumber", l_by_strings}, {"tostring", NULL},   {"type", NULL},
    {"xpcall", l_xpcall},       {LUA_GNAME, NULL},    {NULL, NULL}};

static const luaL_Reg string[] = {
    {"byte", l_by_slice_or_one}, {"char", l_by_strings},  {"find", NULL}, /* these four: patterns.c
                                                                           */
    {"format", l_format},        {"gmatch", NULL},        {"gsub", NULL}, {"len", NULL},
    {"lower", l_by_strings},     {"match", NULL},         {"rep", l_rep}, {"reverse", l_by_strings},
    {"sub", l_by_slice},         {"upper", l_by_strings}, {NULL, NULL}};

/* Arithmetic on strings: '10' + 1. */
static const luaL_Reg string_metamethods[] = {{"__add", l_by_strings},  {"__div", l_by_strings},
                                              {"__idiv", l_by_strings}, {"__index", NULL},
                                              {"__mod", l_by_strings},  {"__mul", l_by_strings},
                                              {"__pow", l_by_strings},  {"__sub", l_by_strings},
                                              {"__unm", l_by_strings},  {NULL, NULL}};

static const luaL_Reg table[] = {{"concat", l_concat}, {"insert", l_insert}, {"move", l_move},
                                 {"pack", l_pack},     {"remove", l_remove}, {"sort", l_sort},
                                 {"unpack", l_unpack}, {NULL, NULL}};

static const luaL_Reg math[] = {{"abs", l_by_strings},
                                {"acos", l_by_strings},
                                {"asin", l_by_strings},
                                {"atan", l_by_strings},
                                {"ceil", l_by_strings},
                                {"cos", l_by_strings},
                                {"deg", l_by_strings},
                                {"exp", l_by_strings},
                                {"floor", l_by_strings},
                                {"fmod", l_by_strings},
                                {"huge", NULL},
                                {"log", l_by_strings},
                                {"max", l_by_strings},
                                {"maxinteger", NULL},
                                {"min", l_by_strings},
                                {"mininteger", NULL},
                                {"modf", l_by_strings},
                                {"pi", NULL},
                                {"rad", l_by_strings},
                                {"sin", l_by_strings},
                                {"sqrt", l_by_strings},
                                {"tan", l_by_strings},
                                {"tointeger", l_by_strings},
                                {"type", NULL},
                                {"ult", l_by_strings},
                                {NULL, NULL}};

static const luaL_Reg utf8[] = {{"char", l_by_strings},
                                {"charpattern", NULL},
                                {"codepoint", l_by_slice_or_one},
                                {"codes", l_codes},
                                {"len", l_by_slice},
                                {"offset", l_offset},
                                {NULL, NULL}};

static bool listed(const luaL_Reg *list, const char *name)
{
    for (; list->name != NULL; list++)
        if (strcmp(list->name, name) == 0) return true;
    return false;
}

/* Leaves in the table on top what is listed, behind its wrappers. What later Luas add stays out. */
static void allow(lua_State *L, const luaL_Reg *list)
{
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) { /* t name v */
        lua_pop(L, 1);             /* t name */
        if (listed(list, lua_tostring(L, -1))) continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4); /* t name: a field that is there may be cleared on the way */
    }
    for (; list->name != NULL; list++) {
        if (list->func == NULL) continue;
        lua_getfield(L, -1, list->name); /* t f */
        lua_pushcclosure(L, list->func, 1);
        lua_setfield(L, -2, list->name); /* t */
    }
}

static void open_base(lua_State *L)
{
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1); /* _G */
    allow(L, base);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushcclosure(L, l_next, 2); /* _G next */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "next");
    lua_pushcclosure(L, l_pairs, 1);
    lua_setfield(L, -2, "pairs"); /* _G */
    lua_pop(L, 1);
}

static void open_string(lua_State *L)
{
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1); /* string */
    allow(L, string);
    patterns_open(L);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* string '' mt */
    allow(L, string_metamethods);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 3); /* - */
}

static void open_library(lua_State *L, const char *name, lua_CFunction open, const luaL_Reg *list)
{
    luaL_requiref(L, name, open, 1);
    allow(L, list);
    lua_pop(L, 1);
}

/* To collect tables with weak keys can take time that is quadratic in their number, minutes for
 * those that fit a cell, in one step that no hook interrupts. And a metatable may get its __mode
 * when it has long been set. So the collector, which knows the field by this one string, is made
 * to look for another: one that nobody can guess, or make by chance. */
static void forget_weak_tables(lua_State *L)
{
    char *mode = (char *)(uintptr_t)lua_pushliteral(L, "__mode");
    uint64_t secret = ((uint64_t)clock_monotonic_ns() ^ (uintptr_t)&secret) * 0x9e3779b97f4a7c15u;
    memcpy(mode, (char *)&secret + 2, strlen("__mode"));
    lua_pop(L, 1);
}

void bounded_open(lua_State *L)
{
    forget_weak_tables(L);
    open_base(L);
    open_string(L);
    open_library(L, LUA_TABLIBNAME, luaopen_table, table);
    open_library(L, LUA_MATHLIBNAME, luaopen_math, math);
    open_library(L, LUA_UTF8LIBNAME, luaopen_utf8, utf8);
}
