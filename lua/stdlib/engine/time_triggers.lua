--- Times as triggers: every so often, on a grid that begins with 1970, or at a time of day in a
--- time zone. Each time is a trigger once; one that was missed for long, because nothing ran, is
--- left out.
local calendar = require 'calendar'
local clock = require 'perigee.clock'
local occurrences = require 'engine.occurrences'
local playbooks = require 'engine.playbooks'

local time_triggers = {}

local LATE = 600 -- seconds
local DAY = 86400

--- The instant at which a time of day comes on the day that began so many days after 1970-01-01.
local function instant(days, at, zone)
  local guess = days * DAY + at
  local t = guess - calendar.offset(guess, zone)
  return guess - calendar.offset(t, zone)
end

--- The latest time of day at or before now, on one of the days.
local function latest_of_day(when, now)
  local zone = calendar.zone(when.timezone)
  local wanted = {}
  for _, name in ipairs(when.days) do wanted[name] = true end
  local today = (now + calendar.offset(now, zone)) // DAY
  for days = today, today - 7, -1 do
    local t = instant(days, when.at, zone)
    -- 1970 began on a Thursday.
    if t <= now and wanted[calendar.DAYS[(days + 3) % 7 + 1]] then return t end
  end
end

--- The latest time at or before now.
---@param when table  of a playbook
---@param now number  Unix seconds
---@return number? time
function time_triggers.latest(when, now)
  if when.every then return now // when.every * when.every end
  return latest_of_day(when, now)
end

--- What a trigger is called in the store: another one begins anew.
local function name_of(when)
  if when.every then return ('every/%g'):format(when.every) end
  return ('every/%d/%s/%s'):format(when.at, when.timezone, table.concat(when.days, ','))
end

local function look(engine, def, now)
  local name, store = name_of(def.when), engine.store
  local due = time_triggers.latest(def.when, now)
  local function last()
    local row = store:row('select at from occurrences where playbook = ? and occurrence = ?',
      def.name, name)
    return row and row.at
  end
  if not last() or last() > now then -- declared just now, or the clock was set back
    return occurrences.mark(engine, def, name, due or now)
  end
  local function is_new() return due > last() end
  if not due or not is_new() then return end
  local function done() occurrences.mark(engine, def, name, due) end
  if now - due > LATE then return done() end
  playbooks.propose(engine, def, { trigger = 'every', labels = {},
    annotations = {}, since = clock.text(due), time = due }, { target = '', is_new = is_new,
    done = done })
end

--- Asks the playbooks whose time has come.
---@param engine table
function time_triggers.look(engine)
  local now = clock.now()
  for _, def in pairs(engine.rules.playbooks) do
    if def.when.kind == 'every' then look(engine, def, now) end
  end
end

return time_triggers
