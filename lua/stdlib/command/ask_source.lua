--- For `perigee check --url`: what a source makes of the expressions of rules. It is asked about a
--- time at which it has no samples, so that it reads each and has next to nothing to do.
local async = require 'async'
local check = require 'check'
local prometheus = require 'prometheus'

local ask_source = {}

local LONG_AGO = 1 -- Unix seconds; some servers take 0 for now
local AT_ONCE = 8

--- What has an expression: file, line, column, who it is, the expression.
local function expressions(rules)
  local out = {}
  for _, set in ipairs { 'signals', 'forecasts', 'playbooks' } do
    for _, name in ipairs(check.names(rules[set])) do
      local def = rules[set][name]
      local query = def.query or def.when and def.when.query
      if query then
        out[#out + 1] = { file = def.file, line = def.line, query = query,
          who = ('%s "%s"'):format(def.kind, name) }
      end
    end
  end
  for _, group in ipairs(rules.groups) do
    for i, rule in ipairs(group.rules) do
      out[#out + 1] = { file = rule.file, line = rule.query_at[1], column = rule.query_at[2],
        query = rule.query, who = ('group "%s", rule %d ("%s")'):format(group.name, i, rule.name) }
    end
  end
  return out
end

--- What the source refuses, as problems; or why it cannot be asked.
---@param url string
---@param rules rules.Set
---@return rules.Problem[]? problems
---@return string? message
function ask_source.problems(url, rules)
  local client = prometheus.client { url = url }
  local problems, list, unreachable = {}, {}, nil
  for i, e in ipairs(expressions(rules)) do
    list[i] = function()
      if unreachable then return end
      local found, failure = client:query(e.query, LONG_AGO)
      if found then return end
      if failure.kind == 'bad_data' then
        problems[#problems + 1] = { file = e.file, line = e.line, column = e.column, message =
          ('%s: expr: the source says: %s'):format(e.who, failure.message:gsub('%s+', ' ')) }
      elseif failure.kind ~= 'execution' then -- which depends on the samples
        unreachable = failure.message
      end
    end
  end
  async.all(list, AT_ONCE)
  if unreachable then return nil, ('%s cannot be asked: %s'):format(url, unreachable) end
  table.sort(problems, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    return a.line < b.line
  end)
  return problems
end

return ask_source
