--- Gates about where a plan may act: what the operator has named, and nothing else. A list that is
--- empty names nothing.
local counted = require 'engine.gates.counted'
local listed = require('engine.gates.names').listed
local plan = require 'engine.plan'
local registry = require 'actions.registry'

local scope = {}

--- The gate for what the actions themselves say of the configuration.
function scope.not_allowed(engine, p)
  for i, action in ipairs(p.actions) do
    local definition = registry.get(action.name)
    local why = definition.allowed and definition.allowed(plan.arguments(action), engine.config)
    if why then return ('action %d: %s'):format(i, why) end
  end
  return nil, ('all %d actions are allowed'):format(#p.actions)
end

local function list_text(list)
  return #list == 0 and 'none' or table.concat(list, ', ')
end

--- Why an object on Kubernetes may not be acted upon, or nil.
local function outside(object, guardrails)
  local kind, name = object.kind or '', object.name or ''
  if kind == '' or name == '' then return 'it names no object' end
  local namespace = object.namespace or ''
  if not listed(kind, guardrails.kinds) then
    return ('%s is not in guardrails.kinds (%s)'):format(kind, list_text(guardrails.kinds))
  end
  -- What lies in no namespace is allowed by its kind, which is in no default.
  if namespace ~= '' and not listed(namespace, guardrails.namespaces) then
    return ('%s is not in guardrails.namespaces (%s)'):format(namespace,
      list_text(guardrails.namespaces))
  end
  if guardrails.names and not listed(name, guardrails.names) then
    return ('%s is not in guardrails.names (%s)'):format(name, list_text(guardrails.names))
  end
end

--- An object on Kubernetes, as people write it.
function scope.text(object)
  local place = (object.namespace or '') ~= '' and object.namespace .. '/' or ''
  return ('%s %s%s'):format(object.kind, place, object.name)
end

--- The gate for objects on Kubernetes.
function scope.scope(engine, p)
  local told = {}
  for _, seen in ipairs(counted.of(p)) do
    if seen.scope then
      local why = outside(seen.scope, engine.config.guardrails)
      if why then return ('action %d (%s): %s'):format(seen.position, seen.action.name, why) end
      told[#told + 1] = scope.text(seen.scope) .. ' is in scope'
    end
  end
  return nil, told[1] and table.concat(told, '; ') or 'no action is on Kubernetes'
end

return scope
