--- One evaluation of one signal: claim the slot, ask, judge, step, keep. Nothing of it lives in
--- memory between two evaluations, so a reload or a crash may come at any moment.
local async = require 'async'
local clock = require 'perigee.clock'
local faults = require 'engine.faults'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local log = require 'log'
local metrics = require 'engine.metrics'
local signals = require 'engine.signals'
local types = require 'detectors.types'

local evaluate = {}

local TURN = 0.02 -- seconds of CPU time after which whoever else uses the loop has a turn

-- So many times what one call of a rule's function may take, an evaluation of many series may.
local CALLS = 20

---@class Job  what is evaluated on a grid: a signal, a forecast, a group of rules, or a playbook's
---            metric trigger
---@field name string      unique among all
---@field rule string      "signal/…", "forecast/…", "group/…" or "playbook/…", as faults and
---       metrics name it
---@field every number
---@field query string
---@field def table
---@field evaluate? fun(engine: table, job: Job, slot: number): table?  in place of evaluate.run()
---@field read? fun(engine: table, job: Job): table  its state, where that is not in its own row
---@field alerts? string[]  what incidents know of it, where that is not its own name
---@field look? fun(engine: table, job: Job, slot: number): table[]?, any, table?  instead of asking
---       and judging: observations, what went wrong, and the answer (partial, warnings)

--- Takes the slot, so that no other generation or process evaluates it too. One that lies far ahead
--- was taken by a clock that has been set back since.
---@return boolean taken
---@return number missed  slots that nobody took
---@return string? off    why the rule is switched off
local function claim(engine, job, slot)
  local store = engine.store
  return store:relaxed(function()
    local row = store:row('select claimed_at from signals where name = ?', job.name)
    local before = row and row.claimed_at or 0
    if before >= slot and before <= slot + job.every then return false, 0 end
    store:exec([[insert into signals (name, claimed_at, claimed_by) values (?1, ?2, ?3)
      on conflict (name) do update set claimed_at = ?2, claimed_by = ?3]], job.name, slot,
      engine.process)
    local slots = before > 0 and math.floor((slot - before) / job.every + 0.5) or 1
    return true, math.max(0, slots - 1), faults.switched_off(store, job.rule, job.def.file_digest)
  end)
end

--- Keeps the outcome of a slot, unless that of a later one is there: as in claim().
local function store_outcome(engine, job, slot, seconds, health, message, state)
  engine.store:exec([[update signals set evaluated_at = ?, health = ?, error = ?, seconds = ?,
    state = coalesce(?, state) where name = ? and (evaluated_at < ? or evaluated_at > ?)]], slot,
    health, message, seconds, state and json.encode(state) or nil, job.name, slot,
    slot + job.every)
end

local function read_state(engine, job)
  local row = engine.store:row('select state from signals where name = ?', job.name)
  return row and json.decode(row.state) or {}
end

-- -- the pieces of an evaluation ------------------------------------------------------------------

local function ask(engine, job, slot)
  local vector, failure = engine.queries:run(engine.source.query, engine.source, job.query, slot)
  if not vector then
    local hint = failure.kind == 'too_large' and ': too many series for limits.max_series?' or ''
    return nil, ('%s (%s)%s'):format(failure.message, failure.kind, hint)
  end
  if vector.type == 'matrix' then
    return nil, 'the query gives a range of values, not one a series'
  end
  if #vector > engine.config.limits.max_series then
    return nil, ('the query gives %d series; at most %d (limits.max_series)'):format(#vector,
      engine.config.limits.max_series)
  end
  for _, sample in ipairs(vector) do sample.labels.__name__ = nil end
  return vector
end

--- The samples of one window before a slot, by series.
local function ask_window(engine, job, slot, window, expected)
  local n = math.max(1, math.ceil(window.range / window.step))
  local found, failure = engine.queries:run(engine.source.query_range, engine.source, job.query,
    slot - n * window.step, slot - window.step, window.step, expected)
  if not found then return nil, failure.message end
  if found.partial then return nil, 'the answer is partial' end
  return found
end

--- What the detector's windows show of each series before a slot: by the series' key, then by step.
--- Where it cannot be had nothing is there, and the detector says so.
local function look_back(engine, job, slot, expected)
  local by_series = {}
  for _, window in ipairs(job.def.detector.windows or {}) do
    local found, message = ask_window(engine, job, slot, window, expected)
    if not found then
      log.warn('the recent samples cannot be had', { rule = job.rule, reason = message })
      return {}
    end
    for _, series in ipairs(found) do
      series.labels.__name__ = nil
      local key = label_key(series.labels)
      by_series[key] = by_series[key] or {}
      by_series[key][window.step] = series
    end
  end
  return by_series
end

--- The verdict on a sample, or nil for NaN; nil and a fault where the rule's own code failed.
local function judge(def, models, why, recent, sample)
  if sample.value ~= sample.value then return nil end
  local detector, model = def.detector, nil
  local key = (detector.fit or detector.windows) and label_key(sample.labels)
  if detector.fit then
    model = models[key]
    if not model then
      return types.no_baseline(why or 'this series was not there when it was learned')
    end
    if model.missing then return types.no_baseline(model.missing) end
  end
  return detector.judge(model, sample.value, sample.time, sample.labels, key and recent[key])
end

local function expand_all(templates, data)
  local out = {}
  for name, template in pairs(templates) do
    local text, message = template:expand(data)
    out[name] = text or ('<error expanding template: %s>'):format(message)
  end
  return out
end

