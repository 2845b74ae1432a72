local async = require 'async'
local isolation_forest = require 'isolation_forest'
local json = require 'json'
local matrix = require 'matrix'

local function failure(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

--- Seeded numbers from -1 to 1.
local function uniform(seed)
  local state = seed
  return function()
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 11) / 2 ^ 52 - 1
  end
end

--- n rows around 0, then one far from them.
local function cloud(n, columns, seed)
  local next, rows = uniform(seed or 1), {}
  for i = 1, n do
    rows[i] = {}
    for c = 1, columns do rows[i][c] = next() end
  end
  rows[n + 1] = {}
  for c = 1, columns do rows[n + 1][c] = c == 2 and 9 or 0 end
  return rows
end

local function sum(t)
  local s = 0
  for _, x in ipairs(t) do s = s + x end
  return s
end

describe('isolation_forest', function()
  it('scores what is odd lowest, and explains it by the column that is', function()
    local rows = cloud(500, 3)
    for ndim = 1, 2 do
      local model = assert(isolation_forest.fit(rows, { contamination = 0.01, ndim = ndim }))
      local scores = model:score_samples(rows)
      local least = math.min(table.unpack(scores))
      assert.equal(least, scores[501])
      assert.is_true(least < -0.6)
      assert.equal(-1, model:predict(rows)[501])
      assert.equal(1, model:predict(rows)[1])
      assert.equal(scores[501] - model.offset, model:decision_function(rows)[501])
      local why = model:explain(rows[501])
      assert.near(scores[501] - model.mean_score, sum(why), 1e-12)
      assert.is_true(why[2] < why[1] and why[2] < why[3])
    end
  end)

  it('gives the same bytes for the same seed and any number of threads', function()
    local rows = cloud(300, 4)
    local function bytes(o) return assert(isolation_forest.fit(rows, o)):serialize() end
    for _, o in ipairs { {}, { bootstrap = true }, { max_features = 0.5 }, { ndim = 2 },
      { contamination = 0.1 } } do
      o.n_estimators, o.random_state, o.n_jobs = 500, 7, 1
      local one = bytes(o)
      o.n_jobs = 4
      assert.equal(one, bytes(o))
      o.random_state = 8
      assert.not_equal(one, bytes(o))
    end
  end)

  it('comes back from bytes and from a file', function()
    local path = os.tmpname()
    local rows = matrix.from_rows(cloud(100, 2), { 'cpu', 'disk' })
    local model = assert(isolation_forest.fit(rows, { contamination = 0.05, max_samples = 64 }))
    assert(model:save(path))
    for _, other in ipairs { assert(isolation_forest.load(path)),
      assert(isolation_forest.deserialize(model:serialize())) } do
      assert.same(model:score_samples(rows), other:score_samples(rows))
      for _, field in ipairs { 'offset', 'n_estimators', 'max_samples', 'contamination',
        'n_features', 'ndim', 'mean_score' } do
        assert.equal(model[field], other[field])
      end
      assert.same({ 'cpu', 'disk' }, other.feature_names)
    end
    os.remove(path)
  end)

  it('finds its columns by name', function()
    local rows = cloud(100, 2)
    local model = assert(isolation_forest.fit(matrix.from_rows(rows, { 'cpu', 'disk' })))
    local expected = model:score_samples(rows)
    local turned = {}
    for i, row in ipairs(rows) do turned[i] = { row[2], 0, row[1] } end
    local scores = model:score_samples(matrix.from_rows(turned, { 'disk', 'label', 'cpu' }))
    assert.same(expected, scores)
    assert.same(model:explain(rows[1]),
      model:explain(matrix.from_rows({ turned[1] }, { 'disk', 'label', 'cpu' })))
    assert.matches('fitted with a column "cpu", which is not here',
      failure(model.score_samples, model, matrix.from_rows(rows, { 'gpu', 'disk' })))
    assert.matches('fitted with 2 columns; there are 3 here',
      failure(model.score_samples, model, matrix.from_rows(turned)))
    assert.matches('fitted with 2 columns; there are 3 here',
      failure(model.score_samples, model, { turned[1] }))
  end)

  it('answers where data is missing, constant, infinite or huge', function()
    local rows = cloud(200, 3)
    for i, row in ipairs(rows) do
      row[1] = 5
      row[3] = false
      if i % 3 == 1 then row[2] = 0 / 0 end
    end
    local model = assert(isolation_forest.fit(rows))
    local scores = model:score_samples(rows)
    assert.equal(scores[201], math.min(table.unpack(scores)))
    assert.near(model.mean_score, model:score { false, false, false }, 1e-12)
    assert.equal(0, model:explain { 5, 1, 7 }[1])
    assert.equal(0, model:explain { 5, false, 7 }[2])
    assert.equal(model:score { 5, math.huge, 0 }, model:score { 5, 1e300, 0 })
    assert.is_true(model:score { 5, -math.huge, 0 } < model.mean_score)
    local flat = assert(isolation_forest.fit { { 1 }, { 1 }, { 1 } })
    assert.same({ -0.5, -0.5 }, flat:score_samples { { 1 }, { 2 } })
    assert.same({ 1, 1 }, flat:predict { { 1 }, { 2 } })
    local huge = assert(isolation_forest.fit { { 1 }, { 2 }, { math.huge }, { 3 }, { -math.huge } })
    assert.is_true(huge:score { 1e308 } < huge:score { 2 })
  end)

  it('tells apart values that float32 alone would not', function()
    local next, rows = uniform(3), {}
    for i = 1, 300 do rows[i] = { 1e12 + next() } end
    rows[301] = { 1e12 + 30 }
    local scores = assert(isolation_forest.fit(rows)):score_samples(rows)
    assert.equal(scores[301], math.min(table.unpack(scores)))
    assert.is_true(scores[301] < -0.75)
  end)

  it('says what is wrong', function()
    local fit = isolation_forest.fit
    assert.same({ nil, 'there are no columns to fit a forest to' }, { fit {} })
    assert.same({ nil, 'a forest needs at least 2 rows to fit; there is 1' }, { fit { { 1 } } })
    assert.same({ nil, 'every value is missing' }, { fit { { false }, { 0 / 0 } } })
    local line
    local message = failure(function()
      line = debug.getinfo(1, 'l').currentline local m = fit({ { 1 } }, { contaminaton = 1 })
      return m
    end)
    assert.matches('_spec.lua:' .. line .. ': .*did you mean "contamination"', message)
    for option, value in pairs { contamination = 0.6, max_samples = 1, max_features = 1.5, ndim = 3,
      n_estimators = 0, random_state = 0.5, n_jobs = -2, bootstrap = 'yes' } do
      assert.matches('isolation_forest.fit: ' .. option .. ': expected',
        failure(fit, { { 1 } }, { [option] = value }))
    end
    message = failure(function()
      line = debug.getinfo(1, 'l').currentline local m = fit { { 1 }, { 1, 2 } }
      return m
    end)
    assert.matches('isolation_forest_spec.lua:' .. line .. ': row 2 has 2 values', message)
    assert.matches('at least 1 and at most 1048576, not 0',
      failure(fit, { { 1 }, { 2 } }, { n_estimators = 0 }))
    assert.matches('^cannot read /no/such/file', select(2, isolation_forest.load '/no/such/file'))
    for _, bytes in ipairs { '', 'x', 'PRGFORST', '{', '{}', '[]', '{"n_features": 1}' } do
      local model, why = isolation_forest.deserialize(bytes)
      assert.is_nil(model)
      assert.is_string(why)
    end
  end)

  it('blames the line that asked', function()
    local model = assert(isolation_forest.fit(cloud(20, 2)))
    local fit, load, deserialize = isolation_forest.fit, isolation_forest.load,
      isolation_forest.deserialize
    local here = debug.getinfo(1, 'l').currentline
    local calls = {
      function() local r = model:score_samples { { 1 } } return r end,
      function() local r = model:predict { { 1, 'x' } } return r end,
      function() local r = model:decision_function { { 1 }, { 2 } } return r end,
      function() local r = model:score_samples(5) return r end,
      function() local r = model:score { 1 } return r end,
      function() local r = model:score(nil) return r end,
      function() local r = model:explain { 1 } return r end,
      function() local r = model:explain { { 1, 2 }, { 3, 4 } } return r end,
      function() local r = model:explain(nil) return r end,
      function() local r = model:save(nil) return r end,
      function() local r = fit(nil) return r end,
      function() local r = load(nil) return r end,
      function() local r = deserialize {} return r end,
    }
    for i, call in ipairs(calls) do
      local message = failure(call)
      assert.matches('isolation_forest_spec.lua:' .. here + 1 + i .. ': %a', message)
    end
    assert.matches('expected rows, as a matrix or an array of arrays, not 5', failure(calls[4]))
  end)

  it('reads max_samples and max_features as counts and shares', function()
    local rows = cloud(99, 4)
    assert.equal(100, assert(isolation_forest.fit(rows)).max_samples)
    assert.equal(50, assert(isolation_forest.fit(rows, { max_samples = 0.5 })).max_samples)
    assert.equal(100, assert(isolation_forest.fit(rows, { max_samples = 1.0 })).max_samples)
    assert.equal(64, assert(isolation_forest.fit(rows, { max_samples = 64 })).max_samples)
    assert.equal(100, assert(isolation_forest.fit(rows, { max_samples = 'auto' })).max_samples)
    local narrow = assert(isolation_forest.fit(rows, { max_features = 1, n_estimators = 1 }))
    local why = narrow:explain(rows[1])
    local used = 0
    for _, x in ipairs(why) do used = used + (x ~= 0 and 1 or 0) end
    assert.equal(1, used)
  end)

  it('reads trees of scikit-learn', function()
    local text = json.encode { n_features = 1, max_samples = 4, offset = -0.6,
      params = { contamination = 0.25 },
      trees = { { feature = { 0, -2, -2 }, threshold = { 1.5, -2, -2 }, left = { 2, -1, -1 },
        right = { 1, -1, -1 }, n = { 4, 1, 3 } } } }
    local model = assert(isolation_forest.deserialize(text))
    local function c(n) return n == 2 and 1 or 2 * (math.log(n - 1) + 0.5772156649015329)
      - 2 * (n - 1) / n end
    local scores = model:score_samples { { 2 }, { 1.5 } }
    assert.near(-2 ^ (-1 / c(4)), scores[1], 1e-15)
    assert.near(-2 ^ (-(1 + c(3)) / c(4)), scores[2], 1e-15)
    assert.equal(-0.6, model.offset)
    assert.equal(0.25, model.contamination)
    assert.same({ -1, 1 }, model:predict { { 2 }, { 1 } })
  end)

  it('scores as scikit-learn does with its trees', function()
    local path = 'tests/golden/isolation_forest.json'
    local file <close> = assert(io.open(path))
    local golden = assert(json.decode(file:read 'a'))
    local model = assert(isolation_forest.load(path))
    local rows = {}
    for i, row in ipairs(golden.rows) do rows[i] = row.x end
    local scores, decisions = model:score_samples(rows), model:decision_function(rows)
    local predictions = model:predict(rows)
    for i, row in ipairs(golden.rows) do
      assert.near(row.score, scores[i], 1e-12)
      assert.near(row.decision, decisions[i], 1e-12)
      assert.equal(row.predict, predictions[i])
    end
    local again = assert(isolation_forest.deserialize(model:serialize()))
    assert.same(scores, again:score_samples(rows))
  end)

  it('works on threads while others run, and can be cancelled', function()
    local rows = matrix.from_rows(cloud(20000, 4))
    local turns, done = 0, false
    local other = async.spawn(function()
      while not done do
        turns = turns + 1
        async.sleep(0.001)
      end
    end)
    local model = assert(isolation_forest.fit(rows, { n_estimators = 2000, contamination = 0.1 }))
    assert.equal(20001, #model:score_samples(rows))
    done = true
    other:await()
    assert.is_true(turns > 1)
    local task = async.spawn(function()
      return isolation_forest.fit(rows, { n_estimators = 20000 })
    end)
    async.sleep(0.002)
    task:cancel()
    assert.equal('cancelled', task:state())
  end)
end)
