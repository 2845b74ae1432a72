/* Training and its binding, with every allocation failing once: Lua's in turn, and those of the
 * training, which is compiled into this test with an allocator that fails when told to. */
#include "tests/c/bindings/sweep.h"

#include <errno.h>

#define malloc sweep_malloc
#define calloc sweep_calloc
#define realloc sweep_realloc
#include "runtime/kernels/boost_bins.c"
#include "runtime/kernels/boost_grow.c"
#include "runtime/kernels/boost_exact.c"
#include "runtime/kernels/boost_train.c"
#undef malloc
#undef calloc
#undef realloc

static const char script[] =
    "local boost, matrix = require 'perigee.boost', require 'perigee.matrix'\n"
    "local rows, y = {}, {}\n"
    "for i = 1, 60 do rows[i] = {i % 7, i % 5} y[i] = i % 7 > 3 and 1 or 0 end\n"
    "local X = matrix.from_rows(rows, {'a', 'b'})\n"
    "arm()\n"
    "local p = boost.progress()\n"
    "local o = {n_estimators = 2, min_samples_leaf = 5, min_child_weight = 0}\n"
    "local m = assert(boost.fit(X, y, o, p))\n"
    "assert(p:done() == 2 and #m:names() == 2 and #m:importances() == 2)\n"
    "m:set_note 'x'\n"
    "local n = assert(boost.unpack(m:pack()))\n"
    "assert(n:note() == 'x' and n:predict(X, true, 1)[1] == m:predict(X, true, 1)[1])\n"
    "assert(#m:explain(X)[1][1] == 3 and n:size() == 2)";

TEST(boost_survives_lua_without_memory) { sweep_lua(script, 20); }

static void sweep_fit(enum boost_split split)
{
    struct matrix *X;
    double y[200];
    bool categorical[9] = {false, true};
    struct boost_options o = {.split = split,
                              .n_estimators = 3,
                              .max_depth = 4,
                              .learning_rate = 0.1,
                              .min_samples_leaf = 3,
                              .subsample = 1,
                              .colsample = 1,
                              .max_bins = 20,
                              .weight = {1, 1},
                              .validation_fraction = 0.2,
                              .categorical = split == BOOST_EXACT ? NULL : categorical,
                              .threads = 1};
    assert_int_equal(matrix_new(&X, 200, 9), 0);
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < 9; j++) X->x[9 * i + j] = (double)((i * (j + 3)) % 31);
        y[i] = i % 31 > 15;
    }
    int rc = -ENOMEM;
    for (long k = 0; rc != 0; k++) {
        struct boost_fitted f;
        struct err e = {0};
        sweep_left = k;
        rc = boost_fit(&f, X, y, &o, NULL, NULL, &e);
        bool failed = sweep_left == 0;
        sweep_left = SWEEP_ALL;
        assert_true(rc == 0 || (rc == -ENOMEM && e.code == rc && f.trees == NULL));
        assert_true(rc == 0 ? k > 15 : failed);
        boost_fitted_free(&f);
    }
    matrix_free(X);
}
TEST(every_failed_allocation_of_the_histograms_is_survived) { sweep_fit(BOOST_HISTOGRAM); }
TEST(every_failed_allocation_of_the_exact_search_is_survived) { sweep_fit(BOOST_EXACT); }

TEST(a_state_may_be_closed_while_a_thread_trains)
{
    static const char train[] =
        "local boost, matrix = require 'perigee.boost', require 'perigee.matrix'\n"
        "local rows, y = {}, {}\n"
        "for i = 1, 3000 do rows[i] = {i % 97, i % 89} y[i] = i % 7 > 3 and 1 or 0 end\n"
        "boost.fit(matrix.from_rows(rows), y, {n_estimators = 100000}, boost.progress())";
    for (int turns = 0; turns < 4; turns++) {
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
        CHECK(boost_survives_lua_without_memory),
        CHECK(every_failed_allocation_of_the_histograms_is_survived),
        CHECK(every_failed_allocation_of_the_exact_search_is_survived),
        CHECK(a_state_may_be_closed_while_a_thread_trains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
