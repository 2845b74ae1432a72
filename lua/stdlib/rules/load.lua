--- From rule files to definitions: each file in a cell of its own, all of them checked, every error
--- of every file in one run.
local check = require 'check'
local file = require 'perigee.file'
local hash = require 'perigee.hash'
local link = require 'rules.link'
local plan = require 'engine.plan'
local prediction = require 'rules.prediction'
local rules = require 'perigee.rules'
local schema = require 'rules.schema'
local task = require 'perigee.task'
local triggers = require 'rules.triggers'
local where = require 'rules.where'
local yaml_rules = require 'rules.yaml'

local load_rules = {}

local LOADING = { instructions = 10000000, allocated = 256 << 20 }

---@class rules.Problem
---@field file string
---@field line integer
---@field column? integer
---@field message string
---@field warning? boolean

---@class rules.Set
---@field signals table<string, table>
---@field incidents table<string, table>
---@field playbooks table<string, table>
---@field forecasts table<string, table>
---@field predictions table<string, table>
---@field policies table<string, table>
---@field groups groups.Group[]         by file, then as they stand in it
---@field alerts table<string, table>    what the groups alert of, by name
---@field files { path: string, digest: string, cell?: table }[]  those in YAML have no cell

local MAX_LUA, MAX_YAML = 127 << 10, 4 << 20 -- bytes of a file

local function folder_of(path) return path:match '^(.*)/[^/]*$' or '.' end

--- A rule's function as the engine calls it: its result, or nil and the fault; thirdly its second
--- result.
local function callable(cell, limits, f)
  return function(...)
    local ok, result, second = cell:call(limits, f.id, ...)
    if not ok then return nil, result end
    return result, nil, second
  end
end

local Loader = {}
Loader.__index = Loader

function Loader:add(file_path, line, column, message, warning)
  local list = warning and self.warnings or self.problems
  list[#list + 1] = { file = file_path, line = line, column = column, message = message,
    warning = warning }
end

--- A problem of a field, at the field's own line; inside its text where that is known.
function Loader:add_at(def, path, message, at, warning)
  local line, column
  if def.locate then
    line, column = def.locate(path)
  else
    local place = where.field(self.sources[def.file] or '', def.line, path)
    line, column = place.line, place.column
    if at and place.text_line then line, column = where.inside(place, at.line, at.column) end
  end
  local name = ('%s "%s": '):format(def.kind, def.name)
  local words = check.words { path = path, message = message }
  self:add(def.file, line, column, name .. words, warning)
end

function Loader:read(path, most)
  local source, message = file.read(path, most)
  if not source then
    self:add(path, 0, 0, message)
    return
  end
  self.sources[path] = source
  return source
end

