--- Why a plan, or an incident, has come to what it has come to: the story that was kept beside it
--- (engine/story.lua), the decisions, the journal, and the one thing that decided.
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local story = require 'engine.story'
local why_not = require 'engine.why_not'

local why = {}

local POINTS = { 'between', 'start', 'planning' } -- what came last decided

--- The gate that stopped a plan, where one has.
local function refusal_of(told)
  for _, point in ipairs(POINTS) do
    for _, asked in ipairs(told[point] and told[point].data or {}) do
      if asked.refused then
        return { gate = asked.gate, message = asked.message, at = clock.text(told[point].at),
          point = point }
      end
    end
  end
end

--- The states that something other than a gate has led to, and what that is called.
local BY = { pending = 'approval', rejected = 'approval', expired = 'approval', dry_run = 'dry_run',
  superseded = 'superseded', executed = 'outcome', executing = 'outcome', approved = 'outcome',
  failed = 'outcome', unknown = 'outcome', blocked = 'trust' }

--- What decided, in one line.
---@return { gate: string, message: string, at?: string, point?: string }
local function decided(p, view, told)
  local refusal = (p.state == 'blocked' or p.state == 'failed') and refusal_of(told)
  -- A plan whose action failed has been let through by every gate; one stopped says so itself.
  if refusal and (p.state == 'blocked' or p.reason:find(refusal.message, 1, true)) then
    return refusal
  end
  local message = view.reason
  if p.state == 'pending' then
    message = ('it waits for a person until %s%s'):format(view.expires_at,
      message and '; ' .. message or '')
  end
  return { gate = BY[p.state] or p.state, message = message or ('it is %s'):format(p.state) }
end

local function asked_at(told, point)
  if not told[point] then return nil end
  return { at = clock.text(told[point].at), asked = json.array(told[point].data) }
end

--- The story of a plan, or nil where there is no such plan.
---@param engine table
---@param id string
---@return table?
function why.plan(engine, id)
  local p = plans.get(engine.store, id)
  if not p then return nil end
  local view, told = plans.view(engine.store, p), story.of(engine.store, id)
  return { id = id, playbook = p.playbook, state = p.state, reason = view.reason,
    incident_id = p.incident_id, target = p.target, created_at = view.created_at,
    expires_at = view.expires_at, trigger = told.trigger and told.trigger.data,
    trust = told.trust and told.trust.data or { to = p.trust }, gates = {
      planning = asked_at(told, 'planning'), start = asked_at(told, 'start'),
      between = asked_at(told, 'between') },
    decisions = view.decisions, actions = view.actions, decided = decided(p, view, told) }
end

--- The stories of the plans of an incident, and why its other playbooks have made none.
---@return table?
function why.incident(engine, id)
  local incident = incidents.get(engine.store, id)
  if not incident then return nil end
  local view = incidents.view(engine.store, incident)
  local out = { id = id, name = view.name, state = view.state, labels = view.labels,
    opened_at = view.opened_at, resolved_at = view.resolved_at, anomalies = view.anomalies,
    recommendation = view.recommendation, plans = json.array(), without_plan = json.array() }
  local has_plan = {}
  for i, plan_id in ipairs(view.plans) do
    out.plans[i] = why.plan(engine, plan_id)
    has_plan[out.plans[i].playbook] = true
  end
  for _, name in ipairs(why_not.playbooks_of(engine, incident.name)) do
    if not has_plan[name] then
      out.without_plan[#out.without_plan + 1] = { playbook = name,
        decided = why_not.of(engine, name).decided }
    end
  end
  return out
end

return why
