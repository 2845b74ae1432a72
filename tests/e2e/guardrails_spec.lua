--- What holds a plan back although its rule, or a person, would have it run: over the whole
--- program, by the ways in which people do it.
local clock = require 'perigee.clock'
local fake = require 'fakes.prometheus'
local file = require 'perigee.file'
local json = require 'json'
local world = require 'e2e.world'

local RULES = [[
signal "x" { query = "x", every = "1s", detector = threshold { above = 5 } }
incident "odd" { signals = { "x" }, min_signals = 1, group_by = { "app" } }
local function post(event, step)
  return http.request { method = "POST", url = "SHOP" .. event.labels.app .. "/" .. step }
end
]]
local TOKENS <const> = { admin = 'admin', anna = 'approver', vera = 'viewer' }

local w, source, shop, p

before_each(function()
  w, source = world.new(), fake.serve()
  shop = w:target()
end)
after_each(function()
  w:close()
  source.close()
end)

local function perigee(playbooks, guardrails)
  w:write('perigee/changes.yaml', '# nothing is planned\n')
  p = w:perigee { source = source.url, tokens = TOKENS,
    rules = { ['act.lua'] = ((RULES .. playbooks):gsub('SHOP', shop.url)) },
    config = ('guardrails: { dry_run: false, cooldown: 0s, max_actions_per_hour: 100, %s '
      .. 'http: [ { url_prefix: "%s" } ] }'):format(guardrails or '', shop.url) }
end

local function odd(...)
  local samples = {}
  for i, name in ipairs { ... } do samples[i] = { labels = { app = name }, value = 9 } end
  source.values.x = samples
end

--- The plan about an app, once it is in a state.
local function plan(app, state)
  return w:wait_for(('the plan of %s to be %s'):format(app, state), 15, function()
    for _, found in ipairs(p:get '/api/v1/plans') do
      if found.state == state and found.actions[1].args.url:find('/' .. app .. '/', 1, true) then
        return found
      end
    end
  end)
end

local function asked()
  local out = {}
  for i, request in ipairs(shop.requests) do out[i] = request.path end
  return out
end

local function has(text, words) assert.truthy(text:find(words, 1, true), text) end

