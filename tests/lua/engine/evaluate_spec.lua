local async = require 'async'
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local faults = require 'engine.faults'
local label_key = require('prometheus').label_key
local metrics = require 'engine.metrics'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

support.still()

--- An engine with one signal, its job, and what the source answers to its query.
local function world(body, config)
  local engine = support.engine { config = config, rules = ([[
    signal "a" { query = "q", every = "10s", %s }
  ]]):format(body or 'detector = threshold { above = 1 }') }
  local w = { engine = engine, job = scheduler.jobs(engine.rules)[1], slot = support.START }

  --- The next slot's evaluation.
  function w.run(answer, skip)
    engine.source.answers.q = answer
    w.slot = w.slot + 10 * (1 + (skip or 0))
    return evaluate.run(engine, w.job, w.slot)
  end

  function w.row() return engine.store:row "select * from signals where name = 'a'" end
  return w
end

local function one(state)
  local _, series = next(state.series)
  return series
end

local ODD, FINE = { { { app = 'shop' }, 5 } }, { { { app = 'shop' }, 1 } }

describe('an evaluation', function()
  after_each(support.tidy)

  it('asks for the slot\'s time, judges, and keeps what came of it', function()
    local w, asked = world(), nil
    w.run(function(time)
      asked = time
      return ODD
    end)
    assert.equal(w.slot, asked)
    local row = w.row()
    assert.same({ 'ok', '', w.slot }, { row.health, row.error, row.evaluated_at })
    local series = one(evaluate.read_state(w.engine, w.job))
    assert.same({ 'firing', 5, { app = 'shop' } }, { series.state, series.value, series.labels })
  end)

  it('takes place once a slot, whoever comes', function()
    local w = world()
    local before = metrics.evaluations:value 'signal/a'
    assert.truthy(w.run(ODD))
    assert.is_nil(evaluate.run(w.engine, w.job, w.slot))
    assert.is_nil(evaluate.run(w.engine, w.job, w.slot - 10))
    assert.equal(1, metrics.evaluations:value 'signal/a' - before)
    assert.equal(1, #w.engine.source.asked)
  end)

  it('takes place again by a clock that was set back', function()
    local w = world()
    w.run(ODD, 1000)
    w.slot = support.START
    assert.truthy(w.run(FINE))
    assert.same({ w.slot, w.slot }, { w.row().claimed_at, w.row().evaluated_at })
    assert.equal('inactive', one(evaluate.read_state(w.engine, w.job)).state)
  end)

  it('counts the slots that nobody took', function()
    local w = world()
    w.run(FINE, 100) -- the first one ever has missed nothing
    local before = metrics.missed:value 'signal/a'
    w.run(FINE)
    w.run(FINE, 3)
    assert.equal(3, metrics.missed:value 'signal/a' - before)
  end)

  it('takes the metric\'s name off the labels, and adds the rule\'s', function()
    local w = world [[detector = threshold { above = 1 }, labels = { severity = "page", app = "",
      text = "{{ $labels.pod }} of {{ $labels.app }}", broken = "{{ slice $labels.app 9 }}" },
      annotations = { summary = "{{ $value }} on {{ $labels.app }}, {{ .Labels.none }}" }]]
    local series = one(w.run { { { __name__ = 'x', app = 'shop', pod = 'p1' }, 5 } })
    assert.same({ 'page', 'p1 of shop', 'p1' },
      { series.labels.severity, series.labels.text, series.labels.pod })
    assert.is_nil(series.labels.app) -- an empty value takes the label away
    assert.is_nil(series.labels.__name__)
    assert.matches('^<error expanding template:', series.labels.broken)
    assert.equal('5 on shop, ', series.annotations.summary)
  end)

  it('of a rule\'s own function gives it value, labels and time', function()
    local w = world [[detector = function(value, about)
      return { is_anomaly = value > 1, anomaly_score = value, confidence = 50,
               reason = about.labels.app .. " at " .. about.time } end]]
    local series = one(w.run(ODD))
    assert.same({ 'anomaly', 5, 50, ('shop at %d'):format(w.slot) },
      { series.condition, series.anomaly_score, series.confidence, series.reason })
  end)
end)

describe('an evaluation without a result', function()
  after_each(support.tidy)

  local cases = {
    { 'the source is down', { message = 'connection refused' }, 'connection refused (connection)' },
    { 'the query is refused', { message = 'parse error', kind = 'bad_data' },
      'parse error (bad_data)' },
    { 'the answer is a matrix', { type = 'matrix' }, 'a range of values' },
    { 'two series come to the same labels', { { {}, 1 }, { { __name__ = 'x' }, 1 } },
      'two series come to the same labels' },
  }
  for _, case in ipairs(cases) do
    it('says why, changes nothing, and recovers: ' .. case[1], function()
      local w = world()
      w.run(ODD)
      local before, failures = w.row().state, metrics.failures:value 'signal/a'
      assert.is_nil(w.run(case[2]))
      local row = w.row()
      assert.same({ 'err', before, w.slot }, { row.health, row.state, row.evaluated_at })
      assert.matches(case[3], row.error, 1, true)
      assert.equal(1, metrics.failures:value 'signal/a' - failures)
      assert.equal('inactive', one(w.run(FINE)).state)
      assert.same({ 'ok', '' }, { w.row().health, w.row().error })
    end)
  end

  it('says so when there are more series than the operator allows', function()
    local w = world(nil, { limits = { max_series = 2 } })
    local many = {}
    for i = 1, 3 do many[i] = { { n = tostring(i) }, 5 } end
    assert.is_nil(w.run(many))
    assert.equal('the query gives 3 series; at most 2 (limits.max_series)', w.row().error)
    many[3] = nil
    assert.truthy(w.run(many))
  end)

  it('does not count as time in which nothing was odd', function()
    local w = world 'detector = threshold { above = 1 }, hold_for = "30s"'
    assert.equal('pending', one(w.run(ODD)).state)
    w.run { message = 'down' }
    w.run { message = 'down' }
    assert.equal('firing', one(w.run(ODD)).state)
  end)

  it('of a rule that fails is a fault; three switch it off, and then nobody is asked', function()
    local w = world 'detector = function(value) if value > 1 then error("no idea") end end'
    for i = 1, 3 do
      assert.is_nil(w.run(ODD))
      if i < 3 then assert.matches('rules.lua:1: no idea$', w.row().error) end
    end
    local asked = #w.engine.source.asked
    assert.is_nil(w.run(FINE))
    assert.equal(asked, #w.engine.source.asked)
    assert.matches('switched off after 3 faults running', w.row().error)
    faults.switch_on(w.engine.store, 'signal/a', 'alice')
    assert.is_nil(w.run(FINE)) -- returns nil, which is no verdict: a fault of its own
    assert.matches('the detector returned: expected true, false or', w.row().error, 1, true)
  end)

  for returned, words in pairs {
    ['nil'] = 'expected true, false or {', ['5'] = 'expected true, false or {',
    ['{}'] = 'expected true, false or {',
    ['{ is_anomaly = 1 }'] = 'expected true, false or {',
    ['{ is_anomaly = true, anomaly_score = 0/0 }'] = 'anomaly_score: expected a finite number',
    ['{ is_anomaly = true, anomaly_score = 1/0 }'] = 'anomaly_score: expected a finite number',
    ['{ is_anomaly = true, anomaly_score = "1" }'] = 'anomaly_score: expected a finite number',
    ['{ is_anomaly = true, confidence = 0/0 }'] = 'confidence: expected a number from 0 to 100',
    ['{ is_anomaly = true, confidence = 101 }'] = 'confidence: expected a number from 0 to 100',
    ['{ is_anomaly = true, reason = {} }'] = 'reason: expected a text of at most 1000 bytes',
    ['{ is_anomaly = true, reason = ("x"):rep(1001) }'] =
      'reason: expected a text of at most 1000 bytes',
    ['{ is_anomaly = true, reason = "\\xff" }'] = 'the result.reason is a text that is not UTF-8',
    ['{ is_anomaly = true, more = print }'] = 'the result.more is a function',
  } do
    it('of a rule\'s own function that makes no sense is its fault: ' .. returned, function()
      local w = world(('detector = function() return %s end'):format(returned))
      assert.is_nil(w.run(ODD))
      assert.matches('rules%.lua:%d: ', w.row().error)
      assert.matches(words, w.row().error, 1, true)
      assert.is_nil(evaluate.read_state(w.engine, w.job).series)
    end)
  end

  it('begins to count faults anew after a good one', function()
    local w = world [[detector = function(value)
      if value > 1 then error("no idea") end return false end]]
    for _ = 1, 4 do
      w.run(ODD)
      w.run(ODD)
      assert.truthy(w.run(FINE))
    end
    assert.is_nil(faults.switched_off(w.engine.store, 'signal/a', w.job.def.file_digest))
  end)

  it('names the line of a runaway rule, in three kinds', function()
    local cases_of = {
      ['while true do end'] = 'instructions',
      ['local s = "x" while true do s = s .. s end'] = 'memory',
      ['return (("a"):rep(300)):find("a-a-a-a-b") ~= nil'] = 'instructions',
    }
    for body, words in pairs(cases_of) do
      local w = world(('detector = function(value)\n%s\nend'):format(body))
      local started = clock.cpu()
      assert.is_nil(w.run(ODD))
      assert.is_true(clock.cpu() - started < 2)
      assert.matches('rules.lua:2: ', w.row().error, 1, true)
      assert.matches(words, w.row().error, 1, true)
    end
  end)
end)

describe('an evaluation of many series', function()
  after_each(support.tidy)

  it('ends with a fault when it takes too much CPU time for all its series', function()
    local w = world 'detector = function() for _ = 1, 300000 do end return false end'
    w.engine.config.limits.rule_cpu = 1
    local answer = {}
    for i = 1, 100 do answer[i] = { { app = tostring(i) }, 5 } end
    assert.is_nil(w.run(answer))
    assert.matches('rules%.lua:%d+: the evaluation has taken .* of CPU time for %d+ series',
      w.row().error)
  end)

  it('has no limit for what the engine\'s own detectors take', function()
    local w = world 'detector = threshold { above = 9 }'
    local judge = w.job.def.detector.judge
    function w.job.def.detector.judge(...)
      local until_then = clock.cpu() + 0.001
      while clock.cpu() < until_then do end
      return judge(...)
    end
    w.engine.config.limits.rule_cpu = 1 -- 20 ms, for an evaluation that takes 100
    local answer = {}
    for i = 1, 100 do answer[i] = { { app = tostring(i) }, 5 } end
    assert.truthy(w.run(answer))
    assert.same({ 'ok', '' }, { w.row().health, w.row().error })
  end)

  it('has a limit where a function is a part of what judges', function()
    local w = world [[detector = combine { any = { threshold { above = 9 },
      function() for _ = 1, 300000 do end return false end } }]]
    w.engine.config.limits.rule_cpu = 1
    local answer = {}
    for i = 1, 100 do answer[i] = { { app = tostring(i) }, 5 } end
    assert.is_nil(w.run(answer))
    assert.matches('the evaluation has taken', w.row().error)
  end)

  it('leaves turns to others, however long the rule\'s own function takes', function()
    local w = world 'detector = function(value) for _ = 1, 300000 do end return value > 9 end'
    local answer, turns, over = {}, 0, false
    for i = 1, 60 do answer[i] = { { app = tostring(i) }, 5 } end
    w.engine.config.limits.rule_cpu = 1000 -- sanitizers take their time
    local other = async.spawn(function()
      while not over do
        turns = turns + 1
        async.turn()
      end
    end)
    local state = w.run(answer)
    over = true
    other:await()
    assert.truthy(state, w.row().error)
    assert.is_true(turns >= 3, turns)
  end)
end)

describe('a partial answer', function()
  after_each(support.tidy)

  it('is seen as one: health is ok, the warning is told, what it lacks stays', function()
    local w = world()
    w.run { { { app = 'shop' }, 5 }, { { app = 'cart' }, 5 } }
    local state = w.run { { { app = 'shop' }, 5 }, partial = true,
      warnings = { 'one store is away' } }
    assert.same({ 'ok', 'the answer is partial: one store is away' },
      { w.row().health, w.row().error })
    local cart = state.series[label_key { app = 'cart' }]
    local shop = state.series[label_key { app = 'shop' }]
    assert.same({ 'firing', 'firing', true }, { cart.state, shop.state, shop.partial })
    assert.is_nil(cart.partial)
  end)
end)

describe('NaN', function()
  after_each(support.tidy)

  it('is not judged, and is no anomaly', function()
    local w = world 'detector = function(value) error("never called") end'
    local series = one(w.run { { { app = 'shop' }, 0 / 0 } })
    assert.same({ 'inactive', 'nan', 'NaN' }, { series.state, series.condition, series.value })
  end)
end)

describe('infinity', function()
  after_each(support.tidy)

  it('is a value like others: judged, kept as a text, and good news when it is over', function()
    for _, detector in ipairs { 'threshold { above = 1 }', 'threshold { below = -1 }',
      'function(v) return v > 1 or v < -1 end' } do
      for value, text in pairs { [1 / 0] = '+Inf', [-1 / 0] = '-Inf' } do
        local w = world('detector = ' .. detector)
        local series = one(w.run { { { app = 'shop' }, value } })
        assert.equal(text, series.value)
        local odd = not (detector:find 'above' and value < 0 or detector:find 'below' and value > 0)
        assert.equal(odd and 'firing' or 'inactive', series.state)
        assert.equal('inactive', one(w.run { { { app = 'shop' }, 0 } }).state)
      end
    end
  end)
end)

describe('a late evaluation', function()
  after_each(support.tidy)

  it('does not take the place of a newer one', function()
    local w = world()
    w.run(function()
      -- while the answer is waited for, the next slot is evaluated by another generation
      w.engine.source.answers.q = FINE
      evaluate.run(w.engine, w.job, w.slot + 10)
      return ODD
    end)
    local row = w.row()
    assert.equal(w.slot + 10, row.evaluated_at)
    assert.equal('inactive', one(evaluate.read_state(w.engine, w.job)).state)
  end)
end)
