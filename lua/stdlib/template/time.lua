--- Times and durations as Go prints them.
local values = require 'template.values'

local M = {}

--- The year, month and day of a day counted from 1970-01-01 (Hinnant, "chrono-Compatible Low-Level
--- Date Algorithms": civil_from_days).
local function civil(days)
  local z = days + 719468
  local era = z // 146097
  local doe = z - era * 146097
  local yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
  local doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
  local mp = (5 * doy + 2) // 153
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - (153 * mp + 2) // 5 + 1
end

-- The decimal part of n units of 10^-places, without the zeros behind it.
local function fraction(n, places)
  if n == 0 then return '' end
  return '.' .. ('%0' .. places .. 'd'):format(n):gsub('0+$', '')
end

--- As time.Time's String, in UTC.
---@param ms integer  since 1970
---@return string
function M.timestamp(ms)
  local seconds = ms // 1000
  local year, month, day = civil(seconds // 86400)
  local of_day = seconds % 86400
  return ('%04d-%02d-%02d %02d:%02d:%02d%s +0000 UTC'):format(year, month, day, of_day // 3600,
    of_day // 60 % 60, of_day % 60, fraction(ms % 1000, 3))
end

--- As time.Duration's String: 1h2m3.5s, 1.5ms, 0s.
---@param ns integer
---@return string
function M.duration(ns)
  if ns == 0 then return '0s' end
  local sign = ns < 0 and '-' or ''
  if ns == math.mininteger then return '-2562047h47m16.854775808s' end
  ns = math.abs(ns)
  if ns < 1000 then return sign .. ns .. 'ns' end
  if ns < 1000000 then return sign .. ns // 1000 .. fraction(ns % 1000, 3) .. 'µs' end
  if ns < 1000000000 then return sign .. ns // 1000000 .. fraction(ns % 1000000, 6) .. 'ms' end
  local seconds = ns // 1000000000
  local text = seconds % 60 .. fraction(ns % 1000000000, 9) .. 's'
  if seconds >= 60 then text = seconds // 60 % 60 .. 'm' .. text end
  if seconds >= 3600 then text = seconds // 3600 .. 'h' .. text end
  return sign .. text
end

--- What a value says of itself when it is printed, nil when it has nothing to say.
---@return string?
function M.text(v)
  if v.type == values.types.time then return M.timestamp(v.ms) end
  return v.type == values.types.duration and M.duration(v.ns) or nil
end

return M
