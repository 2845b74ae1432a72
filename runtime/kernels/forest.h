/* forest.h - isolation forests: how few random cuts it takes to set a row apart from the others.
 *
 * Liu, Ting and Zhou (2008), with the scores and conventions of scikit-learn's IsolationForest,
 * whose trees can be imported. What is added:
 * - Missing values (NaN). A row without the value that a node asks for goes both ways, weighted by
 *   the training rows on each side: its path is the expected one. In training it goes to either
 * side at random, by the shares of the rows that have the value. A row without any value has the
 * score forest_expectation().
 * - Cuts along two columns at once (ndim = 2), after Hariri, Kind and Brunner (2019).
 *
 * Values are compared as float32. What lies beyond its range, infinities too, counts as the largest
 * there is. A column whose values lie too close together for that is measured from one of them: see
 * forest_fit.c. */
#ifndef KERNELS_FOREST_H
#define KERNELS_FOREST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "kernels/matrix.h"

struct forest; /* never changes once made, so any thread may read it */

struct forest_options {
    size_t n_estimators;  /* > 0 */
    size_t max_samples;   /* rows a tree, > 0; more than there are rows means all of them */
    double max_features;  /* a share of the columns in (0, 1], or from whole_features on a count */
    bool whole_features;  /* max_features is a count */
    bool bootstrap;       /* rows of a tree are drawn with replacement */
    unsigned ndim;        /* columns a cut looks at, 1 or 2 */
    double contamination; /* in (0, 0.5], or NaN for "auto" */
    uint64_t seed;
    unsigned
        threads; /* 0: as many as there are processors. The result is the same for any number */
};

/* 0 with *out the caller's; -EINVAL with e: fewer than two rows or no columns, no value at all, a
 * forest too large for its form; -ECANCELED soon after *cancel (NULL: never) has become true; or
 * -ENOMEM with e. Takes time for the rows that are drawn, not for those that are there, unless a
 * contamination asks for the scores of all. */
int forest_fit(struct forest **out, const struct matrix *m, const struct forest_options *o,
               const atomic_bool *cancel, struct err *e);
/* One owner more, who calls forest_free() too. All owners are on one thread; readers need not be.
 */
struct forest *forest_share(struct forest *f);
void forest_free(struct forest *f); /* with its last owner; NULL is fine */

struct forest_about {
    size_t features, trees, max_samples;
    unsigned ndim;
    double contamination; /* NaN: "auto" */
    double offset;        /* what decisions are measured from */
    char *const *names;   /* (features) of the training columns, or NULL */
};
struct forest_about forest_about(const struct forest *f);

/* Which column of m holds each feature: by name where both have names (m may have others too), else
 * by position. 0, or -EINVAL with e: names that are missing, another number of columns. */
int forest_match(const struct forest *f, const struct matrix *m, size_t *which /* (features) */,
                 struct err *e);

/* Scores of the rows of m, columns as `which` says: -1 (odd) to 0, scikit-learn's score_samples.
 * The decision is the score minus the offset; below 0 is an anomaly. 0, -ENOMEM or -ECANCELED.
 * Every path of the computation gives the same bits. */
int forest_score(const struct forest *f, const struct matrix *m, const size_t *which,
                 unsigned threads, const atomic_bool *cancel, double *out /* (rows) */);
/* Of one row; up to FOREST_ON_STACK features it allocates nothing, else -ENOMEM is NaN. */
enum { FOREST_ON_STACK = 1024 };
double forest_score_row(const struct forest *f, const double *x /* (features) */);

/* For tests and benchmarks: holds scoring to a path, as if the processor had no better. */
enum forest_path { FOREST_BEST, FOREST_WALK, FOREST_PORTABLE, FOREST_AVX2, FOREST_AVX512 };
bool forest_knows_path(enum forest_path path); /* of this processor */
bool forest_has_path(const struct forest *f, enum forest_path path);
void forest_set_path(enum forest_path path); /* of the whole process */

/* The score of a row of which nothing is known: that of the path expected over the training rows of
 * each tree. */
double forest_expectation(const struct forest *f);
/* What each feature adds to the score of x over forest_expectation(): the sum is their difference.
 * Negative ones make the row odd. At each node of its path the row's expected path length changes;
 * the change belongs to the feature that the node cuts (to both, half each, where it cuts two); a
 * missing feature adds 0. 0 or -ENOMEM. */
int forest_explain(const struct forest *f, const double *x, double *out /* (features) */);

/* To bytes, the same for the same forest on any machine; and back. -EINVAL with e for what is no
 * forest; failure to write is in out->failed. */
void forest_pack(const struct forest *f, struct text *out);
bool forest_is_packed(const void *data, size_t len);
int forest_unpack(struct forest **out, const void *data, size_t len, struct err *e);

/* scikit-learn's trees as JSON: { "n_features", "max_samples", "offset", "params": {
 * "contamination" }, "trees": [ { "feature", "threshold", "left", "right", "n" } ] }; a feature of
 * -2 is a leaf. The scores are scikit-learn's. -EINVAL with e, or -ENOMEM. */
int forest_import(struct forest **out, const char *json, size_t len, struct err *e);

#endif
