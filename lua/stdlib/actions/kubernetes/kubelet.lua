--- Whether anybody runs the pods of a workload. Where no kubelet has taken any of them up for a
--- while (there is none, or no node has room), it is of no use to wait until they are ready.
local clock = require 'perigee.clock'
local selector = require 'actions.kubernetes.selector'

local kubelet = {}

local PATIENCE = 30 -- seconds after an action in which new pods may be taken up

--- The words that end the waiting for pods; nil where it is not over.
---@param k table
---@param namespace string
---@param object table       whose spec.selector selects the pods
---@param started_at number  when the action began
---@return string?
function kubelet.given_up(k, namespace, object, started_at)
  if clock.now() - started_at < PATIENCE then return nil end
  local labels = selector.text(object.spec.selector)
  local list = labels and k:list('pods', namespace, { label_selector = labels })
  if not list or #list.items == 0 then return nil end
  for _, pod in ipairs(list.items) do
    local s = pod.status or {}
    if s.startTime or s.podIP then return nil end -- a kubelet's own words
  end
  return ('no kubelet has taken up any of %d pods, so that they become ready is not awaited')
    :format(#list.items)
end

return kubelet
