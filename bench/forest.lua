--- The isolation forest against scikit-learn's, if that is there, in the same run: 100 trees of 256
--- rows. Times are of the processor, the best of several, so that other load shows little; a batch
--- is measured by each path of the computation. Only threads are measured by the clock.
local clock = require 'perigee.clock'
local isolation_forest = require 'isolation_forest'
local lib = require 'lib'
local matrix = require 'matrix'
local path = require 'perigee.forest'.path
local process = require 'perigee.process'

local SHORT <const> = os.getenv 'BENCH_SHORT' ~= nil
local LARGE <const> = SHORT and 100000 or 1000000

local function best(times, work, now)
  local least = math.huge
  now = now or clock.cpu
  for _ = 1, times do
    local began = now()
    work()
    least = math.min(least, now() - began)
  end
  return least
end

--- Sums of four uniform numbers: as good as normal here, and quickly made.
local function cloud(rows, columns)
  local out, random = {}, math.random
  math.randomseed(1)
  for c = 1, columns do
    local column = {}
    for i = 1, rows do column[i] = random() + random() + random() + random() end
    out[c] = column
  end
  return matrix.from_columns(out)
end

--- Seconds that scikit-learn takes for a shape: fit, one row, a row of a batch. nil without it.
local function peer(shape)
  local child = process.start { '/usr/bin/python3', 'bench/forest_peer.py', shape }
  local status, output = 127, ''
  if child then status, output = child:wait(600) end
  if status ~= 0 then return {} end
  local fit, one, batch = output:match '^%S+ (%S+) (%S+) (%S+)'
  return { fit = tonumber(fit), one = tonumber(one), batch = tonumber(batch) }
end

local function report(what, seconds, unit, goal)
  lib.at_most(what, seconds * (unit == 'ms' and 1e3 or 1e6), unit, goal, '%.3f')
end

local function ratio(what, theirs, ours, goal)
  if not theirs then return lib.row(what, 'not measured', '', ('>= %g times'):format(goal)) end
  lib.row(what, ('%.0f'):format(theirs / ours), 'times', ('>= %g'):format(goal),
    theirs / ours >= goal)
end

local PATHS <const> = { { 'walk', 'eight trees at once' }, { 'portable', 'portable' },
  { 'avx2', 'AVX2' }, { 'avx512', 'AVX-512' } }

--- A thousand rows are scored on the thread that asks, whose time is what is measured; different
--- ones each time.
local function batch(name, model, m, goals)
  local seconds, parts = {}, {}
  for i = 1, math.min(10, m.rows // 1000) do parts[i] = m:slice(1000 * i - 999, 1000 * i) end
  local function score()
    for _, part in ipairs(parts) do model.forest:score(part, 'score', 1) end
  end
  for _, p in ipairs(PATHS) do
    local what = ('%s: a row of a batch, %s'):format(name, p[2])
    if path(p[1]) then
      score() -- the first makes the plan
      seconds[p[1]] = best(SHORT and 5 or 20, score) / (1000 * #parts)
      if p[1] == 'walk' then -- what large trees and few rows are left to
        lib.row(what, ('%.3f'):format(seconds.walk * 1e6), 'us')
      else
        report(what, seconds[p[1]], 'us', goals[p[1]] or 0.8)
      end
    else
      lib.row(what, 'not measured', '', ('<= %g us'):format(goals[p[1]]))
    end
    path 'best'
  end
  return seconds
end

local function measure(rows, columns, goals)
  local name = ('%dx%d'):format(rows, columns)
  local m <const> = cloud(rows, columns)
  local theirs, model = peer(name), nil
  local fit = best(30, function()
    model = assert(isolation_forest.fit(m, { random_state = 1, n_jobs = 1 }))
  end)
  report(name .. ': fit, one thread', fit, 'ms', goals.fit)
  ratio(name .. ': fit, scikit-learn by ours', theirs.fit, fit, goals.fit_ratio)
  local plain = m:slice(1, 100):to_rows()
  local one = best(20, function()
    for _, row in ipairs(plain) do model:score(row) end
  end) / #plain
  report(name .. ': one row, from Lua', one, 'us', 1)
  ratio(name .. ': one row, scikit-learn by ours', theirs.one, one, 10000)
  local seconds = batch(name, model, m, goals)
  ratio(name .. ': a row of a batch, scikit-learn by portable', theirs.batch, seconds.portable, 16)
  return m, model
end

local _, model = measure(10000, 8, { fit = 1, fit_ratio = 80, avx2 = 0.8, avx512 = 0.5 })
lib.at_most('the model of 100 trees', #model:serialize() / 1024, 'KiB', 150)
measure(10000, 3, { fit = 1, fit_ratio = 80, avx2 = 0.8, avx512 = 0.25 })
local m
m, model = measure(LARGE, 32, { fit = 2.5, fit_ratio = 200, avx2 = 0.8, avx512 = 0.5 })
local function with(threads)
  return best(5, function() model.forest:score(m, 'score', threads) end, clock.monotonic)
end
local one, two = with(1), with(2)
lib.row(('%dx32: two threads by one'):format(LARGE), ('%.2f'):format(one / two), 'times', '>= 1.7',
  one / two >= 1.7)
