--- The state machine of approvals: pending, then approved, rejected, expired or superseded, once.
--- A vote is one person's, about exactly what was shown, in time, while its target is as it was
--- shown.
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'log'
local metrics = require 'engine.metrics'
local notify = require 'engine.notify'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local quorum = require 'engine.quorum'
local slack_outbox = require 'engine.slack_outbox'
local trust = require 'engine.trust'

local approvals = {}

local LOOK = 10 -- seconds that who decides waits for a look at the targets

---@class approvals.Refusal
---@field status 403|404|409|410|503
---@field message string

local function refuse(status, message) return nil, { status = status, message = message } end

local function decided_text(store, p)
  local row = store:row([[select who, decision from decisions where plan_id = ?
    order by position desc limit 1]], p.id)
  return row and ('the plan has been %s by %s'):format(row.decision, row.who)
    or ('the plan is %s%s'):format(p.state, p.reason ~= '' and ': ' .. p.reason or '')
end

--- Why a pending plan is of no use any more: what it was made for is over, or a reload has taken
--- the playbook away, or what it was trusted to.
local function outdated(engine, p)
  local incident = p.incident_id
    and engine.store:row('select state from incidents where id = ?', p.incident_id)
  if incident and incident.state == 'resolved' then return 'the incident is resolved' end
  return (trust.gate(engine, p))
end

--- Whether the plan can be decided about, whoever does.
local function open(engine, p, now)
  if p.trust == 'recommend' then
    return refuse(409, 'the plan is a recommendation; nothing of it runs')
  end
  if p.state == 'expired' or p.state == 'pending' and p.expires_at <= now then
    return refuse(410, 'the time to decide ended at ' .. clock.text(p.expires_at))
  end
  if p.state ~= 'pending' then return refuse(409, decided_text(engine.store, p)) end
  local why = outdated(engine, p)
  if why then return refuse(409, why) end
  return true
end

--- Whether this vote would count.
local function counts(engine, p, decision, by)
  if by.digest ~= p.digest then
    return refuse(409, 'the digest is not that of the plan: what was shown is not what would run')
  end
  local person = quorum.person(engine.config, by.who)
  local why = decision == 'approved' and quorum.excludes(engine, p.id, person)
  if why then return refuse(403, why) end
  local before = engine.store:row([[select who from decisions where plan_id = ? and person = ?
    and decision = ?]], p.id, person, decision)
  if before then return refuse(409, ('%s has %s it already'):format(before.who, decision)) end
  return true
end

local function tell_refusal(engine, id, decision, by, refusal)
  audit.append(engine.store, 'decision_refused', { plan = id, who = by.who, via = by.via,
    decision = decision, reason = refusal.message })
end

--- The plan, if a vote about it would count now; else why not, which is in the audit trail then.
local function look(engine, id, decision, by)
  local p = plans.get(engine.store, id)
  if not p then return refuse(404, 'there is no such plan') end
  local ok, refusal = open(engine, p, clock.now())
  if ok then ok, refusal = counts(engine, p, decision, by) end
  if ok then return p end
  tell_refusal(engine, id, decision, by, refusal)
  return nil, refusal
end

--- Keeps a vote, and what comes of it: a rejection ends it at once, an approval once there are
--- enough of them.
local function vote(engine, p, decision, by)
  local store, now = engine.store, clock.now()
  store:exec([[insert into decisions (plan_id, position, who, person, via, decision, reason, at)
    values (?, (select count(*) + 1 from decisions where plan_id = ?), ?, ?, ?, ?, ?, ?)]], p.id,
    p.id, by.who, quorum.person(engine.config, by.who), by.via, decision, by.reason or '', now)
  local progress = quorum.progress(store, p.id)
  local enough = decision == 'rejected' or progress.given >= progress.needed
  if enough then
    plans.move(engine, p.id, 'pending', decision,
      { reason = by.reason, due_at = decision == 'approved' and now or nil })
    metrics.approval_wait:observe(now - p.created_at)
  end
  audit.append(store, 'decision', { plan = p.id, digest = p.digest, who = by.who, via = by.via,
    decision = decision, reason = by.reason, given = progress.given, needed = progress.needed })
  metrics.approvals:add(1, decision)
  log.info('decision', { plan = p.id, who = by.who, via = by.via, decision = decision,
    given = progress.given, needed = progress.needed })
end

--- Ends a plan whose target is not any more what was shown.
local function void(engine, p, words)
  return plans.move(engine, p.id, 'pending', 'superseded', { reason = 'drifted: ' .. words })
end

--- Decides about a pending plan. Looking at its target waits; the vote itself is looked at again
--- and kept in one transaction, so of any number of decisions that race each counts once or not at
--- all, and exactly one ends it.
---@param engine table
---@param id string
---@param decision "approved"|"rejected"
---@param by { who: string, via: string, digest: string, reason?: string }
---@return table? plan
---@return approvals.Refusal?
function approvals.decide(engine, id, decision, by)
  local store = engine.store
  local p, refusal = store:transaction(function() return look(engine, id, decision, by) end)
  if not p then return nil, refusal end
  local drifted = decision == 'approved' and async.timeout(LOOK, previews.drift, engine, p)
  -- Whether the vote counts is for the rules to say that are active by now.
  if engine.stopping then return refuse(503, 'other rules are active by now: decide again') end
  return store:transaction(function()
    local again, why = look(engine, id, decision, by)
    if not again then return nil, why end
    if drifted then
      void(engine, p, drifted)
      local _, words = refuse(409, 'drifted: ' .. drifted)
      tell_refusal(engine, id, decision, by, words)
      return nil, words
    end
    vote(engine, p, decision, by)
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

--- Plans that are of no use any more. All of them are looked at each second, so their previews,
--- which are the most of them, are not read.
function approvals.supersede(engine)
  for _, p in ipairs(engine.store:rows [[select id, playbook, incident_id, trust, actions from plans
    where state = 'pending']]) do
    p.actions = json.decode(p.actions)
    local why = outdated(engine, p)
    if why then plans.move(engine, p.id, 'pending', 'superseded', { reason = why }) end
  end
end

local function remind(engine, row)
  local progress = quorum.progress(engine.store, row.id)
  local words = ('still waits for approval (%d of %d given), until %s'):format(progress.given,
    progress.needed, clock.text(row.expires_at))
  engine.store:transaction(function()
    engine.store:exec('update approvals set remind_at = ?, reminders = ? where plan_id = ?',
      clock.now() + row.remind_every, row.reminders + 1, row.id)
    audit.append(engine.store, 'approval_reminder', { plan = row.id, given = progress.given,
      needed = progress.needed })
    local message = engine.slack and slack_outbox.message(engine.store, row.id)
    if message and message.ts ~= '' then
      slack_outbox.reply(engine, row.id, 'reminder-' .. row.reminders + 1, words)
    else -- there is no Slack, or it has not taken the message
      notify.page(engine, row, ('%s: %s %s'):format(row.playbook, row.id, words))
    end
  end)
end

--- Reminds of plans that nobody has decided about for a while: in Slack, else through Alertmanager.
function approvals.remind(engine)
  for _, row in ipairs(engine.store:rows([[select plans.*, remind_every, reminders from plans
    join approvals on plan_id = id where state = 'pending' and remind_at <= ?]], clock.now())) do
    remind(engine, row)
  end
end

return approvals
