local clock = require 'perigee.clock'
local fakes = require 'fakes.kubernetes'
local json = require 'json'
local log = require 'log'
local owners = require 'kubernetes.owners'
local support = require 'lua.actions.kubernetes.support'

require('lua.engine.support').still()
log.capture(true)

local ANNOTATION = 'kubectl.kubernetes.io/restartedAt'

local function start(o, ...)
  return support.fake { objects = { fakes.deployment('shop/checkout', o), ... } }
end

local function restart_pod(fake, more)
  local args = { namespace = 'shop', pod = support.pods(fake, 'checkout')[1] }
  for k, v in pairs(more or {}) do args[k] = v end
  return support.action(fake, 'restart', args)
end

local function restart(fake, kind, name)
  return support.action(fake, 'restart', { namespace = 'shop', [kind] = name })
end

describe('kubernetes.restart of a pod', function()
  after_each(support.tidy)

  it('takes one target', function()
    assert.equal('exactly one of pod, deployment, statefulset, daemonset is needed: what it acts '
      .. 'on', support.wrong('restart', { namespace = 'shop' }))
    assert.equal('"delete" and "grace_period" are for a pod',
      support.wrong('restart', { namespace = 'shop', deployment = 'a', delete = true }))
    assert.equal('option "namespace" is missing', support.wrong('restart', { pod = 'a' }))
    assert.matches('^pod: expected the name',
      support.wrong('restart', { namespace = 'shop', pod = 'a/../../b' }))
  end)

  it('evicts it, and its controller makes another', function()
    local fake = start { replicas = 3 }
    local a = restart_pod(fake)
    local seen = a.look()
    assert.equal(('evict Pod shop/%s of Deployment shop/checkout'):format(a.args.pod), seen.summary)
    assert.same({ 1, 3, 3, 'kubernetes/shop/Deployment/checkout' },
      { seen.unavailable, seen.ready, seen.replicas, seen.workload })
    assert.same({ uid = fake:get('Pod', 'shop', a.args.pod).metadata.uid }, seen.observed)
    assert.equal(3, #support.pods(fake, 'checkout'))
    assert.same({ result = 'succeeded', message = ('Pod shop/%s was evicted'):format(a.args.pod) },
      a.run())
    assert.is_nil(fake:get('Pod', 'shop', a.args.pod))
    assert.equal(3, #support.pods(fake, 'checkout'))
    local outcome = a.settled()
    assert.equal('succeeded', outcome.result)
    assert.matches('is gone; 3 of 3 pods of ReplicaSet checkout%-%w+ are ready', outcome.message)
    assert.same({}, fake:asked('DELETE', '/pods/'))
    assert.same({ ('Pod %s Restarted: Pod shop/%s was evicted by Perigee'):format(a.args.pod,
      a.args.pod) }, support.events(fake))
  end)

  it('sends the uid that was looked at, and the time that it has to end', function()
    local fake = start { replicas = 2 }
    local a = restart_pod(fake, { grace_period = '20s' })
    a.look()
    a.run()
    local sent = fake:asked('POST', '/eviction')[2].body
    assert.truthy(sent:find(('"preconditions":{"uid":"%s"}'):format(a.context.before.uid), 1, true))
    assert.truthy(sent:find('"gracePeriodSeconds":20', 1, true))
  end)

  it('waits until as many are ready as before', function()
    local fake = support.fake { manual = true, ready_after = 10, terminate_after = 5,
      objects = { fakes.deployment('shop/checkout', { replicas = 2 }) } }
    fake:advance(20)
    local a = restart_pod(fake)
    a.look()
    a.run()
    local outcome, words = a.settled()
    assert.is_nil(outcome)
    assert.matches('1 of 2 pods of ReplicaSet', words)
    assert.equal('succeeded', a.find_out().result)
    fake:advance(6)
    outcome, words = a.settled()
    assert.is_nil(outcome)
    assert.matches('1 of 2 pods of ReplicaSet', words)
    fake:advance(10)
    assert.equal('succeeded', a.settled().result)
  end)

  it('does not wait for the end of the old one, when the new one is ready', function()
    local fake = support.fake { manual = true, ready_after = 2, terminate_after = 600,
      objects = { fakes.deployment('shop/checkout', { replicas = 2 }) } }
    fake:advance(20)
    local a = restart_pod(fake)
    a.look()
    a.run()
    assert.is_nil((a.settled()))
    fake:advance(5)
    local outcome = a.settled()
    assert.equal('succeeded', outcome.result)
    assert.matches('is terminating; 2 of 2 pods', outcome.message)
  end)

  it('counts one that is not ready for nothing', function()
    local seen = restart_pod(start { replicas = 2, image = 'checkout:bad' }).look()
    assert.same({ 0, 0, 2, 'not ready' },
      { seen.unavailable, seen.ready, seen.replicas, seen.current })
  end)

  it('is held back by a disruption budget, and names it', function()
    local fake = start({ replicas = 2 }, fakes.budget('shop/checkout', { minAvailable = 2 }))
    local a = restart_pod(fake)
    local words = 'a disruption budget does not allow it: The disruption budget checkout needs 2 '
      .. 'healthy pods and has 2 currently'
    assert.same({ words }, a.look().warnings)
    local before = clock.now()
    assert.same({ result = 'failed',
      message = ('Pod shop/%s: %s; nothing was changed'):format(a.args.pod, words) }, a.run())
    assert.equal(4, #fake:asked('POST', '/eviction')) -- the rehearsal, and three attempts
    assert.is_true(clock.now() - before >= 15)
    assert.truthy(fake:get('Pod', 'shop', a.args.pod))
    assert.equal('not_done', a.find_out().result)
  end)

  it('goes as soon as the budget lets it', function()
    local fake = start({ replicas = 2 }, fakes.budget('shop/checkout', { minAvailable = 2 }))
    local a = restart_pod(fake)
    a.look()
    local k, evict = a.context.kubernetes, a.context.kubernetes.evict
    k.evict = function(...)
      local done, failure = evict(...)
      fake:put(fakes.budget('shop/checkout', { minAvailable = 1 }))
      return done, failure
    end
    assert.equal('succeeded', a.run().result)
    assert.is_nil(fake:get('Pod', 'shop', a.args.pod))
  end)

  it('deletes it, past budgets, when asked to', function()
    local fake = start({ replicas = 2 }, fakes.budget('shop/checkout', { minAvailable = 2 }))
    local a = restart_pod(fake, { delete = true })
    local seen = a.look()
    assert.equal(('delete Pod shop/%s of Deployment shop/checkout'):format(a.args.pod),
      seen.summary)
    assert.same({ 'deleted, past the disruption budget "checkout" (2 of 2 pods healthy, 2 '
      .. 'needed)' }, seen.warnings)
    assert.equal('succeeded', a.run().result)
    assert.is_nil(fake:get('Pod', 'shop', a.args.pod))
    assert.same({}, fake:asked('POST', '/eviction'))
  end)

  it('refuses a pod that would not come back, or should not go', function()
    local function pod(metadata)
      metadata.name, metadata.namespace = 'lone', 'shop'
      return { kind = 'Pod', metadata = metadata,
        spec = { containers = { { name = 'a', image = 'a:1' } } } }
    end
    local function by(kind, name)
      return { ownerReferences = { { apiVersion = 'apps/v1', kind = kind, name = name or 'x',
        uid = 'u-1', controller = true } } }
    end
    for _, case in ipairs {
      { {}, 'nothing controls this pod: no other would take its place' },
      { { annotations = { ['kubernetes.io/config.mirror'] = 'x' } }, 'a mirror pod' },
      { by('DaemonSet', 'agent'), 'a pod of a DaemonSet: restart DaemonSet agent instead' },
      { by 'Job', 'its controller is a Job' } } do
      local fake = support.fake { manual = true, objects = { pod(case[1]) } }
      local seen = support.action(fake, 'restart', { namespace = 'shop', pod = 'lone' }).look()
      assert.matches('Pod shop/lone: ' .. case[2], seen.refusal, 1, true)
      assert.same({}, fake:asked('POST', '/eviction'))
    end
  end)

  it('counts pods of what it does not know by their ReplicaSet', function()
    local fake = start { replicas = 3 }
    local set = json.decode(json.encode(fake:list('ReplicaSet', 'shop')[1]))
    fake.manual = true
    set.metadata.ownerReferences[1].kind = 'Rollout'
    fake:put(set)
    local seen = restart_pod(fake).look()
    assert.same({ 'kubernetes/shop/ReplicaSet/' .. set.metadata.name, 1, 3, 3 },
      { seen.workload, seen.unavailable, seen.ready, seen.replicas })
  end)

  it('says so where several budgets cover the pod', function()
    local other = fakes.budget('shop/other', { minAvailable = 1 })
    other.spec.selector.matchLabels.app = 'checkout'
    local seen, failure = restart_pod(start({ replicas = 3 }, other,
      fakes.budget('shop/checkout', { minAvailable = 1 }))).look()
    assert.is_nil(seen)
    assert.is_false(failure.transient)
    assert.matches('more than one PodDisruptionBudget', failure.message)
  end)

  it('is done where the pod is another one by now', function()
    local fake = support.fake { objects = { fakes.statefulset('shop/db', { replicas = 2 }) } }
    local a = support.action(fake, 'restart', { namespace = 'shop', pod = 'db-1' })
    assert.equal('kubernetes/shop/StatefulSet/db', a.look().workload)
    fake:remove('Pod', 'shop', 'db-1')
    local uid = fake:get('Pod', 'shop', 'db-1').metadata.uid
    assert.same({ result = 'succeeded', message = 'Pod shop/db-1 is gone already; nothing was '
      .. 'changed' }, a.run())
    assert.equal('succeeded', a.find_out().result)
    assert.equal(uid, fake:get('Pod', 'shop', 'db-1').metadata.uid)
    assert.equal('succeeded', a.settled().result)
  end)

  it('never takes another pod of the same name, whenever that comes', function()
    local fake = support.fake { objects = { fakes.statefulset('shop/db', { replicas = 2 }) } }
    local a = support.action(fake, 'restart', { namespace = 'shop', pod = 'db-1' })
    a.look()
    local stale = fake:get('Pod', 'shop', 'db-1')
    local get = a.context.kubernetes.get
    a.context.kubernetes.get = function(k, resource, ...)
      a.context.kubernetes.get = get
      fake:remove('Pod', 'shop', 'db-1') -- between our look and our word
      return resource == 'pods' and stale or get(k, resource, ...)
    end
    assert.equal('succeeded', a.run().result)
    assert.equal(409, fake:asked('POST', '/eviction')[2].status)
    assert.truthy(fake:get('Pod', 'shop', 'db-1'))
  end)

  it('tells what it does not know from what did not happen', function()
    for _, case in ipairs { { { drop = 'after' }, 'unknown', 'succeeded' },
      { { drop = 'before' }, 'unknown', 'not_done' }, { { status = 500 }, 'unknown', 'not_done' },
      { { status = 403 }, 'failed', 'not_done' } } do
      local fake = start { replicas = 2 }
      local a = restart_pod(fake)
      a.look()
      case[1].method, case[1].path = 'POST', '/eviction'
      fake:fault(case[1])
      assert.same({ case[2], case[3] }, { a.run().result, a.find_out().result })
      assert.equal(2, #fake:asked('POST', '/eviction'))
    end
  end)

  it('is not done where it is not to be seen', function()
    local fake = start { replicas = 2 }
    local a = restart_pod(fake)
    fake:fault { method = 'GET', path = '/pods/', status = 403, message = 'no right' }
    local seen, failure = a.look()
    assert.is_nil(seen)
    assert.same({ message = 'forbidden: no right', transient = false }, failure)
    a = restart_pod(fake)
    fake:remove('Pod', 'shop', a.args.pod)
    assert.equal(('Pod shop/%s is gone'):format(a.args.pod), a.look().refusal)
  end)

  it('needs a cluster', function()
    local a = restart_pod(start { replicas = 2 })
    a.context.kubernetes = nil
    assert.matches('no cluster is configured', a.look().refusal)
  end)
end)

describe('kubernetes.restart of a workload', function()
  after_each(support.tidy)

  local function template(fake, kind, name)
    return fake:get(kind, 'shop', name).spec.template.metadata
  end

  it('sets kubectl\'s annotation, with a time that is chosen once', function()
    for kind, make in pairs { Deployment = fakes.deployment, StatefulSet = fakes.statefulset,
      DaemonSet = fakes.daemonset } do
      local fake = support.fake { objects = { make('shop/it', { replicas = 2 }) } }
      local before = support.pods(fake, 'it')
      local a = restart(fake, kind:lower(), 'it')
      local seen = a.look()
      assert.equal(('restart all pods of %s shop/it'):format(kind), seen.summary)
      assert.is_nil(seen.unavailable)
      local time = a.context.before.restarted_at
      assert.matches('^2023%-11%-%d+T%d+:%d+:%d+Z$', time)
      assert.equal(('+ spec.template.metadata.annotations[%s]: "%s"'):format(ANNOTATION, time),
        seen.diff)
      assert.same({ result = 'succeeded',
        message = ('the restart of %s shop/it has begun'):format(kind) }, a.run())
      assert.equal(time, template(fake, kind, 'it').annotations[ANNOTATION])
      local outcome = a.settled()
      assert.equal('succeeded', outcome.result, kind)
      assert.matches(('the rollout of %s shop/it has finished: 2 of 2'):format(kind),
        outcome.message)
      if kind == 'Deployment' then assert.not_same(before, support.pods(fake, 'it')) end
      local n = support.changes(fake)
      assert.equal(('%s shop/it is being restarted already'):format(kind), a.run().message)
      assert.equal('succeeded', a.find_out().result)
      assert.equal(n, support.changes(fake))
    end
  end)

  it('refuses what would not restart', function()
    for words, o in pairs {
      ['the Deployment is paused: a change would only take effect when it is resumed'] =
      { 'deployment', fakes.deployment('shop/it', { spec = { paused = true } }) },
      ['its update strategy is OnDelete: its pods would stay as they are'] =
      { 'statefulset', fakes.statefulset('shop/it',
        { spec = { updateStrategy = { type = 'OnDelete' } } }) } } do
      local fake = support.fake { objects = { o[2] } }
      assert.equal(words, restart(fake, o[1], 'it').look().refusal)
    end
    local seen = restart(support.fake { objects = { fakes.deployment('shop/it',
      { replicas = 0 }) } }, 'deployment', 'it').look()
    assert.equal('Deployment shop/it has no pods', seen.nothing)
  end)

  it('says where a strategy takes all pods at once', function()
    local function rolling(n) return { type = 'RollingUpdate', rollingUpdate =
      { maxUnavailable = n } } end
    for words, strategies in pairs {
      ['its strategy is Recreate: all its pods stop before new ones start'] =
        { { type = 'Recreate' } },
      ['its maxUnavailable lets all its pods stop before new ones are ready'] =
        { rolling '100%', rolling(3), rolling(7) },
      [false] = { rolling '99%', rolling(2), rolling '25%' } } do
      for _, strategy in ipairs(strategies) do
        local fake = support.fake { objects = { fakes.deployment('shop/it', { replicas = 3,
          spec = { strategy = strategy } }) } }
        local seen = restart(fake, 'deployment', 'it').look()
        assert.same(words and { 3, 3, 3 } or {}, { seen.unavailable, seen.ready, seen.replicas })
        assert.same(words and { words } or nil, seen.warnings)
      end
    end
  end)

  it('fails where the rollout does', function()
    local fake = support.fake { manual = true, objects = { fakes.deployment('shop/it',
      { replicas = 2, image = 'it:bad', spec = { progressDeadlineSeconds = 30 } }) } }
    fake:advance(40)
    assert.equal('ProgressDeadlineExceeded',
      fake:get('Deployment', 'shop', 'it').status.conditions[2].reason)
    local a = restart(fake, 'deployment', 'it')
    a.look()
    a.run()
    fake:step()
    assert.is_nil((a.settled())) -- what was said of the rollout before is not about this one
    fake:advance(60)
    local outcome = a.settled()
    assert.equal('failed', outcome.result)
    assert.matches('the rollout of Deployment shop/it has failed: .*timed out', outcome.message)
  end)

  it('is held back by who applies the annotation, not by marks on the object', function()
    local object = fakes.deployment('shop/it', { replicas = 2 })
    object.metadata.labels['argocd.argoproj.io/instance'] = 'shop'
    local seen = restart(support.fake { objects = { object } }, 'deployment', 'it').look()
    assert.is_nil(seen.owner)
    assert.matches('^Argo CD sees to this object', seen.warnings[1])
  end)
end)

describe('kubernetes.owners', function()
  after_each(support.tidy)

  it('finds the workload of a pod by owner references', function()
    local fake = support.fake { objects = { fakes.deployment('shop/checkout', { replicas = 1 }),
      fakes.statefulset('shop/db', { replicas = 1 }), fakes.daemonset 'shop/agent' } }
    local k = support.client(fake)
    for app, kind in pairs { checkout = 'Deployment', db = 'StatefulSet', agent = 'DaemonSet' } do
      local found = support.patiently(function()
        return owners.workload(k, 'shop', support.pods(fake, app)[1])
      end)
      assert.same({ kind = kind, name = app, uid = fake:get(kind, 'shop', app).metadata.uid },
        found)
    end
  end)

  it('says where there is none', function()
    local fake = support.fake { manual = true, objects = { { kind = 'Pod',
      metadata = { name = 'lone', namespace = 'shop' },
      spec = { containers = { { name = 'a', image = 'a:1' } } } } } }
    local k = support.client(fake)
    local function found(name)
      return support.patiently(function() return owners.workload(k, 'shop', name) end)
    end
    assert.same({ nil, 'Pod shop/lone has no controller' }, { found 'lone' })
    assert.same({ nil, 'pods "none" not found' }, { found 'none' })
    assert.matches('name of a Kubernetes object', (select(2, found '../x')))
  end)
end)
