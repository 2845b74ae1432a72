--- kubeconfig files: read, merged as kubectl merges them, and one context of them resolved to a
--- server, its certificates and somebody's credentials. What is wrong is told by file, line and
--- column. Keys that we do not know are passed over, for others read these files too; those that
--- would make us somebody else than we think (impersonation) are errors.
local base64 = require 'perigee.base64'
local check = require 'check'
local file = require 'perigee.file'
local names = require 'kubernetes.names'
local yaml = require 'perigee.yaml'

local kubeconfig = {}

local MAX_FILE = 1 << 20

-- -- one file -------------------------------------------------------------------------------------

---@class kubernetes.Source  a file that a node lies in
---@field path string
---@field folder string
---@field places table
---@field add fun(problem: table)

--- Tells what is wrong with a key of a node, at the key's place, or the node's first one.
local function blame(source, node, key, words)
  local places = source.places[node] or {}
  local place = places[key]
  for _, other in pairs(place and {} or places) do
    if not place or other[1] < place[1] then place = other end
  end
  place = place or { 1, 1 }
  source.add { file = source.path, line = place[1], column = place[2], message = words }
end

--- A key's value, if it is there and of that type.
local function field(source, node, key, type_name)
  local v = node[key]
  if v == nil then return end
  if type(v) == type_name then return v end
  local what = { string = 'a text', table = 'keys and values', boolean = 'true or false' }
  blame(source, node, key, ('%s: %s'):format(key, check.expected(what[type_name], v)))
end

--- Entries of a list such as "clusters" by their names, each as { node, source }. The first of a
--- name counts.
local function gather(source, root, list, item, into)
  local n = 0
  for i, entry in ipairs(field(source, root, list, 'table') or {}) do
    n = i
    if type(entry) ~= 'table' then
      blame(source, root[list], i, ('%s[%d]: %s'):format(list, i,
        check.expected('keys and values', entry)))
    else
      local name = field(source, entry, 'name', 'string')
      if entry.name == nil then
        blame(source, entry, nil, ('%s[%d]: "name" is missing'):format(list, i))
      end
      local node = field(source, entry, item, 'table') or {}
      if name and not into[name] then into[name] = { node = node, source = source } end
    end
  end
  if n == 0 and type(root[list]) == 'table' and next(root[list]) ~= nil then
    blame(source, root, list, ('%s: expected a list'):format(list))
  end
end

