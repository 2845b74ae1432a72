--- The controllers of Deployments and ReplicaSets in the Kubernetes fake: revisions with gaps, old
--- ReplicaSets that are used again, rollouts that get stuck.
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local pods = require 'fakes.kubernetes_pods'
local types = require 'fakes.kubernetes_types'

local deployments = {}

local BY = { manager = 'kube-controller-manager' }
local REVISION = 'deployment.kubernetes.io/revision'
local HISTORY = 'deployment.kubernetes.io/revision-history'
local DESIRED = 'deployment.kubernetes.io/desired-replicas'
local MAX = 'deployment.kubernetes.io/max-replicas'

-- What a Deployment's annotations do not hand on to its ReplicaSets.
local OWN = { [REVISION] = true, [HISTORY] = true, [DESIRED] = true, [MAX] = true,
  ['kubectl.kubernetes.io/last-applied-configuration'] = true }

local function revision_of(object)
  return tonumber((object.metadata.annotations or {})[REVISION]) or 0
end

-- -- ReplicaSets of a Deployment ------------------------------------------------------------------

local function current_of(sets, deployment)
  local wanted = pods.hash_of(deployment.spec.template)
  for _, set in ipairs(sets) do
    if pods.hash_of(set.spec.template) == wanted then return set end
  end
end

local function annotations_of(deployment, set, revision, max)
  local out = patch.clone(set and set.metadata.annotations or {})
  for k, v in pairs(deployment.metadata.annotations or {}) do
    if not OWN[k] then out[k] = v end
  end
  local before = out[REVISION]
  if before and before ~= tostring(revision) then
    out[HISTORY] = out[HISTORY] and out[HISTORY] .. ',' .. before or before
  end
  out[REVISION], out[DESIRED], out[MAX] = tostring(revision), tostring(deployment.spec.replicas),
    tostring(max)
  return out
end

local function create_set(store, deployment, annotations)
  local template = patch.clone(deployment.spec.template)
  local hash = pods.hash_of(template)
  template.metadata = template.metadata or {}
  template.metadata.labels = template.metadata.labels or {}
  template.metadata.labels['pod-template-hash'] = hash
  local selector = patch.clone(deployment.spec.selector)
  selector.matchLabels = selector.matchLabels or {}
  selector.matchLabels['pod-template-hash'] = hash
  return store:create(types.by_kind.ReplicaSet, { kind = 'ReplicaSet', apiVersion = 'apps/v1',
    metadata = { name = deployment.metadata.name .. '-' .. hash, namespace =
      deployment.metadata.namespace, labels = patch.clone(template.metadata.labels),
      annotations = annotations, ownerReferences = pods.owner_of(deployment) },
    spec = { replicas = 0, selector = selector, template = template,
      minReadySeconds = deployment.spec.minReadySeconds },
    status = { replicas = 0 } }, BY)
end

--- The most pods that there may be, and the fewest that must be available.
local function bounds(deployment)
  local spec = deployment.spec
  if spec.strategy.type == 'Recreate' then return spec.replicas, 0 end
  local rolling = spec.strategy.rollingUpdate
  local surge = pods.percent(rolling.maxSurge, spec.replicas, true)
  local unavailable = pods.percent(rolling.maxUnavailable, spec.replicas, false)
  if surge == 0 and unavailable == 0 then unavailable = 1 end
  return spec.replicas + surge, spec.replicas - unavailable
end

