/* forest_form.h - how a forest lies in memory; for the files of the kernel alone. */
#ifndef KERNELS_FOREST_FORM_H
#define KERNELS_FOREST_FORM_H

#include <float.h>
#include <math.h>
#include <stdatomic.h>

#include "kernels/forest.h"

/* A row is at a node; x[feature] > t sends it to child + 1, else to child. Nodes are numbered
 * across all trees. A leaf is its own child and has t = infinity, which nothing passes: walking on
 * from it stays, so that all rows may take the same number of steps. */
struct forest_node {
    float t;
    uint32_t where; /* child << feature_bits | feature */
};

/* A cut along two columns: w[0] x[feature] + w[1] x[second] > t. A leaf has weights of 0. */
struct forest_pair {
    double t;
    float w[2];
    uint32_t second;
};

struct forest_plan; /* forest_plan.h */

/* Nodes of a tree are in order of depth, both children of one beside each other, so that the k-th
 * node with children has them at 2k + 1 and 2k + 2. */
struct forest {
    size_t features, trees, max_samples;
    unsigned ndim;
    unsigned levels; /* the longest path of any tree, in edges */
    double contamination, offset;
    double scale;   /* trees * c(max_samples) */
    char **names;   /* (features) or NULL */
    double *origin; /* (features) what is subtracted before values become float32 */
    unsigned feature_bits;
    uint32_t *first;          /* (trees + 1) nodes before each tree */
    struct forest_node *node; /* (nodes) */
    struct forest_pair *pair; /* (nodes), or NULL with ndim 1 */
    double *value;            /* (nodes) of a leaf its path length; else the mean of its rows' */
    uint32_t *rows;           /* (nodes) training rows, at least 1 */
    _Atomic(struct forest_plan *) plan; /* made when first wanted */
    size_t owners;                      /* beside the first */
};

/* A tree while it grows: nodes in any order, the root first. */
struct forest_sprout {
    uint32_t left, right; /* both 0 for a leaf */
    uint32_t rows;        /* of a leaf; those of others are added up */
    uint32_t feature;     /* of a leaf 0 */
    float t;              /* of a leaf INFINITY */
};
struct forest_tree {
    size_t n; /* at least 1 */
    struct forest_sprout *nodes;
    struct forest_pair *pairs; /* (n) of those that cut, or NULL with ndim 1 */
};
void forest_tree_free(struct forest_tree *tree); /* what it holds */
enum { FOREST_DEPTH = 64 };                      /* the longest path of any forest */

/* Makes the forest of what `head` says (features, trees, max_samples, ndim, contamination, offset)
 * and the trees, without names and with all origins 0. Every node but the root must be the child of
 * one other, features below head->features. 0, -ENOMEM, or -EINVAL with e for a tree that is no
 * tree, too deep or too large. */
int forest_assemble(struct forest **out, const struct forest *head, const struct forest_tree *trees,
                    struct err *e);
int forest_copy_names(struct forest *f, char *const *names); /* 0 or -ENOMEM */

double forest_c(double n); /* the mean path length of an unsuccessful search among n rows */

/* Of a node n of the tree whose nodes begin at `first`: counted from there. */
static inline uint32_t forest_child(const struct forest *f, uint32_t first, struct forest_node n)
{
    return (n.where >> f->feature_bits) - first;
}
static inline uint32_t forest_feature(const struct forest *f, struct forest_node n)
{
    return n.where & ((1u << f->feature_bits) - 1);
}

/* The values that are compared: float32, NaN and infinite where they are or become so. Cuts along
 * two columns add them up, so there infinities become the largest numbers (`finite`). Whether any
 * is NaN. */
bool forest_floats(const double *x, const double *origin, size_t n, bool finite, float *out);
static inline float forest_finite(float x) /* NaN stays NaN */
{
    x = x > FLT_MAX ? FLT_MAX : x;
    return x < -FLT_MAX ? -FLT_MAX : x;
}

static inline double forest_score_of(const struct forest *f, double path)
{
    return -exp2(-path / f->scale);
}

/* The path length of a row in one tree, whatever is missing. */
double forest_path_length(const struct forest *f, size_t tree, const float *x);

#endif
