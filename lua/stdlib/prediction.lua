--- What a person is told of one prediction of failure: the level of risk, what has made this very
--- prediction high or low, and what to do. Pure: the command and the engine share it.
local units = require 'units'

local prediction = {}

prediction.LEVELS = { critical = 0.8, high = 0.5, medium = 0.3 }
prediction.NAMES = { 'critical', 'high', 'medium', 'low' } -- from the highest
prediction.FACTORS = 3

-- The features of a service that everybody has; where none are named, these are asked for.
prediction.FEATURES = { 'cpu_usage', 'memory_usage', 'disk_io', 'network_latency', 'error_rate',
  'request_rate', 'gc_pause_time', 'thread_count' }

---@class prediction.Factor
---@field feature string
---@field value? number        absent where the feature was missing
---@field contribution number  to the log-odds of a failure; above 0 it raises the risk
---@field deviations? number   of the value from the mean of training, in standard deviations

---@class prediction.Result
---@field failure_probability number
---@field risk_level "critical"|"high"|"medium"|"low"
---@field top_contributing_factors prediction.Factor[]
---@field recommendation string
---@field missing string[]

--- The level of a probability: a level begins strictly above its threshold.
---@param p number
---@param levels table<string, number>
---@return "critical"|"high"|"medium"|"low"
function prediction.level(p, levels)
  for i = 1, 3 do
    local name = prediction.NAMES[i]
    if p > levels[name] then return name end
  end
  return 'low'
end

local RANK = { low = 1, medium = 2, high = 3, critical = 4 }

--- Whether a level is that or a higher one.
---@param level string
---@param least string
function prediction.reaches(level, least) return RANK[level] >= RANK[least] end

--- What is wrong with levels, or nil.
---@param levels table<string, number>
---@return string?
function prediction.wrong_levels(levels)
  if levels.critical < levels.high or levels.high < levels.medium then
    return ('the levels do not rise: medium %g, high %g, critical %g'):format(levels.medium,
      levels.high, levels.critical)
  end
end

-- -- factors --------------------------------------------------------------------------------------

--- The features that moved a prediction most, to either side, the strongest first.
---@param names string[]
---@param values number[]         NaN is missing
---@param contributions number[]
---@param scaler? table<string, { mean: number, scale: number }>
---@return prediction.Factor[]
function prediction.factors(names, values, contributions, scaler)
  local order = {}
  for j = 1, #names do order[j] = j end
  table.sort(order, function(a, b)
    local x, y = math.abs(contributions[a]), math.abs(contributions[b])
    if x ~= y then return x > y end
    return a < b
  end)
  local out = {}
  for k = 1, math.min(prediction.FACTORS, #order) do
    local j = order[k]
    local name, value = names[j], values[j]
    if value ~= value then value = nil end
    local s = value and scaler and scaler[name]
    out[k] = { feature = name, value = value, contribution = contributions[j],
      deviations = s and (value - s.mean) / s.scale or nil }
  end
  return out
end

-- -- words ----------------------------------------------------------------------------------------

local ADVICE = { -- the first whose pattern is in the feature's name
  { 'error', 'look at the errors and at the latest change' },
  { 'latency', 'look at the network and at what the service waits for' },
  { 'gc', 'look at the heap and its limits' },
  { 'heap', 'look at the heap and its limits' },
  { 'mem', 'look for a leak, or raise the limit' },
  { 'disk', 'look at what reads and writes' },
  { 'thread', 'look for threads that are blocked' },
  { 'request', 'add replicas, or shed load' },
  { 'traffic', 'add replicas, or shed load' },
  { 'cpu', 'add capacity, or shed load' },
  { 'load', 'add capacity, or shed load' },
  { 'restart', 'look at why it restarts' },
  { 'queue', 'look at what does not keep up' },
}

local function advice(feature)
  local name = feature:lower()
  for _, a in ipairs(ADVICE) do
    if name:find(a[1], 1, true) then return a[2] end
  end
end

local OPENING = {
  critical = 'Act now: a failure within %s is likely (%s).',
  high = 'Look at it now: a failure within %s may well come (%s).',
  medium = 'Keep an eye on it: the risk of a failure within %s is raised (%s).',
  low = 'Nothing to do now: the risk of a failure within %s is low (%s).',
}

--- A probability for a person.
function prediction.percent(p)
  if p > 0 and p < 0.001 then return 'below 0.1 %' end
  if p < 1 and p > 0.999 then return 'above 99.9 %' end
  return (p < 0.1 and '%.1f %%' or '%.0f %%'):format(100 * p)
end

local function factor_text(f)
  local at = f.value and ' at ' .. units.number_text(f.value) or ', which is missing'
  local what = advice(f.feature)
  return f.feature .. at .. (what and f.value and (' (%s)'):format(what) or '')
end

--- What to do, in words.
---@param level string
---@param p number
---@param factors prediction.Factor[]
---@param missing string[]
---@param horizon? string  "1 hour"; the next hour
---@return string
function prediction.recommendation(level, p, factors, missing, horizon)
  local parts = { OPENING[level]:format(horizon or 'the next hour', prediction.percent(p)) }
  local raising = {}
  for _, f in ipairs(level ~= 'low' and factors or {}) do
    if f.contribution > 0 then raising[#raising + 1] = factor_text(f) end
  end
  if #raising > 0 then
    parts[#parts + 1] = ('What raises it: %s.'):format(table.concat(raising, '; '))
  end
  if #missing > 0 then
    parts[#parts + 1] = ('Judged without %s.'):format(table.concat(missing, ', '))
  end
  return table.concat(parts, ' ')
end

---@class prediction.Row
---@field names string[]
---@field values number[]         as they were measured; NaN is missing
---@field probability number
---@field contributions number[]
---@field levels table<string, number>
---@field scaler? table
---@field horizon? string

--- All of what is told of one row.
---@param row prediction.Row
---@return prediction.Result
function prediction.result(row)
  local level, missing = prediction.level(row.probability, row.levels), {}
  for j, name in ipairs(row.names) do
    if row.values[j] ~= row.values[j] then missing[#missing + 1] = name end
  end
  local factors = prediction.factors(row.names, row.values, row.contributions, row.scaler)
  return { failure_probability = row.probability, risk_level = level,
    top_contributing_factors = factors,
    recommendation = prediction.recommendation(level, row.probability, factors, missing,
      row.horizon),
    missing = missing }
end

return prediction
