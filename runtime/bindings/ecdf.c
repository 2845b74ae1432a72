/* The Lua module perigee.ecdf. Names, defaults and units that users see live in Lua. */
#include "kernels/ecdf.h"

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/budget.h"

#define TYPE "perigee.ecdf"

/* The ecdf lies in the first user value, a block of Lua's, so a cell's limit covers it. */
struct box {
    struct ecdf *e; /* NULL until fitted and once closed */
};

static struct ecdf *check(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, box->e != NULL, 1, "already closed");
    return box->e;
}

static int l_close(lua_State *L) /* __close too, so twice must be fine */
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    box->e = NULL;
    lua_pushnil(L);
    lua_setiuservalue(L, 1, 1);
    return 0;
}

/* What reading and sorting n values costs in instructions: as measured, about log2(n) each. */
static size_t steps_of_fit(size_t n)
{
    size_t each = 1;
    for (size_t k = n; k > 1; k /= 2) each++;
    return n * each;
}

/* fit(values) -> ecdf | nil, message. NaN, nil and false stand for missing samples. */
static int l_fit(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = lua_rawlen(L, 1);
    budget_charge(L, steps_of_fit(n));
    struct box *box = lua_newuserdatauv(L, sizeof *box, 1); /* t box */
    box->e = NULL;
    luaL_setmetatable(L, TYPE);
    double *x = bind_doubles(L, 1, &n);                      /* t box x */
    struct ecdf *e = lua_newuserdatauv(L, ecdf_bytes(n), 0); /* t box x e */
    lua_setiuservalue(L, -3, 1);                             /* t box x */
    int rc = ecdf_fit_at(e, x, n);
    if (rc < 0) return bind_fail(L, rc);
    box->e = e;
    lua_pop(L, 1); /* t box */
    return 1;
}

static int l_count(lua_State *L) /* e:count() -> how many values were not missing */
{
    lua_pushinteger(L, (lua_Integer)ecdf_count(check(L)));
    return 1;
}

static int l_quantile(lua_State *L) /* e:quantile(p) */
{
    struct ecdf *e = check(L);
    lua_Number p = luaL_checknumber(L, 2);
    luaL_argcheck(L, p >= 0 && p <= 1, 2, "a quantile lies between 0 and 1");
    lua_pushnumber(L, ecdf_quantile(e, p));
    return 1;
}

static int l_rank(lua_State *L) /* e:rank(x) -> the share of values <= x */
{
    struct ecdf *e = check(L);
    lua_pushnumber(L, ecdf_rank(e, luaL_checknumber(L, 2)));
    return 1;
}

static int l_mad(lua_State *L) /* e:mad(): unscaled */
{
    struct ecdf *e = check(L);
    budget_charge(L, ecdf_count(e));
    lua_pushnumber(L, ecdf_mad(e));
    return 1;
}

int luaopen_perigee_ecdf(lua_State *L)
{
    static const luaL_Reg functions[] = {{"fit", l_fit}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"count", l_count}, {"quantile", l_quantile},
                                       {"rank", l_rank},   {"mad", l_mad},
                                       {"close", l_close}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    luaL_newlib(L, functions);
    return 1;
}
