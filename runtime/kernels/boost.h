/* boost.h - gradient boosting for the probability of a yes: training. What comes of it is an
 * ensemble of trees (trees.h), which predicts, explains and is kept there.
 *
 * Two ways to search for splits. BOOST_HISTOGRAM puts every feature into at most 255 bins and adds
 * up gradients by bin. BOOST_EXACT looks at every value, as scikit-learn's
 * GradientBoostingClassifier does, and takes longer by orders of magnitude.
 *
 * The same data, options and seed give the same bytes, whatever the number of threads. */
#ifndef KERNELS_BOOST_H
#define KERNELS_BOOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/matrix.h"
#include "kernels/trees.h"

enum boost_split { BOOST_HISTOGRAM, BOOST_EXACT };

enum {
    BOOST_MOST_ROWS = (1 << 26) - 1, /* that the sums of a histogram have room for */
    BOOST_MOST_DEPTH = 16,
    BOOST_MOST_TREES = 100000,
    BOOST_MOST_CATEGORY = 65535,
    BOOST_MOST_WEIGHT = 1000000, /* and the least is 1 over it: floats have room for both */
};

struct boost_options {
    enum boost_split split;
    unsigned n_estimators; /* trees, 1 to BOOST_MOST_TREES */
    unsigned max_depth;    /* 1 to BOOST_MOST_DEPTH */
    double learning_rate;  /* above 0 */
    unsigned min_samples_leaf;
    double min_child_weight; /* least sum of the second derivative, p(1 - p), in a leaf */
    double l2;               /* added to that sum where a leaf's value is computed */
    double subsample;        /* share of the rows that each tree sees, in (0, 1] */
    double colsample;        /* share of the features that each tree sees, in (0, 1] */
    unsigned max_bins;       /* of one feature, that of missing values among them; 2 to 255 */
    double weight[2];        /* of rows labelled 0 and 1; up to BOOST_MOST_WEIGHT */
    bool balanced;           /* instead: n / (2 n0) and n / (2 n1) */
    /* The last share of the rows, which is the latest where rows are in order of time, is not
     * trained on but watched; in [0, 1). */
    double validation_fraction;
    unsigned early_stopping_rounds; /* without a better loss there; 0: never stops. The trees after
                                       the best are dropped. */
    const signed char *monotone; /* (columns): -1 falling, 0 free, 1 rising; NULL: all are free */
    const bool *categorical;     /* (columns), or NULL: none is */
    uint64_t seed;
    unsigned threads; /* 0: as many as there are processors */
};

struct boost_fitted {
    struct trees *trees; /* the caller's */
    size_t n_scores;     /* trees that were grown: those dropped are among them */
    double *train_score; /* (n_scores) after each: mean deviance, twice the (weighted) log loss, of
                            the rows trained on; the caller's */
    double
        *validation_score; /* (n_scores), the same of the rows watched; NULL where there are none */
    size_t best;           /* trees that were kept */
};

/* y: (X->rows), each 0 or 1. *done counts the trees that are there, for whoever watches; NULL: no
 * one does. 0; -EINVAL with e for data that nothing can be learned from (a single class, labels
 * that are neither, infinite values, too few rows, categories that are no small whole numbers);
 * -ENOMEM; -ECANCELED soon after *cancel (NULL: never) has become true.
 *
 * Columns without any value, or with one alone, are never split on. A missing value (NaN) goes
 * where each split has learned that missing values go; where training saw none, to the side that
 * had more rows.
 *
 * Memory above X, histogram: for each row a byte a column (columns rounded up to 8) and 8 bytes;
 * for each leaf that a level may have 8 to 12 KiB a column. */
int boost_fit(struct boost_fitted *out, const struct matrix *X, const double *y,
              const struct boost_options *o, const atomic_bool *cancel, atomic_uint *done,
              struct err *e);
void boost_fitted_free(struct boost_fitted *f); /* what it holds */

#endif
