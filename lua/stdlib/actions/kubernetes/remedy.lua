--- From a remediation and the labels of what has triggered it to the action on one object. Which
--- object that is, labels say by fixed rules; where they do not, it is told which one is missing,
--- and nothing is guessed.
local answers = require 'actions.kubernetes.answers'
local names = require 'kubernetes.names'
local owners = require 'kubernetes.owners'

local remedy = {}

local KIND = { pod = 'Pod', deployment = 'Deployment', statefulset = 'StatefulSet',
  daemonset = 'DaemonSet' }

---@class remedy.Action  of a remediation
---@field type "restart"|"scale"|"rollback"
---@field target "pod"|"deployment"|"statefulset"|"daemonset"
---@field namespace? string, name? string  where it says so itself
---@field min? integer, max? integer, increment? integer, revisions_back? integer

--- The action on an object, as rule files write it.
---@param action remedy.Action
---@param object { namespace: string, name: string }
function remedy.action(action, object)
  local options = { namespace = object.namespace, [action.target] = object.name }
  for _, name in ipairs { 'min', 'max', 'increment', 'revisions_back' } do
    options[name] = action[name]
  end
  return { kind = 'action', name = 'kubernetes.' .. action.type, options = options }
end

-- -- labels ---------------------------------------------------------------------------------------

--- A label that is there and holds something.
local function label(labels, name)
  return labels[name] ~= '' and labels[name] or nil
end

--- Where a target had a label of its own, Prometheus calls the one that the series came with
--- exported_…: that is what the series is about, and the other is who told of it.
local function is_told_by_another(labels)
  return label(labels, 'exported_namespace') ~= nil or label(labels, 'exported_pod') ~= nil
end

--- The labels that say which object it is: of the namespace, of the object, and of a pod of it.
local function label_names(action, labels)
  local prefix = is_told_by_another(labels) and 'exported_' or ''
  local own = label(labels, 'exported_' .. action.target) and 'exported_' .. action.target
    or action.target
  if action.target == 'pod' then own = prefix .. 'pod' end
  return prefix .. 'namespace', own, prefix .. 'pod'
end

--- The labels that a query must leave and does not, in words; nil where it leaves enough, or nobody
--- can tell.
---@param action remedy.Action
---@param left? table<string, boolean>  from promql.labels_left()
function remedy.lacking(action, left)
  if not left then return nil end
  local function has(name) return left[name] or left['exported_' .. name] end
  if not action.namespace and not has 'namespace' then return '"namespace"' end
  if action.name or has(action.target) then return nil end
  if action.target == 'pod' then return '"pod"' end
  return not has 'pod' and ('"%s" or "pod"'):format(action.target) or nil
end

-- -- objects --------------------------------------------------------------------------------------

local function refuse(...) return nil, { message = string.format(...) } end

local function missing(name, what) return refuse('the label "%s" is missing: %s', name, what) end

--- The workload of a pod, where it is of the kind that is meant.
local function workload_of(engine, action, namespace, pod)
  local k, what = engine.kubernetes, ('Pod %s/%s'):format(namespace, pod)
  if not k then return refuse(answers.NO_CLUSTER) end
  local object, failure = k:get('pods', namespace, pod)
  if not object then return nil, answers.failure(failure, what) end
  object.kind = 'Pod'
  local found
  found, failure = owners.above(k, namespace, object)
  if not found then
    if failure.kind then return nil, answers.failure(failure, 'the controller of ' .. what) end
    return nil, failure
  end
  if found.kind ~= KIND[action.target] then
    return refuse('%s belongs to %s %s, to no %s', what, found.kind, found.name,
      KIND[action.target])
  end
  return found.name
end

local function check_label(test, name, value)
  local message = test(value)
  if message then return refuse('the label "%s": %s', name, message) end
  return value
end

local function namespace_of(action, labels, name)
  if action.namespace then return action.namespace end
  local value = label(labels, name)
  if not value then return missing(name, 'in which namespace is it?') end
  return check_label(names.check_namespace, name, value)
end

--- The name of the object; waits where it is that of the workload of a pod.
local function name_of(engine, action, labels, namespace, own, of_pod)
  if action.name then return action.name end
  if label(labels, own) then return check_label(names.check, own, labels[own]) end
  if action.target == 'pod' then return missing(own, 'which pod is it?') end
  local pod = label(labels, of_pod)
  if not pod then
    return missing(own, ('which %s is it? "%s" would tell, too'):format(action.target, of_pod))
  end
  local fine, wrong = check_label(names.check, of_pod, pod)
  if not fine then return nil, wrong end
  return workload_of(engine, action, namespace, pod)
end

--- The plan for one series or alert. Waits.
---@param engine table
---@param action remedy.Action
---@param event { labels: table<string, string> }
---@return table[]? actions  as rule files write them
---@return { message: string, transient?: boolean }? failure
function remedy.resolve(engine, action, event)
  local in_label, own, of_pod = label_names(action, event.labels)
  local namespace, failure = namespace_of(action, event.labels, in_label)
  if not namespace then return nil, failure end
  local name
  name, failure = name_of(engine, action, event.labels, namespace, own, of_pod)
  if not name then return nil, failure end
  return { remedy.action(action, { namespace = namespace, name = name }) }
end

return remedy
