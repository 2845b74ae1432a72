/* The Lua module perigee.seasonal_auto: what corrects a model of perigee.seasonal. lua/stdlib/
 * seasonal.lua makes one model of both. */
#include "kernels/seasonal_auto.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bindings/bind.h"
#include "bindings/compute.h"
#include "bindings/modules.h"
#include "bindings/seasonal.h"

#define TYPE "perigee.seasonal_auto"

enum { AT_ONCE = 1000 }; /* times, of a forecast: under a millisecond */

struct box {
    struct seasonal_auto *a; /* NULL until fitted and once collected */
};

static struct box *new_box(lua_State *L)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* box */
    box->a = NULL;
    luaL_setmetatable(L, TYPE);
    return box;
}

static struct seasonal_auto *check(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, box->a != NULL, 1, "this model is empty");
    return box->a;
}

static int l_free(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    seasonal_auto_free(box->a);
    box->a = NULL;
    return 0;
}

/* -- fit -- */

struct fit_job {
    struct compute compute;
    struct seasonal *base; /* shared */
    struct seasonal_auto *result;
};

static int run_fit(struct compute *compute, const atomic_bool *cancel)
{
    struct fit_job *job = (struct fit_job *)compute;
    return seasonal_auto_fit(&job->result, job->base, cancel, &compute->err);
}

static int push_fit(lua_State *L, struct compute *compute)
{
    struct fit_job *job = (struct fit_job *)compute;
    new_box(L)->a = job->result; /* box */
    job->result = NULL;
    return 1;
}

static void drop_fit(struct compute *compute)
{
    struct fit_job *job = (struct fit_job *)compute;
    seasonal_free(job->base);
    seasonal_auto_free(job->result);
}

static const struct compute_kind fit_kind = {sizeof(struct fit_job), run_fit, push_fit, drop_fit};

static int l_fit(lua_State *L) /* fit(seasonal) -> auto | nil, message. May wait. */
{
    struct seasonal *base = bind_check_seasonal(L, 1);
    lua_settop(L, 1);
    struct fit_job *job = compute_new(L, &fit_kind); /* base box */
    job->base = seasonal_share(base);
    return compute_start(L, job, false);
}

/* -- forecasts -- */

struct predict_job {
    struct compute compute;
    struct seasonal_auto *a; /* shared */
    struct seasonal_future future;
    double *ds, *cap, *floor, *effect, *out; /* out: (4, n) */
    double width, threshold;
    bool reach, falling, noise;
    struct seasonal_reach reached;
};

static int run_predict(struct compute *compute, const atomic_bool *cancel)
{
    struct predict_job *job = (struct predict_job *)compute;
    (void)cancel;
    if (job->reach)
        return seasonal_auto_time_to(job->a, &job->future, job->effect, job->threshold,
                                     job->falling, job->noise, &job->reached, &compute->err);
    size_t n = job->future.n;
    struct seasonal_auto_forecast to = {job->out, job->out + n, job->out + 2 * n, job->out + 3 * n};
    return seasonal_auto_predict(job->a, &job->future, job->effect, job->width, &to, &compute->err);
}

static int push_predict(lua_State *L, struct compute *compute)
{
    static const char *const names[4] = {"yhat", "yhat_lower", "yhat_upper", "trend"};
    struct predict_job *job = (struct predict_job *)compute;
    if (job->reach) return bind_push_reach(L, &job->reached);
    lua_createtable(L, 0, 4); /* t */
    for (size_t i = 0; i < 4; i++) {
        bind_push_doubles(L, job->out + i * job->future.n, job->future.n); /* t x */
        lua_setfield(L, -2, names[i]);
    }
    return 1;
}

static void drop_predict(struct compute *compute)
{
    struct predict_job *job = (struct predict_job *)compute;
    seasonal_auto_free(job->a);
    free(job->ds);
    free(job->cap);
    free(job->floor);
    free(job->effect);
    free(job->out);
}

