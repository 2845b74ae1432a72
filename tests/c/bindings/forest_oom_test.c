/* perigee.forest with every allocation failing once: Lua's in turn, and those of the kernel, which
 * is compiled into this test with an allocator that fails when told to. */
#include "tests/c/bindings/sweep.h"

#define aligned_alloc(alignment, size) (sweep_fails() ? NULL : aligned_alloc(alignment, size))
#define malloc sweep_malloc
#define calloc sweep_calloc
#define strdup sweep_strdup
#define strndup(s, n) (sweep_fails() ? NULL : strndup(s, n))
#include "runtime/kernels/forest.c"
#include "runtime/kernels/forest_explain.c"
#include "runtime/kernels/forest_pack.c"
#define round_down import_round_down
#define MOST IMPORT_MOST
#define take_tree import_take_tree
#include "runtime/kernels/forest_import.c"
#undef round_down
#define job fit_job
#define check fit_check
#include "runtime/kernels/forest_fit.c"
#undef job
#undef check
#define allocate plan_allocate
#define ascending plan_ascending
#include "runtime/kernels/forest_plan.c"
#undef allocate
#include "runtime/kernels/forest_score.c"
#undef malloc
#undef calloc
#undef strdup
#undef strndup
#undef aligned_alloc

/* Everything at once: these are short, so no thread is needed, where nothing fails. */
static const char fit_and_score[] =
    "local forest, matrix = require 'perigee.forest', require 'perigee.matrix'\n"
    "local rows = {} for i = 1, 400 do rows[i] = {i % 7, i % 11} end\n"
    "local m = matrix.from_rows(rows, {'a', 'b'}) arm()\n"
    "local o = {n_estimators = 3, max_samples = 32, contamination = 0.1}\n"
    "local f, why = forest.fit(m, o) if not f then error(why) end\n"
    "assert(#f:score(m) == 400 and f:score(m, 'prediction')[1] ~= 0 and f:score_row{1, 2} < 0)\n"
    "assert(#f:explain{1, false} == 2 and f:columns(m)[2] == 2)\n"
    "local g, why = forest.deserialize(f:serialize()) if not g then error(why) end\n"
    "assert(g:about().offset == f:about().offset and g:about().feature_names[2] == 'b')";
TEST(fitting_and_scoring_survive_lua_without_memory) { sweep_lua(fit_and_score, 20); }
TEST(fitting_and_scoring_survive_c_without_memory) { sweep_c(fit_and_score, 40); }

static const char import_trees[] =
    "local forest = require 'perigee.forest' arm()\n"
    "local f, why = "
    "forest.deserialize('{\"n_features\":1,\"max_samples\":4,\"trees\":[{\"feature\":"
    "[0,-2,-2],\"threshold\":[1,0,0],\"left\":[1,-1,-1],\"right\":[2,-1,-1],\"n\":[4,1,3]}]}')\n"
    "if not f then error(why) end assert(f:score_row{0} < f:score_row{2})";
TEST(importing_survives_lua_without_memory) { sweep_lua(import_trees, 5); }
TEST(importing_survives_c_without_memory) { sweep_c(import_trees, 5); }

/* -- what waits -- */

static const char on_a_thread[] =
    "local forest, matrix = require 'perigee.forest', require 'perigee.matrix'\n"
    "local rows = {} for i = 1, 3000 do rows[i] = {i % 7, i % 11, i % 13} end\n"
    "local m = matrix.from_rows(rows)\n"
    "local f = assert(forest.fit(m, {n_estimators = 800, contamination = 0.1}))\n"
    "assert(#f:score(m) == 3000)";
TEST(a_state_may_be_closed_while_a_thread_fits_or_scores)
{
    for (int turns = 0; turns < 6; turns++) {
        struct sweep s = {.heap = {0, SWEEP_ALL}, .c_left = SWEEP_ALL};
        sweep_open(&s, on_a_thread);
        assert_int_equal(lua_pcall(s.state->L, 2, 0, 0), LUA_OK);
        for (int i = 0; i < turns; i++) {
            uv_run(loop_uv(s.host.loop), UV_RUN_NOWAIT);
            usleep((unsigned)turns * 2000);
        }
        sweep_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(fitting_and_scoring_survive_lua_without_memory),
        CHECK(fitting_and_scoring_survive_c_without_memory),
        CHECK(importing_survives_lua_without_memory),
        CHECK(importing_survives_c_without_memory),
        CHECK(a_state_may_be_closed_while_a_thread_fits_or_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
