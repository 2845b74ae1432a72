#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DAY = 86400;
static const double SHORTEST = 1e-5, SMALL = 1e-9; /* a period in days; of prior scales */

struct seasonal_spec seasonal_defaults(void)
{
    return (struct seasonal_spec){.n_changepoints = 25,
                                  .changepoint_range = 0.8,
                                  .changepoint_prior_scale = 0.05,
                                  .interval_width = 0.8,
                                  .samples = 1000};
}

/* -- rows -- */

/* Row `from` of what was given becomes row `to`; they may be the same arrays. */
struct rows {
    const double *ds, *y, *cap, *low;
    const struct seasonal_spec *spec;
    double **own_ds, **own_y; /* NULL, or where ds and y may be taken from */
};

static int check_rows(const struct rows *r, size_t n, size_t *kept, struct err *e)
{
    *kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(r->ds[i]) <= (double)CALENDAR_LIMIT))
            return err_set(e, -EINVAL, "ds[%zu] is no time in Unix seconds: %g", i + 1, r->ds[i]);
        if (isinf(r->y[i])) return err_set(e, -EINVAL, "y[%zu] is infinite", i + 1);
        if (fabs(r->y[i]) > SEASONAL_LARGEST)
            return err_set(e, -EINVAL, "y[%zu] is beyond %g: %g", i + 1, SEASONAL_LARGEST, r->y[i]);
        if (isnan(r->y[i])) continue;
        if (r->cap != NULL) {
            double low = r->low == NULL ? 0 : r->low[i];
            if (!(fabs(r->cap[i]) <= SEASONAL_LARGEST && fabs(low) <= SEASONAL_LARGEST &&
                  r->cap[i] > low))
                return err_set(e, -EINVAL, "cap %g of row %zu is not above its floor %g", r->cap[i],
                               i + 1, low);
        }
        ++*kept;
    }
    if (*kept < 2)
        return err_set(e, -EINVAL, "%zu of %zu values are not missing; a fit takes 2", *kept, n);
    return 0;
}

struct key {
    double ds;
    size_t i;
};

static int by_time(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->ds != y->ds) return x->ds < y->ds ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

/* Which rows there are, in order; NULL where that is all of them as they are. */
static int order_rows(struct key **out, const double *ds, const double *y, size_t n, size_t kept)
{
    *out = NULL;
    bool sorted = kept == n;
    for (size_t i = 1; i < n && sorted; i++) sorted = ds[i] >= ds[i - 1];
    if (sorted) return 0;
    struct key *keys = malloc(kept * sizeof *keys);
    if (keys == NULL) return -ENOMEM;
    sorted = true;
    for (size_t i = 0, k = 0; i < n; i++) {
        if (isnan(y[i])) continue;
        if (k > 0 && ds[i] < keys[k - 1].ds) sorted = false;
        keys[k++] = (struct key){ds[i], i};
    }
    if (!sorted) qsort(keys, kept, sizeof *keys, by_time);
    *out = keys;
    return 0;
}

static double *gather(const double *x, const struct key *keys, size_t n)
{
    double *out = malloc((n == 0 ? 1 : n) * sizeof *out);
    if (out != NULL && keys == NULL) memcpy(out, x, n * sizeof *out);
    for (size_t k = 0; out != NULL && keys != NULL && k < n; k++) out[k] = x[keys[k].i];
    return out;
}

/* x itself where it is in order and may be had, else a copy. */
static double *adopt(double **own, const double *x, const struct key *keys, size_t n)
{
    if (own == NULL || keys != NULL) return gather(x, keys, n);
    double *out = *own;
    *own = NULL;
    return out;
}

/* x (n, n_regressors) out of the parts' arrays. */
static int gather_regressors(struct seasonal_series *s, const struct seasonal_spec *spec,
                             const struct key *keys, struct err *e)
{
    s->x = malloc(s->n * s->n_regressors * sizeof *s->x);
    if (s->x == NULL) return err_set(e, -ENOMEM, "not enough memory");
    for (size_t p = 0; p < s->n_parts; p++) {
        if (s->parts[p].kind != SEASONAL_REGRESSOR) continue;
        for (size_t k = 0; k < s->n; k++) {
            size_t from = keys == NULL ? k : keys[k].i;
            double v = spec->parts[p].values[from];
            if (!(fabs(v) <= SEASONAL_LARGEST))
                return err_set(e, -EINVAL, "regressor \"%s\": value %zu is not finite",
                               s->parts[p].name, from + 1);
            s->x[k * s->n_regressors + s->parts[p].regressor] = v;
        }
    }
    return 0;
}

