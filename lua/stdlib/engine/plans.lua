--- Plans in the store. A plan never changes: only its state, the reason for it, and when the engine
--- is to look at it next.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local plan = require 'engine.plan'
local previews = require 'engine.previews'
local quorum = require 'engine.quorum'
local story = require 'engine.story'

local plans = {}

--- Seconds for which nobody else looks at a plan whose step is under way; none waits longer.
plans.LEASE = 180

local function read(row)
  if not row then return nil end
  row.actions, row.previews = json.decode(row.actions), json.decode(row.previews)
  return row
end

--- One plan, or nil.
function plans.get(store, id) return read(store:row('select * from plans where id = ?', id)) end

---@param limit integer  -1: all of them
---@param state? string
function plans.list(store, limit, state)
  local rows = state
    and store:rows('select * from plans where state = ? order by created_at desc, id limit ?',
    state, limit)
    or store:rows('select * from plans order by created_at desc, id limit ?', limit)
  for _, row in ipairs(rows) do read(row) end
  return rows
end

--- Plans that the engine is to look at now: those whose time has come, or lies further ahead than
--- it was ever set, for the clock was set back.
function plans.due(store, now)
  local rows = store:rows([[select * from plans where (due_at <= ? or due_at > ?)
    and state in ('approved', 'executing') order by due_at]], now, now + plans.LEASE)
  for _, row in ipairs(rows) do read(row) end
  return rows
end

---@param engine table
---@param p { previews?: Action.Preview[], playbook: string, incident_id?: string, target: string,
---   trust: string, requester?: string, actions: table[], state: string, reason?: string,
---   expires_at: number }
---@return table plan
function plans.create(engine, p)
  local store, now = engine.store, clock.now()
  p.id, p.created_at, p.previews = 'plan-' .. hash.random(6), now, p.previews or {}
  p.digest = plan.digest(p.playbook, p.trust, p.actions)
  p.due_at = p.state == 'approved' and now or nil
  store:transaction(function()
    store:exec([[insert into plans (id, digest, playbook, incident_id, target, trust, state, reason,
      actions, previews, created_at, expires_at, due_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)]], p.id, p.digest, p.playbook, p.incident_id,
      p.target, p.trust, p.state, p.reason or '', json.encode(json.array(p.actions)),
      json.encode(previews.kept(p.previews)), now, p.expires_at, p.due_at)
    if p.state == 'pending' then quorum.open(engine, p) end
    audit.append(store, 'plan_created',
      { plan = p.id, playbook = p.playbook, incident = p.incident_id, digest = p.digest,
      trust = p.trust, state = p.state, reason = p.reason, actions = json.array(p.actions) })
    story.keep(store, p)
  end)
  metrics.plans:add(1, p.playbook, p.state)
  log.info('plan made', { plan = p.id, playbook = p.playbook, trust = p.trust, state = p.state,
    reason = p.reason })
  return p
end

--- Takes a plan from one state to the next, if it is still in the first: whoever comes second gets
--- nil.
---@param from string
---@param to string
---@param fields? { reason?: string, due_at?: number }
---@return boolean
function plans.move(engine, id, from, to, fields)
  fields = fields or {}
  local store = engine.store
  return store:transaction(function()
    local n = store:exec([[update plans set state = ?, reason = coalesce(?, reason), due_at = ?
      where id = ? and state = ?]], to, fields.reason, fields.due_at, id, from)
    if n == 0 then return false end
    local row = store:row('select playbook, incident_id from plans where id = ?', id)
    if from ~= to then
      audit.append(store, 'plan_' .. to,
        { plan = id, playbook = row.playbook, incident = row.incident_id,
        reason = fields.reason })
      metrics.plans:add(1, row.playbook, to)
      log.info('plan ' .. to:gsub('_', ' '),
        { plan = id, playbook = row.playbook, reason = fields.reason })
    end
    return true
  end)
end

--- When the engine is to look at it next.
function plans.set_due(store, id, due_at)
  store:exec('update plans set due_at = ? where id = ?', due_at, id)
end

local function journal_of(store, id)
  local by_position, reverts = {}, {}
  for _, row in ipairs(store:rows('select * from actions where plan_id = ? order by position',
    id)) do
    (row.direction == 'forward' and by_position or reverts)[row.position] = row
  end
  return by_position, reverts
end
plans.journal_of = journal_of

local function outcome_of(row)
  if not row then return nil end
  local outcome = row.outcome ~= '' and json.decode(row.outcome) or {}
  return { message = outcome.message, status = outcome.status,
    started_at = clock.text(row.started_at),
    ended_at = row.ended_at and clock.text(row.ended_at) or nil }
end

--- What an action would have done to its target, as it was when the plan was made.
local function preview_of(preview)
  if not preview or not preview.summary then return nil end
  return { summary = preview.summary, current = preview.current, proposed = preview.proposed,
    diff = preview.diff, warnings = preview.warnings }
end

--- A plan as rules, the API and people see it.
function plans.view(store, p)
  local done, reverted = journal_of(store, p.id)
  local actions, decisions = json.array(), json.array()
  for i, action in ipairs(p.actions) do
    local row = done[i]
    actions[i] = { name = action.name, args = action.args, state = row and row.state or 'waiting',
      outcome = outcome_of(row), preview = preview_of(p.previews[i]) }
    if reverted[i] then
      actions[i].reverted = { state = reverted[i].state, outcome = outcome_of(reverted[i]) }
    end
  end
  for i, row in ipairs(store:rows('select * from decisions where plan_id = ? order by position',
    p.id)) do
    decisions[i] = { who = row.who, via = row.via, decision = row.decision, at = clock.text(row.at),
      reason = row.reason ~= '' and row.reason or nil }
  end
  return { id = p.id, digest = p.digest, playbook = p.playbook, incident_id = p.incident_id,
    trust = p.trust, state = p.state, approvals = quorum.progress(store, p.id),
    reason = p.reason ~= '' and p.reason or nil, actions = actions,
    created_at = clock.text(p.created_at),
    expires_at = clock.text(p.expires_at), decisions = decisions }
end

return plans
