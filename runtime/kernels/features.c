#include "kernels/features.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 86400, HOUR = 3600, SLOT = 300 /* seconds, at least */ };
enum { DAYS = 7 }; /* that what is usual at a time of day is learned from */

static const char *const feature_names[FEATURE_COUNT] = {
    "value",   "hour",  "weekday", "difference", "change",      "mean_1h",
    "mean_6h", "sd_1h", "sd_6h",   "residual",   "residual_1h", "residual_6h"};

const char *feature_name(enum feature f) { return feature_names[f]; }

bool feature_by_name(const char *name, enum feature *f)
{
    for (int i = 0; i < FEATURE_COUNT; i++)
        if (strcmp(name, feature_names[i]) == 0) {
            *f = (enum feature)i;
            return true;
        }
    return false;
}

double features_window(double step, bool is_long)
{
    double window = fmin(fmax(HOUR, 6 * step), 60 * step);
    return is_long ? 6 * window : window;
}

static bool is_seasonal(enum feature f) { return f >= FEATURE_RESIDUAL; }

double features_reach(double step, const enum feature *which, size_t n_which)
{
    double reach = 0;
    for (size_t k = 0; k < n_which; k++) {
        double own = 0;
        switch (which[k]) {
        case FEATURE_VALUE:
        case FEATURE_HOUR:
        case FEATURE_WEEKDAY:
        case FEATURE_COUNT: break;
        case FEATURE_DIFFERENCE:
        case FEATURE_CHANGE:
        case FEATURE_MEAN_1H:
        case FEATURE_SD_1H: own = features_window(step, false); break;
        case FEATURE_MEAN_6H:
        case FEATURE_SD_6H: own = features_window(step, true); break;
        case FEATURE_RESIDUAL:
        case FEATURE_RESIDUAL_1H:
        case FEATURE_RESIDUAL_6H:
            /* The first slot wholly, also where a clock that is set back has moved it. */
            own = features_window(step, true) + DAYS * DAY + fmax(step, SLOT) + HOUR;
            break;
        }
        reach = fmax(reach, own);
    }
    return reach;
}

/* -- what is usual at a time of day -- */

/* The samples of one slot of one day. */
struct cell {
    int64_t key; /* day * slots + slot, in local time */
    double sum;
    size_t count;
};

/* What is computed once for all rows. */
struct season {
    int64_t slots;      /* in a day */
    struct cell *cells; /* (n_cells) ascending by key */
    size_t n_cells;
    double *residuals; /* (n), from `from` on */
    size_t from;
};

static int64_t local_time(const struct features *f, size_t i)
{
    return (int64_t)floor(f->samples[i].ds) + (f->offsets != NULL ? f->offsets[i] : 0);
}

static int64_t whole_days(int64_t t) { return t / DAY - (t % DAY < 0); }

static int64_t key_of(const struct features *f, const struct season *s, size_t i)
{
    int64_t t = local_time(f, i), day = whole_days(t);
    double length = (double)DAY / (double)s->slots;
    int64_t slot = (int64_t)((double)(t - day * DAY) / length);
    return day * s->slots + (slot < s->slots ? slot : s->slots - 1);
}

/* Puts the last cell where it belongs: a clock that is set back meets its slots once more. */
static void settle_last(struct season *s)
{
    struct cell last = s->cells[s->n_cells - 1];
    size_t at = s->n_cells - 1;
    while (at > 0 && s->cells[at - 1].key > last.key) at--;
    if (at == s->n_cells - 1) return;
    if (at > 0 && s->cells[at - 1].key == last.key) {
        s->cells[at - 1].sum += last.sum;
        s->cells[at - 1].count += last.count;
        s->n_cells--;
        return;
    }
    memmove(&s->cells[at + 1], &s->cells[at], (s->n_cells - 1 - at) * sizeof last);
    s->cells[at] = last;
}

static void fill_cells(const struct features *f, struct season *s)
{
    for (size_t i = 0; i < f->n; i++) {
        int64_t key = key_of(f, s, i);
        struct cell *last = s->n_cells > 0 ? &s->cells[s->n_cells - 1] : NULL;
        if (last == NULL || last->key != key) {
            if (last != NULL) settle_last(s);
            s->cells[s->n_cells++] = (struct cell){.key = key};
            last = &s->cells[s->n_cells - 1];
        }
        last->sum += f->samples[i].y;
        last->count++;
    }
    if (s->n_cells > 0) settle_last(s);
}

