--- The controllers of StatefulSets and DaemonSets in the Kubernetes fake, with their history in
--- ControllerRevisions.
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local pods = require 'fakes.kubernetes_pods'
local types = require 'fakes.kubernetes_types'

local revisions = {}

local BY = { manager = 'kube-controller-manager' }
local HASH = 'controller-revision-hash'

-- -- history --------------------------------------------------------------------------------------

local function by_revision(a, b) return a.revision < b.revision end

local function history_of(store, owner)
  local out = pods.owned(store, 'ControllerRevision', owner)
  table.sort(out, by_revision)
  return out
end

local function template_of(revision) return revision.data.spec.template end

local function create_revision(store, owner, number)
  -- The kind counts, for a StatefulSet and a DaemonSet of one name may have one template.
  local hash = pods.hash_of { kind = owner.kind, template = owner.spec.template }
  local labels = patch.clone(owner.spec.template.metadata and owner.spec.template.metadata.labels
    or {})
  labels[owner.kind == 'DaemonSet' and HASH or 'controller.kubernetes.io/hash'] = hash
  local template = patch.clone(owner.spec.template)
  template['$patch'] = 'replace'
  return store:create(types.by_kind.ControllerRevision, { kind = 'ControllerRevision',
    apiVersion = 'apps/v1', revision = number, data = { spec = { template = template } },
    metadata = { name = owner.metadata.name .. '-' .. hash, namespace = owner.metadata.namespace,
      labels = labels, ownerReferences = pods.owner_of(owner) } }, BY)
end

--- The revision of the present template: the newest, made or given the next number.
local function sync_revisions(store, owner)
  local history = history_of(store, owner)
  local newest = #history > 0 and history[#history].revision or 0
  local wanted = pods.hash_of(owner.spec.template)
  for _, r in ipairs(history) do
    local plain = patch.clone(template_of(r))
    plain['$patch'] = nil
    if pods.hash_of(plain) == wanted then
      if r.revision == newest then return r end
      return pods.change(store, r, function(x) x.revision = newest + 1 end, BY)
    end
  end
  return create_revision(store, owner, newest + 1)
end

--- What pods call a revision.
local function label_of(owner, revision)
  if owner.kind == 'DaemonSet' then return revision.metadata.labels[HASH] end
  return revision.metadata.name
end

