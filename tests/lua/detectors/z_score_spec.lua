local support = require 'lua.detectors.support'
local z_score = require 'detectors.z_score'

describe('z_score', function()
  -- Of 1 … 30: mean 15.5, and the variance of the sample is 30 * 31 / 12 = 77.5.
  local SD = math.sqrt(77.5)

  it('learns mean and standard deviation of what is there', function()
    local values = support.upto(30)
    table.insert(values, 1, support.NAN)
    table.insert(values, 9, support.INF)
    local model = assert(z_score {}.fit(values))
    assert.equal(15.5, model.mean)
    assert.is_true(support.close(model.scale, SD))
  end)

  it('scores in standard deviations, on either side', function()
    local detector = z_score {}
    local model = detector.fit(support.upto(30))
    local above, below = detector.judge(model, 50), detector.judge(model, -20)
    assert.is_true(support.close(above.anomaly_score, 34.5 / SD)) -- 3.919
    assert.is_true(support.close(below.anomaly_score, 35.5 / SD)) -- 4.033
    assert.is_true(support.close(above.confidence, 100 - 50 * 3 / (34.5 / SD)))
    assert.same({ true, '50 is 3.9 standard deviations above the mean of 15.5' },
      { above.is_anomaly, above.reason })
    assert.same({ true, '-20 is 4.0 standard deviations below the mean of 15.5' },
      { below.is_anomaly, below.reason })
    local usual = detector.judge(model, 15.5)
    assert.same({ false, 0, 100 }, { usual.is_anomaly, usual.anomaly_score, usual.confidence })
  end)

  it('has a threshold and a direction', function()
    local function odd(options, value)
      local detector = z_score(options)
      return detector.judge(detector.fit(support.upto(30)), value).is_anomaly
    end
    assert.same({ false, true }, { odd({}, 15.5 + 2.9 * SD), odd({}, 15.5 + 3.1 * SD) })
    assert.is_true(odd({ threshold = 2 }, 15.5 + 2.1 * SD))
    assert.same({ true, false }, { odd({ direction = 'above' }, 100),
      odd({ direction = 'above' }, -100) })
    assert.same({ false, true }, { odd({ direction = 'below' }, 100),
      odd({ direction = 'below' }, -100) })
  end)

  it('keeps its precision on counters near 1e12', function()
    local values = {}
    for i, x in ipairs(support.upto(30)) do values[i] = 1e12 + 1e6 * x end
    local model = z_score {}.fit(values)
    assert.equal(1e12 + 15.5e6, model.mean)
    assert.is_true(support.close(model.scale, 1e6 * SD))
  end)

  it('takes any change of a flat history for odd, and the same value for usual', function()
    local values = {}
    for i = 1, 40 do values[i] = 5 end
    local detector = z_score {}
    local model = detector.fit(values)
    assert.is_false(detector.judge(model, 5).is_anomaly)
    assert.is_true(detector.judge(model, 5.001).is_anomaly)
  end)

  it('has no baseline from too few samples; what is missing does not count', function()
    local values = support.upto(29)
    assert.same({ nil, 'no baseline: 29 samples of the 30 needed' }, { z_score {}.fit(values) })
    for _ = 1, 50 do values[#values + 1] = support.NAN end
    assert.same({ nil, 'no baseline: 29 samples of the 30 needed' }, { z_score {}.fit(values) })
    assert.same({ nil, 'no baseline: 0 samples of the 30 needed' }, { z_score {}.fit {} })
    assert.is_table(z_score({ min_samples = 29 }).fit(values))
  end)

  it('says what it wants to learn from', function()
    assert.same({ range = 7 * 86400, step = 300, retrain = 3600 }, z_score {}.history)
    assert.same({ range = 86400, step = 60, retrain = 600 },
      z_score { history = '1d', step = '1m', retrain = '10m' }.history)
  end)

  it('refuses options that are wrong', function()
    assert.equal('z_score: threshold: expected a number above 0, not 0',
      support.refusal(z_score, { threshold = 0 }))
    assert.equal('z_score: unknown option "treshold"; did you mean "threshold"?',
      support.refusal(z_score, { treshold = 3 }))
  end)
end)
