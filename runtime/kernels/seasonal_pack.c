/* A model to bytes and back, with its history, and what is made anew from the parts of one. */
#include "kernels/seasonal_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"

static const char NAME[PACK_NAME] = {'s', 'e', 'a', 's', 'o', 'n', 'a', 'l'};
static const double DAY = 86400;
enum { VERSION = 1, REGULAR = 1 };

/* -- the specification that a series was made from -- */

/* spec's parts are of malloc, with n_values rows of room for each regressor. */
static int spec_of(struct seasonal_spec *spec, const struct seasonal_series *s, size_t n_values)
{
    struct seasonal_part *parts = calloc(s->n_parts + 1, sizeof *parts);
    *spec = (struct seasonal_spec){.growth = s->growth,
                                   .n_changepoints = s->n_changepoints,
                                   .changepoint_range = s->changepoint_range,
                                   .changepoint_prior_scale = s->tau,
                                   .changepoints = s->changepoints,
                                   .parts = parts,
                                   .n_parts = s->n_parts,
                                   .interval_width = s->interval_width,
                                   .samples = s->samples,
                                   .seed = s->seed,
                                   .timezone = s->timezone,
                                   .tzif = s->tzif,
                                   .tzif_len = s->tzif_len};
    if (parts == NULL) return -ENOMEM;
    for (size_t p = 0; p < s->n_parts; p++) {
        const struct seasonal_column_set *part = &s->parts[p];
        parts[p] = (struct seasonal_part){.name = part->name,
                                          .kind = part->kind,
                                          .multiplicative = part->multiplicative,
                                          .prior_scale = part->prior_scale,
                                          .period = part->period / DAY,
                                          .order = (int)(part->n / 2),
                                          .days = part->days,
                                          .n_days = part->n_days,
                                          .lower = part->lower,
                                          .upper = part->upper};
        if (part->kind != SEASONAL_REGRESSOR) continue;
        double *values = calloc(n_values + 1, sizeof *values);
        if (values == NULL) return -ENOMEM;
        parts[p].values = values;
        for (size_t i = 0; i < s->n && i < n_values; i++)
            values[i] = s->x[i * s->n_regressors + part->regressor];
    }
    return 0;
}

static void spec_free(struct seasonal_spec *spec)
{
    for (size_t p = 0; spec->parts != NULL && p < spec->n_parts; p++)
        free((void *)(uintptr_t)spec->parts[p].values);
    free((void *)(uintptr_t)spec->parts);
}

/* -- all rows of a longer history -- */

static double *joined(const double *a, size_t n, const double *b, size_t more)
{
    double *out = malloc((n + more + 1) * sizeof *out);
    if (out == NULL) return NULL;
    memcpy(out, a, n * sizeof *out);
    for (size_t i = 0; i < more; i++) out[n + i] = b == NULL ? a[n - 1] : b[i];
    return out;
}

static int check_more(const struct seasonal *m, const double *x, size_t n, struct err *e)
{
    if (m->series->n_regressors > 0 && x == NULL)
        return err_set(e, -EINVAL, "an update takes the regressors' values");
    if (n > SEASONAL_ROWS || m->series->n + n > SEASONAL_ROWS)
        return err_set(e, -EINVAL, "more than %d rows", SEASONAL_ROWS);
    return 0;
}

int seasonal_refit(struct seasonal **out, const struct seasonal *m, const double *ds,
                   const double *y, const double *x, const double *cap, const double *floor,
                   size_t n, const atomic_bool *cancel, struct err *e)
{
    const struct seasonal_series *s = m->series;
    int rc = check_more(m, x, n, e);
    if (rc < 0) return rc;
    struct seasonal_spec spec;
    struct seasonal_series *longer = NULL;
    double *all_ds = joined(s->ds, s->n, ds, n), *all_y = joined(s->y, s->n, y, n);
    double *all_cap = s->cap == NULL ? NULL : joined(s->cap, s->n, cap, n);
    double *all_low = s->cap == NULL ? NULL : joined(s->low, s->n, floor, n);
    rc = spec_of(&spec, s, s->n + n);
    if (all_ds == NULL || all_y == NULL) rc = -ENOMEM;
    if (s->cap != NULL && (all_cap == NULL || all_low == NULL)) rc = -ENOMEM;
    for (size_t p = 0, r = 0; rc == 0 && p < s->n_parts; p++) {
        if (s->parts[p].kind != SEASONAL_REGRESSOR) continue;
        double *values = (double *)(uintptr_t)spec.parts[p].values;
        memcpy(values + s->n, x + r++ * n, n * sizeof *values);
    }
    if (rc < 0) err_set(e, rc, "not enough memory");
    if (rc == 0)
        rc = seasonal_series_new(&longer, &spec, all_ds, all_y, all_cap, all_low, s->n + n, e);
    if (rc == 0) rc = seasonal_fit(out, longer, NULL, cancel, e);
    seasonal_series_free(longer);
    spec_free(&spec);
    free(all_ds);
    free(all_y);
    free(all_cap);
    free(all_low);
    return rc;
}

