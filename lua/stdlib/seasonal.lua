--- A trend with changes of slope, seasons, holidays and regressors, after Prophet (Taylor and
--- Letham, 2018): the same model and the same priors, at the exact mode of its posterior, with
--- exact intervals. Times are Unix seconds; seasons and holidays go by the clock of `timezone`.
---
--- The slope behind the last changepoint is extrapolated for ever. Under some 100 rows, and for a
--- season that was not seen twice, the priors decide more than the data.
local calendar = require 'perigee.calendar'
local check = require 'check'
local core = require 'perigee.seasonal'
local correction = require 'perigee.seasonal_auto'
local file = require 'perigee.file'

local seasonal = {}

---@class seasonal.Model
---@field growth string                 "linear", "logistic" or "flat"
---@field k number                      slope and offset at the start, on scaled data
---@field m number
---@field delta number[]                changes of slope
---@field changepoints number[]         Unix seconds
---@field beta table<string, number[]>  coefficients by the name of the season, holiday, regressor
---@field sigma_obs number
---@field y_scale number
---@field start number                  Unix seconds
---@field t_scale number                seconds
---@field log_posterior number          up to constants, as Stan reports it
---@field rows integer                  that it was fitted to
---@field model string                  "prophet" or "auto"
---@field parts table[]                 { name, kind, multiplicative, prior_scale, period, … }
local Model = {}
Model.__index = Model

-- -- options --------------------------------------------------------------------------------------

local SEASONS <const> = { daily = { 1, 4 }, weekly = { 7, 3 }, yearly = { 365.25, 10 } }
local ORDER <const> = { 'yearly', 'weekly', 'daily' } -- as Prophet's columns are
local MOST_ORDER <const> = 200

-- What a column of the forecast is called cannot be the name of a part.
local RESERVED <const> = { ds = true, y = true, cap = true, floor = true, yhat = true,
  yhat_lower = true, yhat_upper = true, trend = true, trend_lower = true, trend_upper = true,
  additive_terms = true, multiplicative_terms = true, holidays = true,
  extra_regressors_additive = true, extra_regressors_multiplicative = true }

local MODES <const> = { 'additive', 'multiplicative' }
local scale = check.number(nil, { above = 0 })
local mode = check.one_of(nil, MODES)

local name = { required = true, test = function(v)
  if type(v) ~= 'string' or v == '' or v:find '%z' then return check.expected('a name', v) end
  if RESERVED[v] then return ('"%s" is the name of a column of every forecast'):format(v) end
end }

local FURTHEST <const> = 100000000000000 -- Unix seconds

local CUSTOM <const> = {
  name = name,
  period = check.required(check.number(nil, { above = 0 })),
  fourier_order = check.required(check.number(nil, { integer = true, min = 1, max = MOST_ORDER })),
  prior_scale = scale,
  mode = mode,
}

local HOLIDAY <const> = {
  name = name,
  ds = check.required(check.list_of(check.number(nil, { min = -FURTHEST, max = FURTHEST }))),
  lower_window = check.number(0, { integer = true, min = -400, max = 0 }),
  upper_window = check.number(0, { integer = true, min = 0, max = 400 }),
  prior_scale = scale,
  mode = mode,
}

local REGRESSOR <const> = {
  name = name,
  values = check.required(check.any()),
  prior_scale = scale,
  mode = mode,
}

--- true, false, "auto" or an order.
local function order_problem(v)
  if type(v) == 'boolean' or v == 'auto' then return end
  return check.number(nil, { integer = true, min = 0, max = MOST_ORDER }).test(v)
end

