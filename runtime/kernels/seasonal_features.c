/* Features of times: sines and cosines of seasons, days of holidays, standardised regressors. */
#include "kernels/seasonal_inner.h"

#include <math.h>
#include <string.h>

static const double TURN = 6.283185307179586476925286766559, DAY = 86400;

double seasonal_local(const struct seasonal_series *s, double ds)
{
    return s->zone == NULL ? ds : ds + zone_offset(s->zone, (int64_t)floor(ds));
}

/* sin, cos of 1, 2, … turns: by the angle's sum from harmonic to harmonic, which loses a few ulps.
 * The time is reduced to its phase first: whole seconds and a period of whole seconds are exact. */
void seasonal_season(double local, double period, size_t order, double *out)
{
    double phase = (local - floor(local / period) * period) / period, s, c;
    sincos(TURN * phase, &s, &c);
    double sn = s, cn = c;
    for (size_t i = 0; i < order; i++) {
        out[2 * i] = sn;
        out[2 * i + 1] = cn;
        double next = sn * c + cn * s;
        cn = cn * c - sn * s;
        sn = next;
    }
}

static bool is_holiday(const struct seasonal_column_set *part, int64_t day)
{
    size_t low = 0, high = part->n_days;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (part->days[mid] < day)
            low = mid + 1;
        else
            high = mid;
    }
    return low < part->n_days && part->days[low] == day;
}

void seasonal_features(const struct seasonal_series *s, const double *ds, const double *x,
                       size_t count, double *out)
{
    for (size_t i = 0; i < count; i++) {
        double local = seasonal_local(s, ds[i]), *row = out + i * s->stride;
        for (size_t p = 0; p < s->n_parts; p++) {
            const struct seasonal_column_set *part = &s->parts[p];
            double *at = row + part->first;
            if (part->kind == SEASONAL_SEASON) {
                seasonal_season(local, part->period, part->n / 2, at);
            } else if (part->kind == SEASONAL_REGRESSOR) {
                *at = (x[i * s->n_regressors + part->regressor] - part->mean) / part->sd;
            } else {
                int64_t day = (int64_t)floor(local / DAY);
                for (size_t c = 0; c < part->n; c++)
                    at[c] = is_holiday(part, day - part->lower - (int64_t)c);
            }
        }
        for (size_t c = s->n_columns; c < s->stride; c++) row[c] = 0;
    }
}
