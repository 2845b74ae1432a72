local async = require 'async'
local calendar = require 'calendar'
local features = require 'features'

local START = 1700006400

local function series(n, step)
  local y, ds = {}, {}
  for i = 1, n do y[i], ds[i] = i % 7, START + (i - 1) * step end
  return y, ds
end

describe('features.expand', function()
  it('takes sets and features, each feature once', function()
    assert.same({ 'value', 'hour', 'weekday' }, features.expand 'value_hour_weekday')
    assert.same({ 'sd_1h' }, features.expand 'sd_1h')
    assert.same({ 'hour', 'value', 'weekday' },
      features.expand { 'hour', 'value_hour_weekday', 'value' })
    for name, set in pairs(features.SETS) do assert.same(set, features.expand(name)) end
  end)

  it('refuses others with the nearest', function()
    assert.same({ nil, 'unknown feature "residul"; did you mean "residual"?' },
      { features.expand 'residul' })
    assert.same({ nil, 'no features are named' }, { features.expand {} })
  end)
end)

describe('features.compute', function()
  it('gives a row for each value that is there', function()
    local X = features.compute({ 1, 0 / 0, 3, 1 / 0, 6 }, { 0, 300, 600, 900, 1200 },
      { names = { 'value', 'difference' }, step = 300 })
    assert.same({ 'value', 'difference' }, X.names)
    local rows = X:to_rows()
    assert.equal(3, #rows)
    assert.is_true(rows[1][2] ~= rows[1][2])
    assert.same({ { 3, 2 }, { 6, 3 } }, { rows[2], rows[3] })
    assert.equal(0, features.compute({}, {}, { names = { 'value' }, step = 1 }).rows)
  end)

  it('gives the last row alone, which is the same', function()
    local y, ds = series(500, 300)
    local o = { names = features.SETS.seasonal_residual, step = 300 }
    local all = features.compute(y, ds, o)
    o.last = true
    local last = features.compute(y, ds, o)
    assert.equal(1, last.rows)
    local a, b = all:to_rows()[500], last:to_rows()[1]
    for j = 1, #a do assert.is_true(a[j] == b[j] or a[j] ~= a[j] and b[j] ~= b[j]) end
  end)

  it('goes by the clock of a place', function()
    local zone = assert(calendar.zone 'Europe/Berlin')
    local o = { names = { 'hour', 'weekday' }, step = 300 }
    assert.same({ 0, 2 }, features.compute({ 1 }, { START }, o):to_rows()[1]) -- a Wednesday
    o.zone = zone
    assert.same({ 1, 2 }, features.compute({ 1 }, { START }, o):to_rows()[1])
    assert.same({ 0, 2 }, features.compute({ 1 }, { START - 3600 }, o):to_rows()[1])
  end)

  it('leaves others their turn while there is much to compute', function()
    local y, ds = series(200000, 60)
    local turns, done = 0, false
    async.spawn(function()
      while not done do
        turns = turns + 1
        async.turn()
      end
    end)
    assert.equal(200000, features.compute(y, ds, { names = { 'sd_6h' }, step = 60 }).rows)
    done = true
    assert.is_true(turns > 1)
  end)

  it('refuses what makes no sense', function()
    local function refused(pattern, ...)
      local ok, message = pcall(features.compute, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    local o = { names = { 'value' }, step = 300 }
    refused('the times must ascend; 2 does not', { 1, 2 }, { 5, 4 }, o)
    refused('as many times as values', { 1, 2 }, { 5 }, o)
    refused('there is no feature "x"', { 1 }, { 5 }, { names = { 'x' }, step = 1 })
    refused('no features', { 1 }, { 5 }, { names = {}, step = 1 })
    refused('a step is above 0', { 1 }, { 5 }, { names = { 'value' }, step = 0 })
    refused('Unix seconds expected', { 1 }, { 1e300 }, o)
  end)
end)

it('features.step_of is the median distance', function()
  assert.equal(60, features.step_of { 0, 60, 120, 900, 960, 960 })
  assert.equal(1, features.step_of { 5 })
end)
