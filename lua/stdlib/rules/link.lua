--- Names that declarations use and others declare: duplicates, and what is missing.
local check = require 'check'

local link = {}

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Sorts definitions by kind and name; a name is declared once.
---@param definitions table[]
---@param add fun(definition: table, path: table, message: string)
---@return { signals: table, incidents: table, playbooks: table }
function link.collect(definitions, add)
  local sets = { signal = {}, incident = {}, playbook = {} }
  for _, def in ipairs(definitions) do
    local other = sets[def.kind][def.name]
    if other then
      add(def, {}, ('is declared already, at %s:%d'):format(other.file, other.line))
    else
      sets[def.kind][def.name] = def
    end
  end
  return { signals = sets.signal, incidents = sets.incident, playbooks = sets.playbook }
end

local function missing(kind, name, set)
  local known = names_of(set)
  local near = check.nearest(name, known)
  return ('there is no %s "%s"'):format(kind, name)
    .. (near and ('; did you mean "%s"?'):format(near) or '')
end

--- Reports references that lead nowhere.
---@param rules { signals: table, incidents: table, playbooks: table }
---@param excused fun(name: string): boolean  may be declared in a file that could not be read
---@param add fun(definition: table, path: table, message: string)
function link.references(rules, excused, add)
  for _, def in pairs(rules.incidents) do
    for i, name in ipairs(type(def.signals) == 'table' and def.signals or {}) do
      if type(name) == 'string' and not rules.signals[name] and not excused(name) then
        add(def, { 'signals', i }, missing('signal', name, rules.signals))
      end
    end
  end
  for _, def in pairs(rules.playbooks) do
    local when = def.when
    if type(when) == 'table' and when.kind == 'incident' and not rules.incidents[when.name]
      and not excused(when.name) then
      add(def, { 'when' }, missing('incident', when.name, rules.incidents))
    end
  end
end

return link
