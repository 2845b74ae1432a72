local approvals = require 'engine.approvals'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local slack_outbox = require 'engine.slack_outbox'
local slack_support = require 'lua.engine.slack_support'
local support = require 'lua.engine.support'

support.still()

local function decide(engine, p, decision, who)
  return approvals.decide(engine, p.id, decision or 'approved',
    { who = who or 'alice', via = 'cli', digest = p.digest })
end

local function journal(engine, p, state, outcome)
  engine.store:exec([[insert or replace into actions (plan_id, position, direction, name, target,
    state, process, started_at, ended_at, outcome) values (?, 1, 'forward', 'http.request', 't', ?,
    'p', ?, ?, ?)]], p.id, state, clock.now(), outcome and clock.now() or nil,
    outcome and json.encode { message = outcome } or '')
end

local function action_ids(blocks)
  local out = {}
  for _, block in ipairs(blocks) do
    for _, element in ipairs(block.type == 'actions' and block.elements or {}) do
      out[#out + 1] = element.action_id
    end
  end
  return out
end

describe('a plan that waits', function()
  after_each(support.tidy)

  it('is told of in Slack, once, with buttons', function()
    local engine = slack_support.engine()
    local p = slack_support.plan(engine)
    slack_support.settle(engine, 3)
    local posts = engine.slack.of 'chat.postMessage'
    assert.equal(1, #posts)
    assert.equal('#incidents', posts[1].channel)
    assert.matches('To approve: mend', posts[1].text)
    assert.same({ 'approve_remediation', 'reject_remediation' }, action_ids(posts[1].blocks))
    assert.same({ key = 'plan/' .. p.id, plan = p.id }, posts[1].metadata.event_payload)
    local m = slack_outbox.message(engine.store, p.id)
    assert.same({ 'C1', '1700000000.000001', 'T1', 'A1', 'posted' },
      { m.channel, m.ts, m.team, m.app, m.state })
  end)

  it('is not told of where nobody need decide any more', function()
    local engine = slack_support.engine()
    local p = slack_support.plan(engine)
    engine.slack_sending = true
    slack_outbox.deliver(engine)
    decide(engine, p)
    engine.slack_sending = false
    slack_support.settle(engine)
    assert.same({}, engine.slack.calls)
  end)

  it('shows who decided and what came of it, without buttons, and a thread of its steps', function()
    local engine = slack_support.engine()
    local p = slack_support.plan(engine)
    slack_support.settle(engine)
    decide(engine, p)
    slack_support.settle(engine)
    local updates = engine.slack.of 'chat.update'
    assert.equal(1, #updates)
    assert.same({ 'C1', '1700000000.000001' }, { updates[1].channel, updates[1].ts })
    assert.same({}, action_ids(updates[1].blocks))
    assert.matches('approved by alice via cli', json.encode(updates[1].blocks))
    plans.move(engine, p.id, 'approved', 'executing')
    journal(engine, p, 'started')
    slack_support.settle(engine)
    journal(engine, p, 'succeeded', 'answered 200')
    plans.move(engine, p.id, 'executing', 'executed', { reason = 'all 1 actions succeeded' })
    slack_support.settle(engine)
    updates = engine.slack.of 'chat.update'
    assert.equal(3, #updates)
    assert.matches('all 1 actions succeeded', json.encode(updates[3].blocks))
    local posts = engine.slack.of 'chat.postMessage'
    assert.same({ 'Step 1 (http.request) has begun',
      'Step 1 (http.request): succeeded, answered 200' }, { posts[2].text, posts[3].text })
    assert.equal('1700000000.000001', posts[2].thread_ts)
    slack_support.settle(engine, 3)
    assert.equal(6, #engine.slack.calls)
    assert.equal('closed', slack_outbox.message(engine.store, p.id).state)
  end)

  it('and changes many times is written once, as it is by then', function()
    local engine = slack_support.engine { config = { approvals = { quorum = 9 } } }
    local p = slack_support.plan(engine)
    slack_support.settle(engine)
    for i = 1, 5 do decide(engine, p, 'approved', 'person-' .. i) end
    slack_support.settle(engine, 5)
    local updates = engine.slack.of 'chat.update'
    assert.equal(1, #updates)
    assert.matches('5 of 9', json.encode(updates[1].blocks))
    assert.same(2, #action_ids(updates[1].blocks))
  end)

  it('has its reminders in the thread', function()
    local engine = slack_support.engine()
    slack_support.plan(engine)
    slack_support.settle(engine)
    clock.advance(300)
    approvals.remind(engine)
    slack_support.settle(engine)
    local posts = engine.slack.of 'chat.postMessage'
    assert.matches('^still waits for approval %(0 of 1 given%)', posts[2].text)
    assert.same({ '1700000000.000001', true }, { posts[2].thread_ts, posts[2].reply_broadcast })
    assert.equal(0, engine.store:row('select count(*) as n from pages').n)
  end)

  it('of which Slack has taken no message has them through Alertmanager', function()
    local engine = slack_support.engine()
    engine.alertmanager = {}
    slack_support.plan(engine)
    clock.advance(300)
    approvals.remind(engine)
    assert.equal(1, engine.store:row('select count(*) as n from pages').n)
  end)
end)

describe('a post of which nobody knows whether it came about', function()
  after_each(support.tidy)

  local function lost(engine)
    local post = engine.slack.answers.postMessage
    engine.slack.answers.postMessage = function(args)
      engine.slack.answers.postMessage = post
      engine.slack.last = args
      return nil, { error = 'timeout', message = 'no answer', transient = true, uncertain = true }
    end
  end

  it('is looked for before it is posted again', function()
    local engine = slack_support.engine { config = { slack = { bot_token_file = 'f',
      channel = 'C1', approvers = {} } } }
    lost(engine)
    local p = slack_support.plan(engine)
    engine.slack.answers.history = function(args)
      assert.equal('C1', args.channel)
      return { ok = true, messages = { { ts = '5.5' }, { ts = '1700000009.000007',
        metadata = engine.slack.last.metadata, team = 'T1' } } }
    end
    slack_support.settle(engine)
    assert.equal(1, #engine.slack.of 'chat.postMessage')
    assert.equal('1700000009.000007', slack_outbox.message(engine.store, p.id).ts)
    assert.equal(1, #engine.slack.of 'chat.update') -- it may have said what is so no more
  end)

  it('is posted again where it is not to be found, or nobody may look', function()
    for _, history in ipairs {
      function() return { ok = true, messages = {} } end,
      function() return nil, { error = 'missing_scope', message = 'no', transient = false } end,
    } do
      local engine = slack_support.engine { config = { slack = { bot_token_file = 'f',
        channel = 'C1', approvers = {} } } }
      engine.slack.answers.history = history
      lost(engine)
      slack_support.plan(engine)
      slack_support.settle(engine, 2)
      assert.equal(2, #engine.slack.of 'chat.postMessage')
    end
  end)

  it('because the program ended is looked for by the next one at once', function()
    local engine = slack_support.engine { config = { slack = { bot_token_file = 'f',
      channel = 'C1', approvers = {} } } }
    local p = slack_support.plan(engine)
    engine.slack.answers.postMessage = function() error 'killed' end
    assert.is_false(pcall(slack_support.settle, engine))
    assert.equal('sending', slack_outbox.message(engine.store, p.id).state)
    local next_one = slack_support.engine { store = engine.store, process = 'process-2',
      config = { slack = { bot_token_file = 'f', channel = 'C1', approvers = {} } } }
    next_one.slack.answers.history = function()
      return { ok = true, messages = { { ts = '7.000007',
        metadata = { event_payload = { key = 'plan/' .. p.id } } } } }
    end
    slack_support.settle(next_one)
    assert.same({}, next_one.slack.of 'chat.postMessage')
    assert.equal('7.000007', slack_outbox.message(engine.store, p.id).ts)
  end)
end)

describe('a call that Slack refuses', function()
  after_each(support.tidy)

  it('waits as long as Slack asks for', function()
    local engine = slack_support.engine()
    local post = engine.slack.answers.postMessage
    engine.slack.answers.postMessage = function()
      engine.slack.answers.postMessage = post
      return nil, { error = 'ratelimited', message = 'slow down', retry_after = 45,
        transient = true }
    end
    slack_support.plan(engine)
    slack_support.settle(engine)
    clock.advance(43)
    slack_support.settle(engine)
    assert.equal(1, #engine.slack.calls)
    clock.advance(2)
    slack_support.settle(engine)
    assert.equal(2, #engine.slack.calls)
  end)

  it('for good is tried again each minute while the plan waits', function()
    local engine = slack_support.engine()
    engine.slack.answers.postMessage = function()
      return nil, { error = 'channel_not_found', message = 'no such channel', transient = false }
    end
    slack_support.plan(engine)
    slack_support.settle(engine, 3)
    assert.equal(1, #engine.slack.calls)
    clock.advance(60)
    slack_support.settle(engine, 3)
    assert.equal(2, #engine.slack.calls)
  end)

  it('because the message is gone is not repeated', function()
    local engine = slack_support.engine()
    local p = slack_support.plan(engine)
    slack_support.settle(engine)
    engine.slack.answers.update = function()
      return nil, { error = 'message_not_found', message = 'gone', transient = false }
    end
    decide(engine, p)
    slack_support.settle(engine, 3)
    assert.equal(1, #engine.slack.of 'chat.update')
  end)
end)
