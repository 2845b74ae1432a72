--- Deployments, StatefulSets and DaemonSets: how many pods they have, and how far a change of them
--- has come.
local answers = require 'actions.kubernetes.answers'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local kubelet = require 'actions.kubernetes.kubelet'
local target = require 'actions.kubernetes.target'

local workload = {}

--- The object that an action would change.
---@param k table?
---@param t kubernetes.Target
---@return table? object
---@return Action.Preview? refusal  what a preview says then
---@return Action.Failure? failure
function workload.look(k, t)
  if not k then return nil, { refusal = answers.NO_CLUSTER } end
  local object, failure = k:get(t.resource, t.namespace, t.name)
  if not object then
    local what = target.text(t)
    if answers.is_gone(failure) then return nil, { refusal = ('%s is gone'):format(what) } end
    return nil, nil, answers.failure(failure, what)
  end
  if object.metadata.deletionTimestamp then
    return nil, { refusal = ('%s is being deleted'):format(target.text(t)) }
  end
  return object
end

--- How many pods it is to have, and how many of them are ready.
---@return integer replicas
---@return integer ready
function workload.count(object)
  local s = object.status or {}
  if object.kind == 'DaemonSet' then return s.desiredNumberScheduled or 0, s.numberReady or 0 end
  return object.spec.replicas or 1, s.readyReplicas or 0
end

--- Whether its controller has seen its last change.
function workload.is_observed(object)
  return ((object.status or {}).observedGeneration or 0) >= (object.metadata.generation or 0)
end

local function progressing(object)
  for _, condition in ipairs((object.status or {}).conditions or {}) do
    if condition.type == 'Progressing' then return condition end
  end
end

--- When a Deployment last said how its rollout goes: what it said before a change is not about it.
---@return string
function workload.progress_of(object)
  local condition = progressing(object)
  return condition and (condition.lastUpdateTime or '') .. ' ' .. (condition.reason or '') or ''
end

local ROLLOUT = {}

function ROLLOUT.Deployment(object, s, progress_before)
  local condition = progressing(object)
  if condition and condition.reason == 'ProgressDeadlineExceeded'
    and workload.progress_of(object) ~= progress_before then
    return 'failed', condition.message or 'its progress deadline has passed'
  end
  local wanted, updated = object.spec.replicas or 1, s.updatedReplicas or 0
  local done = updated == wanted and (s.replicas or 0) == updated
    and (s.availableReplicas or 0) == updated
  return done and 'done', ('%d of %d pods are updated, %d available'):format(updated, wanted,
    s.availableReplicas or 0)
end

function ROLLOUT.StatefulSet(object, s)
  local wanted, updated = object.spec.replicas or 1, s.updatedReplicas or 0
  local rolling = (object.spec.updateStrategy or {}).rollingUpdate or {}
  local partition = rolling.partition or 0
  local done = (s.readyReplicas or 0) >= wanted
    and (partition > 0 and updated >= wanted - partition
    or partition == 0 and s.updateRevision == s.currentRevision)
  return done and 'done', ('%d of %d pods are updated, %d ready'):format(updated, wanted,
    s.readyReplicas or 0)
end

function ROLLOUT.DaemonSet(_, s)
  local wanted, updated = s.desiredNumberScheduled or 0, s.updatedNumberScheduled or 0
  local available = s.numberAvailable or 0
  return updated >= wanted and available >= wanted and 'done',
    ('%d of %d pods are updated, %d available'):format(updated, wanted, available)
end

--- How far the rollout of its last change is: "done", "failed", or nothing yet, and words.
---@param object table
---@param progress_before? string  from progress_of(), before the change
---@return "done"|"failed"|nil|false
---@return string
function workload.rollout(object, progress_before)
  if not workload.is_observed(object) then
    return nil, 'its controller has not seen the change yet'
  end
  return ROLLOUT[object.kind](object, object.status or {}, progress_before)
end

