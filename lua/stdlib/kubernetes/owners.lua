--- From a pod to the workload that it belongs to, by owner references: what a series with the label
--- "pod" is about. Names and labels are never guessed from.
local owners = {}

local ABOVE = { ReplicaSet = 'replicasets' } -- what may have a controller of its own

---@class kubernetes.Workload
---@field kind string, name string, uid string

--- The controller of an object, or nil.
---@param object table
---@return { kind: string, name: string, uid: string, apiVersion: string }?
function owners.controller(object)
  for _, reference in ipairs(object.metadata.ownerReferences or {}) do
    if reference.controller then return reference end
  end
end

--- The workload above an object: its controller, or that one's.
---@param k table  the client
---@param namespace string
---@param object table
---@return kubernetes.Workload?
---@return table? failure  the client's, or { message } where there is none
function owners.above(k, namespace, object)
  local reference = owners.controller(object)
  if not reference then
    return nil, { message = ('%s %s/%s has no controller'):format(object.kind or 'the object',
      namespace, object.metadata.name) }
  end
  local found = { kind = reference.kind, name = reference.name, uid = reference.uid }
  local resource = ABOVE[reference.kind]
  if not resource then return found end
  local set, failure = k:get(resource, namespace, reference.name)
  if not set then return nil, failure end
  if set.metadata.uid ~= reference.uid then
    return nil, { message = ('%s %s/%s is another one by now'):format(reference.kind, namespace,
      reference.name) }
  end
  local top = owners.controller(set)
  return top and { kind = top.kind, name = top.name, uid = top.uid } or found
end

--- The workload that a pod belongs to: its Deployment, StatefulSet, DaemonSet, Job or whatever
--- controls it.
---@param k table
---@param namespace string
---@param pod string
---@return kubernetes.Workload?
---@return string? message
function owners.workload(k, namespace, pod)
  local object, failure = k:get('pods', namespace, pod)
  if not object then return nil, failure.message end
  object.kind = 'Pod'
  local found
  found, failure = owners.above(k, namespace, object)
  if not found then return nil, failure.message end
  return found
end

return owners
