local file = require 'perigee.file'
local model_file = require 'prediction.model'
local service = require 'lua.prediction.support'
local support = require 'lua.command.support'
local train = require 'prediction.train'

local OPTIONS = { 'model', 'data', 'url', 'config', 'features', 'prediction', 'rules', 'group-by',
  'defaults', 'levels', 'fail-on', 'json' }

local LIGHTGBM = [[
tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=0
objective=binary sigmoid:1
feature_names=a
feature_infos=[0:10]
tree_sizes=300

Tree=0
num_leaves=2
num_cat=0
split_feature=0
split_gain=10
threshold=5
decision_type=2
left_child=-1
right_child=-2
leaf_value=-0.5 0.5
leaf_weight=1 1
leaf_count=10 10
internal_value=0
internal_weight=0
internal_count=20
is_linear=0
shrinkage=1


end of trees
]]

describe('perigee predict', function()
  local folder, model, path, data
  setup(function()
    folder, data = assert(file.temporary_folder 'perigee-spec'), service.service(1500)
    model, path = folder .. '/x.model', folder .. '/x.csv'
    assert(model_file.save(model, assert(train.run(data, { trees = 20, max_depth = 3 }))))
    service.write_csv(path, data)
  end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  local function run(...) return support.run { 'predict', '--model', model, ... } end

  local function write(text)
    local other = folder .. '/other.csv'
    assert(file.write(other, text))
    return other
  end

  it('explains itself', function() support.explains_itself('predict', OPTIONS) end)

  it('gives the rows of a file as JSON', function()
    local d = support.document(run('--data', path, '--json'))
    assert.equal(1500, #d.rows)
    local p = assert(model_file.load(model)).model:predict_proba(data.X)
    for i, r in ipairs(d.rows) do
      assert.near(p[i], r.failure_probability, 1e-12)
      if i % 50 == 1 then
        assert.equal(3, #r.top_contributing_factors)
        for _, f in ipairs(r.top_contributing_factors) do
          assert.is_number(f.contribution)
          assert.is_number(f.value)
          assert.is_string(f.feature)
        end
        assert.same({}, r.missing)
        assert.is_string(r.recommendation)
        assert.is_string(r.risk_level)
      end
    end
  end)

  it('finds columns by name, whatever their order, and reports those that are missing', function()
    local other = write 'host,error_rate,cpu_usage\nweb-1,0.09,\nweb-2,0,50\n'
    local result = run('--data', other, '--json')
    assert.equal(0, result.status)
    assert.equal('perigee: warning: missing: memory_usage, thread_count\n', result.err)
    local d = support.document(result)
    assert.same({ 'cpu_usage', 'memory_usage', 'thread_count' }, d.rows[1].missing)
    assert.same({ 'memory_usage', 'thread_count' }, d.rows[2].missing)
    assert.is_true(d.rows[1].failure_probability > d.rows[2].failure_probability)
    assert.matches('"value": ?null', result.out)
  end)

  it('shows people the worst rows first, and what to do', function()
    local result = run('--data', path, '--levels', 'critical=0.15,high=0.1,medium=0.05')
    assert.equal(0, result.status)
    assert.matches('^row +probability +risk +most contributing\n', result.out)
    assert.matches('… and 1460 more rows', result.out)
    assert.matches('%d+ critical, %d+ high, %d+ medium, %d+ low\n', result.out)
    assert.matches('\nAct now: a failure within the next hour is likely', result.out)
    local before = 101
    for p in result.out:gmatch '\n%d+ +([%d.]+) %%' do
      assert.is_true(tonumber(p) <= before)
      before = tonumber(p)
    end
  end)

  it('fails on a level where it is asked to', function()
    assert.equal(0, run('--data', path, '--fail-on', 'critical', '--json', '--levels',
      'critical=1').status)
    assert.equal(1, run('--data', path, '--fail-on', 'high', '--json', '--levels',
      'high=0.05,medium=0.01').status)
  end)

  it('takes infinite values as missing', function()
    local other = write ('cpu_usage,memory_usage,error_rate,thread_count\n'
      .. 'inf,80,0.09,1e999\n,80,0.09,\n')
    local d = support.document(run('--data', other, '--json'))
    assert.same({ 'cpu_usage', 'thread_count' }, d.rows[1].missing)
    assert.same(d.rows[2], d.rows[1])
  end)

  it('leaves infinite values to the models of other programs', function()
    local lgb = folder .. '/lgb.txt'
    assert(file.write(lgb, LIGHTGBM))
    local d = support.document(run('--model', lgb, '--data', write 'a\ninf\n-inf\n1\n', '--json'))
    assert.near(1 / (1 + math.exp(-0.5)), d.rows[1].failure_probability, 1e-12)
    assert.near(1 / (1 + math.exp(0.5)), d.rows[2].failure_probability, 1e-12)
    assert.same({}, d.rows[1].missing)
    assert.is_nil(tonumber(d.rows[1].top_contributing_factors[1].value))
    assert.equal(1, d.rows[3].top_contributing_factors[1].value)
  end)

  it('fills what is missing as it is told', function()
    local other = write 'cpu_usage,memory_usage,error_rate\n50,80,0.09\n'
    local d = support.document(run('--data', other, '--json', '--defaults', 'thread_count=150'))
    assert.same({ 'thread_count' }, d.rows[1].missing)
  end)

  it('says what is wrong', function()
    local function wrong(...)
      local result = run(...)
      assert.equal(2, result.status)
      assert.equal('', result.out)
      return result.err
    end
    assert.matches('no column is a feature of the model, which are cpu_usage', wrong('--data',
      write 'a,b\n1,2\n'))
    assert.matches('other.csv:2:%d+: ', wrong('--data', write 'cpu_usage\nmany\n'))
    assert.matches('cannot read', wrong('--data', folder .. '/none.csv'))
    assert.matches('%-%-fail%-on: expected one of', wrong('--data', path, '--fail-on', 'bad'))
    assert.matches('%-%-defaults: expected', wrong('--data', path, '--defaults', 'a'))
    assert.matches('%-%-defaults: expected', wrong('--data', path, '--defaults', 'cpu_usage=1e999'))
    assert.matches('the model has no feature "cpu_usag"; did you mean "cpu_usage"%?',
      wrong('--data', path, '--defaults', 'cpu_usag=1'))
    assert.matches('%-%-prediction has no use', wrong('--data', path, '--prediction', 'x'))
    assert.matches('%-%-url has no use', wrong('--data', path, '--url', 'http://x'))
    assert.matches('which features%?', wrong())
    assert.matches('cannot read', wrong('--data', path, '--model', folder .. '/none'))
    assert.matches('x.csv: ', wrong('--data', path, '--model', path))
    local cut = folder .. '/cut.model'
    assert(file.write(cut, assert(file.read(model)):sub(1, -20)))
    assert.matches('cut.model: ', wrong('--data', path, '--model', cut))
    local none = support.run { 'predict', '--data', path }
    assert.equal(2, none.status)
    assert.matches('%-%-model MODEL is missing', none.err)
  end)
end)
