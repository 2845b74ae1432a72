--- kubernetes.patch: fields of an object whose paths the operator has allowed in perigee.yaml, for
--- what has no action of its own.
local answers = require 'actions.kubernetes.answers'
local check = require 'check'
local diff = require 'actions.kubernetes.diff'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local json_patch = require 'kubernetes.json_patch'
local owner = require 'actions.kubernetes.owner'
local resources = require 'kubernetes.resources'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local write = require 'actions.kubernetes.write'

local ROLLS_OUT = { Deployment = true, StatefulSet = true, DaemonSet = true }
local MAX_KEPT = 64 << 10 -- bytes of what was before
local OPERATIONS = { 'add', 'replace', 'remove' }

local SPEC = {
  resource = check.required { test = resources.check },
  namespace = target.NAMESPACE,
  name = check.required(target.NAME),
  merge = { test = function(v)
    if type(v) ~= 'table' or v.kind == 'function' or #v > 0 or next(v) == nil then
      return check.expected('a table of the fields to set', v)
    end
  end },
  json = check.list_of(check.table_of {
    op = check.required(check.one_of(nil, OPERATIONS)),
    path = check.required { test = json_patch.check },
    value = check.any(),
  }),
  timeout = target.TIMEOUT,
}

local function resource_of(args) return (resources.find(args.resource, args.namespace)) end

local function target_of(args)
  local r = resource_of(args)
  return { kind = r.kind or r.plural, resource = args.resource, namespace = args.namespace,
    name = args.name }
end

--- The operations of a patch, on an object as it is.
local function operations_of(args, object)
  if args.merge then return json_patch.of_merge(object, args.merge) end
  local out = {}
  for i, o in ipairs(args.json) do
    out[i] = { op = o.op, path = json_patch.steps(o.path), value = o.value }
  end
  return out
end

