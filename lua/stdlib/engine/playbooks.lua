--- From a trigger to a plan: the rule's function says what it would do, its trust and the gates say
--- how far that goes.
local audit = require 'engine.audit'
local check = require 'check'
local clock = require 'perigee.clock'
local faults = require 'engine.faults'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local label_key = require('prometheus').label_key
local log = require 'log'
local metrics = require 'engine.metrics'
local plan = require 'engine.plan'
local plans = require 'engine.plans'

local playbooks = {}

local STATE = { auto = 'approved', human_approve = 'pending', recommend = 'blocked' }

--- The trust that is left: what happened before may take some away.
---@return string trust
---@return string? reason
local function trust_of(engine, def, target)
  if def.trust ~= 'auto' then return def.trust end
  local last = engine.store:row([[select id, state from plans where playbook = ? and target = ?
    and state in ('executed', 'failed', 'unknown') order by created_at desc limit 1]], def.name,
    target)
  if last and last.state == 'unknown' then
    return 'human_approve',
      ('trust lowered from auto: the outcome of %s is unknown'):format(last.id)
  end
  return def.trust
end

--- What the rule's function returned, checked. A wrong answer is a fault of the rule.
local function actions_of(engine, def, event)
  local rule = 'playbook/' .. def.name
  if faults.switched_off(engine.store, rule, def.file_digest) then return nil end
  local list, fault = def.plan(event)
  if not fault and list == nil then return {} end
  local actions, problems
  if not fault then actions, problems = plan.actions(list) end
  if problems and #problems > 0 then
    local words = {}
    for i, p in ipairs(problems) do words[i] = check.words(p) end
    fault = { kind = 'plan', file = def.file, line = def.line, message = 'the plan is not valid: '
      .. table.concat(words, '; ') }
  end
  if fault then
    faults.add(engine.store, rule, def.file_digest, fault)
    return nil
  end
  faults.clear(engine.store, rule)
  return actions
end

--- A newer plan for the same takes the place of one that nobody has decided about.
local function supersede(engine, p)
  local rows = engine.store:rows([[select id from plans where playbook = ? and target = ?
    and state = 'pending']], p.playbook, p.target)
  for _, row in ipairs(rows) do
    plans.move(engine, row.id, 'pending', 'superseded',
      { reason = 'a newer plan has taken its place' })
  end
end

--- Makes the plan of a playbook for one trigger.
---@param engine table
---@param def table      the playbook
---@param event table    what its function is given
---@param about { target: string, incident_id?: string, partial?: boolean }
function playbooks.make(engine, def, event, about)
  if def.trust == 'manual_only' then return end
  local actions = actions_of(engine, def, event)
  if not actions then return end
  if #actions == 0 then
    audit.append(engine.store, 'nothing_to_do',
      { playbook = def.name, incident = about.incident_id })
    log.info('the playbook plans nothing', { playbook = def.name, incident = about.incident_id })
    return
  end
  local trust, reason = trust_of(engine, def, about.target)
  local p = { id = '', playbook = def.name, incident_id = about.incident_id, target = about.target,
    trust = trust,
    actions = actions, partial = about.partial, state = STATE[trust], reason = reason,
    expires_at = clock.now() + def.approval_expires }
  if trust == 'recommend' then p.reason = 'trust is "recommend": shown, and nothing of it runs' end
  local refusal = trust ~= 'recommend' and guardrails.at_planning(engine, p)
  if refusal then
    metrics.blocked:add(1, refusal.gate)
    p.state, p.reason, p.gate = 'blocked', refusal.message, refusal.gate
  end
  supersede(engine, p)
  return plans.create(engine, p)
end

--- Asks the playbooks that an incident is a trigger of, each once an episode.
---@param engine table
---@param incident table
local function consider(engine, incident)
  for _, def in pairs(engine.rules.playbooks) do
    if def.when.kind == 'incident' and def.when.name == incident.name
      and not incidents.considered(incident, def.name) then
      engine.store:transaction(function()
        local view = incidents.event(engine.store, incident)
        local p = playbooks.make(engine, def,
          { trigger = 'incident', incident = view, labels = view.labels, time = clock.now() },
          { target = incident.group_key, incident_id = incident.id, partial = incident.partial })
        local refused = incident.partial and p and p.gate == 'partial_data'
        incidents.mark_considered(engine.store, incident, def.name, refused)
      end)
    end
  end
end

--- Offers every active incident to its playbooks. What has been offered is in the store: a crash
--- between an incident and its plan loses neither and doubles neither.
function playbooks.consider_all(engine)
  for _, incident in ipairs(incidents.active(engine.store)) do consider(engine, incident) end
end

--- One series that fires. What was refused for its partial data is offered once more when it is
--- whole, as an incident is.
local function consider_series(engine, def, series, name)
  local since = ('%.3f'):format(series.fired_at)
  local refused = since .. ' partial'
  local seen = engine.store:row('select value from settings where name = ?', name)
  if seen and (seen.value == since or seen.value == refused and series.partial) then return end
  local p = playbooks.make(engine, def, { trigger = 'metric', labels = series.labels,
    value = series.value, since = clock.text(series.fired_at), time = clock.now() },
    { target = label_key(series.labels), partial = series.partial })
  engine.store:exec('insert or replace into settings (name, value) values (?, ?)', name,
    p and p.gate == 'partial_data' and refused or since)
end

--- A metric trigger's series: each that fires is a trigger once, from the moment it began to.
---@param engine table
---@param def table  the playbook
---@param state { series: table }
function playbooks.consider_metric(engine, def, state)
  for _, series in pairs(state.series or {}) do
    local name = ('metric/%s/%s'):format(def.name, label_key(series.labels))
    if series.state ~= 'firing' then
      engine.store:exec('delete from settings where name = ?', name)
    else
      engine.store:transaction(function() consider_series(engine, def, series, name) end)
    end
  end
end

return playbooks
