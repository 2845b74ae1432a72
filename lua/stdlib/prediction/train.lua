--- From rows with outcomes to a model, what is to be kept with it, and an honest report: of a model
--- that has not seen the rows it is judged on.
local gradient_boosting = require 'gradient_boosting'
local inspect = require 'prediction.inspect'
local matrix = require 'matrix'
local moments = require 'perigee.moments'
local prediction = require 'prediction'
local report = require 'prediction.report'
local statistics = require 'statistics'

local train = {}

local LEAST_ROWS = 40    -- fewer cannot be split twenty to a side
local BLOCKS = 4          -- of which each is watched once while depth and trees are chosen
local MANY_ROWS, WATCHED = 200000, 0.2 -- of more rows the last share is watched instead
local DEPTHS = { 2, 3, 5 }
local MOST_TREES, TREES, PATIENCE = 400, 100, 30
local RATE = 0.05

---@class train.Data
---@field X matrix.Matrix      with names
---@field y number[]           0, 1, or NaN where it is not known
---@field times? number[]      in any order
---@field runs? number[]       series that the rows are of

---@class train.Options
---@field test_share? number
---@field split? "time"|"random"
---@field class_weight? "balanced"
---@field standardize? boolean
---@field trees? integer           as many as do best, at most 400
---@field max_depth? integer       2, 3 or 5, whichever does best
---@field learning_rate? number     0.05
---@field seed? integer
---@field refit? boolean           on all rows, in the end; true
---@field horizon? number          seconds that outcomes look ahead
---@field levels? table<string, number>

---@class train.Trained
---@field model table
---@field meta table     plain data, to be kept with the model
---@field summary table  what the command tells

-- -- rows -----------------------------------------------------------------------------------------

--- Infinite values are missing ones: no split can be made of them.
local function finite(X, warnings)
  local columns, changed = {}, false
  for j, name in ipairs(X.names) do
    local values, n = X:column(j), 0
    for i, v in ipairs(values) do
      if v == math.huge or v == -math.huge then values[i], n = 0 / 0, n + 1 end
    end
    columns[j], changed = values, changed or n > 0
    if n > 0 then
      warnings[#warnings + 1] = { code = 'infinite', feature = name,
        message = ('%s is infinite in %d rows: they are taken as missing'):format(name, n) }
    end
  end
  return changed and matrix.from_columns(columns, X.names) or X
end