--- Every path that a patch touches, whatever the object has.
local function touched(args)
  local out = {}
  if args.json then
    for i, o in ipairs(args.json) do out[i] = json_patch.steps(o.path) end
    return out
  end
  local function walk(value, path)
    for _, name in ipairs(check.names(value)) do
      local here = table.move(path, 1, #path, 1, {})
      here[#here + 1] = name
      local item = value[name]
      if type(item) == 'table' and item[1] == nil and next(item) ~= nil then
        walk(item, here)
      else
        out[#out + 1] = here
      end
    end
  end
  walk(args.merge, {})
  return out
end

local OURS = { labels = true, annotations = true }

--- Why a path is never changed by a patch, or nil.
local function never(steps)
  local first, second = steps[1], steps[2]
  if first == 'status' or first == 'kind' or first == 'apiVersion' then
    return ('%s is not anybody\'s to patch'):format(json_patch.text(steps))
  elseif first == 'metadata' and not (OURS[second] and steps[3]) then
    return ('%s: of the metadata only single labels and annotations'):format(
      json_patch.text(steps))
  elseif first == 'spec' and second == 'replicas' and not steps[3] then
    return '/spec/replicas is for kubernetes.scale'
  end
end

local function check_args(args)
  if (args.merge ~= nil) == (args.json ~= nil) then
    return 'exactly one of "merge" and "json" is needed'
  end
  local r = resource_of(args)
  if r.plural == 'secrets' then return 'Secrets are not patched: a plan holds no secret' end
  if r.namespaced and not args.namespace then return 'option "namespace" is missing' end
  if not r.namespaced and args.namespace then
    return ('%s lie in no namespace'):format(args.resource)
  end
  if args.json and #args.json == 0 then return 'json: expected at least one operation' end
  for i, o in ipairs(args.json or {}) do
    if (o.op == 'remove') == (o.value ~= nil) then
      return ('json[%d]: %s'):format(i, o.op == 'remove' and '"remove" takes no value'
        or ('"%s" needs a value'):format(o.op))
    end
  end
  for _, steps in ipairs(touched(args)) do
    local wrong = never(steps)
    if wrong then return wrong end
  end
end

--- Whether an allowed path covers another: "/spec/template" all below it, "*" any one step.
local function covers(pattern, steps)
  local allowed = json_patch.steps(pattern)
  if #steps < #allowed then return false end
  for i, step in ipairs(allowed) do
    if step ~= '*' and step ~= steps[i] then return false end
  end
  return true
end

local function is_allowed(args, steps, rules)
  for _, rule in ipairs(rules) do
    for _, resource in ipairs(rule.resources) do
      local same = resources.find(resource, args.namespace)
      for _, pattern in ipairs(same and same.plural == resource_of(args).plural
        and same.group == resource_of(args).group and rule.paths or {}) do
        if covers(pattern, steps) then return true end
      end
    end
  end
  return false
end

local function allowed(args, config)
  local rules = config.guardrails.kubernetes_patch
  if not rules or #rules == 0 then return 'guardrails.kubernetes_patch allows no patch at all' end
  for _, steps in ipairs(touched(args)) do
    if not is_allowed(args, steps, rules) then
      return ('guardrails.kubernetes_patch does not allow %s of %s'):format(json_patch.text(steps),
        args.resource)
    end
  end
end

--- The values at some paths, as texts by path.
local function values_at(object, roots)
  local out = {}
  for _, root in ipairs(roots) do
    local steps = json_patch.steps(root)
    local value = json_patch.get(object, steps)
    out[root] = value == nil and 'absent' or json.encode(value)
  end
  return out
end

local function same_values(object, values)
  for root, value in pairs(values_at(object, check.names(values))) do
    if values[root] ~= value then return false end
  end
  return true
end

--- Who else sees to one of the fields, or a warning.
local function owner_of(object, operations)
  local warning
  for _, o in ipairs(operations) do
    local by, other = owner.of(object, o.path)
    if by then return by end
    warning = warning or other
  end
  return nil, warning
end

local function preview(args, context)
  local k, t = context.kubernetes, target_of(args)
  local object, refused, failure = workload.look(k, t)
  if not object then return refused, failure end
  local operations = operations_of(args, object)
  local inverse, wrong = json_patch.inverse(object, operations)
  if not inverse then return { refusal = ('%s: %s'):format(target.text(t), wrong) } end
  local would
  would, failure = k:patch(t.resource, t.namespace, t.name, json_patch.body(operations),
    { type = 'json', dry_run = true })
  if not would then return nil, answers.failure(failure, target.text(t)) end
  if (object.spec or {}).replicas ~= (would.spec or {}).replicas then
    return { refusal = 'this would change the replicas, which is for kubernetes.scale' }
  end
  local roots = {}
  for i, o in ipairs(operations) do
    roots[i] = json_patch.text(json_patch.root(object, o.path))
  end
  local values, text = values_at(object, roots), diff.text(object, would)
  local observed = workload.observed(object)
  observed.values = hash.sha256(json.encode(values))
  local summary = ('patch %s'):format(target.text(t))
  if text == '' then
    return { summary = summary, observed = observed,
      nothing = ('%s is as the patch would make it'):format(target.text(t)) }
  end
  local by, other = owner_of(object, operations)
  local before = workload.before(object)
  before.values, before.values_after, before.inverse = values, values_at(would, roots), {}
  before.rolls_out = ROLLS_OUT[t.kind] ~= nil
    and workload.template_digest(object) ~= workload.template_digest(would)
  for i, o in ipairs(json_patch.body(inverse)) do before.inverse[i] = o end
  local size = #json.encode(before)
  if size > MAX_KEPT then
    return { refusal = ('what it changes is too large to be kept: %d bytes, at most %d'):format(
      size, MAX_KEPT) }
  end
  local seen = { summary = summary, before = before, observed = observed, diff = text,
    warnings = answers.warnings(before.rolls_out and workload.recreates(would) or nil, other),
    owner = by }
  return before.rolls_out and workload.count_loss(seen, would) or seen
end

--- Sends operations, where the fields have the values that they are made for.
local function send(context, t, o)
  local k = context.kubernetes
  local outcome = write.guarded(k, { target = t, uid = context.before.uid,
    done = function(object)
      return same_values(object, o.to) and ('%s is as it was to become'):format(target.text(t))
    end,
    edited = function(object) return not same_values(object, o.from) or o.edited(object) end,
    send = function(object)
      return k:patch(t.resource, t.namespace, t.name,
        json_patch.body(o.operations(object), object.metadata.resourceVersion), { type = 'json' })
    end })
  if outcome.answer then
    outcome.message = ('%s was %s'):format(target.text(t), o.what)
    write.tell(k, outcome.answer, 'Patched', outcome.message .. ' by Perigee')
  end
  return write.plain(outcome)
end

local function run(args, context)
  local b = context.before
  return send(context, target_of(args), { what = 'patched', from = b.values, to = b.values_after,
    edited = function(object) return workload.is_edited(object, b) end,
    operations = function(object) return operations_of(args, object) end })
end

--- Puts back what it changed, where nobody has changed it since.
local function revert(args, context)
  local b = context.before
  local inverse = {}
  for i, o in ipairs(b.inverse) do
    inverse[i] = { op = o.op, path = json_patch.steps(o.path), value = o.value }
  end
  return send(context, target_of(args), { what = 'patched back', from = b.values_after,
    to = b.values, edited = function() return false end,
    operations = function() return inverse end })
end

local function settled(args, context)
  local t = target_of(args)
  if context.before.rolls_out then
    return workload.settled(context.kubernetes, t, context.before, context.started_at)
  end
  return { result = 'succeeded', message = ('%s is as it was to become'):format(target.text(t)) }
end

local function find_out(args, context)
  local b, t = context.before, target_of(args)
  return workload.find_out(context.kubernetes, t, b, function(object)
    return same_values(object, b.values_after)
  end)
end

return { spec = SPEC, changes = true, check = check_args, allowed = allowed,
  target = function(args) return target.path(target_of(args)) end,
  scope = function(args)
    local t = target_of(args)
    return { namespace = t.namespace, kind = t.kind, name = t.name }
  end,
  preview = preview, run = run, settled = settled, find_out = find_out,
  can_revert = function() return true end, revert = revert }
