--- What the actions of a plan would do to their targets as they are now: shown to who decides, and
--- what a decision is bound to. Looking waits and changes nothing.
local check = require 'check'
local json = require 'perigee.json'
local log = require 'log'
local plan = require 'engine.plan'
local registry = require 'actions.registry'

local previews = {}

-- What is kept with a plan; `before` is for who acts, and taken anew then.
local KEPT = { 'summary', 'observed', 'current', 'proposed', 'diff', 'warnings', 'unavailable',
  'ready', 'replicas', 'workload', 'owner', 'refusal', 'nothing' }

--- What an action is given beside its arguments.
---@param engine table
---@param p { id: string }
---@param position integer
---@param direction "forward"|"revert"
---@param more? table  purpose, before, started_at
---@return Action.Context
function previews.context(engine, p, position, direction, more)
  local context = { config = engine.config, own_port = engine.own_port,
    key = ('%s-%d-%s'):format(p.id, position, direction), purpose = 'run',
    kubernetes = engine.kubernetes, alertmanager = engine.alertmanager, github = engine.github,
    slack = engine.slack }
  for name, value in pairs(more or {}) do context[name] = value end
  return context
end

--- Whether any of the actions has something to look at.
function previews.needed(actions)
  for _, action in ipairs(actions) do
    if registry.get(action.name).preview then return true end
  end
  return false
end

--- What an action says of its target. An error of its own is a failure as others are, or whoever
--- asks would ask for ever.
---@param what "preview"|"settled"|"find_out"
---@return table? said
---@return any more
---@return string? mistake
function previews.ask(what, action, context)
  local ok, said, more = pcall(registry.get(action.name)[what], plan.arguments(action), context)
  if ok then return said, more end
  log.error('a mistake in an action', { action = action.name, part = what, error = said })
  return nil, nil, ('a mistake in %s: %s'):format(action.name, said)
end

--- The preview of one action; an empty one where it has none. Where the operator's configuration
--- forbids it nobody is asked: the gate says why.
---@return Action.Preview?
---@return Action.Failure?
function previews.one(engine, p, position, purpose)
  local action = p.actions[position]
  local definition = registry.get(action.name)
  if not definition.preview then return {} end
  local forbidden = definition.allowed
    and definition.allowed(plan.arguments(action), engine.config)
  if forbidden then return { refusal = purpose == 'run' and forbidden or nil } end
  local seen, failure, mistake = previews.ask('preview', action,
    previews.context(engine, p, position, 'forward', { purpose = purpose }))
  if seen then return seen end
  failure = failure or { message = mistake }
  return nil, { transient = failure.transient,
    message = ('action %d (%s): %s'):format(position, action.name, failure.message) }
end

--- The previews of all actions, by position.
---@param purpose "plan"|"run"
---@return Action.Preview[]?
---@return Action.Failure?
function previews.all(engine, p, purpose)
  local out = {}
  for i in ipairs(p.actions) do
    local seen, failure = previews.one(engine, p, i, purpose)
    if not seen then return nil, failure end
    out[i] = seen
  end
  return out
end

--- Why a plan cannot do what it says, or has nothing to do; or nil.
---@param list Action.Preview[]
function previews.refusal(actions, list)
  local idle, changes = nil, 0
  for i, action in ipairs(actions) do
    local words = list[i].refusal
    if words then return ('action %d (%s): %s'):format(i, action.name, words) end
    if registry.get(action.name).changes then
      changes = changes + 1
      if list[i].nothing then idle = (idle or 0) + 1 end
    end
  end
  if not idle or idle < changes then return nil end
  for i in ipairs(actions) do
    if list[i].nothing then return 'nothing to do: ' .. list[i].nothing end
  end
end

--- The first action whose field somebody else sees to, or nil.
---@return string?
function previews.owner(list)
  for _, preview in ipairs(list or {}) do
    if preview.owner then return preview.owner end
  end
end

--- What is kept with a plan of its previews.
---@return table[]
function previews.kept(list)
  local out = json.array()
  for i, preview in ipairs(list) do
    local kept = {}
    for _, name in ipairs(KEPT) do kept[name] = preview[name] end
    out[i] = kept
  end
  return out
end

--- How a target differs from what a plan was made for; or nil.
---@param kept Action.Preview
---@param now Action.Preview
local function differs(kept, now)
  if now.refusal and not kept.refusal then return now.refusal end
  local was, is = kept.observed or {}, now.observed or {}
  if was.uid and is.uid and was.uid ~= is.uid then return 'it was deleted and made anew' end
  for _, set in ipairs { was, is } do
    for _, name in ipairs(check.names(set)) do
      if was[name] ~= is[name] then
        return ('%s was %s, now it is %s'):format(name, was[name] or 'absent',
          is[name] or 'absent')
      end
    end
  end
end

--- Actions before this one that have the same target: what it was shown with, they have changed.
local function follows_another(p, position)
  local function target(i)
    local definition = registry.get(p.actions[i].name)
    return definition.target and definition.target(plan.arguments(p.actions[i]))
  end
  local own = target(position)
  for i = 1, position - 1 do
    if own and target(i) == own then return true end
  end
  return false
end

--- How the target of one action has changed since the plan was made; or nil.
---@param now Action.Preview
function previews.changed(p, position, now)
  if not p.previews[position] or follows_another(p, position) then return nil end
  local words = differs(p.previews[position], now)
  return words and ('the target of action %d (%s) has changed since the plan was made: %s'):format(
    position, p.actions[position].name, words)
end

--- Looks at the targets of a plan again.
---@param engine table
---@param p table  from plans.get()
---@return string? words           how they have drifted; nil: they have not, or nobody can say
---@return Action.Failure? failure what kept it from looking
---@return Action.Preview[]? now   what was seen
function previews.drift(engine, p)
  local now, failure = previews.all(engine, p, 'run')
  if not now then
    if failure.transient then return nil, failure end
    return failure.message
  end
  for i in ipairs(p.actions) do
    local words = previews.changed(p, i, now[i])
    if words then return words end
  end
  return nil, nil, now
end

return previews
