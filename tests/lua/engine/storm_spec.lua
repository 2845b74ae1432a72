local clock = require 'perigee.clock'
local gates = require 'lua.engine.gates.support'
local metrics = require 'engine.metrics'
local storm = require 'engine.storm'
local support = require 'lua.engine.support'

gates.still()

local n = 0
local function incidents(engine, count)
  for _ = 1, count do
    n = n + 1
    engine.store:exec([[insert into incidents (id, name, group_key, state, opened_at, updated_at,
      data) values (?, 'odd', ?, 'open', ?, ?, '{}')]], 'inc-' .. n, n, clock.now(), clock.now())
  end
end

local function gate_of(engine, when)
  return gates.of(engine,
    gates.plan(engine, { actions = { gates.request() }, previews = {} }), when)
end

describe('a storm', function()
  after_each(gates.tidy)

  it('is more incidents than are allowed, and stops all that is about to act', function()
    local engine = gates.engine()
    incidents(engine, 10)
    assert.is_nil(gate_of(engine))
    incidents(engine, 1)
    for _, when in ipairs { 'at_start', 'between' } do
      local gate, message = gate_of(engine, when)
      assert.equal('storm', gate)
      assert.equal('a storm has stopped all automation: 11 incidents within 10m; '
        .. 'guardrails.storm allows 10', message)
    end
    assert.is_nil(gate_of(engine, 'at_planning')) -- plans are made and shown
  end)

  it('pages once, however often it is looked at', function()
    local engine = gates.engine()
    local before = metrics.pages:value 'nobody'
    incidents(engine, 11)
    for _ = 1, 5 do storm.look(engine) end
    incidents(engine, 5)
    storm.look(engine)
    assert.equal(1, metrics.pages:value 'nobody' - before)
    assert.same({ 'storm', 'page' }, support.kinds(engine))
  end)

  it('is over when there are no more than half as many', function()
    local engine = gates.engine()
    incidents(engine, 5)
    clock.advance(60)
    incidents(engine, 6)
    assert.equal('storm', (gate_of(engine)))
    clock.advance(540) -- the first five are ten minutes old: six are left
    assert.equal('storm', (gate_of(engine)))
    clock.advance(59)
    assert.is_true(storm.view(engine).on)
    clock.advance(1)
    assert.is_nil(gate_of(engine))
    assert.same({ on = false, reason = '0 incidents within 10m; guardrails.storm allows 10' },
      storm.view(engine))
    assert.same({ 'storm', 'page', 'storm' }, support.kinds(engine))
  end)

  it('is ended by a person: what has been counts no more', function()
    local engine = gates.engine()
    assert.is_false(storm.stop(engine, 'alice'))
    incidents(engine, 20)
    assert.equal('storm', (gate_of(engine)))
    assert.is_true(storm.stop(engine, 'alice'))
    assert.is_nil(gate_of(engine))
    clock.advance(1)
    incidents(engine, 10)
    assert.is_nil(gate_of(engine))
    incidents(engine, 1)
    assert.equal('storm', (gate_of(engine)))
  end)

  it('goes by what the operator says', function()
    local engine = gates.engine { storm = { incidents = 1, within = '10s' } }
    incidents(engine, 1)
    assert.is_nil(gate_of(engine))
    clock.advance(9)
    incidents(engine, 1)
    assert.equal('storm', (gate_of(engine)))
    engine = gates.engine { storm = { incidents = 1, within = '10s' } }
    incidents(engine, 1)
    clock.advance(10)
    incidents(engine, 1)
    assert.is_nil(gate_of(engine))
  end)
end)
