local clock = require 'perigee.clock'
local fakes = require 'fakes.kubernetes'
local json = require 'json'
local log = require 'log'
local support = require 'lua.actions.kubernetes.support'

require('lua.engine.support').still()
log.capture(true)

local REVISION = 'deployment.kubernetes.io/revision'

local MAKE = { Deployment = fakes.deployment, StatefulSet = fakes.statefulset,
  DaemonSet = fakes.daemonset }

local function env(...)
  local out = json.array()
  for i, name in ipairs { ... } do out[i] = { name = name, value = name:lower() } end
  return out
end

--- Stores a template: the image, and what else a newer one may have that an older has not.
local function release(fake, kind, image, more)
  local object = MAKE[kind]('shop/checkout', { replicas = 2, image = image })
  local template = object.spec.template
  template.spec.containers[1].env = more and more.env
  template.metadata.annotations = more and more.annotations
  object.metadata.annotations = more and more.own
  if kind == 'Deployment' and fake:get(kind, 'shop', 'checkout') then
    object.metadata.annotations = object.metadata.annotations or {}
    object.metadata.annotations[REVISION] =
      fake:get(kind, 'shop', 'checkout').metadata.annotations[REVISION]
  end
  if not (more and more.at_once) then clock.advance(1) end
  return fake:put(object)
end

local function releases(kind, ...)
  local fake = support.fake {}
  for i, image in ipairs { ... } do release(fake, kind, image, i > 1 and
    { env = env('A', 'B'), annotations = { newer = 'yes' }, own = { note = image } } or
    { env = env 'A', own = { note = image, first = 'yes' } }) end
  return fake
end

local function rollback(fake, kind, back)
  return support.action(fake, 'rollback', { namespace = 'shop', [kind:lower()] = 'checkout',
    revisions_back = back })
end

local function template(fake, kind)
  return fake:get(kind, 'shop', 'checkout').spec.template
end

local function image(fake, kind) return template(fake, kind).spec.containers[1].image end