--- { daily = true, weekly = 5, "yearly", { name = …, period = … } }
local SEASONALITY <const> = { test = function(v)
  if type(v) ~= 'table' then return check.expected('a table of seasons', v) end
  local out = { custom = {} }
  for key, one in pairs(v) do
    if math.type(key) == 'integer' and SEASONS[one] then
      out[one] = true
    elseif math.type(key) == 'integer' and type(one) == 'table' then
      local custom, problems = check.apply(one, CUSTOM)
      if problems[1] then return check.words(problems[1]) end
      out.custom[#out.custom + 1] = { key, custom }
    elseif SEASONS[key] then
      local problem = order_problem(one)
      if problem then return ('%s: %s'):format(key, problem) end
      out[key] = one
    else
      local known = { 'daily', 'weekly', 'yearly' }
      local what = math.type(key) == 'integer' and one or key
      return check.unknown('season', type(what) == 'string' and what or tostring(what), known)
    end
  end
  table.sort(out.custom, function(a, b) return a[1] < b[1] end)
  for i, pair in ipairs(out.custom) do out.custom[i] = pair[2] end
  return nil, out
end }

--- A number, or a list of one a row.
local LEVEL <const> = { test = function(v)
  if type(v) ~= 'number' and type(v) ~= 'table' then
    return check.expected('a number or a list of numbers', v)
  end
end }

local FIT <const> = {
  growth = check.one_of('linear', { 'linear', 'logistic', 'flat' }),
  n_changepoints = check.number(25, { integer = true, min = 0, max = 400 }),
  changepoint_range = check.number(0.8, { above = 0, max = 1 }),
  changepoint_prior_scale = check.number(0.05, { above = 0 }),
  changepoints = check.list_of(check.number()),
  seasonality = SEASONALITY,
  seasonality_mode = check.one_of('additive', MODES),
  seasonality_prior_scale = check.number(10, { above = 0 }),
  holidays_prior_scale = check.number(10, { above = 0 }),
  holidays = check.list_of(check.table_of(HOLIDAY), {}),
  regressors = check.list_of(check.table_of(REGRESSOR), {}),
  cap = LEVEL,
  floor = LEVEL,
  interval_width = check.number(0.8, { above = 0, max = 0.9999 }),
  uncertainty_samples = check.number(1000, { integer = true, min = 0, max = 1000000 }),
  random_state = check.number(0, { integer = true }),
  timezone = check.string('UTC'),
  model = check.one_of('prophet', { 'prophet', 'auto' }),
}

-- -- from options to the parts of a model ---------------------------------------------------------

local function is_multiplicative(o, part) return (part.mode or o.seasonality_mode) == MODES[2] end

local function add_seasons(parts, o)
  local seasonality = o.seasonality or { custom = {} }
  local taken = {}
  local function add(part_name, period, order, own)
    taken[part_name] = true
    parts[#parts + 1] = { kind = 'season', name = part_name, period = period, order = order,
      prior_scale = own.prior_scale or o.seasonality_prior_scale,
      multiplicative = is_multiplicative(o, own) }
  end
  for _, custom in ipairs(seasonality.custom) do
    add(custom.name, custom.period, custom.fourier_order, custom)
  end
  for _, season in ipairs(ORDER) do
    local period, order, wanted = SEASONS[season][1], SEASONS[season][2], seasonality[season]
    if wanted == nil or wanted == 'auto' then
      order = -1
    elseif wanted ~= true then
      order = wanted or 0
    end
    if order ~= 0 and not (taken[season] and order == -1) then add(season, period, order, {}) end
  end
end

--- The day, counted from 1970, that an instant lies in on the wall.
local function day_of(t, zone)
  return (math.floor(t) + calendar.offset(t, zone)) // 86400
end

local function add_holidays(parts, o, zone)
  for _, holiday in ipairs(o.holidays) do
    local days = {}
    for i, t in ipairs(holiday.ds) do days[i] = day_of(t, zone) end
    parts[#parts + 1] = { kind = 'holiday', name = holiday.name, days = days,
      lower = holiday.lower_window, upper = holiday.upper_window,
      prior_scale = holiday.prior_scale or o.holidays_prior_scale,
      multiplicative = is_multiplicative(o, holiday) }
  end
end

local function add_regressors(parts, o)
  for _, regressor in ipairs(o.regressors) do
    parts[#parts + 1] = { kind = 'regressor', name = regressor.name, values = regressor.values,
      prior_scale = regressor.prior_scale or o.holidays_prior_scale,
      multiplicative = is_multiplicative(o, regressor) }
  end
end

--- What the binding takes: the options, with the parts in the order of their columns.
local function spec_of(o)
  local zone, problem = calendar.zone(o.timezone)
  if not zone then return nil, problem end
  if o.growth ~= 'logistic' and (o.cap or o.floor) then
    return nil, 'cap and floor belong to growth = "logistic"'
  end
  local parts = {}
  add_seasons(parts, o)
  add_holidays(parts, o, zone)
  add_regressors(parts, o)
  o.parts, o.tzif = parts, calendar.zone_data(o.timezone)
  if o.tzif == '' then o.tzif = nil end
  return o
end

-- -- models ---------------------------------------------------------------------------------------

local function absorb(model, fitted)
  for key, value in pairs(fitted:about()) do model[key] = value end
  model.core, model.beta = fitted, {}
  for _, part in ipairs(model.parts) do model.beta[part.name] = part.beta end
  model.model = model.auto and 'auto' or 'prophet'
  return model
end

--- The model of what was fitted; with `auto` corrected by what the series' own last weeks say.
local function modelled(model, fitted, auto)
  if auto then
    local corrected, message = correction.fit(fitted)
    if not corrected then return nil, message end
    model.auto = corrected
  end
  return absorb(model, fitted)
end

-- What the binding raises is about arguments: it blames the line that called the public function.
local function guarded(f, ...)
  local ok, result, message = pcall(f, ...)
  if not ok then error(result, 3) end
  return result, message
end

---@class seasonal.Season
---@field name string
---@field period number          days
---@field fourier_order integer
---@field prior_scale? number
---@field mode? string
---@class seasonal.Seasonality   strings and seasonal.Season in list positions
---@field daily? boolean|integer  an order, or true for 4
---@field weekly? boolean|integer  3
---@field yearly? boolean|integer  10
---@class seasonal.Holiday
---@field name string
---@field ds number[]            Unix seconds within the days
---@field lower_window? integer  days before that belong to it; 0, or less
---@field upper_window? integer  days after
---@field prior_scale? number
---@field mode? string
---@class seasonal.Regressor
---@field name string
---@field values number[]        one a row; standardised unless they are 0 and 1
---@field prior_scale? number
---@field mode? string

---@class seasonal.Options
---@field growth? "linear"|"logistic"|"flat"   "linear"
---@field n_changepoints? integer              25, fewer where there are few rows
---@field changepoint_range? number            the share of the rows that they are spread over; 0.8
---@field changepoint_prior_scale? number      how much the slope may change; 0.05
---@field changepoints? number[]               Unix seconds, instead of being spread
---@field seasonality? seasonal.Seasonality     what is not named depends on the history
---@field seasonality_mode? "additive"|"multiplicative"  "additive"
---@field seasonality_prior_scale? number      10
---@field holidays? seasonal.Holiday[]
---@field holidays_prior_scale? number         10, also of regressors
---@field regressors? seasonal.Regressor[]
---@field cap? number|number[]                 of logistic growth
---@field floor? number|number[]               of logistic growth; 0
---@field interval_width? number               0.8
---@field uncertainty_samples? integer         paths that are simulated; 1000, 0 for no intervals
---@field random_state? integer                their seed; 0
---@field timezone? string                     that seasons and holidays go by; "UTC"
---@field model? "prophet"|"auto"              "prophet"

--- Fits the model to values at times, one each; NaN and false stand for missing ones. nil and why
--- where there is nothing to fit.
---@param ds number[]  Unix seconds, in any order
---@param y (number|false)[]
---@param options? seasonal.Options
---@return seasonal.Model?
---@return string? message
function seasonal.fit(ds, y, options)
  local o = check.options('seasonal.fit', options, FIT)
  local spec, problem = spec_of(o)
  if not spec then error('seasonal.fit: ' .. problem, 2) end
  local fitted, message = guarded(core.fit, ds, y, spec)
  if not fitted then return nil, message end
  return modelled(setmetatable({}, Model), fitted, o.model == 'auto')
end

--- Sums of parts of one kind, as Prophet names them.
local function add_sums(forecast, parts)
  local function add(column, values)
    local sum = forecast[column]
    if not sum then
      sum = {}
      for i = 1, #values do sum[i] = 0 end
      forecast[column] = sum
    end
    for i, v in ipairs(values) do sum[i] = sum[i] + v end
  end
  for _, part in ipairs(parts) do
    if part.kind == 'holiday' then add('holidays', forecast[part.name]) end
    if part.kind == 'regressor' then
      add('extra_regressors_' .. (part.multiplicative and MODES[2] or MODES[1]),
        forecast[part.name])
    end
  end
end

--- What holidays and regressors add at each time: nil where the model has none.
local function effects(forecast, parts)
  local effect
  for _, part in ipairs(parts) do
    if part.kind ~= 'season' then
      effect = effect or {}
      for i, v in ipairs(forecast[part.name]) do
        effect[i] = (effect[i] or 0) + (part.multiplicative and v * forecast.trend[i] or v)
      end
    end
  end
  return effect
end

---@class seasonal.FutureOptions
---@field cap? number|number[]     of logistic growth; that of the last row
---@field floor? number|number[]
---@field regressors? table<string, number[]>  values at these times, by name
---@field trend_bounds? boolean    also trend_lower and trend_upper; false
local FUTURE <const> = {
  cap = LEVEL,
  floor = LEVEL,
  regressors = check.any(),
  trend_bounds = check.boolean(false),
}

--- The forecast at times: { ds, yhat, yhat_lower, yhat_upper, trend, additive_terms,
--- multiplicative_terms, and a column for each season, holiday and regressor }. Additive columns
--- are in units of y, multiplicative ones are factors: yhat = trend * (1 + multiplicative_terms) +
--- additive_terms. Bounds are the exact quantiles of Prophet's distribution for linear and flat
--- growth, those of simulated paths for logistic growth. With model = "auto" yhat, its bounds and
--- the trend are those of the corrected forecast; the other columns are Prophet's, for the picture.
---@param ds number[]
---@param options? seasonal.FutureOptions
---@return table<string, number[]>
function Model:predict(ds, options)
  local o = check.options('predict', options, FUTURE)
  local forecast, message = guarded(self.core.predict, self.core, ds, o)
  if not forecast then error(message, 2) end
  if self.auto then
    local corrected, why = guarded(self.auto.predict, self.auto, ds, o,
      effects(forecast, self.parts), self.interval_width)
    if not corrected then error(why, 2) end
    for column, values in pairs(corrected) do forecast[column] = values end
  end
  add_sums(forecast, self.parts)
  return forecast
end

--- Times behind the history, a step apart, perhaps with those of the history before them.
---@param periods integer
---@param step_seconds? number         the usual gap between rows
---@param include_history? boolean     false
---@return number[]
function Model:make_future(periods, step_seconds, include_history)
  local step = step_seconds or self.step
  local count = check.number(nil, { integer = true, min = 1, max = 10000000 })
  local problem = count.test(periods)
  if problem then error('make_future: periods: ' .. problem, 2) end
  problem = check.number(nil, { above = 0 }).test(step)
  if problem then error('make_future: step_seconds: ' .. problem, 2) end
  local ds = include_history and self.core:history() or {}
  local last = self.start + self.t_scale
  for i = 1, periods do ds[#ds + 1] = last + i * step end
  return ds
end

local MOST_STEPS <const> = 5000

---@class seasonal.ReachOptions
---@field falling? boolean         the threshold is reached from above; false
---@field noise? boolean           true
---@field step? number             seconds
---@field cap? number|number[]
---@field floor? number|number[]
---@field regressors? table<string, number[]>  values at the steps, by name
local REACH <const> = {
  falling = check.boolean(false),
  noise = check.boolean(true),
  step = check.number(nil, { above = 0 }),
  cap = LEVEL,
  floor = LEVEL,
  regressors = check.any(),
}

--- When values first reach a threshold: seconds after the last row. `first` is when yhat does, nil
--- if not within the horizon; `probability` is the share of simulated paths that do, `quantiles`
--- when 10, 50 and 90 % of all paths have. Paths are Prophet's: changes of slope go on as they
--- were, and each step carries the noise of a sample unless `noise` is false. Steps are the usual
--- gap between rows, 5,000 at most. Waits.
---@param threshold number
---@param horizon_seconds number
---@param options? seasonal.ReachOptions
---@return { first?: number, probability: number, quantiles: table<number, number> }
function Model:time_to(threshold, horizon_seconds, options)
  local o = check.options('time_to', options, REACH)
  local problem = check.number(nil, { above = 0, max = FURTHEST }).test(horizon_seconds)
  if problem then error('time_to: horizon_seconds: ' .. problem, 2) end
  problem = check.number().test(threshold)
  if problem then error('time_to: threshold: ' .. problem, 2) end
  local step = math.max(math.min(o.step or self.step, horizon_seconds),
    horizon_seconds / MOST_STEPS)
  local ds = {}
  for i = 1, math.max(1, horizon_seconds // step) do
    ds[i] = self.start + self.t_scale + i * step
  end
  local reach, message
  if self.auto then
    local effect
    for _, part in ipairs(self.parts) do
      if part.kind ~= 'season' and not effect then
        effect = effects(guarded(self.core.predict, self.core, ds, o), self.parts)
      end
    end
    reach, message = guarded(self.auto.time_to, self.auto, ds, o, effect, threshold)
  else
    reach, message = guarded(self.core.time_to, self.core, ds, o, threshold)
  end
  if not reach then error(message, 2) end
  return reach
end

local UPDATE <const> = { cap = LEVEL, floor = LEVEL, regressors = check.any() }

--- Fits again with more rows: what comes out is what a fit to all of them gives. For linear growth
--- and additive seasons a few rows behind the last one cost a fraction of a millisecond however
--- long the history; otherwise it is a whole fit. Returns the model, or nil and why; then it is as
--- it was.
---@param ds number[]
---@param y (number|false)[]
---@param options? seasonal.FutureOptions
---@return seasonal.Model?
---@return string? message
function Model:update(ds, y, options)
  local o = check.options('update', options, UPDATE)
  local fitted, message = guarded(self.core.update, self.core, ds, o, y)
  if not fitted then return nil, message end
  return modelled(self, fitted, self.auto ~= nil)
end

-- -- what drives it -------------------------------------------------------------------------------

--- From the highest to the lowest of a season, in units of y.
local function peak_to_peak(part, scale_of)
  local most, least, steps = -math.huge, math.huge, 24 * 7
  for i = 0, steps - 1 do
    local sum = 0
    for k = 1, #part.beta // 2 do
      local angle = 2 * math.pi * k * i / steps
      sum = sum + part.beta[2 * k - 1] * math.sin(angle) + part.beta[2 * k] * math.cos(angle)
    end
    most, least = math.max(most, sum), math.min(least, sum)
  end
  return (most - least) * scale_of
end

--- What the forecast follows: `trend` is the change a day at the end of the history, `daily` and
--- `weekly` are from peak to trough in units of y, 0 where there is none. With model = "auto" also
--- `step`, the last lasting change of level, { ds, size }, where there was one, `error`, the mean
--- absolute error of the backtests, and `weights`, what each forecaster counts.
---@return { trend: number, daily: number, weekly: number, step?: table }
function Model:drivers()
  if self.auto then return self.auto:drivers() end
  local last, zero = self.start + self.t_scale, {}
  for _, part in ipairs(self.parts) do
    if part.kind == 'regressor' then zero[part.name] = { 0, 0 } end
  end
  local f = self.core:predict({ last, last + 86400 }, { regressors = zero })
  local out = { trend = f.trend[2] - f.trend[1], daily = 0, weekly = 0 }
  for _, part in ipairs(self.parts) do
    if part.kind == 'season' and out[part.name] then
      out[part.name] = peak_to_peak(part,
        part.multiplicative and math.abs(f.trend[1]) or self.y_scale)
    end
  end
  return out
end

-- -- to bytes and back ----------------------------------------------------------------------------

local AUTO <const> = 'seasauto' -- before the bytes of a model that is corrected

--- The model and its history as bytes. What corrects a model is not among them: it is the same each
--- time that it is made, in a few milliseconds.
---@return string
function Model:serialize() return (self.auto and AUTO or '') .. self.core:serialize() end

--- Writes the model to a file, in place of what is there.
---@param path string
---@return boolean? done
---@return string? message
function Model:save(path) return file.write(path, self:serialize()) end

local LARGEST <const> = 1 << 31 -- bytes of a model

--- A model from what serialize() gave.
---@param bytes string
---@return seasonal.Model?
---@return string? message
function seasonal.deserialize(bytes)
  local auto = type(bytes) == 'string' and bytes:sub(1, #AUTO) == AUTO
  local fitted, message = guarded(core.deserialize, auto and bytes:sub(#AUTO + 1) or bytes)
  if not fitted then return nil, message end
  return modelled(setmetatable({}, Model), fitted, auto)
end

--- A model from a file that save() wrote.
---@param path string
---@return seasonal.Model?
---@return string? message
function seasonal.load(path)
  local bytes, failure = file.read(path, LARGEST)
  if not bytes then return nil, failure end
  local model, message = seasonal.deserialize(bytes)
  if not model then return nil, ('cannot load %s: %s'):format(path, message) end
  return model
end

return seasonal
