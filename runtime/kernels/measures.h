/* measures.h - how good scores of yes-or-no outcomes are: ranking, probabilities, thresholds.
 *
 * Everything is computed from the pairs (outcome, score) in order of their scores, sorted once.
 * Equal scores are one point: no answer depends on the order of the rows. An alarm is a score
 * strictly above a threshold. */
#ifndef KERNELS_MEASURES_H
#define KERNELS_MEASURES_H

#include <stddef.h>

struct measures; /* never changes once fitted, so any thread may read it */

/* Fits to n pairs: y[i] is 0 or 1. A pair of which either is NaN is missing and left out; infinite
 * scores rank like any others. 0, or -ENODATA when no pair is left. p has measures_bytes(n) bytes,
 * the caller's, aligned as by malloc. O(n log n). */
size_t measures_bytes(size_t n);
int measures_fit_at(void *p, const double *y, const double *score, size_t n);

size_t measures_count(const struct measures *m);     /* at least 1 */
size_t measures_positives(const struct measures *m); /* those with y = 1 */
double measures_lowest(const struct measures *m);    /* score */
double measures_highest(const struct measures *m);

/* The probability that a positive has a higher score than a negative, ties count half: the area
 * under the ROC curve, exact up to the last rounding. NaN where there is but one class. */
double measures_auc(const struct measures *m);

/* The mean precision over the positives, without interpolation: scikit-learn's
 * average_precision_score. NaN without positives. */
double measures_average_precision(const struct measures *m);

/* What follows wants all scores in [0, 1]. */

/* Mean of -ln of the probability given to what came; probabilities are kept 2^-52 off 0 and 1. */
double measures_log_loss(const struct measures *m);
/* Mean squared difference of probability and outcome. */
double measures_brier(const struct measures *m);

struct measures_bin {
    double lower, upper; /* lowest and highest score within */
    size_t count, positives;
    double mean; /* of the scores */
};

/* The pairs by ascending score, in at most n_bins >= 1 bins of about equally many; equal scores
 * stay together. Returns the number of bins that out[0..n_bins) has got. */
size_t measures_bins_by_count(const struct measures *m, struct measures_bin *out, size_t n_bins);
/* The same in bins of equal width, [k, k + 1) / n_bins and 1 in the last; empty ones are left
 * out. */
size_t measures_bins_by_width(const struct measures *m, struct measures_bin *out, size_t n_bins);

struct measures_confusion {
    size_t true_positives, false_positives, false_negatives, true_negatives;
};

/* What alarms above the threshold would have been. O(log n). */
struct measures_confusion measures_at(const struct measures *m, double threshold);

/* The lowest threshold whose alarms are right in at least this share, 0 < precision <= 1. It lies
 * midway between two scores. NaN when there is none. O(n). */
double measures_by_precision(const struct measures *m, double precision);
/* The lowest threshold that gives at most so many alarms: the highest score, when even the rows of
 * that score are too many. O(n). */
double measures_by_alarms(const struct measures *m, size_t most);

/* Alarms in time. Neighbouring rows above the threshold are one alarm, which counts anew after
 * every `again` >= 1 rows that it goes on. A NaN score is no alarm. */
struct measures_rows {
    size_t n;
    const double *score; /* (n), in order of time */
    const double *run;   /* (n) or NULL: rows of different run are no neighbours */
    size_t again;
};
/* How many alarms that are. O(n). */
size_t measures_episodes(const struct measures_rows *rows, double threshold);
/* Going down from the highest score, the last threshold before alarms are more than most for the
 * first time. NaN when no score is a number. 0 or -ENOMEM. O(n log n). */
int measures_by_episodes(double *threshold, const struct measures_rows *rows, size_t most);

#endif
