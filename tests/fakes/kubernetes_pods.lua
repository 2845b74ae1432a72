--- The pods of the Kubernetes fake: how they come, get ready and go, and what owns what. What the
--- controllers share.
local hash = require 'perigee.hash'
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local select_ = require 'fakes.kubernetes_select'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'

local pods = {}

pods.BY = { manager = 'kube-controller-manager', subresource = 'status' }
pods.BY_KUBELET = { manager = 'kubelet', subresource = 'status' }

-- -- small things ---------------------------------------------------------------------------------

--- Replaces an object by a copy that f has changed.
function pods.change(store, object, f, by)
  local new = patch.clone(object)
  f(new)
  return store:replace(types.by_kind[object.kind], object, new, by or pods.BY)
end

function pods.remove(store, object)
  return store:remove(types.by_kind[object.kind], object, pods.BY)
end

--- The text that tells one template from another.
function pods.hash_of(template)
  local plain = patch.clone(template)
  if plain.metadata and plain.metadata.labels then
    plain.metadata.labels['pod-template-hash'] = nil
  end
  return (hash.sha256(json.encode(plain)):sub(1, 10):gsub('[013ae]', { ['0'] = 'g', ['1'] = 'h',
    ['3'] = 'j', a = 'k', e = 'm' }))
end

function pods.owner(object)
  for _, ref in ipairs(object.metadata.ownerReferences or {}) do
    if ref.controller then return ref end
  end
end

function pods.owner_of(object, kind)
  return json.array { { apiVersion = object.apiVersion, kind = kind or object.kind, name =
    object.metadata.name, uid = object.metadata.uid, controller = true,
    blockOwnerDeletion = true } }
end

--- The objects of a kind that are an object's, by owner and not by label, in order.
function pods.owned(store, kind, object)
  local out = {}
  for _, item in ipairs(store:all(kind, object.metadata.namespace)) do
    local ref = pods.owner(item)
    if ref and ref.uid == object.metadata.uid then out[#out + 1] = item end
  end
  return out
end

--- Sets a condition in a status; its time moves only with what it says.
function pods.set_condition(store, s, type_, value, reason, message, updated)
  s.conditions = s.conditions or json.array()
  local c
  for _, known in ipairs(s.conditions) do
    if known.type == type_ then c = known end
  end
  if not c then
    c = { type = type_ }
    table.insert(s.conditions, c)
  end
  if c.status == value and c.reason == reason and c.message == message then return end
  if c.status ~= value then c.lastTransitionTime = store:time() end
  c.status, c.reason, c.message = value, reason, message
  if updated then c.lastUpdateTime = store:time() end
end

function pods.is_ready(pod)
  for _, c in ipairs((pod.status or {}).conditions or {}) do
    if c.type == 'Ready' then return c.status == 'True' end
  end
  return false
end

--- The seconds since an RFC 3339 text.
function pods.age(store, text)
  local y, mo, d, h, mi, s = text:match '(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)'
  local at = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = s, isdst = false }
  local zero = os.time(os.date('!*t', 86400)) - 86400 -- the local zone
  return store.now() - (at - zero)
end

-- -- making ---------------------------------------------------------------------------------------

--- A pod of a template, with more labels.
function pods.create(fake, owner, template, o)
  local store = fake.store
  local labels = patch.clone((template.metadata or {}).labels or {})
  for k, v in pairs(o.labels or {}) do labels[k] = v end
  local pod = { kind = 'Pod', apiVersion = 'v1', spec = patch.clone(template.spec),
    metadata = { name = o.name, generateName = not o.name and owner.metadata.name .. '-' or nil,
      namespace = owner.metadata.namespace, labels = labels,
      annotations = patch.clone((template.metadata or {}).annotations),
      ownerReferences = pods.owner_of(owner) },
    status = { phase = 'Pending', qosClass = 'BestEffort' } }
  pod.spec.nodeName = o.node
  return store:create(types.by_kind.Pod, pod, { manager = 'kube-controller-manager' })
