--- The actions that a plan can hold, by the names that rule files use. A new one is one more file
--- here and one more word in rules/vocabulary.lua.

---@class Action
---@field spec table<string, check.Rule>   its arguments
---@field changes boolean                  false: it only looks, and may be repeated after a crash
---@field check? fun(args: table): string? what the spec cannot say, in words
---@field target? fun(args: table): string what it acts on: cooldowns are by target
---@field allowed? fun(args: table, config: table): string?  why the operator forbids it
---@field run? fun(args: table, context: table): Action.Outcome
---@field revert? fun(args: table): table? arguments of the same action that undo it
---@class Action.Outcome
---@field result "succeeded"|"failed"|"unknown"  unknown: it may have happened
---@field message string

local registry = {}

local ACTIONS = {
  ['http.request'] = require 'actions.http_request',
  verify = require 'actions.verify',
}

---@param name string
---@return Action?
function registry.get(name) return ACTIONS[name] end

--- Every name, sorted.
function registry.names()
  local names = {}
  for name in pairs(ACTIONS) do names[#names + 1] = name end
  table.sort(names)
  return names
end

return registry
