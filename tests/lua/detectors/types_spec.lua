local check = require 'check'
local support = require 'lua.detectors.support'
local types = require 'detectors.types'

describe('detectors.types', function()
  it('has no baseline, and says so first', function()
    assert.same({ is_anomaly = false, reason = 'no baseline' }, types.no_baseline())
    assert.same({ is_anomaly = false, reason = 'no baseline: nothing yet' },
      types.no_baseline 'nothing yet')
    assert.equal('no baseline: nothing yet', types.no_baseline('no baseline: nothing yet').reason)
  end)

  it('is an anomaly strictly beyond the threshold, and half sure of it there', function()
    for _, case in ipairs { { 0, false, 100 }, { 1.5, false, 75 }, { 3, false, 50 },
      { 6, true, 75 }, { 30, true, 95 }, { math.huge, true, 100 }, { -5, false, 100 } } do
      local score, is_anomaly, confidence = table.unpack(case)
      local v = types.by_score(score, 3, 'because')
      assert.same({ is_anomaly = is_anomaly, anomaly_score = score, confidence = confidence,
        reason = 'because' }, v)
    end
  end)

  it('counts deviations on the side that matters', function()
    assert.same({ 2, 2, 2, -2, -2, 2 }, { types.towards(2, 'both'), types.towards(-2, 'both'),
      types.towards(2, 'above'), types.towards(-2, 'above'), types.towards(2, 'below'),
      types.towards(-2, 'below') })
  end)

  it('says how many samples are too few', function()
    assert.equal('no baseline: 29 samples of the 30 needed', types.too_few(29, 30))
    assert.is_nil(types.too_few(30, 30))
  end)

  it('believes no spread that is next to none', function()
    assert.same({ 1e-9, 1e-9, 1e-3, 1e-3 }, { types.spread_floor(0), types.spread_floor(0.5),
      types.spread_floor(1e6), types.spread_floor(-1e6) })
  end)

  it('makes a detector of options, with the defaults of its spec', function()
    local given
    local detector = types.detector('mine', { a = check.number(5) }, function(o)
      given = o
      if o.a < 0 then types.refuse 'a is less than nothing' end
      return { name = 'mine' }
    end)
    assert.same({ name = 'mine' }, detector())
    assert.same({ a = 5 }, given)
    assert.equal('mine: a is less than nothing', support.refusal(detector, { a = -1 }))
    assert.equal('mine: a: expected a number, not "x"', support.refusal(detector, { a = 'x' }))
    assert.equal('mine: expected a table of options, not 5', support.refusal(detector, 5))
  end)
end)
