/* trees_explain.h - paths to leaves, and what runs along them for a few rows at once. Within the
 * kernel. */
#ifndef KERNELS_TREES_EXPLAIN_H
#define KERNELS_TREES_EXPLAIN_H

#include "kernels/trees.h"

enum { EXPLAIN_LANES = 4 }; /* rows at once */

struct path_turn { /* a split whose question is no interval, and the side on which the path goes on
                    */
    uint32_t node;
    bool left;
};

/* One feature on the way to a leaf, with all its splits there: !(x <= low) and x <= high and all
 * turns; or x is NaN and missing is true, and all turns. */
struct path_step {
    double low, high; /* NaN and INFINITY where there is no bound */
    double share;     /* of the training rows at these splits that went this way */
    uint32_t feature;
    uint32_t turn : 31; /* the first of its turns */
    uint32_t missing : 1;
    uint32_t turns;
};

struct path {
    double value;
    uint32_t first, count; /* of steps */
    uint32_t group;
};

struct paths {
    struct path *paths;
    struct path_step *steps;
    struct path_turn *turns;
    size_t n_paths, n_steps, n_turns, room_paths, room_steps, room_turns;
};

/* Gauss and Legendre's points and weights on [0, 1] of orders 1 to EXPLAIN_ORDERS; order q is exact
 * for paths of up to 2q steps. */
enum { EXPLAIN_ORDERS = (TREES_MOST_DEPTH + 1) / 2 };
struct explain_rule {
    const double *points, *weights;
};

/* Adds the contributions of the paths [first, last), each of `steps` steps, for the rows x:
 * (features, EXPLAIN_LANES), to out: (groups, features + 1, EXPLAIN_LANES). work: 4 * steps *
 * EXPLAIN_LANES doubles, aligned for vectors as x and out are. */
typedef void explain_fn(const struct trees *t, const struct paths *p, size_t first, size_t last,
                        struct explain_rule rule, const double *x, double *work, double *out);
extern explain_fn explain_portable, explain_avx2; /* the latter on x86-64 only */

#endif
