#include "kernels/forest_plan.h"

#include <errno.h>
#include <stdlib.h>

#include "kernels/forest_form.h"

enum {
    WORTHWHILE = 200,     /* steps a tree, on average: with more, walking is faster */
    MOST_DIVISIONS = 4096 /* of a feature's range */
};

void forest_plan_free(struct forest_plan *p)
{
    if (p == NULL) return;
    free(p->ranks);
    free(p->cuts);
    free(p->start);
    free(p->step);
    free(p->step_first);
    free(p->last_first);
    free(p->leaf);
    free(p->leaf_first);
    free(p);
}

static size_t count_inner(const struct forest *f, size_t tree)
{
    size_t n = f->first[tree + 1] - f->first[tree];
    return (n - 1) / 2; /* every node has two children or none */
}

static int allocate(struct forest_plan *p, const struct forest *f, size_t *inner_nodes)
{
    size_t steps = 0, leaves = 0;
    for (size_t t = 0; t < f->trees; t++) {
        size_t inner = count_inner(f, t);
        if (inner + 1 > FOREST_LEAVES) return -ENOTSUP;
        steps += inner;
        leaves += inner + 1;
    }
    if (steps > WORTHWHILE * f->trees) return -ENOTSUP;
    p->features = f->features;
    p->trees = f->trees;
    *inner_nodes = steps;
    p->ranks = calloc(f->features, sizeof *p->ranks);
    p->step = malloc(steps * sizeof *p->step + 1);
    p->step_first = calloc(f->trees + 1, sizeof *p->step_first);
    p->last_first = calloc(f->trees, sizeof *p->last_first);
    p->leaf = malloc(leaves * sizeof *p->leaf);
    p->leaf_first = calloc(f->trees + 1, sizeof *p->leaf_first);
    bool all = p->ranks != NULL && p->step != NULL && p->step_first != NULL &&
               p->last_first != NULL && p->leaf != NULL && p->leaf_first != NULL;
    return all ? 0 : -ENOMEM;
}

/* -- ranks -- */

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The cuts of all trees, feature by feature: those of c from first[c] on. */
static void collect_cuts(const struct forest *f, uint32_t *first, float *cuts)
{
    for (size_t t = 0; t < f->trees; t++)
        for (uint32_t k = 0; k < f->first[t + 1] - f->first[t]; k++) {
            struct forest_node n = f->node[f->first[t] + k];
            if (forest_child(f, f->first[t], n) != k) first[forest_feature(f, n) + 1]++;
        }
    for (size_t c = 0; c < f->features; c++) first[c + 1] += first[c];
    for (size_t t = 0; t < f->trees; t++) /* moves first[c] to the end of c's */
        for (uint32_t k = 0; k < f->first[t + 1] - f->first[t]; k++) {
            struct forest_node n = f->node[f->first[t] + k];
            if (forest_child(f, f->first[t], n) != k) cuts[first[forest_feature(f, n)]++] = n.t;
        }
    for (size_t c = f->features; c > 0; c--) first[c] = first[c - 1];
    first[0] = 0;
}

static uint32_t sort_cuts(float *cuts, uint32_t n) /* and drops what is there twice */
{
    uint32_t end = 0;
    if (n > 1) qsort(cuts, n, sizeof *cuts, ascending);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || cuts[i] != cuts[i - 1]) cuts[end++] = cuts[i];
    return end;
}

/* Divides the range of n cuts evenly and counts what lies in each division. */
static void divide(struct forest_ranks *r, const float *cuts, uint32_t n, uint16_t *start,
                   uint32_t divisions)
{
    double width = n > 0 ? (double)cuts[n - 1] - (double)cuts[0] : 0;
    r->low = n > 0 ? cuts[0] : 0;
    r->scale = width > 0 ? forest_finite((float)((double)divisions / width)) : 0;
    r->last = (float)(divisions - 1);
    uint32_t most = 0, k = 0;
    for (uint32_t d = 0; d < divisions; d++) {
        uint32_t before = k;
        start[d] = (uint16_t)k;
        while (k < n && forest_division(r, cuts[k]) == d) k++;
        if (k - before > most) most = k - before;
    }
    r->half = most <= FOREST_AT_ONCE ? 0 : FOREST_AT_ONCE;
    while (r->half > 0 && 2 * r->half <= most) r->half *= 2;
}

/* Infinities that a search may look at. */
static uint32_t padding(const struct forest_ranks *r) { return 2 * r->half + FOREST_AT_ONCE; }

static uint32_t divisions_for(uint32_t n)
{
    uint32_t divisions = 1;
    while (divisions < 2 * n && divisions < MOST_DIVISIONS) divisions *= 2;
    return divisions;
}

