local action = require 'actions.http_request'
local check = require 'check'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local raw = require 'fakes.raw'

--- Arguments with their defaults, or everything that is wrong with them.
local function read(o)
  local values, wrong = check.apply(o, action.spec)
  local words = {}
  for i, p in ipairs(wrong) do words[i] = check.words(p) end
  return values, words
end

local function words(o)
  o.method, o.url = o.method or 'POST', o.url or 'http://shop/rollback'
  return (select(2, read(o)))
end

local function config(...) return { guardrails = { http = { ... } } } end

--- Why an operator's rules forbid a request, or nil.
local function refusal(o, ...)
  o.method = o.method or 'POST'
  return action.allowed(o, config(...))
end

--- Runs a request against a server that answers what it is told: the outcome, what the server
--- saw, and its URL.
local function run(answer, o, rule)
  local asked = {}
  local server <close> = setmetatable({ http = assert(http.serve({}, function(request)
    asked[#asked + 1] = request
    return answer
  end)) }, { __close = function(s) s.http:close() end })
  local url = ('http://127.0.0.1:%d'):format(server.http:port())
  o.method, o.url = o.method or 'POST', url .. (o.url or '/rollback')
  rule = rule or {}
  rule.url_prefix = url
  local values, wrong = read(o)
  assert.same({}, wrong)
  return action.run(values, { config = config(rule), key = 'plan-1-1-forward' }), asked, url
end

describe('http.request', function()
  it('takes what a request is made of', function()
    assert.same({}, words { headers = { ['X-Reason'] = 'a, b; c' }, body = { a = { 1 } },
      expect_status = { 200, 409 }, timeout = '1m',
      revert = { method = 'DELETE', url = 'https://shop/rollback', expect_status = 404 } })
    assert.equal(10, read({ method = 'GET', url = 'http://a' }).timeout)
  end)

  it('refuses what is missing or wrong, field by field', function()
    assert.same({ 'option "method" is missing', 'option "url" is missing' },
      (select(2, read {})))
    assert.same({ 'unknown option "heders"; did you mean "headers"?' }, words { heders = {} })
    for wrong, o in pairs {
      ['method: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, not "post"; did you mean '
        .. '"POST"?'] = { method = 'post' },
      ['url: expected a URL such as "http://127.0.0.1:9090", not "shop/rollback"'] =
        { url = 'shop/rollback' },
      ['url: no http:// or https:// URL'] = { url = 'file:///etc/passwd' },
      ['url: a password does not belong into a URL; use a file'] = { url = 'http://a:b@shop/' },
      ['body: expected a text, or a table to send as JSON, not 5'] = { body = 5 },
      ['body: expected a text, or a table to send as JSON, not a function'] =
        { body = { kind = 'function', id = 1 } },
      ['body: this table cannot be written as JSON'] = { body = { 0 / 0 } },
      ['expect_status: expected a whole number of at least 100 and at most 599, not "200"'] =
        { expect_status = '200' },
      ['expect_status[2]: expected a whole number of at least 100 and at most 599, not 600'] =
        { expect_status = { 200, 600 } },
      ['timeout: expected at least 100ms, not "0"'] = { timeout = '0' },
      ['headers: expected a table of names and values, not "a: b"'] = { headers = 'a: b' },
      ['headers.X-A: expected a text of one line, not "a b"'] = { headers = { ['X-A'] = 'a\nb' } },
      ['headers.X A: "X A" is not a valid name here'] = { headers = { ['X A'] = 'b' } },
      ['revert.url: expected a URL such as "http://127.0.0.1:9090", not 1'] =
        { revert = { method = 'GET', url = 1 } },
      ['revert: option "url" is missing'] = { revert = { method = 'GET' } },
      ['unknown option "revert"; known are body, expect_status, headers, method, url'] =
        { revert = { method = 'GET', url = 'http://a', revert = {} } },
    } do
      assert.same({ wrong }, words(o))
    end
  end)

  it('takes no credentials from a plan', function()
    for _, name in ipairs { 'Authorization', 'authorization', 'Cookie', 'PROXY-AUTHORIZATION' } do
      assert.same({ ('headers: "%s" is the operator\'s to set, in guardrails.http; a plan holds no '
        .. 'secret'):format(name) }, words { headers = { [name] = 'x' } })
    end
  end)

  it('does not let headers say where a request goes or ends', function()
    for _, name in ipairs { 'Host', 'host', 'Connection', 'Content-Length', 'Transfer-Encoding',
      'Idempotency-Key' } do
      assert.same({ ('headers: "%s" is not a plan\'s to set'):format(name) },
        words { headers = { [name] = 'x' } })
      assert.same({ ('revert.headers: "%s" is not a plan\'s to set'):format(name) },
        words { revert = { method = 'GET', url = 'http://a', headers = { [name] = 'x' } } })
    end
  end)

  it('acts on a place: neither what is asked nor what is said there makes another', function()
    assert.equal('POST http://shop:80/a', action.target { method = 'POST',
      url = 'http://SHOP/a?b=c#d', body = 'x' })
    assert.equal('PUT https://shop:8443/', action.target { method = 'PUT',
      url = 'https://shop:8443' })
  end)
end)

describe('guardrails.http', function()
  it('forbids everything where it is absent or empty', function()
    local request = { method = 'GET', url = 'http://shop/' }
    local none = 'guardrails.http allows no request at all'
    assert.equal(none, action.allowed(request, { guardrails = {} }))
    assert.equal(none, action.allowed(request, config()))
  end)

  it('allows what lies below a prefix, part by part', function()
    local prefix = 'http://shop:8080/api'
    for _, url in ipairs { 'http://shop:8080/api', 'http://shop:8080/api/',
      'http://shop:8080/api/v1?x=http://other', 'http://SHOP:8080/api/v1',
      'http://shop:8080/x/../api/y' } do
      assert.is_nil(refusal({ url = url }, { url_prefix = prefix }), url)
    end
    for _, url in ipairs { 'http://shop:8080/', 'http://shop:8080/apis', 'http://shop/api',
      'https://shop:8080/api', 'http://shop.evil:8080/api', 'http://evil:8080/http://shop:8080/api',
      'http://shop:8080/api/../admin', 'http://shop:8080/api/%2e%2e/admin',
      'http://shop:8080/api/.%2E/admin', 'http://shop:8080/API', 'http://shop:80/api' } do
      assert.matches('^guardrails.http does not allow POST http', refusal({ url = url },
        { url_prefix = prefix }), url)
    end
  end)

  it('compares whole hosts where the prefix has no path', function()
    assert.is_nil(refusal({ url = 'http://shop/x' }, { url_prefix = 'http://shop' }))
    assert.is_not_nil(refusal({ url = 'http://shopping/x' }, { url_prefix = 'http://shop' }))
  end)

  it('allows the methods that are named, or all', function()
    local get = { url_prefix = 'http://shop', methods = { 'GET', 'POST' } }
    assert.is_nil(refusal({ url = 'http://shop/' }, get))
    assert.equal('guardrails.http does not allow DELETE http://shop:80/',
      refusal({ method = 'DELETE', url = 'http://shop/' }, get))
    assert.is_nil(refusal({ method = 'DELETE', url = 'http://shop/' }, get,
      { url_prefix = 'http://shop/' }))
    assert.is_not_nil(refusal({ url = 'http://shop/' }, { url_prefix = 'http://shop',
      methods = {} }))
  end)

  it('refuses link-local addresses, whatever is allowed', function()
    for _, url in ipairs { 'http://169.254.169.254/latest', 'http://[fe80::1]/' } do
      assert.equal('link-local addresses are refused', refusal({ url = url },
        { url_prefix = url }))
    end
  end)

  it('looks at the revert too', function()
    local request = { url = 'http://shop/a', revert = { method = 'DELETE', url = 'http://shop/a' } }
    assert.equal('its revert: guardrails.http does not allow DELETE http://shop:80/a',
      refusal(request, { url_prefix = 'http://shop', methods = { 'POST' } }))
    assert.is_nil(refusal(request, { url_prefix = 'http://shop' }))
  end)
end)

describe('a run of http.request', function()
  it('sends what the plan says, with a key that is the same for the same action', function()
    local outcome, asked = run({ status = 202 }, { method = 'PUT', url = '/a?b=c', body = 'text',
      headers = { ['X-Reason'] = 'slow' } })
    assert.equal('succeeded', outcome.result)
    assert.equal(202, outcome.status)
    assert.matches('^answered 202 in %d+ ms$', outcome.message)
    local request = asked[1]
    assert.same({ 'PUT', '/a', 'b=c', 'text', 'slow', 'plan-1-1-forward' }, { request.method,
      request.path, request.query, request.body, request.headers['x-reason'],
      request.headers['idempotency-key'] })
    assert.is_nil(request.headers.authorization)
  end)

  it('sends a table as JSON', function()
    local _, asked = run({}, { body = { to = 'v1', list = { 1, 2 } } })
    assert.equal('application/json', asked[1].headers['content-type'])
    assert.same({ to = 'v1', list = { 1, 2 } }, json.decode(asked[1].body))
    local patch = 'application/merge-patch+json'
    _, asked = run({}, { body = {}, headers = { ['Content-Type'] = patch } })
    assert.equal(patch, asked[1].headers['content-type'])
  end)

  it('succeeds with any 2xx, or with the statuses it expects', function()
    for _, case in ipairs { { 204, nil, 'succeeded' }, { 302, nil, 'failed' },
      { 404, nil, 'failed' }, { 500, nil, 'failed' }, { 404, 404, 'succeeded' },
      { 200, 404, 'failed' }, { 409, { 200, 409 }, 'succeeded' }, { 201, { 200 }, 'failed' } } do
      local status, expected, result = table.unpack(case, 1, 3)
      local outcome, asked = run({ status = status, headers = { Location = '/x' } },
        { expect_status = expected })
      assert.equal(result, outcome.result, status)
      assert.equal(1, #asked) -- neither repeated nor redirected
    end
  end)

  it('adds the operator\'s credentials when it runs, and fails without them', function()
    local folder = assert(file.temporary_folder 'perigee-http-request')
    local path = folder .. '/token'
    assert(file.write(path, 'the-operators-token\n'))
    local outcome, asked = run({}, {}, { bearer_token_file = path })
    assert.equal('succeeded', outcome.result)
    assert.equal('Bearer the-operators-token', asked[1].headers.authorization)
    os.remove(path)
    outcome, asked = run({}, {}, { bearer_token_file = path })
    assert.equal('failed', outcome.result)
    assert.matches('^cannot read .*/token: ', outcome.message)
    assert.equal(0, #asked)
    os.remove(folder)
  end)

  it('has failed where no connection came about', function()
    local outcome = action.run({ method = 'POST', url = 'http://127.0.0.1:1/' },
      { config = config { url_prefix = 'http://127.0.0.1:1' }, key = 'k' })
    assert.equal('failed', outcome.result)
    assert.matches('127.0.0.1', outcome.message)
  end)

  it('does not call the program itself', function()
    local outcome = action.run({ method = 'POST', url = 'http://127.0.0.1:1/' }, { own_port = 1,
      config = config { url_prefix = 'http://127.0.0.1:1' }, key = 'k' })
    assert.equal('failed', outcome.result)
    assert.matches('refused$', outcome.message)
  end)

  it('is unknown where the request may have arrived: no answer, half an answer', function()
    for _, case in ipairs { { '', 'reset' }, { '', 'close' }, { '', 'hang' },
      { 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', 'close' } } do
      local server = raw.serve(case[1], case[2])
      local outcome = action.run({ method = 'POST', url = server.url, timeout = 0.2 },
        { config = config { url_prefix = server.url }, key = 'k' })
      server:close()
      assert.equal('unknown', outcome.result, case[2])
      assert.is_string(outcome.message)
    end
  end)

  it('is undone by the request that the plan says, with a key of its own', function()
    local asked = {}
    local server = assert(http.serve({}, function(request)
      asked = { request.method, request.path, request.headers['idempotency-key'] }
      return { status = 204 }
    end))
    local url = ('http://127.0.0.1:%d'):format(server:port())
    local args = { method = 'POST', url = url .. '/do', timeout = 5,
      revert = { method = 'DELETE', url = url .. '/undo' } }
    local outcome = action.revert(args, { config = config { url_prefix = url }, key = 'k-revert' })
    server:close()
    assert.equal('succeeded', outcome.result, outcome.message)
    assert.same({ 'DELETE', '/undo', 'k-revert' }, asked)
    assert.is_true(action.can_revert(args))
    assert.is_false(action.can_revert {})
  end)
end)
