/* The Lua module perigee.features: the rows of features that models judge, on a thread where there
 * are many. */
#include "kernels/features.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bindings/bind.h"
#include "bindings/calendar.h"
#include "bindings/compute.h"
#include "bindings/matrix.h"
#include "bindings/modules.h"

enum { SHORT = 1000000 }; /* samples to look at: some milliseconds */

struct job {
    struct compute compute;
    struct sample *samples;
    int32_t *offsets;
    enum feature *which;
    struct features in; /* of the three above */
    size_t first;
    struct matrix *out;
};

static int run(struct compute *compute, const atomic_bool *cancel)
{
    struct job *job = (struct job *)compute;
    return features_compute(&job->out, &job->in, job->first, cancel, &job->compute.err);
}

static int push(lua_State *L, struct compute *compute)
{
    struct job *job = (struct job *)compute;
    struct matrix **m = bind_new_matrix(L); /* box */
    *m = job->out;
    job->out = NULL;
    return 1;
}

static void drop(struct compute *compute)
{
    struct job *job = (struct job *)compute;
    free(job->samples);
    free(job->offsets);
    free(job->which);
    matrix_free(job->out);
}

static void *need(lua_State *L, size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size);
    if (p == NULL) luaL_error(L, "not enough memory");
    return p;
}

static enum feature check_feature(lua_State *L, const char *name)
{
    enum feature f = FEATURE_VALUE;
    if (name == NULL || !feature_by_name(name, &f))
        luaL_error(L, "there is no feature \"%s\"", name == NULL ? "?" : name);
    return f;
}

static void take_names(lua_State *L, int i, struct job *job)
{
    luaL_checktype(L, i, LUA_TTABLE);
    size_t n = lua_rawlen(L, i);
    luaL_argcheck(L, n > 0, i, "no features are asked for");
    job->in.which = job->which = need(L, n, sizeof *job->which);
    job->in.n_which = n;
    for (size_t k = 0; k < n; k++) {
        lua_rawgeti(L, i, (lua_Integer)k + 1);
        job->which[k] = check_feature(L, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

/* The samples whose values are there: y, ds are (n). */
static void take_samples(lua_State *L, struct job *job, const double *y, const double *ds, size_t n)
{
    job->in.samples = job->samples = need(L, n, sizeof *job->samples);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        if (!(fabs(ds[i]) <= (double)CALENDAR_LIMIT)) luaL_error(L, "Unix seconds expected");
        if (job->in.n > 0 && ds[i] < job->samples[job->in.n - 1].ds)
            luaL_error(L, "the times must ascend; %d does not", (int)i + 1);
        job->samples[job->in.n++] = (struct sample){ds[i], y[i]};
    }
}

static void take_offsets(lua_State *L, struct job *job, const struct zone *zone)
{
    if (zone == NULL) return;
    job->in.offsets = job->offsets = need(L, job->in.n, sizeof *job->offsets);
    for (size_t i = 0; i < job->in.n; i++)
        job->offsets[i] = zone_offset(zone, (int64_t)floor(job->samples[i].ds));
}

/* compute(values, times, names, step, zone or nil, last or nil) -> matrix, a row for each value
 * that is finite; with `last` only for the last of them. Waits where there is much to do. */
static int l_compute(lua_State *L)
{
    static const struct compute_kind kind = {sizeof(struct job), run, push, drop};
    size_t n, n_times;
    double step = luaL_checknumber(L, 4);
    bool last = lua_toboolean(L, 6);
    luaL_argcheck(L, step > 0 && step < 1e11, 4, "a step is above 0");
    const struct zone *zone = bind_opt_zone(L, 5);
    double *y = bind_doubles(L, 1, &n), *ds = bind_doubles(L, 2, &n_times); /* … y ds */
    luaL_argcheck(L, n == n_times, 2, "as many times as values are expected");
    struct job *job = compute_new(L, &kind); /* … y ds box */
    job->in.step = step;
    take_names(L, 3, job);
    take_samples(L, job, y, ds, n);
    take_offsets(L, job, zone);
    job->first = last && job->in.n > 0 ? job->in.n - 1 : 0;
    double rows = (double)(job->in.n - job->first);
    double each = fmin((double)job->in.n, features_window(step, true) / step);
    return compute_start(L, job, rows * each + (double)job->in.n < SHORT);
}

static int l_reach(lua_State *L) /* reach(names, step) -> seconds that a row looks back */
{
    double step = luaL_checknumber(L, 2), reach = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_Integer k = 1; k <= (lua_Integer)lua_rawlen(L, 1); k++) {
        lua_rawgeti(L, 1, k);
        enum feature f = check_feature(L, lua_tostring(L, -1));
        reach = fmax(reach, features_reach(step, &f, 1));
        lua_pop(L, 1);
    }
    lua_pushnumber(L, reach);
    return 1;
}

static int l_window(lua_State *L) /* window(step, is_long) -> seconds */
{
    lua_pushnumber(L, features_window(luaL_checknumber(L, 1), lua_toboolean(L, 2)));
    return 1;
}

int luaopen_perigee_features(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"compute", l_compute}, {"reach", l_reach}, {"window", l_window}, {NULL, NULL}};
    luaL_requiref(L, "perigee.matrix", luaopen_perigee_matrix, 0); /* matrix: what it returns */
    lua_pop(L, 1);
    luaL_newlib(L, functions); /* m */
    lua_createtable(L, FEATURE_COUNT, 0);
    for (int i = 0; i < FEATURE_COUNT; i++) {
        lua_pushstring(L, feature_name((enum feature)i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "names"); /* m */
    return 1;
}
