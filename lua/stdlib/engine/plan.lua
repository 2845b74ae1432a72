--- Plans: actions as data, checked, and a digest of them that an approval is bound to.
local check = require 'check'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local registry = require 'actions.registry'

local plan = {}

local MAX_ACTIONS = 50

--- Arguments as they are kept: what the rule wrote, so that the plan reads as it was written.
local function plain(value)
  if type(value) ~= 'table' then return value end
  local out = {}
  for k, v in pairs(value) do out[k] = plain(v) end
  return out
end

local function read_action(item)
  local action = type(item) == 'table' and item.kind == 'action' and registry.get(item.name)
  if not action then
    return nil, { { path = {},
      message = check.expected('an action such as http.request { … } or verify { … }', item) } }
  end
  if type(item.options) ~= 'table' or item.options.kind then
    return nil, { { path = {}, message = ('%s: %s'):format(item.name,
      check.expected('a table of arguments', item.options)) } }
  end
  local args, problems = check.apply(item.options, action.spec)
  local message = #problems == 0 and action.check and action.check(args)
  if message then problems[1] = { path = {}, message = message } end
  if #problems == 0 and not pcall(json.encode, item.options) then
    problems[1] = { path = {}, message = 'the arguments cannot be written as JSON' }
  end
  for _, p in ipairs(problems) do p.message = ('%s: %s'):format(item.name, p.message) end
  if #problems > 0 then return nil, problems end
  return { name = item.name, args = plain(item.options) }
end

--- Whether an action says how it is undone.
function plan.can_revert(action)
  local definition = registry.get(action.name)
  return definition.can_revert ~= nil and definition.can_revert(action.args)
end

--- A verification that is to revert needs something before it that can be reverted.
local function check_reverts(actions, problems)
  local revertible = false
  for i, action in ipairs(actions) do
    if action.name == 'verify' and action.args.otherwise == 'revert' and not revertible then
      problems[#problems + 1] = { path = { i, 'otherwise' },
        message = 'verify: otherwise = "revert", and no action before it says how it is reverted' }
    end
    if plan.can_revert(action) then revertible = true end
  end
end

--- The actions of a list that a rule wrote or its function returned, and everything wrong with
--- them.
---@param list any
---@return { name: string, args: table }[] actions
---@return check.Problem[] problems
function plan.actions(list)
  if type(list) ~= 'table' or list.kind then
    local message = check.expected('a list of actions', list)
    if type(list) == 'table' and list.kind == 'action' then
      message = 'expected a list of actions, not one of them: { … { … } }'
    end
    return {}, { { path = {}, message = message } }
  end
  local actions, problems = {}, {}
  if #list > MAX_ACTIONS then
    return {}, { { path = {}, message = ('%d actions; at most %d'):format(#list, MAX_ACTIONS) } }
  end
  for key in pairs(list) do
    if math.type(key) ~= 'integer' or key < 1 or key > #list then
      problems[#problems + 1] = { path = {},
        message = ('a list of actions has no field "%s"'):format(tostring(key)) }
    end
  end
  for i, item in ipairs(list) do
    local action, wrong = read_action(item)
    for _, p in ipairs(wrong or {}) do
      problems[#problems + 1] = { path = { i, table.unpack(p.path) }, message = p.message }
    end
    actions[#actions + 1] = action
  end
  if #problems == 0 then check_reverts(actions, problems) end
  return actions, problems
end

--- The arguments with their defaults, durations in seconds: what an action runs with.
function plan.arguments(action)
  return (check.apply(action.args, registry.get(action.name).spec))
end

--- "sha256:" and the digest of the canonical JSON of { playbook, trust, actions }.
---@param playbook string
---@param trust string
---@param actions { name: string, args: table }[]
---@return string
function plan.digest(playbook, trust, actions)
  local listed = json.array()
  for i, action in ipairs(actions) do listed[i] = { name = action.name, args = action.args } end
  return 'sha256:' .. hash.sha256(json.encode { playbook = playbook, trust = trust,
    actions = listed })
end

return plan
