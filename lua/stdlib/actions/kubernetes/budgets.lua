--- Disruption budgets: how many pods of a set may be missing by somebody's will.
local answers = require 'actions.kubernetes.answers'
local selector = require 'actions.kubernetes.selector'

local budgets = {}

--- The budgets of a namespace that cover pods with these labels.
---@param k table
---@param namespace string
---@param labels? table<string, string>
---@return table[]? budgets
---@return Action.Failure?
function budgets.covering(k, namespace, labels)
  local list, failure = k:list('poddisruptionbudgets', namespace)
  if not list then
    return nil, answers.failure(failure, ('the list of disruption budgets in %s'):format(namespace))
  end
  local out = {}
  for _, budget in ipairs(list.items) do
    if selector.matches(budget.spec.selector, labels) then out[#out + 1] = budget end
  end
  return out
end

--- What one allows at the moment: 'the disruption budget "shop" (3 of 3 pods healthy, 3 needed)'.
function budgets.text(budget)
  local s = budget.status or {}
  return ('the disruption budget "%s" (%d of %d pods healthy, %d needed)'):format(
    budget.metadata.name, s.currentHealthy or 0, s.expectedPods or 0, s.desiredHealthy or 0)
end

return budgets
