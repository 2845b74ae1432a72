--- Forecasts as the engine makes them: on the grid of their names, from the source's history, each
--- series for itself on a thread. What comes of it is kept in the store and judged by alert_when;
--- from there on a forecast lives as a signal does. What cannot be forecast is no alert.
local async = require 'async'
local check = require 'check'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local forecasting = require 'forecasting'
local json = require 'perigee.json'
local metrics = require 'engine.metrics'
local prometheus = require 'prometheus'
local signals = require 'engine.signals'
local types = require 'detectors.types'
local units = require 'units'

local forecasts = {}

forecasts.MAX_SERIES = 500 -- a forecast holds a course for each of them
local STALE_STEPS = 3      -- a series whose last sample is older has ended

local gate = async.gate(2) -- a history can be large

-- -- the history ----------------------------------------------------------------------------------

--- Ends on a multiple of the step: what is forecast does not depend on the moment of asking.
local function history(engine, def, slot)
  local stop = slot // def.step * def.step
  local series, failure = engine.queries:run(engine.source.query_range, engine.source, def.query,
    stop - def.history, stop, def.step)
  if not series then
    return nil, ('the history cannot be read: %s (%s)'):format(failure.message, failure.kind)
  end
  local most = math.min(forecasts.MAX_SERIES, engine.config.limits.max_series)
  if #series > most then
    return nil, ('the query gives %d series; a forecast takes at most %d'):format(#series, most)
  end
  return series, stop
end

--- When a series was last measured, or nil.
local function last_sample(s)
  for i = #s.y, 1, -1 do
    if s.y[i] - s.y[i] == 0 then return s.ds[i] end
  end
end

-- -- the verdict ----------------------------------------------------------------------------------

--- The numbers that alert_when asks for; never is infinite.
local function numbers(r)
  local function days(x) return x == -1 and math.huge or x end
  local q = r.days_quantiles
  return { days_until_threshold = days(r.days_until_threshold), days_10 = days(q['0.1']),
    days_50 = days(q['0.5']), days_90 = days(q['0.9']), probability = r.probability or 0,
    predicted_max = r.predicted_max, predicted_min = r.predicted_min,
    current_value = r.current_value, threshold = r.threshold }
end

---@return table? verdict
---@return table? fault  of the rule's own function
local function judge(def, r)
  if r.why_not then return types.no_baseline(r.why_not) end
  local holds = false
  if def.alert_when then
    local held, fault = def.alert_when.holds(numbers(r), { labels = r.labels })
    if fault then return nil, fault end
    holds = held
  end
  local p = r.probability or 0
  return { is_anomaly = holds, anomaly_score = p, confidence = 100 * math.max(p, 1 - p),
    reason = r.recommendation }
end

--- A forecast's series as the state machine sees it. Its value is the days that are left; the words
--- of what to do are an annotation where the rule has none of that name.
local function observe(engine, def, labels, r, verdict, slot)
  local days = r.days_until_threshold
  local o = evaluate.observe(engine, def,
    { labels = labels, value = days == -1 and math.huge or days }, verdict, slot)
  if o.annotations and not o.annotations.recommendation then
    o.annotations.recommendation = r.recommendation
  end
  return o
end

-- -- what is kept ---------------------------------------------------------------------------------

--- Seven digits: what is drawn and read needs no more, and a course takes a third of the room.
local function short(values)
  local out = json.array()
  for i, v in ipairs(values) do out[i] = tonumber(('%.7g'):format(v)) end
  return out
end

local COURSE = { 'yhat', 'yhat_lower', 'yhat_upper' }

--- A record in two parts: what is read often, and the course that it expects.
local function parts(r)
  local summary, course = {}, { first = r.ds[1], step = r.ds[2] and r.ds[2] - r.ds[1], n = #r.ds }
  for name, value in pairs(r) do summary[name] = value end
  summary.ds = nil
  for _, name in ipairs(COURSE) do course[name], summary[name] = short(r[name]), nil end
  return summary, course
end

local function keep(engine, def, slot, records)
  local summaries, courses = json.array(), json.array()
  for i, r in ipairs(records) do summaries[i], courses[i] = parts(r) end
  engine.store:relaxed(function()
    engine.store:exec([[insert or replace into forecasts (name, digest, updated_at, results,
      courses) values (?, ?, ?, ?, ?)]], def.name, def.model_digest, slot, json.encode(summaries),
      json.encode(courses))
  end)
end

-- -- one evaluation -------------------------------------------------------------------------------

--- Forecasts one series; a record, and its observation unless the series has ended.
local function one(engine, def, s, stop, slot)
  local metric = s.labels.__name__ or def.query
  s.labels.__name__ = nil
  local at = last_sample(s)
  if at and at < stop - STALE_STEPS * def.step then return nil end
  local r = gate:run(forecasting.forecast,
    { name = metric, labels = s.labels, ds = s.ds, y = s.y }, def)
  metrics.forecasts:add(1, r.why_not and 'failed' or 'made')
  local verdict, fault = judge(def, r)
  if fault then return nil, nil, fault end
  local o = observe(engine, def, s.labels, r, verdict, slot)
  r.key = prometheus.label_key(o.labels)
  return r, o
end

--- The observations of an evaluation, as evaluate.run() wants them.
---@param engine table
---@param job Job
---@param slot number
---@return signals.Observation[]? observations
---@return table|string? failure
---@return table? answer
function forecasts.look(engine, job, slot)
  local def = job.def
  local series, stop = history(engine, def, slot)
  if not series then return nil, stop end
  -- Half a history would be another trend: what is known stays as it was.
  if series.partial then return {}, nil, series end
  local records, observations = {}, {}
  for _, s in ipairs(series) do
    local r, o, fault = one(engine, def, s, stop, slot)
    if fault then return nil, fault end
    records[#records + 1], observations[#observations + 1] = r, o
    async.turn()
  end
  forecasting.rank(records)
  keep(engine, def, slot, records)
  return observations, nil, series
end

-- -- what is told ---------------------------------------------------------------------------------

--- What is known of a declaration as a whole.
local function head(def, row, updated_at)
  local state = json.decode(row.state)
  return { name = def.name, file = def.file, line = def.line, query = def.query,
    horizon = units.duration_text(def.horizon), every = units.duration_text(def.every),
    health = row.health, error = row.error ~= '' and row.error or nil,
    updated_at = updated_at and clock.text(updated_at) or nil,
    state = row.evaluated_at > 0 and signals.highest(state) or 'unknown' }, state
end

local function condition(series, r)
  if r.why_not then return 'no_forecast' end
  return series and series.condition or 'ok'
end

--- A record, with the declaration's head and its course.
local function view(base, r, course, series)
  local out = {}
  for name, value in pairs(base) do out[name] = value end
  for name, value in pairs(r) do out[name] = value end
  out.key, out.why_not, out.current_time = nil, nil, clock.text(r.current_time or 0)
  if not r.current_time then out.current_time = nil end
  out.state, out.condition = series and series.state or 'inactive', condition(series, r)
  out.ds = json.array()
  for i = 1, course.n or 0 do out.ds[i] = course.first + (i - 1) * (course.step or 0) end
  for _, name in ipairs(COURSE) do out[name] = json.array(course[name]) end
  return out
end

--- All forecasts for the API: one entry a series, those of a declaration by urgency; a declaration
--- without any has an entry that says why.
function forecasts.list(engine)
  local out = json.array()
  for _, name in ipairs(check.names(engine.rules.forecasts)) do
    local def = engine.rules.forecasts[name]
    local kept = engine.store:row('select * from forecasts where name = ?', name)
    local base, state = head(def, evaluate.row(engine, name), kept and kept.updated_at)
    local results = kept and json.decode(kept.results) or {}
    local courses = kept and json.decode(kept.courses) or {}
    for i, r in ipairs(results) do
      out[#out + 1] = view(base, r, courses[i], (state.series or {})[r.key])
    end
    if #results == 0 then
      base.condition = base.health == 'err' and 'error' or kept and 'no_data' or 'unknown'
      base.labels, base.days_until_threshold = {}, -1
      for _, part in ipairs { 'ds', table.unpack(COURSE) } do base[part] = json.array() end
      base.recommendation = 'no forecast: ' .. (base.error
        or kept and 'the query gives no series' or 'it has not been made yet')
      out[#out + 1] = base
    end
  end
  return out
end

--- Gauges that are drawn anew for each scrape.
function forecasts.measure(engine)
  for _, name in ipairs { 'forecast_days', 'forecast_probability', 'forecast_max',
    'forecast_updated' } do
    metrics[name]:clear()
  end
  for _, row in ipairs(engine.store:rows 'select name, updated_at, results from forecasts') do
    metrics.forecast_updated:set(row.updated_at, row.name)
    for _, r in ipairs(json.decode(row.results)) do
      if not r.why_not then
        local series, n = prometheus.labels_text(r.labels), numbers(r)
        metrics.forecast_max:set(r.predicted_max, row.name, series)
        if r.threshold then
          metrics.forecast_days:set(n.days_until_threshold, row.name, series)
          metrics.forecast_probability:set(n.probability, row.name, series)
        end
      end
    end
  end
end

--- Forgets forecasts that are declared no more; those that are declared otherwise are due at once.
function forecasts.prune(store, defs)
  for _, row in ipairs(store:rows 'select name, digest from forecasts') do
    local def = defs[row.name]
    if not def or def.model_digest ~= row.digest then
      store:exec('delete from forecasts where name = ?', row.name)
      if def then
        store:exec('update signals set claimed_at = 0, evaluated_at = 0 where name = ?', row.name)
      end
    end
  end
end

return forecasts
