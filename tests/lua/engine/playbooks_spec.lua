local clock = require 'perigee.clock'
local faults = require 'engine.faults'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local label_key = require('prometheus').label_key
local metrics = require 'engine.metrics'
local playbooks = require 'engine.playbooks'
local plans = require 'engine.plans'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1, group_by = { "app" } }
local function rollback(event)
  return { http.request { method = "POST", url = "http://shop/" .. event.labels.app } }
end
]]

local function playbook(body)
  return ('playbook "mend" { when = incident "odd", %s }'):format(body)
end

local function world(declaration, set)
  local values = { http = { { url_prefix = 'http://shop/' } }, dry_run = false }
  for k, v in pairs(set or {}) do values[k] = v end
  local engine = support.engine { rules = RULES .. declaration, config = { guardrails = values } }
  return engine
end

local function open(engine, app, more)
  app = app or 'shop'
  local data = { labels = { app = app }, anomalies = json.array(), episode = 1,
    recommendation = 'roll back' }
  for k, v in pairs(more or {}) do data[k] = v end
  engine.store:exec([[insert or replace into incidents
    (id, name, group_key, state, opened_at, updated_at, data)
    values (?, 'odd', ?, 'open', ?, ?, ?)]], 'inc-' .. app, 'app\1' .. app, clock.now(),
    clock.now(), json.encode(data))
end

local function all(engine) return plans.list(engine.store, 100) end

local function last(engine)
  local best
  for _, p in ipairs(all(engine)) do
    if not best or p.created_at > best.created_at then best = p end
  end
  return best
end

