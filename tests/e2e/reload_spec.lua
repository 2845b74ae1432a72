--- New rules and a new configuration in a running perigee: all of it or nothing, and nothing that
--- was known is forgotten.
local async = require 'async'
local fake = require 'fakes.prometheus'
local http = require 'http'
local testing = require 'testing.world'
local world = require 'e2e.world'

local w, source

before_each(function() w, source = world.new(), fake.serve() end)
after_each(function()
  w:close()
  source.close()
end)

--- A signal by a query of the same name.
local function signal(name, more)
  return ('signal "%s" { query = "%s", every = "1s", detector = threshold { above = 5 }, %s }\n')
    :format(name, name, more or '')
end

local function perigee(rules, more)
  local o = { source = source.url, tokens = { admin = 'admin', anna = 'approver' }, rules = rules }
  for name, value in pairs(more or {}) do o[name] = value end
  return w:perigee(o)
end

--- Sends SIGHUP, and waits until that many reloads have ended so.
local function hangup(p, outcome)
  local name = ('perigee_reloads_total{outcome="%s"}'):format(outcome)
  local before = p:metric(name)
  p.child:kill(1)
  w:wait_for('a reload that is ' .. outcome, 10, function() return p:metric(name) > before end)
end

--- Seconds of the hour of a time as the API writes it, in whole milliseconds.
local function seconds(text)
  local min, s, ms = text:match ':(%d+):(%d+)%.(%d+)Z$'
  return min * 60 + s + ms / 1000
end

local function count(text, words)
  return select(2, text:gsub(words:gsub('%p', '%%%0'), ''))
end

