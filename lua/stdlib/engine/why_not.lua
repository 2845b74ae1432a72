--- Why a playbook does nothing now: whether it is switched off, what its trigger looks like, how
--- far it is trusted, and what every gate would say of it.
local alert_rules = require 'engine.alert_rules'
local alerts = require 'engine.alerts'
local check = require 'check'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local faults = require 'engine.faults'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local labels_text = require('prometheus').labels_text
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local silences = require 'engine.silences'
local time_triggers = require 'engine.time_triggers'
local trust = require 'engine.trust'
local units = require 'units'

local why_not = {}

local MOST = 20 -- series that are told
local NEARNESS = { firing = 1, pending = 2, inactive = 3 }

-- -- the trigger ----------------------------------------------------------------------------------

--- What a job's series are like now: "firing", or how far from it.
---@return table[] series  { labels, state, value, reason }
---@return boolean fires
---@return string words
local function series_of(engine, name, hold_for)
  local row = evaluate.row(engine, name)
  local out, fires, n = json.array(), false, 0
  local state = json.decode(row.state)
  for _, s in pairs(state.series or {}) do
    n, fires = n + 1, fires or s.state == 'firing'
    local held = s.state == 'pending' and s.active_at and clock.now() - s.active_at
    out[#out + 1] = { labels = s.labels, state = s.state, value = s.value, reason = s.reason,
      waits = held and ('%s of %s'):format(units.duration_text(math.floor(held)),
      units.duration_text(hold_for or 0)) or nil }
  end
  table.sort(out, function(a, b)
    if a.state ~= b.state then return NEARNESS[a.state] < NEARNESS[b.state] end
    return labels_text(a.labels) < labels_text(b.labels)
  end)
  for i = #out, MOST + 1, -1 do out[i] = nil end
  local words = ('%d series'):format(n)
  if row.health == 'err' then words = 'the last evaluation failed: ' .. row.error
  elseif row.evaluated_at == 0 then words = 'it has not been evaluated yet'
  elseif n == 0 then words = 'the query has no result' end
  return out, fires, words
end

--- One series in words: `firing, 5 {app="shop"}`.
local function series_text(s)
  return ('%s, %s {%s}%s'):format(s.state,
    type(s.value) == 'number' and units.number_text(s.value) or tostring(s.value or 'no value'),
    labels_text(s.labels, ', '), s.waits and (', for %s'):format(s.waits) or '')
end

local function of_series(engine, def)
  local when = def.when
  local name = when.kind == 'metric' and 'playbook/' .. def.name or when.name
  local watched = when.kind ~= 'metric' and engine.rules[when.kind .. 's'][when.name]
  local series, fires, words = series_of(engine, name,
    when.hold_for or watched and watched.hold_for)
  local first = series[1] and ': ' .. series_text(series[1]) or ''
  return { met = fires, series = series,
    message = ('%s%s%s'):format(fires and 'it fires: ' or 'it does not fire: ', words, first) }
end

--- What an incident that is not there would need.
local function missing(engine, def)
  local lines, firing = {}, 0
  for i, name in ipairs(def.signals) do
    local series, fires, words = series_of(engine, name)
    firing = firing + (fires and 1 or 0)
    lines[i] = ('%s: %s'):format(name, series[1] and series_text(series[1]) or words)
  end
  return ('no incident %s is active: %d of its signals fire, %d are needed (%s)'):format(def.name,
    firing, def.min_signals, table.concat(lines, '; ')), lines
end

local function of_incident(engine, def)
  local found
  for _, incident in ipairs(incidents.active(engine.store)) do
    if incident.name == def.when.name then found = incident end
  end
  if not found then
    local message, lines = missing(engine, engine.rules.incidents[def.when.name])
    return { met = false, message = message, signals = json.array(lines) }
  end
  return { met = true, incident_id = found.id,
    considered = incidents.considered(found, def.name) and true or false,
    message = ('the incident %s is active since %s'):format(found.id, clock.text(found.opened_at)) }
end

