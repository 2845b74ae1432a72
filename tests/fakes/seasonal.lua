--- A model that is a straight line with a fixed spread about it: what a spec of policy can reckon
--- by hand. `fake.install()` puts it in the place of the real one, `fake.remove()` takes it away.
local fake = { fits = {} }

local DAY = 86400

local Model = {}
Model.__index = Model

local function line(ds, y)
  local n, mean_t, mean_y = #ds, 0, 0
  for i = 1, n do mean_t, mean_y = mean_t + (ds[i] - ds[1]) / n, mean_y + y[i] / n end
  local covariance, variance = 0, 0
  for i = 1, n do
    local t = ds[i] - ds[1] - mean_t
    covariance, variance = covariance + t * (y[i] - mean_y), variance + t * t
  end
  local slope = variance > 0 and covariance / variance or 0
  return slope, mean_y - slope * (mean_t + ds[1])
end

function fake.fit(ds, y, options)
  fake.fits[#fake.fits + 1] = { ds = ds, y = y, options = options }
  if fake.failure then return nil, fake.failure end
  local slope, offset = line(ds, y)
  return setmetatable({ slope = slope, offset = offset, last = ds[#ds] }, Model)
end

fake.SPREAD = 1

function Model:predict(ds)
  local out = { ds = ds, yhat = {}, yhat_lower = {}, yhat_upper = {}, trend = {}, daily = {} }
  for i, t in ipairs(ds) do
    local v = self.slope * t + self.offset
    out.yhat[i], out.yhat_lower[i], out.yhat_upper[i] = v, v - fake.SPREAD, v + fake.SPREAD
    out.trend[i], out.daily[i] = v, (fake.daily or 0) * (t // 3600 % 24 / 23 - 0.5)
  end
  return out
end

function Model:time_to(threshold, horizon, options)
  local seconds = (threshold - self.offset) / self.slope - self.last
  local towards = (self.slope > 0) ~= (options and options.falling or false)
  local reached = self.slope ~= 0 and towards and seconds <= horizon
  local quantiles = {}
  for q, factor in pairs { [0.1] = 0.8, [0.5] = 1, [0.9] = 1.25 } do
    local s = seconds * factor
    quantiles[q] = self.slope ~= 0 and towards and s <= horizon and s or nil
  end
  return { first = reached and seconds or nil, quantiles = quantiles,
    probability = fake.probability or reached and 0.75 or 0.02 }
end

function Model:drivers()
  return { trend = self.slope * DAY, daily = fake.daily or 0, weekly = 0, step = fake.step }
end

local before

function fake.install()
  before, package.loaded.seasonal = package.loaded.seasonal, fake
  fake.fits, fake.failure, fake.daily, fake.step = {}, nil, nil, nil
  fake.probability = nil
end

function fake.remove() package.loaded.seasonal = before end

return fake