end

--- The pods of a workload that count: not the ones that end.
function pods.active(store, owner)
  local out = {}
  for _, pod in ipairs(pods.owned(store, 'Pod', owner)) do
    local phase = pod.status and pod.status.phase
    if not pod.metadata.deletionTimestamp and phase ~= 'Failed' and phase ~= 'Succeeded' then
      out[#out + 1] = pod
    end
  end
  return out
end

--- Ends a pod as a controller does.
function pods.delete(fake, pod)
  local seconds = pod.spec.nodeName and pod.status.phase ~= 'Pending' and fake.terminate_after or 0
  if seconds == 0 then
    pods.remove(fake.store, pod)
  elseif not pod.metadata.deletionTimestamp then
    fake.store:mark_deleted(types.by_kind.Pod, pod, pods.BY,
      pod.spec.terminationGracePeriodSeconds or 30)
  end
end

-- -- the kubelet and the scheduler ----------------------------------------------------------------

local function node_for(fake)
  local nodes = {}
  for _, node in ipairs(fake.store:all 'Node') do
    if not (node.spec or {}).unschedulable then nodes[#nodes + 1] = node.metadata.name end
  end
  if #nodes == 0 then return nil end
  fake.placed = fake.placed + 1
  return nodes[fake.placed % #nodes + 1]
end

local function schedule(fake, pod)
  local node = node_for(fake)
  if not node then return false end
  pods.change(fake.store, pod, function(p)
    p.spec.nodeName = node
    p.status = p.status or {}
    pods.set_condition(fake.store, p.status, 'PodScheduled', 'True')
  end, { manager = 'kube-scheduler' })
  return true
end

local function container_statuses(spec, ready, store, bad)
  local out = json.array()
  for i, c in ipairs(spec.containers) do
    local image = c.image or ''
    out[i] = { name = c.name, image = image, imageID = ready and 'sha256:' .. hash.sha256(image)
      or '', ready = ready, started = ready, restartCount = 0, lastState = {},
      state = bad and { waiting = { reason = 'ImagePullBackOff', message =
        ('Back-off pulling image "%s"'):format(image) } }
        or { running = { startedAt = store:time() } } }
  end
  return out
end

local function set_running(fake, pod, ready, bad)
  local store = fake.store
  pods.change(store, pod, function(p)
    local s = p.status
    s.phase = bad and 'Pending' or 'Running'
    s.startTime = s.startTime or store:time()
    s.podIP = s.podIP or ('10.1.%d.%d'):format(fake.placed // 250 % 250, fake.placed % 250 + 1)
    local value = ready and 'True' or 'False'
    local reason = not ready and 'ContainersNotReady' or nil
    pods.set_condition(store, s, 'Initialized', 'True')
    pods.set_condition(store, s, 'Ready', value, reason)
    pods.set_condition(store, s, 'ContainersReady', value, reason)
    s.containerStatuses = container_statuses(p.spec, ready, store, bad)
  end, pods.BY_KUBELET)
end

local function is_bad(fake, pod)
  for _, c in ipairs(pod.spec.containers) do
    if fake:is_bad_image(c.image or '') then return true end
  end
  return false
end

--- Brings one pod on its way. Returns whether something has changed.
local function live(fake, pod)
  local store = fake.store
  if pod.metadata.deletionTimestamp then
    local since = pods.age(store, pod.metadata.deletionTimestamp)
      + (pod.metadata.deletionGracePeriodSeconds or 0)
    if since < fake.terminate_after or #(pod.metadata.finalizers or {}) > 0 then return false end
    pods.remove(store, pod)
    return true
  end
  if not pod.spec.nodeName then return schedule(fake, pod) end
  local s = pod.status or {}
  if s.phase == 'Succeeded' or s.phase == 'Failed' or pods.is_ready(pod) then return false end
  if is_bad(fake, pod) then
    if s.containerStatuses then return false end
    set_running(fake, pod, false, true)
    return true
  end
  if s.phase == 'Running' and not fake.starting[pod.metadata.uid] then
    return false -- a test has made it unready
  end
  fake.starting[pod.metadata.uid] = true
  if pods.age(store, pod.metadata.creationTimestamp) >= fake.ready_after then
    fake.starting[pod.metadata.uid] = nil
    set_running(fake, pod, true)
    return true
  elseif s.phase ~= 'Running' then
    set_running(fake, pod, false)
    return true
  end
  return false
end

function pods.step(fake)
  local changed = false
  for _, pod in ipairs(fake.store:all 'Pod') do changed = live(fake, pod) or changed end
  return changed
end

-- -- disruption budgets ---------------------------------------------------------------------------

local function percent(v, total, up)
  if type(v) ~= 'string' then return v end
  local x = total * tonumber(v:match '^(%d+)%%$' or status.bad_request('not a share: ' .. v)) / 100
  return math.tointeger(up and math.ceil(x) or math.floor(x))
end
pods.percent = percent

--- The replicas that the pods' owners want.
local function expected(store, chosen)
  local total, seen = 0, {}
  for _, pod in ipairs(chosen) do
    local ref = pods.owner(pod)
    local owner = ref and store:find(ref.kind, pod.metadata.namespace, ref.name)
    local above = owner and pods.owner(owner)
    owner = above and store:find(above.kind, pod.metadata.namespace, above.name) or owner
    if owner and not seen[owner.metadata.uid] then
      seen[owner.metadata.uid] = true
      total = total + (owner.spec.replicas or #pods.active(store, owner))
    end
  end
  return total
end

local function budget_step(store, budget)
  local chosen, healthy = {}, 0
  local selects = select_.selector(budget.spec.selector)
  for _, pod in ipairs(store:all('Pod', budget.metadata.namespace)) do
    if selects(pod.metadata.labels or {}) then
      chosen[#chosen + 1] = pod
      if pods.is_ready(pod) and not pod.metadata.deletionTimestamp then healthy = healthy + 1 end
    end
  end
  local total = expected(store, chosen)
  local desired
  if budget.spec.maxUnavailable ~= nil then
    desired = math.max(0, total - percent(budget.spec.maxUnavailable, total, true))
  else
    desired = percent(budget.spec.minAvailable or 0, total, true)
  end
  local before = store.version
  pods.change(store, budget, function(b)
    b.status = { expectedPods = total, currentHealthy = healthy, desiredHealthy = desired,
      disruptionsAllowed = total > 0 and math.max(0, healthy - desired) or 0,
      observedGeneration = b.metadata.generation }
  end)
  return store.version ~= before
end

function pods.step_budgets(fake)
  local changed = false
  for _, budget in ipairs(fake.store:all 'PodDisruptionBudget') do
    changed = budget_step(fake.store, budget) or changed
  end
  return changed
end

-- -- autoscalers ----------------------------------------------------------------------------------

--- What an autoscaler does of itself where there is no load to see: its bounds are held.
local function autoscaler_step(store, hpa)
  local spec = hpa.spec
  local target = store:find(spec.scaleTargetRef.kind, hpa.metadata.namespace,
    spec.scaleTargetRef.name)
  local now = target and target.spec.replicas or 0
  if now == 0 then return false end
  local wanted = math.max(spec.minReplicas, math.min(spec.maxReplicas, now))
  local before = store.version
  pods.change(store, target, function(t) t.spec.replicas = wanted end,
    { manager = 'kube-controller-manager', subresource = 'scale' })
  pods.change(store, hpa, function(h)
    h.status = { currentReplicas = (target.status or {}).replicas or 0, desiredReplicas = wanted }
  end)
  return store.version ~= before
end

function pods.step_autoscalers(fake)
  local changed = false
  for _, hpa in ipairs(fake.store:all 'HorizontalPodAutoscaler') do
    changed = autoscaler_step(fake.store, hpa) or changed
  end
  return changed
end

return pods
