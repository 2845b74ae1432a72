/* The seasonal model and its binding, with every allocation failing once: Lua's in turn, and those
 * of the kernel, which is compiled into this test with an allocator that fails when told to. */
#include "tests/c/bindings/sweep.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "runtime/base/text.h"

static char *granted_strndup(const char *s, size_t n) { return strndup(s, n); }
static inline char *sweep_strndup(const char *s, size_t n)
{
    return sweep_fails() ? NULL : granted_strndup(s, n);
}

/* One unit, so what several files call the same gets names of its own. */
#define malloc sweep_malloc
#define calloc sweep_calloc
#define realloc sweep_realloc
#define strdup sweep_strdup
#define strndup sweep_strndup
#define DAY day_of_series
#define key key_of_series
#define by_time by_time_of_series
#define ascending ascending_of_series
#include "runtime/kernels/seasonal_series.c"
#undef DAY
#undef key
#undef by_time
#undef ascending
#define DAY day_of_moments
#include "runtime/kernels/seasonal_moments.c"
#undef DAY
#include "runtime/kernels/seasonal_solve.c"
#define DAY day_of_fit
#include "runtime/kernels/seasonal_fit.c"
#undef DAY
#include "runtime/kernels/seasonal_newton.c"
#include "runtime/kernels/seasonal_predict.c"
#include "runtime/kernels/seasonal_interval.c"
#include "runtime/kernels/seasonal_paths.c"
#define DAY day_of_pack
#include "runtime/kernels/seasonal_pack.c"
#undef malloc
#undef calloc
#undef realloc
#undef strdup
#undef strndup

static const char script[] =
    "local seasonal = require 'perigee.seasonal'\n"
    "local ds, y, x = {}, {}, {}\n"
    "for i = 1, 48 do ds[i] = i * 3600 y[i] = i % 24 + i / 10 x[i] = i % 5 end\n"
    "arm()\n"
    "local m = assert(seasonal.fit(ds, y, {n_changepoints = 3, uncertainty_samples = 10, parts = "
    "{\n"
    "  {kind = 'season', name = 'daily', period = 1, order = 2},\n"
    "  {kind = 'holiday', name = 'h', days = {1}}}}))\n"
    "local f = assert(m:predict({200000}, {trend_bounds = true}))\n"
    "assert(f.yhat[1] and f.daily[1] and m:about().k)\n"
    "assert(assert(m:time_to({200000, 210000}, {}, 1e9)).probability == 0)\n"
    "m = assert(m:update({49 * 3600}, {}, {5}))\n"
    "assert(#assert(seasonal.deserialize(m:serialize())):history() == 49)";

TEST(seasonal_survives_lua_without_memory) { sweep_lua(script, 60); }

/* -- C's -- */

static const int64_t DAYS[1] = {1};
static double ds[60], y[60], x[60], cap[60];

static struct seasonal_spec options_of(enum seasonal_growth growth, struct seasonal_part parts[3])
{
    for (size_t i = 0; i < 60; i++) {
        ds[i] = 3600.0 * (double)(i * 7 % 60);
        x[i] = (double)(i % 13);
        y[i] = x[i] + ds[i] / 9000 + (double)(i * i % 7);
        cap[i] = 100;
    }
    parts[0] = (struct seasonal_part){.name = "daily", .prior_scale = 10, .period = 1, .order = 2};
    parts[1] = (struct seasonal_part){
        .name = "h", .kind = SEASONAL_HOLIDAY, .prior_scale = 10, .days = DAYS, .n_days = 1};
    parts[2] = (struct seasonal_part){
        .name = "x", .kind = SEASONAL_REGRESSOR, .prior_scale = 10, .values = x};
    struct seasonal_spec spec = seasonal_defaults();
    spec.growth = growth;
    spec.parts = parts;
    spec.n_parts = growth == SEASONAL_LOGISTIC ? 3 : 1;
    spec.samples = 20;
    spec.timezone = "UTC";
    return spec;
}

