/* seasonal_inner.h - what the files of kernels/seasonal_ share; nobody else's business. */
#ifndef KERNELS_SEASONAL_INNER_H
#define KERNELS_SEASONAL_INNER_H

#include "kernels/calendar.h"
#include "kernels/seasonal.h"

enum { SEASONAL_BLOCK = 64 };  /* rows whose features are made at once */
#define SEASONAL_LARGEST 1e100 /* of values, whose squares, summed up, are finite */

struct seasonal_column_set { /* a part and its columns [first, first + n) */
    char *name;
    enum seasonal_kind kind;
    bool multiplicative;
    double prior_scale;
    size_t first, n;
    double period; /* season: seconds */
    int64_t *days; /* holiday: (n_days), ascending */
    size_t n_days;
    int lower, upper;
    double mean, sd;  /* regressor: (x - mean) / sd */
    size_t regressor; /* regressor: which */
};

struct seasonal_series {
    size_t owners;
    size_t n, capacity;
    double *ds, *y;    /* (n) ascending ds, finite y */
    double *cap, *low; /* (n) for logistic growth, else NULL; cap > low */
    double *x;         /* (n, n_regressors) as given, or NULL */
    enum seasonal_growth growth;
    int n_changepoints;
    double changepoint_range, tau;
    double *changepoints; /* (n_changepoints) explicit ones, ascending; NULL: by row */
    struct seasonal_column_set *parts;
    size_t n_parts, n_columns, n_regressors;
    size_t stride; /* n_columns rounded up to 4 doubles */
    bool has_multiplicative;
    double interval_width;
    int samples;
    uint64_t seed;
    char *timezone;
    void *tzif;
    size_t tzif_len;
    struct zone *zone; /* NULL for UTC */
};

/* Sums over rows of what the normal equations are made of, by the segments between changepoints.
 * u is the time, d and w weights, F the features:                                              */
struct seasonal_sums {
    size_t n_segments, stride, n_columns;
    double *seg; /* (n_segments, SUM_COUNT) */
    double *f;   /* (n_segments, stride) sum of w F */
    double *uf;  /* (n_segments, stride) sum of u w F */
    double *ff;  /* (stride, stride) sum of F F', its lower triangle */
    double *fr;  /* (stride) sum of F r */
    double rr;   /* sum of r r */
    double block[];
};
enum { SUM_W, SUM_WU, SUM_WUU, SUM_R, SUM_RU, SUM_COUNT };

/* min over theta, v of n/2 ln v + RSS/2v + 2v + priors, where RSS = rr - 2 g'd + d'Gd with d =
 * theta
 * - theta0. Order of theta: k, m, beta, delta. */
struct seasonal_problem {
    size_t n_rows;
    size_t n_plain, n_delta, n; /* n = n_plain + n_delta */
    bool flat;                  /* k is held at 0 */
    double *G;                  /* (n, n) symmetric */
    double *g, *theta0;         /* (n) */
    double *precision, *centre; /* (n_plain) of the normal priors */
    double rr, tau;
    double *scratch; /* what the solver needs */
};

/* The parameters, on scaled data. */
struct seasonal {
    size_t owners;
    struct seasonal_series *series;
    size_t rows; /* of the series, that it is fitted to */
    double start, t_scale, y_scale;
    size_t n_changes;     /* those of the solver: at least the dummy */
    bool dummy;           /* the one change is the dummy at the start */
    double *changepoints; /* (n_changes) Unix seconds */
    size_t *boundary;     /* (n_changes) rows before each */
    double k, m, sigma;
    double *delta; /* (n_changes) */
    double *beta;  /* (n_columns) */
    double log_posterior;
    struct seasonal_sums *sums; /* raw, for updates; NULL unless linear, additive, all rows */
    double centre;              /* of y in sums */
};

/* seasonal_features.c: features of rows, (count, stride) row-major, padding 0. x is (count,
 * n_regressors) with a stride of its own; may be NULL without regressors. */
void seasonal_features(const struct seasonal_series *s, const double *ds, const double *x,
                       size_t count, double *out);
void seasonal_season(double local, double period, size_t order, double *out); /* (2 * order) */
double seasonal_local(const struct seasonal_series *s, double ds); /* seconds on the wall */

/* seasonal_moments.c */
int seasonal_sums_new(struct seasonal_sums **out, size_t n_segments, size_t n_columns,
                      size_t stride);
void seasonal_sums_clear(struct seasonal_sums *sums);
/* All rows of the model with u in days since start, r = y - centre and weights of 1. */
int seasonal_sums_fill(struct seasonal_sums *sums, const struct seasonal *m, const double *y,
                       const atomic_bool *cancel);
/* Rows [first, last) to (sign 1) or from (-1) one segment; whole: also the sums over all. rows:
 * (SEASONAL_BLOCK, stride) scratch. */
void seasonal_sums_move(struct seasonal_sums *sums, const struct seasonal *m, size_t first,
                        size_t last, size_t segment, double sign, bool whole, double *rows);
/* The lower triangle of ff, (stride, stride), and the rest of its diagonal blocks: + rows' rows. */
void seasonal_sums_gram(double *ff, size_t stride, const double *rows, size_t count);

/* seasonal_solve.c */
int seasonal_problem_new(struct seasonal_problem **out, const struct seasonal *m);
void seasonal_problem_free(struct seasonal_problem *p);
/* G, g and rr out of sums, whose u is t * unit and whose r is scaled by y_unit. */
void seasonal_problem_fill(struct seasonal_problem *p, const struct seasonal_sums *sums,
                           const struct seasonal *m, double unit, double y_unit);
/* theta (n) is where it begins and ends; *v too. */
void seasonal_solve(struct seasonal_problem *p, double *theta, double *v, double *rss);
double seasonal_solve_at(struct seasonal_problem *p, double v, double *theta); /* v held; rss */
double seasonal_profile_v(double rss, size_t n);

/* seasonal_newton.c: logistic growth and multiplicative parts. */
int seasonal_newton(struct seasonal *m, const double *y, bool warm, const atomic_bool *cancel);

/* seasonal_fit.c */
/* A model of all rows without parameters; as seasonal_fit(). */
int seasonal_empty(struct seasonal **out, struct seasonal_series *s, struct err *e);
double seasonal_log_posterior(const struct seasonal *m, double rss);
/* The linear predictor of the trend as slope and offset in each segment: (n_changes + 1) each. */
void seasonal_lines(const struct seasonal *m, double *slope, double *offset);

/* seasonal_predict.c: y's trend where its line is at `line`; cap and low for logistic growth. */
double seasonal_trend_at(const struct seasonal *m, double line, double cap, double low);

/* seasonal_interval.c: the bounds around a forecast whose trend, multiplicative and yhat are
 * there. */
int seasonal_bounds(const struct seasonal *m, const struct seasonal_future *f,
                    const struct seasonal_forecast *out, const atomic_bool *cancel, struct err *e);
double seasonal_rate(const struct seasonal *m);        /* changes per unit of scaled time */
double seasonal_change_size(const struct seasonal *m); /* their mean size */

/* seasonal_paths.c: the same bounds, from simulated paths. */
int seasonal_sampled_bounds(const struct seasonal *m, const struct seasonal_future *f,
                            const struct seasonal_forecast *out, const atomic_bool *cancel,
                            struct err *e);

#endif
