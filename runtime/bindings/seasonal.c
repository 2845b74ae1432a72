/* The Lua module perigee.seasonal. Names, defaults and units that users see live in Lua. */
#include "kernels/seasonal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bindings/bind.h"
#include "bindings/compute.h"
#include "bindings/modules.h"
#include "bindings/seasonal.h"

#define TYPE "perigee.seasonal"

/* What is shorter than a millisecond needs no thread. */
enum { FIT_AT_ONCE = 20000, NEWTON_AT_ONCE = 300, PREDICT_AT_ONCE = 700, SAMPLED_AT_ONCE = 20 };

struct box {
    struct seasonal *m; /* NULL until fitted and once collected */
};

static struct box *new_box(lua_State *L)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* box */
    box->m = NULL;
    luaL_setmetatable(L, TYPE);
    return box;
}

struct seasonal *bind_check_seasonal(lua_State *L, int i)
{
    struct box *box = luaL_checkudata(L, i, TYPE);
    luaL_argcheck(L, box->m != NULL, i, "this model is empty");
    return box->m;
}

static int l_free(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    seasonal_free(box->m);
    box->m = NULL;
    return 0;
}

/* -- arrays out of Lua, into memory of a job -- */

/* The list is at the top of the stack. `missing`: false and nil stand for values that are. */
static void take(lua_State *L, double *x, size_t n, const char *what, bool missing)
{
    enum { AT_ONCE = 8 }; /* popped together: a third of the time goes into popping one by one */
    int list = lua_gettop(L);
    for (size_t i = 0; i < n; i++) {
        int type = lua_rawgeti(L, list, (lua_Integer)i + 1); /* list … v */
        if (type == LUA_TNUMBER)
            x[i] = lua_tonumber(L, -1);
        else if (missing && !lua_toboolean(L, -1))
            x[i] = NAN;
        else
            luaL_error(L, "%s[%d] is a %s; expected a number", what, (int)i + 1,
                       luaL_typename(L, -1));
        if (i % AT_ONCE == AT_ONCE - 1) lua_settop(L, list);
    }
    lua_settop(L, list);
}

/* The list at the top of the stack, which is popped, to *out, which the job frees. */
static void doubles(lua_State *L, double **out, size_t *n, const char *what, bool missing)
{
    if (lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "%s is a %s; expected a list of numbers", what, luaL_typename(L, -1));
    *n = lua_rawlen(L, -1);
    *out = xrealloc(NULL, *n + 1, sizeof **out);
    take(L, *out, *n, what, missing);
    lua_pop(L, 1); /* - */
}

/* The same of as many values as there are times. */
static void doubles_of(lua_State *L, double **out, size_t n, const char *what, bool missing)
{
    size_t count;
    doubles(L, out, &count, what, missing);
    if (count != n) luaL_error(L, "%s has %d values for %d times", what, (int)count, (int)n);
}

/* Field `name` of the table at index i: a number for all n, a list of n, or nil. */
void bind_level(lua_State *L, int i, const char *name, double **out, size_t n)
{
    int type = lua_getfield(L, i, name); /* v */
    if (type == LUA_TTABLE) {
        doubles_of(L, out, n, name, false);
        return;
    }
    if (type == LUA_TNUMBER) {
        *out = xcalloc(n + 1, sizeof **out);
        for (size_t k = 0; k < n; k++) (*out)[k] = lua_tonumber(L, -1);
    } else if (type != LUA_TNIL) {
        luaL_error(L, "%s is a %s; expected a number or a list", name, luaL_typename(L, -1));
    }
    lua_pop(L, 1); /* - */
}

/* -- fit -- */

struct fit_job {
    struct compute compute;
    struct seasonal_spec spec;
    struct seasonal_part *parts; /* (n_parts) whose names, days and values are owned */
    size_t n_parts;
    char *timezone, *tzif;
    double *changepoints, *ds, *y, *cap, *floor;
    size_t n;
    struct seasonal *result;
};

static int run_fit(struct compute *compute, const atomic_bool *cancel)
{
    struct fit_job *job = (struct fit_job *)compute;
    struct seasonal_series *s;
    int rc = seasonal_series_adopt(&s, &job->spec, &job->ds, &job->y, job->cap, job->floor, job->n,
                                   &compute->err);
    if (rc < 0) return rc;
    rc = seasonal_fit(&job->result, s, NULL, cancel, &compute->err);
    seasonal_series_free(s);
    return rc;
}

