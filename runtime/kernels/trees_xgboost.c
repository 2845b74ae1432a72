/* XGBoost's models, JSON and UBJSON: the same document in two spellings. What it computes is in its
 * source (1.7 to 3.2): x and threshold in float, left iff x < threshold; a category in the set goes
 * right; margins are summed in float, tree by tree. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/memory.h"
#include "kernels/trees.h"

/* The arrays of one tree, as the file has them. */
enum {
    LEFT,
    RIGHT,
    CONDITION,
    FEATURE,
    DEFAULT_LEFT,
    LOSS,
    HESSIAN,
    TYPE,
    CATEGORIES,
    CATEGORY_NODES,
    CATEGORY_SEGMENTS,
    CATEGORY_SIZES,
    ARRAYS
};
static const char *const array_names[ARRAYS] = {
    "left_children", "right_children",   "split_conditions",    "split_indices",
    "default_left",  "loss_changes",     "sum_hessian",         "split_type",
    "categories",    "categories_nodes", "categories_segments", "categories_sizes"};

struct reading {
    struct document d;
    int rc;       /* what the trees were refused with */
    bool booster; /* they have been there */
    struct err *e;
    struct trees *t;
    double features, classes, targets, trees; /* -1 where the file does not say */
    char *objective, *base_score, **names;
    size_t n_names;
    struct document_numbers arrays[ARRAYS], info, drop;
    uint32_t *order; /* (nodes of a tree): old numbers of the new nodes; then new ones of the old */
    size_t room;
    uint32_t *words; /* a set of categories */
    size_t room_words;
};

static bool is(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(key, name, len) == 0;
}

/* A number that is written as a string, as XGBoost writes its parameters, or one as it is. */
static double parameter(struct document *d)
{
    double x = -1;
    if (document_kind(d) != '"') return document_number(d);
    char *s = document_string(d);
    if (s != NULL && document_decimal(s, s + strlen(s), &x) != strlen(s))
        document_fail(d, "a parameter is no number");
    free(s);
    return x;
}

static void read_model_param(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "base_score")) {
            free(r->base_score);
            r->base_score = document_string(&r->d);
        } else if (is(key, len, "num_class")) {
            r->classes = parameter(&r->d);
        } else if (is(key, len, "num_feature")) {
            r->features = parameter(&r->d);
        } else if (is(key, len, "num_target")) {
            r->targets = parameter(&r->d);
        } else {
            document_skip(&r->d);
        }
    }
}

static void read_objective(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "name")) {
            free(r->objective);
            r->objective = document_string(&r->d);
        } else {
            document_skip(&r->d);
        }
    }
}

static void free_names(struct reading *r)
{
    for (size_t i = 0; i < r->n_names; i++) free(r->names[i]);
    free(r->names);
    r->names = NULL;
    r->n_names = 0;
}

static void read_names(struct reading *r)
{
    struct document_list list;
    size_t room = 0;
    free_names(r);
    if (document_kind(&r->d) == 'n' || !document_enter(&r->d, '[', &list)) {
        document_skip(&r->d);
        return;
    }
    while (document_next(&r->d, &list)) {
        void *p = r->names;
        bool fine = r->n_names < TREES_MOST_FEATURES &&
                    array_reserve(&p, &room, r->n_names + 1, sizeof *r->names);
        r->names = p;
        if (!fine) {
            document_fail(&r->d, "too many names of features");
            return;
        }
        r->names[r->n_names] = document_string(&r->d);
        if (r->names[r->n_names] != NULL) r->n_names++;
    }
}

static int read_booster(struct reading *r);

/* The trees come before what they are of, so they are read first and then held against it. */
static void read_learner(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "learner_model_param")) {
            read_model_param(r);
        } else if (is(key, len, "objective")) {
            read_objective(r);
        } else if (is(key, len, "feature_names")) {
            read_names(r);
        } else if (is(key, len, "gradient_booster")) {
            r->booster = true;
            r->rc = read_booster(r);
            if (r->rc < 0) r->d.failed = true;
        } else {
            document_skip(&r->d);
        }
    }
}

static void read_root(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "learner"))
            read_learner(r);
        else
            document_skip(&r->d);
    }
    document_close(&r->d);
}

