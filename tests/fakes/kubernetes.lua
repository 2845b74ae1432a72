--- A Kubernetes API server with state, for tests: what is stored, who may what, patches of every
--- kind, watches, disruption budgets, and controllers that make ReplicaSets, revisions and pods.
--- Its answers are those of a real server of 1.32, as far as a client of ours may see them.
---
---   local fake = kubernetes.start { objects = { kubernetes.deployment 'shop/checkout' } }
---   fake.url                                  -- "http://127.0.0.1:PORT"
---   fake:put(object)                          -- stores it, status and all; controllers follow
---   fake:get('Deployment', 'shop', 'checkout')
---   fake:fault { method = 'PATCH', path = '/deployments/', drop = 'after' }
---   fake:asked('PATCH', '/deployments/')      -- the requests so far
---   fake:changes('perigee')                   -- what a manager of fields has changed so far
---   fake:stop()
---
--- Controllers act at once, after each change, until nothing is left to do. With manual = true they
--- act when told to: fake:step() once, fake:advance(seconds) with the fake's clock moved. With
--- ready_after or terminate_after, pods take that many seconds to become ready or to be gone; the
--- clock is the real one unless manual. Pods whose image ends in ":bad" never become ready.
---
--- `kubernetes_server.lua` is the same as a program; kubernetes_remote.lua talks to that.
local api = require 'fakes.kubernetes_api'
local async = require 'async'
local check = require 'fakes.kubernetes_check'
local clock = require 'perigee.clock'
local deployments = require 'fakes.kubernetes_deployments'
local discovery = require 'fakes.kubernetes_discovery'
local faults = require 'fakes.kubernetes_faults'
local http = require 'http'
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local pods = require 'fakes.kubernetes_pods'
local revisions = require 'fakes.kubernetes_revisions'
local status = require 'fakes.kubernetes_status'
local Store = require 'fakes.kubernetes_store'
local types = require 'fakes.kubernetes_types'

local kubernetes = {}

---@class fakes.KubernetesOptions
---@field port? integer
---@field objects? table[]        stored before it serves
---@field nodes? integer          how many nodes there are: 2
---@field tokens? table<string, string|true>  users by token; true: may everything. Without: anybody
---@field manual? boolean
---@field ready_after? number, terminate_after? number  seconds
---@field bookmark_every? number  seconds; 60
---@field control? fun(self, request): http.Outgoing  answers what is below /_fake/

---@class fakes.Kubernetes
---@field url string, port integer
---@field tokens? table<string, string|true>  may be changed
---@field requests table[]  { method, path, query, body, status, manager }
---@field store table
local Kubernetes = {}
Kubernetes.__index = Kubernetes

-- -- controllers ----------------------------------------------------------------------------------

Kubernetes.controllers = { orphan = revisions.orphan }

function Kubernetes:is_bad_image(image) return image:find ':bad$' ~= nil end

--- One round of all controllers. Returns whether something has changed.
function Kubernetes:step()
  local before = self.store.version
  self.stepping = true
  revisions.collect(self)
  pods.step_autoscalers(self)
  deployments.step(self)
  revisions.step(self)
  pods.step(self)
  pods.step_budgets(self)
  self.stepping = false
  return self.store.version ~= before
end

--- Rounds until nothing is left to do.
function Kubernetes:settle()
  for _ = 1, 1000 do
    if not self:step() then return end
  end
  error 'the controllers do not come to an end'
end

local CONTROLLED = { Deployment = true, ReplicaSet = true, Pod = true, StatefulSet = true,
  DaemonSet = true, ControllerRevision = true, PodDisruptionBudget = true,
  HorizontalPodAutoscaler = true, Node = true }

--- What controllers make of a change of a resource.
function Kubernetes:follow(resource)
  if CONTROLLED[resource.kind] and not self.manual and not self.stepping then self:settle() end
end

--- Moves the clock, in steps of a second at most, with a round of the controllers at each.
function Kubernetes:advance(seconds)
  while seconds > 0 do
    local step = math.min(1, seconds)
    self.moved_by, seconds = self.moved_by + step, seconds - step
    self:settle()
  end
end

--- Whether a pod is on its way to be ready or to be gone.
local function under_way(self)
  for _, pod in ipairs(self.store:all 'Pod') do
    if pod.metadata.deletionTimestamp or not pods.is_ready(pod) then return true end
  end
  return false
end

--- Things that take time are looked at now and then.
local function tick(self)
  while not self.stopped do
    async.sleep(0.05)
    if not self.stopped and under_way(self) then self:settle() end
  end
end

-- -- objects --------------------------------------------------------------------------------------

local BY = { manager = 'kubectl-client-side-apply' }

