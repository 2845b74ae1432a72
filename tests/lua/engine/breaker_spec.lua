local breaker = require 'engine.breaker'
local clock = require 'perigee.clock'
local gates = require 'lua.engine.gates.support'
local journal = require 'engine.journal'
local support = require 'lua.engine.support'
local trust = require 'engine.trust'

gates.still()

--- A plan of a playbook whose action ends so.
local function ends(engine, state, playbook)
  local p = gates.plan(engine, { state = 'executing', playbook = playbook or 'mend',
    actions = { gates.request() }, previews = {} })
  journal.begin(engine, p, 1, 'forward', p.actions[1])
  journal.note(engine, p, 1, 'forward', p.actions[1], state, { message = state })
  engine.store:exec('update plans set state = ? where id = ?',
    state == 'succeeded' and 'executed' or state, p.id)
  return p
end

--- What the gate says of the next plan.
local function next_plan(engine, playbook, when)
  local gate, message = gates.of(engine, gates.plan(engine, { playbook = playbook or 'mend',
    actions = { gates.request() }, previews = {}, trust = 'human_approve' }), when)
  return gate, message
end

describe('the circuit breaker', function()
  after_each(gates.tidy)

  it('opens with the second plan that fails within an hour, for an hour', function()
    local engine = gates.engine()
    ends(engine, 'failed')
    assert.is_nil(next_plan(engine))
    clock.advance(3599)
    ends(engine, 'unknown')
    for _, when in ipairs { 'at_planning', 'at_start' } do
      local gate, message = next_plan(engine, nil, when)
      assert.equal('breaker', gate)
      assert.equal('the circuit breaker is open: 2 plans of mend failed within 1h; it closes in '
        .. '1h, or by "perigee trust restore"', message)
    end
    assert.equal('breaker_opened', support.kinds(engine)[#support.kinds(engine)])
    clock.advance(3599)
    assert.equal('breaker', (next_plan(engine)))
    clock.advance(1)
    assert.is_nil(next_plan(engine))
  end)

  it('counts no failures that are an hour apart, and none of other playbooks', function()
    local engine = gates.engine()
    ends(engine, 'failed')
    ends(engine, 'failed', 'other')
    clock.advance(3600)
    ends(engine, 'failed')
    assert.is_nil(next_plan(engine))
    assert.is_nil(next_plan(engine, 'other'))
  end)

  it('counts plans, not actions, and nothing that went well', function()
    local engine = gates.engine()
    for _ = 1, 5 do ends(engine, 'succeeded') end
    local p = ends(engine, 'failed')
    for i = 2, 4 do
      journal.begin(engine, p, i, 'forward', p.actions[1])
      journal.note(engine, p, i, 'forward', p.actions[1], 'failed', { message = 'failed' })
    end
    assert.is_nil(next_plan(engine))
  end)

  it('does not count plans that a gate has stopped', function()
    local engine = gates.engine()
    for _ = 1, 3 do
      gates.plan(engine, { state = 'failed', actions = { gates.request() }, previews = {} })
    end
    assert.is_nil(next_plan(engine))
  end)

  it('is closed by a person, and then counts anew', function()
    local engine = gates.engine()
    ends(engine, 'failed')
    ends(engine, 'failed')
    assert.equal('open', trust.view(engine, engine.rules.playbooks.mend).breaker)
    assert.is_true(trust.restore(engine, 'mend', 'alice'))
    assert.is_nil(next_plan(engine))
    assert.is_nil(breaker.open_until(engine, 'mend'))
    clock.advance(1)
    ends(engine, 'failed')
    assert.is_nil(next_plan(engine))
    ends(engine, 'failed')
    assert.equal('breaker', (next_plan(engine)))
  end)

  it('goes by what the operator says', function()
    local engine = gates.engine { breaker = { failures = 1, within = '1m', cool_off = '10s' } }
    ends(engine, 'failed')
    assert.equal('breaker', (next_plan(engine)))
    clock.advance(10)
    assert.is_nil(next_plan(engine))
  end)
end)
