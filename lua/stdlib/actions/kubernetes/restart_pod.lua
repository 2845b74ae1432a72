--- Restarts one pod: it is evicted, so that disruption budgets have their say, and its controller
--- makes another. It is told from a later pod of the same name by its uid.
local answers = require 'actions.kubernetes.answers'
local async = require 'async'
local budgets = require 'actions.kubernetes.budgets'
local kubelet = require 'actions.kubernetes.kubelet'
local owners = require 'kubernetes.owners'
local selector = require 'actions.kubernetes.selector'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local write = require 'actions.kubernetes.write'

local restart_pod = {}

local MIRROR = 'kubernetes.io/config.mirror'
local TRIES, FIRST_WAIT, LONGEST_WAIT = 3, 5, 20 -- seconds, for a budget to allow it

-- The controllers that make a new pod for one that goes, and what the client calls them.
local CONTROLLERS = { ReplicaSet = 'replicasets', StatefulSet = 'statefulsets' }
local WORKLOADS = { ReplicaSet = 'replicasets', StatefulSet = 'statefulsets',
  Deployment = 'deployments' }

local function is_ready(pod)
  for _, condition in ipairs((pod.status or {}).conditions or {}) do
    if condition.type == 'Ready' then return condition.status == 'True' end
  end
  return false
end

--- Why a pod would not come back, or should not go.
local function unfit(pod, reference)
  if (pod.metadata.annotations or {})[MIRROR] then
    return 'a mirror pod: its node makes it from a file, and only there it can be restarted'
  end
  if not reference then return 'nothing controls this pod: no other would take its place' end
  if reference.kind == 'DaemonSet' then
    return ('a pod of a DaemonSet: restart DaemonSet %s instead'):format(reference.name)
  end
  if not CONTROLLERS[reference.kind] then
    return ('its controller is a %s: what comes of its pods is not known here'):format(
      reference.kind)
  end
end

--- How many pods of a controller are ready and not on their way out; nil and no failure where the
--- controller is gone.
---@param c { kind: string, name: string, uid: string }
---@return integer? ready
---@return kubernetes.Failure? failure
---@return integer? replicas  that there are to be
local function count_ready(k, namespace, c)
  local set, failure = k:get(CONTROLLERS[c.kind], namespace, c.name)
  if not set and not answers.is_gone(failure) then return nil, failure end
  if not set or set.metadata.uid ~= c.uid then return nil end
  local list
  list, failure = k:list('pods', namespace, { label_selector = selector.text(set.spec.selector) })
  if not list then return nil, failure end
  local ready = 0
  for _, pod in ipairs(list.items) do
    local reference = owners.controller(pod)
    if reference and reference.uid == c.uid and not pod.metadata.deletionTimestamp
      and is_ready(pod) then
      ready = ready + 1
    end
  end
  return ready, nil, set
end

--- The server's word on whether it may go: true and what to warn of, or a failure.
local function rehearse(k, args, pod)
  local done, failure
  if args.delete then
    local covering
    covering, failure = budgets.covering(k, args.namespace, pod.metadata.labels)
    if not covering then return nil, failure end
    done, failure = k:delete('pods', args.namespace, args.pod,
      { uid = pod.metadata.uid, dry_run = true })
    if done then return true, covering[1] and 'deleted, past ' .. budgets.text(covering[1]) end
  else
    done, failure = k:evict(args.namespace, args.pod, { uid = pod.metadata.uid, dry_run = true })
    local held = not done and answers.budget(failure)
    if done or held then return true, held end
  end
  failure = answers.failure(failure, target.text(restart_pod.target(args)))
  -- Several budgets for one pod: the server does not know what to do, now or later.
  failure.transient = failure.transient and not failure.message:find 'PodDisruptionBudget'
  return nil, failure
end

--- The workload that the pod counts for, as it is now: what is above its controller, or, where that
--- is of a kind that is not known here, the controller.
local function counted(k, args, pod)
  local above, failure = owners.above(k, args.namespace, pod)
  if not above then return nil, failure end
  if not WORKLOADS[above.kind] then above = owners.controller(pod) end
  local object
  object, failure = k:get(WORKLOADS[above.kind], args.namespace, above.name)
  return object, failure
end

---@return kubernetes.Target
function restart_pod.target(args)
  return { kind = 'Pod', resource = 'pods', namespace = args.namespace, name = args.pod }
end