/* The box of a model that somebody hands over. The collector sees few bytes of it: told of the
 * history it comes in time where a script fits in a loop. */
static int push_model(lua_State *L, struct seasonal **m)
{
    size_t kilobytes = seasonal_view(*m).rows / 64;
    new_box(L)->m = *m; /* box */
    *m = NULL;
    if (kilobytes > 0) lua_gc(L, LUA_GCSTEP, (int)kilobytes);
    return 1;
}

static int push_fit(lua_State *L, struct compute *compute)
{
    return push_model(L, &((struct fit_job *)compute)->result);
}

static void drop_fit(struct compute *compute)
{
    struct fit_job *job = (struct fit_job *)compute;
    for (size_t p = 0; p < job->n_parts; p++) {
        free((void *)(uintptr_t)job->parts[p].name);
        free((void *)(uintptr_t)job->parts[p].days);
        free((void *)(uintptr_t)job->parts[p].values);
    }
    free(job->parts);
    free(job->timezone);
    free(job->tzif);
    free(job->changepoints);
    free(job->ds);
    free(job->y);
    free(job->cap);
    free(job->floor);
    seasonal_free(job->result);
}

static const struct compute_kind fit_kind = {sizeof(struct fit_job), run_fit, push_fit, drop_fit};

static const char *const kinds[] = {"season", "holiday", "regressor", NULL};
static const char *const growths[] = {"linear", "logistic", "flat", NULL};

static int option_of(lua_State *L, int i, const char *field, const char *const *names)
{
    const char *value = bind_opt_string(L, i, field, names[0]);
    for (int k = 0; names[k] != NULL; k++)
        if (strcmp(value, names[k]) == 0) return k;
    return luaL_error(L, "%s \"%s\" is unknown", field, value);
}

/* The days of a holiday, at the top of the stack: popped. */
static void take_days(lua_State *L, struct seasonal_part *part)
{
    if (lua_type(L, -1) != LUA_TTABLE) luaL_error(L, "a holiday has a list of days");
    size_t n = lua_rawlen(L, -1);
    int64_t *days = xcalloc(n + 1, sizeof *days);
    part->days = days;
    part->n_days = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1); /* … days day */
        days[i] = luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The part described by the table at the top of the stack, at index t. */
static void take_part(lua_State *L, struct fit_job *job, int t)
{
    struct seasonal_part *part = &job->parts[job->n_parts++];
    part->name = xstrdup(bind_opt_string(L, t, "name", ""));
    part->kind = (enum seasonal_kind)option_of(L, t, "kind", kinds);
    part->multiplicative = bind_opt_boolean(L, t, "multiplicative", false);
    part->prior_scale = bind_opt_number(L, t, "prior_scale", 10);
    part->period = bind_opt_number(L, t, "period", 0);
    part->order = (int)bind_opt_integer(L, t, "order", 0);
    part->lower = (int)bind_opt_integer(L, t, "lower", 0);
    part->upper = (int)bind_opt_integer(L, t, "upper", 0);
    if (part->kind == SEASONAL_HOLIDAY) {
        lua_getfield(L, t, "days"); /* … days */
        take_days(L, part);
    } else if (part->kind == SEASONAL_REGRESSOR) {
        lua_getfield(L, t, "values"); /* … values */
        double *values = NULL;
        size_t n = 0;
        if (lua_type(L, -1) != LUA_TTABLE)
            luaL_error(L, "regressor \"%s\" has no values", part->name);
        n = lua_rawlen(L, -1);
        if (n != job->n)
            luaL_error(L, "regressor \"%s\" has %d values for %d times", part->name, (int)n,
                       (int)job->n);
        part->values = values = xcalloc(n + 1, sizeof *values);
        take(L, values, n, part->name, true);
        lua_pop(L, 1); /* … */
    }
}

static void take_parts(lua_State *L, struct fit_job *job, int o)
{
    lua_getfield(L, o, "parts"); /* … parts */
    size_t n = lua_type(L, -1) == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
    job->parts = xcalloc(n + 1, sizeof *job->parts);
    for (size_t p = 0; p < n; p++) {
        lua_rawgeti(L, -1, (lua_Integer)p + 1); /* … parts part */
        luaL_checktype(L, -1, LUA_TTABLE);
        take_part(L, job, lua_gettop(L));
        lua_pop(L, 1); /* … parts */
    }
    lua_pop(L, 1); /* … */
    job->spec.parts = job->parts;
    job->spec.n_parts = n;
}

