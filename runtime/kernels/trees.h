/* trees.h - ensembles of decision trees whose leaves are added up: gradient boosting and random
 * forests, trained here or read from the files of other programs.
 *
 * All of them are brought to one form, exactly: a numeric split sends x left where x <= threshold,
 * both as doubles. What rounds or standardises x first is a monotone function of it, so that
 * another threshold says the same of the x that came (trees_below(), trees_within()). */
#ifndef KERNELS_TREES_H
#define KERNELS_TREES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

/* What is refused beyond it, wherever it comes from. */
enum {
    TREES_MOST_FEATURES = 1 << 16,
    TREES_MOST_GROUPS = 1024,
    TREES_MOST_TREES = 1 << 20,
    TREES_MOST_NODES = 1 << 26,    /* of all trees together */
    TREES_MOST_DEPTH = 512,        /* edges from the root to a leaf */
    TREES_MOST_CATEGORY = 1 << 24, /* categories are below */
    TREES_MOST_WORDS = 1 << 24     /* of 32 categories each, of all sets together */
};

/* What a margin says. */
enum trees_link {
    TREES_IDENTITY, /* the margin is the answer: a regression, or a score without probability */
    TREES_LOGISTIC, /* P(1) = 1 / (1 + exp(-sigmoid * margin)), of each group for itself */
    TREES_SOFTMAX   /* P(group) = exp(margin) / sum of exp(margin) over the groups */
};

enum {                         /* bits of trees_node.flags */
       TREES_MISSING_LEFT = 1, /* NaN goes left, else right */
       TREES_ZERO_MISSING = 2, /* -TREES_ZERO <= x <= TREES_ZERO goes where NaN goes */
       TREES_CATEGORICAL = 4,  /* left where trees_category() is in the set, else right */
       TREES_LINEAR = 8        /* a leaf that is a linear function (LightGBM's linear_tree) */
};
#define TREES_ZERO 0x1.a95a5cp-117 /* 1e-35f: LightGBM's zero */
#define TREES_NONE UINT32_MAX

struct trees_node {
    double at;            /* a split's threshold, not NaN; a leaf's value, finite */
    uint32_t left, right; /* index in nodes, of the same tree; TREES_NONE in a leaf */
    uint32_t feature;     /* < features; 0 in a leaf */
    uint32_t set : 28;    /* which set, or which linear function; else 0 */
    uint32_t flags : 4;
};

struct trees_tree {
    uint32_t first, count; /* its nodes; the root is the first */
    uint32_t group;        /* whose margin it adds to */
    uint32_t depth, leaves;
};

struct trees_linear { /* constant + sum of weights * x; where such an x is NaN the leaf's value */
    double constant;
    uint32_t first, count; /* of linear_features, linear_weights */
};

/* Once finished it is not changed, so any thread may read it. The fields are for reading. */
struct trees {
    size_t features, groups; /* groups: margins of a row, the classes of softmax, else mostly 1 */
    char **names;            /* (features), or NULL */
    enum trees_link link;
    double sigmoid; /* > 0 */
    bool single;    /* XGBoost's: categories of (float)x, leaves and sums in float */
    bool mean;      /* the probability is that of margin / trees of a group */
    double *base;   /* (groups) added to before the first tree */

    size_t n_trees;
    struct trees_tree *trees; /* (n_trees) in the order in which they are added up */
    size_t n_nodes;
    struct trees_node *nodes; /* (n_nodes) */
    double *cover;            /* (n_nodes) the weight of the training rows that came here, >= 0 */
    double *gain;             /* (n_nodes) what a split was worth, >= 0; 0 in leaves */

    size_t n_sets;
    uint32_t *sets; /* (n_sets + 1) where the words of each begin */
    size_t n_words;
    uint32_t *words; /* (n_words) category c is in a set whose word c / 32 has bit c % 32 */
    size_t n_linear;
    struct trees_linear *linear;
    size_t n_terms;
    uint32_t *linear_features; /* (n_terms) */
    double *linear_weights;    /* (n_terms) */

    char *note; /* whatever the trainer wants to keep with it, or NULL */
    size_t note_len;
    struct trees_fast *fast; /* NULL until finished, and where there is no fast form */
    size_t room_trees, room_nodes, room_sets, room_words, room_linear, room_terms;
};

/* --- making: new, then for each tree open, nodes, close; then finish ------------------------- */

/* One group or more; link identity, sigmoid 1, base 0. 0, -EINVAL beyond the limits, -ENOMEM. */
int trees_new(struct trees **out, size_t features, size_t groups, struct err *e);
void trees_free(struct trees *t);                                  /* NULL is fine */
int trees_set_names(struct trees *t, const char *const *names);    /* (features), copied */
int trees_set_note(struct trees *t, const void *data, size_t len); /* copied */

