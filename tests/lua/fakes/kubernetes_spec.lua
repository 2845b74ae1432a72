local async = require 'async'
local clock = require 'perigee.clock'
local http = require 'http'
local json = require 'json'
local kubernetes = require 'fakes.kubernetes'
local remote = require 'fakes.kubernetes_remote'
local testing = require 'testing.world'

local STRATEGIC = 'application/strategic-merge-patch+json'
local MERGE = 'application/merge-patch+json'
local JSON_PATCH = 'application/json-patch+json'
local APPLY = 'application/apply-patch+yaml'
local DEPLOYMENTS = '/apis/apps/v1/namespaces/shop/deployments'
local CHECKOUT = DEPLOYMENTS .. '/checkout'
local PODS = '/api/v1/namespaces/shop/pods'

local fake

--- Status and object of the answer to a request.
local function ask(method, path, body, content_type, token)
  local response = assert(http.request { method = method, url = fake.url .. path,
    body = body and (type(body) == 'string' and body or json.encode(body)),
    headers = { ['Content-Type'] = content_type or 'application/json',
      Authorization = token and 'Bearer ' .. token }, max_body = 16 << 20 })
  return response.status, json.decode(response.body), response
end

local function start(options)
  options = options or {}
  options.objects = options.objects or { kubernetes.deployment 'shop/checkout' }
  fake = kubernetes.start(options)
  return fake
end

local function deployment() return fake:get('Deployment', 'shop', 'checkout') end

local function set_image(image)
  local code, object = ask('PATCH', CHECKOUT, { spec = { template = { spec = { containers = {
    { name = 'checkout', image = image } } } } } }, STRATEGIC)
  assert.equal(200, code)
  return object
end

--- The ReplicaSets as "image: revision x replicas".
local function sets()
  local out = {}
  for i, s in ipairs(fake:list('ReplicaSet', 'shop')) do
    out[i] = ('%s: %s x %d'):format(s.spec.template.spec.containers[1].image,
      s.metadata.annotations['deployment.kubernetes.io/revision'], s.spec.replicas)
  end
  table.sort(out)
  return out
end

