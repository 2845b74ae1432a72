local fake = require 'fakes.seasonal'
local forecasting = require 'forecasting'

local START = 1764547200 -- Monday 2025-12-01 00:00 UTC
local DAY, HOUR = 86400, 3600

--- Hourly samples of a line from `first`, growing by `rate` a day.
local function series(days, first, rate)
  local s = { name = 'm', labels = { __name__ = 'm', app = 'shop' }, ds = {}, y = {} }
  for i = 0, days * 24 do s.ds[i + 1], s.y[i + 1] = START + i * HOUR, first + rate * i / 24 end
  return s
end

local function options(o)
  return setmetatable(o or {}, { __index = { horizon = 7 * DAY, step = HOUR } })
end

local function forecast(s, o) return forecasting.forecast(s, options(o)) end

describe('a forecast', function()
  before_each(fake.install)
  after_each(fake.remove)

  it('tells the days until yhat meets the threshold, between the steps', function()
    local r = forecast(series(20, 100, 10), { threshold = 330.3 }) -- at the end: 300
    assert.near(3.03, r.days_until_threshold, 1e-6)
    assert.near(0.8 * 3.03, r.days_quantiles['0.1'], 1e-6)
    assert.near(3.03, r.days_quantiles['0.5'], 1e-6)
    assert.near(1.25 * 3.03, r.days_quantiles['0.9'], 1e-6)
    assert.equal(0.75, r.probability)
    assert.equal('will be up to 330.3 in 3.0 days, growing by 10 a day: add capacity before '
      .. 'Wed 24 Dec', r.recommendation)
  end)

  it('has one time a step of the horizon behind the last sample', function()
    local s = series(20, 100, 10)
    local r = forecast(s, { horizon = 2 * DAY, step = 2 * HOUR })
    assert.equal(24, #r.ds)
    assert.equal(s.ds[#s.ds] + 2 * HOUR, r.ds[1])
    assert.equal(s.ds[#s.ds] + 2 * DAY, r.ds[24])
    for _, name in ipairs { 'yhat', 'yhat_lower', 'yhat_upper' } do assert.equal(24, #r[name]) end
  end)

  it('keeps what the series is called, and what it is now', function()
    local s = series(20, 100, 10)
    s.y[#s.y + 1], s.ds[#s.ds + 1] = 0 / 0, s.ds[#s.ds] + HOUR
    local r = forecast(s, { threshold = 500 })
    assert.same({ 'm', { app = 'shop' }, 300, 500 },
      { r.metric, r.labels, r.current_value, r.threshold })
    assert.equal(s.ds[#s.ds - 1], r.current_time)
    assert.near(300 + 70 + fake.SPREAD, r.predicted_max, 1e-6)
    assert.near(300 + 10 / 24 - fake.SPREAD, r.predicted_min, 1e-6)
  end)

  it('is -1 for never, and says when it would be by the trend', function()
    local r = forecast(series(20, 100, 10), { threshold = 500 })
    assert.equal(-1, r.days_until_threshold)
    assert.same({ ['0.1'] = -1, ['0.5'] = -1, ['0.9'] = -1 }, r.days_quantiles)
    assert.equal(0.02, r.probability)
    assert.equal('not projected to reach 500 within 7 days; at this trend it would in about '
      .. '20 days', r.recommendation)
  end)

  it('says how likely it is all the same', function()
    fake.probability = 0.22
    assert.equal('not projected to reach 500 within 7 days, but it does with a probability of '
      .. '22 %: keep an eye on it',
      forecast(series(20, 100, 10), { threshold = 500 }).recommendation)
    fake.probability = 0.61
    assert.equal('the forecast itself does not reach 500 within 7 days, but with a probability of '
      .. '61 % the series does: prepare for it',
      forecast(series(20, 100, 10), { threshold = 500 }).recommendation)
  end)

  it('is 0 where the last sample is beyond already', function()
    local r = forecast(series(20, 100, 10), { threshold = 299 })
    assert.same({ 0, 1, { ['0.1'] = 0, ['0.5'] = 0, ['0.9'] = 0 } },
      { r.days_until_threshold, r.probability, r.days_quantiles })
    assert.equal('already at or above 299, with 300: act now', r.recommendation)
  end)

  it('says of what moves away that it does, and of what stands still that it does', function()
    local falling = forecast(series(20, 500, -10), { threshold = 600 })
    assert.equal('not projected to reach 600 within 7 days: it is falling by 10 a day',
      falling.recommendation)
    local flat = forecast(series(20, 500, 0), { threshold = 600 })
    assert.equal('not projected to reach 600 within 7 days', flat.recommendation)
    assert.same({ 'no trend to speak of' }, flat.drivers.words)
  end)

  it('looks the other way where the threshold lies below', function()
    local r = forecast(series(20, 300, -10), { threshold = 60, direction = 'below' })
    assert.near(4, r.days_until_threshold, 1e-6)
    assert.near(3.2, r.days_quantiles['0.1'], 1e-6)
    assert.equal('will be down to 60 in 4.0 days, falling by 10 a day: add capacity before '
      .. 'Thu 25 Dec', r.recommendation)
    local growing = forecast(series(20, 100, 10), { threshold = 60, direction = 'below' })
    assert.equal('not projected to fall to 60 within 7 days: it is growing by 10 a day',
      growing.recommendation)
    assert.equal(0, forecast(series(20, 100, 10), { threshold = 301,
      direction = 'below' }).days_until_threshold)
  end)

  it('without a threshold tells what is expected at most', function()
    local r = forecast(series(20, 100, 10))
    assert.same({ -1, nil, nil }, { r.days_until_threshold, r.threshold, r.probability })
    assert.equal('no threshold to meet; at most 371 is expected within 7 days', r.recommendation)
  end)

  it('tells dates in the time zone, and values in their unit', function()
    -- The last sample is of 00:00 UTC; 3.98 days later it is next day in Auckland.
    local o = { threshold = 339.8e9, timezone = 'Pacific/Auckland', unit = 'bytes' }
    local r = forecast(series(20, 100e9, 10e9), o)
    assert.equal('will be up to 339.8 GB in 4.0 days, growing by 10 GB a day: add capacity before '
      .. 'Thu 25 Dec', r.recommendation)
    assert.equal('Pacific/Auckland', fake.fits[1].options.timezone)
  end)

  it('tells what drives it', function()
    fake.daily, fake.step = 30, { ds = START + 9 * DAY, size = 55 }
    local r = forecast(series(20, 100, 10), { threshold = 400 })
    assert.near(10, r.drivers.trend, 1e-9)
    assert.same({ 'grows by 10 a day', 'a daily swing of 30', 'a step up by 55 on Wed 10 Dec' },
      r.drivers.words)
    local pure = forecast(series(20, 100, 10), { threshold = 400, model = 'prophet' })
    assert.near(10, pure.drivers.trend, 1e-6)
    assert.near(30, pure.drivers.daily, 1e-9)
  end)

  it('leaves out seasons that a history cannot tell of, and says so', function()
    local r = forecast(series(10, 100, 10), { threshold = 400 })
    assert.same({ daily = true, weekly = false, yearly = false }, fake.fits[1].options.seasonality)
    assert.same({ 'grows by 10 a day', 'too little history for a weekly season' },
      r.drivers.words)
    forecast(series(14, 100, 10), { threshold = 400 })
    assert.is_true(fake.fits[2].options.seasonality.weekly)
    forecast(series(1, 100, 10), { threshold = 400, seasonality = { 'weekly' } })
    assert.same({ daily = false, weekly = false, yearly = false },
      fake.fits[3].options.seasonality)
    local daily = series(30, 100, 10)
    for i = #daily.ds, 1, -1 do -- one sample a day knows nothing of the day
      if i % 24 ~= 1 then
        table.remove(daily.ds, i)
        table.remove(daily.y, i)
      end
    end
    forecast(daily, { threshold = 400 })
    assert.same({ daily = false, weekly = true, yearly = false }, fake.fits[4].options.seasonality)
  end)

  it('of what never was negative does not become so', function()
    local r = forecast(series(20, 210, -10), { threshold = 600 })
    assert.equal(0, r.yhat_lower[#r.yhat_lower])
    assert.equal(0, r.yhat[#r.yhat])
    local free = forecast(series(20, 210, -10), { threshold = 600, model = 'prophet' })
    assert.is_true(free.yhat[#free.yhat] < 0)
    local capped = forecast(series(20, 100, 10), { threshold = 600, cap = 320, floor = 310 })
    assert.equal(320, capped.predicted_max)
    assert.equal(310, capped.predicted_min)
  end)

  it('goes by the finite samples alone', function()
    local s = series(20, 100, 10)
    s.y[5], s.y[6], s.y[#s.y] = math.huge, 0 / 0, -math.huge
    forecast(s, { threshold = 400 })
    assert.equal(#s.y - 3, #fake.fits[1].ds)
  end)
end)

describe('no forecast', function()
  before_each(fake.install)
  after_each(fake.remove)

  local function why(s, o)
    local r = forecast(s, o or { threshold = 1 })
    assert.same({ -1, {}, {}, {}, {} },
      { r.days_until_threshold, r.ds, r.yhat, r.yhat_lower, r.yhat_upper })
    assert.equal(-1, r.days_quantiles['0.5'])
    assert.is_nil(r.probability)
    assert.equal('no forecast: ' .. r.why_not, r.recommendation)
    return r.why_not
  end

  it('of too little: it says what is needed', function()
    assert.equal('there are no samples', why { name = 'm', labels = {}, ds = {}, y = {} })
    local s = series(1, 1, 1)
    for i = 10, 25 do s.ds[i], s.y[i] = nil, nil end
    assert.equal('9 samples; at least 10 are needed', why(s))
    for i = 1, 9 do s.y[i] = 0 / 0 end
    assert.equal('every sample is missing', why(s))
    local same = series(1, 1, 1)
    for i = 1, 25 do same.ds[i] = START end
    assert.equal('all samples are of one moment', why(same))
  end)

  it('where the model has none, with its words', function()
    fake.failure = 'the fit failed'
    assert.equal('the fit failed', why(series(20, 1, 1)))
    fake.failure = nil
    assert.equal('values beyond 1e300', why(series(20, 1e305, 1)))
  end)
end)

describe('options that do not go together', function()
  it('are told', function()
    local function wrong(o) return table.concat({ forecasting.refuse(options(o)) }, ': ') end
    assert.equal('', wrong {})
    assert.equal('step: is longer than the horizon', wrong { step = 8 * DAY })
    assert.equal('step: horizon / step is 604800 times; at most 20000', wrong { step = 1 })
    assert.equal('growth: logistic growth needs "cap", the value that is never exceeded',
      wrong { growth = 'logistic' })
    assert.equal('cap: is not above floor', wrong { cap = 1, floor = 1 })
    assert.equal('seasonality: "hourly" is none of daily, weekly, yearly',
      wrong { seasonality = { 'hourly' } })
    assert.equal('timezone: there is no time zone "Mars"', wrong { timezone = 'Mars' })
  end)
end)

describe('records', function()
  it('are ranked by what is most urgent', function()
    local list = { { id = 'never', days_until_threshold = -1, probability = 0.1 },
      { id = 'none', days_until_threshold = -1, why_not = 'x' },
      { id = 'late', days_until_threshold = 6, probability = 0.6 },
      { id = 'perhaps', days_until_threshold = -1, probability = 0.4 },
      { id = 'now', days_until_threshold = 0, probability = 1 },
      { id = 'soon', days_until_threshold = 2.5, probability = 0.9 } }
    forecasting.rank(list)
    local ids = {}
    for i, r in ipairs(list) do ids[i] = r.id end
    assert.same({ 'now', 'soon', 'late', 'perhaps', 'never', 'none' }, ids)
  end)
end)

describe('the chart of a record', function()
  before_each(fake.install)
  after_each(fake.remove)

  it('shows history, forecast, interval, threshold and breach', function()
    local s, o = series(20, 100, 10), options { threshold = 330 }
    local svg = assert(forecasting.chart(forecasting.forecast(s, o), s, o, 'disk'))
    for _, part in ipairs { '>disk<', 'app=&quot;shop&quot;', 'class="history"', 'class="forecast"',
      'class="band"', 'threshold 330', 'Wed 24 Dec 00:00', 'class="breach"' } do
      assert.truthy(svg:find(part, 1, true), part)
    end
  end)

  it('of one without a forecast shows the history', function()
    local s, o = series(0, 1, 1), options { threshold = 5 }
    local svg = assert(forecasting.chart(forecasting.forecast(s, o), s, o, 'disk'))
    assert.falsy(svg:find('class="breach"', 1, true))
  end)
end)
