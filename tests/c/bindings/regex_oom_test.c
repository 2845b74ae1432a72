/* Regular expressions with every allocation failing once: Lua's in turn, and those of regex.c, of
 * its texts and of PCRE2 below it, which allocate here with what fails when told to. */
#include "tests/c/test.h"

#include <errno.h>
#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/memory.h"

static long c_left = -1; /* of C's allocations; < 0: none fails */

static bool c_fails(void) { return c_left == 0 || (c_left > 0 && c_left-- == 0); }
static void *c_malloc(size_t n) { return c_fails() ? NULL : malloc(n); }
static void *c_calloc(size_t n, size_t size) { return c_fails() ? NULL : calloc(n, size); }
static bool c_reserve(void **items, size_t *capacity, size_t n, size_t size)
{
    return !c_fails() && array_reserve(items, capacity, n, size);
}

static void *pcre_malloc(size_t n, void *data)
{
    (void)data;
    return c_malloc(n);
}

static void pcre_free(void *p, void *data)
{
    (void)data;
    free(p);
}

static pcre2_general_context *general; /* what PCRE2 allocates with */

#define malloc c_malloc
#define calloc c_calloc
#define array_reserve c_reserve
#undef pcre2_compile_context_create
#define pcre2_compile_context_create(none) pcre2_compile_context_create_8(general)
#undef pcre2_match_context_create
#define pcre2_match_context_create(none) pcre2_match_context_create_8(general)
#include "runtime/base/text.c"
#include "runtime/base/regex.c"
#undef malloc
#undef calloc
#undef array_reserve

#include "bindings/modules.h"

static const char regex_script[] =
    "local m = ... local re <close> = m.compile '(?P<host>[^:]+):(\\\\d+)|(?i:x)\\\\p{Lu}'\n"
    "local re_2, message = m.compile '(?=a)' assert(not re_2 and message:find('Perl', 1, true))\n"
    "assert(re:match 'web:9090' and not re:full_match 'web:9090 ')\n"
    "assert(re:replace_all('a:1 b:2', '$host$2$2é') == 'a1 b2')\n"
    "assert(m.compile('.'):replace_all('a\\xff', 'b') == 'bb')";
static const char go_format_script[] =
    "local m = ... assert(m.float(1e21, 'g') == '1e+21' and m.float(1.5, 'x', 3) == "
    "'0x1.800p+00')\n"
    "assert(m.float(1e300, 'f', 600):len() == 902 and m.float(3, 'b') == '6755399441055744p-51')\n"
    "assert(m.parse_float '0x1p-2' == 0.25 and m.parse_float('1_0.' .. ('0'):rep(600)))\n"
    "local x, why, inf = m.parse_float '-1e999' assert(not x and why and inf == -1 / 0)";

/* Runs script on the module; LUA_OK once nothing failed. Nothing may be left behind. */
static int run_once(lua_CFunction opener, const char *script, long lua_left, long k)
{
    struct test_heap h = {0, -1};
    lua_State *L = lua_newstate(test_heap_alloc, &h);
    luaL_openlibs(L);
    assert_int_equal(luaL_loadstring(L, script), LUA_OK);
    lua_pushcfunction(L, opener);
    h.left = lua_left;
    c_left = k;
    int rc = lua_pcall(L, 0, 1, 0);
    if (rc == LUA_OK) rc = lua_pcall(L, 1, 0, 0);
    c_left = -1;
    if (rc != LUA_OK && strstr(lua_tostring(L, -1), "not enough memory") == NULL)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
    assert_int_equal(h.used, 0); /* and the leak sanitizer answers for what C allocated */
    return rc;
}

TEST(every_failed_allocation_of_lua_is_survived)
{
    long k = 0;
    while (run_once(luaopen_perigee_regex, regex_script, k, -1) != LUA_OK) k++;
    assert_true(k > 20);
    for (k = 0; run_once(luaopen_perigee_go_format, go_format_script, k, -1) != LUA_OK;) k++;
    assert_true(k > 10);
}

TEST(every_failed_allocation_of_c_is_survived)
{
    long k = 0;
    while (run_once(luaopen_perigee_regex, regex_script, -1, k) != LUA_OK) k++;
    assert_true(k > 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK(every_failed_allocation_of_lua_is_survived),
                                       CHECK(every_failed_allocation_of_c_is_survived)};
    general = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pcre2_general_context_free(general);
    return rc;
}
