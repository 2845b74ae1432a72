local file = require 'perigee.file'
local gradient_boosting = require 'gradient_boosting'
local json = require 'json'
local matrix = require 'matrix'
local model_file = require 'prediction.model'
local support = require 'lua.prediction.support'
local train = require 'prediction.train'

local NAN = 0 / 0

--- A model of XGBoost, by hand: one tree of one split on the first of two features.
local function xgboost(names, objective)
  local tree = { base_weights = { 0, 0, 0 }, categories = {}, categories_nodes = {},
    categories_segments = {}, categories_sizes = {}, default_left = { 1, 0, 0 }, id = 0,
    left_children = { 1, -1, -1 }, loss_changes = { 1, 0, 0 }, parents = { 2147483647, 0, 0 },
    right_children = { 2, -1, -1 }, split_conditions = { 0.5, -2, 2 },
    split_indices = { 0, 0, 0 }, split_type = { 0, 0, 0 }, sum_hessian = { 2, 1, 1 },
    tree_param = { num_deleted = '0', num_feature = '2', num_nodes = '3',
      size_leaf_vector = '1' } }
  for _, name in ipairs { 'categories', 'categories_nodes', 'categories_segments',
    'categories_sizes' } do tree[name] = json.array() end
  return json.encode { version = { 1, 7, 4 }, learner = { attributes = {},
    feature_names = json.array(names or {}), feature_types = json.array(),
    gradient_booster = { name = 'gbtree', model = { gbtree_model_param = {
      num_parallel_tree = '1', num_trees = '1', size_leaf_vector = '0' }, tree_info = { 0 },
      trees = { tree } } },
    learner_model_param = { base_score = '5E-1', num_class = '0', num_feature = '2',
      num_target = '1' },
    objective = { name = objective or 'binary:logistic',
      reg_loss_param = { scale_pos_weight = '1' } } } }
end

describe('a model', function()
  local folder, path, trained, data
  setup(function()
    folder = assert(file.temporary_folder 'perigee-spec')
    path, data = folder .. '/x.model', support.service(1500)
    trained = assert(train.run(data, { trees = 20, max_depth = 3, standardize = true }))
    assert(model_file.save(path, trained))
  end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  local function write(text)
    local other = folder .. '/other.json'
    assert(file.write(other, text))
    return other
  end

  local function predictions(loaded, X, o)
    local out = {}
    assert(model_file.predict(loaded, X, o or {}, function(i, r) out[i] = r end))
    return out
  end

  it('is read again with what was kept beside it, by gradient_boosting too', function()
    local loaded = assert(model_file.load(path))
    assert.same(support.NAMES, loaded.features)
    assert.equal(1500, loaded.meta.rows)
    assert.is_number(loaded.meta.scaler.error_rate.mean)
    assert.is_false(loaded.is_unnamed)
    local plain = assert(gradient_boosting.load(path))
    assert.same(trained.model:predict_proba(data.X), plain:predict_proba(data.X))
  end)

  it('explains each row: factors are the largest of its contributions', function()
    local loaded, X = assert(model_file.load(path)), data.X:slice(1, 1200)
    local p = trained.model:predict_proba(X)
    for i, r in ipairs(predictions(loaded, X)) do
      assert.equal(p[i], r.failure_probability)
      assert.equal(3, #r.top_contributing_factors)
      assert.same({}, r.missing)
      if i % 100 == 0 then
        local why = trained.model:explain(X:slice(i, i))
        local most, which = 0, nil
        for j, c in ipairs(why.contributions) do
          if math.abs(c) > most then most, which = math.abs(c), j end
        end
        local top = r.top_contributing_factors[1]
        assert.equal(support.NAMES[which], top.feature)
        assert.equal(X:get(i, which), top.value)
        assert.near(most, math.abs(top.contribution), 1e-12)
        local s = loaded.meta.scaler[top.feature]
        assert.near((top.value - s.mean) / s.scale, top.deviations, 1e-9)
      end
    end
  end)

  it('judges rows that lack features, and says so', function()
    local loaded = assert(model_file.load(path))
    local m = matrix.from_rows({ { 0.05, 50 }, { NAN, 50 } }, { 'error_rate', 'cpu_usage' })
    local r = predictions(loaded, model_file.complete(loaded, m))
    assert.same({ 'memory_usage', 'thread_count' }, r[1].missing)
    assert.same({ 'memory_usage', 'error_rate', 'thread_count' }, r[2].missing)
    assert.matches('Judged without memory_usage, thread_count%.$', r[1].recommendation)
    local filled = predictions(loaded, model_file.complete(loaded, m),
      { defaults = { memory_usage = 85, thread_count = 150 } })
    assert.same({ 'memory_usage', 'thread_count' }, filled[1].missing)
    local direct = trained.model:predict_proba(matrix.from_rows({ { 50, 85, 0.05, 150 } },
      support.NAMES))
    assert.equal(direct[1], filled[1].failure_probability)
  end)

  it('may come from XGBoost, with names or in the order of its columns', function()
    local loaded = assert(model_file.load(write(xgboost { 'a', 'b' })))
    assert.same({ 'a', 'b' }, loaded.features)
    assert.same({}, loaded.meta)
    local X = matrix.from_rows({ { 0, 1 }, { 1, 1 }, { NAN, 1 } }, { 'a', 'b' })
    local r = predictions(loaded, X)
    assert.near(1 / (1 + math.exp(2)), r[1].failure_probability, 1e-6)
    assert.near(1 / (1 + math.exp(-2)), r[2].failure_probability, 1e-6)
    assert.near(1 / (1 + math.exp(2)), r[3].failure_probability, 1e-6)
    local unnamed = assert(model_file.load(write(xgboost())))
    assert.is_true(unnamed.is_unnamed)
    assert.same({ 'f0', 'f1' }, unnamed.features)
    assert.same({ 'x', 'y' }, assert(model_file.load(write(xgboost()), { 'x', 'y' })).features)
    assert.matches('1 names for the 2 features',
      select(2, model_file.load(write(xgboost()), { 'x' })))
  end)

  it('may want its features scaled', function()
    local loaded = assert(model_file.load(write(xgboost { 'a', 'b' })))
    local r = predictions(loaded, matrix.from_rows({ { 104, 0 }, { 106, 0 } }, { 'a', 'b' }),
      { scaler = { a = { mean = 100, scale = 10 } } })
    assert.is_true(r[1].failure_probability < 0.5 and r[2].failure_probability > 0.5)
    assert.equal(106, r[2].top_contributing_factors[1].value)
  end)

  it('is refused where it gives no probability, or is none', function()
    local loaded = assert(model_file.load(write(xgboost({ 'a', 'b' }, 'reg:squarederror'))))
    local ok, message = model_file.predict(loaded, matrix.from_rows({ { 1, 1 } }, { 'a', 'b' }),
      {}, function() end)
    assert.is_nil(ok)
    assert.matches('no probability: it is one of a regression', message)
    for _, text in ipairs { '', '{}', 'hello', '{"learner": 1}' } do
      local none, why = model_file.load(write(text))
      assert.is_nil(none)
      assert.matches('other.json: ', why)
    end
    assert.matches('cannot read', select(2, model_file.load(folder .. '/none')))
  end)
end)
