--- Who asks the Kubernetes fake, and whether the Roles that are stored in it let them.
local json = require 'json'
local status = require 'fakes.kubernetes_status'

local access = {}

---@class fakes.User
---@field name string
---@field groups string[]
---@field all? boolean  may do everything

local ADMIN = { name = 'admin', groups = { 'system:masters' }, all = true }
local ANONYMOUS = { name = 'system:anonymous', groups = { 'system:unauthenticated' } }

--- The user of a request, by a token or, where TLS is in front (kubernetes_tls.lua), by a
--- certificate. Without tokens everyone is an administrator; `true` for a token makes one.
---@param tokens? table<string, string|true>  users; "system:serviceaccount:NAMESPACE:NAME"
---@return fakes.User
function access.user(tokens, headers)
  if not tokens then return ADMIN end
  local token = (headers.authorization or ''):match '^[Bb]earer%s+(.-)%s*$'
  local name = headers['x-remote-user']
  if name == ADMIN.name then return ADMIN end
  if not token and not name then return ANONYMOUS end
  name = name or tokens[token]
  if not name then status.fail(401, 'Unauthorized', 'Unauthorized') end
  if name == true then return ADMIN end
  local groups = { 'system:authenticated' }
  local namespace = name:match '^system:serviceaccount:([^:]+):'
  if namespace then
    groups[2], groups[3] = 'system:serviceaccounts', 'system:serviceaccounts:' .. namespace
  end
  return { name = name, groups = groups }
end

local function is_subject(user, subject, namespace)
  if subject.kind == 'ServiceAccount' then
    return user.name == ('system:serviceaccount:%s:%s'):format(subject.namespace or namespace,
      subject.name)
  elseif subject.kind == 'User' then
    return user.name == subject.name
  end
  for _, group in ipairs(user.groups) do
    if group == subject.name then return true end
  end
  return false
end

local function has(list, value)
  for _, v in ipairs(list or {}) do
    if v == value or v == '*' then return true end
  end
  return false
end

local function allows(rule, a)
  local resource = a.subresource and a.resource .. '/' .. a.subresource or a.resource
  return has(rule.verbs, a.verb) and has(rule.apiGroups, a.group) and has(rule.resources, resource)
    and (#(rule.resourceNames or {}) == 0 or a.name ~= nil and has(rule.resourceNames, a.name))
end

local function binding_allows(store, binding, user, a)
  local bound = false
  for _, subject in ipairs(binding.subjects or {}) do
    bound = bound or is_subject(user, subject, binding.metadata.namespace)
  end
  local ref = binding.roleRef
  local role = bound and store:find(ref.kind, ref.kind == 'Role' and binding.metadata.namespace
    or nil, ref.name)
  for _, rule in ipairs(role and role.rules or {}) do
    if allows(rule, a) then return true end
  end
  return false
end

---@class fakes.Attributes
---@field verb string, group string, resource string, subresource? string
---@field namespace? string, name? string

---@return boolean
function access.may(store, user, a)
  if user.all then return true end
  for _, binding in ipairs(store:all 'ClusterRoleBinding') do
    if binding_allows(store, binding, user, a) then return true end
  end
  if not a.namespace then return false end
  for _, binding in ipairs(store:all('RoleBinding', a.namespace)) do
    if binding_allows(store, binding, user, a) then return true end
  end
  return false
end

--- Raises 403 where the user may not.
function access.check(store, user, a)
  if access.may(store, user, a) then return end
  local what = a.subresource and a.resource .. '/' .. a.subresource or a.resource
  local shown = a.group ~= '' and ('%s.%s'):format(a.resource, a.group) or a.resource
  status.fail(403, 'Forbidden', ('%s%s is forbidden: User "%s" cannot %s resource "%s" in API '
    .. 'group "%s" %s'):format(shown, a.name and (' "%s"'):format(a.name) or '', user.name, a.verb,
    what, a.group, a.namespace and ('in the namespace "%s"'):format(a.namespace)
    or 'at the cluster scope'), { name = a.name, group = a.group ~= '' and a.group or nil,
    kind = a.resource })
end

--- What everybody may read, and what only those who say who they are.
function access.check_path(user, path)
  if path:find '^/version' or path:find '^/healthz' or path:find '^/livez'
    or path:find '^/readyz' then
    return
  end
  if user.all or user.name ~= ANONYMOUS.name then return end
  status.fail(403, 'Forbidden', ('forbidden: User "%s" cannot get path "%s"'):format(user.name,
    path), {})
end

--- The answer to a SelfSubjectAccessReview.
function access.review(store, user, review)
  local r = (review.spec or {}).resourceAttributes or {}
  local a = { verb = r.verb, group = r.group or '', resource = r.resource,
    subresource = r.subresource, name = r.name, namespace = r.namespace }
  if a.namespace == '' then a.namespace = nil end
  if a.subresource == '' then a.subresource = nil end
  if a.name == '' then a.name = nil end
  local allowed = access.may(store, user, a)
  return { kind = 'SelfSubjectAccessReview', apiVersion = 'authorization.k8s.io/v1',
    metadata = json.decode '{"creationTimestamp":null}', spec = review.spec,
    status = { allowed = allowed } }
end

return access
