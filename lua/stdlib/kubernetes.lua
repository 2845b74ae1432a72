--- Kubernetes' API: objects read, changed, evicted, watched; leases and events. Every call waits,
--- and returns its value, or nil and a failure { kind, status, reason, message, retry_after }.
local check = require 'check'
local config = require 'kubernetes.config'
local events = require 'kubernetes.events'
local lease = require 'kubernetes.lease'
local resources = require 'kubernetes.resources'
local transport = require 'kubernetes.transport'
local watch = require 'kubernetes.watch'

local kubernetes = {}

kubernetes.OPTIONS = config.OPTIONS

local MANAGER = 'perigee' -- our name in an object's managedFields
local PAGE, MAX_ITEMS = 500, 100000

local invalid = transport.invalid

---@class kubernetes.Client
---@field server string
---@field namespace? string  the context's, or the pod's own
---@field transport kubernetes.Transport
---@field recorder kubernetes.Recorder
local Client = {}
Client.__index = Client

--- The path of what a call is about, or nil and a failure.
local function path_of(resource, namespace, name, subresource)
  local r, message = resources.find(resource, namespace)
  if not r then return invalid(message) end
  local path
  path, message = resources.path(r, namespace, name, subresource)
  if not path then return invalid(message) end
  return path, nil, r
end

--- The path of one object.
local function object_path(resource, namespace, name, subresource)
  if name == nil then return invalid 'the name is missing' end
  return path_of(resource, namespace, name, subresource)
end

--- An object as an answer, which anything may have given that sits in front of the server.
local function whole(object, failure)
  if object and type(object.metadata) ~= 'table' then
    return nil, { kind = 'not_kubernetes', message = 'the answer is no object of Kubernetes' }
  end
  return object, failure
end

--- The query of a call that changes something.
local function write_query(o)
  return { dryRun = o.dry_run and 'All' or nil, fieldManager = o.field_manager or MANAGER,
    fieldValidation = 'Strict', force = o.force and 'true' or nil }
end

--- The same client, each write of which asks first, directly before it goes out, whether it still
--- may; what rehearses, reads or tells of events does not ask.
---@param halted fun(): string?  why nothing more may be changed
---@return kubernetes.Client
function Client:stoppable(halted)
  return setmetatable({ transport = self.transport:stoppable(halted) }, { __index = self })
end

-- -- any request ----------------------------------------------------------------------------------

--- Any request, by its path.
---@param method string
---@param path string  "/apis/apps/v1/…", each part of it escaped by the caller
---@param o? kubernetes.Request
---@return table? object
---@return kubernetes.Failure? failure
function Client:request(method, path, o)
  if type(path) ~= 'string' or not path:find '^/[^%s%c?#]*$' or path:find '/%.%.?%f[/\0]' then
    return invalid(check.expected('a path such as "/api/v1/nodes"', path))
  end
  return self.transport:send(method, path, o)
end

---@return table? version  { gitVersion, major, minor, … }
---@return kubernetes.Failure? failure
function Client:server_version() return self.transport:send('GET', '/version') end

-- -- reading --------------------------------------------------------------------------------------

---@param resource string      "pods", "deployments", "certificates.v1.cert-manager.io"
---@param namespace? string    nil for what lies in none
---@param name string
---@return table? object
---@return kubernetes.Failure? failure
function Client:get(resource, namespace, name)
  local path, failure = object_path(resource, namespace, name)
  if not path then return nil, failure end
  return whole(self.transport:send('GET', path))
end

