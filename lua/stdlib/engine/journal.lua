--- The journal: a row for each action before it starts, completed after it has ended. Between the
--- two it may be "applied" (done, and what comes of it is awaited) or "lost" (nobody saw its end,
--- and its target is being asked).
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local plan = require 'engine.plan'
local registry = require 'actions.registry'
local trust = require 'engine.trust'

local journal = {}

local ENDED = { succeeded = true, failed = true, unknown = true }

local function scope_of(action)
  local scope = registry.get(action.name).scope
  return scope and scope(plan.arguments(action)).namespace or ''
end

--- Written, and on the disk, before the first byte of the action goes out.
---@param engine table
---@param p { id: string }
---@param position integer
---@param direction "forward"|"revert"
---@param action { name: string, args: table }
---@param more? { before?: table, outcome?: table }
function journal.begin(engine, p, position, direction, action, more)
  more = more or {}
  local definition = registry.get(action.name)
  local target = definition.target and definition.target(plan.arguments(action)) or action.name
  engine.store:transaction(function()
    -- A row that is there already is that of an attempt which is known not to have happened.
    engine.store:exec([[insert or replace into actions (plan_id, position, direction, name, target,
      namespace, state, process, started_at, before, outcome)
      values (?, ?, ?, ?, ?, ?, 'started', ?, ?, ?, ?)]], p.id, position, direction, action.name,
      target, scope_of(action), engine.process, clock.now(), json.encode(more.before or {}),
      more.outcome and json.encode(more.outcome) or '')
    audit.append(engine.store, 'action_started',
      { plan = p.id, position = position, direction = direction,
      action = action.name, target = target })
  end)
end

--- What has become of an action that was begun.
---@param state "succeeded"|"failed"|"unknown"|"applied"|"lost"
---@param outcome { message: string }
function journal.note(engine, p, position, direction, action, state, outcome)
  engine.store:transaction(function()
    engine.store:exec([[update actions set state = ?, ended_at = ?, outcome = ? where plan_id = ?
      and position = ? and direction = ? and ended_at is null]], state,
      ENDED[state] and clock.now() or nil, json.encode(outcome), p.id, position, direction)
    audit.append(engine.store, 'action_' .. state,
      { plan = p.id, position = position, direction = direction,
      action = action.name, message = outcome.message })
    trust.after(engine, p, action.name, state, outcome.message)
  end)
  metrics.actions:add(1, action.name, state)
  log.info('action ' .. state, { plan = p.id, action = action.name, direction = direction,
    outcome = outcome.message })
end

--- How far an action is that has not ended: worth keeping, not worth waiting for the disk.
function journal.progress(engine, p, position, outcome)
  engine.store:exec([[update actions set outcome = ? where plan_id = ? and position = ?
    and direction = 'forward' and ended_at is null]], json.encode(outcome), p.id, position)
end

return journal
