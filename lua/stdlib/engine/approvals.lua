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
  local row =
    store:row(
    'select who, decision from decisions where plan_id = ? order by position desc limit 1', p.id)
  return row and ('the plan has been %s by %s'):format(row.decision, row.who)
    or ('the plan is %s'):format(p.state)
end

local function check(store, p, digest, now)
  if p.trust == 'recommend' then
    return refuse(409, 'the plan is a recommendation; nothing of it runs')
  end
  if p.state == 'expired' or p.state == 'pending' and p.expires_at <= now then
    return refuse(410, 'the time to decide ended at ' .. clock.text(p.expires_at))
  end
  if p.state ~= 'pending' then return refuse(409, decided_text(store, p)) end
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
    local ok, refusal = check(store, p, by.digest, now)
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
  local rows =
    engine.store:rows([[select id from plans where state = 'pending' and expires_at <= ?]],
    clock.now())
  for _, row in ipairs(rows) do
    if plans.move(engine, row.id, 'pending', 'expired', { reason = 'nobody decided in time' }) then
      metrics.approvals:add(1, 'expired')
    end
  end
end

--- Plans whose incident is over, or which a newer plan has taken the place of.
function approvals.supersede(engine)
  local rows = engine.store:rows [[select p.id from plans p join incidents i on i.id = p.incident_id
    where p.state = 'pending' and i.state = 'resolved']]
  for _, row in ipairs(rows) do
    plans.move(engine, row.id, 'pending', 'superseded', { reason = 'the incident is resolved' })
  end
end

return approvals