local function pod_names(app)
  local out = {}
  for _, p in ipairs(fake:list('Pod', 'shop')) do
    if p.metadata.labels.app == app and not p.metadata.deletionTimestamp then
      out[#out + 1] = p.metadata.name
    end
  end
  return out
end

local function condition(object, type_)
  for _, c in ipairs(object.status.conditions) do
    if c.type == type_ then return c.status, c.reason end
  end
end

after_each(function()
  if fake then fake:stop() end
  fake = nil
  clock.make_real()
end)

describe('what the fake stores', function()
  it('counts generations with the spec, and versions with every change', function()
    start()
    local before = deployment().metadata
    local _, labelled = ask('PATCH', CHECKOUT, { metadata = { labels = { a = 'b' } } }, MERGE)
    assert.equal(before.generation, labelled.metadata.generation)
    assert.not_equal(before.resourceVersion, labelled.metadata.resourceVersion)
    local _, scaled = ask('PATCH', CHECKOUT, { spec = { replicas = 4 } }, MERGE)
    assert.equal(before.generation + 1, scaled.metadata.generation)
    local version = fake.store.version
    local _, again = ask('PATCH', CHECKOUT, { spec = { replicas = 4 } }, MERGE)
    assert.same({ version, before.generation + 1 }, { fake.store.version,
      again.metadata.generation })
  end)

  it('refuses what is stale, what is another, and what is there', function()
    start()
    local old = deployment()
    set_image 'checkout:2'
    assert.equal(409, (ask('PUT', CHECKOUT, old)))
    assert.equal(409, (ask('PATCH', CHECKOUT, { metadata = { resourceVersion = '1' } }, MERGE)))
    assert.equal(409, (ask('PATCH', CHECKOUT, { { op = 'replace', path =
      '/metadata/resourceVersion', value = '1' } }, JSON_PATCH)))
    local code, status = ask('POST', DEPLOYMENTS, kubernetes.deployment 'shop/checkout')
    assert.same({ 409, 'AlreadyExists' }, { code, status.reason })
    code, status = ask('GET', DEPLOYMENTS .. '/nothing')
    assert.same({ 404, 'NotFound', 'deployments.apps "nothing" not found' },
      { code, status.reason, status.message })
  end)

  it('wants names that fit, and versions where a kind is not replaced without one', function()
    start()
    assert.equal(400, (ask('PUT', CHECKOUT .. '/scale', { spec = { replicas = 1 } })))
    assert.equal(400, (ask('PUT', CHECKOUT, kubernetes.deployment 'shop/other')))
    assert.equal(422, (ask('POST', DEPLOYMENTS, kubernetes.deployment 'shop/Not_A_Name')))
    assert.equal(404, (ask('POST', '/apis/apps/v1/namespaces/nowhere/deployments',
      kubernetes.deployment 'nowhere/checkout')))
    local leases = '/apis/coordination.k8s.io/v1/namespaces/shop/leases'
    local lease = { metadata = { name = 'leader' }, spec = { holderIdentity = 'a' } }
    assert.equal(201, (ask('POST', leases, lease)))
    assert.equal(422, (ask('PUT', leases .. '/leader', lease)))
    lease.spec.renewTime = '2026-01-02T03:04:05Z' -- six decimals, or nothing
    assert.equal(400, (ask('PATCH', leases .. '/leader', lease, MERGE)))
    lease = { metadata = { name = 'other', resourceVersion = '1' } }
    assert.equal(500, (ask('POST', leases, lease)))
  end)

  it('takes Events as the server does, old and new', function()
    start()
    local events = '/api/v1/namespaces/shop/events'
    local function event(more)
      local e = { metadata = { name = 'e.' .. fake.store.version }, reason = 'Tried',
        involvedObject = { kind = 'Deployment', name = 'checkout', namespace = 'shop' } }
      for k, v in pairs(more) do e[k] = v end
      return (ask('POST', events, e))
    end
    assert.equal(201, event { count = 1 })
    assert.equal(422, event { involvedObject = { name = 'x', namespace = 'other' } })
    assert.equal(422, event { eventTime = '2026-01-02T03:04:05.000000Z' })
    assert.equal(201, event { eventTime = '2026-01-02T03:04:05.000000Z', action = 'Try',
      reportingComponent = 'perigee', reportingInstance = 'perigee-0', type = 'Normal' })
  end)

  it('stores nothing of a dry run, but answers what would be', function()
    start()
    local version = fake.store.version
    local code, object = ask('PATCH', CHECKOUT .. '?dryRun=All', { spec = { replicas = 9 } },
      MERGE)
    assert.same({ 200, 9, 2 }, { code, object.spec.replicas, object.metadata.generation })
    code = ask('POST', DEPLOYMENTS .. '?dryRun=All', kubernetes.deployment 'shop/other')
    assert.equal(201, code)
    local pod = pod_names('checkout')[1]
    assert.equal(200, (ask('DELETE', PODS .. '/' .. pod .. '?dryRun=All')))
    assert.equal(201, (ask('POST', PODS .. '/' .. pod .. '/eviction', { apiVersion = 'policy/v1',
      kind = 'Eviction', metadata = { name = pod }, deleteOptions = { dryRun = { 'All' } } })))
    assert.equal(version, fake.store.version)
  end)
end)

describe('patches of the fake', function()
  it('merge lists by key in a strategic merge, and replace them in others', function()
    start()
    local change = { spec = { template = { spec = { containers = { { name = 'checkout', image =
      'checkout:2', env = { { name = 'A', value = '1' } } } } } } } }
    ask('PATCH', CHECKOUT, change, STRATEGIC)
    change.spec.template.spec.containers[1].env[1] = { name = 'B', value = '2' }
    local _, object = ask('PATCH', CHECKOUT, change, STRATEGIC)
    assert.equal(2, #object.spec.template.spec.containers[1].env)
    _, object = ask('PATCH', CHECKOUT, change, MERGE)
    assert.same({ { name = 'B', value = '2' } }, object.spec.template.spec.containers[1].env)
    change.spec.template.spec.containers[1] = { name = 'checkout', env = {
      { name = 'B', ['$patch'] = 'delete' } } }
    _, object = ask('PATCH', CHECKOUT, change, STRATEGIC)
    assert.same({}, object.spec.template.spec.containers[1].env)
    assert.equal('checkout:2', object.spec.template.spec.containers[1].image)
  end)

  it('put what is new in a merged list first, and keep the order of the rest', function()
    start()
    local function names(...)
      local containers = {}
      for i, name in ipairs { ... } do containers[i] = { name = name, image = 'x:1' } end
      local _, object = ask('PATCH', CHECKOUT, { spec = { template = { spec = {
        containers = containers } } } }, STRATEGIC)
      local out = {}
      for i, c in ipairs(object.spec.template.spec.containers) do out[i] = c.name end
      return table.concat(out, ' ')
    end
    assert.equal('b checkout', names 'b')
    assert.equal('c b checkout', names 'c')
    assert.equal('c b checkout', names 'b')
    assert.equal('c b checkout d', names('checkout', 'd'))
  end)

  it('know null, and directives', function()
    start()
    ask('PATCH', CHECKOUT, { metadata = { labels = { a = 'b' } } }, STRATEGIC)
    local _, object = ask('PATCH', CHECKOUT, '{"metadata":{"labels":{"a":null}}}', MERGE)
    assert.is_nil(object.metadata.labels.a)
    _, object = ask('PATCH', CHECKOUT, { spec = { template = { ['$patch'] = 'replace', metadata = {
      labels = { app = 'checkout' } }, spec = { containers = { { name = 'new', image =
      'new:1' } } } } } }, STRATEGIC)
    assert.equal('new', object.spec.template.spec.containers[1].name)
  end)

  it('answer 422 for a JSON Patch whose test fails, and for a path that is not there', function()
    start()
    local code, status = ask('PATCH', CHECKOUT, { { op = 'test', path = '/spec/replicas',
      value = 7 } }, JSON_PATCH)
    assert.same({ 422, 'Invalid' }, { code, status.reason })
    assert.equal(422, (ask('PATCH', CHECKOUT, { { op = 'replace', path = '/spec/nothing',
      value = 7 } }, JSON_PATCH)))
    local object
    code, object = ask('PATCH', CHECKOUT, { { op = 'test', path = '/spec/replicas', value = 3 },
      { op = 'replace', path = '/spec/replicas', value = 4 },
      { op = 'add', path = '/metadata/annotations/a~1b', value = 'c' } }, JSON_PATCH)
    assert.same({ 200, 4, 'c' }, { code, object.spec.replicas,
      object.metadata.annotations['a/b'] })
  end)

  it('are refused with the wrong type, broken, or making nonsense', function()
    start()
    assert.equal(415, (ask('PATCH', CHECKOUT, { spec = { replicas = 4 } })))
    assert.equal(400, (ask('PATCH', CHECKOUT, '{', MERGE)))
    for _, change in ipairs { '{"spec":{"replicas":"many"}}', '{"spec":{"replicas":2.5}}',
      '{"spec":{"replicas":-1}}', '{"spec":{"selector":null}}',
      '{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}',
      '{"metadata":{"labels":{"a":7.5}}}' } do
      local code, status = ask('PATCH', CHECKOUT, change, MERGE)
      assert.same({ 422, 'Invalid' }, { code, status.reason }, change)
    end
  end)

  it('drop fields that are not known with a warning, or refuse them when strict', function()
    start()
    local code, object, response = ask('PATCH', CHECKOUT, { spec = { replicaz = 4 } }, MERGE)
    assert.same({ 200, nil }, { code, object.spec.replicaz })
    assert.equal('299 - "unknown field \\"spec.replicaz\\""', response.headers.warning)
    assert.equal(422, (ask('PATCH', CHECKOUT .. '?fieldValidation=Strict',
      { spec = { replicaz = 4 } }, MERGE)))
  end)

  it('apply with owners: conflicts, force, and fields that are given up', function()
    start()
    local config = { apiVersion = 'v1', kind = 'ConfigMap', data = { a = '1', b = '2' } }
    local path = '/api/v1/namespaces/shop/configmaps/c'
    assert.equal(422, (ask('PATCH', path, config, APPLY)))
    assert.equal(201, (ask('PATCH', path .. '?fieldManager=one', config, APPLY)))
    config.data = { a = '1' }
    local code, object = ask('PATCH', path .. '?fieldManager=one', config, APPLY)
    assert.same({ 200, { a = '1' } }, { code, object.data })
    config.data.a = '9'
    local status
    code, status = ask('PATCH', path .. '?fieldManager=two', config, APPLY)
    assert.same({ 409, 'Conflict', 'FieldManagerConflict', '.data.a' }, { code, status.reason,
      status.details.causes[1].reason, status.details.causes[1].field })
    code, object = ask('PATCH', path .. '?fieldManager=two&force=true', config, APPLY)
    assert.same({ 200, '9', 1, 'two' }, { code, object.data.a, #object.metadata.managedFields,
      object.metadata.managedFields[1].manager })
  end)

  it('note who owns what', function()
    start()
    ask('PATCH', CHECKOUT .. '?fieldManager=perigee', { spec = { replicas = 4 } }, MERGE)
    local owners = {}
    for _, e in ipairs(deployment().metadata.managedFields) do
      if (e.fieldsV1['f:spec'] or {})['f:replicas'] then table.insert(owners, e.manager) end
    end
    assert.same({ 'perigee' }, owners)
  end)
end)

describe('the controllers of the fake', function()
  it('roll a Deployment out, number its ReplicaSets, and use old ones again', function()
    start()
    assert.same({ 'checkout:1: 1 x 3' }, sets())
    set_image 'checkout:2'
    set_image 'checkout:3'
    assert.same({ 'checkout:1: 1 x 0', 'checkout:2: 2 x 0', 'checkout:3: 3 x 3' }, sets())
    set_image 'checkout:1'
    assert.same({ 'checkout:1: 4 x 3', 'checkout:2: 2 x 0', 'checkout:3: 3 x 0' }, sets())
    local d = deployment()
    assert.equal('4', d.metadata.annotations['deployment.kubernetes.io/revision'])
    assert.same({ d.metadata.generation, 3, 3, 3 }, { d.status.observedGeneration,
      d.status.replicas, d.status.updatedReplicas, d.status.availableReplicas })
    assert.equal(3, #pod_names 'checkout')
  end)

  it('keep so many old ReplicaSets as they are told to', function()
    start { objects = { kubernetes.deployment('shop/checkout',
      { spec = { revisionHistoryLimit = 1 } }) } }
    for i = 2, 4 do set_image('checkout:' .. i) end
    assert.same({ 'checkout:3: 3 x 0', 'checkout:4: 4 x 3' }, sets())
  end)

  it('get stuck with an image that cannot be had, until another comes', function()
    start { manual = true, objects = { kubernetes.deployment('shop/checkout',
      { spec = { progressDeadlineSeconds = 30 } }) } }
    fake:settle()
    set_image 'checkout:bad'
    fake:settle()
    assert.same({ 'True', 'ReplicaSetUpdated' }, { condition(deployment(), 'Progressing') })
    assert.equal(3, deployment().status.availableReplicas)
    fake:advance(40)
    assert.same({ 'False', 'ProgressDeadlineExceeded' },
      { condition(deployment(), 'Progressing') })
    set_image 'checkout:1'
    fake:settle()
    assert.same({ 'True', 'NewReplicaSetAvailable' }, { condition(deployment(), 'Progressing') })
  end)

  it('give pods their time to become ready, and to end', function()
    start { manual = true, ready_after = 5, terminate_after = 10 }
    fake:settle()
    assert.is_nil(deployment().status.readyReplicas)
    fake:advance(5)
    assert.equal(3, deployment().status.readyReplicas)
    local name = pod_names('checkout')[1]
    local code, pod = ask('DELETE', PODS .. '/' .. name)
    assert.equal(200, code)
    assert.is_string(pod.metadata.deletionTimestamp)
    fake:settle()
    assert.equal(4, #fake:list('Pod', 'shop'))
    assert.equal(2, deployment().status.readyReplicas)
    fake:advance(10)
    assert.equal(3, #fake:list('Pod', 'shop'))
    assert.equal(404, (ask('GET', PODS .. '/' .. name)))
  end)

  it('keep the history of StatefulSets and DaemonSets in ControllerRevisions', function()
    start { objects = { kubernetes.statefulset 'shop/db', kubernetes.daemonset 'shop/agent' } }
    local function history()
      local out = {}
      for _, r in ipairs(fake:list('ControllerRevision', 'shop')) do
        table.insert(out, ('%s %s %d'):format(r.metadata.ownerReferences[1].kind,
          r.data.spec.template.spec.containers[1].image, r.revision))
      end
      table.sort(out)
      return out
    end
    for _, image in ipairs { 'x:2', 'x:1' } do
      for plural, name in pairs { statefulsets = 'db', daemonsets = 'agent' } do
        assert.equal(200, (ask('PATCH', ('/apis/apps/v1/namespaces/shop/%s/%s'):format(plural,
          name), { spec = { template = { spec = { containers = { { name = name,
          image = image == 'x:1' and name .. ':1' or image } } } } } }, STRATEGIC)))
      end
    end
    assert.same({ 'DaemonSet agent:1 3', 'DaemonSet x:2 2', 'StatefulSet db:1 3',
      'StatefulSet x:2 2' }, history())
    assert.same({ 'db-0', 'db-1', 'db-2' }, pod_names 'db')
    local s = fake:get('StatefulSet', 'shop', 'db').status
    assert.same({ s.updateRevision, 3, 3 }, { s.currentRevision, s.updatedReplicas,
      s.readyReplicas })
    assert.equal(2, fake:get('DaemonSet', 'shop', 'agent').status.updatedNumberScheduled)
  end)

  it('take away what has lost its owner', function()
    start()
    assert.equal(200, (ask('DELETE', CHECKOUT)))
    assert.equal(0, #fake:list('Pod', 'shop') + #fake:list('ReplicaSet', 'shop'))
  end)

  it('leave a paused Deployment alone', function()
    start()
    ask('PATCH', CHECKOUT, { spec = { paused = true } }, MERGE)
    set_image 'checkout:2'
    assert.same({ 'checkout:1: 1 x 3' }, sets())
    ask('PATCH', CHECKOUT, { spec = { paused = false } }, MERGE)
    assert.same({ 'checkout:1: 1 x 0', 'checkout:2: 2 x 3' }, sets())
  end)
end)

describe('scale and eviction of the fake', function()
  it('scale with a version, and refuse less than nothing', function()
    start()
    local _, scale = ask('GET', CHECKOUT .. '/scale')
    assert.same({ 'Scale', 3, 3, 'app=checkout' }, { scale.kind, scale.spec.replicas,
      scale.status.replicas, scale.status.selector })
    local old = scale.metadata.resourceVersion
    scale.spec.replicas = 5
    assert.equal(200, (ask('PUT', CHECKOUT .. '/scale', scale)))
    assert.equal(5, deployment().status.readyReplicas)
    assert.equal(409, (ask('PUT', CHECKOUT .. '/scale', scale)))
    assert.equal(409, (ask('PATCH', CHECKOUT .. '/scale', { metadata = { resourceVersion = old },
      spec = { replicas = 6 } }, MERGE)))
    assert.equal(422, (ask('PATCH', CHECKOUT .. '/scale', { spec = { replicas = -1 } }, MERGE)))
    assert.equal(200, (ask('PATCH', CHECKOUT .. '/scale', { spec = { replicas = 1 } }, MERGE)))
    assert.equal(1, #pod_names 'checkout')
  end)

  local function evict(pod, options)
    return ask('POST', ('%s/%s/eviction'):format(PODS, pod), { apiVersion = 'policy/v1',
      kind = 'Eviction', metadata = { name = pod, namespace = 'shop' }, deleteOptions = options })
  end

  it('evict as far as the disruption budget goes', function()
    start { manual = true, ready_after = 5, objects = { kubernetes.deployment 'shop/checkout',
      kubernetes.budget('shop/checkout', { minAvailable = 2 }) } }
    fake:settle()
    fake:advance(5)
    local names = pod_names 'checkout'
    assert.equal(409, (evict(names[1], { preconditions = { uid = 'another' } })))
    assert.equal(201, (evict(names[1])))
    local code, status = evict(names[2])
    assert.same({ 429, 'TooManyRequests', 'DisruptionBudget' }, { code, status.reason,
      status.details.causes[1].reason })
    fake:advance(6)
    assert.equal(201, (evict(names[2])))
    assert.equal(404, (evict 'nothing'))
  end)

  it('answer 500 where two budgets choose a pod', function()
    start { objects = { kubernetes.deployment 'shop/checkout',
      kubernetes.budget('shop/checkout', { minAvailable = 1 }) } }
    local second = kubernetes.budget('shop/checkout', { minAvailable = 1 })
    second.metadata.name = 'second'
    fake:put(second)
    assert.equal(500, (evict(pod_names('checkout')[1])))
  end)
end)

describe('lists and watches of the fake', function()
  local function watch(query, seconds)
    local response = assert(http.request { url = fake.url .. query, timeout = seconds or 10 })
    local lines = {}
    for line in response.body:gmatch '[^\n]+' do lines[#lines + 1] = assert(json.decode(line)) end
    return lines, response
  end

  it('come in pages, by labels and by fields', function()
    start { objects = { kubernetes.deployment('shop/checkout', { replicas = 5 }),
      kubernetes.deployment('shop/other', { replicas = 2 }) } }
    local _, page = ask('GET', PODS .. '?limit=3')
    assert.same({ 3, 4 }, { #page.items, page.metadata.remainingItemCount })
    local token = page.metadata.continue
    local _, rest = ask('GET', PODS .. '?limit=9&continue=' .. http.escape(token))
    assert.same({ 4, nil }, { #rest.items, rest.metadata.continue })
    set_image 'checkout:2'
    fake:compact()
    local code, status = ask('GET', PODS .. '?continue=' .. http.escape(token))
    assert.same({ 410, 'Expired' }, { code, status.reason })
    local _, some = ask('GET', PODS .. '?labelSelector=' .. http.escape 'app in (other),!gone')
    assert.equal(2, #some.items)
    _, some = ask('GET', '/api/v1/pods?fieldSelector=' .. http.escape 'spec.nodeName=node-1')
    for _, pod in ipairs(some.items) do assert.equal('node-1', pod.spec.nodeName) end
    assert.equal(400, (ask('GET', PODS .. '?fieldSelector=' .. http.escape 'spec.x=1')))
  end)

  it('stream changes from a version on, and end by themselves', function()
    start { bookmark_every = 0.2 }
    local version = fake.store.version
    local task = async.spawn(watch, ('%s?watch=1&resourceVersion=%d&timeoutSeconds=1'
      .. '&allowWatchBookmarks=true'):format(DEPLOYMENTS, version))
    async.sleep(0.1)
    ask('PATCH', CHECKOUT, { metadata = { labels = { a = 'b' } } }, MERGE)
    local lines = task:await(10)
    local seen = {}
    for _, line in ipairs(lines) do
      if line.type ~= 'BOOKMARK' then table.insert(seen, line) end
    end
    assert.same({ 1, 'MODIFIED', 'b' }, { #seen, seen[1].type,
      seen[1].object.metadata.labels.a })
    assert.equal('BOOKMARK', lines[#lines].type)
    assert.is_true(tonumber(lines[#lines].object.metadata.resourceVersion) > version)
  end)

  it('show what comes into sight and what leaves it', function()
    start()
    local version = fake.store.version
    ask('PATCH', CHECKOUT, { metadata = { labels = { seen = 'yes' } } }, MERGE)
    ask('PATCH', CHECKOUT, { metadata = { labels = { seen = 'no' } } }, MERGE)
    local lines = watch(('%s?watch=1&resourceVersion=%d&timeoutSeconds=1&labelSelector=seen%%3Dyes')
      :format(DEPLOYMENTS, version))
    assert.same({ 'ADDED', 'DELETED', nil }, { lines[1].type, lines[2].type, lines[3] })
  end)

  it('say that a version is too old by a line, after a restart too', function()
    start()
    local version = fake.store.version
    set_image 'checkout:2'
    fake:restart()
    local lines, response = watch(('%s?watch=1&resourceVersion=%d'):format(DEPLOYMENTS, version))
    assert.same({ 200, 'ERROR', 410, 'Expired' }, { response.status, lines[1].type,
      lines[1].object.code, lines[1].object.reason })
    assert.equal(1, #lines)
  end)
end)

describe('who may what at the fake', function()
  local ROLE = { { kind = 'Role', metadata = { name = 'reader', namespace = 'shop' }, rules = {
      { apiGroups = { 'apps' }, resources = { 'deployments' }, verbs = { 'get' } } } },
    { kind = 'RoleBinding', metadata = { name = 'reader', namespace = 'shop' },
      roleRef = { kind = 'Role', name = 'reader', apiGroup = 'rbac.authorization.k8s.io' },
      subjects = { { kind = 'ServiceAccount', name = 'perigee', namespace = 'perigee' } } } }

  it('is told by tokens and by Roles', function()
    start { tokens = { a = true, b = 'system:serviceaccount:perigee:perigee' } }
    for _, object in ipairs(ROLE) do fake:put(object) end
    assert.equal(200, (ask('GET', DEPLOYMENTS, nil, nil, 'a')))
    assert.equal(200, (ask('GET', CHECKOUT, nil, nil, 'b')))
    local code, status = ask('GET', DEPLOYMENTS, nil, nil, 'b')
    assert.same({ 403, 'Forbidden', 'deployments.apps is forbidden: User '
      .. '"system:serviceaccount:perigee:perigee" cannot list resource "deployments" in API group '
      .. '"apps" in the namespace "shop"' }, { code, status.reason, status.message })
    assert.equal(403, (ask('GET', CHECKOUT .. '/scale', nil, nil, 'b')))
    assert.equal(401, (ask('GET', CHECKOUT, nil, nil, 'c')))
    code, status = ask('GET', CHECKOUT)
    assert.equal(403, code)
    assert.matches('User "system:anonymous" cannot get', status.message)
    assert.equal(200, (ask('GET', '/version')))
  end)

  it('is answered in a SelfSubjectAccessReview', function()
    start { tokens = { b = 'system:serviceaccount:perigee:perigee' } }
    for _, object in ipairs(ROLE) do fake:put(object) end
    for verb, allowed in pairs { get = true, patch = false } do
      local code, review = ask('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        { spec = { resourceAttributes = { namespace = 'shop', verb = verb, group = 'apps',
          resource = 'deployments' } } }, nil, 'b')
      assert.same({ 201, allowed }, { code, review.status.allowed })
    end
  end)
end)

describe('faults of the fake', function()
  it('answer another status, so often', function()
    start()
    local fault = fake:fault { method = 'PATCH', status = 429, retry_after = 7, times = 2 }
    local code, status, response = ask('PATCH', CHECKOUT, {}, MERGE)
    assert.same({ 429, 'TooManyRequests', '7' }, { code, status.reason,
      response.headers['retry-after'] })
    assert.equal(429, (ask('PATCH', CHECKOUT, {}, MERGE)))
    assert.equal(200, (ask('PATCH', CHECKOUT, {}, MERGE)))
    assert.same({ 2, 3 }, { fault.hits, #fake:asked('PATCH', '/checkout$') })
  end)

  it('come in the middle of a watch, too', function()
    start()
    fake:fault { query = 'watch=', status = 504, retry_after = 1, in_stream = true }
    local code, event = ask('GET', DEPLOYMENTS .. '?watch=1')
    assert.same({ 200, 'ERROR', 504, 1 }, { code, event.type, event.object.code,
      event.object.details.retryAfterSeconds })
  end)

  it('drop the connection before or after the change', function()
    start()
    for _, case in ipairs { { 'before', 3 }, { 'after', 6 } } do
      fake:fault { path = '/scale$', drop = case[1], restart = true }
      local _, _, code = http.request { method = 'PATCH', url = fake.url .. CHECKOUT .. '/scale',
        headers = { ['Content-Type'] = MERGE }, body = '{"spec":{"replicas":6}}' }
      assert.equal('reset', code)
      assert.equal(case[2], deployment().spec.replicas)
    end
  end)

  it('tell what has been stored by whom', function()
    start()
    ask('PATCH', CHECKOUT .. '?fieldManager=perigee', { spec = { replicas = 6 } }, MERGE)
    ask('PATCH', CHECKOUT .. '?fieldManager=perigee', { spec = { replicas = 6 } }, MERGE)
    local changes = fake:changes 'perigee'
    assert.same({ 1, 'MODIFIED', 'Deployment', 'checkout' }, { #changes, changes[1].type,
      changes[1].kind, changes[1].name })
  end)
end)

describe('the fake as a program', function()
  it('does what it is told from elsewhere', function()
    local world = testing.new 'perigee-fake'
    local remote_fake = remote.start(world, { objects = { kubernetes.deployment 'shop/checkout' },
      ready_after = 0.1, tokens = { secret = true } })
    local ok, message = pcall(function()
      world:wait_for('the pods', 10, function()
        return remote_fake:get('Deployment', 'shop', 'checkout').status.readyReplicas == 3
      end)
      fake = { url = remote_fake.url, stop = function() end }
      remote_fake:fault { method = 'PATCH', status = 503 }
      local change = { spec = { replicas = 4 } }
      assert.equal(503, (ask('PATCH', CHECKOUT, change, MERGE, 'secret')))
      assert.equal(200, (ask('PATCH', CHECKOUT .. '?fieldManager=perigee', change, MERGE,
        'secret')))
      assert.same({ 1, 2, 1 }, { remote_fake:faults_hit(), #remote_fake:asked('PATCH'),
        #remote_fake:changes 'perigee' })
      remote_fake:set_tokens {}
      assert.equal(401, (ask('GET', CHECKOUT, nil, nil, 'secret')))
    end)
    world:close()
    assert(ok, message)
  end)
end)
