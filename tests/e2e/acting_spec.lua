--- From an odd signal to what is done about it, as far as it is trusted and allowed.
local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local json = require 'json'
local world = require 'e2e.world'

-- An incident for each app whose signal is odd; what a playbook does goes to the app's own path.
local RULES = [[
signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }
incident "odd" { signals = { "x" }, min_signals = 1, group_by = { "app" },
  recommend = function(i) return "Mend " .. i.labels.app end }
local function mend(event, more)
  local app, url = event.labels.app, "SHOP" .. event.labels.app
  local list = { http.request { method = "POST", url = url, body = { app = app },
    revert = { method = "DELETE", url = url } } }
  for _, action in ipairs(more or {}) do list[#list + 1] = action end
  return list
end
]]
local TOKENS <const> =
  { admin = 'admin', anna = 'approver', vera = 'viewer', otto = 'alert_sender' }

local w, source, shop, p

before_each(function()
  w, source = world.new(), fake.serve()
  shop = w:target()
end)
after_each(function()
  w:close()
  source.close()
end)

--- Perigee with RULES and these playbooks, allowed to call the shop.
local function perigee(playbooks, guardrails, more)
  local text = RULES .. playbooks
  p = w:perigee { source = source.url, tokens = TOKENS,
    rules = { ['act.lua'] = (text:gsub('SHOP', shop.url)) },
    config = ('guardrails: { %s, http: [ { url_prefix: "%s" } ] }\n%s'):format(
      guardrails or 'dry_run: false, cooldown: 0s', shop.url, more or '') }
  return p
end

--- Makes the apps with these names odd, and only them.
local function odd(...)
  local samples = {}
  for i, name in ipairs { ... } do samples[i] = { labels = { app = name }, value = 9 } end
  source.values.x = samples
end

--- The plan that acts on an app, once it is in a state.
local function plan(app, state)
  return w:wait_for(('the plan of %s to be %s'):format(app, state), 15, function()
    for _, found in ipairs(p:get '/api/v1/plans') do
      if found.actions[1].args.url:match '[^/]*$' == app and found.state == state then
        return found
      end
    end
  end)
end

local function decide(found, verb, who, digest)
  local data, status, answer = p:api('POST', ('/api/v1/plans/%s/%s'):format(found.id, verb),
    { digest = digest or found.digest, reason = 'seen' }, who)
  return status, data, answer
end

--- What the shop was asked, as "METHOD /path" texts.
local function asked()
  local out = {}
  for i, request in ipairs(shop.requests) do out[i] = request.method .. ' ' .. request.path end
  return out
end

