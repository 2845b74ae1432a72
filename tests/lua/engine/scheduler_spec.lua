local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local incidents = require 'engine.incidents'
local metrics = require 'engine.metrics'
local plans = require 'engine.plans'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

support.still()

--- Time goes on in steps, and what is due in each is done.
local function pass(seconds, step)
  step = step or 0.5
  for _ = 1, math.floor(seconds / step + 0.5) do
    clock.advance(step)
    support.turns(6)
  end
end

--- Engines over one store that share a source; it notes the times for which it was asked.
local function world(rules, config)
  local w = { times = {}, schedulers = {} }
  w.source = support.source()
  local query = w.source.query
  function w.source.query(self, expr, time)
    w.times[expr] = w.times[expr] or {}
    table.insert(w.times[expr], time)
    return query(self, expr, time)
  end

  --- A generation begins, and the one before ends.
  function w.begin(text)
    local before = w.scheduler
    w.engine = support.engine { rules = text or rules, config = config, source = w.source,
      store = w.store }
    w.store = w.engine.store
    w.scheduler = scheduler.start(w.engine)
    local started = w.scheduler
    w.engine.poke = function() started:poke() end
    if before then before:stop() end
    support.turns(6)
  end

  w.begin()
  return w
end

local function signals(n, every)
  local out = {}
  for i = 1, n do
    out[i] = ('signal "s%d" { query = "q%d", every = "%s", detector = threshold { above = 1 } }')
      :format(i, i, every)
  end
  return table.concat(out, '\n')
end

--- Fails unless the times lie on one grid, each once, none left out.
local function assert_grid(times, every, hint)
  for i = 2, #times do
    if math.abs(times[i] - times[i - 1] - every) > 1e-6 then
      error(('%s: %.3f is followed by %.3f'):format(hint or '', times[i - 1], times[i]))
    end
  end
end

