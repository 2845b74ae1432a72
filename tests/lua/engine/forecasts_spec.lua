local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local fake = require 'fakes.seasonal'
local faults = require 'engine.faults'
local forecasts = require 'engine.forecasts'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local metrics = require 'engine.metrics'
local routes = require 'server.routes'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

support.still()

local DAY, HOUR = 86400, 3600

--- A range that grows to `last` by `rate` a day, as a source answers.
local function growing(app, last, rate)
  return function(start, stop, step)
    local s = { labels = { __name__ = 'disk', app = app }, ds = {}, y = {} }
    for t = start, stop, step do
      s.ds[#s.ds + 1], s.y[#s.y + 1] = t, last + rate * (t - stop) / DAY
    end
    return s
  end
end

--- An engine with one forecast, and what the source answers to its query.
local function world(fields, more)
  local rules = ('forecast "full" { query = "q", threshold = 100, %s }\n%s'):format(
    fields or 'alert_when = "days_until_threshold < 3"', more or '')
  local engine = support.engine { rules = rules }
  local w = { engine = engine, job = scheduler.jobs(engine.rules)[1], slot = support.START }
  function w.run(...)
    local makers = { ... }
    engine.source.ranges.q = function(start, stop, step)
      local out = {}
      for i, make in ipairs(makers) do out[i] = make(start, stop, step) end
      return out
    end
    w.slot = w.slot + HOUR
    return evaluate.run(engine, w.job, w.slot)
  end
  function w.answer(answer)
    engine.source.ranges.q = answer
    w.slot = w.slot + HOUR
    return evaluate.run(engine, w.job, w.slot)
  end
  return w
end

local function one(state)
  local _, series = next(state.series)
  return series
end

local function get(engine, path)
  local handle = routes.handler(engine)
  local response = handle { method = 'GET', path = path, query = '', headers = {
    host = '127.0.0.1:9747' }, body = '', peer = '127.0.0.1', loopback = true }
  return json.decode(response.body).data, response
end

describe('a forecast', function()
  before_each(fake.install)
  after_each(function()
    fake.remove()
    support.tidy()
  end)

  it('asks for its history, up to a multiple of the step', function()
    local w, asked = world 'history = "10d", step = "30m"', nil
    w.answer(function(start, stop, step)
      asked = { start, stop, step }
      return {}
    end)
    local stop = w.slot // 1800 * 1800
    assert.same({ stop - 10 * DAY, stop, 1800 }, asked)
  end)

  it('is firing while its condition holds', function()
    local w = world 'alert_when = "days_until_threshold < 3", labels = { severity = "page" }, '
    local series = one(w.run(growing('shop', 80, 10))) -- full in two days
    assert.same({ 'firing', 'anomaly', { app = 'shop', severity = 'page' } },
      { series.state, series.condition, series.labels })
    assert.near(2, series.value, 1e-6)
    assert.equal(0.75, series.anomaly_score)
    assert.equal(75, series.confidence)
    assert.matches('^will be up to 100 in 2.0 days', series.reason)
    series = one(w.run(growing('shop', 50, 10)))
    assert.same({ 'inactive', 'ok' }, { series.state, series.condition })
  end)

  it('waits for hold_for, and says of never that it is infinite', function()
    local w = world 'alert_when = "days_50 < 3 or probability > 0.5", hold_for = "90m"'
    assert.equal('pending', one(w.run(growing('shop', 80, 10))).state)
    assert.equal('pending', one(w.run(growing('shop', 80, 10))).state)
    assert.equal('firing', one(w.run(growing('shop', 80, 10))).state)
    local series = one(w.run(growing('shop', 50, 0.001)))
    assert.same({ 'inactive', '+Inf' }, { series.state, series.value })
  end)

  it('fills its annotations with the days that are left, and what to do', function()
    local w = world [[alert_when = "days_until_threshold < 3",
      annotations = { summary = "{{ $labels.app }} is full in {{ printf \"%.1f\" $value }} days" }]]
    local annotations = one(w.run(growing('shop', 80, 10))).annotations
    assert.equal('shop is full in 2.0 days', annotations.summary)
    assert.matches('^will be up to 100', annotations.recommendation)
  end)

  it('without alert_when is told of, and never an alert', function()
    local w = world ''
    assert.equal('inactive', one(w.run(growing('shop', 99, 10))).state)
    assert.equal(0, #get(w.engine, '/api/v1/alerts').alerts)
  end)

  it('is no alert where there is none: too short, NaN, gone', function()
    local w = world()
    w.run(growing('shop', 80, 10))
    local short = function(start, stop, step)
      local s = growing('shop', 80, 10)(start, stop, step)
      return { labels = s.labels, ds = table.move(s.ds, #s.ds - 4, #s.ds, 1, {}),
        y = table.move(s.y, #s.y - 4, #s.y, 1, {}) }
    end
    local series = one(w.run(short))
    assert.same({ 'inactive', 'no_baseline' }, { series.state, series.condition })
    assert.equal('no baseline: 5 samples; at least 10 are needed', series.reason)
    w.run(growing('shop', 80, 10))
    series = one(w.run(function(start, stop, step)
      local s = growing('shop', 80, 10)(start, stop, step)
      for i = 1, #s.y do s.y[i] = 0 / 0 end
      return s
    end))
    assert.same({ 'inactive', 'no_baseline' }, { series.state, series.condition })
    w.run(growing('shop', 80, 10))
    series = one(w.run())
    assert.same({ 'inactive', 'no_data' }, { series.state, series.condition })
  end)

  it('is no alert of a series that has ended', function()
    local w = world()
    w.run(growing('shop', 80, 10))
    local series = one(w.run(function(start, stop, step)
      return growing('shop', 80, 10)(start, stop - 4 * step, step)
    end))
    assert.same({ 'inactive', 'no_data' }, { series.state, series.condition })
    assert.equal('no_data', get(w.engine, '/api/v1/forecasts')[1].condition)
  end)

  it('stays as it was by a partial answer and by one that fails', function()
    local w = world()
    w.run(growing('shop', 80, 10))
    local before = #fake.fits
    local state = w.answer { partial = true, warnings = { 'a shard is away' },
      growing('shop', 20, 10)(w.slot - DAY, w.slot, HOUR) }
    assert.equal('firing', one(state).state)
    assert.equal(before, #fake.fits)
    assert.is_nil(w.answer { message = 'nobody answers', kind = 'connection' })
    assert.equal('firing', one(evaluate.read_state(w.engine, w.job)).state)
    local shown = get(w.engine, '/api/v1/forecasts')[1]
    assert.same({ 'firing', 'err' }, { shown.state, shown.health })
    assert.equal('the history cannot be read: nobody answers (connection)', shown.error)
  end)

  it('of too many series is an error', function()
    local w, many = world(), {}
    for i = 1, forecasts.MAX_SERIES + 1 do many[i] = growing('a' .. i, 1, 1) end
    assert.is_nil(w.run(table.unpack(many)))
    assert.equal('the query gives 501 series; a forecast takes at most 500',
      w.engine.store:row "select error from signals where name = 'full'".error)
  end)

  it('is judged by the rule\'s own function, whose faults switch it off', function()
    local w = world [[alert_when = function(f, about)
      if about.labels.app == "bad" then return "yes" end
      return f.days_until_threshold < 5 and f.probability > 0.5 end]]
    assert.equal('firing', one(w.run(growing('shop', 80, 10))).state)
    for _ = 1, faults.LIMIT do assert.is_nil(w.run(growing('bad', 80, 10))) end
    local off = faults.switched_off(w.engine.store, 'forecast/full', w.job.def.file_digest)
    assert.matches('alert_when returned: expected true or false, not "yes"', off, 1, true)
  end)

  it('opens the incident that names it', function()
    local w = world(nil, 'incident "disk" { signals = { "full" }, min_signals = 1, '
      .. 'group_by = { "app" } }')
    w.run(growing('shop', 80, 10))
    clock.advance(w.slot - clock.now())
    incidents.converge(w.engine, w.engine.rules.incidents.disk)
    local incident = incidents.active(w.engine.store)[1]
    assert.same({ 'disk', { app = 'shop' } }, { incident.name, incident.labels })
    assert.matches('^will be up to 100', incident.anomalies[1].reason)
  end)
end)

describe('what is told of forecasts', function()
  before_each(fake.install)
  after_each(function()
    fake.remove()
    support.tidy()
  end)

  it('is one record a series, the most urgent first', function()
    local w = world()
    w.run(growing('late', 50, 10), growing('never', 50, 0.1), growing('soon', 80, 10))
    local list = get(w.engine, '/api/v1/forecasts')
    assert.same({ 'soon', 'late', 'never' }, { list[1].labels.app, list[2].labels.app,
      list[3].labels.app })
    local r = list[1]
    assert.same({ 'full', 'disk', 'firing', 'anomaly', 'ok', 100, 'q', '1w' }, { r.name, r.metric,
      r.state, r.condition, r.health, r.threshold, r.query, r.horizon })
    assert.near(2, r.days_until_threshold, 1e-6)
    assert.near(1.6, r.days_quantiles['0.1'], 1e-6)
    assert.equal(0.75, r.probability)
    assert.equal(clock.text(w.slot), r.updated_at)
    assert.same({ 168, 168, 168, 168 }, { #r.ds, #r.yhat, #r.yhat_lower, #r.yhat_upper })
    assert.equal(w.slot // HOUR * HOUR + HOUR, r.ds[1])
    assert.near(80 + 10 / 24, r.yhat[1], 1e-4)
    assert.equal('inactive', list[2].state)
    assert.equal(-1, list[3].days_until_threshold)
    assert.is_nil(r.key)
  end)

  it('is there before the first, and without any series', function()
    local w = world()
    local r = get(w.engine, '/api/v1/forecasts')[1]
    assert.same({ 'full', 'unknown', 'unknown', 'no forecast: it has not been made yet' },
      { r.name, r.state, r.condition, r.recommendation })
    assert.same({ {}, -1, {}, {}, {}, {} },
      { r.labels, r.days_until_threshold, r.ds, r.yhat, r.yhat_lower, r.yhat_upper })
    w.run()
    r = get(w.engine, '/api/v1/forecasts')[1]
    assert.same({ 'inactive', 'no_data', 'no forecast: the query gives no series' },
      { r.state, r.condition, r.recommendation })
  end)

  it('is among the rules and the alerts in Prometheus\' shapes', function()
    local w = world()
    w.run(growing('shop', 80, 10))
    local alert = get(w.engine, '/api/v1/alerts').alerts[1]
    assert.same({ 'firing', { alertname = 'full', app = 'shop' } }, { alert.state, alert.labels })
    local rule = get(w.engine, '/api/v1/rules').groups[1].rules[1]
    assert.same({ 'full', 'firing', 'q', 'ok' }, { rule.name, rule.state, rule.query, rule.health })
  end)

  it('is measured, with +Inf for never', function()
    local w = world()
    w.run(growing('shop', 80, 10), growing('idle', 50, 0))
    forecasts.measure(w.engine)
    assert.near(2, metrics.forecast_days:value('full', 'app="shop"'), 1e-6)
    assert.equal(math.huge, metrics.forecast_days:value('full', 'app="idle"'))
    assert.equal(0.75, metrics.forecast_probability:value('full', 'app="shop"'))
    assert.near(151, metrics.forecast_max:value('full', 'app="shop"'), 1e-3)
    assert.equal(w.slot, metrics.forecast_updated:value 'full')
  end)

  it('survives a restart, and goes with the declaration', function()
    local path = support.folder() .. '/perigee.db'
    local store = require 'perigee.store'
    local rules = 'forecast "full" { query = "q", threshold = 100 }'
    local engine = support.engine { rules = rules, store = assert(store.open(path)) }
    engine.source.ranges.q = function(...) return { growing('shop', 80, 10)(...) } end
    local job = scheduler.jobs(engine.rules)[1]
    evaluate.run(engine, job, support.START)
    engine.store:close()
    engine = support.engine { rules = rules, store = assert(store.open(path)) }
    assert.near(2, get(engine, '/api/v1/forecasts')[1].days_until_threshold, 1e-6)
    forecasts.prune(engine.store, engine.rules.forecasts)
    assert.near(2, get(engine, '/api/v1/forecasts')[1].days_until_threshold, 1e-6)
    local other = support.rules 'forecast "full" { query = "q", threshold = 90 }'
    forecasts.prune(engine.store, other.forecasts)
    assert.equal('unknown', get(engine, '/api/v1/forecasts')[1].condition)
    assert.equal(0, (evaluate.slots(engine, job))) -- and is due at once
    evaluate.run(engine, job, support.START + HOUR)
    forecasts.prune(engine.store, {})
    assert.is_nil(engine.store:row 'select name from forecasts')
    engine.store:close()
  end)
end)

describe('the scheduler', function()
  after_each(function()
    fake.remove()
    support.tidy()
  end)

  it('has forecasts on their grid, and opens their incidents', function()
    fake.install()
    local engine = support.engine { rules = [[
      forecast "full" { query = "q", threshold = 100, every = "10m",
        alert_when = "days_until_threshold < 3" }
      incident "disk" { signals = { "full" }, min_signals = 1, group_by = { "app" } }]] }
    engine.source.ranges.q = function(...) return { growing('shop', 80, 10)(...) } end
    local running = scheduler.start(engine)
    for _ = 1, 24 do
      support.turns()
      clock.advance(60)
    end
    running:stop()
    support.turns()
    assert.equal('disk', incidents.active(engine.store)[1].name)
    assert.is_true(#fake.fits >= 2 and #fake.fits <= 4)
  end)
end)