--- The names of a table's fields, for shapes.
local function keys(t)
  local out = {}
  for name in pairs(t) do out[#out + 1] = name end
  table.sort(out)
  return table.concat(out, ' ')
end

describe('trust', function()
  it('auto: acts, proves that it helped, and the incident is over', function()
    perigee [[
playbook "act" { when = incident "odd", trust = "auto", plan = function(event)
  return mend(event, { verify { query = "errors", below = 0.1, within = "10s" } }) end }]]
    source.values.errors = 0.5
    shop.answer = function()
      source.values.errors = 0.01
      return { status = 202 }
    end
    odd 'cart'
    local done = plan('cart', 'executed')
    assert.equal('actions created_at decisions digest expires_at id incident_id playbook reason '
      .. 'state trust', keys(done))
    assert.equal('auto', done.trust)
    assert.same({}, done.decisions)
    assert.equal('http.request', done.actions[1].name)
    assert.equal('succeeded', done.actions[1].state)
    assert.equal(202, done.actions[1].outcome.status)
    assert.equal('0.01 is below 0.1', done.actions[2].outcome.message)
    assert.same({ 'POST /cart' }, asked())
    assert.equal('{"app":"cart"}', shop.requests[1].body)
    assert.equal(done.id .. '-1-forward', shop.requests[1].headers['idempotency-key'])
    odd()
    local incident = w:wait_for('the end of the incident', 10, function()
      local found = p:get('/api/v1/incidents')[1]
      return found.state == 'resolved' and found
    end)
    assert.equal('anomalies anomaly_count id is_incident labels name opened_at plans '
      .. 'recommendation resolved_at state', keys(incident))
    assert.same({ done.id }, incident.plans)
    assert.equal('anomaly_score confidence is_anomaly labels reason signal since value',
      keys(incident.anomalies[1]))
    assert.equal(0, (p:cli('vera', 'audit', '--verify')))
  end)

  it('human_approve: nothing runs until one who may approves what was shown, once', function()
    perigee [[
playbook "act" { when = incident "odd", trust = "human_approve", plan = mend }]]
    odd('api', 'cli', 'no', 'nocli')
    local api, cli = plan('api', 'pending'), plan('cli', 'pending')
    assert.same({}, asked())
    assert.equal(4, #p:get '/api/v1/approvals')
    assert.equal(403, (decide(api, 'approve', 'vera')))
    assert.equal(403, (decide(api, 'approve', 'otto')))
    assert.equal(401, (decide(api, 'approve')))
    assert.equal(404, (decide({ id = 'plan-0', digest = api.digest }, 'approve', 'anna')))
    assert.equal(409, (decide(api, 'approve', 'anna', cli.digest)))
    plan('api', 'pending')
    local status, data = decide(api, 'approve', 'anna')
    assert.equal(200, status)
    assert.equal('approved', data.state)
    assert.equal(409, (decide(api, 'approve', 'anna')))
    assert.equal(409, (decide(api, 'reject', 'admin')))
    local d = plan('api', 'executed').decisions
    assert.equal(1, #d)
    assert.same({ 'anna', 'api', 'approved', 'seen' },
      { d[1].who, d[1].via, d[1].decision, d[1].reason })

    assert.equal(3, (p:cli('vera', 'approve', cli.id)))
    assert.equal(3, (p:cli('anna', 'approve', cli.id, '--digest', api.digest)))
    assert.equal(0, (p:cli('anna', 'approve', cli.id, '--reason', 'it is time')))
    d = plan('cli', 'executed').decisions[1]
    assert.same({ 'anna', 'cli', 'it is time' }, { d.who, d.via, d.reason })

    assert.equal(200, (decide(plan('no', 'pending'), 'reject', 'anna')))
    assert.equal(0, (p:cli('anna', 'reject', plan('nocli', 'pending').id)))
    plan('nocli', 'rejected')
    local answer = select(3, decide(plan('no', 'rejected'), 'approve', 'anna'))
    assert.same({ 'error', 'conflict', 'the plan has been rejected by anna' },
      { answer.status, answer.errorType, answer.error })
    local seen = asked()
    table.sort(seen)
    assert.same({ 'POST /api', 'POST /cli' }, seen)
  end)

  it('human_approve: in time', function()
    perigee [[
playbook "act" { when = incident "odd", trust = "human_approve", approval_expires = "1s",
  plan = mend }]]
    odd 'late'
    local late = plan('late', 'expired')
    assert.equal(410, (decide(late, 'approve', 'anna')))
    local status, _, err = p:cli('anna', 'approve', late.id)
    assert.equal(3, status)
    assert.truthy(err:find('the time to decide ended', 1, true))
    assert.same({}, asked())
  end)

  it('recommend and manual_only run nothing; without dry_run: false nothing does', function()
    perigee([[
playbook "act" { when = incident "odd", trust = "auto", plan = mend }
playbook "by_hand" { when = incident "odd", trust = "manual_only", plan = mend }
playbook "missing" { when = incident "odd", plan = mend }
playbook "show" { when = incident "odd", trust = "recommend", plan = mend }]],
      'max_actions_per_hour: 10')
    odd 'cart'
    plan('cart', 'dry_run')
    local shown = plan('cart', 'blocked')
    assert.equal('show', shown.playbook)
    assert.equal(409, (decide(shown, 'approve', 'anna')))
    assert.equal(2, #p:get '/api/v1/plans')
    assert.equal('Mend cart', p:get('/api/v1/incidents')[1].recommendation)
    assert.same({}, asked())
    assert.equal(1, p:metric 'perigee_dry_run')
  end)

  it('a metric trigger acts for each series, after hold_for', function()
    perigee [[
playbook "act" { when = metric { query = "errors > 0.1", hold_for = "1s", every = "1s" },
  trust = "auto", plan = mend }]]
    source.values['errors > 0.1'] = { { labels = { app = 'a' }, value = 0.2 },
      { labels = { app = 'b' }, value = 0.3 } }
    plan('a', 'executed')
    plan('b', 'executed')
    assert.equal(2, #shop.requests)
    assert.same({}, p:get '/api/v1/incidents')
  end)
end)

describe('the kill switch', function()
  local ONE = 'playbook "act" { when = incident "odd", trust = "human_approve", plan = mend }'

  it('can be thrown in four ways, and holds everything', function()
    perigee(ONE)
    local KILL = p.folder .. '/data/KILL'
    local function post(on) return p:api('POST', '/api/v1/kill_switch', { on = on }, 'admin') end
    local ways = {
      { name = 'file', on = function() assert(file.write(KILL, 'a person\n')) end,
        off = function() os.remove(KILL) end },
      { name = 'signal', on = function() p.child:kill(10) end,
        off = function() assert.equal(0, (p:cli('admin', 'kill', 'off'))) end },
      { name = 'http', on = function() assert.is_true(post(true).on) end,
        off = function() assert.is_false(post(false).on) end },
      { name = 'cli', on = function() assert.equal(0, (p:cli('admin', 'kill', 'on'))) end,
        off = function() assert.equal(0, (p:cli('admin', 'kill', 'off'))) end },
    }
    odd('file', 'signal', 'http', 'cli', 'then')
    for _, way in ipairs(ways) do
      local waiting = plan(way.name, 'pending')
      way.on()
      w:wait_for('the kill switch by ' .. way.name, 1, function()
        return p:metric 'perigee_kill_switch' == 1
      end)
      assert.equal(200, (decide(waiting, 'approve', 'anna')))
      assert.equal('the kill switch is on: the file KILL is in data_dir',
        plan(way.name, 'blocked').reason)
      way.off()
      assert.equal(0, p:metric 'perigee_kill_switch')
    end
    assert.same({}, asked())
    for _, who in ipairs { 'vera', 'anna', 'otto' } do
      assert.equal(403, select(2, p:api('POST', '/api/v1/kill_switch', { on = true }, who)))
    end
    assert.equal(200, (decide(plan('then', 'pending'), 'approve', 'anna')))
    plan('then', 'executed')
  end)

  it('also holds between two actions of one plan, and after a restart', function()
    perigee [[
playbook "act" { when = incident "odd", trust = "auto", plan = function(event)
  return mend(event, { http.request { method = "POST", url = "SHOPsecond" } }) end }]]
    shop.answer = function()
      p:api('POST', '/api/v1/kill_switch', { on = true }, 'admin')
      return {}
    end
    odd 'first'
    assert.equal('stopped before action 2: the kill switch is on: the file KILL is in data_dir',
      plan('first', 'failed').reason)
    assert.same({ 'POST /first' }, asked())
    p:stop()
    p:start()
    assert.equal(1, p:metric 'perigee_kill_switch')
  end)
end)

describe('a limit', function()
  --- What the second of two runs is blocked by.
  local LIMITS = {
    { says = 'guardrails.cooldown of 1h for POST', same = true,
      guardrails = 'dry_run: false, cooldown: 1h' },
    { says = 'max_actions_per_hour is 1: 1 in the last hour, 1 more wanted',
      guardrails = 'dry_run: false, cooldown: 0s, max_actions_per_hour: 1' },
    { says = "the playbook's limit: 1 runs in the last 1h, 1 are allowed",
      playbook = 'limit = { 1, per = "1h" },' },
    { says = "the playbook's cooldown of 1h", playbook = 'cooldown = "1h",', same = true },
  }
  for _, case in ipairs(LIMITS) do
    it('stops a second run: ' .. case.says, function()
      perigee(([[
playbook "act" { when = incident "odd", trust = "auto", %s plan = mend }]])
        :format(case.playbook or ''), case.guardrails)
      odd 'one'
      plan('one', 'executed')
      if case.same then -- the same target in a new incident
        odd()
        w:wait_for('the end of the first', 10, function()
          return p:get('/api/v1/incidents')[1].state == 'resolved'
        end)
      end
      odd(case.same and 'one' or 'two')
      local blocked = plan(case.same and 'one' or 'two', 'blocked')
      assert.equal(case.says, blocked.reason:sub(1, #case.says))
      assert.equal(1, #shop.requests)
    end)
  end

  it('of the calendar: nothing in a freeze window, anything after it', function()
    perigee('playbook "act" { when = incident "odd", trust = "auto", plan = mend }',
      'dry_run: false, freeze: [ { from: "2020-01-01T00:00:00Z", to: "2099-01-01T00:00:00Z" } ]')
    odd 'cart'
    assert.truthy(plan('cart', 'blocked').reason:find '^frozen from 2020')
    assert.same({}, asked())
  end)

  it('of what may be called: nothing but what guardrails.http names', function()
    perigee [[
playbook "act" { when = incident "odd", trust = "auto", plan = {
  http.request { method = "POST", url = "http://127.0.0.1:1/cart" } } }]]
    odd 'cart'
    assert.truthy(plan('cart', 'blocked').reason:find('guardrails.http does not allow', 1, true))
  end)
end)

describe('a request that a plan makes', function()
  it('never reaches perigee itself, by whatever name, whatever the operator allows', function()
    local hosts, prefixes, samples = { '127.0.0.1', 'localhost', '0.0.0.0', '127.0.0.2',
      '[::ffff:127.0.0.1]', '2130706433' }, {}, {}
    p = w:configure { source = source.url, tokens = TOKENS }
    for i, host in ipairs(hosts) do
      prefixes[i] = ('{ url_prefix: "http://%s:%d/" }'):format(host, p.port)
      samples[i] = { labels = { host = host }, value = 1 }
    end
    p:set_config(('lifecycle: true\nguardrails: { dry_run: false, cooldown: 0s, http: [ %s ] }')
      :format(table.concat(prefixes, ', ')))
    p:set_rules('own.lua', ([[
playbook "own" { when = metric { query = "x", every = "1s" }, trust = "auto",
  plan = function(event)
    local own = "http://" .. event.labels.host .. ":%d"
    return { http.request { method = "POST", url = own .. "/-/reload" } }
  end }]]):format(p.port))
    source.values.x = samples
    p:start()
    local failed = w:wait_for('every plan to fail', 20, function()
      local found = p:get '/api/v1/plans?state=failed'
      return #found == #hosts and found
    end)
    for _, found in ipairs(failed) do
      assert.truthy(found.reason:find ' is refused$', found.reason)
    end
    assert.equal(1, p:metric 'perigee_reloads_total{outcome="ok"}') -- the start
  end)

  it('is not sent on to where a redirect points', function()
    shop.answer = function(request)
      if request.path == '/cart' then
        return { status = 307, headers = { Location = shop.url .. 'elsewhere' } }
      end
    end
    perigee 'playbook "act" { when = incident "odd", trust = "auto", plan = mend }'
    odd 'cart'
    assert.equal(307, plan('cart', 'failed').actions[1].outcome.status)
    assert.same({ 'POST /cart' }, asked())
  end)
end)

describe('a verification that fails', function()
  it('reverts what was done, and calls a person through Alertmanager', function()
    local pages = {}
    local port = w:serve(function(request)
      for _, alert in ipairs(json.decode(request.body).alerts) do pages[#pages + 1] = alert end
      return {}
    end)
    local am = w:alertmanager(('http://127.0.0.1:%d/'):format(port))
    perigee([[
playbook "act" { when = incident "odd", trust = "auto", plan = function(event)
  return mend(event, { verify { query = "errors", below = 0.1, within = "2s",
    otherwise = "revert" } }) end }]], nil, ('alertmanager: { url: "%s" }\n'):format(am))
    source.values.errors = 0.5
    odd 'cart'
    local failed = plan('cart', 'failed')
    assert.same({ 'POST /cart', 'DELETE /cart' }, asked())
    assert.equal('verification failed within 2s: 0.5 is not below 0.1; reverted 1 of its actions',
      failed.reason)
    assert.equal('succeeded', failed.actions[1].reverted.state)
    assert.equal('open', p:get('/api/v1/incidents')[1].state)
    local page = w:wait_for('the page', 15, function() return pages[1] end)
    assert.same({ 'firing', 'PerigeePage', 'act', failed.id, 'critical', 'cart' },
      { page.status, page.labels.alertname, page.labels.playbook, page.labels.plan,
        page.labels.severity, page.labels.app })
    assert.equal('act: ' .. failed.reason, page.annotations.summary)
  end)
end)