describe('a reload', function()
  it('comes by a signal, the command line and HTTP, and tells what has changed', function()
    local p = perigee { ['a.lua'] = signal 'a', ['b.lua'] = signal 'b' }
    p:set_rules('c.lua', signal 'c')
    hangup(p, 'ok')
    assert.truthy(p:log():find('added="signal c" changed="" removed=""', 1, true))

    p:set_rules('a.lua', signal('a', 'hold_for = "1s"'))
    local status, out = p:cli('admin', 'reload')
    assert.same({ 0, 'reloaded\n' }, { status, out })
    assert.truthy(p:log():find('added="" changed="signal a" removed=""', 1, true))

    p:set_rules('b.lua', nil)
    local response = p:request('POST', '/-/reload', nil, 'admin')
    assert.same({ 200, 'reloaded\n' }, { response.status, response.body })
    assert.truthy(p:log():find('added="" changed="" removed="signal b"', 1, true))
    assert.is_nil(p:signal 'b')

    assert.equal(403, p:request('POST', '/-/reload', nil, 'anna').status)
    assert.equal(401, p:request('POST', '/-/reload').status)
    assert.equal(405, p:request('GET', '/-/reload', nil, 'admin').status)
    p:set_config 'lifecycle: true\n'
    hangup(p, 'ok')
    assert.equal(200, p:request('POST', '/-/reload').status)
  end)

  it('takes the configuration too: tokens, source, log, kill switch', function()
    local p = perigee { ['a.lua'] = signal 'a' }
    w:write('perigee/token-anna', 'a-new-token-0123456789\n')
    hangup(p, 'ok')
    assert.equal(401, p:request('GET', '/api/v1/signals', nil, 'anna').status)
    p.tokens.anna = 'a-new-token-0123456789'
    assert.equal(200, p:request('GET', '/api/v1/signals', nil, 'anna').status)

    local other = fake.serve()
    p.common = p.common:gsub('url: "[^"]+"', ('url: "%s"'):format(other.url))
    p:set_config 'guardrails: { kill_switch: true }\nlog: { format: json }\n'
    hangup(p, 'ok')
    w:wait_for('the new source to be asked', 10, function() return #other.asked > 0 end)
    local status, out = p:cli('admin', 'kill', 'off')
    assert.same({ 1, 'the kill switch is on: guardrails.kill_switch is on\n' }, { status, out })
    assert.truthy(p:log():find('{"ts":"[^\n]+"msg":"the kill switch stays on"'))
    other.close()
  end)

  it('that comes while another is under way is not lost', function()
    local p = perigee { ['a.lua'] = signal 'a' }
    for round = 1, 30 do
      p:set_rules('a.lua', signal('a' .. round))
      p.child:kill(1)
      async.sleep(0.003)
    end
    w:wait_for('the last of them', 10, function() return p:signal 'a30' end)
    assert.equal(1, p:metric 'perigee_config_last_reload_successful')
    p.child:kill(1)
    p.child:kill(15)
    assert.equal(0, p:stop())
  end)

  it('of the same files does nothing', function()
    local p = perigee { ['a.lua'] = signal 'a' }
    local loaded = p:get('/api/v1/status').rules_loaded_at
    local audited = p:metric 'perigee_audit_records'
    hangup(p, 'ok')
    local status, out = p:cli('admin', 'reload')
    assert.same({ 0, 'nothing has changed\n' }, { status, out })
    assert.equal(loaded, p:get('/api/v1/status').rules_loaded_at)
    assert.equal(audited, p:metric 'perigee_audit_records')
    assert.equal(1, count(p:log(), 'rules are active'))
  end)

  it('with anything wrong changes nothing, and reports all of it', function()
    local p = perigee { ['a.lua'] = signal 'a', ['b.lua'] = signal 'b' }
    p:set_rules('a.lua', signal('a', 'hold_for = "2 minutes", lables = {}'))
    p:set_rules('b.lua', 'incident "i" {\n  signals = { "no" } }\n')
    p:set_rules('c.lua', 'signal "a" {\n  query = \n')
    hangup(p, 'failed')
    local WRONG = { 'a.lua:1:', 'did you mean "labels"?', 'b.lua:2:', 'c.lua:3: ' }
    local response = p:request('POST', '/-/reload', nil, 'admin')
    assert.equal(500, response.status)
    local status, _, err = p:cli('admin', 'reload')
    assert.equal(1, status)
    local problems = p:get('/api/v1/status').last_reload
    assert.equal('failed', problems.outcome)
    local told = table.concat(problems.problems, '\n')
    for _, words in ipairs(WRONG) do
      for where, text in pairs { response = response.body, cli = err, status = told,
        log = p:log():gsub('\\"', '"') } do
        assert.truthy(text:find(words, 1, true), ('%s is not in the %s: %s'):format(words, where,
          text))
      end
    end
    assert.equal(0, p:metric 'perigee_config_last_reload_successful')
    assert.same({ 'a', 'b' }, { p:signal('a').name, p:signal('b').name })

    p:set_rules('a.lua', signal 'a')
    p:set_rules('b.lua', signal 'b')
    p:set_rules('c.lua', nil)
    p:set_config 'lifecicle: true\nlog: { level: loud }\n'
    hangup(p, 'failed')
    told = table.concat(p:get('/api/v1/status').last_reload.problems, '\n')
    assert.truthy(told:find('perigee.yaml:5:1: unknown key "lifecicle"; did you mean "lifecycle"?',
      1, true), told)
    assert.truthy(told:find('perigee.yaml:6:', 1, true), told)
    p:set_config ''
    hangup(p, 'ok')
    assert.equal(1, p:metric 'perigee_config_last_reload_successful')
  end)

  it('keeps what fires, what waits, what was learned, and what a person is asked', function()
    local SHOP <const> = 'http://127.0.0.1:1/'
    local p = perigee({ ['a.lua'] = signal('fires') .. signal('waits', 'hold_for = "4s"'),
      ['learns.lua'] = [[
signal "learns" { query = "learns", every = "1s",
  detector = z_score { history = "1h", step = "1m" } }]],
      ['act.lua'] = ([[
incident "odd" { signals = { "fires" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "human_approve", plan = {
  http.request { method = "POST", url = "%s" } } }]]):format(SHOP) },
      { config = ('guardrails: { dry_run: false, http: [ { url_prefix: "%s" } ] }'):format(SHOP) })
    source.values.fires, source.values.waits = 9, 9
    source.values.learns = function(t) return 100 + t // 60 % 7 end
    w:wait_for('all of it', 15, function()
      local learned = p:signal('learns').series[1]
      return p:signal('waits').state == 'pending' and p:get('/api/v1/approvals')[1]
        and learned and learned.condition ~= 'no_baseline'
    end)
    local function known()
      return { fires = p:signal('fires').series[1].fired_at,
        waits = p:signal('waits').series[1].active_at, incident = p:get('/api/v1/incidents')[1].id,
        plan = p:get('/api/v1/approvals')[1].id, fits = p:metric
        'perigee_model_fits_total{outcome="fitted"}' }
    end
    local before = known()
    assert.equal(1, before.fits)
    for round = 1, 3 do
      p:set_rules('more.lua', signal('more' .. round))
      hangup(p, 'ok')
      assert.same(before, known())
    end
    local last = p:signal('learns').last_evaluation
    w:wait_for('another look', 10, function() return p:signal('learns').last_evaluation ~= last end)
    assert.same(before, known())
    local fired = w:wait_for('the hold to end', 10, function()
      return p:signal('waits').series[1].fired_at
    end)
    assert.equal(4, (seconds(fired) - seconds(before.waits)) % 3600)
    assert.equal(0, (p:cli('anna', 'approve', before.plan)))
    w:wait_for('the plan to run', 10, function()
      return p:get('/api/v1/plans/' .. before.plan).state == 'failed' -- nobody is at that address
    end)
    assert.equal(1, #p:get '/api/v1/plans')
  end)

  it('forgets a signal that is gone, and ends what rested on it', function()
    local p = perigee { ['a.lua'] = signal 'a', ['i.lua'] = 'incident "i" { signals = { "a" }, '
      .. 'min_signals = 1 }' }
    source.values.a = 9
    w:wait_for('an incident', 10, function() return p:get('/api/v1/incidents')[1] end)
    p:set_rules('i.lua', nil)
    p:set_rules('a.lua', signal 'b')
    hangup(p, 'ok')
    assert.is_nil(p:signal 'a')
    assert.equal('resolved', p:get('/api/v1/incidents')[1].state)
    p:set_rules('a.lua', signal('a', 'hold_for = "1h"'))
    hangup(p, 'ok')
    w:wait_for('a beginning anew', 10, function() return p:signal('a').state == 'pending' end)
  end)

  it('loses and doubles no evaluation, not even one that is under way', function()
    local p = perigee { ['a.lua'] = signal('a', 'hold_for = "1h"'), ['b.lua'] = signal 'b' }
    source.values.a, source.values.b = 9, 1
    source.answer = function(_, query) -- a takes half of its second
      if query == 'a' then async.sleep(0.5) end
    end
    for round = 1, 20 do
      p:set_rules('b.lua', signal('b', ('hold_for = "%ds"'):format(round)))
      hangup(p, 'ok')
      async.sleep(0.1)
    end
    local slots = w:wait_for('some evaluations of each', 10, function()
      local found = { a = {}, b = {} }
      for _, request in ipairs(source.asked) do
        local fields = http.parse_form(request.body)
        table.insert(found[fields.query], tonumber(fields.time))
      end
      return #found.a > 2 and #found.b > 2 and found
    end)
    for name, times in pairs(slots) do
      for i = 2, #times do assert.equal(1, times[i] - times[i - 1], name) end
      assert.equal(0, p:metric(('perigee_rule_evaluations_missed_total{rule="signal/%s"}')
        :format(name)))
    end
    assert.equal('pending', p:signal('a').state)
  end)

  describe('while an action is under way', function()
    local asked, shop, url
    before_each(function()
      asked = {}
      shop = assert(http.serve({}, function(request)
        asked[#asked + 1] = request.path
        if #asked == 1 then async.sleep(1.5) end
        return {}
      end))
      url = ('http://127.0.0.1:%d/'):format(shop:port())
    end)
    after_each(function() shop:close() end)

    local GUARDRAILS <const> = 'guardrails: { dry_run: false, http: [ { url_prefix: "%s" } ] }'
    --- Perigee in the middle of the first of two actions.
    local function acting()
      local p = perigee({ ['a.lua'] = signal 'a', ['act.lua'] = ([[
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "auto", plan = {
  http.request { method = "POST", url = "%sone" },
  http.request { method = "POST", url = "%stwo" } } }]]):format(url, url) },
        { config = GUARDRAILS:format(url) })
      source.values.a = 9
      w:wait_for('the action', 10, function() return asked[1] end)
      return p
    end
    local function ended(p, state)
      return w:wait_for('the plan to be ' .. state, 10, function()
        local found = p:get('/api/v1/plans')[1]
        return found.state == state and found
      end)
    end

    it('lets it end, and the plan goes on', function()
      local p = acting()
      p:set_rules('b.lua', signal 'b')
      hangup(p, 'ok')
      assert.equal(1, #asked)
      ended(p, 'executed')
      assert.same({ '/one', '/two' }, asked)
    end)

    it('lets it end, and the plan goes no further than the new configuration allows', function()
      local p = acting()
      p:set_config(GUARDRAILS:format(url .. 'one'))
      hangup(p, 'ok')
      local failed = ended(p, 'failed')
      assert.truthy(failed.reason:find 'stopped before action 2: .*guardrails.http', failed.reason)
      assert.equal('succeeded', failed.actions[1].state)
      assert.same({ '/one' }, asked)
    end)
  end)

  it('may change the address that is listened to, but not where the data is', function()
    local p = perigee { ['a.lua'] = signal 'a' }
    local before, port = p.url, testing.free_port()
    p.common = p.common:gsub('listen: [^\n]+', 'listen: 127.0.0.1:' .. port)
    p:set_config ''
    p.child:kill(1)
    p.url = ('http://127.0.0.1:%d'):format(port)
    w:wait_for('the new address', 10, function() return testing.get(p.url .. '/-/ready') end)
    w:wait_for('the end of the old', 10, function()
      return not testing.get(before .. '/-/ready')
    end)
    p.common = p.common:gsub('data_dir: [^\n]+', 'data_dir: ./elsewhere')
    p:set_config ''
    hangup(p, 'failed')
    assert.truthy(p:get('/api/v1/status').last_reload.problems[1]:find('data_dir cannot change', 1,
      true))
  end)

  it('that cannot listen at the new address changes nothing', function()
    local p, taken = perigee { ['a.lua'] = signal 'a' }, assert(http.serve({}, function() end))
    p.common = p.common:gsub('listen: [^\n]+', 'listen: 127.0.0.1:' .. taken:port())
    p:set_config ''
    hangup(p, 'failed')
    assert.truthy(p:get('/api/v1/status').last_reload.problems[1]:find('cannot listen on', 1, true))
    taken:close()
  end)
end)