describe('the grid', function()
  after_each(support.tidy)

  it('gives every signal its slots, each once, at its own offset', function()
    local w = world(signals(8, '7s'))
    pass(140)
    w.scheduler:stop()
    local offsets, n = {}, 0
    for i = 1, 8 do
      local times = w.times['q' .. i]
      assert.is_true(#times == 20 or #times == 21, #times)
      assert_grid(times, 7)
      offsets[('%.3f'):format(times[1] % 7)] = true
    end
    for _ in pairs(offsets) do n = n + 1 end
    assert.equal(8, n)
  end)

  it('is the same after a restart, in another process', function()
    local w = world(signals(3, '10s'))
    pass(30)
    w.scheduler:stop()
    pass(100)
    local before, began = #w.times.q1, clock.now()
    w.begin()
    pass(30)
    w.scheduler:stop()
    for _, name in ipairs { 'q1', 'q2', 'q3' } do
      local times = w.times[name]
      for i = 2, #times do assert.is_true(times[i] > times[i - 1]) end
      assert.is_true(math.abs((times[#times] - times[1]) / 10 % 1) < 1e-6)
    end
    -- of what was due while nobody looked, at most the last one is evaluated
    local first = w.times.q1[before + 1]
    assert.is_true(first > began - 10 and first < began + 2)
  end)

  it('evaluates the slot\'s time, not the clock\'s', function()
    local w = world(signals(1, '10s'))
    for _ = 1, 5 do
      clock.advance(13.7)
      support.turns()
    end
    w.scheduler:stop()
    assert.is_true(#w.times.q1 >= 5)
    for i, time in ipairs(w.times.q1) do
      assert.is_true(math.abs((time - w.times.q1[1]) / 10 % 1) < 1e-6, i)
    end
    assert.is_true(w.times.q1[#w.times.q1] <= clock.now())
  end)
end)

describe('an evaluation that takes too long', function()
  after_each(support.tidy)

  it('has its next slots left out and counted, and makes nobody else late', function()
    local w = world(signals(2, '10s'))
    pass(20)
    local gate, before = async.event(), metrics.missed:value 'signal/s1'
    w.source.answers.q1 = function()
      gate:wait()
      return {}
    end
    pass(35)
    local asked = #w.times.q1
    assert_grid(w.times.q2, 10)
    w.source.answers.q1 = {}
    gate:set()
    pass(10)
    w.scheduler:stop()
    assert.equal(1, #w.times.q1 - asked) -- nothing was queued
    local gap = w.times.q1[#w.times.q1] - w.times.q1[#w.times.q1 - 1]
    assert.equal(gap / 10 - 1, metrics.missed:value 'signal/s1' - before)
    assert_grid(w.times.q2, 10)
  end)

  it('that fails by an error of ours is told, and goes on with its next slot', function()
    local w = world(signals(2, '10s'))
    local failing, before = true, metrics.internal_errors:value 'an evaluation'
    w.source.answers.q1 = function()
      if failing then error 'a bug' end
      return {}
    end
    pass(20)
    failing = false
    pass(20)
    w.scheduler:stop()
    assert_grid(w.times.q1, 10)
    assert_grid(w.times.q2, 10)
    assert.equal('ok', w.store:row "select health from signals where name = 's1'".health)
    assert.matches('an internal error', require('log').capture(true), 1, true)
    assert.equal(2, metrics.internal_errors:value 'an evaluation' - before)
  end)
end)

describe('a reload', function()
  after_each(support.tidy)

  it('leaves out no slot and evaluates none twice, whenever it comes', function()
    local w = world(signals(6, '5s'))
    local random = support.random(7)
    for _ = 1, 40 do
      pass(random(17) * 0.25, 0.25)
      w.begin()
    end
    pass(5)
    w.scheduler:stop()
    for i = 1, 6 do assert_grid(w.times['q' .. i], 5, 'q' .. i) end
    assert.is_true(#w.times.q1 > 15)
  end)

  it('does not repeat a slot whose evaluation is still under way', function()
    local w = world(signals(1, '10s'))
    pass(10)
    local gate = async.event()
    w.source.answers.q1 = function()
      gate:wait()
      return {}
    end
    pass(10)
    local asked = #w.times.q1
    w.begin()
    w.begin()
    assert.equal(asked, #w.times.q1)
    w.source.answers.q1 = {}
    gate:set()
    pass(20)
    w.scheduler:stop()
    assert_grid(w.times.q1, 10)
  end)

  it('to another interval goes on at once, on the new grid', function()
    local w = world(signals(1, '60s'))
    pass(120)
    local from = #w.times.q1
    w.begin(signals(1, '5s'))
    pass(30)
    w.scheduler:stop()
    local times = { table.unpack(w.times.q1, from + 1) }
    assert.is_true(#times >= 5)
    assert_grid({ table.unpack(times, 2) }, 5)
  end)

  it('stops the generation before: it begins nothing more', function()
    local w = world(signals(1, '5s'))
    pass(20)
    w.scheduler:stop()
    local asked = #w.times.q1
    pass(60)
    assert.equal(asked, #w.times.q1)
  end)
end)

local JOB = signals(2, '5s') .. [[
  incident "odd" { signals = { "s1", "s2" }, min_signals = 2, within = "1m" }
  playbook "mend" { when = incident "odd", trust = "%s", approval_expires = "1m",
    plan = { http.request { method = "POST", url = "http://shop/rollback" } } }
]]
local ALLOWED = { guardrails = { dry_run = false, http = { { url_prefix = 'http://shop/' } } } }

describe('the main job', function()
  after_each(support.tidy)

  local function states(w)
    local out = {}
    for _, p in ipairs(plans.list(w.store, 10)) do out[#out + 1] = p.state end
    return table.concat(out, ' ')
  end

  local function job(trust)
    local w, sent = world(JOB:format(trust), ALLOWED), {}
    http.request = function(request)
      sent[#sent + 1] = request.url
      return { status = 200, seconds = 0, body = '', headers = {} }
    end
    w.source.answers.q1 = { { {}, 5 } }
    w.source.answers.q2 = { { {}, 5 } }
    return w, sent
  end

  it('goes by itself from odd signals to the action and to the end of the incident', function()
    local w, sent = job 'auto'
    pass(10)
    assert.same({ 'http://shop/rollback' }, sent)
    assert.equal('executed', states(w))
    assert.equal('mitigating', incidents.active(w.store)[1].state)
    w.source.answers.q1, w.source.answers.q2 = { { {}, 0 } }, { { {}, 0 } }
    pass(10)
    w.scheduler:stop()
    assert.equal(0, #incidents.active(w.store))
    assert.equal(1, #sent)
  end)

  it('waits for a person, over reloads, and begins as soon as one has decided', function()
    local w, sent = job 'human_approve'
    pass(10)
    w.begin()
    w.begin()
    pass(10)
    assert.same({ {}, 'pending' }, { sent, states(w) })
    local p = plans.list(w.store, 1)[1]
    local approvals = require 'engine.approvals'
    assert.truthy(approvals.decide(w.engine, p.id, 'approved',
      { who = 'alice', via = 'api', digest = p.digest }))
    w.engine.poke()
    support.turns()
    w.scheduler:stop()
    assert.same({ 1, 'executed' }, { #sent, states(w) })
  end)

  it('lets a plan expire that nobody decides about', function()
    local w = job 'human_approve'
    pass(75)
    w.scheduler:stop()
    assert.equal('expired', states(w))
  end)

  it('tells Alertmanager when help did not come of it', function()
    local w, told = job 'auto', {}
    w.engine.alertmanager = { silences = function() return {} end, post = function(_, alerts)
      told[#told + 1] = alerts[1].labels.playbook
      return true
    end }
    http.request = function() return nil, 'nobody answers', 'timeout' end
    pass(10)
    w.scheduler:stop()
    assert.same({ { 'mend' }, 'unknown' }, { told, states(w) })
  end)

  it('goes on where a reload came while its signals were evaluated, not with their next slot',
    function()
      local text = JOB:format('auto'):gsub('every = "%w+"', 'every = "1h"')
      local w, gate = world(text, ALLOWED), async.event()
      http.request = function() return { status = 200, seconds = 0, body = '', headers = {} } end
      w.source.answers.q1 = function()
        gate:wait()
        return { { {}, 5 } }
      end
      w.source.answers.q2 = w.source.answers.q1
      w.store:exec 'delete from signals' -- as if never evaluated
      w.begin()
      pass(10)
      local asked = #w.times.q1 + #w.times.q2
      w.begin()
      gate:set()
      pass(5)
      w.scheduler:stop()
      assert.same({ 'executed', asked }, { states(w), #w.times.q1 + #w.times.q2 })
    end)

  it('acts by the rules of now: a generation that is stopped makes no plan any more', function()
    local w, sent = job 'auto'
    local gate = async.event()
    w.source.answers.q1 = function()
      gate:wait()
      return { { {}, 5 } }
    end
    w.source.answers.q2 = w.source.answers.q1
    pass(10)
    w.begin(JOB:format 'manual_only') -- while both evaluations wait for their answers
    w.source.answers.q1, w.source.answers.q2 = { { {}, 5 } }, { { {}, 5 } }
    gate:set()
    pass(20)
    w.scheduler:stop()
    assert.same({ {}, '' }, { sent, states(w) })
    assert.equal(1, #incidents.active(w.store))
  end)
end)

describe('a clock that is set back', function()
  after_each(support.tidy)

  it('does not keep signals from being evaluated, nor those of the next generation', function()
    local w = world(signals(2, '10s'))
    pass(30)
    local now <const>, back = clock.now, 0
    clock.now = function() return now() - back end
    for round = 1, 2 do
      back = round * 7200
      if round == 2 then w.begin() end
      w.times = {}
      pass(60)
      for _, name in ipairs { 'q1', 'q2' } do
        assert.is_true(#w.times[name] >= 5, name)
        assert_grid(w.times[name], 10, name)
      end
    end
    w.scheduler:stop()
    clock.now = now
  end)

  it('does not keep the sweep from looking at plans', function()
    local w = world(JOB:format 'human_approve', ALLOWED)
    w.source.answers.q1, w.source.answers.q2 = { { {}, 5 } }, { { {}, 5 } }
    pass(10)
    local now, back = clock.now, 0
    clock.now = function() return now() - back end
    back = 3600
    w.store:exec("update plans set expires_at = ?", clock.now() + 2)
    pass(5)
    w.scheduler:stop()
    clock.now = now
    assert.equal('expired', plans.list(w.store, 1)[1].state)
  end)
end)

describe('the sweep', function()
  after_each(support.tidy)

  it('brings a declaration in line once, however many of its incidents are open', function()
    local w = world [[
signal "s" { query = "q", every = "1h", detector = threshold { above = 1 } }
incident "odd" { signals = { "s" }, min_signals = 1, group_by = { "app" } }]]
    w.source.answers.q = {}
    for i = 1, 20 do w.source.answers.q[i] = { { app = 'a' .. i }, 5 } end
    pass(3600, 60)
    assert.equal(20, #incidents.active(w.store))
    local converge, n = incidents.converge, 0
    rawset(incidents, 'converge', function(...)
      n = n + 1
      return converge(...)
    end)
    w.scheduler:sweep()
    rawset(incidents, 'converge', converge)
    w.scheduler:stop()
    assert.equal(1, n)
  end)
end)

describe('a group of rules', function()
  after_each(support.tidy)

  local GROUP = [[
groups:
- name: g
  interval: 10s
  rules:
  - { record: r, expr: q1 }
  - { alert: Down, expr: q2 }
- { name: other, interval: 10s, rules: [ { record: o, expr: q3 } ] }
]]
  local FILES = { ['a.yaml'] = GROUP, ['b.lua'] =
    'incident "out" { signals = { "Down" }, min_signals = 1, group_by = { "app" } }' }

  it('is evaluated on its grid, its rules for the same time, and its alerts open incidents',
    function()
      local w = world(FILES)
      pass(60)
      assert.equal(0, #incidents.active(w.store))
      w.source.answers.q2 = { { { app = 'shop' }, 1 } }
      pass(11)
      local incident = incidents.active(w.store)[1]
      assert.same({ app = 'shop' }, incident.labels)
      w.source.answers.q2 = {}
      pass(11)
      w.scheduler:stop()
      assert.equal(0, #incidents.active(w.store))
      assert_grid(w.times.q1, 10)
      assert.same(w.times.q1, w.times.q2)
      assert.not_equal(w.times.q1[1] % 10, w.times.q3[1] % 10)
    end)

  it('goes on with its grid and its alerts after a reload', function()
    local w = world(FILES)
    w.source.answers.q2 = { { { app = 'shop' }, 1 } }
    pass(30)
    local opened = incidents.active(w.store)[1].opened_at
    w.begin { ['a.yaml'] = GROUP:gsub('expr: q1', 'expr: q4'), ['b.lua'] = FILES['b.lua'] }
    pass(30)
    w.scheduler:stop()
    assert_grid(w.times.q2, 10)
    assert.equal(opened, incidents.active(w.store)[1].opened_at)
    assert.equal(1, #incidents.list(w.store, 10))
  end)
end)
