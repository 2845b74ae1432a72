local daemon = require 'fakes.daemon' -- before what requires the real one
local clock = require 'perigee.clock'
local evaluate = require 'engine.evaluate'
local faults = require 'engine.faults'
local file = require 'perigee.file'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local routes = require 'server.routes'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "latency" { query = "q", every = "10s", detector = threshold { above = 1 },
  hold_for = "10s", labels = { severity = "page" }, annotations = { summary = "{{ $value }} s" } }
incident "odd" { signals = { "latency" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "human_approve",
  plan = { http.request { method = "POST", url = "http://shop/rollback" } } }
]]

local TOKENS = { tokens = {
  { name = 'vera', role = 'viewer', token_file = 'f' },
  { name = 'anna', role = 'approver', token_file = 'f' },
  { name = 'adam', role = 'admin', token_file = 'f' },
} }

--- An engine and one who asks it: ask(method, path, body, more) gives status, decoded answer, all.
local function world(set)
  local values = { auth = TOKENS, guardrails = { dry_run = false,
    http = { { url_prefix = 'http://shop/' } } } }
  for k, v in pairs(set or {}) do values[k] = v ~= 'none' and v or nil end
  local engine = support.engine { rules = RULES, config = values }
  local handle = routes.handler(engine)
  local w = { engine = engine, pokes = 0 }
  function engine.poke() w.pokes = w.pokes + 1 end

  function w.ask(method, path, body, who, more)
    local bare, query = path:match '^([^?]*)%??(.*)$'
    local headers = { host = '127.0.0.1:9747' }
    if who ~= 'nobody' then headers.authorization = 'Bearer secret-of-' .. (who or 'adam') end
    if body then headers['content-type'] = 'application/json' end
    for k, v in pairs(more or {}) do headers[k] = v ~= 'none' and v or nil end
    local response = handle { method = method, path = bare, query = query, peer = '127.0.0.1',
      body = type(body) == 'table' and json.encode(body) or body or '', headers = headers }
    local answer = response.headers['Content-Type'] == 'application/json'
      and json.decode(response.body) or nil
    return response.status, answer, response
  end

  --- Two evaluations make the signal fire and the incident open; its plan waits.
  function w.go_wrong()
    return support.go_wrong(engine, engine.rules.incidents.odd)
  end
  return w
end

local READ = { 'signals', 'incidents', 'plans', 'approvals', 'audit', 'status', 'rules', 'alerts',
  'trust', 'storm', 'status/buildinfo' }

