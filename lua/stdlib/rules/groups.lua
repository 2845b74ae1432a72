--- Prometheus' rule groups: from a document to groups that the engine evaluates, and everything
--- that is wrong with it, each with its group, rule and place.
local check = require 'check'
local promql = require 'rules.promql'
local task = require 'perigee.task'
local template = require 'template'
local yaml = require 'perigee.yaml'

local groups = {}

local LABEL, METRIC = '^[%a_][%w_]*$', '^[%a_:][%w_:]*$'

---@class groups.Group
---@field kind "group"
---@field name string, file string, line integer
---@field key string            of its row in the store
---@field source string         the file, or the file's entry where it is a ConfigMap
---@field every number, interval number, limit integer, query_offset number
---@field rules groups.Rule[]
---@class groups.Rule
---@field kind "alert"|"record"
---@field name string, file string, line integer
---@field key string            of its row in the store: what it is called, its labels, which of
---       those that have both in common
---@field query string, query_at { [1]: integer, [2]: integer }  and its line and column
---@field hold_for number, keep_firing_for number
---@field labels table<string, template.Compiled>, annotations table<string, template.Compiled>
---@field texts { labels: table<string, string>, annotations: table<string, string> }

-- -- what may be there ----------------------------------------------------------------------------

--- A whole number, as YAML has it or written as a text.
local function whole(default)
  return { default = default, test = function(v)
    local n = math.tointeger(tonumber(v))
    if not n or n < 0 then return check.expected('a whole number of at least 0', v) end
    return nil, n
  end }
end