local function append(list, more) table.move(more, 1, #more, #list + 1, list) end

local function pick_list(list, which)
  if not list then return nil end
  local out = {}
  for k, i in ipairs(which) do out[k] = list[i] end
  return out
end

local function pick(data, which)
  return { X = data.X:pick(which), y = pick_list(data.y, which),
    times = pick_list(data.times, which), runs = pick_list(data.runs, which) }
end

--- The rows whose outcome is known, in order of time. An infinite time is none.
local function in_order(data, warnings)
  local which, unknown = {}, 0
  for i, y in ipairs(data.y) do
    local t = data.times and data.times[i] or 0
    if y == y and t - t == 0 then which[#which + 1] = i else unknown = unknown + 1 end
  end
  if unknown > 0 then
    warnings[#warnings + 1] = { code = 'unknown_outcomes',
      message = ('%d rows without an outcome or a time are left out'):format(unknown) }
  end
  local times, is_sorted = data.times, true
  for k = 2, times and #which or 0 do
    is_sorted = is_sorted and times[which[k - 1]] <= times[which[k]]
  end
  if times and not is_sorted then
    table.sort(which, function(a, b)
      if times[a] ~= times[b] then return times[a] < times[b] end
      return a < b
    end)
  elseif unknown == 0 then
    return data
  end
  return pick(data, which)
end

local function failures_of(y)
  local n = 0
  for _, v in ipairs(y) do n = n + v end
  return math.tointeger(n)
end

--- What makes training pointless, or nil.
local function wrong(data)
  for i, y in ipairs(data.y) do
    if y ~= 0 and y ~= 1 and y == y then
      return ('the label of row %d is %s; expected 0 or 1'):format(i, ('%.14g'):format(y))
    end
  end
  if data.X.columns == 0 then return 'there is no feature' end
end

local function wrong_rows(data)
  local n, failures = #data.y, failures_of(data.y)
  if n < LEAST_ROWS then
    return ('there are %d rows with an outcome; at least %d are needed'):format(n, LEAST_ROWS)
  end
  if failures == 0 then return 'no row is a failure: there is nothing to learn' end
  if failures == n then return 'every row is a failure: there is nothing to learn' end
end

-- -- the split ------------------------------------------------------------------------------------

--- Shuffled numbers from 1 to n, the same for a seed on every machine (xorshift64*).
local function shuffled(n, seed)
  local out, x = {}, (seed * 0x9E3779B97F4A7C15 ~ 0x2545F4914F6CDD1D) | 1
  for i = 1, n do out[i] = i end
  for i = n, 2, -1 do
    x = x ~ (x >> 12)
    x = x ~ (x << 25)
    x = x ~ (x >> 27)
    local k = (x * 0x2545F4914F6CDD1D >> 33) % i + 1
    out[i], out[k] = out[k], out[i]
  end
  return out
end

--- The last rows are held out; rows of one moment stay together, and rows so near before the held
--- out ones that their outcomes are of that time take no part.
local function by_time(data, share, horizon)
  local n = #data.y
  local first = math.max(2, math.min(n, math.floor(n * (1 - share)) + 1))
  local before, after, times = {}, {}, data.times
  while times and first <= n and times[first] == times[first - 1] do first = first + 1 end
  local from = times and first <= n and times[first] - horizon or math.huge
  for i = 1, n do
    if i >= first then
      after[#after + 1] = i
    elseif not times or times[i] <= from then
      before[#before + 1] = i
    end
  end
  return before, after
end

local function by_chance(data, share, seed)
  local order = shuffled(#data.y, seed)
  local n = math.floor(#order * (1 - share))
  local before, after = table.move(order, 1, n, 1, {}), table.move(order, n + 1, #order, 1, {})
  table.sort(after)
  return before, after
end

-- -- fitting --------------------------------------------------------------------------------------

local function fit_options(o, depth, trees)
  return { n_estimators = trees, max_depth = depth, learning_rate = o.learning_rate or RATE,
    class_weight = o.class_weight, random_state = o.seed or 0 }
end

--- The rows of a part in another order: those of block k of n are the last, and those so near to
--- the block that their outcomes are of its time are left out.
local function watched_last(part, k, n, horizon)
  local rows, times = #part.y, part.times
  local first, last = (k - 1) * rows // n + 1, k * rows // n
  local from, to = -math.huge, math.huge
  if times then from, to = times[first] - horizon, times[last] + horizon end
  local which = {}
  for i = 1, rows do
    local is_near = times and times[i] > from and times[i] < to
    if (i < first or i > last) and not is_near then which[#which + 1] = i end
  end
  local others = #which
  for i = first, last do which[#which + 1] = i end
  return pick(part, which), (last - first + 1) / #which, others
end

--- How a model of that depth does on the last share of the rows after each tree, until it gets no
--- better for a while.
local function course(X, y, o, depth, share)
  local options = fit_options(o, depth, MOST_TREES)
  options.validation_fraction, options.early_stopping_rounds = share, PATIENCE
  local model, message = gradient_boosting.fit(X, y, options)
  return model and model.validation_score, message
end

--- The rows in the orders in which each block of them comes last.
local function orders(part, o)
  local out = {}
  for k = 1, BLOCKS do
    local ordered, share, others = watched_last(part, k, BLOCKS, o.horizon or 0)
    local seen = failures_of(table.move(ordered.y, 1, others, 1, {}))
    if seen > 0 and seen < others and others < #ordered.y then
      out[#out + 1] = { X = ordered.X, y = ordered.y, share = share, watched = #ordered.y - others }
    end
  end
  return out
end

--- The least loss in all, and after how many trees. Courses that ended early stay as they ended.
local function least(courses, list)
  local best, trees, longest = math.huge, nil, 0
  for _, c in ipairs(courses) do longest = math.max(longest, #c) end
  for t = 1, longest do
    local sum, rows = 0, 0
    for k, c in ipairs(courses) do
      sum, rows = sum + c[math.min(t, #c)] * list[k].watched, rows + list[k].watched
    end
    if sum / rows < best then best, trees = sum / rows, t end
  end
  return best, trees
end

--- How deep and how many the trees are: those by which rows that were not trained on are predicted
--- best. Failures come in clusters, so that one end of the rows tells little: each block of them is
--- left out in turn. Of a great many rows the end is enough.
---@return { depth: integer, trees: integer }? shape
---@return string? message
local function choose_shape(part, o)
  if o.trees and o.max_depth then return { depth = o.max_depth, trees = o.trees } end
  local list = #part.y <= MANY_ROWS and orders(part, o)
    or { { X = part.X, y = part.y, share = WATCHED, watched = 1 } }
  local best, shape = math.huge, { depth = o.max_depth or DEPTHS[1], trees = o.trees or TREES }
  for _, depth in ipairs(o.max_depth and { o.max_depth } or DEPTHS) do
    local courses = {}
    for k, part_order in ipairs(list) do
      local scores, message = course(part_order.X, part_order.y, o, depth, part_order.share)
      if not scores then return nil, message end
      courses[k] = scores
    end
    local loss, trees = least(courses, list)
    if loss < best then best, shape = loss, { depth = depth, trees = o.trees or trees } end
  end
  return shape
end

--- Medians, and where asked the scale of each feature: population variance, 1 for a constant.
local function statistics_of(X, standardize)
  local medians, scaler = {}, standardize and {} or nil
  for j, name in ipairs(X.names) do
    local values = X:column(j)
    medians[name] = statistics.median(values)
    local m = standardize and moments.of(values)
    if m and m:count() > 0 then
      local scale = m:stddev(0)
      scaler[name] = { mean = m:mean(), scale = scale > 0 and scale or 1 }
    end
  end
  return medians, scaler
end

--- The rows of each series together: neighbours are neighbours in time.
local function by_run(test)
  if not test.runs then return test end
  local which = {}
  for i = 1, #test.y do which[i] = i end
  table.sort(which, function(a, b)
    if test.runs[a] ~= test.runs[b] then return test.runs[a] < test.runs[b] end
    return a < b
  end)
  return pick(test, which)
end

local function evaluate(model, part, o)
  local test = by_run(part)
  local scores, message = model:predict_proba(test.X)
  if not scores then return nil, message end
  local rows = { outcomes = test.y, scores = scores, runs = test.runs }
  local span = test.times and o.split ~= 'random'
    and report.span(test.times, o.horizon or 3600, test.runs)
  if span then rows.weeks, rows.again = span.weeks, span.again end
  return report.of(rows, o.levels or prediction.LEVELS)
end

local function importances(model, names)
  local out = {}
  for j, name in ipairs(names) do
    out[j] = { feature = name, importance = model.feature_importances[j] }
  end
  table.sort(out, function(a, b)
    if a.importance ~= b.importance then return a.importance > b.importance end
    return a.feature < b.feature
  end)
  return out
end

local function warn_of_model(evaluation, o, warnings)
  local function add(code, message)
    warnings[#warnings + 1] = { code = code, message = message }
  end
  if o.class_weight then
    add('class_weight', 'with class weights what the model gives is no probability: the levels do '
      .. 'not mean what they say, and ranking mostly gets worse')
  end
  if evaluation.positives > 0 and evaluation.log_loss >= evaluation.prior_log_loss then
    add('no_skill', ('the log-loss held out, %.4g, is no better than that of the base rate, %.4g')
      :format(evaluation.log_loss, evaluation.prior_log_loss))
  end
  local alarms = 0
  for _, level in ipairs(evaluation.levels) do alarms = alarms + level.alarms end
  if alarms == 0 then
    add('levels_not_reached', 'no row held out reaches any level; choose levels from the '
      .. 'thresholds below')
  end
end

local function split(data, o)
  local share = o.test_share or 0.2
  local before, after
  if o.split == 'random' then
    before, after = by_chance(data, share, o.seed or 0)
  else
    before, after = by_time(data, share, o.horizon or 0)
  end
  return pick(data, before), pick(data, after)
end

--- Trains. Waits while threads compute; `tell` is called with what is under way.
---@param given train.Data
---@param o train.Options
---@param tell? fun(what: string)
---@return train.Trained? trained
---@return string? message
function train.run(given, o, tell)
  tell = tell or function() end
  local warnings, message = {}, wrong(given)
  if message then return nil, message end
  tell 'looking at the data'
  local data = in_order(given, warnings)
  data.X = finite(data.X, warnings)
  message = wrong_rows(data)
  if message then return nil, message end
  local ordered = data.runs == nil and o.split ~= 'random'
  append(warnings, inspect.columns(data.X, data.y, ordered))
  local part, test = split(data, o)
  append(warnings, inspect.split(part, test))
  if #test.y == 0 then
    return nil, 'no row is held out: the last rows are all of one time (--split random)'
  end
  message = wrong_rows(part)
  if message then return nil, 'of the training part: ' .. message end

  tell 'choosing how deep and how many trees'
  local shape, model
  shape, message = choose_shape(part, o)
  if not shape then return nil, message end
  local options = fit_options(o, shape.depth, shape.trees)
  tell 'training on all but the rows held out'
  model, message = gradient_boosting.fit(part.X, part.y, options)
  if not model then return nil, message end
  local evaluation
  evaluation, message = evaluate(model, test, o)
  if not evaluation then return nil, message end
  warn_of_model(evaluation, o, warnings)
  if o.refit ~= false then
    tell 'training on all rows'
    model, message = gradient_boosting.fit(data.X, data.y, options)
    if not model then return nil, message end
  end

  local medians, scaler = statistics_of(data.X, o.standardize)
  local rows, failures = #data.y, failures_of(data.y)
  local summary = { rows = rows, failures = failures, base_rate = failures / rows,
    features = data.X.names, trees = shape.trees, depth = shape.depth, refit = o.refit ~= false,
    split = { by = o.split or 'time', train_rows = #part.y, test_rows = #test.y },
    evaluation = evaluation, importances = importances(model, data.X.names),
    warnings = warnings }
  return { model = model, summary = summary, meta = { version = 1, features = data.X.names,
    rows = rows, failures = failures, base_rate = failures / rows, medians = medians,
    scaler = scaler, class_weight = o.class_weight, horizon = o.horizon,
    evaluation = evaluation, importances = summary.importances } }
end

return train
