/* The Lua module perigee.forest. Names, defaults and units that users see live in Lua. */
#include "kernels/forest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bindings/bind.h"
#include "bindings/compute.h"
#include "bindings/matrix.h"
#include "bindings/modules.h"

#define TYPE "perigee.forest"
enum {
    SHORT_FIT = 50000,        /* rows drawn in all: about a millisecond */
    SHORT_SCORE = 100000,     /* rows times trees: the same */
    SHORT_LOAD = 256 << 10,   /* bytes */
    KILOBYTES_OF_FOREST = 512 /* told to the collector */
};

struct box {
    struct forest *f; /* NULL until made and once collected */
};

static struct forest *check(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, box->f != NULL, 1, "this forest is empty");
    return box->f;
}

static int l_free(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    forest_free(box->f);
    box->f = NULL;
    return 0;
}

/* Boxes *f, which the box owns from then on. */
static int push_forest(lua_State *L, struct forest **f)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* box */
    box->f = NULL;
    luaL_setmetatable(L, TYPE);
    box->f = *f;
    *f = NULL;
    lua_gc(L, LUA_GCSTEP, KILOBYTES_OF_FOREST);
    return 1;
}

/* -- fit -- */

struct fit {
    struct compute compute;
    struct matrix *m;
    struct forest_options options;
    struct forest *f; /* the result */
};

static int run_fit(struct compute *c, const atomic_bool *cancel)
{
    struct fit *fit = (struct fit *)c;
    return forest_fit(&fit->f, fit->m, &fit->options, cancel, &c->err);
}

static int push_fit(lua_State *L, struct compute *c)
{
    return push_forest(L, &((struct fit *)c)->f);
}

static void drop_fit(struct compute *c)
{
    struct fit *fit = (struct fit *)c;
    matrix_free(fit->m);
    forest_free(fit->f);
}

static const struct compute_kind FIT = {sizeof(struct fit), run_fit, push_fit, drop_fit};

/* A share in (0, 1] of n, at least 1; or a count. */
static size_t samples_of(lua_Number x, bool whole, size_t n)
{
    if (!whole) x *= (lua_Number)n;
    if (x < (lua_Number)n) n = (size_t)x;
    return n > 0 ? n : 1;
}

/* fit(matrix, options) -> forest | nil, message. Waits, unless it is short. The options are all
 * there: samples and features with whole_samples and whole_features; contamination NaN for "auto".
 */
