--- Isolation forest: how few random cuts it takes to set a sample's features apart from those of
--- its own history. Finds what has no name: levels, jumps, restlessness, calm, odd combinations.
local base64 = require 'perigee.base64'
local calendar = require 'perigee.calendar'
local check = require 'check'
local ecdf = require 'perigee.ecdf'
local features = require 'features'
local forest = require 'isolation_forest'
local shared = require 'detectors.options'
local types = require 'detectors.types'
local words = require 'detectors.feature_words'

---@class isolation_forest.DetectorOptions
---@field history? string        how far back to learn from; "14d"
---@field step? string           between the samples; "5m"
---@field retrain? string        how old the forest may become; "1d"
---@field features? string|string[]  "rolling", "value_hour_weekday", "seasonal_residual", or a list
---       of features; "rolling"
---@field n_estimators? integer  trees; 100
---@field max_samples? integer   samples a tree is grown from; 256
---@field contamination? number  the share of the history that counts as odd; 0.05
---@field ndim? integer          features that a cut looks at, 1 or 2; 2
---@field random_state? integer  the seed; 0
---@field direction? string      "both", "above" or "below" the median; "both"
---@field timezone? string       whose hours, weekdays and days: "Europe/Berlin"; "UTC"
---@field min_samples? integer   with fewer there is no baseline; 100
local HISTORY = { history = '14d', step = '5m', retrain = '1d', min_samples = 100 }
local SPEC = shared.with_history(HISTORY, {
  features = features.rule 'rolling',
  n_estimators = check.number(100, { min = 1, max = 10000, integer = true }),
  max_samples = check.number(256, { min = 2, max = 1 << 20, integer = true }),
  contamination = check.number(0.05, { above = 0, max = 0.5 }),
  ndim = check.number(2, { min = 1, max = 2, integer = true }),
  random_state = check.number(0, { integer = true }),
  direction = shared.direction 'both',
  timezone = check.string 'UTC',
})

local LEVELS = 64 -- of the scores of the history that a model remembers
local LEAST = 3   -- samples in the long window, or what the features say is left to chance

--- The share of the history up to a level: ever finer towards the odd end.
local function share(i) return 1 - (1 - i / LEVELS) ^ 2 end

--- The share of the history that is less odd than a score.
local function rank(levels, score)
  if score <= levels[1] then return 0 end
  if score > levels[LEVELS + 1] then return 1 end
  local low, high = 1, LEVELS + 1 -- levels[low] < score <= levels[high]
  while high - low > 1 do
    local middle = (low + high) // 2
    if levels[middle] < score then low = middle else high = middle end
  end
  local part = (score - levels[low]) / (levels[high] - levels[low])
  return share(low - 1) + part * (share(high - 1) - share(low - 1))
end

--- Where the samples of a history lie in each feature: what is usual.
local function usual_of(X)
  local usual = {}
  for j = 1, X.columns do
    local d <close> = ecdf.fit(X:column(j))
    usual[j] = d and { d:quantile(0.05), d:quantile(0.5), d:quantile(0.95) } or false
  end
  return usual
end

-- The forests of models, ready to score: made when they are needed first.
local ready = setmetatable({}, { __mode = 'k' })

---@return isolation_forest.Model?
---@return string? message  the model is damaged, or of another version
local function forest_of(model)
  if ready[model] then return ready[model] end
  local bytes, message = base64.decode(model.forest), 'it is no base64'
  if bytes then ready[model], message = forest.deserialize(bytes) end
  if not ready[model] then return nil, message end
  model.forest = nil -- the store has it, and memory need not hold it twice
  return ready[model]
end

local function count_finite(values)
  local n, least, most = 0, math.huge, -math.huge
  for _, value in ipairs(values) do
    if value - value == 0 then
      n, least, most = n + 1, math.min(least, value), math.max(most, value)
    end
  end
  return n, least, most
end

