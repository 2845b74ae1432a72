--- What train and predict have in common on the command line: features that are queries, levels,
--- lists.
local check = require 'check'
local cli = require 'command.cli'
local config = require 'config'
local file = require 'perigee.file'
local load_rules = require 'rules.load'
local prediction = require 'prediction'
local yaml = require 'perigee.yaml'

local queries = {}

--- "a,b,c" as a list.
---@param text string
---@return string[]
function queries.list(text)
  local out = {}
  for name in text:gmatch '[^,]+' do out[#out + 1] = name:match '^%s*(.-)%s*$' end
  return out
end

--- The levels of --levels, the others as always.
---@param values table
---@return table<string, number>? levels
---@return integer? status
function queries.levels(values)
  local levels = {}
  for name, p in pairs(prediction.LEVELS) do levels[name] = p end
  for _, part in ipairs(queries.list(values.levels or '')) do
    local name, text = part:match '^(%a+)=([%d.eE+-]+)$'
    local p = tonumber(text)
    if not name or not levels[name] or not p or p < 0 or p > 1 then
      return cli.refuse(('--levels: expected critical=P,high=P,medium=P, not "%s"'):format(part))
    end
    levels[name] = p
  end
  local wrong = prediction.wrong_levels(levels)
  if wrong then return cli.refuse('--levels: ' .. wrong) end
  return levels
end

local function from_yaml(path)
  local text, message = file.read(path, 1 << 20)
  if not text then return cli.refuse(message) end
  local root, places = yaml.decode(text)
  if root == nil and places.message then
    return cli.refuse(('%s:%d:%d: %s'):format(path, places.line, places.column, places.message))
  end
  local found = type(root) == 'table' and (root.features or root) or root
  message = check.map_of(check.string()).test(found)
  if message or next(found) == nil then
    return cli.refuse(path .. ': expected names and queries, "cpu_usage: avg(…)", one a line')
  end
  return { queries = found }
end

--- The declaration of that name in the rule files.
local function from_rules(values)
  local paths, every = values.rules and { values.rules }, 30
  if not paths then
    local read, problems = config.read(values.config or 'perigee.yaml')
    if not read then
      for _, p in ipairs(problems) do io.stderr:write(config.problem_text(p), '\n') end
      return nil, cli.USAGE
    end
    paths, every = read.files, read.evaluation_interval
  end
  local rules, problems = load_rules.load(paths, { every = every, limits = {}, untrained = true })
  if #problems > 0 then
    for _, p in ipairs(problems) do io.stderr:write(config.problem_text(p), '\n') end
    return nil, cli.USAGE
  end
  local def = rules.predictions[values.prediction]
  if not def then
    local near = check.nearest(values.prediction, check.names(rules.predictions))
    return cli.refuse(('there is no prediction "%s"%s'):format(values.prediction,
      near and ('; did you mean "%s"?'):format(near) or ''))
  end
  return { queries = def.features, group_by = def.group_by, def = def }
end

---@class queries.Wanted
---@field queries table<string, string>  by feature
---@field group_by? string[]
---@field def? table                     the declaration they are of

--- The features that the options ask for.
---@param values table
---@return queries.Wanted? wanted
---@return integer? status
function queries.wanted(values)
  if (values.prediction ~= nil) == (values.features ~= nil) then
    return cli.refuse('which features? --features FILE.yaml or --prediction NAME, '
      .. 'or --data FILE.csv')
  end
  local found, status = (values.prediction and from_rules or function(v)
    return from_yaml(v.features)
  end)(values)
  if found and values['group-by'] then found.group_by = queries.list(values['group-by']) end
  return found, status
end

return queries
