--- The actions that a plan can hold, by the names that rule files use. A new one is one more file
--- here and one more word in rules/vocabulary.lua.

---@class Action  functions that get a context may wait
---@field spec table<string, check.Rule>   its arguments
---@field changes boolean                  false: it only looks, and may be repeated after a crash
---@field check? fun(args: table): string? what the spec cannot say, in words
---@field target? fun(args: table): string what it acts on: cooldowns are by target
---@field scope? fun(args: table): { namespace?: string, kind: string, name: string }  where a
---       guardrail looks at more than the target
---@field allowed? fun(args: table, config: table): string?  why the operator forbids it
---@field preview? fun(args: table, context: Action.Context): Action.Preview?, Action.Failure?
---       what it would do to the object as it is now; changes nothing, is asked where it is allowed
---@field run? fun(args: table, context: Action.Context): Action.Outcome  context.before is what the
---       preview just before it has recorded
---@field settled? fun(args: table, context: Action.Context): Action.Outcome?, string?  the check
---       of what came of a run that succeeded: nil and how far it is, until args.timeout is over
---@field find_out? fun(args: table, context: Action.Context): Action.Outcome  whether a run whose
---       end nobody saw has happened, by the object as it is now
---@field can_revert? fun(args: table): boolean
---@field revert? fun(args: table, context: Action.Context): Action.Outcome  undoes it
---@class Action.Outcome
---@field result "succeeded"|"failed"|"unknown"|"not_done"  unknown: it may have happened; not_done:
---       only of find_out, it surely has not, and may be run
---@field message string
---@field idle? boolean      with "succeeded": somebody else had done it meanwhile
---@field for_good? boolean  with "unknown", of find_out: no later look could tell more
---@class Action.Failure
---@field message string
---@field transient? boolean  who is asked is not to be had at the moment
---@class Action.Preview
---@field summary string       in one line
---@field before? table        plain data: what run, find_out and revert need to know of before
---@field observed? table<string, string>  what an approval is bound to: any difference is drift
---@field current? string, proposed? string, diff? string, warnings? string[]
---@field unavailable? integer, ready? integer, replicas? integer  pods that it makes unavailable at
---       once, of how many
---@field workload? string     whose pods these are, where that is not the target
---@field owner? string        who else sees to the same fields: then nothing happens by itself
---@field refusal? string      why it cannot be done
---@field nothing? string      why there is nothing to do
---@class Action.Context
---@field key string           tells this run from every other: for who is to do things once
---@field purpose "plan"|"run" plan: people are shown it
---@field before? table, started_at? number
---@field config table, own_port integer
---@field kubernetes? table, alertmanager? table, github? table, slack? table  clients

local cordon = require 'actions.kubernetes_cordon'

local registry = {}

local ACTIONS = {
  ['alertmanager.silence'] = require 'actions.alertmanager_silence',
  ['github.dispatch'] = require 'actions.github_dispatch',
  ['http.request'] = require 'actions.http_request',
  ['kubernetes.cordon'] = cordon.cordon,
  ['kubernetes.patch'] = require 'actions.kubernetes_patch',
  ['kubernetes.restart'] = require 'actions.kubernetes_restart',
  ['kubernetes.rollback'] = require 'actions.kubernetes_rollback',
  ['kubernetes.scale'] = require 'actions.kubernetes_scale',
  ['kubernetes.uncordon'] = cordon.uncordon,
  notify = require 'actions.notify',
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
