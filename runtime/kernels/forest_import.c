/* scikit-learn's trees. Their thresholds are doubles that float32 values are compared with: rounded
 * down to the next float they decide the same for every one of these. */
#include <errno.h>
#include <stdlib.h>

#include "base/json.h"
#include "kernels/forest.h"
#include "kernels/forest_form.h"

enum { MOST = 1 << 20, LEAF = -2 };

/* A whole number from `least` to `most`, or an error that names it. */
static int whole(const cJSON *item, const char *what, double least, double most, double *out,
                 struct err *e)
{
    if (!cJSON_IsNumber(item)) return err_set(e, -EINVAL, "\"%s\" is missing or no number", what);
    double x = item->valuedouble;
    if (!(x >= least && x <= most) || x != floor(x))
        return err_set(e, -EINVAL, "\"%s\" is %g; expected a whole number from %.0f to %.0f", what,
                       x, least, most);
    *out = x;
    return 0;
}

static float round_down(double x)
{
    if (x >= (double)FLT_MAX) return FLT_MAX;
    if (x < -(double)FLT_MAX) return -INFINITY;
    float f = (float)x;
    return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

/* The fields of a tree: each an array, an item a node. */
static const char *const FIELDS[] = {"feature", "threshold", "left", "right", "n"};
enum { FEATURE, THRESHOLD, LEFT, RIGHT, ROWS, N_FIELDS };

/* Node k, the items of which stand in `at`. `parent` tells which nodes are a child already. */
static int take_node(const struct forest *head, cJSON *const at[N_FIELDS], size_t k,
                     struct forest_tree *tree, bool *is_child, struct err *e)
{
    struct forest_sprout *s = &tree->nodes[k];
    double feature, left, right, rows, last = (double)tree->n - 1;
    int rc = whole(at[FEATURE], "feature", LEAF, (double)head->features - 1, &feature, e);
    if (rc == 0) rc = whole(at[ROWS], "n", 1, UINT32_MAX, &rows, e);
    if (rc < 0) return rc;
    s->rows = (uint32_t)rows;
    s->t = INFINITY;
    if (feature == LEAF) return 0;
    if (feature < 0) return err_set(e, -EINVAL, "\"feature\" is -1");
    rc = whole(at[LEFT], "left", 1, last, &left, e);
    if (rc == 0) rc = whole(at[RIGHT], "right", 1, last, &right, e);
    if (rc < 0) return rc;
    if (!cJSON_IsNumber(at[THRESHOLD]) || !isfinite(at[THRESHOLD]->valuedouble))
        return err_set(e, -EINVAL, "\"threshold\" is no number");
    s->feature = (uint32_t)feature;
    s->left = (uint32_t)left;
    s->right = (uint32_t)right;
    s->t = round_down(at[THRESHOLD]->valuedouble);
    if (left == right || is_child[s->left] || is_child[s->right])
        return err_set(e, -EINVAL, "node %zu has a child that another has too", k);
    is_child[s->left] = is_child[s->right] = true;
    return 0;
}

static int take_tree(const struct forest *head, const cJSON *from, struct forest_tree *tree,
                     struct err *e)
{
    cJSON *at[N_FIELDS];
    int n = 0;
    for (int i = 0; i < N_FIELDS; i++) {
        const cJSON *field = cJSON_GetObjectItemCaseSensitive(from, FIELDS[i]);
        int size = cJSON_IsArray(field) ? cJSON_GetArraySize(field) : 0;
        if (i == 0) n = size;
        if (size == 0 || size != n)
            return err_set(e, -EINVAL, "\"%s\" is missing, empty, or not as long as the others",
                           FIELDS[i]);
        at[i] = field->child;
    }
    tree->n = (size_t)n;
    tree->nodes = calloc(tree->n, sizeof *tree->nodes);
    bool *is_child = calloc(tree->n, sizeof *is_child);
    int rc = tree->nodes != NULL && is_child != NULL ? 0 : -ENOMEM;
    for (size_t k = 0; rc == 0 && k < tree->n; k++) {
        rc = take_node(head, at, k, tree, is_child, e);
        for (int i = 0; i < N_FIELDS; i++) at[i] = at[i]->next;
    }
    free(is_child);
    return rc;
}

static int take_head(const cJSON *json, struct forest *head, struct err *e)
{
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(json, "params"),
                *offset = cJSON_GetObjectItemCaseSensitive(json, "offset"),
                *contamination = cJSON_GetObjectItemCaseSensitive(params, "contamination"),
                *trees = cJSON_GetObjectItemCaseSensitive(json, "trees");
    double features, samples;
    int rc = whole(cJSON_GetObjectItemCaseSensitive(json, "n_features"), "n_features", 1, MOST,
                   &features, e);
    if (rc == 0)
        rc = whole(cJSON_GetObjectItemCaseSensitive(json, "max_samples"), "max_samples", 2,
                   UINT32_MAX, &samples, e);
    if (rc < 0) return rc;
    if (!cJSON_IsArray(trees) || cJSON_GetArraySize(trees) == 0)
        return err_set(e, -EINVAL, "\"trees\" is missing or empty");
    *head = (struct forest){.features = (size_t)features,
                            .trees = (size_t)cJSON_GetArraySize(trees),
                            .max_samples = (size_t)samples,
                            .ndim = 1,
                            .contamination = NAN,
                            .offset = -0.5};
    if (cJSON_IsNumber(offset) && isfinite(offset->valuedouble))
        head->offset = offset->valuedouble;
    else if (offset != NULL)
        return err_set(e, -EINVAL, "\"offset\" is no number");
    if (cJSON_IsNumber(contamination)) {
        double share = contamination->valuedouble;
        if (!(share > 0 && share <= 0.5))
            return err_set(e, -EINVAL, "\"contamination\" is %g; expected up to 0.5", share);
        head->contamination = share;
    }
    return 0;
}

static int import(struct forest **out, const cJSON *json, struct err *e)
{
    struct forest head;
    struct err why = {0};
    size_t t = 0;
    int rc = take_head(json, &head, e);
    if (rc < 0) return rc;
    struct forest_tree *trees = calloc(head.trees, sizeof *trees);
    if (trees == NULL) return -ENOMEM;
    const cJSON *from;
    cJSON_ArrayForEach(from, cJSON_GetObjectItemCaseSensitive(json, "trees"))
    {
        if (rc == 0) rc = take_tree(&head, from, &trees[t++], &why);
    }
    if (rc == -EINVAL) err_set(e, rc, "tree %zu: %s", t, why.text);
    if (rc == 0) rc = forest_assemble(out, &head, trees, e);
    for (t = 0; t < head.trees; t++) forest_tree_free(&trees[t]);
    free(trees);
    return rc;
}

int forest_import(struct forest **out, const char *json, size_t len, struct err *e)
{
    struct err why = {0};
    cJSON *root = json_parse(json, len, &why);
    if (root == NULL) return err_set(e, why.code, "%s", why.text);
    int rc = cJSON_IsObject(root) ? import(out, root, e)
                                  : err_set(e, -EINVAL, "the JSON is no object of trees");
    cJSON_Delete(root);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    return rc;
}
