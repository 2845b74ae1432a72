/* features.h - what detectors look at beside the value itself: features of a series, each causal.
 *
 * The row of a sample depends on that sample and on those before it, no further back than
 * features_reach(), and to the last bit not on where the series begins: a row that is computed from
 * the recent samples alone is the row that a long history gives. So what a model has learned from
 * history holds for the newest sample. */
#ifndef KERNELS_FEATURES_H
#define KERNELS_FEATURES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/matrix.h"
#include "kernels/series.h"

/* The windows are of time: an hour, but at least 6 and at most 60 steps, and six times that. The
 * residual is the value less what is usual at that time of day: the median, over the seven days
 * before, of each day's mean in the same slot of the day; a slot is a step, but at least 5 minutes.
 * NaN where too little is known: of a window with fewer than 3 samples, or than a quarter of those
 * that it has room for (means, standard deviations), of the first sample or one
 * behind a gap longer than the short window (difference, change), where fewer than 2 of the seven
 * days have samples in the slot (residual). */
enum feature {
    FEATURE_VALUE,
    FEATURE_HOUR,       /* 0 to 23, on the clock of the time zone */
    FEATURE_WEEKDAY,    /* Monday is 0 */
    FEATURE_DIFFERENCE, /* from the sample before */
    FEATURE_CHANGE,     /* its size */
    FEATURE_MEAN_1H,
    FEATURE_MEAN_6H,
    FEATURE_SD_1H, /* population standard deviations */
    FEATURE_SD_6H,
    FEATURE_RESIDUAL,
    FEATURE_RESIDUAL_1H, /* its means over the windows */
    FEATURE_RESIDUAL_6H,
    FEATURE_COUNT
};

const char *feature_name(enum feature f);
bool feature_by_name(const char *name, enum feature *f);

struct features {
    const struct sample *samples; /* (n) ascending in time, finite values */
    size_t n;
    const int32_t *offsets;    /* (n) seconds east of UTC at each, or NULL: UTC */
    double step;               /* seconds between samples, as intended; > 0 */
    const enum feature *which; /* (n_which) > 0 */
    size_t n_which;
};

double features_window(double step, bool is_long); /* seconds */
/* Seconds before a sample that its row may depend on: samples further back than that change
 * nothing.
 */
double features_reach(double step, const enum feature *which, size_t n_which);

/* The rows of the samples from `first` on, columns named after their features. 0 with *out the
 * caller's, -ENOMEM, or -ECANCELED soon after *cancel (NULL: never) has become true, with e. O(n)
 * times the samples in a window. */
int features_compute(struct matrix **out, const struct features *f, size_t first,
                     const atomic_bool *cancel, struct err *e);

#endif