describe('kubernetes.rollback', function()
  after_each(support.tidy)

  it('takes one target and a number of revisions', function()
    local function wrong(more)
      local args = { namespace = 'shop', deployment = 'checkout' }
      for k, v in pairs(more) do args[k] = v end
      return support.wrong('rollback', args)
    end
    assert.is_nil(wrong {})
    assert.matches('exactly one of deployment, statefulset, daemonset', wrong { daemonset = 'a' })
    assert.matches('^revisions_back: ', wrong { revisions_back = 0 })
    assert.matches('^unknown option "pod"', wrong { pod = 'a' })
  end)

  it('puts back the whole template of the revision before, of every kind of workload', function()
    for kind in pairs(MAKE) do
      local fake = releases(kind, 'shop:1', 'shop:2')
      local generation = fake:get(kind, 'shop', 'checkout').metadata.generation
      local a = rollback(fake, kind)
      local seen = a.look()
      assert.equal(('roll %s shop/checkout back from revision 2 to revision 1'):format(kind),
        seen.summary)
      assert.matches('containers[checkout].image: "shop:2" → "shop:1"', seen.diff, 1, true)
      assert.matches('- spec.template.spec.containers[checkout].env[B].value: "b"', seen.diff, 1,
        true)
      assert.equal('ConfigMaps and Secrets that it uses are not rolled back', seen.warnings[1])
      assert.is_nil(seen.owner)
      assert.equal(0, support.changes(fake))
      assert.same({ result = 'succeeded', message = ('%s shop/checkout has the template of '
        .. 'revision 1 again'):format(kind) }, a.run())
      assert.equal('shop:1', image(fake, kind))
      assert.equal(1, #template(fake, kind).spec.containers[1].env)
      assert.is_nil((template(fake, kind).metadata.annotations or {}).newer)
      assert.is_nil(template(fake, kind).metadata.labels['pod-template-hash'])
      assert.equal(generation + 1, fake:get(kind, 'shop', 'checkout').metadata.generation)
      assert.equal('succeeded', a.settled().result, kind)
      assert.equal('succeeded', a.find_out().result)
      assert.equal(1, support.changes(fake))
    end
  end)

  it('counts all pods where the strategy takes all of them at once', function()
    local fake = support.fake {}
    for i = 1, 2 do
      fake:put(fakes.deployment('shop/checkout', { image = 'shop:' .. i,
        spec = { strategy = { type = 'Recreate' } } }))
    end
    local seen = rollback(fake, 'Deployment').look()
    assert.same({ 3, 3, 3 }, { seen.unavailable, seen.ready, seen.replicas })
  end)

  it('puts back the annotations of that revision, and keeps a Deployment\'s own', function()
    local fake = releases('Deployment', 'shop:1', 'shop:2')
    local a = rollback(fake, 'Deployment')
    a.look()
    a.run()
    local annotations = fake:get('Deployment', 'shop', 'checkout').metadata.annotations
    assert.same({ 'shop:1', 'yes', '3' },
      { annotations.note, annotations.first, annotations[REVISION] })
  end)

  it('uses the old ReplicaSet again', function()
    local fake = releases('Deployment', 'shop:1', 'shop:2')
    local n = #fake:list('ReplicaSet', 'shop')
    local a = rollback(fake, 'Deployment')
    a.look()
    a.run()
    assert.equal(n, #fake:list('ReplicaSet', 'shop'))
    assert.same({ 'Deployment checkout RolledBack: Deployment shop/checkout has the template of '
      .. 'revision 1 again, by Perigee' }, support.events(fake))
  end)

  it('counts from the present, over the gaps that going back leaves', function()
    for kind in pairs(MAKE) do
      local fake = releases(kind, 'shop:1', 'shop:2', 'shop:3')
      local a = rollback(fake, kind)
      a.look()
      a.run() -- revisions 1, 3 and 4, which is 2 again
      assert.equal('shop:2', image(fake, kind))
      a = rollback(fake, kind, 2)
      assert.matches('from revision 4 to revision 1', a.look().summary)
      a.run()
      assert.equal('shop:1', image(fake, kind))
      a = rollback(fake, kind, 3)
      assert.equal(kind .. ' shop/checkout has only 2 earlier revisions, not 3', a.look().refusal)
    end
  end)

  it('does not go back and forth by itself', function()
    for kind in pairs(MAKE) do
      local fake = releases(kind, 'shop:1', 'shop:2', 'shop:3')
      local a = rollback(fake, kind)
      assert.is_nil(a.look().owner)
      a.run()
      local seen = rollback(fake, kind).look()
      assert.equal('revision 3 is newer than the present template: it was rolled back from, and '
        .. 'would come back', seen.owner)
      assert.equal(seen.owner, seen.warnings[2])
    end
  end)

  it('knows what was rolled back from also within a second', function()
    local fake = support.fake {}
    for _, name in ipairs { 'shop:1', 'shop:2', 'shop:3' } do
      release(fake, 'Deployment', name, { at_once = true })
    end
    local a = rollback(fake, 'Deployment')
    assert.is_nil(a.look().owner)
    a.run()
    assert.matches('^revision 3 is newer', rollback(fake, 'Deployment').look().owner)
    assert.is_nil(rollback(fake, 'Deployment', 2).look().owner)
  end)

  it('goes by owner, not by labels', function()
    local fake = releases('Deployment', 'shop:1', 'shop:2')
    local stranger = json.decode(json.encode(fake:list('ReplicaSet', 'shop')[1]))
    stranger.metadata = { name = 'stranger', namespace = 'shop', labels = stranger.metadata.labels,
      annotations = { [REVISION] = '1' } }
    stranger.spec.template.spec.containers[1].image = 'evil:1'
    fake:put(stranger)
    local a = rollback(fake, 'Deployment')
    a.look()
    a.run()
    assert.equal('shop:1', image(fake, 'Deployment'))
  end)

  it('says plainly why it cannot, and changes nothing', function()
    local fake = releases('Deployment', 'shop:1')
    assert.equal('Deployment shop/checkout has no revision before 1, its present one',
      rollback(fake, 'Deployment').look().refusal)
    release(fake, 'Deployment', 'shop:2')
    local object = json.decode(json.encode(fake:get('Deployment', 'shop', 'checkout')))
    object.spec.paused = true
    fake:put(object)
    assert.matches('the Deployment is paused', rollback(fake, 'Deployment').look().refusal)
    assert.equal(0, support.changes(fake))
    fake:remove('Deployment', 'shop', 'checkout')
    assert.equal('Deployment shop/checkout is gone', rollback(fake, 'Deployment').look().refusal)
  end)

  it('has nothing to do where the template is the same', function()
    local fake = support.fake { manual = true, objects = { fakes.deployment('shop/checkout',
      { replicas = 1 }) } }
    fake:settle()
    local set = json.decode(json.encode(fake:list('ReplicaSet', 'shop')[1]))
    local object = json.decode(json.encode(fake:get('Deployment', 'shop', 'checkout')))
    set.metadata = { name = 'twin', namespace = 'shop', labels = set.metadata.labels,
      annotations = { [REVISION] = '1' }, ownerReferences = set.metadata.ownerReferences }
    fake:put(set)
    object.metadata.annotations[REVISION] = '2'
    fake:put(object)
    local first = json.decode(json.encode(fake:get('ReplicaSet', 'shop',
      fake:list('ReplicaSet', 'shop')[1].metadata.name)))
    first.metadata.annotations[REVISION] = '2'
    fake:put(first)
    assert.equal('Deployment shop/checkout has the template of revision 1 already',
      rollback(fake, 'Deployment').look().nothing)
  end)

  it('waits until its controller has seen the last change', function()
    local fake = support.fake { manual = true }
    release(fake, 'Deployment', 'shop:1')
    fake:settle()
    release(fake, 'Deployment', 'shop:2')
    local seen, failure = rollback(fake, 'Deployment').look()
    assert.is_nil(seen)
    assert.is_true(failure.transient)
    assert.matches('has not seen its last change', failure.message)
  end)

  it('reads again where only the status has changed, and stops where the spec has', function()
    local fake = releases('Deployment', 'shop:1', 'shop:2')
    local a = rollback(fake, 'Deployment')
    a.look()
    fake:fault { method = 'PATCH', path = '/deployments/', status = 409, times = 3 }
    assert.equal('succeeded', a.run().result)
    for kind in pairs(MAKE) do
      fake = releases(kind, 'shop:1', 'shop:2')
      a = rollback(fake, kind)
      a.look()
      release(fake, kind, 'shop:3')
      assert.same({ result = 'failed',
        message = kind .. ' shop/checkout was edited meanwhile: nothing was changed' }, a.run())
      assert.equal('shop:3', image(fake, kind))
      assert.equal(0, support.changes(fake))
    end
  end)

  it('never overwrites an edit that comes between the look and the word', function()
    for kind in pairs(MAKE) do
      local fake = releases(kind, 'shop:1', 'shop:2')
      local a = rollback(fake, kind)
      a.look()
      local k, list = a.context.kubernetes, a.context.kubernetes.list
      k.list = function(...)
        k.list = list
        release(fake, kind, 'shop:3')
        return list(...)
      end
      assert.equal('failed', a.run().result)
      assert.equal('shop:3', image(fake, kind))
    end
  end)

  it('is undone, but not over what somebody has put in since', function()
    for kind in pairs(MAKE) do
      local fake = releases(kind, 'shop:1', 'shop:2')
      local before = json.encode(template(fake, kind))
      local a = rollback(fake, kind)
      a.look()
      a.run()
      assert.equal('succeeded', a.revert().result)
      assert.equal(before, json.encode(template(fake, kind)))
      a.look()
      a.run()
      release(fake, kind, 'shop:9')
      assert.same({ 'failed', 'shop:9' }, { a.revert().result, image(fake, kind) })
    end
  end)

  it('says where the revision is not kept any more', function()
    local fake = releases('Deployment', 'shop:1', 'shop:2')
    local a = rollback(fake, 'Deployment')
    a.look()
    fake:remove('ReplicaSet', 'shop', a.context.before.to.name)
    assert.same({ result = 'failed',
      message = 'revision 1 of Deployment shop/checkout is not kept any more' }, a.run())
  end)

  it('tells what it does not know from what did not happen', function()
    for _, case in ipairs { { { drop = 'after' }, 'unknown', 'succeeded', 'shop:1' },
      { { drop = 'before' }, 'unknown', 'not_done', 'shop:2' },
      { { status = 500, late = true }, 'unknown', 'succeeded', 'shop:1' },
      { { status = 403 }, 'failed', 'not_done', 'shop:2' } } do
      local fake = releases('Deployment', 'shop:1', 'shop:2')
      local a = rollback(fake, 'Deployment')
      a.look()
      case[1].method, case[1].path = 'PATCH', '/deployments/'
      fake:fault(case[1])
      assert.same({ case[2], case[3], case[4] },
        { a.run().result, a.find_out().result, image(fake, 'Deployment') })
    end
  end)

  it('succeeds after a rollout whose deadline had passed', function()
    local fake = support.fake { manual = true }
    local function put(name)
      local object = fakes.deployment('shop/checkout', { replicas = 2, image = name,
        spec = { progressDeadlineSeconds = 30 } })
      object.metadata.annotations = { [REVISION] = ((fake:get('Deployment', 'shop', 'checkout')
        or { metadata = {} }).metadata.annotations or {})[REVISION] }
      fake:put(object)
      fake:advance(40)
    end
    put 'shop:1'
    put 'shop:bad'
    local a = rollback(fake, 'Deployment')
    a.look()
    assert.equal('succeeded', a.run().result)
    assert.is_nil((a.settled()))
    fake:advance(5)
    assert.equal('succeeded', a.settled().result)
  end)

  it('tells who else sees to the template', function()
    local fake = releases('Deployment', 'shop:1', 'shop:2')
    local object = json.decode(json.encode(fake:get('Deployment', 'shop', 'checkout')))
    object.metadata.labels['helm.toolkit.fluxcd.io/name'] = 'shop'
    fake:put(object)
    assert.matches('^Flux sees to this object, spec.template included',
      rollback(fake, 'Deployment').look().owner)
  end)
end)
