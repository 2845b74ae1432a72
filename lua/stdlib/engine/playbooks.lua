--- From a trigger to a plan: the rule's function says what it would do, its trust and the gates say
--- how far that goes.
local async = require 'async'
local audit = require 'engine.audit'
local check = require 'check'
local clock = require 'perigee.clock'
local faults = require 'engine.faults'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local label_key = require('prometheus').label_key
local log = require 'log'
local metrics = require 'engine.metrics'
local plan = require 'engine.plan'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local story = require 'engine.story'
local trust = require 'engine.trust'

local playbooks = {}

local LOOKS, FIRST_PAUSE = 4, 2 -- attempts to look at the targets; seconds after the first
local AT_ONCE = 4 -- triggers of one playbook whose targets are looked at; the others wait in turn

local STATE = { auto = 'approved', human_approve = 'pending', recommend = 'blocked' }

--- What the rule's function returned, checked. A wrong answer is a fault of the rule.
local function actions_of(engine, def, event)
  local rule = 'playbook/' .. def.name
  if faults.switched_off(engine.store, rule, def.file_digest) then return nil end
  local list, fault = def.plan(event)
  if not fault and list == nil then return {} end
  local actions, problems
  if not fault then actions, problems = plan.actions(list) end
  if problems and #problems > 0 then
    local words = {}
    for i, p in ipairs(problems) do words[i] = check.words(p) end
    fault = { kind = 'plan', file = def.file, line = def.line, message = 'the plan is not valid: '
      .. table.concat(words, '; ') }
  end
  if fault then
    faults.add(engine.store, rule, def.file_digest, fault)
    return nil
  end
  faults.clear(engine.store, rule)
  return actions
end

--- A newer plan for the same takes the place of one that nobody has decided about.
local function supersede(engine, p)
  local rows = engine.store:rows([[select id from plans where playbook = ? and target = ?
    and state = 'pending']], p.playbook, p.target)
  for _, row in ipairs(rows) do
    plans.move(engine, row.id, 'pending', 'superseded',
      { reason = 'a newer plan has taken its place' })
  end
end

local function nothing_to_do(engine, def, about)
  audit.append(engine.store, 'nothing_to_do',
    { playbook = def.name, incident = about.incident_id })
  log.info('the playbook plans nothing', { playbook = def.name, incident = about.incident_id })
end

--- The plan that comes of actions that have been looked at, in the state that trust and the gates
--- leave it.
local function create(engine, def, p)
  local reason
  p.trust, reason = trust.of(engine, def, p)
  if p.trust == 'manual_only' then
    log.info('no plan: trust is "manual_only"', { playbook = def.name, reason = reason })
    return nil
  end
  p.state, p.reason = STATE[p.trust], reason
  p.expires_at = clock.now() + def.approval_expires
  if p.trust == 'recommend' then
    p.reason = (reason and reason .. '; ' or '')
      .. 'trust is "recommend": shown, and nothing of it runs'
  end
  local refusal = p.failure and { gate = 'preview', message = p.failure }
  local cannot = not refusal and previews.refusal(p.actions, p.previews)
  refusal = refusal or cannot and { gate = 'preview', message = cannot }
    or p.trust ~= 'recommend' and guardrails.at_planning(engine, p)
  if refusal then
    metrics.blocked:add(1, refusal.gate)
    p.state, p.reason, p.gate = 'blocked', refusal.message, refusal.gate
    p.story.planning = p.story.planning
      or { { gate = refusal.gate, refused = true, message = refusal.message } }
  end
  -- One that cannot run takes nobody's place: what waits can still be decided about.
  if p.state ~= 'blocked' then supersede(engine, p) end
  return plans.create(engine, p)
end

--- Keeps what a playbook has come to, unless somebody else has meanwhile.
local function conclude(engine, def, about, p)
  engine.store:transaction(function()
    if not about.is_new() then return end
    if not p then return about.done(nil) end
    if #p.actions == 0 and not p.failure then
      nothing_to_do(engine, def, about)
      return about.done(nil)
    end
    about.done(create(engine, def, p))
  end)
end

local function without_previews(p)
  p.previews = {}
  for i in ipairs(p.actions) do p.previews[i] = {} end
end

--- What a remediation comes to for an event: that may take a look at the targets, too.
local function resolve(engine, def, event, p)
  local list, failure = def.resolve(engine, event)
  if not list then return nil, failure end
  local actions, problems = plan.actions(list)
  if #problems > 0 then return nil, { message = check.words(problems[1]) } end
  p.actions, p.is_resolved = actions, true
  without_previews(p)
  return true
end

local function look_once(engine, def, event, p)
  if def.resolve and not p.is_resolved then
    local ok, failure = resolve(engine, def, event, p)
    if not ok then return nil, failure end
  end
  return previews.all(engine, p, 'plan')
end

