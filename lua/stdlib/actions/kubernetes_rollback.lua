--- kubernetes.rollback: the pod template of an earlier revision, put in as a whole. Revisions are
--- counted from the present one; configuration that lies elsewhere stays as it is.
local answers = require 'actions.kubernetes.answers'
local check = require 'check'
local diff = require 'actions.kubernetes.diff'
local history = require 'actions.kubernetes.history'
local owner = require 'actions.kubernetes.owner'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local write = require 'actions.kubernetes.write'

local one = target.one_of { 'deployment', 'statefulset', 'daemonset' }

local SPEC = { revisions_back = check.number(1, { min = 1, max = 100, integer = true }),
  timeout = target.TIMEOUT }
for name, rule in pairs(one.fields) do SPEC[name] = rule end

local NOT_BACK = 'ConfigMaps and Secrets that it uses are not rolled back'

--- The present revision and the one to go back to, or words why there is none.
local function choose(k, t, object, back)
  local revisions, failure = history.list(k, object)
  if not revisions then return nil, nil, nil, failure end
  local current = history.current(object, revisions)
  if not current then
    return nil, nil, ('the present revision of %s is not among the %d that are kept'):format(
      target.text(t), #revisions)
  end
  local to, earlier = history.back(revisions, current, back)
  if to then return current, to end
  if earlier == 0 then
    return nil, nil, ('%s has no revision before %d, its present one'):format(target.text(t),
      current.number)
  end
  return nil, nil, ('%s has only %d earlier revision%s, not %d'):format(target.text(t), earlier,
    earlier == 1 and '' or 's', back)
end

local function put_back(k, t, object, revision, o)
  local patch, type = history.patch(object, revision, not o and object.metadata.resourceVersion)
  return k:patch(t.resource, t.namespace, t.name, patch,
    { type = type, dry_run = o and o.dry_run })
end

local function name_of(revision) return { name = revision.name, uid = revision.uid,
  number = revision.number } end

--- What speaks against it happening by itself, and what people should know.
local function hints(object, current, to)
  local by, other = owner.of(object, { 'spec', 'template' })
  local again = history.is_newer(to, current) and ('revision %d is newer than the present '
    .. 'template: it was rolled back from, and would come back'):format(to.number) or nil
  return by or again, answers.warnings(NOT_BACK, again, workload.recreates(object), other)
end

--- Why it cannot be rolled back as it is, or a failure that passes.
local function unfit(t, object)
  local stuck = workload.stuck(object)
  if stuck then return { refusal = stuck } end
  if not workload.is_observed(object) then
    return nil, { transient = true, message = ('the controller of %s has not seen its last change '
      .. 'yet'):format(target.text(t)) }
  end
end

local function preview(args, context)
  local k, t = context.kubernetes, one.of(args)
  local object, refused, failure = workload.look(k, t)
  if not object then return refused, failure end
  refused, failure = unfit(t, object)
  if refused or failure then return refused, failure end
  local current, to, words
  current, to, words, failure = choose(k, t, object, args.revisions_back)
  if failure then return nil, failure end
  if words then return { refusal = words } end
  local would
  would, failure = put_back(k, t, object, to, { dry_run = true })
  if not would then return nil, answers.failure(failure, target.text(t)) end
  local summary = ('roll %s back from revision %d to revision %d'):format(target.text(t),
    current.number, to.number)
  local digest, observed = workload.template_digest(would), workload.observed(object)
  if digest == workload.template_digest(object) then
    return { summary = summary, observed = observed,
      nothing = ('%s has the template of revision %d already'):format(target.text(t), to.number) }
  end
  local by, warnings = hints(object, current, to)
  local before = workload.before(object)
  before.current, before.to, before.digest = name_of(current), name_of(to), digest
  before.digest_before = workload.template_digest(object)
  return workload.count_loss({ summary = summary, before = before, observed = observed,
    current = ('revision %d'):format(current.number),
    proposed = ('the template of revision %d'):format(to.number),
    diff = diff.text(object, would), warnings = warnings, owner = by }, object)
end

--- Puts a revision in, where the object is as it was.
local function put(context, t, revision, digest, edited)
  local k, before = context.kubernetes, context.before
  local outcome = write.guarded(k, { target = t, uid = before.uid,
    done = function(object)
      return workload.template_digest(object) == digest
        and ('%s has this template already'):format(target.text(t))
    end,
    edited = edited,
    send = function(object)
      local revisions, failure = history.list(k, object)
      if not revisions then
        return nil, { kind = 'history', unsent = true, message = failure.message }
      end
      for _, known in ipairs(revisions) do
        if known.uid == revision.uid then return put_back(k, t, object, known) end
      end
      return nil, { kind = 'history', unsent = true, message =
        ('revision %d of %s is not kept any more'):format(revision.number, target.text(t)) }
    end })
  if outcome.answer then
    outcome.message = ('%s has the template of revision %d again'):format(target.text(t),
      revision.number)
    write.tell(k, outcome.answer, 'RolledBack', outcome.message .. ', by Perigee')
  end
  return write.plain(outcome)
end

local function run(args, context)
  local b = context.before
  return put(context, one.of(args), b.to, b.digest, function(object)
    return workload.is_edited(object, b)
  end)
end

--- Undoes it, where the template is still the one that was put in.
local function revert(args, context)
  local b = context.before
  return put(context, one.of(args), b.current, b.digest_before, function(object)
    return workload.template_digest(object) ~= b.digest
  end)
end

local function settled(args, context)
  return workload.settled(context.kubernetes, one.of(args), context.before, context.started_at)
end

local function find_out(args, context)
  local b = context.before
  return workload.find_out(context.kubernetes, one.of(args), b, function(object)
    return workload.template_digest(object) == b.digest
  end)
end

return { spec = SPEC, changes = true, check = one.check, target = one.target, scope = one.scope,
  preview = preview, run = run, settled = settled, find_out = find_out,
  can_revert = function() return true end, revert = revert }
