--- Runaway rules: what each costs until it is stopped, and how late the others become.
local async = require 'async'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local lib = require 'lib'
local rules = require 'perigee.rules'

local BOMBS = {
  { 'endless loop', 'return function() while true do end end' },
  { 'endless loop under pcall',
  'return function() while true do pcall(function() while true do end end) end end' },
  { 'pattern bomb', 'return function() return ("a"):rep(5000):find(("a-"):rep(12) .. "b") end' },
  { 'memory bomb',
  'return function() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end' },
  { 'text bomb', 'return function() local s = "x" while true do s = s .. s end end' },
  { 'recursion', 'return function() local function f() return f() + 1 end return f() end' },
}

for _, bomb in ipairs(BOMBS) do
  local cell <close> = assert(rules.cell 'bomb.lua')
  local declared =
    assert(
    cell:run(('signal "s" { query = "x", detector = (function() %s end)() }'):format(bomb[2]),
    { instructions = 10000000 }))
  local id = declared.declarations[1].body.detector.id
  local worst = 0
  for _ = 1, 5 do
    local before = clock.cpu()
    local ok, fault = cell:call({ instructions = 1000000, allocated = 64 << 20, cpu_ms = 50 }, id,
      1, {})
    worst = math.max(worst, clock.cpu() - before)
    assert(not ok and fault.line == 1, 'it was not stopped, or not named')
  end
  lib.at_most(('%s: stopped after'):format(bomb[1]), worst * 1000, 'ms CPU', 50)
end

do
  local folder <const>, _gone <close> = lib.folder()
  local server <close> = lib.fake_source()
  local files = {}
  for i = 1, 20 do
    files[('good%d.lua'):format(i)] =
      ('signal "good%d" { query = "x", every = "1s", detector = threshold { above = 5 } }'):format(
      i)
  end
  for i, bomb in ipairs(BOMBS) do
    files[('bad%d.lua'):format(i)] =
      ('signal "bad%d" { query = "x", every = "1s", detector = (function() %s end)() }'):format(
      i, bomb[2])
  end
  local perigee, _ended <close> = lib.perigee { folder = folder, rules = files,
    source = ('http://127.0.0.1:%d'):format(server:port()) }
  async.sleep(8)
  local text = lib.get(perigee.url .. '/metrics')
  lib.row('rules switched off after three faults running',
    ('%d'):format(lib.metric(text, 'perigee_rules_switched_off')), '',
    tostring(#BOMBS), lib.metric(text, 'perigee_rules_switched_off') == #BOMBS)
  local named = 0
  for line in assert(file.read(perigee.log)):gmatch '[^\n]*rule fault[^\n]*' do
    named = named + (line:find 'bad%d%.lua:1:' and 1 or 0)
  end
  lib.row('faults named by file and line', ('%d'):format(named), '', tostring(3 * #BOMBS),
    named == 3 * #BOMBS)
  local late = 0
  for _, signal in ipairs(lib.api(perigee.url .. '/api/v1/signals')) do
    if signal.name:find '^good' then
      local name = ('perigee_rule_evaluations_missed_total{rule="signal/%s"}'):format(signal.name)
      late = late + lib.metric(text, name)
    end
  end
  lib.row('evaluations of the other 20 rules missed meanwhile', ('%d'):format(late), '', '0',
    late == 0)
  local total = lib.metric(text, 'perigee_rule_evaluation_delay_seconds_count')
  local in_time = lib.metric(text, 'perigee_rule_evaluation_delay_seconds_bucket{le="0.25"}')
  lib.row('evaluations begun within 250 ms of their time', ('%.1f'):format(in_time / total * 100),
    '%')
end