/* Everything once; -ENOMEM wherever it comes. */
static int run_all(const struct seasonal_spec *spec, struct err *e)
{
    struct seasonal_series *s = NULL;
    struct seasonal *m = NULL, *longer = NULL, *back = NULL;
    struct text packed = {0};
    double at[2] = {2.2e5, 2.3e5}, xs[2] = {1, 2}, caps[2] = {100, 100}, out[14];
    struct seasonal_future f = {at, 2, NULL, NULL, xs};
    struct seasonal_forecast want = {out,      out + 2, out + 4, out + 6, out + 8,
                                     out + 10, NULL,    NULL,    NULL};
    struct seasonal_reach reach;
    int rc = seasonal_series_new(&s, spec, ds, y, cap, NULL, 60, e);
    if (rc == 0) rc = seasonal_fit(&m, s, NULL, NULL, e);
    seasonal_series_free(s);
    if (rc == 0) rc = seasonal_predict(m, &f, &want, NULL, e);
    if (rc == 0) rc = seasonal_time_to(m, &f, 1e9, false, true, &reach, NULL, e);
    if (rc == 0 && seasonal_is_warm(m, at, 2)) rc = seasonal_update(m, at, xs, 2, e);
    if (rc == 0) rc = seasonal_refit(&longer, m, at, xs, xs, caps, NULL, 2, NULL, e);
    if (rc == 0) {
        seasonal_pack(longer, &packed);
        rc = packed.failed ? err_set(e, -ENOMEM, "not enough memory")
                           : seasonal_unpack(&back, packed.data, packed.len, e);
    }
    text_free(&packed);
    seasonal_free(back);
    seasonal_free(longer);
    seasonal_free(m);
    return rc;
}

static void sweep_all(enum seasonal_growth growth, long least)
{
    struct seasonal_part parts[3];
    struct seasonal_spec spec = options_of(growth, parts);
    int rc = -ENOMEM;
    for (long k = 0; rc != 0; k++) {
        struct err e = {0};
        sweep_left = k;
        rc = run_all(&spec, &e);
        sweep_left = SWEEP_ALL;
        if (rc != 0 && (rc != -ENOMEM || e.code != rc)) fail_msg("%ld: %d %s", k, rc, e.text);
        assert_true(rc != 0 || k > least);
    }
}
TEST(every_failed_allocation_of_a_linear_model_is_survived) { sweep_all(SEASONAL_LINEAR, 40); }
TEST(every_failed_allocation_of_a_logistic_model_is_survived) { sweep_all(SEASONAL_LOGISTIC, 60); }

TEST(a_state_may_be_closed_while_a_thread_fits)
{
    static const char train[] =
        "local seasonal = require 'perigee.seasonal'\n"
        "local ds, y = {}, {}\n"
        "for i = 1, 20000 do ds[i] = i * 3600.5 y[i] = i % 24 + i % 7 end\n"
        "seasonal.fit(ds, y, {growth = 'logistic', cap = 100, parts = {\n"
        "  {kind = 'season', name = 'daily', period = 1, order = 40, multiplicative = true}}})";
    for (int turns = 0; turns < 3; turns++) {
        struct sweep s = {.heap = {0, SWEEP_ALL}, .c_left = SWEEP_ALL};
        sweep_open(&s, train);
        assert_int_equal(lua_pcall(s.state->L, 2, 0, 0), LUA_OK);
        for (int i = 0; i < turns; i++) uv_run(loop_uv(s.host.loop), UV_RUN_NOWAIT);
        assert_false(s.ended);
        sweep_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(seasonal_survives_lua_without_memory),
        CHECK(every_failed_allocation_of_a_linear_model_is_survived),
        CHECK(every_failed_allocation_of_a_logistic_model_is_survived),
        CHECK(a_state_may_be_closed_while_a_thread_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
