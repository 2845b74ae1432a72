local gates = require 'lua.engine.gates.support'

gates.still()

local function refused(set, action)
  local engine = gates.engine(set)
  local p = gates.plan(engine, { actions = { gates.request(), action },
    previews = { {}, gates.seen(10, 10) } })
  for _, when in ipairs { 'at_planning', 'at_start', 'between' } do
    local gate, message = gates.of(engine, p, when)
    if gate and gate ~= 'scope' then error(gate .. ': ' .. message) end
    if when ~= 'at_planning' then assert.equal(gates.of(engine, p, 'at_planning'), gate) end
    if when == 'between' then return message end
  end
end

describe('the scope', function()
  after_each(gates.tidy)

  it('is nothing until the operator names a namespace', function()
    assert.equal('action 2 (kubernetes.restart): shop is not in guardrails.namespaces (none)',
      refused({ namespaces = {} }, gates.restart()))
    assert.is_nil(refused({ namespaces = { 'cart', 'shop' } }, gates.restart()))
    assert.equal('action 2 (kubernetes.restart): shop is not in guardrails.namespaces (cart)',
      refused({ namespaces = { 'cart' } }, gates.restart()))
  end)

  it('goes by whole names, and by patterns where there is a star', function()
    local function of(list, namespace)
      return refused({ namespaces = list },
        gates.restart { pod = 'a', namespace = namespace }) == nil
    end
    assert.is_false(of({ 'shop' }, 'shop-2'))
    assert.is_false(of({ 'shop' }, 'a-shop'))
    assert.is_false(of({ 'sho.' }, 'shop'))
    assert.is_true(of({ 'team-*' }, 'team-a'))
    assert.is_false(of({ 'team-*' }, 'team'))
    assert.is_false(of({ 'team-*' }, 'my-team-a'))
    assert.is_true(of({ '*-prod' }, 'shop-prod'))
  end)

  it('has the kinds of workloads, and what else the operator names', function()
    for _, args in ipairs { { pod = 'a' }, { deployment = 'a' }, { statefulset = 'a' },
      { daemonset = 'a' } } do
      assert.is_nil(refused({}, gates.restart(args)))
    end
    assert.equal('action 2 (kubernetes.restart): Deployment is not in guardrails.kinds (Pod)',
      refused({ kinds = { 'Pod' } }, gates.restart { deployment = 'a' }))
    assert.equal('action 2 (kubernetes.restart): Pod is not in guardrails.kinds (none)',
      refused({ kinds = {} }, gates.restart()))
  end)

  it('has what lies in no namespace only where its kind is named', function()
    local cordon = { name = 'kubernetes.cordon', args = { node = 'node-1' } }
    assert.matches('Node is not in guardrails.kinds (Pod, ', refused({}, cordon), 1, true)
    assert.is_nil(refused({ kinds = { 'Node' }, namespaces = {} }, cordon))
  end)

  it('has all names, or those that the operator lists; an empty list is none', function()
    assert.is_nil(refused({ names = { 'checkout-*' } }, gates.restart { pod = 'checkout-1' }))
    assert.equal('action 2 (kubernetes.restart): cart-1 is not in guardrails.names (checkout-*)',
      refused({ names = { 'checkout-*' } }, gates.restart { pod = 'cart-1' }))
    assert.equal('action 2 (kubernetes.restart): cart-1 is not in guardrails.names (none)',
      refused({ names = {} }, gates.restart { pod = 'cart-1' }))
  end)

  it('has no object without a name', function()
    local registry = require 'actions.registry'
    local definition = registry.get 'kubernetes.restart'
    local own = definition.scope
    for _, object in ipairs { { namespace = 'shop', kind = 'Pod', name = '' },
      { namespace = 'shop', kind = '', name = 'a' }, {} } do
      definition.scope = function() return object end
      local ok, message = pcall(refused, {}, gates.restart())
      definition.scope = own
      assert.is_true(ok, message)
      assert.equal('action 2 (kubernetes.restart): it names no object', message)
    end
  end)
end)
