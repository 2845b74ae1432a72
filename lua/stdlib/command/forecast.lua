--- `perigee forecast`: when a series meets a threshold, and what to do about it.
local cli = require 'command.cli'
local forecasting = require 'forecasting'
local json = require 'perigee.json'
local load_series = require 'command.series'
local ticks = require 'plot.ticks'
local units = require 'units'

local SPEC = {
  usage = 'forecast EXPR | --data FILE',
  summary = 'Forecasts series and tells when they meet a threshold, the most urgent first.',
  details = [[
EXPR is asked of the source over --history in steps of --step; a file is taken whole, or its
last --history. The days count from the last sample to the time at which the forecast itself
meets the threshold; 0 is beyond it already.]],
  most = 1,
  options = cli.options(load_series.OPTIONS, {
    { name = 'horizon', value = 'D', help = 'how far ahead; "7d"' },
    { name = 'threshold', value = 'N', help = 'what must not be met: 450e9, 450G, 0.9' },
    { name = 'direction', value = 'SIDE',
      help = 'above (default), or below where the series must not fall to the threshold' },
    { name = 'seasonality', value = 'LIST',
      help = 'of daily, weekly, yearly, with commas, or none; "daily,weekly"' },
    { name = 'model', value = 'MODEL', help = 'auto (default), or prophet, the pure model' },
    { name = 'growth', value = 'KIND', help = 'linear (default), logistic (with --cap), flat' },
    { name = 'cap', value = 'N', help = 'values never go above' },
    { name = 'floor', value = 'N', help = 'values never go below' },
    { name = 'timezone', value = 'ZONE', help = 'whose days seasons and dates go by; UTC' },
    { name = 'unit', value = 'UNIT', help = 'bytes, seconds, percent; by the name of the metric' },
    { name = 'plot', value = 'FILE.svg',
      help = 'draws the chart; those of further series as FILE-2.svg, …' },
    { name = 'fail-on', value = 'breach', help = 'status 1 if any meets the threshold' },
    cli.JSON,
  }),
}

-- -- what is asked --------------------------------------------------------------------------------

--- A number from the command line, perhaps with a prefix: "450G", "64Ki".
local function number_of(text)
  local x = tonumber(text) or units.bytes(text)
  return x and x - x == 0 and x + 0.0 or nil
end

local CHOICES = { direction = { 'above', 'below' }, model = { 'auto', 'prophet' },
  growth = { 'linear', 'logistic', 'flat' }, ['fail-on'] = { 'breach' } }

local function choices_of(values)
  local check = require 'check'
  for name, choices in pairs(CHOICES) do
    local message = values[name] and check.one_of(nil, choices).test(values[name])
    if message then return ('--%s: %s'):format(name, cli.plain(message)) end
  end
end

