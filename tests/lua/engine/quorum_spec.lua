local approvals = require 'engine.approvals'
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local quorum = require 'engine.quorum'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "human_approve", %s
  plan = { http.request { method = "POST", url = "http://shop/rollback" } } }
]]

local TOKENS = { tokens = {
  { name = 'alice', role = 'approver', token_file = 'f', slack_user = 'U1' },
  { name = 'alice-laptop', role = 'approver', token_file = 'f', slack_user = 'U1' },
  { name = 'bob', role = 'approver', token_file = 'f' },
  { name = 'carol', role = 'admin', token_file = 'f', slack_user = 'U3' },
} }

local function world(least, own, more)
  local engine = support.engine { rules = RULES:format(own or ''),
    config = { auth = TOKENS, approvals = least } }
  local p = { playbook = 'mend', target = '', trust = 'human_approve', state = 'pending',
    actions = { { name = 'http.request', args = { method = 'POST', url = 'http://shop/x' } } },
    expires_at = clock.now() + 900 }
  for k, v in pairs(more or {}) do p[k] = v end
  return engine, plans.create(engine, p)
end

local function decide(engine, p, who, decision, via)
  local decided, refusal = approvals.decide(engine, p.id, decision or 'approved',
    { who = who, via = via or 'api', digest = p.digest })
  return decided and decided.state or refusal.status, refusal and refusal.message
end

local function progress(engine, p)
  local view = plans.view(engine.store, plans.get(engine.store, p.id))
  return view.approvals.given, view.approvals.needed
end

