/* Regular expressions with every allocation failing once: Lua's in turn, and those of regex.c, of
 * its texts and of PCRE2 below it, which allocate here with what fails when told to. */
#include "tests/c/bindings/sweep.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static void *pcre_malloc(size_t n, void *data)
{
    (void)data;
    return sweep_malloc(n);
}

static void pcre_free(void *p, void *data)
{
    (void)data;
    free(p);
}

static pcre2_general_context *general; /* what PCRE2 allocates with */

#define malloc sweep_malloc
#define calloc sweep_calloc
#undef pcre2_compile_context_create
#define pcre2_compile_context_create(none) pcre2_compile_context_create_8(general)
#undef pcre2_match_context_create
#define pcre2_match_context_create(none) pcre2_match_context_create_8(general)
#include "runtime/base/regex.c"
#undef malloc
#undef calloc

static const char regex[] =
    "local m = require 'perigee.regex' arm()\n"
    "local re <close> = m.compile '(?P<host>[^:]+):(\\\\d+)|(?i:x)\\\\p{Lu}'\n"
    "local re_2, message = m.compile '(?=a)' assert(not re_2 and message:find('Perl', 1, true))\n"
    "assert(re:match 'web:9090' and not re:full_match 'web:9090 ')\n"
    "assert(re:replace_all('a:1 b:2', '$host$2$2é') == 'a1 b2')\n"
    "assert(m.compile('.'):replace_all('a\\xff', 'b') == 'bb')";

TEST(regex_survives_lua_without_memory) { sweep_lua(regex, 20); }
TEST(regex_survives_c_without_memory) { sweep_c(regex, 25); }

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK(regex_survives_lua_without_memory),
                                       CHECK(regex_survives_c_without_memory)};
    general = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pcre2_general_context_free(general);
    return rc;
}
