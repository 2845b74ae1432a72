--- How good a model's probabilities are on rows that it has not seen. Pure.
local measures = require 'measures'
local prediction = require 'prediction'

local report = {}

local BINS, LEAST_IN_BIN = 10, 20
local RARE = 0.1 -- a base rate below it
local PRECISIONS = { 0.5, 0.8, 0.9 }
local ALARMS_A_WEEK = { 1, 3, 7 }
local WEEK = 604800

---@class report.Rows
---@field outcomes number[]
---@field scores number[]
---@field weeks? number    that the rows span; without it nothing is said of alarms a week
---@field runs? number[]   rows of different run are no neighbours
---@field again? integer   after so many rows an alarm that goes on counts anew

--- The standard error of an AUC (Hanley and McNeil, 1982): a handful of failures tell little.
local function auc_error(auc, positives, negatives)
  local q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
  local variance = auc * (1 - auc) + (positives - 1) * (q1 - auc * auc)
    + (negatives - 1) * (q2 - auc * auc)
  return math.sqrt(math.max(0, variance) / (positives * negatives))
end

local function ratio(a, b) return b > 0 and a / b or nil end

--- What alarms above a threshold come to.
local function judged(m, rows, threshold)
  local c = m:at(threshold)
  local alarms = c.true_positives + c.false_positives
  c.threshold, c.alarms = threshold, alarms
  c.precision = ratio(c.true_positives, alarms)
  c.recall = ratio(c.true_positives, c.true_positives + c.false_negatives)
  if rows.weeks then
    c.alarms_per_week = measures.episodes(rows.scores, rows.runs, rows.again, threshold)
      / rows.weeks
  end
  return c
end

local function at_levels(m, rows, levels)
  local out = {}
  for i = 1, 3 do
    local name = prediction.NAMES[i]
    out[i] = judged(m, rows, levels[name])
    out[i].level = name
  end
  return out
end

local function thresholds(m, rows)
  local out = {}
  local function add(by, wanted, threshold)
    if not threshold or threshold ~= threshold then return end
    local c = judged(m, rows, threshold)
    c.by, c.wanted = by, wanted
    if c.alarms > 0 then out[#out + 1] = c end
  end
  for _, share in ipairs(PRECISIONS) do add('precision', share, m:by_precision(share)) end
  for _, n in ipairs(rows.weeks and ALARMS_A_WEEK or {}) do
    local most = math.floor(n * rows.weeks)
    if most >= 1 then
      add('alarms_per_week', n, measures.by_episodes(rows.scores, rows.runs, rows.again, most))
    end
  end
  return out
end

--- Bins that each hold half of the rows that are left, from the lowest score on: where failures are
--- rare all that matters is among the last few.
local function halves(m, all)
  local out, taken, edge, now = {}, 0, all / 2, nil
  for _, bin in ipairs(m:bins(1000, 'count')) do
    local share = bin.count
    if now then
      now.mean = (now.mean * now.count + bin.mean * bin.count) / (now.count + bin.count)
      now.count, now.positives = now.count + bin.count, now.positives + bin.positives
      now.upper = bin.upper
    else
      now = bin
      out[#out + 1] = now
    end
    taken = taken + share
    if taken >= edge and all - taken >= LEAST_IN_BIN and #out < BINS then
      now, edge = nil, taken + (all - taken) / 2
    end
  end
  return out
end

local function calibration(m)
  local out, off = {}, 0
  local all, positives = m:count()
  local bins = positives < RARE * all and halves(m, all) or m:bins(BINS, 'count')
  for i, bin in ipairs(bins) do
    local observed = bin.positives / bin.count
    out[i] = { lower = bin.lower, upper = bin.upper, count = bin.count, mean_predicted = bin.mean,
      observed = observed }
    off = off + bin.count * math.abs(bin.mean - observed)
  end
  return out, off / all
end

--- The report of rows with outcome and score; nil where there are none. What is not defined where
--- there is but one class is absent.
---@param rows report.Rows
---@param levels table<string, number>
---@return table? report
function report.of(rows, levels)
  local m = measures.of(rows.outcomes, rows.scores)
  if not m then return nil end
  local n, positives = m:count()
  local base = positives / n
  local auc, precision = m:auc(), m:average_precision()
  local bins, off = calibration(m)
  return { rows = n, positives = positives, base_rate = base,
    auc = auc, auc_error = auc and auc_error(auc, positives, n - positives),
    average_precision = precision, lift = precision and precision / base,
    log_loss = m:log_loss(), prior_log_loss = measures.prior_log_loss(base),
    brier = m:brier(), prior_brier = base * (1 - base),
    calibration = bins, calibration_error = off,
    levels = at_levels(m, rows, levels), thresholds = thresholds(m, rows) }
end

--- What neighbours in time are: how many weeks the rows span, and after how many of them an alarm
--- counts anew when it is to do so after `horizon` seconds. Nothing for numbers that are no times
--- of our age, and where rows that cannot be told apart have the same time.
---@param times number[]    in order, within each run
---@param horizon number
---@param runs? number[]
---@return { weeks: number, again: integer }?
function report.span(times, horizon, runs)
  local n, steps, same, first, last = #times, {}, 0, math.huge, -math.huge
  for i, t in ipairs(times) do
    first, last = math.min(first, t), math.max(last, t)
    if i > 1 and (not runs or runs[i] == runs[i - 1]) then
      steps[#steps + 1] = t - times[i - 1]
      if t <= times[i - 1] then same = same + 1 end
    end
  end
  if n < 3 or first < 1e8 or last > 1e11 or #steps == 0 or same > n // 100 then return nil end
  table.sort(steps)
  local step = steps[(#steps + 1) // 2]
  if step <= 0 then return nil end
  return { weeks = (last - first + step) / WEEK,
    again = math.max(1, math.floor(horizon / step + 0.5)) }
end

return report
