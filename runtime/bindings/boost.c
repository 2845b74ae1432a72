/* The Lua module perigee.boost: training, and whatever an ensemble of trees can do. Names, defaults
 * and units that users see live in Lua. */
#include "kernels/boost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "bindings/bind.h"
#include "bindings/compute.h"
#include "bindings/matrix.h"
#include "bindings/modules.h"

#define TYPE "perigee.boost"
#define PROGRESS "perigee.boost.progress"
enum {
    FILE_LIMIT = 1 << 30, /* bytes of a model file */
    SHORT_TEXT = 1 << 18, /* bytes that are read in less time than a thread takes to wake */
    SHORT_WORK = 1 << 15, /* rows times trees */
};

/* -- models -- */

/* Held by a box and by the jobs that read it; all holders let go of it on the loop's thread. */
struct model {
    struct trees *t;
    size_t owners;
};

struct box {
    struct model *model; /* NULL until there is one and once collected */
};

static void release(struct model *model)
{
    if (model == NULL || --model->owners > 0) return;
    trees_free(model->t);
    free(model);
}

static struct model *check_model(lua_State *L, int i)
{
    struct box *box = luaL_checkudata(L, i, TYPE);
    luaL_argcheck(L, box->model != NULL, i, "there is no model in it");
    return box->model;
}

static const struct trees *check(lua_State *L) { return check_model(L, 1)->t; }

static int l_free(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    release(box->model);
    box->model = NULL;
    return 0;
}

/* Pushes the box of what *t holds, which then is NULL. */
static void push_model(lua_State *L, struct trees **t)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* box */
    box->model = NULL;
    luaL_setmetatable(L, TYPE);
    box->model = xcalloc(1, sizeof *box->model);
    *box->model = (struct model){*t, 1};
    *t = NULL;
    /* The collector sees a box of few bytes: told of what hangs on it, it comes in time. */
    lua_gc(L, LUA_GCSTEP, (int)(box->model->t->n_nodes / 32 + 1));
}

/* -- progress -- */

/* A number that a thread counts up and Lua reads. */
struct progress {
    atomic_uint done;
    size_t owners; /* on the loop's thread */
};

static void release_progress(struct progress *p)
{
    if (p != NULL && --p->owners == 0) free(p);
}

static int l_progress(lua_State *L) /* progress() -> progress: progress:done() */
{
    struct progress **box = lua_newuserdatauv(L, sizeof *box, 0); /* box */
    *box = NULL;
    luaL_setmetatable(L, PROGRESS);
    *box = xcalloc(1, sizeof **box);
    (*box)->owners = 1;
    return 1;
}

static int l_done(lua_State *L)
{
    struct progress **box = luaL_checkudata(L, 1, PROGRESS);
    lua_pushinteger(L, *box != NULL ? (lua_Integer)atomic_load(&(*box)->done) : 0);
    return 1;
}

static int l_free_progress(lua_State *L)
{
    struct progress **box = luaL_checkudata(L, 1, PROGRESS);
    release_progress(*box);
    *box = NULL;
    return 0;
}

/* -- fitting -- */

struct fit_job {
    struct compute compute;
    struct boost_options o; /* its arrays are owned */
    signed char *monotone;
    bool *categorical;
    struct matrix *X;
    double *y;
    struct progress *progress; /* NULL: nobody watches */
    struct boost_fitted fitted;
};

static int run_fit(struct compute *c, const atomic_bool *cancel)
{
    struct fit_job *job = (struct fit_job *)c;
    return boost_fit(&job->fitted, job->X, job->y, &job->o, cancel,
                     job->progress != NULL ? &job->progress->done : NULL, &c->err);
}

static int push_fitted(lua_State *L, struct compute *c)
{
    struct boost_fitted *f = &((struct fit_job *)c)->fitted;
    push_model(L, &f->trees);                          /* model */
    bind_push_doubles(L, f->train_score, f->n_scores); /* model scores */
    if (f->validation_score == NULL) return 2;
    bind_push_doubles(L, f->validation_score, f->n_scores); /* model scores scores */
    return 3;
}

static void drop_fit(struct compute *c)
{
    struct fit_job *job = (struct fit_job *)c;
    boost_fitted_free(&job->fitted);
    matrix_free(job->X);
    release_progress(job->progress);
    free(job->y);
    free(job->monotone);
    free(job->categorical);
}

