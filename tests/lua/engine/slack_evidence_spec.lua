local async = require 'async'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local slack_evidence = require 'engine.slack_evidence'
local slack_outbox = require 'engine.slack_outbox'
local story = require 'engine.story'
local slack_support = require 'lua.engine.slack_support'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "query_a", detector = threshold { above = 1 }, labels = { team = "shop" } }
signal "b" { query = "query_b", detector = threshold { above = 1 } }
incident "odd" { signals = { "a", "b" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "human_approve",
  plan = { notify { text = "x" } } }
playbook "measured" { when = metric { query = "query_c" }, trust = "human_approve",
  plan = { notify { text = "y" } } }
]]

local function series(labels, from, to)
  local y = {}
  for i = 0, 59 do y[#y + 1] = from + (to - from) * i / 59 end
  return { labels = labels, ds = {}, y = y }
end

local function world(anomalies)
  local engine = slack_support.engine { rules = RULES }
  local p = slack_support.plan(engine)
  engine.store:exec('update incidents set data = ?', json.encode { labels = {}, episode = 1,
    anomalies = json.array(anomalies) })
  return engine, p
end

describe('the evidence for a plan', function()
  after_each(support.tidy)

  it('has the last hour of each signal as a line, by its labels', function()
    local engine, p = world {
      { signal = 'a', labels = { app = 'x', team = 'shop' }, value = 5, reason = '5 is above 1' },
      { signal = 'a', labels = { app = 'y', team = 'shop' }, value = 6 },
      { signal = 'b', labels = {}, value = 7 } }
    engine.source.ranges.query_a = function(from, to)
      assert.same({ clock.now() - 3600, clock.now() }, { from, to })
      return { series({ app = 'y' }, 9, 0), series({ app = 'x' }, 0, 9) }
    end
    engine.source.ranges.query_b = { message = 'down' }
    local seen = slack_evidence.of(engine, p)
    assert.equal(3, #seen)
    assert.matches('^▁.*█$', seen[1].sparkline)
    assert.matches('^█.*▁$', seen[2].sparkline)
    assert.equal('', seen[3].sparkline)
    assert.same({ 'a', 5, '5 is above 1' }, { seen[1].signal, seen[1].value, seen[1].reason })
    assert.same({ 'query_a', 'query_b' }, engine.source.asked) -- each query once
    slack_support.settle(engine)
    assert.truthy(json.encode(engine.slack.of('chat.postMessage')[1].blocks):find('▁'))
  end)

  it('does not wait for a source that does not answer', function()
    local engine, p = world { { signal = 'a', labels = {}, value = 5 } }
    engine.source.query_range = function() async.sleep(1e6) end
    local seen
    local t = async.spawn(function() seen = slack_evidence.of(engine, p) end)
    support.turns()
    clock.advance(5)
    t:await()
    assert.equal('', seen[1].sparkline)
  end)

  it('is the series that a metric trigger fired for', function()
    local engine = slack_support.engine { rules = RULES }
    local p = slack_support.plan(engine, { playbook = 'measured', target = '{app="x"}' })
    engine.store:exec 'update plans set incident_id = null'
    p.incident_id = nil
    p.target = require('prometheus').label_key { app = 'x' }
    engine.store:exec([[insert into signals (name, state) values ('playbook/measured', ?)]],
      json.encode { series = {
        one = { labels = { app = 'w' }, value = 1 },
        two = { labels = { app = 'x' }, value = 4, reason = '4 is there' } } })
    engine.source.ranges.query_c = { series({ app = 'x' }, 1, 2) }
    local seen = slack_evidence.of(engine, p)
    assert.same({ 1, 'measured', 4, '4 is there' },
      { #seen, seen[1].signal, seen[1].value, seen[1].reason })
    assert.matches('█$', seen[1].sparkline)
  end)

  it('is the alert that was the trigger, or whatever else it was', function()
    local engine = slack_support.engine { rules = RULES }
    local function told(event)
      local p = slack_support.plan(engine, { playbook = 'measured', target = 'x',
        story = { trigger = story.trigger(event) } })
      p.incident_id = nil
      return slack_evidence.of(engine, p)[1]
    end
    local seen = told { trigger = 'alert', name = 'HighErrorRate', labels = { app = 'x' },
      annotations = { description = 'more words', summary = '5 % <!channel>' },
      since = '2026-01-01T00:00:00.000Z', source = 'alertmanager' }
    assert.same({ 'HighErrorRate', 'x', '5 % <!channel>, since 2026-01-01T00:00:00.000Z, '
      .. 'told by alertmanager' }, { seen.signal, seen.labels.app, seen.reason })
    seen = told { trigger = 'every', labels = {}, time = 7 }
    assert.same({ 'every', '' }, { seen.signal, seen.reason })
    assert.equal('value 0.5', told { trigger = 'forecast', labels = {}, value = 0.5 }.reason)
    slack_support.settle(engine, 1)
  end)

  it('is none where nothing is known, and looked up once', function()
    local engine = slack_support.engine { rules = RULES }
    local p = slack_support.plan(engine)
    slack_support.settle(engine, 3)
    assert.equal('[]', slack_outbox.message(engine.store, p.id).content)
  end)
end)
