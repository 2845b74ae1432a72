/* boost_parts.h - what the files of the training share: bins, grown trees, the loss. */
#ifndef KERNELS_BOOST_PARTS_H
#define KERNELS_BOOST_PARTS_H

#include <string.h>

#include "base/parallel.h"
#include "kernels/boost.h"

/* -- bins -- */

enum {
    BOOST_BINS = 256, /* places in a histogram; 255 are used at most */
    BOOST_BLOCK = 8,  /* features whose bins lie in one 64-bit word of a row, the first lowest */
};

/* How a feature's values become bins. Bin n_values is that of missing values. Numbers: bin b holds
 * what is <= cuts[b] and no earlier bin has. Categories: bin b holds categories[b], but the last
 * holds all others. */
struct boost_feature {
    bool categorical;
    bool missing;         /* training has rows without a value */
    unsigned n_values;    /* bins of values; at least 1 */
    double *cuts;         /* (BOOST_BINS - 1) ascending, n_values - 1 of them finite; NULL for
                             categories */
    uint32_t *categories; /* (n_values - 1) ascending; NULL for numbers */
};

struct boost_bins {
    size_t rows, columns, blocks;
    struct boost_feature *features; /* (columns) */
    uint64_t **words;               /* (blocks, rows) */
};

/* The bins of all rows; what they are is learned from the first n_train. As boost_fit(). */
int boost_bins_make(struct boost_bins **out, const struct matrix *X, size_t n_train,
                    const struct boost_options *o, struct parallel *team, const atomic_bool *cancel,
                    struct err *e);
void boost_bins_free(struct boost_bins *b); /* NULL is fine */

static inline unsigned boost_bin(const struct boost_bins *b, size_t row, size_t feature)
{
    return (unsigned)(b->words[feature / BOOST_BLOCK][row] >> feature % BOOST_BLOCK * 8) & 0xff;
}

/* -- rows that are trained on -- */

/* What a row carries besides its bins, in 32 bits: the first derivative of its loss as a signed
 * number of BOOST_G bits, the second as an unsigned one of BOOST_H, its label, and whether the tree
 * that is being grown sees it. Both derivatives are in units of the tree's own, rounded up or down
 * by chance so that sums are right on average; sums of whole numbers come out the same in any
 * order. */
enum {
    BOOST_SEEN = 1,
    BOOST_LABEL = 2,
    BOOST_H_SHIFT = 7,
    BOOST_G_SHIFT = 19,
    BOOST_LEVELS = 4095
};

/* Rows are kept in chunks that each lie in the nearest cache and are sorted, by the leaves of the
 * tree, each within itself: no row leaves its chunk. The bins of the rows move with them. */
enum { BOOST_CHUNK = 8192 };

/* Sums over rows, in the units of the tree: first derivatives; second ones above the number of
 * rows. */
enum { BOOST_COUNT_BITS = 26 };
struct boost_sums {
    int64_t g;
    uint64_t hn;
};
static inline uint64_t boost_h(struct boost_sums s) { return s.hn >> BOOST_COUNT_BITS; }
static inline uint64_t boost_count(struct boost_sums s)
{
    return s.hn & (((uint64_t)1 << BOOST_COUNT_BITS) - 1);
}

struct boost_chunk {
    float low_yes, high_no, nearest; /* the lowest margin of a yes, the highest of a no, the least
                                        distance from 0 of any: they bound the derivatives */
    double loss;
    struct boost_sums sums;
};

struct boost_rows {
    size_t n, chunks; /* the first n rows of the bins */
    uint32_t *state;  /* (n) as above */
    uint32_t *margin; /* (n) the present model's, the bits of a float, which boost_margin() takes */
    double g_unit, h_unit;
    struct boost_sums all; /* of the rows that the tree sees */
    double weight[2];
    struct boost_chunk *of_chunk; /* (chunks), for boost_loss_derive() */
};

static inline float boost_margin(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint32_t boost_margin_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline void boost_add_margin(uint32_t *bits, float x)
{
    *bits = boost_margin_bits(boost_margin(*bits) + x);
}

/* Derivatives for the next tree, from the margins. Sum of the rows' losses, each weighted, as they
 * are before it; the same for any number of threads. */
double boost_loss_derive(struct boost_rows *r, const struct boost_options *o, uint64_t stream,
                         struct parallel *team);
/* The weighted loss alone of n rows. */
double boost_loss_of(const float *margin, const unsigned char *label, size_t n,
                     const double weight[2]);
static inline bool boost_cancelled(const atomic_bool *cancel)
{
    return cancel != NULL && atomic_load_explicit(cancel, memory_order_relaxed);
}

/* -- trees while they are grown -- */

struct boost_node {
    uint32_t left, right; /* 0, 0 for a leaf */
    uint32_t feature;
    unsigned bin;          /* numbers: this bin and those before it go left */
    uint64_t goes_left[4]; /* by bin, that of missing values among them */
    double gain;           /* what the split has won */
    double value;          /* of a leaf, shrunk by the learning rate */
    double cover;          /* sum of the second derivatives of its rows */
    uint64_t n;            /* rows that the tree saw here: what explanations weigh by */
    double low, high;      /* between which values must lie, by monotone constraints above */
};

struct boost_tree {
    struct boost_node *nodes; /* [0] is the root */
    size_t n, capacity;
};

static inline bool boost_goes_left(const struct boost_node *node, unsigned bin)
{
    return node->goes_left[bin / 64] >> bin % 64 & 1;
}

struct boost_grower;
int boost_grower_open(struct boost_grower **out, const struct boost_bins *b, struct boost_rows *r,
                      const struct boost_options *o, struct parallel *team);
void boost_grower_close(struct boost_grower *g); /* NULL is fine */
/* One tree from the rows' derivatives, whose values are then added to the rows' margins. features:
 * (columns), which the tree may use. 0, -ENOMEM or -ECANCELED. */
int boost_grow(struct boost_grower *g, struct boost_tree *out, const bool *features,
               const atomic_bool *cancel);

/* -- both ways of training -- */

/* The weights of both labels, and the margin of the base rate that they make. */
double boost_weigh(const double *y, size_t n, const struct boost_options *o, double weight[2]);
/* An ensemble without a tree, and room for the scores. */
int boost_result(struct boost_fitted *out, const struct matrix *X, const struct boost_options *o,
                 bool watched, double margin, struct err *e);
/* As boost_fit(), whose checks are done. */
int boost_exact_fit(struct boost_fitted *out, const struct matrix *X, const double *y,
                    size_t n_train, const struct boost_options *o, const atomic_bool *cancel,
                    atomic_uint *done, struct err *e);

#endif
