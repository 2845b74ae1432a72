/* forest_plan.h - a forest made ready for scoring many rows at once; for the kernel alone.
 *
 * Rows are turned into ranks first: for each feature, how many of the forest's cuts along it lie
 * below the value, so that a comparison with a cut is one of small whole numbers. Then every node
 * of a tree is looked at for FOREST_BLOCK rows at once, whether they pass it or not: a byte a row
 * says who does. Of those that do and go left, the number of leaves to their right is added up; at
 * the end each row has the number of its leaf, counted from the right. No branch depends on the
 * data, nothing is looked up by row but the leaves' values, and all of it runs in whatever vectors
 * there are. */
#ifndef KERNELS_FOREST_PLAN_H
#define KERNELS_FOREST_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/forest.h"

enum {
    FOREST_BLOCK = 64,    /* rows */
    FOREST_LEAVES = 256,  /* of a tree, at most: leaf numbers are bytes */
    FOREST_RANKS = 32767, /* of a feature, at most: ranks are signed 16-bit numbers */
    FOREST_AT_ONCE = 8    /* cuts that are compared at once */
};

/* A node that cuts. The masks of its rows are in the slot of its own number. Those whose children
 * are both leaves come last in a tree: they have no slots to fill, and their label is 1. Offsets
 * are in bytes. */
struct forest_step {
    uint32_t column; /* of the ranks: feature * FOREST_BLOCK words */
    uint32_t cut;    /* ranks below it go left: twice, for vectors are filled four bytes a time */
    uint32_t label;  /* leaves to the right, four times */
    uint16_t left, right; /* slots of the children; for a leaf the slot that nobody reads */
};

/* The ranks of a feature. Its range is divided evenly; start[] tells how many cuts lie below a
 * division, and fewer than 2 * half are in it, or FOREST_AT_ONCE with a half of 0. Both are
 * computed by forest_division(), so rounding puts a value and a cut on the right sides. */
struct forest_ranks {
    float low, scale; /* division: (x - low) * scale, kept within [0, last] */
    float last;
    uint32_t half;        /* a power of two from FOREST_AT_ONCE on, or 0 */
    uint32_t cuts, start; /* where the feature's begin in the plan */
};

static inline uint32_t forest_division(const struct forest_ranks *r, float x)
{
    float at = (x - r->low) * r->scale;
    at = at > 0 ? at : 0; /* NaN too */
    return (uint32_t)(int32_t)(at < r->last ? at : r->last);
}

struct forest_plan {
    size_t features, trees;
    struct forest_ranks *ranks; /* (features) */
    float *cuts;                /* ascending, without repetition; infinities end each feature's */
    uint16_t *start;            /* by division */
    struct forest_step *step;   /* tree by tree */
    uint32_t *step_first;       /* (trees + 1) */
    uint32_t *last_first;       /* (trees) the first step of each tree with leaves alone below it */
    double *leaf;               /* path lengths, by the leaf's number, tree by tree */
    uint32_t *leaf_first;       /* (trees + 1) */
};

/* 0 with *out, -ENOTSUP where the forest does not fit the form or would not gain, or -ENOMEM. */
int forest_plan_new(struct forest_plan **out, const struct forest *f);
void forest_plan_free(struct forest_plan *p); /* NULL is fine */

/* Runs the steps of a tree, the last ones from `last` on, for one block: rank (features,
 * FOREST_BLOCK) to labels (FOREST_BLOCK). The ranks are in the order that forest_lanes() tells.
 * Slots: (FOREST_LEAVES + 1, FOREST_BLOCK). All are aligned to 64 bytes. */
typedef void forest_lanes_fn(const struct forest_step *step, const struct forest_step *last,
                             const struct forest_step *end, const int16_t *rank,
                             unsigned char *slots, unsigned char *labels);
struct forest_lanes {
    forest_lanes_fn *run;
    unsigned char at[FOREST_BLOCK]; /* where the rank of each row of a block goes */
};
/* What a path stands for, on this processor; run is NULL where it has no such vectors. */
struct forest_lanes forest_lanes(enum forest_path path);

/* How many of the feature's cuts lie below x: halving until eight are left, and these at once. */
static inline uint32_t forest_rank(const struct forest_plan *p, const struct forest_ranks *r,
                                   float x)
{
    typedef float floats __attribute__((vector_size(16)));
    typedef int32_t ints __attribute__((vector_size(16)));
    typedef uint64_t pairs __attribute__((vector_size(16)));
    const float *cuts = p->cuts + r->cuts, *at = cuts + p->start[r->start + forest_division(r, x)];
    for (size_t half = r->half; half >= FOREST_AT_ONCE; half /= 2)
        at += half & (0 - (size_t)(at[half - 1] < x));
    floats a, b, value = {x, x, x, x};
    memcpy(&a, at, sizeof a);
    memcpy(&b, at + 4, sizeof b);
    pairs below = (pairs)(0 - (ints)(a < value) - (ints)(b < value));
    uint64_t sum = below[0] + below[1];
    return (uint32_t)(at - cuts) + (uint32_t)sum + (uint32_t)(sum >> 32);
}

#endif
