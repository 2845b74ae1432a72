/* seasonal.h - a trend with changes of slope, seasons, holidays and regressors: Prophet's model
 * (Taylor and Letham, "Forecasting at scale", 2018), at the exact mode of its posterior.
 *
 * y = trend * (1 + multiplicative terms) + additive terms + noise. Times are Unix seconds. Seasons
 * and holidays go by the clock of one time zone. Known danger: the slope behind the last
 * changepoint is extrapolated for ever; under some 100 rows, and for a season that was not seen
 * twice, the priors decide more than the data. */
#ifndef KERNELS_SEASONAL_H
#define KERNELS_SEASONAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"

enum seasonal_growth { SEASONAL_LINEAR, SEASONAL_LOGISTIC, SEASONAL_FLAT };
enum seasonal_kind { SEASONAL_SEASON, SEASONAL_HOLIDAY, SEASONAL_REGRESSOR };

enum {
    SEASONAL_AUTO = -1,         /* an order that the history decides */
    SEASONAL_ROWS = 1 << 27,    /* most rows */
    SEASONAL_COLUMNS = 400,     /* most columns of all parts together */
    SEASONAL_CHANGES = 400,     /* most changepoints */
    SEASONAL_SAMPLES = 1000000, /* most paths */
};

/* One part of the model: a season, a holiday with the days around it, or a regressor. */
struct seasonal_part {
    const char *name;
    enum seasonal_kind kind;
    bool multiplicative;
    double prior_scale;   /* > 0 */
    double period;        /* season: days, > 0 */
    int order;            /* season: pairs of sine and cosine, or SEASONAL_AUTO */
    const int64_t *days;  /* holiday: (n_days) days since 1970, any order */
    size_t n_days;        /* */
    int lower, upper;     /* holiday: lower <= 0 <= upper, the window in days */
    const double *values; /* regressor: (rows) finite, or NULL where it is only described */
};

struct seasonal_spec {
    enum seasonal_growth growth;
    int n_changepoints; /* >= 0 */
    double changepoint_range, changepoint_prior_scale;
    const double *changepoints; /* (n_changepoints) Unix seconds; NULL: spread over the rows */
    const struct seasonal_part *parts; /* in the order of the columns */
    size_t n_parts;
    double interval_width; /* in (0, 1) */
    int samples;           /* paths to simulate; 0: no intervals at all */
    uint64_t seed;
    const char *timezone; /* a name for people, or NULL */
    const void *tzif;     /* the zone itself (kernels/calendar.h), or NULL for UTC */
    size_t tzif_len;
};
/* Prophet's defaults: linear, 25 changepoints over 0.8 of the rows, prior scale 0.05, interval 0.8,
 * 1,000 samples; no parts. */
struct seasonal_spec seasonal_defaults(void);

/* -- the history -- */

/* Rows in order of time, and what the model is made of. Shared by the models fitted to it; all
 * owners are on one thread. */
struct seasonal_series;

/* Copies everything. Rows whose y is NaN are left out; the others are sorted, stably. cap and floor
 * (n, or NULL) belong to logistic growth, which needs cap > floor. Parts of order SEASONAL_AUTO
 * stay where there is enough history: yearly from 730 days, weekly from 14 days and gaps below 7,
 * daily from 2 days and gaps below 1, by their period. Regressors are standardised unless binary. 0
 * with *out the caller's; -EINVAL with e: fewer than two rows or times, values that are not finite,
 * more columns than SEASONAL_COLUMNS, names that are there twice; -ENOMEM with e. O(n log n), O(n)
 * when in order. */
int seasonal_series_new(struct seasonal_series **out, const struct seasonal_spec *spec,
                        const double *ds, const double *y, const double *cap, const double *floor,
                        size_t n, struct err *e);
/* The same of *ds and *y from malloc(): where they are in order and nothing is missing they become
 * the series' own, and NULL, which saves copying them. */
int seasonal_series_adopt(struct seasonal_series **out, const struct seasonal_spec *spec,
                          double **ds, double **y, const double *cap, const double *floor, size_t n,
                          struct err *e);
void seasonal_series_free(struct seasonal_series *s); /* its owners' last; NULL is fine */
size_t seasonal_series_rows(const struct seasonal_series *s);
const double *seasonal_series_ds(const struct seasonal_series *s); /* (rows) */
const double *seasonal_series_y(const struct seasonal_series *s);  /* (rows) */

/* -- the fit -- */

struct seasonal;

/* Which part of a series to fit to: the first rows, perhaps with other values. */
struct seasonal_cut {
    size_t rows;     /* 0: all */
    const double *y; /* (rows) instead of the series' own, finite; or NULL */
};

/* The mode of the posterior given the first rows of a series: the same bytes each time. cut NULL is
 * all of it. For linear growth with additive parts one pass over the rows, some 3 to 60 ns each,
 * and some 0.1 ms; else a pass for each step of Newton's method, 10 to 20. A new owner of the
 * series. 0 with *out the caller's, -EINVAL with e, -ENOMEM with e, -ECANCELED soon after *cancel
 * (NULL: never) has become true. */
