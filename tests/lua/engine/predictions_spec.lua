local api = require 'server.api'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local file = require 'perigee.file'
local incidents = require 'engine.incidents'
local metrics = require 'engine.metrics'
local model_file = require 'prediction.model'
local predictions = require 'engine.predictions'
local scheduler = require 'engine.scheduler'
local service = require 'lua.prediction.support'
local support = require 'lua.engine.support'
local train = require 'prediction.train'

local NAN = 0 / 0

describe('a prediction', function()
  local folder, path, engine, job
  setup(function()
    support.still()
    folder = support.folder()
    path = folder .. '/p.model'
    assert(model_file.save(path,
      assert(train.run(service.service(1500), { trees = 40, max_depth = 3 }))))
  end)
  teardown(support.tidy)

  before_each(function()
    engine = support.engine { rules = ([[
      prediction "p" { features = { cpu_usage = "cpu", memory_usage = "mem", error_rate = "err",
          thread_count = "threads" }, model = "%s", every = "10s", hold_for = "10s",
        levels = { critical = 0.9, high = 0.2, medium = 0.05 }, labels = { team = "shop" },
        annotations = { summary = "{{ $labels.app }}: {{ humanizePercentage $value }}" } }
      incident "i" { signals = { "p" }, min_signals = 1, group_by = { "app" } }]]):format(path) }
    job = scheduler.jobs(engine.rules)[1]
  end)

  --- The features of a service that is well, or about to fail.
  local function answers(app, bad)
    local a = engine.source.answers
    for name, values in pairs { cpu = { 50, 50 }, mem = { 45, 88 }, err = { 0.005, 0.08 },
      threads = { 150, 150 } } do
      a[name] = a[name] or {}
      table.insert(a[name], { { __name__ = name, app = app }, values[bad and 2 or 1] })
    end
  end

  local function look()
    clock.advance(10)
    local state = evaluate.run(engine, job, clock.now())
    return state, predictions.list(engine)[1]
  end

  it('is made of each group of series, with what made it', function()
    answers('a', false)
    answers('b', true)
    local _, p = look()
    assert.equal('ok', p.condition)
    assert.equal(2, #p.predictions)
    local a, b = p.predictions[1], p.predictions[2]
    assert.same({ app = 'a', team = 'shop' }, a.labels)
    assert.equal('low', a.risk_level)
    assert.equal('inactive', a.state)
    assert.equal('ok', a.condition)
    assert.is_true(b.failure_probability > 0.2)
    assert.is_true(b.risk_level == 'high' or b.risk_level == 'critical')
    assert.equal('pending', b.state)
    local top = b.top_contributing_factors[1].feature
    assert.is_true(top == 'memory_usage' or top == 'error_rate')
    assert.is_true(b.top_contributing_factors[1].contribution > 0)
    assert.matches('What raises it: ', b.recommendation)
    assert.same({}, b.missing)
  end)

  it('fires from its level on, after hold_for, and opens incidents as a signal does', function()
    answers('b', true)
    look()
    local state = look()
    local _, series = next(state.series)
    assert.equal('firing', series.state)
    assert.matches('^b: %d', series.annotations.summary)
    incidents.converge(engine, engine.rules.incidents.i)
    local incident = incidents.active(engine.store)[1]
    assert.same({ app = 'b' }, incident.labels)
    assert.equal('p', incident.anomalies[1].signal)
    assert.matches('a failure within the next hour', incident.anomalies[1].reason)
    engine.source.answers = {}
    answers('b', false)
    state = look()
    assert.equal('inactive', select(2, next(state.series)).state)
  end)

  it('goes on without features that are absent, and tells which', function()
    answers('b', true)
    engine.source.answers.threads = { { { app = 'b' }, NAN } }
    engine.source.answers.cpu = { { { app = 'b' }, math.huge } }
    local _, p = look()
    assert.same({ 'cpu_usage', 'thread_count' }, p.predictions[1].missing)
    assert.matches('Judged without cpu_usage, thread_count', p.predictions[1].recommendation)
  end)

  it('is none where nothing is known: no data, and no alert', function()
    local _, p = look()
    assert.equal('no_data', p.condition)
    assert.equal('ok', p.health)
    assert.same({}, p.predictions)
    answers('b', true)
    look()
    look()
    engine.source.answers = { cpu = { { { app = 'b' }, NAN } } }
    local state = look()
    local _, series = next(state.series)
    assert.equal('no_data', series.condition)
    assert.equal('inactive', series.state)
    assert.is_nil(series.details)
  end)

  it('fails as a whole where a feature cannot be asked for, and stays as it was', function()
    answers('b', true)
    look()
    engine.source.answers.err = { message = 'refused' }
    assert.is_nil((look()))
    local p = predictions.list(engine)[1]
    assert.equal('err', p.health)
    assert.equal('error', p.condition)
    assert.equal('feature error_rate: refused (connection)', p.error)
    assert.equal('pending', p.predictions[1].state)
  end)

  it('takes a partial answer for what it is', function()
    answers('b', true)
    look()
    engine.source.answers.cpu = { partial = true, warnings = { 'a store is down' } }
    local _, p = look()
    assert.is_true(p.predictions[1].partial)
  end)

  it('is measured', function()
    answers('a', false)
    look()
    predictions.measure(engine)
    local text = metrics.expose(false)
    assert.matches('perigee_prediction_probability{prediction="p",series="app=\\"a\\",'
      .. 'team=\\"shop\\""} 0%.0', text)
    assert.matches('perigee_prediction_missing_features{[^\n]*} 0\n', text)
  end)

  it('is told of by the API', function()
    answers('a', false)
    look()
    assert.equal('p', api.predictions(engine)[1].name)
    local rule = api.rules(engine, { fields = {}, lists = {} }).groups[1].rules
    assert.equal('prediction "p"', rule[1].query)
  end)

  it('takes a model that is replaced, where it fits', function()
    answers('b', true)
    local _, before = look()
    local other = folder .. '/q.model'
    local def = engine.rules.predictions.p
    assert(model_file.save(other, assert(train.run(service.service(1500, 2),
      { trees = 3, max_depth = 2 }))))
    def.path = other
    local _, after = look()
    assert.is_true(before.predictions[1].failure_probability
      ~= after.predictions[1].failure_probability)
    local digest = def.loaded.digest
    assert(file.write(other, 'broken'))
    local _, still = look()
    assert.equal('ok', still.health)
    assert.equal(digest, def.loaded.digest)
    assert.matches('q.model: ', still.model.error)
    assert.equal(after.predictions[1].failure_probability,
      still.predictions[1].failure_probability)
  end)
end)
