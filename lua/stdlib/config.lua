--- perigee.yaml: every key, its default, and everything that is wrong with a file, by line and
--- column. docs/configuration.md describes the keys; a spec holds the two together.
local alertmanager = require 'alertmanager'
local check = require 'check'
local file = require 'perigee.file'
local freeze = require 'engine.freeze'
local http = require 'http'
local log = require 'log'
local prometheus = require 'prometheus'
local yaml = require 'perigee.yaml'

local config = {}

local base_url = { test = http.check_base }

local function listen_rule(default)
  return { default = default, test = function(v)
    local host, port = tostring(v):match '^%[?([%x%.:]+)%]?:(%d+)$'
    if not host then host, port = tostring(v):match '^(localhost):(%d+)$' end
    if not host or tonumber(port) > 65535 then
      return check.expected('an address and a port such as 127.0.0.1:9747', v)
    end
    return nil, { host = host, port = math.tointeger(tonumber(port)) }
  end }
end

config.ROLES = { 'viewer', 'approver', 'admin', 'alert_sender' }

local SPEC = {
  listen = listen_rule { host = '127.0.0.1', port = 9747 },
  external_url = base_url,
  allowed_hosts = check.list_of(check.string(), {}),
  data_dir = check.string './perigee-data',
  rules = check.list_of(check.string(), { 'rules/*.lua' }),
  evaluation_interval = check.duration('30s', { min = 1 }),
  external_labels = check.map_of(check.string(), '^[%a_][%w_]*$', {}),
  drain = check.duration '30s',
  lifecycle = check.boolean(false),
  source = check.required(check.table_of {
    prometheus = check.required(check.table_of(prometheus.OPTIONS)),
  }),
  alertmanager = check.table_of(alertmanager.OPTIONS),
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
    rule_cpu = check.number(50, { min = 1, max = 1000 }),
  }, nil),
}

-- A section that is left out has the defaults of its keys.
for _, section in ipairs { 'guardrails', 'limits' } do
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

local function each_path(values, f)
  values.data_dir = f(values.data_dir)
  for i, pattern in ipairs(values.rules) do values.rules[i] = f(pattern) end
  local function tls(t)
    for _, name in ipairs { 'ca_file', 'cert_file', 'key_file' } do
      if t and t[name] then t[name] = f(t[name]) end
    end
  end
  local source, am = values.source.prometheus, values.alertmanager
  if source.bearer_token_file then source.bearer_token_file = f(source.bearer_token_file) end
  tls(source.tls)
  if am then
    am.bearer_token_file = am.bearer_token_file and f(am.bearer_token_file)
    tls(am.tls)
  end
  for _, rule in ipairs(values.guardrails.http) do
    rule.bearer_token_file = rule.bearer_token_file and f(rule.bearer_token_file)
  end
  for _, token in ipairs(values.auth.tokens) do
    token.token_file = token.token_file and f(token.token_file)
  end
end

--- The text of a secret file, without the line feed that editors add.
local function read_secret(path)
  local text, message = file.read(path, 65536)
  if not text then return nil, message end
  text = text:match '^%s*(.-)%s*$'
  if text == '' then return nil, ('%s is empty'):format(path) end
  return text
end

local function read_token(token, add, path)
  local text, message
  if (token.token_file ~= nil) == (token.token_env ~= nil) then
    return add(path, 'exactly one of token_file and token_env is needed')
  end
  if token.token_file then
    text = read_secret(token.token_file)
    if not text then return end -- told of by check_files()
  else
    text = os.getenv(token.token_env)
    if not text or text == '' then
      message = ('the environment has no %s'):format(token.token_env)
    end
  end
  if message then return add(path, message) end
  if #text < 16 then return add(path, 'a token has at least 16 characters') end
  log.secret(text)
  token.token = text
end

--- Every key that ends in _file names a file that must be readable, now and not when it is first
--- needed; also where something else is wrong with the file.
local function check_files(node, folder, path, add)
  for key, value in pairs(node) do
    local here = table.move(path, 1, #path, 1, {})
    here[#here + 1] = key
    if type(value) == 'table' then
      check_files(value, folder, here, add)
    elseif type(key) == 'string' and key:find '_file$' and type(value) == 'string' then
      local _, message = read_secret(resolve(value, folder))
      if message then add(here, message) end
    end
  end
end

local LOOPBACK = { ['127.0.0.1'] = true, ['::1'] = true, localhost = true }

local function check_together(values, add)
  local names = {}
  for i, token in ipairs(values.auth.tokens) do
    local path = { 'auth', 'tokens', i }
    if names[token.name] then add(path, ('the name "%s" is there twice'):format(token.name)) end
    names[token.name] = true
    read_token(token, add, path)
  end
  local host = values.listen.host
  values.listen.is_loopback = LOOPBACK[host] or host:find '^127%.' ~= nil
  if not values.listen.is_loopback and #values.auth.tokens == 0 then
    add({ 'listen' }, ('listening on %s, which others can reach, needs auth.tokens'):format(host))
  end
end

--- The files that `rules` names, in order, each once. Rules are told apart by their files' names
--- too, so a name is there once.
local function rule_files(values, add)
  local files, seen, by_name = {}, {}, {}
  for i, pattern in ipairs(values.rules) do
    local found, message = file.glob(pattern)
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
  for _, p in ipairs(wrong) do
    add(p.path, (p.message:gsub('^unknown option', 'unknown key')))
    -- What is wrong is told once; what is right elsewhere is still looked at.
    if p.path[1] and SPEC[p.path[1]] then values[p.path[1]] = SPEC[p.path[1]].default end
  end
  values.source = values.source or { prometheus = {} }
  each_path(values, function(p) return resolve(p, folder_of(path)) end)
  check_together(values, add)
  check_files(root, folder_of(path), {}, add)
  values.files = rule_files(values, add)
  table.sort(problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.message < b.message
  end)
  values.path = path
  return #problems == 0 and values or nil, problems, text
end

--- What the log may tell of a problem.
function config.problem_text(p)
  if not p.file then return p.message end
  if not p.line or p.line == 0 then return ('%s: %s'):format(p.file, p.message) end
  if not p.column or p.column == 0 then return ('%s:%d: %s'):format(p.file, p.line, p.message) end
  return ('%s:%d:%d: %s'):format(p.file, p.line, p.column, p.message)
end

return config
