local matrix = require 'matrix'
local prediction = require 'prediction'
local support = require 'lua.prediction.support'
local train = require 'prediction.train'

local NAN, INF = 0 / 0, math.huge

--- Trained with trees that need not be chosen, unless the test says otherwise.
local function trained(data, given)
  local o = { trees = 20, max_depth = 3 }
  for name, value in pairs(given or {}) do o[name] = value or nil end
  local result, message = train.run(data, o)
  return assert(result, message)
end

local function refusal(data, o)
  local result, message = train.run(data, o or {})
  assert.is_nil(result)
  return message
end

--- The data with other outcomes.
local function with(data, f)
  local y = {}
  for i = 1, #data.y do y[i] = f(i, data.y[i]) end
  return { X = data.X, y = y, times = data.times }
end

local function has(warnings, code)
  for _, w in ipairs(warnings) do
    if w.code == code then return w end
  end
end

describe('training', function()
  local data = support.service(3000)
  local first = trained(data)

  it('learns, and reports on the last rows, which it has not seen', function()
    local s, e = first.summary, first.summary.evaluation
    assert.same({ 3000, 2400, 600 }, { s.rows, s.split.train_rows, s.split.test_rows })
    assert.equal(600, e.rows)
    assert.is_true(e.auc > 0.7 and e.lift > 2 and e.log_loss < e.prior_log_loss)
    assert.equal(#support.NAMES, #s.importances)
    local failures = 0
    for i = 2401, 3000 do failures = failures + data.y[i] end
    assert.equal(failures, e.positives)
  end)

  it('gives the same bytes for the same data and seed', function()
    assert.equal(first.model:serialize(), trained(data).model:serialize())
  end)

  it('takes the rows in order of time, in whatever order they come', function()
    local which, times = {}, {}
    for i = 1, 3000 do which[i] = (i * 1571) % 3000 + 1 end
    local y = {}
    for k, i in ipairs(which) do y[k], times[k] = data.y[i], data.times[i] end
    local mixed = trained { X = data.X:pick(which), y = y, times = times }
    assert.equal(first.model:serialize(), mixed.model:serialize())
    assert.same(first.summary.evaluation, mixed.summary.evaluation)
  end)

  it('is then of all rows, unless it is not to be', function()
    assert.is_true(first.summary.refit)
    local kept = train.run(data, { trees = 20, max_depth = 3, refit = false })
    assert.is_false(kept.summary.refit)
    assert.same(first.summary.evaluation, kept.summary.evaluation)
    assert.is_true(kept.model:serialize() ~= first.model:serialize())
  end)

  it('leaves out rows whose outcomes reach into the time held out', function()
    local gap = trained(data, { horizon = 3600 }).summary.split
    assert.same({ 2400 - 11, 600 }, { gap.train_rows, gap.test_rows })
  end)

  it('keeps rows of one moment together', function()
    local times = {}
    for i = 1, 3000 do times[i] = 1780000000 + i // 1000 end
    local split = trained({ X = data.X, y = data.y, times = times }).summary.split
    assert.same({ 2999, 1 }, { split.train_rows, split.test_rows })
  end)

  it('may split by chance, from a seed', function()
    local a, b = trained(data, { split = 'random', seed = 5 }),
      trained(data, { split = 'random', seed = 6 })
    assert.equal(600, a.summary.split.test_rows)
    assert.is_true(a.summary.evaluation.auc ~= b.summary.evaluation.auc)
    assert.equal(a.summary.evaluation.auc,
      trained(data, { split = 'random', seed = 5 }).summary.evaluation.auc)
  end)

  it('keeps names, medians, base rate and the report for later', function()
    local meta = first.meta
    assert.same(support.NAMES, meta.features)
    assert.near(meta.failures / meta.rows, meta.base_rate, 1e-15)
    assert.is_true(meta.medians.thread_count > 145 and meta.medians.thread_count < 155)
    assert.is_nil(meta.scaler)
    assert.equal(first.summary.evaluation, meta.evaluation)
  end)

  it('keeps the scale of features where it is asked to, 1 for a constant', function()
    local rows = {}
    for i = 1, 200 do rows[i] = { i % 2 == 0 and 1 or 3, 7 } end
    local y = {}
    for i = 1, 200 do y[i] = i % 3 == 0 and 1 or 0 end
    local scaler = trained({ X = matrix.from_rows(rows, { 'a', 'b' }), y = y },
      { standardize = true }).meta.scaler
    assert.near(2, scaler.a.mean, 1e-12)
    assert.near(1, scaler.a.scale, 1e-12)
    assert.same({ mean = 7, scale = 1 }, scaler.b)
  end)

  it('chooses how deep and how many the trees are, unless told', function()
    local s = trained(data, { trees = false, max_depth = false }).summary
    assert.is_true(s.trees >= 1 and s.trees <= 400)
    assert.truthy(('2 3 5'):find(tostring(s.depth), 1, true))
    assert.is_true(s.evaluation.log_loss < 1.02 * first.summary.evaluation.log_loss)
    assert.equal(4, trained(data, { trees = false, max_depth = 4 }).summary.depth)
    assert.same({ 7, 3 }, { trained(data, { trees = 7 }).model.n_estimators,
      trained(data, { trees = 7 }).summary.depth })
  end)

  it('reports alarms a week where there are times', function()
    assert.is_number(first.summary.evaluation.levels[1].alarms_per_week)
    local untimed = trained { X = data.X, y = data.y }
    assert.is_nil(untimed.summary.evaluation.levels[1].alarms_per_week)
  end)

  it('judges by the levels that are given', function()
    local levels = { critical = 0.2, high = 0.1, medium = 0.05 }
    local e = trained(data, { levels = levels }).summary.evaluation
    assert.equal(0.1, e.levels[2].threshold)
    assert.is_true(e.levels[3].alarms > first.summary.evaluation.levels[3].alarms)
    assert.same(prediction.LEVELS.high, first.summary.evaluation.levels[2].threshold)
  end)
end)

describe('training warns', function()
  local data = support.service(1500)

  it('of class weights', function()
    assert.truthy(has(trained(data, { class_weight = 'balanced' }).summary.warnings,
      'class_weight'))
    assert.is_nil(has(trained(data).summary.warnings, 'class_weight'))
  end)

  it('of a leak, and of infinite values, which are missing', function()
    local leak, infinite = {}, data.X:column 'cpu_usage'
    for i, y in ipairs(data.y) do leak[i] = y * 10 + i % 3 end
    infinite[3], infinite[4] = INF, -INF
    local X = matrix.from_columns({ leak, infinite }, { 'leak', 'cpu' })
    local warnings = trained({ X = X, y = data.y }).summary.warnings
    assert.equal('leak', has(warnings, 'label_leak').feature)
    assert.matches('infinite in 2 rows', has(warnings, 'infinite').message)
  end)

  it('of outcomes that are not known', function()
    local s = trained(with(data, function(i, y) return i % 100 == 0 and NAN or y end)).summary
    assert.equal(1485, s.rows)
    assert.matches('15 rows without an outcome', has(s.warnings, 'unknown_outcomes').message)
    local times = {}
    for i = 1, 1500 do times[i] = i == 7 and INF or i == 8 and NAN or i end
    s = trained { X = data.X, y = data.y, times = times }.summary
    assert.equal(1498, s.rows)
  end)

  it('of a model that is no better than the base rate', function()
    local random = support.uniform(77)
    local s = trained(with(data, function() return random() < 0.1 and 1 or 0 end),
      { trees = 200, learning_rate = 0.3 }).summary
    assert.truthy(has(s.warnings, 'no_skill'))
  end)

  it('of an end without a failure, and says what it can', function()
    local s = trained(with(data, function(i, y) return i > 1200 and 0 or y end)).summary
    assert.truthy(has(s.warnings, 'few_failures_held_out'))
    assert.is_nil(s.evaluation.auc)
  end)
end)

describe('training refuses', function()
  local data = support.service(300)

  it('labels that are no 0 or 1', function()
    assert.equal('the label of row 7 is 2; expected 0 or 1',
      refusal(with(data, function(i, y) return i == 7 and 2 or y end)))
  end)

  it('a single class, also of the training part alone', function()
    assert.equal('no row is a failure: there is nothing to learn',
      refusal(with(data, function() return 0 end)))
    assert.equal('every row is a failure: there is nothing to learn',
      refusal(with(data, function() return 1 end)))
    assert.equal('of the training part: no row is a failure: there is nothing to learn',
      refusal(with(data, function(i) return i == 300 and 1 or 0 end)))
  end)

  it('rows of which none is later than the others', function()
    local same = {}
    for i = 1, 300 do same[i] = 1700000000 end
    assert.matches('^no row is held out: the last rows are all of one time',
      refusal { X = data.X, y = data.y, times = same })
  end)

  it('too few rows', function()
    assert.matches('there are 10 rows with an outcome; at least 40',
      refusal(with(data, function(i) return i <= 10 and i % 2 or NAN end)))
  end)
end)
