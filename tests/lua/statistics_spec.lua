local statistics = require 'statistics'

local NAN, HUGE = 0 / 0, math.huge

local function near(expected, got, tolerance)
  assert(math.abs(expected - got) <= (tolerance or 1e-12) * math.max(1, math.abs(expected)),
    ('expected %.17g, got %.17g'):format(expected, got))
end

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe('statistics', function()
  local values = { 2, 4, 4, 4, 5, 5, 7, 9 } -- mean 5, sum of squares 32

  it('knows location and spread', function()
    assert.equal(5, statistics.mean(values))
    near(32 / 7, statistics.variance(values))
    assert.equal(4, statistics.variance(values, { ddof = 0 }))
    near(math.sqrt(32 / 7), statistics.stddev(values))
    assert.equal(2, statistics.stddev(values, { ddof = 0 }))
    assert.equal(4.5, statistics.median(values))
    assert.equal(0.5, statistics.mad(values)) -- of 2.5 .5 .5 .5 .5 .5 2.5 4.5
    assert.equal(2, statistics.min(values))
    assert.equal(9, statistics.max(values))
  end)

  it('has the quantiles of numpy', function()
    local x = { 15, 20, 35, 40, 50 }
    for p, expected in pairs { [0] = 15, [0.25] = 20, [0.4] = 29, [0.5] = 35, [0.9] = 46,
      [1] = 50 } do
      near(expected, statistics.quantile(x, p))
    end
  end)

  it('counts no missing sample', function()
    local holes = { 2, NAN, 4, 4, HUGE, 4, false, 5, 5, -HUGE, 7, 9 }
    for _, name in ipairs { 'mean', 'variance', 'stddev', 'median', 'mad', 'min', 'max' } do
      assert.equal(statistics[name](values), statistics[name](holes), name)
    end
    assert.equal(4.5, statistics.median { 2, 4, 4, nil, 4, 5, 5, 7, 9 })
    assert.equal(2, statistics.zscore(holes, 9, { ddof = 0 }))
    local z = statistics.zscore(holes, nil, { ddof = 0 })
    assert.equal(#holes, #z)
    assert.is_true(z[2] ~= z[2] and z[5] ~= z[5] and z[7] ~= z[7])
    assert.same({ -1.5, 2 }, { z[1], z[12] })
  end)

  it('is as stable near 1e12 as near 0', function()
    local x = {}
    for i = 1, 1000 do x[i] = 1e12 + i % 5 end -- variance 2 * 1000 / 999
    near(1e12 + 2, statistics.mean(x), 1e-15)
    near(2 * 1000 / 999, statistics.variance(x), 1e-4)
  end)

  it('has no answer without data, and says why', function()
    for _, name in ipairs { 'mean', 'median', 'mad', 'min', 'max', 'robust_zscore' } do
      assert.same({ nil, 'no data: every sample is missing' }, { statistics[name] { NAN, false } })
    end
    assert.same({ nil, 'no data: every sample is missing' }, { statistics.quantile({}, 0.5) })
    assert.same({ nil, 'too few samples: 1; with ddof = 1 it takes 2' },
      { statistics.variance { 3 } })
    assert.same({ nil, 'too few samples: 1; with ddof = 1 it takes 2' },
      { statistics.zscore({ 3 }, 3) })
    assert.equal(0, statistics.variance({ 3 }, { ddof = 0 }))
  end)

  it('scores one value or each', function()
    assert.equal(2, statistics.zscore(values, 9, { ddof = 0 }))
    local all = statistics.zscore(values)
    assert.equal(#values, #all)
    near(0, statistics.mean(all))
    near(1, statistics.variance(all))
    near((9 - 4.5) / (1.4826022185056018 * 0.5), statistics.robust_zscore(values, 9))
    near(-2.5 / (1.4826022185056018 * 0.5), statistics.robust_zscore(values)[1])
  end)

  it('puts what differs from a flat history infinitely far off', function()
    local flat = { 3, 3, 3, 3 }
    for _, name in ipairs { 'zscore', 'robust_zscore' } do
      assert.equal(0, statistics[name](flat, 3))
      assert.equal(HUGE, statistics[name](flat, 3.1))
      assert.equal(-HUGE, statistics[name](flat, -1))
      assert.same({ 0, 0, 0, 0 }, statistics[name](flat))
    end
  end)

  it('is not moved by past outages where it is robust', function()
    local x = {}
    for i = 1, 100 do x[i] = i <= 20 and 1e6 or 100 + i % 7 end
    assert.is_true(statistics.robust_zscore(x, 500) > 50)
    assert.is_true(statistics.zscore(x, 500) < 1)
  end)

  it('smooths, by weight, span or half-life', function()
    assert.same({ 1, 1.5, 2.25, 3.125 }, statistics.ewma({ 1, 2, 3, 4 }, { alpha = 0.5 }))
    assert.same(statistics.ewma(values, { alpha = 0.5 }), statistics.ewma(values, { span = 3 }))
    assert.same(statistics.ewma(values, { alpha = 0.5 }), statistics.ewma(values, { halflife = 1 }))
    local held = statistics.ewma({ NAN, 1, NAN, 3 }, { alpha = 0.5 })
    assert.is_true(held[1] ~= held[1])
    assert.same({ 1, 1, 2 }, { table.unpack(held, 2) })
  end)

  it('correlates as the definition does', function()
    local x, y, n = {}, {}, 50
    for i = 1, n do x[i], y[i] = 1e9 + i, 1e9 - 2 * i + (i * 7919) % 13 end
    local function sum(f) local s = 0 for i = 1,
      n do s = s + f(x[i] - 1e9, y[i] - 1e9) end return s end
    local sx, sy = sum(function(a) return a end), sum(function(_, b) return b end)
    local sxy = sum(function(a, b) return a * b end)
    local sxx, syy = sum(function(a) return a * a end), sum(function(_, b) return b * b end)
    near((n * sxy - sx * sy) / math.sqrt((n * sxx - sx ^ 2) * (n * syy - sy ^ 2)),
      statistics.correlation(x, y), 1e-9)
    near(1, statistics.correlation({ 1, 2, 3, NAN }, { 2, 4, 6, 0 }))
    near(-1, statistics.correlation({ 1, 2, false, 3 }, { 6, 4, 9, 2 }))
    assert.same({ nil, 'a series that never changes has no correlation' },
      { statistics.correlation({ 1, 1 }, { 1, 2 }) })
    assert.same({ nil, 'too few samples: 1 pairs; it takes 2' },
      { statistics.correlation({ 1, NAN }, { 1, 2 }) })
  end)

  it('blames the line of the caller', function()
    local calls = {
      { 'an array of numbers, not a nil', function() local x = statistics.mean() return x end },
      { 'value 2 is a string', function() local x = statistics.mean { 1, 'x' } return x end },
      { 'value 1 is a table', function() local x = statistics.median { {} } return x end },
      { 'value 1 is a boolean', function() local x = statistics.ewma({ true },
      { alpha = 1 }) return x end },
      { 'between 0 and 1', function() local x = statistics.quantile({ 1 }, 95) return x end },
      { 'unknown option "dof"', function() local x = statistics.stddev({ 1 },
      { dof = 0 }) return x end },
      { 'ddof: expected', function() local x = statistics.stddev({ 1 },
      { ddof = 0.5 }) return x end },
      { 'x: expected a number', function() local x = statistics.zscore({ 1, 2 },
      'x') return x end },
      { 'exactly one of', function() local x = statistics.ewma({ 1 }, {}) return x end },
      { 'alpha = 2', function() local x = statistics.ewma({ 1 }, { alpha = 2 }) return x end },
      { 'not of 1 and 2', function() local x = statistics.correlation({ 1 },
      { 1, 2 }) return x end },
      { 'not a number', function() local x = statistics.correlation({ 1 }, 1) return x end },
    }
    for _, call in ipairs(calls) do
      local line = debug.getinfo(call[2], 'S').linedefined
      local message = failure(call[2])
      assert.matches('statistics_spec%.lua:' .. line .. ': ', message)
      assert.matches(call[1], message)
    end
  end)
end)

describe('perigee.moments', function()
  local moments = require 'perigee.moments'

  it('merges, and survives the store', function()
    local a, b = moments.of { 1, 2, 3 }, moments.new()
    for _, x in ipairs { 10, NAN, 20 } do b:add(x) end
    b:merge(a)
    local again = moments.new(b:state())
    for _, m in ipairs { b, again } do
      assert.equal(5, m:count())
      near(7.2, m:mean())
      near(statistics.variance { 1, 2, 3, 10, 20 }, m:variance())
      assert.same({ 1, 20 }, { m:min(), m:max() })
    end
    assert.same({ count = 0 }, moments.new():state())
    assert.equal(0, moments.new(moments.new():state()):count())
    assert.matches('"mean" is missing', failure(moments.new, { count = 1 }))
    assert.matches('"m2" is out of range', failure(moments.new, { count = 1, mean = 0, m2 = -1 }))
  end)

  it('is NaN while it has seen nothing', function()
    local m = moments.new()
    for _, name in ipairs { 'mean', 'min', 'max', 'variance', 'stddev' } do
      assert.is_true(m[name](m) ~= m[name](m), name)
    end
  end)
end)

describe('perigee.ecdf', function()
  local ecdf = require 'perigee.ecdf'

  it('ranks, and cannot be used once closed', function()
    local e = ecdf.fit { 4, 1, NAN, 3, 2 }
    assert.equal(4, e:count())
    assert.same({ 0, 0.25, 0.5, 1 }, { e:rank(0), e:rank(1), e:rank(2.5), e:rank(9) })
    e:close()
    e:close()
    assert.matches('already closed', failure(e.rank, e, 1))
    assert.is_nil((ecdf.fit { NAN }))
  end)
end)