static int l_fit(lua_State *L)
{
    struct matrix *m = bind_check_matrix(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct forest_options o = {
        .n_estimators = (size_t)bind_opt_integer(L, 2, "n_estimators", 100),
        .max_samples = samples_of(bind_opt_number(L, 2, "max_samples", 256),
                                  bind_opt_boolean(L, 2, "whole_samples", true), m->rows),
        .max_features = bind_opt_number(L, 2, "max_features", 1),
        .whole_features = bind_opt_boolean(L, 2, "whole_features", false),
        .bootstrap = bind_opt_boolean(L, 2, "bootstrap", false),
        .ndim = (unsigned)bind_opt_integer(L, 2, "ndim", 1),
        .contamination = bind_opt_number(L, 2, "contamination", (lua_Number)NAN),
        .seed = (uint64_t)bind_opt_integer(L, 2, "random_state", 0),
        .threads = (unsigned)bind_opt_integer(L, 2, "n_jobs", 0),
    };
    bool sound = o.n_estimators > 0 && o.n_estimators <= 1 << 20 && o.max_features > 0 &&
                 (o.ndim == 1 || o.ndim == 2) && !(o.contamination <= 0) &&
                 !(o.contamination > 0.5);
    luaL_argcheck(L, sound, 2, "an option is out of its range");
    struct fit *fit = compute_new(L, &FIT); /* … op */
    fit->m = matrix_share(m);
    fit->options = o;
    double drawn = (double)o.n_estimators * (double)o.max_samples;
    bool scores = !isnan(o.contamination);
    bool brief = drawn <= SHORT_FIT && m->columns <= 64 && m->rows <= (scores ? 1000 : 1u << 20);
    return compute_start(L, fit, brief);
}

/* -- score -- */

enum kind { SCORE, DECISION, PREDICTION };
static const char *const KINDS[] = {"score", "decision", "prediction", NULL};

struct score {
    struct compute compute;
    struct forest *f;
    struct matrix *m;
    enum kind kind;
    unsigned threads;
    double *out; /* (rows) */
};

static int run_score(struct compute *c, const atomic_bool *cancel)
{
    struct score *s = (struct score *)c;
    size_t features = forest_about(s->f).features, *which = calloc(features, sizeof *which);
    s->out = malloc(s->m->rows * sizeof *s->out + 1);
    int rc = which != NULL && s->out != NULL ? 0 : -ENOMEM;
    if (rc == 0) rc = forest_match(s->f, s->m, which, &c->err);
    if (rc == 0) rc = forest_score(s->f, s->m, which, s->threads, cancel, s->out);
    if (rc == -ECANCELED) err_set(&c->err, rc, "cancelled");
    free(which);
    return rc;
}

static void push_one(lua_State *L, double score, double offset, enum kind kind)
{
    if (kind == PREDICTION)
        lua_pushinteger(L, score - offset < 0 ? -1 : 1);
    else
        lua_pushnumber(L, kind == SCORE ? score : score - offset);
}

static int push_scores(lua_State *L, struct compute *c)
{
    struct score *s = (struct score *)c;
    double offset = forest_about(s->f).offset;
    lua_createtable(L, (int)s->m->rows, 0); /* t */
    for (size_t i = 0; i < s->m->rows; i++) {
        push_one(L, s->out[i], offset, s->kind); /* t score */
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void drop_score(struct compute *c)
{
    struct score *s = (struct score *)c;
    forest_free(s->f);
    matrix_free(s->m);
    free(s->out);
}

static const struct compute_kind SCORING = {sizeof(struct score), run_score, push_scores,
                                            drop_score};

/* The array at index i as a row of the forest's features: nil and false are missing. Lua's memory.
 */
static const double *check_row(lua_State *L, int i, const struct forest *f, double *room,
                               size_t most)
{
    size_t features = forest_about(f).features, n = lua_rawlen(L, i);
    if (n != features)
        luaL_error(L, "the model was fitted with %d columns; there are %d here", (int)features,
                   (int)n);
    double *x = n <= most ? room : lua_newuserdatauv(L, n * sizeof *x, 0); /* … (x) */
    for (size_t k = 0; k < n; k++) {
        int type = lua_rawgeti(L, i, (lua_Integer)k + 1); /* … (x) v */
        bool missing = type == LUA_TNIL || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1));
        if (type != LUA_TNUMBER && !missing)
            luaL_error(L, "value %d is a %s; expected a number", (int)k + 1, luaL_typename(L, -1));
        x[k] = missing ? (double)NAN : lua_tonumber(L, -1);
        lua_pop(L, 1); /* … (x) */
    }
    return x;
}

enum { ON_STACK = 64 };

/* forest:score(matrix, kind, threads) -> array | nil, message. Waits, unless it is short. */
static int l_score(lua_State *L)
{
    struct forest *f = check(L);
    struct matrix *m = bind_check_matrix(L, 2);
    enum kind kind = (enum kind)luaL_checkoption(L, 3, "score", KINDS);
    lua_Integer threads = luaL_optinteger(L, 4, 0);
    luaL_argcheck(L, m->rows <= INT32_MAX, 2, "too many rows for one array");
    struct score *s = compute_new(L, &SCORING); /* … op */
    s->f = forest_share(f);
    s->m = matrix_share(m);
    s->kind = kind;
    s->threads = threads > 0 && threads < 1024 ? (unsigned)threads : 0;
    bool brief = (double)m->rows * (double)forest_about(f).trees <= SHORT_SCORE;
    return compute_start(L, s, brief);
}

/* Pushes the score of the row at index i. */
static int push_row_score(lua_State *L, const struct forest *f, int i, enum kind kind)
{
    double room[ON_STACK];
    luaL_checktype(L, i, LUA_TTABLE);
    double score = forest_score_row(f, check_row(L, i, f, room, ON_STACK));
    if (isnan(score)) return luaL_error(L, "not enough memory");
    push_one(L, score, kind == SCORE ? 0 : forest_about(f).offset, kind);
    return 1;
}

static int l_score_row(lua_State *L) /* forest:score_row(array [, kind]) -> number */
{
    const struct forest *f = check(L);
    return push_row_score(L, f, 2, (enum kind)luaL_checkoption(L, 3, "score", KINDS));
}

/* score_model({ forest = forest, … }, array) -> number: a method of what has a forest, for which
 * another call and another look-up would take as long as the score does. */
static int l_score_model(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "forest"); /* model array … forest */
    struct box *box = luaL_testudata(L, -1, TYPE);
    luaL_argcheck(L, box != NULL && box->f != NULL, 1, "a model with a forest is expected");
    return push_row_score(L, box->f, 2, SCORE);
}