describe('a playbook', function()
  after_each(support.tidy)

  it('is asked once an episode of an incident, however often it is offered', function()
    local engine = world(playbook 'trust = "human_approve", plan = rollback')
    open(engine)
    for _ = 1, 5 do playbooks.consider_all(engine) end
    assert.equal(1, #all(engine))
    local incident = incidents.get(engine.store, 'inc-shop')
    open(engine, 'shop', { episode = 2, considered = incident.considered })
    clock.advance(1)
    for _ = 1, 5 do playbooks.consider_all(engine) end
    assert.equal(2, #all(engine))
  end)

  it('is asked for each incident, and each playbook for itself', function()
    local engine = world(playbook 'trust = "auto", plan = rollback'
      .. ' playbook "tell" { when = incident "odd", trust = "recommend", plan = rollback }'
      .. ' playbook "other" { when = metric { query = "x" }, trust = "auto", plan = rollback }')
    open(engine, 'shop')
    open(engine, 'cart')
    playbooks.consider_all(engine)
    local count = {}
    for _, p in ipairs(all(engine)) do count[p.playbook] = (count[p.playbook] or 0) + 1 end
    assert.same({ mend = 2, tell = 2 }, count)
  end)

  it('is asked again when the process ended before its plan was kept', function()
    local engine = world(playbook 'trust = "auto", plan = rollback')
    open(engine)
    local create = plans.create
    plans.create = function() error 'the process ends' end
    assert.is_false(pcall(playbooks.consider_all, engine))
    plans.create = create
    playbooks.consider_all(engine)
    assert.equal(1, #all(engine))
  end)

  it('makes a plan in the state that its trust allows', function()
    local cases = { auto = 'approved', human_approve = 'pending', recommend = 'blocked' }
    for trust, state in pairs(cases) do
      local engine = world(playbook(('trust = %q, plan = rollback'):format(trust)))
      open(engine)
      playbooks.consider_all(engine)
      assert.same({ trust, state }, { last(engine).trust, last(engine).state })
      assert.equal(trust == 'auto', last(engine).due_at ~= nil)
    end
    for _, body in ipairs { 'trust = "manual_only", plan = rollback', 'plan = rollback', '' } do
      local engine = world(playbook(body))
      open(engine)
      playbooks.consider_all(engine)
      assert.same({}, all(engine))
    end
  end)

  it('is given the incident, its labels and the time', function()
    local engine = world(playbook [[trust = "recommend", plan = function(event)
      return { http.request { method = "POST", url = "http://shop/", body = {
        trigger = event.trigger, id = event.incident.id, app = event.labels.app,
        words = event.incident.recommendation, time = event.time } } }
    end]])
    open(engine)
    playbooks.consider_all(engine)
    assert.same({ trigger = 'incident', id = 'inc-shop', app = 'shop', words = 'roll back',
      time = clock.now() }, last(engine).actions[1].args.body)
  end)

  it('keeps its plan as the rule wrote it', function()
    local engine = world(playbook [[trust = "recommend", plan = {
      http.request { method = "POST", url = "http://shop/x", timeout = "5s" },
      verify { query = "x", below = 1, within = "10m" } }]])
    open(engine)
    playbooks.consider_all(engine)
    assert.same({ { name = 'http.request', args = { method = 'POST', url = 'http://shop/x',
      timeout = '5s' } },
      { name = 'verify', args = { query = 'x', below = 1, within = '10m' } } },
      last(engine).actions)
    assert.matches('^sha256:%x+$', last(engine).digest)
  end)

  it('that plans nothing makes no plan, and says so', function()
    for _, nothing in ipairs { 'nil', '{}' } do
      local engine = world(playbook(('trust = "auto", plan = function() return %s end')
        :format(nothing)))
      open(engine)
      playbooks.consider_all(engine)
      playbooks.consider_all(engine)
      assert.same({}, all(engine))
      assert.same({ 'nothing_to_do' }, support.kinds(engine))
    end
  end)

  it('that fails or returns no plan is a fault of its rule', function()
    local cases = {
      ['error("no idea")'] = 'no idea',
      ['return 7'] = 'expected a list of actions',
      ['return { verify { query = "x", within = "1m" } }'] = 'exactly one of',
      ['return { http.request { method = "POST", url = "http://shop/" .. event.labels.none } }'] =
        'nil value',
      ['return { { name = "rm" } }'] = 'expected an action',
      ['while true do end'] = 'instructions',
    }
    for body, words in pairs(cases) do
      -- the fault shows only on a real event, not when the file is loaded
      local engine = world(playbook(('trust = "auto", plan = function(event) '
        .. 'if event.incident.id == "inc-000000000000" then return {} end %s end'):format(body)))
      open(engine)
      playbooks.consider_all(engine)
      assert.same({}, all(engine))
      local row = engine.store:row 'select running, reason from rule_faults'
      assert.equal(1, row.running)
      local log = require('log').capture(true)
      assert.matches(words, log, 1, true)
      assert.matches('rules.lua:', log, 1, true)
    end
  end)

  it('is switched off after three faults running, and then not called any more', function()
    local engine = world(playbook [[trust = "auto", plan = function(event)
      if event.incident.id ~= "inc-000000000000" then error "no idea" end return {} end]])
    local def = engine.rules.playbooks.mend
    for i = 1, 5 do open(engine, 'app-' .. i) end
    local before = metrics.rule_faults:value('playbook/mend', 'error')
    playbooks.consider_all(engine)
    assert.equal(3, metrics.rule_faults:value('playbook/mend', 'error') - before)
    assert.matches('switched off after 3 faults running',
      faults.switched_off(engine.store, 'playbook/mend', def.file_digest))
  end)

  it('is stopped by what can be known already', function()
    local engine = world(playbook 'trust = "auto", plan = rollback', { http = {} })
    open(engine)
    playbooks.consider_all(engine)
    assert.same({ 'blocked', 'action 1: guardrails.http allows no request at all' },
      { last(engine).state, last(engine).reason })
  end)

  it('does not act on partial data, and is asked once more when it is whole', function()
    local engine = world(playbook 'trust = "auto", plan = rollback')
    open(engine, 'shop', { partial = true })
    for _ = 1, 3 do playbooks.consider_all(engine) end
    assert.equal(1, #all(engine))
    assert.same({ 'blocked', 'the incident rests on partial data' },
      { last(engine).state, last(engine).reason })
    open(engine, 'shop', { considered = incidents.get(engine.store, 'inc-shop').considered })
    clock.advance(1)
    for _ = 1, 3 do playbooks.consider_all(engine) end
    assert.equal(2, #all(engine))
    assert.equal('approved', last(engine).state)
  end)

  it('has one plan at a time that waits for a decision about the same thing', function()
    local engine = world(playbook 'trust = "human_approve", plan = rollback')
    open(engine, 'shop')
    open(engine, 'cart')
    playbooks.consider_all(engine)
    clock.advance(1)
    open(engine, 'shop', { episode = 2 })
    playbooks.consider_all(engine)
    local states = {}
    for _, p in ipairs(all(engine)) do
      states[#states + 1] = p.incident_id .. ' ' .. p.state .. ' ' .. p.reason
    end
    table.sort(states)
    assert.same({ 'inc-cart pending ', 'inc-shop pending ',
      'inc-shop superseded a newer plan has taken its place' }, states)
  end)

  it('leaves a plan that waits where a newer one cannot run', function()
    local engine = world(playbook 'trust = "human_approve", plan = rollback')
    open(engine)
    playbooks.consider_all(engine)
    clock.advance(1)
    open(engine, 'shop', { episode = 2, partial = true })
    playbooks.consider_all(engine)
    local states = {}
    for _, p in ipairs(all(engine)) do states[#states + 1] = p.state end
    table.sort(states)
    assert.same({ 'blocked', 'pending' }, states)
  end)

  it('at auto asks a person once nobody knows how the last one ended', function()
    local engine = world(playbook 'trust = "auto", plan = rollback')
    open(engine)
    playbooks.consider_all(engine)
    engine.store:exec "update plans set state = 'unknown'"
    clock.advance(1)
    open(engine, 'shop', { episode = 2 })
    open(engine, 'cart')
    playbooks.consider_all(engine)
    local states = {}
    for _, p in ipairs(all(engine)) do states[p.incident_id .. p.state] = p.trust end
    assert.same({ ['inc-shopunknown'] = 'auto', ['inc-shoppending'] = 'human_approve',
      ['inc-cartapproved'] = 'auto' }, states)
  end)
end)

describe('a metric as a trigger', function()
  after_each(support.tidy)

  local METRIC = [[playbook "mend" { when = metric { query = "x > 0", hold_for = "1m" },
    trust = "auto", plan = function(event)
      return { http.request { method = "POST", url = "http://shop/", body = {
        trigger = event.trigger, value = event.value, since = event.since,
        app = event.labels.app } } }
    end }]]

  local function series(app, more)
    local s = { labels = { app = app }, state = 'firing', fired_at = clock.now(), value = 3 }
    for k, v in pairs(more or {}) do s[k] = v end
    return s
  end

  local function consider(engine, ...)
    local state = { series = {} }
    for _, s in ipairs { ... } do state.series[label_key(s.labels)] = s end
    playbooks.consider_firing(engine, engine.rules.playbooks.mend, state)
  end

  it('makes a plan when a series begins to fire, once, and again the next time', function()
    local engine = world(METRIC)
    local shop = series 'shop'
    for _ = 1, 3 do
      consider(engine, shop)
      clock.advance(30)
    end
    assert.equal(1, #all(engine))
    assert.same({ trigger = 'metric', value = 3, since = clock.text(shop.fired_at), app = 'shop' },
      last(engine).actions[1].args.body)
    consider(engine, series('shop', { state = 'inactive' }))
    consider(engine, series 'shop')
    assert.equal(2, #all(engine))
  end)

  it('makes one for each series', function()
    local engine = world(METRIC)
    consider(engine, series 'shop', series 'cart', series('idle', { state = 'pending' }))
    assert.equal(2, #all(engine))
  end)

  it('does not act on partial data, and is asked once more when it is whole', function()
    local engine = world(METRIC)
    local since = clock.now()
    for _ = 1, 3 do consider(engine, series('shop', { partial = true, fired_at = since })) end
    assert.same({ 1, 'blocked' }, { #all(engine), last(engine).state })
    for _ = 1, 3 do consider(engine, series('shop', { fired_at = since })) end
    assert.equal(2, #all(engine))
    assert.not_equal('partial_data', last(engine).gate)
  end)
end)
