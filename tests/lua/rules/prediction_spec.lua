local file = require 'perigee.file'
local load_rules = require 'rules.load'
local model_file = require 'prediction.model'
local service = require 'lua.prediction.support'
local train = require 'prediction.train'

describe('a prediction\'s declaration', function()
  local folder, model
  setup(function()
    folder = assert(file.temporary_folder 'perigee-spec')
    model = assert(train.run(service.service(600), { trees = 5, max_depth = 2 }))
    assert(file.make_folder(folder .. '/rules/models'))
    assert(model_file.save(folder .. '/rules/models/beside.json', model))
    assert(model_file.save(folder .. '/above.json', model))
  end)
  teardown(function() os.execute(("rm -rf '%s'"):format(folder)) end)

  local function load(text, o)
    local path = folder .. '/rules/x.lua'
    assert(file.write(path, text))
    local options = { every = 30, limits = {}, folder = folder }
    for name, value in pairs(o or {}) do options[name] = value end
    local set, problems, warnings = load_rules.load({ path }, options)
    local out = {}
    for i, p in ipairs(problems) do
      out[i] = ('%d:%s'):format(p.line, p.message)
    end
    return set, table.concat(out, '\n'), warnings
  end

  local FEATURES = [[features = { cpu_usage = "a", memory_usage = "b", error_rate = "c",
    thread_count = "d" },]]

  local function declaration(options)
    return ('prediction "p" {\n%s\n%s }'):format(FEATURES, options)
  end

  it('has defaults, and a model that is loaded', function()
    local set, problems = load(declaration 'model = "models/beside.json"')
    assert.equal('', problems)
    local def = set.predictions.p
    assert.equal(30, def.every)
    assert.equal('high', def.alert_level)
    assert.same({ critical = 0.8, high = 0.5, medium = 0.3 }, def.levels)
    assert.equal(folder .. '/rules/models/beside.json', def.path)
    assert.same(service.NAMES, def.loaded.features)
  end)

  it('finds its model beside the rule file, else beside the configuration', function()
    local set, problems = load(declaration 'model = "above.json", levels = { high = 0.4 }')
    assert.equal('', problems)
    assert.equal(folder .. '/above.json', set.predictions.p.path)
    assert.same({ critical = 0.8, high = 0.4, medium = 0.3 }, set.predictions.p.levels)
    local _, missing = load(declaration 'model = "none.json"')
    assert.matches('^4:prediction "p": model: there is no file .*/rules/none.json, nor '
      .. '.*/none.json;', missing)
  end)

  it('need not have its model yet where it is about to be trained', function()
    local set, problems = load(declaration 'model = "none.json"', { untrained = true })
    assert.equal('', problems)
    assert.is_nil(set.predictions.p.loaded)
  end)

  it('is refused where the model does not fit, in the line that is wrong', function()
    local _, problems = load [[
prediction "p" {
  features = { cpu_usage = "a", memory_usage = "b",
    eror_rate = "c",
    thread_count = "d" },
  model = "above.json" }]]
    assert.matches('2:prediction "p": features: the model .*above.json has a feature "error_rate", '
      .. 'which is neither here nor in defaults', problems)
    assert.matches('3:prediction "p": features.eror_rate: the model .* has no such feature; did '
      .. 'you mean "error_rate"%?', problems)
    local set, fine = load [[prediction "p" { features = { cpu_usage = "a", memory_usage = "b",
      thread_count = "d" }, defaults = { error_rate = 0 }, model = "above.json" }]]
    assert.equal('', fine)
    assert.same({ error_rate = 0 }, set.predictions.p.defaults)
  end)

  it('is refused where its model cannot be read', function()
    assert(file.write(folder .. '/rules/bad.json', '{"learner": {}}'))
    local _, problems = load(declaration 'model = "bad.json"')
    assert.matches('^4:prediction "p": model: .*bad.json: ', problems)
  end)

  it('is refused with every option that is wrong', function()
    local function wrong(options) return select(2, load(declaration(options))) end
    assert.matches('levels: the levels do not rise', wrong('model = "above.json", '
      .. 'levels = { medium = 0.9 }'))
    assert.matches('levels.high: expected a number', wrong('model = "above.json", '
      .. 'levels = { high = 2 }'))
    assert.matches('alert_level: expected one of', wrong('model = "above.json", '
      .. 'alert_level = "low"'))
    assert.matches('option "model" is missing', wrong '')
    assert.matches('unknown option "threshold"', wrong 'model = "above.json", threshold = 1')
    assert.matches('group_by', wrong 'model = "above.json", group_by = { "a-b" }')
    assert.matches('scaler.cpu_usage: option "scale" is missing', wrong('model = "above.json", '
      .. 'scaler = { cpu_usage = { mean = 1 } }'))
    assert.matches('no feature is named',
      select(2, load 'prediction "p" { features = {}, model = "above.json" }'))
  end)

  it('has a name that no signal has, and can be part of an incident', function()
    local _, twice = load(declaration 'model = "above.json"'
      .. '\nsignal "p" { query = "q", detector = threshold { above = 1 } }')
    assert.matches('signal "p": is declared already, as a prediction', twice)
    local _, fine = load(declaration 'model = "above.json"'
      .. '\nincident "i" { signals = { "p" }, min_signals = 1 }')
    assert.equal('', fine)
  end)
end)
