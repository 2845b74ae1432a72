--- What there is in a cluster, by name: where it lies in the API, and whether in a namespace.
local check = require 'check'
local names = require 'kubernetes.names'

local resources = {}

---@class kubernetes.Resource
---@field plural string
---@field api string         "/api/v1", "/apis/apps/v1"
---@field api_version string "v1", "apps/v1"
---@field kind? string       nil for what the table below does not know
---@field namespaced boolean
---@field group string

local KNOWN = {
  ['v1'] = { pods = 'Pod', services = 'Service', configmaps = 'ConfigMap', events = 'Event',
    replicationcontrollers = 'ReplicationController', endpoints = 'Endpoints',
    persistentvolumeclaims = 'PersistentVolumeClaim', nodes = 'Node', namespaces = 'Namespace',
    secrets = 'Secret', serviceaccounts = 'ServiceAccount', limitranges = 'LimitRange',
    resourcequotas = 'ResourceQuota', persistentvolumes = 'PersistentVolume' },
  ['apps/v1'] = { deployments = 'Deployment', replicasets = 'ReplicaSet',
    statefulsets = 'StatefulSet', daemonsets = 'DaemonSet',
    controllerrevisions = 'ControllerRevision' },
  ['batch/v1'] = { jobs = 'Job', cronjobs = 'CronJob' },
  ['autoscaling/v2'] = { horizontalpodautoscalers = 'HorizontalPodAutoscaler' },
  ['policy/v1'] = { poddisruptionbudgets = 'PodDisruptionBudget' },
  ['coordination.k8s.io/v1'] = { leases = 'Lease' },
  ['authorization.k8s.io/v1'] = { selfsubjectaccessreviews = 'SelfSubjectAccessReview' },
}

local CLUSTER_WIDE = { nodes = true, namespaces = true, persistentvolumes = true,
  selfsubjectaccessreviews = true }

local by_name, plurals = {}, {}

local function resource(plural, group, version, kind, namespaced)
  local api_version = group == '' and version or group .. '/' .. version
  return { plural = plural, kind = kind, namespaced = namespaced, group = group,
    api_version = api_version, api = (group == '' and '/api/' or '/apis/') .. api_version }
end

for api_version, kinds in pairs(KNOWN) do
  local group, version = api_version:match '^(.*)/(.*)$'
  group, version = group or '', version or api_version
  for plural, kind in pairs(kinds) do
    by_name[plural] = resource(plural, group, version, kind, not CLUSTER_WIDE[plural])
    plurals[#plurals + 1] = plural
    if group ~= '' then by_name[plural .. '.' .. group] = by_name[plural] end
  end
end
table.sort(plurals)

--- A resource by its name: "pods", "deployments", "deployments.apps"; of others with version and
--- group: "certificates.v1.cert-manager.io". Of these a namespace tells whether they lie in one.
---@param name string
---@param namespace? string
---@return kubernetes.Resource? resource
---@return string? message
function resources.find(name, namespace)
  if type(name) ~= 'string' then return nil, check.expected('a resource such as "pods"', name) end
  if by_name[name] then return by_name[name] end
  local plural, version, group = name:match '^([%l%d]+)%.(v%d[%l%d]*)%.([%l%d.-]+)$'
  if plural and not names.check(group) then
    return resource(plural, group, version, nil, namespace ~= nil)
  end
  return nil, check.unknown('resource', name, plurals)
end

--- What is wrong with the name of a resource, or nil.
---@param name any
---@return string? message
function resources.check(name) return (select(2, resources.find(name))) end

--- The path of a collection or of one object.
---@param r kubernetes.Resource
---@param namespace? string
---@param name? string
---@param subresource? string
---@return string? path
---@return string? message
function resources.path(r, namespace, name, subresource)
  local parts = { r.api }
  if namespace ~= nil then
    if not r.namespaced then return nil, ('%s lie in no namespace'):format(r.plural) end
    local wrong = names.check_namespace(namespace)
    if wrong then return nil, wrong end
    parts[#parts + 1] = 'namespaces/' .. namespace
  end
  parts[#parts + 1] = r.plural
  if name ~= nil then
    local wrong = names.check(name)
    if wrong then return nil, wrong end
    if r.namespaced and namespace == nil then return nil, 'the namespace is missing' end
    parts[#parts + 1] = name
  end
  if subresource ~= nil then
    if type(subresource) ~= 'string' or not subresource:find '^%l+$' then
      return nil, check.expected('a subresource such as "scale"', subresource)
    end
    parts[#parts + 1] = subresource
  end
  return table.concat(parts, '/')
end

return resources