/* Of sorted cuts (those of feature c are the first n[c] from first[c] on). */
static int lay_out_ranks(struct forest_plan *p, const float *sorted, const uint32_t *first,
                         const uint32_t *n)
{
    size_t cuts = 0, starts = 0;
    for (size_t c = 0; c < p->features; c++) starts += divisions_for(n[c]);
    if ((p->start = calloc(starts, sizeof *p->start)) == NULL) return -ENOMEM;
    starts = 0;
    for (size_t c = 0; c < p->features; c++) {
        struct forest_ranks *r = &p->ranks[c];
        uint32_t divisions = divisions_for(n[c]);
        if (n[c] >= FOREST_RANKS) return -ENOTSUP;
        *r = (struct forest_ranks){.start = (uint32_t)starts, .cuts = (uint32_t)cuts};
        divide(r, sorted + first[c], n[c], p->start + starts, divisions);
        starts += divisions;
        cuts += n[c] + padding(r);
    }
    if ((p->cuts = malloc(cuts * sizeof *p->cuts)) == NULL) return -ENOMEM;
    for (size_t c = 0; c < p->features; c++) {
        float *to = p->cuts + p->ranks[c].cuts;
        for (uint32_t i = 0; i < n[c]; i++) to[i] = sorted[first[c] + i];
        for (uint32_t i = 0; i < padding(&p->ranks[c]); i++) to[n[c] + i] = INFINITY;
    }
    return 0;
}

static int plan_ranks(struct forest_plan *p, const struct forest *f, size_t inner)
{
    float *cuts = malloc(inner * sizeof *cuts + 1);
    uint32_t *first = calloc(f->features + 1, sizeof *first), *n = calloc(f->features, sizeof *n);
    int rc = cuts != NULL && first != NULL && n != NULL ? 0 : -ENOMEM;
    if (rc == 0) {
        collect_cuts(f, first, cuts);
        for (size_t c = 0; c < f->features; c++)
            n[c] = sort_cuts(cuts + first[c], first[c + 1] - first[c]);
        rc = lay_out_ranks(p, cuts, first, n);
    }
    free(cuts);
    free(first);
    free(n);
    return rc;
}

/* -- steps -- */

struct tree {
    const struct forest *f;
    const struct forest_node *node;
    uint32_t first, n;
    uint32_t leaves[2 * FOREST_LEAVES]; /* below each node */
    uint32_t right[2 * FOREST_LEAVES];  /* of the tree that are to the right of these */
    uint32_t slot[2 * FOREST_LEAVES];
    uint32_t inner, last; /* nodes that cut; how many of these have something to cut below */
};

static uint32_t child_of(const struct tree *t, uint32_t k)
{
    return forest_child(t->f, t->first, t->node[k]);
}
static bool cuts(const struct tree *t, uint32_t k) { return child_of(t, k) != k; }
static bool is_last(const struct tree *t, uint32_t k)
{
    uint32_t child = child_of(t, k);
    return child != k && !cuts(t, child) && !cuts(t, child + 1);
}

static void look_at(struct tree *t, const struct forest *f, size_t tree)
{
    t->f = f;
    t->first = f->first[tree];
    t->node = f->node + t->first;
    t->n = f->first[tree + 1] - f->first[tree];
    t->inner = 0;
    t->right[0] = 0;
    for (uint32_t k = t->n; k-- > 0;) {
        uint32_t child = child_of(t, k);
        t->leaves[k] = cuts(t, k) ? t->leaves[child] + t->leaves[child + 1] : 1;
        t->slot[k] = FOREST_LEAVES;
    }
    for (uint32_t k = 0; k < t->n; k++) {
        uint32_t child = child_of(t, k);
        if (!cuts(t, k)) continue;
        t->right[child] = t->right[k] + t->leaves[child + 1];
        t->right[child + 1] = t->right[k];
        if (!is_last(t, k)) t->slot[k] = t->inner++;
    }
    t->last = t->inner;
    for (uint32_t k = 0; k < t->n; k++)
        if (is_last(t, k)) t->slot[k] = t->inner++;
}

/* The steps of one tree, and its leaves by number. */
static void plan_tree(struct forest_plan *p, const struct forest *f, size_t tree)
{
    struct tree t;
    look_at(&t, f, tree);
    struct forest_step *step = p->step + p->step_first[tree];
    for (uint32_t k = 0; k < t.n; k++) {
        uint32_t child = child_of(&t, k), feature = forest_feature(f, t.node[k]);
        if (!cuts(&t, k)) {
            p->leaf[p->leaf_first[tree] + t.right[k]] = f->value[f->first[tree] + k];
            continue;
        }
        uint32_t rank = forest_rank(p, &p->ranks[feature], t.node[k].t);
        step[t.slot[k]] = (struct forest_step){
            feature * FOREST_BLOCK * (uint32_t)sizeof(int16_t), (rank + 1) * 0x00010001u,
            (t.leaves[child + 1] & 255) * 0x01010101u, (uint16_t)(t.slot[child] * FOREST_BLOCK),
            (uint16_t)(t.slot[child + 1] * FOREST_BLOCK)};
    }
    p->last_first[tree] = p->step_first[tree] + t.last;
    p->step_first[tree + 1] = p->step_first[tree] + t.inner;
    p->leaf_first[tree + 1] = p->leaf_first[tree] + t.inner + 1;
}

int forest_plan_new(struct forest_plan **out, const struct forest *f)
{
    if (f->pair != NULL || f->features > UINT32_MAX / FOREST_BLOCK / 2) return -ENOTSUP;
    struct forest_plan *p = calloc(1, sizeof *p);
    if (p == NULL) return -ENOMEM;
    size_t inner;
    int rc = allocate(p, f, &inner);
    if (rc == 0) rc = plan_ranks(p, f, inner);
    if (rc < 0) {
        forest_plan_free(p);
        return rc;
    }
    for (size_t t = 0; t < f->trees; t++) plan_tree(p, f, t);
    *out = p;
    return 0;
}