/* --- what the margins are -------------------------------------------------------------------- */

static const struct objective {
    const char *name;
    enum trees_link link;
    bool base_is_probability;
} objectives[] = {
    {"binary:logistic", TREES_LOGISTIC, true},      {"reg:logistic", TREES_LOGISTIC, true},
    {"binary:logitraw", TREES_IDENTITY, false},     {"multi:softprob", TREES_SOFTMAX, false},
    {"multi:softmax", TREES_SOFTMAX, false},        {"reg:squarederror", TREES_IDENTITY, false},
    {"reg:linear", TREES_IDENTITY, false},          {"reg:absoluteerror", TREES_IDENTITY, false},
    {"reg:pseudohubererror", TREES_IDENTITY, false}};

static int set_base(struct reading *r, const struct objective *o)
{
    const char *s = r->base_score, *end = s + strlen(s);
    struct trees *t = r->t;
    size_t n = 0;
    bool list = *s == '[';
    for (s += list; s < end && n < t->groups; n++) {
        double x;
        size_t len = document_decimal(s, end, &x);
        if (len == 0) break;
        float base = (float)x;
        if (o->base_is_probability) {
            if (!(base > 0 && base < 1)) break;
            base = -logf(1 / base - 1);
        }
        t->base[n] = (double)base;
        s += len;
        if (list && s < end && *s == ',') s++;
    }
    bool fine = n > 0 && (n == 1 || n == t->groups) && strcmp(s, list ? "]" : "") == 0;
    for (size_t g = 0; g < t->groups; g++) {
        if (n == 1) t->base[g] = t->base[0];
        fine = fine && isfinite(t->base[g]);
    }
    if (fine) return 0;
    return err_set(r->e, -EINVAL, "XGBoost: base_score \"%.40s\" has no margin under %s",
                   r->base_score, o->name);
}

static int set_names(struct reading *r)
{
    if (r->n_names == 0) return 0;
    if (r->n_names != r->t->features)
        return err_set(r->e, -EINVAL, "XGBoost: %zu names for %zu features", r->n_names,
                       r->t->features);
    const char **names = malloc(r->n_names * sizeof *names);
    if (names == NULL) return err_sys(r->e, -ENOMEM, "names of features");
    for (size_t i = 0; i < r->n_names; i++) names[i] = r->names[i];
    int rc = trees_set_names(r->t, names);
    free(names);
    return rc < 0 ? err_sys(r->e, rc, "names of features") : 0;
}

/* How many features and classes there are; the trees were read as if of any. */
static int set_shape(struct reading *r, size_t features, size_t groups)
{
    struct trees *t = r->t;
    double *base = calloc(groups, sizeof *base);
    if (base == NULL) return err_sys(r->e, -ENOMEM, "XGBoost: the model");
    free(t->base);
    t->base = base;
    t->groups = groups;
    t->features = features;
    for (const struct trees_node *node = t->nodes; node < t->nodes + t->n_nodes; node++)
        if (node->left != TREES_NONE && node->feature >= features)
            return err_set(r->e, -EINVAL, "XGBoost: a split by feature %u of %zu", node->feature,
                           features);
    return 0;
}

static int settle_model(struct reading *r)
{
    const struct objective *o = NULL;
    if (r->objective == NULL || r->base_score == NULL || !r->booster)
        return err_set(r->e, -EINVAL, "XGBoost: the file has no %s",
                       r->objective == NULL    ? "objective"
                       : r->base_score == NULL ? "base_score"
                                               : "gradient_booster");
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++)
        if (strcmp(objectives[i].name, r->objective) == 0) o = &objectives[i];
    if (o == NULL)
        return err_set(r->e, -EINVAL, "XGBoost: objective %.60s is not supported", r->objective);
    if (r->targets > 1)
        return err_set(r->e, -EINVAL, "XGBoost: models of %.0f targets are not supported",
                       r->targets);
    double classes = o->link == TREES_SOFTMAX ? r->classes : 1;
    if (!(classes >= 1 && classes <= TREES_MOST_GROUPS && classes == floor(classes)) ||
        (o->link != TREES_SOFTMAX && r->classes > 1))
        return err_set(r->e, -EINVAL, "XGBoost: %s of %g classes is not supported", r->objective,
                       r->classes);
    if (!(r->features >= 0 && r->features <= TREES_MOST_FEATURES &&
          r->features == floor(r->features)))
        return err_set(r->e, -EINVAL, "XGBoost: %g features are not between 0 and %d", r->features,
                       TREES_MOST_FEATURES);
    int rc = set_shape(r, (size_t)r->features, (size_t)classes);
    if (rc < 0) return rc;
    r->t->link = o->link;
    r->t->single = true;
    rc = set_base(r, o);
    return rc < 0 ? rc : set_names(r);
}

