--- What gates count: what a plan is about to do, and what other plans that are being carried out
--- have yet to do.
local json = require 'perigee.json'
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local registry = require 'actions.registry'

local counted = {}

---@class gates.Counted
---@field action { name: string, args: table }
---@field position integer
---@field target? string
---@field namespace? string      of an action on Kubernetes; "" for what lies in none
---@field preview? Action.Preview

--- An action as the gates see it; nil of one that only looks.
local function see(action, position, preview)
  local definition = registry.get(action.name)
  if not definition.changes then return nil end
  local args = plan.arguments(action)
  local scope = definition.scope and definition.scope(args)
  return { action = action, position = position, preview = preview,
    target = definition.target and definition.target(args) or nil, scope = scope,
    namespace = scope and scope.namespace or scope and '' or nil }
end

--- The actions of a plan that change something.
---@param p { actions: table[], previews?: table[] }
---@return gates.Counted[]
function counted.of(p)
  local out = {}
  for i, action in ipairs(p.actions) do out[#out + 1] = see(action, i, (p.previews or {})[i]) end
  return out
end

--- Those of them that have not ended, by the journal.
---@param store perigee.Store
---@param p { id: string, actions: table[], previews?: table[] }
---@return gates.Counted[]
function counted.unfinished(store, p)
  local out, begun = {}, plans.journal_of(store, p.id)
  for _, seen in ipairs(counted.of(p)) do
    local row = begun[seen.position]
    if not row or not row.ended_at then out[#out + 1] = seen end
  end
  return out
end

--- The other plans that are being carried out.
---@param store perigee.Store
---@param id string
---@return { id: string, playbook: string, actions: table[], previews: table[] }[]
function counted.under_way(store, id)
  local rows = store:rows([[select id, playbook, actions, previews from plans
    where state = 'executing' and id <> ?]], id)
  for _, row in ipairs(rows) do
    row.actions, row.previews = json.decode(row.actions), json.decode(row.previews)
  end
  return rows
end

--- What other plans that are being carried out have yet to begin: the journal does not have it.
---@param store perigee.Store
---@param id string
---@return gates.Counted[] each with the playbook of its plan
function counted.promised(store, id)
  local out = {}
  for _, other in ipairs(counted.under_way(store, id)) do
    local begun = plans.journal_of(store, other.id)
    for _, seen in ipairs(counted.of(other)) do
      seen.playbook = other.playbook
      if not begun[seen.position] then out[#out + 1] = seen end
    end
  end
  return out
end

return counted