local function seasons_of(text)
  if not text then return { 'daily', 'weekly' } end
  local out = {}
  for name in text:gmatch '[^,%s]+' do
    if name ~= 'none' then out[#out + 1] = name end
  end
  return out
end

--- The options of the forecast, or nil and a status.
local function options_of(values)
  local wrong = choices_of(values)
  if wrong then return cli.refuse(wrong) end
  local o = { direction = values.direction, model = values.model, growth = values.growth,
    timezone = values.timezone or 'UTC', seasonality = seasons_of(values.seasonality),
    with_fit = values.plot ~= nil }
  for _, name in ipairs { 'threshold', 'cap', 'floor' } do
    o[name] = values[name] and number_of(values[name])
    if values[name] and not o[name] then
      return cli.refuse(('--%s: expected a number, not "%s"'):format(name, cli.plain(values[name])))
    end
  end
  local failed
  o.horizon, failed = load_series.duration(values, 'horizon', '7d')
  if failed then return nil, failed end
  o.step, failed = load_series.duration(values, 'step', '1h')
  if failed then return nil, failed end
  local field, message = forecasting.refuse(o)
  if field then return cli.refuse(('--%s: %s'):format(field, cli.plain(message))) end
  if values['fail-on'] and not o.threshold then return cli.refuse '--fail-on needs --threshold' end
  return o
end

-- -- what is told ---------------------------------------------------------------------------------

local BEFORE, AHEAD = 20, 8 -- blocks of the sparkline

--- Past and future on one scale.
local function sparkline(r, series)
  local plot = require 'plot'
  local low, high = math.huge, -math.huge
  for _, values in ipairs { series.y, r.yhat } do
    for _, v in ipairs(values) do
      if v - v == 0 then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  return plot.sparkline(series.y, BEFORE, low, high) .. '┊'
    .. plot.sparkline(r.yhat, AHEAD, low, high)
end

local function name_of(r)
  local labels = cli.labels_text(r.labels)
  return labels == '' and r.metric or ('%s{%s}'):format(r.metric, labels)
end

local function days_text(days) return days < 0 and 'never' or ('%.1f'):format(days) end

local function row(r, series)
  local function value(x) return x and ticks.value_text(x, r.unit) or '-' end
  if r.why_not then
    return { name_of(r), value(r.current_value), '-', '-', '-', '-', '', r.recommendation }
  end
  local q = r.days_quantiles
  local range = r.threshold and ('%s to %s'):format(days_text(q['0.1']), days_text(q['0.9'])) or '-'
  if q['0.1'] == q['0.9'] then range = '-' end
  return { name_of(r), value(r.current_value), value(r.predicted_max),
    r.threshold and days_text(r.days_until_threshold) or '-', range,
    r.probability and ('%.0f %%'):format(100 * r.probability) or '-', sparkline(r, series),
    r.recommendation }
end

local function show(records, by_record)
  local rows = {}
  for i, r in ipairs(records) do rows[i] = row(r, by_record[r]) end
  cli.table({ 'SERIES', 'NOW', 'AT MOST', 'DAYS', '80 % BETWEEN', 'PROBABILITY', 'PAST┊FUTURE',
    'RECOMMENDATION' }, rows)
  for _, r in ipairs(records) do
    if #records <= 5 and r.drivers and #r.drivers.words > 0 then
      print(('%s%s'):format(#records > 1 and cli.plain(name_of(r)) .. ': ' or 'drivers: ',
        cli.plain(table.concat(r.drivers.words, ', '))))
    end
  end
end

--- A record as it is printed: an object's null is json.null.
local function document(r)
  local out = {}
  for _, name in ipairs { 'metric', 'labels', 'direction', 'days_until_threshold',
    'days_quantiles', 'recommendation', 'ds', 'yhat', 'yhat_lower', 'yhat_upper' } do
    out[name] = r[name]
  end
  for _, name in ipairs { 'current_value', 'predicted_max', 'predicted_min', 'threshold',
    'probability', 'drivers' } do
    out[name] = r[name] == nil and json.null or r[name]
  end
  for _, name in ipairs { 'ds', 'yhat', 'yhat_lower', 'yhat_upper' } do json.array(out[name]) end
  if r.drivers then json.array(r.drivers.words) end
  return out
end

--- The charts, the most urgent first; nil and a status where one cannot be written.
local function draw(records, by_record, o, path)
  return load_series.draw(records, path, function(r)
    return assert(forecasting.chart(r, by_record[r],
      setmetatable({ unit = r.unit }, { __index = o }), r.metric))
  end)
end

local function forecast_all(list, o, unit)
  local records, by_record, progress <close> = {}, {}, cli.progress()
  for i, s in ipairs(list) do
    progress:tell(('forecasting series %d of %d'):format(i, #list))
    local known = unit or ticks.unit_of(s.name)
    local r = forecasting.forecast(s, setmetatable({ unit = known }, { __index = o }))
    r.unit, by_record[r], records[i] = known, s, r
  end
  forecasting.rank(records)
  return records, by_record
end

local function status_of(records, values)
  local some = false
  for _, r in ipairs(records) do
    some = some or not r.why_not
    if values['fail-on'] and not r.why_not and r.days_until_threshold >= 0 then
      return cli.NOT_AS_IT_SHOULD_BE
    end
  end
  if some then return cli.DONE end
  for _, r in ipairs(records) do
    cli.error(('%s: %s'):format(cli.plain(name_of(r)), cli.plain(r.recommendation)))
  end
  return cli.NOT_AS_IT_SHOULD_BE
end

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local o, list
  o, status = options_of(values)
  if not o then return status end
  list, status = load_series.load(values, { history = '30d', step = '1h' })
  if not list then return status end
  local records, by_record = forecast_all(list, o, values.unit)
  if values.plot then
    local drawn, failed = draw(records, by_record, o, values.plot)
    if not drawn then return failed end
  end
  if values.json then
    local out = json.array()
    for i, r in ipairs(records) do out[i] = document(r) end
    cli.print_json { forecasts = out }
  else
    show(records, by_record)
  end
  return status_of(records, values)
end