static void take_spec(lua_State *L, struct fit_job *job, int o)
{
    struct seasonal_spec *spec = &job->spec;
    *spec = seasonal_defaults();
    spec->growth = (enum seasonal_growth)option_of(L, o, "growth", growths);
    spec->n_changepoints = (int)bind_opt_integer(L, o, "n_changepoints", spec->n_changepoints);
    spec->changepoint_range = bind_opt_number(L, o, "changepoint_range", spec->changepoint_range);
    spec->changepoint_prior_scale =
        bind_opt_number(L, o, "changepoint_prior_scale", spec->changepoint_prior_scale);
    spec->interval_width = bind_opt_number(L, o, "interval_width", spec->interval_width);
    spec->samples = (int)bind_opt_integer(L, o, "uncertainty_samples", spec->samples);
    spec->seed = (uint64_t)bind_opt_integer(L, o, "random_state", 0);
    job->timezone = xstrdup(bind_opt_string(L, o, "timezone", "UTC"));
    spec->timezone = job->timezone;
    if (lua_getfield(L, o, "tzif") == LUA_TSTRING) { /* … tzif */
        const char *bytes = lua_tolstring(L, -1, &spec->tzif_len);
        job->tzif = xcalloc(1, spec->tzif_len + 1);
        memcpy(job->tzif, bytes, spec->tzif_len);
        spec->tzif = job->tzif;
    }
    lua_pop(L, 1);
    if (lua_getfield(L, o, "changepoints") != LUA_TNIL) { /* … changepoints */
        size_t n;
        doubles(L, &job->changepoints, &n, "changepoints", false);
        spec->n_changepoints = n > SEASONAL_CHANGES ? SEASONAL_CHANGES + 1 : (int)n;
        spec->changepoints = job->changepoints;
        return;
    }
    lua_pop(L, 1);
}

/* fit(ds, y, spec) -> model | nil, message. May wait. */
static int l_fit(lua_State *L)
{
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    struct fit_job *job = compute_new(L, &fit_kind); /* ds y spec box */
    lua_pushvalue(L, 1);
    doubles(L, &job->ds, &job->n, "ds", false);
    lua_pushvalue(L, 2);
    doubles_of(L, &job->y, job->n, "y", true);
    take_spec(L, job, 3);
    take_parts(L, job, 3);
    bind_level(L, 3, "cap", &job->cap, job->n);
    bind_level(L, 3, "floor", &job->floor, job->n);
    bool newton = job->spec.growth == SEASONAL_LOGISTIC;
    for (size_t p = 0; p < job->n_parts; p++) newton = newton || job->parts[p].multiplicative;
    return compute_start(L, job, job->n <= (newton ? NEWTON_AT_ONCE : FIT_AT_ONCE));
}

/* -- what was found -- */

static void set_number(lua_State *L, const char *name, double x)
{
    lua_pushnumber(L, x);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, size_t x)
{
    lua_pushinteger(L, (lua_Integer)x);
    lua_setfield(L, -2, name);
}

static void set_doubles(lua_State *L, const char *name, const double *x, size_t n)
{
    bind_push_doubles(L, x, n);
    lua_setfield(L, -2, name);
}

static void push_parts(lua_State *L, const struct seasonal *m, const double *beta, size_t n)
{
    lua_createtable(L, (int)n, 0); /* parts */
    for (size_t p = 0; p < n; p++) {
        size_t first, columns;
        struct seasonal_part part = seasonal_part_at(m, p, &first, &columns);
        lua_createtable(L, 0, 8); /* parts part */
        lua_pushstring(L, part.name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, kinds[part.kind]);
        lua_setfield(L, -2, "kind");
        lua_pushboolean(L, part.multiplicative);
        lua_setfield(L, -2, "multiplicative");
        set_number(L, "period", part.period);
        set_number(L, "prior_scale", part.prior_scale);
        if (part.kind == SEASONAL_SEASON) set_integer(L, "order", columns / 2);
        set_doubles(L, "beta", beta + first, columns);
        lua_rawseti(L, -2, (lua_Integer)p + 1); /* parts */
    }
}