static int l_explain(lua_State *L) /* forest:explain(array) -> array */
{
    const struct forest *f = check(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t n = forest_about(f).features;
    const double *x = check_row(L, 2, f, NULL, 0);          /* … x */
    double *out = lua_newuserdatauv(L, n * sizeof *out, 0); /* … x out */
    if (forest_explain(f, x, out) < 0) return luaL_error(L, "not enough memory");
    bind_push_doubles(L, out, n); /* … x out t */
    return 1;
}

/* forest:columns(matrix) -> array | nil, message: which of its columns holds each feature, from 1.
 */
static int l_columns(lua_State *L)
{
    const struct forest *f = check(L);
    const struct matrix *m = bind_check_matrix(L, 2);
    size_t n = forest_about(f).features;
    size_t *which = lua_newuserdatauv(L, n * sizeof *which, 0); /* … which */
    struct err e = {0};
    if (forest_match(f, m, which, &e) < 0) return bind_error(L, &e);
    lua_createtable(L, (int)n, 0); /* … which t */
    for (size_t c = 0; c < n; c++) {
        lua_pushinteger(L, (lua_Integer)which[c] + 1);
        lua_rawseti(L, -2, (lua_Integer)c + 1);
    }
    return 1;
}

/* -- bytes -- */

static int l_serialize(lua_State *L) /* forest:serialize() -> bytes */
{
    const struct forest *f = check(L);
    struct text *out = bind_text(L); /* forest box */
    forest_pack(f, out);
    if (out->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->data, out->len);
    text_free(out); /* large, and its finalizer may find no memory to run in */
    return 1;
}

struct load {
    struct compute compute;
    char *data;
    size_t len;
    struct forest *f; /* the result */
};

static int run_load(struct compute *c, const atomic_bool *cancel)
{
    struct load *load = (struct load *)c;
    (void)cancel;
    size_t blank = strspn(load->data, " \t\r\n");
    if (forest_is_packed(load->data, load->len))
        return forest_unpack(&load->f, load->data, load->len, &c->err);
    if (load->data[blank] == '{') return forest_import(&load->f, load->data, load->len, &c->err);
    return err_set(&c->err, -EINVAL, "it is no isolation forest, or it is cut off");
}

static int push_load(lua_State *L, struct compute *c)
{
    return push_forest(L, &((struct load *)c)->f);
}

static void drop_load(struct compute *c)
{
    struct load *load = (struct load *)c;
    free(load->data);
    forest_free(load->f);
}

static const struct compute_kind LOAD = {sizeof(struct load), run_load, push_load, drop_load};

/* deserialize(bytes) -> forest | nil, message: of serialize(), or scikit-learn's trees as JSON. */
static int l_deserialize(lua_State *L)
{
    size_t len;
    const char *data = luaL_checklstring(L, 1, &len);
    struct load *load = compute_new(L, &LOAD); /* … op */
    if ((load->data = malloc(len + 1)) == NULL) return luaL_error(L, "not enough memory");
    memcpy(load->data, data, len + 1);
    load->len = len;
    return compute_start(L, load, len <= SHORT_LOAD);
}

/* -- what it is -- */

static int push_names(lua_State *L, const struct forest_about *a)
{
    if (a->names == NULL) return 0;
    lua_createtable(L, (int)a->features, 0); /* names */
    for (size_t c = 0; c < a->features; c++) {
        lua_pushstring(L, a->names[c]);
        lua_rawseti(L, -2, (lua_Integer)c + 1);
    }
    return 1;
}

static int l_about(lua_State *L) /* forest:about() -> table */
{
    const struct forest *f = check(L);
    struct forest_about a = forest_about(f);
    lua_createtable(L, 0, 8); /* t */
    lua_pushinteger(L, (lua_Integer)a.features);
    lua_setfield(L, -2, "n_features");
    lua_pushinteger(L, (lua_Integer)a.trees);
    lua_setfield(L, -2, "n_estimators");
    lua_pushinteger(L, (lua_Integer)a.max_samples);
    lua_setfield(L, -2, "max_samples");
    lua_pushinteger(L, (lua_Integer)a.ndim);
    lua_setfield(L, -2, "ndim");
    lua_pushnumber(L, a.offset);
    lua_setfield(L, -2, "offset");
    lua_pushnumber(L, forest_expectation(f));
    lua_setfield(L, -2, "mean_score");
    if (isnan(a.contamination))
        lua_pushliteral(L, "auto");
    else
        lua_pushnumber(L, a.contamination);
    lua_setfield(L, -2, "contamination");
    if (push_names(L, &a) > 0) lua_setfield(L, -2, "feature_names");
    return 1;
}

/* path(name) -> boolean: holds scoring in the whole process to one way, for benchmarks; "best"
 * undoes it. False where the processor does not have it. */
static int l_path(lua_State *L)
{
    static const char *const names[] = {"best", "walk", "portable", "avx2", "avx512", NULL};
    enum forest_path path = (enum forest_path)luaL_checkoption(L, 1, NULL, names);
    bool has = forest_knows_path(path);
    if (has) forest_set_path(path);
    lua_pushboolean(L, has);
    return 1;
}

int luaopen_perigee_forest(lua_State *L)
{
    static const luaL_Reg functions[] = {{"fit", l_fit},
                                         {"deserialize", l_deserialize},
                                         {"path", l_path},
                                         {"score_model", l_score_model},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"score", l_score},
                                       {"score_row", l_score_row},
                                       {"explain", l_explain},
                                       {"columns", l_columns},
                                       {"serialize", l_serialize},
                                       {"about", l_about},
                                       {NULL, NULL}};
    bind_type(L, TYPE, methods, l_free);
    luaL_newlib(L, functions);
    return 1;
}
