local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local execute = require 'engine.execute'
local file = require 'perigee.file'
local guardrails = require 'engine.guardrails'
local http = require 'http'
local incidents = require 'engine.incidents'
local json = require 'perigee.json'
local metrics = require 'engine.metrics'
local plans = require 'engine.plans'
local recovery = require 'engine.recovery'
local support = require 'lua.engine.support'

support.still()

local RULES = [[
signal "a" { query = "a", detector = threshold { above = 1 } }
incident "odd" { signals = { "a" }, min_signals = 1 }
playbook "mend" { when = incident "odd", trust = "auto", plan = {} }
]]

local function request(path, more)
  local args = { method = 'POST', url = 'http://shop/' .. path }
  for k, v in pairs(more or {}) do args[k] = v end
  return { name = 'http.request', args = args }
end

local function undone_by(path)
  return { revert = { method = 'POST', url = 'http://shop/' .. path } }
end

local function verify(more)
  local args = { query = 'errors', below = 0.05, within = '1m' }
  for k, v in pairs(more or {}) do args[k] = v end
  return { name = 'verify', args = args }
end

local FINAL = { executed = true, failed = true, unknown = true, superseded = true, expired = true,
  dry_run = true, blocked = true }

--- An engine, what was sent, and how the world answers: by path, a status or nil and a code.
local function world(actions, o)
  o = o or {}
  local values = { http = o.http or { { url_prefix = 'http://shop/' } }, dry_run = false,
    cooldown = '0s', max_actions_per_hour = 100 }
  for k, v in pairs(o.guardrails or {}) do values[k] = v end
  local engine = support.engine { rules = RULES, config = { guardrails = values } }
  local w = { engine = engine, sent = {}, answers = {}, store = engine.store }
  engine.store:exec([[insert into incidents
    (id, name, group_key, state, opened_at, updated_at, data) values ('inc-1', 'odd', '', 'open',
    ?, ?, '{"labels":{"app":"shop"},"anomalies":[],"episode":1}')]], clock.now(), clock.now())
  w.plan = plans.create(engine, { playbook = 'mend', incident_id = 'inc-1', target = '',
    trust = 'auto', actions = actions, state = 'approved', expires_at = clock.now() + 900 })
  http.request = function(sent)
    local path = sent.url:match '^http://shop/(.*)$'
    w.sent[#w.sent + 1] = path
    w.last = sent
    local answer = w.answers[path] or 200
    if type(answer) == 'function' then answer = answer() end
    if type(answer) == 'string' then return nil, 'the words of ' .. answer, answer end
    return { status = answer, seconds = 0.01, body = '', headers = {} }
  end

  --- Takes every step that is due, second by second, until the plan is as it stays.
  function w.run(seconds)
    for _ = 1, seconds or 200 do
      for _, p in ipairs(plans.due(engine.store, clock.now())) do execute.step(engine, p) end
      w.plan = plans.get(engine.store, w.plan.id)
      if FINAL[w.plan.state] then break end
      clock.advance(1)
    end
    return w.plan.state, w.plan.reason
  end

  function w.step() execute.step(engine, plans.get(engine.store, w.plan.id)) end
  function w.view() return plans.view(engine.store, plans.get(engine.store, w.plan.id)) end
  function w.incident() return incidents.get(engine.store, 'inc-1').state end
  return w
end

local function states(w)
  local out = {}
  for i, action in ipairs(w.view().actions) do out[i] = action.state end
  return out
end

describe('a plan that is carried out', function()
  after_each(support.tidy)

  it('takes its actions in order, each once, each with a key of its own', function()
    local w, keys = world { request 'one', request 'two' }, {}
    w.answers.one = function()
      keys[1] = w.last.headers['Idempotency-Key']
      return 200
    end
    w.answers.two = function()
      keys[2] = w.last.headers['Idempotency-Key']
      return 200
    end
    assert.same({ 'executed', 'all 2 actions succeeded' }, { w.run() })
    assert.same({ 'one', 'two' }, w.sent)
    assert.same({ w.plan.id .. '-1-forward', w.plan.id .. '-2-forward' }, keys)
    assert.equal('mitigating', w.incident())
    assert.same({ 'plan_created', 'plan_executing', 'action_started', 'action_succeeded',
      'action_started', 'action_succeeded', 'plan_executed' }, support.kinds(w.engine))
  end)

  it('has written down each action before the first byte of it goes out', function()
    local w = world { request 'one' }
    local seen
    w.answers.one = function()
      seen = { w.store:row('select state from actions').state,
        (w.store:row 'select record from audit order by sequence desc limit 1').record
          :match '"kind":"([%w_]+)"' }
      return 200
    end
    w.run()
    assert.same({ 'started', 'action_started' }, seen)
  end)

  it('sends what the plan says: headers, a body as JSON, no redirects, guarded', function()
    local w = world { request('one', { headers = { ['X-Team'] = 'web' }, body = { version = 1 },
      timeout = '3s' }) }
    w.run()
    assert.same({ 'POST', 'web', 'application/json', '{"version":1}', 3, true, 9747 },
      { w.last.method, w.last.headers['X-Team'], w.last.headers['Content-Type'], w.last.body,
        w.last.timeout, w.last.guarded, w.last.refuse_port })
    assert.is_nil(w.last.max_redirects)
    assert.is_nil(w.last.retries)
  end)

  it('adds the operator\'s token when it runs; it is in no plan and in no trail', function()
    local path = support.folder() .. '/token'
    assert(file.write(path, 'sesame-of-the-shop\n'))
    local w = world({ request 'one' },
      { http = { { url_prefix = 'http://shop/', bearer_token_file = path } } })
    assert.equal('executed', (w.run()))
    assert.equal('Bearer sesame-of-the-shop', w.last.headers.Authorization)
    assert.is_nil(json.encode(w.view()):find('sesame', 1, true))
    assert.is_nil(json.encode(audit.list(w.store, 0, 100)):find('sesame', 1, true))
  end)

  it('fails, and sends nothing, when the operator\'s token cannot be read', function()
    local w = world({ request 'one' },
      { http = { { url_prefix = 'http://shop/', bearer_token_file = '/nonexistent/token' } } })
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('cannot read /nonexistent/token', reason, 1, true)
    assert.same({}, w.sent)
  end)

  it('ends by what comes of each action', function()
    local cases = {
      { 200, 'executed' }, { 204, 'executed' }, { 302, 'failed' }, { 404, 'failed' },
      { 500, 'failed' }, { 'connection', 'failed' }, { 'dns', 'failed' }, { 'tls', 'failed' },
      { 'refused', 'failed' }, { 'timeout', 'unknown' }, { 'reset', 'unknown' },
      { 'io', 'unknown' }, { 'too_large', 'unknown' },
      { 409, 'executed', { expect_status = 409 } }, { 200, 'failed', { expect_status = 202 } },
      { 202, 'executed', { expect_status = { 200, 202 } } },
    }
    for _, case in ipairs(cases) do
      local w = world { request('one', case[3]), request 'two' }
      w.answers.one = case[1]
      local state, reason = w.run()
      assert.equal(case[2], state, case[1])
      assert.equal(state == 'executed' and 2 or 1, #w.sent, case[1])
      assert.equal(state == 'executed' and 'mitigating' or 'open', w.incident())
      if state == 'unknown' then
        assert.matches('action 1 (http.request) has an unknown outcome', reason, 1, true)
        assert.same({ 'unknown', 'waiting' }, states(w))
      elseif state == 'failed' then
        assert.matches('action 1 (http.request) failed', reason, 1, true)
      end
    end
  end)

  it('calls for a person when it does not end well', function()
    for _, code in ipairs { 500, 'timeout' } do
      local w = world { request 'one' }
      local before = metrics.pages:value 'nobody'
      w.answers.one = code
      w.run()
      assert.equal(1, metrics.pages:value 'nobody' - before)
      local kinds = support.kinds(w.engine)
      assert.equal('page', kinds[#kinds])
    end
  end)

  it('ends together with all that comes of its end, or goes on', function()
    local w = world { request 'one' }
    w.answers.one = 500
    w.store:exec [[create trigger full before insert on audit when new.record like '%"kind":"page"%'
      begin select raise(abort, 'the disk is full'); end]]
    assert.has_error(w.run)
    assert.equal('executing', plans.get(w.store, w.plan.id).state)
    assert.equal('mitigating', w.incident())
    w.store:exec 'drop trigger full'
    assert.same({ 'failed', 'action 1 (http.request) failed: answered 500 in 10 ms' }, { w.run() })
    assert.equal('open', w.incident())
    assert.same({ 'one' }, w.sent)
  end)

  it('begins together with its incident\'s new state', function()
    local w = world { request 'one' }
    w.store:exec [[create trigger full before insert on incidents
      begin select raise(abort, 'the disk is full'); end]]
    assert.has_error(w.run)
    assert.equal('approved', plans.get(w.store, w.plan.id).state)
    assert.same({}, w.sent)
  end)

  it('in a dry run only says so', function()
    local w = world({ request 'one' }, { guardrails = { dry_run = true } })
    assert.same({ 'dry_run', 'guardrails.dry_run is on: nothing was done' }, { w.run() })
    assert.same({}, w.sent)
    assert.equal('open', w.incident())
    assert.same({ 'plan_created', 'plan_dry_run' }, support.kinds(w.engine))
  end)

  it('is blocked by a gate, which is counted', function()
    local w = world({ request 'one' }, { guardrails = { kill_switch = true } })
    local before = metrics.blocked:value 'kill_switch'
    assert.same({ 'blocked', 'the kill switch is on: guardrails.kill_switch is on' }, { w.run() })
    assert.equal(1, metrics.blocked:value 'kill_switch' - before)
    assert.same({}, w.sent)
  end)

  it('is stopped between two actions by the kill switch', function()
    local w = world { request 'one', request 'two' }
    w.answers.one = function()
      assert(file.write(guardrails.kill_file(w.engine.config), 'alice\n'))
      return 200
    end
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('stopped before action 2: the kill switch is on', reason, 1, true)
    assert.same({ 'one' }, w.sent)
    assert.same({ 'succeeded', 'waiting' }, states(w))
  end)

  it('is stopped between two actions when a reload forbids the next', function()
    local reloads = {
      ['guardrails.http does not allow'] = function(g)
        g.http = { { url_prefix = 'http://shop/one' } }
      end,
      ['guardrails.dry_run has been switched on'] = function(g) g.dry_run = true end,
      ['trust is now recommend'] = function(g) g.trust.max = 'recommend' end,
    }
    for words, change in pairs(reloads) do
      local w = world { request 'one', request 'two' }
      w.answers.one = function()
        change(w.engine.config.guardrails)
        return 200
      end
      local state, reason = w.run()
      assert.equal('failed', state)
      assert.matches(words, reason, 1, true)
      assert.same({ 'one' }, w.sent)
    end
  end)

  it('that was not begun in time expires, and does nothing', function()
    local w = world { request 'one' }
    clock.advance(900)
    assert.same({ 'expired', 'it was not begun in time' }, { w.run() })
    assert.same({}, w.sent)
  end)

  it('whose incident is over before it has begun is superseded', function()
    local w = world { request 'one' }
    incidents.set_state(w.engine, 'inc-1', 'resolved')
    assert.equal('superseded', (w.run()))
    assert.same({}, w.sent)
  end)
end)

describe('a verification', function()
  after_each(support.tidy)

  local function answers(w, list)
    local i = 0
    w.engine.source.answers.errors = function()
      i = math.min(i + 1, #list)
      return list[i]
    end
  end

  local GOOD, BAD = { { {}, 0.01 } }, { { {}, 0.5 } }

  it('passes when two looks in a row are good', function()
    local w = world { request 'one', verify() }
    answers(w, { GOOD, BAD, GOOD, GOOD, BAD })
    assert.equal('executed', (w.run()))
    assert.equal(4, #w.engine.source.asked)
    assert.equal('0.01 is below 0.05', w.view().actions[2].outcome.message)
  end)

  it('takes nothing but whole, present, finite data for good', function()
    local cases = {
      { BAD, '0.5 is not below 0.05' }, { {}, 'no data' }, { { { {}, 0 / 0 } }, 'NaN' },
      { { { {}, 0.01 }, partial = true }, 'partial' },
      { { message = 'it is down' }, 'it is down' },
      { { { {}, 0.01 }, { { pod = 'b' }, 0.5 } }, '0.5 is not below' },
      { { { {}, 0.01 }, type = 'matrix' }, 'a range of values' },
    }
    for _, case in ipairs(cases) do
      local w = world { request 'one', verify() }
      answers(w, { case[1] })
      local state, reason = w.run()
      assert.equal('failed', state)
      assert.matches('verification failed within 1m: ', reason, 1, true)
      assert.matches(case[2], reason, 1, true)
      assert.equal('open', w.incident())
    end
  end)

  it('knows below, above and equals', function()
    local cases = { { { below = 5 }, 4.9, 5 }, { { above = 5 }, 5.1, 5 },
      { { equals = 5 }, 5, 5.1 } }
    for _, case in ipairs(cases) do
      for i, want in ipairs { 'executed', 'failed' } do
        local args = { query = 'errors', within = '1m' }
        for k, v in pairs(case[1]) do args[k] = v end
        local w = world { request 'one', { name = 'verify', args = args } }
        answers(w, { { { {}, case[i + 1] } } })
        assert.equal(want, (w.run()))
      end
    end
  end)

  it('takes as long as it may, not a look longer', function()
    local w = world { request 'one', verify() }
    answers(w, { BAD })
    local from = clock.now()
    w.run()
    local took = clock.now() - from
    assert.is_true(took >= 60 and took <= 62, took)
  end)

  it('is a row with a due time: the plan waits without a task', function()
    local w = world { request 'one', verify { within = '10m' } }
    answers(w, { GOOD, GOOD })
    w.step()
    assert.same({ 'succeeded', 'started' }, states(w))
    assert.equal(15, w.store:row('select due_at from plans').due_at - clock.now())
    w.step()
    assert.same({ 'succeeded', 'succeeded' }, states(w))
  end)

  it('goes on under the kill switch, for it changes nothing; what it would undo stays', function()
    local w = world { request('one', undone_by 'undo-one'), verify { otherwise = 'revert' } }
    answers(w, { BAD })
    w.step()
    assert(file.write(guardrails.kill_file(w.engine.config), 'alice\n'))
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('verification failed within 1m', reason, 1, true)
    assert.matches('not reverted: the kill switch is on', reason, 1, true)
    assert.same({ 'one' }, w.sent)
  end)
end)

describe('a verification that fails', function()
  after_each(support.tidy)

  local function failing(otherwise, first, second)
    local w = world { request('one', first or undone_by 'undo-one'),
      request('two', second or undone_by 'undo-two'), verify { otherwise = otherwise } }
    w.engine.source.answers.errors = { { {}, 0.5 } }
    return w
  end

  it('with "page" leaves things as they are and calls for a person', function()
    local w = failing 'page'
    local before = metrics.pages:value 'nobody'
    assert.same({ 'failed', 'verification failed within 1m: 0.5 is not below 0.05' }, { w.run() })
    assert.same({ 'one', 'two' }, w.sent)
    assert.equal(1, metrics.pages:value 'nobody' - before)
  end)

  it('with "revert" undoes what was done, the last first, in the journal', function()
    local w = failing 'revert'
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('0.5 is not below 0.05; reverted 2 of its actions', reason, 1, true)
    assert.same({ 'one', 'two', 'undo-two', 'undo-one' }, w.sent)
    assert.equal(w.plan.id .. '-1-revert', w.last.headers['Idempotency-Key'])
    local actions = w.view().actions
    assert.same({ 'succeeded', 'succeeded' },
      { actions[1].reverted.state, actions[2].reverted.state })
  end)

  it('with "revert" passes over what says not how it is reverted', function()
    local w = failing('revert', undone_by 'undo-one', {})
    assert.matches('reverted 1 of its actions', (select(2, w.run())), 1, true)
    assert.same({ 'one', 'two', 'undo-one' }, w.sent)
  end)

  it('says when a revert has failed, and tries the others', function()
    local w = failing 'revert'
    w.answers['undo-two'] = 500
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('reverted 2 of its actions, and that failed: answered 500', reason, 1, true)
    assert.same({ 'one', 'two', 'undo-two', 'undo-one' }, w.sent)
  end)

  it('is unknown when nobody knows how a revert has ended', function()
    local w = failing 'revert'
    w.answers['undo-two'] = 'timeout'
    local state, reason = w.run()
    assert.equal('unknown', state)
    assert.matches('and that failed: the words of timeout', reason, 1, true)
  end)

  it('reverts nothing while the kill switch is on', function()
    local w = failing 'revert'
    local looks = 0
    w.engine.source.answers.errors = function()
      looks = looks + 1
      if looks == 8 then assert(file.write(guardrails.kill_file(w.engine.config), 'alice\n')) end
      clock.advance(looks == 8 and 60 or 0)
      return { { {}, 0.5 } }
    end
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('reverted 0 of its actions; not reverted: the kill switch', reason, 1, true)
    assert.same({ 'one', 'two' }, w.sent)
  end)

  it('stops between two reverts when the kill switch is thrown', function()
    local w = failing 'revert'
    w.answers['undo-two'] = function()
      assert(file.write(guardrails.kill_file(w.engine.config), 'alice\n'))
      return 200
    end
    local state, reason = w.run()
    assert.equal('failed', state)
    assert.matches('reverted 1 of its actions; not reverted: the kill switch', reason, 1, true)
    assert.same({ 'one', 'two', 'undo-two' }, w.sent)
  end)
end)

describe('a generation that is active no more', function()
  after_each(support.tidy)

  it('begins no plan', function()
    local w = world { request 'one' }
    w.engine.stopping = true
    w.step()
    assert.same({ 'approved' }, { plans.get(w.store, w.plan.id).state })
    assert.same({}, w.sent)
  end)

  it('ends the action it is at and hands the plan over', function()
    local w = world { request 'one', request 'two' }
    w.answers.one = function()
      w.engine.stopping = true
      return 200
    end
    w.step()
    assert.same({ 'one' }, w.sent)
    assert.same({ 'succeeded', 'waiting' }, states(w))
    w.engine.stopping = nil -- the other generation, with the same store
    assert.equal('executed', (w.run(1)))
    assert.same({ 'one', 'two' }, w.sent)
  end)

  it('that is closed in the middle of an action leaves it as unknown', function()
    local w = world { request 'one', request 'two' }
    local never = async.event()
    w.answers.one = function()
      never:wait()
      return 200
    end
    local task = async.spawn(w.step)
    support.turns(5)
    assert.same({ 'one' }, w.sent)
    task:cancel()
    support.turns(5)
    assert.equal('unknown', w.view().actions[1].state)
    assert.equal('interrupted before its end was known', w.view().actions[1].outcome.message)
    clock.advance(180)
    local state, reason = w.run(1)
    assert.equal('unknown', state)
    assert.matches('action 1 (http.request) has an unknown outcome', reason, 1, true)
    assert.same({ 'one' }, w.sent)
  end)

  it('keeps its action to itself while it may still wait for the end', function()
    local w = world { request 'one' }
    local never = async.event()
    w.answers.one = function()
      never:wait()
      return 200
    end
    local task = async.spawn(w.step)
    support.turns(5)
    clock.advance(179)
    w.step() -- another generation
    assert.equal('executing', plans.get(w.store, w.plan.id).state)
    never:set()
    task:await()
    assert.equal('executed', plans.get(w.store, w.plan.id).state)
    assert.same({ 'one' }, w.sent)
  end)
end)

describe('after a crash', function()
  after_each(support.tidy)

  --- Another process begins on the same store.
  local function restart(w)
    w.engine.process = w.engine.process .. '+'
    return recovery.run(w.engine)
  end

  --- A row of the journal as the process before has left it.
  local function journal(w, position, state, direction, outcome)
    local action = w.plan.actions[position]
    w.store:exec([[insert into actions (plan_id, position, direction, name, target, state, process,
      started_at, outcome) values (?, ?, ?, ?, 't', ?, 'process-1', ?, ?)]], w.plan.id, position,
      direction or 'forward', action.name, state, clock.now(),
      outcome and json.encode(outcome) or '')
    w.store:exec "update plans set state = 'executing'"
  end

  local PASSED = { result = 'succeeded', message = 'answered 200' }

  it('a plan that had not begun goes on', function()
    local w = world { request 'one' }
    assert.same({ unknown = 0, continued = 1 }, restart(w))
    assert.equal('executed', (w.run()))
    assert.same({ 'one' }, w.sent)
  end)

  it('an action that had begun is not repeated; the plan is unknown and says so', function()
    local w = world { request 'one', request 'two' }
    journal(w, 1, 'started')
    local before = metrics.pages:value 'nobody'
    assert.same({ unknown = 1, continued = 0 }, restart(w))
    local state, reason = w.run()
    assert.equal('unknown', state)
    assert.equal('the program ended while the run of action 1 (http.request) was under way; it may '
      .. 'have happened and is not repeated', reason)
    assert.same({}, w.sent)
    assert.equal('open', w.incident())
    assert.equal(1, metrics.pages:value 'nobody' - before)
    assert.same({ 'unknown', 'waiting' }, states(w))
    assert.same({ unknown = 0, continued = 0 }, restart(w))
  end)

  it('what had ended is not repeated, and the rest goes on', function()
    local w = world { request 'one', request 'two' }
    journal(w, 1, 'succeeded', nil, PASSED)
    assert.same({ unknown = 0, continued = 1 }, restart(w))
    assert.equal('executed', (w.run()))
    assert.same({ 'two' }, w.sent)
  end)

  it('what had failed ends its plan', function()
    local w = world { request 'one', request 'two' }
    journal(w, 1, 'failed', nil, { result = 'failed', message = 'answered 500' })
    restart(w)
    assert.same({ 'failed', 'action 1 (http.request) failed: answered 500' }, { w.run() })
    assert.same({}, w.sent)
  end)

  it('a verification goes on where it was', function()
    local w = world { request 'one', verify() }
    journal(w, 1, 'succeeded', nil, PASSED)
    journal(w, 2, 'started', nil, { deadline = clock.now() + 30, good = 1 })
    w.engine.source.answers.errors = { { {}, 0.01 } }
    restart(w)
    assert.equal('executed', (w.run(1)))
    assert.equal(1, #w.engine.source.asked)
  end)

  it('a plan goes on although the clock was set back', function()
    local w = world { request 'one', verify { within = '1m' } }
    w.engine.source.answers.errors = { { {}, 1 } }
    w.run(5)
    w.store:exec('update plans set due_at = due_at + 1e6')
    w.store:exec [[update actions set outcome = replace(outcome, '"deadline":17', '"deadline":97')]]
    assert.equal('failed', (w.run(80)))
    assert.equal(1, #w.sent)
  end)

  it('a verification whose time is over fails with one bad look, and passes with two good ones',
    function()
      for _, case in ipairs { { 'failed', 1, { 0.5 } }, { 'executed', 2, { 0.01, 0.01 } },
        { 'failed', 2, { 0.01, 0.5 } } } do
        local w, looks = world { request 'one', verify() }, 0
        journal(w, 1, 'succeeded', nil, PASSED)
        journal(w, 2, 'started', nil, { deadline = clock.now() - 30, good = 0 })
        w.engine.source.answers.errors = function()
          looks = looks + 1
          return { { {}, case[3][looks] } }
        end
        restart(w)
        assert.same({ case[1], case[2] }, { (w.run(20)), looks })
      end
    end)

  local function reverting()
    local w = world { request('one', undone_by 'undo-one'), request('two', undone_by 'undo-two'),
      verify { otherwise = 'revert' } }
    journal(w, 1, 'succeeded', nil, PASSED)
    journal(w, 2, 'succeeded', nil, PASSED)
    journal(w, 3, 'failed', nil, { result = 'failed',
      message = 'verification failed within 1m: 0.5 is not below 0.05' })
    return w
  end

  it('what was to be reverted is reverted', function()
    local w = reverting()
    restart(w)
    assert.same({ 'failed', 'verification failed within 1m: 0.5 is not below 0.05; '
      .. 'reverted 2 of its actions' }, { w.run() })
    assert.same({ 'undo-two', 'undo-one' }, w.sent)
  end)

  it('a revert that had ended is not repeated', function()
    local w = reverting()
    journal(w, 2, 'succeeded', 'revert', PASSED)
    restart(w)
    assert.matches('reverted 2 of its actions', (select(2, w.run())), 1, true)
    assert.same({ 'undo-one' }, w.sent)
  end)

  it('a revert that had begun is not repeated; the plan is unknown', function()
    local w = reverting()
    journal(w, 2, 'started', 'revert')
    assert.equal(1, restart(w).unknown)
    local state, reason = w.run()
    assert.equal('unknown', state)
    assert.matches('while the revert of action 2 (http.request) was under way', reason, 1, true)
    assert.same({}, w.sent)
  end)

  it('plans that wait for a person still wait', function()
    local w = world { request 'one' }
    w.store:exec "update plans set state = 'pending', due_at = null"
    assert.same({ unknown = 0, continued = 0 }, restart(w))
    assert.equal('pending', plans.get(w.store, w.plan.id).state)
  end)
end)
