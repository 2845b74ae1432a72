--- kubernetes.scale: the number of replicas of a workload, by its scale subresource, within bounds.
--- Where an autoscaler owns that number, nothing is done unless its bounds are meant.
local answers = require 'actions.kubernetes.answers'
local autoscaler = require 'actions.kubernetes.autoscaler'
local budgets = require 'actions.kubernetes.budgets'
local check = require 'check'
local owner = require 'actions.kubernetes.owner'
local kubelet = require 'actions.kubernetes.kubelet'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local write = require 'actions.kubernetes.write'

local one = target.one_of { 'deployment', 'statefulset' }

local MOST = 10000 -- replicas that anybody can mean
local MIN, MAX = 1, 10 -- of an increment that says no bounds

local count = check.number(nil, { min = 0, max = MOST, integer = true })

local SPEC = { increment = check.number(nil, { min = -MOST, max = MOST, integer = true }),
  replicas = count, min = count, max = count, autoscaler = check.boolean(false),
  timeout = target.TIMEOUT }
for name, rule in pairs(one.fields) do SPEC[name] = rule end

local function bounds(args)
  if args.replicas then return args.min or 0, args.max or MOST end
  return args.min or MIN, args.max or math.max(MAX, args.min or MIN)
end

local function check_args(args)
  local wrong = one.check(args)
  if wrong then return wrong end
  if (args.increment ~= nil) == (args.replicas ~= nil) then
    return 'exactly one of "increment" and "replicas" is needed'
  end
  if args.increment == 0 then return 'an increment of 0 changes nothing' end
  local min, max = bounds(args)
  if min > max then return ('min is %d, more than max, %d'):format(min, max) end
end

--- The replicas that are wanted, and the words where the bounds had their say. An increment never
--- goes the other way: where there are more than `max` already, adding some takes none away.
local function wanted(args, now)
  local min, max = bounds(args)
  local asked = args.replicas or now + args.increment
  local to = math.max(min, math.min(max, asked))
  if args.increment then
    to = args.increment > 0 and math.max(now, to) or math.min(now, to)
  end
  if to == asked then return to end
  return to, ('%d replicas are asked for; %s allows %d'):format(asked,
    asked > to and ('max = %d'):format(max) or ('min = %d'):format(min), to)
end

local function show(n) return n == 1 and '1 replica' or ('%d replicas'):format(n) end

local function replicas_of(object) return object.spec.replicas or 1 end

local function scale_of(t, replicas, version)
  return { apiVersion = 'autoscaling/v1', kind = 'Scale', spec = { replicas = replicas },
    metadata = { name = t.name, namespace = t.namespace, resourceVersion = version } }
end

--- Why a scale-down must not be, by a disruption budget that wants a number of pods; or nil.
local function against_budgets(k, object, to)
  local covering, failure = budgets.covering(k, object.metadata.namespace,
    (object.spec.template.metadata or {}).labels)
  if not covering then return nil, failure end
  for _, budget in ipairs(covering) do
    local least = math.tointeger(budget.spec.minAvailable) -- a share follows the replicas
    if least and to < least then
      return ('%s would leave fewer pods than %s wants'):format(show(to), budgets.text(budget))
    end
  end
end

--- What a change from a number of replicas to another would be, rehearsed by the server.
local function preview_scale(k, t, object, to, clamped)
  local now = replicas_of(object)
  local done, failure = k:set_scale(t.resource, t.namespace, t.name, scale_of(t, to),
    { dry_run = true })
  if not done then return nil, answers.failure(failure, target.text(t)) end
  local by, other = owner.of(object, { 'spec', 'replicas' })
  local before = workload.before(object)
  before.from, before.to, before.ready = now, to, select(2, workload.count(object))
  return { summary = ('scale %s from %d to %s'):format(target.text(t), now, show(to)),
    before = before, observed = workload.observed(object), current = show(now),
    proposed = show(done.spec.replicas or 0),
    diff = ('  spec.replicas: %d → %d'):format(now, done.spec.replicas or 0),
    warnings = answers.warnings(clamped, other), owner = by }
end

--- How many pods go away at once, of how many.
local function count_loss(seen, object, to)
  local now, ready = workload.count(object)
  seen.unavailable = to < now and math.min(now - to, ready) or 0
  seen.ready, seen.replicas = ready, now
  return seen
end

