--- Where the marks of an axis lie and what is written beside them: round values, round times.
local calendar = require 'perigee.calendar'

local ticks = {}

---@class plot.Tick
---@field at number     a value, or Unix seconds
---@field text string
---@field major? boolean  where a larger unit begins: a day among hours, a year among months

-- -- values ---------------------------------------------------------------------------------------

local STEPS = { 1, 2, 2.5, 5, 10 }

--- The least round step, of 1, 2, 2.5 and 5 times a power of ten, that is no smaller.
local function round_step(rough)
  local power = 10 ^ math.floor(math.log(rough, 10))
  for _, s in ipairs(STEPS) do
    if s * power >= rough * (1 - 1e-9) then return s * power end
  end
  return 10 * power
end

local PREFIXES = { { 1e15, 'P' }, { 1e12, 'T' }, { 1e9, 'G' }, { 1e6, 'M' }, { 1e3, 'k' },
  { 1, '' }, { 1e-3, 'm' }, { 1e-6, 'µ' }, { 1e-9, 'n' }, { 1e-12, 'p' } }

--- Digits behind the point that tell two neighbours of a step apart.
local function decimals(step)
  local n = 0
  while n < 9 and math.abs(step * 10 ^ n - math.floor(step * 10 ^ n + 0.5)) > 1e-6 do n = n + 1 end
  return n
end

local function plain(x, digits)
  local text = ('%.' .. digits .. 'f'):format(x)
  return (text:gsub('^%-(0%.?0*)$', '%1'))
end

-- Seconds have units of their own above one.
local TIMES = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'min' } }

--- A value with its unit, in the digits that its size or a step needs.
---@param x number
---@param unit? string  "bytes", "seconds", "percent" (of a ratio: 0.5 is 50 %), or other words
---@param step? number  between neighbours that must read differently
---@param scale? number  whose prefix is used: the largest value of an axis
---@return string
function ticks.value_text(x, unit, step, scale)
  if x ~= x then return 'NaN' end
  if unit == 'percent' then
    local digits = step and decimals(100 * step) or 1
    return (plain(100 * x, digits):gsub('%.0$', '')) .. ' %'
  end
  local size, suffix = math.abs(scale or x), ''
  local prefix, behind = 1, ''
  if unit == 'seconds' and size >= 120 then
    for _, t in ipairs(TIMES) do
      if size >= 2 * t[1] then prefix, behind = t[1], t[2] break end
    end
  else
    if unit == 'bytes' then suffix = 'B' elseif unit == 'seconds' then suffix = 's'
    else suffix = unit or '' end
    -- Three digits before the point read better than a prefix; so do those of small shares.
    if size >= 1000 or size > 0 and size < 0.001 or size < 1 and unit == 'seconds' then
      for _, p in ipairs(PREFIXES) do
        if size >= p[1] * 0.99999 then prefix, behind = p[1], p[2] break end
      end
    end
  end
  local text = step and plain(x / prefix, decimals(step / prefix))
    or ('%.4g'):format(x / prefix)
  local tail = behind .. suffix
  return tail == '' and text or text .. ' ' .. tail
end

