--- Faults of rules: counted, told, and after three running the rule is switched off, until its file
--- changes or a person switches it on.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local log = require 'log'
local metrics = require 'engine.metrics'

local faults = {}

faults.LIMIT = 3

--- What a person reads of a fault: where, and what.
---@param fault { file: string, line: integer, message: string, kind: string }
function faults.text(fault)
  if fault.file == '' or not fault.line or fault.line == 0 then return fault.message end
  return ('%s:%d: %s'):format(fault.file, fault.line, fault.message)
end

--- Whether a rule is switched off, and why. Of an older version of its file it is forgotten.
---@return string? reason
function faults.switched_off(store, rule, digest)
  local row = store:row('select digest, switched_off_at, reason from rule_faults where rule = ?',
    rule)
  if row and row.digest == digest and row.switched_off_at then return row.reason end
end

--- Counts a fault of a rule.
---@param rule string    "signal/checkout_latency", …
---@param digest string  of its file
function faults.add(store, rule, digest, fault)
  metrics.rule_faults:add(1, rule, fault.kind)
  local text = faults.text(fault)
  log.error('rule fault', { rule = rule, kind = fault.kind, fault = text, trace = fault.trace })
  store:transaction(function()
    local row = store:row('select digest, running from rule_faults where rule = ?', rule)
    local running = (row and row.digest == digest and row.running or 0) + 1
    local off = running >= faults.LIMIT
    local reason = off and ('switched off after %d faults running, the last: %s'):format(running,
      text) or ''
    store:exec([[insert or replace into rule_faults (rule, digest, running, switched_off_at, reason)
      values (?, ?, ?, ?, ?)]], rule, digest, running, off and clock.now() or nil, reason)
    if off then
      audit.append(store, 'rule_switched_off', { rule = rule, reason = reason })
      log.error('rule switched off', { rule = rule, reason = reason })
    end
  end)
end

--- A call without a fault: the count begins anew.
function faults.clear(store, rule)
  local row = store:row(
    'select running from rule_faults where rule = ? and switched_off_at is null', rule)
  if not row or row.running == 0 then return end
  store:exec('update rule_faults set running = 0 where rule = ?', rule)
end

--- A person switches a rule on again.
---@return boolean  it was off
function faults.switch_on(store, rule, who)
  return store:transaction(function()
    local n = store:exec('delete from rule_faults where rule = ? and switched_off_at is not null',
      rule)
    if n > 0 then audit.append(store, 'rule_switched_on', { rule = rule, who = who }) end
    return n > 0
  end)
end

return faults
