/* seasonal_auto.h - a forecast that corrects Prophet's model (kernels/seasonal.h) by what the
 * series itself says: several forecasters, each judged by how it would have done on the series' own
 * last weeks, and bounds as wide as the errors that were made there.
 *
 * The forecasters work on hourly means from which the effects of holidays and regressors are taken:
 * the model fitted again without outliers, with its slope kept, damped or dropped, plus a shrunken
 * profile of the hours of the week and the present level of what remains; the same of logarithms
 * where all values are positive; profiles of the hours of the week at the present level. */
#ifndef KERNELS_SEASONAL_AUTO_H
#define KERNELS_SEASONAL_AUTO_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/err.h"
#include "kernels/seasonal.h"

enum { SEASONAL_EXPERTS = 12, SEASONAL_BUCKETS = 7, SEASONAL_LEVELS = 101 };

struct seasonal_auto;

/* What base was fitted to is forecast; base itself is only read, and not kept. The same base gives
 * the same bytes. Some 3 ms for 720 rows. 0 with *out the caller's, -EINVAL or -ENOMEM with e,
 * -ECANCELED soon after *cancel. */
int seasonal_auto_fit(struct seasonal_auto **out, const struct seasonal *base,
                      const atomic_bool *cancel, struct err *e);
void seasonal_auto_free(struct seasonal_auto *a); /* its owners' last; NULL is fine */
/* One owner more. All owners are on one thread; what only reads may be on others. */
struct seasonal_auto *seasonal_auto_share(struct seasonal_auto *a);

/* effect: (n) what holidays and regressors add at ds, or NULL for nothing; cap and floor (n) or
 * NULL as for seasonal_predict(). Each of yhat, lower, upper, trend is (n) or NULL. width: of the
 * interval, in (0, 1). Before the end of the history it is the fit. 0, -EINVAL or -ENOMEM with e.
 */
struct seasonal_auto_forecast {
    double *yhat, *lower, *upper, *trend;
};
int seasonal_auto_predict(const struct seasonal_auto *a, const struct seasonal_future *f,
                          const double *effect, double width,
                          const struct seasonal_auto_forecast *out, struct err *e);

/* As seasonal_time_to(), exactly instead of by simulated paths: an error of the level that lasts,
 * as large as in the backtest, and independent noise where `noise`. */
int seasonal_auto_time_to(const struct seasonal_auto *a, const struct seasonal_future *f,
                          const double *effect, double threshold, bool falling, bool noise,
                          struct seasonal_reach *out, struct err *e);

/* What drives the forecast. */
struct seasonal_drivers {
    double trend;         /* change a day at the end, as forecast */
    double daily, weekly; /* peak to peak */
    double step_ds, step; /* the last lasting change of level, and when; step 0: none */
    int folds;            /* backtests that were made */
    double weight[SEASONAL_EXPERTS];
    double error; /* mean absolute error of the backtest, NaN without one */
};
struct seasonal_drivers seasonal_auto_drivers(const struct seasonal_auto *a);
const char *seasonal_expert_name(int i);

#endif
