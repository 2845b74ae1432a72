local prediction = require 'prediction'

local NAN = 0 / 0

describe('a prediction', function()
  it('has the level that begins strictly below it', function()
    local function level(p) return prediction.level(p, prediction.LEVELS) end
    assert.same({ 'low', 'medium', 'medium', 'high', 'high', 'critical' },
      { level(0.3), level(0.3001), level(0.5), level(0.5001), level(0.8), level(0.8001) })
    assert.equal('high', prediction.level(0.2, { critical = 0.9, high = 0.1, medium = 0.05 }))
  end)

  it('reaches its own level and those below', function()
    assert.is_true(prediction.reaches('high', 'high'))
    assert.is_true(prediction.reaches('critical', 'medium'))
    assert.is_false(prediction.reaches('medium', 'high'))
  end)

  it('names what moved it most, to either side', function()
    local result = prediction.result { names = { 'a', 'b', 'c', 'd' }, values = { 1, 2, NAN, 4 },
      probability = 0.6, contributions = { 0.1, -2, 0.5, 1 }, levels = prediction.LEVELS,
      scaler = { b = { mean = 1, scale = 2 } } }
    assert.same({ { feature = 'b', value = 2, contribution = -2, deviations = 0.5 },
      { feature = 'd', value = 4, contribution = 1 }, { feature = 'c', contribution = 0.5 } },
      result.top_contributing_factors)
    assert.same({ 'c' }, result.missing)
    assert.equal('high', result.risk_level)
    assert.equal(0.6, result.failure_probability)
  end)

  it('has fewer factors where there are fewer features, in a fixed order', function()
    local factors = prediction.factors({ 'a', 'b' }, { 1, 2 }, { 1, -1 })
    assert.same({ 'a', 'b' }, { factors[1].feature, factors[2].feature })
  end)

  it('says what to do, by level and factor', function()
    local function words(level, p, missing)
      return prediction.recommendation(level, p, {
        { feature = 'error_rate', value = 0.12, contribution = 2 },
        { feature = 'cpu_usage', value = 20, contribution = -1 },
        { feature = 'widgets', value = 7, contribution = 0.1 } }, missing or {})
    end
    assert.equal('Act now: a failure within the next hour is likely (86 %). What raises it: '
      .. 'error_rate at 0.12 (look at the errors and at the latest change); widgets at 7.',
      words('critical', 0.86))
    assert.matches('^Look at it now: .*may well come %(60 %%%)', words('high', 0.6))
    assert.matches('^Keep an eye on it: ', words('medium', 0.4))
    assert.equal('Nothing to do now: the risk of a failure within the next hour is low (1.2 %). '
      .. 'Judged without disk_io, gc_pause_time.',
      words('low', 0.012, { 'disk_io', 'gc_pause_time' }))
  end)

  it('writes shares as people read them', function()
    local function texts(...)
      local out = {}
      for i, p in ipairs { ... } do out[i] = prediction.percent(p) end
      return out
    end
    assert.same({ '0.0 %', 'below 0.1 %', '1.5 %', '50 %', 'above 99.9 %', '100 %' },
      texts(0, 0.0004, 0.015, 0.5, 0.9999, 1))
  end)

  it('wants levels that rise', function()
    assert.is_nil(prediction.wrong_levels(prediction.LEVELS))
    assert.matches('do not rise', prediction.wrong_levels { critical = 0.5, high = 0.6,
      medium = 0.1 })
  end)
end)
