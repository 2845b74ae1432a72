--- Carries out plans, one step at a time, from what is in the store: each action is written down
--- before it starts and after it ends, a verification is a row with a due time. Whatever happens in
--- between, a step that may have been taken is never taken again.
local act = require 'engine.act'
local clock = require 'perigee.clock'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local journal = require 'engine.journal'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local notify = require 'engine.notify'
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local registry = require 'actions.registry'
local silences = require 'engine.silences'

local execute = {}

local LOOKS = 2      -- verifications pass when this many looks in a row are good
local LOOK_AGAIN = 5 -- seconds until targets that were not to be had are looked at again

local function set_incident(engine, p, state)
  if p.incident_id then incidents.set_state(engine, p.incident_id, state) end
end

--- Ends a plan, tells who has to know, and lets the incident say that help did not come of it: all
--- at once, for a plan that has ended is not looked at again after a crash.
local function finish(engine, p, state, reason)
  engine.store:transaction(function()
    if not plans.move(engine, p.id, 'executing', state, { reason = reason }) then return end
    if state == 'executed' then return end
    set_incident(engine, p, 'open')
    notify.page(engine, p, ('%s: %s'):format(p.playbook, reason))
  end)
end

-- -- verification ---------------------------------------------------------------------------------

--- Undoes what went before a position, the last first. Each revert is an action like others, in the
--- journal: what was reverted before a crash is not reverted again.
---@return string words    what came of it
---@return boolean unknown nobody knows how one of them ended
local function revert_all(engine, p, position)
  local refusal
  for i = position - 1, 1, -1 do
    local done, reverted = plans.journal_of(engine.store, p.id)
    if act.can_revert(p.actions[i], done[i]) and not reverted[i] then
      refusal = guardrails.before_revert(engine, p, i)
      if refusal then break end
      act.revert(engine, p, i, done[i])
    end
  end
  local undone, failed = 0, nil
  for _, row in pairs(select(2, plans.journal_of(engine.store, p.id))) do
    undone = undone + 1
    if row.state ~= 'succeeded' and (not failed or row.state == 'unknown') then failed = row end
  end
  local words = ('reverted %d of its actions'):format(undone)
  if failed then
    words = ('%s, and that failed: %s'):format(words, json.decode(failed.outcome).message)
  end
  if refusal then words = ('%s; not reverted: %s'):format(words, refusal.message) end
  return words, failed ~= nil and failed.state == 'unknown'
end

--- What comes of a verification that has failed, now or before a crash.
local function give_up(engine, p, position, action, message)
  if plan.arguments(action).otherwise ~= 'revert' then
    return finish(engine, p, 'failed', message)
  end
  local words, unknown = revert_all(engine, p, position)
  finish(engine, p, unknown and 'unknown' or 'failed', ('%s; %s'):format(message, words))
end

--- One look. True when it has passed; else the plan has ended, or has to be looked at again.
local function look(engine, p, position, action, row)
  local args = plan.arguments(action)
  local progress = row and json.decode(row.outcome)
  if not row then
    progress = { deadline = clock.now() + args.within, good = 0 }
    journal.begin(engine, p, position, 'forward', action, { outcome = progress })
  end
  progress.deadline = math.min(progress.deadline, clock.now() + args.within) -- clocks go back
  local vector, failure = engine.source:query(args.query, nil)
  local good, words = registry.get('verify').judge(args, vector, failure)
  progress.good, progress.message = good and progress.good + 1 or 0, words
  if progress.good >= LOOKS then
    journal.note(engine, p, position, 'forward', action, 'succeeded', { message = words })
    return true
  end
  -- A good look is followed by another, also when time is up: what helped is not undone because the
  -- program was not there to see it.
  if not good and clock.now() >= progress.deadline then
    local message = ('verification failed within %s: %s'):format(action.args.within, words)
    journal.note(engine, p, position, 'forward', action, 'failed', { message = message })
    give_up(engine, p, position, action, message)
    return false
  end
  engine.store:relaxed(function()
    journal.progress(engine, p, position, progress)
    plans.set_due(engine.store, p.id, clock.now() + registry.get('verify').pause(args))
  end)
  return false
end

-- -- a plan ---------------------------------------------------------------------------------------

