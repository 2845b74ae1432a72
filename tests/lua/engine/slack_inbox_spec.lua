local approvals = require 'engine.approvals'
local async = require 'async'
local audit = require 'engine.audit'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local plans = require 'engine.plans'
local previews = require 'engine.previews'
local slack_inbox = require 'engine.slack_inbox'
local slack_outbox = require 'engine.slack_outbox'
local slack_support = require 'lua.engine.slack_support'
local slack_value = require 'engine.slack_value'
local support = require 'lua.engine.support'

support.still()

--- An engine with a plan whose message has been posted.
local function world(o)
  local engine = slack_support.engine(o)
  local p = slack_support.plan(engine)
  slack_support.settle(engine)
  return engine, p
end

local n = 0

--- Presses a button; what comes of it is there when this returns.
local function press(engine, p, more)
  n = n + 1
  slack_inbox.store(engine, 'envelope-' .. n, 'interactive', slack_support.click(engine, p, more))
  slack_inbox.process(engine)
  return plans.get(engine.store, p.id).state
end

local function last_record(engine)
  local records = audit.list(engine.store, 0, 1000)
  return records[#records]
end

--- What the person who pressed is told, and nobody else.
local function whispered(engine)
  slack_support.settle(engine, 2)
  local all = engine.slack.of 'chat.postEphemeral'
  return all[#all]
end

describe('a click', function()
  after_each(support.tidy)

  it('of who may decides, once', function()
    local engine, p = world()
    assert.equal('approved', press(engine, p))
    local d = plans.view(engine.store, plans.get(engine.store, p.id)).decisions
    assert.same({ 'U1', 'slack', 'approved' }, { d[1].who, d[1].via, d[1].decision })
    assert.equal('approved', press(engine, p))
    assert.equal(1, #plans.view(engine.store, plans.get(engine.store, p.id)).decisions)
    assert.same({ 'click_refused', 'U1', p.id }, { last_record(engine).kind,
      last_record(engine).who, last_record(engine).plan })
    local told = whispered(engine)
    assert.same({ 'U1', 'C1' }, { told.user, told.channel })
    assert.matches('approved by U1', told.text)
  end)

  it('can reject', function()
    local engine, p = world()
    assert.equal('rejected', press(engine, p, { action = 'reject_remediation' }))
  end)

  it('of the same envelope is known again', function()
    local engine, p = world { config = { approvals = { quorum = 2 } } }
    for i = 1, 3 do
      local kept, is_new = slack_inbox.store(engine, 'one', 'interactive',
        slack_support.click(engine, p))
      assert.same({ true, i == 1 }, { kept, is_new })
      slack_inbox.process(engine)
    end
    local view = plans.view(engine.store, plans.get(engine.store, p.id))
    assert.same({ 1, 'pending' }, { view.approvals.given, view.state })
    assert.equal('decision', last_record(engine).kind)
  end)

  it('of who may not is told of to them and to the audit trail alone', function()
    local engine, p = world()
    assert.equal('pending', press(engine, p, { user = 'U9' }))
    local record = last_record(engine)
    assert.same({ 'click_refused', 'U9', 'approved', 'slack' },
      { record.kind, record.who, record.decision, record.via })
    local told = whispered(engine)
    assert.equal('U9', told.user)
    assert.matches('not one of those who may decide', told.text)
    assert.equal(0, #engine.slack.of 'chat.update')
  end)

  it('of who may press and is not of the group leaves the message as it is, too', function()
    local engine, p = world { config = { approvals = { group = 'sre',
      groups = { sre = { 'U2' } } } } }
    assert.equal('pending', press(engine, p))
    assert.matches('only members of sre', whispered(engine).text)
    assert.equal(0, #engine.slack.of 'chat.update')
  end)

  it('is nobody\'s where nobody is named', function()
    local engine, p = world {
      config = { slack = { bot_token_file = 'f', channel = '#incidents' } } }
    assert.equal('pending', press(engine, p))
  end)

  it('of a member of a user group counts, as Slack says at most five minutes ago', function()
    local engine, p = world { config = { approvals = { quorum = 9 },
      slack = { bot_token_file = 'f', channel = '#incidents', user_groups = { 'S1', 'S2' } } } }
    local users = { S1 = { 'U5' }, S2 = { 'U6' } }
    engine.slack.answers.list = function(args)
      return { ok = true, users = users[args.usergroup] }
    end
    press(engine, p, { user = 'U6' })
    press(engine, p, { user = 'U7' })
    press(engine, p, { user = 'U5' })
    assert.equal(2, #engine.slack.of 'usergroups.users.list')
    users.S1 = { 'U7' }
    press(engine, p, { user = 'U7' })
    clock.advance(300)
    press(engine, p, { user = 'U7' })
    local names = {}
    for i, d in ipairs(plans.view(engine.store, p).decisions) do names[i] = d.who end
    assert.same({ 'U6', 'U5', 'U7' }, names)
    clock.advance(300)
    engine.slack.answers.list = function() return nil, { message = 'down', transient = true } end
    press(engine, p, { user = 'U5' }) -- waits a minute for Slack to say who is in the groups
    assert.are_not.equal('U5', last_record(engine).who)
    clock.advance(5)
    slack_inbox.process(engine)
    assert.are_not.equal('U5', last_record(engine).who)
    clock.advance(60)
    slack_inbox.process(engine)
    assert.same({ 'click_refused', 'U5' }, { last_record(engine).kind, last_record(engine).who })
    assert.matches('Slack does not say who is in the user groups', last_record(engine).reason, 1,
      true)
    press(engine, p, { user = 'U6' })
    engine.slack.answers.list = function(args) -- many, and Slack is back
      local many = {}
      for i = 1, 1000 do many[i] = 'U' .. args.usergroup .. i end
      return { ok = true, users = many }
    end
    clock.advance(5)
    slack_inbox.process(engine)
    assert.matches('you are not one of those', last_record(engine).reason, 1, true)
    press(engine, p, { user = 'US21000' })
    assert.equal(4, #plans.view(engine.store, p).decisions)
  end)

  it('has no workspace where the app is installed for a whole organisation', function()
    local engine, p = world()
    local click = slack_support.click(engine, p)
    click.team = json.null
    slack_inbox.store(engine, 'of an organisation', 'interactive', click)
    slack_inbox.process(engine)
    assert.equal('approved', plans.get(engine.store, p.id).state)
  end)

  it('is a token\'s person where one has that slack_user', function()
    local engine, p = world { config = { approvals = { quorum = 2 },
      auth = { tokens = { { name = 'anna', role = 'approver', token_file = 'f',
        slack_user = 'U1' } } } } }
    approvals.decide(engine, p.id, 'approved', { who = 'anna', via = 'cli', digest = p.digest })
    press(engine, p)
    assert.matches('anna has approved it already', whispered(engine).text)
    assert.equal('pending', plans.get(engine.store, p.id).state)
  end)

  it('too late is told so, and the buttons go', function()
    local engine, p = world()
    clock.advance(900)
    assert.equal('pending', press(engine, p))
    approvals.expire(engine)
    assert.matches('the time to decide ended', whispered(engine).text)
    slack_support.settle(engine)
    local updates = engine.slack.of 'chat.update'
    for _, block in ipairs(updates[#updates].blocks) do assert.not_equal('actions', block.type) end
  end)

  it('after a restart works', function()
    local engine, p = world()
    slack_inbox.store(engine, 'late', 'interactive', slack_support.click(engine, p))
    local next_one = slack_support.engine { store = engine.store, process = 'process-2' }
    slack_inbox.process(next_one)
    assert.equal('approved', plans.get(engine.store, p.id).state)
  end)

  it('that one generation decides about is left alone by the next, unless it is gone', function()
    local engine, p = world()
    local drift = previews.drift
    local next_one = slack_support.engine { store = engine.store }
    local records
    previews.drift = function()
      slack_inbox.process(next_one)
      records = #audit.list(engine.store, 0, 1000)
    end
    press(engine, p)
    previews.drift = drift
    assert.equal('approved', plans.get(engine.store, p.id).state)
    assert.equal(records + 2, #audit.list(engine.store, 0, 1000)) -- plan_approved, decision
    engine, p = world()
    previews.drift = function() error 'killed' end
    pcall(press, engine, p)
    previews.drift = drift
    slack_inbox.process(slack_support.engine { store = engine.store })
    assert.equal('pending', plans.get(engine.store, p.id).state)
    slack_inbox.process(slack_support.engine { store = engine.store, process = 'process-2' })
    assert.equal('approved', plans.get(engine.store, p.id).state)
  end)

  it('that is decided about while a reload comes is left to what is active then', function()
    local engine, p = world()
    local drift = previews.drift
    previews.drift = function() engine.stopping = true end
    assert.equal('pending', press(engine, p))
    previews.drift = drift
    slack_inbox.process(slack_support.engine { store = engine.store })
    assert.equal('approved', plans.get(engine.store, p.id).state)
  end)

  it('that comes before the message is known to be posted waits for that', function()
    local engine = slack_support.engine()
    local p = slack_support.plan(engine)
    engine.slack.answers.postMessage = function()
      press(engine, p, { ts = '1700000000.000009', channel = 'C1' })
      return { ok = true, channel = 'C1', ts = '1700000000.000009' }
    end
    slack_support.settle(engine)
    assert.equal('pending', plans.get(engine.store, p.id).state)
    clock.advance(1)
    slack_inbox.process(engine)
    assert.equal('approved', plans.get(engine.store, p.id).state)
  end)
end)

describe('a click that is not from our message', function()
  after_each(support.tidy)

  it('decides nothing', function()
    local engine, p = world()
    local other = slack_support.plan(engine, { target = 'other' })
    local value = slack_value.seal(engine.store, p)
    local refused = {
      { team = 'T2' }, { app = 'A2' }, { channel = 'C2' }, { ts = '1700000000.000002' },
      { value = 'v1:' .. p.id .. ':0000000000000000:' .. ('0'):rep(32) },
      { value = value:sub(1, -2) .. (value:sub(-1) == '0' and '1' or '0') },
      { value = value:gsub('^v1', 'v2') }, { value = value .. '0' }, { value = 'v1:::' },
      { value = slack_value.seal(engine.store, other) }, -- has no message yet
      { value = slack_value.seal(engine.store,
        { id = p.id, digest = 'sha256:' .. ('a'):rep(64) }) },
      { value = slack_value.seal(engine.store, { id = 'plan-0', digest = p.digest }) },
    }
    for i, more in ipairs(refused) do
      assert.equal('pending', press(engine, p, more), i)
      assert.equal('click_refused', last_record(engine).kind, i)
    end
    assert.equal('approved', press(engine, p))
  end)

  it('whatever is in it is read without harm', function()
    local engine, p = world()
    local deep = {}
    for _ = 1, 100 do deep = { deep } end
    local hostile = { 5, 'x', true, deep, {}, ('x'):rep(100000), -1, 1e308, { id = {} } }
    local click = slack_support.click(engine, p)
    local paths = { { 'type' }, { 'user' }, { 'user', 'id' }, { 'team' }, { 'team', 'id' },
      { 'api_app_id' }, { 'container', 'channel_id' },
      { 'container', 'message_ts' }, { 'actions' }, { 'actions', 1 }, { 'actions', 1, 'action_id' },
      { 'actions', 1, 'value' } }
    for i, path in ipairs(paths) do
      for k, value in ipairs(hostile) do
        local payload = slack_support.click(engine, p)
        local at = payload
        for s = 1, #path - 1 do at = at[path[s]] end
        at[path[#path]] = value
        slack_inbox.store(engine, ('hostile-%d-%d'):format(i, k), 'interactive', payload)
      end
    end
    for i, value in ipairs(hostile) do
      slack_inbox.store(engine, 'bare-' .. i, 'interactive', value)
    end
    slack_inbox.store(engine, 'other', 'events_api', click)
    slack_inbox.process(engine)
    assert.equal('pending', plans.get(engine.store, p.id).state)
  end)
end)

describe('many decisions at once', function()
  after_each(support.tidy)

  it('through the API, the command and Slack count as one', function()
    local engine, p = world { config = { slack = { bot_token_file = 'f', channel = '#incidents',
      approvers = { 'U1', 'U2', 'U3' } } } }
    engine.run = function(_, f, ...) async.spawn(f, ...) end
    local won, tasks = 0, {}
    for i = 1, 200 do
      if i % 2 == 0 then
        slack_inbox.store(engine, 'race-' .. i, 'interactive', slack_support.click(engine, p,
          { user = 'U' .. 1 + i % 3, action = i % 4 == 0 and 'reject_remediation' or nil }))
        slack_inbox.process(engine)
      else
        tasks[#tasks + 1] = async.spawn(function()
          if approvals.decide(engine, p.id, i % 3 == 0 and 'rejected' or 'approved',
            { who = 'p' .. i, via = i % 5 == 0 and 'cli' or 'api', digest = p.digest }) then
            won = won + 1
          end
        end)
      end
    end
    for _, t in ipairs(tasks) do t:await() end
    support.turns(500)
    local decisions = plans.view(engine.store, plans.get(engine.store, p.id)).decisions
    assert.equal(1, #decisions)
    assert.is_true(won == 1 and decisions[1].via ~= 'slack' or won == 0)
    assert.equal(0,
      engine.store:row("select count(*) as n from slack_clicks where state = 'waiting'").n)
    local told =
      engine.store:row("select count(*) as n from slack_messages where kind = 'ephemeral'")
    assert.is_true(told.n <= 3) -- a person is told once, however often they press
  end)

  it('are kept in about the time of a sync to disk each', function()
    local store = assert(require('perigee.store').open(support.folder() .. '/perigee.db'))
    local engine = slack_support.engine { store = store }
    local p = slack_support.plan(engine)
    slack_support.settle(engine)
    local clicks = {}
    for i = 1, 500 do clicks[i] = slack_support.click(engine, p) end
    local before = clock.monotonic()
    for i, click in ipairs(clicks) do slack_inbox.store(engine, 'e' .. i, 'interactive', click) end
    local each = (clock.monotonic() - before) / #clicks * 1000
    store:close()
    assert.is_true(each < 50, each)
  end)
end)

describe('the seal of a button', function()
  after_each(support.tidy)

  it('is of one store, and names what it is about and nothing else', function()
    local engine, p = world()
    local value = slack_value.seal(engine.store, p)
    assert.matches('^v1:plan%-%x+:' .. p.digest:sub(8, 23) .. ':%x+$', value)
    assert.equal(32, #value:match '%x+$')
    assert.same({ p.id, p.digest:sub(8, 23) }, { slack_value.open(engine.store, value) })
    assert.is_nil((slack_value.open(slack_support.engine().store, value)))
    assert.is_true(#value < 2000)
    assert.truthy(slack_outbox.message(engine.store, p.id))
  end)
end)
