--- The gates between a plan and what it would do. They belong to the operator's configuration; a
--- rule can only be tighter. Each gate says nothing, or why not; the first that speaks decides.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local freeze = require 'engine.freeze'
local json = require 'perigee.json'
local log = require 'log'
local plans = require 'engine.plans'
local registry = require 'actions.registry'
local units = require 'units'

local guardrails = {}

---@class Gate.Refusal
---@field gate string     a bounded name, for the metrics
---@field message string  with the values that decided

--- The kill switch is on when the configuration says so, or while the file KILL is there: one fact
--- for every way of throwing it (the file, a signal, HTTP, the command line), and a crash keeps it.
function guardrails.kill_file(config) return config.data_dir .. '/KILL' end

---@return string? why it is on
function guardrails.killed(config)
  if config.guardrails.kill_switch then return 'guardrails.kill_switch is on' end
  if file.stat(guardrails.kill_file(config)) then return 'the file KILL is in data_dir' end
end

--- Throws the kill switch: also where the audit trail cannot be written, as on a full disk.
local function switch_on(engine, who)
  local ok, message = file.write(guardrails.kill_file(engine.config), who .. '\n')
  if not ok then
    log.error('the kill switch could not be thrown', { who = who, error = message })
    return nil, message
  end
  log.warn('the kill switch is on', { who = who })
  local written, why = pcall(audit.append, engine.store, 'kill_switch', { on = true, who = who })
  if not written then log.error('the audit trail cannot be written', { error = why }) end
  return true
end

--- Throws the kill switch or takes it back. What lets actions happen again is written down first.
---@param engine table
---@param on boolean
---@param who string
---@return boolean? ok
---@return string? message
function guardrails.set_kill_switch(engine, on, who)
  if on then return switch_on(engine, who) end
  audit.append(engine.store, 'kill_switch', { on = false, who = who })
  os.remove(guardrails.kill_file(engine.config))
  local still = guardrails.killed(engine.config)
  log.warn(still and 'the kill switch stays on' or 'the kill switch is off',
    { who = who, reason = still })
  return true
end

local gates = {}

function gates.kill_switch(engine)
  local why = guardrails.killed(engine.config)
  if why then return 'the kill switch is on: ' .. why end
end

function gates.freeze(engine)
  for _, window in ipairs(engine.config.guardrails.freeze) do
    if freeze.covers(window, clock.now()) then return 'frozen ' .. freeze.text(window) end
  end
end

function gates.partial_data(_, p)
  if p.partial then return 'the incident rests on partial data' end
end

function gates.not_allowed(engine, p)
  for i, action in ipairs(p.actions) do
    local definition = registry.get(action.name)
    local why = definition.allowed and definition.allowed(action.args, engine.config)
    if why then return ('action %d: %s'):format(i, why) end
  end
end

--- Runs that count against a playbook: those that did something, or may have.
local RAN = [[state in ('approved', 'executing', 'executed', 'failed', 'unknown')]]

function gates.playbook_cooldown(engine, p)
  local def = engine.rules.playbooks[p.playbook]
  if not def or def.cooldown == 0 then return end
  local row = engine.store:row('select created_at from plans where playbook = ? and target = ? '
    .. 'and id <> ? and ' .. RAN .. ' order by created_at desc limit 1', p.playbook, p.target, p.id)
  local left = row and row.created_at + def.cooldown - clock.now()
  if left and left > 0 then
    return ('the playbook\'s cooldown of %s: %s left'):format(units.duration_text(def.cooldown),
      units.duration_text(math.ceil(left)))
  end
end

function gates.playbook_limit(engine, p)
  local def = engine.rules.playbooks[p.playbook]
  if not def or not def.limit then return end
  local n = engine.store:row('select count(*) as n from plans where playbook = ? and id <> ? '
    .. 'and created_at > ? and ' .. RAN, p.playbook, p.id, clock.now() - def.limit.per).n
  if n >= def.limit.count then
    return ('the playbook\'s limit: %d runs in the last %s, %d are allowed'):format(n,
      units.duration_text(def.limit.per), def.limit.count)
  end
end

--- The actions of other plans that are being carried out, and that the journal does not have yet.
local function promised(engine, p)
  local out = {}
  local rows = engine.store:rows(
    "select id, actions from plans where state = 'executing' and id <> ?", p.id)
  for _, row in ipairs(rows) do
    local begun = plans.journal_of(engine.store, row.id)
    for i, action in ipairs(json.decode(row.actions)) do
      if not begun[i] and registry.get(action.name).changes then out[#out + 1] = action end
    end
  end
  return out
end

local function changing(p)
  local n = 0
  for _, action in ipairs(p.actions) do n = n + (registry.get(action.name).changes and 1 or 0) end
  return n
end

function gates.max_actions_per_hour(engine, p)
  local done = engine.store:row([[select count(*) as n from actions where started_at > ?
    and plan_id <> ? and name <> 'verify']], clock.now() - 3600, p.id).n
  done = done + #promised(engine, p)
  local most, wanted = engine.config.guardrails.max_actions_per_hour, changing(p)
  if done + wanted > most then
    return ('max_actions_per_hour is %d: %d in the last hour, %d more wanted'):format(most, done,
      wanted)
  end
end

local function target_of(action)
  local definition = registry.get(action.name)
  return definition.changes and definition.target and definition.target(action.args) or nil
end

function gates.target_cooldown(engine, p)
  local cooldown, soon = engine.config.guardrails.cooldown, {}
  if cooldown == 0 then return end
  for _, action in ipairs(promised(engine, p)) do soon[target_of(action) or ''] = true end
  for _, action in ipairs(p.actions) do
    local target = target_of(action)
    if target and soon[target] then
      return ('guardrails.cooldown of %s for %s: another plan is about to act on it'):format(
        units.duration_text(cooldown), target)
    end
    local row = target and engine.store:row([[select started_at from actions where target = ?
      and plan_id <> ? order by started_at desc limit 1]], target, p.id)
    local left = row and row.started_at + cooldown - clock.now()
    if left and left > 0 then
      return ('guardrails.cooldown of %s for %s: %s left'):format(units.duration_text(cooldown),
        target, units.duration_text(math.ceil(left)))
    end
  end
end

-- What can be known when the plan is made; what must hold when it runs; what must still hold
-- between two of its actions.
local AT_PLANNING = { 'partial_data', 'not_allowed', 'playbook_cooldown', 'playbook_limit' }
local AT_START = { 'kill_switch', 'freeze', 'partial_data', 'not_allowed', 'playbook_cooldown',
  'playbook_limit', 'max_actions_per_hour', 'target_cooldown' }
local BETWEEN = { 'kill_switch', 'freeze', 'not_allowed' }

local function ask(names, engine, p)
  for _, name in ipairs(names) do
    local message = gates[name](engine, p)
    if message then return { gate = name, message = message } end
  end
end

---@param engine table
---@param p { id: string, playbook: string, target: string, actions: table[], partial?: boolean }
---@return Gate.Refusal?
function guardrails.at_planning(engine, p) return ask(AT_PLANNING, engine, p) end
--- The gates at the moment at which a plan would run.
function guardrails.at_start(engine, p) return ask(AT_START, engine, p) end
--- The gates between two actions of a plan that runs.
function guardrails.between(engine, p) return ask(BETWEEN, engine, p) end

return guardrails
