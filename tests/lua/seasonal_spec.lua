local calendar = require 'calendar'
local file = require 'perigee.file'
local seasonal = require 'seasonal'

local HOUR <const>, DAY <const> = 3600, 86400

--- Hourly values from a Monday on: a slope, a day, a week, and noise that is the same each time.
local function history(n, f)
  local ds, y, state = {}, {}, 7
  for i = 1, n do
    local t = 1704067200 + (i - 1) * HOUR
    state = (state * 1103515245 + 12345) % 2147483648
    ds[i] = t
    y[i] = f and f(t, i) or 50 + i / 48 + 8 * math.sin(2 * math.pi * t / DAY)
      + 2 * math.cos(2 * math.pi * t / (7 * DAY)) + state / 2147483648 - 0.5
  end
  return ds, y
end

local function near(expected, value, tolerance)
  assert.is_true(math.abs(expected - value) <= tolerance,
    ('%.17g is not near %.17g'):format(value, expected))
end

describe('seasonal.fit', function()
  it('finds slope, seasons and noise', function()
    local ds, y = history(720)
    local m = assert(seasonal.fit(ds, y))
    assert.equal(8, #m.beta.daily)
    assert.equal(6, #m.beta.weekly)
    assert.is_nil(m.beta.yearly)
    assert.equal(25, #m.delta)
    assert.equal(25, #m.changepoints)
    near(8, m.beta.daily[1] * m.y_scale, 0.2)
    near(0.29, m.sigma_obs * m.y_scale, 0.03)
    near(15, m.k * m.y_scale, 3)
  end)

  it('gives the same each time', function()
    local ds, y = history(720)
    assert.equal(seasonal.fit(ds, y):serialize(), seasonal.fit(ds, y):serialize())
  end)

  it('takes seasons by name, as orders, and of one\'s own', function()
    local ds, y = history(720)
    local m = assert(seasonal.fit(ds, y, { seasonality = { 'daily', weekly = 5,
      { name = 'shift', period = 1 / 3, fourier_order = 2, mode = 'multiplicative' } } }))
    assert.equal(8, #m.beta.daily)
    assert.equal(10, #m.beta.weekly)
    assert.equal(4, #m.beta.shift)
    assert.is_true(m.parts[1].multiplicative)
    local none = seasonal.fit(ds, y, { seasonality = { daily = false, weekly = false } })
    assert.same({}, none.beta)
  end)

  it('decides by the history what is not named', function()
    local ds, y = history(40)
    assert.same({}, seasonal.fit(ds, y).beta)
    ds, y = history(100)
    local m = seasonal.fit(ds, y)
    assert.equal(8, #m.beta.daily)
    assert.is_nil(m.beta.weekly)
  end)

  it('goes by the clock of a time zone', function()
    local zone = assert(calendar.zone 'Europe/Berlin')
    -- Across the change to summer time: a daily shape that is exact by the clock on the wall.
    local ds, y = history(24 * 40, function(t)
      local wall = t + 55 * DAY + calendar.offset(t + 55 * DAY, zone)
      return 10 + 3 * math.sin(2 * math.pi * wall / DAY)
    end)
    for i in ipairs(ds) do ds[i] = ds[i] + 55 * DAY end
    local options = { seasonality = { daily = 2, weekly = false } }
    local utc = seasonal.fit(ds, y, options)
    options.timezone = 'Europe/Berlin'
    local local_time = seasonal.fit(ds, y, options)
    assert.is_true(local_time.sigma_obs < utc.sigma_obs / 100)
  end)

  it('takes holidays, with the days around them', function()
    local ds, y = history(720, function(t, i)
      return 20 + math.sin(i) + (t // DAY == 19730 and 9 or 0) + (t // DAY == 19731 and 4 or 0)
    end)
    local m = assert(seasonal.fit(ds, y, { holidays = {
      { name = 'sale', ds = { 19730 * DAY + 5 }, upper_window = 1 } } }))
    near(9, m.beta.sale[1] * m.y_scale, 0.5)
    near(4, m.beta.sale[2] * m.y_scale, 0.5)
    local f = m:predict { 19730 * DAY + HOUR, 19729 * DAY + HOUR }
    near(9, f.sale[1], 0.5)
    assert.equal(0, f.sale[2])
    assert.same(f.sale, f.holidays)
  end)

  it('takes regressors, whose values a forecast needs', function()
    local x = {}
    local ds, y = history(400, function(_, i)
      x[i] = (i * i) % 11
      return 5 + 2 * x[i] + math.sin(i * 7)
    end)
    local m = assert(seasonal.fit(ds, y, { regressors = { { name = 'load', values = x } } }))
    local at = m:make_future(2, HOUR)
    local f = m:predict(at, { regressors = { load = { 0, 10 } } })
    near(20, f.yhat[2] - f.yhat[1], 1)
    assert.same(f.load, f.extra_regressors_additive)
    assert.has_error(function() m:predict(at) end)
    assert.has_error(function() m:predict(at, { regressors = { load = { 1 } } }) end)
  end)

  it('keeps logistic growth between floor and cap', function()
    local ds, y = history(720, function(_, i)
      return 10 + 80 / (1 + math.exp(-(i - 300) / 90)) + math.sin(i)
    end)
    local m = assert(seasonal.fit(ds, y, { growth = 'logistic', cap = 100, floor = 5 }))
    local f = m:predict(m:make_future(24 * 60))
    assert.is_true(f.trend[#f.trend] <= 100 and f.trend[#f.trend] > 85)
    near(10, m:predict({ ds[1] }).trend[1], 4)
    local caps = {}
    for i = 1, 720 do caps[i] = 100 end
    near(m.log_posterior, seasonal.fit(ds, y, { growth = 'logistic', cap = caps,
      floor = 5 }).log_posterior, 1e-6)
  end)

  it('says what cannot be fitted', function()
    local ds, y = history(5)
    for _, case in ipairs {
      { { ds[1] }, { 1 }, 'a fit takes 2' },
      { ds, { false, false, 0 / 0, false, false }, '0 of 5 values' },
      { ds, { 1, 2, math.huge, 4, 5 }, 'y%[3%] is infinite' },
      { { 1, 2, 0 / 0, 4, 5 }, y, 'ds%[3%]' },
      { { 7, 7, 7, 7, 7 }, y, 'same time' },
    } do
      local m, message = seasonal.fit(case[1], case[2])
      assert.is_nil(m)
      assert.truthy(message:find(case[3]), message)
    end
    local m, message = seasonal.fit(ds, y, { growth = 'logistic', cap = 1, floor = 1 })
    assert.is_nil(m)
    assert.truthy(message:find 'not above its floor')
    assert.is_nil((seasonal.fit(ds, y, { growth = 'logistic' })))
  end)

  it('blames the caller for wrong options', function()
    local ds, y = history(50)
    for words, options in pairs {
      ['did you mean "growth"'] = { growht = 'linear' },
      ['"yhat" is the name'] = {
        seasonality = { { name = 'yhat', period = 1, fourier_order = 1 } } },
      ['unknown season'] = { seasonality = { monthly = true } },
      ['at most 200'] = { seasonality = { daily = 5000 } },
      ['unknown time zone'] = { timezone = 'Mars/Olympus' },
      ['belong to growth'] = { cap = 5 },
    } do
      local ok, message = pcall(seasonal.fit, ds, y, options)
      assert.is_false(ok)
      assert.truthy(message:find(words, 1, true), message)
    end
    for words, case in pairs {
      ['y has 2 values for 3 times'] = { { 1, 2, 3 }, { 1, 2 } },
      ['y has 4 values for 3 times'] = { { 1, 2, 3 }, { 1, 2, 3, 4 } },
      ['y[3] is a string'] = { { 1, 2, 3 }, { 1, 2, 'x' } },
      ['ds[2] is a nil'] = { { 1, nil, 3 }, { 1, 2, 3 } },
      ['y is a nil'] = { { 1 } },
      ['holidays[1].ds[1]'] = { ds, y, { holidays = { { name = 'a', ds = { 1e300 } } } } },
    } do
      local ok, message = pcall(seasonal.fit, table.unpack(case, 1, 3))
      assert.is_false(ok)
      assert.truthy(message:find(words, 1, true), message)
    end
  end)

  it('has an answer for a constant', function()
    local ds, y = history(100, function() return 7 end)
    local f = assert(seasonal.fit(ds, y)):predict { ds[1] + 30 * DAY }
    near(7, f.yhat[1], 1e-9)
  end)
end)

describe('a model', function()
  local ds, y = history(720)
  local m = assert(seasonal.fit(ds, y))

  it('forecasts the sum of its parts, within bounds', function()
    local f = m:predict(m:make_future(168, HOUR))
    assert.equal(168, #f.yhat)
    for i = 1, 168 do
      near(f.yhat[i], f.trend[i] + f.daily[i] + f.weekly[i], 1e-9)
      assert.is_true(f.yhat_lower[i] < f.yhat[i] and f.yhat[i] < f.yhat_upper[i])
    end
    assert.is_true(f.yhat_upper[168] - f.yhat_lower[168] > f.yhat_upper[1] - f.yhat_lower[1])
    local plain = seasonal.fit(ds, y, { uncertainty_samples = 0 }):predict { ds[1] }
    assert.is_nil(plain.yhat_lower)
    assert.same({}, m:predict({}).yhat)
    local ok, message = pcall(m.predict, m)
    assert.is_false(ok)
    assert.truthy(message:find('ds is a nil; expected a list', 1, true), message)
  end)

  it('covers the history as the interval says', function()
    local f, inside = m:predict(ds), 0
    for i in ipairs(ds) do
      if y[i] >= f.yhat_lower[i] and y[i] <= f.yhat_upper[i] then inside = inside + 1 end
    end
    near(0.8, inside / #ds, 0.08)
  end)

  it('makes times of the future', function()
    local future = m:make_future(3, HOUR)
    assert.same({ ds[720] + HOUR, ds[720] + 2 * HOUR, ds[720] + 3 * HOUR }, future)
    assert.equal(723, #m:make_future(3, HOUR, true))
    assert.same(future, m:make_future(3))
    assert.has_error(function() m:make_future(0, HOUR) end)
    assert.has_error(function() m:make_future(1, -1) end)
  end)

  it('knows when a threshold is reached', function()
    local r = m:time_to(80, 40 * DAY)
    assert.is_true(r.first > 5 * DAY and r.first < 40 * DAY)
    assert.is_true(r.probability > 0.5)
    assert.is_true(r.quantiles[0.1] <= r.quantiles[0.5])
    assert.same(r, m:time_to(80, 40 * DAY))
    local never = m:time_to(1000, 10 * DAY)
    assert.is_nil(never.first)
    assert.same({}, never.quantiles)
    assert.equal(0, never.probability)
    assert.equal(0, m:time_to(0, 10 * DAY, { falling = true }).probability)
    -- No step goes beyond the horizon; what is there already is reached with the first.
    assert.equal(60, m:time_to(0, 60).first)
    assert.equal(DAY, m:time_to(0, DAY, { step = 10 * DAY }).quantiles[0.5])
    local plain = seasonal.fit(ds, y, { uncertainty_samples = 0 }):time_to(80, 40 * DAY)
    assert.equal(r.first, plain.first)
    assert.is_nil(plain.probability)
    for _, horizon in ipairs { 0, -1, 0 / 0, math.huge, 1e18 } do
      assert.has_error(function() m:time_to(80, horizon) end)
    end
  end)

  it('is updated with what came since', function()
    local all_ds, all_y = history(744)
    local one = seasonal.fit(ds, y)
    local more = { table.unpack(all_ds, 721) }
    assert.equal(one, one:update(more, { table.unpack(all_y, 721) }))
    local whole = seasonal.fit(all_ds, all_y)
    assert.equal(744, one.rows)
    near(whole.log_posterior, one.log_posterior, 1e-6)
    near(whole:predict({ ds[720] + 9 * DAY }).yhat[1], one:predict({ ds[720] + 9 * DAY }).yhat[1],
      1e-6)
    assert.is_nil((one:update({ ds[720] + 50 * DAY }, { math.huge })))
    assert.has_error(function() one:update({ ds[720] + 50 * DAY }, {}) end)
    assert.equal(one, one:update({}, {}))
    assert.equal(744, one.rows)
    assert.truthy(one:update({ ds[1] + 1800 }, { 50 })) -- a row that came late
    assert.equal(745, one.rows)
  end)

  it('is saved and loaded', function()
    local folder <const> = assert(file.temporary_folder 'perigee-seasonal')
    local path = folder .. '/model'
    assert(m:save(path))
    local back = assert(seasonal.load(path))
    assert.equal(m:serialize(), back:serialize())
    assert.same(m:predict({ ds[1], ds[720] + DAY }), back:predict({ ds[1], ds[720] + DAY }))
    assert.truthy(back:update({ ds[720] + HOUR }, { 60 }))
    assert.equal(721, back.rows)
    assert(file.write(path, 'nothing'))
    local nothing, message = seasonal.load(path)
    assert.is_nil(nothing)
    assert.truthy(message:find('cannot load', 1, true))
    os.remove(path)
    os.remove(folder)
  end)
end)
