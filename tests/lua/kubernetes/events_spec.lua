local clock = require 'perigee.clock'
local fakes = require 'fakes.kubernetes'
local kubernetes = require 'kubernetes'
local log = require 'log'
local support = require 'lua.kubernetes.support'

local fake, k, checkout, now
local monotonic = clock.monotonic

before_each(function()
  fake = fakes.start { objects = { fakes.deployment 'shop/checkout' } }
  k = assert(kubernetes.client { kubeconfig = support.kubeconfig(fake.url) })
  checkout, now = assert(k:get('deployments', 'shop', 'checkout')), 1000
  clock.monotonic = function() return now end
end)
after_each(function()
  clock.monotonic = monotonic
  fake:stop()
end)
teardown(support.tidy)

local function tell(message, more)
  local o = { reason = 'Scaled', action = 'Scale', message = message }
  for key, value in pairs(more or {}) do o[key] = value end
  return k:event(checkout, o)
end

local function stored()
  local out = assert(k:list('events', 'shop')).items
  table.sort(out, function(a, b) return a.message < b.message end)
  return out
end

describe('kubernetes client:event', function()
  it('tells what was done to an object, where its owners look', function()
    assert.is_true(tell('from 3 to 5 replicas', { type = 'Warning' }))
    local e = stored()[1]
    assert.same({ 'Warning', 'Scaled', 'Scale', 'from 3 to 5 replicas', 1, 'perigee', 'perigee' },
      { e.type, e.reason, e.action, e.message, e.count, e.source.component, e.reportingComponent })
    assert.same({ 'apps/v1', 'Deployment', 'shop', 'checkout', checkout.metadata.uid },
      { e.involvedObject.apiVersion, e.involvedObject.kind, e.involvedObject.namespace,
        e.involvedObject.name, e.involvedObject.uid })
    assert.matches('^checkout%.%x+$', e.metadata.name)
    assert.matches('^%d+%-%d+%-%d+T%d+:%d+:%d+Z$', e.firstTimestamp)
  end)

  it('folds identical ones into a count', function()
    for _ = 1, 3 do assert.is_true(tell 'the same') end
    local found = stored()
    assert.same({ 1, 3 }, { #found, found[1].count })
    fake:remove('Event', 'shop', found[1].metadata.name) -- as the server does after an hour
    assert.is_true(tell 'the same')
    found = stored()
    assert.same({ 1, 1 }, { #found, found[1].count })
  end)

  it('makes one summary of many that are similar', function()
    for i = 1, 14 do assert.is_true(tell('number ' .. i)) end
    local found = stored()
    assert.equal(10, #found)
    assert.equal('(combined from similar events): number 14', found[1].message)
    assert.equal(5, found[1].count)
    now = now + 601
    assert.is_true(tell 'number 15')
    assert.equal(11, #stored())
  end)

  it('gives one object only so many, and others theirs', function()
    for _ = 1, 25 do assert.is_true(tell 'again') end
    assert.is_false(tell 'again')
    assert.is_false(tell('other', { reason = 'Other' }))
    local pod = assert(k:list('pods', 'shop')).items[1]
    assert.is_true(k:event(pod, { reason = 'Evicted', message = 'a' }))
    now = now + 300
    assert.is_true(tell 'again')
    assert.is_false(tell 'again')
  end)

  it('holds the size of a message, and no secret', function()
    log.secret 'a-secret-of-ours'
    assert.is_true(tell('a-secret-of-ours ' .. ('ü'):rep(1000)))
    local message = stored()[1].message
    assert.is_nil(message:find('a-secret-of-ours', 1, true))
    assert.is_true(#message <= 1024 and #message > 1000)
    assert.truthy(utf8.len(message))
  end)

  it('tells what is wrong with an event, and what the server refuses', function()
    for _, o in ipairs { { message = 'a' }, { reason = 'two words', message = 'a' },
      { reason = 'A' }, { reason = 'A', message = 'a', type = 'Fatal' },
      { reason = 'A', message = 'a', action = '' } } do
      assert.equal('invalid', select(2, k:event(checkout, o)).kind)
    end
    assert.equal('invalid', select(2, k:event({ metadata = { name = '../x' } },
      { reason = 'A', message = 'a' })).kind)
    fake:fault { method = 'POST', path = '/events', status = 403 }
    assert.equal(403, select(2, tell 'refused').status)
    assert.is_true(tell 'refused')
  end)

  it('lies in namespace default for what lies in none', function()
    local node = assert(k:list('nodes')).items[1]
    assert.is_true(k:event(node, { reason = 'Cordoned', message = 'a' }))
    assert.equal(node.metadata.name,
      assert(k:list('events', 'default')).items[1].involvedObject.name)
  end)
end)