local function observe(engine, def, sample, verdict, slot)
  local data = { labels = sample.labels, value = sample.value,
    external_labels = engine.config.external_labels,
    external_url = engine.external_url, time = slot,
    query = function(expr) return engine:template_query(expr, slot) end }
  local labels = {}
  for name, value in pairs(sample.labels) do labels[name] = value end
  for name, value in pairs(expand_all(def.labels, data)) do
    labels[name] = value ~= '' and value or nil
  end
  return { labels = labels, value = sample.value, verdict = verdict,
    annotations = verdict and verdict.is_anomaly and expand_all(def.annotations, data) or nil }
end

--- Counts the CPU time of an evaluation, and leaves turns to others: a rule's own function is
--- called, and its templates are expanded, for each of many series, which has its limit. What the
--- engine's own detectors take has none: to read the models of a thousand series takes seconds.
---@return fun(series: integer): table? check   says when it is too much
---@return fun(seconds: number)         excuse  takes time off that was the engine's own
local function cpu_meter(engine, def)
  local most = CALLS * engine.config.limits.rule_cpu
  local spent, began, excused = 0, clock.cpu(), 0
  return function(series)
    local took = clock.cpu() - began
    if took < TURN then return end
    spent = spent + 1000 * math.max(0, took - excused)
    if spent > most then
      local message = 'the evaluation has taken %.0f ms of CPU time for %d series; at most %d ms'
      return { kind = 'cpu', file = def.file, line = def.line,
        message = message:format(spent, series, most) }
    end
    async.turn()
    began, excused = clock.cpu(), 0
  end, function(seconds) excused = excused + seconds end
end

---@return signals.Observation[]? observations
---@return table|string? failure  a fault (a table) or words
local function judge_all(engine, job, vector, slot)
  local def, models, why = job.def, {}, nil
  if def.detector.fit then models, why = engine.models:get(def, vector, slot) end
  local recent = not why and look_back(engine, job, slot, #vector) or {}
  local observations = {}
  local too_much, excuse = cpu_meter(engine, def)
  for i, sample in ipairs(vector) do
    local late = too_much(i - 1)
    if late then return nil, late end
    local began = clock.cpu()
    local verdict, fault = judge(def, models, why, recent, sample)
    if fault then return nil, fault end
    if not def.detector.calls_rule then excuse(clock.cpu() - began) end
    observations[i] = observe(engine, def, sample, verdict, slot)
  end
  return observations
end

--- The answer to a signal's query, judged; or what went wrong, a fault (a table) or words.
local function look(engine, job, slot)
  local vector, message = ask(engine, job, slot)
  if not vector then return nil, message end
  local observations, failure = judge_all(engine, job, vector, slot)
  if not observations then return nil, failure end
  return observations, nil, vector
end

--- From observations to the state that is kept, in one transaction: nothing comes between.
local function advance(engine, job, slot, observations, vector, seconds)
  return engine.store:relaxed(function()
    faults.clear(engine.store, job.rule)
    local state, wrong = signals.step(read_state(engine, job), job.def, slot, observations,
      vector.partial == true)
    if wrong then return nil, wrong end
    local note = vector.partial
      and 'the answer is partial: ' .. table.concat(vector.warnings or {}, '; ') or ''
    store_outcome(engine, job, slot, seconds, 'ok', note, state)
    return state
  end)
end

local function fail(engine, job, slot, seconds, failure)
  if type(failure) == 'table' then
    faults.add(engine.store, job.rule, job.def.file_digest, failure)
    failure = faults.text(failure)
  end
  metrics.failures:add(1, job.rule)
  log.warn('evaluation failed', { rule = job.rule, reason = failure })
  engine.store:relaxed(function() store_outcome(engine, job, slot, seconds, 'err', failure) end)
end

--- One evaluation, from the claim to what is kept of it.
---@param engine table
---@param job Job
---@param slot number  the time that is evaluated
---@return table? state  the new state, where there is one
function evaluate.run(engine, job, slot)
  local taken, missed, off = claim(engine, job, slot)
  if missed > 0 then metrics.missed:add(missed, job.rule) end
  if not taken then return end
  local started = clock.monotonic()
  metrics.evaluations:add(1, job.rule)
  metrics.late:observe(math.max(0, clock.now() - slot))
  local observations, failure, vector, state
  if off then
    failure = off
  else
    observations, failure, vector = (job.look or look)(engine, job, slot)
  end
  local seconds = clock.monotonic() - started
  if observations then
    state, failure = advance(engine, job, slot, observations, vector, seconds)
  end
  metrics.seconds:observe(seconds)
  if not state then return fail(engine, job, slot, seconds, failure) end
  metrics.last:set(slot, job.rule)
  return state
end

evaluate.claim = claim
evaluate.store_outcome = store_outcome
evaluate.ask = ask
evaluate.cpu_meter = cpu_meter
evaluate.read_state = read_state
evaluate.observe = observe

--- All that is kept of a job's evaluations, or of one that was never evaluated.
---@param engine table
---@param name string
---@return { health: string, error: string, evaluated_at: number, seconds: number, state: string }
function evaluate.row(engine, name)
  return engine.store:row('select * from signals where name = ?', name)
    or { health = 'unknown', error = '', evaluated_at = 0, seconds = 0, state = '{}' }
end

--- The slots of a job that were begun and finished last; 0 where there is none.
---@return number claimed_at
---@return number evaluated_at
function evaluate.slots(engine, job)
  local row = engine.store:row('select claimed_at, evaluated_at from signals where name = ?',
    job.name)
  return row and row.claimed_at or 0, row and row.evaluated_at or 0
end

return evaluate