static const struct compute_kind predict_kind = {sizeof(struct predict_job), run_predict,
                                                 push_predict, drop_predict};

static double *copied(const double *x, size_t n)
{
    double *out = xcalloc(n + 1, sizeof *out);
    if (n > 0) memcpy(out, x, n * sizeof *out);
    return out;
}

/* Arguments (auto, ds, options, effect or nil, a number), and the job on top of them. */
static struct predict_job *begin(lua_State *L)
{
    struct seasonal_auto *a = check(L);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_Number number = luaL_checknumber(L, 5);
    lua_settop(L, 5);
    struct predict_job *job = compute_new(L, &predict_kind); /* … box */
    int box = lua_gettop(L);
    size_t n;
    double *ds = bind_doubles(L, 2, &n); /* … box ds */
    job->a = seasonal_auto_share(a);
    job->ds = copied(ds, n);
    if (!lua_isnil(L, 4)) {
        size_t effects;
        double *effect = bind_doubles(L, 4, &effects);
        luaL_argcheck(L, effects == n, 4, "as many effects as times are needed");
        job->effect = copied(effect, n);
    }
    bind_level(L, 3, "cap", &job->cap, n);
    bind_level(L, 3, "floor", &job->floor, n);
    job->future = (struct seasonal_future){job->ds, n, job->cap, job->floor, NULL};
    job->width = job->threshold = number;
    lua_settop(L, box);
    return job;
}

/* a:predict(ds, {cap, floor}, effect or nil, width) -> { yhat, yhat_lower, yhat_upper, trend } */
static int l_predict(lua_State *L)
{
    lua_Number width = luaL_checknumber(L, 5);
    luaL_argcheck(L, width > 0 && width < 1, 5, "a width lies between 0 and 1");
    struct predict_job *job = begin(L);
    job->out = xcalloc(4 * job->future.n + 1, sizeof *job->out);
    return compute_start(L, job, job->future.n <= AT_ONCE);
}

/* a:time_to(ds, {cap, floor, falling, noise}, effect or nil, threshold) */
static int l_time_to(lua_State *L)
{
    struct predict_job *job = begin(L);
    job->reach = true;
    job->falling = bind_opt_boolean(L, 3, "falling", false);
    job->noise = bind_opt_boolean(L, 3, "noise", true);
    return compute_start(L, job, job->future.n <= AT_ONCE);
}

static void set_number(lua_State *L, const char *name, double x)
{
    lua_pushnumber(L, x);
    lua_setfield(L, -2, name);
}

static int l_drivers(lua_State *L) /* { trend, daily, weekly, step = { ds, size } or nil, … } */
{
    struct seasonal_drivers d = seasonal_auto_drivers(check(L));
    lua_createtable(L, 0, 8); /* t */
    set_number(L, "trend", d.trend);
    set_number(L, "daily", d.daily);
    set_number(L, "weekly", d.weekly);
    lua_pushinteger(L, d.folds);
    lua_setfield(L, -2, "backtests");
    if (d.folds > 0) set_number(L, "error", d.error);
    if (d.step != 0) {
        lua_createtable(L, 0, 2); /* t step */
        set_number(L, "ds", d.step_ds);
        set_number(L, "size", d.step);
        lua_setfield(L, -2, "step");
    }
    lua_createtable(L, 0, SEASONAL_EXPERTS); /* t weights */
    for (int x = 0; x < SEASONAL_EXPERTS; x++) set_number(L, seasonal_expert_name(x), d.weight[x]);
    lua_setfield(L, -2, "weights");
    return 1;
}

int luaopen_perigee_seasonal_auto(lua_State *L)
{
    static const luaL_Reg functions[] = {{"fit", l_fit}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"predict", l_predict}, {"time_to", l_time_to}, {"drivers", l_drivers}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_free);
    luaL_newlib(L, functions);
    return 1;
}