/* -- packing -- */

static void pack_text(struct text *out, const char *s) { pack_bytes(out, s, strlen(s)); }

/* Times: regular ones as their step. */
static void pack_times(struct text *out, const double *ds, size_t n)
{
    double step = ds[1] - ds[0];
    bool regular = true;
    for (size_t i = 2; i < n && regular; i++) regular = ds[i] == ds[0] + (double)i * step;
    pack_u8(out, regular);
    if (regular) {
        pack_f64(out, ds[0]);
        pack_f64(out, step);
    } else {
        pack_f64s(out, ds, n);
    }
}

/* A level that is the same everywhere as one number. */
static void pack_level(struct text *out, const double *x, size_t n)
{
    bool constant = true;
    for (size_t i = 1; i < n && constant; i++) constant = x[i] == x[0];
    pack_u8(out, constant);
    pack_f64s(out, x, constant ? 1 : n);
}

static void pack_part(struct text *out, const struct seasonal_column_set *part)
{
    pack_text(out, part->name);
    pack_u8(out, (uint8_t)part->kind);
    pack_u8(out, part->multiplicative);
    pack_f64(out, part->prior_scale);
    if (part->kind == SEASONAL_SEASON) {
        pack_f64(out, part->period / DAY);
        pack_u32(out, (uint32_t)(part->n / 2));
    } else if (part->kind == SEASONAL_HOLIDAY) {
        pack_u32(out, (uint32_t)-part->lower);
        pack_u32(out, (uint32_t)part->upper);
        pack_u64(out, part->n_days);
        for (size_t i = 0; i < part->n_days; i++) pack_u64(out, (uint64_t)part->days[i]);
    }
}

void seasonal_pack(const struct seasonal *m, struct text *out)
{
    const struct seasonal_series *s = m->series;
    pack_begin(out, NAME, VERSION);
    pack_u8(out, (uint8_t)s->growth);
    pack_u32(out, (uint32_t)s->n_changepoints);
    pack_u8(out, s->changepoints != NULL);
    if (s->changepoints != NULL) pack_f64s(out, s->changepoints, (size_t)s->n_changepoints);
    pack_f64(out, s->changepoint_range);
    pack_f64(out, s->tau);
    pack_f64(out, s->interval_width);
    pack_u32(out, (uint32_t)s->samples);
    pack_u64(out, s->seed);
    pack_text(out, s->timezone);
    pack_bytes(out, s->tzif == NULL ? "" : s->tzif, s->tzif_len);
    pack_u32(out, (uint32_t)s->n_parts);
    for (size_t p = 0; p < s->n_parts; p++) pack_part(out, &s->parts[p]);
    pack_u64(out, m->rows);
    pack_times(out, s->ds, m->rows);
    pack_f64s(out, s->y, m->rows);
    if (s->growth == SEASONAL_LOGISTIC) {
        pack_level(out, s->cap, m->rows);
        pack_level(out, s->low, m->rows);
    }
    pack_f64s(out, s->x, m->rows * s->n_regressors);
    pack_u32(out, (uint32_t)m->n_changes);
    pack_f64(out, m->k);
    pack_f64(out, m->m);
    pack_f64(out, m->sigma);
    pack_f64(out, m->log_posterior);
    pack_f64(out, m->y_scale);
    pack_f64s(out, m->delta, m->n_changes);
    pack_f64s(out, m->beta, s->n_columns);
    pack_end(out);
}

/* -- unpacking: everything goes through seasonal_series_new(), which checks it -- */

struct reading {
    struct unpack u;
    struct seasonal_spec spec;
    struct seasonal_part *parts;
    double *changepoints, *ds, *y, *cap, *low, *x;
    size_t rows, n_regressors;
};

