/* Rule files in YAML from outside: whatever the bytes, definitions, or problems with a place in the
 * file; nothing is raised. Selectors of the API are read from the same bytes. Build:
 * make build/fuzz/rules_yaml */
#include "tests/fuzz/engine_state.h"

static const char script[] =
    "local selector = require 'rules.selector'\n"
    "local yaml_rules = require 'rules.yaml'\n"
    "return function(text)\n"
    "  local wrong = false\n"
    "  local definitions = yaml_rules.read('rules/fuzz.yaml', text,\n"
    "    function(line, column, message, warning)\n"
    "      assert(type(message) == 'string' and line >= 1 and column >= 1, message)\n"
    "      assert(line <= #text + 2, message)\n"
    "      wrong = wrong or not warning\n"
    "    end, { every = 30 })\n"
    "  for _, def in ipairs(definitions) do\n"
    "    assert(type(def.name) == 'string' and (def.kind ~= 'group' or def.every > 0))\n"
    "    for _, rule in ipairs(def.rules or {}) do\n"
    "      assert(wrong or type(rule.query) == 'string' and rule.query ~= '')\n"
    "    end\n"
    "  end\n"
    "  if #text < 1000 and utf8.len(text) then selector.parse(text) end\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine_call(script, data, size);
    return 0;
}
