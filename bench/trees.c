/* Trees: inference, explanation, loading, beside XGBoost's C library in the same run, one thread.
 * trees [short]: prints lines of name, figure, unit and goal with tabs between for bench/trees.lua.
 * XGBoost is loaded when it runs; where it is absent there are no ratios. */
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "base/text.h"
#include "kernels/trees.h"

enum { FEATURES = 8, ROWS = 10000, BATCH = 4096, EXPLAINED = 64 };

/* One row by the fast call of LightGBM 4.6 and by XGBoost 1.7's C library, 100 and 1,000 trees of
 * depth 5, nanoseconds on another machine. LightGBM is not in Debian: its time here is taken to be
 * that, times what XGBoost takes here over what it took there. */
static const double lightgbm_one[] = {3875, 53900}, xgboost_one[] = {23400, 53400};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* others work here too */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- XGBoost -----------------------------------------------------------------------------------
 */

typedef void *handle;
static int (*matrix_create)(const float *, uint64_t, uint64_t, float, handle *);
static int (*matrix_set)(handle, const char *, const float *, uint64_t);
static int (*booster_create)(const handle *, uint64_t, handle *);
static int (*booster_set)(handle, const char *, const char *);
static int (*booster_update)(handle, int, handle);
static int (*booster_save)(handle, const char *, uint64_t *, const char **);
static int (*booster_load)(handle, const void *, uint64_t);
static int (*booster_free)(handle);
static int (*predict_dense)(handle, const char *, const char *, handle, const uint64_t **,
                            uint64_t *, const float **);
static int (*predict_matrix)(handle, handle, const char *, const uint64_t **, uint64_t *,
                             const float **);

static bool find(void *library, const char *name, void *function)
{
    void *p = dlsym(library, name);
    memcpy(function, &p, sizeof p);
    return p != NULL;
}

static bool load_xgboost(void)
{
    void *l = dlopen("libxgboost.so.0", RTLD_NOW);
    if (l == NULL) l = dlopen("libxgboost.so", RTLD_NOW);
    return l != NULL && find(l, "XGDMatrixCreateFromMat", &matrix_create) &&
           find(l, "XGDMatrixSetFloatInfo", &matrix_set) &&
           find(l, "XGBoosterCreate", &booster_create) &&
           find(l, "XGBoosterSetParam", &booster_set) &&
           find(l, "XGBoosterUpdateOneIter", &booster_update) &&
           find(l, "XGBoosterSaveModelToBuffer", &booster_save) &&
           find(l, "XGBoosterLoadModelFromBuffer", &booster_load) &&
           find(l, "XGBoosterFree", &booster_free) &&
           find(l, "XGBoosterPredictFromDense", &predict_dense) &&
           find(l, "XGBoosterPredictFromDMatrix", &predict_matrix);
}

static void make_data(float *x, float *y, double *wide)
{
    struct random r;
    random_seed(&r, 1, 0);
    for (size_t i = 0; i < ROWS; i++) {
        double sum = -1;
        for (size_t j = 0; j < FEATURES; j++) {
            x[i * FEATURES + j] = (float)random_normal(&r);
            wide[i * FEATURES + j] = (double)x[i * FEATURES + j];
            sum += (double)x[i * FEATURES + j] * sin((double)j + 1);
        }
        sum += (double)x[i * FEATURES] * (double)x[i * FEATURES + 1];
        y[i] = random_unit(&r) < 1 / (1 + exp(-sum)) ? 1 : 0;
    }
}

static handle train(const float *x, const float *y, int rounds, handle *data)
{
    static const char *const parameters[][2] = {{"objective", "binary:logistic"},
                                                {"max_depth", "5"},
                                                {"tree_method", "hist"},
                                                {"nthread", "1"},
                                                {"eta", "0.1"},
                                                {"verbosity", "0"}};
    handle b;
    matrix_create(x, ROWS, FEATURES, NAN, data);
    matrix_set(*data, "label", y, ROWS);
    booster_create(data, 1, &b);
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        booster_set(b, parameters[i][0], parameters[i][1]);
    for (int i = 0; i < rounds; i++) booster_update(b, i, *data);
    return b;
}

