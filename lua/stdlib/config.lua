--- perigee.yaml: every key, its default, and everything that is wrong with a file, by line and
--- column. docs/configuration.md describes the keys; a spec holds the two together.
local alertmanager = require 'alertmanager'
local change_calendar = require 'engine.change_calendar'
local check = require 'check'
local file = require 'perigee.file'
local freeze = require 'engine.freeze'
local github = require 'github'
local http = require 'http'
local json_patch = require 'kubernetes.json_patch'
local kubernetes = require 'kubernetes.config'
local levels = require 'levels'
local log = require 'log'
local prometheus = require 'prometheus'
local resources = require 'kubernetes.resources'
local slack = require 'slack'
local yaml = require 'yaml'

local config = {}

local base_url = { test = http.check_base }

config.ROLES = { 'viewer', 'approver', 'admin', 'alert_sender' }

--- A name, or a pattern in which "*" stands for any text; never all there is.
local name_pattern = { test = function(v)
  if type(v) ~= 'string' or not v:find '^[%w*][%w.*-]*$' or not v:find '%w' then
    return check.expected('a name, or a pattern such as "team-*"', v)
  end
end }

local level = check.one_of(nil, levels.NAMES)

--- A section whose keys have defaults, that hold where it is left out.
local function section_of(spec)
  local rule = check.table_of(spec)
  rule.default = select(2, rule.test {})
  return rule
end

--- So many actions in so long.
local function actions_within(actions, within)
  return { actions = check.number(actions, { min = 0, integer = true }),
    within = check.duration(within, { min = 1 }) }
end

-- What guardrails.kinds allows where it says nothing: workloads, and what makes them larger or
-- smaller. Nodes and whatever else belongs to more than one team are for the operator to name.
local KINDS = { 'Pod', 'ReplicaSet', 'Deployment', 'StatefulSet', 'DaemonSet',
  'HorizontalPodAutoscaler' }

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
  github = check.table_of(github.OPTIONS),
  auth = check.table_of({
    tokens = check.list_of(check.table_of {
      name = check.required(check.string()),
      role = check.required(check.one_of(nil, config.ROLES)),
      token_file = check.string(),
      token_env = check.string(),
      slack_user = check.string(),
    }, {}),
  }, { tokens = {} }),
  guardrails = section_of {
    dry_run = check.boolean(true),
    kill_switch = check.boolean(false),
    namespaces = check.list_of(name_pattern, {}),
    kinds = check.list_of(name_pattern, KINDS),
    names = check.list_of(name_pattern),
    trust = section_of {
      max = check.one_of('auto', levels.NAMES),
      playbooks = check.map_of(level, nil, {}),
      namespaces = check.map_of(level, nil, {}),
    },
    limits = section_of {
      namespace = section_of(actions_within(3, '10m')),
      target = check.table_of(actions_within(6, '1h')),
      playbook = check.table_of(actions_within(10, '1h')),
    },
    breaker = section_of {
      failures = check.number(2, { min = 1, integer = true }),
      within = check.duration('1h', { min = 1 }),
      cool_off = check.duration('1h', { min = 1 }),
    },
    storm = section_of {
      incidents = check.number(10, { min = 1, integer = true }),
      within = check.duration('10m', { min = 1 }),
    },
    max_actions_per_hour = check.number(10, { min = 0, integer = true }),
    cooldown = check.duration '10m',
    blast_radius = check.number(0.2, { above = 0, max = 1 }),
    max_unavailable = check.number(nil, { min = 0, integer = true }),
    freeze = check.list_of(freeze.rule, {}),
    calendar = check.list_of(check.string(), {}),
    github = check.list_of(check.table_of {
      repository = check.required { test = github.check_repository },
      workflows = check.list_of(check.string()),
    }, {}),
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
  },
  approvals = section_of {
    quorum = check.number(1, { min = 1, max = 100, integer = true }),
    group = check.string(),
    groups = check.map_of(check.list_of(check.string()), '^[%w_.-]+$', {}),
    remind = check.duration '5m',
  },
  log = check.table_of({
    level = check.one_of('info', { 'debug', 'info', 'warn', 'error' }),
    format = check.one_of('logfmt', { 'logfmt', 'json' }),
  }, { level = 'info', format = 'logfmt' }),
  limits = section_of {
    max_body = check.bytes '1Mi',
    max_connections = check.number(200, { min = 1, max = 10000, integer = true }),
    max_series = check.number(2000, { min = 1, integer = true }),
    concurrent_queries = check.number(20, { min = 1, max = 1000, integer = true }),
    rule_cpu = check.number(50, { min = 1, max = 1000, integer = true }),
  },
}

config.SPEC = SPEC

-- -- reading --------------------------------------------------------------------------------------

local function folder_of(path) return path:match '^(.*)/[^/]*$' or '.' end

--- Paths in the file count from the file's own folder.
local function resolve(path, folder)
  if path:sub(1, 1) == '/' or folder == '.' then return (path:gsub('^%./', '')) end
  return folder .. '/' .. path:gsub('^%./', '')
end

-- Names in these are no keys of ours.
local OF_THE_USER = { external_labels = true, headers = true, playbooks = true, namespaces = true }

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

--- The windows of the change calendar, and its text.
local function read_calendar(values, folder, add)
  local paths = {}
  for i, path in ipairs(values.guardrails.calendar) do paths[i] = resolve(path, folder) end
  return change_calendar.read(paths,
    function(i, message) add({ 'guardrails', 'calendar', i }, message) end)
end

--- Who has said how many actions an hour there may be means it for every namespace, too: the
--- cautious number for one namespace is for those who have said neither.
local function settle_limits(said, guardrails)
  if not said or said.max_actions_per_hour == nil then return end
  if said.limits and said.limits.namespace then return end
  local limits = guardrails.limits
  guardrails.limits = { target = limits.target, playbook = limits.playbook }
end

--- Reads a configuration file.
---@param path string
---@return table? values    with defaults, paths resolved, secrets read, and the rule files as
---       `files`; nil when anything is wrong
---@return { file: string, line: integer, column: integer, message: string }[] problems
---@return string? text     of the file and those of the change calendar, for its digest
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
    local place = yaml.place(root, places, field)
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
  if not broken.guardrails then settle_limits(root.guardrails, values.guardrails) end
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
  if values.slack and values.slack.listen and not values.slack.signing_secret_file then
    add({ 'slack', 'listen' }, 'buttons that come over HTTP need slack.signing_secret_file')
  end
  check_files(root, folder_of(path), add)
  find_cluster(values, folder_of(path), problems, add)
  local calendar_text
  values.calendar, calendar_text = read_calendar(values, folder_of(path), add)
  values.files = rule_files(values, add)
  table.sort(problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.message < b.message
  end)
  values.path = path
  return #problems == 0 and values or nil, problems, text .. calendar_text, values.files
end

--- What the log may tell of a problem.
function config.problem_text(p)
  if not p.file then return p.message end
  if not p.line or p.line == 0 then return ('%s: %s'):format(p.file, p.message) end
  if not p.column or p.column == 0 then return ('%s:%d: %s'):format(p.file, p.line, p.message) end
  return ('%s:%d:%d: %s'):format(p.file, p.line, p.column, p.message)
end

return config