static void reading_free(struct reading *r)
{
    for (size_t p = 0; r->parts != NULL && p < r->spec.n_parts; p++) {
        free((void *)(uintptr_t)r->parts[p].name);
        free((void *)(uintptr_t)r->parts[p].days);
        free((void *)(uintptr_t)r->parts[p].values);
    }
    free(r->parts);
    free((void *)(uintptr_t)r->spec.timezone);
    free(r->changepoints);
    free(r->ds);
    free(r->y);
    free(r->cap);
    free(r->low);
    free(r->x);
}

/* A text without NUL, or NULL: -ENOMEM or damage. */
static char *read_text(struct unpack *u)
{
    size_t len;
    const char *at = unpack_bytes(u, &len);
    if (memchr(at, '\0', len) != NULL) u->failed = true;
    return strndup(at, len);
}

/* n doubles, or NULL where they are not there. */
static double *read_doubles(struct unpack *u, uint64_t n)
{
    if (!unpack_holds(u, n, sizeof(double))) return NULL;
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    if (x != NULL) unpack_f64s(u, x, (size_t)n);
    return x;
}

static double *read_level(struct unpack *u, size_t rows)
{
    if (unpack_u8(u) == 0) return read_doubles(u, rows);
    double one = unpack_f64(u), *x = u->failed ? NULL : malloc((rows + 1) * sizeof *x);
    for (size_t i = 0; x != NULL && i < rows; i++) x[i] = one;
    return x;
}

static double *read_times(struct unpack *u, size_t rows)
{
    if (unpack_u8(u) != REGULAR) return read_doubles(u, rows);
    double first = unpack_f64(u), step = unpack_f64(u);
    double *x = u->failed ? NULL : malloc((rows + 1) * sizeof *x);
    for (size_t i = 0; x != NULL && i < rows; i++) x[i] = first + (double)i * step;
    return x;
}

static int read_part(struct reading *r, struct seasonal_part *part)
{
    struct unpack *u = &r->u;
    part->name = read_text(u);
    if (part->name == NULL) return -ENOMEM;
    uint8_t kind = unpack_u8(u);
    if (kind > SEASONAL_REGRESSOR) u->failed = true;
    part->kind = (enum seasonal_kind)kind;
    part->multiplicative = unpack_u8(u) != 0;
    part->prior_scale = unpack_f64(u);
    if (part->kind == SEASONAL_SEASON) {
        part->period = unpack_f64(u);
        uint32_t order = unpack_u32(u);
        if (order > SEASONAL_COLUMNS) u->failed = true;
        part->order = u->failed ? 0 : (int)order;
    } else if (part->kind == SEASONAL_HOLIDAY) {
        uint32_t lower = unpack_u32(u), upper = unpack_u32(u);
        if (lower > SEASONAL_COLUMNS || upper > SEASONAL_COLUMNS) u->failed = true;
        part->lower = u->failed ? 0 : -(int)lower;
        part->upper = u->failed ? 0 : (int)upper;
        uint64_t n = unpack_u64(u);
        if (!unpack_holds(u, n, sizeof(uint64_t))) return 0;
        int64_t *days = malloc((size_t)(n + 1) * sizeof *days);
        if (days == NULL) return -ENOMEM;
        for (size_t i = 0; i < n; i++) days[i] = (int64_t)unpack_u64(u);
        part->days = days;
        part->n_days = (size_t)n;
    } else {
        r->n_regressors++;
    }
    return 0;
}

static int read_spec(struct reading *r)
{
    struct unpack *u = &r->u;
    struct seasonal_spec *spec = &r->spec;
    uint8_t growth = unpack_u8(u);
    uint32_t changes = unpack_u32(u);
    if (growth > SEASONAL_FLAT || changes > SEASONAL_CHANGES) u->failed = true;
    if (u->failed) return 0;
    spec->growth = (enum seasonal_growth)growth;
    spec->n_changepoints = (int)changes;
    if (unpack_u8(u) != 0) spec->changepoints = r->changepoints = read_doubles(u, changes);
    spec->changepoint_range = unpack_f64(u);
    spec->changepoint_prior_scale = unpack_f64(u);
    spec->interval_width = unpack_f64(u);
    uint32_t samples = unpack_u32(u);
    if (samples > SEASONAL_SAMPLES) u->failed = true;
    spec->samples = u->failed ? 0 : (int)samples;
    spec->seed = unpack_u64(u);
    spec->timezone = read_text(u);
    spec->tzif = unpack_bytes(u, &spec->tzif_len);
    if (spec->tzif_len == 0) spec->tzif = NULL;
    uint32_t n = unpack_u32(u);
    if (n > SEASONAL_COLUMNS || !unpack_holds(u, n, 1)) u->failed = true;
    if (u->failed) return 0;
    r->parts = calloc(n + 1, sizeof *r->parts);
    if (r->parts == NULL || spec->timezone == NULL) return -ENOMEM;
    spec->parts = r->parts;
    int rc = 0;
    for (size_t p = 0; p < n && rc == 0; p++) {
        spec->n_parts = p + 1;
        rc = read_part(r, &r->parts[p]);
    }
    return rc;
}