--- Adds what a file says to what the files before it said.
---@param merged table  { clusters, users, contexts, current? }
---@param path string
---@param text string
---@param problems table[]
function kubeconfig.add(merged, path, text, problems)
  local function add(problem) problems[#problems + 1] = problem end
  local root, places = yaml.decode(text)
  if root == nil and places.message then
    return add { file = path, line = places.line, column = places.column, message = places.message }
  end
  if root == nil then return end -- an empty file says nothing
  if type(root) ~= 'table' then
    return add { file = path, line = 1, column = 1, message = check.expected('a kubeconfig', root) }
  end
  local source = { path = path, folder = path:match '^(.*)/[^/]*$' or '.', places = places,
    add = add }
  gather(source, root, 'clusters', 'cluster', merged.clusters)
  gather(source, root, 'users', 'user', merged.users)
  gather(source, root, 'contexts', 'context', merged.contexts)
  local current = field(source, root, 'current-context', 'string')
  if current ~= '' and not merged.current then
    merged.current, merged.current_at = current, { source = source, node = root }
  end
  merged.first = merged.first or { source = source, node = root }
end

--- What no file has said anything to yet.
function kubeconfig.empty() return { clusters = {}, users = {}, contexts = {} } end

-- -- one context ----------------------------------------------------------------------------------

local function resolve(source, path)
  return path:sub(1, 1) == '/' and path or source.folder .. '/' .. path
end

--- PEM of `KEY-data` (base64), else the path that KEY names. Both are looked at now, not when they
--- are first needed.
---@return string? pem
---@return string? path
local function pem(source, node, key)
  local data_key = key .. '-data'
  local data, path = field(source, node, data_key, 'string'), field(source, node, key, 'string')
  if data and data ~= '' then
    local decoded = base64.decode((data:gsub('%s+', '')))
    if not decoded then
      return blame(source, node, data_key, data_key .. ': this is no base64')
    end
    if not decoded:find('-----BEGIN', 1, true) or decoded:find '\0' then
      return blame(source, node, data_key, data_key .. ': this is no PEM')
    end
    return decoded
  end
  if not path or path == '' then return end
  path = resolve(source, path)
  local text, message = file.read(path, MAX_FILE)
  if not text then return blame(source, node, key, ('%s: %s'):format(key, message)) end
  return nil, path
end

local function check_server(source, node)
  local server = field(source, node, 'server', 'string')
  if node.server == nil then return blame(source, node, nil, '"server" is missing') end
  if not server then return end
  if server:find '^[^/]*//[^/]*@' then
    return blame(source, node, 'server', 'server: a password does not belong into a URL')
  end
  if not server:find '^https?://[^%s/?#@]+[^%s?#@]*$' then
    return blame(source, node, 'server',
      'server: ' .. check.expected('a URL such as "https://10.0.0.1:6443"', server))
  end
  return (server:gsub('/+$', ''))
end

local function cluster_of(entry)
  local node, source = entry.node, entry.source
  local proxy = field(source, node, 'proxy-url', 'string')
  if proxy and not (proxy:find '^https?://%S+$' or proxy:find '^socks5h?://%S+$') then
    blame(source, node, 'proxy-url',
      'proxy-url: expected a URL that begins with http://, https:// or socks5://')
  end
  local ca_data, ca_file = pem(source, node, 'certificate-authority')
  return { server = check_server(source, node), proxy = proxy, ca_data = ca_data,
    ca_file = ca_file, server_name = field(source, node, 'tls-server-name', 'string'),
    insecure_skip_verify = field(source, node, 'insecure-skip-tls-verify', 'boolean') }
end

--- A program that tells credentials, as kubernetes/exec.lua runs it.
local function exec_of(source, user, allowed)
  local node = field(source, user, 'exec', 'table')
  if not node then return end
  if not allowed then
    return blame(source, user, 'exec', 'this user\'s credentials are told by a program (exec), '
      .. 'which is run only where kubernetes.exec is true')
  end
  local version = field(source, node, 'apiVersion', 'string')
  if version ~= 'client.authentication.k8s.io/v1'
    and version ~= 'client.authentication.k8s.io/v1beta1' then
    blame(source, node, 'apiVersion', 'exec.apiVersion: expected '
      .. 'client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1')
  end
  local command = field(source, node, 'command', 'string')
  if not command or command == '' then
    return blame(source, node, 'command', 'exec.command is missing')
  end
  if field(source, node, 'interactiveMode', 'string') == 'Always' then
    blame(source, node, 'interactiveMode', 'exec.interactiveMode: there is nobody to ask here')
  end
  -- As kubectl does: a name is looked up in PATH, a relative path counts from the file.
  if command:find '/' then command = resolve(source, command) end
  local out = { api_version = version, command = command, args = {}, env = {},
    hint = field(source, node, 'installHint', 'string'),
    provide_cluster = field(source, node, 'provideClusterInfo', 'boolean') == true }
  for i, arg in ipairs(field(source, node, 'args', 'table') or {}) do
    if type(arg) ~= 'string' and type(arg) ~= 'number' then
      return blame(source, node, 'args', ('exec.args[%d]: expected a text'):format(i))
    end
    out.args[i] = tostring(arg)
  end
  for i, pair in ipairs(field(source, node, 'env', 'table') or {}) do
    if type(pair) ~= 'table' or type(pair.name) ~= 'string' or not pair.name:find '^[%a_][%w_]*$'
      or type(pair.value) ~= 'string' then
      return blame(source, node, 'env', ('exec.env[%d]: expected a name and a value'):format(i))
    end
    out.env[pair.name] = pair.value
  end
  return out
end

local NOT_OURS = {
  as = 'impersonation is not supported', ['as-groups'] = 'impersonation is not supported',
  ['as-uid'] = 'impersonation is not supported',
  ['as-user-extra'] = 'impersonation is not supported',
  ['auth-provider'] = 'auth-provider has been taken out of Kubernetes; use exec',
}

local function user_of(entry, allow_exec)
  local node, source = entry.node, entry.source
  for _, key in ipairs(check.names(NOT_OURS)) do
    if node[key] ~= nil then blame(source, node, key, ('%s: %s'):format(key, NOT_OURS[key])) end
  end
  local cert_data, cert_file = pem(source, node, 'client-certificate')
  local key_data, key_file = pem(source, node, 'client-key')
  local function has(key) return node[key] ~= nil or node[key .. '-data'] ~= nil end
  if has 'client-certificate' ~= has 'client-key' then
    blame(source, node, nil, 'client-certificate and client-key belong together')
  end
  local token_file = field(source, node, 'tokenFile', 'string')
  local token = field(source, node, 'token', 'string')
  if token_file then
    token, token_file = nil, resolve(source, token_file)
    local text, message = file.read(token_file, MAX_FILE)
    if not text then blame(source, node, 'tokenFile', 'tokenFile: ' .. message) end
  end
  if token and (token == '' or token:find '%s' or token:find '%c') then
    blame(source, node, 'token', 'token: a token is a text without blanks')
  end
  return { token = token, token_file = token_file, cert_data = cert_data, cert_file = cert_file,
    key_data = key_data, key_file = key_file,
    username = field(source, node, 'username', 'string'),
    password = field(source, node, 'password', 'string'),
    exec = exec_of(source, node, allow_exec) }
end

local NOBODY = { node = {}, source = { places = {} } }

--- The entry that a context names. It need not name a user: then we are nobody in particular.
local function named(merged, context, kind, entries)
  local name = field(context.source, context.node, kind, 'string')
  if kind == 'user' and (context.node.user == nil or name == '') then return NOBODY end
  if context.node[kind] == nil then
    return blame(context.source, context.node, nil, ('the context names no %s'):format(kind))
  end
  if not name then return end
  if not merged[entries][name] then
    return blame(context.source, context.node, kind,
      check.unknown(kind, name, check.names(merged[entries])))
  end
  return merged[entries][name]
end

--- One context of what the files said; nil where anything is wrong with it.
---@param merged table
---@param options { context?: string, exec?: boolean }
---@param problems table[]
---@return table? resolved  { context, namespace?, cluster, user }
function kubeconfig.resolve(merged, options, problems)
  if #problems > 0 then return end
  local name, at = options.context or merged.current, merged.current_at or merged.first
  if not name or not at then
    problems[1] = { file = at and at.source.path, line = 1, column = 1, message = name
      and ('the kubeconfig is empty: there is no context "%s"'):format(name)
      or 'there is no current-context, and no context is named' }
    return
  end
  local context = merged.contexts[name]
  if not context then
    blame(at.source, at.node, 'current-context',
      check.unknown('context', name, check.names(merged.contexts)))
    return
  end
  local cluster = named(merged, context, 'cluster', 'clusters')
  local user = named(merged, context, 'user', 'users')
  local namespace = field(context.source, context.node, 'namespace', 'string')
  if namespace == '' then namespace = nil end
  local wrong = namespace and names.check_namespace(namespace)
  if wrong then blame(context.source, context.node, 'namespace', 'namespace: ' .. wrong) end
  local resolved = { context = name, namespace = namespace, cluster = cluster
    and cluster_of(cluster), user = user and user_of(user, options.exec) }
  return #problems == 0 and resolved or nil
end

return kubeconfig
