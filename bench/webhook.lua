--- Alerts from Alertmanager, one a request, at a steady rate: how long each waits for its
--- acknowledgement, counted from when it was due, so that a server that stalls is not spared.
local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'json'
local lib = require 'lib'

local RATE <const> = 1000
local SECONDS <const> = os.getenv 'BENCH_SHORT' and 5 or 30
local TOKEN <const> = 'a-token-of-the-benchmark'

local folder <const>, _ <close> = lib.folder()
lib.write(folder .. '/token', TOKEN .. '\n')
local p, _ <close> = lib.perigee { folder = folder, rules = {}, source = 'http://127.0.0.1:1',
  config = 'auth: { tokens: [ { name: otto, role: alert_sender, token_file: token } ] }\n' }

local function body(i)
  return json.encode { version = '4', status = 'firing', receiver = 'perigee', groupKey = '{}',
    groupLabels = {}, commonLabels = {}, commonAnnotations = {}, externalURL = 'http://am',
    truncatedAlerts = 0, alerts = { { status = 'firing',
      labels = { alertname = 'Load', i = tostring(i), namespace = 'shop', severity = 'page' },
      annotations = { summary = 'a summary of some length, as they are' },
      startsAt = '2026-01-01T00:00:00.123456789Z', endsAt = '0001-01-01T00:00:00Z',
      generatorURL = 'http://prometheus/graph', fingerprint = ('%016x'):format(i) } } }
end

local times, failed, under_way = {}, 0, 0

local function send(i, due)
  local response = http.request { method = 'POST', url = p.url .. '/api/v1/webhook/alertmanager',
    body = body(i), headers = { Authorization = 'Bearer ' .. TOKEN,
      ['Content-Type'] = 'application/json' } }
  if response and response.status == 200 then
    times[#times + 1] = clock.monotonic() - due
  else
    failed = failed + 1
  end
  under_way = under_way - 1
end

local cpu, began, sent = lib.cpu(p.pid), clock.monotonic(), 0
while sent < RATE * SECONDS do
  local due = math.min(RATE * SECONDS, math.floor((clock.monotonic() - began) * RATE))
  while sent < due do
    sent, under_way = sent + 1, under_way + 1
    async.spawn(send, sent, began + sent / RATE)
  end
  async.sleep(0.001)
end
while under_way > 0 do async.sleep(0.001) end

table.sort(times)
local function quantile(q) return 1000 * (times[math.ceil(#times * q)] or math.huge) end
lib.row('webhook, 1,000 alerts/s, median', ('%.1f'):format(quantile(0.5)), 'ms')
lib.at_most('webhook, 1,000 alerts/s, 99 % acknowledged within', quantile(0.99), 'ms', 10)
lib.row('webhook, longest', ('%.1f'):format(quantile(1)), 'ms')
lib.at_most('webhook, not acknowledged', failed, '', 0, '%d')
lib.row('webhook, CPU an alert', ('%.2f'):format(1000 * (lib.cpu(p.pid) - cpu) / sent), 'ms')
