--- How perigee starts, ends, starts again, and lives with rules that run away.
local async = require 'async'
local clock = require 'perigee.clock'
local fake = require 'fakes.prometheus'
local json = require 'json'
local world = require 'e2e.world'

local w, source, shop

before_each(function()
  w, source = world.new(), fake.serve()
  shop = w:target()
  shop.seconds = 0
  function shop.answer() async.sleep(shop.seconds) end
end)
after_each(function()
  w:close()
  source.close()
end)

local SIGNAL <const> =
  'signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }\n'

--- Rules that act upon x, twice, with this trust.
local function acting(trust)
  return { ['act.lua'] = (SIGNAL .. [[
incident "odd" { signals = { "x" }, min_signals = 1 }
playbook "act" { when = incident "odd", trust = "TRUST", plan = {
  http.request { method = "POST", url = "SHOPone" },
  http.request { method = "POST", url = "SHOPtwo" } } }]]):gsub('TRUST', trust)
    :gsub('SHOP', shop.url) }
end

local function perigee(rules, config)
  return w:configure { source = source.url, tokens = { admin = 'admin' }, rules = rules,
    config = ('guardrails: { dry_run: false, http: [ { url_prefix: "%s" } ] }\n%s'):format(shop.url,
      config or '') }
end

describe('perigee run', function()
  it('tells every error of its configuration at once, and ends with 2', function()
    local p = perigee({ ['a.lua'] = SIGNAL }, [[
evaluation_intervall: 30s
drain: soon
auth2: 1
alertmanager: { url: "http://127.0.0.1:1", bearer_token_file: not-there }]])
    local status, out, err = p:fail()
    assert.same({ 2, '' }, { status, out })
    for _, words in ipairs { 'perigee.yaml:6:1: unknown key "evaluation_intervall"; did you mean '
      .. '"evaluation_interval"?', 'perigee.yaml:7:', 'perigee.yaml:8:1: unknown key "auth2"',
      'perigee.yaml:9:', 'not-there' } do
      assert.truthy(err:find(words, 1, true), err)
    end
  end)

  it('tells every error of its rules at once, and ends with 2', function()
    local p = perigee { ['a.lua'] = 'signal "a" { querry = "a" }', ['b.lua'] = 'nonsense()' }
    local status, _, err = p:fail()
    assert.equal(2, status)
    for _, words in ipairs { 'a.lua:1:', 'unknown option "querry"; did you mean "query"?',
      'b.lua:1:', '"nonsense"' } do
      assert.truthy(err:find(words, 1, true), err)
    end
  end)

  it('without its configuration, or with its address taken, says so', function()
    local status, _, err = w:cli('run', '-c', w:path 'not-there.yaml')
    assert.equal(2, status)
    assert.truthy(err:find('not-there.yaml', 1, true))
    local p = perigee { ['a.lua'] = SIGNAL }
    p.common = p.common:gsub('listen: [^\n]+', 'listen: 127.0.0.1:' .. shop.port)
    p:set_config ''
    status, _, err = p:fail()
    assert.equal(3, status)
    assert.truthy(err:find('cannot listen on 127.0.0.1', 1, true), err)
  end)

  it('that cannot keep its data says which file it is', function()
    local p = perigee { ['a.lua'] = SIGNAL }
    w:write('perigee/broken/perigee.db', ('no database '):rep(1000))
    local common = p.common
    for folder, words in pairs { ['./perigee.yaml/x'] = 'cannot make folder',
      ['./broken'] = '/perigee/broken/perigee.db: ' } do
      p.common = common:gsub('data_dir: [^\n]+', 'data_dir: ' .. folder)
      p:set_config()
      local status, _, err = p:fail()
      assert.equal(3, status)
      assert.truthy(err:find(words, 1, true), err)
    end
  end)

  it('is the only one on its data', function()
    local p = perigee { ['a.lua'] = SIGNAL }
    p:start()
    local q = w:configure { name = 'second', source = source.url }
    q.common = q.common:gsub('data_dir: [^\n]+', 'data_dir: ' .. p.folder .. '/data')
    q:set_config ''
    local status, _, err = q:fail()
    assert.equal(3, status)
    assert.truthy(err:find('is in use by another perigee', 1, true), err)
    assert.equal(0, p:stop())
    q:start()
    assert.equal(0, q:stop(2)) -- INT, as the keyboard sends it
  end)
end)