--- The marks of an axis from low to high, about so many, and its round ends.
---@param low number
---@param high number
---@param count integer
---@param unit? string
---@return plot.Tick[] marks
---@return number low
---@return number high
function ticks.values(low, high, count, unit)
  local step = round_step((high - low) / count)
  local first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  local scale, out = math.max(math.abs(first), math.abs(last)) * step, {}
  for i = first, last do
    out[#out + 1] = { at = i * step, text = ticks.value_text(i * step, unit, step, scale) }
  end
  return out, first * step, last * step
end

--- The unit that a metric's name says, by Prometheus' conventions, or nil.
---@param name? string
---@return string?
function ticks.unit_of(name)
  name = (name or ''):match '^[%w_:]*'
  if name:find '_bytes$' or name:find '_bytes_' then return 'bytes' end
  if name:find '_seconds$' then return 'seconds' end
  if name:find '_ratio$' then return 'percent' end
end

-- -- times ----------------------------------------------------------------------------------------

local MONTHS = { 'Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov',
  'Dec' }
local DAYS = { [0] = 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun' }

local SECONDS = { 1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200 }
local IN_DAYS = { 1, 2, 7, 14 }
local IN_MONTHS = { 1, 2, 3, 6, 12, 24, 60, 120 }

--- The instant at which clocks in a zone show so many seconds after a day's midnight; where they
--- skip or repeat it, one beside it.
local function instant(day, seconds, zone)
  local wall = day * 86400 + seconds
  local t = wall - calendar.offset(wall, zone)
  return wall - calendar.offset(t, zone)
end

local function day_of(t, zone) return (t + calendar.offset(t, zone)) // 86400 end

--- "Fri 4 Dec 14:00": an instant for a person.
---@param t number
---@param zone? calendar.Zone
---@return string
function ticks.time_text(t, zone)
  local at = calendar.time(t // 1, zone)
  return ('%s %d %s %02d:%02d'):format(DAYS[at.weekday], at.day, MONTHS[at.month], at.hour,
    at.minute)
end

--- "Fri 4 Dec", with the year where it is not that of a second instant.
function ticks.day_text(t, zone, now)
  local at = calendar.time(t // 1, zone)
  local year = now and calendar.time(now // 1, zone).year ~= at.year and (' %d'):format(at.year)
  return ('%s %d %s%s'):format(DAYS[at.weekday], at.day, MONTHS[at.month], year or '')
end

local function by_seconds(from, to, step, zone)
  local out = {}
  for day = day_of(from, zone) // 1, day_of(to, zone) // 1 do
    for second = 0, 86399, step do
      local t = instant(day, second, zone)
      if t >= from and t <= to then
        local midnight = second == 0
        local at = calendar.time(t // 1, zone)
        local text = midnight and ('%d %s'):format(at.day, MONTHS[at.month])
          or step < 60 and ('%02d:%02d:%02d'):format(at.hour, at.minute, at.second)
          or ('%02d:%02d'):format(at.hour, at.minute)
        out[#out + 1] = { at = t, text = text, major = midnight or nil }
      end
    end
  end
  return out
end

local function by_days(from, to, step, zone)
  local out = {}
  -- Weeks begin on a Monday: day 4 was one.
  local first = day_of(from, zone) // 1
  local anchor = step >= 7 and 4 or 0
  first = first - (first - anchor) % step
  for day = first, day_of(to, zone) // 1, step do
    local t = instant(day, 0, zone)
    if t >= from and t <= to then
      local _, month, number = calendar.civil_from_days(day)
      out[#out + 1] = { at = t, text = ('%d %s'):format(number, MONTHS[month]),
        major = number == 1 or nil }
    end
  end
  return out
end

local function by_months(from, to, step, zone)
  local out = {}
  local year, month = calendar.civil_from_days(day_of(from, zone) // 1)
  local last_year, last_month = calendar.civil_from_days(day_of(to, zone) // 1)
  local n = year * 12 + month - 1
  for at = n - n % step, last_year * 12 + last_month - 1, step do
    local y, m = at // 12, at % 12 + 1
    local t = instant(calendar.days_from_civil(y, m, 1), 0, zone)
    if t >= from and t <= to then
      local is_new_year = m == 1
      out[#out + 1] = { at = t, text = is_new_year and tostring(y) or MONTHS[m],
        major = is_new_year or nil }
    end
  end
  return out
end

local DAY, MONTH = 86400, 2629746

--- The marks of a time axis, at most so many: round times of the clocks in a zone.
---@param from number
---@param to number
---@param most integer
---@param zone? calendar.Zone
---@return plot.Tick[]
function ticks.times(from, to, most, zone)
  local rough = (to - from) / most
  for _, step in ipairs(SECONDS) do
    if step >= rough then return by_seconds(from, to, step, zone) end
  end
  for _, step in ipairs(IN_DAYS) do
    if step * DAY >= rough then return by_days(from, to, step, zone) end
  end
  for _, step in ipairs(IN_MONTHS) do
    if step * MONTH >= rough then return by_months(from, to, step, zone) end
  end
  return by_months(from, to, 120 * math.ceil(rough / (120 * MONTH)), zone)
end

return ticks
