--- One action that changes something: run between its two rows of the journal, awaited until what
--- came of it shows, and looked for at its target where nobody saw its end. What may have happened
--- is never done again; what surely has not may be.
local clock = require 'perigee.clock'
local guardrails = require 'engine.guardrails'
local journal = require 'engine.journal'
local json = require 'perigee.json'
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local registry = require 'actions.registry'
local units = require 'units'

local act = {}

local SETTLE = 300    -- seconds for what comes of an action, unless it says otherwise
local FIND_OUT = 600  -- seconds in which a target can say whether an action has happened
local ATTEMPTS = 3    -- of an action that each time turned out not to have happened
local ASK_AGAIN = 5

--- The state of the row that an outcome leads to.
local function state_of(definition, direction, outcome)
  if direction == 'forward' then
    if outcome.result == 'unknown' and definition.find_out then return 'lost' end
    if outcome.result == 'succeeded' and definition.settled then return 'applied' end
  end
  return outcome.result
end

local function note(engine, p, position, direction, action, outcome, attempt)
  local definition = registry.get(action.name)
  local state = state_of(definition, direction, outcome)
  outcome.attempt = state == 'lost' and attempt or nil
  if state == 'applied' then
    outcome.deadline = clock.now() + (plan.arguments(action).timeout or SETTLE)
  end
  journal.note(engine, p, position, direction, action, state, outcome)
  return state, outcome
end

--- The context of what changes something, which can be stopped until its request goes out: by a
--- gate, or because what may be done now is for a newer configuration to say.
local function context_of_run(engine, p, position, direction, before)
  local ask = direction == 'forward' and guardrails.between or guardrails.before_revert
  local context
  local function halted()
    context.is_handed_over = engine.stopping and direction == 'forward'
    if context.is_handed_over then return 'stopped: the program goes on with other rules' end
    local refusal = ask(engine, p, position)
    context.was_halted = refusal ~= nil
    return refusal and 'stopped: ' .. refusal.message
  end
  context = previews.context(engine, p, position, direction, { before = before,
    started_at = clock.now(), kubernetes = engine.kubernetes
    and engine.kubernetes:stoppable(halted) })
  return context
end

--- Calls `run` or `revert` of an action, between its rows.
local function between_rows(engine, p, position, direction, action, before, attempt)
  local definition = registry.get(action.name)
  local f = direction == 'forward' and definition.run or definition.revert
  journal.begin(engine, p, position, direction, action, { before = before })
  -- A generation that is closed while it waits cancels this task: then nobody saw how it ended.
  local outcome, state = { result = 'unknown', message = 'interrupted before its end was known' },
    nil
  do
    local _ <close> = setmetatable({}, { __close = function()
      state, outcome = note(engine, p, position, direction, action, outcome, attempt)
    end })
    local context = context_of_run(engine, p, position, direction, before)
    outcome = f(plan.arguments(action), context)
    -- What a gate has stopped has not failed by itself: the circuit breaker does not count it.
    outcome.halted = outcome.result == 'failed' and context.was_halted or nil
    -- After an attempt whose end was not seen, it is our own work that is found done.
    if attempt ~= 1 then outcome.idle = nil end
    -- Its target is asked, as for an end that nobody saw; then it may run by the rules of then.
    if outcome.result == 'failed' and context.is_handed_over then outcome.result = 'unknown' end
  end
  return state, outcome
end

---@param seen Action.Preview  what was looked at just now
---@param attempt integer
---@param row? table           of the attempt before: what is done is what was to be done then, so
---       that it is not done on top of itself where that arrives after all
---@return string state
---@return table outcome
function act.forward(engine, p, position, seen, attempt, row)
  local action = p.actions[position]
  if row or not seen.nothing then
    local before = row and json.decode(row.before) or seen.before
    return between_rows(engine, p, position, 'forward', action, before, attempt)
  end
  local outcome = { message = 'nothing to do: ' .. seen.nothing, idle = true }
  journal.begin(engine, p, position, 'forward', action)
  journal.note(engine, p, position, 'forward', action, 'succeeded', outcome)
  return 'succeeded', outcome
end

---@param row table  of the journal, of the run that is undone
function act.revert(engine, p, position, row)
  return between_rows(engine, p, position, 'revert', p.actions[position], json.decode(row.before))
end

--- Whether an action that has succeeded is one that can be undone. What somebody else has done is
--- not ours to undo.
function act.can_revert(action, row)
  return row ~= nil and row.state == 'succeeded' and plan.can_revert(action)
    and not (row.outcome ~= '' and json.decode(row.outcome).idle)
end

local function context_of(engine, p, position, row)
  return previews.context(engine, p, position, 'forward',
    { before = json.decode(row.before), started_at = row.started_at })
end

--- Waits for another step of the plan.
local function again(engine, p, position, outcome, seconds)
  engine.store:relaxed(function()
    journal.progress(engine, p, position, outcome)
    plans.set_due(engine.store, p.id, clock.now() + seconds)
  end)
  return 'waiting', outcome
end

--- One look at what has come of an action that is done.
---@return string state  "waiting": look again when the plan is due
---@return table outcome
function act.settle(engine, p, position, row)
  local action, kept = p.actions[position], json.decode(row.outcome)
  local args = plan.arguments(action)
  local limit = args.timeout or SETTLE
  local deadline = math.min(kept.deadline, clock.now() + limit) -- clocks go back
  local outcome, words, mistake = previews.ask('settled', action,
    context_of(engine, p, position, row))
  words = words or mistake
  if not outcome and clock.now() < deadline then
    return again(engine, p, position, { message = kept.message, waits_for = words,
      deadline = deadline, idle = kept.idle }, math.max(1, math.min(15, limit / 60)))
  end
  outcome = outcome or { result = 'failed',
    message = ('%s, and within %s it has not come about: %s'):format(kept.message,
    units.duration_text(limit), words or 'no word of it') }
  outcome.idle = kept.idle
  journal.note(engine, p, position, 'forward', action, outcome.result, outcome)
  return outcome.result, outcome
end

--- One question to the target of an action whose end nobody saw.
---@return string state  "waiting": ask again when the plan is due; "not_done": it may be run
---@return table outcome
---@return integer? attempt  how often it has been run
function act.find_out(engine, p, position, row)
  local action, kept = p.actions[position], json.decode(row.outcome)
  local outcome, _, mistake = previews.ask('find_out', action,
    context_of(engine, p, position, row))
  outcome = outcome or { result = 'unknown', message = mistake }
  local attempt = kept.attempt or 1
  local age = math.abs(clock.now() - row.started_at)
  if outcome.result == 'not_done' then
    if attempt < ATTEMPTS then return 'not_done', outcome, attempt + 1 end
    outcome = { result = 'failed', message = ('tried %d times: %s'):format(attempt,
      outcome.message) }
  elseif outcome.result == 'unknown' then
    if age < FIND_OUT and not outcome.for_good then
      return again(engine, p, position, { message = kept.message, waits_for = outcome.message,
        attempt = attempt }, ASK_AGAIN)
    end
    journal.note(engine, p, position, 'forward', action, 'unknown', outcome)
    return 'unknown', outcome
  end
  return note(engine, p, position, 'forward', action, outcome)
end

return act
