--- The verbs of the Kubernetes fake: from a request to the object, list or stream that answers it.
--- Whatever is wrong is raised as a Status (kubernetes_status.lua).
local access = require 'fakes.kubernetes_access'
local base64 = require 'perigee.base64'
local calls = require 'fakes.kubernetes_call'
local check = require 'fakes.kubernetes_check'
local fields = require 'fakes.kubernetes_fields'
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local select_ = require 'fakes.kubernetes_select'
local status = require 'fakes.kubernetes_status'
local subresources = require 'fakes.kubernetes_subresources'
local types = require 'fakes.kubernetes_types'

local existing, body_of, hold_to, flag = calls.existing, calls.body, calls.hold_to, calls.flag

local api = {}

local VERBS = { POST = 'create', PUT = 'update', PATCH = 'patch', DELETE = 'delete' }

local function verb_of(call)
  if call.method == 'DELETE' then return call.name and 'delete' or 'deletecollection' end
  if call.method ~= 'GET' then return VERBS[call.method] end
  if flag(call.query.watch) then return 'watch' end
  return call.name and 'get' or 'list'
end

local function attributes(call, verb)
  local r = call.resource
  return { verb = verb, group = r.group, resource = r.plural, subresource = call.subresource,
    namespace = call.namespace, name = call.name }
end

-- -- reading --------------------------------------------------------------------------------------

--- A test of objects by the selectors of the query.
local function chooser(call)
  local labels = select_.labels(call.query.labelSelector)
  local by_field = select_.fields(call.query.fieldSelector, call.resource)
  return function(object)
    return (not call.namespace or object.metadata.namespace == call.namespace)
      and (not call.name or object.metadata.name == call.name) and labels(object)
      and by_field(object)
  end
end

local function resume_after(call)
  local token = call.query.continue
  if not token then return nil, call.store.version end
  local c = json.decode(base64.decode(token) or '')
  if not c then status.bad_request 'continue key is not valid: illegal base64 data' end
  if c.rv < call.store.compacted then
    status.fail(410, 'Expired', 'The provided continue parameter is too old to display a '
      .. 'consistent list result. You can start a new list without the continue parameter.', {})
  end
  return c.start, c.rv
end

