--- The service as its clients see it: who may do what, what is refused, and in what shape the
--- answers come.
local async = require 'async'
local clock = require 'perigee.clock'
local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local http = require 'http'
local json = require 'json'
local process = require 'perigee.process'
local raw = require 'fakes.raw'
local testing = require 'testing.world'
local world = require 'e2e.world'

local TOKENS <const> =
  { admin = 'admin', anna = 'approver', vera = 'viewer', otto = 'alert_sender' }
local RULES <const> = [[
signal "x" { query = "x", every = "1s", detector = threshold { above = 5 },
  labels = { severity = "page" }, annotations = { summary = "it is {{ $value }}" } }
incident "odd" { signals = { "x" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "human_approve", plan = {
  http.request { method = "POST", url = "http://127.0.0.1:1/" } } }]]

local w, source, p
setup(function()
  w, source = world.new(), fake.serve()
  source.values.x = 9
  p = w:perigee { source = source.url, tokens = TOKENS, rules = { ['x.lua'] = RULES },
    config = 'guardrails: { http: [ { url_prefix: "http://127.0.0.1:1/" } ] }\n'
      .. 'limits: { max_body: 64Ki }\n' }
  w:wait_for('a plan', 15, function() return p:get('/api/v1/approvals')[1] end)
end)
teardown(function()
  w:close()
  source.close()
end)

--- The status lines of what a raw request got.
local function statuses(answer)
  local out = {}
  for status in answer:gmatch 'HTTP/1%.1 (%d%d%d)' do out[#out + 1] = status end
  return table.concat(out, ' ')
end

describe('who may do what', function()
  -- What nobody, a stranger, otto, vera, anna and admin are answered, in this order.
  local READ <const> = '401 401 403 200 200 200'
  local MATRIX = {
    ['GET /'] = '200 200 200 200 200 200',
    ['GET /metrics'] = '200 200 200 200 200 200',
    ['GET /metrics/rules'] = READ,
    ['GET /-/healthy'] = '200 200 200 200 200 200',
    ['GET /-/ready'] = '200 200 200 200 200 200',
    ['GET /api/v1/signals'] = READ, ['GET /api/v1/incidents'] = READ,
    ['GET /api/v1/plans'] = READ, ['GET /api/v1/approvals'] = READ,
    ['GET /api/v1/rules'] = READ, ['GET /api/v1/forecasts'] = READ, ['GET /api/v1/alerts'] = READ,
    ['GET /api/v1/audit'] = READ, ['GET /api/v1/status'] = READ,
    ['POST /api/v1/plans/plan-0/approve'] = '401 401 403 403 404 404',
    ['POST /api/v1/plans/plan-0/reject'] = '401 401 403 403 404 404',
    ['POST /api/v1/incidents/inc-0/acknowledge'] = '401 401 403 403 404 404',
    ['POST /api/v1/kill_switch'] = '401 401 403 403 403 400',
    ['POST /api/v1/rules/enable'] = '401 401 403 403 403 400',
    ['POST /-/reload'] = '401 401 403 403 403 200',
    ['POST /api/v1/signals'] = '405 405 405 405 405 405',
    ['DELETE /api/v1/plans/plan-0'] = '405 405 405 405 405 405',
    ['GET /api/v1/nothing'] = '404 404 404 404 404 404',
    ['GET /../../etc/passwd'] = '404 404 404 404 404 404',
  }

  it('is as the roles say', function()
    for name, wanted in pairs(MATRIX) do
      local method, path = name:match '^(%S+) (%S+)$'
      local got = {}
      for _, who in ipairs { 'nobody', 'stranger', 'otto', 'vera', 'anna', 'admin' } do
        local token = who == 'stranger' and 'x-stranger-x-stranger' or p.tokens[who]
        local response = assert(http.request { method = method, url = p.url .. path,
          headers = { Authorization = token and 'Bearer ' .. token or nil,
            ['Content-Type'] = 'application/json' },
          body = method == 'POST' and '{"digest":"sha256:0"}' or nil })
        got[#got + 1] = response.status
      end
      assert.equal(wanted, table.concat(got, ' '), name)
    end
  end)

  it('without tokens is reading for everybody, and changing for nobody', function()
    local q = w:perigee { name = 'open', source = source.url, rules = { ['x.lua'] = RULES } }
    assert.equal(200, q:request('GET', '/api/v1/plans').status)
    for _, path in ipairs { '/-/reload', '/api/v1/kill_switch', '/api/v1/plans/plan-0/approve',
      '/api/v1/incidents/inc-0/acknowledge', '/api/v1/rules/enable' } do
      local _, status, answer = q:api('POST', path, {})
      assert.same({ 403, 'error', 'forbidden' }, { status, answer.status, answer.errorType })
    end
    q:stop()
  end)

  it('is nothing for foreign hosts and pages', function()
    assert.equal(403, p:request('GET', '/metrics', nil, nil, { Host = 'evil.test' }).status)
    local body = { digest = 'sha256:0' }
    local function approve(origin)
      return p:request('POST', '/api/v1/plans/plan-0/approve', body, 'anna', { Origin = origin })
    end
    assert.equal(403, approve 'http://evil.test'.status)
    assert.equal(403, approve 'null'.status)
    assert.equal(404, approve(p.url).status)
  end)

  it('needs tokens where others can reach it', function()
    local q = w:configure { name = 'public', source = source.url }
    q.common = q.common:gsub('listen: 127.0.0.1', 'listen: 0.0.0.0')
    q:set_config ''
    local status, _, err = q:fail()
    assert.equal(2, status)
    assert.truthy(err:find('needs auth.tokens', 1, true))
  end)
end)

describe('a request that is not as it should be', function()
  local function get(more)
    return ('GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n'):format(more)
  end
  local function post(headers, body)
    return ('POST /api/v1/kill_switch HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s'):format(headers,
      body or '')
  end
  local JSON <const> = 'Content-Type: application/json\r\n'

  it('is refused, with a 4xx or by hanging up, and perigee lives on', function()
    local WRONG = {
      { 'no HTTP at all', 'GARBAGE\r\n\r\n' },
      { 'binary', ('\0\255\22\3\1'):rep(100) .. '\r\n\r\n' },
      { 'another protocol', 'GET / HTTP/9.9\r\nHost: localhost\r\n\r\n' },
      { 'no Host', 'GET / HTTP/1.1\r\n\r\n' },
      { 'long headers', get('X: ' .. ('x'):rep(40000) .. '\r\n') },
      { 'many headers', get(('X: x\r\n'):rep(10000)) },
      { 'a long path', 'GET /' .. ('x'):rep(40000) .. ' HTTP/1.1\r\nHost: localhost\r\n\r\n' },
      { 'a NUL in the path', 'GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n' },
      { 'a path without a slash', 'GET x HTTP/1.1\r\nHost: localhost\r\n\r\n' },
      { 'a negative length', post(JSON .. 'Content-Length: -1\r\n') },
      { 'a length that is none', post(JSON .. 'Content-Length: many\r\n') },
      { 'a length too large', post(JSON .. 'Content-Length: 70000\r\n') },
      { 'a length beyond all', post(JSON .. 'Content-Length: 99999999999999999999999\r\n') },
      { 'chunks too large', post(JSON .. 'Transfer-Encoding: chunked\r\n',
        ('8000\r\n' .. ('x'):rep(0x8000) .. '\r\n'):rep(3) .. '0\r\n\r\n') },
      { 'chunks that are none', post(JSON .. 'Transfer-Encoding: chunked\r\n', 'zz\r\n\r\n') },
    }
    for _, case in ipairs(WRONG) do
      local answer = raw.send(p.port, case[2])
      assert.truthy(answer == '' or statuses(answer):find '^4%d%d' or statuses(answer) == '505',
        ('%s: %s'):format(case[1], answer:sub(1, 200)))
      assert.equal(200, p:request('GET', '/-/ready').status)
    end
    assert.equal('413', statuses(raw.send(p.port, WRONG[12][2])))
    assert.equal('413', statuses(raw.send(p.port, WRONG[14][2])))
    assert.is_nil(p:log():find('internal error', 1, true))
  end)

  it('is told what is wrong with its body', function()
    local function ask(body, kind)
      local _, status, answer = p:api('POST', '/api/v1/kill_switch', body, 'admin',
        { ['Content-Type'] = kind })
      return { status, answer.status, answer.errorType }
    end
    assert.same({ 400, 'error', 'bad_data' }, ask '{"on":')
    assert.same({ 400, 'error', 'bad_data' }, ask '[1]')
    assert.same({ 400, 'error', 'bad_data' }, ask '{"on":"perhaps"}')
    assert.same({ 400, 'error', 'bad_data' }, ask(('['):rep(60000)))
    assert.same({ 400, 'error', 'bad_data' }, ask '{"on":true,"x":"\255"}')
    assert.same({ 413, 'error', 'bad_data' }, ask((' '):rep(70000)))
    local form = p:request('POST', '/api/v1/kill_switch', 'on=true', 'admin',
      { ['Content-Type'] = 'application/x-www-form-urlencoded' })
    assert.equal(415, form.status)
    assert.equal(0, p:metric 'perigee_kill_switch')
  end)

  it('is told which methods there are', function()
    local response = p:request('PUT', '/api/v1/signals', {}, 'admin')
    assert.same({ 405, 'GET, HEAD' }, { response.status, response.headers.allow })
  end)

  it('may not take forever: a slow client is cut off, and nobody waits for it', function()
    local started = clock.monotonic()
    local slow = raw.start(p.port, get('X: ' .. ('x'):rep(1000) .. '\r\n'), { pause = 0.1,
      seconds = 1 })
    repeat
      local asked = clock.monotonic()
      assert.equal(200, p:request('GET', '/-/ready').status)
      assert.is_true(clock.monotonic() - asked < 1)
      async.sleep(0.2)
    until not slow:running()
    local took = clock.monotonic() - started
    assert.is_true(took > 8 and took < 15, ('cut off after %.1f s'):format(took))
  end)
end)

describe('a connection', function()
  local GET <const> = 'GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n%s\r\n'

  it('is kept for more requests, also those that come at once', function()
    local three = GET:format '' .. GET:format '' .. GET:format 'Connection: close\r\n'
    assert.equal('200 200 200', statuses(raw.send(p.port, three)))
    assert.equal('200', statuses(raw.send(p.port, GET:format 'Connection: close\r\n')))
  end)

  it('has the same headers for HEAD as for GET, and no body', function()
    for _, path in ipairs { '/', '/-/healthy', '/api/v1/rules/enable', '/nothing' } do
      local all, head = p:request('GET', path, nil, 'vera'), p:request('HEAD', path, nil, 'vera')
      assert.equal(all.status, head.status, path)
      assert.equal(all.headers['content-type'], head.headers['content-type'])
      assert.equal(all.headers['content-length'], head.headers['content-length'])
      assert.equal('', head.body)
    end
  end)

  it('may be one of a thousand, and the source is still asked', function()
    local q = w:perigee { name = 'crowded', source = source.url, rules = { ['x.lua'] = RULES },
      config = 'limits: { max_connections: 1100 }\n', env = { 'prlimit', '--nofile=256:' } }
    local crowd = raw.start(q.port, 'GET / HTTP/1.1\r\nHost: ', { many = 1000, seconds = 8 })
    local function descriptors() return #file.glob(('/proc/%d/fd/*'):format(q.child:pid())) end
    w:wait_for('a thousand connections', 10, function() return descriptors() > 1000 end)
    local evaluations = 'perigee_rule_evaluations_total{rule="signal/x"}'
    local before = q:metric(evaluations)
    for _ = 1, 20 do assert.equal(200, q:request('GET', '/-/healthy').status) end
    w:wait_for('two evaluations', 5, function() return q:metric(evaluations) >= before + 2 end)
    crowd:kill(9)
    crowd:wait()
    w:wait_for('the end of them', 10, function() return descriptors() < 100 end)
    assert.equal(0, q:metric 'perigee_rule_evaluation_failures_total{rule="signal/x"}')
    assert.equal('ok', q:signal('x').condition)
    q:stop()
  end)
end)

--- The shape of a value: its fields and their types. Names of labels and texts are the rule's own.
local function shape(value, name)
  if type(value) ~= 'table' or name == 'labels' or name == 'annotations' then return type(value) end
  if value[1] ~= nil then return { shape(value[1]) } end
  local out = {}
  for field, v in pairs(value) do out[field] = shape(v, field) end
  return out
end

describe('what a Prometheus and its friends read', function()
  it('is /metrics, without a word from promtool', function()
    local child = assert(process.start { 'promtool', 'check', 'metrics',
      input = testing.get(p.url .. '/metrics') })
    local status, out, err = child:wait(30)
    assert.same({ 0, '', '' }, { status, out, err })
  end)

  it('is scraped by a real Prometheus, and shows rules and alerts as one does', function()
    w:write('rules.yml', [[
groups:
  - name: x.lua
    rules:
      - alert: x
        expr: vector(9) > 5
        labels: { severity: page }
        annotations: { summary: "it is {{ $value }}" }
]])
    local url = w:prometheus { targets = { ('127.0.0.1:%d'):format(p.port) },
      more = 'rule_files: [ rules.yml ]\n' }
    local client = require('prometheus').client { url = url }
    w:wait_for('a scrape', 15, function()
      local found = client:query 'up == 1 and on() perigee_build_info'
      return found and found[1]
    end)
    local theirs = w:wait_for('an alert', 15, function()
      local rules = client:get 'rules'
      return rules.groups[1].rules[1].state == 'firing' and rules
    end)
    assert.same(shape(theirs), shape(p:get '/api/v1/rules'))
    assert.same(shape(client:get 'alerts'), shape(p:get '/api/v1/alerts'))
    local a, b = client:get('alerts').alerts[1], p:get('/api/v1/alerts').alerts[1]
    for _, name in ipairs { 'labels', 'annotations', 'state', 'value' } do
      assert.same(a[name], b[name])
    end
    assert.equal('success', json.decode(p:request('GET', '/api/v1/rules?type=alert', nil,
      'vera').body).status)
    assert.same({ groups = {} }, p:get '/api/v1/rules?type=record')
  end)
end)