static int take_rows(struct seasonal_series *s, const struct rows *r, size_t n, struct err *e)
{
    size_t kept;
    if (n > SEASONAL_ROWS) return err_set(e, -EINVAL, "%zu rows; at most %d", n, SEASONAL_ROWS);
    int rc = check_rows(r, n, &kept, e);
    if (rc < 0) return rc;
    struct key *keys = NULL;
    if (order_rows(&keys, r->ds, r->y, n, kept) < 0)
        return err_set(e, -ENOMEM, "not enough memory");
    s->n = s->capacity = kept;
    s->ds = adopt(r->own_ds, r->ds, keys, kept);
    s->y = adopt(r->own_y, r->y, keys, kept);
    bool failed = s->ds == NULL || s->y == NULL;
    if (r->cap != NULL) {
        s->cap = gather(r->cap, keys, kept);
        s->low = r->low == NULL ? calloc(kept, sizeof *s->low) : gather(r->low, keys, kept);
        failed = failed || s->cap == NULL || s->low == NULL;
    }
    if (failed)
        rc = err_set(e, -ENOMEM, "not enough memory");
    else if (s->ds[kept - 1] <= s->ds[0])
        rc = err_set(e, -EINVAL, "all rows have the same time; a fit takes two times");
    else if (s->n_regressors > 0)
        rc = gather_regressors(s, r->spec, keys, e);
    free(keys);
    return rc;
}

/* -- parts -- */

