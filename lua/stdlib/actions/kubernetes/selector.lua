--- Label selectors: as the text that a list takes, and against the labels of one object.
local check = require 'check'

local selector = {}

local OPERATORS = { In = '%s in (%s)', NotIn = '%s notin (%s)', Exists = '%s',
  DoesNotExist = '!%s' }

--- The text of a selector; nil for one that would select everything.
---@param s? { matchLabels?: table, matchExpressions?: table[] }
---@return string?
function selector.text(s)
  local parts = {}
  for _, name in ipairs(check.names(s and s.matchLabels or {})) do
    parts[#parts + 1] = name .. '=' .. s.matchLabels[name]
  end
  for _, e in ipairs(s and s.matchExpressions or {}) do
    parts[#parts + 1] = OPERATORS[e.operator]:format(e.key, table.concat(e.values or {}, ','))
  end
  return #parts > 0 and table.concat(parts, ',') or nil
end

local function contains(list, value)
  for _, one in ipairs(list or {}) do
    if one == value then return true end
  end
  return false
end

local MATCHES = {
  In = function(e, value) return value ~= nil and contains(e.values, value) end,
  NotIn = function(e, value) return value == nil or not contains(e.values, value) end,
  Exists = function(_, value) return value ~= nil end,
  DoesNotExist = function(_, value) return value == nil end,
}

--- Whether it selects an object with these labels. An empty one selects all, none at all selects
--- none.
---@param s? table
---@param labels? table<string, string>
function selector.matches(s, labels)
  if not s then return false end
  labels = labels or {}
  for name, value in pairs(s.matchLabels or {}) do
    if labels[name] ~= value then return false end
  end
  for _, e in ipairs(s.matchExpressions or {}) do
    if not MATCHES[e.operator](e, labels[e.key]) then return false end
  end
  return true
end

return selector
