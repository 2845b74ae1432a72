--- Deleting, scaling and evicting in the Kubernetes fake.
local calls = require 'fakes.kubernetes_call'
local check = require 'fakes.kubernetes_check'
local patch = require 'fakes.kubernetes_patch'
local select_ = require 'fakes.kubernetes_select'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'

local existing, body = calls.existing, calls.body

local subresources = {}

-- -- deleting -------------------------------------------------------------------------------------

--- The seconds that a pod is given to end: none where it does not run yet.
local function grace_of(pod, options)
  local spec = pod.spec or {}
  if not spec.nodeName or (pod.status or {}).phase == 'Succeeded'
    or (pod.status or {}).phase == 'Failed' then
    return 0
  end
  return math.tointeger(options.gracePeriodSeconds or spec.terminationGracePeriodSeconds or 30)
end

--- Deletes an object as DeleteOptions say. Returns it where it is still there, else its success.
function subresources.delete_object(call, object, options)
  local resource, store = call.resource, call.store
  calls.hold_to(call, object, options.preconditions)
  local grace = resource.kind == 'Pod' and grace_of(object, options) or 0
  local stays = grace > 0 or #(object.metadata.finalizers or {}) > 0
  if stays and object.metadata.deletionTimestamp then return object end
  if call.dry then return resource.kind == 'Pod' and object or status.success(resource, object) end
  if stays then return store:mark_deleted(resource, object, call.by, grace) end
  local last = store:remove(resource, object, call.by)
  if options.propagationPolicy == 'Orphan' then call.fake.controllers.orphan(store, last) end
  return resource.kind == 'Pod' and last or status.success(resource, last)
end

local function delete_options(call)
  local options = body(call)
  local grace = call.query.gracePeriodSeconds
  options.gracePeriodSeconds = options.gracePeriodSeconds or grace and tonumber(grace)
  options.propagationPolicy = options.propagationPolicy or call.query.propagationPolicy
  if options.dryRun and options.dryRun[1] == 'All' then call.dry = true end
  return options
end

function subresources.delete(call)
  local options = delete_options(call)
  return 200, subresources.delete_object(call, existing(call), options)
end

-- -- scale ----------------------------------------------------------------------------------------

local function scale_of(object)
  local m = object.metadata
  return { kind = 'Scale', apiVersion = 'autoscaling/v1', metadata = { name = m.name, namespace =
    m.namespace, uid = m.uid, resourceVersion = m.resourceVersion, creationTimestamp =
    m.creationTimestamp }, spec = { replicas = object.spec.replicas },
    status = { replicas = (object.status or {}).replicas or 0,
      selector = select_.text(object.spec.selector) } }
end

local function set_scale(call, old, scale)
  local replicas = (scale.spec or {}).replicas or 0
  calls.hold_to(call, old, scale.metadata)
  if math.type(replicas) ~= 'integer' then
    status.bad_request 'Scale in version "v1" cannot be handled as a Scale: spec.replicas: not int'
  end
  if replicas < 0 then
    status.invalid({ kind = 'Scale', group = 'autoscaling' }, call.name, { { field =
      'spec.replicas', message = ('Invalid value: %d: must be greater than or equal to 0')
      :format(replicas) } })
  end
  local new = patch.clone(old)
  new.spec.replicas = replicas
  check.hold(call.resource, new, old)
  return 200, scale_of(call.store:replace(call.resource, old, new, call.by, call.dry))
end

local SCALE = {
  get = function(call) return 200, scale_of(existing(call)) end,
  update = function(call)
    local old, scale = existing(call), body(call)
    calls.hold_name(call, scale)
    return set_scale(call, old, scale)
  end,
  patch = function(call)
    local old, scale = existing(call), scale_of(existing(call))
    local kind = (call.headers['content-type'] or ''):match '^[^;%s]*'
    local change = body(call, 'patch')
    if kind == 'application/json-patch+json' then
      patch.json(scale, change)
    elseif kind == 'application/merge-patch+json'
      or kind == 'application/strategic-merge-patch+json' then
      patch.merge(scale, change)
    else
      status.fail(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format',
        {})
    end
    return set_scale(call, old, scale)
  end,
}