static int by_day(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int copy_part(struct seasonal_column_set *to, const struct seasonal_part *from,
                     struct err *e)
{
    *to = (struct seasonal_column_set){.kind = from->kind,
                                       .multiplicative = from->multiplicative,
                                       .prior_scale = from->prior_scale,
                                       .period = from->period * DAY,
                                       .lower = from->lower,
                                       .upper = from->upper,
                                       .sd = 1};
    to->name = strdup(from->name);
    if (to->name == NULL) return err_set(e, -ENOMEM, "not enough memory");
    if (!(from->prior_scale >= SMALL && from->prior_scale <= 1 / SMALL))
        return err_set(e, -EINVAL, "%s: a prior scale lies between %g and %g", to->name, SMALL,
                       1 / SMALL);
    if (from->kind == SEASONAL_SEASON && !(from->period >= SHORTEST && from->period <= 1e6))
        return err_set(e, -EINVAL, "%s: a period lies between %g and 1e6 days", to->name, SHORTEST);
    if (from->kind == SEASONAL_SEASON && from->order > SEASONAL_COLUMNS / 2)
        return err_set(e, -EINVAL, "%s: an order of %d; at most %d", to->name, from->order,
                       SEASONAL_COLUMNS / 2);
    if (from->kind == SEASONAL_REGRESSOR && from->values == NULL)
        return err_set(e, -EINVAL, "regressor \"%s\" has no values", to->name);
    if (from->kind != SEASONAL_HOLIDAY) return 0;
    if (from->lower > 0 || from->upper < 0 || from->lower < -SEASONAL_COLUMNS ||
        from->upper > SEASONAL_COLUMNS)
        return err_set(e, -EINVAL, "holiday \"%s\": a window is from 0 or below to 0 or above",
                       to->name);
    to->days = malloc((from->n_days == 0 ? 1 : from->n_days) * sizeof *to->days);
    if (to->days == NULL) return err_set(e, -ENOMEM, "not enough memory");
    if (from->n_days > 0) memcpy(to->days, from->days, from->n_days * sizeof *to->days);
    to->n_days = from->n_days;
    qsort(to->days, to->n_days, sizeof *to->days, by_day);
    return 0;
}

static int copy_parts(struct seasonal_series *s, const struct seasonal_spec *spec, struct err *e)
{
    s->parts = calloc(spec->n_parts + 1, sizeof *s->parts);
    if (s->parts == NULL) return err_set(e, -ENOMEM, "not enough memory");
    for (size_t p = 0; p < spec->n_parts; p++) {
        int rc = copy_part(&s->parts[s->n_parts++], &spec->parts[p], e);
        if (rc < 0) return rc;
        for (size_t q = 0; q < p; q++)
            if (strcmp(s->parts[q].name, s->parts[p].name) == 0)
                return err_set(e, -EINVAL, "two parts are named \"%s\"", s->parts[p].name);
        if (s->parts[p].kind == SEASONAL_REGRESSOR) s->parts[p].regressor = s->n_regressors++;
    }
    return 0;
}

static double shortest_gap(const struct seasonal_series *s)
{
    double least = INFINITY;
    for (size_t i = 1; i < s->n; i++) {
        double gap = s->ds[i] - s->ds[i - 1];
        if (gap > 0 && gap < least) least = gap;
    }
    return least;
}

/* An order for a season whose history is long and dense enough: Prophet's rules. */
static int automatic_order(const struct seasonal_series *s, double period)
{
    double span = s->ds[s->n - 1] - s->ds[0];
    if (period > 300 * DAY) return span >= 730 * DAY ? 10 : 0;
    if (span < 2 * period || shortest_gap(s) >= period) return 0;
    return period >= 7 * DAY ? 3 : 4;
}

static void standardise(const struct seasonal_series *s, struct seasonal_column_set *part)
{
    const double *x = s->x + part->regressor;
    double mean = 0, m2 = 0;
    bool binary = true, constant = true;
    for (size_t i = 0; i < s->n; i++) {
        double v = x[i * s->n_regressors], d = v - mean;
        mean += d / (double)(i + 1);
        m2 += d * (v - mean);
        binary = binary && (v == 0 || v == 1);
        constant = constant && v == x[0];
    }
    if (binary || constant || !(m2 > 0)) return;
    part->mean = mean;
    part->sd = sqrt(m2 / (double)(s->n - 1));
}

static int lay_out_columns(struct seasonal_series *s, const struct seasonal_spec *spec,
                           struct err *e)
{
    size_t kept = 0;
    for (size_t p = 0; p < spec->n_parts; p++) {
        struct seasonal_column_set part = s->parts[p];
        part.n = 1;
        if (part.kind == SEASONAL_HOLIDAY) part.n = (size_t)(part.upper - part.lower + 1);
        if (part.kind == SEASONAL_REGRESSOR) standardise(s, &part);
        if (part.kind == SEASONAL_SEASON) {
            int order = spec->parts[p].order;
            part.n = 2 * (size_t)(order < 0 ? automatic_order(s, part.period) : order);
        }
        part.first = s->n_columns;
        s->n_columns += part.n;
        if (part.n == 0) {
            free(part.name);
            continue;
        }
        s->has_multiplicative = s->has_multiplicative || part.multiplicative;
        s->parts[kept++] = part;
    }
    s->n_parts = kept;
    s->stride = (s->n_columns + 3) / 4 * 4;
    if (s->n_columns > SEASONAL_COLUMNS)
        return err_set(e, -EINVAL, "seasons, holidays and regressors have %zu columns; at most %d",
                       s->n_columns, SEASONAL_COLUMNS);
    return 0;
}

/* -- the rest of a specification -- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int copy_changepoints(struct seasonal_series *s, const struct seasonal_spec *spec,
                             struct err *e)
{
    s->n_changepoints = spec->n_changepoints;
    if (spec->n_changepoints < 0 || spec->n_changepoints > SEASONAL_CHANGES)
        return err_set(e, -EINVAL, "%d changepoints; at most %d", spec->n_changepoints,
                       SEASONAL_CHANGES);
    if (spec->changepoints == NULL) return 0;
    size_t n = (size_t)spec->n_changepoints;
    s->changepoints = malloc((n + 1) * sizeof *s->changepoints);
    if (s->changepoints == NULL) return err_set(e, -ENOMEM, "not enough memory");
    if (n > 0) memcpy(s->changepoints, spec->changepoints, n * sizeof *s->changepoints);
    qsort(s->changepoints, n, sizeof *s->changepoints, ascending);
    for (size_t j = 0; j < n; j++)
        if (!(s->changepoints[j] >= s->ds[0] && s->changepoints[j] <= s->ds[s->n - 1]))
            return err_set(e, -EINVAL, "changepoint %.0f lies outside of the history",
                           s->changepoints[j]);
    return 0;
}

static int copy_zone(struct seasonal_series *s, const struct seasonal_spec *spec, struct err *e)
{
    s->timezone = strdup(spec->timezone == NULL ? "UTC" : spec->timezone);
    if (s->timezone == NULL) return err_set(e, -ENOMEM, "not enough memory");
    if (spec->tzif == NULL) return 0;
    s->tzif = malloc(spec->tzif_len + 1);
    if (s->tzif == NULL) return err_set(e, -ENOMEM, "not enough memory");
    memcpy(s->tzif, spec->tzif, spec->tzif_len);
    s->tzif_len = spec->tzif_len;
    return zone_parse(&s->zone, s->tzif, s->tzif_len, e);
}

static int check_spec(const struct seasonal_spec *spec, struct err *e)
{
    if (!(spec->changepoint_range > 0 && spec->changepoint_range <= 1))
        return err_set(e, -EINVAL, "changepoint_range lies above 0 and is at most 1");
    if (!(spec->changepoint_prior_scale >= SMALL && spec->changepoint_prior_scale <= 1 / SMALL))
        return err_set(e, -EINVAL, "changepoint_prior_scale lies between %g and %g", SMALL,
                       1 / SMALL);
    if (!(spec->interval_width > 0 && spec->interval_width < 1))
        return err_set(e, -EINVAL, "interval_width lies between 0 and 1");
    if (spec->samples < 0 || spec->samples > SEASONAL_SAMPLES)
        return err_set(e, -EINVAL, "uncertainty_samples lies between 0 and %d", SEASONAL_SAMPLES);
    return 0;
}

static int new_series(struct seasonal_series **out, struct rows *rows, size_t n, struct err *e)
{
    const struct seasonal_spec *spec = rows->spec;
    int rc = check_spec(spec, e);
    if (rc < 0) return rc;
    if (spec->growth == SEASONAL_LOGISTIC && rows->cap == NULL)
        return err_set(e, -EINVAL, "logistic growth needs a cap");
    struct seasonal_series *s = calloc(1, sizeof *s);
    if (s == NULL) return err_set(e, -ENOMEM, "not enough memory");
    s->owners = 1;
    s->growth = spec->growth;
    s->changepoint_range = spec->changepoint_range;
    s->tau = spec->changepoint_prior_scale;
    s->interval_width = spec->interval_width;
    s->samples = spec->samples;
    s->seed = spec->seed;
    if (spec->growth != SEASONAL_LOGISTIC) rows->cap = rows->low = NULL;
    rc = copy_parts(s, spec, e);
    if (rc == 0) rc = take_rows(s, rows, n, e);
    if (rc == 0) rc = lay_out_columns(s, spec, e);
    if (rc == 0) rc = copy_changepoints(s, spec, e);
    if (rc == 0) rc = copy_zone(s, spec, e);
    if (rc < 0) {
        seasonal_series_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int seasonal_series_new(struct seasonal_series **out, const struct seasonal_spec *spec,
                        const double *ds, const double *y, const double *cap, const double *floor,
                        size_t n, struct err *e)
{
    struct rows rows = {ds, y, cap, floor, spec, NULL, NULL};
    return new_series(out, &rows, n, e);
}

int seasonal_series_adopt(struct seasonal_series **out, const struct seasonal_spec *spec,
                          double **ds, double **y, const double *cap, const double *floor, size_t n,
                          struct err *e)
{
    struct rows rows = {*ds, *y, cap, floor, spec, ds, y};
    return new_series(out, &rows, n, e);
}

void seasonal_series_free(struct seasonal_series *s)
{
    if (s == NULL || --s->owners > 0) return;
    for (size_t p = 0; p < s->n_parts; p++) {
        free(s->parts[p].name);
        free(s->parts[p].days);
    }
    free(s->parts);
    free(s->ds);
    free(s->y);
    free(s->cap);
    free(s->low);
    free(s->x);
    free(s->changepoints);
    free(s->timezone);
    free(s->tzif);
    zone_free(s->zone);
    free(s);
}

size_t seasonal_series_rows(const struct seasonal_series *s) { return s->n; }
const double *seasonal_series_ds(const struct seasonal_series *s) { return s->ds; }
const double *seasonal_series_y(const struct seasonal_series *s) { return s->y; }
