local async = require 'async'
local file = require 'perigee.file'
local gradient_boosting = require 'gradient_boosting'
local matrix = require 'matrix'

--- Rows whose label follows from a, b and chance; c is noise, in whole numbers.
local function make(n, seed)
  math.randomseed(seed)
  local X, y = {}, {}
  for i = 1, n do
    local a, b, c = math.random(), math.random(), math.random(0, 9)
    X[i] = { a, b, c }
    y[i] = math.random() < 1 / (1 + math.exp(-8 * (a - 0.6) + 4 * b)) and 1 or 0
  end
  return X, y
end

local NAMES = { 'a', 'b', 'c' }
local FAST = { n_estimators = 20, feature_names = NAMES }

local function with(options)
  local out = {}
  for k, v in pairs(FAST) do out[k] = v end
  for k, v in pairs(options) do out[k] = v end
  return out
end

local function log_loss(p, y)
  local sum = 0
  for i = 1, #y do sum = sum - math.log(y[i] == 1 and p[i] or 1 - p[i]) end
  return sum / #y
end

local function logistic(z) return 1 / (1 + math.exp(-z)) end

--- The error that a call raises, with its place.
local function raised(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

describe('gradient_boosting', function()
  local X, y, model
  setup(function()
    X, y = make(1500, 1)
    model = assert(gradient_boosting.fit(X, y, FAST))
  end)

  describe('fit', function()
    it('learns probabilities, and tells how well after each tree', function()
      local p = model:predict_proba(X)
      assert.equal(1500, #p)
      local loss = log_loss(p, y)
      assert.is_true(loss < 0.9 * model.train_score[1] / 2)
      assert.is_true(math.abs(2 * loss - model.train_score[20]) < 1e-5)
      assert.equal(20, model.n_estimators)
      assert.equal(3, model.n_features)
      assert.same(NAMES, model.feature_names)
    end)

    it('takes a matrix or rows, and labels as an array or a matrix', function()
      local m = matrix.from_rows(X, NAMES)
      local other = assert(gradient_boosting.fit(m, matrix.from_columns { y },
        { n_estimators = 20 }))
      assert.equal(model:serialize(), other:serialize())
    end)

    it('gives the same bytes for the same seed on any number of threads', function()
      local o = { subsample = 0.6, colsample = 0.5, random_state = 3, n_jobs = 1 }
      local one = gradient_boosting.fit(X, y, with(o)):serialize()
      o.n_jobs = 2
      assert.equal(one, gradient_boosting.fit(X, y, with(o)):serialize())
      o.random_state = 4
      assert.not_equal(one, gradient_boosting.fit(X, y, with(o)):serialize())
    end)

    it('knows what mattered', function()
      local importances, sum = model.feature_importances, 0
      for _, x in ipairs(importances) do sum = sum + x end
      assert.is_true(math.abs(sum - 1) < 1e-9)
      assert.is_true(importances[1] > importances[2] and importances[2] > importances[3])
    end)

    it('stops early where asked, on rows that it keeps back: the last ones', function()
      local m = assert(gradient_boosting.fit(X, y, with { n_estimators = 500, learning_rate = 0.3,
        validation_fraction = 0.3, early_stopping_rounds = 5 }))
      assert.is_true(m.n_estimators < 500)
      assert.equal(m.n_estimators + 5, #m.validation_score)
      local late, outcomes = {}, {}
      for i = 1051, 1500 do late[#late + 1], outcomes[#outcomes + 1] = X[i], y[i] end
      local loss = log_loss(m:predict_proba(late), outcomes)
      assert.is_true(math.abs(2 * loss - m.validation_score[m.n_estimators]) < 1e-5)
    end)

    it('obeys monotone constraints by name or number', function()
      for _, key in ipairs { 'a', 1 } do
        local m = assert(gradient_boosting.fit(X, y, with { monotone = { [key] = -1 } }))
        local rows = {}
        for i = 0, 50 do rows[i + 1] = { i / 50, 0.4, 3 } end
        local z = m:predict_raw(rows)
        for i = 2, #z do assert.is_true(z[i] <= z[i - 1] + 1e-12) end
      end
    end)

    it('takes categories, seen and unseen', function()
      local rows, labels = {}, {}
      for i = 1, 1200 do
        local c = i % 12
        rows[i], labels[i] = { c }, (c * 5 % 12 < 6) ~= (i % 40 < 2) and 1 or 0
      end
      local m = assert(gradient_boosting.fit(rows, labels, { categorical = { 1 },
        n_estimators = 30 }))
      local p = m:predict_proba { { 0 }, { 1 }, { 2 }, { 77 }, { 0 / 0 } }
      assert.is_true(p[1] > 0.8 and p[2] > 0.8 and p[3] < 0.2)
      assert.is_true(p[4] > 0 and p[4] < 1 and p[5] > 0 and p[5] < 1)
    end)

    it('weighs classes only where asked', function()
      local rare = {}
      for i = 1, #y do rare[i] = i % 10 == 0 and y[i] or 0 end
      local function mean(options)
        local sum = 0
        for _, p in ipairs(gradient_boosting.fit(X, rare, with(options)):predict_proba(X)) do
          sum = sum + p / #X
        end
        return sum
      end
      local plain, rate = mean {}, 0
      for _, v in ipairs(rare) do rate = rate + v / #rare end
      assert.is_true(math.abs(plain - rate) < 0.01)
      assert.is_true(mean { class_weight = 'balanced' } > 2 * rate)
      assert.is_true(mean { class_weight = { [1] = 5 } } > 2 * rate)
    end)

    it('has scikit-learn\'s search, with scikit-learn\'s defaults', function()
      local m = assert(gradient_boosting.fit(X, y, with { split = 'exact', n_estimators = 5 }))
      local given = assert(gradient_boosting.fit(X, y, with { split = 'exact', n_estimators = 5,
        min_samples_leaf = 1, min_child_weight = 0 }))
      assert.equal(m:serialize(), given:serialize())
      assert.is_true(math.abs(2 * log_loss(m:predict_proba(X), y) - m.train_score[5]) < 1e-9)
    end)

    it('tells how far it is', function()
      local calls = {}
      local m = gradient_boosting.fit(X, y, with { n_estimators = 3000 }, function(done, total)
        calls[#calls + 1] = { done, total }
      end)
      assert.equal(3000, m.n_estimators)
      assert.same({ 3000, 3000 }, calls[#calls])
      for i = 2, #calls do assert.is_true(calls[i][1] >= calls[i - 1][1]) end
    end)

    it('lets others go on, and ends when its task is cancelled', function()
      local turns, big = 0, with { n_estimators = 100000 }
      local training = async.spawn(gradient_boosting.fit, X, y, big)
      for _ = 1, 5 do
        async.sleep(0.001)
        turns = turns + 1
      end
      assert.equal('waiting', training:state())
      training:cancel()
      assert.equal(5, turns)
    end)

    it('returns what is wrong with the data', function()
      local function message(rows, labels, options)
        local m, words = gradient_boosting.fit(rows, labels, options)
        assert.is_nil(m)
        return words
      end
      local ones, strange = {}, {}
      for i = 1, #y do ones[i], strange[i] = 1, i == 3 and 2 or y[i] end
      assert.matches('all labels are 1', message(X, ones, FAST))
      assert.matches('label 3 is 2', message(X, strange, FAST))
      local few, labels = make(30, 2)
      assert.matches('only 30 rows', message(few, labels))
      few = make(50, 2)
      few[7][2] = math.huge
      labels = select(2, make(50, 2))
      assert.matches('row 7, column "b": infinite', message(few, labels, FAST))
      assert.matches('row 7, column 2: too large', message(few, labels, { split = 'exact' }))
      assert.matches('row 1, column "a": .* is no category',
        message(X, y, with { categorical = { 'a' } }))
    end)

    it('blames the line that calls it', function()
      local here = 'gradient_boosting_spec%.lua:%d+: gradient_boosting%.fit: '
      local function wrong(options)
        return raised(function() return (gradient_boosting.fit(X, y, options)) end)
      end
      assert.matches(here .. 'unknown option "lerning_rate"; did you mean "learning_rate"%?',
        wrong { lerning_rate = 1 })
      assert.matches(here .. 'max_bins: ', wrong { max_bins = 256 })
      assert.matches(here .. 'class_weight: there is no class 2',
        wrong { class_weight = { [2] = 1 } })
      assert.matches(here .. 'monotone: there is no column "aa"; did you mean "a"%?',
        wrong(with { monotone = { aa = 1 } }))
      assert.matches(here .. 'monotone: expected %-1, 0 or 1', wrong { monotone = { [1] = 2 } })
      assert.matches(here .. 'categorical: there is no column 4', wrong { categorical = { 4 } })
      assert.matches(here .. 'monotone: categories have no order',
        wrong { categorical = { 1 }, monotone = { [1] = 1 } })
      assert.matches(here .. 'early_stopping_rounds needs', wrong { early_stopping_rounds = 3 })
      assert.matches(here .. 'monotone: split = "exact"',
        wrong { split = 'exact', monotone = { [1] = 1 } })
      assert.matches(here .. 'class_weight: expected a number of at least 1e%-06',
        wrong { class_weight = { [1] = 1e300 } })
      local strange = { table.unpack(y) }
      strange[5] = true
      assert.matches(here .. 'label 5 is a boolean; expected 0 or 1',
        raised(function() return (gradient_boosting.fit(X, strange)) end))
      assert.matches(here .. '2 columns of labels; expected one',
        raised(function() return (gradient_boosting.fit(X, matrix.from_columns { y, y })) end))
      assert.matches(here .. '2 labels for 1500 rows',
        raised(function() return (gradient_boosting.fit(X, { 0, 1 })) end))
      assert.matches(here .. 'expected a matrix or an array of rows',
        raised(function() return (gradient_boosting.fit('x', y)) end))
      assert.matches(here .. 'row 2 has 1 values',
        raised(function() return (gradient_boosting.fit({ { 1, 2 }, { 1 } }, { 0, 1 })) end))
    end)
  end)

  describe('a model', function()
    it('has margins whose logistic is the probability', function()
      local z, p = model:predict_raw(X), model:predict_proba(X)
      for i = 1, #X do assert.is_true(math.abs(logistic(z[i]) - p[i]) < 1e-12) end
    end)

    it('finds its columns by name', function()
      local m = matrix.from_rows(X, NAMES)
      assert.same(model:predict_raw(X), model:predict_raw(m))
      assert.same(model:predict_raw(X), model:predict_raw(m:select { 'c', 'b', 'a' }))
      assert.matches('gradient_boosting_spec%.lua:%d+: predict_proba: there is no column "c"',
        raised(function() return (model:predict_proba(m:select { 'a', 'b' })) end))
      assert.matches('predict_raw: 2 columns; the model has 3 features',
        raised(function() return (model:predict_raw { { 1, 2 } }) end))
      assert.same({}, model:predict_proba {})
    end)

    it('explains a row: bias and contributions sum to the margin', function()
      local z = model:predict_raw(X)
      for i = 1, 20 do
        local why = assert(model:explain(X[i]))
        local sum = why.bias
        for _, c in ipairs(why.contributions) do sum = sum + c end
        assert.equal(3, #why.contributions)
        assert.is_true(math.abs(sum - z[i]) < 1e-9)
      end
      local all = assert(model:explain_all { X[1], X[2] })
      assert.same(model:explain(X[2]), all[2])
      assert.same(model:explain(X[1]), model:explain(matrix.from_rows({ X[1] }, NAMES)))
      assert.matches('gradient_boosting_spec%.lua:%d+: explain: expected the values of a row',
        raised(function() return (model:explain()) end))
      assert.matches('gradient_boosting_spec%.lua:%d+: explain: expected the values of a row',
        raised(function() return (model:explain(matrix.from_rows(X, NAMES):slice(1, 0))) end))
    end)

    it('is kept with its names, scores and note', function()
      local folder <const> = assert(file.temporary_folder 'perigee-boost')
      local path = folder .. '/model'
      local one = assert(gradient_boosting.fit(X, y, FAST))
      one:set_note 'written beside it'
      assert.is_true(one:save(path))
      for _, other in ipairs { assert(gradient_boosting.load(path)),
        assert(gradient_boosting.deserialize(one:serialize())) } do
        assert.same(one:predict_raw(X), other:predict_raw(X))
        assert.same(one.train_score, other.train_score)
        assert.same(one.feature_importances, other.feature_importances)
        assert.same(NAMES, other.feature_names)
        assert.equal('written beside it', other.note)
        assert.equal(one:serialize(), other:serialize())
      end
      os.remove(path)
      os.remove(folder)
    end)

    it('is not made of what is none', function()
      local bytes = model:serialize()
      for _, text in ipairs { '', 'x', '{}', bytes:sub(1, -2), bytes .. 'x',
        bytes:sub(1, 100) .. '\xff' .. bytes:sub(102) } do
        local m, message = gradient_boosting.deserialize(text)
        assert.is_nil(m)
        assert.is_string(message)
      end
      local m, message = gradient_boosting.load '/nowhere/at/all'
      assert.is_nil(m)
      assert.matches('cannot read /nowhere/at/all', message)
      for what, f in pairs { load = gradient_boosting.load,
        deserialize = gradient_boosting.deserialize } do
        assert.matches('gradient_boosting_spec%.lua:%d+: gradient_boosting%.' .. what
          .. ': expected a string', raised(function() return (f()) end))
      end
      assert.matches('gradient_boosting_spec%.lua:%d+: gradient_boosting%.save: expected a string',
        raised(function() return (model:save()) end))
    end)
  end)
end)