static int read_rows(struct reading *r)
{
    struct unpack *u = &r->u;
    uint64_t rows = unpack_u64(u);
    if (rows < 2 || rows > SEASONAL_ROWS) u->failed = true;
    if (!unpack_holds(u, rows, sizeof(double))) return 0;
    r->rows = (size_t)rows;
    r->ds = read_times(u, r->rows);
    r->y = read_doubles(u, rows);
    if (r->spec.growth == SEASONAL_LOGISTIC) {
        r->cap = read_level(u, r->rows);
        r->low = read_level(u, r->rows);
    }
    r->x = read_doubles(u, rows * r->n_regressors);
    if (u->failed) return 0;
    if (r->ds == NULL || r->y == NULL || r->x == NULL) return -ENOMEM;
    if (r->spec.growth == SEASONAL_LOGISTIC && (r->cap == NULL || r->low == NULL)) return -ENOMEM;
    size_t k = 0;
    for (size_t p = 0; p < r->spec.n_parts; p++) {
        if (r->parts[p].kind != SEASONAL_REGRESSOR) continue;
        double *values = malloc((r->rows + 1) * sizeof *values);
        if (values == NULL) return -ENOMEM;
        r->parts[p].values = values;
        for (size_t i = 0; i < r->rows; i++) values[i] = r->x[i * r->n_regressors + k];
        k++;
    }
    return 0;
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(x[i]) <= 1e150)) return false;
    return true;
}

/* The parameters into a model whose shape is made from the history. */
static void read_parameters(struct unpack *u, struct seasonal *m)
{
    if (unpack_u32(u) != m->n_changes) u->failed = true;
    if (u->failed) return;
    double scalars[5];
    unpack_f64s(u, scalars, 5);
    unpack_f64s(u, m->delta, m->n_changes);
    unpack_f64s(u, m->beta, m->series->n_columns);
    if (u->failed || !all_finite(scalars, 5) || !(scalars[2] > 0) || !(scalars[4] > 0) ||
        !all_finite(m->delta, m->n_changes) || !all_finite(m->beta, m->series->n_columns)) {
        u->failed = true;
        return;
    }
    m->k = scalars[0];
    m->m = scalars[1];
    m->sigma = scalars[2];
    m->log_posterior = scalars[3];
    m->y_scale = scalars[4];
}

int seasonal_unpack(struct seasonal **out, const void *data, size_t len, struct err *e)
{
    struct reading r = {0};
    struct seasonal_series *s = NULL;
    struct seasonal *m = NULL;
    uint32_t version;
    int rc = unpack_begin(&r.u, data, len, NAME, VERSION, &version, e);
    if (rc < 0) return rc;
    rc = read_spec(&r);
    if (rc == 0 && !r.u.failed) rc = read_rows(&r);
    if (rc < 0) err_set(e, rc, "not enough memory");
    if (rc == 0 && r.u.failed) rc = unpack_end(&r.u, e);
    if (rc == 0) rc = seasonal_series_new(&s, &r.spec, r.ds, r.y, r.cap, r.low, r.rows, e);
    if (rc == 0 && s->n != r.rows) rc = err_set(e, -EINVAL, "a packed model with missing values");
    if (rc == 0) rc = seasonal_empty(&m, s, e);
    if (rc == 0) {
        read_parameters(&r.u, m);
        rc = unpack_end(&r.u, e);
    }
    seasonal_series_free(s);
    reading_free(&r);
    if (rc < 0)
        seasonal_free(m);
    else
        *out = m;
    return rc;
}