local function ensure_namespace(self, name)
  if name and not self.store:find('Namespace', nil, name) then
    self.store:create(types.by_kind.Namespace, { kind = 'Namespace', apiVersion = 'v1',
      metadata = { name = name, labels = { ['kubernetes.io/metadata.name'] = name } },
      spec = { finalizers = json.array { 'kubernetes' } }, status = { phase = 'Active' } }, BY)
  end
end

--- Stores an object as it is, with status, managedFields, uid; in the place of one with its name.
---@param object table
---@param manager? string  who writes it; "kubectl-client-side-apply"
---@return table object    as stored
function Kubernetes:put(object, manager)
  local resource = assert(types.by_kind[object.kind], 'no such kind: ' .. tostring(object.kind))
  object = patch.clone(object)
  object.apiVersion, object.metadata = resource.api_version, object.metadata or {}
  if resource.namespaced then
    object.metadata.namespace = object.metadata.namespace or 'default'
    ensure_namespace(self, object.metadata.namespace)
  end
  local m, by = object.metadata, { manager = manager or BY.manager }
  local old = self.store:get(resource, m.namespace, m.name)
  local kept = patch.clone(m.managedFields)
  local unknown = check.take_in(resource, object, old, true)
  assert(#unknown == 0)
  local uid = m.uid
  self.stepping = true -- controllers come once it is as it should be
  if old then
    object = self.store:replace(resource, old, object, by)
  else
    object = self.store:create(resource, object, by)
  end
  object.metadata.uid = uid or object.metadata.uid
  if kept then object.metadata.managedFields = kept end
  self.stepping = false
  self:follow(resource)
  return self.store:get(resource, m.namespace, m.name)
end

--- A stored object, not to be changed; nil where there is none.
function Kubernetes:get(kind, namespace, name)
  return self.store:get(types.by_kind[kind], namespace, name)
end

--- The stored objects of a kind, in order of their names.
function Kubernetes:list(kind, namespace) return self.store:all(kind, namespace) end

--- Deletes an object at once, as if it had never been asked.
function Kubernetes:remove(kind, namespace, name)
  local object = assert(self:get(kind, namespace, name), 'nothing to remove')
  self.store:remove(types.by_kind[kind], object, BY)
end

--- What was stored, in order: { type = "ADDED" | "MODIFIED" | "DELETED", kind, namespace, name,
--- manager, object }. With a manager, what that one has done.
---@param manager? string
---@return table[]
function Kubernetes:changes(manager)
  local out = {}
  for _, c in ipairs(self.store.changes) do
    if not manager or c.manager == manager then
      out[#out + 1] = { type = c.type, kind = c.resource.kind, manager = c.manager,
        namespace = c.object.metadata.namespace, name = c.object.metadata.name,
        object = c.object }
    end
  end
  return out
end

--- The requests so far whose method is that one and whose path holds the Lua pattern.
---@param method? string
---@param path? string
---@return table[]
function Kubernetes:asked(method, path)
  local out = {}
  for _, r in ipairs(self.requests) do
    if (not method or r.method == method) and (not path or r.path:find(path)) then
      out[#out + 1] = r
    end
  end
  return out
end

-- -- faults ---------------------------------------------------------------------------------------

--- Something that goes wrong with requests to come. See kubernetes_faults.lua.
---@param fault fakes.Fault
---@return fakes.Fault  its `hits` counts
function Kubernetes:fault(fault)
  table.insert(self.faults, faults.check(fault))
  return fault
end

function Kubernetes:clear_faults() self.faults = {} end

--- How often all faults together have struck.
function Kubernetes:faults_hit()
  local n = 0
  for _, fault in ipairs(self.faults) do n = n + fault.hits end
  return n
end

--- Changes who is known by which token.
function Kubernetes:set_tokens(tokens) self.tokens = tokens end

--- As if the server had been started anew: watches break, and what was before is forgotten.
function Kubernetes:restart()
  self.life = self.life + 1
  self.store:compact()
  for event in pairs(self.store.waiting) do event:set() end
end

--- Forgets the past: who asks for it gets 410.
function Kubernetes:compact() self.store:compact() end

-- -- serving --------------------------------------------------------------------------------------

local function response(code, object, warnings)
  local headers = { ['Content-Type'] = 'application/json' }
  if type(object) == 'string' then
    return { status = code, headers = { ['Content-Type'] = 'text/plain' }, body = object }
  end
  if warnings and warnings[1] then
    headers.Warning = ('299 - "%s"'):format(warnings[1]:gsub('["\\]', '\\%0'))
  end
  local retry = object.details and object.details.retryAfterSeconds
  if retry then headers['Retry-After'] = tostring(retry) end
  return { status = code, headers = headers, body = json.encode(object) }
end

local function answer(self, request)
  local ok, code, object, warnings = pcall(api.answer, self, request)
  if not ok and status.is(code) then return response(code.code, code) end
  if not ok then error(code, 0) end
  if type(code) == 'table' then return code end -- a stream
  return response(code, object, warnings)
end

local function handle(self, request)
  if self.control and request.path:find '^/_fake/' then return self.control(self, request) end
  local entry = { method = request.method, path = request.path, query = request.query,
    body = request.body }
  table.insert(self.requests, entry)
  local result = faults.around(self, request, function() return answer(self, request) end)
  entry.status = not result.drop and (result.status or 200) or nil
  return result
end

--- Starts it, in this process.
---@param options? fakes.KubernetesOptions
---@return fakes.Kubernetes
function kubernetes.start(options)
  local o = options or {}
  local self = setmetatable({ tokens = o.tokens, manual = true, control = o.control,
    ready_after = o.ready_after or 0, terminate_after = o.terminate_after or 0,
    bookmark_every = o.bookmark_every or 60, faults = {}, requests = {}, logs = {}, life = 1,
    placed = 0, moved = {}, starting = {}, moved_by = 0 }, Kubernetes)
  local began = o.manual and clock.now()
  self.store = Store.new(function() return (began or clock.now()) + self.moved_by end)
  self.discovery = discovery.answer
  for _, name in ipairs { 'default', 'kube-system' } do ensure_namespace(self, name) end
  for i = 1, o.nodes or 2 do self:put(kubernetes.node('node-' .. i)) end
  for _, object in ipairs(o.objects or {}) do self:put(object) end
  self.manual = o.manual or false
  self.store.changed = function(resource) self:follow(resource) end
  if not self.manual then self:settle() end
  self.server = assert(http.serve({ port = o.port, max_connections = 500, max_body = 16 << 20 },
    function(request) return handle(self, request) end))
  self.port = self.server:port()
  self.url = ('http://127.0.0.1:%d'):format(self.port)
  if not self.manual and self.ready_after + self.terminate_after > 0 then
    self.ticker = async.spawn(tick, self)
  end
  return self
end

function Kubernetes:stop()
  self.stopped = true
  self:restart() -- ends the watches
  if self.ticker then self.ticker:cancel() end
  self.server:close()
end

-- -- objects to begin with ------------------------------------------------------------------------

local function split(name)
  local namespace, rest = name:match '^([^/]+)/(.+)$'
  return namespace or 'default', rest or name
end

local function workload(kind, name, o)
  local namespace, short = split(name)
  local labels = o.labels or { app = short }
  local object = { kind = kind, metadata = { name = short, namespace = namespace,
    labels = patch.clone(labels), annotations = o.annotations },
    spec = { selector = { matchLabels = patch.clone(labels) }, template = {
      metadata = { labels = patch.clone(labels) },
      spec = { containers = json.array { { name = short,
        image = o.image or short .. ':1' } } } } } }
  for k, v in pairs(o.spec or {}) do object.spec[k] = v end
  if kind ~= 'DaemonSet' then object.spec.replicas = o.replicas or 3 end
  return object
end

--- A workload to put: "namespace/name", with { image, replicas, labels, annotations, spec }.
function kubernetes.deployment(name, o) return workload('Deployment', name, o or {}) end
function kubernetes.statefulset(name, o) return workload('StatefulSet', name, o or {}) end
function kubernetes.daemonset(name, o) return workload('DaemonSet', name, o or {}) end

--- A disruption budget for the pods with a label app; spec as { minAvailable = 2 }.
function kubernetes.budget(name, spec)
  local namespace, short = split(name)
  return { kind = 'PodDisruptionBudget', metadata = { name = short, namespace = namespace },
    spec = patch.merge({ selector = { matchLabels = { app = short } } }, spec) }
end

--- An autoscaler of a Deployment with its name.
function kubernetes.autoscaler(name, min, max)
  local namespace, short = split(name)
  return { kind = 'HorizontalPodAutoscaler', metadata = { name = short, namespace = namespace },
    spec = { minReplicas = min, maxReplicas = max, scaleTargetRef = { apiVersion = 'apps/v1',
      kind = 'Deployment', name = short } } }
end

function kubernetes.node(name)
  return { kind = 'Node',
    metadata = { name = name, labels = { ['kubernetes.io/hostname'] = name } },
    spec = {}, status = { capacity = { cpu = '4', memory = '8Gi', pods = '110' },
      conditions = json.array { { type = 'Ready', status = 'True', reason = 'KubeletReady',
        message = 'kubelet is posting ready status', lastTransitionTime = '2026-01-01T00:00:00Z',
        lastHeartbeatTime = '2026-01-01T00:00:00Z' } } } }
end

return kubernetes
