/* The Lua module perigee.metrics: families of the process's own metrics. */
#include "base/metrics.h"

#include <math.h>
#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

#define TYPE "perigee.metric"
enum { MAX_LABELS = 8 };

struct box {
    struct metric *m;
    int n_labels;
};

/* family(type, name, help [, "label,…" [, buckets]]) -> metric; the same one for the same name */
static int l_family(lua_State *L)
{
    static const char *const types[] = {"counter", "gauge", "histogram", NULL};
    int type = luaL_checkoption(L, 1, NULL, types);
    const char *labels = luaL_optstring(L, 4, "");
    size_t n = 0;
    double *buckets = NULL;
    if (type == METRIC_HISTOGRAM) buckets = bind_doubles(L, 5, &n);
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->n_labels = *labels ? 1 : 0;
    for (const char *c = labels; *c; c++) b->n_labels += *c == ',';
    luaL_argcheck(L, b->n_labels <= MAX_LABELS, 4, "at most 8 labels");
    b->m = metric_family(luaL_checkstring(L, 2), luaL_checkstring(L, 3), (enum metric_type)type,
                         labels, buckets, n);
    luaL_argcheck(L, b->m != NULL, 2, "exists with another type or other labels");
    luaL_setmetatable(L, TYPE);
    return 1;
}

/* The label values follow the number at index 2. */
static struct box *arguments(lua_State *L, double *x, const char *values[MAX_LABELS])
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    *x = luaL_checknumber(L, 2);
    for (int i = 0; i < b->n_labels; i++) values[i] = luaL_checkstring(L, 3 + i);
    return b;
}

static int l_add(lua_State *L) /* metric:add(amount, label values…) */
{
    double x;
    const char *values[MAX_LABELS];
    struct box *b = arguments(L, &x, values);
    metric_add(b->m, values, x);
    return 0;
}

static int l_set(lua_State *L) /* metric:set(value, label values…) */
{
    double x;
    const char *values[MAX_LABELS];
    struct box *b = arguments(L, &x, values);
    metric_set(b->m, values, x);
    return 0;
}

static int l_observe(lua_State *L) /* metric:observe(value, label values…) */
{
    double x;
    const char *values[MAX_LABELS];
    struct box *b = arguments(L, &x, values);
    metric_observe(b->m, values, x);
    return 0;
}

static int l_value(lua_State *L) /* metric:value(label values…) -> number */
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    const char *values[MAX_LABELS];
    for (int i = 0; i < b->n_labels; i++) values[i] = luaL_checkstring(L, 2 + i);
    lua_pushnumber(L, metric_value(b->m, values));
    return 1;
}

static int l_clear(lua_State *L) /* metric:clear() */
{
    metric_clear(((struct box *)luaL_checkudata(L, 1, TYPE))->m);
    return 0;
}

static int l_expose(lua_State *L) /* expose(openmetrics) -> text */
{
    bool openmetrics = lua_toboolean(L, 1);
    struct text *out = bind_text(L);
    metrics_expose(out, openmetrics);
    if (out->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->data != NULL ? out->data : "", out->len);
    return 1;
}

int luaopen_perigee_metrics(lua_State *L)
{
    static const luaL_Reg methods[] = {{"add", l_add},         {"set", l_set},
                                       {"observe", l_observe}, {"value", l_value},
                                       {"clear", l_clear},     {NULL, NULL}};
    static const luaL_Reg functions[] = {{"family", l_family}, {"expose", l_expose}, {NULL, NULL}};
    bind_type(L, TYPE, methods, NULL);
    luaL_newlib(L, functions);
    return 1;
}
