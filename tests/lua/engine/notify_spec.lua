local async = require 'async'
local clock = require 'perigee.clock'
local metrics = require 'engine.metrics'
local notify = require 'engine.notify'
local support = require 'lua.engine.support'

support.still()

local PLAN = { id = 'plan-1', playbook = 'mend', incident_id = 'inc-1' }

--- An engine with an Alertmanager that says what w.answer says.
local function world()
  local engine = support.engine()
  engine.store:exec([[insert into incidents
    (id, name, group_key, state, opened_at, updated_at, data) values ('inc-1', 'odd', '', 'open',
    ?, ?, '{"labels":{"app":"shop","plan":"x"},"anomalies":[],"episode":1}')]], clock.now(),
    clock.now())
  local w = { engine = engine, told = {}, answer = true }
  engine.alertmanager = { post = function(_, alerts)
    w.told[#w.told + 1] = alerts[1]
    if w.wait then w.wait:wait() end
    if w.answer then return true end
    return nil, 'it is down'
  end }
  function w.deliver()
    notify.deliver(engine)
    support.turns()
    return #w.told
  end
  function w.waiting() return engine.store:row('select count(*) as n from pages').n end
  return w
end

describe('a call for a person', function()
  after_each(support.tidy)

  it('is an alert with the labels of the incident, told once', function()
    local w = world()
    local sent = metrics.pages:value 'sent'
    notify.page(w.engine, PLAN, 'mend: it failed')
    assert.equal(1, w.deliver())
    assert.same({ labels = { alertname = 'PerigeePage', playbook = 'mend', plan = 'plan-1',
      severity = 'critical', app = 'shop' },
      annotations = { summary = 'mend: it failed', incident = 'inc-1' },
      startsAt = clock.text(clock.now()) }, w.told[1])
    assert.equal(1, metrics.pages:value 'sent' - sent)
    clock.advance(600)
    assert.equal(1, w.deliver())
  end)

  it('is in the audit trail', function()
    local w = world()
    notify.page(w.engine, PLAN, 'mend: it failed')
    assert.same({ 'page' }, support.kinds(w.engine))
  end)

  it('is made again, each minute, until it is heard', function()
    local w = world()
    w.answer = false
    local failed = metrics.pages:value 'failed'
    notify.page(w.engine, PLAN, 'mend: it failed')
    assert.equal(1, w.deliver())
    clock.advance(59)
    assert.equal(1, w.deliver())
    clock.advance(1)
    assert.equal(2, w.deliver())
    assert.same(w.told[1], w.told[2])
    assert.equal(2, metrics.pages:value 'failed' - failed)
    w.answer = true
    clock.advance(60)
    assert.equal(3, w.deliver())
    assert.equal(0, w.waiting())
  end)

  it('is given up after a day', function()
    local w = world()
    w.answer = false
    notify.page(w.engine, PLAN, 'mend: it failed')
    clock.advance(86400)
    w.deliver()
    assert.equal(1, w.waiting())
    clock.advance(60)
    w.deliver()
    assert.equal(0, w.waiting())
  end)

  it('is not made twice at once, and again where a crash has cut it off', function()
    local w = world()
    w.wait = async.event()
    notify.page(w.engine, PLAN, 'mend: it failed')
    w.deliver()
    clock.advance(10)
    assert.equal(1, w.deliver())
    clock.advance(50)
    assert.equal(2, w.deliver()) -- the task that waits is no more, for all that is known
    w.wait:set()
    support.turns()
    assert.equal(0, w.waiting())
  end)

  it('is made at once when the clock was set back', function()
    local w = world()
    w.answer = false
    notify.page(w.engine, PLAN, 'mend: it failed')
    w.deliver()
    w.engine.store:exec('update pages set due_at = due_at + 3600')
    assert.equal(2, w.deliver())
  end)

  it('only counts where there is no Alertmanager', function()
    local w = world()
    w.engine.alertmanager = nil
    local nobody = metrics.pages:value 'nobody'
    notify.page(w.engine, PLAN, 'mend: it failed')
    assert.equal(0, w.deliver())
    assert.equal(0, w.waiting())
    assert.equal(1, metrics.pages:value 'nobody' - nobody)
  end)

  it('is there with what it is about, or neither is', function()
    local w = world()
    pcall(w.engine.store.transaction, w.engine.store, function()
      notify.page(w.engine, PLAN, 'mend: it failed')
      error 'the disk is full'
    end)
    assert.equal(0, w.deliver())
    assert.same({}, support.kinds(w.engine))
  end)
end)
