--- The autoscaler of a workload: while there is one, the number of replicas is its to set, and only
--- its bounds are anybody else's.
local answers = require 'actions.kubernetes.answers'
local owner = require 'actions.kubernetes.owner'
local target = require 'actions.kubernetes.target'
local write = require 'actions.kubernetes.write'

local autoscaler = {}

local RESOURCE, KIND = 'horizontalpodautoscalers', 'HorizontalPodAutoscaler'

--- The autoscaler that has a workload for its target, or nil.
---@param k table
---@param t kubernetes.Target
---@return table? hpa
---@return Action.Failure?
function autoscaler.of(k, t)
  local list, failure = k:list(RESOURCE, t.namespace)
  if not list then
    return nil, answers.failure(failure, ('the list of autoscalers in %s'):format(t.namespace))
  end
  for _, hpa in ipairs(list.items) do
    local reference = hpa.spec.scaleTargetRef
    if reference.kind == t.kind and reference.name == t.name then return hpa end
  end
end

local function bounds(hpa) return hpa.spec.minReplicas or 1, hpa.spec.maxReplicas end

--- It and its bounds, in words.
function autoscaler.text(hpa)
  return ('%s %s/%s (%d to %d replicas)'):format(KIND, hpa.metadata.namespace, hpa.metadata.name,
    bounds(hpa))
end

local function path_of(hpa)
  return { kind = KIND, resource = RESOURCE, namespace = hpa.metadata.namespace,
    name = hpa.metadata.name }
end

local function patch(min, max, version)
  return { metadata = version and { resourceVersion = version } or nil,
    spec = { minReplicas = min, maxReplicas = max } }
end

--- The bounds that bring a workload to a number of replicas. Up, the lower one is raised to it, and
--- the upper one where it is in the way. Down, the lower one comes down, and the autoscaler follows
--- when the load lets it.
local function wanted(hpa, up, to)
  local min, max = bounds(hpa)
  if up then return math.max(min, to), math.max(max, to) end
  return math.min(min, math.max(1, to)), max
end

---@param k table
---@param hpa table
---@param now integer          the workload's replicas
---@param to integer           those that the action wants
---@return Action.Preview?
---@return Action.Failure?
function autoscaler.preview(k, hpa, now, to)
  local min, max = bounds(hpa)
  local new_min, new_max = wanted(hpa, to > now, to)
  local observed = { uid = hpa.metadata.uid, min_replicas = tostring(min),
    max_replicas = tostring(max) }
  local summary = ('let %s have %d to %d replicas (now %d to %d)'):format(autoscaler.text(hpa),
    new_min, new_max, min, max)
  if new_min == min and new_max == max then
    return { summary = summary, observed = observed,
      nothing = ('the bounds of %s allow it already'):format(autoscaler.text(hpa)) }
  end
  local where = path_of(hpa)
  local done, failure = k:patch(RESOURCE, where.namespace, where.name, patch(new_min, new_max),
    { type = 'merge', dry_run = true })
  if not done then return nil, answers.failure(failure, target.text(where)) end
  local by, other = owner.of(hpa, { 'spec', 'minReplicas' })
  return { summary = summary, observed = observed, owner = by, warnings = answers.warnings(other),
    current = ('%d to %d replicas'):format(min, max),
    proposed = ('%d to %d replicas'):format(new_min, new_max),
    diff = ('  spec.minReplicas: %d → %d\n  spec.maxReplicas: %d → %d'):format(min, new_min, max,
      new_max),
    before = { autoscaler = hpa.metadata.name, uid = hpa.metadata.uid, up = to > now, min = min,
       max = max, new_min = new_min, new_max = new_max } }
end

--- Sets the bounds, where they are as they were.
local function set(k, namespace, before, from_min, from_max, to_min, to_max)
  local where = { kind = KIND, resource = RESOURCE, namespace = namespace,
    name = before.autoscaler }
  local outcome = write.guarded(k, { target = where, uid = before.uid,
    done = function(hpa)
      local min, max = bounds(hpa)
      return min == to_min and max == to_max
        and ('%s has these bounds already'):format(autoscaler.text(hpa))
    end,
    edited = function(hpa)
      local min, max = bounds(hpa)
      return min ~= from_min or max ~= from_max
    end,
    send = function(hpa)
      return k:patch(RESOURCE, namespace, where.name,
        patch(to_min, to_max, hpa.metadata.resourceVersion), { type = 'merge' })
    end })
  if outcome.answer then
    outcome.message = ('%s/%s has %d to %d replicas now'):format(namespace, where.name, to_min,
      to_max)
    write.tell(k, outcome.answer, 'BoundsChanged', outcome.message .. ', by Perigee')
  end
  return write.plain(outcome)
end

---@return Action.Outcome
function autoscaler.run(k, namespace, b)
  return set(k, namespace, b, b.min, b.max, b.new_min, b.new_max)
end

---@return Action.Outcome
function autoscaler.revert(k, namespace, b)
  return set(k, namespace, b, b.new_min, b.new_max, b.min, b.max)
end

---@return Action.Outcome
function autoscaler.find_out(k, namespace, b)
  local hpa, failure = k:get(RESOURCE, namespace, b.autoscaler)
  if not hpa then
    return { result = 'unknown', message = answers.words(failure, KIND .. ' ' .. b.autoscaler) }
  end
  local min, max = bounds(hpa)
  local words = ('%s has %d to %d replicas'):format(b.autoscaler, min, max)
  if hpa.metadata.uid == b.uid and min == b.new_min and max == b.new_max then
    return { result = 'succeeded', message = words }
  elseif hpa.metadata.uid == b.uid and min == b.min and max == b.max then
    return { result = 'not_done', message = words }
  end
  return { result = 'unknown', for_good = true, message = words }
end

return autoscaler
