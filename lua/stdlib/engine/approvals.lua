--- One decision about one plan: by somebody who may, of exactly what was shown, once, in time.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local log = require 'log'
local metrics = require 'engine.metrics'
local plans = require 'engine.plans'

local approvals = {}

---@class approvals.Refusal
---@field status 404|409|410
---@field message string

local function refuse(status, message) return nil, { status = status, message = message } end

local function decided_text(store, p)
  local row = store:row([[select who, decision from decisions where plan_id = ?
    order by position desc limit 1]], p.id)
  return row and ('the plan has been %s by %s'):format(row.decision, row.who)
    or ('the plan is %s'):format(p.state)
end

--- Why a pending plan is of no use any more: what it was made for is over, or a reload has taken
--- the playbook away, or the right to act.
local function outdated(engine, p)
  local incident = p.incident_id
    and engine.store:row('select state from incidents where id = ?', p.incident_id)
  if incident and incident.state == 'resolved' then return 'the incident is resolved' end
  local def = engine.rules.playbooks[p.playbook]
  if not def then return 'its playbook is declared no more' end
  if def.trust == 'recommend' or def.trust == 'manual_only' then
    return ('the playbook\'s trust is now %s'):format(def.trust)
  end
end

local function check(engine, p, digest, now)
  if p.trust == 'recommend' then
    return refuse(409, 'the plan is a recommendation; nothing of it runs')
  end
  if p.state == 'expired' or p.state == 'pending' and p.expires_at <= now then
    return refuse(410, 'the time to decide ended at ' .. clock.text(p.expires_at))
  end
  if p.state ~= 'pending' then return refuse(409, decided_text(engine.store, p)) end
  local why = outdated(engine, p)
  if why then return refuse(409, why) end
  if digest ~= p.digest then
    return refuse(409, 'the digest is not that of the plan: what was shown is not what would run')
  end
  return true
end

--- Decides about a pending plan. The row changes only while it is pending, so of any number of
--- decisions that race exactly one counts.
---@param engine table
---@param id string
---@param decision "approved"|"rejected"
---@param by { who: string, via: string, digest: string, reason?: string }
---@return table? plan
---@return approvals.Refusal?
function approvals.decide(engine, id, decision, by)
  local store, now = engine.store, clock.now()
  return store:transaction(function()
    local p = plans.get(store, id)
    if not p then return refuse(404, 'there is no such plan') end
    local ok, refusal = check(engine, p, by.digest, now)
    if not ok then
      audit.append(store, 'decision_refused',
        { plan = id, who = by.who, via = by.via, decision = decision,
        reason = refusal.message })
      return nil, refusal
    end
    plans.move(engine, id, 'pending', decision,
      { reason = by.reason, due_at = decision == 'approved' and now or nil })
    store:exec([[insert into decisions (plan_id, position, who, via, decision, reason, at)
      values (?, (select count(*) + 1 from decisions where plan_id = ?), ?, ?, ?, ?, ?)]],
      id, id, by.who, by.via, decision, by.reason or '', now)
    audit.append(store, 'decision', { plan = id, digest = p.digest, who = by.who, via = by.via,
      decision = decision,
      reason = by.reason })
    metrics.approvals:add(1, decision)
    metrics.approval_wait:observe(now - p.created_at)
    log.info('decision', { plan = id, who = by.who, via = by.via, decision = decision })
    return plans.get(store, id)
  end)
end

--- Plans that nobody has decided about in time.
function approvals.expire(engine)
  local rows = engine.store:rows(
    "select id from plans where state = 'pending' and expires_at <= ?", clock.now())
  for _, row in ipairs(rows) do
    if plans.move(engine, row.id, 'pending', 'expired', { reason = 'nobody decided in time' }) then
      metrics.approvals:add(1, 'expired')
    end
  end
end

--- Plans that are of no use any more.
function approvals.supersede(engine)
  for _, row in ipairs(engine.store:rows "select * from plans where state = 'pending'") do
    local why = outdated(engine, row)
    if why then plans.move(engine, row.id, 'pending', 'superseded', { reason = why }) end
  end
end

return approvals
