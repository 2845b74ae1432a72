local check = require 'check'
local options = require 'detectors.options'

local DEFAULTS = { history = '7d', step = '5m', retrain = '1h', min_samples = 30 }
local SPEC = options.with_history(DEFAULTS, { direction = options.direction 'both' })

local function words(o)
  local _, wrong = check.apply(o, SPEC)
  return wrong[1] and check.words(wrong[1])
end

describe('detectors.options', function()
  it('adds what a history needs to a detector\'s own options', function()
    assert.same({ history = 7 * 86400, step = 300, retrain = 3600, min_samples = 30,
      direction = 'both' }, (check.apply({}, SPEC)))
  end)

  it('hands on what is learned from', function()
    local o = check.apply({ history = '14d', step = '1m', retrain = '1d' }, SPEC)
    assert.same({ range = 14 * 86400, step = 60, retrain = 86400 }, options.history(o))
  end)

  it('refuses what is no history', function()
    for _, name in ipairs { 'history', 'step', 'retrain' } do
      assert.equal(name .. ': expected at least 1s, not "0s"', words { [name] = '0s' })
    end
    assert.equal('min_samples: expected a whole number of at least 2, not 1',
      words { min_samples = 1 })
    assert.equal('direction: expected one of both, above, below, not "up"',
      words { direction = 'up' })
    assert.equal('unknown option "histroy"; did you mean "history"?', words { histroy = '1d' })
  end)
end)
