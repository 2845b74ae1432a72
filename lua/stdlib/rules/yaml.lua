--- Rule files in YAML: what a file holds is told from its content, alone, as the data of a
--- Kubernetes ConfigMap, or as the spec of a PrometheusRule. Each form has a reader; whatever one
--- says of a place in its document is said of the place in the file.
local groups = require 'rules.groups'
local remediations = require 'rules.remediations'
local yaml = require 'yaml'

local yaml_rules = {}

---@class rules.Document
---@field file string
---@field text string       of the document: of the file, or of an entry of its ConfigMap
---@field entry? string     the entry's name
---@field within string[]   keys of the document that the rules lie under: {} or { "spec" }
---@field root table        what lies there, as yaml.decode() has it
---@field every number      seconds between evaluations where the document says nothing
---@field at fun(path: (string|integer)[], inside?: { line: integer, column: integer }): integer,
---       integer           line and column in the file: of a key or item, by its path from there,
---       or of the nearest above it; with `inside` of a place in its text, where that is a block
---@field report fun(line: integer, column: integer, message: string, warning?: boolean)

--- By the key at the top of a document: what reads it. Returns definitions as rules.schema makes
--- them; each may have `locate`, a function from a field's path to line and column.
---@type table<string, fun(document: rules.Document): table[]>
yaml_rules.READERS = { groups = groups.read, remediations = remediations.read }

local function lines_of(text)
  local out = {}
  for line in (text .. '\n'):gmatch '([^\n]*)\n' do out[#out + 1] = line end
  return out
end

--- A function from a place in the text of a literal block ("key: |") to that in the text around it;
--- nil where the value is no such block.
---@param lines string[]  of the text around it
---@param key { [1]: integer, [2]: integer }  the key's place; YAML knows more ends of lines than we
local function block(lines, key)
  if not (lines[key[1]] or ''):find '|[%-+%d]*%s*$' then return nil end
  local n = key[1] + 1
  while lines[n] and not lines[n]:find '%S' do n = n + 1 end
  local indent = #(lines[n] or ''):match '^ *'
  return function(line, column) return key[1] + line, column + indent end
end

---@param to_file fun(line: integer, column: integer): integer, integer
local function new_document(file, text, root, places, report, to_file, options)
  local is_custom = type(root) == 'table' and root.kind == 'PrometheusRule'
    and type(root.spec) == 'table'
  local document = { file = file, text = text, every = options.every, report = report,
    within = is_custom and { 'spec' } or {}, root = is_custom and root.spec or root }
  function document.at(path, inside)
    path = table.move(path, 1, #path, #document.within + 1, { table.unpack(document.within) })
    local place, whole = yaml.place(root, places, path)
    local outwards = inside and whole and block(lines_of(text), place)
    if outwards then return to_file(outwards(inside.line, inside.column)) end
    return to_file(place[1], place[2])
  end
  return document
end

local function form_of(root)
  for name in pairs(yaml_rules.READERS) do
    if type(root) == 'table' and root[name] ~= nil then return name end
  end
end

local function forms()
  local names = {}
  for name in pairs(yaml_rules.READERS) do names[#names + 1] = ('"%s:"'):format(name) end
  table.sort(names)
  return table.concat(names, ' or ')
end

--- The entries of a ConfigMap that are rules; what else it holds is somebody else's.
local function read_config_map(outer, places, options, out)
  local data, found = outer.root.data, false
  local names = {}
  for name, text in pairs(type(data) == 'table' and data or {}) do
    if type(text) == 'string' then names[#names + 1] = name end
  end
  table.sort(names)
  local lines = lines_of(outer.text)
  for _, name in ipairs(names) do
    local key = places[data][name]
    local to_file = block(lines, key) or function() return key[1], key[2] end
    local root, inner = yaml.decode(data[name])
    if root == nil and inner.message and name:find '%.ya?ml$' then
      local line, column = to_file(inner.line, inner.column)
      outer.report(line, column, ('%s: %s'):format(name, inner.message))
      found = true
    end
    local document = new_document(outer.file, data[name], root, inner, outer.report, to_file,
      options)
    local form = form_of(document.root)
    if form then
      found, document.entry = true, name
      for _, def in ipairs(yaml_rules.READERS[form](document)) do out[#out + 1] = def end
    end
  end
  if not found then
    local line, column = outer.at { 'data' }
    outer.report(line, column, ('no entry of the ConfigMap has %s'):format(forms()))
  end
end

--- What is wrong with a text that is no YAML, and what it may be instead.
local function words(text, message)
  if not (text:find '^%s*{{' or text:find '\n%s*{{' or text:find ': {{') then return message end
  return message .. ' (a template, as Helm has them, is to be rendered first)'
end

--- The definitions of a file. An empty file is valid.
---@param file string
---@param text string
---@param report fun(line: integer, column: integer, message: string, warning?: boolean)
---@param options { every: number }
---@return table[] definitions
function yaml_rules.read(file, text, report, options)
  local root, places, more = yaml.decode(text)
  if root == nil then
    if places.message then
      report(places.line, places.column, words(text, places.message))
    end
    return {}
  end
  if more then
    report(more[1], more[2], 'only the first document of a file counts', true)
  end
  local document = new_document(file, text, root, places, report,
    function(line, column) return line, column end, options)
  local out, form = {}, form_of(document.root)
  if form then
    out = yaml_rules.READERS[form](document)
  elseif type(root) == 'table' and root.kind == 'ConfigMap' then
    read_config_map(document, places, options, out)
  elseif type(root) ~= 'table' or next(root) ~= nil then
    report(1, 1, ('expected %s at the top, a ConfigMap, or a PrometheusRule'):format(forms()))
  end
  return out
end

return yaml_rules
