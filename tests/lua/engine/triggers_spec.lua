local alert_rules = require 'engine.alert_rules'
local alertmanager = require 'alertmanager'
local alerts = require 'engine.alerts'
local calendar = require 'perigee.calendar'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local occurrences = require 'engine.occurrences'
local plans = require 'engine.plans'
local playbooks = require 'engine.playbooks'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'
local time_triggers = require 'engine.time_triggers'
local triggers = require 'engine.triggers'

support.still()
after_each(support.tidy)

local PLAN = [[function(e)
  local since = e.since or "-"
  return { http.request { method = "POST", url = "http://shop/", body = e.trigger .. " "
    .. (e.labels.app or "-") .. " " .. (e.source or "-") .. " " .. since } }
end ]]

--- An engine with a playbook of this trigger, whose plans tell what they were given.
local function world(when, o)
  o = o or {}
  o.rules = ('playbook "p" { when = %s, trust = "recommend", plan = %s }'):format(when, PLAN)
  local engine = support.engine(o)
  triggers.start(engine)
  return engine
end

--- What the plans were made for, the oldest first.
local function asked(engine)
  local out = {}
  for i, p in ipairs(plans.list(engine.store, 100)) do out[i] = p.actions[1].args.body end
  table.sort(out)
  return out
end

--- An alert as the webhook keeps it.
local function tell(engine, labels, since, status)
  labels.alertname = labels.alertname or 'Down'
  assert(alerts.receive(engine, { { fingerprint = alertmanager.fingerprint(labels),
    starts_at = ('%.6f'):format(since), status = status or 'firing', labels = labels,
    annotations = {}, generator_url = '' } }))
end

--- An alert as the source lists it.
local function listed(labels, since, state)
  labels.alertname = 'Down'
  return { labels = labels, annotations = {}, state = state or 'firing', value = '1e+00',
    activeAt = clock.text(since) }
end

local function look(engine)
  clock.advance(30)
  triggers.look(engine)
  triggers.look(engine) -- what the source has said meanwhile
end

local NOW <const> = support.START

