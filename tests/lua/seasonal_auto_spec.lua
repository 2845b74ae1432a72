local seasonal = require 'seasonal'

local HOUR <const>, DAY <const> = 3600, 86400
local START <const> = 1767571200 -- a Monday

--- Busy on working days, growing, with a little noise that is the same each time.
local function history(n, noise)
  local ds, y, x = {}, {}, 1
  for i = 1, n do
    ds[i] = START + i * HOUR
    local hour, day = i % 24, i // 24 % 7
    x = x * 16807 % 2147483647
    y[i] = 40 + i / 48 + (day < 5 and 12 or 2) * math.max(0, math.sin(math.pi * (hour - 6) / 12))
      + (noise or 1) * (x / 2147483647 - 0.5)
  end
  return ds, y
end

describe('seasonal.fit with model = "auto"', function()
  local ds, y = history(720)
  local model = assert(seasonal.fit(ds, y, { model = 'auto' }))
  local ahead = model:make_future(168, HOUR)

  it('forecasts closer than the pure model where days differ', function()
    local all_ds, all_y = history(720 + 168, 0)
    local pure = seasonal.fit(ds, y):predict(ahead)
    local ours = model:predict(ahead)
    local a, b = 0, 0
    for i = 1, 168 do
      assert.equal(all_ds[720 + i], ahead[i])
      a = a + math.abs(ours.yhat[i] - all_y[720 + i])
      b = b + math.abs(pure.yhat[i] - all_y[720 + i])
      assert.is_true(ours.yhat_lower[i] <= ours.yhat[i] and ours.yhat[i] <= ours.yhat_upper[i])
    end
    assert.is_true(a < 0.6 * b)
    assert.equal('auto', model.model)
    assert.equal(168, #ours.daily)
  end)

  it('says when a threshold is reached, and how sure that is', function()
    local near = model:time_to(72, 28 * DAY)
    assert.is_true(near.probability > 0.5)
    assert.is_true(near.quantiles[0.1] <= near.quantiles[0.5])
    local never = model:time_to(1000, 28 * DAY)
    assert.is_nil(never.first)
    assert.is_true(never.probability < 0.01)
    assert.is_true(model:time_to(0, 28 * DAY, { falling = true }).probability < 0.01)
  end)

  it('says what drives it, as the pure model does', function()
    local ours, pure = model:drivers(), seasonal.fit(ds, y):drivers()
    assert.is_true(math.abs(pure.trend - 0.5) < 0.1)
    assert.is_true(ours.trend > 0.2 and ours.trend < 0.6)
    for _, d in ipairs { ours, pure } do assert.is_true(d.daily > 5 and d.weekly > 1) end
    local sum = 0
    for _, weight in pairs(ours.weights) do sum = sum + weight end
    assert.is_true(math.abs(sum - 1) < 1e-9)
  end)

  it('is the same after bytes, and after an update', function()
    local copy = assert(seasonal.deserialize(model:serialize()))
    assert.same(model:predict(ahead).yhat, copy:predict(ahead).yhat)
    local more_ds, more_y = history(744)
    assert(copy:update({ table.unpack(more_ds, 721) }, { table.unpack(more_y, 721) }))
    local whole = assert(seasonal.fit(more_ds, more_y, { model = 'auto' }))
    local a, b = copy:predict(ahead), whole:predict(ahead)
    for i = 1, 168 do assert.is_true(math.abs(a.yhat[i] - b.yhat[i]) < 1e-3) end
    assert.is_nil((seasonal.deserialize 'seasauto'))
    assert.is_nil((seasonal.deserialize(model:serialize():sub(1, -2))))
  end)

  it('adds what holidays and regressors are known to do', function()
    local values, raised, coming = {}, {}, {}
    for i = 1, 720 do
      values[i] = i % 50 == 0 and 1 or 0
      raised[i] = y[i] + 30 * values[i]
    end
    local m = assert(seasonal.fit(ds, raised, { model = 'auto',
      regressors = { { name = 'batch', values = values } } }))
    for i = 1, 168 do coming[i] = i == 100 and 1 or 0 end
    local with = m:predict(ahead, { regressors = { batch = coming } }).yhat
    for i = 1, 168 do coming[i] = 0 end
    local without = m:predict(ahead, { regressors = { batch = coming } }).yhat
    assert.is_true(math.abs(with[100] - without[100] - 30) < 3)
    assert.equal(with[99], without[99])
    local r = m:time_to(1000, 168 * HOUR, { step = HOUR, regressors = { batch = coming } })
    assert.is_true(r.probability < 0.01)
  end)

  it('follows growth with a limit, multiplicative seasons and another clock', function()
    for _, options in ipairs { { growth = 'logistic', cap = 90 }, { growth = 'flat' },
      { seasonality_mode = 'multiplicative' }, { timezone = 'America/New_York' } } do
      options.model = 'auto'
      local f = assert(seasonal.fit(ds, y, options)):predict(ahead)
      for i = 1, 168 do assert.is_true(f.yhat[i] > 20 and f.yhat[i] < 100) end
    end
  end)

  it('has an answer for very little', function()
    local few = assert(seasonal.fit({ 0, 3600, 7200 }, { 1, 2, 3 }, { model = 'auto' }))
    local f = few:predict { 10800, 1e6 }
    assert.is_true(f.yhat[1] == f.yhat[1] and f.yhat_upper[2] >= f.yhat_lower[2])
    assert.equal(0, few:drivers().backtests)
    local brief = assert(seasonal.fit({ 0, 10, 20 }, { 1, 2, 3 }, { model = 'auto' }))
    assert.is_true(brief:predict({ 30 }).yhat[1] > 1)
  end)
end)
