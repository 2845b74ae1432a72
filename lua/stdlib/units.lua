--- Durations as Prometheus writes them, bytes, and numbers for people.
local units = {}

-- In the order in which they must appear; each at most once.
local ORDER = { 'y', 'w', 'd', 'h', 'm', 's', 'ms' }
local SECONDS = { y = 365 * 86400, w = 7 * 86400, d = 86400, h = 3600, m = 60, s = 1, ms = 0.001 }
local RANK = {}
for i, unit in ipairs(ORDER) do RANK[unit] = i end

local EXPECTED = 'expected a duration such as "30s", "5m" or "1h30m"'
local LONGEST = 9223372036 -- seconds; Prometheus keeps 64 bits of nanoseconds

--- Seconds of a Prometheus duration: whole numbers with units, largest first, or a bare "0".
---@param text string
---@return number? seconds
---@return string? message
function units.duration(text)
  if type(text) ~= 'string' then return nil, ('%s, not a %s'):format(EXPECTED, type(text)) end
  if text == '0' then return 0 end
  local seconds, at, rank = 0, 1, 0
  while at <= #text do
    local digits, unit, after = text:match('^(%d+)(%l+)()', at)
    if not digits then return nil, ('%s, not "%s"'):format(EXPECTED, text) end
    if not RANK[unit] then
      return nil, ('"%s" is no unit of time in "%s"; units are y, w, d, h, m, s, ms'):format(unit,
        text)
    end
    if RANK[unit] <= rank then
      return nil, ('units go from large to small, each once: "%s"'):format(text)
    end
    -- As a float: a number with a hundred digits must not come round to a short time.
    local part = tonumber(digits .. '.0') * SECONDS[unit]
    if seconds + part > LONGEST then return nil, ('"%s" is too long a time'):format(text) end
    seconds, at, rank = seconds + part, after, RANK[unit]
  end
  if rank == 0 then return nil, EXPECTED .. ', not an empty text' end
  return math.tointeger(seconds) or seconds
end

--- The duration's text as Prometheus prints it: weeks and years only where they divide exactly.
---@param seconds number  at least 0, rounded to milliseconds
---@return string
function units.duration_text(seconds)
  local ms = math.floor(seconds * 1000 + 0.5)
  if ms == 0 then return '0s' end
  local parts = {}
  for _, unit in ipairs(ORDER) do
    local size = math.floor(SECONDS[unit] * 1000)
    local exact_only = unit == 'y' or unit == 'w'
    if ms >= size and (not exact_only or ms % size == 0) then
      parts[#parts + 1] = ('%d%s'):format(ms // size, unit)
      ms = ms % size
    end
  end
  return table.concat(parts)
end

local SIZES = { [''] = 1, k = 1e3, M = 1e6, G = 1e9, Ki = 2 ^ 10, Mi = 2 ^ 20, Gi = 2 ^ 30 }

--- Bytes of "512", "64Ki", "16Mi" or "2G".
---@param text string|number
---@return integer? bytes
---@return string? message
function units.bytes(text)
  if math.type(text) == 'integer' and text >= 0 then return text end
  local digits, suffix = tostring(text):match('^(%d+)(%a*)$')
  local size = SIZES[suffix]
  local bytes = size and tonumber(digits .. '.0') * size
  if not bytes or bytes > 2 ^ 53 then
    return nil, ('expected a size such as 65536, "64Ki" or "1M", not "%s"'):format(tostring(text))
  end
  return math.tointeger(bytes)
end

--- A number for a person: four significant digits, an SI prefix.
---@param x number
---@return string
function units.number_text(x)
  if x ~= x then return 'NaN' end
  local size = math.abs(x)
  if size == 0 or size >= 0.001 and size < 9999.5 then return ('%.4g'):format(x) end
  for _, step in ipairs { { 1e12, 'T' }, { 1e9, 'G' }, { 1e6, 'M' }, { 1e3, 'k' } } do
    -- 999,950 has four digits of "1000k": what rounds up to the next prefix has that one.
    if size >= 0.99995 * step[1] and size < 1e15 then
      return ('%.4g%s'):format(x / step[1], step[2])
    end
  end
  return ('%.4g'):format(x)
end

return units
