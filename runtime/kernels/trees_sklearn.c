/* The trees of scikit-learn's GradientBoostingClassifier behind a StandardScaler, written out as
 * JSON: {library, feature_names, nan_fill, scaler {mean, scale}, init {raw}, learning_rate, trees
 * [{left, right, feature, threshold, value, n, impurity}]}. There a row is standardised in double,
 * rounded to float and goes left iff it is <= threshold: trees_within() makes a threshold for the
 * row as it comes. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/memory.h"
#include "kernels/trees.h"

enum { LEFT, RIGHT, FEATURE, THRESHOLD, VALUE, COUNT, IMPURITY, ARRAYS };
static const char *const array_names[ARRAYS] = {"left",  "right", "feature", "threshold",
                                                "value", "n",     "impurity"};

struct reading {
    struct document d, trees; /* trees: where they begin */
    struct err *e;
    struct trees *t;
    struct document_numbers mean, scale, arrays[ARRAYS];
    char **names;
    size_t n_names;
    double fill, raw, rate;
};

static bool is(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(key, name, len) == 0;
}

static void read_names(struct reading *r)
{
    struct document_list list;
    size_t room = 0;
    if (r->names != NULL || !document_enter(&r->d, '[', &list)) {
        document_fail(&r->d, "feature_names twice");
        return;
    }
    while (document_next(&r->d, &list)) {
        void *p = r->names;
        bool fine = r->n_names < TREES_MOST_FEATURES &&
                    array_reserve(&p, &room, r->n_names + 1, sizeof *r->names);
        r->names = p;
        if (!fine) document_fail(&r->d, "too many names of features");
        char *name = document_string(&r->d);
        if (name != NULL) r->names[r->n_names++] = name;
    }
}

/* The members of scaler and init, too: their names are unlike those of all others. */
static void read_members(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "scaler") || is(key, len, "init"))
            read_members(r); /* no deeper than a document can be nested */
        else if (is(key, len, "mean"))
            document_numbers(&r->d, &r->mean);
        else if (is(key, len, "scale"))
            document_numbers(&r->d, &r->scale);
        else if (is(key, len, "raw"))
            r->raw = document_number(&r->d);
        else if (is(key, len, "learning_rate"))
            r->rate = document_number(&r->d);
        else if (is(key, len, "nan_fill"))
            r->fill = document_number(&r->d);
        else if (is(key, len, "feature_names"))
            read_names(r);
        else {
            if (is(key, len, "trees")) r->trees = r->d;
            document_skip(&r->d);
        }
    }
}

static int malformed(struct reading *r, const char *what)
{
    return err_set(r->e, -EINVAL, "scikit-learn: tree %zu: %s",
                   r->t->n_trees > 0 ? r->t->n_trees - 1 : 0, what);
}

static bool is_leaf(const struct reading *r, size_t i) { return r->arrays[LEFT].x[i] == -1; }

static double impurity(const struct reading *r, double node)
{
    size_t i = (size_t)node;
    return r->arrays[COUNT].x[i] * r->arrays[IMPURITY].x[i];
}

static int64_t add_node(struct reading *r, size_t i)
{
    const struct document_numbers *a = r->arrays;
    double n = a[COUNT].x[i], feature = a[FEATURE].x[i], size = (double)a[LEFT].n;
    if (is_leaf(r, i)) return trees_leaf(r->t, a[VALUE].x[i] * r->rate, n, r->e);
    double left = a[LEFT].x[i], right = a[RIGHT].x[i];
    if (!(feature >= 0 && feature < (double)r->t->features) || !(left >= 0 && left < size) ||
        !(right >= 0 && right < size))
        return malformed(r, "a feature or child that is not there");
    size_t j = (size_t)feature;
    double at = a[THRESHOLD].x[i];
    if (!isfinite(at)) return malformed(r, "a threshold is not finite");
    at = trees_within(at, r->mean.x[j], r->scale.x[j]);
    double gain = (impurity(r, (double)i) - impurity(r, left) - impurity(r, right)) / a[COUNT].x[0];
    return trees_split(r->t, j, at, r->fill <= at ? TREES_MISSING_LEFT : 0, gain, n, r->e);
}