--- Runs one file; what it has declared, up to where it failed.
function Loader:run(path, source)
  local cell, message = rules.cell(path, folder_of(path))
  if not cell then
    self:add(path, 0, 0, message)
    return
  end
  local declared, fault = cell:run(source, LOADING)
  if fault then
    self:add(fault.file ~= '' and fault.file or path, fault.line, nil, fault.message)
    self.broken[#self.broken + 1] = source
  end
  if not declared then return end
  local digest = source
  for _, required in ipairs(check.names(declared.files)) do
    digest = digest .. '\0' .. required .. declared.files[required]
    self.sources[required] = self.sources[required] or file.read(required, 1 << 20)
  end
  self.files[#self.files + 1] = { path = path, digest = hash.sha256(digest), cell = cell }
  return declared.declarations, self.files[#self.files]
end

function Loader:define(declaration, loaded)
  if declaration.kind == 'risk' then
    return self:add(declaration.file, declaration.line, nil,
      'risk "…" belongs into the risk.lua of a repository, for "perigee risk"')
  end
  local ctx = {
    every = self.options.every,
    file = declaration.file, line = declaration.line,
    file_digest = loaded.digest,
    callable = function(f) return callable(loaded.cell, self.options.limits, f) end,
  }
  local def, problems, warnings = schema.read(declaration, ctx)
  def.file_digest, def.owner = loaded.digest, loaded.path
  for _, p in ipairs(problems) do self:add_at(declaration, p.path, p.message, p.at) end
  for _, p in ipairs(warnings) do self:add_at(declaration, p.path, p.message, p.at, true) end
  def.is_valid = #problems == 0
  self.definitions[#self.definitions + 1] = def
end

--- A file of Lua: what it declares.
function Loader:read_lua(path)
  local source = self:read(path, MAX_LUA)
  local declarations, loaded
  if source then declarations, loaded = self:run(path, source) end
  for _, declaration in ipairs(declarations or {}) do self:define(declaration, loaded) end
end

--- A file of YAML, which says what it holds.
function Loader:read_yaml(path)
  local source = self:read(path, MAX_YAML)
  if not source then return end
  local digest, known = hash.sha256(source), #self.problems
  local definitions = yaml_rules.read(path, source, function(line, column, message, warning)
    self:add(path, line, column, message, warning)
  end, { every = self.options.every })
  if #self.problems > known then self.broken[#self.broken + 1] = source end
  self.files[#self.files + 1] = { path = path, digest = digest }
  for _, def in ipairs(definitions) do
    def.file_digest, def.owner = digest, path
    if def.is_valid == nil then def.is_valid = true end
    self.definitions[#self.definitions + 1] = def
  end
end

-- -- trying plans ---------------------------------------------------------------------------------

--- A made-up incident, so that a plan's mistakes show when it is checked and not at three in the
--- morning.
local function sample_incident(def, rule_set)
  local labels, anomalies = {}, {}
  for _, name in ipairs(def.group_by) do labels[name] = 'example' end
  for i, name in ipairs(def.signals) do
    local own = {}
    for k, v in pairs(labels) do own[k] = v end
    for k, v in pairs((link.find(rule_set, name) or {}).constant_labels or {}) do own[k] = v end
    anomalies[i] = { signal = name, labels = own, value = 1, is_anomaly = true, anomaly_score = 1,
      confidence = 99,
      reason = 'made up to try the plan', since = '2026-01-01T00:00:00.000Z' }
  end
  return { id = 'inc-000000000000', name = def.name, state = 'open', labels = labels,
    is_incident = true,
    anomaly_count = #anomalies, anomalies = anomalies, recommendation = '',
    opened_at = '2026-01-01T00:00:00.000Z', plans = {} }
end

-- What the series of a trigger may have; which they do have only the source knows.
local USUAL_LABELS = { 'namespace', 'pod', 'container', 'node', 'deployment', 'statefulset',
  'daemonset', 'workload', 'instance', 'job', 'app', 'service' }

function Loader:try_plan(def, rule_set)
  local event = triggers.sample(def.when)
  for _, name in ipairs(USUAL_LABELS) do
    event.labels[name] = event.labels[name] or 'example'
  end
  if def.when.kind == 'incident' then
    local trigger = rule_set.incidents[def.when.name]
    if not trigger or not trigger.is_valid then return end
    event.incident = sample_incident(trigger, rule_set)
    event.labels = event.incident.labels
  end
  local list, fault = def.plan(event)
  if fault then -- the made-up event may lack what real ones have: no error, but worth a look
    self:add(fault.file ~= '' and fault.file or def.file, fault.line > 0 and fault.line or def.line,
      nil,
      ('playbook "%s": the plan fails on a made-up event: %s'):format(def.name, fault.message),
      true)
    return
  end
  if list == nil then return end
  local _, problems = plan.actions(list)
  for _, p in ipairs(problems) do
    self:add_at(def, { 'plan' }, 'returns what is no valid plan: ' .. check.words(p))
  end
end

-- -- models ---------------------------------------------------------------------------------------

--- A prediction is of no use without its model, and a model that does not fit is worse.
function Loader:check_model(def)
  local folders = { folder_of(def.file), self.options.folder }
  for _, p in ipairs(prediction.check_model(def, folders)) do
    self:add_at(def, p.path, p.message)
    def.is_valid = false
  end
end

-- -- all of it ------------------------------------------------------------------------------------

local function by_place(a, b)
  if a.file ~= b.file then return a.file < b.file end
  if a.line ~= b.line then return (a.line or 0) < (b.line or 0) end
  if a.column ~= b.column then return (a.column or 0) < (b.column or 0) end
  return a.message < b.message
end

--- Loads and checks rule files. Cells stay open: closing them is the caller's, by their garbage
--- collection at the latest.
---@param paths string[]
---@param options { every: number, limits: table, folder?: string, untrained?: boolean,
---       groups?: table }  groups: the operator's, that playbooks may name; folder of
---       the configuration, where models are looked for too; untrained: they need not be there
---@return rules.Set set
---@return rules.Problem[] problems   when there are any, the set is not to be used
---@return rules.Problem[] warnings
function load_rules.load(paths, options)
  local self = setmetatable({ options = options, sources = {}, files = {}, problems = {},
    warnings = {}, broken = {},
    definitions = {} }, Loader)
  for i, path in ipairs(paths) do
    self[path:find '%.ya?ml$' and 'read_yaml' or 'read_lua'](self, path)
    -- Many files take a while: whoever else uses the loop has a turn.
    if i % 10 == 0 and task.current() then task.sleep(0) end
  end
  local function add(def, path, message) self:add_at(def, path, message) end
  local set = link.collect(self.definitions, add)
  link.references(set, function(name)
    for _, source in ipairs(self.broken) do
      -- perhaps declared where the reading stopped
      if source:find(name, 1, true) then return true end
    end
  end, add)
  for _, def in pairs(set.playbooks) do
    if def.is_valid and not def.is_static and def.plan then self:try_plan(def, set) end
  end
  for _, def in pairs(options.groups and set.playbooks or {}) do
    local group = def.is_valid and def.approval and def.approval.group
    if group and not options.groups[group] then
      self:add_at(def, { 'approval', 'group' },
        check.unknown('group of approvals.groups', group, check.names(options.groups)))
    end
  end
  for _, def in pairs(options.untrained and {} or set.predictions) do
    if def.is_valid then self:check_model(def) end
  end
  set.files = self.files
  table.sort(self.problems, by_place)
  table.sort(self.warnings, by_place)
  return set, self.problems, self.warnings
end

return load_rules
