-- The client against an API server as clusters have it: with TLS of an authority of its own, tokens
-- that change, certificates that name the client, HTTP/2 offered.
local async = require 'async'
local base64 = require 'perigee.base64'
local config = require 'kubernetes.config'
local fakes = require 'fakes.kubernetes'
local file = require 'perigee.file'
local kubernetes = require 'kubernetes'
local support = require 'lua.kubernetes.support'
local tls = require 'fakes.kubernetes_tls'

local fake, front

setup(function()
  fake = fakes.start { tokens = { ['the-first-token'] = true }, objects = {
    fakes.deployment 'shop/checkout' } }
  front = tls.start(fake)
end)

teardown(function()
  front.close()
  fake:stop()
  support.tidy()
end)

before_each(function() fake:set_tokens { ['the-first-token'] = true } end)

--- Runs f as in a pod of the cluster, with the folder of its account.
local function in_a_pod(f)
  local getenv, account, folder = os.getenv, config.SERVICE_ACCOUNT, support.folder()
  assert(file.write(folder .. '/ca.crt', assert(file.read(front.ca))))
  assert(file.write(folder .. '/token', 'the-first-token\n'))
  assert(file.write(folder .. '/namespace', 'shop'))
  config.SERVICE_ACCOUNT = folder
  local env = { KUBERNETES_SERVICE_HOST = '127.0.0.1',
    KUBERNETES_SERVICE_PORT = tostring(front.port) }
  rawset(os, 'getenv', function(name) return env[name] or getenv(name) end)
  local ok, message = pcall(f, folder)
  rawset(os, 'getenv', getenv)
  config.SERVICE_ACCOUNT = account
  assert(ok, message)
end

local function kubeconfig(cluster, user)
  local path = support.folder() .. '/config'
  assert(file.write(path, ([[
current-context: c
contexts: [ { name: c, context: { cluster: c, user: u } } ]
clusters: [ { name: c, cluster: { server: "%s", %s } } ]
users: [ { name: u, user: { %s } } ]
]]):format(front.url, cluster, user)))
  return assert(kubernetes.client { kubeconfig = path })
end

local function data(path) return base64.encode(assert(file.read(path))) end

describe('the client over TLS', function()
  it('is its pod\'s account, and reads a token anew that is not known any more', function()
    in_a_pod(function(folder)
      local client = assert(kubernetes.client { in_cluster = true })
      assert.equal('shop', client.namespace)
      assert.equal(3, assert(client:get('deployments', 'shop', 'checkout')).spec.replicas)
      assert(file.write(folder .. '/token', 'the-second-token'))
      fake:set_tokens { ['the-second-token'] = true }
      assert.equal(3, assert(client:get('deployments', 'shop', 'checkout')).spec.replicas)
      fake:set_tokens {}
      local _, failure = client:get('deployments', 'shop', 'checkout')
      assert.equal(401, failure.status)
    end)
  end)

  it('is a certificate\'s user, from files and from the kubeconfig itself', function()
    for _, pair in ipairs {
      { 'certificate-authority: ' .. front.ca, ('client-certificate: %s, client-key: %s'):format(
        front.cert, front.key) },
      { 'certificate-authority-data: ' .. data(front.ca),
        ('client-certificate-data: %s, client-key-data: %s'):format(data(front.cert),
          data(front.key)) } } do
      local client = kubeconfig(table.unpack(pair))
      assert.equal(3, assert(client:get('deployments', 'shop', 'checkout')).spec.replicas)
      assert(client:patch('deployments', 'shop', 'checkout',
        { metadata = { labels = { a = 'b' } } }, { type = 'merge' }))
    end
  end)

  it('believes no other authority, and nobody with another name', function()
    local client = kubeconfig('certificate-authority: /etc/ssl/certs/ca-certificates.crt',
      'token: the-first-token')
    local _, failure = client:get('deployments', 'shop', 'checkout')
    assert.equal('tls', failure.kind)
    client = kubeconfig('certificate-authority: ' .. front.ca .. ', tls-server-name: another',
      'token: the-first-token')
    _, failure = client:get('deployments', 'shop', 'checkout')
    assert.equal('tls', failure.kind)
    client = kubeconfig('certificate-authority: ' .. front.ca
      .. ', tls-server-name: kubernetes.default.svc', 'token: the-first-token')
    assert(client:get('deployments', 'shop', 'checkout'))
  end)

  it('reads lists in pages, many at a time', function()
    local client = kubeconfig('certificate-authority: ' .. front.ca, 'token: the-first-token')
    local reads = {}
    for i = 1, 20 do
      reads[i] = function() return #assert(client:list('pods', 'shop', { limit = 2 })).items end
    end
    for _, n in ipairs(async.all(reads)) do assert.equal(3, n) end
  end)

  it('takes a stream of HTTP/2 that is cut off for a broken connection', function()
    local client = kubeconfig('certificate-authority: ' .. front.ca, 'token: the-first-token')
    fake:fault { method = 'GET', path = 'deployments/checkout', drop = 'before' }
    assert.equal('checkout', assert(client:get('deployments', 'shop', 'checkout')).metadata.name)
    fake:fault { method = 'PATCH', drop = 'after' }
    local n = #fake:asked 'PATCH'
    local _, failure = client:patch('deployments', 'shop', 'checkout',
      { metadata = { labels = { cut = 'off' } } }, { type = 'merge' })
    assert.equal('reset', failure.kind)
    assert.is_nil(failure.unsent) -- it has arrived, and is not sent again by itself
    assert.equal('off', fake:get('Deployment', 'shop', 'checkout').metadata.labels.cut)
    assert.equal(n + 1, #fake:asked 'PATCH')
  end)

  it('watches through restarts and forgotten pasts, and misses nothing in the end', function()
    math.randomseed(20260101)
    local client = kubeconfig('certificate-authority: ' .. front.ca, 'token: the-first-token')
    local seen, relisted = {}, 0
    local task = async.spawn(function()
      return client:watch('configmaps', 'shop', {}, function(event)
        if event.type == 'LISTED' then
          seen, relisted = {}, relisted + 1
          for _, o in ipairs(event.items) do seen[o.metadata.name] = o.data.n end
        elseif event.type == 'DELETED' then
          seen[event.object.metadata.name] = nil
        elseif event.object then
          seen[event.object.metadata.name] = event.object.data.n
        end
      end)
    end)
    local function wait_until(f)
      for _ = 1, 2000 do
        if f() then break end
        async.sleep(0.01)
      end
    end
    wait_until(function() return relisted > 0 end)
    for i = 1, 200 do
      local name, dice = 'c' .. math.random(10), math.random(40)
      if dice < 10 and i % 40 > 0 and fake:get('ConfigMap', 'shop', name) then
        fake:remove('ConfigMap', 'shop', name)
      else
        fake:put { kind = 'ConfigMap', metadata = { name = name, namespace = 'shop' },
          data = { n = tostring(i) } }
      end
      if i % 40 == 0 then fake:restart() end -- before anybody has been told
      if dice % 4 == 0 then async.sleep(0.005) end
    end
    local now = {}
    for _, o in ipairs(fake:list('ConfigMap', 'shop')) do now[o.metadata.name] = o.data.n end
    wait_until(function() return (pcall(assert.same, now, seen)) end)
    task:cancel()
    assert.same(now, seen)
    assert.is_true(relisted > 1)
  end)
end)