--- An action's settled() for what rolls out.
---@param k table
---@param t kubernetes.Target
---@param before { uid: string, progress: string }
---@param started_at number
---@return Action.Outcome? outcome
---@return string? words  how far it is
function workload.settled(k, t, before, started_at)
  local object, failure = k:get(t.resource, t.namespace, t.name)
  local what = target.text(t)
  if not object then
    if not answers.is_gone(failure) then return nil, answers.words(failure, what) end
    return { result = 'failed', message = ('%s is gone'):format(what) }
  end
  if object.metadata.uid ~= before.uid then
    return { result = 'failed', message = ('%s was deleted and made anew'):format(what) }
  end
  local state, words = workload.rollout(object, before.progress)
  if not state then
    local over = workload.is_observed(object)
      and kubelet.given_up(k, t.namespace, object, started_at)
    if not over then return nil, words end
    return { result = 'succeeded', message = ('%s: %s; %s'):format(what, words, over) }
  end
  if state == 'failed' then
    return { result = 'failed', message = ('the rollout of %s has failed: %s'):format(what, words) }
  end
  return { result = 'succeeded', message = ('the rollout of %s has finished: %s'):format(what,
    words) }
end

--- A text that is the same for equal pod templates.
---@param object table
function workload.template_digest(object)
  return hash.sha256(json.encode(object.spec.template))
end

--- What an approval of a change of it is bound to. Not the version: each write of its status makes
--- a new one.
function workload.observed(object)
  return { uid = object.metadata.uid, generation = tostring(object.metadata.generation or 0) }
end

--- Whether somebody has changed it since `before` was recorded.
function workload.is_edited(object, before)
  return (object.metadata.generation or 0) ~= before.generation
end

--- What a change of it records of before.
function workload.before(object)
  return { uid = object.metadata.uid, generation = object.metadata.generation or 0,
    progress = workload.progress_of(object) }
end

--- What has come of a change whose end nobody saw: it is there, or the object is as it was before.
---@param k table
---@param t kubernetes.Target
---@param before { uid: string, generation: integer }
---@param is_done fun(object: table): boolean
---@return Action.Outcome
function workload.find_out(k, t, before, is_done)
  local object, failure = k:get(t.resource, t.namespace, t.name)
  local what = target.text(t)
  if not object then return { result = 'unknown', message = answers.words(failure, what) } end
  if object.metadata.uid ~= before.uid then
    return { result = 'unknown', for_good = true,
      message = ('%s was deleted and made anew'):format(what) }
  end
  if is_done(object) then
    return { result = 'succeeded', message = ('%s is as it was to become'):format(what) }
  end
  if not workload.is_edited(object, before) then
    return { result = 'not_done', message = ('%s is as it was before'):format(what) }
  end
  return { result = 'unknown', for_good = true,
    message = ('%s was edited by somebody else since'):format(what) }
end

--- How many of a Deployment's pods its strategy lets stop before new ones are ready.
local function max_unavailable(object)
  local most = ((object.spec.strategy or {}).rollingUpdate or {}).maxUnavailable
  local percent = type(most) == 'string' and most:match '^(%d+)%%$'
  if percent then return tonumber(percent) * (object.spec.replicas or 1) // 100 end
  return math.tointeger(most) or 0
end

--- The words for a change of its template that takes all its pods away at once, or nil.
---@return string?
function workload.recreates(object)
  if (object.spec.strategy or {}).type == 'Recreate' then
    return 'its strategy is Recreate: all its pods stop before new ones start'
  elseif max_unavailable(object) >= math.max(1, object.spec.replicas or 1) then
    return 'its maxUnavailable lets all its pods stop before new ones are ready'
  end
end

--- Puts into the preview of such a change how many pods that makes unavailable. Any other goes by
--- the workload's own maxUnavailable.
---@param seen Action.Preview
---@param object table
---@return Action.Preview seen
function workload.count_loss(seen, object)
  if not workload.recreates(object) then return seen end
  seen.replicas, seen.ready = workload.count(object)
  seen.unavailable = seen.ready
  return seen
end

--- Why its pods would not follow a change of their template, or nil.
function workload.stuck(object)
  if object.kind == 'Deployment' and object.spec.paused then
    return 'the Deployment is paused: a change would only take effect when it is resumed'
  end
  local strategy = object.spec.updateStrategy or {}
  if strategy.type == 'OnDelete' then
    return 'its update strategy is OnDelete: its pods would stay as they are'
  end
end

return workload