--- Whether what a plan was made for still holds: it may have waited while the program was down.
local function still_wanted(engine, p, incident)
  if p.expires_at <= clock.now() then
    plans.move(engine, p.id, 'approved', 'expired', { reason = 'it was not begun in time' })
    return false
  end
  if incident and incident.state == 'resolved' then
    plans.move(engine, p.id, 'approved', 'superseded', { reason = 'the incident is resolved' })
    return false
  end
  return true
end

--- Looks at the targets once more. True where they are as they were when the plan was made; else
--- the plan has ended, or is looked at again.
---@return boolean unchanged
---@return Action.Preview[]? now
local function look_at_targets(engine, p)
  local words, failure, now = previews.drift(engine, p)
  if engine.stopping then return false end -- the generation that is active now begins it
  if failure then
    log.warn('the target of a plan cannot be looked at', { plan = p.id,
      reason = failure.message })
    plans.set_due(engine.store, p.id, clock.now() + LOOK_AGAIN)
    return false
  elseif words then
    engine.store:transaction(function()
      if plans.move(engine, p.id, 'approved', 'superseded', { reason = words }) then
        notify.page(engine, p, ('%s: not begun: %s'):format(p.playbook, words))
      end
    end)
    return false
  end
  return true, now
end

--- The first of a plan: the gates, and the dry run.
local function begin(engine, p)
  local incident = p.incident_id and incidents.get(engine.store, p.incident_id)
  if not still_wanted(engine, p, incident) then return false end
  silences.refresh(engine)
  local unchanged, now = look_at_targets(engine, p)
  if not unchanged then return false end
  p.partial = incident and incident.partial
  local refusal = guardrails.at_start(engine, setmetatable({ previews = now }, { __index = p }))
  if refusal then
    metrics.blocked:add(1, refusal.gate)
    plans.move(engine, p.id, 'approved', 'blocked', { reason = refusal.message })
    return false
  end
  if engine.config.guardrails.dry_run then
    plans.move(engine, p.id, 'approved', 'dry_run',
      { reason = 'guardrails.dry_run is on: nothing was done' })
    return false
  end
  return engine.store:transaction(function()
    local begun = plans.move(engine, p.id, 'approved', 'executing',
      { due_at = clock.now() + plans.LEASE })
    if begun then set_incident(engine, p, 'mitigating') end
    return begun
  end)
end

--- What an action has come to: true where the next may come; else the plan has ended, or waits.
local function conclude(engine, p, position, state, outcome)
  if state == 'succeeded' then return true end
  if state == 'waiting' then return false end
  local words = state == 'unknown' and 'has an unknown outcome' or 'failed'
  finish(engine, p, state, ('action %d (%s) %s: %s'):format(position, p.actions[position].name,
    words, outcome.message))
  return false
end

--- Whether any of a plan's actions has been begun that changes something.
local function has_acted(engine, p)
  for i, row in pairs((plans.journal_of(engine.store, p.id))) do
    if registry.get(p.actions[i].name).changes then return row end
  end
end

--- Ends a plan before one of its actions. Of an attempt before this one it is known that it has not
--- happened, unless it arrives after all.
---@param state "failed"|"superseded"|"unknown"
local function stop_before(engine, p, position, attempt, state, words)
  local action = p.actions[position]
  engine.store:transaction(function()
    if attempt > 1 then
      journal.note(engine, p, position, 'forward', action, state, { message = words,
        halted = state == 'failed' or nil })
    end
    finish(engine, p, state, words)
  end)
end

--- Why an action is not begun, by what was just seen of its target.
---@return string? state   the plan's, then
---@return string? words
local function unfit(engine, p, position, attempt, seen, failure)
  local name = p.actions[position].name
  if not seen or seen.refusal then
    local words = seen and seen.refusal or failure.message
    if attempt == 1 or not seen then
      return 'failed', ('stopped before action %d (%s): %s'):format(position, name, words)
    end
    return 'unknown', ('action %d (%s) is not tried again, and its end was not seen: %s'):format(
      position, name, words)
  end
  -- What a later attempt finds different, the action tells from its own work: it knows of before.
  local words = attempt == 1 and previews.changed(p, position, seen)
  if words then return has_acted(engine, p) and 'failed' or 'superseded', words end
end

