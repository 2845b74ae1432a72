/* A kubeconfig from outside: whatever the bytes, a cluster or problems with a place; nothing is
 * raised, and no program is run. Two files, cut at a NUL, so that merging is tried too. Build: make
 * build/fuzz/kubeconfig */
#include "tests/fuzz/engine_state.h"

static const char script[] =
    "local kubeconfig = require 'kubernetes.kubeconfig'\n"
    "local config = require 'kubernetes.config'\n"
    "return function(text)\n"
    "  for _, exec in ipairs { true, false } do\n"
    "    local merged, problems, n = kubeconfig.empty(), {}, 0\n"
    "    for part in (text .. '\\0'):gmatch '(%Z*)%z' do\n"
    "      n = n + 1\n"
    "      kubeconfig.add(merged, 'fuzz/config' .. n, part, problems)\n"
    "    end\n"
    "    local resolved = kubeconfig.resolve(merged, { exec = exec }, problems)\n"
    "    assert((resolved ~= nil) == (#problems == 0))\n"
    "    for _, p in ipairs(problems) do\n"
    "      assert(type(p.message) == 'string' and type(config.words(p)) == 'string')\n"
    "      assert(not p.file or p.line >= 0 and p.column >= 0)\n"
    "    end\n"
    "    if resolved then\n"
    "      assert(resolved.cluster.server:find '^https?://' and type(resolved.user) == 'table')\n"
    "      assert(exec or not resolved.user.exec)\n"
    "    end\n"
    "  end\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine_call(script, data, size);
    return 0;
}
