local file = require 'perigee.file'
local gradient_boosting = require 'gradient_boosting'
local model_file = require 'prediction.model'
local service = require 'lua.prediction.support'
local support = require 'lua.command.support'

local OPTIONS = { 'data', 'label', 'time', 'features', 'url', 'config', 'prediction', 'rules',
  'group-by', 'alert', 'horizon', 'history', 'step', 'out', 'split', 'test-share', 'class-weight',
  'standardize', 'trees', 'depth', 'learning-rate', 'levels', 'seed', 'no-refit', 'plot', 'json' }

describe('perigee train', function()
  local folder, path, out
  setup(function()
    folder = assert(file.temporary_folder 'perigee-spec')
    path, out = folder .. '/service.csv', folder .. '/service.model'
    service.write_csv(path, service.service(2500))
  end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  local function run(...)
    return support.run { 'train', '--data', path, '--label', 'failure', '--out', out, ... }
  end

  local function refused(...)
    local result = support.run { 'train', ... }
    assert.equal('', result.out)
    return result.status, result.err
  end

  it('explains itself', function() support.explains_itself('train', OPTIONS) end)

  it('writes a model and tells how well it does', function()
    local result = run('--time', 'time')
    assert.equal(0, result.status, result.err)
    assert.matches('^2500 rows, %d+ failures %(%d', result.out)
    for _, title in ipairs { 'Held out: the last 500 rows', 'Ranking: AUC 0%.%d+ ± ',
      'At each level\nlevel +above', 'Thresholds for what is wanted', 'alarms/week',
      'Calibration\nprobability', 'What the model goes by', 'Trained anew on all rows' } do
      assert.matches(title, result.out)
    end
    assert.same(service.NAMES, gradient_boosting.load(out).feature_names)
    local meta = assert(model_file.load(out)).meta
    assert.equal('failure', meta.label)
    assert.equal(2500, meta.rows)
    assert.matches('^%d%d%d%d%-', meta.trained_at)
    assert.is_number(meta.evaluation.log_loss)
  end)

  it('prints all of it as JSON', function()
    local d = support.document(run('--time', 'time', '--json', '--standardize'))
    assert.equal(out, d.model)
    assert.equal(500, d.evaluation.rows)
    assert.is_true(#d.evaluation.calibration >= 4)
    assert.equal(3, #d.evaluation.levels)
    assert.equal('time', d.split.by)
    assert.is_table(d.warnings)
    assert.is_number(model_file.load(out).meta.scaler.cpu_usage.scale)
  end)

  it('takes the features that are named, and all but the label else', function()
    local d = support.document(run('--json', '--features', 'error_rate, memory_usage'))
    assert.same({ 'error_rate', 'memory_usage' }, d.features)
    d = support.document(run('--json'))
    assert.equal('time', d.features[1])
    local codes = table.concat(service.codes(d.warnings), ' ')
    assert.matches('clock', codes) -- the time, which nobody has named as such
  end)

  it('draws how the probabilities are calibrated', function()
    local picture = folder .. '/c.svg'
    assert.equal(0, run('--plot', picture).status)
    local text = assert(file.read(picture))
    assert.matches('^<svg', text)
    assert.matches('observed', text)
    assert.is_true(select(2, text:gsub('<circle', '')) >= 4)
  end)

  it('warns on standard error', function()
    local result = run('--class-weight', 'balanced', '--json')
    assert.equal(0, result.status)
    assert.matches('class_weight', table.concat(service.codes(
      support.document(result).warnings), ' '))
    assert.matches('warning: with class weights', run('--class-weight', 'balanced').err)
  end)

  it('says what cannot be learned from', function()
    local bad = folder .. '/bad.csv'
    local data = service.service(100)
    for i = 1, 100 do data.y[i] = 0 end
    service.write_csv(bad, data)
    local status, err = refused('--data', bad, '--label', 'failure', '--out', out)
    assert.equal(1, status)
    assert.equal('perigee: no row is a failure: there is nothing to learn\n', err)
    status, err = refused('--data', path, '--label', 'thread_count', '--out', out)
    assert.equal(1, status)
    assert.matches('the label of row 1 is .*; expected 0 or 1', err)
  end)

  it('says what is wrong with the command line', function()
    local data = { '--data', path, '--label', 'failure', '--out', out }
    local function wrong(...)
      local all = table.move({ ... }, 1, select('#', ...), #data + 1,
        table.move(data, 1, #data, 1, {}))
      local status, err = refused(table.unpack(all))
      assert.equal(2, status)
      return err
    end
    assert.matches('no column "tme"; did you mean "time"', wrong('--time', 'tme'))
    assert.matches('%-%-split: expected one of time, random', wrong('--split', 'day'))
    assert.matches('%-%-trees: expected a whole number', wrong('--trees', '0'))
    assert.matches('%-%-test%-share: expected', wrong('--test-share', 'half'))
    assert.matches('%-%-alert has no use with %-%-data', wrong('--alert', 'Down'))
    assert.matches('%-%-history has no use with %-%-data', wrong('--history', '5d'))
    assert.matches('%-%-levels: expected critical=P', wrong('--levels', 'severe=0.1'))
    assert.matches('the levels do not rise', wrong('--levels', 'medium=0.9'))
    assert.matches('cannot write .*/none/x: there is no folder',
      wrong('--out', folder .. '/none/x'))
    assert.matches('cannot write .*: it is a folder', wrong('--plot', folder))
    local status, err = refused('--data', path, '--out', out)
    assert.equal(2, status)
    assert.matches('%-%-label COLUMN is missing', err)
    status, err = refused('--data', path, '--label', 'failure')
    assert.equal(2, status)
    assert.matches('%-%-out MODEL is missing', err)
    status, err = refused('--url', 'http://127.0.0.1:1', '--out', out)
    assert.equal(2, status)
    assert.matches('%-%-alert NAME is missing', err)
    status, err = refused('--url', 'http://127.0.0.1:1', '--out', out, '--alert', 'Down')
    assert.equal(2, status)
    assert.matches('which features%?', err)
  end)
end)
