--- How far a plan is trusted: what its playbook says, and everything that may only make it less:
--- the operator's ceiling, what has happened before, who else sees to the object, policies of rule
--- files. Nothing here raises a level.
local audit = require 'engine.audit'
local breaker = require 'engine.breaker'
local check = require 'check'
local clock = require 'perigee.clock'
local counted = require 'engine.gates.counted'
local faults = require 'engine.faults'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local levels = require 'levels'
local log = require 'log'
local names = require 'engine.gates.names'
local previews = require 'engine.previews'

local trust = {}

---@class trust.Step
---@field by string       what was asked
---@field level string    what it said
---@field message string  why
---@field lowered boolean it made the trust less

---@class trust.Steps
---@field level string    what is left
---@field reason? string  of the step that decided, where there was one
---@field list trust.Step[]

--- Takes a level away where it is less than what is left.
local function step(steps, by, level, message)
  local lowers = levels.exceeds(steps.level, level)
  steps.list[#steps.list + 1] = { by = by, level = level, message = message, lowered = lowers }
  if not lowers then return end
  steps.level = level
  steps.reason = ('trust lowered from %s: %s'):format(steps.list[1].level, message)
end

-- -- what holds for a playbook, whatever it plans -------------------------------------------------

local function row_of(store, playbook)
  return store:row('select * from trust where playbook = ?', playbook)
end

--- What the operator's configuration allows a playbook in these namespaces.
local function add_ceiling(steps, config, playbook, namespaces)
  local ceiling = config.guardrails.trust
  step(steps, 'guardrails.trust.max', ceiling.max,
    ('guardrails.trust.max is %s'):format(ceiling.max))
  local function each(section, name)
    for _, pattern in ipairs(check.names(ceiling[section])) do
      local level = ceiling[section][pattern]
      if names.fits(name, pattern) then
        step(steps, 'guardrails.trust.' .. section, level,
          ('guardrails.trust.%s.%s is %s'):format(section, pattern, level))
      end
    end
  end
  each('playbooks', playbook)
  for _, namespace in ipairs(check.names(namespaces)) do each('namespaces', namespace) end
end

local function add_loss(steps, store, playbook)
  local row = row_of(store, playbook)
  if not row or not row.lost_at then return end
  step(steps, 'lost', 'human_approve', ('%s, at %s; "perigee trust restore" gives it back'):format(
    row.reason, clock.text(row.lost_at)))
end

--- The trust of a playbook as far as the configuration and its past say, in certain namespaces.
---@return trust.Steps
local function standing(engine, def, namespaces)
  local steps = { level = def.trust, list = { { by = 'playbook', level = def.trust,
    message = ('%s:%d says %s'):format(def.file:match '[^/]*$', def.line, def.trust),
    lowered = false } } }
  add_ceiling(steps, engine.config, def.name, namespaces)
  add_loss(steps, engine.store, def.name)
  return steps
end

local function namespaces_of(p)
  local out = {}
  for _, seen in ipairs(counted.of(p)) do
    if seen.namespace and seen.namespace ~= '' then out[seen.namespace] = true end
  end
  return out
end
trust.namespaces_of = namespaces_of

-- -- what holds for a plan ------------------------------------------------------------------------

--- An outcome that nobody knows, of this playbook for the same target or of anybody on the same
--- object, is for a person to look at.
local function add_unknown(steps, engine, p)
  local last = engine.store:row([[select id, state from plans where playbook = ? and target = ?
    and state in ('executed', 'failed', 'unknown') order by created_at desc limit 1]], p.playbook,
    p.target)
  if last and last.state == 'unknown' then
    step(steps, 'unknown_outcome', 'human_approve',
      ('the outcome of %s is unknown'):format(last.id))
  end
  for _, seen in ipairs(counted.of(p)) do
    local row = seen.target and engine.store:row([[select plan_id, state from actions
      where target = ? and ended_at is not null order by ended_at desc limit 1]], seen.target)
    if row and row.state == 'unknown' then
      step(steps, 'unknown_outcome', 'human_approve',
        ('the outcome of %s on %s is unknown'):format(row.plan_id, seen.target))
    end
  end
end

--- A plan as a policy sees it.
local function view_of(p, level)
  local actions = {}
  for i, action in ipairs(p.actions) do
    local seen = (p.previews or {})[i] or {}
    actions[i] = { name = action.name, args = action.args, summary = seen.summary,
      unavailable = seen.unavailable, replicas = seen.replicas, ready = seen.ready }
  end
  return { playbook = p.playbook, target = p.target, trust = level, partial = p.partial or false,
    actions = actions }
end

--- What one policy says: a level and why, or nothing. One that fails leaves a person to decide.
---@return string? level
---@return string? message
local function ask(engine, policy, plan_view, incident)
  local rule, store = 'policy/' .. policy.name, engine.store
  local off = faults.switched_off(store, rule, policy.file_digest)
  if off then return 'human_approve', 'a policy is ' .. off end
  local level, fault, why = policy.decide(plan_view, incident)
  if not fault and level ~= nil and not levels.is(level) then
    fault = { kind = 'policy', file = policy.file, line = policy.line,
      message = 'trust.policy returned: '
        .. check.expected('nothing, or one of ' .. table.concat(levels.NAMES, ', '), level) }
  end
  if fault then
    faults.add(store, rule, policy.file_digest, fault)
    return 'human_approve', 'a policy has failed: ' .. faults.text(fault)
  end
  faults.clear(store, rule)
  return level, ('policy %s%s'):format(policy.name, type(why) == 'string'
    and ': ' .. why:sub(1, 500) or (' says %s'):format(level))
end

local function add_policies(steps, engine, p)
  local policies = engine.rules.policies
  if next(policies) == nil then return end
  local plan_view = view_of(p, steps.level)
  local found = p.incident_id and incidents.get(engine.store, p.incident_id)
  local incident = found and incidents.event(engine.store, found)
  for _, name in ipairs(check.names(policies)) do
    local level, message = ask(engine, policies[name], plan_view, incident)
    if level and levels.exceeds(level, steps.level) then
      message = ('%s; more than %s it cannot give'):format(message, steps.level)
      log.warn('a policy asked for more trust than there is', { policy = name, level = level,
        playbook = p.playbook, trust = steps.level })
    end
    if level then step(steps, 'policy', level, message) end
  end
end

--- The trust that is left for a plan. How it came about is put into p.story.trust.
---@param engine table
---@param def table  the playbook
---@param p { playbook: string, target: string, actions: table[], previews: Action.Preview[],
---   incident_id?: string, partial?: boolean, story?: table }
---@return string trust
---@return string? reason  why it is less than the playbook says
function trust.of(engine, def, p)
  local steps = standing(engine, def, namespaces_of(p))
  add_unknown(steps, engine, p)
  local owner = def.trust == 'auto' and previews.owner(p.previews)
  if owner then step(steps, 'owner', 'recommend', owner) end
  add_policies(steps, engine, p)
  p.story = p.story or {}
  p.story.trust = { from = def.trust, to = steps.level, reason = steps.reason,
    steps = json.array(steps.list) }
  return steps.level, steps.reason
end

--- The gate: a plan may have been made, or approved, before its playbook lost what it was made
--- with.
function trust.gate(engine, p)
  local def = engine.rules.playbooks[p.playbook]
  if not def then return 'its playbook is declared no more' end
  local steps = standing(engine, def, namespaces_of(p))
  if levels.exceeds(p.trust, steps.level) then
    return ('the playbook\'s trust is now %s, and the plan was made with %s%s'):format(steps.level,
      p.trust, steps.reason and ': ' .. steps.reason or '')
  end
  return nil, ('trust is %s, and the plan was made with %s'):format(steps.level, p.trust)
end

-- -- losing it, and getting it back ---------------------------------------------------------------

--- Takes note of what came of an action, in the transaction that writes it into the journal: a
--- verification that failed costs the playbook its trust, and what fails counts for the breaker.
---@param engine table
---@param p { id: string, playbook: string }
---@param action string  its name
---@param state string
---@param message string
function trust.after(engine, p, action, state, message)
  if state ~= 'failed' and state ~= 'unknown' then return end
  breaker.count(engine, p)
  if action ~= 'verify' or state ~= 'failed' then return end
  local reason = ('trust was lost by %s: %s'):format(p.id, message)
  engine.store:exec([[insert into trust (playbook, lost_at, reason) values (?, ?, ?)
    on conflict (playbook) do update set lost_at = excluded.lost_at, reason = excluded.reason]],
    p.playbook, clock.now(), reason)
  audit.append(engine.store, 'trust_lost', { playbook = p.playbook, plan = p.id, reason = reason })
  log.warn('trust is lost', { playbook = p.playbook, plan = p.id, reason = reason })
end

--- A person gives a playbook its trust back, and closes its breaker.
---@return boolean  there was something to give back
function trust.restore(engine, playbook, who)
  local store = engine.store
  return store:transaction(function()
    local row = row_of(store, playbook)
    if not row or not (row.lost_at or breaker.open_until(engine, playbook)) then return false end
    audit.append(store, 'trust_restored', { playbook = playbook, who = who,
      reason = row.reason ~= '' and row.reason or nil })
    store:exec([[update trust set lost_at = null, opened_at = null, reason = '', restored_at = ?,
      restored_by = ? where playbook = ?]], clock.now(), who, playbook)
    log.warn('trust is restored', { playbook = playbook, who = who })
    return true
  end)
end

--- What the operator's ceiling is for a playbook, whatever it plans.
local function ceiling_of(engine, name)
  local steps = { level = 'auto', list = { { level = 'auto' } } }
  add_ceiling(steps, engine.config, name, {})
  return steps.level
end

--- The levels of one playbook, for people.
function trust.view(engine, def)
  local steps, row = standing(engine, def, {}), row_of(engine.store, def.name) or {}
  local closes_at = breaker.open_until(engine, def.name)
  local function time(t) return t and t > 0 and clock.text(t) or nil end
  return { playbook = def.name, declared = def.trust, ceiling = ceiling_of(engine, def.name),
    effective = steps.level, reason = steps.reason, lost_at = time(row.lost_at),
    restored_at = time(row.restored_at), restored_by = row.restored_by,
    breaker = closes_at and 'open' or 'closed', breaker_closes_at = time(closes_at) }
end

--- Those of all playbooks, by name.
function trust.list(engine)
  local out = json.array()
  for i, name in ipairs(check.names(engine.rules.playbooks)) do
    out[i] = trust.view(engine, engine.rules.playbooks[name])
  end
  return out
end

return trust
