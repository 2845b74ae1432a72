local alert_rules = require 'engine.alert_rules'
local clock = require 'perigee.clock'
local groups = require 'engine.groups'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local metrics = require 'engine.metrics'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

before_each(support.still)
after_each(function()
  support.tidy()
  clock.make_real()
end)

--- An engine with one group of rules, as YAML, and the job of that group.
local function new(rules, o)
  o = o or {}
  rules = rules:gsub('\n', '\n    '):gsub('\n    %- ', '\n  - ')
  o.rules = { ['r.lua'] = o.lua or '', ['r.yaml'] = ('groups:\n- name: g\n  interval: 1m\n  %s\n'
    .. '  rules:\n  - %s'):format(o.group or '', rules) }
  local engine = support.engine(o)
  for _, job in ipairs(scheduler.jobs(engine.rules)) do
    if job.def.kind == 'group' then return engine, job end
  end
end

--- Evaluates the next minute, with this answer.
local function minute(engine, job, answer)
  engine.source.answers.q = answer
  clock.advance(60)
  return groups.evaluate(engine, job, clock.now())
end

local LETTER = { pending = 'p', firing = 'f' }

--- What becomes of one alert, minute by minute: "1" is a sample, "_" none, "!" a failure. "-" is no
--- alert.
local function play(rules, input)
  local engine, job = new(rules)
  local out = {}
  for letter in input:gmatch '.' do
    minute(engine, job, letter == '1' and { { { a = 'b' }, 1 } } or letter == '_' and {}
      or { message = 'bad', kind = 'bad_data' })
    local alert = alert_rules.active(engine)[1]
    out[#out + 1] = alert and LETTER[alert.state] or '-'
  end
  return table.concat(out)
end

describe('an alert', function()
  for _, case in ipairs {
    { 'fires in the first evaluation without `for`', 'alert: A\nexpr: q', '_1_', '-f-' },
    { 'is pending for `for`', 'alert: A\nexpr: q\nfor: 2m', '1111_', 'ppff-' },
    { 'begins anew after a gap', 'alert: A\nexpr: q\nfor: 2m', '11_111', 'pp-ppf' },
    { 'keeps firing for keep_firing_for, which begins anew too',
      'alert: A\nexpr: q\nkeep_firing_for: 2m', '1_1___', 'fffff-' },
    { 'is not kept while it is pending', 'alert: A\nexpr: q\nfor: 5m\nkeep_firing_for: 5m', '1_',
      'p-' },
    { 'stays what it is where the query fails', 'alert: A\nexpr: q\nfor: 1m', '1!1!_!', 'ppff--' },
  } do
    it(case[1], function() assert.equal(case[4], play(case[2], case[3])) end)
  end

  it('has the sample\'s labels and the rule\'s, of which an empty one takes away', function()
    local engine, job = new([[
alert: A
expr: q
labels: { a: "{{ $labels.a }}{{ $labels.a }}", gone: "", alertname: B }
annotations:
  summary: "{{ $labels.a }} is {{ $value }}{{ $labels.nope }}"
  bad: '{{ first (query "x") }}']],
      { group = 'labels: { a: z, team: t, alertname: C }' })
    minute(engine, job, { { { __name__ = 'q', a = 'x', gone = 'y', alertname = 'D' }, 0.5 } })
    local alert = alert_rules.active(engine)[1]
    assert.same({ alertname = 'A', a = 'xx', team = 't' }, alert.labels)
    assert.equal('x is 0.5', alert.annotations.summary)
    assert.equal('<error expanding template: error executing template __alert_A: template: '
      .. '__alert_A:1:3: executing "__alert_A" at <first (query "x")>: error calling first: '
      .. 'first() called on vector with no elements>', alert.annotations.bad)
    assert.same({ 'A', 0.5, 'firing', clock.now(), clock.now() }, { alert.name, alert.value,
      alert.state, alert.active_at, alert.fired_at })
    minute(engine, job, { { { a = 'x' }, 0 / 0 } })
    alert = alert_rules.active(engine)[1]
    assert.same({ 'NaN', 'x is NaN' }, { alert.value, alert.annotations.summary })
    assert.equal(clock.now() - 60, alert.active_at, 'it is the same alert')
  end)

  it('tells incidents why in its summary, as far as there is room', function()
    local engine, job = new('alert: A\nexpr: q\nannotations: { summary: "x{{ $labels.a }}" }')
    minute(engine, job, { { { a = ('ü'):rep(600) }, 1 } })
    local _, series = next(alert_rules.series(engine, job.def))
    assert.equal('x' .. ('ü'):rep(499), series.reason)
  end)

  it('of a scalar has no labels but its own', function()
    local engine, job = new 'alert: A\nexpr: q'
    minute(engine, job, { { {}, 3 }, type = 'scalar' })
    assert.same({ alertname = 'A' }, alert_rules.active(engine)[1].labels)
  end)
end)

describe('a rule is in error', function()
  local function error_of(rules, answer, group)
    local engine, job = new(rules, { group = group })
    minute(engine, job, answer)
    local row = engine.store:row('select * from signals where name = ?', job.def.rules[1].key)
    return row.health, row.error, #alert_rules.active(engine)
  end
  local two = { { { a = '1' }, 1 }, { { a = '2' }, 1 } }

  it('where the source refuses the query', function()
    assert.same({ 'err', 'parse error (bad_data)', 0 },
      { error_of('alert: A\nexpr: q', { message = 'parse error', kind = 'bad_data' }) })
  end)
  it('where the answer is a range', function()
    assert.same({ 'err', 'the query gives a range of values, not one a series', 0 },
      { error_of('alert: A\nexpr: q', { { {}, 1 }, type = 'matrix' }) })
  end)
  it('where two samples come to the same labels', function()
    assert.same({ 'err', 'two alerts come to the same labels', 0 },
      { error_of('alert: A\nexpr: q\nlabels: { a: "" }', two) })
    assert.same({ 'err', 'two series come to the same labels', 0 },
      { error_of('record: r\nexpr: q\nlabels: { a: "" }', two) })
  end)
  it('where there are more than the limit, and then has none', function()
    assert.same({ 'err', '2 alerts are more than the limit of 1: all are dropped', 0 },
      { error_of('alert: A\nexpr: q', two, 'limit: 1') })
    local engine, job = new('alert: A\nexpr: q', { group = 'limit: 1' })
    minute(engine, job, { two[1] })
    assert.equal(1, #alert_rules.active(engine))
    minute(engine, job, two)
    assert.same({}, alert_rules.active(engine))
    assert.same({ 'err', '2 series are more than the limit of 1', 0 },
      { error_of('record: r\nexpr: q', two, 'limit: 1') })
  end)
end)

describe('a group', function()
  it('asks for the rules in order, all at one time, which query_offset sets back', function()
    local times = {}
    local engine, job = new('record: r\nexpr: one\n- alert: A\nexpr: two', {
      group = 'query_offset: 90s' })
    local function answer(t)
      times[#times + 1] = t
      return {}
    end
    engine.source.answers.one, engine.source.answers.two = answer, answer
    minute(engine, job)
    assert.same({ clock.now() - 90, clock.now() - 90 }, times)
    assert.same({ 'one', 'two' }, engine.source.asked)
  end)

  it('evaluates a slot once, and counts those that it has missed', function()
    local engine, job = new 'alert: A\nexpr: q'
    minute(engine, job, {})
    assert.is_nil(groups.evaluate(engine, job, clock.now()))
    assert.equal(1, #engine.source.asked)
    clock.advance(180)
    groups.evaluate(engine, job, clock.now())
    assert.truthy(metrics.expose(false):find(
      'perigee_rule_evaluations_missed_total{rule="group/r.yaml/g"} 2\n', 1, true))
  end)

  it('goes on where it was after a restart, and after a change of its other rules', function()
    local engine, job = new 'alert: A\nexpr: q\nfor: 3m\nkeep_firing_for: 2m'
    for _ = 1, 2 do minute(engine, job, { { { a = 'b' }, 1 } }) end
    local since = alert_rules.active(engine)[1].active_at
    local other, changed = new('alert: B\nexpr: p\n- alert: A\nexpr: q\nfor: 3m', {
      store = engine.store })
    other.source = engine.source
    minute(other, changed, { { { a = 'b' }, 1 } })
    minute(other, changed, { { { a = 'b' }, 1 } })
    assert.same({ 'firing', since }, { alert_rules.active(other)[1].state,
      alert_rules.active(other)[1].active_at })
    -- A longer `for` takes it back.
    local slow, slower = new('alert: A\nexpr: q\nfor: 1h', { store = engine.store })
    slow.source = engine.source
    minute(slow, slower, { { { a = 'b' }, 1 } })
    assert.same({ 'pending', since }, { alert_rules.active(slow)[1].state,
      alert_rules.active(slow)[1].active_at })
  end)

  it('forgets what a rule that is gone has left, also while it is evaluated', function()
    local engine, job = new 'alert: A\nexpr: q\n- record: r\nexpr: q'
    minute(engine, job, { { { a = 'b' }, 1 } })
    engine.source.answers.q = function()
      groups.prune(engine, {})
      return { { { a = 'b' }, 1 } }
    end
    clock.advance(60)
    groups.evaluate(engine, job, clock.now())
    assert.same({}, alert_rules.active(engine))
    assert.same({}, alert_rules.state(engine, job.def.rules[2]))
  end)

  it('keeps the last result of a recording rule', function()
    local engine, job = new 'record: r\nexpr: q\nlabels: { a: "", c: d }'
    minute(engine, job, { { { __name__ = 'x', a = 'b', e = 'f' }, 0 / 0 } })
    minute(engine, job, { message = 'gone' })
    assert.same({ at = clock.now() - 60, samples = { { labels = { c = 'd', e = 'f' },
      value = 'NaN' } } }, alert_rules.state(engine, job.def.rules[1]))
    minute(engine, job, {})
    assert.equal(json.encode { at = clock.now(), samples = json.array() },
      json.encode(alert_rules.state(engine, job.def.rules[1])))
  end)
end)

describe('an incident', function()
  it('takes the alerts of rule groups for signals, by their name', function()
    local engine, job = new('alert: A\nexpr: q\n- alert: A\nexpr: p\nlabels: { severity: page }',
      { lua = 'incident "i" { signals = { "A" }, min_signals = 1, group_by = { "a" } }' })
    engine.source.answers.p = { { { a = 'b' }, 2 } }
    minute(engine, job, { { { a = 'b' }, 1 } })
    incidents.converge(engine, engine.rules.incidents.i)
    local incident = incidents.active(engine.store)[1]
    assert.same({ a = 'b' }, incident.labels)
    assert.equal(2, #incident.anomalies)
    assert.same({ 'A', 'the value is 1' }, { incident.anomalies[1].signal,
      incident.anomalies[1].reason })
    engine.source.answers.p = {}
    minute(engine, job, {})
    incidents.converge(engine, engine.rules.incidents.i)
    assert.same({}, incidents.active(engine.store))
  end)
end)
