--- A storm: more incidents within a while than a service has by itself. Then something else is
--- wrong, and automation would make it worse: nothing is acted upon until it is calm again, or a
--- person ends it. Plans are made and shown all the while.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local log = require 'log'
local notify = require 'engine.notify'
local units = require 'units'

local storm = {}

---@class Storm
---@field since? number     Unix seconds: while it lasts
---@field ended_at? number  incidents before it count no more: a person has ended a storm

---@return Storm
local function read(store)
  local row = store:row "select value from settings where name = 'storm'"
  return row and json.decode(row.value) or {}
end

local function write(store, state)
  store:exec("insert or replace into settings (name, value) values ('storm', ?)",
    json.encode(state))
end

local function opened(engine, state)
  local since = math.max(clock.now() - engine.config.guardrails.storm.within, state.ended_at or 0)
  return engine.store:row('select count(*) as n from incidents where opened_at > ?', since).n
end

local function words_of(engine, n)
  local limit = engine.config.guardrails.storm
  return ('%d incidents within %s; guardrails.storm allows %d'):format(n,
    units.duration_text(limit.within), limit.incidents)
end

local function begin(engine, n)
  local words = words_of(engine, n)
  write(engine.store, { since = clock.now() })
  audit.append(engine.store, 'storm', { on = true, reason = words })
  notify.page(engine, { id = '', playbook = '' }, 'a storm has stopped all automation: ' .. words)
end

--- Looks how things are: a storm begins with more incidents than are allowed, and ends when there
--- are no more than half as many. Whoever looks first writes it down.
---@return string? words  while it lasts
---@return string? calm   while it does not
function storm.look(engine)
  local store, most = engine.store, engine.config.guardrails.storm.incidents
  local state = read(store)
  local n = opened(engine, state)
  if not state.since and n > most then
    store:transaction(function() begin(engine, n) end)
    return words_of(engine, n)
  elseif state.since and n <= most // 2 then
    store:transaction(function()
      write(store, { ended_at = state.ended_at })
      audit.append(store, 'storm', { on = false, reason = words_of(engine, n) })
    end)
    log.warn('the storm is over', { reason = words_of(engine, n) })
  elseif state.since then
    return words_of(engine, n)
  end
  return nil, words_of(engine, n)
end

--- A person ends it: what happened until now counts no more.
---@return boolean  there was one
function storm.stop(engine, who)
  return engine.store:transaction(function()
    if not read(engine.store).since then return false end
    write(engine.store, { ended_at = clock.now() })
    audit.append(engine.store, 'storm', { on = false, who = who })
    log.warn('the storm is over', { who = who })
    return true
  end)
end

--- How it is, for people.
---@return { on: boolean, since?: string, reason: string }
function storm.view(engine)
  local words, calm = storm.look(engine)
  local since = read(engine.store).since
  return { on = words ~= nil, since = words and clock.text(since) or nil, reason = words or calm }
end

--- The gate.
function storm.gate(engine)
  local words, calm = storm.look(engine)
  if words then return ('a storm has stopped all automation: %s'):format(words) end
  return nil, calm
end

return storm