/* --- trees ----------------------------------------------------------------------------------- */

static int malformed(struct reading *r, const char *what)
{
    return err_set(r->e, -EINVAL, "XGBoost: tree %zu: %s", r->t->n_trees - 1, what);
}

/* arrays[which][i] as a whole number in [0, below), or -1. */
static int64_t whole(const struct reading *r, int which, size_t i, double below)
{
    const struct document_numbers *a = &r->arrays[which];
    if (i >= a->n || !(a->x[i] >= 0 && a->x[i] < below)) return -1;
    int64_t n = (int64_t)a->x[i];
    return (double)n == a->x[i] ? n : -1;
}

/* The set of node `old`, which is one of categories_nodes; they ascend. */
static int64_t add_set(struct reading *r, size_t old, bool missing_left, double gain, double cover)
{
    size_t low = 0, high = r->arrays[CATEGORY_NODES].n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->arrays[CATEGORY_NODES].x[middle] < (double)old)
            low = middle + 1;
        else
            high = middle;
    }
    int64_t n = (int64_t)r->arrays[CATEGORIES].n;
    int64_t first = whole(r, CATEGORY_SEGMENTS, low, (double)n + 1);
    int64_t count = whole(r, CATEGORY_SIZES, low, (double)n + 1), most = 0;
    if (whole(r, CATEGORY_NODES, low, 1e9) != (int64_t)old || first < 0 || count < 0 ||
        count > n - first)
        return malformed(r, "a categorical split has no categories");
    for (int64_t i = first; i < first + count; i++) {
        int64_t c = whole(r, CATEGORIES, (size_t)i, TREES_MOST_CATEGORY);
        if (c < 0) return malformed(r, "a category is out of range");
        if (c > most) most = c;
    }
    size_t words = (size_t)most / 32 + 1;
    void *p = r->words;
    bool fine = array_reserve(&p, &r->room_words, words, sizeof *r->words);
    r->words = p;
    if (!fine) return err_sys(r->e, -ENOMEM, "XGBoost: categories");
    memset(r->words, 0, words * sizeof *r->words);
    for (int64_t i = first; i < first + count; i++) {
        size_t c = (size_t)r->arrays[CATEGORIES].x[i];
        r->words[c / 32] |= UINT32_C(1) << (c % 32);
    }
    size_t feature = (size_t)whole(r, FEATURE, old, UINT32_MAX);
    return trees_split_set(r->t, feature, r->words, words, missing_left ? TREES_MISSING_LEFT : 0,
                           gain, cover, r->e);
}

static int64_t add_node(struct reading *r, size_t old)
{
    const struct document_numbers *a = r->arrays;
    bool left = a[DEFAULT_LEFT].x[old] != 0;
    double gain = a[LOSS].n > old ? a[LOSS].x[old] : 0;
    double cover = a[HESSIAN].n > old ? a[HESSIAN].x[old] : 0;
    float at = (float)a[CONDITION].x[old];
    if (a[LEFT].x[old] == -1) return trees_leaf(r->t, (double)at, cover, r->e);
    int64_t feature = whole(r, FEATURE, old, UINT32_MAX);
    if (feature < 0) return malformed(r, "a split without a feature");
    /* In the set means right, so that left and right change places. */
    if (old < a[TYPE].n && a[TYPE].x[old] == 1) return add_set(r, old, !left, gain, cover);
    if (isnan(at) || at == -INFINITY) return malformed(r, "a threshold is no finite number");
    return trees_split(r->t, (size_t)feature, trees_below(at), left ? TREES_MISSING_LEFT : 0, gain,
                       cover, r->e);
}

