local fake = require 'fakes.kubernetes'
local kubernetes = require 'kubernetes'
local remedy = require 'actions.kubernetes.remedy'
local support = require 'lua.kubernetes.support'

local random = math.random

local RESTART = { type = 'restart', target = 'pod' }
local SCALE = { type = 'scale', target = 'deployment', increment = 1 }

--- What comes of labels: the namespace and name, or the words of why not.
local function says(action, labels, engine)
  local list, failure = remedy.resolve(engine or {}, action, { labels = labels })
  if not list then return failure.message, failure.transient end
  local o = list[1].options
  return o.namespace .. '/' .. o[action.target]
end

describe('labels', function()
  it('say which pod', function()
    assert.equal('shop/a-1', says(RESTART, { namespace = 'shop', pod = 'a-1', instance = 'x' }))
    assert.equal('the label "namespace" is missing: in which namespace is it?',
      says(RESTART, { pod = 'a-1' }))
    assert.equal('the label "pod" is missing: which pod is it?',
      says(RESTART, { namespace = 'shop', pod = '', deployment = 'a' }))
  end)

  it('say it by what the series came with, not by who told of it', function()
    local told = { namespace = 'monitoring', pod = 'kube-state-metrics-1',
      exported_namespace = 'shop', exported_pod = 'a-1' }
    assert.equal('shop/a-1', says(RESTART, told))
    told.exported_pod = nil
    assert.equal('the label "exported_pod" is missing: which pod is it?', says(RESTART, told))
    told.deployment = 'a'
    assert.equal('shop/a', says(SCALE, told))
    told.deployment = nil
    assert.equal('the label "deployment" is missing: which deployment is it? "exported_pod" would '
      .. 'tell, too', says(SCALE, told))
    assert.equal('the label "exported_namespace" is missing: in which namespace is it?',
      says(RESTART, { namespace = 'monitoring', exported_pod = 'a-1' }))
  end)

  it('are hostile text', function()
    for _, text in ipairs { '../kube-system', 'a/b', 'A', 'a b', ('a'):rep(300), '*' } do
      assert.matches('^the label "namespace": expected the name of a namespace',
        says(RESTART, { namespace = text, pod = 'a' }))
      assert.matches('^the label "pod": expected the name of a Kubernetes object',
        says(RESTART, { namespace = 'shop', pod = text }))
    end
  end)

  it('need not say what the remediation says', function()
    assert.equal('shop/a', says({ type = 'scale', target = 'deployment', namespace = 'shop',
      name = 'a' }, {}))
    assert.equal('shop/a-1', says({ type = 'restart', target = 'pod', namespace = 'shop' },
      { namespace = 'other', pod = 'a-1' }))
  end)
end)

describe('the label "pod", for a workload,', function()
  local server, engine
  setup(function()
    server = fake.start { objects = { fake.deployment 'shop/checkout', fake.statefulset 'shop/db',
      { kind = 'Pod', metadata = { name = 'alone', namespace = 'shop' },
        spec = { containers = { { name = 'a', image = 'a:1' } } } } } }
    engine = { kubernetes = assert(kubernetes.client {
      kubeconfig = support.kubeconfig(server.url) }) }
  end)
  teardown(function() server:stop() end)

  local function a_pod_of(name)
    for _, pod in ipairs(assert(engine.kubernetes:list('pods', 'shop')).items) do
      if pod.metadata.name:find('^' .. name .. '%-') then return pod.metadata.name end
    end
  end

  it('leads to it by owner references', function()
    assert.equal('shop/checkout', says(SCALE, { namespace = 'shop', pod = a_pod_of 'checkout' },
      engine))
    assert.equal('shop/db', says({ type = 'rollback', target = 'statefulset' },
      { namespace = 'shop', pod = a_pod_of 'db' }, engine))
  end)

  it('leads to none of another kind, and nowhere where there is none', function()
    assert.equal('Pod shop/db-0 belongs to StatefulSet db, to no Deployment',
      says(SCALE, { namespace = 'shop', pod = 'db-0' }, engine))
    assert.equal('Pod shop/alone has no controller',
      says(SCALE, { namespace = 'shop', pod = 'alone' }, engine))
    assert.equal('Pod shop/gone is gone', says(SCALE, { namespace = 'shop', pod = 'gone' }, engine))
    assert.matches('no cluster is configured', says(SCALE, { namespace = 'shop', pod = 'a' }))
  end)

  it('waits for a server that is not to be had', function()
    local pod = a_pod_of 'checkout'
    server:fault { method = 'GET', path = '/pods/', status = 503, times = 20 }
    rawset(math, 'random', function() return 0 end) -- no pause between attempts
    local _, transient = says(SCALE, { namespace = 'shop', pod = pod }, engine)
    rawset(math, 'random', random)
    assert.is_true(transient)
  end)
end)