describe('the kill switch', function()
  local TWO = [[
playbook "act" { when = incident "odd", trust = "auto",
  plan = function(event) return { post(event, "one"), post(event, "two") } end }]]

  it('by each of its four ways holds the next action of a plan, within a second', function()
    perigee(TWO, 'storm: { incidents: 100 }, breaker: { failures: 100 },')
    local KILL = p.folder .. '/data/KILL'
    local WAYS = {
      file = function() assert(file.write(KILL, 'a person\n')) end,
      signal = function()
        p.child:kill(10)
        w:wait_for('the signal to be seen', 1, function() return file.stat(KILL) end)
      end,
      http = function() assert(p:api('POST', '/api/v1/kill_switch', { on = true }, 'admin')) end,
      command = function() assert.equal(0, (p:cli('admin', 'kill', 'on'))) end,
    }
    for name, throw in pairs(WAYS) do
      local thrown
      shop.answer = function() -- the first action is under way while it is thrown
        local from = clock.monotonic()
        throw()
        thrown = clock.monotonic() - from
        return {}
      end
      odd(name)
      local stopped = plan(name, 'failed')
      assert.equal('stopped before action 2: the kill switch is on: the file KILL is in data_dir',
        stopped.reason)
      assert.is_true(thrown < 1, thrown)
      assert.equal('/' .. name .. '/one', asked()[#asked()])
      local why = p:get('/api/v1/plans/' .. stopped.id .. '/why')
      assert.same({ 'kill_switch', 'between' }, { why.decided.gate, why.decided.point })
      assert.equal(0, (p:cli('admin', 'kill', 'off')))
      assert.is_nil(file.stat(KILL))
    end
    assert.equal(4, #asked())
  end)
end)

describe('trust', function()
  it('is lost by a verification that fails, and given back by an admin alone', function()
    perigee [[
playbook "act" { when = incident "odd", trust = "auto", plan = function(event)
  return { post(event, "mend"), verify { query = "errors", below = 0.1, within = "1s" } } end }]]
    source.values.errors = 0.5
    odd 'cart'
    plan('cart', 'failed')
    odd('cart', 'shop')
    local waits = plan('shop', 'pending')
    assert.equal('human_approve', waits.trust)
    has(waits.reason, 'trust lowered from auto: trust was lost by plan-')
    assert.equal(1, p:metric 'perigee_trust_lost{playbook="act"}')
    local _, out = p:cli('vera', 'why', waits.id)
    has(out, '! lost               trust was lost by plan-')
    has(out, 'trust     human_approve, lowered from auto')
    assert.equal(3, (p:cli('anna', 'trust', 'restore', 'act')))
    assert.equal(0, (p:cli('admin', 'trust', 'restore', 'act')))
    assert.equal(3, (p:cli('admin', 'trust', 'restore', 'act')))
    assert.equal(0, p:metric 'perigee_trust_lost{playbook="act"}')
    source.values.errors = 0.01
    odd('cart', 'shop', 'api')
    plan('api', 'executed')
    assert.same({ '/cart/mend', '/api/mend' }, asked())
    plan('shop', 'pending') -- what waits for a person still does
    assert.equal(0, (p:cli('vera', 'audit', '--verify')))
  end)

  it('is bound by the operator, over any rule and any approval', function()
    perigee([[
trust.policy(function() return "auto", "the rule's author is sure" end)
playbook "act" { when = incident "odd", trust = "auto",
  plan = function(event) return { post(event, "mend") } end }]], 'trust: { max: human_approve },')
    odd 'cart'
    local waits = plan('cart', 'pending')
    assert.equal('trust lowered from auto: guardrails.trust.max is human_approve', waits.reason)
    p:set_config(p.more:gsub('human_approve', 'recommend'))
    assert.equal(0, (p:cli('admin', 'reload')))
    plan('cart', 'superseded')
    local _, status = p:api('POST', ('/api/v1/plans/%s/approve'):format(waits.id),
      { digest = waits.digest }, 'anna')
    assert.equal(409, status)
    assert.same({}, asked())
  end)
end)

describe('a storm', function()
  it('stops approved plans too, until a person ends it', function()
    perigee([[
playbook "act" { when = incident "odd", trust = "human_approve",
  plan = function(event) return { post(event, "mend") } end }]],
      'storm: { incidents: 2, within: 1h },')
    odd('a', 'b', 'c')
    local waits = plan('c', 'pending')
    w:wait_for('the storm', 5, function() return p:metric 'perigee_storm' == 1 end)
    assert.equal(0, (p:cli('anna', 'approve', waits.id)))
    assert.equal('a storm has stopped all automation: 3 incidents within 1h; guardrails.storm '
      .. 'allows 2', plan('c', 'blocked').reason)
    assert.equal(1, (p:cli('vera', 'storm')))
    assert.equal(0, (p:cli('admin', 'storm', 'end')))
    assert.equal(0, (p:cli('anna', 'approve', plan('a', 'pending').id)))
    plan('a', 'executed')
    assert.same({ '/a/mend' }, asked())
    has(p:log(), 'a person is needed')
  end)
end)

describe('why-not', function()
  it('tells what stands in the way, until nothing does', function()
    perigee([[
playbook "act" { when = incident "odd", trust = "human_approve",
  plan = function(event) return { post(event, "mend") } end }]], 'calendar: [changes.yaml],')
    local function decides()
      local status, out = p:cli('vera', 'why-not', 'act', '--json')
      assert.equal(0, status)
      return json.decode(out).decided
    end
    assert.equal('trigger', decides().gate)
    odd 'cart'
    local waits = plan('cart', 'pending')
    assert.same({ 'approval', waits.id .. ' is pending' }, { decides().gate, decides().message })
    w:write('perigee/changes.yaml',
      '- { name: "the move", from: "2020-01-01T00:00:00Z", to: "2099-01-01T00:00:00Z" }\n')
    assert.equal(0, (p:cli('admin', 'reload')))
    assert.equal(0, (p:cli('anna', 'approve', waits.id)))
    plan('cart', 'blocked')
    assert.same({ 'freeze', 'frozen from 2020-01-01T00:00:00.000Z to 2099-01-01T00:00:00.000Z '
      .. '(the move)' }, { decides().gate, decides().message })
    w:write('perigee/changes.yaml', '[]\n')
    assert.equal(0, (p:cli('admin', 'reload')))
    assert.equal('considered', decides().gate)
    assert.same({}, asked())
  end)
end)
