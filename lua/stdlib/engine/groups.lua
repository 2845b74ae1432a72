--- One evaluation of a rule group, as Prometheus evaluates it: its rules in order, all at the time
--- of the slot. An alert's series live as a signal's do, each sample of the answer an anomaly; what
--- became of a rule is kept in its own row, so that a reload takes nothing from a rule that stays.
local alert_rules = require 'engine.alert_rules'
local alerts_out = require 'engine.alerts_out'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local log = require 'log'
local metrics = require 'engine.metrics'
local number_text = require('prometheus').number_text
local signals = require 'engine.signals'

local groups = {}

local MAX_REASON = 1000 -- bytes

-- -- alerts ---------------------------------------------------------------------------------------

--- Why an alert is one, for the incidents that it is part of: in the rule's own words where it has
--- some.
local function reason(o)
  local words = o.annotations.summary or o.annotations.description
  if not words or words == '' then words = 'the value is ' .. number_text(o.value) end
  local last = math.min(#words, MAX_REASON)
  while words:find('^[\x80-\xBF]', last + 1) do last = last - 1 end -- no half of a character
  return words:sub(1, last)
end

local function observe(engine, rule, vector, slot)
  local out, too_much = {}, evaluate.cpu_meter(engine, rule)
  for i, sample in ipairs(vector) do
    local late = too_much(i - 1)
    if late then return nil, late.message end
    local verdict = { is_anomaly = true, anomaly_score = 1, confidence = 100 }
    local o = evaluate.observe(engine, rule, sample, verdict, slot)
    o.labels.alertname = rule.name
    verdict.reason = reason(o)
    out[i] = o
  end
  return out
end

local function active(state)
  local n = 0
  for _, series in pairs(state.series) do n = n + (series.state ~= 'inactive' and 1 or 0) end
  return n
end

--- From observations to the rule's next state.
---@return table? state
---@return string? message
---@return table? dropped   the state where it cannot be the next one, but not stay either
local function step(engine, group, rule, observations, slot, partial)
  local state, wrong = signals.step(alert_rules.state(engine, rule), rule, slot, observations,
    partial)
  if wrong then return nil, 'two alerts come to the same labels' end
  local n = active(state)
  if group.limit > 0 and n > group.limit then
    return nil, ('%d alerts are more than the limit of %d: all are dropped'):format(n,
      group.limit), { series = {} }
  end
  return state
end

-- -- recording rules ------------------------------------------------------------------------------

--- The samples that are kept of an answer.
local function record(_, rule, vector)
  local samples, seen = json.array(), {}
  for i, sample in ipairs(vector) do
    local labels = sample.labels
    for name, value in pairs(rule.texts.labels) do labels[name] = value ~= '' and value or nil end
    local key = label_key(labels)
    if seen[key] then return nil, 'two series come to the same labels' end
    seen[key] = true
    samples[i] = { labels = labels, value = number_text(sample.value) }
  end
  return samples
end

local function keep(_, group, _, samples, slot)
  if group.limit > 0 and #samples > group.limit then
    return nil, ('%d series are more than the limit of %d'):format(#samples, group.limit)
  end
  return { samples = samples, at = slot }
end

-- -- a group --------------------------------------------------------------------------------------

--- What is made of an answer, which may wait, and what then becomes of the state, which may not.
local LOOK, ADVANCE = { alert = observe, record = record }, { alert = step, record = keep }

--- From what was found to what is kept, in one transaction: nothing comes between.
---@return table? state
---@return string? message
---@return alertmanager.Alert[]? due
local function advance(engine, job, rule, found, slot, vector, began)
  return engine.store:relaxed(function()
    local row = { name = rule.key, every = job.every }
    local state, message, dropped = ADVANCE[rule.kind](engine, job.def, rule, found, slot,
      vector.partial == true)
    local seconds = clock.monotonic() - began
    if not state then
      evaluate.store_outcome(engine, row, slot, seconds, 'err', message, dropped)
      return nil, message
    end
    local due = rule.kind == 'alert' and alerts_out.due(engine, job.def, rule, state, slot) or nil
    local note = vector.partial
      and 'the answer is partial: ' .. table.concat(vector.warnings or {}, '; ') or ''
    evaluate.store_outcome(engine, row, slot, seconds, 'ok', note, state)
    return state, nil, due
  end)
end

--- Evaluates one rule.
local function run(engine, job, rule, slot)
  local name, began = ('%s/%s'):format(rule.kind, rule.name), clock.monotonic()
  metrics.evaluations:add(1, name)
  local vector, message = evaluate.ask(engine, rule, slot - job.def.query_offset)
  local found, state, due
  if vector then found, message = LOOK[rule.kind](engine, rule, vector, slot) end
  if found then
    state, message, due = advance(engine, job, rule, found, slot, vector, began)
  else
    engine.store:relaxed(function()
      evaluate.store_outcome(engine, { name = rule.key, every = job.every }, slot,
        clock.monotonic() - began, 'err', message)
    end)
  end
  metrics.seconds:observe(clock.monotonic() - began)
  if due then engine.alerts_out:add(due) end
  if not state then
    metrics.failures:add(1, name)
    log.warn('evaluation failed', { rule = name, group = job.def.name, reason = message })
  end
end

--- One evaluation of a group, from the claim to what is kept of each rule.
---@param engine table
---@param job Job      its def is the group
---@param slot number
---@return { series: table<string, signals.Series> }? state  of all its alerts
function groups.evaluate(engine, job, slot)
  local taken, missed = evaluate.claim(engine, job, slot)
  if missed > 0 then metrics.missed:add(missed, job.rule) end
  if not taken then return end
  local began = clock.monotonic()
  metrics.late:observe(math.max(0, clock.now() - slot))
  groups.enrol(engine.store, job.def)
  for _, rule in ipairs(job.def.rules) do run(engine, job, rule, slot) end
  engine.store:relaxed(function()
    evaluate.store_outcome(engine, job, slot, clock.monotonic() - began, 'ok', '')
  end)
  metrics.last:set(slot, job.rule)
  return groups.read_state(engine, job)
end

--- Makes the rows of a group's rules. A row that is gone, because a reload has removed its rule, is
--- not made again by what was under way.
function groups.enrol(store, group)
  store:relaxed(function()
    for _, rule in ipairs(group.rules) do
      store:exec('insert into signals (name) values (?) on conflict (name) do nothing', rule.key)
    end
  end)
end

--- The series of all alerts of a group.
---@return { series: table<string, signals.Series> }
function groups.read_state(engine, job)
  return { series = alert_rules.series(engine, job.def) }
end

--- The names of the alerts of a group.
function groups.alerts(group)
  local names, seen = {}, {}
  for _, rule in ipairs(group.rules) do
    if rule.kind == 'alert' and not seen[rule.name] then
      names[#names + 1], seen[rule.name] = rule.name, true
    end
  end
  return names
end

--- Resolves what the removed rules of a store have left, and forgets them.
---@param engine table
---@param known table<string, boolean>  keys of the rules that are there
function groups.prune(engine, known)
  for _, row in ipairs(engine.store:rows [[select name, state from signals
    where name like 'rule' || char(1) || '%']]) do
    if not known[row.name] then
      local gone = alerts_out.resolved(engine, json.decode(row.state), clock.now())
      if gone then engine.alerts_out:add(gone) end
      engine.store:exec('delete from signals where name = ?', row.name)
    end
  end
end

return groups
