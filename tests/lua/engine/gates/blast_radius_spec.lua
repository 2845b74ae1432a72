local gates = require 'lua.engine.gates.support'
local support = require 'lua.engine.support'

gates.still()

local function verdict(set, seen, more)
  local engine = gates.engine(set)
  local p = gates.plan(engine, { previews = { seen } })
  for k, v in pairs(more or {}) do p[k] = v end
  local _, message = gates.of(engine, p)
  return message
end

describe('the blast radius', function()
  after_each(gates.tidy)

  it('is at most the share of the replicas, at its very edge too', function()
    local cases = { -- share, replicas, unavailable, whether it passes
      { 0.2, 10, 2, true }, { 0.2, 10, 3, false }, { 0.2, 14, 2, true }, { 0.2, 14, 3, false },
      { 0.2, 15, 3, true }, { 0.29, 100, 29, true }, { 0.29, 100, 30, false }, { 0.5, 3, 1, true },
      { 0.5, 3, 2, false }, { 1, 3, 2, true },
    }
    for _, c in ipairs(cases) do
      local words = verdict({ blast_radius = c[1] }, gates.seen(c[2], c[2], c[3]))
      assert.equal(c[4], words == nil, ('%g of %d: %d'):format(c[1], c[2], c[3]))
    end
    assert.equal('3 of 10 pods of kubernetes/shop/Deployment/checkout would be unavailable at '
      .. 'once; guardrails.blast_radius of 0.2 allows 2',
      verdict({ blast_radius = 0.2 }, gates.seen(10, 10, 3)))
  end)

  it('is at least one, but never the last that is ready', function()
    assert.is_nil(verdict({ blast_radius = 0.2 }, gates.seen(2, 2)))
    assert.equal('1 of 1 pods of kubernetes/shop/Deployment/checkout would be unavailable at once, '
      .. 'and 1 are ready: the last ready one stays', verdict({}, gates.seen(1, 1)))
    assert.matches('the last ready one', verdict({}, gates.seen(3, 1)))
    assert.matches('the last ready one', verdict({}, gates.seen(3, 2, 2)))
    assert.matches('the last ready one', verdict({}, gates.seen(3, 3, 3)))
    assert.is_nil(verdict({}, gates.seen(3, 2)))
    assert.matches('the last ready one', verdict({}, gates.seen(3, 0)))
  end)

  it('lets a pod be restarted that is not ready anyway', function()
    assert.is_nil(verdict({}, gates.seen(1, 0, 0)))
  end)

  it('is a count, too, where the operator sets one', function()
    assert.is_nil(verdict({ max_unavailable = 1 }, gates.seen(10, 10, 1)))
    assert.matches('allows 1 (guardrails.max_unavailable is 1)',
      verdict({ max_unavailable = 1 }, gates.seen(10, 10, 2)), 1, true)
    assert.matches('allows 0', verdict({ max_unavailable = 0 }, gates.seen(10, 10)))
    assert.matches('allows 2', verdict({ max_unavailable = 5, blast_radius = 0.2 },
      gates.seen(10, 10, 3)))
  end)

  it('is not known of what nobody has looked at', function()
    assert.equal('action 1 (kubernetes.restart): nobody has looked at what it would do: there is '
      .. 'no preview', verdict({}, {}))
    assert.matches('there is no preview', verdict({}, nil, { previews = {} }))
    local blind = gates.seen(10, 10)
    blind.ready = nil
    assert.matches('does not say how many replicas there are', verdict({}, blind))
    local engine = gates.engine()
    assert.is_nil(gates.of(engine, gates.plan(engine, { actions = { gates.request() },
      previews = {} })))
  end)

  it('leaves a rolling restart to the workload\'s own maxUnavailable', function()
    local rolling = gates.seen(1, 1)
    rolling.unavailable = nil
    assert.is_nil(verdict({ blast_radius = 0.2 }, rolling))
  end)

  it('counts what other plans under way take from the same workload', function()
    local engine = gates.engine { blast_radius = 0.2 }
    local other = gates.plan(engine, { state = 'executing',
      actions = { gates.restart { pod = 'checkout-2' } } })
    assert.is_nil(gates.of(engine, gates.plan(engine))) -- two of ten
    local third = gates.plan(engine, { state = 'executing',
      actions = { gates.restart { pod = 'checkout-3' } } })
    local gate, message = gates.of(engine, gates.plan(engine))
    assert.equal('blast_radius', gate)
    assert.matches('3 of 10 pods .* at once, 2 of them by other plans under way', message)
    assert.is_nil(gates.of(engine, gates.plan(engine,
      { previews = { gates.seen(10, 10, 1, 'kubernetes/shop/Deployment/cart') } })))
    gates.done(engine, { plan = other.id, state = 'started' })
    assert.equal('blast_radius', (gates.of(engine, gates.plan(engine))))
    engine.store:exec("update actions set state = 'succeeded', ended_at = 1 where plan_id = ?",
      other.id)
    assert.is_nil(gates.of(engine, gates.plan(engine)))
    engine.store:exec("update plans set state = 'executed' where id = ?", third.id)
    assert.is_nil(gates.of(engine, gates.plan(engine)))
  end)

  it('of a plan\'s own actions that are awaited is that of the largest', function()
    local two = { actions = { gates.restart(), gates.restart { pod = 'checkout-2' } },
      previews = { gates.seen(5, 5), gates.seen(5, 5) } }
    assert.is_nil(verdict({ blast_radius = 0.2 }, nil, two))
  end)

  it('is looked at again before each action, by what was seen just then', function()
    local engine = gates.engine { blast_radius = 0.2 }
    local p = gates.plan(engine, { state = 'executing',
      actions = { gates.restart(), gates.restart { pod = 'checkout-2' } },
      previews = { gates.seen(5, 5), gates.seen(5, 5) } })
    assert.is_nil(gates.of(engine, p, 'between', 1))
    gates.done(engine, { plan = p.id })
    assert.is_nil(gates.of(engine, p, 'between', 2))
    p.previews[2] = gates.seen(5, 1)
    local gate, message = gates.of(engine, p, 'between', 2)
    assert.equal('blast_radius', gate)
    assert.matches('1 are ready: the last ready one stays', message)
  end)

  it('never lets the last ready one go, nor more than is allowed, whatever the numbers', function()
    local random = support.random(7)
    for _ = 1, 400 do
      local replicas = random(12)
      local ready, n = random(replicas + 1) - 1, random(replicas)
      local share = random(100) / 100
      if verdict({ blast_radius = share }, gates.seen(replicas, ready, n)) == nil then
        assert.is_true(ready - n >= 1)
        assert.is_true(n <= 1 or n <= share * replicas + 1e-9)
      end
    end
  end)
end)