describe('TERM', function()
  it('lets the action under way end, begins no other, and the next start goes on', function()
    local p = perigee(acting 'auto')
    p:start()
    shop.seconds, source.values.x = 1.5, 9
    w:wait_for('the action', 10, function() return #shop.requests == 1 end)
    assert.equal(0, p:stop())
    assert.equal(1, #shop.requests)
    assert.is_nil(p:log():find('cancelled', 1, true))
    shop.seconds = 0
    p:start()
    local plan = w:wait_for('the rest of the plan', 10, function()
      local found = p:get('/api/v1/plans')[1]
      return found.state == 'executed' and found
    end)
    assert.equal(2, #shop.requests)
    assert.same({ 'succeeded', 'succeeded' }, { plan.actions[1].state, plan.actions[2].state })
    assert.equal(0, (p:cli('admin', 'audit', '--verify')))
  end)

  it('waits no longer than the drain time; what has not ended is not repeated', function()
    local p = perigee(acting 'auto', 'drain: 1s')
    p:start()
    shop.seconds, source.values.x = 20, 9
    w:wait_for('the action', 10, function() return #shop.requests == 1 end)
    local stopped = clock.monotonic()
    assert.equal(0, p:stop())
    assert.is_true(clock.monotonic() - stopped < 3)
    shop.seconds = 0
    p:start()
    local plan = w:wait_for('the end of the plan', 10, function()
      local found = p:get('/api/v1/plans')[1]
      return found.state == 'unknown' and found
    end)
    assert.equal('unknown', plan.actions[1].state)
    assert.equal(1, #shop.requests)
  end)
end)

describe('the next start', function()
  it('knows what fired, what is open, what waits for a person, and the trail', function()
    local p = perigee(acting 'human_approve')
    p:start()
    source.values.x = 9
    w:wait_for('a plan', 10, function() return p:get('/api/v1/approvals')[1] end)
    local function known()
      return { fired = p:signal('x').series[1].fired_at, incidents = #p:get '/api/v1/incidents',
        incident = p:get('/api/v1/incidents')[1].id, plan = p:get('/api/v1/approvals')[1] }
    end
    local before = known()
    local head = p:get('/api/v1/audit').head
    p:stop()
    p:start()
    assert.same(before, known())
    assert.equal(0, (p:cli('admin', 'audit', '--verify', '--head', head)))
    assert.equal(0, (p:cli('admin', 'approve', before.plan.id)))
    w:wait_for('the plan to run', 10, function()
      return p:get('/api/v1/plans/' .. before.plan.id).state == 'executed'
    end)
    assert.equal(2, #shop.requests)
  end)
end)

describe('a rule that runs away', function()
  local BOMBS = {
    loop = 'while true do end',
    caught = 'while true do pcall(function() while true do end end) end',
    pattern = 'return ("a"):rep(5000):find(("a-"):rep(12) .. "b")',
    memory = 'local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end',
    text = 'local s = "x" while true do s = s .. s end',
    recursion = 'local function f() return f() + 1 end return f()',
    wrong = 'return nothing.at.all',
  }

  it('is named by file and line, switched off after three, and the others are on time', function()
    local rules = { ['good.lua'] = SIGNAL }
    for name, code in pairs(BOMBS) do
      rules[name .. '.lua'] = ('signal "%s" { query = "x", every = "1s",\n'
        .. '  detector = function(value)\n    %s\n  end }\n'):format(name, code)
    end
    source.values.x = 1
    local p = perigee(rules)
    p:start()
    w:wait_for('all to be switched off', 30, function()
      return p:metric 'perigee_rules_switched_off' == 7
    end)
    local log = p:log()
    for name in pairs(BOMBS) do
      local off = p:signal(name)
      local place = ('%s.lua:3: '):format(name)
      assert.truthy(off.switched_off:find('switched off after 3 faults running', 1, true))
      assert.truthy(off.switched_off:find(place, 1, true), off.switched_off)
      assert.equal('error', off.condition)
      assert.truthy(log:find(place, 1, true), name)
      assert.equal(3, select(2, log:gsub(('rule fault"[^\n]* rule=signal/%s '):format(name), '')))
    end
    assert.equal(0, p:metric 'perigee_rule_evaluations_missed_total{rule="signal/x"}')
    assert.equal('ok', p:signal('x').condition)
    local all, on_time = p:metric('perigee_rule_evaluation_delay_seconds_count',
      'perigee_rule_evaluation_delay_seconds_bucket{le="1"}')
    assert.equal(all, on_time)

    local status, data = select(2, p:api('POST', '/api/v1/rules/enable', { rule = 'signal/loop' },
      'admin'))
    assert.equal(200, status, json.encode(data))
    assert.is_nil(p:signal('loop').switched_off)
    p:set_rules('wrong.lua', SIGNAL:gsub('"x"', '"wrong"', 1))
    assert.equal(0, (p:cli('admin', 'reload')))
    w:wait_for('the mended rule to work', 10, function()
      return p:signal('wrong').condition == 'ok'
    end)
  end)

  it('is refused where it runs away while it is read, and those before it go on', function()
    local p = perigee { ['good.lua'] = SIGNAL }
    source.values.x = 1
    p:start()
    for name, code in pairs(BOMBS) do
      p:set_rules(name .. '.lua', '-- reads on and on\n\n' .. code)
    end
    local status, _, err = p:cli('admin', 'reload')
    assert.equal(1, status)
    for name in pairs(BOMBS) do assert.truthy(err:find(name .. '.lua:3: ', 1, true), err) end
    local last = p:signal('x').last_evaluation
    w:wait_for('the next look', 10, function() return p:signal('x').last_evaluation ~= last end)
    assert.equal(0, p:metric 'perigee_rule_evaluations_missed_total{rule="signal/x"}')
  end)

  it('in what it recommends or plans, is told, and nothing is done', function()
    source.values.x = 9
    local p = perigee { ['act.lua'] = SIGNAL .. [[
incident "odd" { signals = { "x" }, min_signals = 1,
  recommend = function() while true do end end }
playbook "loops" { when = incident "odd", trust = "auto",
  plan = function() while true do end end }
playbook "wrong" { when = incident "odd", trust = "auto",
  plan = function(event) -- what it gives when it is tried out is right
    return event.incident.anomalies[1].value == 9 and "restart" or {}
  end }
]] }
    p:start()
    local incident = w:wait_for('the incident', 10, function()
      return p:get('/api/v1/incidents')[1]
    end)
    assert.equal('Look at x', incident.recommendation)
    w:wait_for('the faults', 10, function()
      return p:log():find('act.lua:5: ', 1, true) and p:log():find('act.lua:3: ', 1, true)
        and p:log():find('act.lua:6: the plan is not valid', 1, true)
    end)
    assert.same({}, p:get '/api/v1/plans')
  end)
end)
