local fakes = require 'fakes.kubernetes'
local log = require 'log'
local support = require 'lua.actions.kubernetes.support'

require('lua.engine.support').still()
log.capture(true)

local function cordon(fake, name)
  return support.action(fake, name or 'cordon', { node = 'node-1' })
end

local function is_cordoned(fake)
  return fake:get('Node', nil, 'node-1').spec.unschedulable == true
end

local function unschedulable(name)
  local node = fakes.node(name)
  node.spec.unschedulable = true
  return node
end

describe('kubernetes.cordon', function()
  after_each(support.tidy)

  it('takes a node, which lies in no namespace', function()
    assert.equal('option "node" is missing', support.wrong('cordon', {}))
    assert.matches('^unknown option "namespace"', support.wrong('cordon',
      { node = 'a', namespace = 'shop' }))
    assert.matches('^node: expected the name', support.wrong('uncordon', { node = 'a/b' }))
    local a = cordon(support.fake {})
    assert.same({ kind = 'Node', name = 'node-1' }, a.definition.scope(a.args))
    assert.equal('kubernetes/Node/node-1', a.definition.target(a.args))
  end)

  it('keeps new pods off, and lets them on again', function()
    local fake = support.fake { nodes = 3 }
    local a = cordon(fake)
    local seen = a.look()
    assert.same({ 'cordon Node node-1', 'open to new pods', 'cordoned',
      '  spec.unschedulable: false → true' },
      { seen.summary, seen.current, seen.proposed, seen.diff })
    assert.same({ uid = fake:get('Node', nil, 'node-1').metadata.uid, unschedulable = 'false' },
      seen.observed)
    assert.same({ result = 'succeeded', message = 'Node node-1 is cordoned now' }, a.run())
    assert.is_true(is_cordoned(fake))
    assert.equal('succeeded', a.find_out().result)
    assert.equal('Node node-1 is cordoned already', a.run().message)
    assert.equal(1, support.changes(fake))
    a = cordon(fake, 'uncordon')
    a.look()
    assert.equal('not_done', a.find_out().result)
    assert.equal('Node node-1 is open to new pods now', a.run().message)
    assert.is_false(is_cordoned(fake))
    assert.equal('succeeded', a.revert().result)
    assert.is_true(is_cordoned(fake))
    assert.equal('Node node-1 Cordoned: Node node-1 is cordoned now, by Perigee',
      support.events(fake)[1])
  end)

  it('has nothing to do, and so nothing to undo, where it is so already', function()
    local fake = support.fake { objects = { unschedulable 'node-1' } }
    local seen = cordon(fake).look()
    assert.equal('Node node-1 is cordoned already', seen.nothing)
    assert.is_nil(seen.before)
    assert.equal('Node node-2 is open to new pods already',
      support.action(fake, 'uncordon', { node = 'node-2' }).look().nothing)
  end)

  it('takes the last node that new pods have only where a person says so', function()
    local tainted = fakes.node 'node-4'
    tainted.spec.taints = { { key = 'node-role.kubernetes.io/control-plane', effect =
      'NoSchedule' } }
    local down = fakes.node 'node-5'
    down.status.conditions[1].status = 'Unknown'
    local fake = support.fake { nodes = 2, objects = { unschedulable 'node-3', tainted, down } }
    assert.same({ 'only one other node takes new pods' }, cordon(fake).look().warnings)
    fake:put(unschedulable 'node-2')
    local last = cordon(fake)
    local seen = last.look()
    assert.is_nil(seen.refusal)
    assert.same({ 'no other node takes new pods' }, seen.warnings)
    assert.equal('no other node takes new pods', seen.owner) -- auto becomes recommend
    assert.equal('succeeded', last.run().result)
    assert.is_nil(support.action(fake, 'uncordon', { node = 'node-1' }).look().owner)
  end)

  it('reads again while the status of the node changes', function()
    local fake = support.fake { nodes = 2 }
    local a = cordon(fake)
    a.look()
    fake:fault { method = 'PATCH', path = '/nodes/', status = 409, times = 2 }
    assert.equal('succeeded', a.run().result)
  end)

  it('tells what it does not know from what did not happen', function()
    for _, case in ipairs { { { drop = 'after' }, 'unknown', 'succeeded' },
      { { drop = 'before' }, 'unknown', 'not_done' },
      { { status = 403 }, 'failed', 'not_done' } } do
      local fake = support.fake { nodes = 2 }
      local a = cordon(fake)
      a.look()
      case[1].method, case[1].path = 'PATCH', '/nodes/'
      fake:fault(case[1])
      assert.same({ case[2], case[3] }, { a.run().result, a.find_out().result })
    end
  end)

  it('never takes a node that was made anew for the one that was looked at', function()
    local fake = support.fake { nodes = 3 }
    local a = cordon(fake)
    a.look()
    fake:remove('Node', nil, 'node-1')
    assert.equal('failed', a.run().result)
    fake:put(fakes.node 'node-1')
    assert.equal('failed', a.run().result)
    assert.equal('unknown', a.find_out().result)
    assert.is_false(is_cordoned(fake))
  end)
end)