---@return Action.Preview?
---@return Action.Failure?
function restart_pod.preview(args, context)
  local k, t = context.kubernetes, restart_pod.target(args)
  local pod, refused, failure = workload.look(k, t)
  if not pod then return refused, failure end
  local reference = owners.controller(pod)
  local why_not = unfit(pod, reference)
  if why_not then return { refusal = ('%s: %s'):format(target.text(t), why_not) } end
  local above, told = counted(k, args, pod)
  if not above then return nil, answers.failure(told, 'the workload of ' .. target.text(t)) end
  local ready
  ready, told = count_ready(k, args.namespace, reference)
  if told then return nil, answers.failure(told, 'the pods of ' .. reference.name) end
  if not ready then
    return { refusal = ('%s: its %s %s is gone'):format(target.text(t), reference.kind,
      reference.name) }
  end
  local may_go, said = rehearse(k, args, pod)
  if not may_go then return nil, said end
  local replicas, ready_in_all = workload.count(above)
  local owner = { kind = above.kind, namespace = args.namespace, name = above.metadata.name }
  return { summary = ('%s %s of %s'):format(args.delete and 'delete' or 'evict', target.text(t),
      target.text(owner)),
    current = is_ready(pod) and 'running and ready' or 'not ready', proposed = 'a new pod',
    before = { uid = pod.metadata.uid, ready = ready, controller = { kind = reference.kind,
      name = reference.name, uid = reference.uid } },
    observed = { uid = pod.metadata.uid }, warnings = answers.warnings(said),
    unavailable = is_ready(pod) and 1 or 0, ready = ready_in_all, replicas = replicas,
    workload = target.path(owner) }
end

--- Sends it, and again after a while where a budget allows it only then. Whether it may go on, the
--- client asks before each (kubernetes.lua, stoppable).
local function send(k, args, uid)
  local grace = args.grace_period and math.ceil(args.grace_period)
  if args.delete then
    return k:delete('pods', args.namespace, args.pod, { uid = uid, grace_period_seconds = grace })
  end
  for i = 1, TRIES do
    local done, failure = k:evict(args.namespace, args.pod,
      { uid = uid, grace_period_seconds = grace })
    if done or not answers.budget(failure) or i == TRIES then return done, failure end
    async.sleep(math.min(LONGEST_WAIT, math.max(FIRST_WAIT * i, failure.retry_after or 0)))
  end
end

--- What comes of a pod that the server did not let go.
local function refused(args, context, failure)
  local what = target.text(restart_pod.target(args))
  if answers.is_gone(failure) or answers.is_conflict(failure) then
    local outcome = restart_pod.find_out(args, context)
    if outcome.result == 'not_done' then outcome.result = 'failed' end
    return outcome
  end
  local outcome = answers.outcome(failure, what)
  if outcome.result == 'failed' then
    outcome.message = ('%s: %s; nothing was changed'):format(what,
      answers.budget(failure) or outcome.message)
  end
  return outcome
end

---@return Action.Outcome
function restart_pod.run(args, context)
  local k, t, before = context.kubernetes, restart_pod.target(args), context.before
  local what = target.text(t)
  local pod, failure = k:get('pods', args.namespace, args.pod)
  if not pod and not answers.is_gone(failure) then
    return { result = 'failed', message = ('%s; nothing was changed'):format(
      answers.words(failure, what)) }
  end
  if not pod or pod.metadata.uid ~= before.uid then
    return { result = 'succeeded',
      message = ('%s is gone already; nothing was changed'):format(what) }
  end
  local done
  done, failure = send(k, args, before.uid)
  if not done then return refused(args, context, failure) end
  local message = ('%s was %s'):format(what, args.delete and 'deleted' or 'evicted')
  write.tell(k, pod, 'Restarted', message .. ' by Perigee')
  return { result = 'succeeded', message = message }
end

--- The old pod, while it is there.
local function old_pod(k, args, before)
  local pod, failure = k:get('pods', args.namespace, args.pod)
  if pod then return pod.metadata.uid == before.uid and pod or nil end
  if answers.is_gone(failure) then return nil end
  return nil, failure
end

---@return Action.Outcome?
---@return string?
function restart_pod.settled(args, context)
  local k, before = context.kubernetes, context.before
  local what = target.text(restart_pod.target(args))
  local old, failure = old_pod(k, args, before)
  if failure then return nil, answers.words(failure, what) end
  if old and not old.metadata.deletionTimestamp then
    return nil, ('%s is still there'):format(what)
  end
  what = ('%s is %s'):format(what, old and 'terminating' or 'gone')
  local c = before.controller
  local ready, why, set = count_ready(k, args.namespace, c)
  if why then return nil, answers.words(why, 'the pods of ' .. c.name) end
  if not ready then
    return { result = 'succeeded', message = ('%s, and its %s is gone'):format(what, c.kind) }
  end
  local wanted = math.min(before.ready, set.spec.replicas or 1)
  local words = ('%d of %d pods of %s %s are ready'):format(ready, wanted, c.kind, c.name)
  if ready < wanted then
    local over = kubelet.given_up(k, args.namespace, set, context.started_at)
    if not over then return nil, words end
    words = words .. '; ' .. over
  end
  return { result = 'succeeded', message = ('%s; %s'):format(what, words) }
end

---@return Action.Outcome
function restart_pod.find_out(args, context)
  local what = target.text(restart_pod.target(args))
  local old, failure = old_pod(context.kubernetes, args, context.before)
  if failure then return { result = 'unknown', message = answers.words(failure, what) } end
  if not old then return { result = 'succeeded', message = ('%s is gone'):format(what) } end
  if old.metadata.deletionTimestamp then
    return { result = 'succeeded', message = ('%s is terminating'):format(what) }
  end
  return { result = 'not_done', message = ('%s is still there'):format(what) }
end

return restart_pod
