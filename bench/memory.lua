--- Resident memory: idle, and with 200 rules over 1,000 series.
local async = require 'async'
local http = require 'http'
local lib = require 'lib'

do
  local folder <const>, _gone <close> = lib.folder()
  local perigee, _ended <close> = lib.perigee { folder = folder, rules = {},
    source = 'http://127.0.0.1:9' }
  async.sleep(3)
  local resident, anonymous = lib.memory(perigee.pid)
  lib.at_most('resident, idle', resident, 'MB', 20)
  lib.at_most('of it anonymous', anonymous, 'MB', 8)
end

-- A target with 1,000 series: 200 services of five instances.
local function exposition(value)
  local lines = { '# TYPE work gauge' }
  for service = 1, 200 do
    for instance = 1, 5 do
      lines[#lines + 1] = ('work{service="s%d",replica="%d"} %g'):format(service, instance,
        value(service, instance))
    end
  end
  return table.concat(lines, '\n') .. '\n'
end

local function history(target)
  local lines, now = { '# TYPE work gauge' }, os.time() // 300 * 300
  math.randomseed(1)
  for service = 1, 200 do
    for instance = 1, 5 do
      for at = now - 86400, now, 300 do
        lines[#lines + 1] =
          ('work{service="s%d",replica="%d",instance="%s",job="bench"} %.3f %d'):format(
          service, instance, target, 100 + math.random() * 10, at)
      end
    end
  end
  lines[#lines + 1] = '# EOF\n'
  return table.concat(lines, '\n')
end

local rules = {}
for i = 1, 200 do
  rules[('r%d.lua'):format(i)] = ([[
signal "work_%d" {
  query = 'work{service="s%d"}', every = "15s",
  detector = %s { history = "1d", step = "5m", threshold = 8 },
  labels = { severity = "warning" },
  annotations = { summary = "{{ humanize $value }} on {{ $labels.replica }}" },
}]]):format(i, i, i % 2 == 0 and 'z_score' or 'robust_z_score')
end

do
  local folder <const>, _gone <close> = lib.folder()
  local server <close> = assert(http.serve({}, function()
    return { headers = { ['Content-Type'] = 'text/plain; version=0.0.4' },
      body = exposition(function() return 100 + math.random() * 10 end) }
  end))
  local target = ('127.0.0.1:%d'):format(server:port())
  local source, _stopped <close> = lib.prometheus(folder, target, history(target))
  local perigee, _ended <close> = lib.perigee { folder = folder, rules = rules, source = source }
  lib.wait_for('every baseline', 120, function()
    local text = lib.get(perigee.url .. '/metrics')
    return text and lib.metric(text, 'perigee_alerts{state="inactive"}') == 1000
      and lib.metric(text, 'perigee_model_fits_total{outcome="fitted"}') >= 200
  end)
  async.sleep(os.getenv 'BENCH_SHORT' and 5 or 35)
  local resident, anonymous = lib.memory(perigee.pid)
  lib.at_most('resident, 200 rules over 1,000 series', resident, 'MB', 40)
  lib.row('of it anonymous', ('%.1f'):format(anonymous), 'MB')
end
