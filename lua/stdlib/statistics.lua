--- Statistics of a series of numbers. NaN, infinities, nil and false are missing samples: nothing
--- here counts them. Where too few are left there is no answer but nil and the reason. Pure, so
--- rule files may use all of it, and it requires nothing that they may not.
local ecdf = require 'perigee.ecdf'
local moments = require 'perigee.moments'

local statistics = {}

---@alias statistics.Values (number|false)[]
---@class statistics.Ddof
---@field ddof? integer  the variance is the sum of squares / (count - ddof); 1

local NO_DATA = 'no data: every sample is missing'
-- Makes the median absolute deviation of normal values their standard deviation: 1 / Φ⁻¹(3/4).
local MAD_TO_SIGMA = 1.4826022185056018

-- What follows raises at the line that called the public function which calls it.

local function check_values(values, level)
  if type(values) ~= 'table' then
    error(('expected an array of numbers, not a %s'):format(type(values)), level)
  end
end

-- pcall, because what is no number would else be blamed on this file.
local function fit(kernel, values)
  check_values(values, 5)
  local ok, result, message = pcall(kernel, values)
  if not ok then error(result, 4) end
  return result, message
end

local function moments_of(values)
  local m = fit(moments.of, values)
  return m
end

local function ecdf_of(values)
  local e = fit(ecdf.fit, values) -- nil where there is no data
  return e
end

local function check_ddof(options)
  if options == nil then return 1 end
  if type(options) ~= 'table' then
    error(('options: expected a table, not a %s'):format(type(options)), 3)
  end
  for name in pairs(options) do
    if name ~= 'ddof' then
      error(('unknown option "%s"; known is ddof'):format(tostring(name)), 3)
    end
  end
  local ddof = options.ddof == nil and 1 or math.tointeger(options.ddof)
  if not ddof or ddof < 0 or ddof > 1000 then
    error('ddof: expected a whole number from 0 to 1000', 3)
  end
  return ddof
end

local function check_number(name, x)
  if type(x) ~= 'number' then
    error(('%s: expected a number, not a %s'):format(name, type(x)), 3)
  end
end

local function is_missing(v) return not v or v ~= v or v == math.huge or v == -math.huge end

-- The value at i: a number, or nil where it is missing.
local function sample(values, i)
  local v = values[i]
  if v and type(v) ~= 'number' then
    error(('value %d is a %s; expected a number'):format(i, type(v)), 3)
  end
  if not is_missing(v) then return v end
end

---@param values statistics.Values
---@return number? mean
---@return string? why_not
function statistics.mean(values)
  local m = moments_of(values)
  if m:count() == 0 then return nil, NO_DATA end
  return m:mean()
end

---@param values statistics.Values
---@return number? min
---@return string? why_not
function statistics.min(values)
  local m = moments_of(values)
  if m:count() == 0 then return nil, NO_DATA end
  return m:min()
end

---@param values statistics.Values
---@return number? max
---@return string? why_not
function statistics.max(values)
  local m = moments_of(values)
  if m:count() == 0 then return nil, NO_DATA end
  return m:max()
end

local function too_few(count, ddof)
  return ('too few samples: %d; with ddof = %d it takes %d'):format(count, ddof, ddof + 1)
end

---@param values statistics.Values
---@param options? statistics.Ddof
---@return number? variance
---@return string? why_not
function statistics.variance(values, options)
  local ddof, m = check_ddof(options), moments_of(values)
  if m:count() <= ddof then return nil, too_few(m:count(), ddof) end
  return m:variance(ddof)
end

---@param values statistics.Values
---@param options? statistics.Ddof
---@return number? stddev
---@return string? why_not
function statistics.stddev(values, options)
  local ddof, m = check_ddof(options), moments_of(values)
  if m:count() <= ddof then return nil, too_few(m:count(), ddof) end
  return m:stddev(ddof)
end

--- By linear interpolation between the nearest two: Hyndman and Fan's type 7, numpy's default.
---@param values statistics.Values
---@param p number  from 0 to 1
---@return number? quantile
---@return string? why_not
function statistics.quantile(values, p)
  check_number('p', p)
  if not (p >= 0 and p <= 1) then
    error(('p: a quantile lies between 0 and 1, not at %s'):format(p), 2)
  end
  local e <close> = ecdf_of(values)
  if not e then return nil, NO_DATA end
  return (e:quantile(p))
end

---@param values statistics.Values
---@return number? median
---@return string? why_not
function statistics.median(values)
  local e <close> = ecdf_of(values)
  if not e then return nil, NO_DATA end
  return (e:quantile(0.5))
end

