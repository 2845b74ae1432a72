/* perigee.yaml from outside: whatever the bytes, values or problems with a place; nothing is
 * raised. Build: make build/fuzz/config */
#include "tests/fuzz/engine_state.h"

static const char script[] =
    "local config = require 'config'\n"
    "return function(text)\n"
    "  local values, problems = config.parse('fuzz/perigee.yaml', text)\n"
    "  assert(values ~= nil or #problems > 0)\n"
    "  local lines = select(2, text:gsub('\\n', '')) + 2\n"
    "  for _, p in ipairs(problems) do\n"
    "    assert(type(p.message) == 'string' and p.line >= 0 and p.line <= lines, p.message)\n"
    "    assert(type(config.problem_text(p)) == 'string')\n"
    "  end\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine_call(script, data, size);
    return 0;
}
