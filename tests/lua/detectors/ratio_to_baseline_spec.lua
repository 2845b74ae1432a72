local ratio_to_baseline = require 'detectors.ratio_to_baseline'
local support = require 'lua.detectors.support'

--- The verdict on a value against 1 … 30 and one outage of 1e6.
local function judge(options, value)
  local values = support.upto(30)
  values[31] = 1e6
  local detector = ratio_to_baseline(options or {})
  return detector.judge(assert(detector.fit(values)), value)
end

describe('ratio_to_baseline', function()
  it('learns the median of what is there, or the mean', function()
    local values = { support.NAN, table.unpack(support.upto(31)) }
    values[#values] = 1e6
    assert.same({ baseline = 16 }, ratio_to_baseline {}.fit(values))
    assert.same({ baseline = (465 + 1e6) / 31 },
      ratio_to_baseline { baseline = 'mean' }.fit(values))
  end)

  it('is an anomaly beyond a multiple of that', function()
    assert.same({ is_anomaly = true, anomaly_score = 4, confidence = 75,
      reason = '64 is 4 times the usual 16' }, judge({}, 64))
    assert.same({ is_anomaly = false, anomaly_score = 2, confidence = 50,
      reason = '32 is 2 times the usual 16' }, judge({}, 32))
    assert.same({ false, 0.5 }, { judge({}, 8).is_anomaly, judge({}, 8).anomaly_score })
    assert.is_true(judge({ ratio = 1.1 }, 18).is_anomaly)
  end)

  it('looks below, under the baseline divided by the ratio', function()
    local below = { direction = 'below' }
    assert.same({ true, 4, '4 is 0.25 times the usual 16' }, { judge(below, 4).is_anomaly,
      judge(below, 4).anomaly_score, judge(below, 4).reason })
    assert.same({ false, 2 }, { judge(below, 8).is_anomaly, judge(below, 8).anomaly_score })
    assert.is_false(judge(below, 64).is_anomaly)
  end)

  it('looks on both sides', function()
    local both = { direction = 'both' }
    assert.same({ true, true, false, false }, { judge(both, 64).is_anomaly,
      judge(both, 4).is_anomaly, judge(both, 8).is_anomaly, judge(both, 32).is_anomaly })
  end)

  it('has a finite score for what is infinitely far below', function()
    for _, value in ipairs { 0, -5 } do
      local v = judge({ direction = 'below' }, value)
      assert.same({ true, 1e9 }, { v.is_anomaly, v.anomaly_score })
      assert.is_false(judge({}, value).is_anomaly)
    end
    assert.same({ true, 1e9 }, { judge({}, support.INF).is_anomaly,
      judge({}, support.INF).anomaly_score })
  end)

  it('has no baseline where there is nothing to be a multiple of', function()
    local function zeros(how)
      local values = {}
      for i = 1, 40 do values[i] = i == 40 and -1 or 0 end
      return select(2, ratio_to_baseline { baseline = how }.fit(values))
    end
    assert.equal('no baseline: a ratio needs a history above 0, and its median is 0',
      zeros 'median')
    assert.equal('no baseline: a ratio needs a history above 0, and its mean is -0.025',
      zeros 'mean')
  end)

  it('has no baseline from too few samples, or from none', function()
    for _, how in ipairs { 'median', 'mean' } do
      local fit = ratio_to_baseline { baseline = how }.fit
      assert.same({ nil, 'no baseline: 29 samples of the 30 needed' }, { fit(support.upto(29)) })
      assert.same({ nil, 'no baseline: 0 samples of the 30 needed' }, { fit { support.NAN } })
    end
  end)

  it('refuses options that are wrong', function()
    assert.equal('ratio_to_baseline: ratio: expected a number above 1, not 1',
      support.refusal(ratio_to_baseline, { ratio = 1 }))
    assert.equal('ratio_to_baseline: baseline: expected one of median, mean, not "meen"; '
      .. 'did you mean "mean"?', support.refusal(ratio_to_baseline, { baseline = 'meen' }))
  end)
end)
