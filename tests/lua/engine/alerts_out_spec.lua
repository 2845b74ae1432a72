local alerts_out = require 'engine.alerts_out'
local clock = require 'perigee.clock'
local groups = require 'engine.groups'
local metrics = require 'engine.metrics'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

before_each(support.still)
after_each(function()
  support.tidy()
  clock.make_real()
end)

--- An engine with one rule on the query q, and an Alertmanager that keeps what it is sent.
local function new(interval, config)
  local engine = support.engine { config = config, rules = { ['r.yaml'] = ([[
groups:
- name: g
  interval: %s
  rules:
  - alert: A
    expr: q > 1
    for: %s
    labels: { severity: page, "x-y": z }
    annotations: { summary: "{{ $labels.a }}", empty: "" }]]):format(interval, interval) } }
  local sent = { refuse = nil }
  engine.alerts_out = alerts_out.queue { post = function(_, alerts)
    sent[#sent + 1] = alerts
    if sent.refuse then return nil, sent.refuse end
    return true
  end }
  local job = scheduler.jobs(engine.rules)[1]
  --- Evaluates the next slot. Returns the alerts that were sent after it.
  local function step(answer)
    engine.source.answers['q > 1'] = answer
    clock.advance(job.every)
    local before = #sent
    groups.evaluate(engine, job, clock.now())
    support.turns()
    return sent[before + 1] or {}
  end
  return step, engine, sent
end

local ON = { { { a = 'b' }, 2 } }

local function text(t) return clock.text(t) end

describe('alerts of rule groups are sent', function()
  it('when they fire, as Alertmanager wants them', function()
    local step = new('20s', { external_labels = { cluster = 'c', severity = 'none' } })
    assert.same({}, step(ON), 'pending')
    local now = clock.now() + 20
    assert.same({ {
      labels = { alertname = 'A', a = 'b', severity = 'page', x_y = 'z', cluster = 'c' },
      annotations = { summary = 'b' }, startsAt = text(now), endsAt = text(now + 240),
      generatorURL = 'http://127.0.0.1:9/graph?g0.expr=q%20%3E%201&g0.tab=1',
    } }, step(ON))
  end)

  it('again each minute while they fire', function()
    local step = new('20s')
    local times = {}
    for i = 1, 9 do times[i] = #step(ON) end
    assert.same({ 0, 1, 0, 0, 1, 0, 0, 1, 0 }, times)
  end)

  it('with an end that a lost sender does not move: four intervals where those are long',
    function()
      local step = new('5m')
      step(ON)
      local alert = step(ON)[1]
      assert.equal(text(clock.now() + 1200), alert.endsAt)
    end)

  it('at once when they are over, and for a quarter of an hour', function()
    local step = new('20s')
    step(ON)
    local started = step(ON)[1].startsAt
    local alert, n = step({})[1], 0
    local ended = clock.now()
    assert.same({ started, text(ended) }, { alert.startsAt, alert.endsAt })
    for _ = 1, 60 do
      for _, again in ipairs(step {}) do
        assert.equal(text(ended), again.endsAt)
        n = n + 1
      end
    end
    assert.equal(14, n, 'beside the first')
  end)

  it('as a new one when they fire once more', function()
    local step = new('20s')
    for _, answer in ipairs { ON, ON, {}, ON } do step(answer) end
    local alert = step(ON)[1]
    assert.equal(text(clock.now()), alert.startsAt)
  end)

  it('though Alertmanager did not take them, within the minute', function()
    local step, _, sent = new('20s')
    step(ON)
    sent.refuse = 'no connection'
    assert.equal(1, #step(ON))
    sent.refuse = nil
    assert.same({ 0, 0, 1 }, { #step(ON), #step(ON), #step(ON) })
  end)

  it('as resolved when a reload has removed their rule', function()
    local step, engine, sent = new('20s')
    step(ON)
    step(ON)
    groups.prune(engine, {})
    support.turns()
    assert.equal(2, #sent)
    assert.equal(text(clock.now()), sent[2][1].endsAt)
  end)

  it('to nobody where there is no Alertmanager', function()
    local step, engine, sent = new('20s')
    engine.alerts_out = nil
    step(ON)
    step(ON)
    assert.same({}, sent)
    assert.is_nil(alerts_out.queue(nil))
  end)
end)

describe('the queue', function()
  local function many(n, first)
    local out = {}
    for i = 1, n do out[i] = { n = first + i - 1 } end
    return out
  end

  it('is sent in batches of 256, and drops the oldest of more than 10,000', function()
    local batches = {}
    local queue = alerts_out.queue { post = function(_, alerts)
      batches[#batches + 1] = alerts
      return true
    end }
    local function dropped()
      return tonumber(metrics.expose(false):match 'perigee_notifications_dropped_total (%d+)') or 0
    end
    local before = dropped()
    queue:add(many(9000, 1))
    queue:add(many(1500, 9001))
    support.turns()
    assert.equal(before + 500, dropped())
    local n, next_one = 0, 501
    for _, batch in ipairs(batches) do
      assert.is_true(#batch <= 256)
      for _, alert in ipairs(batch) do
        assert.equal(next_one, alert.n)
        n, next_one = n + 1, next_one + 1
      end
    end
    assert.equal(10000, n)
  end)
end)
