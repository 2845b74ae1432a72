local history = require 'actions.kubernetes.history'

local REVISION = 'deployment.kubernetes.io/revision'

local function replica_set(number, o)
  o = o or {}
  return { kind = 'ReplicaSet', metadata = { name = 'checkout-' .. number, uid = 'rs-' .. number,
      creationTimestamp = o.created, annotations = { [REVISION] = tostring(number), note = o.note },
      ownerReferences = { { kind = 'Deployment', controller = true, uid = o.owner or 'd-1' } } },
    spec = { template = { metadata = { labels = { app = 'shop', ['pod-template-hash'] = 'x' } },
      spec = { containers = { { name = 'app', image = 'shop:' .. number } } } } } }
end

local function deployment(revision)
  return { kind = 'Deployment', metadata = { name = 'checkout', namespace = 'shop', uid = 'd-1',
    annotations = { [REVISION] = tostring(revision), own = 'yes',
      ['kubectl.kubernetes.io/last-applied-configuration'] = '{}' } },
  spec = { selector = { matchLabels = { app = 'shop' } } } }
end

local function client(items)
  return { list = function(self, resource, namespace, o)
    self.asked = { resource, namespace, o.label_selector }
    return { items = items }
  end }
end

local function numbers(revisions)
  local out = {}
  for i, revision in ipairs(revisions) do out[i] = revision.number end
  return out
end

describe('the history of a Deployment', function()
  it('is what its own ReplicaSets say, by their owner, the newest first', function()
    local k = client { replica_set(2), replica_set(11), replica_set(5, { owner = 'another' }),
      replica_set(7), { kind = 'ReplicaSet', metadata = { name = 'odd', annotations = {} } } }
    local list = history.list(k, deployment(11))
    assert.same({ 'replicasets', 'shop', 'app=shop' }, k.asked)
    assert.same({ 11, 7, 2 }, numbers(list))
    assert.equal(11, history.current(deployment(11), list).number)
    assert.is_nil(history.current(deployment(12), list))
  end)

  it('is counted from the present, over gaps', function()
    local list = history.list(client { replica_set(2), replica_set(11), replica_set(7) },
      deployment(11))
    assert.equal(7, history.back(list, list[1], 1).number)
    assert.equal(2, history.back(list, list[1], 2).number)
    assert.same({ nil, 2 }, { history.back(list, list[1], 3) })
    assert.same({ nil, 0 }, { history.back(list, list[3], 1) })
  end)

  it('knows a revision that was rolled back from', function()
    local list = history.list(client { replica_set(3, { created = '2026-01-03T00:00:00Z' }),
      replica_set(4, { created = '2026-01-02T00:00:00Z' }),
      replica_set(1, { created = '2026-01-01T00:00:00Z' }) }, deployment(4))
    assert.is_true(history.is_newer(list[2], list[1]))
    assert.is_false(history.is_newer(list[3], list[1]))
    assert.is_false(history.is_newer(list[1], list[2]))
  end)

  it('is put back as a whole, without the hash, with the annotations that are its own', function()
    local list = history.list(client { replica_set(2, { note = 'two' }), replica_set(3) },
      deployment(3))
    local patch, type = history.patch(deployment(3), list[2], '77')
    assert.equal('json', type)
    assert.same({ op = 'replace', path = '/metadata/resourceVersion', value = '77' }, patch[1])
    assert.same({ op = 'replace', path = '/spec/template', value = { metadata = { labels = {
      app = 'shop' } }, spec = { containers = { { name = 'app', image = 'shop:2' } } } } },
      patch[2])
    assert.same({ op = 'replace', path = '/metadata/annotations', value = { note = 'two',
      [REVISION] = '3', ['kubectl.kubernetes.io/last-applied-configuration'] = '{}' } }, patch[3])
    assert.equal('x', list[2].object.spec.template.metadata.labels['pod-template-hash'])
  end)
end)

describe('the history of a StatefulSet', function()
  it('is what its ControllerRevisions say, put back as the patch that they are', function()
    local function revision(number)
      return { kind = 'ControllerRevision', revision = number, metadata = { name = 'r' .. number,
          uid = 'cr-' .. number, ownerReferences = { { controller = true, uid = 's-1' } } },
        data = { spec = { template = { ['$patch'] = 'replace', n = number } } } }
    end
    local set = { kind = 'StatefulSet', metadata = { namespace = 'shop', uid = 's-1', name = 'db' },
      spec = { selector = { matchLabels = { app = 'db' } } } }
    local k = client { revision(4), revision(9) }
    local list = history.list(k, set)
    assert.equal('controllerrevisions', k.asked[1])
    assert.equal(9, history.current(set, list).number)
    local patch, type = history.patch(set, history.back(list, list[1], 1), '5')
    assert.equal('strategic', type)
    assert.same({ metadata = { resourceVersion = '5' },
      spec = { template = { ['$patch'] = 'replace', n = 4 } } }, patch)
    assert.is_nil(list[2].object.data.metadata)
  end)
end)
