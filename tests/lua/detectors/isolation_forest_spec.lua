local async = require 'async'
local isolation_forest = require 'detectors.isolation_forest'
local json = require 'json'
local support = require 'lua.detectors.support'

local START, STEP = 1700006400, 300 -- a Wednesday's midnight, in UTC

--- Days of a daily wave with a little noise, a sample each step.
local function wave(days)
  local random, y, ds = support.random(5), {}, {}
  for i = 1, days * 86400 // STEP do
    ds[i] = START + (i - 1) * STEP
    y[i] = 100 + 20 * math.sin(2 * math.pi * ds[i] / 86400) + random() * 4
  end
  return y, ds
end

--- The samples before the last, as the engine hands them to a detector.
local function recent(y, ds, step)
  return { [step or STEP] = { y = table.move(y, 1, #y - 1, 1, {}),
    ds = table.move(ds, 1, #ds - 1, 1, {}) } }
end

--- The verdict on the last sample.
local function judge_last(detector, model, y, ds)
  return detector.judge(model, y[#y], ds[#ds], {}, recent(y, ds))
end

local detector = isolation_forest {}
local Y, DS = wave(4)
local MODEL = assert(detector.fit(Y, DS))

--- Four days and one sample more.
local function and_then(...)
  local y, ds = table.move(Y, 1, #Y, 1, {}), table.move(DS, 1, #DS, 1, {})
  for _, value in ipairs { ... } do
    y[#y + 1], ds[#ds + 1] = value, ds[#ds] + STEP
  end
  return y, ds
end

describe('isolation_forest', function()
  it('finds a level that never was, and says what stands out', function()
    local v = judge_last(detector, MODEL, and_then(400))
    assert.is_true(v.is_anomaly)
    assert.is_true(v.anomaly_score > 0.6 and v.anomaly_score < 1)
    assert.is_true(v.confidence > 95)
    assert.matches('^400 is odd: what stands out is ', v.reason)
    assert.matches('its step from the sample before, 29%d', v.reason)
    assert.matches('its spread over 1h, [%d.]+ %(usually [%d.]+ to [%d.]+%)', v.reason)
  end)

  it('finds a calm and a restlessness at values that are usual', function()
    local flat, jumpy = {}, {}
    for i = 1, 80 do flat[i], jumpy[i] = 102, 102 + (i % 2 * 2 - 1) * 18 end
    local calm = judge_last(detector, MODEL, and_then(table.unpack(flat)))
    local restless = judge_last(detector, MODEL, and_then(table.unpack(jumpy)))
    assert.is_true(calm.is_anomaly and restless.is_anomaly)
    assert.matches('its spread over %d+h, 0', calm.reason)
    assert.matches('its spread over 1h, 18', restless.reason)
  end)

  it('leaves what is usual alone', function()
    local v = judge_last(detector, MODEL, and_then(Y[1]))
    assert.is_false(v.is_anomaly)
    assert.is_true(v.confidence > 50 and v.confidence <= 100)
    assert.matches('^[%d.]+ is as usual: %d+ %% of the history were odder$', v.reason)
  end)

  it('calls so much of its own history odd as it was told to', function()
    for _, contamination in ipairs { 0.02, 0.2 } do
      local d = isolation_forest { contamination = contamination }
      local odd = 0
      for _, v in ipairs(d.judge_history(assert(d.fit(Y, DS)), Y, DS)) do
        odd = odd + (v.is_anomaly and 1 or 0)
      end
      assert.is_true(math.abs(odd / #Y - contamination) < 0.005)
    end
  end)

  it('is half sure at its threshold and surer away from it', function()
    local verdicts = table.move(detector.judge_history(MODEL, Y, DS), 3, #Y, 1, {})
    table.sort(verdicts, function(a, b) return a.anomaly_score < b.anomaly_score end)
    local before = 100
    for _, v in ipairs(verdicts) do
      assert.is_true(v.confidence >= 50 and v.confidence <= 100)
      if not v.is_anomaly then
        assert.is_true(v.confidence <= before)
        before = v.confidence
      end
    end
    assert.is_true(before < 52)
    local last
    for _, v in ipairs(verdicts) do
      if v.is_anomaly then
        assert.is_true(last == nil or v.confidence >= last)
        last = v.confidence
      end
    end
    assert.is_true(last > 99)
  end)

  it('judges many at once as it judges each', function()
    local y, ds = and_then(300, 0 / 0, 104, 1 / 0)
    local all = detector.judge_history(MODEL, y, ds)
    for i = #y - 10, #y do
      local part, times = table.move(y, 1, i, 1, {}), table.move(ds, 1, i, 1, {})
      local one = y[i] == y[i] and judge_last(detector, MODEL, part, times)
      assert.same(one, all[i])
    end
  end)

  it('is the same after a way through the store', function()
    local y, ds = and_then(130)
    local stored = json.decode(json.encode(assert(detector.fit(Y, DS))))
    assert.same(judge_last(detector, MODEL, y, ds), judge_last(detector, stored, y, ds))
  end)

  it('learns the same from the same, another from another seed', function()
    assert.same(assert(detector.fit(Y, DS)), assert(detector.fit(Y, DS)))
    local other = isolation_forest { random_state = 1 }
    assert.are_not.equal(assert(detector.fit(Y, DS)).forest, assert(other.fit(Y, DS)).forest)
  end)

  it('learns on a thread while others have their turn', function()
    local turns, done, large = 0, false, isolation_forest { n_estimators = 500 }
    async.spawn(function()
      while not done do
        turns = turns + 1
        async.turn()
      end
    end)
    assert(large.fit(Y, DS))
    done = true
    assert.is_true(turns > 1)
  end)
end)

describe('isolation_forest of one side', function()
  it('counts that side alone', function()
    local above = isolation_forest { direction = 'above' }
    local model = assert(above.fit(Y, DS))
    assert.is_true(judge_last(above, model, and_then(400)).is_anomaly)
    local below = judge_last(above, model, and_then(-200))
    assert.is_false(below.is_anomaly)
    assert.matches(', but not above the usual$', below.reason)
  end)
end)

describe('isolation_forest has no baseline', function()
  local function nothing(v, why)
    assert.same({ false }, { v.is_anomaly, v.anomaly_score, v.confidence })
    assert.equal('no baseline: ' .. why, v.reason)
  end

  it('where the history is short or empty', function()
    local y, ds = table.move(Y, 1, 99, 1, {}), table.move(DS, 1, 99, 1, {})
    y[100], ds[100] = 0 / 0, DS[100]
    assert.same({ nil, 'no baseline: 99 samples of the 100 needed' }, { detector.fit(y, ds) })
    assert.same({ nil, 'no baseline: 0 samples of the 100 needed' }, { detector.fit({}, {}) })
  end)

  it('where the recent samples are not to be had, or too few', function()
    nothing(detector.judge(MODEL, 5, DS[#DS]), 'the recent samples cannot be had')
    local ds = { DS[#DS] - 6 * 3600, DS[#DS] - 600, DS[#DS] }
    nothing(detector.judge(MODEL, 5, DS[#DS], {}, recent({ 5, 0 / 0, 5 }, ds)),
      '1 samples in the last 6h, 3 are needed')
  end)

  it('where what is stored is damaged', function()
    local model = json.decode(json.encode(assert(detector.fit(Y, DS))))
    model.forest = 'AAAA'
    local y, ds = and_then(5)
    assert.matches('^no baseline: ', judge_last(detector, model, y, ds).reason)
  end)
end)

describe('isolation_forest of a history that never moved', function()
  local y = {}
  for i = 1, 200 do y[i] = 7 end
  local ds = table.move(DS, 1, 200, 1, {})
  local model = assert(detector.fit(y, ds))

  it('finds the first value that differs', function()
    assert.same({ is_anomaly = false, anomaly_score = 0, confidence = 100, reason = '7, as ever' },
      detector.judge(model, 7, ds[200]))
    assert.same({ is_anomaly = true, anomaly_score = 1, confidence = 100,
      reason = '8 where each of 200 samples was 7' }, detector.judge(model, 8, ds[200]))
    assert.is_true(detector.judge_history(model, { 7, 0 / 0, 8 }, { 1, 2, 3 })[3].is_anomaly)
    assert.is_false(detector.judge_history(model, { 7, 0 / 0, 8 }, { 1, 2, 3 })[2])
  end)
end)

describe('isolation_forest tells an infinite value', function()
  it('which no history holds', function()
    local v = detector.judge(MODEL, math.huge, DS[#DS])
    assert.same({ true, 'the value is infinite' }, { v.is_anomaly, v.reason })
  end)
end)

describe('the features of isolation_forest', function()
  it('without a memory need no recent samples', function()
    local d = isolation_forest { features = 'value_hour_weekday' }
    assert.is_nil(d.windows)
    local v = d.judge(assert(d.fit(Y, DS)), 500, DS[#DS])
    assert.is_true(v.is_anomaly)
    assert.matches('the value %(usually', v.reason)
  end)

  it('with one tell how far back they look', function()
    assert.same({ { range = 21600, step = 300 } }, detector.windows)
    local d = isolation_forest { features = { 'value', 'residual' }, step = '10m' }
    assert.is_true(d.windows[1].range > 7 * 86400 and d.windows[1].range < 8 * 86400)
    assert.equal(600, d.windows[1].step)
  end)

  it('may know what is usual at the time of day, on the clock of a place', function()
    local d = isolation_forest { features = 'seasonal_residual', timezone = 'America/New_York' }
    local y, ds = wave(14)
    local model = assert(d.fit(y, ds))
    local n = #y -- midnight, when the wave is at 100
    for i = 1, 30 do y[n + i], ds[n + i] = 122, ds[n] + i * STEP end
    local v = judge_last(d, model, y, ds)
    assert.is_true(v.is_anomaly)
    assert.matches('off the usual of this time of day', v.reason)
  end)

  it('are refused where they are unknown, with the nearest name', function()
    local function refused(o, pattern)
      local ok, message = pcall(isolation_forest, o)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    refused({ features = 'roling' }, 'unknown feature "roling"; did you mean "rolling"%?')
    refused({ features = { 'value', 'sd_1hh' } }, 'did you mean "sd_1h"%?')
    refused({ features = {} }, 'no features are named')
    refused({ features = 7 }, 'expected the name of a set of features')
    refused({ timezone = 'Mars' }, 'unknown time zone "Mars"')
    refused({ contamination = 0.6 }, 'at most 0.5')
    refused({ n_tree = 5 }, 'unknown option "n_tree"')
  end)
end)

it('isolation_forest learns from each second sample of a history twice as fine', function()
  local d = isolation_forest { step = '10m' }
  local thin, times = {}, {}
  for i = 1, #Y, 2 do thin[#thin + 1], times[#times + 1] = Y[i], DS[i] end
  assert.same(assert(d.fit(thin, times)), assert(d.fit(Y, DS)))
end)