local function text_map(v)
  if type(v) ~= 'table' or #v > 0 then return check.expected('a mapping of names and texts', v) end
  local problems = {}
  for name, text in pairs(v) do
    if type(text) ~= 'string' then
      problems[#problems + 1] = { path = { name }, message = check.expected('a text', text) }
    end
  end
  if #problems > 0 then return 'invalid', nil, problems end
end

local texts = { default = {}, test = text_map }
local expression = { test = function(v)
  if type(v) ~= 'string' then return check.expected('an expression', v) end
  local message, at = promql.problem(v)
  if message then return message, nil, { { path = {}, message = message, at = at } } end
  return nil, (v:gsub('%s+$', ''))
end }

local GROUP = { name = check.required(check.string()), interval = check.duration(),
  limit = whole(0), query_offset = check.duration '0', labels = texts, rules = check.any {} }
-- A PrometheusRule may hold a key of Thanos', which its operator does not hand to Prometheus.
local CUSTOM_GROUP = { partial_response_strategy = check.any() }
for name, rule in pairs(GROUP) do CUSTOM_GROUP[name] = rule end
local ALERT = { alert = check.string(), expr = check.required(expression),
  ['for'] = check.duration '0', keep_firing_for = check.duration '0', labels = texts,
  annotations = texts }
local RECORD = { record = check.string(), expr = check.required(expression), labels = texts }

--- The names in a map that may be none, in order.
local function names_in(map)
  return type(map) == 'table' and #map == 0 and check.names(map) or {}
end

local function text_of(v) return type(v) == 'string' and v or '?' end

-- -- one document ---------------------------------------------------------------------------------

---@class groups.Reader
---@field document rules.Document
---@field tree table     the document, all scalars as texts: 1.10 as a label's value is no number
local Reader = {}
Reader.__index = Reader

--- What is said is of a group, and of a rule by its position and name.
function Reader:say(about, path, message, inside, warning)
  local line, column = self.document.at(path, inside)
  self.document.report(line, column, about .. message, warning)
  if not warning then self.is_broken = true end
end

--- Applies a spec to a mapping at a path.
function Reader:apply(about, path, node, spec)
  local values, problems = check.apply(node, spec)
  for _, p in ipairs(problems) do
    local whole_path = table.move(p.path, 1, #p.path, #path + 1, { table.unpack(path) })
    local message = p.message:gsub('^unknown option', 'unknown key'):gsub('^option (".-") is',
      'the key %1 is')
    self:say(about, whole_path, check.words { path = p.path, message = message }, p.at)
  end
  return values
end

local function join(path, ...)
  local out = { table.unpack(path) }
  for _, step in ipairs { ... } do out[#out + 1] = step end
  return out
end

--- Names of labels and annotations. Prometheus 3 takes any.
function Reader:check_names(about, path, map)
  for _, name in ipairs(names_in(map)) do
    local at = join(path, name)
    if name == '__name__' or name == '' then
      self:say(about, at, ('"%s" is not a valid label name'):format(name))
    elseif not name:find(LABEL) then
      self:say(about, at, ('before Prometheus 3 "%s" was no valid label name'):format(name), nil,
        true)
    end
  end
end

--- The compiled templates of a map of texts.
function Reader:templates(about, path, map, alert)
  local out = {}
  for _, name in ipairs(names_in(map)) do
    local text = map[name]
    local compiled, problem
    if type(text) == 'string' then
      compiled, problem = template.compile(text, { name = '__alert_' .. alert })
    end
    out[name] = compiled
    if problem then
      local field = ('%s.%s: '):format(path[#path], name)
      self:say(about, join(path, name), field .. problem.message, problem)
    end
  end
  return out
end

--- A label that holds the value makes a new alert of each.
function Reader:warn_of_value(about, path, map)
  for _, name in ipairs(names_in(map)) do
    if type(map[name]) == 'string' and map[name]:find '{{[^}]*[$.][vV]alue' then
      self:say(about, join(path, name),
        ('labels.%s: the value is part of this label: each new value is a new alert, and `for` '
        .. 'starts again'):format(name), nil, true)
    end
  end
end

function Reader:alert(about, path, node, common)
  local o = self:apply(about, path, node, ALERT)
  self:check_names(about, join(path, 'labels'), node.labels)
  self:check_names(about, join(path, 'annotations'), node.annotations)
  self:warn_of_value(about, join(path, 'labels'), node.labels)
  local name = text_of(node.alert)
  local labels = self:templates(about, join(path, 'labels'), node.labels, name)
  local own = {}
  for label, text in pairs(common.texts) do own[label] = text end
  for _, label in ipairs(names_in(node.labels)) do own[label] = node.labels[label] end
  for label, compiled in pairs(common.templates) do labels[label] = labels[label] or compiled end
  return { kind = 'alert', name = name, query = o.expr, hold_for = o['for'],
    keep_firing_for = o.keep_firing_for, labels = labels,
    annotations = self:templates(about, join(path, 'annotations'), node.annotations, name),
    texts = { labels = own, annotations = o.annotations } }
end

function Reader:record(about, path, node, common)
  for _, name in ipairs { 'for', 'keep_firing_for', 'annotations' } do
    if node[name] ~= nil then
      self:say(about, join(path, name), ('a recording rule has no "%s"'):format(name))
    end
  end
  local plain = {}
  for name, value in pairs(node) do
    if not (ALERT[name] and not RECORD[name]) then plain[name] = value end
  end
  local o = self:apply(about, path, plain, RECORD)
  self:check_names(about, join(path, 'labels'), node.labels)
  local name, at = text_of(node.record), join(path, 'record')
  if name:find '[{}]' or name == '' then
    self:say(about, at, ('"%s" is not a valid metric name'):format(name))
  elseif not name:find(METRIC) then
    self:say(about, at, ('before Prometheus 3 "%s" was no valid metric name'):format(name), nil,
      true)
  end
  local labels = {}
  for label, text in pairs(common.texts) do labels[label] = text end
  for _, label in ipairs(names_in(node.labels)) do labels[label] = node.labels[label] end
  return { kind = 'record', name = name, query = o.expr, texts = { labels = labels } }
end

--- What tells a rule from the others of its group, as a text.
local function identity(rule)
  local parts = { rule.kind, rule.name }
  for _, name in ipairs(check.names(rule.texts.labels)) do
    parts[#parts + 1] = ('%s=%s'):format(name, tostring(rule.texts.labels[name]))
  end
  return table.concat(parts, '\1')
end

function Reader:rule(group, i, node, path, common, seen)
  local about = ('group "%s", rule %d: '):format(group, i)
  if type(node) ~= 'table' then
    return self:say(about, path, check.expected('a rule, with expr and alert or record', node))
  end
  local name = node.alert or node.record
  if name then about = ('group "%s", rule %d ("%s"): '):format(group, i, text_of(name)) end
  if node.alert ~= nil and node.record ~= nil then
    return self:say(about, join(path, 'record'), 'a rule has one of alert and record, not both')
  elseif node.alert == nil and node.record == nil then
    return self:say(about, path, 'a rule has one of alert and record')
  end
  local rule = self[node.alert and 'alert' or 'record'](self, about, path, node, common)
  local id = identity(rule)
  seen[id] = (seen[id] or 0) + 1
  if seen[id] == 2 then
    self:say(about, path, 'another rule of the group has the same name and labels', nil, true)
  end
  rule.file, rule.line = self.document.file, (self.document.at(path))
  rule.nth, rule.identity, rule.query_at = seen[id], id, { self.document.at(join(path, 'expr')) }
  return rule
end

local function file_name(path) return path:match '[^/]+$' end

function Reader:group(i, node, names)
  local path = { 'groups', i }
  if type(node) ~= 'table' then
    return self:say('', path, check.expected('a group, with name and rules', node))
  end
  local name = text_of(node.name)
  local about = node.name and ('group "%s": '):format(name) or ('group %d: '):format(i)
  local o = self:apply(about, path, node, self.document.within[1] and CUSTOM_GROUP or GROUP)
  if node.name ~= nil and names[name] then
    self:say(about, join(path, 'name'), 'the file has another group of this name')
  end
  names[name] = true
  self:check_names(about, join(path, 'labels'), node.labels)
  local common = { texts = #names_in(node.labels) > 0 and node.labels or {},
    templates = self:templates(about, join(path, 'labels'), node.labels, name) }
  local rules, seen = {}, {}
  if type(o.rules) ~= 'table' or next(o.rules) ~= nil and #o.rules == 0 then
    self:say(about, join(path, 'rules'), 'rules: ' .. check.expected('a list of rules', o.rules))
    return
  end
  local entry = self.document.entry and '/' .. self.document.entry or ''
  local key = ('\1%s\1%s'):format(file_name(self.document.file) .. entry, name)
  for n, rule_node in ipairs(o.rules) do
    local rule = self:rule(name, n, rule_node, join(path, 'rules', n), common, seen)
    if rule then
      rule.key = ('rule%s\1%d\1%s'):format(key, rule.nth, rule.identity)
      rules[#rules + 1] = rule
    end
  end
  local interval = tonumber(o.interval)
  if interval == 0 then interval = nil end
  return { kind = 'group', name = name, key = 'group' .. key, file = self.document.file,
    source = self.document.file .. entry,
    line = (self.document.at(path)), every = interval or self.document.every,
    limit = o.limit, query_offset = o.query_offset, rules = rules }
end

--- The groups of a document.
---@param document rules.Document
---@return groups.Group[]
function groups.read(document)
  local self = setmetatable({ document = document }, Reader)
  local tree = yaml.decode(document.text, true)
  for _, key in ipairs(document.within) do tree = tree[key] end
  for _, name in ipairs(check.names(tree)) do
    if name ~= 'groups' then
      self:say('', { name }, check.unknown('key', name, { 'groups' }))
    end
  end
  local list, out, names = tree.groups, {}, {}
  if type(list) ~= 'table' or #list == 0 and next(list) ~= nil then
    self:say('', { 'groups' }, 'groups: ' .. check.expected('a list of groups', list))
    return {}
  end
  for i, node in ipairs(list) do
    out[#out + 1] = self:group(i, node, names)
    -- Many groups take a while: whoever else uses the loop has a turn.
    if i % 10 == 0 and task.current() then task.sleep(0) end
  end
  return self.is_broken and {} or out
end

return groups
