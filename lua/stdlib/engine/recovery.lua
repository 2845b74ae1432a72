--- After a crash: what the journal says was under way. An action that had begun may have happened:
--- where its target can tell it is asked, else a person is told; what had not begun goes on.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local incidents = require 'engine.incidents'
local journal = require 'engine.journal'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local notify = require 'engine.notify'
local plans = require 'engine.plans'
local registry = require 'actions.registry'
local trust = require 'engine.trust'

local recovery = {}

--- Marks an action that began in a process that is no more, and ends its plan.
local function unknown(engine, p, row)
  local message = ('the program ended while %s of action %d (%s) was under way; it may have '
    .. 'happened and is not repeated'):format(
    row.direction == 'revert' and 'the revert' or 'the run', row.position, row.name)
  engine.store:transaction(function()
    engine.store:exec([[update actions set state = 'unknown', ended_at = ?, outcome = ?
      where plan_id = ? and position = ? and direction = ?]], clock.now(),
      json.encode { result = 'unknown', message = message }, p.id, row.position, row.direction)
    audit.append(engine.store, 'action_unknown',
      { plan = p.id, position = row.position, direction = row.direction,
      action = row.name, message = message })
    trust.after(engine, p, row.name, 'unknown', message)
    plans.move(engine, p.id, 'executing', 'unknown', { reason = message })
    if p.incident_id then incidents.set_state(engine, p.incident_id, 'open') end
    notify.page(engine, p, ('%s: %s'):format(p.playbook, message))
  end)
  metrics.actions:add(1, row.name, 'unknown')
end

local function go_on(engine, p)
  plans.set_due(engine.store, p.id, clock.now())
  audit.append(engine.store, 'plan_continued', { plan = p.id, state = p.state })
  log.info('a plan goes on after a restart',
    { plan = p.id, playbook = p.playbook, state = p.state })
end

--- Reads the journal once, when the process starts, before anything runs.
---@return { unknown: integer, continued: integer }
function recovery.run(engine)
  local found = { unknown = 0, continued = 0 }
  local rows = engine.store:rows [[select id from plans where state in ('approved', 'executing')]]
  for _, row in ipairs(rows) do
    local p = plans.get(engine.store, row.id)
    local open = engine.store:row([[select * from actions where plan_id = ? and state = 'started'
      and process <> ? and name <> 'verify' limit 1]], p.id, engine.process)
    local definition = open and registry.get(open.name)
    if open and open.direction == 'forward' and definition.find_out then
      journal.note(engine, p, open.position, 'forward', p.actions[open.position], 'lost',
        { message = 'the program ended while it was under way' })
      go_on(engine, p)
      found.continued = found.continued + 1
    elseif open and definition.changes then
      unknown(engine, p, open)
      found.unknown = found.unknown + 1
    else
      go_on(engine, p)
      found.continued = found.continued + 1
    end
  end
  return found
end

return recovery
