--- When will it run out? From one series to its forecast, what drives it, when it meets a threshold
--- and what to do about it: the same for the command line and for the engine's declarations. Pure,
--- but for the fit, which takes place on a thread.
local calendar = require 'perigee.calendar'
local ticks = require 'plot.ticks'

local forecasting = {}

-- With fewer samples even the trend is a guess.
forecasting.MIN_SAMPLES = 10
-- A horizon of more steps is a mistake, not a wish.
forecasting.MAX_STEPS = 20000

local DAY = 86400
local NEVER = -1 -- days, where the threshold is not met
local QUANTILES = { 0.1, 0.5, 0.9 }
local SEED = 1 -- the same series gives the same forecast

-- Of a season two rounds must have been seen, and it must be sampled twice a round.
local SEASONS = { daily = DAY, weekly = 7 * DAY, yearly = 365.25 * DAY }
local SEASON_NAMES = { 'daily', 'weekly', 'yearly' }

---@class forecasting.Options
---@field horizon number       seconds
---@field step number          seconds between the times that are forecast
---@field threshold? number
---@field direction? string    "above": a breach is from below, as of a disk that fills; "below"
---@field seasonality? string[]  of "daily", "weekly", "yearly"; daily and weekly
---@field model? string        "auto" or "prophet"; "auto"
---@field growth? string       "linear", "logistic" or "flat"; "linear"
---@field cap? number, floor? number  what values never go beyond
---@field timezone? string     whose days seasons and dates go by; "UTC"
---@field unit? string         see plot.unit_of()
---@field with_fit? boolean     the record has what the model makes of the history, for a chart

---@class forecasting.Record
---@field metric string
---@field labels table<string, string>
---@field current_value? number       the last sample
---@field current_time? number
---@field threshold? number
---@field direction string
---@field predicted_max? number       the largest yhat_upper
---@field predicted_min? number       the smallest yhat_lower
---@field days_until_threshold number  days after the last sample at which yhat meets the threshold;
---       -1 for never, 0 where it is beyond already
---@field days_quantiles table<string, number>  days by which 10, 50, 90 % of all courses have
---@field probability? number         that it is met within the horizon
---@field recommendation string
---@field drivers? table              trend (a day), daily, weekly (peak to peak), step, words
---@field why_not? string             there is no forecast, and why
---@field ds number[], yhat number[], yhat_lower number[], yhat_upper number[]
---@field fit? { ds: number[], yhat: number[] }

local function is_finite(x) return x - x == 0 end

-- -- the history ----------------------------------------------------------------------------------

