--- The circuit breaker of a playbook: when several of its plans have failed within a while, it does
--- nothing more for a time, or until a person says so. What failed is in the journal; that it is
--- open, in the row of the playbook in `trust`.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local log = require 'log'
local units = require 'units'

local breaker = {}

--- Plans of a playbook of which an action or a verification failed or has an unknown outcome,
--- since a time. A plan that a gate has stopped has not failed here.
local function failures(store, playbook, since)
  return store:row([[select count(distinct a.plan_id) as n from actions a
    join plans p on p.id = a.plan_id where p.playbook = ? and a.state in ('failed', 'unknown')
    and a.ended_at > ? and instr(a.outcome, '"halted":true') = 0]], playbook, since).n
end

local function row_of(store, playbook)
  return store:row('select opened_at, restored_at from trust where playbook = ?', playbook) or {}
end

--- When the breaker of a playbook closes by itself; nil while it is closed.
---@return number? closes_at  Unix seconds
function breaker.open_until(engine, playbook)
  local opened_at = row_of(engine.store, playbook).opened_at
  local closes_at = opened_at and opened_at + engine.config.guardrails.breaker.cool_off
  return closes_at and closes_at > clock.now() and closes_at or nil
end

--- Counts what has just failed, in the transaction that says so in the journal.
---@param engine table
---@param p { id: string, playbook: string }
function breaker.count(engine, p)
  local limit, store = engine.config.guardrails.breaker, engine.store
  if breaker.open_until(engine, p.playbook) then return end
  local since = math.max(clock.now() - limit.within, row_of(store, p.playbook).restored_at or 0)
  local n = failures(store, p.playbook, since)
  if n < limit.failures then return end
  store:exec([[insert into trust (playbook, opened_at) values (?, ?)
    on conflict (playbook) do update set opened_at = excluded.opened_at]], p.playbook, clock.now())
  local reason = ('%d of its plans failed within %s'):format(n, units.duration_text(limit.within))
  audit.append(store, 'breaker_opened', { playbook = p.playbook, plan = p.id, reason = reason })
  log.error('the circuit breaker is open', { playbook = p.playbook, plan = p.id, reason = reason })
end

--- The gate.
function breaker.gate(engine, p)
  local limit, closes_at = engine.config.guardrails.breaker, breaker.open_until(engine, p.playbook)
  if closes_at then
    return ('the circuit breaker is open: %d plans of %s failed within %s; it closes in %s, or by '
      .. '"perigee trust restore"'):format(limit.failures, p.playbook,
      units.duration_text(limit.within), units.duration_text(math.ceil(closes_at - clock.now())))
  end
  local since = math.max(clock.now() - limit.within,
    row_of(engine.store, p.playbook).restored_at or 0)
  return nil, ('%d plans of %s failed within %s; the circuit breaker opens at %d'):format(
    failures(engine.store, p.playbook, since), p.playbook, units.duration_text(limit.within),
    limit.failures)
end

return breaker