--- One page after the other, into `list`; the server's Status 410 where they take too long.
local function read_pages(client, path, query, list)
  query.continue = nil
  repeat
    local page, failure = whole(client.transport:send('GET', path, { query = query }))
    if not page then return nil, failure end
    local meta = page.metadata
    local kind = type(page.kind) == 'string' and page.kind:match '^(%u%w*)List$'
    for _, item in ipairs(type(page.items) == 'table' and page.items or {}) do
      -- Items of a list leave out what the list's own kind says of them all.
      item.kind, item.apiVersion = item.kind or kind or nil, item.apiVersion or page.apiVersion
      list.items[#list.items + 1] = item
    end
    if #list.items > MAX_ITEMS then
      return nil, { kind = 'too_large', message = ('there are more than %d objects'):format(
        MAX_ITEMS) }
    end
    list.resource_version = meta.resourceVersion
    query.continue = meta.continue ~= '' and meta.continue or nil
  until not query.continue
  return list
end

--- All objects of a kind, in a namespace or (nil) in all of them.
---@param resource string
---@param namespace? string
---@param o? { label_selector?: string, field_selector?: string, limit?: integer }  limit: objects a
---       page, of which all are read; 500
---@return { items: table[], resource_version: string }? list
---@return kubernetes.Failure? failure
function Client:list(resource, namespace, o)
  o = o or {}
  local path, failure = path_of(resource, namespace)
  if not path then return nil, failure end
  local query = { labelSelector = o.label_selector, fieldSelector = o.field_selector,
    limit = o.limit or PAGE }
  local list
  for _ = 1, 2 do -- once anew, where a page came too late and what it belonged to is forgotten
    list, failure = read_pages(self, path, query, { items = {} })
    if list or failure.status ~= 410 then break end
  end
  return list, failure
end

-- -- changing -------------------------------------------------------------------------------------

local PATCHES = {
  merge = 'application/merge-patch+json',
  strategic = 'application/strategic-merge-patch+json',
  json = 'application/json-patch+json',
  apply = 'application/apply-patch+yaml',
}

---@class kubernetes.Write
---@field dry_run? boolean      the server does all but keep it
---@field field_manager? string "perigee"
---@field subresource? string   "scale", "status"

--- Changes an object. Where the patch holds metadata.resourceVersion, only that very one.
---@param resource string
---@param namespace? string
---@param name string
---@param patch table
---@param o { type: "merge"|"strategic"|"json"|"apply", dry_run?: boolean, field_manager?: string,
---    subresource?: string, force?: boolean }  force: of "apply", takes fields from others
---@return table? object
---@return kubernetes.Failure? failure
function Client:patch(resource, namespace, name, patch, o)
  local content_type = PATCHES[o.type]
  if not content_type then
    error('patch: type: ' .. check.expected('one of ' .. table.concat(check.names(PATCHES), ', '),
      o.type), 2)
  end
  if o.force and o.type ~= 'apply' then error('patch: force is of an "apply" alone', 2) end
  local path, failure = object_path(resource, namespace, name, o.subresource)
  if not path then return nil, failure end
  return whole(self.transport:send('PATCH', path,
    { query = write_query(o), content_type = content_type, body = patch }))
end

---@param resource string
---@param namespace? string
---@param object table
---@param o? kubernetes.Write
---@return table? object
---@return kubernetes.Failure? failure
function Client:create(resource, namespace, object, o)
  local path, failure, r = path_of(resource, namespace)
  if not path then return nil, failure end
  if r.namespaced and namespace == nil then return invalid 'the namespace is missing' end
  return self.transport:send('POST', path, { query = write_query(o or {}), body = object })
end

--- Replaces an object; its metadata.resourceVersion must still be the present one.
---@param resource string
---@param namespace? string
---@param name string
---@param object table
---@param o? kubernetes.Write
---@return table? object
---@return kubernetes.Failure? failure
function Client:update(resource, namespace, name, object, o)
  o = o or {}
  local path, failure = object_path(resource, namespace, name, o.subresource)
  if not path then return nil, failure end
  return whole(self.transport:send('PUT', path, { query = write_query(o), body = object }))
end

--- What a removal must still find, and how it goes about it. A body's options stand instead of the
--- query's, so the dry run is in both.
local function delete_options(o)
  local preconditions
  if o.uid or o.resource_version then
    preconditions = { uid = o.uid, resourceVersion = o.resource_version }
  end
  return { kind = 'DeleteOptions', apiVersion = 'v1', preconditions = preconditions,
    gracePeriodSeconds = o.grace_period_seconds, dryRun = o.dry_run and { 'All' } or nil }
end

---@param resource string
---@param namespace? string
---@param name string
---@param o? { uid?: string, resource_version?: string, dry_run?: boolean,
---    grace_period_seconds?: integer }
---@return table? object  the object that goes, or a Status
---@return kubernetes.Failure? failure
function Client:delete(resource, namespace, name, o)
  o = o or {}
  local path, failure = object_path(resource, namespace, name)
  if not path then return nil, failure end
  return self.transport:send('DELETE', path,
    { query = { dryRun = o.dry_run and 'All' or nil }, body = delete_options(o) })
end

--- Asks for a pod to be ended, as far as disruption budgets allow: where they do not, the failure
--- has status 429 and a cause "DisruptionBudget".
---@param namespace string
---@param pod string
---@param o? { uid?: string, dry_run?: boolean, grace_period_seconds?: integer }
---@return table? status
---@return kubernetes.Failure? failure
function Client:evict(namespace, pod, o)
  o = o or {}
  local path, failure = object_path('pods', namespace, pod, 'eviction')
  if not path then return nil, failure end
  local options = delete_options(o)
  options.kind, options.apiVersion = nil, nil
  return self.transport:send('POST', path, { query = { dryRun = o.dry_run and 'All' or nil },
    body = { apiVersion = 'policy/v1', kind = 'Eviction',
      metadata = { name = pod, namespace = namespace }, deleteOptions = options } })
end

--- The Scale of a workload.
---@param resource string
---@param namespace string
---@param name string
---@return table? scale
---@return kubernetes.Failure? failure
function Client:scale(resource, namespace, name)
  local path, failure = object_path(resource, namespace, name, 'scale')
  if not path then return nil, failure end
  return self.transport:send('GET', path)
end

--- Replaces it; its metadata.resourceVersion must still be the present one.
---@param scale table
---@param o? kubernetes.Write
---@return table? scale
---@return kubernetes.Failure? failure
function Client:set_scale(resource, namespace, name, scale, o)
  o = o or {}
  return self:update(resource, namespace, name, scale,
    { subresource = 'scale', dry_run = o.dry_run, field_manager = o.field_manager })
end

-- -- watching -------------------------------------------------------------------------------------

--- Follows the changes of a collection, in a namespace or (nil) in all of them, until on_event
--- returns false (then true), the caller is cancelled, or it is refused.
---@param resource string
---@param namespace? string
---@param o? kubernetes.WatchOptions
---@param on_event fun(event: kubernetes.WatchEvent): boolean?
---@return boolean? ended
---@return kubernetes.Failure? failure
function Client:watch(resource, namespace, o, on_event)
  local path, failure = path_of(resource, namespace)
  if not path then return nil, failure end
  return watch.run(self, path, resource, namespace, o or {}, on_event)
end

-- -- events and leases ----------------------------------------------------------------------------

--- Tells an event of an object: folded into others where it is one of many.
---@param object table  as the server gave it
---@param o kubernetes.Event
---@return boolean? told  false: there were too many of this object
---@return kubernetes.Failure? failure
function Client:event(object, o) return self.recorder:tell(object, o) end

--- A lease, for which nothing is done before :try() or :run().
---@param options { namespace: string, name: string, holder: string }
---@return kubernetes.Lease
function Client:lease(options) return lease.new(self, options) end

-- -- clients --------------------------------------------------------------------------------------

--- A client from options that have been checked.
---@param o table  with `cluster` where what they come to is known already
---@return kubernetes.Client? client
---@return string? message
function kubernetes.connect(o)
  local cluster, problems = o.cluster, nil
  if not cluster then cluster, problems = config.load(o) end
  if not cluster then return nil, config.words(problems[1]) end
  local client = setmetatable({ server = cluster.server, namespace = cluster.namespace,
    transport = transport.new(cluster) }, Client)
  client.recorder = events.recorder(client, os.getenv 'POD_NAME' or os.getenv 'HOSTNAME'
    or 'perigee')
  return client
end

--- A client; calls of its methods wait.
---@param options? { in_cluster?: boolean, kubeconfig?: string, context?: string,
---    namespace?: string, exec?: boolean, timeout?: string }
---@return kubernetes.Client? client
---@return string? message
function kubernetes.client(options)
  return kubernetes.connect(check.options('kubernetes.client', options, kubernetes.OPTIONS))
end

return kubernetes
