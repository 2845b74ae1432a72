--- What the Kubernetes fake says of itself: its version, and which resources it has.
local json = require 'json'
local types = require 'fakes.kubernetes_types'

local discovery = {}

local VERSION = { major = '1', minor = '32', gitVersion = 'v1.32.13', gitCommit = 'fake',
  gitTreeState = 'clean', buildDate = '2026-01-01T00:00:00Z', goVersion = 'go1.23.0',
  compiler = 'gc', platform = 'linux/amd64' }

local VERBS = { 'create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch' }

local function resource(r, subresource, kind, verbs)
  return { name = subresource and r.plural .. '/' .. subresource or r.plural,
    singularName = subresource and '' or r.kind:lower(), namespaced = r.namespaced, kind = kind,
    verbs = json.array(verbs) }
end

local function resources(group, version)
  local list = json.array()
  for _, r in ipairs(types.resources) do
    if r.group == group and r.version == version then
      table.insert(list, resource(r, nil, r.kind, VERBS))
      if r.status then table.insert(list, resource(r, 'status', r.kind, { 'get', 'patch',
        'update' })) end
      if r.scale then
        table.insert(list, resource(r, 'scale', 'Scale', { 'get', 'patch', 'update' }))
      end
      if r.kind == 'Pod' then
        table.insert(list, resource(r, 'eviction', 'Eviction', { 'create' }))
        table.insert(list, resource(r, 'log', 'Pod', { 'get' }))
      end
    end
  end
  if #list == 0 then return nil end
  return { kind = 'APIResourceList', apiVersion = 'v1', resources = list,
    groupVersion = group == '' and version or group .. '/' .. version }
end

local function groups()
  local list, seen = json.array(), {}
  for _, r in ipairs(types.resources) do
    if r.group ~= '' and not seen[r.group] then
      seen[r.group] = true
      local version = { groupVersion = r.api_version, version = r.version }
      table.insert(list, { name = r.group, versions = json.array { version },
        preferredVersion = version })
    end
  end
  return { kind = 'APIGroupList', apiVersion = 'v1', groups = list }
end

--- The answer to a path that is no resource's, or nil.
function discovery.answer(path)
  if path == '/version' or path == '/version/' then return VERSION end
  if path == '/healthz' or path == '/livez' or path == '/readyz' then return 'ok' end
  if path == '/api' then
    return { kind = 'APIVersions', versions = json.array { 'v1' },
      serverAddressByClientCIDRs = json.array() }
  end
  if path == '/apis' then return groups() end
  local version = path:match '^/api/([^/]+)$'
  if version then return resources('', version) end
  local group
  group, version = path:match '^/apis/([^/]+)/([^/]+)$'
  if group then return resources(group, version) end
end

return discovery