--- Median absolute deviation from the median, unscaled.
---@param values statistics.Values
---@return number? mad
---@return string? why_not
function statistics.mad(values)
  local e <close> = ecdf_of(values)
  if not e then return nil, NO_DATA end
  return (e:mad())
end

-- How many scales x lies above the centre; where the scale is 0, infinitely many or, at it, none.
local function score(x, centre, scale)
  if scale == 0 and x == centre then return 0.0 end
  return (x - centre) / scale
end

local function scores(values, centre, scale)
  local out = {}
  for i = 1, #values do
    local v = values[i]
    out[i] = is_missing(v) and 0 / 0 or score(v, centre, scale)
  end
  return out
end

--- How many standard deviations x lies above the mean of the values; without x, the same of each
--- value, NaN for a missing one. Where all values are equal, what differs is infinitely far off.
---@param values statistics.Values
---@param x? number
---@param options? statistics.Ddof
---@return number|number[]|nil zscore  an array without x
---@return string? why_not
function statistics.zscore(values, x, options)
  if x ~= nil then check_number('x', x) end
  local ddof, m = check_ddof(options), moments_of(values)
  if m:count() <= ddof then return nil, too_few(m:count(), ddof) end
  if x then return m:zscore(x, ddof) end
  return scores(values, m:mean(), m:stddev(ddof))
end

--- The same by median and median absolute deviation (scaled to be a standard deviation, were the
--- values normal), which past outages do not move.
---@param values statistics.Values
---@param x? number
---@return number|number[]|nil zscore  an array without x
---@return string? why_not
function statistics.robust_zscore(values, x)
  if x ~= nil then check_number('x', x) end
  local e <close> = ecdf_of(values)
  if not e then return nil, NO_DATA end
  local median, scale = e:quantile(0.5), MAD_TO_SIGMA * e:mad()
  if x then return score(x, median, scale) end
  return scores(values, median, scale)
end

---@class statistics.Ewma  exactly one of them
---@field alpha? number     weight of the newest sample, above 0 and at most 1
---@field span? number      alpha = 2 / (span + 1); at least 1
---@field halflife? number  samples after which a weight has halved; above 0

local function check_alpha(options)
  if type(options) ~= 'table' then error('options: expected alpha, span or halflife', 3) end
  local name, value = next(options)
  if name == nil or next(options, name) ~= nil then
    error('options: expected exactly one of alpha, span and halflife', 3)
  end
  if type(value) ~= 'number' then error(('%s: expected a number'):format(tostring(name)), 3) end
  if name == 'alpha' and value > 0 and value <= 1 then return value end
  if name == 'span' and value >= 1 then return 2 / (value + 1) end
  if name == 'halflife' and value > 0 then return 1 - 2 ^ (-1 / value) end
  error(('unknown option or value out of range: %s = %s'):format(tostring(name), value), 3)
end

--- The exponentially weighted moving average: y[1] = x[1] and then
--- y[i] = alpha * x[i] + (1 - alpha) * y[i - 1]. A missing sample repeats the average before it;
--- ahead of the first sample it is NaN.
---@param values statistics.Values
---@param options statistics.Ewma
---@return number[]
function statistics.ewma(values, options)
  check_values(values, 3)
  local alpha, out, y = check_alpha(options), {}, nil
  for i = 1, #values do
    local x = sample(values, i)
    if x then y = y and y + alpha * (x - y) or x end
    out[i] = y or 0 / 0
  end
  return out
end

--- Pearson's coefficient of correlation, over the positions where neither sample is missing.
---@param x statistics.Values
---@param y statistics.Values  as long as x
---@return number? coefficient  from -1 to 1
---@return string? why_not
function statistics.correlation(x, y)
  check_values(x, 3)
  check_values(y, 3)
  if #x ~= #y then
    error(('two series of one length expected, not of %d and %d'):format(#x, #y), 2)
  end
  -- As Welford's update of the variance, with the product of two deviations beside it.
  local n, mean_x, mean_y, xx, yy, xy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
  for i = 1, #x do
    local a, b = sample(x, i), sample(y, i)
    if a and b then
      n = n + 1
      local dx, dy = a - mean_x, b - mean_y
      mean_x, mean_y = mean_x + dx / n, mean_y + dy / n
      xx, yy, xy = xx + dx * (a - mean_x), yy + dy * (b - mean_y), xy + dx * (b - mean_y)
    end
  end
  if n < 2 then return nil, ('too few samples: %d pairs; it takes 2'):format(n) end
  if xx == 0 or yy == 0 then return nil, 'a series that never changes has no correlation' end
  local r = xy / math.sqrt(xx) / math.sqrt(yy)
  return math.max(-1.0, math.min(1.0, r))
end

return statistics