local function list(call)
  local chosen, start, version = chooser(call), resume_after(call)
  local limit = tonumber(call.query.limit) or 0
  local items, left, last = json.array(), 0, nil
  for _, object in ipairs(call.store:list(call.resource, call.namespace)) do
    local key = (object.metadata.namespace or '') .. '/' .. object.metadata.name
    if chosen(object) and (not start or key > start) then
      if limit > 0 and #items == limit then
        left = left + 1
      else
        items[#items + 1], last = object, key
      end
    end
  end
  local metadata = { resourceVersion = tostring(version) }
  if left > 0 then
    metadata.continue = base64.encode(json.encode { rv = version, start = last })
    if not call.query.labelSelector and not call.query.fieldSelector then
      metadata.remainingItemCount = left
    end
  end
  return 200, { kind = call.resource.kind .. 'List', apiVersion = call.resource.api_version,
    metadata = metadata, items = items }
end

-- -- watching -------------------------------------------------------------------------------------

local function line(type_, object) return json.encode { type = type_, object = object } .. '\n' end

--- What a change is to a watcher that chooses: an object may come into its sight, or leave it.
local function seen_as(change, chosen)
  local now = change.type ~= 'DELETED' and chosen(change.object)
  local before = change.before ~= nil and chosen(change.before)
  if change.type == 'ADDED' then return now and 'ADDED' or nil end
  if now then return before and 'MODIFIED' or 'ADDED' end
  return before and 'DELETED' or nil
end

local function expired(version, compacted)
  return status.new(410, 'Expired', ('too old resource version: %d (%d)'):format(version,
    compacted))
end

local function bookmark(call, version)
  return line('BOOKMARK', { kind = call.resource.kind, apiVersion = call.resource.api_version,
    metadata = { resourceVersion = tostring(version), creationTimestamp = json.null } })
end

--- Sends what has happened since a version. Returns the version reached, or nil where it is over.
local function send_changes(call, send, chosen, version)
  local store = call.store
  if version < store.compacted then
    send(line('ERROR', expired(version, store.compacted)))
    return nil
  end
  local out = {}
  for i = #store.history, 1, -1 do
    local change = store.history[i]
    if change.version <= version then break end
    local type_ = change.resource == call.resource and seen_as(change, chosen)
    if type_ then
      -- One that left the watcher's sight is told as it was seen, with the version of its leaving.
      table.insert(out, 1, line(type_, change.object))
    end
  end
  if #out > 0 and not send(table.concat(out)) then return nil end
  return store.version
end

local function present(call, send, chosen)
  for _, object in ipairs(call.store:list(call.resource, call.namespace)) do
    if chosen(object) then send(line('ADDED', object)) end
  end
  return call.store.version
end

local function watch(call)
  local fake, store, chosen = call.fake, call.store, chooser(call)
  local from = tonumber(call.query.resourceVersion or '0')
  if not from then
    status.bad_request(('Invalid value: "%s": resourceVersion'):format(call.query.resourceVersion))
  end
  if from > store.version then
    status.fail(504, 'Timeout', ('Too large resource version: %d, current: %d'):format(from,
      store.version), { retryAfterSeconds = 1, causes = { { reason = 'ResourceVersionTooLarge',
        message = 'Too large resource version' } } })
  end
  local bookmarks = flag(call.query.allowWatchBookmarks)
  local left = tonumber(call.query.timeoutSeconds) or 1800
  local life = fake.life
  return { headers = { ['Content-Type'] = 'application/json' }, stream = function(send)
    local version = from == 0 and present(call, send, chosen) or from
    while left > 0 and life == fake.life do
      version = send_changes(call, send, chosen, version)
      if not version then return end
      local pause = math.min(left, fake.bookmark_every)
      if not store:wait(version, pause) then
        left = left - pause
        if bookmarks and life == fake.life and not send(bookmark(call, version)) then return end
      end
    end
  end }
end

-- -- writing --------------------------------------------------------------------------------------

--- Takes an object in and notes what was dropped of it.
local function take_in(call, object, old)
  local unknown = check.take_in(call.resource, object, old, call.query.fieldValidation == 'Strict')
  for _, path in ipairs(unknown) do
    table.insert(call.warnings, ('unknown field "%s"'):format(path))
  end
  return object
end

--- What of a new version counts: all but the status, or by a subresource nothing but that.
local function merged_status(call, old, new)
  if call.subresource == 'status' then
    local kept = patch.clone(old)
    kept.status = new.status
    return kept
  end
  if call.resource.status then new.status = patch.clone(old.status) end
  return new
end

local function named(call, object)
  local m = object.metadata
  if type(m) ~= 'table' then
    m = {}
    object.metadata = m
  end
  if m.namespace and m.namespace ~= call.namespace then
    status.bad_request(('the namespace of the provided object does not match the namespace sent on '
      .. 'the request'))
  end
  if call.name and m.name then calls.hold_name(call, object) end
  m.namespace = call.namespace
  if object.kind and object.kind ~= call.resource.kind then
    status.bad_request(('%s in version "%s" cannot be handled as a %s'):format(object.kind,
      tostring(object.apiVersion), call.resource.kind))
  end
  object.kind, object.apiVersion = call.resource.kind, call.resource.api_version
  return object
end

local function create(call, object)
  object = named(call, object or body_of(call))
  if call.namespace and not call.store:find('Namespace', nil, call.namespace) then
    status.not_found(types.by_kind.Namespace, call.namespace)
  end
  take_in(call, object)
  if object.metadata.resourceVersion then
    status.fail(500, 'InternalError', 'Internal error occurred: resourceVersion should not be set '
      .. 'on objects to be created', {})
  end
  if call.resource.status then object.status = nil end
  object.metadata.managedFields = call.by.operation == 'Apply' and object.metadata.managedFields
    or nil
  return 201, call.store:create(call.resource, object, call.by, call.dry)
end

-- Kinds that are not replaced without saying which version.
local VERSIONED = { Lease = true, PodDisruptionBudget = true, HorizontalPodAutoscaler = true }

local function update(call)
  local old, new = existing(call), named(call, body_of(call))
  calls.hold_name(call, new)
  if VERSIONED[new.kind] and not new.metadata.resourceVersion then
    status.invalid(call.resource, call.name, { { field = 'metadata.resourceVersion', message =
      'Invalid value: 0x0: must be specified for an update' } })
  end
  hold_to(call, old, new.metadata)
  take_in(call, new, old)
  return 200, call.store:replace(call.resource, old, merged_status(call, old, new), call.by,
    call.dry)
end

local PATCHES = {
  ['application/merge-patch+json'] = function(old, change) return patch.merge(old, change) end,
  ['application/json-patch+json'] = function(old, change) return patch.json(old, change) end,
  ['application/strategic-merge-patch+json'] = function(old, change, type_)
    return patch.strategic(old, change, type_)
  end,
}

local APPLY = 'application/apply-patch+yaml'

local function content_type(call)
  local given = (call.headers['content-type'] or ''):match '^[^;%s]*'
  if PATCHES[given] or given == APPLY then return given end
  status.fail(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format - '
    .. 'accepted media types include: application/json-patch+json, application/merge-patch+json, '
    .. 'application/strategic-merge-patch+json, application/apply-patch+yaml', {})
end

local function apply(call)
  if not call.query.fieldManager then
    status.fail(422, 'Invalid', 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required '
      .. 'value: is required for apply patch', {})
  end
  local old = call.store:get(call.resource, call.namespace, call.name)
  local config = named(call, body_of(call))
  config.metadata.name = call.name
  check.shape(call.resource, config)
  call.by.operation = 'Apply'
  if old then hold_to(call, old, config.metadata) end
  local by = { manager = call.by.manager, subresource = call.by.subresource,
    time = call.store:time() }
  local new = fields.apply(old, config, call.resource.kind, by, flag(call.query.force))
  if not old then return create(call, new) end
  take_in(call, new, old)
  return 200, call.store:replace(call.resource, old, merged_status(call, old, new), call.by,
    call.dry)
end

local function patch_(call)
  local kind = content_type(call)
  if kind == APPLY then return apply(call) end
  local old, change = existing(call), body_of(call, 'patch')
  local new = PATCHES[kind](patch.clone(old), change, call.resource.kind)
  hold_to(call, old, new.metadata)
  named(call, new)
  take_in(call, new, old)
  return 200, call.store:replace(call.resource, old, merged_status(call, old, new), call.by,
    call.dry)
end

-- -- everything -----------------------------------------------------------------------------------

local ROOT = { get = function(call) return 200, existing(call) end, list = list, watch = watch,
  create = create, update = update, patch = patch_, delete = subresources.delete,
  deletecollection = function(call)
    local chosen = chooser(call)
    for _, object in ipairs(call.store:list(call.resource, call.namespace)) do
      if chosen(object) then subresources.delete_object(call, object, {}) end
    end
    return list(call)
  end }

local function of_no_resource(call)
  access.check_path(call.user, call.path)
  local answer = call.fake.discovery(call.path)
  if answer then return 200, answer end
  status.fail(404, 'NotFound', 'the server could not find the requested resource', {})
end

--- Answers a request: its status and object, or a table for the HTTP server.
---@param fake fakes.Kubernetes
---@param request http.Incoming
---@return integer|table code
---@return table|string? object
---@return string[]? warnings
function api.answer(fake, request)
  local call = calls.new(fake, request)
  if call.path == '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    and call.method == 'POST' then
    return 201, access.review(call.store, call.user, body_of(call))
  end
  if not call.resource then return of_no_resource(call) end
  local verb = verb_of(call)
  access.check(call.store, call.user, attributes(call, verb))
  local handler
  if call.subresource and call.subresource ~= 'status' then
    handler = subresources.handler(call, verb)
  elseif verb == 'create' and call.name then
    handler = nil
  else
    handler = ROOT[verb]
  end
  if not handler then
    status.fail(405, 'MethodNotAllowed', 'the server does not allow this method on the requested '
      .. 'resource', {})
  end
  local code, object = handler(call)
  return code, object, call.warnings
end

return api
