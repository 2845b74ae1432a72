local fakes = require 'fakes.kubernetes'
local json = require 'json'
local log = require 'log'
local registry = require 'actions.registry'
local support = require 'lua.actions.kubernetes.support'

require('lua.engine.support').still()
log.capture(true)

local function patch(fake, more)
  local args = { resource = 'deployments', namespace = 'shop', name = 'checkout' }
  for k, v in pairs(more) do args[k] = v end
  return support.action(fake, 'patch', args)
end

local function start(o)
  return support.fake { objects = { fakes.deployment('shop/checkout', o) } }
end

local function checkout(fake) return fake:get('Deployment', 'shop', 'checkout') end

--- The object without what every write changes.
local function plain(fake)
  local object = json.decode(json.encode(checkout(fake)))
  object.status = nil
  for _, name in ipairs { 'generation', 'resourceVersion', 'managedFields', 'annotations' } do
    object.metadata[name] = nil
  end
  return json.encode(object)
end

local DRAIN = { merge = { metadata = { labels = { drained = 'yes' } },
  spec = { minReadySeconds = 5 } } }
local LIMITS = { json = { { op = 'add', path = '/spec/template/spec/containers/0/resources',
  value = { limits = { memory = '1Gi' } } } } }

describe('kubernetes.patch', function()
  after_each(support.tidy)

  it('takes an object and a patch of one kind', function()
    local function wrong(more)
      local args = { resource = 'deployments', namespace = 'shop', name = 'checkout' }
      for k, v in pairs(more) do args[k] = v end
      return support.wrong('patch', args)
    end
    local merge = { spec = { paused = true } }
    assert.is_nil(wrong { merge = merge })
    for words, more in pairs {
      ['exactly one of "merge" and "json" is needed'] = {},
      ['unknown resource "deployment"; did you mean "deployments"?'] =
      { resource = 'deployment', merge = merge },
      ['Secrets are not patched: a plan holds no secret'] =
      { resource = 'secrets', merge = { data = { a = 'b' } } },
      ['nodes lie in no namespace'] = { resource = 'nodes', merge = merge },
      ['json: expected at least one operation'] = { json = {} },
      ['json[1]: "remove" takes no value'] =
      { json = { { op = 'remove', path = '/spec/paused', value = 1 } } },
      ['json[1]: "add" needs a value'] = { json = { { op = 'add', path = '/spec/paused' } } },
      ['/spec/replicas is for kubernetes.scale'] = { merge = { spec = { replicas = 0 } } },
      ['/status/replicas is not anybody\'s to patch'] = { merge = { status = { replicas = 1 } } },
      ['/metadata/finalizers: of the metadata only single labels and annotations'] =
      { merge = { metadata = { finalizers = { 'x' } } } },
      ['/metadata/labels: of the metadata only single labels and annotations'] =
      { json = { { op = 'remove', path = '/metadata/labels' } } },
    } do
      assert.equal(words, wrong(more))
    end
    assert.matches('expected one of add, replace, remove', wrong { json = { { op = 'move',
      path = '/spec/a', value = 1 } } })
    assert.matches('expected a path', wrong { json = { { op = 'add', path = 'spec', value = 1 } } })
  end)

  it('is for paths that the operator allows, and for nothing where none is', function()
    local allowed = registry.get('kubernetes.patch').allowed
    local function why(args, rules)
      args.resource, args.namespace = args.resource or 'deployments', 'shop'
      return allowed(args, { guardrails = { kubernetes_patch = rules } })
    end
    local rules = { { resources = { 'deployments.apps', 'statefulsets' },
      paths = { '/metadata/labels/drained', '/spec/template/spec/containers/*/resources' } } }
    assert.equal('guardrails.kubernetes_patch allows no patch at all', why(DRAIN, {}))
    assert.equal('guardrails.kubernetes_patch allows no patch at all', why(DRAIN, nil))
    assert.is_nil(why(LIMITS, rules))
    assert.is_nil(why({ merge = { metadata = { labels = { drained = 'yes' } } } }, rules))
    assert.equal('guardrails.kubernetes_patch does not allow /spec/minReadySeconds of deployments',
      why(DRAIN, rules))
    for _, path in ipairs { '/spec/template/spec/containers/0/image', '/spec/template/spec',
      '/metadata/labels/drained2', '/spec/template/spec/containers/0/resource' } do
      assert.matches('does not allow ' .. path, why({ json = { { op = 'replace', path = path,
        value = 'x' } } }, rules), 1, true)
    end
    assert.matches('does not allow .* of daemonsets', why({ resource = 'daemonsets',
      json = LIMITS.json }, rules))
  end)

  it('shows what would differ, does it, and undoes it', function()
    for _, case in ipairs { { DRAIN, '+ metadata.labels.drained: "yes"' },
      { LIMITS, '.resources.limits.memory: "1Gi"' },
      { { json = { { op = 'remove', path = '/metadata/labels/app' } } },
        '- metadata.labels.app' } } do
      local fake = start { replicas = 2 }
      local before = plain(fake)
      local a = patch(fake, case[1])
      local seen = a.look()
      assert.equal('patch Deployment shop/checkout', seen.summary)
      assert.matches(case[2], seen.diff, 1, true)
      assert.equal(before, plain(fake))
      assert.same({ result = 'succeeded', message = 'Deployment shop/checkout was patched' },
        a.run())
      assert.not_equal(before, plain(fake))
      assert.equal('succeeded', a.settled().result)
      assert.equal('succeeded', a.find_out().result)
      assert.equal('Deployment shop/checkout is as it was to become', a.run().message)
      assert.equal(1, support.changes(fake))
      assert.equal('succeeded', a.revert().result)
      assert.equal(before, plain(fake))
    end
  end)

  it('counts all pods where it takes all of them at once', function()
    local fake = start { replicas = 2, spec = { strategy = { type = 'Recreate' } } }
    local seen = patch(fake, LIMITS).look()
    assert.same({ 2, 2, 2 }, { seen.unavailable, seen.ready, seen.replicas })
    assert.is_nil(patch(fake, DRAIN).look().unavailable)
  end)

  it('says why it cannot, or need not', function()
    local fake = start { replicas = 2 }
    assert.equal('Deployment shop/checkout: there is no /spec/none', patch(fake, { json = { {
      op = 'remove', path = '/spec/none/deep' } } }).look().refusal)
    assert.matches('is as the patch would make it', patch(fake, { merge = { metadata = {
      labels = { app = 'checkout' } } } }).look().nothing)
    local seen, failure = patch(fake, { merge = { spec = { minReadySeconds = 'many' } } }).look()
    assert.is_nil(seen)
    assert.matches('^the server refuses it: ', failure.message)
    assert.is_false(failure.transient)
    assert.matches('this would change the replicas', patch(fake, { json = { { op = 'replace',
      path = '/spec', value = { selector = checkout(fake).spec.selector, replicas = 9,
        template = checkout(fake).spec.template } } } }).look().refusal)
  end)

  it('changes nothing that it could not keep', function()
    local fake = support.fake { objects = { { kind = 'ConfigMap',
      metadata = { name = 'flags', namespace = 'shop' }, data = { a = ('x'):rep(70000) } } } }
    assert.matches('what it changes is too large to be kept: 1%d+ bytes, at most 65536',
      support.action(fake, 'patch', { resource = 'configmaps', namespace = 'shop', name = 'flags',
        merge = { data = { a = '2' } } }).look().refusal)
  end)

  it('never overwrites what somebody has changed, forwards or back', function()
    local fake = start { replicas = 2 }
    local a = patch(fake, DRAIN)
    a.look()
    fake:put(fakes.deployment('shop/checkout', { replicas = 2, spec = { minReadySeconds = 1 } }))
    assert.equal('Deployment shop/checkout was edited meanwhile: nothing was changed',
      a.run().message)
    assert.equal('unknown', a.find_out().result)
    a.look()
    a.run()
    fake:put(fakes.deployment('shop/checkout', { replicas = 2, spec = { minReadySeconds = 9 } }))
    assert.equal('failed', a.revert().result)
    assert.equal(9, checkout(fake).spec.minReadySeconds)
  end)

  it('changes objects that have no generation, too', function()
    local fake = support.fake { objects = { { kind = 'ConfigMap',
      metadata = { name = 'flags', namespace = 'shop' }, data = { a = '1' } } } }
    local a = support.action(fake, 'patch', { resource = 'configmaps', namespace = 'shop',
      name = 'flags', merge = { data = { a = '2', b = '3' } } })
    assert.equal('  data.a: "1" → "2"\n+ data.b: "3"', a.look().diff)
    fake:put { kind = 'ConfigMap', metadata = { name = 'flags', namespace = 'shop' },
      data = { a = '5' } }
    assert.equal('failed', a.run().result)
    a.look()
    assert.equal('not_done', a.find_out().result)
    assert.equal('succeeded', a.run().result)
    assert.equal('succeeded', a.settled().result)
    assert.equal('succeeded', a.revert().result)
    assert.same({ a = '5' }, fake:get('ConfigMap', 'shop', 'flags').data)
    assert.same({ namespace = 'shop', kind = 'ConfigMap', name = 'flags' },
      a.definition.scope(a.args))
  end)

  it('tells who else sees to a field', function()
    local object = fakes.deployment('shop/checkout', { replicas = 2 })
    object.metadata.managedFields = { { manager = 'team', operation = 'Apply',
      apiVersion = 'apps/v1', fieldsType = 'FieldsV1',
      fieldsV1 = { ['f:spec'] = { ['f:minReadySeconds'] = {} } } } }
    local fake = support.fake { objects = { object } }
    assert.equal('team owns spec.minReadySeconds', patch(fake, DRAIN).look().owner)
    assert.is_nil(patch(fake, LIMITS).look().owner)
  end)
end)
