--- Freeze windows: times in which nothing is acted upon. Once, from one moment to another, or each
--- week on certain days from one time of day to another, in a time zone. A window that ends before
--- it starts goes over midnight and belongs to the day on which it starts.
local calendar = require 'perigee.calendar'
local check = require 'check'
local clock = require 'perigee.clock'

local freeze = {}

local DAYS = { mon = 0, tue = 1, wed = 2, thu = 3, fri = 4, sat = 5, sun = 6 }
local DAY_NAMES = { 'mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun' }

--- Unix seconds at which a day begins in UTC, or nil where there is no such day.
local function midnight_of(year, month, day)
  if month < 1 or month > 12 then return nil end
  local days = calendar.days_from_civil(year, month, day)
  local _, m, d = calendar.civil_from_days(days)
  return m == month and d == day and days * 86400 or nil
end

local function moment(v)
  local y, m, d, h, min, s, zone =
    tostring(v):match '^(%d%d%d%d)%-(%d%d)%-(%d%d)[T ](%d%d):(%d%d):(%d%d)%.?%d*(.*)$'
  local sign, zh, zm = (zone or ''):match '^([+-])(%d%d):(%d%d)$'
  if zone == 'Z' then sign, zh, zm = '+', '0', '0' end
  local midnight = sign and midnight_of(tonumber(y), tonumber(m), tonumber(d))
  if not midnight or tonumber(h) > 23 or tonumber(min) > 59 or tonumber(s) > 60 then
    return check.expected('a time with its zone, such as "2026-12-24T18:00:00Z" or "…+01:00"', v)
  end
  local offset = (tonumber(zh) * 3600 + tonumber(zm) * 60) * (sign == '+' and 1 or -1)
  return nil, midnight + tonumber(h) * 3600 + tonumber(min) * 60 + tonumber(s) - offset
end

local function time_of_day(v)
  local h, m = tostring(v):match '^(%d%d):(%d%d)$'
  if not h or tonumber(h) > 24 or tonumber(m) > 59 or tonumber(h) == 24 and tonumber(m) > 0 then
    return check.expected('a time of day such as "18:00"', v)
  end
  return nil, tonumber(h) * 3600 + tonumber(m) * 60
end

local function zone(v)
  if type(v) ~= 'string' then return check.expected('a time zone such as "Europe/Berlin"', v) end
  local found, message = calendar.zone(v)
  if not found then return message end
end

local SPEC = {
  from = { test = moment },
  to = { test = moment },
  days = check.list_of(check.one_of(nil, DAY_NAMES)),
  start = { test = time_of_day },
  ['end'] = { test = time_of_day },
  timezone = { default = 'UTC', test = zone },
}

--- The rule for one window in the configuration.
freeze.rule = { test = function(v)
  local message, w, nested = check.table_of(SPEC).test(v)
  if message then return message, nil, nested end
  local once, weekly = w.from and w.to, w.start and w['end']
  if not once == not weekly or (once and (w.days or w.start or w['end']))
    or (weekly and (w.from or w.to)) then
    return 'expected { from, to }, or { days, start, end, timezone }'
  end
  if once and w.to <= w.from then return 'expected "to" after "from"' end
  if w.days and #w.days == 0 then return '"days" holds no day; without it, it is every day' end
  return nil, w
end }

local function covers_weekly(w, time)
  local at = calendar.time(time, calendar.zone(w.timezone))
  local day, second = at.weekday, at.hour * 3600 + at.minute * 60 + at.second
  local function on(d)
    if not w.days then return true end
    for _, name in ipairs(w.days) do
      if DAYS[name] == d % 7 then return true end
    end
    return false
  end
  local from, to = w.start, w['end']
  if from < to then return on(day) and second >= from and second < to end
  return on(day) and second >= from or on(day - 1) and second < to
end

--- Whether a window covers a time.
---@param window table  as the rule returned it
---@param time number   Unix seconds
function freeze.covers(window, time)
  if window.from then return time >= window.from and time < window.to end
  return covers_weekly(window, time)
end

--- What a window says of itself.
function freeze.text(window)
  if window.from then
    return ('from %s to %s'):format(clock.text(window.from), clock.text(window.to))
  end
  local function of_day(s) return ('%02d:%02d'):format(s // 3600, s % 3600 // 60) end
  return ('%s %s-%s %s'):format(window.days and table.concat(window.days, ',') or 'daily',
    of_day(window.start), of_day(window['end']), window.timezone)
end

return freeze