static void take_options(lua_State *L, int i, struct boost_options *o)
{
    o->split = bind_opt_boolean(L, i, "exact", false) ? BOOST_EXACT : BOOST_HISTOGRAM;
    o->n_estimators = (unsigned)bind_opt_integer(L, i, "n_estimators", 100);
    o->max_depth = (unsigned)bind_opt_integer(L, i, "max_depth", 5);
    o->learning_rate = bind_opt_number(L, i, "learning_rate", 0.1);
    o->min_samples_leaf = (unsigned)bind_opt_integer(L, i, "min_samples_leaf", 20);
    o->min_child_weight = bind_opt_number(L, i, "min_child_weight", 1);
    o->l2 = bind_opt_number(L, i, "l2", 0);
    o->subsample = bind_opt_number(L, i, "subsample", 1);
    o->colsample = bind_opt_number(L, i, "colsample", 1);
    o->max_bins = (unsigned)bind_opt_integer(L, i, "max_bins", 255);
    o->weight[0] = bind_opt_number(L, i, "weight_0", 1);
    o->weight[1] = bind_opt_number(L, i, "weight_1", 1);
    o->balanced = bind_opt_boolean(L, i, "balanced", false);
    o->validation_fraction = bind_opt_number(L, i, "validation_fraction", 0);
    o->early_stopping_rounds = (unsigned)bind_opt_integer(L, i, "early_stopping_rounds", 0);
    o->seed = (uint64_t)bind_opt_integer(L, i, "random_state", 0);
    o->threads = (unsigned)bind_opt_integer(L, i, "n_jobs", 0);
}

/* What the list in a field says of each column; absent ones are 0. */
static lua_Integer of_column(lua_State *L, int i, const char *field, size_t j)
{
    lua_Integer v = 0;
    if (lua_getfield(L, i, field) == LUA_TTABLE) { /* list */
        lua_rawgeti(L, -1, (lua_Integer)j + 1);    /* list v */
        v = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : lua_tointeger(L, -1);
        lua_pop(L, 1); /* list */
    }
    lua_pop(L, 1); /* - */
    return v;
}

/* fit(X, y, options, progress or nil) -> model, train scores [, validation scores] | nil, message.
 * Waits. Options are those of struct boost_options by name, all checked in Lua. */
static int l_fit(lua_State *L)
{
    static const struct compute_kind kind = {sizeof(struct fit_job), run_fit, push_fitted,
                                             drop_fit};
    struct matrix *X = bind_check_matrix(L, 1);
    size_t n;
    luaL_checktype(L, 3, LUA_TTABLE);
    struct progress **progress = lua_isnoneornil(L, 4) ? NULL : luaL_checkudata(L, 4, PROGRESS);
    lua_settop(L, 4);
    const double *y = bind_doubles(L, 2, &n); /* X y o progress y */
    if (n != X->rows) return luaL_error(L, "%d labels for %d rows", (int)n, (int)X->rows);
    struct fit_job *job = compute_new(L, &kind); /* … box */
    take_options(L, 3, &job->o);
    job->X = matrix_share(X);
    job->y = xcalloc(n + 1, sizeof *job->y);
    job->monotone = xcalloc(X->columns + 1, sizeof *job->monotone);
    job->categorical = xcalloc(X->columns + 1, sizeof *job->categorical);
    if (n > 0) memcpy(job->y, y, n * sizeof *y);
    for (size_t j = 0; j < X->columns; j++) {
        job->monotone[j] = (signed char)of_column(L, 3, "monotone", j);
        job->categorical[j] = of_column(L, 3, "categorical", j) != 0;
    }
    job->o.monotone = job->monotone;
    job->o.categorical = job->categorical;
    if (progress != NULL && *progress != NULL) {
        job->progress = *progress;
        job->progress->owners++;
    }
    return compute_start(L, job, false);
}

/* -- predicting, explaining -- */

struct predict_job {
    struct compute compute;
    struct model *model;
    struct matrix *X;
    double *out; /* (X->rows, groups), or with the contributions (…, features + 1) */
    unsigned threads;
    bool probabilities;
};

static int run_predict(struct compute *c, const atomic_bool *cancel)
{
    struct predict_job *job = (struct predict_job *)c;
    int rc = trees_predict(job->model->t, job->X->x, job->X->rows, job->threads, cancel, job->out);
    if (rc == 0 && job->probabilities) trees_probabilities(job->model->t, job->out, job->X->rows);
    return rc < 0 ? err_set(&c->err, rc, rc == -ECANCELED ? "cancelled" : "not enough memory") : 0;
}