--- The ReplicaSet of the present template, made or renumbered, and the others.
local function sync_sets(store, deployment)
  local sets = pods.owned(store, 'ReplicaSet', deployment)
  local new, newest, old = current_of(sets, deployment), 0, {}
  for _, set in ipairs(sets) do
    if set ~= new then
      old[#old + 1] = set
      newest = math.max(newest, revision_of(set))
    end
  end
  if deployment.spec.paused and not new then return nil, old end
  local revision = math.max(newest + 1, new and revision_of(new) or 0)
  local annotations = annotations_of(deployment, new, revision, (bounds(deployment)))
  if new then
    new = pods.change(store, new, function(set) set.metadata.annotations = annotations end, BY)
  else
    new = create_set(store, deployment, annotations)
  end
  if revision_of(deployment) ~= revision then
    pods.change(store, deployment, function(d)
      d.metadata.annotations = d.metadata.annotations or {}
      d.metadata.annotations[REVISION] = tostring(revision)
    end, BY)
  end
  return new, old
end

local function scale(store, set, replicas)
  if set.spec.replicas == replicas then return set end
  return pods.change(store, set, function(s) s.spec.replicas = replicas end, BY)
end

local function available(store, set)
  local n, all = 0, pods.active(store, set)
  for _, pod in ipairs(all) do
    if pods.is_ready(pod) then n = n + 1 end
  end
  return n, #all
end

-- -- rolling out ----------------------------------------------------------------------------------

--- Takes old pods away as far as what is available allows; those that are not up go first.
local function scale_down(store, deployment, new, old)
  local _, fewest = bounds(deployment)
  local up = available(store, new)
  for _, set in ipairs(old) do up = up + available(store, set) end
  table.sort(old, function(a, b) return revision_of(a) < revision_of(b) end)
  for i, set in ipairs(old) do
    local a, n = available(store, set)
    local down = math.max(n, set.spec.replicas) - a + math.max(0, math.min(a, up - fewest))
    if deployment.spec.strategy.type == 'Recreate' then down = set.spec.replicas end
    down = math.min(down, set.spec.replicas)
    if down > 0 then
      up = up - math.min(a, down)
      old[i] = scale(store, set, set.spec.replicas - down)
    end
  end
end

--- A paused rollout goes nowhere: what alone has pods follows the number wanted.
local function hold(store, deployment, new, old)
  local with_pods, others = new or old[#old], 0
  for _, set in ipairs(old) do
    if set.spec.replicas > 0 then with_pods, others = set, others + 1 end
  end
  local both = others > 0 and new ~= nil and new.spec.replicas > 0
  if with_pods and others < 2 and not both then
    scale(store, with_pods, deployment.spec.replicas)
  end
end

local function roll(store, deployment, new, old)
  if not new or deployment.spec.paused then return hold(store, deployment, new, old) end
  if new.spec.replicas > deployment.spec.replicas then
    new = scale(store, new, deployment.spec.replicas)
  end
  scale_down(store, deployment, new, old)
  local most, others = bounds(deployment), 0
  for _, set in ipairs(old) do
    others = others + math.max(set.spec.replicas, #pods.active(store, set))
  end
  scale(store, new, math.max(new.spec.replicas, math.min(deployment.spec.replicas, most - others)))
end

--- Old ReplicaSets without pods beyond the limit go, the oldest first.
local function clean_up(store, deployment, old)
  local empty = {}
  for _, set in ipairs(old) do
    if set.spec.replicas == 0 and #pods.owned(store, 'Pod', set) == 0 then
      empty[#empty + 1] = set
    end
  end
  table.sort(empty, function(a, b) return revision_of(a) < revision_of(b) end)
  for i = 1, #empty - deployment.spec.revisionHistoryLimit do pods.remove(store, empty[i]) end
end

local function progress(fake, deployment, s, new, done)
  local store = fake.store
  local name = new and new.metadata.name or deployment.metadata.name
  if done then
    return pods.set_condition(store, s, 'Progressing', 'True', 'NewReplicaSetAvailable',
      ('ReplicaSet "%s" has successfully progressed.'):format(name), true)
  end
  local key = json.encode { s.updatedReplicas, s.readyReplicas, s.availableReplicas,
    s.replicas, name }
  local moved = fake.moved[deployment.metadata.uid]
  if not moved or moved.key ~= key then
    fake.moved[deployment.metadata.uid] = { key = key, at = store.now() }
    return pods.set_condition(store, s, 'Progressing', 'True', 'ReplicaSetUpdated',
      ('ReplicaSet "%s" is progressing.'):format(name), true)
  end
  if store.now() - moved.at > deployment.spec.progressDeadlineSeconds
    and not deployment.spec.paused then
    pods.set_condition(store, s, 'Progressing', 'False', 'ProgressDeadlineExceeded',
      ('ReplicaSet "%s" has timed out progressing.'):format(name), true)
  end
end

local function set_status(fake, deployment, new, old)
  local store = fake.store
  local total, ready, updated = 0, 0, 0
  if new then
    local up, n = available(store, new)
    total, ready, updated = n, up, n
  end
  for _, set in ipairs(old) do
    local up, n = available(store, set)
    total, ready = total + n, ready + up
  end
  local wanted = deployment.spec.replicas
  local _, fewest = bounds(deployment)
  pods.change(store, deployment, function(d)
    local s = d.status or {}
    d.status = s
    local function count(n) return n > 0 and n or nil end
    s.observedGeneration = d.metadata.generation
    s.replicas, s.readyReplicas, s.availableReplicas = count(total), count(ready), count(ready)
    s.updatedReplicas, s.unavailableReplicas = count(updated), count(math.max(0, wanted - ready))
    local enough = ready >= fewest
    pods.set_condition(store, s, 'Available', enough and 'True' or 'False',
      enough and 'MinimumReplicasAvailable' or 'MinimumReplicasUnavailable', enough
      and 'Deployment has minimum availability.'
      or 'Deployment does not have minimum availability.', true)
    progress(fake, d, s, new, updated == wanted and total == wanted and ready == wanted
      and not (d.spec.paused and not new))
  end)
end

local function step_deployment(fake, deployment)
  local store = fake.store
  local new, old = sync_sets(store, deployment)
  deployment = store:find('Deployment', deployment.metadata.namespace, deployment.metadata.name)
  roll(store, deployment, new, old)
  clean_up(store, deployment, select(2, sync_sets(store, deployment)))
  set_status(fake, deployment, new, old)
end

-- -- ReplicaSets ----------------------------------------------------------------------------------

local function step_set(fake, set)
  local store = fake.store
  local active = pods.active(store, set)
  table.sort(active, function(a, b) -- those that are not up, and the youngest, go first
    local x, y = pods.is_ready(a), pods.is_ready(b)
    if x ~= y then return x end
    return tonumber(a.metadata.resourceVersion) < tonumber(b.metadata.resourceVersion)
  end)
  for _ = #active + 1, set.spec.replicas do pods.create(fake, set, set.spec.template, {}) end
  for i = set.spec.replicas + 1, #active do pods.delete(fake, active[i]) end
  local up, n = available(store, set)
  pods.change(store, set, function(s)
    s.status = { replicas = n, fullyLabeledReplicas = n > 0 and n or nil, readyReplicas = up > 0
      and up or nil, availableReplicas = up > 0 and up or nil,
      observedGeneration = s.metadata.generation }
  end)
end

--- One round of the controllers. Returns whether something has changed.
function deployments.step(fake)
  local store = fake.store
  local before = store.version
  for _, d in ipairs(store:all 'Deployment') do step_deployment(fake, d) end
  for _, set in ipairs(store:all 'ReplicaSet') do step_set(fake, set) end
  return store.version ~= before
end

return deployments
