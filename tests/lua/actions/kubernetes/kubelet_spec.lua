local clock = require 'perigee.clock'
local fakes = require 'fakes.kubernetes'
local kubelet = require 'actions.kubernetes.kubelet'
local support = require 'lua.actions.kubernetes.support'

local OBJECT = { spec = { selector = { matchLabels = { app = 'checkout' } } } }

--- A cluster with these pods, and what it was asked.
local function cluster(...)
  local items, asked = { ... }, {}
  return { list = function(_, resource, namespace, o)
    asked[#asked + 1] = ('%s %s %s'):format(resource, namespace, o.label_selector)
    return { items = items }
  end }, asked
end

local NEW, TAKEN = { status = { phase = 'Pending' } },
  { status = { phase = 'Pending', startTime = '2026-01-01T00:00:00Z' } }

describe('waiting for pods', function()
  after_each(support.tidy)

  local function given_up(k, age) return kubelet.given_up(k, 'shop', OBJECT, clock.now() - age) end

  it('is given up where no kubelet takes any of them up, after a while', function()
    local k, asked = cluster(NEW, { metadata = {} })
    assert.is_nil(given_up(k, 29))
    assert.same({}, asked)
    assert.equal('no kubelet has taken up any of 2 pods, so that they become ready is not awaited',
      given_up(k, 31))
    assert.same({ 'pods shop app=checkout' }, asked)
  end)

  it('goes on where one is taken up, where there is none, and where nobody can say', function()
    assert.is_nil(given_up(cluster(NEW, TAKEN), 100))
    assert.is_nil(given_up(cluster { status = { podIP = '10.0.0.1' } }, 100))
    assert.is_nil(given_up(cluster(), 100))
    assert.is_nil(given_up({ list = function() return nil, { message = 'no' } end }, 100))
  end)

  it('ends an action that is done but for that, and says so', function()
    local fake = support.fake { manual = true, ready_after = 1000,
      objects = { fakes.deployment('shop/checkout', { replicas = 2 }) } }
    fake:settle()
    for name, o in pairs { scale = { increment = 1 }, restart = {} } do
      o.namespace, o.deployment = 'shop', 'checkout'
      local a = support.action(fake, name, o)
      a.look()
      a.run()
      fake:settle()
      for _, pod in ipairs(fake:list('Pod', 'shop')) do pod.status = { phase = 'Pending' } end
      assert.is_nil((a.settled()))
      a.context.started_at = clock.now() - 60
      local outcome = a.settled()
      assert.equal('succeeded', outcome.result)
      assert.matches('no kubelet has taken up any', outcome.message)
    end
  end)
end)
