--- What /api/v1/rules is asked for: rules by type, name, group, file and labels, without their
--- alerts, and in pages.
local hash = require 'perigee.hash'
local selector = require 'rules.selector'

local rule_filter = {}

local TYPES = { alert = 'alerting', record = 'recording' }
local BOOLEANS = { ['1'] = true, t = true, ['true'] = true, ['0'] = false, f = false,
  ['false'] = false, [''] = false }

local function set_of(list)
  if not list then return nil end
  local set = {}
  for _, value in ipairs(list) do set[value] = true end
  return set
end

---@class rule_filter.Filter
---@field type? "alerting"|"recording"
---@field names? table<string, true>, groups? table<string, true>, files? table<string, true>
---@field selectors? selector.Matcher[][]  any of which a rule's own labels fulfil
---@field exclude_alerts boolean
---@field limit? integer                   of groups in a page
---@field after? string                    the token that the page begins with

--- Reads the fields of a query.
---@param fields table<string, string>     the first value of each
---@param lists table<string, string[]>    all values of each
---@return rule_filter.Filter? filter
---@return string? message
function rule_filter.read(fields, lists)
  local filter = { names = set_of(lists['rule_name[]']), groups = set_of(lists['rule_group[]']),
    files = set_of(lists['file[]']), after = fields.group_next_token }
  local kind = (fields.type or ''):lower()
  filter.type = TYPES[kind]
  if kind ~= '' and not filter.type then
    return nil, ('type is alert or record, not "%s"'):format(fields.type)
  end
  filter.exclude_alerts = BOOLEANS[(fields.exclude_alerts or ''):lower()]
  if filter.exclude_alerts == nil then return nil, 'exclude_alerts is true or false' end
  for _, text in ipairs(lists['match[]'] or {}) do
    local matchers, message = selector.parse(text)
    if not matchers then return nil, 'match[]: ' .. message end
    filter.selectors = filter.selectors or {}
    table.insert(filter.selectors, matchers)
  end
  if fields.group_limit then
    filter.limit = math.tointeger(tonumber(fields.group_limit))
    if not filter.limit or filter.limit < 1 then
      return nil, 'group_limit is a whole number of at least 1'
    end
  elseif filter.after then
    return nil, 'group_next_token goes with group_limit'
  end
  return filter
end

--- Whether a group may be shown at all.
function rule_filter.takes_group(filter, group)
  return (not filter.groups or filter.groups[group.name])
    and (not filter.files or filter.files[group.file])
end

---@param rule { type: string, name: string, labels: table<string, string> }  as it is shown
function rule_filter.takes(filter, rule)
  if filter.type and filter.type ~= rule.type then return false end
  if filter.names and not filter.names[rule.name] then return false end
  if not filter.selectors then return true end
  for _, matchers in ipairs(filter.selectors) do
    if selector.matches(matchers, rule.labels) then return true end
  end
  return false
end

local function token_of(group) return hash.sha256(group.file .. '\0' .. group.name):sub(1, 40) end

--- The groups of a page, and the token of the next one.
---@param groups { file: string, name: string }[]  sorted
---@return table[]? page
---@return string? next_token  or what is wrong
function rule_filter.page(filter, groups)
  local first = 1
  if filter.after then
    first = nil
    for i, group in ipairs(groups) do
      if token_of(group) == filter.after then first = i end
    end
    if not first then return nil, 'group_next_token is unknown: have the groups changed?' end
  end
  local last = math.min(#groups, first + (filter.limit or #groups) - 1)
  local following = groups[last + 1]
  return table.move(groups, first, last, 1, {}), following and token_of(following)
end

return rule_filter
