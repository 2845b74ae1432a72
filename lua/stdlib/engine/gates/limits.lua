--- Gates that count: how often, how soon again. What is counted is in the store: runs of playbooks,
--- and the journal of actions.
local clock = require 'perigee.clock'
local counted = require 'engine.gates.counted'
local json = require 'perigee.json'
local units = require 'units'

local limits = {}

--- Runs that count against a playbook: those that did something, or may have.
local RAN = [[state in ('approved', 'executing', 'executed', 'failed', 'unknown')]]

--- Time that is left of a pause, or nil.
local function left(since, pause)
  local seconds = since and since + pause - clock.now()
  return seconds and seconds > 0 and units.duration_text(math.ceil(seconds)) or nil
end

--- The gate for the cooldown that a playbook declares, by the target of its trigger.
function limits.playbook_cooldown(engine, p)
  local def = engine.rules.playbooks[p.playbook]
  if not def or def.cooldown == 0 then return nil, 'the playbook has no cooldown' end
  local row = engine.store:row('select created_at from plans where playbook = ? and target = ? '
    .. 'and id <> ? and ' .. RAN .. ' order by created_at desc limit 1', p.playbook, p.target, p.id)
  local pause, text = left(row and row.created_at, def.cooldown), units.duration_text(def.cooldown)
  if pause then return ('the playbook\'s cooldown of %s: %s left'):format(text, pause) end
  return nil, ('the playbook\'s cooldown of %s is over'):format(text)
end

--- The gate for the number of runs that a playbook declares.
function limits.playbook_limit(engine, p)
  local def = engine.rules.playbooks[p.playbook]
  if not def or not def.limit then return nil, 'the playbook has no limit' end
  local n = engine.store:row('select count(*) as n from plans where playbook = ? and id <> ? '
    .. 'and created_at > ? and ' .. RAN, p.playbook, p.id, clock.now() - def.limit.per).n
  local words = ('the playbook\'s limit: %d runs in the last %s, %d are allowed'):format(n,
    units.duration_text(def.limit.per), def.limit.count)
  if n >= def.limit.count then return words end
  return nil, words
end

--- The gate for the actions of all playbooks.
function limits.max_actions_per_hour(engine, p)
  local done = engine.store:row([[select count(*) as n from actions where started_at > ?
    and plan_id <> ? and name <> 'verify']], clock.now() - 3600, p.id).n
  done = done + #counted.promised(engine.store, p.id)
  local most, wanted = engine.config.guardrails.max_actions_per_hour, #counted.of(p)
  local words = ('max_actions_per_hour is %d: %d in the last hour, %d more wanted'):format(most,
    done, wanted)
  if done + wanted > most then return words end
  return nil, words
end

--- A gate for one of guardrails.limits: actions of each of what it is about, in a window.
---@param name "namespace"|"target"|"playbook"
---@param sql string                          counts the journal's rows of one
---@param of fun(seen: gates.Counted): string? which one an action belongs to
local function window(name, sql, of)
  return function(engine, p)
    local limit = engine.config.guardrails.limits[name]
    if not limit then return nil, ('guardrails.limits.%s is not set'):format(name) end
    local wanted, promised, names = {}, {}, {}
    for _, seen in ipairs(counted.of(p)) do
      local which = of(seen, p)
      if which and not wanted[which] then names[#names + 1] = which end
      if which then wanted[which] = (wanted[which] or 0) + 1 end
    end
    for _, seen in ipairs(counted.promised(engine.store, p.id)) do
      local which = of(seen, seen)
      if which then promised[which] = (promised[which] or 0) + 1 end
    end
    local told = {}
    for i, which in ipairs(names) do
      local done = engine.store:row(sql, which, clock.now() - limit.within, p.id).n
        + (promised[which] or 0)
      told[i] = ('guardrails.limits.%s is %d in %s: %d of %s, %d more wanted'):format(name,
        limit.actions, units.duration_text(limit.within), done, which, wanted[which])
      if done + wanted[which] > limit.actions then return told[i] end
    end
    return nil, told[1] and table.concat(told, '; ') or ('it has no %s'):format(name)
  end
end

local COUNT = [[select count(*) as n from actions where %s and started_at > ? and plan_id <> ?
  and name <> 'verify']]

limits.namespace_limit = window('namespace', COUNT:format 'namespace = ?', function(seen)
  return seen.namespace ~= '' and seen.namespace or nil
end)
limits.target_limit = window('target', COUNT:format 'target = ?',
  function(seen) return seen.target end)
limits.playbook_actions = window('playbook', COUNT:format
  'plan_id in (select id from plans where playbook = ?)', function(_, p) return p.playbook end)

--- What the cooldown goes by: the target itself, and the workload whose pods it is about. Another
--- pod of one Deployment has another name.
local function places_of(seen)
  local places = { seen.target }
  places[#places + 1] = seen.preview and seen.preview.workload
  return places
end

--- When each place was acted upon last, by other plans, within a time.
local function acted_upon(store, plan_id, since)
  local out = {}
  local rows = store:rows([[select a.target, a.position, a.started_at, p.previews from actions a
    join plans p on p.id = a.plan_id where a.started_at > ? and a.plan_id <> ?
    and a.name <> 'verify' order by a.started_at]], since, plan_id)
  for _, row in ipairs(rows) do
    local preview = json.decode(row.previews)[row.position]
    for _, place in ipairs(places_of { target = row.target, preview = preview }) do
      out[place] = row.started_at
    end
  end
  return out
end

--- The gate for the pause between two actions on one target.
function limits.target_cooldown(engine, p)
  local cooldown, soon = engine.config.guardrails.cooldown, {}
  if cooldown == 0 then return nil, 'guardrails.cooldown is 0' end
  local text = units.duration_text(cooldown)
  for _, seen in ipairs(counted.promised(engine.store, p.id)) do
    for _, place in ipairs(places_of(seen)) do soon[place] = true end
  end
  local last = acted_upon(engine.store, p.id, clock.now() - cooldown)
  for _, seen in ipairs(counted.of(p)) do
    for _, place in ipairs(places_of(seen)) do
      if soon[place] then
        return ('guardrails.cooldown of %s for %s: another plan is about to act on it'):format(text,
          place)
      end
      local pause = left(last[place], cooldown)
      if pause then
        return ('guardrails.cooldown of %s for %s: %s left'):format(text, place, pause)
      end
    end
  end
  return nil, ('guardrails.cooldown of %s is over'):format(text)
end

return limits
