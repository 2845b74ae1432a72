--- Freeze windows: times in which nothing is acted upon. Once, from one moment to another, or again
--- and again on certain days from one time of day to another, in a time zone. A window that ends
--- before it starts goes over midnight and belongs to the day on which it starts. One with a scope
--- holds only for what is in it.
local calendar = require 'calendar'
local check = require 'check'
local clock = require 'perigee.clock'
local names = require 'engine.gates.names'

local freeze = {}

local MONTH_NAMES = { 'jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov',
  'dec' }

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
  local seconds = calendar.seconds_of_day(v)
  if not seconds then return check.expected('a time of day such as "18:00"', v) end
  return nil, seconds
end

--- A day of the month, or several: 1, -1 (the last), "25:31", "-3:-1".
local function days_of_month(v)
  local first, last = tostring(v):match '^(%-?%d+):(%-?%d+)$'
  first, last = math.tointeger(tonumber(first or v)), math.tointeger(tonumber(last or v))
  local function is_day(n) return n and n ~= 0 and math.abs(n) <= 31 end
  if not is_day(first) or not is_day(last) or (first < 0) ~= (last < 0) or last < first then
    return check.expected('a day of the month such as 1, -1 for the last, or "25:31"', v)
  end
  return nil, { first = first, last = last }
end

local SPEC = {
  name = check.string(),
  namespaces = check.list_of(check.string()),
  playbooks = check.list_of(check.string()),
  from = { test = moment },
  to = { test = moment },
  days = check.list_of(check.one_of(nil, calendar.DAYS)),
  days_of_month = check.list_of { test = days_of_month },
  months = check.list_of(check.one_of(nil, MONTH_NAMES)),
  start = { test = time_of_day },
  ['end'] = { test = time_of_day },
  timezone = { default = 'UTC', test = calendar.check_zone },
}

-- Empty, each of these would be a window that never holds.
local NOT_EMPTY = { days = 'it is every day', days_of_month = 'it is every day',
  months = 'it is every month', namespaces = 'it holds for all', playbooks = 'it holds for all' }

--- The rule for one window in the configuration.
freeze.rule = { test = function(v)
  local message, w, nested = check.table_of(SPEC).test(v)
  if message then return message, nil, nested end
  local once, again = w.from and w.to, w.start and w['end']
  if not once == not again
    or (once and (w.days or w.days_of_month or w.months or w.start or w['end']))
    or (again and (w.from or w.to)) then
    return 'expected { from, to }, or { days, start, end, timezone }'
  end
  if once and w.to <= w.from then return 'expected "to" after "from"' end
  for _, name in ipairs(check.names(NOT_EMPTY)) do
    if w[name] and #w[name] == 0 then
      return ('"%s" is empty; without it, %s'):format(name, NOT_EMPTY[name])
    end
  end
  return nil, w
end }

--- Whether a list of days of the month holds a day of a month that has so many.
local function holds_day(list, day, length)
  for _, days in ipairs(list) do
    local n = days.first < 0 and day - length - 1 or day
    if n >= days.first and n <= days.last then return true end
  end
  return false
end

--- Whether a window that comes again begins on a date.
local function on(w, year, month, day)
  local number = calendar.days_from_civil(year, month, day)
  year, month, day = calendar.civil_from_days(number)
  local function holds(list, name)
    for _, one in ipairs(list or { name }) do
      if one == name then return true end
    end
    return false
  end
  local next_month = month == 12 and calendar.days_from_civil(year + 1, 1, 1)
    or calendar.days_from_civil(year, month + 1, 1)
  local length = next_month - calendar.days_from_civil(year, month, 1)
  return holds(w.days, calendar.DAYS[(number + 3) % 7 + 1]) -- 1970 began on a Thursday
    and holds(w.months, MONTH_NAMES[month])
    and (not w.days_of_month or holds_day(w.days_of_month, day, length))
end

local function covers_again(w, time)
  local at = calendar.time(time, calendar.zone(w.timezone))
  local second = at.hour * 3600 + at.minute * 60 + at.second
  local from, to = w.start, w['end']
  local today = on(w, at.year, at.month, at.day)
  if from < to then return today and second >= from and second < to end
  return today and second >= from or second < to and on(w, at.year, at.month, at.day - 1)
end

--- Whether a window covers a time.
---@param window table  as the rule returned it
---@param time number   Unix seconds
function freeze.covers(window, time)
  if window.from then return time >= window.from and time < window.to end
  return covers_again(window, time)
end

--- Whether a window has to do with a plan.
---@param window table
---@param playbook string
---@param namespaces table<string, any>  that the plan acts in, as keys
function freeze.concerns(window, playbook, namespaces)
  if window.playbooks and not names.listed(playbook, window.playbooks) then return false end
  if not window.namespaces then return true end
  for namespace in pairs(namespaces) do
    if names.listed(namespace, window.namespaces) then return true end
  end
  return false
end

local function time_text(w)
  if w.from then return ('from %s to %s'):format(clock.text(w.from), clock.text(w.to)) end
  local function of_day(s) return ('%02d:%02d'):format(s // 3600, s % 3600 // 60) end
  local parts = {}
  for _, list in ipairs { w.months or {}, w.days or {} } do
    if #list > 0 then parts[#parts + 1] = table.concat(list, ',') end
  end
  for _, d in ipairs(w.days_of_month or {}) do
    parts[#parts + 1] = d.first == d.last and ('day %d'):format(d.first)
      or ('days %d:%d'):format(d.first, d.last)
  end
  return ('%s %s-%s %s'):format(#parts > 0 and table.concat(parts, ' ') or 'daily',
    of_day(w.start), of_day(w['end']), w.timezone)
end

--- What a window says of itself.
function freeze.text(window)
  local words = time_text(window)
  return window.name and ('%s (%s)'):format(words, window.name) or words
end

return freeze