int seasonal_fit(struct seasonal **out, struct seasonal_series *s, const struct seasonal_cut *cut,
                 const atomic_bool *cancel, struct err *e);
void seasonal_free(struct seasonal *m); /* NULL is fine */

/* One owner more, who calls seasonal_free() too. All owners are on one thread; what only reads a
 * model may be on others. */
struct seasonal *seasonal_share(struct seasonal *m);

/* The usual gap between rows, in seconds. */
double seasonal_step(const struct seasonal *m);

/* Fits again with more rows. What comes out is what a fit to all of them gives; parts and the
 * orders of seasons stay as they were.
 *
 * Where seasonal_is_warm() says so (rows behind the last one, few beside the history; linear
 * growth, additive parts without regressors; nobody shares the model) seasonal_update() changes the
 * model in place, in some 0.1 ms however long the history. On failure it is as it was.
 * seasonal_refit() makes a new one in any case; x holds the regressors' values, an array of n after
 * the other, cap and floor belong to logistic growth (NULL: the last ones go on). As
 * seasonal_fit(). */
bool seasonal_is_warm(const struct seasonal *m, const double *ds, size_t n);
int seasonal_update(struct seasonal *m, const double *ds, const double *y, size_t n, struct err *e);
int seasonal_refit(struct seasonal **out, const struct seasonal *m, const double *ds,
                   const double *y, const double *x, const double *cap, const double *floor,
                   size_t n, const atomic_bool *cancel, struct err *e);

/* What a fit has found. Parameters are those of scaled data, as Prophet's: t = (ds - start) /
 * t_scale, y / y_scale. All of it is the model's. */
struct seasonal_view {
    enum seasonal_growth growth;
    size_t rows, n_changepoints, n_columns, n_parts;
    double start, t_scale, y_scale;
    double k, m, sigma_obs;
    const double *changepoints; /* (n_changepoints) Unix seconds */
    const double *delta;        /* (n_changepoints) */
    const double *beta;         /* (n_columns) */
    const struct seasonal_series *series;
    double log_posterior; /* up to the constants that Stan drops */
    double interval_width;
    int samples;
    const char *timezone;
};
struct seasonal_view seasonal_view(const struct seasonal *m);

/* Part number i < n_parts: what it is (values NULL) and where its columns begin. */
struct seasonal_part seasonal_part_at(const struct seasonal *m, size_t i, size_t *first, size_t *n);

/* Replaces the parameters by others, of the same numbers: to forecast from what another program has
 * found. log_posterior becomes theirs. 0 or -ENOMEM, and then nothing is changed. O(rows). */
int seasonal_set_parameters(struct seasonal *m, double k, double offset, const double *delta,
                            const double *beta, double sigma_obs);

/* -- the forecast -- */

struct seasonal_future {
    const double *ds; /* (n) finite, any order */
    size_t n;
    const double *cap, *floor; /* (n) for logistic growth, or NULL: the last ones of the history */
    const double *x; /* (n_regressors, n): an array a regressor in their order, NULL without any */
};

/* Where results go: (n) each, or NULL for what is not wanted. Additive terms are in units of y,
 * multiplicative ones are factors. */
struct seasonal_forecast {
    double *yhat, *trend;
    double *yhat_lower, *yhat_upper, *trend_lower, *trend_upper;
    double *additive, *multiplicative;
    double **parts; /* (n_parts) arrays of (n), each may be NULL; or NULL */
};

/* Bounds are the exact quantiles of Prophet's predictive distribution for linear and flat growth;
 * for logistic growth those of simulated paths, seeded. Without bounds about 0.3 us a time. As
 * seasonal_fit(). */
int seasonal_predict(const struct seasonal *m, const struct seasonal_future *f,
                     const struct seasonal_forecast *out, const atomic_bool *cancel, struct err *e);

struct seasonal_reach {
    double first; /* seconds from the last row until yhat reaches the threshold, or INFINITY */
    double probability; /* the share of paths that reach it */
    double
        quantile[3]; /* seconds until 10, 50 and 90 % of all paths have; INFINITY where fewer do */
};

/* When values first reach a threshold: from below, or from above where `falling`. Paths are drawn
 * from the model's own predictive distribution at each time of f, which ascends and lies behind the
 * last row; noise says whether they carry the noise of a sample. As seasonal_fit(). */
int seasonal_time_to(const struct seasonal *m, const struct seasonal_future *f, double threshold,
                     bool falling, bool noise, struct seasonal_reach *out,
                     const atomic_bool *cancel, struct err *e);

/* -- to bytes and back -- */

void seasonal_pack(const struct seasonal *m, struct text *out); /* with its history; base/pack.h */
/* 0, -EINVAL with e for what is no such model or contradicts itself, -ENOMEM with e. */
int seasonal_unpack(struct seasonal **out, const void *data, size_t len, struct err *e);

#endif
