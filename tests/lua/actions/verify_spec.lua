local check = require 'check'
local verify = require 'actions.verify'

local function args(o)
  o.query, o.within = o.query or 'x', o.within or '10m'
  local values, problems = check.apply(o, verify.spec)
  assert.same({}, problems)
  return values
end

local function problems(o)
  local values, wrong = check.apply(o, verify.spec)
  local words = {}
  for i, p in ipairs(wrong) do words[i] = check.words(p) end
  if #wrong == 0 then words[1] = verify.check(values) end
  return words
end

local function vector(...)
  local out = { type = 'vector' }
  for i, value in ipairs { ... } do out[i] = { labels = {}, value = value, time = 0 } end
  return out
end

--- What an answer to a verification says, in words; whether it holds.
local function says(o, answer)
  local good, words = verify.judge(args(o), answer)
  return words, good
end

describe('verify', function()
  it('takes a query, one condition and a time', function()
    assert.same({ query = 'x', below = 0, within = 600, otherwise = 'page' }, args { below = 0 })
    assert.same({}, problems { query = 'x', above = 1, within = '1s', otherwise = 'revert' })
  end)

  it('refuses anything else', function()
    local one = 'exactly one of "below", "above" and "equals" is needed'
    assert.same({ one }, problems { query = 'x', within = '1m' })
    assert.same({ one }, problems { query = 'x', within = '1m', above = 0, below = 1 })
    assert.same({ 'option "query" is missing', 'option "within" is missing' },
      problems { above = 1 })
    assert.same({ 'above: expected a number, not "1"', 'otherwise: expected one of revert, page, '
      .. 'not "reverted"; did you mean "revert"?', 'within: expected at least 1s, not "10ms"' },
      problems { query = 'x', above = '1', within = '10ms', otherwise = 'reverted' })
    assert.same({ 'unknown option "belw"; did you mean "below"?' },
      problems { query = 'x', above = 1, within = '1m', belw = 1 })
  end)

  it('holds where a value is strictly on the right side', function()
    for _, case in ipairs { { { below = 1 }, 0.5, true }, { { below = 1 }, 1, false },
      { { above = 1 }, 1.5, true }, { { above = 1 }, 1, false }, { { equals = 0 }, 0, true },
      { { equals = 0 }, 1e-300, false }, { { below = 1 }, -math.huge, true },
      { { above = 1 }, math.huge, true } } do
      local o, value, wanted = table.unpack(case)
      local _, good = says(o, vector(value))
      assert.equal(wanted, good)
    end
  end)

  it('says what it saw', function()
    assert.equal('0.5 is below 1', (says({ below = 1 }, vector(0.5))))
    assert.equal('2 is not below 1', (says({ below = 1 }, vector(2))))
    assert.equal('0 is not above 0', (says({ above = 0 }, vector(0))))
    assert.equal('3 is equal to 3', (says({ equals = 3 }, vector(3))))
  end)

  it('holds only where every series does, and tells the one nearest to the limit', function()
    assert.same({ '3 is below 5', true }, { says({ below = 5 }, vector(1, 3, 2)) })
    assert.same({ '7 is above 5', true }, { says({ above = 5 }, vector(9, 7, 8)) })
    assert.same({ '6 is not below 5', false }, { says({ below = 5 }, vector(1, 6, 2)) })
    assert.same({ '5 is equal to 5', true }, { says({ equals = 5 }, vector(5, 5)) })
  end)

  it('takes a scalar', function()
    local scalar = vector(0)
    scalar.type = 'scalar'
    assert.same({ '0 is below 1', true }, { says({ below = 1 }, scalar) })
  end)

  it('is not satisfied by what is missing, NaN, partial, failed or a range', function()
    local partial = vector(0)
    partial.partial = true
    for words, answer in pairs { ['no data'] = vector(), ['the answer is partial'] = partial,
      ['the value is NaN'] = vector(0, 0 / 0, 0),
      ['the query gives a range of values, not one'] = { type = 'matrix' } } do
      assert.same({ words, false }, { says({ below = 1 }, answer) })
    end
    local good, words = verify.judge(args { below = 1 }, nil, { message = 'nobody there' })
    assert.same({ false, 'the query failed: nobody there' }, { good, words })
  end)

  it('looks ten times within its time, but neither too often nor too seldom', function()
    for within, pause in pairs { ['1s'] = 1, ['1m'] = 6, ['10m'] = 15, ['1d'] = 15 } do
      assert.equal(pause, verify.pause(args { below = 1, within = within }))
    end
  end)
end)
