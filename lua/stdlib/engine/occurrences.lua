--- What playbooks are asked about, each once: an alert, an event, a time. That they were asked is
--- kept in the transaction of the plan that came of it: neither a crash nor a reload asks twice.
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local playbooks = require 'engine.playbooks'

local occurrences = {}

local KEEP = 7 * 86400 -- seconds that is known what was asked, after it was there last
local FRESH = 86400    -- seconds after which it is noted that it is still there
local PRUNE_EVERY = 3600

local function row_of(store, def, name)
  return store:row('select at, event from occurrences where playbook = ? and occurrence = ?',
    def.name, name)
end

--- Whether a playbook has been asked about an occurrence. That it is still there is noted now and
--- then.
---@return boolean
function occurrences.is_done(engine, def, name)
  local row = row_of(engine.store, def, name)
  if not row or row.event then return false end
  if math.abs(clock.now() - row.at) > FRESH then occurrences.mark(engine, def, name) end
  return true
end

--- Whether a playbook has been asked about an occurrence, or is to be.
function occurrences.is_known(engine, def, name) return row_of(engine.store, def, name) ~= nil end

--- Keeps an occurrence that a playbook is to be asked about.
---@param event table  plain data
function occurrences.keep(engine, def, name, event)
  engine.store:exec([[insert into occurrences (playbook, occurrence, at, event)
    values (?, ?, ?, ?)]], def.name, name, clock.now(), json.encode(event))
end

--- A playbook has been asked about it.
---@param at? number  Unix seconds; now
function occurrences.mark(engine, def, name, at)
  engine.store:exec([[insert or replace into occurrences (playbook, occurrence, at)
    values (?, ?, ?)]], def.name, name, at or clock.now())
end

--- Asks a playbook about an occurrence, unless it has been.
---@param engine table
---@param def table    the playbook
---@param name string  of the occurrence, among those of the playbook
---@param event table  what its function is given
---@param target string
---@param about? { partial?: boolean, requester?: string }  as playbooks.propose() has it
---@return boolean done  it has been asked by now
function occurrences.offer(engine, def, name, event, target, about)
  local function is_new() return not occurrences.is_done(engine, def, name) end
  if not is_new() then return true end
  playbooks.propose(engine, def, event, { target = target, is_new = is_new,
    partial = about and about.partial, requester = about and about.requester,
    done = function() occurrences.mark(engine, def, name) end })
  return not is_new()
end

--- Whether an old occurrence is one that may still be there.
local function lasts(store, name)
  local fingerprint, starts_at = name:match '^alert/(%x+)/([%d.]+)$'
  return name:find '^every/' or fingerprint and store:row([[select 1 as one from alerts
    where fingerprint = ? and starts_at = ? and status = 'firing']], fingerprint, starts_at)
end

--- Forgets, now and then, what was asked long ago.
function occurrences.prune(engine)
  local last, now = engine.occurrences_pruned_at, clock.now()
  if last and math.abs(now - last) < PRUNE_EVERY then return end
  engine.occurrences_pruned_at = now
  local store = engine.store
  store:relaxed(function()
    for _, row in ipairs(store:rows('select playbook, occurrence from occurrences where at < ?',
      now - KEEP)) do
      if not engine.rules.playbooks[row.playbook] or not lasts(store, row.occurrence) then
        store:exec('delete from occurrences where playbook = ? and occurrence = ?', row.playbook,
          row.occurrence)
      end
    end
  end)
end

return occurrences