describe('a plan that several people have to approve', function()
  after_each(support.tidy)

  it('runs once there are enough of them, and tells how many there are', function()
    local engine, p = world { quorum = 2 }
    assert.same({ 0, 2 }, { progress(engine, p) })
    assert.equal('pending', (decide(engine, p, 'alice')))
    assert.same({ 1, 2 }, { progress(engine, p) })
    assert.same({}, plans.due(engine.store, clock.now()))
    assert.equal('approved', (decide(engine, p, 'bob', 'approved', 'cli')))
    assert.same({ 2, 2 }, { progress(engine, p) })
    assert.same({ 'plan_created', 'decision', 'plan_approved', 'decision' }, support.kinds(engine))
    local records = audit.list(engine.store, 0, 10)
    assert.same({ 'alice', 1, 2 }, { records[2].who, records[2].given, records[2].needed })
  end)

  it('counts a person once, whichever of their names is used', function()
    local engine, p = world { quorum = 2 }
    assert.equal('pending', (decide(engine, p, 'alice')))
    for _, name in ipairs { 'alice', 'alice-laptop', 'U1' } do
      local status, words = decide(engine, p, name, 'approved', name == 'U1' and 'slack' or 'api')
      assert.equal(409, status)
      assert.matches('alice has approved it already', words)
    end
    assert.same({ 1, 2 }, { progress(engine, p) })
    assert.equal('approved', (decide(engine, p, 'U2', 'approved', 'slack')))
  end)

  it('ends at once when one rejects it, also who has approved it before', function()
    local engine, p = world { quorum = 3 }
    decide(engine, p, 'alice')
    assert.equal('rejected', (decide(engine, p, 'alice', 'rejected')))
    local status, words = decide(engine, p, 'bob')
    assert.same({ 409, 'the plan has been rejected by alice' }, { status, words })
  end)

  it('needs the more of what the operator and the playbook say', function()
    for _, case in ipairs { { 1, 'approval = { quorum = 3 },', 3 },
      { 3, 'approval = { quorum = 2 },', 3 }, { 2, '', 2 }, { nil, '', 1 } } do
      local engine, p = world({ quorum = case[1] }, case[2])
      assert.equal(case[3], select(2, progress(engine, p)))
    end
  end)

  it('never needs fewer after a reload, but more where the operator says so', function()
    local engine, p = world { quorum = 2 }
    engine.config.approvals.quorum = 1
    quorum.tighten(engine)
    assert.same({ 0, 2 }, { progress(engine, p) })
    engine.config.approvals.quorum = 3
    quorum.tighten(engine)
    assert.same({ 0, 3 }, { progress(engine, p) })
  end)

  it('counts no vote of who may not approve any more after a reload', function()
    local reloads = {
      function(c) table.remove(c.auth.tokens, 3) end,
      function(c) c.auth.tokens[3].role = 'viewer' end,
      function(c) c.approvals.group, c.approvals.groups = 'sre', { sre = { 'alice' } } end,
    }
    for _, reload in ipairs(reloads) do
      local engine, p = world { quorum = 2 }
      assert.equal('pending', (decide(engine, p, 'bob')))
      quorum.tighten(engine)
      assert.same({ 1, 2 }, { progress(engine, p) })
      reload(engine.config)
      quorum.tighten(engine)
      assert.same({ 0, 2 }, { progress(engine, p) })
      assert.equal('pending', (decide(engine, p, 'alice')))
      assert.same({ 'plan_created', 'decision', 'vote_withdrawn', 'decision' },
        support.kinds(engine))
    end
  end)

  it('knows after a reload that two who have voted are one', function()
    local engine, p = world { quorum = 2 }
    assert.equal('pending', (decide(engine, p, 'bob')))
    engine.config.auth.tokens[3].slack_user = 'U1'
    quorum.tighten(engine)
    assert.equal(409, (decide(engine, p, 'alice')))
  end)

  it('takes approvals from members of its group alone, and of the operator\'s', function()
    local groups = { sre = { 'alice', 'U2' }, leads = { 'U1', 'carol' }, empty = {} }
    local engine, p = world({ quorum = 2, group = 'sre', groups = groups })
    local status, words = decide(engine, p, 'bob')
    assert.equal(403, status)
    assert.matches('only members of sre', words)
    assert.equal('pending', (decide(engine, p, 'U2', 'approved', 'slack')))
    -- U1 is alice by another name
    assert.equal('approved', (decide(engine, p, 'U1', 'approved', 'slack')))
    engine, p = world({ group = 'sre', groups = groups }, 'approval = { group = "leads" },')
    assert.equal(403, (decide(engine, p, 'U2')))
    assert.equal(403, (decide(engine, p, 'carol')))
    assert.equal('approved', (decide(engine, p, 'alice-laptop')))
    for _, own in ipairs { 'empty', 'nowhere' } do
      engine, p = world({ groups = groups }, ('approval = { group = "%s" },'):format(own))
      assert.equal(403, (decide(engine, p, 'carol')))
      assert.equal('rejected', (decide(engine, p, 'bob', 'rejected')))
    end
  end)

  it('does not take that of who asked for it, under any name', function()
    local engine, p = world({}, '', { requester = 'alice' })
    for _, name in ipairs { 'alice', 'alice-laptop', 'U1' } do
      local status, words = decide(engine, p, name)
      assert.equal(403, status)
      assert.matches('who asked for a plan', words)
    end
    assert.equal('approved', (decide(engine, p, 'bob')))
    engine, p = world({}, '', { requester = 'U1' })
    assert.equal(403, (decide(engine, p, 'alice')))
    assert.equal('rejected', (decide(engine, p, 'alice', 'rejected')))
  end)

  it('is one for two hundred decisions at once, whoever they come from', function()
    local engine, p = world { quorum = 5 }
    engine.run = async.spawn
    local drift = previews.drift
    previews.drift = function() async.turn() end -- a look that waits, so that all are under way
    local count, tasks = {}, {}
    for i = 1, 200 do
      local who = i % 3 == 0 and 'alice' or i % 3 == 1 and 'U1' or ('U%d'):format(100 + i % 20)
      tasks[i] = async.spawn(function()
        local result = decide(engine, p, who, 'approved', i % 2 == 0 and 'slack' or 'api')
        count[result] = (count[result] or 0) + 1
      end)
    end
    for _, t in ipairs(tasks) do t:await() end
    previews.drift = drift
    assert.same({ pending = 4, approved = 1, [409] = 195 }, count)
    assert.equal(5, #plans.view(engine.store, plans.get(engine.store, p.id)).decisions)
    local approved = 0
    for _, kind in ipairs(support.kinds(engine)) do
      if kind == 'plan_approved' then approved = approved + 1 end
    end
    assert.equal(1, approved)
  end)
end)

describe('a target that has changed meanwhile', function()
  local drift

  setup(function() drift = previews.drift end)
  teardown(function() previews.drift = drift end)
  after_each(support.tidy)

  it('ends its plan with the first approval', function()
    local engine, p = world { quorum = 2 }
    previews.drift = function() return 'the target of action 1 has changed: generation was 7' end
    local status, words = decide(engine, p, 'alice')
    assert.equal(409, status)
    assert.matches('^drifted: the target of action 1', words)
    p = plans.get(engine.store, p.id)
    assert.same({ 'superseded', 'drifted: the target of action 1 has changed: generation was 7' },
      { p.state, p.reason })
    assert.same({ 'plan_created', 'plan_superseded', 'decision_refused' }, support.kinds(engine))
    local again, why = decide(engine, p, 'bob')
    assert.equal(409, again)
    assert.matches('superseded: drifted', why)
  end)

  it('does not keep anybody from rejecting it', function()
    local engine, p = world {}
    previews.drift = function() error 'not asked' end
    assert.equal('rejected', (decide(engine, p, 'alice', 'rejected')))
  end)

  it('that nobody can look at does not end it: it is looked at before it runs', function()
    local engine, p = world {}
    previews.drift = function() return nil, { message = 'no answer', transient = true } end
    assert.equal('approved', (decide(engine, p, 'alice')))
  end)

  it('does not keep anybody waiting for long', function()
    local engine, p = world {}
    previews.drift = function() async.sleep(3600) end
    local task = async.spawn(decide, engine, p, 'alice')
    for _ = 1, 11 do
      support.turns(3)
      clock.advance(1)
    end
    assert.equal('approved', task:await())
  end)

  it('is told of a plan only that is still open by then', function()
    local engine, p = world {}
    previews.drift = function()
      approvals.decide(engine, p.id, 'rejected', { who = 'bob', via = 'cli', digest = p.digest })
      return 'gone'
    end
    local status, words = decide(engine, p, 'alice')
    assert.same({ 409, 'the plan has been rejected by bob' }, { status, words })
  end)

  it('leaves the vote to the rules that have become active meanwhile', function()
    local engine, p = world {}
    previews.drift = function() engine.stopping = true end
    assert.equal(503, (decide(engine, p, 'alice')))
    assert.equal(0, (progress(engine, p)))
  end)

  it('and time that runs out while it is looked at is 410', function()
    local engine, p = world {}
    previews.drift = function() clock.advance(900) end
    assert.equal(410, (decide(engine, p, 'alice')))
    approvals.expire(engine)
    assert.equal('expired', plans.get(engine.store, p.id).state)
  end)
end)

describe('a reminder', function()
  after_each(support.tidy)

  it('comes each time that nobody has decided for so long, until somebody has', function()
    local engine, p = world { remind = '5m', quorum = 2 }
    engine.alertmanager = {}
    local function calls() return engine.store:row('select count(*) as n from pages').n end
    clock.advance(299)
    approvals.remind(engine)
    assert.equal(0, calls())
    clock.advance(1)
    approvals.remind(engine)
    approvals.remind(engine)
    assert.equal(1, calls())
    decide(engine, p, 'alice')
    clock.advance(300)
    approvals.remind(engine)
    assert.equal(2, calls())
    decide(engine, p, 'bob')
    clock.advance(10000)
    approvals.remind(engine)
    assert.equal(2, calls())
    local alert = engine.store:row('select alert from pages order by id desc').alert
    assert.matches('still waits for approval %(1 of 2 given%), until ', alert)
  end)

  it('can be switched off, by the playbook too', function()
    for _, case in ipairs { { { remind = '0' }, '' }, { {}, 'approval = { remind = "0" },' } } do
      local engine = world(case[1], case[2])
      clock.advance(600)
      approvals.remind(engine)
      assert.same({ 'plan_created' }, support.kinds(engine))
    end
  end)
end)
