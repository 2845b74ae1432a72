--- Requests to the Kubernetes fake, taken apart.
local access = require 'fakes.kubernetes_access'
local http = require 'http'
local json = require 'json'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'
local yaml = require 'yaml'

local calls = {}

---@class fakes.Call  a request, taken apart
---@field fake fakes.Kubernetes
---@field store table
---@field method string, path string, query table<string, string>, headers table, text string
---@field user fakes.User
---@field resource? fakes.Resource
---@field namespace? string, name? string, subresource? string
---@field by fakes.By
---@field dry boolean
---@field warnings string[]

-- -- taking apart ---------------------------------------------------------------------------------

--- Where a path leads: resource, namespace, name, subresource; nil where there is nothing.
local function route(path)
  local steps = {}
  for step in path:gmatch '[^/]+' do steps[#steps + 1] = step end
  local group, version, at
  if steps[1] == 'api' then
    group, version, at = '', steps[2], 3
  elseif steps[1] == 'apis' then
    group, version, at = steps[2], steps[3], 4
  else
    return nil
  end
  local namespace
  if steps[at] == 'namespaces' and steps[at + 2] and steps[at + 2] ~= 'status' then
    namespace, at = steps[at + 1], at + 2
  end
  local resource = steps[at] and types.find(group, version, steps[at])
  if not resource or (namespace ~= nil) ~= resource.namespaced and steps[at + 1] then return nil end
  return resource, namespace, steps[at + 1], steps[at + 2]
end

function calls.flag(v) return v == '1' or v == 'true' end

--- A body as a table: JSON, or YAML where the content type says so. Nulls count in a patch only.
function calls.body(call, what)
  if call.text == '' then return {} end
  local value, message
  if (call.headers['content-type'] or ''):find 'yaml' then
    value, message = yaml.decode(call.text)
    message = message and message.message
  else
    value, message = json.decode(call.text, what == 'patch')
  end
  if type(value) ~= 'table' then
    status.bad_request(('error decoding %s: %s'):format(what or 'body',
      message or 'not an object'))
  end
  return value
end

--- Takes a request apart; raises 401 for a token that is not known.
---@return fakes.Call
function calls.new(fake, request)
  local query = http.parse_form(request.query)
  local call = { fake = fake, store = fake.store, method = request.method, path = request.path,
    query = query, headers = request.headers, text = request.body, warnings = {} }
  call.user = access.user(fake.tokens, request.headers)
  call.resource, call.namespace, call.name, call.subresource = route(request.path)
  call.dry = query.dryRun == 'All'
  if query.dryRun and not call.dry then
    status.bad_request(('dryRun: Unsupported value: "%s": supported values: "All"')
      :format(query.dryRun))
  end
  local manager = query.fieldManager
    or (request.headers['user-agent'] or 'unknown'):match '^[^/%s]*'
  call.by = { manager = manager,
    subresource = call.subresource ~= 'eviction' and call.subresource or nil }
  return call
end

--- The object that a call is about, or 404.
function calls.existing(call)
  local object = call.store:get(call.resource, call.namespace, call.name)
  if not object then status.not_found(call.resource, call.name) end
  return object
end

--- Raises 400 for an object whose name is not the path's.
function calls.hold_name(call, object)
  local name = type(object.metadata) == 'table' and object.metadata.name
  if name ~= call.name then
    status.bad_request(('the name of the object (%s) does not match the name on the URL (%s)')
      :format(tostring(name or ''), call.name))
  end
end

--- Raises 409 for a version or an identity that is not the object's.
function calls.hold_to(call, old, metadata)
  metadata = type(metadata) == 'table' and metadata or {}
  local version, uid = metadata.resourceVersion, metadata.uid
  if version and version ~= '' and version ~= json.null
    and version ~= old.metadata.resourceVersion then
    status.conflict(call.resource, old.metadata.name, status.MODIFIED)
  elseif uid and uid ~= json.null and uid ~= old.metadata.uid then
    status.conflict(call.resource, old.metadata.name, ('Precondition failed: UID in precondition: '
      .. '%s, UID in object meta: %s'):format(uid, old.metadata.uid))
  end
end

return calls
