--- What in the data makes a model worse, or its report too good. Pure: from rows to warnings.
local measures = require 'measures'
local prediction = require 'prediction'

local inspect = {}

local FEW_FAILURES = 50
local LEAK = 0.99
local MANY_TWINS = 0.01
local FEW_IN_TEST = 10
local CHANGED = 3      -- times as often, or as seldom, as before
local BLOCK = 1024     -- rows taken from a matrix at once
local MOST_COMPARED = 200000

---@class inspect.Warning
---@field code string
---@field message string
---@field feature? string

local function warning(code, message, feature)
  return { code = code, message = message, feature = feature }
end

--- How well one column alone tells failures, to either side; a column that is missing exactly when
--- there is a failure tells it too.
local function strength(values, outcomes)
  local function best(scores)
    local m = measures.of(outcomes, scores)
    local auc = m and m:auc()
    return auc and math.max(auc, 1 - auc) or 0
  end
  local absent, some = {}, false
  for i, v in ipairs(values) do
    absent[i] = v ~= v and 1 or 0
    some = some or v ~= v
  end
  return best(values), some and best(absent) or 0
end

local function is_constant(values)
  local first
  for _, v in ipairs(values) do
    if v == v then
      if first and v ~= first then return false end
      first = first or v
    end
  end
  return true
end

--- Whether it only ever grows, or only ever falls, with hardly a value there twice: a clock.
local function is_clock(values)
  local up, down, before = 0, 0, nil
  for _, v in ipairs(values) do
    if v ~= v then return false end
    if before then
      up, down = up + (v > before and 1 or 0), down + (v < before and 1 or 0)
    end
    before = v
  end
  local steps = #values - 1
  return steps >= 20 and (up >= 0.99 * steps or down >= 0.99 * steps)
end

local function of_column(name, values, outcomes, ordered, out)
  if is_constant(values) then
    out[#out + 1] = warning('constant_feature', ('%s never changes: it tells nothing'):format(name),
      name)
    return
  end
  local by_value, by_absence = strength(values, outcomes)
  if by_value > LEAK then
    out[#out + 1] = warning('label_leak', ('%s alone tells failures nearly perfectly (AUC %.3f): '
      .. 'is it known before the failure, or a part of it?'):format(name, by_value), name)
  elseif by_absence > LEAK then
    out[#out + 1] = warning('label_leak', ('%s is missing just when there is a failure (AUC %.3f)')
      :format(name, by_absence), name)
  end
  if ordered and is_clock(values) then
    out[#out + 1] = warning('clock', ('%s only ever goes one way, as time does: a model learns '
      .. 'when failures were, not why'):format(name), name)
  end
end

--- What columns and outcomes say by themselves.
---@param X matrix.Matrix       in order of time where `ordered`
---@param outcomes number[]
---@param ordered boolean
---@return inspect.Warning[]
function inspect.columns(X, outcomes, ordered)
  local out, failures = {}, 0
  for _, y in ipairs(outcomes) do failures = failures + y end
  if failures < FEW_FAILURES then
    out[1] = warning('few_failures', ('there are only %d failures: below %d neither the model nor '
      .. 'its report is to be relied on'):format(failures, FEW_FAILURES))
  end
  for j, name in ipairs(X.names) do of_column(name, X:column(j), outcomes, ordered, out) end
  return out
end

--- Calls f(text) with each row as bytes, NaN being like NaN.
local function each_row(X, most, f)
  local layout = ('n'):rep(X.columns)
  for first = 1, math.min(X.rows, most), BLOCK do
    local last = math.min(first + BLOCK - 1, X.rows, most)
    for _, row in ipairs(X:slice(first, last):to_rows()) do
      for j, v in ipairs(row) do
        if v ~= v then row[j] = math.huge end
      end
      f(layout:pack(table.unpack(row)))
    end
  end
end

--- What the two parts of a split say of each other.
---@param train { X: matrix.Matrix, y: number[] }
---@param test { X: matrix.Matrix, y: number[] }
---@return inspect.Warning[]
function inspect.split(train, test)
  local out, seen, twins, compared = {}, {}, 0, math.min(test.X.rows, MOST_COMPARED)
  if train.X.columns <= 250 then
    each_row(train.X, MOST_COMPARED, function(row) seen[row] = true end)
    each_row(test.X, compared, function(row) twins = twins + (seen[row] and 1 or 0) end)
  end
  if compared > 0 and twins / compared > MANY_TWINS then
    out[1] = warning('duplicates', ('%.0f %% of the rows held out are in the training rows too, '
      .. 'value by value: the report is too good'):format(100 * twins / compared))
  end
  local function rate(y)
    local sum = 0
    for _, v in ipairs(y) do sum = sum + v end
    return sum / math.max(1, #y), sum
  end
  local before = rate(train.y)
  local now, failures = rate(test.y)
  if failures < FEW_IN_TEST then
    out[#out + 1] = warning('few_failures_held_out', ('the rows held out have only %d failures: '
      .. 'the report is a guess (a larger --test-share, or more history)'):format(failures))
  elseif now > CHANGED * before or now * CHANGED < before then
    out[#out + 1] = warning('unbalanced_split', ('failures are %s of the rows held out and '
      .. '%s of those before: the two parts are not alike'):format(prediction.percent(now),
      prediction.percent(before)))
  end
  return out
end

return inspect