-- -- eviction -------------------------------------------------------------------------------------

local function budgets_of(store, pod)
  local out = {}
  for _, budget in ipairs(store:all('PodDisruptionBudget', pod.metadata.namespace)) do
    if select_.selector(budget.spec.selector)(pod.metadata.labels or {}) then
      out[#out + 1] = budget
    end
  end
  return out
end

local function is_ready(pod)
  for _, c in ipairs((pod.status or {}).conditions or {}) do
    if c.type == 'Ready' then return c.status == 'True' end
  end
  return false
end

--- Whether a budget has nothing to say of a pod: it is not up anyway.
local function is_exempt(pod, budget)
  local phase = (pod.status or {}).phase
  if phase == 'Pending' or phase == 'Succeeded' or phase == 'Failed'
    or pod.metadata.deletionTimestamp then
    return true
  end
  local s = budget.status
  return not is_ready(pod) and (budget.spec.unhealthyPodEvictionPolicy == 'AlwaysAllow'
    or s.currentHealthy >= s.desiredHealthy and s.desiredHealthy > 0)
end

--- Takes one disruption of the budget, or raises 429.
local function take_disruption(call, pod, budget)
  local s = budget.status or {}
  if s.disruptionsAllowed == nil or s.disruptionsAllowed <= 0 then
    status.fail(429, 'TooManyRequests', 'Cannot evict pod as it would violate the pod\'s '
      .. 'disruption budget.', { causes = { { reason = 'DisruptionBudget', message =
      ('The disruption budget %s needs %d healthy pods and has %d currently'):format(
        budget.metadata.name, s.desiredHealthy or 0, s.currentHealthy or 0) } } })
  end
  if call.dry then return end
  local new = patch.clone(budget)
  new.status.disruptionsAllowed = s.disruptionsAllowed - 1
  new.status.disruptedPods = new.status.disruptedPods or {}
  new.status.disruptedPods[pod.metadata.name] = call.store:time()
  call.store:replace(types.by_kind.PodDisruptionBudget, budget, new, { manager =
    'kube-apiserver', subresource = 'status' })
end

local function evict(call)
  local eviction, pod = body(call), existing(call)
  if (eviction.kind or 'Eviction') ~= 'Eviction'
    or (eviction.apiVersion or 'policy/v1') ~= 'policy/v1' then
    status.bad_request 'the body is no Eviction of policy/v1'
  end
  local name = (eviction.metadata or {}).name
  if name ~= call.name then
    status.bad_request 'name in URL does not match name in Eviction object'
  end
  local options = eviction.deleteOptions or {}
  if options.dryRun and options.dryRun[1] == 'All' then call.dry = true end
  calls.hold_to(call, pod, options.preconditions)
  local budgets = budgets_of(call.store, pod)
  if #budgets > 1 then
    status.fail(500, 'InternalError', 'This pod has more than one PodDisruptionBudget, which the '
      .. 'eviction subresource does not support.', {})
  end
  if budgets[1] and not is_exempt(pod, budgets[1]) then
    take_disruption(call, pod, budgets[1])
  end
  subresources.delete_object(call, pod, options)
  return 201, { kind = 'Status', apiVersion = 'v1', metadata = {}, status = 'Success' }
end

-- -- all of them ----------------------------------------------------------------------------------

--- What answers a verb on a call's subresource, or nil.
function subresources.handler(call, verb)
  if call.subresource == 'scale' and call.resource.scale then return SCALE[verb] end
  if call.subresource == 'eviction' and call.resource.kind == 'Pod' and verb == 'create' then
    return evict
  end
  if call.subresource == 'log' and call.resource.kind == 'Pod' and verb == 'get' then
    return function()
      local pod = existing(call)
      return 200, call.fake.logs[pod.metadata.namespace .. '/' .. pod.metadata.name] or ''
    end
  end
  status.fail(404, 'NotFound', 'the server could not find the requested resource', {})
end

return subresources
