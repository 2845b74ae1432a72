--- CPU with 100 rules each 15 s against a local Prometheus.
local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local lib = require 'lib'

local SECONDS <const> = os.getenv 'BENCH_SHORT' and 15 or 60

local rules = {}
for i = 1, 100 do
  rules[('r%d.lua'):format(i)] = ([[
signal "s%d" {
  query = 'sum by (service) (rate(work_total{service="s%d"}[1m]))', every = "15s",
  detector = threshold { above = 1e9 },
  labels = { severity = "warning" },
  annotations = { summary = "{{ humanize $value }}" },
}]]):format(i, i)
end

local folder <const>, _gone <close> = lib.folder()
local started = clock.monotonic()
local server <close> = assert(http.serve({}, function()
  local lines = { '# TYPE work_total counter' }
  for i = 1, 100 do
    lines[#lines + 1] = ('work_total{service="s%d"} %.1f'):format(i,
      (clock.monotonic() - started) * i)
  end
  return { headers = { ['Content-Type'] = 'text/plain; version=0.0.4' },
    body = table.concat(lines, '\n') .. '\n' }
end))
local source, _stopped <close> = lib.prometheus(folder, ('127.0.0.1:%d'):format(server:port()))
local perigee, _ended <close> = lib.perigee { folder = folder, rules = rules, source = source }
async.sleep(16) -- past the first round, which makes the connections

local before, cpu = lib.get(perigee.url .. '/metrics'), lib.cpu(perigee.pid)
async.sleep(SECONDS)
local used = (lib.cpu(perigee.pid) - cpu) / SECONDS * 100
local after = lib.get(perigee.url .. '/metrics')
local n = 0
for i = 1, 100 do
  local name = ('perigee_rule_evaluations_total{rule="signal/s%d"}'):format(i)
  n = n + lib.metric(after, name) - lib.metric(before, name)
end
lib.at_most(('CPU, 100 rules each 15 s (%d evaluations in %d s)'):format(n, SECONDS), used,
  '% of a core', 1, '%.2f')