--- The finite samples: what is infinite was no measurement either.
local function usable(series)
  local ds, y = {}, {}
  for i, v in ipairs(series.y) do
    if is_finite(v) then ds[#ds + 1], y[#y + 1] = series.ds[i], v end
  end
  return ds, y
end

--- The usual time between two samples.
local function cadence(ds)
  local stride, gaps = math.max(1, #ds // 500), {}
  for i = 2, #ds, stride do gaps[#gaps + 1] = ds[i] - ds[i - 1] end
  table.sort(gaps)
  return gaps[(#gaps + 1) // 2] or 0
end

--- The seasons that a history can tell of, and those that were wanted and cannot be.
local function seasons_of(wanted, ds)
  local span, gap = ds[#ds] - ds[1], cadence(ds)
  local seasonality, missing = { daily = false, weekly = false, yearly = false }, {}
  for _, name in ipairs(wanted) do
    local period = SEASONS[name]
    -- The last sample of the second round lies one gap before the round's end.
    if span + 1.5 * gap >= 2 * period and gap <= period / 2 then
      seasonality[name] = true
    else
      missing[#missing + 1] = name
    end
  end
  return seasonality, missing
end

-- -- the fit --------------------------------------------------------------------------------------

local function fit(ds, y, o, seasonality)
  local seasonal = require 'seasonal' -- only who forecasts pays for it
  local logistic = o.growth == 'logistic'
  return seasonal.fit(ds, y, { growth = o.growth, seasonality = seasonality, model = o.model,
    timezone = o.timezone, random_state = SEED,
    cap = logistic and o.cap or nil, floor = logistic and o.floor or nil })
end

local function future(last, o)
  local ds = {}
  for i = 1, o.horizon // o.step do ds[i] = last + i * o.step end
  return ds
end

--- Keeps a forecast where values can be: a history that never was negative does not become so.
local function bound(forecast, floor, cap)
  for _, name in ipairs { 'yhat', 'yhat_lower', 'yhat_upper' } do
    local values = forecast[name]
    for i, v in ipairs(values) do
      if floor and v < floor then v = floor end
      if cap and v > cap then v = cap end
      values[i] = v
    end
  end
end

local function bounds_of(o, y)
  local floor = o.floor
  if not floor and o.model ~= 'prophet' then
    floor = 0
    for _, v in ipairs(y) do
      if v < 0 then return nil, o.cap end
    end
  end
  return floor, o.cap
end

-- -- the threshold --------------------------------------------------------------------------------

local function beyond(value, o)
  if o.direction == 'below' then return value <= o.threshold end
  return value >= o.threshold
end

--- Days after the last sample at which yhat first meets the threshold, between two times by the
--- line between them.
local function first_meeting(last, value, forecast, o)
  if beyond(value, o) then return 0 end
  local ds, yhat = forecast.ds, forecast.yhat
  for i = 1, #ds do
    if beyond(yhat[i], o) then
      local t, v = i > 1 and ds[i - 1] or last, i > 1 and yhat[i - 1] or value
      local share = (o.threshold - v) / (yhat[i] - v)
      return (t + share * (ds[i] - t) - last) / DAY
    end
  end
  return NEVER
end

--- The days by which so many of the model's possible courses have met it, and the share that does.
local function chances(model, value, o)
  local days = {}
  if beyond(value, o) then
    for _, q in ipairs(QUANTILES) do days[tostring(q)] = 0 end
    return days, 1
  end
  local reach = model:time_to(o.threshold, o.horizon, { falling = o.direction == 'below' })
  for _, q in ipairs(QUANTILES) do
    local seconds = reach.quantiles[q]
    days[tostring(q)] = seconds and is_finite(seconds) and seconds / DAY or NEVER
  end
  return days, reach.probability
end

-- -- what drives it -------------------------------------------------------------------------------

local function swing(values)
  local least, most = math.huge, -math.huge
  for _, v in ipairs(values or {}) do least, most = math.min(least, v), math.max(most, v) end
  return most >= least and most - least or 0
end

--- From the parts of a forecast, where the model does not tell by itself.
local function drivers_of_parts(forecast)
  local n = #forecast.ds
  local days = (forecast.ds[n] - forecast.ds[1]) / DAY
  return { trend = days > 0 and (forecast.trend[n] - forecast.trend[1]) / days or 0,
    daily = swing(forecast.daily), weekly = swing(forecast.weekly) }
end

local function drivers_of(model, forecast, o)
  local parts = drivers_of_parts(forecast)
  if o.model == 'prophet' then return parts end
  -- A swing is what the forecast itself shows of it, where it is long enough to show all.
  local told = model:drivers()
  for _, name in ipairs { 'daily', 'weekly' } do
    if forecast[name] and o.horizon >= SEASONS[name] then told[name] = parts[name] end
  end
  return told
end

local function describe_drivers(d, missing, o, zone, now)
  local words = {}
  local function say(format, ...) words[#words + 1] = format:format(...) end
  local function text(x) return ticks.value_text(math.abs(x), o.unit) end
  if d.is_flat then
    say 'no trend to speak of'
  else
    say('%s by %s a day', d.trend > 0 and 'grows' or 'falls', text(d.trend))
  end
  for _, name in ipairs { 'daily', 'weekly' } do
    if (d[name] or 0) > 0.005 * d.size then say('a %s swing of %s', name, text(d[name])) end
  end
  if d.step then
    say('a step %s by %s on %s', d.step.size > 0 and 'up' or 'down', text(d.step.size),
      ticks.day_text(d.step.ds, zone, now))
  end
  for _, name in ipairs(missing) do
    say('too little history for a %s season', name)
  end
  return words
end

-- -- what to do -----------------------------------------------------------------------------------

local function days_text(days)
  if days < 2 then return ('%.0f hours'):format(math.max(1, days * 24)) end
  return ('%.1f days'):format(days)
end

local function horizon_text(seconds)
  local days = seconds / DAY
  if days >= 1 then return ('%g days'):format(days // 0.1 / 10) end
  return ('%g hours'):format(seconds // 360 / 10)
end

local function percent_text(p)
  if p > 0 and p < 0.01 then return 'under 1 %' end
  if p < 1 and p > 0.99 then return 'over 99 %' end
  return ('%.0f %%'):format(100 * p)
end

--- How long until the threshold behind the horizon, by the trend alone; nil where it leads away.
local function days_by_trend(r, o)
  local d = r.drivers
  if d.is_flat then return end
  local days = (o.threshold - r.yhat[#r.yhat]) / d.trend
  return days > 0 and days < 3650 and days + o.horizon / DAY or nil
end

local function recommend(r, o, zone)
  local function text(x) return ticks.value_text(x, o.unit) end
  local within = horizon_text(o.horizon)
  if not o.threshold then
    return ('no threshold to meet; at most %s is expected within %s'):format(text(r.predicted_max),
      within)
  end
  local limit, below = text(o.threshold), o.direction == 'below'
  local last = r.current_time
  if r.days_until_threshold == 0 and beyond(r.current_value, o) then
    return ('already %s %s, with %s: act now'):format(below and 'at or below' or 'at or above',
      limit, text(r.current_value))
  elseif r.days_until_threshold >= 0 then
    local d, cause = r.drivers, ''
    local towards = not d.is_flat and (d.trend > 0) ~= below
    if towards then
      cause = (', %s by %s a day'):format(below and 'falling' or 'growing',
        text(math.abs(d.trend)))
    end
    local day = ticks.day_text(last + r.days_until_threshold * DAY, zone, last)
    return ('will be %s %s in %s%s: %s before %s'):format(below and 'down to' or 'up to', limit,
      days_text(r.days_until_threshold), cause, towards and 'add capacity'
      or 'make room for the peak', day)
  end
  local words = ('not projected to %s %s within %s'):format(below and 'fall to' or 'reach', limit,
    within)
  if r.probability >= 0.5 then
    return ('the forecast itself does not %s %s within %s, but with a probability of %s the series '
      .. 'does: prepare for it'):format(below and 'fall to' or 'reach', limit, within,
      percent_text(r.probability))
  elseif r.probability >= 0.1 then
    return ('%s, but it does with a probability of %s: keep an eye on it'):format(words,
      percent_text(r.probability))
  end
  local days = days_by_trend(r, o)
  if days then
    return ('%s; at this trend it would in about %.0f days'):format(words, days)
  elseif not r.drivers.is_flat and (r.drivers.trend > 0) == below then
    return ('%s: it is %s by %s a day'):format(words, below and 'growing' or 'falling',
      text(math.abs(r.drivers.trend)))
  end
  return words
end

-- -- all of it ------------------------------------------------------------------------------------

--- What is known where there is no forecast.
local function without(record, why)
  record.why_not, record.recommendation = why, 'no forecast: ' .. why
  record.days_until_threshold = NEVER
  record.days_quantiles = {}
  for _, q in ipairs(QUANTILES) do record.days_quantiles[tostring(q)] = NEVER end
  record.ds, record.yhat, record.yhat_lower, record.yhat_upper = {}, {}, {}, {}
  return record
end

--- The labels, without the metric's name, which stands by itself.
local function own_labels(labels)
  local out = {}
  for name, value in pairs(labels or {}) do
    if name ~= '__name__' then out[name] = value end
  end
  return out
end

local function too_little(ds, y, total)
  if #ds == 0 then
    return total == 0 and 'there are no samples' or 'every sample is missing'
  elseif #ds < forecasting.MIN_SAMPLES then
    return ('%d samples; at least %d are needed'):format(#ds, forecasting.MIN_SAMPLES)
  elseif ds[#ds] <= ds[1] then
    return 'all samples are of one moment'
  end
  for _, v in ipairs(y) do
    if math.abs(v) > 1e300 then return 'values beyond 1e300' end
  end
end

--- What the model says, put into the record.
local function read_model(r, model, ds, y, o, missing)
  local last, value = ds[#ds], y[#y]
  local forecast, failure = model:predict(future(last, o))
  if not forecast then return without(r, failure) end
  bound(forecast, bounds_of(o, y))
  r.ds, r.yhat = forecast.ds, forecast.yhat
  r.yhat_lower, r.yhat_upper = forecast.yhat_lower, forecast.yhat_upper
  r.predicted_max, r.predicted_min = -math.huge, math.huge
  for i = 1, #r.ds do
    if not is_finite(r.yhat[i]) then return without(r, 'the forecast has no finite values') end
    r.predicted_max = math.max(r.predicted_max, r.yhat_upper[i])
    r.predicted_min = math.min(r.predicted_min, r.yhat_lower[i])
  end
  if o.with_fit then r.fit = model:predict(ds) end
  local d = drivers_of(model, forecast, o)
  d.size = math.max(math.abs(value), math.abs(o.threshold or 0))
  d.is_flat = math.abs(d.trend) * math.max(1, o.horizon / DAY) <= 0.005 * d.size
  local zone = calendar.zone(o.timezone or 'UTC')
  r.drivers = { trend = d.trend, daily = d.daily, weekly = d.weekly, step = d.step,
    is_flat = d.is_flat, words = describe_drivers(d, missing, o, zone, last) }
  if o.threshold then
    r.days_until_threshold = first_meeting(last, value, forecast, o)
    r.days_quantiles, r.probability = chances(model, value, o)
  else
    r.days_until_threshold, r.days_quantiles = NEVER, without({}, '').days_quantiles
  end
  r.recommendation = recommend(r, o, zone)
  r.drivers.is_flat = nil
  return r
end

--- Forecasts one series. Waits for the fit where it is called in a task.
---@param series { name: string, labels: table<string, string>, ds: number[], y: number[] }
---@param options forecasting.Options
---@return forecasting.Record  with why_not, and the reason as recommendation, where there is none
function forecasting.forecast(series, options)
  local o = setmetatable({ model = options.model or 'auto', growth = options.growth or 'linear',
    direction = options.direction or 'above' }, { __index = options })
  local r = { metric = series.name, labels = own_labels(series.labels), threshold = o.threshold,
    direction = o.direction }
  local ds, y = usable(series)
  r.current_value, r.current_time = y[#y], ds[#ds]
  local why = too_little(ds, y, #series.y)
  if why then return without(r, why) end
  local seasonality, missing = seasons_of(o.seasonality or { 'daily', 'weekly' }, ds)
  local ok, model, message = pcall(fit, ds, y, o, seasonality)
  if not ok then return without(r, tostring(model):match '[^\n]*') end
  if not model then return without(r, message) end
  return read_model(r, model, ds, y, o, missing)
end

--- What is wrong with options that are each valid, or nil.
---@param o forecasting.Options
---@return string? field
---@return string? message
function forecasting.refuse(o)
  local steps = o.horizon // o.step
  if steps < 1 then return 'step', 'is longer than the horizon' end
  if steps > forecasting.MAX_STEPS then
    return 'step', ('horizon / step is %.0f times; at most %d'):format(steps, forecasting.MAX_STEPS)
  end
  if o.growth == 'logistic' and not o.cap then
    return 'growth', 'logistic growth needs "cap", the value that is never exceeded'
  end
  if o.cap and o.floor and o.cap <= o.floor then return 'cap', 'is not above floor' end
  for _, name in ipairs(o.seasonality or {}) do
    if not SEASONS[name] then
      return 'seasonality', ('"%s" is none of %s'):format(tostring(name),
        table.concat(SEASON_NAMES, ', '))
    end
  end
  if not calendar.zone(o.timezone or 'UTC') then
    return 'timezone', ('there is no time zone "%s"'):format(o.timezone)
  end
end

forecasting.SEASONS = SEASON_NAMES

--- The records ordered by what is most urgent: beyond already, then by days until the threshold,
--- then by the probability; those without a forecast last.
---@param records forecasting.Record[]
function forecasting.rank(records)
  local place = {}
  for i, r in ipairs(records) do place[r] = i end
  table.sort(records, function(a, b)
    if (a.why_not == nil) ~= (b.why_not == nil) then return a.why_not == nil end
    local x, y = a.days_until_threshold, b.days_until_threshold
    if x ~= y then return x ~= NEVER and (y == NEVER or x < y) end
    if a.probability ~= b.probability then return (a.probability or 0) > (b.probability or 0) end
    return place[a] < place[b]
  end)
end

local function lines_of(record, series)
  local lines = { { ds = series.ds, y = series.y, label = 'history' } }
  if record.fit then
    lines[2] = { ds = record.fit.ds, y = record.fit.yhat, kind = 'fit', label = 'fit' }
  end
  lines[#lines + 1] = { ds = record.ds, y = record.yhat, kind = 'forecast', label = 'forecast' }
  return lines
end

--- The chart of a record and the history that it came from.
---@param record forecasting.Record
---@param series { ds: number[], y: number[] }
---@param o forecasting.Options
---@param title string
---@return string? svg
---@return string? message
function forecasting.chart(record, series, o, title)
  local plot = require 'plot'
  local labels = require('prometheus').labels_text(record.labels, ', ')
  local markers, zone = {}, calendar.zone(o.timezone or 'UTC')
  if not record.why_not and record.days_until_threshold > 0 then
    local at = record.current_time + record.days_until_threshold * DAY
    markers[1] = { kind = 'breach', at = at, value = o.threshold, from = record.current_value,
      text = ticks.time_text(at, zone) }
  end
  return plot.chart { title = title, unit = o.unit, timezone = o.timezone,
    subtitle = labels ~= '' and labels or record.recommendation,
    now = record.current_time, markers = markers,
    lines = lines_of(record, series),
    bands = { { ds = record.ds, lower = record.yhat_lower, upper = record.yhat_upper,
      label = '80 % interval' } },
    thresholds = o.threshold and { { value = o.threshold } } or nil }
end

return forecasting
