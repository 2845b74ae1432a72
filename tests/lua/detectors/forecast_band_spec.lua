local forecast_band = require 'detectors.forecast_band'
local json = require 'json'
local support = require 'lua.detectors.support'

local START, STEP, DAY = 1700006400, 900, 86400

--- Days of a daily wave with noise of at most 2 to each side.
local function wave(days)
  local random, y, ds = support.random(5), {}, {}
  for i = 1, days * DAY // STEP do
    ds[i] = START + (i - 1) * STEP
    y[i] = 100 + 20 * math.sin(2 * math.pi * ds[i] / DAY) + random() * 4 - 2
  end
  return y, ds
end

local Y, DS = wave(8)
local detector = forecast_band { step = '15m' }
local MODEL = assert(detector.fit(Y, DS))
local NOON, SIX = START + 8 * DAY + DAY // 2, START + 8 * DAY + DAY // 4 -- the wave: 100 and 120

local function judge(value, time, d, model)
  return (d or detector).judge(model or MODEL, value, time)
end

describe('forecast_band', function()
  it('knows what is to be expected at this time', function()
    assert.is_false(judge(120, SIX).is_anomaly)
    assert.is_false(judge(100, NOON).is_anomaly)
    assert.is_true(judge(120, NOON).is_anomaly)
    assert.is_true(judge(100, SIX).is_anomaly)
  end)

  it('scores in half-widths of its band, on the side of the value', function()
    local p = detector.expects(MODEL, { NOON })
    local yhat, lower, upper = p.yhat[1], p.yhat_lower[1], p.yhat_upper[1]
    local above = judge(yhat + 2.5 * (upper - yhat), NOON)
    assert.is_true(math.abs(above.anomaly_score - 2.5) < 1e-9)
    assert.is_true(math.abs(above.confidence - 80) < 1e-6)
    assert.matches('^%S+ is above the band of %S+ to %S+ expected now, 2.5 half%-widths off$',
      above.reason)
    local below = judge(yhat - 0.5 * (yhat - lower), NOON)
    assert.is_true(math.abs(below.anomaly_score - 0.5) < 1e-9)
    assert.matches('^%S+ is within the band of %S+ to %S+ expected now$', below.reason)
    assert.matches('is below the band', judge(0, NOON).reason)
  end)

  it('counts no half-widths next to a band without width', function()
    local y = {}
    for i = 1, #DS do y[i] = 7 end
    local v = judge(8, NOON, detector, assert(detector.fit(y, DS)))
    assert.is_true(v.is_anomaly)
    assert.matches('^8 is above the band of 7 to 7 expected now, more than 1000 half%-widths off$',
      v.reason)
    assert.matches('^%+?[Ii]nf is above .* more than 1000', judge(math.huge, NOON).reason)
  end)

  it('has a band as wide as it was told to', function()
    for _, width in ipairs { 0.5, 0.9 } do
      local d = forecast_band { step = '15m', interval_width = width, model = 'prophet' }
      local odd = 0
      for _, v in ipairs(d.judge_history(assert(d.fit(Y, DS)), Y, DS)) do
        odd = odd + (v.is_anomaly and 1 or 0)
      end
      assert.is_true(math.abs(odd / #Y - (1 - width)) < 0.13)
    end
  end)

  it('has a wider band where it was told to, calibrated on what was not learned from', function()
    local y, ds = wave(12)
    local before = math.huge
    for _, width in ipairs { 0.5, 0.8, 0.99 } do
      local d = forecast_band { step = '15m', interval_width = width }
      local model, odd = assert(d.fit(Y, DS)), 0
      for i = #Y + 1, #y do odd = odd + (d.judge(model, y[i], ds[i]).is_anomaly and 1 or 0) end
      assert.is_true(odd < before)
      before = odd
    end
    assert.is_true(before < 0.05 * (#y - #Y))
  end)

  it('counts one side alone where it is told to', function()
    local d = forecast_band { step = '15m', direction = 'below' }
    local model = assert(d.fit(Y, DS))
    assert.is_false(judge(200, NOON, d, model).is_anomaly)
    assert.is_true(judge(0, NOON, d, model).is_anomaly)
  end)

  it('judges many at once as it judges each', function()
    local y, ds = { 100, 0 / 0, 300, math.huge }, { NOON, NOON + 1, NOON + 2, NOON + 3 }
    local all = detector.judge_history(MODEL, y, ds)
    assert.is_false(all[2])
    for _, i in ipairs { 1, 3, 4 } do assert.same(judge(y[i], ds[i]), all[i]) end
    assert.is_true(all[4].is_anomaly and all[4].anomaly_score < math.huge)
  end)

  it('is the same after a way through the store', function()
    local model = json.decode(json.encode(assert(detector.fit(Y, DS))))
    assert.same(judge(140, NOON), judge(140, NOON, detector, model))
  end)

  it('has no baseline where too little is known, or what is stored is damaged', function()
    local y, ds = wave(1)
    assert.same({ nil, 'no baseline: 96 samples of the 100 needed' }, { detector.fit(y, ds) })
    assert.same({ nil, 'no baseline: 0 samples of the 100 needed' }, { detector.fit({}, {}) })
    local v = judge(5, NOON, detector, { seasonal = 'AAAA', floor = 1 })
    assert.same({ false }, { v.is_anomaly, v.confidence })
    assert.matches('^no baseline: ', v.reason)
  end)

  it('learns past what is missing', function()
    local y = table.move(Y, 1, #Y, 1, {})
    for i = 100, 140 do y[i] = 0 / 0 end
    y[150] = math.huge
    local model = assert(detector.fit(y, DS))
    assert.is_true(judge(120, NOON, detector, model).is_anomaly)
    assert.is_false(judge(100, NOON, detector, model).is_anomaly)
  end)

  it('refuses options that make no sense', function()
    assert.matches('interval_width: expected a number above 0 and at most 0.9999, not 1',
      support.refusal(forecast_band, { interval_width = 1 }))
    assert.matches('unknown option "modell"; did you mean "model"%?',
      support.refusal(forecast_band, { modell = 'auto' }))
    assert.matches('timezone: unknown time zone "Mars"',
      support.refusal(forecast_band, { timezone = 'Mars' }))
  end)
end)