static int l_about(lua_State *L) /* m:about() -> table */
{
    const struct seasonal *m = bind_check_seasonal(L, 1);
    struct seasonal_view v = seasonal_view(m);
    lua_createtable(L, 0, 20); /* t */
    lua_pushstring(L, growths[v.growth]);
    lua_setfield(L, -2, "growth");
    set_number(L, "k", v.k);
    set_number(L, "m", v.m);
    set_number(L, "sigma_obs", v.sigma_obs);
    set_number(L, "y_scale", v.y_scale);
    set_number(L, "start", v.start);
    set_number(L, "t_scale", v.t_scale);
    set_number(L, "log_posterior", v.log_posterior);
    set_number(L, "interval_width", v.interval_width);
    set_number(L, "step", seasonal_step(m));
    set_integer(L, "uncertainty_samples", (size_t)v.samples);
    set_integer(L, "rows", v.rows);
    set_doubles(L, "delta", v.delta, v.n_changepoints);
    set_doubles(L, "changepoints", v.changepoints, v.n_changepoints);
    lua_pushstring(L, v.timezone);
    lua_setfield(L, -2, "timezone");
    push_parts(L, m, v.beta, v.n_parts);
    lua_setfield(L, -2, "parts");
    return 1;
}

static int l_history(lua_State *L) /* m:history() -> ds, y */
{
    struct seasonal_view v = seasonal_view(bind_check_seasonal(L, 1));
    bind_push_doubles(L, seasonal_series_ds(v.series), v.rows);
    bind_push_doubles(L, seasonal_series_y(v.series), v.rows);
    return 2;
}

/* -- forecasts -- */

struct predict_job {
    struct compute compute;
    struct seasonal *m; /* shared */
    struct seasonal_future future;
    double *ds, *cap, *floor, *x;
    double *out; /* (8 + n_parts, n) */
    double **parts;
    struct seasonal_forecast forecast;
    bool reach, falling, noise, trend_bounds;
    double threshold;
    struct seasonal_reach reached;
};

static int run_predict(struct compute *compute, const atomic_bool *cancel)
{
    struct predict_job *job = (struct predict_job *)compute;
    if (job->reach)
        return seasonal_time_to(job->m, &job->future, job->threshold, job->falling, job->noise,
                                &job->reached, cancel, &compute->err);
    return seasonal_predict(job->m, &job->future, &job->forecast, cancel, &compute->err);
}

int bind_push_reach(lua_State *L, const struct seasonal_reach *r)
{
    static const double shares[3] = {0.1, 0.5, 0.9};
    lua_createtable(L, 0, 3); /* t */
    if (r->first < INFINITY) set_number(L, "first", r->first);
    if (!isnan(r->probability)) set_number(L, "probability", r->probability); /* no paths: none */
    lua_createtable(L, 0, 3);                                                 /* t quantiles */
    for (int q = 0; q < 3; q++) {
        if (!(r->quantile[q] < INFINITY)) continue;
        lua_pushnumber(L, shares[q]);
        lua_pushnumber(L, r->quantile[q]);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "quantiles");
    return 1;
}

static int push_predict(lua_State *L, struct compute *compute)
{
    struct predict_job *job = (struct predict_job *)compute;
    if (job->reach) return bind_push_reach(L, &job->reached);
    const struct seasonal_forecast *f = &job->forecast;
    size_t n = job->future.n, n_parts = seasonal_view(job->m).n_parts;
    lua_createtable(L, 0, 12); /* t */
    set_doubles(L, "ds", job->ds, n);
    set_doubles(L, "yhat", f->yhat, n);
    set_doubles(L, "trend", f->trend, n);
    set_doubles(L, "additive_terms", f->additive, n);
    set_doubles(L, "multiplicative_terms", f->multiplicative, n);
    if (f->yhat_lower != NULL) set_doubles(L, "yhat_lower", f->yhat_lower, n);
    if (f->yhat_upper != NULL) set_doubles(L, "yhat_upper", f->yhat_upper, n);
    if (f->trend_lower != NULL) set_doubles(L, "trend_lower", f->trend_lower, n);
    if (f->trend_upper != NULL) set_doubles(L, "trend_upper", f->trend_upper, n);
    for (size_t p = 0; p < n_parts; p++)
        set_doubles(L, seasonal_part_at(job->m, p, NULL, NULL).name, f->parts[p], n);
    return 1;
}

