--- kubernetes.cordon and kubernetes.uncordon: whether new pods may come to a node.
local answers = require 'actions.kubernetes.answers'
local owner = require 'actions.kubernetes.owner'
local target = require 'actions.kubernetes.target'
local workload = require 'actions.kubernetes.workload'
local write = require 'actions.kubernetes.write'
local check = require 'check'

local one = target.one_of { 'node' }

local function is_cordoned(node) return node.spec.unschedulable == true end

local WORDS = { [true] = 'cordoned', [false] = 'open to new pods' }

local function takes_pods(node)
  if is_cordoned(node) then return false end
  for _, taint in ipairs(node.spec.taints or {}) do
    if taint.effect == 'NoSchedule' or taint.effect == 'NoExecute' then return false end
  end
  for _, condition in ipairs((node.status or {}).conditions or {}) do
    if condition.type == 'Ready' then return condition.status == 'True' end
  end
  return false
end

--- How many other nodes would still take pods.
local function others(k, name)
  local list, failure = k:list 'nodes'
  if not list then return nil, answers.failure(failure, 'the list of nodes') end
  local n = 0
  for _, node in ipairs(list.items) do
    if node.metadata.name ~= name and takes_pods(node) then n = n + 1 end
  end
  return n
end

local function patch(cordoned, version)
  return { metadata = version and { resourceVersion = version } or nil,
    spec = { unschedulable = cordoned } }
end

--- Why only a person should take the last nodes away, and what to warn of, by how many are left.
local function hints(left)
  if left == 0 then
    local words = 'no other node takes new pods'
    return words, words
  end
  return nil, left == 1 and 'only one other node takes new pods' or nil
end

--- The action that cordons, or the one that does the reverse.
local function action(cordon)
  local a = { spec = { node = check.required(one.fields.node) }, changes = true, check = one.check,
    target = one.target, scope = one.scope }

  function a.preview(args, context)
    local k, t = context.kubernetes, one.of(args)
    local node, refused, failure = workload.look(k, t)
    if not node then return refused, failure end
    local summary = ('%s %s'):format(cordon and 'cordon' or 'uncordon', target.text(t))
    local now = is_cordoned(node)
    -- A node has no generation: that it was cordoned by somebody is what would matter.
    local observed = { uid = node.metadata.uid, unschedulable = tostring(now) }
    if now == cordon then
      return { summary = summary, observed = observed,
        nothing = ('%s is %s already'):format(target.text(t), WORDS[now]) }
    end
    local left = math.huge
    if cordon then left, failure = others(k, t.name) end
    if not left then return nil, failure end
    local done
    done, failure = k:patch(t.resource, nil, t.name, patch(cordon),
      { type = 'merge', dry_run = true })
    if not done then return nil, answers.failure(failure, target.text(t)) end
    local last, warning = hints(left)
    return { summary = summary, observed = observed, before = { uid = node.metadata.uid },
      current = WORDS[now], proposed = WORDS[cordon],
      diff = ('  spec.unschedulable: %s → %s'):format(now, cordon),
      warnings = answers.warnings(warning),
      owner = owner.of(node, { 'spec', 'unschedulable' }) or last }
  end

  local function set(args, context, to)
    local k, t = context.kubernetes, one.of(args)
    local outcome = write.guarded(k, { target = t, uid = context.before.uid,
      done = function(node)
        return is_cordoned(node) == to
          and ('%s is %s already'):format(target.text(t), WORDS[to])
      end,
      edited = function() return false end,
      send = function(node)
        return k:patch(t.resource, nil, t.name, patch(to, node.metadata.resourceVersion),
          { type = 'merge' })
      end })
    if outcome.answer then
      outcome.message = ('%s is %s now'):format(target.text(t), WORDS[to])
      write.tell(k, outcome.answer, to and 'Cordoned' or 'Uncordoned',
        outcome.message .. ', by Perigee')
    end
    return write.plain(outcome)
  end

  function a.run(args, context) return set(args, context, cordon) end
  function a.can_revert() return true end
  function a.revert(args, context) return set(args, context, not cordon) end

  function a.find_out(args, context)
    local t = one.of(args)
    local node, failure = context.kubernetes:get(t.resource, nil, t.name)
    if not node then
      return { result = 'unknown', message = answers.words(failure, target.text(t)) }
    end
    local now = is_cordoned(node)
    local words = ('%s is %s'):format(target.text(t), WORDS[now])
    if node.metadata.uid ~= context.before.uid then
      return { result = 'unknown', for_good = true,
        message = ('%s was deleted and made anew'):format(target.text(t)) }
    end
    return { result = now == cordon and 'succeeded' or 'not_done', message = words }
  end

  return a
end

return { cordon = action(true), uncordon = action(false) }