/* A tree that adds to that group. */
int trees_open(struct trees *t, size_t group, struct err *e);
/* Each gives the node's number within its tree, from 0 on, the root first; else as trees_close().
 */
int64_t trees_leaf(struct trees *t, double value, double cover, struct err *e);
/* flags: TREES_MISSING_LEFT, TREES_ZERO_MISSING. */
int64_t trees_split(struct trees *t, size_t feature, double threshold, unsigned flags, double gain,
                    double cover, struct err *e);
/* The set as (n) words; flags: TREES_MISSING_LEFT. */
int64_t trees_split_set(struct trees *t, size_t feature, const uint32_t *words, size_t n,
                        unsigned flags, double gain, double cover, struct err *e);
/* Makes the leaf `node` of the open tree linear. */
int trees_make_linear(struct trees *t, size_t node, double constant, const uint32_t *features,
                      const double *weights, size_t n, struct err *e);
/* The children of a split of the open tree; they may come before they are added. */
void trees_children(struct trees *t, size_t node, size_t left, size_t right);
/* Says whether it is a tree: every node but the root is the child of one split, no circles, not too
 * deep, all numbers finite. 0, -EINVAL with e, -ENOMEM. */
int trees_close(struct trees *t, struct err *e);
/* Forgets all trees but the first n: early stopping. Not once finished. */
void trees_keep(struct trees *t, size_t n);
/* Makes the fast form; from here on it may be predicted with. 0 or -ENOMEM. */
int trees_finish(struct trees *t);

/* The threshold under which x <= threshold is (float)x < t; t is no NaN. For -INFINITY, where
 * none is, -INFINITY itself still goes left. */
double trees_below(float t);
/* The one under which x <= threshold is (float)((x - mean) / scale) <= t: scale > 0, all finite. */
double trees_within(double t, double mean, double scale);

/* --- predicting ------------------------------------------------------------------------------ */

/* The category that x stands for, or -1: truncated; NaN, negative and huge ones are none. */
int64_t trees_category(const struct trees *t, double x);
bool trees_goes_left(const struct trees *t, const struct trees_node *node, double x);

/* The definition, tree by tree: out[0..groups) of one row x[0..features). What all others equal,
 * bit by bit. */
void trees_walk(const struct trees *t, const double *x, double *out);
/* The same fast: (n, features) rows to (n, groups) margins, on the caller's thread. */
void trees_margins(const struct trees *t, const double *x, size_t n, double *out);
/* The same on up to `threads` threads (0: as many as there are processors). 0, -ENOMEM, or
 * -ECANCELED soon after *cancel (NULL: never) has become true. */
int trees_predict(const struct trees *t, const double *x, size_t n, unsigned threads,
                  const atomic_bool *cancel, double *out);
/* (n, groups) margins become what link says: probabilities, or the answers of a regression. */
void trees_probabilities(const struct trees *t, double *margins, size_t n);

/* Which vector code trees_margins() uses: "portable", "avx2"; tests and benchmarks choose another
 * (NULL: the best that this processor has). False where it cannot be had. Not while others
 * predict. */
const char *trees_vector_code(void);
bool trees_choose_vector_code(const char *name);

/* --- explaining ------------------------------------------------------------------------------ */

/* Path-dependent TreeSHAP (Lundberg et al. 2018): of (n, features) rows the contributions
 * (n, groups, features + 1), the last of each the bias, the mean over the training rows. Each sums
 * to the margin. Splits whose training rows have no weight count both ways alike. 0, -ENOTSUP with
 * e where leaves are linear functions, -ENOMEM, -ECANCELED. */
int trees_explain(const struct trees *t, const double *x, size_t n, const atomic_bool *cancel,
                  double *out, struct err *e);
/* (features) the gain of all splits on each, summing to 1, or all 0 where nothing was gained. */
void trees_importances(const struct trees *t, double *out);

/* --- bytes and files ------------------------------------------------------------------------- */

void trees_pack(const struct trees *t, struct text *out); /* see base/pack.h; into an empty text */
/* 0 with *out finished and the caller's, -EINVAL with e, -ENOMEM. */
int trees_unpack(struct trees **out, const void *data, size_t len, struct err *e);

/* A model in any form: packed, XGBoost's JSON or UBJSON, LightGBM's text, scikit-learn's trees as
 * JSON; which one the content tells. What cannot be represented exactly is -EINVAL with e, which
 * says what it is. Else as trees_unpack(). */
int trees_load(struct trees **out, const void *data, size_t len, struct err *e);
int trees_load_xgboost(struct trees **out, const void *data, size_t len, struct err *e);
int trees_load_lightgbm(struct trees **out, const char *data, size_t len, struct err *e);
int trees_load_sklearn(struct trees **out, const char *data, size_t len, struct err *e);

#endif
