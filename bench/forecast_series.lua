--- The series and rolling origins that the accuracy of a forecast is measured on. Real ones come
--- from ../shared/data/forecast where that is there; made ones come from here, seeded, with the
--- level that lies beneath the noise known.
local file = require 'perigee.file'

local series = {}

local FOLDER = '../shared/data/forecast/'
local HOUR, DAY = 3600, 86400

--- Days from 1970 to a date of the Gregorian calendar.
local function days(y, m, d)
  if m <= 2 then y, m = y - 1, m + 12 end
  return 365 * y + y // 4 - y // 100 + y // 400 + (153 * (m - 3) + 2) // 5 + d - 719469
end

---@return { ds: number[], y: number[], level: number[]? }? # NaN where a value is missing
local function read(name)
  local text = file.read(FOLDER .. name .. '.csv')
  if not text then return nil end
  local s = { ds = {}, y = {}, level = {} }
  for y, m, d, h, min, sec, value, level in
    text:gmatch '(%d+)-(%d+)-(%d+) (%d+):(%d+):(%d+),([^,\n]*),?([^,\n]*)'
  do
    local at = days(tonumber(y), tonumber(m), tonumber(d)) * DAY
      + tonumber(h) * HOUR + tonumber(min) * 60 + tonumber(sec)
    table.insert(s.ds, at)
    table.insert(s.y, tonumber(value) or 0 / 0)
    if level ~= '' then table.insert(s.level, tonumber(level)) end
  end
  return s
end

--- The mean of each hour, at its beginning; an hour without a value is left out.
local function hourly(s)
  local out, at, sum, n = { ds = {}, y = {} }, nil, 0, 0
  local function close()
    if n > 0 then
      table.insert(out.ds, at)
      table.insert(out.y, sum / n)
    end
    sum, n = 0, 0
  end
  for i, ds in ipairs(s.ds) do
    local hour = ds - ds % HOUR
    if hour ~= at then
      close()
      at = hour
    end
    if s.y[i] == s.y[i] then sum, n = sum + s.y[i], n + 1 end
  end
  close()
  return out
end

series.REAL = { 'api_rps_hourly', 'taxi_30min', 'asg_cpu_5min', 'azure_cpu_5min',
  'yosemite_temps_5min', 'worldcup_rpm_1min' }
series.SYNTHETIC = { 'synth_linear_fill', 'synth_deploy_step', 'synth_late_leak',
  'synth_saturating', 'synth_weekly_peak', 'synth_flat_noisy', 'synth_cleanup_saw',
  'synth_mult_growth' }

--- Random numbers that are the same on every machine and in every version: an LCG of 48 bits.
local function generator(seed)
  local x = seed * 2654435761 % (1 << 48)
  local function uniform()
    x = (x * 25214903917 + 11) % (1 << 48)
    return x / (1 << 48)
  end
  for _ = 1, 8 do uniform() end
  return uniform, function()
    return math.sqrt(-2 * math.log(1 - uniform())) * math.cos(2 * math.pi * uniform())
  end
end

--- A day's shape: a wave with an afternoon peak, between -1 and about 1.
local function wave(hour)
  return 0.75 * math.cos(2 * math.pi * (hour - 15) / 24)
    + 0.25 * math.cos(4 * math.pi * (hour - 13) / 24)
end

