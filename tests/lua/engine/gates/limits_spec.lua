local clock = require 'perigee.clock'
local gates = require 'lua.engine.gates.support'

gates.still()

local function limits(set) return gates.engine { limits = set, blast_radius = 1 } end

local function http_plan(engine, more)
  local o = { actions = { gates.request() }, previews = {} }
  for k, v in pairs(more or {}) do o[k] = v end
  return gates.plan(engine, o)
end

describe('guardrails.limits', function()
  after_each(gates.tidy)

  it('.namespace: three actions in ten minutes unless it says otherwise', function()
    local engine = limits {}
    for i = 1, 2 do
      gates.done(engine, { position = i })
      clock.advance(1)
    end
    assert.is_nil(gates.of(engine, gates.plan(engine)))
    local id = gates.done(engine, { position = 3 })
    local gate, message = gates.of(engine, gates.plan(engine))
    assert.equal('namespace_limit', gate)
    assert.equal('guardrails.limits.namespace is 3 in 10m: 3 of shop, 1 more wanted', message)
    assert.is_nil(gates.of(engine, gates.plan(engine, { id = id }))) -- a plan does not count itself
    assert.is_nil(gates.of(engine, http_plan(engine))) -- it is in no namespace
    clock.advance(598) -- the first is 600 seconds old: it counts no more
    assert.is_nil(gates.of(engine, gates.plan(engine)))
  end)

  it('.namespace: a plan\'s own actions and those promised count', function()
    local engine = limits { namespace = { actions = 3, within = '1m' } }
    local function of(n)
      local actions, previews = {}, {}
      for i = 1, n do
        actions[i] = gates.restart { pod = 'p-' .. i }
        previews[i] = gates.seen(10, 10, 0)
      end
      return gates.plan(engine, { actions = actions, previews = previews })
    end
    assert.is_nil(gates.of(engine, of(3)))
    assert.equal('namespace_limit', (gates.of(engine, of(4))))
    gates.plan(engine, { state = 'executing' })
    assert.is_nil(gates.of(engine, of(2)))
    assert.equal('namespace_limit', (gates.of(engine, of(3))))
  end)

  it('.namespace: counts each for itself, and no look', function()
    local engine = limits { namespace = { actions = 1, within = '1h' } }
    gates.done(engine, { namespace = 'cart' })
    gates.done(engine, { name = 'verify' })
    assert.is_nil(gates.of(engine, gates.plan(engine)))
    gates.done(engine, {})
    assert.equal('namespace_limit', (gates.of(engine, gates.plan(engine))))
  end)

  it('.target: none unless it is set', function()
    local engine = limits { namespace = { actions = 100 } }
    for _ = 1, 10 do gates.done(engine, { target = 'POST http://shop:80/x', namespace = '' }) end
    assert.is_nil(gates.of(engine, http_plan(engine)))
    engine = limits { target = { actions = 2, within = '1h' } }
    gates.done(engine, { target = 'POST http://shop:80/x', namespace = '' })
    assert.is_nil(gates.of(engine, http_plan(engine)))
    gates.done(engine, { target = 'POST http://shop:80/x', namespace = '' })
    local gate, message = gates.of(engine, http_plan(engine))
    assert.equal('target_limit', gate)
    assert.equal('guardrails.limits.target is 2 in 1h: 2 of POST http://shop:80/x, 1 more wanted',
      message)
    assert.is_nil(gates.of(engine, http_plan(engine, { actions = { gates.request 'y' } })))
  end)

  it('.playbook: none unless it is set', function()
    local engine = limits { playbook = { actions = 2, within = '30m' } }
    gates.done(engine, { playbook = 'other', namespace = '' })
    gates.done(engine, { playbook = 'other', namespace = '' })
    gates.done(engine, { playbook = 'mend', namespace = '' })
    assert.is_nil(gates.of(engine, http_plan(engine)))
    gates.done(engine, { playbook = 'mend', namespace = '' })
    local gate, message = gates.of(engine, http_plan(engine))
    assert.equal('playbook_actions', gate)
    assert.equal('guardrails.limits.playbook is 2 in 30m: 2 of mend, 1 more wanted', message)
    clock.advance(1800)
    assert.is_nil(gates.of(engine, http_plan(engine)))
  end)

  it('of 0 actions allow none', function()
    local engine = limits { namespace = { actions = 0 } }
    assert.equal('namespace_limit', (gates.of(engine, gates.plan(engine))))
  end)
end)

describe('guardrails.cooldown', function()
  after_each(gates.tidy)

  local function pod(engine, name, workload)
    return gates.plan(engine, { actions = { gates.restart { pod = name } },
      previews = { gates.seen(10, 10, 1, workload) } })
  end

  it('goes by the workload, too: another pod of a Deployment is no other target', function()
    local engine = gates.engine { cooldown = '10m' }
    gates.done(engine, { plan = gates.plan(engine, { state = 'executed' }).id })
    local gate, message = gates.of(engine, pod(engine, 'checkout-2'))
    assert.equal('target_cooldown', gate)
    assert.equal('guardrails.cooldown of 10m for kubernetes/shop/Deployment/checkout: 10m left',
      message)
    assert.equal('target_cooldown', (gates.of(engine, gates.plan(engine,
      { actions = { gates.restart { deployment = 'checkout' } } }))))
    assert.is_nil(gates.of(engine, pod(engine, 'cart-1', 'kubernetes/shop/Deployment/cart')))
    clock.advance(599)
    assert.equal('target_cooldown', (gates.of(engine, pod(engine, 'checkout-2'))))
    clock.advance(1)
    assert.is_nil(gates.of(engine, pod(engine, 'checkout-2')))
  end)

  it('of the workload counts what plans under way are about to do', function()
    local engine = gates.engine { cooldown = '10m' }
    gates.plan(engine, { state = 'executing' })
    assert.matches('for kubernetes/shop/Deployment/checkout: another plan is about to act on it',
      select(2, gates.of(engine, pod(engine, 'checkout-2'))), 1, true)
  end)
end)