static void drop_predict(struct compute *compute)
{
    struct predict_job *job = (struct predict_job *)compute;
    free(job->ds);
    free(job->cap);
    free(job->floor);
    free(job->x);
    free(job->out);
    free(job->parts);
    seasonal_free(job->m);
}

static const struct compute_kind predict_kind = {sizeof(struct predict_job), run_predict,
                                                 push_predict, drop_predict};

/* Values of the model's regressors out of the table `regressors` of the options at index o. */
static void take_regressors(lua_State *L, const struct seasonal *m, int o, size_t n, double **x)
{
    size_t n_parts = seasonal_view(m).n_parts, count = 0;
    for (size_t p = 0; p < n_parts; p++)
        count += seasonal_part_at(m, p, NULL, NULL).kind == SEASONAL_REGRESSOR;
    if (count == 0) return;
    if (lua_getfield(L, o, "regressors") != LUA_TTABLE) /* … regressors */
        luaL_error(L, "the model has regressors: their values at these times are needed");
    *x = xcalloc(count * n + 1, sizeof **x);
    for (size_t p = 0, k = 0; p < n_parts; p++) {
        struct seasonal_part part = seasonal_part_at(m, p, NULL, NULL);
        if (part.kind != SEASONAL_REGRESSOR) continue;
        if (lua_getfield(L, -1, part.name) != LUA_TTABLE) /* … regressors values */
            luaL_error(L, "regressor \"%s\" has no values", part.name);
        if (lua_rawlen(L, -1) != n)
            luaL_error(L, "regressor \"%s\" has %d values for %d times", part.name,
                       (int)lua_rawlen(L, -1), (int)n);
        take(L, *x + k++ * n, n, part.name, false);
        lua_pop(L, 1); /* … regressors */
    }
    lua_pop(L, 1); /* … */
}

/* Arguments (model, ds, options), with the job's box on top of them. */
static struct predict_job *begin_predict(lua_State *L)
{
    struct seasonal *m = bind_check_seasonal(L, 1);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    struct predict_job *job = compute_new(L, &predict_kind); /* m ds options box */
    job->m = seasonal_share(m);
    lua_pushvalue(L, 2);
    doubles(L, &job->ds, &job->future.n, "ds", false);
    bind_level(L, 3, "cap", &job->cap, job->future.n);
    bind_level(L, 3, "floor", &job->floor, job->future.n);
    take_regressors(L, m, 3, job->future.n, &job->x);
    job->future.ds = job->ds;
    job->future.cap = job->cap;
    job->future.floor = job->floor;
    job->future.x = job->x;
    return job;
}

static int l_predict(lua_State *L) /* m:predict(ds, options) -> table | nil, message. May wait. */
{
    struct predict_job *job = begin_predict(L);
    struct seasonal_view v = seasonal_view(job->m);
    size_t n = job->future.n;
    bool bounds = v.samples > 0, trend = bounds && bind_opt_boolean(L, 3, "trend_bounds", false);
    job->out = xcalloc((8 + v.n_parts) * n + 1, sizeof *job->out);
    job->parts = xcalloc(v.n_parts + 1, sizeof *job->parts);
    double *at = job->out;
    for (size_t p = 0; p < v.n_parts; p++, at += n) job->parts[p] = at;
    job->forecast = (struct seasonal_forecast){.yhat = at,
                                               .trend = at + n,
                                               .additive = at + 2 * n,
                                               .multiplicative = at + 3 * n,
                                               .yhat_lower = bounds ? at + 4 * n : NULL,
                                               .yhat_upper = bounds ? at + 5 * n : NULL,
                                               .trend_lower = trend ? at + 6 * n : NULL,
                                               .trend_upper = trend ? at + 7 * n : NULL,
                                               .parts = job->parts};
    bool sampled = v.growth == SEASONAL_LOGISTIC || trend;
    return compute_start(L, job, n <= (sampled ? SAMPLED_AT_ONCE : PREDICT_AT_ONCE));
}

/* m:time_to(ds, options, threshold) -> table | nil, message. May wait. */
static int l_time_to(lua_State *L)
{
    lua_Number threshold = luaL_checknumber(L, 4);
    struct predict_job *job = begin_predict(L);
    job->reach = true;
    job->threshold = threshold;
    job->falling = bind_opt_boolean(L, 3, "falling", false);
    job->noise = bind_opt_boolean(L, 3, "noise", true);
    return compute_start(L, job, false);
}

