--- How a cluster is found: the options (`kubernetes` in perigee.yaml, kubernetes.client in
--- scripts), and what they come to, from a pod's own service account or from kubeconfig files.
local check = require 'check'
local file = require 'perigee.file'
local kubeconfig = require 'kubernetes.kubeconfig'
local names = require 'kubernetes.names'

local config = {}

local namespace = { test = names.check_namespace }

config.OPTIONS = {
  in_cluster = check.boolean(false),
  kubeconfig = check.string(),
  context = check.string(),
  namespace = namespace,
  exec = check.boolean(false),
  timeout = check.duration('10s', { min = 0.1 }),
}

--- Where the kubelet puts what a pod needs.
config.SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

local MAX_FILE = 1 << 20

---@class kubernetes.Cluster   what a client needs to know
---@field server string        without a slash at the end
---@field context? string
---@field namespace? string    where nothing else is said
---@field proxy? string        "": none
---@field ca_file? string, ca_data? string, server_name? string, insecure_skip_verify? boolean
---@field user table           token, token_file, cert_file, …: kubernetes/credentials.lua
---@field timeout number

local function in_cluster(options)
  local host, port = os.getenv 'KUBERNETES_SERVICE_HOST', os.getenv 'KUBERNETES_SERVICE_PORT'
  local folder, problems = config.SERVICE_ACCOUNT, {}
  local function add(words) problems[#problems + 1] = { message = words } end
  if not host or host == '' or not port or not port:find '^%d+$' then
    add('the environment has no KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: '
      .. 'this is no pod of a cluster')
    return nil, problems
  end
  if host:find ':' then host = '[' .. host .. ']' end
  for _, name in ipairs { 'token', 'ca.crt' } do
    local text, message = file.read(folder .. '/' .. name, MAX_FILE)
    if not text then add(message) end
  end
  if #problems > 0 then return nil, problems end
  local own = (file.read(folder .. '/namespace', 1024) or ''):match '^%s*(.-)%s*$'
  -- The server lies within the cluster: no proxy of the world outside leads there.
  return { server = ('https://%s:%s'):format(host, port), proxy = '', ca_file = folder .. '/ca.crt',
    namespace = options.namespace or not names.check_namespace(own) and own or nil,
    user = { token_file = folder .. '/token' } }
end

--- The files to be merged, in order: those that are named, else $KUBECONFIG's, else kubectl's own.
local function paths_of(options)
  local list, named = options.kubeconfig, options.kubeconfig ~= nil
  if not list then
    list = os.getenv 'KUBECONFIG'
    if not list or list == '' then
      local home = os.getenv 'HOME'
      list = home and home .. '/.kube/config' or ''
    end
  end
  local paths = {}
  for path in list:gmatch '[^:]+' do paths[#paths + 1] = path end
  return paths, named
end

local function from_files(options)
  local merged, problems, paths, named = kubeconfig.empty(), {}, paths_of(options)
  local found, missing = 0, nil
  for _, path in ipairs(paths) do
    local text, message = file.read(path, MAX_FILE)
    if text then
      found = found + 1
      kubeconfig.add(merged, path, text, problems)
    elseif named or file.stat(path) then
      problems[#problems + 1] = { message = message }
    else
      missing = message -- of the environment's files some may not be there, as for kubectl
    end
  end
  if found == 0 and #problems == 0 then
    problems[1] = { message = 'neither in_cluster nor kubeconfig is set, and '
      .. (missing or 'there is no KUBECONFIG and no home folder') }
  end
  local resolved = kubeconfig.resolve(merged, options, problems)
  if not resolved then return nil, problems end
  local c = resolved.cluster
  c.context, c.user = resolved.context, resolved.user
  c.namespace = options.namespace or resolved.namespace
  return c
end

--- A problem as one line.
function config.words(p)
  if not p.file then return p.message end
  return ('%s:%d:%d: %s'):format(p.file, p.line, p.column, p.message)
end

--- What options that have been checked come to. Nobody is asked over the network: a server that is
--- not to be had is no error here.
---@param options table
---@return kubernetes.Cluster? cluster
---@return { file?: string, line?: integer, column?: integer, message: string }[]? problems
function config.load(options)
  local read = options.in_cluster and in_cluster or from_files
  if options.in_cluster and (options.kubeconfig or options.context) then
    return nil, { { message = 'either in_cluster, or kubeconfig and context' } }
  end
  local cluster, problems = read(options)
  if not cluster then return nil, problems end
  cluster.timeout = options.timeout
  return cluster
end

return config
