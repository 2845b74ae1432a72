--- rules/self_healing.lua, as it is shipped but for its durations, from a series or an alert to the
--- cluster, with the rights of examples/kubernetes/rbac and no others.
local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local kubernetes = require 'fakes.kubernetes'
local yaml = require 'yaml'
local world = require 'e2e.world'

local TOKEN = 'the-token-of-perigee'
local RIGHTS = { 'read', 'restart-pods', 'scale', 'change-workloads', 'events' }

local KUBECONFIG = [[
apiVersion: v1
kind: Config
current-context: here
clusters: [ { name: here, cluster: { server: "%s" } } ]
contexts: [ { name: here, context: { cluster: here, user: perigee } } ]
users: [ { name: perigee, user: { tokenFile: token } } ]
]]

local w, source, cluster, p

--- The cluster: a Deployment with an earlier revision, and who Perigee is in it.
local function start_cluster()
  local out = kubernetes.start { tokens = { [TOKEN] = 'system:serviceaccount:perigee:perigee' },
    objects = { kubernetes.deployment('shop/checkout', { image = 'checkout:1', replicas = 5 }) } }
  out:put(kubernetes.deployment('shop/checkout', { image = 'checkout:2', replicas = 5 }))
  for _, name in ipairs(RIGHTS) do
    local text = assert(file.read('examples/kubernetes/rbac/' .. name .. '.yaml'))
    for document in (text .. '\n---\n'):gmatch '(.-)\n%-%-%-\n' do
      out:put(assert(yaml.decode(document)))
    end
  end
  return out
end

before_each(function()
  w, source, cluster = world.new(), fake.serve(), start_cluster()
  w:write('token', TOKEN .. '\n')
  local rules = assert(file.read 'rules/self_healing.lua')
  p = w:perigee { source = source.url,
    tokens = { admin = 'admin', anna = 'approver', otto = 'alert_sender' },
    rules = { ['self_healing.lua'] = (rules:gsub('hold_for = "%d+m"', 'hold_for = "0s", '
      .. 'every = "1s"')) },
    config = ('kubernetes: { kubeconfig: "%s" }\nguardrails: { dry_run: false, cooldown: 0s, '
      .. 'namespaces: [shop] }\n'):format(w:write('kubeconfig', KUBECONFIG:format(cluster.url))) }
end)
after_each(function()
  w:close()
  source.close()
  cluster:stop()
end)

--- The query of a playbook, as the source is asked it.
local function query(pattern)
  return w:wait_for('the query', 10, function()
    for _, request in ipairs(source.asked) do
      local asked = require('http').parse_form(request.body ~= '' and request.body
        or request.query).query
      if asked and asked:find(pattern) then return asked end
    end
  end)
end

local function plan(playbook, state)
  return w:wait_for(('a plan of %s to be %s'):format(playbook, state), 20, function()
    for _, found in ipairs(p:get '/api/v1/plans') do
      if found.playbook == playbook and found.state == state then return found end
    end
  end)
end

local function checkout() return cluster:get('Deployment', 'shop', 'checkout') end

--- How often a write was sent that is no rehearsal.
local function writes(method, path)
  local n = 0
  for _, r in ipairs(cluster:asked(method, path)) do
    n = n + ((r.query .. r.body):find 'dryRun' and 0 or 1)
  end
  return n
end

describe('self-healing', function()
  it('restarts a pod, adds replicas, and goes back a revision once a person agrees', function()
    local pod = cluster:list('Pod', 'shop')[1].metadata
    source.values[query 'working_set'] =
      { { labels = { namespace = 'shop', pod = pod.name }, value = 1e9 } }
    local done = plan('pod-restart', 'executed')
    assert.matches('is gone; 5 of 5 pods of ReplicaSet', done.actions[1].outcome.message, 1, true)
    assert.matches(('evict Pod shop/%s of Deployment shop/checkout'):format(pod.name),
      done.actions[1].preview.summary, 1, true)
    assert.is_nil(cluster:get('Pod', 'shop', pod.name))
    assert.equal(1, writes('POST', '/eviction'))

    source.values[query 'cpu_usage'] =
      { { labels = { namespace = 'shop', workload = 'checkout' }, value = 0.9 } }
    done = plan('horizontal-scale', 'executed')
    assert.equal('  spec.replicas: 5 → 7', done.actions[1].preview.diff)
    assert.equal(7, checkout().spec.replicas)
    assert.equal(1, writes('PUT', '/scale'))

    local _, status = p:api('POST', '/api/v1/webhook/alertmanager', { version = '4', groupKey = 'g',
      status = 'firing', receiver = 'perigee', alerts = { { status = 'firing', labels = {
        alertname = 'HighErrorRate', namespace = 'shop', deployment = 'checkout' },
        annotations = {}, startsAt = '2026-01-01T00:00:00Z', endsAt = '0001-01-01T00:00:00Z',
        fingerprint = '0123456789abcdef', generatorURL = '' } } }, 'otto')
    assert.equal(200, status)
    local waiting = plan('rollback-deployment', 'pending')
    assert.equal('checkout:2', checkout().spec.template.spec.containers[1].image)
    assert.equal(200, select(2, p:api('POST', ('/api/v1/plans/%s/approve'):format(waiting.id),
      { digest = waiting.digest }, 'anna')))
    plan('rollback-deployment', 'executed')
    assert.equal('checkout:1', checkout().spec.template.spec.containers[1].image)
    assert.equal(1, writes('PATCH', '/deployments/'))

    w:wait_for('the events', 10, function() return #cluster:list('Event', 'shop') >= 3 end)
    assert.equal(3, #p:get '/api/v1/plans')
  end)
end)
