--- Carries out plans, one step at a time, from what is in the store: each action is written down
--- before it starts and after it ends, a verification is a row with a due time. Whatever happens in
--- between, a step that may have been taken is never taken again.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local notify = require 'engine.notify'
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local registry = require 'actions.registry'

local execute = {}

local LOOKS = 2   -- verifications pass when this many looks in a row are good

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

-- -- the journal ----------------------------------------------------------------------------------

--- Written, and on the disk, before the first byte of the action goes out.
local function write_intent(engine, p, position, direction, action, target, outcome)
  engine.store:transaction(function()
    engine.store:exec([[insert into actions (plan_id, position, direction, name, target, state,
      process, started_at, outcome) values (?, ?, ?, ?, ?, 'started', ?, ?, ?)]], p.id, position,
      direction, action.name, target, engine.process, clock.now(),
      outcome and json.encode(outcome) or '')
    audit.append(engine.store, 'action_started',
      { plan = p.id, position = position, direction = direction,
      action = action.name, target = target })
  end)
end

local function write_outcome(engine, p, position, direction, action, outcome)
  engine.store:transaction(function()
    engine.store:exec([[update actions set state = ?, ended_at = ?, outcome = ? where plan_id = ?
      and position = ? and direction = ? and state = 'started']], outcome.result, clock.now(),
      json.encode(outcome), p.id, position, direction)
    audit.append(engine.store, 'action_' .. outcome.result,
      { plan = p.id, position = position, direction = direction,
      action = action.name, message = outcome.message })
  end)
  metrics.actions:add(1, action.name, outcome.result)
  log.info('action ' .. outcome.result, { plan = p.id, action = action.name, direction = direction,
    outcome = outcome.message })
end

--- Runs one action that changes something, between its two rows.
local function act(engine, p, position, direction, action)
  local definition = registry.get(action.name)
  local args = plan.arguments(action)
  write_intent(engine, p, position, direction, action, definition.target(args))
  -- A generation that is closed while it waits cancels this task: then nobody knows how it ended.
  local outcome = { result = 'unknown', message = 'interrupted before its end was known' }
  do
    local _ <close> = setmetatable({}, { __close = function()
      write_outcome(engine, p, position, direction, action, outcome)
    end })
    outcome = definition.run(args, { config = engine.config, own_port = engine.own_port,
      key = ('%s-%d-%s'):format(p.id, position, direction) })
  end
  return outcome
end

-- -- verification ---------------------------------------------------------------------------------

--- Undoes what went before a position, the last first. Each revert is an action like others, in the
--- journal: what was reverted before a crash is not reverted again.
---@return string words    what came of it
---@return boolean unknown nobody knows how one of them ended
local function revert_all(engine, p, position)
  local refusal
  for i = position - 1, 1, -1 do
    local action = p.actions[i]
    local definition = registry.get(action.name)
    local args = definition.revert and definition.revert(action.args)
    local done, reverted = plans.journal_of(engine.store, p.id)
    if args and done[i] and done[i].state == 'succeeded' and not reverted[i] then
      refusal = guardrails.between(engine, p)
      if refusal then break end
      act(engine, p, i, 'revert', { name = action.name, args = args })
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
    write_intent(engine, p, position, 'forward', action, 'verify', progress)
  end
  progress.deadline = math.min(progress.deadline, clock.now() + args.within) -- clocks go back
  local vector, failure = engine.source:query(args.query, nil)
  local good, words = registry.get('verify').judge(args, vector, failure)
  progress.good, progress.message = good and progress.good + 1 or 0, words
  if progress.good >= LOOKS then
    write_outcome(engine, p, position, 'forward', action, { result = 'succeeded', message = words })
    return true
  end
  -- A good look is followed by another, also when time is up: what helped is not undone because the
  -- program was not there to see it.
  if not good and clock.now() >= progress.deadline then
    local message = ('verification failed within %s: %s'):format(action.args.within, words)
    write_outcome(engine, p, position, 'forward', action, { result = 'failed', message = message })
    give_up(engine, p, position, action, message)
    return false
  end
  engine.store:relaxed(function()
    engine.store:exec([[update actions set outcome = ? where plan_id = ? and position = ?
      and direction = 'forward']], json.encode(progress), p.id, position)
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

--- The first of a plan: the gates, and the dry run.
local function begin(engine, p)
  local incident = p.incident_id and incidents.get(engine.store, p.incident_id)
  if not still_wanted(engine, p, incident) then return false end
  p.partial = incident and incident.partial
  local refusal = guardrails.at_start(engine, p)
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

--- An action that is neither waiting nor done: it failed, nobody knows how it ended, or a task of
--- the generation before this one still waits for its answer.
local function settle(engine, p, position, action, row)
  if row.state == 'started' then
    if math.abs(clock.now() - row.started_at) < plans.LEASE then return end
    local outcome = { result = 'unknown', message = 'no end of it was seen' }
    write_outcome(engine, p, position, 'forward', action, outcome)
    row = { state = 'unknown', outcome = json.encode(outcome) }
  end
  local words = row.state == 'unknown' and 'has an unknown outcome' or 'failed'
  finish(engine, p, row.state, ('action %d (%s) %s: %s'):format(position, action.name, words,
    json.decode(row.outcome).message))
end

--- Takes the action at a position. True when it is done and the next may come.
local function take(engine, p, position, action)
  local row = plans.journal_of(engine.store, p.id)[position]
  local changes = registry.get(action.name).changes
  if row and row.state == 'succeeded' then return true end
  if row and row.state == 'failed' and not changes then
    give_up(engine, p, position, action, json.decode(row.outcome).message)
    return false
  end
  if row and (changes or row.state ~= 'started') then
    settle(engine, p, position, action, row)
    return false
  end
  local refusal = guardrails.between(engine, p)
  if refusal then
    metrics.blocked:add(1, refusal.gate)
    finish(engine, p, 'failed', ('stopped before action %d: %s'):format(position, refusal.message))
    return false
  end
  if not changes then return look(engine, p, position, action, row) end
  local outcome = act(engine, p, position, 'forward', action)
  if outcome.result == 'succeeded' then return true end
  settle(engine, p, position, action, { state = outcome.result, outcome = json.encode(outcome) })
  return false
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
  for position, action in ipairs(p.actions) do
    if engine.stopping then return plans.set_due(engine.store, p.id, clock.now()) end
    if not take(engine, p, position, action) then return end
  end
  finish(engine, p, 'executed', ('all %d actions succeeded'):format(#p.actions))
end

return execute