--- Begins the action at a position, if its target is still what was decided about and no gate
--- stands against it.
---@param row? table  of the journal: of an attempt that is known not to have happened
local function begin_action(engine, p, position, attempt, row)
  silences.refresh(engine)
  local seen, failure = previews.one(engine, p, position, 'run')
  if engine.stopping then -- the generation that is active now begins it, by its own rules
    plans.set_due(engine.store, p.id, clock.now())
    return false
  end
  local state, words = unfit(engine, p, position, attempt, seen, failure)
  if state then
    stop_before(engine, p, position, attempt, state, words)
    return false
  end
  p.previews[position] = seen
  local refusal = guardrails.between(engine, p, position) -- the last before the first byte
  if refusal then
    metrics.blocked:add(1, refusal.gate)
    stop_before(engine, p, position, attempt, 'failed',
      ('stopped before action %d: %s'):format(position, refusal.message))
    return false
  end
  return act.forward(engine, p, position, seen, attempt, row)
end

--- An action that began: what came of it, asked for where it has not been seen.
local function go_on(engine, p, position, row)
  local action = p.actions[position]
  if row.state == 'started' then
    -- A task of the generation before this one may still wait for its answer.
    if math.abs(clock.now() - row.started_at) < plans.LEASE then return 'waiting' end
    local outcome = { message = 'no end of it was seen' }
    local state = registry.get(action.name).find_out and 'lost' or 'unknown'
    journal.note(engine, p, position, 'forward', action, state, outcome)
    if state == 'lost' then return go_on(engine, p, position,
      plans.journal_of(engine.store, p.id)[position]) end
    return state, outcome
  elseif row.state == 'applied' then
    return act.settle(engine, p, position, row)
  elseif row.state == 'lost' then
    return act.find_out(engine, p, position, row)
  end
  return row.state, json.decode(row.outcome)
end

--- Takes the action at a position. True when it is done and the next may come.
local function take(engine, p, position)
  local row = plans.journal_of(engine.store, p.id)[position]
  if row and row.state == 'succeeded' then return true end
  local state, outcome, attempt
  if row then state, outcome, attempt = go_on(engine, p, position, row) end
  if not row or state == 'not_done' then
    state, outcome = begin_action(engine, p, position, attempt or 1, row)
    if not state then return false end
  end
  -- Done, and what comes of it is awaited; or its end was not seen, and its target is asked.
  if state == 'applied' or state == 'lost' then
    plans.set_due(engine.store, p.id, clock.now())
    return false
  end
  return conclude(engine, p, position, state, outcome)
end

--- Takes the look at a position. True when it has been passed. No gate suspends it: it changes
--- nothing, and what is done must not go unverified.
local function take_look(engine, p, position)
  local action = p.actions[position]
  local row = plans.journal_of(engine.store, p.id)[position]
  if row and row.state == 'succeeded' then return true end
  if row and row.state == 'failed' then
    give_up(engine, p, position, action, json.decode(row.outcome).message)
    return false
  end
  return look(engine, p, position, action, row)
end

--- While a step waits, its generation may be closed and its task with it: whichever is active then
--- goes on at once. After an error of our own it goes on a little later.
local function handed_over_when_cut_short(engine, p)
  return setmetatable({}, { __close = function(turn, raised)
    if turn.over then return end
    plans.set_due(engine.store, p.id, clock.now() + (raised and LOOK_AGAIN or 0))
  end })
end

--- One step of a plan that is due: until it ends, or has to wait. Between two actions a generation
--- that is active no more hands it to the one that is, whose configuration may be another.
---@param engine table
---@param p table  from plans.due()
function execute.step(engine, p)
  if engine.stopping then return end
  if p.state == 'approved' and not begin(engine, p) then return end
  if p.state == 'executing' then plans.set_due(engine.store, p.id, clock.now() + plans.LEASE) end
  p.state = 'executing'
  local turn <close> = handed_over_when_cut_short(engine, p)
  for position, action in ipairs(p.actions) do
    if engine.stopping then return end
    local step = registry.get(action.name).changes and take or take_look
    if not step(engine, p, position) then
      turn.over = true
      return
    end
  end
  turn.over = true
  finish(engine, p, 'executed', ('all %d actions succeeded'):format(#p.actions))
end

return execute
