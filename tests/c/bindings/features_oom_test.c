/* Features and their binding, with every allocation failing once, Lua's and C's. */
#include "tests/c/bindings/sweep.h"

#define malloc sweep_malloc
#define calloc sweep_calloc
#define realloc sweep_realloc
#include "runtime/kernels/features.c"
#undef malloc
#undef calloc
#undef realloc

static const char features[] =
    "local f, b = require 'perigee.features', require 'perigee.base64' arm()\n"
    "local y, ds = {1, 0/0, 3, 4, 5}, {0, 300, 600, 900, 1200}\n"
    "local m = f.compute(y, ds, {'value', 'sd_1h', 'residual'}, 300, nil, false)\n"
    "assert(m.rows == 4 and m:get(4, 'value') == 5 and m:get(4, 'sd_1h') > 1)\n"
    "assert(b.decode(b.encode 'abcd') == 'abcd' and not b.decode 'x')";
TEST(features_survive_lua_without_memory) { sweep_lua(features, 10); }
TEST(features_survive_c_without_memory) { sweep_c(features, 2); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(features_survive_lua_without_memory),
        CHECK(features_survive_c_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