static const float *their_margins(handle b, const float *x, size_t rows)
{
    static const char config[] = "{\"type\":1,\"training\":false,\"iteration_begin\":0,"
                                 "\"iteration_end\":0,\"strict_shape\":false,\"missing\":NaN,"
                                 "\"cache_id\":0}";
    char array[200];
    const uint64_t *shape;
    uint64_t dimensions;
    const float *out = NULL;
    snprintf(array, sizeof array,
             "{\"data\":[%zu,true],\"shape\":[%zu,%d],\"typestr\":\"<f4\",\"version\":3}",
             (size_t)(uintptr_t)x, rows, FEATURES);
    predict_dense(b, array, config, NULL, &shape, &dimensions, &out);
    return out;
}

/* --- measuring ---------------------------------------------------------------------------------
 */

struct bench {
    float *x;
    double *wide, *out;
    handle booster, data;
    struct trees *t;
    size_t at; /* the next row */
    const char *json;
    size_t len;
};
typedef void work(struct bench *b);

static void ours_one(struct bench *b)
{
    for (int i = 0; i < 64; i++, b->at = (b->at + 1) % ROWS)
        trees_margins(b->t, b->wide + b->at * FEATURES, 1, b->out);
}
static void theirs_one(struct bench *b)
{
    for (int i = 0; i < 64; i++, b->at = (b->at + 1) % ROWS)
        their_margins(b->booster, b->x + b->at * FEATURES, 1);
}
static void ours_batch(struct bench *b) { trees_margins(b->t, b->wide, BATCH, b->out); }
static void theirs_batch(struct bench *b) { their_margins(b->booster, b->x, BATCH); }
static void ours_explain(struct bench *b)
{
    trees_explain(b->t, b->wide, EXPLAINED, NULL, b->out, NULL);
}
static void ours_explain_one(struct bench *b)
{
    trees_explain(b->t, b->wide, 1, NULL, b->out, NULL);
}
static void theirs_explain(struct bench *b)
{
    const uint64_t *shape;
    uint64_t dimensions;
    const float *out;
    handle few;
    matrix_create(b->x, EXPLAINED, FEATURES, NAN, &few);
    predict_matrix(b->booster, few,
                   "{\"type\":2,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,"
                   "\"strict_shape\":false}",
                   &shape, &dimensions, &out);
}
static void ours_load(struct bench *b)
{
    struct trees *t;
    if (trees_load(&t, b->json, b->len, NULL) == 0) trees_free(t);
}
static void theirs_load(struct bench *b)
{
    handle h;
    booster_create(NULL, 0, &h);
    booster_load(h, b->json, b->len);
    booster_free(h);
}

/* The least of repeated runs, in seconds for one of `n` things: others work on this machine too. */
static double least(work *f, struct bench *b, double seconds, int n)
{
    double best = INFINITY, until = now() + seconds;
    for (int round = 0; round < 5 || now() < until; round++) {
        double start = now();
        f(b);
        double took = now() - start;
        if (took < best) best = took;
    }
    return best / n;
}

static void figure(const char *name, double value, const char *unit, double goal)
{
    printf("%s\t%.4g\t%s\t", name, value, unit);
    if (goal > 0)
        printf("%.4g\n", goal);
    else
        puts("");
}

static void measure_inference(struct bench *b, int trees, double seconds, bool portable)
{
    char name[96];
    const char *code = trees_vector_code();
    int which = trees == 1000;
    double theirs = least(theirs_one, b, seconds, 64) * 1e9;
    double one = least(ours_one, b, seconds, 64) * 1e9;
    double lightgbm = lightgbm_one[which] * theirs / xgboost_one[which];
    snprintf(name, sizeof name, "one row, %d trees, %s", trees, code);
    figure(name, one, "ns", 0);
    snprintf(name, sizeof name, "one row, %d trees, XGBoost", trees);
    figure(name, theirs, "ns", 0);
    snprintf(name, sizeof name, "one row, %d trees, %s / LightGBM (scaled)", trees, code);
    figure(name, one / lightgbm, "", portable ? 0.2 : 0.1);
    theirs = least(theirs_batch, b, seconds, BATCH) * 1e9;
    double batch = least(ours_batch, b, seconds, BATCH) * 1e9;
    snprintf(name, sizeof name, "batch, %d trees, %s", trees, code);
    figure(name, batch, "ns/row", 0);
    snprintf(name, sizeof name, "batch, %d trees, XGBoost", trees);
    figure(name, theirs, "ns/row", 0);
    snprintf(name, sizeof name, "batch, %d trees, %s / XGBoost", trees, code);
    figure(name, batch / theirs, "", portable ? 0.8 : 0.2);
}

