/* The Lua module perigee.moments. Names, defaults and units that users see live in Lua. */
#include "kernels/moments.h"

#include <math.h>
#include <stdint.h>

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/budget.h"

#define TYPE "perigee.moments" /* the userdata is a struct moments: nothing to free */

static struct moments *check(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

static struct moments *push(lua_State *L)
{
    struct moments *m = lua_newuserdatauv(L, sizeof *m, 0); /* m */
    moments_init(m);
    luaL_setmetatable(L, TYPE);
    return m;
}

static void add_all(lua_State *L, struct moments *m, int i)
{
    luaL_checktype(L, i, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, i);
    budget_charge(L, (size_t)n);
    for (lua_Unsigned k = 1; k <= n; k++) {
        int type = lua_rawgeti(L, i, (lua_Integer)k); /* v */
        if (type == LUA_TNUMBER)
            moments_add(m, lua_tonumber(L, -1));
        else if (type != LUA_TNIL && (type != LUA_TBOOLEAN || lua_toboolean(L, -1)))
            luaL_error(L, "value %d is a %s; expected a number", (int)k, luaL_typename(L, -1));
        lua_pop(L, 1); /* - */
    }
}

static double field(lua_State *L, const char *name, double least, double most)
{
    if (lua_getfield(L, 1, name) != LUA_TNUMBER) luaL_error(L, "field \"%s\" is missing", name);
    double x = lua_tonumber(L, -1);
    if (!(x >= least && x <= most)) luaL_error(L, "field \"%s\" is out of range", name);
    lua_pop(L, 1);
    return x;
}

/* new([state]) -> moments: of no values, or those of m:state() */
static int l_new(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        push(L);
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    struct moments *m = push(L);
    uint64_t count = (uint64_t)field(L, "count", 0, 9007199254740992.0);
    if (count == 0) return 1;
    m->mean = field(L, "mean", -HUGE_VAL, HUGE_VAL);
    m->m2 = field(L, "m2", 0, HUGE_VAL);
    m->min = field(L, "min", -HUGE_VAL, HUGE_VAL);
    m->max = field(L, "max", m->min, HUGE_VAL);
    m->count = count;
    return 1;
}

static int l_of(lua_State *L) /* of(values) -> moments. NaN, nil and false are missing samples. */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    add_all(L, push(L), 1);
    return 1;
}

static int l_add(lua_State *L) /* m:add(x) */
{
    moments_add(check(L), luaL_checknumber(L, 2));
    return 0;
}

static int l_add_all(lua_State *L) /* m:add_all(values) */
{
    add_all(L, check(L), 2);
    return 0;
}

static int l_merge(lua_State *L) /* m:merge(other): as if m had seen other's values too */
{
    moments_merge(check(L), luaL_checkudata(L, 2, TYPE));
    return 0;
}

static int l_count(lua_State *L) /* m:count() -> how many values were not missing */
{
    lua_pushinteger(L, (lua_Integer)check(L)->count);
    return 1;
}

/* NaN where there are no values, as for all that follow. */
static int push_of(lua_State *L, const struct moments *m, double x)
{
    lua_pushnumber(L, m->count > 0 ? x : (lua_Number)NAN);
    return 1;
}

static int l_mean(lua_State *L) { return push_of(L, check(L), check(L)->mean); }
static int l_min(lua_State *L) { return push_of(L, check(L), check(L)->min); }
static int l_max(lua_State *L) { return push_of(L, check(L), check(L)->max); }

static unsigned check_ddof(lua_State *L, int i)
{
    lua_Integer ddof = luaL_optinteger(L, i, 1);
    luaL_argcheck(L, ddof >= 0 && ddof <= 1000, i, "ddof lies between 0 and 1000");
    return (unsigned)ddof;
}

static int l_variance(lua_State *L) /* m:variance([ddof = 1]) -> NaN unless count > ddof */
{
    lua_pushnumber(L, moments_variance(check(L), check_ddof(L, 2)));
    return 1;
}

static int l_stddev(lua_State *L) /* m:stddev([ddof = 1]) */
{
    lua_pushnumber(L, sqrt(moments_variance(check(L), check_ddof(L, 2))));
    return 1;
}

static int l_zscore(lua_State *L) /* m:zscore(x [, ddof = 1]) -> infinite off a flat series */
{
    lua_pushnumber(L, moments_zscore(check(L), luaL_checknumber(L, 2), check_ddof(L, 3)));
    return 1;
}

static void set(lua_State *L, const char *name, double x)
{
    lua_pushnumber(L, x);
    lua_setfield(L, -2, name);
}

static int l_state(lua_State *L) /* m:state() -> plain data, for a store and for new() */
{
    const struct moments *m = check(L);
    lua_createtable(L, 0, 5); /* t */
    lua_pushinteger(L, (lua_Integer)m->count);
    lua_setfield(L, -2, "count");
    if (m->count == 0) return 1; /* JSON knows no infinity, which min and max are then */
    set(L, "mean", m->mean);
    set(L, "m2", m->m2);
    set(L, "min", m->min);
    set(L, "max", m->max);
    return 1;
}

int luaopen_perigee_moments(lua_State *L)
{
    static const luaL_Reg functions[] = {{"new", l_new}, {"of", l_of}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"add", l_add},   {"add_all", l_add_all},   {"merge", l_merge},   {"count", l_count},
        {"mean", l_mean}, {"variance", l_variance}, {"stddev", l_stddev}, {"min", l_min},
        {"max", l_max},   {"zscore", l_zscore},     {"state", l_state},   {NULL, NULL}};
    bind_type(L, TYPE, methods, NULL);
    luaL_newlib(L, functions);
    return 1;
}