describe('an alert', function()
  it('of the webhook is a trigger once, whatever comes in between', function()
    local path = support.folder() .. '/perigee.db'
    local engine = world('alert "Down" { app = "shop" }', { path = path })
    tell(engine, { app = 'shop' }, NOW)
    tell(engine, { app = 'other' }, NOW)
    tell(engine, { app = 'shop', alertname = 'Else' }, NOW)
    look(engine)
    local first = 'alert shop alertmanager ' .. clock.text(NOW)
    assert.same({ first }, asked(engine))
    tell(engine, { app = 'shop' }, NOW)
    look(engine)
    engine.store:close()
    -- After a crash, and by rules that have been loaded again.
    engine = world('alert "Down" { app = "shop" }', { path = path })
    look(engine)
    assert.same({ first }, asked(engine))
    tell(engine, { app = 'shop' }, NOW, 'resolved')
    tell(engine, { app = 'shop' }, NOW + 5)
    look(engine)
    assert.same({ first, 'alert shop alertmanager ' .. clock.text(NOW + 5) }, asked(engine))
  end)

  it('that fires already is a trigger for rules that come later', function()
    local path = support.folder() .. '/perigee.db'
    local engine = world('alert "Else"', { path = path })
    tell(engine, { app = 'shop' }, NOW)
    look(engine)
    assert.same({}, asked(engine))
    engine.store:close()
    engine = world('alert "Down"', { path = path })
    look(engine)
    assert.equal(1, #asked(engine))
  end)

  it('that is over before anybody was asked is none', function()
    local engine = world 'alert "Down"'
    tell(engine, { app = 'shop' }, NOW)
    tell(engine, { app = 'shop' }, NOW, 'resolved')
    look(engine)
    assert.same({}, asked(engine))
  end)

  it('of the source is a trigger from when it fires', function()
    local engine = world 'alert "Down"'
    engine.source.alerts = { listed({ app = 'shop' }, NOW - 60, 'pending'),
      { labels = 5, state = 'firing' }, 7 }
    look(engine)
    assert.same({}, asked(engine))
    engine.source.alerts[1].state = 'firing'
    look(engine)
    assert.same({ 'alert shop prometheus ' .. clock.text(NOW - 60) }, asked(engine))
    look(engine)
    assert.equal(1, #asked(engine))
    engine.source.alerts[1].activeAt = clock.text(NOW + 100)
    look(engine)
    assert.equal(2, #asked(engine))
  end)

  it('that comes by the source and by the webhook is one', function()
    for _, first in ipairs { 'source', 'webhook' } do
      local engine = world 'alert "Down"'
      local function by_source() engine.source.alerts = { listed({ app = 'shop' }, NOW - 60) } end
      local function by_webhook() tell(engine, { app = 'shop', cluster = 'eu' }, NOW) end
      if first == 'source' then by_source() else by_webhook() end
      look(engine)
      assert.equal(1, #asked(engine))
      by_source()
      by_webhook()
      look(engine)
      assert.equal(1, #asked(engine))
      -- Over and there again, before Alertmanager has told so: another one, by either way.
      engine.source.alerts = { listed({ app = 'shop' }, NOW + 100) }
      look(engine)
      assert.equal(2, #asked(engine))
      tell(engine, { app = 'shop', cluster = 'eu' }, NOW + 120)
      look(engine)
      assert.equal(2, #asked(engine))
      -- Of another series: another.
      tell(engine, { app = 'cart', cluster = 'eu' }, NOW + 120)
      look(engine)
      assert.equal(3, #asked(engine))
    end
  end)

  it('of our own rule groups is a trigger, and the same when it comes back by Alertmanager',
    function()
      local engine = world 'alert "Down"'
      local active = stub(alert_rules, 'active')
      local alert = { name = 'Down', labels = { alertname = 'Down', app = 'shop' }, value = 5,
        annotations = {}, state = 'pending', active_at = NOW }
      active.returns { alert }
      look(engine)
      assert.same({}, asked(engine))
      alert.state, alert.fired_at = 'firing', NOW + 30
      look(engine)
      tell(engine, { app = 'shop', cluster = 'eu' }, NOW + 30)
      look(engine)
      active:revert()
      assert.same({ 'alert shop rules ' .. clock.text(NOW) }, asked(engine))
    end)

  it('stays as it is while the source does not answer', function()
    local engine = world 'alert "Down"'
    engine.source.alerts = { listed({ app = 'shop' }, NOW - 60) }
    look(engine)
    function engine.source.get() return nil, { message = 'away', kind = 'connection' } end
    look(engine)
    assert.equal(1, #engine.source_alerts)
    assert.equal(1, #asked(engine))
  end)
end)

describe('what playbooks were asked about', function()
  it('is forgotten a week after it was there last', function()
    local engine = world 'alert "Down"'
    tell(engine, { app = 'shop' }, NOW)
    tell(engine, { app = 'cart' }, NOW)
    look(engine)
    tell(engine, { app = 'cart' }, NOW, 'resolved')
    local function known() return engine.store:row('select count(*) as n from occurrences').n end
    assert.equal(2, known())
    clock.advance(8 * 86400)
    occurrences.prune(engine)
    assert.equal(1, known())
  end)
end)

describe('a signal, as a trigger', function()
  it('asks for each series that fires, once', function()
    local engine = support.engine { rules = [[
      signal "s" { query = "q", detector = threshold { above = 1 } }
      playbook "p" { when = signal "s", trust = "recommend", plan = ]] .. PLAN .. '}' }
    local function fires(app, at, state)
      return { labels = { app = app }, annotations = {}, state = state or 'firing', value = 5,
        fired_at = at }
    end
    local def = engine.rules.playbooks.p
    local state = { series = { a = fires('shop', NOW), b = fires('cart', NOW, 'pending') } }
    playbooks.consider_firing(engine, def, state)
    playbooks.consider_firing(engine, def, state)
    assert.same({ 'signal shop prometheus ' .. clock.text(NOW) }, asked(engine))
    state.series.a = fires('shop', NOW, 'inactive')
    state.series.b = fires('cart', NOW + 9)
    playbooks.consider_firing(engine, def, state)
    state.series.a = fires('shop', NOW + 20)
    playbooks.consider_firing(engine, def, state)
    assert.equal(3, #asked(engine))
  end)
end)

describe('what fired when the process ended', function()
  it('is offered when it starts again, not with the next evaluation', function()
    local engine = support.engine { rules = [[
      signal "s" { query = "q", every = "1h", detector = threshold { above = 1 } }
      playbook "p" { when = signal "s", trust = "recommend", plan = ]] .. PLAN .. '}' }
    local now = clock.now()
    engine.store:exec([[insert into signals (name, claimed_at, evaluated_at, health, state)
      values ('s', ?1, ?1, 'ok', ?2)]], now, json.encode { series = { a = { state = 'firing',
      labels = { app = 'shop' }, annotations = {}, value = 5, fired_at = now } } })
    local s = scheduler.start(engine)
    support.turns()
    s:stop()
    assert.same({ 'signal shop prometheus ' .. clock.text(now) }, asked(engine))
  end)
end)

describe('a time', function()
  it('is a trigger on the grid, from the next one on', function()
    local path = support.folder() .. '/perigee.db'
    local engine = world('every "5m"', { path = path })
    local function times() return #asked(engine) end
    triggers.look(engine)
    assert.equal(0, times())
    clock.advance(300)
    triggers.look(engine)
    triggers.look(engine)
    local due = clock.now() // 300 * 300
    assert.same({ 'every - - ' .. clock.text(due) }, asked(engine))
    engine.store:close()
    engine = world('every "5m"', { path = path })
    triggers.look(engine)
    assert.equal(1, times())
    clock.advance(86400 + 150) -- nothing ran for a day: only what has just been due
    triggers.look(engine)
    assert.equal(2, times())
  end)

  it('that was missed for long is left out', function()
    local engine = world 'every "1h"'
    triggers.look(engine)
    clock.advance(3600 - clock.now() % 3600 + 601)
    triggers.look(engine)
    assert.same({}, asked(engine))
    clock.advance(3000)
    triggers.look(engine)
    assert.equal(1, #asked(engine))
  end)

  it('of day goes by the clock on the wall, in summer and in winter', function()
    local when = { kind = 'every', at = 3 * 3600, timezone = 'Europe/Berlin',
      days = { 'sun', 'mon' } }
    local function latest(y, m, d, h)
      return clock.text(time_triggers.latest(when, calendar.days_from_civil(y, m, d) * 86400
        + h * 3600))
    end
    assert.equal('2026-03-29T01:00:00.000Z', latest(2026, 3, 29, 2)) -- a Sunday; summer begins
    assert.equal('2026-03-30T01:00:00.000Z', latest(2026, 3, 31, 12))
    assert.equal('2026-10-19T01:00:00.000Z', latest(2026, 10, 24, 12))
    assert.equal('2026-10-25T02:00:00.000Z', latest(2026, 10, 25, 12)) -- winter begins
    assert.equal('2026-03-29T01:00:00.000Z', latest(2026, 3, 30, 0))
  end)
end)