static int read_tree(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    for (int i = 0; i < ARRAYS; i++) r->arrays[i].n = 0;
    if (!document_enter(&r->d, '{', &object)) return -EINVAL;
    while (document_next_key(&r->d, &object, &key, &len)) {
        int which = 0;
        while (which < ARRAYS && !is(key, len, array_names[which])) which++;
        if (which < ARRAYS)
            document_numbers(&r->d, &r->arrays[which]);
        else
            document_skip(&r->d);
    }
    if (r->d.failed) return -EINVAL;
    int rc = trees_open(r->t, 0, r->e);
    size_t n = r->arrays[LEFT].n;
    for (int i = 0; rc == 0 && i < ARRAYS; i++)
        if (r->arrays[i].n != n) rc = malformed(r, "its arrays are of different lengths");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int64_t added = add_node(r, i);
        if (added < 0) rc = (int)added;
    }
    if (rc < 0) return rc;
    for (size_t i = 0; i < n; i++)
        if (!is_leaf(r, i))
            trees_children(r->t, i, (size_t)r->arrays[LEFT].x[i], (size_t)r->arrays[RIGHT].x[i]);
    return trees_close(r->t, r->e);
}

static int begin_model(struct reading *r)
{
    size_t n = r->n_names;
    if (r->trees.at == NULL || n == 0 || r->mean.n != n || r->scale.n != n || !isfinite(r->raw) ||
        !isfinite(r->rate) || !isfinite(r->fill))
        return err_set(r->e, -EINVAL,
                       "scikit-learn: feature_names, scaler, init, learning_rate or "
                       "trees are missing or do not fit each other");
    for (size_t j = 0; j < n; j++)
        if (!isfinite(r->mean.x[j]) || !(r->scale.x[j] > 0 && isfinite(r->scale.x[j])))
            return err_set(r->e, -EINVAL, "scikit-learn: the scale of feature %zu", j);
    int rc = trees_new(&r->t, n, 1, r->e);
    if (rc < 0) return rc;
    r->t->link = TREES_LOGISTIC;
    r->t->base[0] = r->raw;
    const char **names = malloc(n * sizeof *names);
    for (size_t j = 0; names != NULL && j < n; j++) names[j] = r->names[j];
    rc = names != NULL ? trees_set_names(r->t, names) : -ENOMEM;
    free(names);
    return rc < 0 ? err_sys(r->e, rc, "scikit-learn: names of features") : 0;
}

static int load(struct reading *r)
{
    struct document_list list;
    read_members(r);
    if (!document_close(&r->d)) return r->e->code;
    int rc = begin_model(r);
    if (rc < 0) return rc;
    r->d = r->trees;
    if (document_enter(&r->d, '[', &list))
        while (rc == 0 && document_next(&r->d, &list)) rc = read_tree(r);
    if (r->d.failed) return r->e->code;
    if (rc == 0) rc = trees_finish(r->t);
    return rc;
}

int trees_load_sklearn(struct trees **out, const char *data, size_t len, struct err *e)
{
    struct err own = {0};
    struct reading r = {.e = e != NULL ? e : &own, .raw = NAN, .rate = NAN};
    document_open(&r.d, data, len, false, r.e);
    int rc = load(&r);
    for (size_t i = 0; i < r.n_names; i++) free(r.names[i]);
    free(r.names);
    free(r.mean.x);
    free(r.scale.x);
    for (int i = 0; i < ARRAYS; i++) free(r.arrays[i].x);
    if (rc == 0)
        *out = r.t;
    else
        trees_free(r.t);
    return rc;
}
