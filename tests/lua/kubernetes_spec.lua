local answers = require 'actions.kubernetes.answers'
local http = require 'http'
local json = require 'json'
local kubernetes = require 'kubernetes'
local raw = require 'fakes.raw'
local support = require 'lua.kubernetes.support'

local answer, status, with = support.answer, support.status, support.with

-- How long is waited between two attempts http_spec tells; here it is not at all.
local random = math.random
setup(function() rawset(math, 'random', function() return 0 end) end)
teardown(function()
  rawset(math, 'random', random)
  support.tidy()
end)

local POD = { kind = 'Pod', apiVersion = 'v1', metadata = { name = 'a', namespace = 'shop' } }

describe('kubernetes client:get', function()
  it('reads an object by its resource, namespace and name', function()
    with(answer(POD), function(k, asked)
      assert.same(POD, k:get('pods', 'shop', 'a'))
      assert.equal('GET', asked[1].method)
      assert.equal('/api/v1/namespaces/shop/pods/a', asked[1].path)
      assert.equal('Bearer test-token-0123456789', asked[1].headers.authorization)
      assert.equal('application/json', asked[1].headers.accept)
      assert(k:get('nodes', nil, 'node-1.example'))
      assert.equal('/api/v1/nodes/node-1.example', asked[2].path)
      for _, name in ipairs { 'deployments', 'deployments.apps' } do
        assert(k:get(name, 'shop', 'a'))
        assert.equal('/apis/apps/v1/namespaces/shop/deployments/a', asked[#asked].path)
      end
      assert(k:get('certificates.v1beta1.cert-manager.io', 'shop', 'a'))
      assert.equal('/apis/cert-manager.io/v1beta1/namespaces/shop/certificates/a',
        asked[#asked].path)
      assert.equal('shop', k.namespace)
    end)
  end)

  it('never lets a name lead elsewhere: what labels hold is hostile text', function()
    with(answer(POD), function(k, asked)
      for _, name in ipairs { '', '.', '..', '../nodes', 'a/../../b', 'a?x=y', 'a%2f', 'A', 'a_b',
        'a b', 'a\0', 'a\n', '-a', 'a-', 'a..b', '.a', 'a.', ('a'):rep(254), 'ä' } do
        local object, failure = k:get('pods', 'shop', name)
        assert.is_nil(object, name)
        assert.same({ 'invalid', true }, { failure.kind, failure.unsent })
        assert.matches('^expected the name of a Kubernetes object, not ', failure.message)
        assert.equal('invalid', select(2, k:delete('pods', 'shop', name)).kind)
        assert.equal('invalid', select(2, k:evict('shop', name)).kind)
      end
      for _, namespace in ipairs { '', 'a.b', '../x', 'Shop', ('a'):rep(64) } do
        assert.matches('name of a namespace', select(2, k:get('pods', namespace, 'a')).message)
        assert.matches('name of a namespace', select(2, k:list('pods', namespace)).message)
      end
      assert.equal('the namespace is missing', select(2, k:get('pods', nil, 'a')).message)
      assert.equal('the name is missing', select(2, k:get('pods', 'shop', nil)).message)
      assert.equal('nodes lie in no namespace', select(2, k:get('nodes', 'shop', 'a')).message)
      assert.matches('^unknown resource "pod"; did you mean "pods"',
        select(2, k:get('pod', 'shop', 'a')).message)
      assert.matches('^unknown resource', select(2, k:get('x.v1.../..', 'shop', 'a')).message)
      assert.matches('^expected a path',
        select(2, k:request('GET', '/api/v1/../../x')).message)
      assert.equal(0, #asked)
    end)
  end)

  it('has the server\'s words for what is refused', function()
    with(status(404, 'NotFound', 'pods "a" not found', { name = 'a', kind = 'pods' }),
      function(k, asked)
        local object, failure = k:get('pods', 'shop', 'a')
        assert.is_nil(object)
        assert.same({ kind = 'status', status = 404, reason = 'NotFound',
          message = 'pods "a" not found' }, failure)
        assert.equal(1, #asked)
      end)
    with({ status = 403, body = '<h1>no</h1>\n' }, function(k)
      assert.same({ kind = 'status', status = 403, reason = 'Forbidden',
        message = 'the server answered 403: <h1>no</h1> ' }, select(2, k:get('pods', 'shop', 'a')))
    end)
    with({ status = 200, body = 'Welcome' }, function(k)
      assert.equal('not_kubernetes', select(2, k:get('pods', 'shop', 'a')).kind)
    end)
    with(status(422, 'Invalid', ('ü'):rep(2000) .. '\n', { causes = {
      { reason = 'FieldValueInvalid', field = 'spec.replicas', message = 'must be more' } } }),
      function(k)
        local failure = select(2, k:get('pods', 'shop', 'a'))
        assert.equal(('ü'):rep(512), failure.message)
        assert.same({ { reason = 'FieldValueInvalid', field = 'spec.replicas',
          message = 'must be more' } }, failure.causes)
      end)
  end)

  it('takes nothing for an object that is none', function()
    local get, list, patch = 'get', 'list', 'patch'
    for _, body in ipairs { '{}', '[]', '[{"metadata":{}}]', '{"metadata":1}', '{"items":[]}',
      'null', '"a"', '<html>', '{"metadata":{', '' } do
      with({ status = 200, body = body }, function(k)
        for _, call in ipairs { get, list, patch } do
          local object, failure = k[call](k, 'pods', 'shop', call ~= list and 'a' or nil, {},
            { type = 'merge' })
          assert.is_nil(object, body)
          assert.equal('not_kubernetes', failure.kind, body)
          assert.is_true(answers.failure(failure, 'it').transient)
          assert.equal('unknown', answers.outcome(failure, 'it').result)
        end
      end)
    end
  end)

  it('asks again where that may help, as often as is bounded', function()
    for _, code in ipairs { 429, 500, 502, 503, 504 } do
      with({ status(code, 'Any', 'later'), answer(POD) }, function(k, asked)
        assert(k:get('pods', 'shop', 'a'))
        assert.equal(2, #asked)
      end)
    end
    with(status(503, 'ServiceUnavailable', 'later', { retryAfterSeconds = 0 }), function(k, asked)
      assert.equal(503, select(2, k:get('pods', 'shop', 'a')).status)
      assert.equal(5, #asked)
    end)
    with(status(409, 'Conflict', 'no', { retryAfterSeconds = 7 }), function(k, asked)
      assert.equal(7, select(2, k:get('pods', 'shop', 'a')).retry_after)
      assert.equal(1, #asked)
    end)
  end)

  it('waits as long as a 429 says, and not longer than a minute', function()
    local task = require 'perigee.task'
    local sleep, waits = task.sleep, {}
    task.sleep = function(seconds) waits[#waits + 1] = seconds end
    local later = status(429, 'TooManyRequests', 'later')
    later.headers['Retry-After'] = '3'
    with({ later, answer(POD) }, function(k) assert(k:get('pods', 'shop', 'a')) end)
    later.headers['Retry-After'] = '61'
    with(later, function(k, asked)
      assert.equal(61, select(2, k:get('pods', 'shop', 'a')).retry_after)
      assert.equal(1, #asked)
    end)
    task.sleep = sleep
    assert.same({ 3 }, waits)
  end)

  it('asks before each time that a write goes out, where it can be stopped', function()
    local later, why = status(429, 'TooManyRequests', 'later', { retryAfterSeconds = 0 }), nil
    local asked_me = 0
    with(later, function(k, asked)
      local stoppable = k:stoppable(function()
        asked_me = asked_me + 1
        return asked_me > 2 and 'stop' or nil
      end)
      why = select(2, stoppable:evict('shop', 'a'))
      assert.same({ 3, 2 }, { asked_me, #asked })
      stoppable:get('pods', 'shop', 'a')
      stoppable:evict('shop', 'a', { dry_run = true })
      stoppable:delete('pods', 'shop', 'a', { dry_run = true })
      assert.equal(3, asked_me)
    end)
    assert.same({ kind = 'halted', unsent = true, message = 'stop' }, why)
  end)

  it('gives up on a server that hangs, and says that nobody is there', function()
    local server = raw.serve('', 'hang')
    local k = assert(kubernetes.client { kubeconfig = support.kubeconfig(server.url),
      timeout = '100ms' })
    local failure = select(2, k:get('pods', 'shop', 'a'))
    assert.same({ 'timeout' }, { failure.kind, failure.unsent })
    server:close()
    k = assert(kubernetes.client { kubeconfig = support.kubeconfig 'http://127.0.0.1:1' })
    failure = select(2, k:patch('pods', 'shop', 'a', {}, { type = 'merge' }))
    assert.same({ 'connection', true }, { failure.kind, failure.unsent })
  end)
end)

describe('kubernetes client:list', function()
  local function page(names, continue)
    local items = json.array()
    for i, name in ipairs(names) do items[i] = { metadata = { name = name } } end
    return answer { kind = 'PodList', apiVersion = 'v1', items = items,
      metadata = { resourceVersion = '100', continue = continue } }
  end

  it('follows the pages, and names the kind of each item', function()
    with({ page({ 'a', 'b' }, 'next one/+='), page({ 'c' }, '') }, function(k, asked)
      local list = assert(k:list('pods', 'shop', { label_selector = 'app in (a,b)',
        field_selector = 'spec.nodeName=n', limit = 2 }))
      assert.equal('100', list.resource_version)
      assert.same({ kind = 'Pod', apiVersion = 'v1', metadata = { name = 'c' } }, list.items[3])
      assert.equal('/api/v1/namespaces/shop/pods', asked[1].path)
      assert.same({ labelSelector = 'app in (a,b)', fieldSelector = 'spec.nodeName=n',
        limit = '2' }, http.parse_form(asked[1].query))
      assert.equal('next one/+=', http.parse_form(asked[2].query).continue)
    end)
    with(page {}, function(k, asked)
      assert.same({}, assert(k:list('pods')).items)
      assert.equal('/api/v1/pods', asked[1].path)
    end)
  end)

  it('begins anew, once, where a page came too late', function()
    local gone = status(410, 'Expired', 'The provided continue parameter is too old')
    with({ page({ 'a' }, 'x'), gone, page({ 'b' }, 'y'), page({ 'c' }) }, function(k, asked)
      local items = assert(k:list('pods', 'shop')).items
      assert.same({ 'b', 'c' }, { items[1].metadata.name, items[2].metadata.name })
      assert.equal(2, #items)
      assert.is_nil(http.parse_form(asked[3].query).continue)
    end)
    with({ page({ 'a' }, 'x'), gone, page({ 'b' }, 'y'), gone }, function(k, asked)
      assert.equal('Expired', select(2, k:list('pods', 'shop')).reason)
      assert.equal(4, #asked)
    end)
  end)
end)

describe('kubernetes client, changing things:', function()
  it('sends each kind of patch with its own content type', function()
    local types = { merge = 'application/merge-patch+json', json = 'application/json-patch+json',
      strategic = 'application/strategic-merge-patch+json',
      apply = 'application/apply-patch+yaml' }
    for kind, content_type in pairs(types) do
      with(answer(POD), function(k, asked)
        local patch = { metadata = { labels = { a = json.null } } }
        assert(k:patch('deployments', 'shop', 'a', patch, { type = kind, dry_run = true,
          subresource = 'scale', field_manager = 'me', force = kind == 'apply' }))
        assert.equal('PATCH', asked[1].method)
        assert.equal(content_type, asked[1].headers['content-type'])
        assert.equal('{"metadata":{"labels":{"a":null}}}', asked[1].body)
        assert.equal('/apis/apps/v1/namespaces/shop/deployments/a/scale', asked[1].path)
        assert.same({ dryRun = 'All', fieldManager = 'me', fieldValidation = 'Strict',
          force = kind == 'apply' and 'true' or nil }, http.parse_form(asked[1].query))
      end)
    end
    with(answer(POD), function(k)
      assert.has_error(function() k:patch('pods', 'shop', 'a', {}, { type = 'yaml' }) end)
      assert.has_error(function()
        k:patch('pods', 'shop', 'a', {}, { type = 'merge', force = true })
      end)
    end)
  end)

  it('creates, replaces, removes, evicts and scales', function()
    with(answer(POD), function(k, asked)
      local function last() return asked[#asked], http.parse_form(asked[#asked].query) end
      local ours = { fieldManager = 'perigee', fieldValidation = 'Strict' }
      assert(k:create('pods', 'shop', POD))
      local r, query = last()
      assert.same({ 'POST', '/api/v1/namespaces/shop/pods', json.encode(POD), ours },
        { r.method, r.path, r.body, query })
      assert(k:update('pods', 'shop', 'a', POD, { subresource = 'status' }))
      r, query = last()
      assert.same({ 'PUT', '/api/v1/namespaces/shop/pods/a/status', ours },
        { r.method, r.path, query })
      assert(k:delete('pods', 'shop', 'a', { uid = 'u', resource_version = '7', dry_run = true,
        grace_period_seconds = 0 }))
      r, query = last()
      assert.same({ 'DELETE', '/api/v1/namespaces/shop/pods/a', { dryRun = 'All' } },
        { r.method, r.path, query })
      assert.same({ kind = 'DeleteOptions', apiVersion = 'v1', dryRun = { 'All' },
        gracePeriodSeconds = 0, preconditions = { uid = 'u', resourceVersion = '7' } },
        json.decode(r.body))
      assert(k:evict('shop', 'a', { uid = 'u' }))
      r, query = last()
      assert.same({ 'POST', '/api/v1/namespaces/shop/pods/a/eviction', {} },
        { r.method, r.path, query })
      assert.same({ apiVersion = 'policy/v1', kind = 'Eviction',
        metadata = { name = 'a', namespace = 'shop' },
        deleteOptions = { preconditions = { uid = 'u' } } }, json.decode(r.body))
      assert(k:scale('deployments', 'shop', 'a'))
      assert.equal('/apis/apps/v1/namespaces/shop/deployments/a/scale', (last()).path)
      assert(k:set_scale('deployments', 'shop', 'a', { spec = { replicas = 2 } },
        { dry_run = true }))
      r, query = last()
      assert.same({ 'PUT', '{"spec":{"replicas":2}}', 'All' }, { r.method, r.body, query.dryRun })
      assert.equal('/apis/apps/v1/namespaces/shop/deployments/a/scale', r.path)
      assert(k:server_version())
      assert.equal('/version', (last()).path)
    end)
  end)

  it('repeats a write only where it surely was not taken', function()
    for _, code in ipairs { 500, 502, 503, 504, 409, 408 } do
      with(status(code, 'Any', 'no'), function(k, asked)
        assert.equal(code, select(2, k:create('pods', 'shop', POD)).status)
        assert.equal(1, #asked)
      end)
    end
    with({ status(429, 'TooManyRequests', 'later'), answer(POD, 201) }, function(k, asked)
      assert(k:create('pods', 'shop', POD))
      assert.equal(2, #asked)
    end)
    local server = raw.serve('', 'close')
    local k = assert(kubernetes.client { kubeconfig = support.kubeconfig(server.url) })
    local failure = select(2, k:create('pods', 'shop', POD))
    server:close()
    assert.same({ 'reset' }, { failure.kind, failure.unsent })
  end)

  it('leaves to whoever evicts what to do about a disruption budget', function()
    with(status(429, 'TooManyRequests', 'Cannot evict pod as it would violate the pod\'s '
      .. 'disruption budget.', { causes = { { reason = 'DisruptionBudget',
      message = 'The disruption budget a needs 2 healthy pods and has 2 currently' } } }),
      function(k, asked)
        local failure = select(2, k:evict('shop', 'a'))
        assert.same({ 429, 'DisruptionBudget' }, { failure.status, failure.causes[1].reason })
        assert.equal(1, #asked)
      end)
  end)
end)