/* The nodes that can be reached from the root, in order; what pruning has left behind is not. */
static int build_tree(struct reading *r, size_t n)
{
    uint32_t *order = r->order, *renamed = order + n, *stack = order + 2 * n, met = 0, waiting = 0;
    for (size_t i = 0; i < n; i++) renamed[i] = TREES_NONE;
    stack[waiting++] = 0;
    while (waiting > 0) {
        uint32_t old = stack[--waiting];
        if (renamed[old] != TREES_NONE) return malformed(r, "its nodes go round in a circle");
        renamed[old] = met;
        order[met++] = old;
        if (r->arrays[LEFT].x[old] == -1) continue;
        int64_t left = whole(r, LEFT, old, (double)n), right = whole(r, RIGHT, old, (double)n);
        if (left < 0 || right < 0 || waiting + 2 > n + 1)
            return malformed(r, "a child that is not there");
        stack[waiting++] = (uint32_t)right;
        stack[waiting++] = (uint32_t)left;
    }
    for (uint32_t i = 0; i < met; i++) {
        int64_t rc = add_node(r, order[i]);
        if (rc < 0) return (int)rc;
    }
    for (uint32_t i = 0; i < met; i++) {
        uint32_t old = order[i];
        if (r->arrays[LEFT].x[old] == -1) continue;
        uint32_t left = renamed[(size_t)r->arrays[LEFT].x[old]];
        uint32_t right = renamed[(size_t)r->arrays[RIGHT].x[old]];
        bool swap = old < r->arrays[TYPE].n && r->arrays[TYPE].x[old] == 1;
        trees_children(r->t, i, swap ? right : left, swap ? left : right);
    }
    return trees_close(r->t, r->e);
}

static void read_tree_param(struct reading *r, double *vector)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "size_leaf_vector"))
            *vector = parameter(&r->d);
        else
            document_skip(&r->d);
    }
}

static int read_tree(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    double vector = 0;
    for (int i = 0; i < ARRAYS; i++) r->arrays[i].n = 0;
    if (!document_enter(&r->d, '{', &object)) return -EINVAL;
    while (document_next_key(&r->d, &object, &key, &len)) {
        int which = 0;
        while (which < ARRAYS && !is(key, len, array_names[which])) which++;
        if (which < ARRAYS)
            document_numbers(&r->d, &r->arrays[which]);
        else if (is(key, len, "tree_param"))
            read_tree_param(r, &vector);
        else
            document_skip(&r->d);
    }
    if (r->d.failed) return -EINVAL;
    int rc = trees_open(r->t, 0, r->e);
    if (rc < 0) return rc;
    size_t n = r->arrays[LEFT].n;
    if (vector > 1) return malformed(r, "leaves that are vectors are not supported");
    if (n == 0 || n >= TREES_MOST_NODES) return malformed(r, "it has no nodes, or too many");
    for (int i = RIGHT; i <= DEFAULT_LEFT; i++)
        if (r->arrays[i].n != n) return malformed(r, "its arrays are of different lengths");
    void *p = r->order;
    bool fine = array_reserve(&p, &r->room, 3 * n + 2, sizeof *r->order);
    r->order = p;
    return fine ? build_tree(r, n) : err_sys(r->e, -ENOMEM, "XGBoost: a tree");
}

static int read_trees(struct reading *r)
{
    struct document_list list;
    if (!document_enter(&r->d, '[', &list)) return -EINVAL;
    while (document_next(&r->d, &list)) {
        int rc = read_tree(r);
        if (rc < 0) return rc;
    }
    return 0;
}

static void read_gbtree_param(struct reading *r)
{
    struct document_list object;
    const char *key;
    size_t len;
    if (!document_enter(&r->d, '{', &object)) return;
    while (document_next_key(&r->d, &object, &key, &len)) {
        if (is(key, len, "num_trees"))
            r->trees = parameter(&r->d);
        else
            document_skip(&r->d);
    }
}

