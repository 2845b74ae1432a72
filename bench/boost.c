/* Training beside XGBoost's: boost ours|xgboost ROWS COLUMNS THREADS. Prints seconds, megabytes
 * above the data at the peak, and the log-loss on the rows trained on. Depth 5, 100 trees, on
 * numbers that follow from a seed. XGBoost's library is loaded when it runs; without it the status
 * is 3. Its time is that of the trees alone, ours has the binning in it. */
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "kernels/boost.h"

enum { TREES = 100, DEPTH = 5 };

/* One thread is measured by its processor time, which others' work does not lengthen. */
static clockid_t clock_of = CLOCK_PROCESS_CPUTIME_ID;

static double now(void)
{
    struct timespec t;
    clock_gettime(clock_of, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double status_mb(const char *field) /* of /proc/self/status */
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, field, strlen(field)) == 0) kb = atof(line + strlen(field) + 1);
    if (f != NULL) fclose(f);
    return kb / 1024;
}

static double *make_labels(struct matrix *X)
{
    struct random r;
    double *y = malloc(X->rows * sizeof *y);
    if (y == NULL) abort();
    random_seed(&r, 1, 1);
    for (size_t i = 0; i < X->rows; i++) {
        double *row = X->x + i * X->columns, z = -3;
        for (size_t j = 0; j < X->columns; j++) row[j] = random_normal(&r);
        for (size_t j = 0; j < X->columns; j++)
            z += (j % 3 == 0 ? 0.7 : -0.3) * row[j] * (j % 4 == 0 ? row[j] : 1) * 8 /
                 (double)X->columns;
        y[i] = random_unit(&r) < 1 / (1 + exp(-z));
    }
    return y;
}

static void report(double seconds, double before, double loss)
{
    printf("%.4f %.1f %.6f\n", seconds, status_mb("VmHWM:") - before, loss);
}

static int ours(const struct matrix *X, const double *y, unsigned threads)
{
    const struct boost_options o = {.n_estimators = TREES,
                                    .max_depth = DEPTH,
                                    .learning_rate = 0.1,
                                    .min_samples_leaf = 20,
                                    .min_child_weight = 1,
                                    .l2 = 1,
                                    .subsample = 1,
                                    .colsample = 1,
                                    .max_bins = 255,
                                    .weight = {1, 1},
                                    .threads = threads};
    struct boost_fitted f;
    struct err e = {0};
    double before = status_mb("VmRSS:"), start = now();
    if (boost_fit(&f, X, y, &o, NULL, NULL, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    report(now() - start, before, f.train_score[f.n_scores - 1] / 2);
    boost_fitted_free(&f);
    return 0;
}

/* -- XGBoost -- */

static int (*matrix_create)(const float *, uint64_t, uint64_t, float, void **);
static int (*matrix_set)(void *, const char *, const float *, uint64_t);
static int (*booster_create)(void *const *, uint64_t, void **);
static int (*booster_set)(void *, const char *, const char *);
static int (*booster_update)(void *, int, void *);
static int (*booster_predict)(void *, void *, int, unsigned, int, uint64_t *, const float **);

static bool find(void *library, const char *name, void *function)
{
    void *f = dlsym(library, name);
    memcpy(function, &f, sizeof f);
    return f != NULL;
}

static bool load_xgboost(void)
{
    void *l = dlopen("libxgboost.so.0", RTLD_NOW);
    return l != NULL && find(l, "XGDMatrixCreateFromMat", &matrix_create) &&
           find(l, "XGDMatrixSetFloatInfo", &matrix_set) &&
           find(l, "XGBoosterCreate", &booster_create) &&
           find(l, "XGBoosterSetParam", &booster_set) &&
           find(l, "XGBoosterUpdateOneIter", &booster_update) &&
           find(l, "XGBoosterPredict", &booster_predict);
}

static double loss_of(void *booster, void *data, const double *y, size_t n)
{
    uint64_t len = 0;
    const float *p = NULL;
    double sum = 0;
    if (booster_predict(booster, data, 0, 0, 0, &len, &p) != 0 || len != n) return NAN;
    for (size_t i = 0; i < n; i++) sum -= log(y[i] == 1 ? (double)p[i] : 1 - (double)p[i]);
    return sum / (double)n;
}

static int theirs(const struct matrix *X, const double *y, unsigned threads)
{
    size_t n = X->rows * X->columns;
    float *x = malloc(n * sizeof *x), *label = malloc(X->rows * sizeof *label);
    void *data = NULL, *booster = NULL;
    char number[16];
    if (x == NULL || label == NULL) abort();
    if (!load_xgboost()) return 3;
    for (size_t i = 0; i < n; i++) x[i] = (float)X->x[i];
    for (size_t i = 0; i < X->rows; i++) label[i] = (float)y[i];
    snprintf(number, sizeof number, "%u", threads);
    double before = status_mb("VmRSS:");
    bool good = matrix_create(x, X->rows, X->columns, NAN, &data) == 0 &&
                matrix_set(data, "label", label, X->rows) == 0 &&
                booster_create(&data, 1, &booster) == 0;
    const char *settings[][2] = {{"objective", "binary:logistic"},
                                 {"tree_method", "hist"},
                                 {"max_depth", "5"},
                                 {"eta", "0.1"},
                                 {"nthread", number},
                                 {"verbosity", "0"}};
    for (size_t k = 0; k < sizeof settings / sizeof *settings && good; k++)
        good = booster_set(booster, settings[k][0], settings[k][1]) == 0;
    double start = now();
    for (int k = 0; k < TREES && good; k++) good = booster_update(booster, k, data) == 0;
    double seconds = now() - start;
    if (!good) return 1;
    report(seconds, before, loss_of(booster, data, y, X->rows));
    return 0;
}

int main(int argc, char **argv)
{
    struct matrix *X;
    if (argc != 5) return 2;
    if (matrix_new(&X, strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10)) < 0) abort();
    double *y = make_labels(X);
    unsigned threads = (unsigned)strtoul(argv[4], NULL, 10);
    if (threads != 1) clock_of = CLOCK_MONOTONIC;
    int rc = strcmp(argv[1], "ours") == 0 ? ours(X, y, threads) : theirs(X, y, threads);
    matrix_free(X);
    free(y);
    return rc;
}
