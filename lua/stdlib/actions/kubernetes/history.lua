--- The revisions of a workload that its controller still keeps: ReplicaSets of a Deployment,
--- ControllerRevisions of a StatefulSet or a DaemonSet. They are found by their owner's uid, never
--- by labels alone; their numbers have gaps, for one that is used again gets a new number.
local answers = require 'actions.kubernetes.answers'
local selector = require 'actions.kubernetes.selector'

local history = {}

local REVISION = 'deployment.kubernetes.io/revision'
local EARLIER = 'deployment.kubernetes.io/revision-history' -- the numbers that it had before

-- A Deployment's own, which an older revision's must not replace.
local KEPT = { ['kubectl.kubernetes.io/last-applied-configuration'] = true, [REVISION] = true,
  [EARLIER] = true, ['deployment.kubernetes.io/desired-replicas'] = true,
  ['deployment.kubernetes.io/max-replicas'] = true,
  ['deprecated.deployment.rollback.to'] = true }

---@class kubernetes.Revision
---@field number integer
---@field name string, uid string  of the object that holds it
---@field created string           when it was made first; "" where it does not say
---@field object table

local function number_of(object)
  if object.kind == 'ControllerRevision' then return math.tointeger(object.revision) end
  return math.tointeger(tonumber((object.metadata.annotations or {})[REVISION]))
end

local function is_controlled(object, uid)
  for _, reference in ipairs(object.metadata.ownerReferences or {}) do
    if reference.controller and reference.uid == uid then return true end
  end
  return false
end

--- The revisions of a workload, the newest first.
---@param k table
---@param object table  the workload
---@return kubernetes.Revision[]? revisions
---@return Action.Failure? failure
function history.list(k, object)
  local resource = object.kind == 'Deployment' and 'replicasets' or 'controllerrevisions'
  local list, failure = k:list(resource, object.metadata.namespace,
    { label_selector = selector.text(object.spec.selector) })
  if not list then
    return nil, answers.failure(failure, ('the revisions of %s'):format(object.metadata.name))
  end
  local out = {}
  for _, item in ipairs(list.items) do
    local number = number_of(item)
    if number and is_controlled(item, object.metadata.uid) then
      out[#out + 1] = { number = number, name = item.metadata.name, uid = item.metadata.uid,
        created = item.metadata.creationTimestamp or '', object = item }
    end
  end
  table.sort(out, function(a, b) return a.number > b.number end)
  return out
end

--- The revision that is at work: the one a Deployment names, the newest of the others.
---@param object table
---@param revisions kubernetes.Revision[]
---@return kubernetes.Revision?
function history.current(object, revisions)
  if object.kind ~= 'Deployment' then return revisions[1] end
  local number = number_of(object)
  for _, revision in ipairs(revisions) do
    if revision.number == number then return revision end
  end
end

--- The revision that lies a number of revisions before one, or nil and how many there are.
---@param revisions kubernetes.Revision[]
---@param current kubernetes.Revision
---@param back integer
---@return kubernetes.Revision?
---@return integer earlier
function history.back(revisions, current, back)
  local earlier, found = 0, nil
  for _, revision in ipairs(revisions) do
    if revision.number < current.number then
      earlier = earlier + 1
      if earlier == back then found = revision end
    end
  end
  return found, earlier
end

--- Whether one revision was made after another was, and has a lower number all the same: the other
--- has been gone back to since, perhaps because of this one.
function history.is_newer(revision, than)
  if revision.number > than.number then return false end
  if revision.created ~= than.created then return revision.created > than.created end
  -- Made in the same second. A ReplicaSet also keeps the numbers that it had before.
  local earlier = ((than.object.metadata.annotations or {})[EARLIER] or ''):match '(%d+)$'
  return earlier ~= nil and revision.number > tonumber(earlier)
end

local function without_hash(template)
  local out, metadata, labels = {}, {}, {}
  for name, value in pairs(template) do out[name] = value end
  for name, value in pairs(template.metadata or {}) do metadata[name] = value end
  for name, value in pairs(metadata.labels or {}) do labels[name] = value end
  labels['pod-template-hash'] = nil
  metadata.labels, out.metadata = labels, metadata
  return out
end

local function annotations(object, revision)
  local out = {}
  for name, value in pairs(object.metadata.annotations or {}) do
    if KEPT[name] then out[name] = value end
  end
  for name, value in pairs(revision.metadata.annotations or {}) do
    if not KEPT[name] then out[name] = value end
  end
  return out
end

--- The patch that makes a revision the present one, and its type. The template is replaced as a
--- whole: merged, it would keep what came later.
---@param object table    the workload, as it was read
---@param revision kubernetes.Revision
---@param version? string the version of the workload that it must still have
---@return table patch
---@return "json"|"strategic" type
function history.patch(object, revision, version)
  local was = revision.object
  if object.kind == 'Deployment' then
    local patch = {
      { op = 'replace', path = '/spec/template', value = without_hash(was.spec.template) },
      { op = 'replace', path = '/metadata/annotations', value = annotations(object, was) },
    }
    if version then
      table.insert(patch, 1, { op = 'replace', path = '/metadata/resourceVersion',
        value = version })
    end
    return patch, 'json'
  end
  local patch = {}
  for name, value in pairs(was.data) do patch[name] = value end
  patch.metadata = version and { resourceVersion = version } or nil
  return patch, 'strategic'
end

return history
