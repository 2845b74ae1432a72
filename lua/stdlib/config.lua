--- perigee.yaml: every key, its default, and everything that is wrong with a file, by line and
--- column. docs/configuration.md describes the keys; a spec holds the two together.
local alertmanager = require 'alertmanager'
local check = require 'check'
local file = require 'perigee.file'
local freeze = require 'engine.freeze'
local http = require 'http'
local json_patch = require 'kubernetes.json_patch'
local kubernetes = require 'kubernetes.config'
local log = require 'log'
local prometheus = require 'prometheus'
local resources = require 'kubernetes.resources'
local slack = require 'slack'
local yaml = require 'perigee.yaml'

local config = {}

local base_url = { test = http.check_base }

config.ROLES = { 'viewer', 'approver', 'admin', 'alert_sender' }

local SPEC = {
  listen = { default = select(2, http.check_listen '127.0.0.1:9747'), test = http.check_listen },
  external_url = base_url,
  allowed_hosts = check.list_of(check.string(), {}),
  data_dir = check.string './perigee-data',
  rules = check.list_of(check.string(), { 'rules/*.lua', 'rules/*.yaml' }),
  evaluation_interval = check.duration('30s', { min = 1 }),
  external_labels = check.map_of(check.string(), '^[%a_][%w_]*$', {}),
  drain = check.duration '30s',
  lifecycle = check.boolean(false),
  source = check.required(check.table_of {
    prometheus = check.required(check.table_of(prometheus.OPTIONS)),
  }),
  alertmanager = check.table_of(alertmanager.OPTIONS),
  slack = check.table_of(slack.SECTION),
  kubernetes = check.table_of(kubernetes.OPTIONS),
  auth = check.table_of({
    tokens = check.list_of(check.table_of {
      name = check.required(check.string()),
      role = check.required(check.one_of(nil, config.ROLES)),
      token_file = check.string(),
      token_env = check.string(),
      slack_user = check.string(),
    }, {}),
  }, { tokens = {} }),
  guardrails = check.table_of({
    dry_run = check.boolean(true),
    kill_switch = check.boolean(false),
    namespaces = check.list_of(check.string(), {}),
    max_actions_per_hour = check.number(10, { min = 0, integer = true }),
    cooldown = check.duration '10m',
    blast_radius = check.number(0.2, { above = 0, max = 1 }),
    freeze = check.list_of(freeze.rule, {}),
    http = check.list_of(check.table_of {
      url_prefix = check.required(base_url),
      methods =
      check.list_of(check.one_of(nil, { 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE' })),
      bearer_token_file = check.string(),
    }, {}),
    kubernetes_patch = check.list_of(check.table_of {
      resources = check.required(check.list_of { test = resources.check }),
      paths = check.required(check.list_of { test = json_patch.check }),
    }, {}),
  }, nil),
  approvals = check.table_of({
    quorum = check.number(1, { min = 1, max = 100, integer = true }),
    group = check.string(),
    groups = check.map_of(check.list_of(check.string()), '^[%w_.-]+$', {}),
    remind = check.duration '5m',
  }, nil),
  log = check.table_of({
    level = check.one_of('info', { 'debug', 'info', 'warn', 'error' }),
    format = check.one_of('logfmt', { 'logfmt', 'json' }),
  }, { level = 'info', format = 'logfmt' }),
  limits = check.table_of({
    max_body = check.bytes '1Mi',
    max_connections = check.number(200, { min = 1, max = 10000, integer = true }),
    max_series = check.number(2000, { min = 1, integer = true }),
    concurrent_queries = check.number(20, { min = 1, max = 1000, integer = true }),
    rule_cpu = check.number(50, { min = 1, max = 1000, integer = true }),
  }, nil),
}

-- A section that is left out has the defaults of its keys.
for _, section in ipairs { 'guardrails', 'approvals', 'limits' } do
  local _, defaults = SPEC[section].test({})
  SPEC[section].default = defaults
end
config.SPEC = SPEC

-- -- reading --------------------------------------------------------------------------------------

--- Where a path leads in the file: the place of the key, or of the nearest one above it.
local function place_of(root, places, path)
  local at, found = root, nil
  for _, step in ipairs(path) do
    local known = type(at) == 'table' and places[at] and places[at][step]
    if not known then break end
    found, at = known, at[step]
  end
  return found or { 1, 1 }
end

local function folder_of(path) return path:match '^(.*)/[^/]*$' or '.' end

--- Paths in the file count from the file's own folder.
local function resolve(path, folder)
  if path:sub(1, 1) == '/' or folder == '.' then return (path:gsub('^%./', '')) end
  return folder .. '/' .. path:gsub('^%./', '')
end

local OF_THE_USER = { external_labels = true, headers = true } -- names that are no keys of ours

--- Calls f(table, key, path) for every key that names a file, all of which end in _file.
local function each_file(node, f, path)
  path = path or {}
  for key, value in pairs(node) do
    local here = table.move(path, 1, #path, 1, {})
    here[#here + 1] = key
    if type(value) == 'table' and not OF_THE_USER[key] then
      each_file(value, f, here)
    elseif type(key) == 'string' and key:find '_file$' and type(value) == 'string' then
      f(node, key, here)
    end
  end
end

--- Finds the cluster; what is wrong in a kubeconfig is told by that file's own lines.
local function find_cluster(values, folder, problems, add)
  local o = values.kubernetes
  if not o then return end
  if o.kubeconfig then
    local paths = {}
    for path in o.kubeconfig:gmatch '[^:]+' do paths[#paths + 1] = resolve(path, folder) end
    o.kubeconfig = table.concat(paths, ':')
  end
  local cluster, wrong = kubernetes.load(o)
  o.cluster = cluster
  for _, p in ipairs(wrong or {}) do
    if p.file then
      problems[#problems + 1] = p
    else
      add({ 'kubernetes', o.kubeconfig and 'kubeconfig' or 'in_cluster' }, p.message)
    end
  end
end

local function resolve_paths(values, folder)
  values.data_dir = resolve(values.data_dir, folder)
  local patterns = {}
  for i, pattern in ipairs(values.rules) do patterns[i] = resolve(pattern, folder) end
  values.rules = patterns
  each_file(values, function(node, key) node[key] = resolve(node[key], folder) end)
end

--- Files must be readable now and not when they are first needed; also where something else is
--- wrong with the configuration.
local function check_files(root, folder, add)
  each_file(root, function(node, key, path)
    local read = key:find 'token_file$' and http.token or file.read
    local text, message = read(resolve(node[key], folder))
    if not text then add(path, message) end
  end)
end

local function read_token(token, add, path)
  if (token.token_file ~= nil) == (token.token_env ~= nil) then
    return add(path, 'exactly one of token_file and token_env is needed')
  end
  local text
  if token.token_file then
    text = http.token(token.token_file)
    if not text then return end -- told of by check_files()
  else
    text = os.getenv(token.token_env) or ''
    if text == '' then return add(path, ('the environment has no %s'):format(token.token_env)) end
  end
  if #text < 16 then return add(path, 'a token has at least 16 characters') end
  if text:find '[%s%c]' then return add(path, 'a token has no blanks') end
  log.secret(text)
  token.token = text
end

local function check_tokens(tokens, add)
  local names, owners = {}, {}
  for i, token in ipairs(tokens) do
    local path = { 'auth', 'tokens', i }
    if names[token.name] then add(path, ('the name "%s" is there twice'):format(token.name)) end
    names[token.name] = true
    read_token(token, add, path)
    local owner = owners[token.token]
    if owner then add(path, ('"%s" has the same token as "%s"'):format(token.name, owner)) end
    if token.token then owners[token.token] = owner or token.name end
  end
end

--- The files that `rules` names, in order, each once. Rules are told apart by their files' names
--- too, so a name is there once. A pattern may find nothing, yet; a file that is named is there.
local function rule_files(values, add)
  local files, seen, by_name = {}, {}, {}
  for i, pattern in ipairs(values.rules) do
    local found, message = file.glob(pattern)
    if found and #found == 0 and not pattern:find '[*?%[]' then
      found, message = nil, ('there is no file %s'):format(pattern)
    end
    if not found then add({ 'rules', i }, message) end
    for _, path in ipairs(found or {}) do
      local name = path:match '[^/]+$'
      if not seen[path] then
        files[#files + 1], seen[path] = path, true
        if by_name[name] then
          add({ 'rules', i }, ('two rule files are called "%s": %s and %s'):format(name,
            by_name[name], path))
        end
        by_name[name] = by_name[name] or path
      end
    end
  end
  return files
end

--- Reads a configuration file.
---@param path string
---@return table? values    with defaults, paths resolved, secrets read, and the rule files as
---       `files`; nil when anything is wrong
---@return { file: string, line: integer, column: integer, message: string }[] problems
---@return string? text     of the file, for its digest
---@return string[]? files  those that `rules` names, also where something is wrong
function config.read(path)
  local text, message = file.read(path, 1 << 20)
  if not text then return nil, { { file = path, line = 0, column = 0, message = message } } end
  return config.parse(path, text)
end

--- The same from the file's text.
function config.parse(path, text)
  local root, places = yaml.decode(text)
  if root == nil and places.message then
    return nil,
      { { file = path, line = places.line, column = places.column, message = places.message } }
  end
  local problems = {}
  local function add(field, words)
    local place = place_of(root, places, field)
    problems[#problems + 1] = { file = path, line = place[1], column = place[2],
      message = check.words { path = field, message = words } }
  end
  if root == nil then root = {} end
  if type(root) ~= 'table' then
    return nil,
      { { file = path, line = 1, column = 1, message = check.expected('keys and values', root) } }
  end
  local values, wrong = check.apply(root, SPEC)
  local broken = {}
  for _, p in ipairs(wrong) do
    add(p.path, (p.message:gsub('^unknown option', 'unknown key')))
    -- What is wrong is told once; what is right elsewhere is still looked at.
    local section = p.path[1]
    if SPEC[section] then values[section], broken[section] = SPEC[section].default, true end
  end
  values.source = values.source or { prometheus = {} }
  resolve_paths(values, folder_of(path))
  check_tokens(values.auth.tokens, add)
  if not values.listen.is_loopback and #values.auth.tokens == 0 and not broken.auth then
    add({ 'listen' }, ('listening on %s, which others can reach, needs auth.tokens'):format(
      values.listen.host))
  end
  local approvals = values.approvals
  if approvals.group and not approvals.groups[approvals.group] then
    add({ 'approvals', 'group' }, check.unknown('group', approvals.group,
      check.names(approvals.groups)))
  end
  check_files(root, folder_of(path), add)
  find_cluster(values, folder_of(path), problems, add)
  values.files = rule_files(values, add)
  table.sort(problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.message < b.message
  end)
  values.path = path
  return #problems == 0 and values or nil, problems, text, values.files
end

--- What the log may tell of a problem.
function config.problem_text(p)
  if not p.file then return p.message end
  if not p.line or p.line == 0 then return ('%s: %s'):format(p.file, p.message) end
  if not p.column or p.column == 0 then return ('%s:%d: %s'):format(p.file, p.line, p.message) end
  return ('%s:%d:%d: %s'):format(p.file, p.line, p.column, p.message)
end

return config
