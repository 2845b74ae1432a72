--- Remediations in YAML: each becomes a playbook as those of Lua files are. What one leaves open,
--- which object in which namespace, the labels of what has triggered it say
--- (actions/kubernetes/remedy.lua).
local check = require 'check'
local levels = require 'levels'
local names = require 'kubernetes.names'
local plan = require 'engine.plan'
local promql = require 'rules.promql'
local remedy = require 'actions.kubernetes.remedy'

local remediations = {}

local MAX_NAME = 200   -- bytes, as in Lua files
local EXPIRES = 900    -- seconds that a plan waits, as in Lua files

local name_rule = check.required { test = function(v)
  if type(v) ~= 'string' or v == '' then return check.expected('a name', v) end
  if #v > MAX_NAME or v:find '%c' then
    return ('a name is one line of at most %d bytes'):format(MAX_NAME)
  end
end }

local expression = check.required { test = function(v)
  if type(v) ~= 'string' then return check.expected('an expression', v) end
  local message, at = promql.problem(v)
  if message then return message, nil, { { path = {}, message = message, at = at } } end
end }

local any = check.any()
local whole = check.number(nil, { min = -10000, max = 10000, integer = true })

local ITEM = { name = name_rule, trigger = check.required(any), action = check.required(any),
  trust_level = check.one_of('manual_only', levels.NAMES) }

local TRIGGERS = {
  metric = { type = any, query = expression, duration = check.duration '0' },
  event = { type = any, alert = name_rule, source = check.one_of('prometheus', { 'prometheus' }) },
}

local KINDS = {
  restart = { 'pod', 'deployment', 'statefulset', 'daemonset' },
  scale = { 'deployment', 'statefulset' },
  rollback = { 'deployment', 'statefulset', 'daemonset' },
}

local function action_spec(type, more)
  local spec = { type = any, target = check.required(check.one_of(nil, KINDS[type])),
    namespace = { test = names.check_namespace }, name = { test = names.check } }
  for name, rule in pairs(more) do spec[name] = rule end
  return spec
end

local ACTIONS = {
  restart = action_spec('restart', {}),
  scale = action_spec('scale', { increment = { default = 1, test = whole.test }, min = whole,
    max = whole }),
  rollback = action_spec('rollback', { revisions_back = whole }),
}

---@class remediations.Reader
---@field document rules.Document
local Reader = {}
Reader.__index = Reader

local function join(path, more)
  return table.move(more, 1, #more, #path + 1, { table.unpack(path) })
end

--- What is said of a field is of a remediation, by its position and name.
function Reader:say(about, path, field, message, inside, warning)
  local line, column = self.document.at(join(path, field), inside)
  self.document.report(line, column, about .. check.words { path = field, message = message },
    warning)
  self.is_broken = self.is_broken or not warning
end

--- Applies a spec to what lies at a path; nil where it is no mapping.
function Reader:apply(about, path, node, spec, prefix)
  if type(node) ~= 'table' or #node > 0 then
    return self:say(about, path, prefix, check.expected('keys and values', node))
  end
  local values, problems = check.apply(node, spec)
  for _, p in ipairs(problems) do
    local message = p.message:gsub('^unknown option', 'unknown key'):gsub('^option (".-") is',
      'the key %1 is')
    self:say(about, path, join(prefix, p.path), message, p.at)
  end
  return #problems == 0 and values or nil
end

--- The same for a part whose `type` says what else it may hold.
function Reader:part(about, path, node, name, specs)
  if type(node) ~= 'table' or #node > 0 then
    return self:say(about, path, { name }, check.expected('keys and values', node))
  end
  local known = check.names(specs)
  if node.type == nil then
    return self:say(about, path, { name }, ('the key "type" is missing: one of %s'):format(
      table.concat(known, ', ')))
  end
  local message = check.one_of(nil, known).test(node.type)
  if message then return self:say(about, path, { name, 'type' }, message) end
  return self:apply(about, path, node, specs[node.type], { name })
end

local function when_of(trigger, every)
  if trigger.type == 'event' then return { kind = 'alert', name = trigger.alert, labels = {} } end
  return { kind = 'metric', query = trigger.query, hold_for = trigger.duration, every = every }
end

--- What the action itself would say, were it for some object.
function Reader:check_action(about, path, action)
  local made = remedy.action(action, { namespace = 'example', name = 'example' })
  local _, problems = plan.actions { made }
  for _, p in ipairs(problems) do
    self:say(about, path, { 'action' }, (p.message:gsub('^[%w.]+: ', '')))
  end
end

--- A query whose series cannot say what is to be acted on is of no use; and a counter has only ever
--- one way to go.
function Reader:warn(about, path, trigger, action)
  if trigger.type ~= 'metric' then return end
  local lacking = remedy.lacking(action, promql.labels_left(trigger.query))
  if lacking then
    self:say(about, path, { 'trigger', 'query' }, ('the query leaves no label %s: %s'):format(
      lacking, 'what is to be acted on cannot be known, and its plans will be blocked'), nil, true)
  end
  local counter = promql.bare_counter(trigger.query)
  if counter then
    self:say(about, path, { 'trigger', 'query' }, ('%s is a counter by its name, and only grows: '
      .. 'is rate(%s[5m]) meant?'):format(counter, counter), nil, true)
  end
end

function Reader:item(i, node, seen)
  local path = { 'remediations', i }
  if type(node) ~= 'table' or #node > 0 then
    return self:say('', path, {}, ('remediation %d: %s'):format(i,
      check.expected('name, trigger, action and trust_level', node)))
  end
  local about = ('remediation %d: '):format(i)
  if type(node.name) == 'string' then about = ('remediation "%s": '):format(node.name) end
  local o = self:apply(about, path, node, ITEM, {})
  local trigger = node.trigger ~= nil and self:part(about, path, node.trigger, 'trigger', TRIGGERS)
  local action = node.action ~= nil and self:part(about, path, node.action, 'action', ACTIONS)
  if not o or not trigger or not action then return end
  if seen[o.name] then
    return self:say(about, path, { 'name' }, 'the file has another of this name')
  end
  seen[o.name] = true
  self:check_action(about, path, action)
  self:warn(about, path, trigger, action)
  return { kind = 'playbook', name = o.name, file = self.document.file,
    line = (self.document.at(path)), when = when_of(trigger, self.document.every),
    trust = o.trust_level, cooldown = 0, approval_expires = EXPIRES, texts = {},
    locate = function(field) return self.document.at(join(path, field)) end,
    resolve = function(engine, event) return remedy.resolve(engine, action, event) end }
end

--- The playbooks of a document.
---@param document rules.Document
---@return table[]
function remediations.read(document)
  local self = setmetatable({ document = document }, Reader)
  for _, name in ipairs(check.names(document.root)) do
    if name ~= 'remediations' then
      self:say('', {}, { name }, check.unknown('key', name, { 'remediations' }))
    end
  end
  local list, out, seen = document.root.remediations, {}, {}
  if type(list) ~= 'table' or #list == 0 and next(list) ~= nil then
    self:say('', {}, { 'remediations' }, check.expected('a list of remediations', list))
    return {}
  end
  for i, node in ipairs(list) do out[#out + 1] = self:item(i, node, seen) end
  return self.is_broken and {} or out
end

return remediations