--- Alerts that fire now, by whichever way they came.
local function of_alert(engine, def)
  local n, when = 0, def.when
  local function fits(labels)
    for name, value in pairs(when.labels) do
      if labels[name] ~= value then return false end
    end
    return labels.alertname == when.name
  end
  local function count(list)
    for _, a in ipairs(list) do n = n + (fits(a.labels) and 1 or 0) end
  end
  count(alerts.firing(engine.store, when.name))
  local own = {}
  for _, a in ipairs(alert_rules.active(engine)) do
    if a.state == 'firing' then own[#own + 1] = a end
  end
  count(own)
  count(engine.source_alerts or {})
  local wanted = next(when.labels) and (' {%s}'):format(labels_text(when.labels, ', ')) or ''
  return { met = n > 0, message = n > 0 and ('the alert %s%s fires'):format(when.name, wanted)
    or ('no alert %s%s fires'):format(when.name, wanted) }
end

local function of_time(_, def)
  local latest = time_triggers.latest(def.when, clock.now())
  return { met = false, message = ('it waits for its time; the last was %s'):format(
    latest and clock.text(latest) or 'never') }
end

local function of_event(_, def)
  return { met = false, message = ('it waits for an event of Kubernetes with the reason %s'):format(
    def.when.reason) }
end

local TRIGGERS = { incident = of_incident, metric = of_series, signal = of_series,
  forecast = of_series, prediction = of_series, alert = of_alert, every = of_time,
  kubernetes_event = of_event }

-- -- the gates ------------------------------------------------------------------------------------

local function last_plan(engine, name)
  local row = engine.store:row([[select id from plans where playbook = ?
    order by created_at desc, id limit 1]], name)
  return row and plans.get(engine.store, row.id)
end

--- What the gates are asked about: the last plan as if it were made anew, or the actions that the
--- rule file holds, or none.
local function made_anew(def, last, level)
  local p = { id = '', playbook = def.name, target = last and last.target or '', actions = {},
    previews = last and last.previews or {}, trust = level }
  if last then p.actions = last.actions
  elseif def.is_static then p.actions = plan.actions(def.plan()) end
  return p
end

-- -- all of it ------------------------------------------------------------------------------------

local UNDER_WAY = { pending = true, approved = true, executing = true }

--- The one thing that stands in the way first.
local function decided(engine, out)
  local function by(gate, message) return { gate = gate, message = message } end
  if out.switched_off then return by('switched_off', out.switched_off) end
  if out.trust.effective == 'manual_only' then
    return by('trust', out.trust.reason or 'its trust is manual_only: it makes no plans')
  end
  local last = out.last_plan
  if last and UNDER_WAY[last.state] then
    return by(last.state == 'pending' and 'approval' or 'under_way',
      ('%s is %s'):format(last.id, last.state))
  end
  if not out.trigger.met then return by('trigger', out.trigger.message) end
  if out.trust.effective == 'recommend' then
    return by('trust', out.trust.reason or 'its trust is recommend: plans are shown, none runs')
  end
  for _, asked in ipairs(out.gates) do
    if asked.refused then return by(asked.gate, asked.message) end
  end
  if engine.config.guardrails.dry_run then
    return by('dry_run', 'guardrails.dry_run is on: nothing is done')
  end
  if last and (out.trigger.considered ~= false) then
    return by('considered', ('it has been asked: %s is %s%s'):format(last.id, last.state,
      last.reason and ': ' .. last.reason or ''))
  elseif out.trigger.considered then
    return by('considered', 'it has been asked, and planned nothing')
  end
  return by('none', 'nothing stands in its way')
end

--- Why a playbook does nothing now; nil where there is no such playbook.
---@param engine table
---@param name string
---@return table?
function why_not.of(engine, name)
  local def = engine.rules.playbooks[name]
  if not def then return nil end
  silences.refresh(engine)
  local last = last_plan(engine, name)
  local out = { playbook = name, file = def.file, line = def.line,
    trigger = TRIGGERS[def.when.kind](engine, def), trust = trust.view(engine, def),
    switched_off = faults.switched_off(engine.store, 'playbook/' .. name, def.file_digest),
    last_plan = last and { id = last.id, state = last.state,
      reason = last.reason ~= '' and last.reason or nil,
      created_at = clock.text(last.created_at) } }
  out.gates = guardrails.now(engine, made_anew(def, last, out.trust.effective))
  out.trigger.kind, out.trigger.name = def.when.kind, def.when.name or def.when.query
  out.decided = decided(engine, out)
  return out
end

--- The playbooks that an incident is the trigger of.
---@return string[]
function why_not.playbooks_of(engine, incident)
  local out = {}
  for _, name in ipairs(check.names(engine.rules.playbooks)) do
    local when = engine.rules.playbooks[name].when
    if when.kind == 'incident' and when.name == incident then out[#out + 1] = name end
  end
  return out
end

return why_not
