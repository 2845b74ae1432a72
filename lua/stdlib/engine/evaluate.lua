--- One evaluation of one signal: claim the slot, ask, judge, step, keep. Nothing of it lives in
--- memory between two evaluations, so a reload or a crash may come at any moment.
local clock = require 'perigee.clock'
local faults = require 'engine.faults'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local log = require 'log'
local metrics = require 'engine.metrics'
local signals = require 'engine.signals'
local types = require 'detectors.types'

local evaluate = {}

---@class Job  what is evaluated on a grid: a signal, or a playbook's metric trigger
---@field name string      unique among both
---@field rule string      "signal/…" or "playbook/…", as faults and metrics name it
---@field every number
---@field query string
---@field def table

--- Takes the slot, so that no other generation or process evaluates it too.
---@return boolean taken
---@return number missed  slots that nobody took
local function claim(engine, job, slot)
  return engine.store:relaxed(function()
    engine.store:exec('insert or ignore into signals (name) values (?)', job.name)
    local before = engine.store:row('select claimed_at from signals where name = ?',
      job.name).claimed_at
    local n =
      engine.store:exec(
      'update signals set claimed_at = ?, claimed_by = ? where name = ? and claimed_at < ?',
      slot, engine.process, job.name, slot)
    local missed = before > 0 and math.max(0, math.floor((slot - before) / job.every + 0.5) - 1)
      or 0
    return n == 1, missed
  end)
end

local function store_outcome(engine, job, slot, started, health, message, state)
  engine.store:relaxed(function()
    engine.store:exec([[update signals set evaluated_at = ?, health = ?, error = ?, seconds = ?,
        state = coalesce(?, state) where name = ? and evaluated_at < ?]],
      slot, health, message, clock.monotonic() - started, state and json.encode(state) or nil,
      job.name, slot)
  end)
end

local function read_state(engine, job)
  local row = engine.store:row('select state from signals where name = ?', job.name)
  return row and json.decode(row.state) or {}
end

-- -- the pieces of an evaluation ------------------------------------------------------------------

local function ask(engine, job, slot)
  local vector, failure = engine.queries:run(engine.source.query, engine.source, job.query, slot)
  if not vector then return nil, ('%s (%s)'):format(failure.message, failure.kind) end
  if vector.type == 'matrix' then
    return nil, 'the query gives a range of values; a signal needs one a series'
  end
  if #vector > engine.config.limits.max_series then
    return nil, ('the query gives %d series; at most %d (limits.max_series)'):format(#vector,
      engine.config.limits.max_series)
  end
  for _, sample in ipairs(vector) do sample.labels.__name__ = nil end
  return vector
end

--- The verdict on a sample, or nil for NaN; nil and a fault where the rule's own code failed.
local function judge(def, models, why, sample)
  if sample.value ~= sample.value then return nil end
  local detector, model = def.detector, nil
  if detector.fit then
    model = models[label_key(sample.labels)]
    if not model then
      return types.no_baseline(why or 'this series was not there when it was learned')
    end
    if model.missing then return types.no_baseline(model.missing) end
  end
  return detector.judge(model, sample.value, sample.time, sample.labels)
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

---@return signals.Observation[]? observations
---@return table|string? failure  a fault (a table) or words
local function judge_all(engine, def, vector, slot)
  local models, why = {}, nil
  if def.detector.fit then models, why = engine.models:get(def, vector, slot) end
  local observations = {}
  for i, sample in ipairs(vector) do
    local verdict, fault = judge(def, models, why, sample)
    if fault then return nil, fault end
    observations[i] = observe(engine, def, sample, verdict, slot)
  end
  return observations
end

--- One evaluation, from the claim to what is kept of it.
---@param engine table
---@param job Job
---@param slot number  the time that is evaluated
---@return table? state  the new state, where there is one
function evaluate.run(engine, job, slot)
  local taken, missed = claim(engine, job, slot)
  if missed > 0 then metrics.missed:add(missed, job.rule) end
  if not taken then return end
  local started, def = clock.monotonic(), job.def
  metrics.evaluations:add(1, job.rule)
  metrics.late:observe(math.max(0, clock.now() - slot))
  local function failed(message)
    metrics.failures:add(1, job.rule)
    log.warn('evaluation failed', { rule = job.rule, reason = message })
    store_outcome(engine, job, slot, started, 'err', message)
    metrics.seconds:observe(clock.monotonic() - started)
  end
  local off = faults.switched_off(engine.store, job.rule, def.file_digest)
  if off then return failed(off) end
  local vector, message = ask(engine, job, slot)
  if not vector then return failed(message) end
  local observations, failure = judge_all(engine, def, vector, slot)
  if not observations then
    if type(failure) == 'table' then
      faults.add(engine.store, job.rule, def.file_digest, failure)
      failure = faults.text(failure)
    end
    return failed(failure)
  end
  faults.clear(engine.store, job.rule)
  -- Read after all waiting is done: only from here to the store nothing else can come between.
  local state, wrong = signals.step(read_state(engine, job), def, slot, observations,
    vector.partial == true)
  if wrong then return failed(wrong) end
  store_outcome(engine, job, slot, started, 'ok', vector.partial and 'the answer is partial: '
    .. table.concat(vector.warnings or {}, '; ') or '', state)
  metrics.seconds:observe(clock.monotonic() - started)
  metrics.last:set(slot, job.rule)
  return state
end

evaluate.read_state = read_state

return evaluate
