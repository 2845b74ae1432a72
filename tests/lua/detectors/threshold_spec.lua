local support = require 'lua.detectors.support'
local threshold = require 'detectors.threshold'

--- A verdict as { is_anomaly, anomaly_score, reason }.
local function says(options, value)
  local v = threshold(options).judge(nil, value)
  assert.equal(100, v.confidence)
  return { v.is_anomaly, v.anomaly_score, v.reason }
end

describe('threshold', function()
  it('needs no history', function()
    local detector = threshold { above = 1 }
    assert.equal('threshold', detector.name)
    assert.is_nil(detector.history)
    assert.is_nil(detector.fit)
  end)

  it('is strict on both sides; the score is how far beyond, relative to the limit', function()
    assert.same({ true, 0.5, '6 is above 4' }, says({ above = 4 }, 6))
    assert.same({ false, 0, '4 is within its limits' }, says({ above = 4 }, 4))
    assert.same({ false, -0.75, '1 is within its limits' }, says({ above = 4 }, 1))
    assert.same({ true, 0.75, '1 is below 4' }, says({ below = 4 }, 1))
    assert.same({ false, 0, '4 is within its limits' }, says({ below = 4 }, 4))
    assert.same({ false, -0.5, '6 is within its limits' }, says({ below = 4 }, 6))
  end)

  it('takes both limits, and scores by the one that is nearer', function()
    local o = { above = 8, below = 4 }
    assert.same({ true, 0.5, '12 is above 8' }, says(o, 12))
    assert.same({ true, 1, '0 is below 4' }, says(o, 0))
    assert.same({ false, -0.25, '5 is within its limits' }, says(o, 5)) -- 1/4 over 4, 3/8 under 8
    assert.same({ false, -0.125, '7 is within its limits' }, says(o, 7))
  end)

  it('has limits of zero and below', function()
    assert.same({ true, 1, '-2 is below -1' }, says({ below = -1 }, -2))
    assert.is_true(support.close(says({ above = 0 }, 0.25)[2], 0.25e9))
    assert.same({ false, 0, '0 is within its limits' }, says({ above = 0 }, 0))
    assert.same({ true, 4, '3 is above -1' }, says({ above = -1 }, 3))
  end)

  it('judges infinities', function()
    assert.same({ true, support.INF, 'inf is above 4' }, says({ above = 4 }, support.INF))
    assert.same({ false, -support.INF, '-inf is within its limits' },
      says({ above = 4 }, -support.INF))
  end)

  it('refuses limits that are none', function()
    assert.equal('threshold: one of "above" and "below" is needed',
      support.refusal(threshold, {}))
    assert.equal('threshold: "below" (5) must be less than "above" (5)',
      support.refusal(threshold, { above = 5, below = 5 }))
    assert.equal('threshold: above: expected a number, not "5"',
      support.refusal(threshold, { above = '5' }))
    assert.equal('threshold: unknown option "over"; known are above, below',
      support.refusal(threshold, { over = 5 }))
  end)
end)
