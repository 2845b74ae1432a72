local measured = 0
package.loaded['perigee.daemon'] = { measure = function() measured = measured + 1 end }

local guardrails = require 'engine.guardrails'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local json = require 'perigee.json'
local metrics = require 'engine.metrics'
local process = require 'perigee.process'
local scrape = require 'server.metrics'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "q", detector = function(v) local n = 0 for i = 1, 1e4 do n = n + i end
  return v > 1 end }
signal "b" { query = "r", detector = threshold { above = 1 } }
]]

local function expose(engine, accept) return scrape.expose(engine, accept or '') end

--- The value of a sample line that begins with these words.
local function value(text, start)
  for line in text:gmatch '[^\n]+' do
    if line:sub(1, #start + 1) == start .. ' ' then return tonumber(line:sub(#start + 2)) end
  end
end

--- Something in every family, with labels as hostile as they come.
local function use(engine)
  local nasty = 'quote " backslash \\ line\nfeed'
  metrics.evaluations:add(1, nasty)
  metrics.failures:add(1, 'signal/a')
  metrics.rule_faults:add(1, 'signal/a', 'error')
  metrics.blocked:add(1, 'kill_switch')
  metrics.actions:add(2, 'http.request', 'succeeded')
  metrics.plans:add(1, 'mend', 'executed')
  metrics.approvals:add(1, 'approved')
  metrics.pages:add(1, 'sent')
  metrics.models:add(1, 'fitted')
  for _, seconds in ipairs { 0, 0.004, 3, 1e6 } do metrics.seconds:observe(seconds) end
  metrics.approval_wait:observe(70)
  engine.store:exec([[insert into signals (name, state) values ('a', ?)]], json.encode { series = {
    one = { state = 'firing', labels = {} }, two = { state = 'pending', labels = {} },
    three = { state = 'firing', labels = {} } } })
end

describe('/metrics', function()
  local engine = support.engine { rules = RULES }
  use(engine)

  it('has the content type of its format', function()
    assert.equal('text/plain; version=0.0.4; charset=utf-8', (expose(engine)))
    assert.equal('application/openmetrics-text; version=1.0.0; charset=utf-8',
      (expose(engine, 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5')))
  end)

  it('goes by what the client likes best', function()
    local text, open = 'text/plain', 'application/openmetrics-text'
    local cases = {
      { '', text }, { '*/*', text }, { 'text/plain', text }, { open, open },
      { open .. ';version=1.0.0,' .. open .. ';version=0.0.1;q=0.75,text/plain;q=0.5,*/*;q=0.1',
        open },
      { 'text/plain;version=0.0.4;q=1,' .. open .. ';q=0.5', text }, { open .. ';q=0', text },
      { open .. '; q=0.3 , text/*;q=0.2', open }, { 'nonsense;;;q=x', text },
    }
    for _, case in ipairs(cases) do
      assert.matches('^' .. case[2]:gsub('%-', '%%-'), (expose(engine, case[1])), nil, case[1])
    end
  end)

  it('passes promtool check metrics', function()
    local _, text = expose(engine)
    local child = assert(process.start { 'promtool', 'check', 'metrics', input = text })
    local status, out, err = child:wait(20)
    assert.equal('', out .. err)
    assert.equal(0, status)
  end)

  it('as OpenMetrics keeps to its grammar', function()
    local _, text = expose(engine, 'application/openmetrics-text')
    assert.matches('\n# EOF\n$', text)
    assert.is_nil(text:find('\n\n', 1, true))
    local types, family = {}, nil
    for line in text:gmatch '([^\n]*)\n' do
      local name, kind = line:match '^# TYPE (%S+) (%S+)$'
      if name then
        assert.is_nil(types[name], name)
        types[name], family = kind, name
        assert.is_true(kind ~= 'counter' or not name:find '_total$', name)
      elseif line:sub(1, 1) ~= '#' then
        local sample = line:match '^([%a_:][%w_:]*)'
        assert.equal(family, sample:sub(1, #family), line)
        if types[family] == 'counter' then assert.matches('_total$', sample) end
        assert.matches('^[%w_:]+ %S+$', (line:gsub('{.*}', '')))
      end
    end
    assert.equal('counter', types.perigee_rule_evaluations)
  end)

  it('counts series by state, and what is switched off', function()
    local _, text = expose(engine)
    assert.same({ 2, 1, 0, 0 }, { value(text, 'perigee_alerts{state="firing"}'),
      value(text, 'perigee_alerts{state="pending"}'),
      value(text, 'perigee_alerts{state="inactive"}'), value(text, 'perigee_rules_switched_off') })
  end)

  it('tells storms, trust that is lost and breakers that are open', function()
    local own = support.engine { rules = 'playbook "p" { when = metric { query = "q" } }' }
    local function has(words)
      assert.matches('\n' .. words .. '\n', select(2, scrape.expose(own, '')), 1, true)
    end
    has 'perigee_storm 0'
    has 'perigee_trust_lost{playbook="p"} 0'
    has 'perigee_breaker_open{playbook="p"} 0'
    own.store:exec('insert into trust (playbook, lost_at, opened_at) values (?, ?, ?)', 'p',
      clock.now(), clock.now())
    for i = 1, 11 do
      own.store:exec([[insert into incidents (id, name, group_key, state, opened_at, updated_at,
        data) values (?, 'odd', ?, 'open', ?, ?, '{"anomalies":[],"labels":{}}')]], 'inc-' .. i, i,
        clock.now(), clock.now())
    end
    has 'perigee_storm 1'
    has 'perigee_trust_lost{playbook="p"} 1'
    has 'perigee_breaker_open{playbook="p"} 1'
  end)

  it('tells the kill switch and the head of the audit trail', function()
    assert.equal(0, value(select(2, expose(engine)), 'perigee_kill_switch'))
    assert(file.make_folder(engine.config.data_dir))
    assert(file.write(guardrails.kill_file(engine.config), 'x'))
    local head = audit.append(engine.store, 'a', {})
    local _, text = expose(engine)
    assert.equal(1, value(text, 'perigee_kill_switch'))
    assert.equal(1, value(text, ('perigee_audit_head_info{hash="%s"}'):format(head)))
    assert.equal(1, value(text, 'perigee_audit_records'))
    local second = audit.append(engine.store, 'b', {})
    _, text = expose(engine)
    assert.is_nil(value(text, ('perigee_audit_head_info{hash="%s"}'):format(head)))
    assert.equal(1, value(text, ('perigee_audit_head_info{hash="%s"}'):format(second)))
  end)

  it('counts what rule files take, as counters do: never back, also after a reload', function()
    local path = engine.rules.files[1].path
    local sample = ('perigee_lua_instructions_total{file="%s"}'):format(path)
    local before = value(select(2, expose(engine)), sample)
    engine.rules.signals.a.detector.judge(nil, 1, 1, {})
    local after = value(select(2, expose(engine)), sample)
    assert.is_true(after >= before + 1e4)
    -- the same file in a new generation: a new cell, which has counted less, in a state of its own
    package.loaded['server.metrics'] = nil
    local scrape_anew = require 'server.metrics'
    local reloaded = support.engine { store = engine.store }
    local rules = require('rules.load').load({ path }, { every = 30, limits = {} })
    reloaded.rules = rules
    local third = value(select(2, scrape_anew.expose(reloaded, '')), sample)
    assert.is_true(third >= after)
    rules.signals.a.detector.judge(nil, 1, 1, {})
    assert.is_true(value(select(2, scrape_anew.expose(reloaded, '')), sample) >= third + 1e4)
  end)

  it('asks for the process\'s own figures anew each time', function()
    local before = measured
    expose(engine)
    assert.equal(before + 1, measured)
  end)

  teardown(support.tidy)
end)
