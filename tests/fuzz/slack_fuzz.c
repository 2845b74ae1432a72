/* What Slack sends, already signed: the body of an interaction, as a form or as JSON. Whatever the
 * bytes, an answer; no 500, nothing is raised, and no plan is decided about: a seal cannot be
 * guessed. Build: make build/fuzz/slack */
#include "tests/fuzz/engine_state.h"

static const char script[] =
    "local clock = require 'perigee.clock'\n"
    "local config = require 'config'\n"
    "local hash = require 'perigee.hash'\n"
    "local store = require 'perigee.store'\n"
    "clock.make_virtual(1700000000)\n"
    "local path = os.tmpname()\n"
    "assert(require('perigee.file').write(path, 'secret'))\n"
    "local values = assert(config.parse('perigee.yaml', ([[\n"
    "source: { prometheus: { url: \"http://127.0.0.1:9\" } }\n"
    "slack: { bot_token_file: %s, signing_secret_file: %s, channel: C1, approvers: [U1] }\n"
    "]]):format(path, path)))\n"
    "values.data_dir = '/nonexistent'\n"
    "local engine = { config = values, store = assert(store.open ':memory:'), process = 'p',\n"
    "  rules = { signals = {}, incidents = {}, playbooks = {}, forecasts = {}, predictions = {},\n"
    "            files = {}, loaded_at = 0 },\n"
    "  slack = { call = function() return nil, { message = 'none' } end },\n"
    "  run = function(_, f) f() end, poke = function() end }\n"
    "local plans = require 'engine.plans'\n"
    "local p = plans.create(engine, { playbook = 'p', target = 't', trust = 'human_approve',\n"
    "  actions = {}, state = 'pending', expires_at = 1e12 })\n"
    "engine.store:exec([[insert into slack_messages (key, kind, plan_id, state, channel, ts,\n"
    "  created_at, due_at) values (?, 'plan', ?, 'posted', 'C1', '1.000001', 0, 0)]],\n"
    "  'plan/' .. p.id, p.id)\n"
    "local handle = require('server.routes').handler(engine)\n"
    "local inbox = require 'engine.slack_inbox'\n"
    "local n = 0\n"
    "return function(body)\n"
    "  for _, kind in ipairs { 'application/x-www-form-urlencoded', 'application/json' } do\n"
    "    local signature = 'v0=' .. hash.hmac_sha256('secret', 'v0:1700000000:' .. body)\n"
    "    local answer = handle { method = 'POST', path = '/slack/interactions', query = '',\n"
    "      peer = '127.0.0.1', body = body, headers = { host = 'x', ['content-type'] = kind,\n"
    "      ['x-slack-request-timestamp'] = '1700000000', ['x-slack-signature'] = signature } }\n"
    "    assert(answer.status == 200 or answer.status == 400 or answer.status == 413)\n"
    "  end\n"
    "  local payload = require('perigee.json').decode(body)\n"
    "  n = n + 1\n"
    "  inbox.store(engine, 'fuzz' .. n, 'interactive', payload)\n"
    "  local click = inbox.read(payload)\n"
    "  if click then assert(#click.value <= 300 and #click.user <= 64) end\n"
    "  assert(plans.get(engine.store, p.id).state == 'pending')\n"
    "  engine.store:exec 'delete from slack_clicks'\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine_call(script, data, size);
    return 0;
}
