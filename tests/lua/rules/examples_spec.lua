--- What users come with, as they would write it in rule files, run by the engine over a synthetic
--- world: two weeks of history in which day and night differ, then what the test says.
local approvals = require 'engine.approvals'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local http = require 'http'
local incidents = require 'engine.incidents'
local label_key = require('prometheus').label_key
local plans = require 'engine.plans'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

local CPU = 'sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))'
local MEMORY = 'node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes'
local P99 = 'histogram_quantile(0.99, sum by (le, instance) '
  .. '(rate(http_request_duration_seconds_bucket[5m])))'
local FULL = 'container_memory_usage_bytes > 0.9 * container_spec_memory_limit_bytes'
local ERRORS = 'sum(rate(http_requests_total{code=~"5.."}[5m])) '
  .. '/ sum(rate(http_requests_total[5m]))'

local RULES = ([==[
local aiops = { severity = "warning", category = "aiops" }

signal "CPUAnomalyDetected" {
  query = [[CPU]],
  detector = z_score { history = "7d", threshold = 3 },
  hold_for = "5m",
  labels = aiops,
  annotations = { summary = "CPU usage anomaly detected on {{ $labels.instance }}" },
}
signal "MemoryAnomalyDetected" {
  query = [[MEMORY]],
  detector = hour_of_week { history = "14d", direction = "below" },
  hold_for = "10m",
  labels = aiops,
}
signal "LatencyAnomalyDetected" {
  query = [[P99]],
  detector = ratio_to_baseline { history = "7d", ratio = 2 },
  hold_for = "5m",
  labels = { severity = "critical", category = "aiops" },
}

incident "node_sick" {
  signals = { "CPUAnomalyDetected", "MemoryAnomalyDetected", "LatencyAnomalyDetected" },
  min_signals = 2, within = "5m",
  group_by = { "instance" },
  recommend = function(incident)
    return ("Look at %s: %d signals are odd"):format(incident.labels.instance,
      incident.anomaly_count)
  end,
}

playbook "rollback" {
  when = incident "node_sick",
  trust = "human_approve",
  plan = function(event)
    return {
      http.request { method = "POST", url = "http://shop/rollback",
                     body = { instance = event.labels.instance },
                     revert = { method = "POST", url = "http://shop/deploy" } },
      verify { query = [[ERRORS]], below = 0.01, within = "10m", otherwise = "revert" },
    }
  end,
}
playbook "pod_restart" {
  when = metric { query = [[FULL]], hold_for = "5m" },
  trust = "auto", cooldown = "30m", limit = { 2, per = "1h" },
  plan = function(event)
    return { http.request { method = "POST", url = "http://shop/restart/" .. event.labels.pod } }
  end,
}
playbook "scale" {
  when = metric { query = [[FULL]], hold_for = "10m" },
  trust = "recommend",
  plan = { http.request { method = "POST", url = "http://shop/scale", body = { increment = 2 } } },
}
playbook "nobody_said" {
  when = incident "node_sick",
  plan = { http.request { method = "POST", url = "http://shop/never" } },
}
]==]):gsub('%[%[(%w+)%]%]', function(name)
  local queries = { CPU = CPU, MEMORY = MEMORY, P99 = P99, FULL = FULL, ERRORS = ERRORS }
  return ('[[%s]]'):format(queries[name])
end)

local random = support.random(7)

--- What a series is at a time: by day more than by night, and never quite the same.
local function usual(night, day)
  return function(time)
    local hour = time // 3600 % 24
    return (hour >= 8 and hour < 20 and day or night) * (1 + random(1000) / 20000)
  end
end

local USUAL = { [CPU] = usual(1, 3), [MEMORY] = usual(0.8, 0.4), [P99] = usual(0.1, 0.12),
  [ERRORS] = usual(0.002, 0.003) }
local NODE = { instance = 'node-1' }

local request = http.request