describe('every path', function()
  after_each(support.tidy)

  it('answers what it is for, in the API\'s envelope', function()
    local w = world()
    for _, name in ipairs(READ) do
      local status, answer, whole = w.ask('GET', '/api/v1/' .. name, nil, 'vera')
      assert.equal(200, status, name)
      assert.equal('success', answer.status)
      assert.is_table(answer.data)
      assert.equal('no-store', whole.headers['Cache-Control'])
      assert.equal('nosniff', whole.headers['X-Content-Type-Options'])
    end
    for path, kind in pairs { ['/'] = 'text/html', ['/app.js'] = 'text/javascript',
      ['/style.css'] = 'text/css', ['/metrics'] = 'text/plain', ['/-/healthy'] = 'text/plain',
      ['/-/ready'] = 'text/plain', ['/healthz'] = 'text/plain', ['/livez'] = 'text/plain',
      ['/readyz'] = 'text/plain' } do
      local status, _, whole = w.ask('GET', path, nil, 'nobody')
      assert.equal(200, status, path)
      assert.matches('^' .. kind, whole.headers['Content-Type'])
      assert.is_true(#whole.body > 0)
    end
  end)

  it('that is none is 404', function()
    local w = world()
    for _, path in ipairs { '/nothing', '/api/v1', '/api/v1/', '/api/v2/signals', '//metrics',
      '/api/v1/signals/', '/api/v1/plans/a/b', '/api/v1/plans/../audit', '/METRICS', '',
      '/api/v1/plans/x/approve/', '/api/v1/incidents/%00' } do
      local status, answer = w.ask('GET', path)
      assert.equal(404, status, path)
      assert.same({ 'error', 'not_found' }, { answer.status, answer.errorType })
    end
  end)

  it('says which methods it takes', function()
    local w = world()
    local cases = {
      { '/api/v1/signals', 'GET, HEAD', { 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'BREW' } },
      { '/metrics', 'GET, HEAD', { 'POST' } }, { '/-/healthy', 'GET, HEAD', { 'POST' } },
      { '/-/reload', 'POST, PUT', { 'GET', 'HEAD', 'DELETE' } },
      { '/api/v1/kill_switch', 'POST', { 'GET', 'PUT', 'DELETE' } },
      { '/api/v1/rules/enable', 'POST', { 'GET' } },
      { '/api/v1/plans/plan-1/approve', 'POST', { 'GET', 'PUT' } },
      { '/api/v1/plans/plan-1', 'GET, HEAD', { 'POST', 'DELETE' } },
      { '/api/v1/incidents/inc-1/acknowledge', 'POST', { 'GET' } },
    }
    for _, case in ipairs(cases) do
      for _, method in ipairs(case[3]) do
        local status, answer, whole = w.ask(method, case[1])
        assert.equal(405, status, method .. case[1])
        assert.equal(case[2], whole.headers.Allow)
        assert.equal('error', answer.status)
      end
    end
  end)

  it('is for those who may', function()
    local w = world()
    for _, name in ipairs(READ) do
      assert.equal(401, (w.ask('GET', '/api/v1/' .. name, nil, 'nobody')), name)
    end
    for path, role in pairs { ['/api/v1/plans/x/approve'] = 'approver',
      ['/api/v1/plans/x/reject'] = 'approver', ['/api/v1/incidents/x/acknowledge'] = 'approver',
      ['/api/v1/kill_switch'] = 'admin', ['/api/v1/trust/mend/restore'] = 'admin',
      ['/api/v1/storm/end'] = 'admin', ['/api/v1/rules/enable'] = 'admin',
      ['/-/reload'] = 'admin' } do
      local _, _, whole = w.ask('POST', path, {}, 'nobody')
      assert.equal(401, whole.status, path)
      assert.equal('Bearer', whole.headers['WWW-Authenticate'])
      assert.equal(403, (w.ask('POST', path, {}, 'vera')), path)
      if role == 'admin' then assert.equal(403, (w.ask('POST', path, {}, 'anna')), path) end
    end
  end)

  it('without tokens can be read, and changes nothing', function()
    local w = world { auth = 'none' }
    for _, name in ipairs(READ) do
      assert.equal(200, (w.ask('GET', '/api/v1/' .. name, nil, 'nobody')), name)
    end
    for _, path in ipairs { '/api/v1/plans/x/approve', '/api/v1/kill_switch', '/-/reload',
      '/api/v1/rules/enable', '/api/v1/incidents/x/acknowledge' } do
      local status, answer = w.ask('POST', path, {}, 'nobody')
      assert.same({ 403, 'forbidden' }, { status, answer.errorType }, path)
    end
  end)

  it('is refused to foreign hosts and pages before anything else', function()
    local w = world()
    for _, path in ipairs { '/metrics', '/api/v1/signals', '/nothing' } do
      assert.equal(403, (w.ask('GET', path, nil, 'adam', { host = 'evil.example' })), path)
    end
    assert.equal(403, (w.ask('POST', '/api/v1/kill_switch', { on = true }, 'adam',
      { origin = 'http://evil.example' })))
    assert.is_nil(guardrails.killed(w.engine.config))
  end)
end)

describe('a body', function()
  after_each(support.tidy)

  it('is JSON, and said to be', function()
    local w = world()
    for _, kind in ipairs { 'none', '', 'text/plain', 'application/x-www-form-urlencoded',
      'multipart/form-data', 'text/json', 'xapplication/json', 'application/jsonx' } do
      local status, answer = w.ask('POST', '/api/v1/kill_switch', { on = true }, 'adam',
        { ['content-type'] = kind })
      assert.same({ 415, 'bad_data' }, { status, answer.errorType }, kind)
    end
    assert.is_nil(guardrails.killed(w.engine.config))
    for _, kind in ipairs { 'application/json', 'Application/JSON; charset=utf-8' } do
      assert.equal(200, (w.ask('POST', '/api/v1/kill_switch', { on = false }, 'adam',
        { ['content-type'] = kind })))
    end
  end)

  it('that is none, or no object, or lacks what is needed, is 400', function()
    local w = world()
    local _, p = w.go_wrong()
    local cases = {
      ['/api/v1/kill_switch'] = { '{', 'null', '7', '"on"', 'true', '{"on":1}', '{"on":"true"}',
        '[]', '{}', '{"on":true}{', '\xff', ('['):rep(5000) },
      ['/api/v1/rules/enable'] = { '{}', '{"rule":7}', '[]' },
      ['/api/v1/plans/' .. p.id .. '/approve'] = { '{}', '{"digest":7}', '{"digest":null}', '[]',
        json.encode { digest = p.digest, reason = 7 },
        json.encode { digest = p.digest, reason = ('x'):rep(1001) } },
    }
    for path, bodies in pairs(cases) do
      for _, body in ipairs(bodies) do
        local status, answer = w.ask('POST', path, body)
        assert.same({ 400, 'bad_data' }, { status, answer.errorType }, path .. body:sub(1, 50))
      end
      local status = w.ask('POST', path) -- none at all
      assert.equal(400, status, path)
    end
    assert.equal('pending', plans.get(w.engine.store, p.id).state)
  end)
end)

describe('decisions over HTTP', function()
  after_each(support.tidy)

  it('have the answers of API.md', function()
    local w = world()
    local _, p = w.go_wrong()
    local path = '/api/v1/plans/' .. p.id
    local wrong = 'sha256:' .. ('0'):rep(64)
    assert.equal(404, (w.ask('POST', '/api/v1/plans/plan-0/approve', { digest = p.digest })))
    assert.equal(409, (w.ask('POST', path .. '/approve', { digest = wrong }, 'anna')))
    assert.equal(403, (w.ask('POST', path .. '/approve', { digest = p.digest }, 'vera')))
    local status, answer = w.ask('POST', path .. '/approve',
      { digest = p.digest, reason = 'seen' }, 'anna')
    assert.equal(200, status)
    assert.same({ 'approved', 'anna', 'api', 'approved', 'seen' },
      { answer.data.state, answer.data.decisions[1].who, answer.data.decisions[1].via,
        answer.data.decisions[1].decision, answer.data.decisions[1].reason })
    assert.equal(1, w.pokes)
    status, answer = w.ask('POST', path .. '/reject', { digest = p.digest }, 'adam')
    assert.same({ 409, 'conflict', 'the plan has been approved by anna' },
      { status, answer.errorType, answer.error })
  end)

  it('too late are 410', function()
    local w = world()
    local _, p = w.go_wrong()
    clock.advance(900)
    local status, answer = w.ask('POST', '/api/v1/plans/' .. p.id .. '/approve',
      { digest = p.digest })
    assert.same({ 410, 'gone' }, { status, answer.errorType })
    assert.same({}, select(2, w.ask('GET', '/api/v1/approvals')).data)
    assert.equal('expired', select(2, w.ask('GET', '/api/v1/plans/' .. p.id)).data.state)
  end)

  it('by the command line say so', function()
    local w = world()
    local _, p = w.go_wrong()
    local _, answer = w.ask('POST', '/api/v1/plans/' .. p.id .. '/reject', { digest = p.digest },
      'anna', { ['x-perigee-client'] = 'cli' })
    assert.same({ 'rejected', 'cli' }, { answer.data.state, answer.data.decisions[1].via })
  end)
end)

describe('what is listed', function()
  after_each(support.tidy)

  it('signals with their series, and what is wrong with them', function()
    local w = world()
    local function signal() return select(2, w.ask('GET', '/api/v1/signals')).data[1] end
    assert.same({ 'latency', 'unknown', 'unknown', 'unknown', 'threshold', '10s' },
      { signal().name, signal().state, signal().health, signal().condition, signal().detector,
        signal().every })
    w.go_wrong()
    local s = signal().series[1]
    assert.same({ 'firing', 'ok', 'ok' }, { signal().state, signal().health, signal().condition })
    assert.same({ 5, true, 'anomaly', { summary = '5 s' }, { app = 'shop', severity = 'page' } },
      { s.value, s.is_anomaly, s.condition, s.annotations, s.labels })
    assert.is_string(s.active_at)
    local job = scheduler.jobs(w.engine.rules)[1]
    clock.advance(10)
    w.engine.source.answers.q = { message = 'it is down' }
    evaluate.run(w.engine, job, clock.now())
    assert.same({ 'firing', 'err', 'error', 'it is down (connection)' },
      { signal().state, signal().health, signal().condition, signal().error })
    clock.advance(10)
    w.engine.source.answers.q = {}
    evaluate.run(w.engine, job, clock.now())
    clock.advance(1000)
    evaluate.run(w.engine, job, clock.now())
    assert.same({ 'inactive', 'ok', 'no_data' },
      { signal().state, signal().health, signal().condition })
    assert.equal('[]', json.encode(signal().series))
  end)

  it('incidents and plans, by state and number', function()
    local w = world()
    local incident, p = w.go_wrong()
    local function list(path) return select(2, w.ask('GET', '/api/v1/' .. path)).data end
    assert.equal(incident.id, list('incidents')[1].id)
    assert.same({ 1, 0, 1 }, { #list 'incidents?state=open', #list 'incidents?state=resolved',
      #list 'incidents?limit=1' })
    assert.same({ p.id }, list('incidents')[1].plans)
    assert.same({ 1, 1, 0 }, { #list 'plans', #list 'plans?state=pending',
      #list 'plans?state=executed' })
    assert.equal(p.id, list('approvals')[1].id)
    for _, limit in ipairs { '0', '-1', 'x', '1e9', '' } do
      assert.equal(1, #list('plans?limit=' .. limit), limit)
    end
    assert.equal('[]', json.encode(list 'plans?state=nonsense'))
  end)

  it('one of each by its id', function()
    local w = world()
    local incident, p = w.go_wrong()
    assert.equal('odd', select(2, w.ask('GET', '/api/v1/incidents/' .. incident.id)).data.name)
    assert.equal(p.digest, select(2, w.ask('GET', '/api/v1/plans/' .. p.id)).data.digest)
    assert.equal(404, (w.ask('GET', '/api/v1/incidents/inc-0')))
    assert.equal(404, (w.ask('GET', '/api/v1/plans/plan-0')))
  end)

  it('a plan in the shape that is promised', function()
    local w = world()
    local incident, p = w.go_wrong()
    local data = select(2, w.ask('GET', '/api/v1/plans/' .. p.id)).data
    assert.same({ id = p.id, digest = p.digest, playbook = 'mend', incident_id = incident.id,
      trust = 'human_approve', state = 'pending', decisions = {},
      approvals = { given = 0, needed = 1 },
      actions = { { name = 'http.request', state = 'waiting',
        args = { method = 'POST', url = 'http://shop/rollback' } } },
      created_at = clock.text(clock.now()), expires_at = clock.text(clock.now() + 900) }, data)
  end)

  it('the audit trail, page by page', function()
    local w = world()
    w.go_wrong()
    local data = select(2, w.ask('GET', '/api/v1/audit')).data
    assert.equal(data.head, data.records[#data.records].hash)
    assert.equal(data.sequence, #data.records)
    local page = select(2, w.ask('GET', '/api/v1/audit?after=1&limit=1')).data
    assert.same({ 1, 2 }, { #page.records, page.records[1].sequence })
    for _, after in ipairs { '-1', 'x', '1.5' } do
      assert.equal(400, (w.ask('GET', '/api/v1/audit?after=' .. after)), after)
    end
  end)

  it('how the program is', function()
    local w = world()
    w.go_wrong()
    local s = select(2, w.ask('GET', '/api/v1/status')).data
    assert.same({ 1, 1, 1, 1, 1, 1, false, false }, { s.signals, s.incidents_declared, s.playbooks,
      s.rule_files, s.incidents_active, s.approvals_pending, s.dry_run, s.kill_switch })
    assert.same({ '0.0.0', 'ok', 64 }, { s.version, s.last_reload.outcome, #s.audit_head })
  end)
end)

describe('what a person changes', function()
  after_each(support.tidy)

  it('an incident is acknowledged, by name', function()
    local w = world()
    local incident = w.go_wrong()
    local path = '/api/v1/incidents/' .. incident.id .. '/acknowledge'
    local status, answer = w.ask('POST', path, nil, 'anna')
    assert.same({ 200, 'acknowledged', 'anna' },
      { status, answer.data.state, answer.data.acknowledged_by })
    incidents.set_state(w.engine, incident.id, 'resolved')
    assert.equal(409, (w.ask('POST', path)))
    assert.equal(404, (w.ask('POST', '/api/v1/incidents/inc-0/acknowledge')))
  end)

  it('the kill switch goes on and off, and says why it is on', function()
    local w = world()
    local status, answer = w.ask('POST', '/api/v1/kill_switch', { on = true })
    assert.same({ 200, true }, { status, answer.data.on })
    assert.equal('adam\n', file.read(guardrails.kill_file(w.engine.config)))
    assert.equal('the file KILL is in data_dir',
      select(2, w.ask('GET', '/api/v1/status')).data.kill_switch)
    status, answer = w.ask('POST', '/api/v1/kill_switch', { on = false })
    assert.same({ 200, false }, { status, answer.data.on })
    assert.same({ 'kill_switch', 'kill_switch' }, support.kinds(w.engine))
  end)

  it('the kill switch that the configuration holds on stays on, and says so', function()
    local w = world { guardrails = { kill_switch = true } }
    local _, answer = w.ask('POST', '/api/v1/kill_switch', { on = false })
    assert.same({ true, 'guardrails.kill_switch is on' }, { answer.data.on, answer.data.reason })
  end)

  it('the kill switch that cannot be stored is an error, not a promise', function()
    local w = world()
    w.engine.config.data_dir = '/nonexistent'
    local status, answer = w.ask('POST', '/api/v1/kill_switch', { on = true })
    assert.same({ 500, 'internal' }, { status, answer.errorType })
    assert.same({}, support.kinds(w.engine))
  end)

  it('the kill switch is thrown where the disk is too full for the audit trail, not taken back',
    function()
      local w = world()
      w.engine.store:exec [[create trigger full before insert on audit
        begin select raise(abort, 'the disk is full'); end]]
      local status, answer = w.ask('POST', '/api/v1/kill_switch', { on = true })
      assert.same({ 200, true }, { status, answer.data.on })
      assert.has_error(function() w.ask('POST', '/api/v1/kill_switch', { on = false }) end)
      assert.truthy(guardrails.killed(w.engine.config))
    end)

  it('a rule is switched on', function()
    local w = world()
    local digest = w.engine.rules.signals.latency.file_digest
    for _ = 1, 3 do
      faults.add(w.engine.store, 'signal/latency', digest,
        { file = 'a.lua', line = 1, message = 'no idea', kind = 'error' })
    end
    local function status() return select(2, w.ask('GET', '/api/v1/status')).data.switched_off end
    assert.equal('signal/latency', status()[1].rule)
    assert.matches('switched off', select(2, w.ask('GET', '/api/v1/signals')).data[1].switched_off)
    assert.equal(200, (w.ask('POST', '/api/v1/rules/enable', { rule = 'signal/latency' })))
    assert.equal(409, (w.ask('POST', '/api/v1/rules/enable', { rule = 'signal/latency' })))
    assert.same({}, status())
  end)

  it('a reload says how it went', function()
    local w = world()
    daemon.outcome = { true, {} }
    local status, _, whole = w.ask('POST', '/-/reload')
    assert.same({ 200, 'reloaded\n' }, { status, whole.body })
    daemon.outcome = { true, { 'nothing has changed' } }
    assert.equal('nothing has changed\n', select(3, w.ask('PUT', '/-/reload')).body)
    daemon.outcome = { false, { 'rules/a.lua:1: no', 'rules/b.lua:2: no' } }
    status, _, whole = w.ask('POST', '/-/reload')
    assert.same({ 500, 'rules/a.lua:1: no\nrules/b.lua:2: no\n' }, { status, whole.body })
  end)

  it('a reload is open to everybody with lifecycle: true', function()
    daemon.outcome = { true, {} }
    assert.equal(200, (world { lifecycle = true }.ask('POST', '/-/reload', nil, 'nobody')))
    assert.equal(200, (world { lifecycle = true, auth = 'none' }
      .ask('POST', '/-/reload', nil, 'nobody')))
    assert.equal(401, (world().ask('POST', '/-/reload', nil, 'nobody')))
  end)
end)

describe('Prometheus\' API', function()
  after_each(support.tidy)

  it('/rules has a group a file, and rules as Prometheus shows alerting rules', function()
    local w = world()
    w.go_wrong()
    local group = select(2, w.ask('GET', '/api/v1/rules')).data.groups[1]
    assert.same({ 'rules.lua', 10, 0 }, { group.name, group.interval, group.limit })
    assert.is_number(group.evaluationTime)
    assert.equal(clock.text(clock.now()), group.lastEvaluation)
    local rule = group.rules[1]
    assert.same({ 'alerting', 'latency', 'q', 10, 0, 'firing', 'ok' }, { rule.type, rule.name,
      rule.query, rule.duration, rule.keepFiringFor, rule.state, rule.health })
    assert.same({ { severity = 'page' }, { summary = '{{ $value }} s' } },
      { rule.labels, rule.annotations })
    local alert = rule.alerts[1]
    assert.same({ state = 'firing', value = '5e+00', activeAt = clock.text(clock.now() - 10),
      labels = { alertname = 'latency', app = 'shop', severity = 'page' },
      annotations = { summary = '5 s' } }, alert)
  end)

  it('/rules knows type, and what was never evaluated', function()
    local w = world()
    local rule = select(2, w.ask('GET', '/api/v1/rules?type=alert')).data.groups[1].rules[1]
    assert.same({ 'unknown', 'unknown', '0001-01-01T00:00:00Z', '[]' }, { rule.state, rule.health,
      rule.lastEvaluation, json.encode(rule.alerts) })
    assert.equal('[]', json.encode(select(2, w.ask('GET', '/api/v1/rules?type=record'))
      .data.groups))
  end)

  it('/alerts lists what is pending or firing, alertname last of all', function()
    local w = world()
    assert.equal('[]', json.encode(select(2, w.ask('GET', '/api/v1/alerts')).data.alerts))
    w.engine.source.answers.q = { { { app = 'shop', alertname = 'other' }, 1 / 0 } }
    local job = scheduler.jobs(w.engine.rules)[1]
    clock.advance(10)
    evaluate.run(w.engine, job, clock.now())
    local alert = select(2, w.ask('GET', '/api/v1/alerts')).data.alerts[1]
    assert.same({ 'pending', '+Inf', 'latency' },
      { alert.state, alert.value, alert.labels.alertname })
  end)

  it('/status/buildinfo is there for Grafana', function()
    assert.equal('0.0.0', select(2, world().ask('GET', '/api/v1/status/buildinfo')).data.version)
  end)
end)