---@param o isolation_forest.DetectorOptions  with defaults
---@return Detector
local function build(o)
  local zone, wrong = calendar.zone(o.timezone)
  if not zone then types.refuse('timezone: ' .. wrong) end
  local wanted = { names = o.features, step = o.step, zone = zone }
  local newest = { names = o.features, step = o.step, zone = zone, last = true }
  local reach = features.reach(o.features, o.step)
  local long = features.window(o.step, true)

  local function fit(values, times)
    values, times = types.thin(values, times, o.step)
    local n, least, most = count_finite(values)
    local too_few = types.too_few(n, o.min_samples)
    if too_few then return nil, too_few end
    if least == most then return { constant = least, n = n } end
    local X <const>, no_rows = features.compute(values, times, wanted)
    if not X then return nil, 'no baseline: ' .. no_rows end
    local f, no_forest = forest.fit(X, { n_estimators = o.n_estimators, max_samples = o.max_samples,
      contamination = o.contamination, ndim = o.ndim, random_state = o.random_state })
    if not f then return nil, 'no baseline: ' .. no_forest end
    local scores = f:score_samples(X)
    for i, score in ipairs(scores) do scores[i] = -score end
    local d <close>, levels = ecdf.fit(scores), {}
    for i = 0, LEVELS do levels[i + 1] = d:quantile(share(i)) end
    local whole <close> = ecdf.fit(values)
    return { forest = base64.encode(f:serialize()), threshold = -f.offset, levels = levels,
      usual = usual_of(X), median = whole:quantile(0.5), n = n }
  end

  --- A history that never moved tells but one thing.
  local function judge_constant(model, value)
    local moved = value ~= model.constant
    return { is_anomaly = moved and types.counts(value > model.constant, o.direction),
      anomaly_score = moved and 1 or 0, confidence = 100,
      reason = moved
      and ('%s where each of %d samples was %s'):format(types.text(value), model.n,
        types.text(model.constant))
      or ('%s, as ever'):format(types.text(value)) }
  end

  --- Half at the threshold; from there to 100 as fewer of the history were so odd, or so usual.
  local function confidence(odder, is_odd)
    local c = o.contamination
    if is_odd then return 100 - 50 * math.min(odder, c) / c end
    return 100 - 50 * (1 - math.max(odder, c)) / (1 - c)
  end

  --- The verdict on a row of features.
  local function verdict(model, f, row, value, score)
    local odder = 1 - rank(model.levels, score)
    local is_odd = score > model.threshold
    local counts = types.counts(value > model.median, o.direction)
    local reason
    if is_odd then
      reason = words.odd(o.features, row, f:explain(row), model.usual, value, o.step)
      if not counts then reason = reason .. ', but not ' .. o.direction .. ' the usual' end
    else
      reason = ('%s is as usual: %.0f %% of the history were odder'):format(types.text(value),
        100 * odder)
    end
    return { is_anomaly = is_odd and counts, anomaly_score = score,
      confidence = confidence(odder, is_odd), reason = reason }
  end

  local function judge_infinite(value)
    return { is_anomaly = types.counts(value > 0, o.direction), anomaly_score = 1, confidence = 100,
      reason = 'the value is infinite' }
  end

  local function too_few(n)
    return types.no_baseline(('%d samples in the last %s, %d are needed'):format(n,
      words.duration(long), LEAST))
  end

  ---@return Verdict
  local function judge(model, value, time, _, recent)
    if value - value ~= 0 then return judge_infinite(value) end
    if model.constant then return judge_constant(model, value) end
    local y, ds, near = {}, {}, 1
    if reach > 0 then
      local samples = recent and recent[o.step]
      if not samples then return types.no_baseline 'the recent samples cannot be had' end
      for i, t in ipairs(samples.ds) do
        local v = samples.y[i]
        if t < time and t >= time - reach and v - v == 0 then
          y[#y + 1], ds[#ds + 1] = v, t
          if t > time - long then near = near + 1 end
        end
      end
      if near < LEAST then return too_few(near) end
    end
    local f, unreadable = forest_of(model)
    if not f then return types.no_baseline(unreadable) end
    y[#y + 1], ds[#ds + 1] = value, time
    local X = assert(features.compute(y, ds, newest))
    local row = X:to_rows()[1]
    return verdict(model, f, row, value, -f:score(row))
  end

  --- How many samples with a value each one's long window holds.
  local function neighbours(values, times)
    local near, first, n = {}, 1, 0
    for i, t in ipairs(times) do
      if values[i] - values[i] == 0 then n = n + 1 end
      while times[first] <= t - long do
        if values[first] - values[first] == 0 then n = n - 1 end
        first = first + 1
      end
      near[i] = n
    end
    return near
  end

  local function judge_rows(model, values, times)
    local X = assert(features.compute(values, times, wanted))
    local f = assert(forest_of(model))
    local scores, rows = X.rows > 0 and f:score_samples(X) or {}, X:to_rows()
    local near, out, k = neighbours(values, times), {}, 0
    for i, value in ipairs(values) do
      if value - value ~= 0 then
        out[i] = value == value and judge_infinite(value)
      else
        k = k + 1
        out[i] = reach > 0 and near[i] < LEAST and too_few(near[i])
          or verdict(model, f, rows[k], value, -scores[k])
      end
    end
    return out
  end

  local function judge_history(model, values, times)
    if not model.constant then return judge_rows(model, values, times) end
    local out = {}
    for i, value in ipairs(values) do
      out[i] = value == value and judge_constant(model, value)
    end
    return out
  end

  return { name = 'isolation_forest', options = o, history = shared.history(o), fit = fit,
    judge = judge, judge_history = judge_history,
    windows = reach > 0 and { { range = reach, step = o.step } } or nil }
end

return types.detector('isolation_forest', SPEC, build)
