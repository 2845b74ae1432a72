/* The Lua module perigee.measures. Names, defaults and units that users see live in Lua. */
#include "kernels/measures.h"

#include <math.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

#define TYPE "perigee.measures"

/* What was fitted lies in the first user value, a block of Lua's. */
struct box {
    struct measures *m; /* NULL until fitted */
};

static const struct measures *check(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, box->m != NULL, 1, "holds nothing");
    return box->m;
}

static const struct measures *check_probabilities(lua_State *L)
{
    const struct measures *m = check(L);
    if (measures_lowest(m) < 0 || measures_highest(m) > 1)
        luaL_error(L, "the scores are no probabilities: they go from %f to %f", measures_lowest(m),
                   measures_highest(m));
    return m;
}

static void check_outcomes(lua_State *L, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (y[i] != 0 && y[i] != 1 && !isnan(y[i]))
            luaL_error(L, "outcome %d is %f; expected 0 or 1", (int)i + 1, y[i]);
}

/* of(outcomes, scores) -> measures | nil, message. NaN, nil and false are missing. */
static int l_of(lua_State *L)
{
    size_t n, n_scores;
    lua_settop(L, 2);
    struct box *box = lua_newuserdatauv(L, sizeof *box, 1); /* y s box */
    box->m = NULL;
    luaL_setmetatable(L, TYPE);
    const double *y = bind_doubles(L, 1, &n), *score = bind_doubles(L, 2, &n_scores); /* … y s */
    if (n != n_scores) return luaL_error(L, "%d outcomes for %d scores", (int)n, (int)n_scores);
    check_outcomes(L, y, n);
    struct measures *m = lua_newuserdatauv(L, measures_bytes(n), 0); /* … y s m */
    lua_setiuservalue(L, 3, 1);
    int rc = measures_fit_at(m, y, score, n);
    if (rc < 0) return bind_fail(L, rc);
    box->m = m;
    lua_settop(L, 3);
    return 1;
}

static int push_number(lua_State *L, double x) /* nil for NaN */
{
    if (isnan(x))
        lua_pushnil(L);
    else
        lua_pushnumber(L, x);
    return 1;
}

static int l_count(lua_State *L) /* m:count() -> pairs, positives */
{
    const struct measures *m = check(L);
    lua_pushinteger(L, (lua_Integer)measures_count(m));
    lua_pushinteger(L, (lua_Integer)measures_positives(m));
    return 2;
}

static int l_auc(lua_State *L) { return push_number(L, measures_auc(check(L))); }

static int l_average_precision(lua_State *L)
{
    return push_number(L, measures_average_precision(check(L)));
}

static int l_log_loss(lua_State *L)
{
    return push_number(L, measures_log_loss(check_probabilities(L)));
}

static int l_brier(lua_State *L) { return push_number(L, measures_brier(check_probabilities(L))); }

static void set_count(lua_State *L, const char *name, size_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double x)
{
    push_number(L, x);
    lua_setfield(L, -2, name);
}

/* m:bins(n, by) -> array of {lower, upper, count, positives, mean}; by "count" or "width" */
static int l_bins(lua_State *L)
{
    static const char *const ways[] = {"count", "width", NULL};
    const struct measures *m = check_probabilities(L);
    lua_Integer n_bins = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n_bins >= 1 && n_bins <= 1000, 2, "expected 1 to 1000 bins");
    int way = luaL_checkoption(L, 3, NULL, ways);
    struct measures_bin *bin = lua_newuserdatauv(L, (size_t)n_bins * sizeof *bin, 0); /* … bin */
    size_t n = way == 0 ? measures_bins_by_count(m, bin, (size_t)n_bins)
                        : measures_bins_by_width(m, bin, (size_t)n_bins);
    lua_createtable(L, (int)n, 0); /* … bin t */
    for (size_t k = 0; k < n; k++) {
        lua_createtable(L, 0, 5); /* … bin t row */
        set_number(L, "lower", bin[k].lower);
        set_number(L, "upper", bin[k].upper);
        set_count(L, "count", bin[k].count);
        set_count(L, "positives", bin[k].positives);
        set_number(L, "mean", bin[k].mean);
        lua_rawseti(L, -2, (lua_Integer)k + 1); /* … bin t */
    }
    return 1;
}

static int l_at(lua_State *L) /* m:at(threshold) -> the four counts */
{
    const struct measures *m = check(L);
    struct measures_confusion c = measures_at(m, luaL_checknumber(L, 2));
    lua_createtable(L, 0, 4); /* t */
    set_count(L, "true_positives", c.true_positives);
    set_count(L, "false_positives", c.false_positives);
    set_count(L, "false_negatives", c.false_negatives);
    set_count(L, "true_negatives", c.true_negatives);
    return 1;
}

static int l_by_precision(lua_State *L) /* m:by_precision(share) -> threshold | nil */
{
    const struct measures *m = check(L);
    lua_Number share = luaL_checknumber(L, 2);
    luaL_argcheck(L, share > 0 && share <= 1, 2, "expected a share above 0 and up to 1");
    return push_number(L, measures_by_precision(m, share));
}

static size_t check_most(lua_State *L, int i)
{
    lua_Integer most = luaL_checkinteger(L, i);
    luaL_argcheck(L, most >= 0, i, "expected a number of alarms");
    return (size_t)most;
}

static int l_by_alarms(lua_State *L) /* m:by_alarms(most) -> threshold */
{
    const struct measures *m = check(L);
    return push_number(L, measures_by_alarms(m, check_most(L, 2)));
}

/* Scores at 1, where it is not nil as many runs at 2, and again at 3. */
static struct measures_rows check_rows(lua_State *L)
{
    struct measures_rows rows = {0};
    lua_Integer again = luaL_optinteger(L, 3, LUA_MAXINTEGER);
    luaL_argcheck(L, again >= 1, 3, "expected at least one row");
    rows.again = (size_t)again;
    rows.score = bind_doubles(L, 1, &rows.n);
    if (!lua_isnoneornil(L, 2)) {
        size_t runs;
        rows.run = bind_doubles(L, 2, &runs);
        if (runs != rows.n) luaL_error(L, "%d runs for %d scores", (int)runs, (int)rows.n);
    }
    return rows;
}

static int l_by_episodes(lua_State *L) /* by_episodes(scores, runs, again, most) -> threshold */
{
    size_t most = check_most(L, 4);
    struct measures_rows rows = check_rows(L);
    double threshold;
    int rc = measures_by_episodes(&threshold, &rows, most);
    if (rc < 0) return bind_fail(L, rc);
    return push_number(L, threshold);
}

static int l_episodes(lua_State *L) /* episodes(scores, runs, again, threshold) -> how many */
{
    lua_Number threshold = luaL_checknumber(L, 4);
    struct measures_rows rows = check_rows(L);
    lua_pushinteger(L, (lua_Integer)measures_episodes(&rows, threshold));
    return 1;
}

int luaopen_perigee_measures(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"of", l_of}, {"by_episodes", l_by_episodes}, {"episodes", l_episodes}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"count", l_count},
                                       {"auc", l_auc},
                                       {"average_precision", l_average_precision},
                                       {"log_loss", l_log_loss},
                                       {"brier", l_brier},
                                       {"bins", l_bins},
                                       {"at", l_at},
                                       {"by_precision", l_by_precision},
                                       {"by_alarms", l_by_alarms},
                                       {NULL, NULL}};
    bind_type(L, TYPE, methods, NULL);
    luaL_newlib(L, functions);
    return 1;
}
