--- Restarts all pods of a workload, a few at a time as its own strategy says: kubectl's annotation
--- of the pod template, with a time that is chosen once, so that repeating it changes nothing.
local answers = require 'actions.kubernetes.answers'
local clock = require 'perigee.clock'
local diff = require 'actions.kubernetes.diff'
local owner = require 'actions.kubernetes.owner'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local write = require 'actions.kubernetes.write'

local restart_workload = {}

local ANNOTATION = 'kubectl.kubernetes.io/restartedAt'
local FIELD = { 'spec', 'template', 'metadata', 'annotations', ANNOTATION }

local function restarted_at(object)
  return ((object.spec.template.metadata or {}).annotations or {})[ANNOTATION]
end

local function patch(time, version)
  return { metadata = version and { resourceVersion = version } or nil,
    spec = { template = { metadata = { annotations = { [ANNOTATION] = time } } } } }
end

---@return Action.Preview?
---@return Action.Failure?
function restart_workload.preview(t, context)
  local k = context.kubernetes
  local object, refused, failure = workload.look(k, t)
  if not object then return refused, failure end
  local replicas, ready = workload.count(object)
  local stuck = workload.stuck(object)
  if stuck then return { refusal = stuck } end
  local summary = ('restart all pods of %s'):format(target.text(t))
  if replicas == 0 then
    return { summary = summary, observed = workload.observed(object),
      nothing = ('%s has no pods'):format(target.text(t)) }
  end
  local time = clock.text(clock.now()):gsub('%.%d+', '')
  local would
  would, failure = k:patch(t.resource, t.namespace, t.name, patch(time),
    { type = 'strategic', dry_run = true })
  if not would then return nil, answers.failure(failure, target.text(t)) end
  local before = workload.before(object)
  before.restarted_at = time
  local by, other = owner.of(object, FIELD)
  -- A mark on the whole object is no hint here: tools leave this annotation alone.
  local declared = by and by:find(' owns ', 1, true) and by or nil
  return workload.count_loss({ summary = summary, before = before,
    observed = workload.observed(object),
    current = restarted_at(object) and 'last restarted at ' .. restarted_at(object)
      or ('%d of %d pods are ready'):format(ready, replicas),
    proposed = 'restarted at ' .. time, diff = diff.text(object, would),
    warnings = answers.warnings(workload.recreates(object),
      not declared and (by or other) or nil), owner = declared }, object)
end

---@return Action.Outcome
function restart_workload.run(t, context)
  local k, before = context.kubernetes, context.before
  local outcome = write.guarded(k, { target = t, uid = before.uid,
    done = function(object)
      return restarted_at(object) == before.restarted_at
        and ('%s is being restarted already'):format(target.text(t))
    end,
    edited = function(object) return workload.is_edited(object, before) end,
    send = function(object)
      return k:patch(t.resource, t.namespace, t.name,
        patch(before.restarted_at, object.metadata.resourceVersion), { type = 'strategic' })
    end })
  if outcome.answer then
    outcome.message = ('the restart of %s has begun'):format(target.text(t))
    write.tell(k, outcome.answer, 'Restarted', outcome.message .. ' by Perigee')
  end
  return write.plain(outcome)
end

---@return Action.Outcome
function restart_workload.find_out(t, context)
  return workload.find_out(context.kubernetes, t, context.before, function(object)
    return restarted_at(object) == context.before.restarted_at
  end)
end

return restart_workload
