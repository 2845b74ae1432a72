--- Names that declarations use and others declare: duplicates, and what is missing.
local check = require 'check'

local link = {}

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- What an incident can name: signals, and what lives as they do.
---@param rules table
---@return table<string, table>
function link.watched(rules)
  local out = {}
  for _, set in ipairs { rules.alerts, rules.signals, rules.forecasts, rules.predictions } do
    for name, def in pairs(set) do out[name] = def end
  end
  return out
end

--- One of them by its name.
---@param rules table
---@param name string
---@return table?
function link.find(rules, name)
  return rules.signals[name] or rules.forecasts[name] or rules.predictions[name]
    or rules.alerts[name]
end

--- The alerts of rule groups by their names, which rules of several groups may share.
---@param groups groups.Group[]
---@return table<string, { kind: "alert", name: string, file: string, line: integer,
---        constant_labels: table<string, string>, rules: groups.Rule[] }>
local function alerts_of(groups)
  local alerts = {}
  for _, group in ipairs(groups) do
    for _, rule in ipairs(group.rules) do
      if rule.kind == 'alert' then
        alerts[rule.name] = alerts[rule.name] or { kind = 'alert', name = rule.name,
          file = rule.file, line = rule.line, constant_labels = {}, rules = {} }
        table.insert(alerts[rule.name].rules, rule)
      end
    end
  end
  return alerts
end

--- Sorts definitions by kind and name; a name is declared once.
---@param definitions table[]
---@param add fun(definition: table, path: table, message: string)
---@return { signals: table, incidents: table, playbooks: table, forecasts: table,
---       predictions: table, groups: groups.Group[], alerts: table, policies: table }
function link.collect(definitions, add)
  local sets = { signal = {}, incident = {}, playbook = {}, forecast = {}, prediction = {},
    policy = {} }
  -- An incident names signals, forecasts and predictions alike, so that no two share a name.
  local shared, of = {}, { signal = true, forecast = true, prediction = true }
  local groups = {}
  for _, def in ipairs(definitions) do
    if def.kind == 'group' then groups[#groups + 1] = def end
  end
  local alerts = alerts_of(groups)
  for name, def in pairs(alerts) do shared[name] = def end
  for _, def in ipairs(definitions) do
    if def.kind == 'group' then goto continue end
    local other = sets[def.kind][def.name] or of[def.kind] and shared[def.name]
    if of[def.kind] then shared[def.name] = shared[def.name] or def end
    if other then
      add(def, {}, ('is declared already%s, at %s:%d'):format(
        other.kind ~= def.kind and (other.kind == 'alert' and ', as an ' or ', as a ')
        .. other.kind or '', other.file, other.line))
    else
      sets[def.kind][def.name] = def
    end
    ::continue::
  end
  return { signals = sets.signal, incidents = sets.incident, playbooks = sets.playbook,
    forecasts = sets.forecast, predictions = sets.prediction, policies = sets.policy,
    groups = groups, alerts = alerts }
end

-- To look for the nearest of many names takes a while. A few are slips of the pen; where hundreds
-- are missing, a file is.
local MAX_HINTS = 20

--- The words for names of a kind that are not in the set.
local function missing(kind, set)
  local known, hints = names_of(set), 0
  return function(name)
    hints = hints + 1
    local near = hints <= MAX_HINTS and check.nearest(name, known)
    return ('there is no %s "%s"'):format(kind, name)
      .. (near and ('; did you mean "%s"?'):format(near) or '')
  end
end

--- Reports references that lead nowhere.
---@param rules { signals: table, incidents: table, playbooks: table, forecasts: table,
---       predictions: table }
---@param excused fun(name: string): boolean  may be declared in a file that could not be read
---@param add fun(definition: table, path: table, message: string)
function link.references(rules, excused, add)
  local watched = link.watched(rules)
  local no_signal = missing('signal', watched)
  local sets, no = { incident = rules.incidents, signal = rules.signals,
    forecast = rules.forecasts, prediction = rules.predictions }, {}
  for kind, set in pairs(sets) do no[kind] = missing(kind, set) end
  for _, incident in ipairs(names_of(rules.incidents)) do
    local def = rules.incidents[incident]
    for i, name in ipairs(type(def.signals) == 'table' and def.signals or {}) do
      if type(name) == 'string' and not watched[name] and not excused(name) then
        add(def, { 'signals', i }, no_signal(name))
      end
    end
  end
  for _, playbook in ipairs(names_of(rules.playbooks)) do
    local def = rules.playbooks[playbook]
    local when = def.when
    local set = type(when) == 'table' and sets[when.kind]
    if set and not set[when.name] and not excused(when.name) then
      add(def, { 'when' }, no[when.kind](when.name))
    end
  end
end

return link