--- Looks at the targets, and again after a while where they are not to be had; then a plan is made
--- that says so.
local function look(engine, def, event, p)
  for attempt = 1, engine.stopping and 0 or LOOKS do
    local seen, failure = look_once(engine, def, event, p)
    if seen then
      p.previews, p.failure = seen, nil
      return
    end
    p.failure = failure.message
    if not failure.transient or attempt == LOOKS or engine.stopping then return end
    log.warn('the target of a plan cannot be looked at', { playbook = p.playbook,
      reason = failure.message })
    async.sleep(FIRST_PAUSE * 2 ^ (attempt - 1))
  end
end

--- Makes the plan of a playbook for one trigger: the rule's function, a look at the targets, trust,
--- the gates. What waits does so in a task of its own; what comes of it is kept at once.
---@param engine table
---@param def table      the playbook
---@param event table    what its function is given
---@param about { target: string, incident_id?: string, partial?: boolean,
---   requester?: string, is_new: fun(): boolean, done: fun(p: table?) }  requester: the person who
---   asked for it, where one did; is_new and done are called in the transaction
---   that keeps the plan: whether this trigger has not been answered, and that it has
function playbooks.propose(engine, def, event, about)
  local under_way = def.name .. '\0' .. about.target
  if engine.proposing[under_way] then return end
  if def.trust == 'manual_only' then return conclude(engine, def, about) end
  local actions = def.resolve and {} or actions_of(engine, def, event)
  if not actions then return conclude(engine, def, about) end
  local p = { id = '', playbook = def.name, incident_id = about.incident_id,
    target = about.target, partial = about.partial, requester = about.requester,
    actions = actions, previews = {},
    story = { trigger = story.trigger(event) } }
  without_previews(p)
  if not def.resolve and not previews.needed(actions) then
    return conclude(engine, def, about, p)
  end
  engine.proposing[under_way] = true
  engine.run('a plan', function()
    local _ <close> = setmetatable({}, { __close = function()
      engine.proposing[under_way] = nil
    end })
    local gate = engine.looking[def.name] or async.gate(AT_ONCE)
    engine.looking[def.name] = gate
    gate:run(look, engine, def, event, p)
    -- The generation that is active now asks by its own rules.
    if not engine.stopping then conclude(engine, def, about, p) end
    engine.poke()
  end)
end

--- Asks the playbooks that an incident is a trigger of, each once an episode.
---@param engine table
---@param incident table
local function consider(engine, incident)
  for _, def in pairs(engine.rules.playbooks) do
    if def.when.kind == 'incident' and def.when.name == incident.name
      and not incidents.considered(incident, def.name) then
      local view = incidents.event(engine.store, incident)
      local now
      playbooks.propose(engine, def,
        { trigger = 'incident', incident = view, labels = view.labels, time = clock.now() },
        { target = incident.group_key, incident_id = incident.id, partial = incident.partial,
          is_new = function()
            now = incidents.get(engine.store, incident.id)
            return now ~= nil and now.state ~= 'resolved'
              and not incidents.considered(now, def.name)
          end,
          done = function(p)
            local refused = now.partial and p and p.gate == 'partial_data'
            incidents.mark_considered(engine.store, now, def.name, refused)
          end })
    end
  end
end

--- Offers every active incident to its playbooks. What has been offered is in the store: a crash
--- between an incident and its plan loses neither and doubles neither.
function playbooks.consider_all(engine)
  for _, incident in ipairs(incidents.active(engine.store)) do consider(engine, incident) end
end

--- One series that fires. What was refused for its partial data is offered once more when it is
--- whole, as an incident is.
local function consider_series(engine, def, series, name)
  local since = ('%.3f'):format(series.fired_at)
  local refused = since .. ' partial'
  local function is_new()
    local seen = engine.store:row('select value from settings where name = ?', name)
    return not (seen and (seen.value == since or seen.value == refused and series.partial))
  end
  if not is_new() then return end
  playbooks.propose(engine, def, { trigger = def.when.kind, name = def.when.name,
    labels = series.labels, annotations = series.annotations, source = 'prometheus',
    value = series.value, since = clock.text(series.fired_at), time = clock.now() },
    { target = label_key(series.labels), partial = series.partial, is_new = is_new,
      done = function(p)
        engine.store:exec('insert or replace into settings (name, value) values (?, ?)', name,
          p and p.gate == 'partial_data' and refused or since)
      end })
end

--- The series of a metric trigger, or of the signal, forecast or prediction that is the trigger:
--- each that fires is a trigger once, from the moment it began to.
---@param engine table
---@param def table  the playbook
---@param state { series: table }
function playbooks.consider_firing(engine, def, state)
  for _, series in pairs(state.series or {}) do
    local name = ('%s/%s/%s'):format(def.when.kind, def.name, label_key(series.labels))
    if series.state ~= 'firing' then
      engine.store:exec('delete from settings where name = ?', name)
    else
      consider_series(engine, def, series, name)
    end
  end
end

return playbooks
