local fakes = require 'fakes.kubernetes'
local log = require 'log'
local support = require 'lua.actions.kubernetes.support'
local still = require('lua.engine.support').still

still()
log.capture(true)

local function start(o, ...)
  return support.fake { objects = { fakes.deployment('shop/checkout', o), ... } }
end

local function scale(fake, more)
  local args = { namespace = 'shop', deployment = 'checkout' }
  for k, v in pairs(more) do args[k] = v end
  return support.action(fake, 'scale', args)
end

local function replicas(fake) return fake:get('Deployment', 'shop', 'checkout').spec.replicas end

describe('kubernetes.scale', function()
  after_each(support.tidy)

  it('takes one target and one number', function()
    local function wrong(more)
      local args = { namespace = 'shop', deployment = 'checkout', increment = 1 }
      for k, v in pairs(more) do args[k] = v end
      return support.wrong('scale', args)
    end
    assert.is_nil(wrong {})
    assert.equal('exactly one of deployment, statefulset is needed: what it acts on',
      wrong { statefulset = 'db' })
    assert.equal('exactly one of "increment" and "replicas" is needed', wrong { replicas = 3 })
    assert.equal('an increment of 0 changes nothing', wrong { increment = 0 })
    assert.equal('min is 5, more than max, 4', wrong { min = 5, max = 4 })
    for _, name in ipairs { '../secrets', 'a/b', 'A', 'a b', '', ('a'):rep(254), 'x?y' } do
      assert.matches('^deployment: expected the name', wrong { deployment = name })
      assert.matches('^namespace: expected the name', wrong { namespace = name })
    end
  end)

  it('shows what it would do, and does it', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2, max = 10 })
    local seen = a.look()
    assert.equal('scale Deployment shop/checkout from 3 to 5 replicas', seen.summary)
    assert.same({ '3 replicas', '5 replicas', '  spec.replicas: 3 → 5' },
      { seen.current, seen.proposed, seen.diff })
    assert.same({ 0, 3, 3 }, { seen.unavailable, seen.ready, seen.replicas })
    local object = fake:get('Deployment', 'shop', 'checkout')
    assert.same({ uid = object.metadata.uid, generation = '1' }, seen.observed)
    assert.equal(0, support.changes(fake))
    assert.same({ result = 'succeeded',
      message = 'Deployment shop/checkout was scaled from 3 to 5 replicas' }, a.run())
    assert.equal(5, replicas(fake))
    assert.equal('succeeded', a.settled().result)
    assert.equal(1, support.changes(fake))
    assert.same({ 'Deployment checkout Scaled: Deployment shop/checkout was scaled from 3 to 5 '
      .. 'replicas by Perigee' }, support.events(fake))
  end)

  it('is done although nothing can be told of it', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    fake:fault { path = '/events', status = 403 }
    assert.equal('succeeded', a.run().result)
    assert.same({}, support.events(fake))
  end)

  it('stays within its bounds, and says so', function()
    local cases = {
      { { increment = 5, max = 6 }, 6, '8 replicas are asked for; max = 6 allows 6' },
      { { increment = -2, min = 2 }, 2, '1 replicas are asked for; min = 2 allows 2' },
      { { increment = 20 }, 10, '23 replicas are asked for; max = 10 allows 10' },
      { { increment = -20 }, 1, '-17 replicas are asked for; min = 1 allows 1' },
      { { replicas = 20 }, 20 }, { { replicas = 9, max = 7 }, 7,
        '9 replicas are asked for; max = 7 allows 7' },
    }
    for _, case in ipairs(cases) do
      local fake = start { replicas = 3 }
      local a = scale(fake, case[1])
      assert.equal(case[3], (a.look().warnings or {})[1])
      a.run()
      assert.equal(case[2], replicas(fake))
    end
  end)

  it('never goes the other way, and does nothing where nothing is to be done', function()
    for _, case in ipairs {
      { 15, { increment = 2, max = 10 }, '15 replicas; 17 replicas are asked for; max = 10 '
        .. 'allows 15' }, { 1, { increment = -1, min = 3 }, '1 replica; ' },
      { 10, { increment = 2, max = 10 }, '10 replicas; 12' }, { 4, { replicas = 4 }, '4 replicas' },
    } do
      local fake = start { replicas = case[1] }
      local seen = scale(fake, case[2]).look()
      assert.matches('Deployment shop/checkout has ' .. case[3], seen.nothing, 1, true)
      assert.is_nil(seen.before)
    end
  end)

  it('does not switch on what somebody has switched off', function()
    local fake = start { replicas = 0 }
    assert.equal('Deployment shop/checkout is scaled to 0: somebody has switched it off',
      scale(fake, { increment = 2 }).look().refusal)
    assert.is_nil(scale(fake, { replicas = 2 }).look().refusal)
  end)

  it('counts the pods that go away at once, also where an autoscaler takes them', function()
    local fake = start({ replicas = 5 })
    local seen = scale(fake, { increment = -3 }).look()
    assert.same({ 3, 5, 5 }, { seen.unavailable, seen.ready, seen.replicas })
    fake:put(fakes.autoscaler('shop/checkout', 5, 8))
    seen = scale(fake, { increment = -3, autoscaler = true }).look()
    assert.same({ 3, 5, 5 }, { seen.unavailable, seen.ready, seen.replicas })
  end)

  it('leaves the replicas to an autoscaler', function()
    local fake = start({ replicas = 3 }, fakes.autoscaler('shop/checkout', 2, 8))
    assert.equal('HorizontalPodAutoscaler shop/checkout (2 to 8 replicas) owns the replicas of '
      .. 'Deployment shop/checkout: only with autoscaler = true its bounds are changed',
      scale(fake, { increment = 2 }).look().refusal)
    local other = fakes.autoscaler('shop/other', 2, 8)
    assert.is_nil(scale(start({ replicas = 3 }, other), { increment = 2 }).look().refusal)
  end)

  it('does not go on where autoscalers cannot be listed', function()
    local fake = start { replicas = 3 }
    fake:fault { path = '/horizontalpodautoscalers', status = 403, message = 'nobody may list' }
    local seen, failure = scale(fake, { increment = 2 }).look()
    assert.is_nil(seen)
    assert.same({ message = 'forbidden: nobody may list', transient = false }, failure)
  end)

  it('changes an autoscaler\'s bounds when told to', function()
    local function bounds(fake)
      local spec = fake:get('HorizontalPodAutoscaler', 'shop', 'checkout').spec
      return { spec.minReplicas, spec.maxReplicas }
    end
    for _, case in ipairs { { 2, { 5, 8 }, { 2, 8 } }, { 6, { 9, 9 }, { 2, 8 } },
      { -2, { 1, 8 }, { 2, 8 } } } do
      local fake = start({ replicas = 3 }, fakes.autoscaler('shop/checkout', 2, 8))
      local a = scale(fake, { increment = case[1], autoscaler = true })
      local seen = a.look()
      assert.equal('2 to 8 replicas', seen.current)
      assert.same({ '2', '8' }, { seen.observed.min_replicas, seen.observed.max_replicas })
      assert.equal('succeeded', a.run().result)
      assert.same(case[2], bounds(fake))
      assert.equal(math.max(3, case[2][1]), replicas(fake)) -- which the autoscaler sees to
      assert.equal('succeeded', a.settled().result)
      assert.equal('succeeded', a.find_out().result)
      assert.equal('succeeded', a.revert().result)
      assert.same(case[3], bounds(fake))
      assert.equal('not_done', a.find_out().result)
    end
  end)

  it('does not touch bounds that somebody has changed meanwhile', function()
    local fake = start({ replicas = 3 }, fakes.autoscaler('shop/checkout', 2, 8))
    local a = scale(fake, { increment = 2, autoscaler = true })
    a.look()
    fake:put(fakes.autoscaler('shop/checkout', 2, 20))
    local outcome = a.run()
    assert.same({ 'failed', true }, { outcome.result, outcome.message:find(
      'HorizontalPodAutoscaler shop/checkout was edited meanwhile: nothing was changed', 1, true)
      ~= nil })
    assert.equal('unknown', a.find_out().result)
  end)

  it('keeps what a disruption budget wants', function()
    local fake = start({ replicas = 5 }, fakes.budget('shop/checkout', { minAvailable = 3 }))
    assert.equal('2 replicas would leave fewer pods than the disruption budget "checkout" (5 of 5 '
      .. 'pods healthy, 3 needed) wants', scale(fake, { increment = -3 }).look().refusal)
    assert.is_nil(scale(fake, { increment = -2 }).look().refusal)
    fake = start({ replicas = 5 }, fakes.budget('shop/checkout', { maxUnavailable = 1 }))
    assert.is_nil(scale(fake, { increment = -3 }).look().refusal)
  end)

  it('reads again where only the status has changed meanwhile', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    fake:fault { method = 'PUT', path = '/scale', status = 409, times = 2 }
    assert.equal('succeeded', a.run().result)
    assert.equal(3, #fake:asked('PUT', '/scale') - 1) -- and the rehearsal
    assert.equal(5, replicas(fake))
  end)

  it('gives up where it keeps changing', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    fake:fault { method = 'PUT', path = '/scale', status = 409, times = 100 }
    assert.same({ result = 'failed', message = 'Deployment shop/checkout changed each of the 5 '
      .. 'times that it was tried: nothing was changed' }, a.run())
    assert.equal(3, replicas(fake))
  end)

  it('never overwrites what a person has edited meanwhile', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    fake:put(fakes.deployment('shop/checkout', { replicas = 3, image = 'checkout:2' }))
    assert.same({ result = 'failed',
      message = 'Deployment shop/checkout was edited meanwhile: nothing was changed' }, a.run())
    assert.equal(0, support.changes(fake))
    assert.equal('unknown', a.find_out().result)
  end)

  it('takes one that was made anew for another', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    fake:remove('Deployment', 'shop', 'checkout')
    assert.matches('Deployment shop/checkout is gone; nothing was changed', a.run().message, 1,
      true)
    fake:put(fakes.deployment('shop/checkout', { replicas = 3 }))
    assert.matches('was deleted and made anew meanwhile; nothing was changed', a.run().message, 1,
      true)
    assert.equal('unknown', a.find_out().result)
    assert.equal(0, support.changes(fake))
    fake:remove('Deployment', 'shop', 'checkout')
    assert.equal('Deployment shop/checkout is gone', a.look().refusal)
  end)

  it('tells what it does not know from what did not happen', function()
    for _, case in ipairs { { { drop = 'after' }, 'unknown', 'succeeded', 5 },
      { { drop = 'before' }, 'unknown', 'not_done', 3 },
      { { status = 500, late = true }, 'unknown', 'succeeded', 5 },
      { { status = 504 }, 'unknown', 'not_done', 3 },
      { { status = 403 }, 'failed', 'not_done', 3 } } do
      local fake = start { replicas = 3 }
      local a = scale(fake, { increment = 2 })
      a.look()
      case[1].method, case[1].path = 'PUT', '/scale'
      fake:fault(case[1])
      assert.same({ case[2], case[3], case[4] },
        { a.run().result, a.find_out().result, replicas(fake) })
    end
  end)

  it('says nothing of a server that is not to be had', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    local url = fake.url
    fake.server:close()
    assert.equal('unknown', a.find_out().result)
    local outcome = a.run()
    assert.equal('failed', outcome.result)
    assert.matches('nothing was changed', outcome.message)
    local seen, failure = a.look()
    assert.is_nil(seen)
    assert.is_true(failure.transient)
    assert.is_nil(failure.message:find(url .. '/api', 1, true) and nil)
  end)

  it('is done again without harm', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    a.run()
    assert.same({ result = 'succeeded', idle = true,
      message = 'Deployment shop/checkout has 5 replicas already' }, a.run())
    assert.equal(1, support.changes(fake))
  end)

  it('is undone, but not over what somebody has set since', function()
    local fake = start { replicas = 3 }
    local a = scale(fake, { increment = 2 })
    a.look()
    a.run()
    fake:put(fakes.deployment('shop/checkout', { replicas = 5, image = 'checkout:2' }))
    assert.equal('succeeded', a.revert().result)
    assert.equal(3, replicas(fake))
    assert.equal('checkout:2', fake:get('Deployment', 'shop', 'checkout').spec.template.spec
      .containers[1].image)
    a.look()
    a.run()
    fake:put(fakes.deployment('shop/checkout', { replicas = 7, image = 'checkout:2' }))
    assert.same({ 'failed', 7 }, { a.revert().result, replicas(fake) })
  end)

  it('has settled when the pods are there, or gone', function()
    local fake = support.fake { manual = true, ready_after = 10,
      objects = { fakes.deployment('shop/checkout', { replicas = 2 }) } }
    fake:advance(20)
    local a = scale(fake, { increment = 2 })
    a.look()
    a.run()
    local outcome, words = a.settled()
    assert.is_nil(outcome)
    assert.equal('its controller has not seen it yet', words)
    fake:advance(1)
    outcome, words = a.settled()
    assert.is_nil(outcome)
    assert.equal('Deployment shop/checkout has 4 pods, 2 of them ready', words)
    fake:advance(20)
    assert.equal('succeeded', a.settled().result)
  end)

  it('tells who else sees to the replicas', function()
    local object = fakes.deployment('shop/checkout', { replicas = 3 })
    object.metadata.managedFields = { { manager = 'argocd-controller', operation = 'Apply',
      apiVersion = 'apps/v1', fieldsType = 'FieldsV1',
      fieldsV1 = { ['f:spec'] = { ['f:replicas'] = {} } } } }
    assert.equal('argocd-controller owns spec.replicas',
      scale(support.fake { objects = { object } }, { increment = 1 }).look().owner)
  end)

  it('scales a StatefulSet, too', function()
    local fake = support.fake { objects = { fakes.statefulset('shop/db', { replicas = 3 }) } }
    local a = support.action(fake, 'scale',
      { namespace = 'shop', statefulset = 'db', increment = -1 })
    assert.equal('scale StatefulSet shop/db from 3 to 2 replicas', a.look().summary)
    assert.equal('succeeded', a.run().result)
    assert.equal('succeeded', a.settled().result)
    assert.equal(2, fake:get('StatefulSet', 'shop', 'db').spec.replicas)
    assert.equal('kubernetes/shop/StatefulSet/db', a.definition.target(a.args))
    assert.same({ namespace = 'shop', kind = 'StatefulSet', name = 'db' },
      a.definition.scope(a.args))
  end)
end)