/* A member of gradient_booster, or of the gbtree within dart, or of their model. */
static int read_member(struct reading *r, const char *key, size_t len)
{
    if (is(key, len, "trees")) return read_trees(r);
    if (is(key, len, "model") || is(key, len, "gbtree")) return read_booster(r);
    if (is(key, len, "tree_info")) {
        document_numbers(&r->d, &r->info);
    } else if (is(key, len, "weight_drop")) {
        document_numbers(&r->d, &r->drop);
    } else if (is(key, len, "gbtree_model_param")) {
        read_gbtree_param(r);
    } else if (is(key, len, "name")) {
        char *name = document_string(&r->d);
        bool fine = name != NULL && (strcmp(name, "gbtree") == 0 || strcmp(name, "dart") == 0);
        if (!fine && name != NULL)
            err_set(r->e, -EINVAL, "XGBoost: booster %.40s is not supported", name);
        free(name);
        return fine ? 0 : -EINVAL;
    } else {
        document_skip(&r->d);
    }
    return 0;
}

static int read_booster(struct reading *r) /* nested DOCUMENT_DEPTH deep at most */
{
    struct document_list object;
    const char *key;
    size_t len;
    int rc = 0;
    if (!document_enter(&r->d, '{', &object)) return -EINVAL;
    while (rc == 0 && document_next_key(&r->d, &object, &key, &len)) rc = read_member(r, key, len);
    return rc;
}

/* What belongs to whole trees: which class, and what dropping has left of their weight. */
static int finish(struct reading *r)
{
    struct trees *t = r->t;
    if (r->info.n != t->n_trees || (r->trees >= 0 && r->trees != (double)t->n_trees))
        return err_set(r->e, -EINVAL, "XGBoost: %zu trees where the file speaks of %g", t->n_trees,
                       r->trees >= 0 ? r->trees : (double)r->info.n);
    if (r->drop.n > 0 && r->drop.n != t->n_trees)
        return err_set(r->e, -EINVAL, "XGBoost: %zu weights of %zu trees", r->drop.n, t->n_trees);
    for (size_t i = 0; i < t->n_trees; i++) {
        double group = r->info.x[i];
        if (!(group >= 0 && group < (double)t->groups))
            return err_set(r->e, -EINVAL, "XGBoost: tree %zu belongs to class %g of %zu", i, group,
                           t->groups);
        t->trees[i].group = (uint32_t)group;
        if (r->drop.n == 0) continue;
        float weight = (float)r->drop.x[i];
        if (!isfinite(weight)) return err_set(r->e, -EINVAL, "XGBoost: a weight is not finite");
        struct trees_node *node = &t->nodes[t->trees[i].first], *end = node + t->trees[i].count;
        for (; node < end; node++)
            if (node->left == TREES_NONE) node->at = (double)((float)node->at * weight);
    }
    for (size_t i = 0; i < t->n_nodes; i++)
        if (t->nodes[i].left == TREES_NONE && !isfinite(t->nodes[i].at))
            return err_set(r->e, -EINVAL, "XGBoost: a leaf is too large");
    int rc = trees_finish(t);
    return rc < 0 ? err_sys(r->e, rc, "XGBoost: the model") : 0;
}

static int load(struct reading *r)
{
    int rc = trees_new(&r->t, TREES_MOST_FEATURES, 1, r->e);
    if (rc < 0) return rc;
    read_root(r);
    if (r->d.failed) return r->e->code;
    rc = settle_model(r);
    return rc < 0 ? rc : finish(r);
}

int trees_load_xgboost(struct trees **out, const void *data, size_t len, struct err *e)
{
    struct err own = {0};
    struct reading r = {
        .e = e != NULL ? e : &own, .features = -1, .classes = 0, .targets = 1, .trees = -1};
    const unsigned char *s = data;
    /* Behind the first brace JSON has a quote or a blank, UBJSON the type of a length. */
    bool binary = len > 1 && s[0] == '{' && s[1] != '\0' && strchr("iUIlL#", s[1]) != NULL;
    document_open(&r.d, data, len, binary, r.e);
    int rc = load(&r);
    free_names(&r);
    free(r.objective);
    free(r.base_score);
    for (int i = 0; i < ARRAYS; i++) free(r.arrays[i].x);
    free(r.info.x);
    free(r.drop.x);
    free(r.order);
    free(r.words);
    if (rc == 0)
        *out = r.t;
    else
        trees_free(r.t);
    return rc;
}