local function world()
  local engine = support.engine { rules = RULES, config = { guardrails = { dry_run = false,
    cooldown = '0s', max_actions_per_hour = 100, http = { { url_prefix = 'http://shop/' } } } } }
  local w = { engine = engine, sent = {} }
  for query, value in pairs(USUAL) do
    engine.source.answers[query] = function(time) return { { NODE, value(time) } } end
    engine.source.ranges[query] = function(start, stop, step)
      local ds, y = {}, {}
      for time = start, stop, step do ds[#ds + 1], y[#y + 1] = time, value(time) end
      return { { labels = { instance = NODE.instance }, ds = ds, y = y } }
    end
  end
  http.request = function(sent)
    w.sent[#w.sent + 1] = sent.url:match '^http://shop/(.*)$'
    return { status = 200, seconds = 0.01, body = '', headers = {} }
  end
  w.scheduler = scheduler.start(engine)
  engine.poke = function() w.scheduler:poke() end

  --- Time goes on.
  function w.pass(seconds)
    for _ = 1, seconds // 5 do
      clock.advance(5)
      support.turns(8)
    end
  end

  --- A query gives this value from now on; or the usual one again.
  function w.set(query, value, more)
    engine.source.answers[query] = function(time)
      local answer = { { NODE, value or USUAL[query](time) } }
      for k, v in pairs(more or {}) do answer[k] = v end
      return answer
    end
  end

  function w.series(name, labels)
    local state = evaluate.read_state(engine, { name = name }).series
    if labels then return state[label_key(labels)] end
    return (select(2, next(state)))
  end

  function w.plan(playbook)
    for _, p in ipairs(plans.list(engine.store, 100)) do
      if p.playbook == playbook then return plans.view(engine.store, p) end
    end
  end
  return w
end

describe('an example', function()
  local w

  before_each(function()
    support.still()
    w = world()
    w.pass(60)
  end)
  after_each(function()
    w.scheduler:stop()
    support.turns()
    http.request = request
    support.tidy()
  end)

  it('is quiet on a usual day and a usual night', function()
    for _ = 1, 12 do
      w.pass(120)
      clock.advance(7200)
    end
    assert.equal(0, #incidents.list(w.engine.store, 10))
    assert.equal(0, #plans.list(w.engine.store, 10))
    for name in pairs(w.engine.rules.signals) do
      assert.same({ 'inactive', 'ok' }, { w.series(name).state, w.series(name).condition })
    end
  end)

  it('odd CPU: pending, firing after five minutes with its labels and text, resolved', function()
    w.set(CPU, 30)
    w.pass(240)
    assert.equal('pending', w.series('CPUAnomalyDetected').state)
    w.pass(120)
    local series = w.series('CPUAnomalyDetected')
    assert.equal('firing', series.state)
    assert.same({ instance = 'node-1', severity = 'warning', category = 'aiops' }, series.labels)
    assert.equal('CPU usage anomaly detected on node-1', series.annotations.summary)
    assert.is_true(series.anomaly_score > 3 and series.confidence > 50)
    w.set(CPU)
    w.pass(60)
    assert.equal('inactive', w.series('CPUAnomalyDetected').state)
  end)

  it('memory: what is usual by day is odd by night', function()
    local function judged(hour)
      w.set(MEMORY, 0.4)
      clock.advance((hour * 3600 - clock.now()) % 86400)
      w.pass(900)
      return w.series('MemoryAnomalyDetected').state
    end
    assert.equal('inactive', judged(12))
    assert.equal('firing', judged(2))
  end)

  it('latency: twice the usual is odd, a little more is not', function()
    w.set(P99, 0.2)
    w.pass(400)
    assert.equal('inactive', w.series('LatencyAnomalyDetected').state)
    w.set(P99, 0.5)
    w.pass(400)
    assert.equal('firing', w.series('LatencyAnomalyDetected').state)
  end)

  it('a series that nobody knows has no baseline and is never odd', function()
    w.engine.source.answers[CPU] = { { { instance = 'new' }, 1e9 } }
    w.pass(400)
    local series = w.series('CPUAnomalyDetected', { instance = 'new', severity = 'warning',
      category = 'aiops' })
    assert.same({ 'inactive', 'no_baseline' }, { series.state, series.condition })
    assert.matches('^no baseline', series.reason)
    assert.same({}, { series.anomaly_score, series.confidence })
  end)

  it('one odd signal is no incident; two are one, with what is needed to understand it', function()
    w.set(CPU, 30)
    w.pass(400)
    assert.equal(0, #incidents.active(w.engine.store))
    w.set(P99, 0.5)
    w.pass(400)
    local all = incidents.active(w.engine.store)
    assert.equal(1, #all)
    local view = incidents.view(w.engine.store, all[1])
    assert.same({ true, 2, 'open', NODE, 'Look at node-1: 2 signals are odd' },
      { view.is_incident, view.anomaly_count, view.state, view.labels, view.recommendation })
    for _, anomaly in ipairs(view.anomalies) do
      assert.is_true(anomaly.is_anomaly and anomaly.value > 0 and anomaly.anomaly_score > 0)
      assert.matches('^%d%d%d%d%-%d%d%-%d%dT', anomaly.since)
    end
  end)

  it('human_approve: nothing runs before a person says so; then it runs and is verified', function()
    w.set(CPU, 30)
    w.set(P99, 0.5)
    w.pass(400)
    local plan = w.plan 'rollback'
    assert.equal('pending', plan.state)
    assert.same({}, w.sent)
    assert(approvals.decide(w.engine, plan.id, 'approved',
      { who = 'alice', via = 'api', digest = plan.digest }))
    w.pass(120)
    assert.same({ 'rollback' }, w.sent)
    assert.equal('executed', w.plan('rollback').state)
    w.set(CPU)
    w.set(P99)
    w.pass(60)
    assert.equal(0, #incidents.active(w.engine.store))
    assert.equal('resolved', incidents.list(w.engine.store, 10)[1].state)
    assert.is_nil(w.plan 'nobody_said') -- without a trust it is manual_only: no plan at all
  end)

  it('human_approve: what does not help is reverted', function()
    w.set(ERRORS, 0.2)
    w.set(CPU, 30)
    w.set(P99, 0.5)
    w.pass(400)
    local plan = w.plan 'rollback'
    assert(approvals.decide(w.engine, plan.id, 'approved',
      { who = 'alice', via = 'api', digest = plan.digest }))
    w.pass(720)
    assert.same({ 'rollback', 'deploy' }, w.sent)
    assert.equal('failed', w.plan('rollback').state)
  end)

  it('auto: a full container is restarted after five minutes, each once in its cooldown', function()
    local function full(...)
      local answer = {}
      for i, pod in ipairs { ... } do answer[i] = { { pod = pod }, 9e8 } end
      w.engine.source.answers[FULL] = answer
    end
    full 'cart-1'
    w.pass(270)
    assert.same({}, w.sent)
    w.pass(90)
    assert.same({ 'restart/cart-1' }, w.sent)
    full() -- it comes back within the cooldown of that pod
    w.pass(60)
    full('cart-1', 'cart-2')
    w.pass(400)
    assert.same({ 'restart/cart-1', 'restart/cart-2' }, w.sent)
    full 'cart-3' -- more than limit = { 2, per = "1h" } allows
    w.pass(400)
    assert.equal(2, #w.sent)
  end)

  it('recommend: the plan is shown, and nothing of it runs', function()
    w.engine.source.answers[FULL] = { { { pod = 'cart-1' }, 9e8 } }
    w.pass(700)
    local plan = w.plan 'scale'
    assert.equal('blocked', plan.state)
    assert.same({ increment = 2 }, plan.actions[1].args.body)
    local _, refusal = approvals.decide(w.engine, plan.id, 'approved',
      { who = 'alice', via = 'api', digest = plan.digest })
    assert.equal(409, refusal.status)
    assert.same({ 'restart/cart-1' }, w.sent)
  end)

  for name, answer in pairs {
    ['that is missing'] = {}, ['that is NaN'] = { { NODE, 0 / 0 } },
    ['that failed'] = { message = 'down' },
    ['that is partial'] = { { { pod = 'cart-1', instance = 'node-1' }, 1e9 }, partial = true,
      warnings = { 'half' } },
  } do
    it('does nothing on an answer ' .. name, function()
      for _, query in ipairs { CPU, MEMORY, P99, FULL } do
        w.engine.source.answers[query] = answer
      end
      w.pass(1200)
      assert.same({}, w.sent)
      for _, p in ipairs(plans.list(w.engine.store, 100)) do
        assert.equal('blocked', plans.view(w.engine.store, p).state)
      end
    end)
  end
end)
