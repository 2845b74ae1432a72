--- Actions that are previewed, awaited and found out about, by one made up for it: what it answers
--- is set by the test.
local async = require 'async'
local clock = require 'perigee.clock'
local check = require 'check'
local execute = require 'engine.execute'
local guardrails = require 'engine.guardrails'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local playbooks = require 'engine.playbooks'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local recovery = require 'engine.recovery'
local registry = require 'actions.registry'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "TRUST", plan = {} }
]]

local real = registry.get

--- A thing that can be turned: its position, what was done to it, and what the next calls say.
local function thing()
  local t = { position = 0, generation = 1, done = {}, asked = {}, says = {} }

  local function said(what, args, context, usual)
    t.asked[#t.asked + 1] = what
    t.context = context
    local answer = t.says[what]
    if type(answer) == 'function' then answer = answer(args, context) end
    if answer == nil then answer = usual end
    return answer
  end

  t.action = {
    spec = { to = check.number(), timeout = check.duration(nil, {}) }, changes = true,
    target = function() return 'thing' end,
    preview = function(args, context)
      local seen = said('preview', args, context, { summary = ('turn to %g'):format(args.to),
        before = { position = t.position }, observed = { generation = tostring(t.generation) },
        nothing = t.position == args.to and 'it is there' or nil })
      if seen.message then return nil, seen end
      return seen
    end,
    run = function(args, context)
      t.done[#t.done + 1] = args.to
      t.position, t.generation = args.to, t.generation + 1
      return said('run', args, context, { result = 'succeeded', message = 'turned' })
    end,
    settled = function(args, context)
      local answer = said('settled', args, context, { result = 'succeeded', message = 'it stays' })
      if answer.words then return nil, answer.words end
      return answer
    end,
    find_out = function(args, context)
      return said('find_out', args, context, { result = 'unknown', message = 'who knows' })
    end,
    can_revert = function() return true end,
    revert = function(args, context)
      t.position = context.before.position
      return said('revert', args, context, { result = 'succeeded', message = 'turned back' })
    end,
  }
  registry.get = function(name) return name == 'test.turn' and t.action or real(name) end
  return t
end

local function turn(to, more)
  local args = { to = to }
  for k, v in pairs(more or {}) do args[k] = v end
  return { name = 'test.turn', args = args }
end

local function verify(more)
  local args = { query = 'errors', below = 1, within = '5s', otherwise = 'revert' }
  for k, v in pairs(more or {}) do args[k] = v end
  return { name = 'verify', args = args }
end

local function new_engine(trust)
  local engine = support.engine { rules = RULES:gsub('TRUST', trust or 'auto'),
    config = { guardrails = { dry_run = false, cooldown = '0s', max_actions_per_hour = 100 } } }
  engine.store:exec([[insert into incidents
    (id, name, group_key, state, opened_at, updated_at, data) values ('inc-1', 'odd', '', 'open',
    ?, ?, '{"labels":{},"anomalies":[],"episode":1}')]], clock.now(), clock.now())
  return engine
end

--- An engine whose playbook plans these actions, and the plan that comes of it.
local function propose(actions, trust)
  local engine = new_engine(trust)
  local list = {}
  for i, a in ipairs(actions) do list[i] = { kind = 'action', name = a.name, options = a.args } end
  engine.rules.playbooks.mend.plan = function() return list end
  local task = async.spawn(playbooks.consider_all, engine)
  for _ = 1, 60 do
    support.turns(3)
    clock.advance(1)
  end
  task:await()
  return engine, plans.list(engine.store, 10)[1]
end

local FINAL = { executed = true, failed = true, unknown = true, superseded = true, expired = true,
  blocked = true }

--- Takes every step that is due, second by second, until the plan is as it stays.
local function run(engine, p, seconds)
  for _ = 1, seconds or 1000 do
    for _, due in ipairs(plans.due(engine.store, clock.now())) do execute.step(engine, due) end
    p = plans.get(engine.store, p.id)
    if FINAL[p.state] then break end
    clock.advance(1)
  end
  return p.state, p.reason
end

local function states(engine, p)
  local out = {}
  for i, action in ipairs(plans.view(engine.store, plans.get(engine.store, p.id)).actions) do
    out[i] = action.reverted and action.state .. ' and ' .. action.reverted.state or action.state
  end
  return out
end

local function paged(engine)
  local n = 0
  for _, kind in ipairs(support.kinds(engine)) do n = n + (kind == 'page' and 1 or 0) end
  return n
end

describe('a plan whose actions are previewed', function()
  after_each(function()
    registry.get = real
    support.tidy()
  end)

  it('is made with what was seen, which is no part of its digest', function()
    local t = thing()
    local engine, p = propose({ turn(3) }, 'human_approve')
    assert.equal('pending', p.state)
    assert.same({ 'preview' }, t.asked)
    assert.equal('plan', t.context.purpose)
    local view = plans.view(engine.store, p)
    assert.same({ summary = 'turn to 3' }, view.actions[1].preview)
    assert.same({ generation = '1' }, p.previews[1].observed)
    assert.is_nil(p.previews[1].before)
    assert.equal(require('engine.plan').digest('mend', 'human_approve', { turn(3) }), p.digest)
  end)

  it('that somebody else sees to is a recommendation, with the reason', function()
    thing().says.preview = { summary = 'turn', owner = 'argocd owns spec.replicas' }
    local _, p = propose { turn(3) }
    assert.same({ 'recommend', 'blocked' }, { p.trust, p.state })
    assert.matches('^trust lowered from auto: argocd owns spec.replicas', p.reason)
  end)

  it('takes its turn where many are made at once', function()
    local t, engine = thing(), new_engine 'human_approve'
    local def, at_once, most, asked = engine.rules.playbooks.mend, 0, 0, 0
    def.plan = function()
      return { { kind = 'action', name = 'test.turn', options = { to = 3 } } }
    end
    engine.run = function(_, f, ...) async.spawn(f, ...) end
    t.says.preview = function()
      at_once = at_once + 1
      most = math.max(most, at_once)
      async.turn()
      at_once = at_once - 1
    end
    for i = 1, 20 do
      playbooks.propose(engine, def, { labels = {} }, { target = 'target ' .. i,
        is_new = function() return true end, done = function() asked = asked + 1 end })
    end
    support.turns(200)
    assert.same({ 4, 20, 20 }, { most, asked, #plans.list(engine.store, 50) })
  end)

  it('that cannot be done, or has nothing to do, is blocked and says so', function()
    thing().says.preview = { summary = 'turn', refusal = 'it is screwed tight' }
    local _, p = propose { turn(3) }
    assert.same({ 'blocked', 'action 1 (test.turn): it is screwed tight' }, { p.state, p.reason })
    local t = thing()
    t.position = 3
    local engine
    engine, p = propose { turn(3) }
    assert.same({ 'blocked', 'nothing to do: it is there' }, { p.state, p.reason })
    assert.same({}, t.done)
    assert.equal(0, paged(engine))
  end)

  it('waits for a target that is not to be had, and in the end says that it was not', function()
    local t = thing()
    local calls = 0
    t.says.preview = function()
      calls = calls + 1
      if calls < 3 then return { message = 'no connection', transient = true } end
    end
    local _, p = propose { turn(3) }
    assert.same({ 3, 'approved' }, { calls, p.state })
    t = thing()
    t.says.preview = { message = 'no connection', transient = true }
    _, p = propose { turn(3) }
    assert.same({ 'blocked', 'action 1 (test.turn): no connection' }, { p.state, p.reason })
    assert.equal(4, #t.asked)
    t = thing()
    t.says.preview = { message = 'forbidden' }
    _, p = propose { turn(3) }
    assert.same({ 'blocked', 1 }, { p.state, #t.asked })
  end)

  it('is made once, however often its trigger is offered while the look waits', function()
    local t = thing()
    local held = async.event()
    t.says.preview = function()
      held:wait()
    end
    local engine = new_engine()
    engine.rules.playbooks.mend.plan = function()
      return { { kind = 'action', name = 'test.turn', options = { to = 3 } } }
    end
    engine.run = function(_, f) async.spawn(f) end
    for _ = 1, 5 do
      playbooks.consider_all(engine)
      support.turns(3)
    end
    held:set()
    support.turns(5)
    for _ = 1, 3 do playbooks.consider_all(engine) end
    assert.equal(1, #plans.list(engine.store, 10))
  end)

  it('is not made for an incident that is resolved before the look has ended', function()
    local t = thing()
    local engine = new_engine()
    engine.rules.playbooks.mend.plan = function()
      return { { kind = 'action', name = 'test.turn', options = { to = 3 } } }
    end
    t.says.preview = function() incidents.set_state(engine, 'inc-1', 'resolved') end
    playbooks.consider_all(engine)
    assert.same({}, plans.list(engine.store, 10))
  end)
end)

describe('an action with a preview', function()
  after_each(function()
    registry.get = real
    support.tidy()
  end)

  it('is given what was seen just before, written down before it runs', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    local kept
    t.says.run = function(_, context)
      kept = engine.store:row 'select state, before, namespace from actions'
      assert.same({ position = 0 }, context.before)
      assert.equal(p.id .. '-1-forward', context.key)
    end
    assert.same({ 'executed', 'all 1 actions succeeded' }, { run(engine, p) })
    assert.same({ 'started', '{"position":0}', '' }, { kept.state, kept.before, kept.namespace })
    assert.same({ 3 }, t.done)
  end)

  it('voids its plan where the target has changed since it was made, and calls a person', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    t.generation = 7
    local state, reason = run(engine, p)
    assert.equal('superseded', state)
    assert.equal('the target of action 1 (test.turn) has changed since the plan was made: '
      .. 'generation was 1, now it is 7', reason)
    assert.same({}, t.done)
    assert.equal(1, paged(engine))
  end)

  it('is not taken for drift by what the plan itself has done before', function()
    local t = thing()
    local engine, p = propose { turn(3), turn(5) }
    assert.equal('executed', (run(engine, p)))
    assert.same({ 3, 5 }, t.done)
  end)

  it('waits with its plan where the target is not to be had, until that has expired', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    t.says.preview = { message = 'no connection', transient = true }
    run(engine, p, 60)
    assert.equal('approved', plans.get(engine.store, p.id).state)
    t.says.preview = nil
    assert.equal('executed', (run(engine, p)))
    engine, p = propose { turn(9) }
    t.says.preview = { message = 'no connection', transient = true }
    assert.equal('expired', (run(engine, p, 2000)))
    assert.same({ 3 }, t.done)
  end)

  it('is stopped by a kill switch that is thrown while it looks', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    local looks = 0
    t.says.preview = function()
      looks = looks + 1
      if looks == 2 then guardrails.set_kill_switch(engine, true, 'alice') end
    end
    local state, reason = run(engine, p)
    assert.equal('failed', state)
    assert.matches('^stopped before action 1: the kill switch is on', reason)
    assert.same({}, t.done)
  end)

  it('that finds nothing to do does nothing, and is not undone either', function()
    local t = thing()
    local engine, p = propose { turn(3), turn(3), verify() }
    engine.source.answers.errors = { { {}, 5 } }
    assert.equal('failed', (run(engine, p)))
    assert.same({ 3 }, t.done)
    assert.equal(0, t.position)
    assert.same({ 'succeeded and succeeded', 'succeeded', 'failed' }, states(engine, p))
  end)

  it('that somebody else does just before it is not undone', function()
    for attempts, undone in pairs { 'succeeded', 'succeeded and succeeded' } do
      local t = thing()
      local engine, p = propose { turn(3), verify() }
      engine.source.answers.errors = { { {}, 5 } }
      -- Of a second attempt it is our own work that is found done.
      t.says.run = function()
        if #t.done < attempts then return { result = 'unknown', message = 'no answer' } end
        return { result = 'succeeded', message = 'it is there', idle = true }
      end
      t.says.find_out = { result = 'not_done', message = 'it stands at 0' }
      t.says.settled = function() return #t.asked % 2 == 0 and { words = 'it turns' } or nil end
      assert.equal('failed', (run(engine, p)))
      assert.same({ undone, 'failed' }, states(engine, p))
    end
  end)

  it('is awaited until what came of it shows', function()
    local t = thing()
    local engine, p = propose { turn(3), turn(4) }
    local looks = 0
    t.says.settled = function()
      looks = looks + 1
      return looks < 4 and { words = 'it still turns' } or nil
    end
    run(engine, p, 8)
    assert.same({ 'applied', 'waiting' }, states(engine, p))
    assert.equal('executed', (run(engine, p)))
    assert.same({ 3, 4 }, t.done)
  end)

  it('fails where it does not come about in time, or comes out wrong', function()
    local t = thing()
    t.says.settled = { words = '1 of 3 pods are there' }
    local engine, p = propose { turn(3, { timeout = '1m' }), turn(4) }
    local state, reason = run(engine, p)
    assert.equal('failed', state)
    assert.equal('action 1 (test.turn) failed: turned, and within 1m it has not come about: '
      .. '1 of 3 pods are there', reason)
    t = thing()
    t.says.settled = { result = 'failed', message = 'it fell off' }
    engine, p = propose { turn(3), turn(4) }
    assert.same({ 'failed', 'action 1 (test.turn) failed: it fell off' }, { run(engine, p) })
    assert.same({ 3 }, t.done)
    assert.equal(1, paged(engine))
  end)
end)

describe('an action whose end nobody saw', function()
  after_each(function()
    registry.get = real
    support.tidy()
  end)

  local LOST = { result = 'unknown', message = 'the connection broke' }

  it('has happened where its target says so, and the plan goes on', function()
    local t = thing()
    local engine, p = propose { turn(3), turn(4) }
    local first = true
    t.says.run = function()
      local answer = first and LOST or nil
      first = false
      return answer
    end
    t.says.find_out = { result = 'succeeded', message = 'it stands at 3' }
    assert.equal('executed', (run(engine, p)))
    assert.same({ 3, 4 }, t.done)
  end)

  it('is asked for again while its target does not know, then a person is called', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    t.says.run = LOST
    local state, reason = run(engine, p, 2000)
    assert.same({ 'unknown', 'action 1 (test.turn) has an unknown outcome: who knows' },
      { state, reason })
    assert.same({ 3 }, t.done)
    assert.equal(1, paged(engine))
  end)

  it('is run again where it surely has not happened, three times at most', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    t.says.run = LOST
    t.says.find_out = function()
      t.position = 0
      return { result = 'not_done', message = 'it stands at 0' }
    end
    assert.same({ 'failed', 'action 1 (test.turn) failed: tried 3 times: it stands at 0' },
      { run(engine, p) })
    assert.same({ 3, 3, 3 }, t.done)
  end)

  it('is not asked for again where no later look could tell', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    t.says.run = LOST
    t.says.find_out = { result = 'unknown', for_good = true, message = 'somebody has turned it' }
    local began = clock.now()
    assert.equal('unknown', (run(engine, p)))
    assert.is_true(clock.now() - began <= 2)
    assert.equal(1, paged(engine))
  end)

  it('is asked for after a crash: what happened is not repeated, the rest goes on', function()
    for answer, times in pairs { succeeded = 0, not_done = 1 } do
      local t = thing()
      local engine, p = propose { turn(3) }
      engine.store:exec("update plans set state = 'executing'")
      engine.store:exec([[insert into actions (plan_id, position, direction, name, target, state,
        process, started_at, before) values (?, 1, 'forward', 'test.turn', 'thing', 'started',
        'process-0', ?, ?)]], p.id, clock.now(), json.encode { position = 0 })
      t.says.find_out = function(_, context)
        assert.same({ position = 0 }, context.before)
        return { result = answer, message = 'so it stands' }
      end
      assert.same({ unknown = 0, continued = 1 }, recovery.run(engine))
      assert.equal('executed', (run(engine, p)))
      assert.equal(times, #t.done)
    end
  end)

  it('of a task that was cancelled is asked for at once', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    local never = async.event()
    t.says.run = function() never:wait() end
    local task = async.spawn(execute.step, engine, p)
    support.turns(5)
    task:cancel()
    support.turns(5)
    assert.same({ 'lost' }, states(engine, p))
    t.says.find_out = { result = 'succeeded', message = 'it stands at 3' }
    local began = clock.now()
    assert.equal('executed', (run(engine, p)))
    assert.is_true(clock.now() - began <= 2)
    assert.same({ 3 }, t.done)
  end)

  it('of an action that raised an error of its own is asked for soon', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    t.says.run = function() error 'a mistake' end
    t.says.find_out = { result = 'succeeded', message = 'it stands at 3' }
    assert.is_false(pcall(execute.step, engine, plans.get(engine.store, p.id)))
    assert.same({ 'lost' }, states(engine, p))
    local began = clock.now()
    assert.equal('executed', (run(engine, p)))
    assert.is_true(clock.now() - began <= 6)
    assert.same({ 3 }, t.done)
  end)

  it('ends, whichever of its parts has a mistake', function()
    local function mistake() error 'a mistake' end
    for part, state in pairs { settled = 'failed', find_out = 'unknown' } do
      local t = thing()
      local engine, p = propose { turn(3, { timeout = '30s' }) }
      t.says.run, t.says[part] = part == 'find_out' and LOST or nil, mistake
      local ended, reason = run(engine, p)
      assert.equal(state, ended)
      assert.matches('a mistake in test.turn', reason, 1, true)
    end
    local t = thing()
    t.says.preview = mistake
    local _, p = propose { turn(3) }
    assert.equal('blocked', p.state)
    assert.matches('a mistake in test.turn', p.reason, 1, true)
    t.says.preview = nil
    local engine
    engine, p = propose { turn(3) }
    t.says.preview = mistake
    assert.equal('superseded', (run(engine, p)))
  end)

  it('that the operator forbids is not even looked at', function()
    local t = thing()
    t.action.allowed = function() return 'turning is forbidden' end
    local _, p = propose { turn(3) }
    assert.same({ 'blocked', 'action 1: turning is forbidden' }, { p.state, p.reason })
    assert.same({}, t.asked)
  end)

  it('leaves its plan to the next generation where it was cancelled before it began', function()
    local t = thing()
    local engine, p = propose { turn(3) }
    local never, looks = async.event(), 0
    t.says.preview = function()
      looks = looks + 1
      if looks == 2 then never:wait() end
    end
    local task = async.spawn(execute.step, engine, p)
    support.turns(5)
    task:cancel()
    support.turns(5)
    assert.same({ 'waiting' }, states(engine, p))
    local began = clock.now()
    assert.equal('executed', (run(engine, p)))
    assert.is_true(clock.now() - began <= 2)
  end)
end)

describe('drift', function()
  after_each(function()
    registry.get = real
    support.tidy()
  end)

  it('is told in words, and apart from a target that is not to be had', function()
    local t = thing()
    local engine, p = propose({ turn(3) }, 'human_approve')
    p = plans.get(engine.store, p.id)
    assert.is_nil((previews.drift(engine, p)))
    t.says.preview = { message = 'no connection', transient = true }
    local words, failure = previews.drift(engine, p)
    assert.is_nil(words)
    assert.is_true(failure.transient)
    t.says.preview = { message = 'there is no such thing' }
    assert.equal('action 1 (test.turn): there is no such thing', (previews.drift(engine, p)))
    t.says.preview = { summary = 'turn', observed = { generation = '1' },
      refusal = 'it is screwed tight' }
    assert.matches('it is screwed tight$', (previews.drift(engine, p)))
    t.says.preview = { summary = 'turn', observed = {} }
    assert.matches('generation was 1, now it is absent$', (previews.drift(engine, p)))
  end)
end)

describe('what is undone', function()
  after_each(function()
    registry.get = real
    support.tidy()
  end)

  it('asks the gates of a revert: a silence does not stand against it', function()
    local t = thing()
    local engine, p = propose { turn(3), verify() }
    engine.alertmanager = { silences = function() return {} end }
    engine.source.answers.errors = { { {}, 5 } }
    t.says.run = function()
      engine.alertmanager = { silences = function() return nil, { message = 'no answer' } end }
      engine.silences = nil
    end
    local _, reason = run(engine, p)
    assert.matches('reverted 1 of its actions', reason, 1, true)
    assert.equal(0, t.position)
  end)
end)
