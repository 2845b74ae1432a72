/* series.h - one series of samples in order of time, and its CSV form. */
#ifndef KERNELS_SERIES_H
#define KERNELS_SERIES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct sample {
    double ds; /* Unix seconds, finite */
    double y;  /* NaN is a missing value */
};

struct series {
    size_t n, capacity;
    struct sample *samples; /* (n) ascending in ds; equal times stay in the order they came in */
};

void series_free(struct series *s); /* leaves an empty one */

/* Reads CSV (base/csv.h) whose first line names the columns: the time is `ts`, `ds` or `timestamp`,
 * the value `y` or `value`, the first of these that is there; case does not matter, and other
 * columns are ignored. A time is what series_time() reads, an empty value is missing, empty lines
 * are skipped, rows may come in any order. -EINVAL with e ("line:column: …") for anything else,
 * -ECANCELED soon after *cancel (NULL: never) has become true, or -ENOMEM, e set too and *out empty
 * then. O(n), O(n log n) where rows are out of order. */
int series_from_csv(struct series *out, const char *data, size_t len, const atomic_bool *cancel,
                    struct err *e);

/* Unix seconds of a text: of a number, of RFC 3339, or of "YYYY-MM-DD[ HH:MM[:SS[.s]]]", which is
 * in UTC. False where it is none of these, or is further from 1970 than some 3,000 years, as
 * milliseconds taken for seconds are. */
bool series_time(const char *text, size_t len, double *t);

#endif
