--- The seasonal model against Prophet (R), and against refined optima of the same posterior, over
--- every case of ../shared/data/forecast/reference.
package.path = 'tests/parity/?.lua;' .. package.path
local calendar = require 'calendar'
local file = require 'perigee.file'
local json = require 'json'
local lib = require 'lib'
local seasonal = require 'seasonal'

local function instant(text)
  local year, month, day, clock = text:match '^(%d+)-(%d+)-(%d+)(.*)$'
  local h, m, s = clock:match '(%d+):(%d+):(%d+)'
  local days = calendar.days_from_civil(math.tointeger(year), math.tointeger(month),
    math.tointeger(day))
  return days * 86400 + (h or 0) * 3600 + (m or 0) * 60 + (s or 0)
end

--- Records of a CSV file without quotes, and its header as a table from name to position.
local function read_csv(path)
  local header, records = {}, {}
  for line in assert(file.read(path, 1 << 28)):gmatch '[^\r\n]+' do
    local fields = {}
    for field in (line .. ','):gmatch '([^,]*),' do fields[#fields + 1] = field end
    if not header[1] then
      header = fields
      for i, field in ipairs(fields) do header[field] = i end
    else
      records[#records + 1] = fields
    end
  end
  return records, header
end

local series = {}
local function history(settings)
  local name = settings.series
  series[name] = series[name] or read_csv(lib.DATA .. '/forecast/' .. name .. '.csv')
  local ds, y = {}, {}
  for _, record in ipairs(series[name]) do
    if record[1] >= settings.start and #ds < settings.rows then
      ds[#ds + 1], y[#y + 1] = instant(record[1]), tonumber(record[2]) or false
    end
  end
  return ds, y
end

local function value(v) return v ~= json.null and v or nil end

local function options_of(s)
  local seasonality = { daily = s.daily > 0 and s.daily or false,
    weekly = s.weekly > 0 and s.weekly or false, yearly = false }
  for i, season in ipairs(s.seasonalities) do
    seasonality[i] = { name = season.name, period = season.period, fourier_order = season.order,
      prior_scale = season.prior_scale, mode = season.mode }
  end
  local holidays = {}
  for i, holiday in ipairs(s.holidays) do
    holidays[i] = { name = holiday.holiday, ds = { instant(holiday.ds) },
      lower_window = holiday.lower, upper_window = holiday.upper,
      prior_scale = holiday.prior_scale }
  end
  return { growth = s.growth, n_changepoints = s.n_changepoints,
    changepoint_range = s.changepoint_range, changepoint_prior_scale = s.changepoint_prior_scale,
    seasonality = seasonality, seasonality_mode = s.mode, holidays = holidays,
    seasonality_prior_scale = s.seasonality_prior_scale, cap = value(s.cap), floor = value(s.floor),
    holidays_prior_scale = s.holidays_prior_scale, interval_width = s.interval_width,
    uncertainty_samples = s.growth == 'logistic' and 20000 or 1000, random_state = 1 }
end

--- Holidays' columns go by the offset here, by the text of it ("+0" before "-1") in Prophet.
local function beta_of(case, model)
  local beta, at = {}, {}
  for i, column in ipairs(case.features) do at[column] = case.at.beta[i] end
  for _, part in ipairs(model.parts) do
    for c = 1, #part.beta do
      local column = part.name .. '_delim_' .. c
      if part.kind == 'holiday' then
        local offset = c - 1
        for _, holiday in ipairs(case.settings.holidays) do
          if holiday.holiday == part.name then offset = offset + holiday.lower end
        end
        column = ('%s_delim_%s%d'):format(part.name, offset < 0 and '-' or '+', math.abs(offset))
      end
      beta[#beta + 1] = at[column] or error('no column ' .. column)
    end
  end
  return beta
end

--- The largest distance of a column from a forecast's, as a share of y_scale (or absolute).
local function distance(records, header, column, values, unit)
  local worst = 0
  for i, record in ipairs(records) do
    local d = math.abs(tonumber(record[header[column]]) - values[i]) / unit
    if d > worst or d ~= d then worst = d end
  end
  return worst
end

local function components(case, records, header, model, forecast, tolerance)
  for _, part in ipairs(model.parts) do
    local unit = part.multiplicative and 1 or case.y_scale
    local d = distance(records, header, part.name, forecast[part.name], unit)
    lib.check(d <= tolerance, '%s: %s differs by %.2g of y_scale', case.id, part.name, d)
  end
  for _, column in ipairs { 'yhat', 'trend' } do
    local d = distance(records, header, column, forecast[column], case.y_scale)
    lib.check(d <= tolerance, '%s: %s differs by %.2g of y_scale', case.id, column, d)
  end
end

local function bounds(case, records, header, forecast, tolerance)
  for _, column in ipairs { 'yhat_lower', 'yhat_upper', 'trend_lower', 'trend_upper' } do
    local d = distance(records, header, column, forecast[column], case.y_scale)
    lib.check(d <= tolerance, '%s: %s differs by %.2g of y_scale', case.id, column, d)
  end
end

local function scales(case, model)
  lib.check(model.y_scale == case.y_scale, '%s: y_scale %.17g', case.id, model.y_scale)
  lib.check(model.t_scale == case.t_scale_s, '%s: t_scale %.17g', case.id, model.t_scale)
  lib.check(#model.changepoints == #case.changepoints, '%s: %d changepoints', case.id,
    #model.changepoints)
  local same = true
  for j, at in ipairs(case.changepoints) do same = same and model.changepoints[j] == instant(at) end
  lib.check(same, '%s: the changepoints differ', case.id)
end

local function run(path)
  local case = json.decode(assert(file.read(path, 1 << 24)))
  local records, header = read_csv((path:gsub('json$', 'csv')))
  local ds, y = history(case.settings)
  local model = assert(seasonal.fit(ds, y, options_of(case.settings)))
  scales(case, model)
  lib.check(model.rows == case.n, '%s: %d rows', case.id, model.rows)
  local best, prophet, lp = case.best.lp, case.prophet.lp, model.log_posterior
  lib.check(lp >= best - 1e-6 * math.max(1, math.abs(lp) * 1e-3),
    '%s: log posterior %.9f, the best known is %.9f', case.id, lp, best)
  lib.check(lp >= prophet, '%s: log posterior %.9f, Prophet has %.9f', case.id, lp, prophet)
  local times = {}
  for i, record in ipairs(records) do times[i] = instant(record[1]) end
  local logistic = case.settings.growth == 'logistic'
  local options = { trend_bounds = true, cap = value(case.settings.cap),
    floor = value(case.settings.floor) }
  local forecast = model:predict(times, options)
  local tolerance = case.n < 100 and 1e-4 or logistic and 1e-5 or 1e-6
  components(case, records, header, model, forecast, tolerance)
  bounds(case, records, header, forecast, logistic and 0.005 or 1e-4)
  for _, given in ipairs { { 'best', 'yhat', 1e-9 }, { 'prophet', 'prophet_yhat', 5e-8 } } do
    local at = case[given[1]]
    case.at = at
    model.core:set_parameters(at.k, at.m, at.delta, beta_of(case, model), at.sigma_obs)
    local d = distance(records, header, given[2], model:predict(times, options).yhat, case.y_scale)
    lib.check(d <= given[3], '%s: with the parameters of %s yhat differs by %.2g', case.id,
      given[1], d)
    local there = model.core:about().log_posterior
    lib.check(math.abs(there - at.lp) <= 1e-9 * math.abs(at.lp) + 1e-6,
      '%s: the log posterior of %s is %.9f, not %.9f', case.id, given[1], there, at.lp)
  end
  print(('  %-34s lp %.6f, best %+.1e, Prophet %+.2g'):format(case.id, lp, lp - best, lp - prophet))
end

if lib.data 'forecast/reference' then
  for _, path in ipairs(file.glob(lib.DATA .. '/forecast/reference/*.json')) do run(path) end
end
lib.finish 'seasonal'