static int push_predictions(lua_State *L, struct compute *c)
{
    const struct predict_job *job = (struct predict_job *)c;
    size_t groups = job->model->t->groups;
    if (groups == 1) {
        bind_push_doubles(L, job->out, job->X->rows);
        return 1;
    }
    lua_createtable(L, (int)job->X->rows, 0); /* rows */
    for (size_t i = 0; i < job->X->rows; i++) {
        bind_push_doubles(L, job->out + i * groups, groups); /* rows row */
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void drop_predict(struct compute *c)
{
    struct predict_job *job = (struct predict_job *)c;
    release(job->model);
    matrix_free(job->X);
    free(job->out);
}

static struct predict_job *new_predict(lua_State *L, const struct compute_kind *kind, size_t each)
{
    struct model *model = check_model(L, 1);
    struct matrix *X = bind_check_matrix(L, 2);
    if (X->columns != model->t->features)
        luaL_error(L, "%d columns; the model has %d features", (int)X->columns,
                   (int)model->t->features);
    struct predict_job *job = compute_new(L, kind); /* … box */
    job->model = model;
    model->owners++;
    job->X = matrix_share(X);
    job->out = calloc(X->rows * each + 1, sizeof *job->out);
    if (job->out == NULL) luaL_error(L, "not enough memory");
    return job;
}

/* model:predict(X, probabilities, threads) -> array; of arrays where there are several groups.
 * Waits, but for a few rows. */
static int l_predict(lua_State *L)
{
    static const struct compute_kind kind = {sizeof(struct predict_job), run_predict,
                                             push_predictions, drop_predict};
    bool probabilities = lua_toboolean(L, 3);
    unsigned threads = (unsigned)luaL_optinteger(L, 4, 0);
    struct predict_job *job = new_predict(L, &kind, check(L)->groups);
    bool is_short = job->X->rows * (job->model->t->n_trees + 1) <= SHORT_WORK;
    job->probabilities = probabilities;
    job->threads = is_short ? 1 : threads;
    return compute_start(L, job, is_short);
}

static int run_explain(struct compute *c, const atomic_bool *cancel)
{
    struct predict_job *job = (struct predict_job *)c;
    int rc = trees_explain(job->model->t, job->X->x, job->X->rows, cancel, job->out, &c->err);
    if (rc == -ENOMEM) err_set(&c->err, rc, "not enough memory");
    if (rc == -ECANCELED) err_set(&c->err, rc, "cancelled");
    return rc;
}

/* An array of the rows, each an array of the groups, each of the contributions and the bias. */
static int push_contributions(lua_State *L, struct compute *c)
{
    const struct predict_job *job = (struct predict_job *)c;
    size_t groups = job->model->t->groups, each = job->model->t->features + 1;
    lua_createtable(L, (int)job->X->rows, 0); /* rows */
    for (size_t i = 0; i < job->X->rows; i++) {
        lua_createtable(L, (int)groups, 0); /* rows groups */
        for (size_t g = 0; g < groups; g++) {
            bind_push_doubles(L, job->out + (i * groups + g) * each, each);
            lua_rawseti(L, -2, (lua_Integer)g + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1); /* rows */
    }
    return 1;
}

static int l_explain(lua_State *L) /* model:explain(X). Waits, but for a few rows. */
{
    static const struct compute_kind kind = {sizeof(struct predict_job), run_explain,
                                             push_contributions, drop_predict};
    const struct trees *t = check(L);
    struct predict_job *job = new_predict(L, &kind, t->groups * (t->features + 1));
    return compute_start(L, job, job->X->rows * (t->n_trees + 1) <= SHORT_WORK / 16);
}

/* -- what a model is -- */

static int l_names(lua_State *L) /* model:names() -> array or nil */
{
    const struct trees *t = check(L);
    if (t->names == NULL) return 0;
    lua_createtable(L, (int)t->features, 0); /* names */
    for (size_t j = 0; j < t->features; j++) {
        lua_pushstring(L, t->names[j]);
        lua_rawseti(L, -2, (lua_Integer)j + 1);
    }
    return 1;
}

static int l_importances(lua_State *L)
{
    const struct trees *t = check(L);
    double *x = lua_newuserdatauv(L, t->features * sizeof *x, 0); /* model x */
    trees_importances(t, x);
    bind_push_doubles(L, x, t->features);
    return 1;
}

static int l_size(lua_State *L) /* model:size() -> trees, features, groups */
{
    const struct trees *t = check(L);
    lua_pushinteger(L, (lua_Integer)t->n_trees);
    lua_pushinteger(L, (lua_Integer)t->features);
    lua_pushinteger(L, (lua_Integer)t->groups);
    return 3;
}

static int l_note(lua_State *L) /* model:note() -> bytes or nil */
{
    const struct trees *t = check(L);
    if (t->note == NULL) return 0;
    lua_pushlstring(L, t->note, t->note_len);
    return 1;
}

static int l_set_note(lua_State *L) /* model:set_note(bytes) */
{
    struct trees *t = check_model(L, 1)->t; /* threads that read it meanwhile do not look there */
    size_t len;
    const char *note = luaL_checklstring(L, 2, &len);
    if (trees_set_note(t, note, len) < 0) return luaL_error(L, "not enough memory");
    return 0;
}

static int l_pack(lua_State *L) /* model:pack() -> bytes */
{
    const struct trees *t = check(L);
    struct text *out = bind_text(L); /* model text */
    trees_pack(t, out);
    if (out->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, out->data != NULL ? out->data : "", out->len);
    text_free(out);
    return 1;
}

/* -- reading -- */

struct load_job {
    struct compute compute;
    char *path; /* NULL: the bytes are there */
    char *data;
    size_t len;
    struct trees *t;
};

static int read_file(struct load_job *job, const atomic_bool *cancel)
{
    struct err *e = &job->compute.err;
    struct stat st;
    int rc = 0,
        fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe may not hold us */
    if (fd < 0) return err_sys(e, -errno, "cannot read %s", job->path);
    if (fstat(fd, &st) < 0)
        rc = err_sys(e, -errno, "cannot read %s", job->path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, -EINVAL, "cannot read %s: it is no regular file", job->path);
    else if (st.st_size > FILE_LIMIT)
        rc = err_set(e, -EFBIG, "cannot read %s: larger than 1 GiB", job->path);
    else if ((job->data = malloc((size_t)st.st_size + 1)) == NULL)
        rc = err_set(e, -ENOMEM, "not enough memory");
    ssize_t n = 1;
    while (rc == 0 && n > 0 && job->len < (size_t)st.st_size && !atomic_load(cancel)) {
        size_t most = (size_t)st.st_size - job->len;
        n = read(fd, job->data + job->len, most < 1 << 20 ? most : 1 << 20);
        if (n > 0) job->len += (size_t)n;
        if (n < 0 && errno == EINTR) n = 1;
        if (n < 0) rc = err_sys(e, -errno, "cannot read %s", job->path);
    }
    close(fd);
    return rc;
}

static int run_load(struct compute *c, const atomic_bool *cancel)
{
    struct load_job *job = (struct load_job *)c;
    struct err e = {0};
    int rc = job->path != NULL ? read_file(job, cancel) : 0;
    if (rc < 0) return rc;
    rc = trees_load(&job->t, job->data, job->len, &e);
    if (rc == -ENOMEM) return err_set(&c->err, rc, "not enough memory");
    if (rc == 0) return 0;
    return job->path != NULL ? err_set(&c->err, rc, "%s: %s", job->path, e.text)
                             : err_set(&c->err, rc, "%s", e.text);
}

static int push_loaded(lua_State *L, struct compute *c)
{
    push_model(L, &((struct load_job *)c)->t);
    return 1;
}

static void drop_load(struct compute *c)
{
    struct load_job *job = (struct load_job *)c;
    trees_free(job->t);
    free(job->path);
    free(job->data);
}

static const struct compute_kind load_kind = {sizeof(struct load_job), run_load, push_loaded,
                                              drop_load};

static int l_load(lua_State *L) /* load(path) -> model | nil, message. Waits. */
{
    const char *path = luaL_checkstring(L, 1);
    struct load_job *job = compute_new(L, &load_kind);
    job->path = xstrdup(path);
    return compute_start(L, job, false);
}

static int
l_unpack(lua_State *L) /* unpack(bytes) -> model | nil, message. Waits where they are many */
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    struct load_job *job = compute_new(L, &load_kind);
    job->data = malloc(len + 1);
    if (job->data == NULL) return luaL_error(L, "not enough memory");
    memcpy(job->data, bytes, len);
    job->len = len;
    return compute_start(L, job, len <= SHORT_TEXT);
}

int luaopen_perigee_boost(lua_State *L)
{
    static const luaL_Reg functions[] = {{"fit", l_fit},
                                         {"progress", l_progress},
                                         {"load", l_load},
                                         {"unpack", l_unpack},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"predict", l_predict},         {"explain", l_explain}, {"names", l_names},
        {"importances", l_importances}, {"size", l_size},       {"note", l_note},
        {"set_note", l_set_note},       {"pack", l_pack},       {NULL, NULL}};
    static const luaL_Reg progress[] = {{"done", l_done}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_free);
    bind_type(L, PROGRESS, progress, l_free_progress);
    luaL_newlib(L, functions); /* mt functions */
    return 1;
}