static const struct cell *find_cell(const struct season *s, int64_t key)
{
    size_t low = 0, high = s->n_cells;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->cells[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n_cells && s->cells[low].key == key ? &s->cells[low] : NULL;
}

static double median(double *x, size_t n)
{
    for (size_t i = 1; i < n; i++) /* of seven at most: by insertion */
        for (size_t k = i; k > 0 && x[k - 1] > x[k]; k--) {
            double y = x[k];
            x[k] = x[k - 1];
            x[k - 1] = y;
        }
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static double residual(const struct features *f, const struct season *s, size_t i)
{
    int64_t key = key_of(f, s, i);
    double means[DAYS];
    size_t n = 0;
    for (int day = 1; day <= DAYS; day++) {
        const struct cell *cell = find_cell(s, key - day * s->slots);
        if (cell != NULL) means[n++] = cell->sum / (double)cell->count;
    }
    return n < 2 ? NAN : f->samples[i].y - median(means, n);
}

static void season_free(struct season *s)
{
    free(s->cells);
    free(s->residuals);
}

static int season_learn(struct season *s, const struct features *f, size_t first,
                        const atomic_bool *cancel)
{
    s->slots = (int64_t)fmax(1, floor(DAY / fmax(f->step, SLOT)));
    s->cells = malloc(f->n * sizeof *s->cells);
    s->residuals = malloc(f->n * sizeof *s->residuals);
    if (s->cells == NULL || s->residuals == NULL) return -ENOMEM;
    fill_cells(f, s);
    double since = f->samples[first].ds - features_window(f->step, true);
    for (s->from = first; s->from > 0 && f->samples[s->from - 1].ds > since; s->from--) continue;
    for (size_t i = s->from; i < f->n; i++) {
        if (i % 4096 == 0 && cancel != NULL && atomic_load(cancel)) return -ECANCELED;
        s->residuals[i] = residual(f, s, i);
    }
    return 0;
}

/* -- rows -- */

/* The first sample of the window that ends with i. */
static size_t window_start(const struct features *f, size_t i, double window)
{
    size_t j = i;
    while (j > 0 && f->samples[j - 1].ds > f->samples[i].ds - window) j--;
    return j;
}

/* From the newest sample back and measured from it, so that it is the same sum whatever came
 * before, and a large offset takes nothing of a small spread. */
static void window_moments(const struct features *f, size_t i, double window, size_t start,
                           double *mean, double *sd)
{
    double origin = f->samples[i].y, sum = 0, squares = 0, n = (double)(i - start + 1);
    *mean = *sd = NAN;
    if (n < 3 || 4 * n < window / f->step) return;
    for (size_t j = i + 1; j > start; j--) sum += f->samples[j - 1].y - origin;
    double centre = sum / n;
    for (size_t j = i + 1; j > start; j--) {
        double d = f->samples[j - 1].y - origin - centre;
        squares += d * d;
    }
    *mean = origin + centre;
    *sd = sqrt(squares / n);
}

static double mean_residual(const struct season *s, size_t i, size_t start)
{
    double sum = 0, n = 0;
    for (size_t j = i + 1; j > start && j > s->from; j--)
        if (!isnan(s->residuals[j - 1])) sum += s->residuals[j - 1], n++;
    return n == 0 ? NAN : sum / n;
}

static void all_of(const struct features *f, const struct season *s, size_t i,
                   double out[FEATURE_COUNT])
{
    int64_t t = local_time(f, i), day = whole_days(t);
    double window = features_window(f->step, false), window_long = features_window(f->step, true);
    size_t start = window_start(f, i, window), start_long = window_start(f, i, window_long);
    out[FEATURE_VALUE] = f->samples[i].y;
    out[FEATURE_HOUR] = (double)((t - day * DAY) / HOUR);
    out[FEATURE_WEEKDAY] = (double)(((day + 3) % 7 + 7) % 7); /* 1970 began on a Thursday */
    out[FEATURE_DIFFERENCE] = i > start ? f->samples[i].y - f->samples[i - 1].y : NAN;
    out[FEATURE_CHANGE] = fabs(out[FEATURE_DIFFERENCE]);
    window_moments(f, i, window, start, &out[FEATURE_MEAN_1H], &out[FEATURE_SD_1H]);
    window_moments(f, i, window_long, start_long, &out[FEATURE_MEAN_6H], &out[FEATURE_SD_6H]);
    if (s->residuals == NULL) return;
    out[FEATURE_RESIDUAL] = s->residuals[i];
    out[FEATURE_RESIDUAL_1H] = mean_residual(s, i, start);
    out[FEATURE_RESIDUAL_6H] = mean_residual(s, i, start_long);
}

static int fill(struct matrix *m, const struct features *f, const struct season *s, size_t first,
                const atomic_bool *cancel)
{
    for (size_t k = 0; k < f->n_which; k++) {
        const char *name = feature_names[f->which[k]];
        if (matrix_set_name(m, k, name, strlen(name)) < 0) return -ENOMEM;
    }
    for (size_t i = first; i < f->n; i++) {
        double all[FEATURE_COUNT] = {0};
        if (i % 1024 == 0 && cancel != NULL && atomic_load(cancel)) return -ECANCELED;
        all_of(f, s, i, all);
        for (size_t k = 0; k < f->n_which; k++)
            m->x[(i - first) * m->columns + k] = all[f->which[k]];
    }
    return 0;
}

int features_compute(struct matrix **out, const struct features *f, size_t first,
                     const atomic_bool *cancel, struct err *e)
{
    assert(first <= f->n && f->n_which > 0 && f->step > 0);
    struct season season = {0};
    struct matrix *m = NULL;
    bool seasonal = false;
    for (size_t k = 0; k < f->n_which; k++) seasonal = seasonal || is_seasonal(f->which[k]);
    int rc = matrix_new(&m, f->n - first, f->n_which);
    if (rc == 0 && seasonal && first < f->n) rc = season_learn(&season, f, first, cancel);
    if (rc == 0) rc = fill(m, f, &season, first, cancel);
    season_free(&season);
    if (rc == 0) {
        *out = m;
        return 0;
    }
    matrix_free(m);
    return err_set(e, rc, rc == -ECANCELED ? "cancelled" : "not enough memory");
}
