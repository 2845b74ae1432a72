--- The remediations of the user, as they are, from a metric or an alert to Kubernetes.
local alertmanager = require 'alertmanager'
local clock = require 'perigee.clock'
local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local kubernetes = require 'fakes.kubernetes'
local remote = require 'fakes.kubernetes_remote'
local world = require 'e2e.world'

local SEEDS <const> = '../shared/seeds/000_5176c5c3da204663.txt'
local MEMORY <const> = 'container_memory_usage_bytes > 0.9 * container_spec_memory_limit_bytes'
local CPU <const> = 'avg(container_cpu_usage_seconds_total) > 0.8'

local KUBECONFIG <const> = [[
apiVersion: v1
kind: Config
current-context: test
contexts: [ { name: test, context: { cluster: test, user: test, namespace: shop } } ]
clusters: [ { name: test, cluster: { server: "%s" } } ]
users: [ { name: test, user: {} } ]
]]

-- Without the examples beside this folder, the same in short.
local SHORT <const> = [[
remediations:
  - { name: pod-restart, trigger: { type: metric, query: "]] .. MEMORY .. [[", duration: 5m },
      action: { type: restart, target: pod }, trust_level: auto }
  - { name: horizontal-scale, trigger: { type: metric, query: "]] .. CPU .. [[", duration: 10m },
      action: { type: scale, target: deployment, min: 2, max: 10, increment: 2 },
      trust_level: auto }
  - { name: rollback-deployment, trigger: { type: event, source: prometheus, alert: HighErrorRate },
      action: { type: rollback, target: deployment, revisions_back: 1 },
      trust_level: human_approve }
]]

local w, source, cluster, p

--- The remediations, with durations that a test can wait for.
local function remediations()
  local seeds = file.read(SEEDS, 1 << 20)
  local text = seeds and seeds:match '# auto%-remediation%-operator%.yaml\n(.-)\n```' or SHORT
  return (text:gsub('duration: %d+m', 'duration: 1s'))
end

before_each(function()
  w, source = world.new(), fake.serve()
  local checkout = kubernetes.deployment('shop/checkout', { image = 'checkout:1', replicas = 3 })
  cluster = remote.start(w, { objects = { checkout } })
  checkout.spec.template.spec.containers[1].image = 'checkout:2'
  cluster:put(checkout)
  p = w:perigee { source = source.url, tokens = { anna = 'approver', otto = 'alert_sender',
      admin = 'admin' }, rules = { ['remediations.yaml'] = remediations() },
    config = ([[
rules: ["rules/*"]
evaluation_interval: 1s
kubernetes: { kubeconfig: "%s" }
guardrails: { dry_run: false, cooldown: 0s, namespaces: [shop], blast_radius: 0.5 }
]]):format(w:write('kubeconfig', KUBECONFIG:format(cluster.url))) }
end)
after_each(function()
  w:close()
  source.close()
end)

local function plan(playbook, state)
  return w:wait_for(('a plan of %s that is %s'):format(playbook, state), 20, function()
    for _, one in ipairs(p:get '/api/v1/plans') do
      if one.playbook == playbook and one.state == state then return one end
    end
  end)
end

local function pods()
  local out = {}
  for _, pod in ipairs(cluster:list('Pod', 'shop')) do
    if not pod.metadata.deletionTimestamp then out[#out + 1] = pod end
  end
  return out
end

describe('the remediations of the user', function()
  it('restart the pod that the series names, by itself', function()
    local pod = pods()[1]
    source.values[MEMORY] = { { labels = { namespace = 'shop', pod = pod.metadata.name,
      container = 'checkout' }, value = 1e9 } }
    local done = plan('pod-restart', 'executed')
    assert.equal('kubernetes.restart', done.actions[1].name)
    assert.same({ namespace = 'shop', pod = pod.metadata.name }, done.actions[1].args)
    for _, now in ipairs(pods()) do assert.not_equal(pod.metadata.uid, now.metadata.uid) end
    assert.equal(3, #pods())
  end)

  it('say which label is missing where the query has aggregated all away', function()
    source.values[CPU] = { { labels = {}, value = 0.9 } }
    local blocked = plan('horizontal-scale', 'blocked')
    assert.equal('the label "namespace" is missing: in which namespace is it?', blocked.reason)
    for _, words in ipairs { { 'why', blocked.id }, { 'why-not', 'horizontal-scale' } } do
      local status, out, err = p:cli('admin', table.unpack(words))
      assert.is_true(status < 2, err)
      assert.matches('the label "namespace" is missing', out)
    end
    assert.equal(3, #pods())
  end)

  it('scale the Deployment that owns the pod of the series', function()
    source.values[CPU] = { { labels = { namespace = 'shop', pod = pods()[1].metadata.name },
      value = 0.9 } }
    local done = plan('horizontal-scale', 'executed')
    assert.same({ namespace = 'shop', deployment = 'checkout', min = 2, max = 10, increment = 2 },
      done.actions[1].args)
    assert.equal(5, cluster:get('Deployment', 'shop', 'checkout').spec.replicas)
  end)

  it('roll back once for an alert that was acknowledged just before a crash, when approved',
    function()
      local labels = { alertname = 'HighErrorRate', namespace = 'shop', deployment = 'checkout' }
      local body = { version = '4', status = 'firing', receiver = 'perigee', groupKey = '{}',
        groupLabels = {}, commonLabels = {}, commonAnnotations = {}, externalURL = '',
        truncatedAlerts = 0, alerts = { { status = 'firing', labels = labels,
          annotations = {}, startsAt = clock.text(clock.now()),
          endsAt = '0001-01-01T00:00:00Z', generatorURL = '',
          fingerprint = alertmanager.fingerprint(labels) } } }
      assert.is_truthy((p:api('POST', '/api/v1/webhook/alertmanager', body, 'otto')))
      p:stop(9)
      p:start()
      assert.is_truthy((p:api('POST', '/api/v1/webhook/alertmanager', body, 'otto')))
      local waiting = plan('rollback-deployment', 'pending')
      assert.is_truthy((p:api('POST', ('/api/v1/plans/%s/approve'):format(waiting.id),
        { digest = waiting.digest }, 'anna')))
      plan('rollback-deployment', 'executed')
      local template = cluster:get('Deployment', 'shop', 'checkout').spec.template
      assert.equal('checkout:1', template.spec.containers[1].image)
      local n = 0
      for _, one in ipairs(p:get '/api/v1/plans') do
        n = n + (one.playbook == 'rollback-deployment' and 1 or 0)
      end
      assert.equal(1, n)
    end)
end)
