/* Models that other programs made against what those programs say of their rows: ours in
 * tests/golden/trees, and all of ../shared/data/boost/models, where that is there. */
#include "tests/c/test.h"
#include "kernels/matrix.h"
#include "kernels/trees.h"
#include <glob.h>
#include <math.h>

#define FOLDER "../shared/data/boost/models/"

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    char *data = malloc(1 << 20);
    *len = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static bool near(double x, double y) /* relatively, for some margins are in the thousands */
{
    return fabs(x - y) <= 1e-6 * fmax(1, fabs(y));
}

static struct matrix *expected_rows(const char *model)
{
    char path[256];
    size_t len;
    struct err e;
    struct matrix *m;
    snprintf(path, sizeof path, "%.*s.rows.csv", (int)(strrchr(model, '.') - model), model);
    char *data = slurp(path, &len);
    assert_non_null(data);
    int rc = matrix_from_csv(&m, data, len, &(struct matrix_csv){.delimiter = ','}, NULL, &e);
    free(data);
    if (rc < 0) fail_msg("%s: %s", path, e.text);
    return m;
}

static size_t column(const struct matrix *m, const char *name, size_t group, bool several)
{
    char full[32];
    snprintf(full, sizeof full, several ? "%s%zu" : "%s", name, group);
    size_t j = matrix_find(m, full);
    assert_true(j < m->columns);
    return j;
}

static double *features_of(const struct matrix *m, const struct trees *t)
{
    double *x = malloc(m->rows * t->features * sizeof *x);
    for (size_t i = 0; i < m->rows; i++)
        memcpy(x + i * t->features, matrix_row(m, i), t->features * sizeof *x);
    return x;
}

static void compare(const char *path, const struct trees *t, const struct matrix *m)
{
    size_t n = m->rows, g = t->groups, wrong = 0;
    double *x = features_of(m, t), *out = malloc(n * g * sizeof *out);
    for (size_t j = 0; t->names != NULL && j < t->features; j++)
        assert_string_equal(t->names[j], m->names[j]);
    trees_margins(t, x, n, out);
    for (int probability = 0; probability < 2; probability++) {
        if (probability) trees_probabilities(t, out, n);
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < g; k++) {
                double y = matrix_get(m, i, column(m, probability ? "prob" : "margin", k, g > 1));
                if (near(out[i * g + k], y)) continue;
                if (wrong++ < 3)
                    print_message("%s row %zu: %.17g, not %.17g\n", path, i, out[i * g + k], y);
            }
        }
    }
    free(x);
    free(out);
    if (wrong > 0) fail_msg("%s: %zu values differ", path, wrong);
}

static void try_model(const char *path)
{
    size_t len;
    struct err e = {0};
    struct trees *t;
    char *data = slurp(path, &len);
    assert_non_null(data);
    if (trees_load(&t, data, len, &e) < 0) fail_msg("%s: %s", path, e.text);
    free(data);
    struct matrix *m = expected_rows(path);
    compare(path, t, m);
    matrix_free(m);
    trees_free(t);
}

static size_t try_all(const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) try_model(found.gl_pathv[i]);
    size_t n = found.gl_pathc;
    globfree(&found);
    return n;
}

TEST(golden_models_say_what_xgboost_says)
{
    assert_int_equal(try_all("tests/golden/trees/*.json"), 5);
    assert_int_equal(try_all("tests/golden/trees/*.ubj"), 5);
}

TEST(models_of_xgboost_say_what_xgboost_says)
{
    if (try_all(FOLDER "xgb*.json") + try_all(FOLDER "xgb*.ubj") == 0)
        print_message("no models of XGBoost in " FOLDER "\n");
}

TEST(models_of_lightgbm_say_what_lightgbm_says)
{
    if (try_all(FOLDER "lgb*.txt") == 0) print_message("no models of LightGBM in " FOLDER "\n");
}

TEST(trees_of_scikit_learn_say_what_scikit_learn_says)
{
    if (try_all(FOLDER "skl*.json") == 0) print_message("no trees of scikit-learn in " FOLDER "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK(golden_models_say_what_xgboost_says),
                                       CHECK(models_of_xgboost_say_what_xgboost_says),
                                       CHECK(models_of_lightgbm_say_what_lightgbm_says),
                                       CHECK(trees_of_scikit_learn_say_what_scikit_learn_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
