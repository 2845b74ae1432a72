--- Predictions as the engine makes them: on the grid of their names, one instant query a feature,
--- joined by labels, one prediction a group. From there on a prediction lives as a signal does: it
--- fires from its alert_level on. A group of which nothing is known is no prediction, and no alert.
local async = require 'async'
local check = require 'check'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local file = require 'perigee.file'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local model_file = require 'prediction.model'
local policy = require 'prediction'
local prediction = require 'rules.prediction'
local prometheus = require 'prometheus'
local signals = require 'engine.signals'
local source = require 'prediction.source'
local units = require 'units'

local predictions = {}

-- -- the model ------------------------------------------------------------------------------------

--- Takes a model file that is there anew, where it fits; else the old model goes on.
local function refresh(def)
  local stat = file.stat(def.path)
  local is_same = stat and def.stat and stat.modified == def.stat.modified
    and stat.size == def.stat.size
  if is_same or not stat or def.refused == stat.modified then return end
  local fresh = setmetatable({}, { __index = def })
  local problems = prediction.check_model(fresh, {})
  if #problems > 0 then
    def.refused, def.model_error = stat.modified, problems[1].message
    log.warn('a new model is not taken', { prediction = def.name, reason = def.model_error })
    return
  end
  def.stat, def.refused, def.model_error = fresh.stat, nil, nil
  if fresh.loaded.digest ~= def.loaded.digest then
    log.info('a new model is used', { prediction = def.name, model = def.path })
  end
  def.loaded = fresh.loaded
end

-- -- one evaluation -------------------------------------------------------------------------------

local function ask(engine, slot)
  return function(expr)
    return engine.queries:run(engine.source.query, engine.source, expr, slot)
  end
end

--- The groups of which anything is known: values that are all NaN are none.
local function known(groups, X)
  local out, which = {}, {}
  for i, group in ipairs(groups) do
    for j = 1, X.columns do
      local v = X:get(i, j)
      if v == v then
        out[#out + 1], which[#which + 1] = group, i
        break
      end
    end
  end
  return out, X:pick(which)
end

local function verdict(def, result)
  local p = result.failure_probability
  local is_anomaly = policy.reaches(result.risk_level, def.alert_level)
  return { is_anomaly = is_anomaly, anomaly_score = p,
    confidence = 100 * (is_anomaly and p or 1 - p), reason = result.recommendation }
end

local function details(result)
  local factors = json.array()
  for i, f in ipairs(result.top_contributing_factors) do factors[i] = f end
  return { risk_level = result.risk_level, top_contributing_factors = factors,
    missing = json.array(result.missing) }
end

--- The observations of an evaluation, as evaluate.run() wants them.
---@param engine table
---@param job Job
---@param slot number
---@return signals.Observation[]? observations
---@return table|string? failure
---@return table? answer
function predictions.look(engine, job, slot)
  local def = job.def
  refresh(def)
  local groups, message, kind, partial = source.present(ask(engine, slot), def.features,
    def.group_by)
  if not groups then return nil, kind and ('%s (%s)'):format(message, kind) or message end
  if #groups > engine.config.limits.max_series then
    return nil, ('the features give %d groups; at most %d (limits.max_series)'):format(#groups,
      engine.config.limits.max_series)
  end
  local loaded, observations = def.loaded, {}
  local there, X = known(groups, source.rows(groups, loaded.features))
  local ok, wrong = model_file.predict(loaded, X, { levels = def.levels, defaults = def.defaults,
    scaler = def.scaler, horizon = def.horizon }, function(i, result)
    local o = evaluate.observe(engine, def, { labels = there[i].labels,
      value = result.failure_probability }, verdict(def, result), slot)
    o.details = details(result)
    observations[i] = o
    if i % 100 == 0 then async.turn() end
  end)
  if not ok then return nil, wrong end
  local answer = {}
  if #partial > 0 then
    answer.partial = true
    answer.warnings = { 'the answer is partial for ' .. table.concat(partial, ', ') }
  end
  return observations, nil, answer
end

-- -- what is told ---------------------------------------------------------------------------------

local function series_view(s)
  local d = s.details or {}
  return { labels = s.labels, state = s.state, condition = s.condition,
    failure_probability = s.value, risk_level = d.risk_level, recommendation = s.reason,
    top_contributing_factors = d.top_contributing_factors or json.array(),
    missing = d.missing or json.array(), partial = s.partial,
    fired_at = s.fired_at and clock.text(s.fired_at) or nil }
end

local function view(engine, def)
  local row = evaluate.row(engine, def.name)
  local state, series = json.decode(row.state), json.array()
  for _, s in pairs(state.series or {}) do series[#series + 1] = series_view(s) end
  table.sort(series, function(a, b) return json.encode(a.labels) < json.encode(b.labels) end)
  local condition = 'ok'
  if row.health ~= 'ok' then
    condition = row.health == 'err' and 'error' or 'unknown'
  elseif next(state.series or {}) == nil then
    condition = 'no_data'
  end
  local meta = def.loaded and def.loaded.meta or {}
  return { name = def.name, file = def.file, line = def.line,
    every = units.duration_text(def.every),
    health = row.health, error = row.error ~= '' and row.error or nil, condition = condition,
    state = row.evaluated_at > 0 and signals.highest(state) or 'unknown',
    updated_at = row.evaluated_at > 0 and clock.text(row.evaluated_at) or nil,
    levels = def.levels, alert_level = def.alert_level,
    model = { file = def.path, trained_at = meta.trained_at, rows = meta.rows,
      failures = meta.failures, base_rate = meta.base_rate, importances = meta.importances,
      error = def.model_error },
    predictions = series }
end

--- All declared predictions for the API, by name, each with one entry a group.
function predictions.list(engine)
  local out = json.array()
  for i, name in ipairs(check.names(engine.rules.predictions)) do
    out[i] = view(engine, engine.rules.predictions[name])
  end
  return out
end

--- Gauges that are drawn anew for each scrape; what is not known now is not there.
function predictions.measure(engine)
  metrics.prediction_probability:clear()
  metrics.prediction_missing:clear()
  for name in pairs(engine.rules.predictions) do
    for _, s in pairs(evaluate.read_state(engine, { name = name }).series or {}) do
      if type(s.value) == 'number' then
        local series = prometheus.labels_text(s.labels)
        metrics.prediction_probability:set(s.value, name, series)
        metrics.prediction_missing:set(#(s.details and s.details.missing or {}), name, series)
      end
    end
  end
end

return predictions
