--- The seasonal model against Prophet in R, on the same series in the same run.
local clock = require 'perigee.clock'
local lib = require 'lib'
local process = require 'perigee.process'
local seasonal = require 'seasonal'

local SHORT <const> = os.getenv 'BENCH_SHORT'

--- Regular values over 30 days (a year for the longest) with a slope that changes, days and weeks.
local function history(n, step)
  local ds, y, state = {}, {}, 11
  for i = 1, n do
    local t, share = 1704067200 + (i - 1) * step, i / n
    state = (state * 1103515245 + 12345) % 2147483648
    ds[i] = t
    y[i] = 50 + 20 * share + 30 * math.max(0, share - 0.5) + 8 * math.sin(2 * math.pi * t / 86400)
      + 3 * math.cos(2 * math.pi * t / 604800) + 6 * (state / 2147483648 - 0.5)
  end
  return ds, y
end

local function fastest(times, f)
  local best = math.huge
  for _ = 1, times do
    local before = clock.monotonic()
    f()
    best = math.min(best, clock.monotonic() - before)
  end
  return best * 1000
end

--- Milliseconds of the second fit in one R session, and of a forecast of 168 steps; the first pays
--- for loading the model.
local SCRIPT <const> = [==[
suppressPackageStartupMessages(library(prophet))
a <- commandArgs(TRUE)
d <- read.csv(a[1])
d <- data.frame(ds = as.POSIXct(d$ds, origin = "1970-01-01", tz = "UTC"), y = d$y)
fit <- function(d) prophet(d, daily.seasonality = TRUE, weekly.seasonality = TRUE,
                           yearly.seasonality = FALSE)
invisible(fit(head(d, 200)))
took <- system.time(m <- fit(d))[["elapsed"]]
f <- data.frame(ds = max(d$ds) + 3600 * (1:168))
p <- system.time(predict(m, f))[["elapsed"]]
cat("took", took * 1000, p * 1000, "\n")
]==]

local function prophet(ds, y)
  local folder <const>, _gone <close> = lib.folder()
  local lines = { 'ds,y' }
  for i in ipairs(ds) do lines[i + 1] = ('%d,%.17g'):format(ds[i], y[i]) end
  lib.write(folder .. '/series.csv', table.concat(lines, '\n') .. '\n')
  lib.write(folder .. '/fit.R', SCRIPT)
  local child = process.start { limit = 1 << 20, 'Rscript', folder .. '/fit.R',
    folder .. '/series.csv' }
  if not child then return end
  local status, output = child:wait()
  if status ~= 0 then return end
  local fit, predict = output:match 'took ([%d.e+]+) ([%d.e+]+)'
  return tonumber(fit), tonumber(predict)
end

local OPTIONS <const> = { seasonality = { daily = true, weekly = true, yearly = false } }

local function measure(n, step, goal, against)
  local ds, y = history(n, step)
  local model
  local ours = fastest(n > 100000 and 3 or 15, function() model = seasonal.fit(ds, y, OPTIONS) end)
  lib.at_most(('fit of %d points, lists of Lua included'):format(n), ours, 'ms', goal, '%.3f')
  local last = ds[n]
  local at = 0
  local update = fastest(15, function()
    at = at + 1
    model:update({ last + at * step }, { y[at] })
  end)
  lib.at_most(('update of %d points by one'):format(n), update, 'ms', 0.2, '%.3f')
  local predict = fastest(15, function() model:predict(model:make_future(168, 3600)) end)
  lib.row('forecast of 168 steps with exact bounds', ('%.3f'):format(predict), 'ms')
  if not against then return end
  local theirs, theirs_predict = prophet(ds, y)
  if not theirs then
    lib.row(('Prophet in R, %d points'):format(n), 'not measured', '')
    return
  end
  lib.row(('Prophet in R: fit of %d points'):format(n), ('%.0f'):format(theirs), 'ms')
  lib.row(('times faster than Prophet at %d points'):format(n), ('%.0f'):format(theirs / ours), '',
    ('>= %d'):format(against), theirs / ours >= against)
  lib.row('times faster than Prophet: forecast of 168 steps',
    ('%.0f'):format(theirs_predict / predict), '')
end

measure(720, 3600, 0.2, 500)
measure(8640, 300, 1)
measure(43200, 60, 4, not SHORT and 4000 or nil)
if not SHORT then measure(525600, 60, 40) end
