/* Requests to the API: a line "METHOD PATH", header lines, an empty line, a body. Whatever the
 * bytes, an answer with a status and a body; never 500, and nothing is raised. Build: make
 * build/fuzz/api */
#include "tests/fuzz/engine_state.h"

static const char script[] =
    "local config = require 'config'\n"
    "local store = require 'perigee.store'\n"
    "local values = assert(config.parse('perigee.yaml', [[\n"
    "source: { prometheus: { url: \"http://127.0.0.1:9\" } }\n"
    "auth: { tokens: [ { name: a, role: admin, token_env: HOME } ] }\n"
    "]]) or config.parse('perigee.yaml', 'source: { prometheus: { url: \"http://127.0.0.1:9\" } "
    "}'))\n"
    "values.auth.tokens = { { name = 'a', role = 'admin', token = ('t'):rep(16) } }\n"
    "values.data_dir = '/nonexistent'\n"
    "local engine = { config = values, store = assert(store.open ':memory:'), process = 'p',\n"
    "  rules = { signals = {}, incidents = {}, playbooks = {}, forecasts = {}, predictions = {},\n"
    "            files = {}, loaded_at = 0 },\n"
    "  poke = function() end }\n"
    "local plans = require 'engine.plans'\n"
    "plans.create(engine, { playbook = 'p', target = 't', trust = 'human_approve', actions = {},\n"
    "  state = 'pending', expires_at = 1e12 })\n"
    "local handle = require('server.routes').handler(engine)\n"
    "local LEFT_OUT = { ['/-/reload'] = true, ['/metrics'] = true, ['/api/v1/status'] = true,\n"
    "  ['/api/v1/webhook/alertmanager'] = true }\n" /* waits for the disk; it has a target itself */
    "return function(text)\n"
    "  local method, path, query, rest = text:match '^(%u+) ([^?%s]*)[?]?(%S*)\\n?(.*)$'\n"
    "  if not method or LEFT_OUT[path] then return end\n"
    "  local head, body = rest:match '^(.-)\\n\\n(.*)$'\n"
    "  local request = { method = method, path = path, query = query, peer = '127.0.0.1',\n"
    "    body = body or '', headers = { host = 'localhost', ['content-type'] = "
    "'application/json',\n"
    "      authorization = 'Bearer ' .. ('t'):rep(16) } }\n"
    "  for name, value in (head or ''):gmatch '([%w-]+): ([^\\n]*)' do\n"
    "    request.headers[name:lower()] = value\n"
    "  end\n"
    "  local answer = handle(request)\n"
    "  assert(answer.status >= 200 and answer.status < 600 and type(answer.body) == 'string')\n"
    "  assert(answer.status ~= 500 or path == '/api/v1/kill_switch', answer.body)\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine_call(script, data, size);
    return 0;
}