local function weekday(hour) return (3 + hour // 24) % 7 end -- from Monday, as 2026-01-05 is one

--- Made series: 30 days to learn from at the first origin's latest, 58 in all. `level(t, hour)`, t
--- in days, is what lies beneath; noise is normal around it, unless `noise` says otherwise.
local MADE = {
  { name = 'made_quota_fill', threshold = 90, sigma = 0.8,
    level = function(t, h) return 40 + 1.18 * t + 2.5 * wave(h % 24) end },
  { name = 'made_leak_then_restart', threshold = 80, sigma = 1.0,
    level = function(t, h)
      return 35 + (t < 22 and 1.1 * t or 1.35 * (t - 14)) + 2 * wave(h % 24)
    end },
  { name = 'made_two_steps', threshold = 75, sigma = 0.9,
    level = function(t, h)
      return 30 + (t >= 9 and 8 or 0) + (t >= 21 and 10 or 0) + 0.55 * t + 3 * wave(h % 24)
    end },
  { name = 'made_office_hours', threshold = 88, sigma = 1.5,
    level = function(t, h)
      return 30 + 0.55 * t + (weekday(h) < 5 and 18 or 4) * math.max(0, wave(h % 24))
    end },
  { name = 'made_plateau', threshold = 85, sigma = 1.0,
    level = function(t, h) return 45 + 30 * (1 - math.exp(-t / 14)) + 2 * wave(h % 24) end },
  { name = 'made_calm_with_outages', threshold = 80, sigma = 1.2,
    level = function(_, h) return 52 + 9 * wave(h % 24) - (weekday(h) >= 5 and 6 or 0) end,
    noise = function(uniform, z) return uniform() < 0.01 and -45 or z * 1.2 end },
  { name = 'made_compound_growth', threshold = 66, sigma = 0.6,
    level = function(t, h) return 20 * math.exp(0.025 * t) * (1 + 0.12 * wave(h % 24)) end },
  { name = 'made_decline', threshold = 70, sigma = 1.6,
    level = function(t, h) return 60 - 0.4 * t + 6 * wave(h % 24) end },
}

local START = days(2026, 1, 5) * DAY

function series.made(i)
  local what = MADE[i]
  local uniform, normal = generator(2026 + 97 * i)
  local s = { name = what.name, ds = {}, y = {}, level = {}, threshold = what.threshold }
  for h = 0, 58 * 24 - 1 do
    local level = what.level(h / 24, h)
    local z = normal()
    s.ds[h + 1], s.level[h + 1] = START + h * HOUR, level
    s.y[h + 1] = level + (what.noise and what.noise(uniform, z) or what.sigma * z)
  end
  return s
end

series.MADE = #MADE

--- A series by its name, in hours; nil where the shared data is absent.
function series.load(name)
  local raw = read(name)
  if not raw then return nil end
  if #raw.level > 0 then
    local truth = assert(file.read(FOLDER .. 'synth_truth.json'))
    local block = truth:match('"' .. name .. '":%s*(%b{})')
    raw.name, raw.threshold = name, tonumber(block:match '"threshold":%s*([%d.]+)')
    return raw
  end
  local s = hourly(raw)
  s.name = name
  return s
end

--- `count` origins, evenly spread: at each at most 30 days of history, at least `least` of them,
--- and `ahead` days to come. An origin is the index of its last sample of history.
function series.origins(s, count, least, ahead)
  local first, last = s.ds[1] + least * DAY, s.ds[#s.ds] - ahead * DAY
  local out, i = {}, 1
  for k = 0, count - 1 do
    local at = first + (count == 1 and 0 or (last - first) * k / (count - 1))
    while i < #s.ds and s.ds[i + 1] <= at do i = i + 1 end
    if out[#out] ~= i then table.insert(out, i) end
  end
  return out
end

--- History and future at an origin: { ds=, y= } twice, and the level of the future where known.
function series.cut(s, origin, ahead)
  local at = s.ds[origin]
  local past, future = { ds = {}, y = {} }, { ds = {}, y = {}, level = s.level and {} or nil }
  for i = 1, #s.ds do
    local ds = s.ds[i]
    if ds > at - 30 * DAY and i <= origin then
      table.insert(past.ds, ds)
      table.insert(past.y, s.y[i])
    elseif i > origin and ds <= at + ahead * DAY then
      table.insert(future.ds, ds)
      table.insert(future.y, s.y[i])
      if s.level then table.insert(future.level, s.level[i]) end
    end
  end
  return past, future
end

--- Origins for breach times: every third day from the 14th on, as long as the level is still below
--- its threshold. `breach` is when the level first meets it, in days after the origin, nil for
--- never in what is known.
function series.breaches(s)
  local out = {}
  for day = 14, 44, 3 do
    local origin = day * 24
    for i = 1, origin do
      if s.level[i] >= s.threshold then return out end
    end
    local ahead, breach = math.min(28, (#s.ds - origin) / 24), nil
    for i = origin + 1, origin + math.floor(ahead * 24) do
      if s.level[i] >= s.threshold then
        breach = (s.ds[i] - s.ds[origin]) / DAY
        break
      end
    end
    table.insert(out, { origin = origin, ahead = ahead, breach = breach })
  end
  return out
end

return series
