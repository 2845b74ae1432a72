/* seasonal_auto_inner.h - what the files of kernels/seasonal_auto share; nobody else's business. */
#ifndef KERNELS_SEASONAL_AUTO_INNER_H
#define KERNELS_SEASONAL_AUTO_INNER_H

#include "kernels/seasonal_auto.h"
#include "kernels/seasonal_inner.h"

enum { WEEK = 168 }; /* hours */

enum { PHIS = 4, FIRST_PROFILE = 2 * PHIS, FIRST_LOG = FIRST_PROFILE + 2 };

/* Means of the rows of each hour (or longer, where rows are rarer), where there are rows. */
struct auto_grid {
    const struct seasonal_series *series; /* whose clock counts */
    size_t n;
    double *t, *y, *cap, *low; /* (n) mean time and value; cap and low may be NULL */
    size_t *first;             /* (n + 1) the rows of bin i are first[i] to first[i + 1] */
    double phase;              /* usual place of t within its hour, seconds */
    double step;               /* seconds that a bin is long */
};

/* The forecasters, fitted to the first rows of a grid. */
struct auto_core {
    struct seasonal *line, *logs; /* logs NULL unless all is positive */
    double end;                   /* time of the last bin */
    double phase, step;
    double line_q[WEEK], logs_q[WEEK], profile[2][WEEK];
    double line_level[2], logs_level, profile_level[2];
    double level, slope; /* line's trend at the end, and its change a day */
    double logs_end, logs_slope, logs_most;
    double noise; /* robust deviation of what the line leaves, its profile and level taken away */
};

struct seasonal_auto {
    size_t owners;
    struct auto_core core;
    double weight[SEASONAL_EXPERTS];
    double reach;                    /* seconds ahead that the backtest looked */
    double spread[SEASONAL_BUCKETS]; /* mean absolute error, never falling, a bucket of reach / 7 */
    double quantile[SEASONAL_LEVELS]; /* of |error| / spread */
    double step_ds, step, error;
    int folds;
    bool positive; /* no value was below 0 */
};

int auto_core_fit(struct auto_core *c, const struct auto_grid *g, struct seasonal_series *lines,
                  struct seasonal_series *logs, size_t rows, const atomic_bool *cancel,
                  struct err *e);
void auto_core_free(struct auto_core *c);
/* out: (SEASONAL_EXPERTS, n); an expert that there is not is NaN. trend: (n) or NULL, of line with
 * its slope weighted by w. */
int auto_core_predict(const struct auto_core *c, const struct seasonal_future *f, double *out,
                      double *trend, const double *w, struct err *e);
/* The hour of the week of a bin. */
size_t auto_cell(const struct auto_grid *g, double t);
/* The k-th smallest of x, from 0, which is left in another order. O(n). */
double auto_nth(double *x, size_t n, size_t k);
/* The bin where the last lasting jump of x, without its seasons, began, and its size; 0 and 0 where
 * there is none. work: (2 n). */
size_t auto_step(const double *x, size_t n, double noise, double *work, double *size);
double auto_spread(const struct seasonal_auto *a, double ahead);
double auto_quantile(const struct seasonal_auto *a, double p);

#endif
