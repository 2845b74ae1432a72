--- The life of a signal's series: Prometheus' pending, firing and resolved, and beside it what the
--- last look said: ok, anomaly, no baseline, no data, NaN, partial. Pure: from a state, a time and
--- an answer to the next state. Neither NaN nor missing data is an anomaly, and neither is good
--- news.
local label_key = require('prometheus').label_key

local signals = {}

signals.KEEP_RESOLVED = 900 -- seconds that a resolved series is told of, at least

---@class signals.Series  plain data, kept in the store
---@field labels table<string, string>   what tells it from the others
---@field annotations table<string, string>
---@field state "inactive"|"pending"|"firing"
---@field condition "ok"|"anomaly"|"no_baseline"|"no_data"|"nan"
---@field value? number|string           a text where JSON has no such number
---@field anomaly_score? number|string, confidence? number|string, reason? string
---@field active_at? number, fired_at? number, resolved_at? number, last_seen? number
---@field keep_firing_since? number
---@field sent_at? number                when Alertmanager was told of an alert last
---@field details? table                  what else is told of it: why a prediction is what it is
---@field odd? table  value, anomaly_score, confidence and reason when it was odd last
---@field firing_from? number, firing_to? number  when it fired last; no end while it does
---@field partial? boolean               it became or stayed what it is by a partial answer

---@class signals.Observation  one series of an answer, judged
---@field labels table<string, string>   with the declaration's added
---@field annotations? table<string, string>
---@field value number
---@field verdict? Verdict               absent for NaN
---@field details? table

--- Numbers as JSON can hold them.
local function storable(x)
  if x ~= x then return 'NaN' end
  if x == math.huge then return '+Inf' end
  if x == -math.huge then return '-Inf' end
  return x
end

local function remember(series, o, ts, partial)
  series.value, series.last_seen, series.details = storable(o.value), ts, o.details
  series.partial = partial or nil
  if o.annotations then series.annotations = o.annotations end
  local v = o.verdict
  if not v then
    series.condition, series.anomaly_score, series.confidence, series.reason = 'nan', nil, nil,
      'the value is NaN'
    return
  end
  series.condition = v.is_anomaly and 'anomaly' or v.confidence and 'ok' or 'no_baseline'
  series.anomaly_score, series.confidence = storable(v.anomaly_score), storable(v.confidence)
  series.reason = v.reason
  if v.is_anomaly then
    series.odd = { value = series.value, anomaly_score = series.anomaly_score,
      confidence = series.confidence, reason = series.reason }
  end
end

local function resolve(series, ts, why)
  series.state, series.resolved_at, series.keep_firing_since = 'inactive', ts, nil
  series.resolved_by, series.firing_to = why, ts
end

local function drop_pending(series)
  series.state, series.active_at = 'inactive', nil
end

--- A reload has raised hold_for: what fires too early by the new one waits once more.
local function take_back(series, ts, hold_for)
  if ts - series.active_at >= hold_for then return end
  series.state, series.fired_at, series.firing_to = 'pending', nil, ts
  series.keep_firing_since = nil
end

--- A series that is an anomaly now.
local function active(series, ts, hold_for)
  series.keep_firing_since = nil
  if series.state == 'inactive' then
    series.state, series.active_at, series.fired_at, series.resolved_at = 'pending', ts, nil, nil
    series.resolved_by = nil
  end
  if series.state == 'pending' and ts - series.active_at >= hold_for then
    series.state, series.fired_at, series.firing_from, series.firing_to = 'firing', ts, ts, nil
  elseif series.state == 'firing' then
    take_back(series, ts, hold_for)
  end
end

--- A series that is none.
local function quiet(series, ts, def, why)
  if series.state == 'pending' then
    drop_pending(series)
  elseif series.state == 'firing' then
    if def.keep_firing_for > 0 then
      series.keep_firing_since = series.keep_firing_since or ts
      if ts - series.keep_firing_since < def.keep_firing_for then
        return take_back(series, ts, def.hold_for)
      end
    end
    resolve(series, ts, why)
  end
end

local TIMES = { 'active_at', 'fired_at', 'resolved_at', 'last_seen', 'keep_firing_since',
  'firing_from', 'firing_to' }

--- By how much the clock was set back since the state was kept.
local function set_back(state, ts)
  local latest = ts
  for _, series in pairs(state.series or {}) do
    for _, name in ipairs(TIMES) do latest = math.max(latest, series[name] or ts) end
  end
  return latest - ts
end

--- A series to go on from; its times go back with the clock, so that what has lasted an hour still
--- has.
local function copy(before, back)
  local series = {}
  for name, value in pairs(before) do series[name] = value end
  for _, name in ipairs(back > 0 and TIMES or {}) do
    series[name] = series[name] and series[name] - back
  end
  return series
end

--- The state after an evaluation at ts.
---@param state { series: table<string, signals.Series> }
---@param def { hold_for: number, keep_firing_for: number, keep_resolved?: number }
---@param ts number
---@param observations signals.Observation[]
---@param partial boolean   the answer is incomplete: what it lacks is not known to be gone
---@return table state      a new one
---@return string? message  two series came to the same labels: then nothing has changed
function signals.step(state, def, ts, observations, partial)
  local next_series, seen, back = {}, {}, set_back(state, ts)
  for _, o in ipairs(observations) do
    local key = label_key(o.labels)
    if seen[key] then
      return state, 'two series come to the same labels; let the query keep what tells them apart'
    end
    seen[key] = true
    local before = (state.series or {})[key] or { state = 'inactive', labels = o.labels,
      annotations = {} }
    local series = copy(before, back)
    remember(series, o, ts, partial)
    if series.condition == 'anomaly' then
      active(series, ts, def.hold_for)
    else
      quiet(series, ts, def, series.condition)
    end
    next_series[key] = series
  end
  for key, before in pairs(state.series or {}) do
    if not seen[key] then
      local series = copy(before, back)
      if not partial then
        series.condition, series.anomaly_score, series.confidence = 'no_data', nil, nil
        series.reason, series.value, series.details = 'no data', nil, nil
        quiet(series, ts, def, 'no_data')
      end
      local told = series.firing_to and ts - series.firing_to < (def.keep_resolved
        or signals.KEEP_RESOLVED)
      if partial or series.state ~= 'inactive' or told then next_series[key] = series end
    end
  end
  return { series = next_series }
end

--- The highest state of a signal's series: firing, pending, inactive; unknown before the first
--- look.
function signals.highest(state)
  local best = state and state.series and 'inactive' or 'unknown'
  for _, s in pairs(state and state.series or {}) do
    if s.state == 'firing' then return 'firing' end
    if s.state == 'pending' then best = 'pending' end
  end
  return best
end

return signals