static void measure_loading(struct bench *b, const char *form, double goal, double seconds)
{
    char name[64], config[64];
    uint64_t len;
    const char *saved;
    snprintf(config, sizeof config, "{\"format\":\"%s\"}", form);
    booster_save(b->booster, config, &len, &saved);
    char *copy = malloc(len);
    memcpy(copy, saved, len);
    b->json = copy;
    b->len = len;
    double ours = least(ours_load, b, seconds, 1) * 1e3;
    double theirs = least(theirs_load, b, seconds, 1) * 1e3;
    snprintf(name, sizeof name, "loading %s, 100 trees", form);
    figure(name, ours, "ms", 0);
    snprintf(name, sizeof name, "loading %s, 100 trees, XGBoost", form);
    figure(name, theirs, "ms", 0);
    snprintf(name, sizeof name, "loading %s, 100 trees / XGBoost", form);
    figure(name, ours / theirs, "", goal);
    free(copy);
}

static void measure_explaining(struct bench *b, double seconds)
{
    double ours = least(ours_explain, b, seconds, EXPLAINED) * 1e6;
    double theirs = least(theirs_explain, b, seconds, EXPLAINED) * 1e6;
    figure("TreeSHAP, 100 trees, 64 rows", ours, "us/row", 0);
    figure("TreeSHAP, 100 trees, one row", least(ours_explain_one, b, seconds, 1) * 1e6, "us", 0);
    figure("TreeSHAP, 100 trees, XGBoost", theirs, "us/row", 0);
    figure("TreeSHAP, 100 trees / XGBoost", ours / theirs, "", 1 / 12.);
}

static void load_booster(struct bench *b)
{
    uint64_t len;
    const char *saved;
    struct err e;
    booster_save(b->booster, "{\"format\":\"ubj\"}", &len, &saved);
    if (trees_load(&b->t, saved, len, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    trees_margins(b->t, b->wide, BATCH, b->out);
    const float *theirs = their_margins(b->booster, b->x, BATCH);
    for (size_t i = 0; i < BATCH; i++) {
        if (fabs(b->out[i] - (double)theirs[i]) > 1e-6 * fmax(1, fabs(b->out[i]))) {
            fprintf(stderr, "row %zu: %g, not %g\n", i, b->out[i], (double)theirs[i]);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "short") == 0;
    double seconds = quick ? 0.2 : 1;
    struct bench b = {.x = malloc(ROWS * FEATURES * sizeof(float)),
                      .wide = malloc(ROWS * FEATURES * sizeof(double)),
                      .out = malloc(ROWS * (FEATURES + 1) * sizeof(double))};
    float *y = malloc(ROWS * sizeof *y);
    setenv("OMP_NUM_THREADS", "1", 1); /* threads that wait for each other would flatter us */
    if (!load_xgboost()) {
        puts("XGBoost's library is not installed\t-\t\t");
        return 0;
    }
    make_data(b.x, y, b.wide);
    for (int trees = 100; trees <= 1000; trees *= 10) {
        b.booster = train(b.x, y, trees, &b.data);
        load_booster(&b);
        if (trees == 100) {
            measure_loading(&b, "json", 2 / 5.6, seconds); /* 2 ms where XGBoost takes 5.6 */
            measure_loading(&b, "ubj", 0.7 / 0.75, seconds);
            measure_explaining(&b, seconds);
        }
        for (int portable = 0; portable < 2; portable++) {
            if (portable == 0 && strcmp(trees_vector_code(), "portable") == 0) continue;
            if (portable) trees_choose_vector_code("portable");
            measure_inference(&b, trees, seconds, portable);
            trees_choose_vector_code(NULL);
        }
        trees_free(b.t);
    }
    return 0;
}
