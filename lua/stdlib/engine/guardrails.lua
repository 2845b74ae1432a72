--- The gates between a plan and what it would do. They belong to the operator's configuration; a
--- rule can only be tighter. Each gate refuses, in words, or lets pass, in words; the first that
--- refuses decides. What was asked is kept with the plan (engine/story.lua).
local audit = require 'engine.audit'
local blast_radius = require 'engine.gates.blast_radius'
local breaker = require 'engine.breaker'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local freeze = require 'engine.freeze'
local json = require 'perigee.json'
local limits = require 'engine.gates.limits'
local log = require 'log'
local scope = require 'engine.gates.scope'
local silences = require 'engine.silences'
local storm = require 'engine.storm'
local story = require 'engine.story'
local trust = require 'engine.trust'

local guardrails = {}

---@class Gate.Refusal
---@field gate string     a bounded name, for the metrics
---@field message string  with the values that decided
---@class Gate.Asked
---@field gate string
---@field refused? boolean  true: it decided
---@field message string    with the values that it looked at

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

local gates = { storm = storm.gate, trust = trust.gate, breaker = breaker.gate,
  not_allowed = scope.not_allowed, scope = scope.scope, blast_radius = blast_radius,
  silenced = silences.gate }
for name, gate in pairs(limits) do gates[name] = gate end

function gates.kill_switch(engine)
  local why = guardrails.killed(engine.config)
  if why then return 'the kill switch is on: ' .. why end
  return nil, 'the kill switch is off'
end

--- Of a plan that has not begun, dry run is no refusal but its end (engine/execute.lua).
function gates.dry_run(engine)
  if engine.config.guardrails.dry_run then
    return 'guardrails.dry_run has been switched on meanwhile'
  end
  return nil, 'guardrails.dry_run is off'
end

function gates.freeze(engine, p)
  local g, namespaces = engine.config.guardrails, trust.namespaces_of(p)
  for _, list in ipairs { g.freeze, engine.config.calendar } do
    for _, window in ipairs(list) do
      if freeze.covers(window, clock.now())
        and freeze.concerns(window, p.playbook, namespaces) then
        return 'frozen ' .. freeze.text(window)
      end
    end
  end
  return nil, ('none of %d windows covers now'):format(#g.freeze + #engine.config.calendar)
end

function gates.partial_data(_, p)
  if p.partial then return 'the incident rests on partial data' end
  return nil, 'the data is whole'
end

-- In this order. What can be known when the plan is made; what must hold when it runs; what must
-- still hold before each of its actions. docs/safety.md has them in a table.
local AT_PLANNING = { 'partial_data', 'not_allowed', 'scope', 'breaker', 'playbook_cooldown',
  'playbook_limit', 'blast_radius' }
local AT_START = { 'kill_switch', 'storm', 'freeze', 'silenced', 'trust', 'partial_data',
  'not_allowed', 'scope', 'breaker', 'playbook_cooldown', 'playbook_limit',
  'max_actions_per_hour', 'namespace_limit', 'target_limit', 'playbook_actions',
  'target_cooldown', 'blast_radius' }
local BETWEEN = { 'kill_switch', 'storm', 'freeze', 'silenced', 'dry_run', 'trust', 'not_allowed',
  'scope', 'blast_radius' }
-- What is undone was there before: neither a silence nor what else is under way makes it worse.
local BEFORE_REVERT = { 'kill_switch', 'storm', 'freeze', 'dry_run', 'not_allowed', 'scope' }

---@return Gate.Refusal?
---@return Gate.Asked[]
local function ask(names, engine, p)
  local asked = json.array()
  for i, name in ipairs(names) do
    local refusal, words = gates[name](engine, p)
    asked[i] = { gate = name, refused = refusal ~= nil or nil, message = refusal or words }
    if refusal then return { gate = name, message = refusal }, asked end
  end
  return nil, asked
end

--- The gates when a plan is made; what they said is put into p.story.
---@param engine table
---@param p { id: string, playbook: string, target: string, trust: string, actions: table[],
---   previews?: Action.Preview[], partial?: boolean }
---@return Gate.Refusal?
function guardrails.at_planning(engine, p)
  local refusal, asked = ask(AT_PLANNING, engine, p)
  p.story = p.story or {}
  p.story.planning = asked
  return refusal
end

--- The gates at the moment at which a plan would run.
function guardrails.at_start(engine, p)
  local refusal, asked = ask(AT_START, engine, p)
  story.tell(engine.store, p.id, 'start', asked)
  return refusal
end

local function before(names, engine, p, position)
  local refusal, asked = ask(names, engine, setmetatable({ at = position }, { __index = p }))
  if refusal then story.tell(engine.store, p.id, 'between', asked) end
  return refusal
end

--- The gates before each action of a plan that runs.
---@param position integer  of the action; p.previews has what was seen of its target just now
function guardrails.between(engine, p, position) return before(BETWEEN, engine, p, position) end

--- The gates before each revert.
---@param position integer  of the action that is undone
function guardrails.before_revert(engine, p, position)
  return before(BEFORE_REVERT, engine, p, position)
end

--- What every gate would say of a plan now, each for itself; nothing is kept.
---@return Gate.Asked[]
function guardrails.now(engine, p)
  local out = json.array()
  for i, name in ipairs(AT_START) do out[i] = select(2, ask({ name }, engine, p))[1] end
  return out
end

return guardrails