/* -- with more rows -- */

struct update_job {
    struct compute compute;
    struct seasonal *m; /* shared */
    double *ds, *y, *cap, *floor, *x;
    size_t n;
    struct seasonal *result;
};

static int run_update(struct compute *compute, const atomic_bool *cancel)
{
    struct update_job *job = (struct update_job *)compute;
    return seasonal_refit(&job->result, job->m, job->ds, job->y, job->x, job->cap, job->floor,
                          job->n, cancel, &compute->err);
}

static int push_update(lua_State *L, struct compute *compute)
{
    return push_model(L, &((struct update_job *)compute)->result);
}

static void drop_update(struct compute *compute)
{
    struct update_job *job = (struct update_job *)compute;
    free(job->ds);
    free(job->y);
    free(job->cap);
    free(job->floor);
    free(job->x);
    seasonal_free(job->m);
    seasonal_free(job->result);
}

static const struct compute_kind update_kind = {sizeof(struct update_job), run_update, push_update,
                                                drop_update};

/* m:update(ds, options, y) -> the model to use from now on | nil, message. May wait. */
static int l_update(lua_State *L)
{
    struct seasonal *m = bind_check_seasonal(L, 1);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 4);
    struct update_job *job = compute_new(L, &update_kind); /* m ds options y box */
    lua_pushvalue(L, 2);
    doubles(L, &job->ds, &job->n, "ds", false);
    lua_pushvalue(L, 4);
    doubles_of(L, &job->y, job->n, "y", true);
    bind_level(L, 3, "cap", &job->cap, job->n);
    bind_level(L, 3, "floor", &job->floor, job->n);
    take_regressors(L, m, 3, job->n, &job->x);
    if (seasonal_is_warm(m, job->ds, job->n)) {
        struct err e;
        int rc = seasonal_update(m, job->ds, job->y, job->n, &e);
        if (rc < 0) return bind_error(L, &e);
        lua_settop(L, 1);
        return 1;
    }
    job->m = seasonal_share(m);
    return compute_start(L, job, false);
}

/* m:set_parameters(k, m, delta, beta, sigma_obs): beta as one list, in the order of the parts. */
static int l_set_parameters(lua_State *L)
{
    struct seasonal *m = bind_check_seasonal(L, 1);
    struct seasonal_view v = seasonal_view(m);
    lua_Number k = luaL_checknumber(L, 2), offset = luaL_checknumber(L, 3);
    lua_Number sigma = luaL_checknumber(L, 6);
    luaL_argcheck(L, sigma > 0, 6, "expected a number above 0");
    size_t n_delta, n_beta;
    double *delta = bind_doubles(L, 4, &n_delta), *beta = bind_doubles(L, 5, &n_beta);
    luaL_argcheck(L, n_delta == v.n_changepoints, 4, "another number of changes");
    luaL_argcheck(L, n_beta == v.n_columns, 5, "another number of columns");
    int rc = seasonal_set_parameters(m, k, offset, delta, beta, sigma);
    return rc < 0 ? bind_fail(L, rc) : 0;
}

/* -- bytes -- */

static int l_serialize(lua_State *L)
{
    const struct seasonal *m = bind_check_seasonal(L, 1);
    struct text *out = bind_text(L); /* m text */
    seasonal_pack(m, out);
    if (out->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->data, out->len);
    text_free(out); /* large, and its finalizer may find no memory to run in */
    return 1;
}

static int l_deserialize(lua_State *L) /* deserialize(bytes) -> model | nil, message */
{
    size_t len;
    const char *data = luaL_checklstring(L, 1, &len);
    struct box *box = new_box(L); /* bytes box */
    struct err e;
    int rc = seasonal_unpack(&box->m, data, len, &e);
    if (rc < 0) return bind_error(L, &e);
    return 1;
}

int luaopen_perigee_seasonal(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"fit", l_fit}, {"deserialize", l_deserialize}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"about", l_about},
                                       {"history", l_history},
                                       {"predict", l_predict},
                                       {"time_to", l_time_to},
                                       {"update", l_update},
                                       {"serialize", l_serialize},
                                       {"set_parameters", l_set_parameters},
                                       {NULL, NULL}};
    bind_type(L, TYPE, methods, l_free);
    luaL_newlib(L, functions);
    return 1;
}