local function preview(args, context)
  local k, t = context.kubernetes, one.of(args)
  local object, refused, failure = workload.look(k, t)
  if not object then return refused, failure end
  local now = replicas_of(object)
  if now == 0 and args.increment then
    return { refusal = ('%s is scaled to 0: somebody has switched it off'):format(target.text(t)) }
  end
  local hpa
  hpa, failure = autoscaler.of(k, t)
  if failure then return nil, failure end
  if hpa and not args.autoscaler then
    return { refusal = ('%s owns the replicas of %s: only with autoscaler = true its bounds are '
      .. 'changed'):format(autoscaler.text(hpa), target.text(t)) }
  end
  local to, clamped = wanted(args, now)
  if to == now then
    return { summary = ('leave %s at %s'):format(target.text(t), show(now)),
      observed = workload.observed(object),
      nothing = ('%s has %s%s'):format(target.text(t), show(now), clamped and '; ' .. clamped
        or '') }
  end
  local against
  if to < now then against, failure = against_budgets(k, object, to) end
  if against then return { refusal = against } end
  local seen
  if not failure and hpa then seen, failure = autoscaler.preview(k, hpa, now, to) end
  if not failure and not hpa then seen, failure = preview_scale(k, t, object, to, clamped) end
  if not seen then return nil, failure end
  return count_loss(seen, object, to)
end

--- Sets the replicas where they are as they were.
local function set(context, t, from, to, edited)
  local k, before = context.kubernetes, context.before
  local outcome = write.guarded(k, { target = t, uid = before.uid,
    done = function(object)
      return replicas_of(object) == to
        and ('%s has %s already'):format(target.text(t), show(to))
    end,
    edited = function(object)
      return replicas_of(object) ~= from or edited and edited(object)
    end,
    send = function(object)
      -- The scale is a view of the same object, and has its version.
      return k:set_scale(t.resource, t.namespace, t.name,
        scale_of(t, to, object.metadata.resourceVersion))
    end })
  if outcome.answer then
    outcome.message = ('%s was scaled from %d to %s'):format(target.text(t), from, show(to))
    write.tell(k, outcome.object, 'Scaled', outcome.message .. ' by Perigee')
  end
  return write.plain(outcome)
end

local function run(args, context)
  local b = context.before
  if b.autoscaler then return autoscaler.run(context.kubernetes, args.namespace, b) end
  return set(context, one.of(args), b.from, b.to, function(object)
    return workload.is_edited(object, b)
  end)
end

--- Undoes it where nobody has set the replicas since; what else was changed stays.
local function revert(args, context)
  local b = context.before
  if b.autoscaler then return autoscaler.revert(context.kubernetes, args.namespace, b) end
  return set(context, one.of(args), b.to, b.from)
end

local function settled(args, context)
  local k, t, b = context.kubernetes, one.of(args), context.before
  if b.autoscaler and not b.up then
    return { result = 'succeeded', message = 'the autoscaler may go lower now' }
  end
  local object, failure = k:get(t.resource, t.namespace, t.name)
  if not object then
    if not answers.is_gone(failure) then return nil, answers.words(failure, target.text(t)) end
    return { result = 'failed', message = ('%s is gone'):format(target.text(t)) }
  end
  local replicas, s = replicas_of(object), object.status or {}
  local pods, ready = s.replicas or 0, s.readyReplicas or 0
  local words = ('%s has %d pods, %d of them ready'):format(target.text(t), pods, ready)
  local to = b.autoscaler and b.new_min or b.to
  if not workload.is_observed(object) then return nil, 'its controller has not seen it yet' end
  local reached
  if b.autoscaler then
    reached = replicas >= to and ready >= to
  elseif b.to > b.from then
    reached = pods >= to and ready >= math.min(to, b.ready + b.to - b.from)
  else
    reached = pods <= to
  end
  if not reached then
    local over = pods >= to and kubelet.given_up(k, t.namespace, object, context.started_at)
    if not over then return nil, words end
    words = words .. '; ' .. over
  end
  return { result = 'succeeded', message = words }
end

local function find_out(args, context)
  local k, b = context.kubernetes, context.before
  if b.autoscaler then return autoscaler.find_out(k, args.namespace, b) end
  return workload.find_out(k, one.of(args), b, function(object)
    return replicas_of(object) == b.to
  end)
end

return { spec = SPEC, changes = true, check = check_args, target = one.target, scope = one.scope,
  preview = preview, run = run, settled = settled, find_out = find_out,
  can_revert = function() return true end, revert = revert }
