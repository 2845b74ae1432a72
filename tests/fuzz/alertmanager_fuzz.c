/* Bodies of Alertmanager's webhook: whatever the bytes, they are refused in words, or every alert
 * that comes of them can be written, read back and shown. Build: make build/fuzz/alertmanager */
#include "tests/fuzz/engine_state.h"

static const char script[] =
    "local json = require 'perigee.json'\n"
    "local alertmanager = require 'alertmanager'\n"
    "local webhook = require 'server.webhook'\n"
    "return function(text)\n"
    "  local body = json.decode(text)\n"
    "  if type(body) ~= 'table' then return end\n"
    "  local list, head = webhook.read(body)\n"
    "  if not list then return assert(type(head) == 'string') end\n"
    "  assert(head.truncatedAlerts >= 0)\n"
    "  for _, alert in ipairs(list) do\n"
    "    assert(#alertmanager.fingerprint(alert.labels) == 16 and #alert.fingerprint == 16)\n"
    "    assert(tonumber(alert.starts_at) and next(alert.labels))\n"
    "    local again = json.decode(json.encode { alert.labels, alert.annotations })\n"
    "    for name, value in pairs(alert.labels) do assert(again[1][name] == value) end\n"
    "    for name, value in pairs(alert.annotations) do assert(again[2][name] == value) end\n"
    "    assert(json.encode(require('engine.alerts').view { fingerprint = alert.fingerprint,\n"
    "      status = alert.status, labels = alert.labels, annotations = alert.annotations,\n"
    "      generator_url = alert.generator_url, starts_at = tonumber(alert.starts_at),\n"
    "      ends_at = alert.ends_at }))\n"
    "  end\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    engine_call(script, data, size);
    return 0;
}