local function clean_up(store, owner, kept)
  local used, spare = {}, {}
  for _, pod in ipairs(pods.owned(store, 'Pod', owner)) do
    used[pod.metadata.labels[HASH] or ''] = true
  end
  for _, r in ipairs(history_of(store, owner)) do
    if not used[label_of(owner, r)] and not kept[r.metadata.name] then spare[#spare + 1] = r end
  end
  for i = 1, #spare - owner.spec.revisionHistoryLimit do pods.remove(store, spare[i]) end
end

local function count(owned, revision)
  local n = 0
  for _, pod in ipairs(owned) do
    if pod.metadata.labels[HASH] == revision then n = n + 1 end
  end
  return n
end

local function ready(owned)
  local n = 0
  for _, pod in ipairs(owned) do
    if pods.is_ready(pod) then n = n + 1 end
  end
  return n
end

-- -- StatefulSets ---------------------------------------------------------------------------------

local function ordinal(pod) return tonumber(pod.metadata.name:match '%-(%d+)$') end

local function create_ordinal(fake, set, i, revision)
  local name = ('%s-%d'):format(set.metadata.name, i)
  pods.create(fake, set, template_of(revision), { name = name, labels = {
    [HASH] = revision.metadata.name, ['statefulset.kubernetes.io/pod-name'] = name,
    ['apps.kubernetes.io/pod-index'] = tostring(i) } })
end

--- One step on the way to as many pods, in order. Returns whether all of them are up.
local function fill(fake, set, by_ordinal, update, current)
  local ordered = set.spec.podManagementPolicy ~= 'Parallel'
  local partition = ((set.spec.updateStrategy or {}).rollingUpdate or {}).partition or 0
  local up = true
  for i = 0, set.spec.replicas - 1 do
    local pod = by_ordinal[i]
    if not pod then create_ordinal(fake, set, i, i < partition and current or update) end
    if not pod or pod.metadata.deletionTimestamp or not pods.is_ready(pod) then
      up = false
      if ordered then return false end
    end
  end
  return up
end

--- The one pod that is to make place for another, the last first; nil where one has to be waited
--- for, or none is left.
local function outdated(set, by_ordinal, update)
  local strategy = set.spec.updateStrategy or {}
  if strategy.type == 'OnDelete' then return nil end
  local partition = (strategy.rollingUpdate or {}).partition or 0
  for i = set.spec.replicas - 1, partition, -1 do
    local pod = by_ordinal[i]
    if not pod or pod.metadata.deletionTimestamp then return nil end
    if pod.metadata.labels[HASH] ~= update.metadata.name then return pod end
    if not pods.is_ready(pod) then return nil end
  end
end

local function set_status(store, set, update)
  local owned = pods.active(store, set)
  local up, updated = ready(owned), count(owned, update.metadata.name)
  local status = set.status or {}
  local current = status.currentRevision or update.metadata.name
  if updated == set.spec.replicas and up == updated and #owned == updated then
    current = update.metadata.name
  end
  pods.change(store, set, function(s)
    s.status = { observedGeneration = s.metadata.generation, replicas = #owned,
      readyReplicas = up, availableReplicas = up, currentReplicas = count(owned, current),
      updatedReplicas = updated, currentRevision = current,
      updateRevision = update.metadata.name, collisionCount = 0 }
  end)
  clean_up(store, set, { [current] = true, [update.metadata.name] = true })
end

local function step_stateful(fake, set)
  local store = fake.store
  local update = sync_revisions(store, set)
  local current = store:find('ControllerRevision', set.metadata.namespace,
    (set.status or {}).currentRevision or '') or update
  local by_ordinal, above = {}, nil
  for _, pod in ipairs(pods.owned(store, 'Pod', set)) do
    local i = ordinal(pod)
    by_ordinal[i] = pod
    if i >= set.spec.replicas and (not above or i > ordinal(above)) then above = pod end
  end
  if fill(fake, set, by_ordinal, update, current)
    or set.spec.podManagementPolicy == 'Parallel' then
    local pod = above or outdated(set, by_ordinal, update)
    if pod then pods.delete(fake, pod) end
  elseif above then
    pods.delete(fake, above)
  end
  set_status(store, store:find('StatefulSet', set.metadata.namespace, set.metadata.name), update)
end

-- -- DaemonSets -----------------------------------------------------------------------------------

local function step_daemon(fake, set)
  local store = fake.store
  local update = sync_revisions(store, set)
  local name = label_of(set, update)
  local by_node, nodes = {}, store:all 'Node'
  for _, pod in ipairs(pods.owned(store, 'Pod', set)) do by_node[pod.spec.nodeName] = pod end
  local down, old = 0, {}
  for _, node in ipairs(nodes) do
    local pod = by_node[node.metadata.name]
    if not pod then
      pods.create(fake, set, set.spec.template, { node = node.metadata.name,
        labels = { [HASH] = name, ['pod-template-generation'] =
          tostring(set.metadata.generation) } })
    end
    if not pod or not pods.is_ready(pod) or pod.metadata.deletionTimestamp then
      down = down + 1
    elseif pod.metadata.labels[HASH] ~= name then
      old[#old + 1] = pod
    end
    if pod and pod.metadata.labels[HASH] ~= name and not pods.is_ready(pod)
      and set.spec.updateStrategy.type ~= 'OnDelete' then
      pods.delete(fake, pod) -- one that is not up anyway makes place at once
    end
  end
  if set.spec.updateStrategy.type ~= 'OnDelete' then
    local most = pods.percent((set.spec.updateStrategy.rollingUpdate or {}).maxUnavailable or 1,
      #nodes, true)
    for i = 1, math.min(#old, most - down) do pods.delete(fake, old[i]) end
  end
  local owned = pods.active(store, set)
  local up = ready(owned)
  pods.change(store, store:find('DaemonSet', set.metadata.namespace, set.metadata.name),
    function(s)
      s.status = { observedGeneration = s.metadata.generation, desiredNumberScheduled = #nodes,
        currentNumberScheduled = #owned, numberReady = up, numberAvailable = up > 0 and up or nil,
        numberUnavailable = #nodes > up and #nodes - up or nil, numberMisscheduled = 0,
        updatedNumberScheduled = count(owned, name) }
    end)
  clean_up(store, set, { [update.metadata.name] = true })
end

--- One round of the controllers. Returns whether something has changed.
function revisions.step(fake)
  local before = fake.store.version
  for _, set in ipairs(fake.store:all 'StatefulSet') do step_stateful(fake, set) end
  for _, set in ipairs(fake.store:all 'DaemonSet') do step_daemon(fake, set) end
  return fake.store.version ~= before
end

-- -- what is left without an owner ----------------------------------------------------------------

local KINDS = { 'ReplicaSet', 'ControllerRevision', 'Pod' }

--- Objects whose owner is gone go after it.
function revisions.collect(fake)
  local store, alive, before = fake.store, {}, fake.store.version
  for _, resource in ipairs(types.resources) do
    for _, object in ipairs(store:list(resource)) do alive[object.metadata.uid] = true end
  end
  for _, kind in ipairs(KINDS) do
    for _, object in ipairs(store:all(kind)) do
      local ref = pods.owner(object)
      if ref and not alive[ref.uid] then
        if kind == 'Pod' then pods.delete(fake, object) else pods.remove(store, object) end
      end
    end
  end
  return store.version ~= before
end

--- Takes an object's name off what it owned.
function revisions.orphan(store, owner)
  for _, kind in ipairs(KINDS) do
    for _, object in ipairs(pods.owned(store, kind, owner)) do
      pods.change(store, object, function(o) o.metadata.ownerReferences = json.array() end, BY)
    end
  end
end

return revisions
