--- What clock and calendar on the wall show at an instant, in any time zone: what "usual for a
--- Monday at nine" and freeze windows go by. Instants are Unix seconds; without a zone it is UTC.
local check = require 'check'
local core = require 'perigee.calendar'

---@class calendar.Zone  a time zone, also for instants its file does not know yet
---@class calendar.Time
---@field year integer
---@field month integer    1 to 12
---@field day integer      1 to 31
---@field hour integer     0 to 23
---@field minute integer
---@field second integer
---@field weekday integer  0 to 6, Monday is 0
---@field offset integer   seconds east of UTC

local calendar = {}

--- A time zone by its name in the tz database. Reads a small file each time: keep the zone.
---@type fun(name: string): calendar.Zone?, string?  nil and the reason where there is none
calendar.zone = core.zone

--- What is wrong with the name of a time zone, or nil.
---@param v any
---@return string? message
function calendar.check_zone(v)
  if type(v) ~= 'string' then return check.expected('a time zone such as "Europe/Berlin"', v) end
  local found, message = core.zone(v)
  if not found then return message end
end

--- The days' names as people write them, from Monday on.
calendar.DAYS = { 'mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun' }

--- Seconds from midnight to a time of day such as "18:00"; "24:00" is the end of the day.
---@param v any
---@return integer?  nil where it is none
function calendar.seconds_of_day(v)
  local h, m = tostring(v):match '^(%d%d):(%d%d)$'
  local seconds = h and tonumber(m) < 60 and tonumber(h) * 3600 + tonumber(m) * 60
  return seconds and seconds <= 86400 and seconds or nil
end

--- 0 to 167; the hour that begins with Monday is 0.
---@type fun(t: number, zone?: calendar.Zone): integer
calendar.hour_of_week = core.hour_of_week

--- 0 to 23.
---@type fun(t: number, zone?: calendar.Zone): integer
calendar.hour_of_day = core.hour_of_day

--- 0 to 6; Monday is 0.
---@type fun(t: number, zone?: calendar.Zone): integer
calendar.weekday = core.weekday

--- Seconds east of UTC.
---@type fun(t: number, zone?: calendar.Zone): integer
calendar.offset = core.offset

--- All of it at once.
---@type fun(t: number, zone?: calendar.Zone): calendar.Time
calendar.time = core.time

--- Days from 1970-01-01 to a date; a day outside of its month counts on from the month's first.
---@type fun(year: integer, month: integer, day: integer): integer
calendar.days_from_civil = core.days_from_civil

--- The date that many days after 1970-01-01: year, month and day.
---@type fun(days: integer): integer, integer, integer
calendar.civil_from_days = core.civil_from_days

return calendar
