--- Reloading: 500 rule files from SIGHUP to active, and many random valid and invalid ones under
--- load.
local async = require 'async'
local file = require 'perigee.file'
local lib = require 'lib'

local ROUNDS <const> = tonumber(os.getenv 'RELOADS' or (os.getenv 'BENCH_SHORT' and 30 or 1000))

local function rule(i, note)
  return ([[
-- %s
signal "s%d" {
  query = 's%d', every = "1s", hold_for = "1s",
  detector = threshold { above = 0 },
  labels = { severity = "warning" },
  annotations = { summary = "{{ humanize $value }}" },
}]]):format(note or '', i, i)
end

--- How many reloads the log tells of, and how long the last good one took. The log is read and not
--- /metrics: a scrape decodes the state of every signal, and would be measured too.
local function told(perigee)
  local n, took = 0, nil
  for line in assert(file.read(perigee.log, 256 << 20)):gmatch '[^\n]+' do
    local ms = line:match 'msg=ready took_ms=(%d+)'
    if ms then n, took = n + 1, tonumber(ms) end
    if line:find('reload failed, nothing has changed', 1, true) then n = n + 1 end
  end
  return n, took
end

local function hangup(perigee)
  local before = told(perigee)
  perigee.child:kill(1)
  lib.wait_for('a reload', 10, function() return told(perigee) > before end)
end

local function reloads(perigee)
  local text = lib.get(perigee.url .. '/metrics')
  return lib.metric(text, 'perigee_reloads_total{outcome="ok"}'),
    lib.metric(text, 'perigee_reloads_total{outcome="failed"}'), text
end

do
  local folder <const>, _gone <close> = lib.folder()
  local server <close> = lib.fake_source()
  local rules = {}
  for i = 1, 500 do rules[('r%d.lua'):format(i)] = rule(i):gsub('"1s", hold', '"15s", hold') end
  local perigee, _ended <close> = lib.perigee { folder = folder, rules = rules,
    source = ('http://127.0.0.1:%d'):format(server:port()) }
  async.sleep(3)
  local times = {}
  for i = 1, 7 do
    lib.write(folder .. '/rules/r7.lua', (rule(7, 'changed ' .. i)))
    hangup(perigee)
    times[i] = select(2, told(perigee))
    async.sleep(0.5)
  end
  table.sort(times)
  lib.at_most('SIGHUP to active with 500 rule files, median of 7', times[4], 'ms', 200)
end

do
  local folder <const>, _gone <close> = lib.folder()
  local server <close> = lib.fake_source()
  local rules, N = {}, 50
  for i = 1, N do rules[('r%d.lua'):format(i)] = rule(i) end
  local perigee, _ended <close> = lib.perigee { folder = folder, rules = rules,
    source = ('http://127.0.0.1:%d'):format(server:port()) }
  local function firing()
    return lib.metric(lib.get(perigee.url .. '/metrics'), 'perigee_alerts{state="firing"}')
  end
  lib.wait_for('every signal to fire', 20, function() return firing() == N end)
  math.randomseed(3)
  local lost, resident_before = 0, nil
  for round = 1, ROUNDS do
    local i = math.random(N)
    local text = rule(i, 'round ' .. round)
    if math.random() < 0.3 then text = text:gsub('threshold', 'treshold') end
    lib.write(('%s/rules/r%d.lua'):format(folder, i), text)
    hangup(perigee)
    if firing() < N then lost = lost + 1 end
    if text:find 'treshold' then lib.write(('%s/rules/r%d.lua'):format(folder, i), (rule(i))) end
    if round == ROUNDS // 2 then resident_before = lib.memory(perigee.pid) end
  end
  local ok, failed, text = reloads(perigee)
  local missed = 0
  for i = 1, N do
    missed = missed + lib.metric(text,
      ('perigee_rule_evaluations_missed_total{rule="signal/s%d"}'):format(i))
  end
  lib.row(('%d random reloads under load (%d valid, %d refused)'):format(ROUNDS, ok - 1, failed),
    tostring(lost),
    'lost', '0', lost == 0)
  lib.row('evaluations missed meanwhile', ('%d'):format(missed), '', '0', missed == 0)
  lib.at_most('growth of resident memory over the second half',
    lib.memory(perigee.pid) - resident_before, 'MB', 2)
end
