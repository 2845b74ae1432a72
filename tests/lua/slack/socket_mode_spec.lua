local async = require 'async'
local check = require 'check'
local clock = require 'perigee.clock'
local file = require 'perigee.file'
local json = require 'json'
local log = require 'log'
local metrics = require 'engine.metrics'
local slack = require 'slack'
local slack_fake = require 'fakes.slack'
local slack_inbox = require 'engine.slack_inbox'
local socket_mode = require 'slack.socket_mode'
local store = require 'perigee.store'

local folder, fake

-- Waits between attempts are as short as they can be.
local random = math.random
setup(function() rawset(math, 'random', function() return 0 end) end)
teardown(function() rawset(math, 'random', random) end)

setup(function()
  folder = assert(file.temporary_folder 'perigee-slack')
  assert(file.write(folder .. '/bot', slack_fake.BOT_TOKEN))
  log.capture(true)
  fake = slack_fake.serve { ping_ms = 200 }
end)
teardown(function()
  fake:close()
  os.execute(("rm -rf '%s'"):format(folder))
end)
before_each(function()
  assert(file.write(folder .. '/app', slack_fake.APP_TOKEN))
  fake:control('set', { fragmented = false, options = { ack_ms = 3000, max_connections = 10 } })
  fake:control 'forget'
end)

local function wait_for(what, f)
  local until_then = clock.monotonic() + 15
  while clock.monotonic() < until_then do
    local found = f()
    if found then return found end
    async.sleep(0.02)
  end
  error('waited in vain for ' .. what, 2)
end

--- An engine as far as Socket Mode needs one.
local function new_engine(set, kept)
  local o = { api_url = fake.url, bot_token_file = folder .. '/bot',
    app_token_file = folder .. '/app', channel = '#incident-response' }
  for k, v in pairs(set or {}) do o[k] = v or nil end
  local values, problems = check.apply(o, slack.SECTION)
  assert.same({}, problems)
  local engine = { config = { slack = values }, slack = slack.connect(values),
    store = kept or assert(store.open ':memory:'), poked = 0 }
  function engine.poke() engine.poked = engine.poked + 1 end
  return engine
end

local function connections(n)
  return wait_for(n .. ' connections', function() return fake:state().connections == n end)
end

--- Runs f with Socket Mode up on so many connections, and ends it in order.
local function with_socket(n, f, set)
  local engine = new_engine(set)
  local socket = socket_mode.start(engine)
  connections(n)
  wait_for('hello', function() return socket.open == n end)
  f(engine, socket)
  socket:stop()
  connections(0)
end

local function click(i)
  return fake:click { user = 'U1', action_id = 'approve_remediation', value = 'v1:plan-' .. i,
    channel = 'C0001', ts = '1700000000.000100' }
end

local function clicks(engine)
  return engine.store:row('select count(*) as n from slack_clicks where state = ?', 'waiting').n
end

local function metric(name)
  return tonumber(metrics.expose():match('\nperigee_' .. name:gsub('%p', '%%%0') .. ' (%S+)')) or 0
end

describe('Socket Mode', function()
  it('keeps a click, acknowledges it, and has it decided about', function()
    with_socket(1, function(engine)
      local answer = click(1)
      assert.is_true(answer.acknowledged)
      assert.is_true(answer.ms < 300)
      assert.equal(1, clicks(engine))
      assert.equal(1, engine.poked)
      assert.is_nil(answer.payload)
    end)
  end)

  it('does not acknowledge what could not be kept', function()
    fake:control('set', { options = { ack_ms = 300 } })
    with_socket(1, function(engine)
      local keep = slack_inbox.store
      rawset(slack_inbox, 'store', function() error 'disk full' end)
      assert.is_false(click(1).acknowledged)
      rawset(slack_inbox, 'store', keep)
      assert.equal(0, engine.poked)
      assert.is_true(click(2).acknowledged)
    end)
  end)

  it('acknowledges messages in pieces, and kinds that nobody here waits for', function()
    with_socket(1, function(engine)
      fake:control('set', { fragmented = true })
      assert.is_true(click(1).acknowledged)
      for _, kind in ipairs { 'events_api', 'slash_commands', 'brand_new' } do
        assert.is_true(fake:control('envelope', { type = kind, payload = {} }).acknowledged)
      end
      assert.equal(1, clicks(engine))
    end)
  end)

  it('is not led astray by what is no envelope', function()
    with_socket(1, function(engine)
      for _, text in ipairs { '', 'x', '[]', 'null', '{"type":"brand_new"}', '{"envelope_id":7}',
        '{"envelope_id":""}', ('{"envelope_id":"%s"}'):format(('x'):rep(300)),
        '{"type":"interactive","envelope_id":"e1"}', '{"type":["x"],"envelope_id":"e2"}' } do
        fake:control('say', { text = text })
      end
      fake:control('say', { text = '{"envelope_id":"e3"}', binary = true })
      assert.is_true(click(1).acknowledged)
      local ids = {}
      for _, ack in ipairs(fake:state().acks) do ids[#ids + 1] = ack.envelope_id end
      assert.same({ 'e1', 'e2' }, { ids[1], ids[2] })
      assert.equal(3, #ids)
      assert.equal(1, clicks(engine))
    end)
  end)

  it('has the next connection before it lets go of one that Slack wants to end', function()
    with_socket(1, function(_, socket)
      for _, reason in ipairs { 'warning', 'refresh_requested', 'brand_new' } do
        fake:control('forget')
        fake:control('disconnect', { reason = reason })
        connections(2)
        assert.is_true(click(1).acknowledged and click(2).acknowledged) -- by whichever
        connections(1)
        assert.equal(1000, fake:state().closes[1].code)
        assert.is_true(click(3).acknowledged)
        assert.equal(1, socket.open)
      end
    end)
  end)

  it('comes back when a connection is cut', function()
    with_socket(1, function()
      for i = 1, 3 do
        fake:control 'drop'
        connections(1)
        wait_for('an acknowledgement', function() return click(i).acknowledged end)
      end
    end)
  end)

  it('waits first where the app has too many connections', function()
    fake:control('set', { options = { max_connections = 1 } })
    with_socket(1, function()
      local before = clock.monotonic()
      fake:control('disconnect', { reason = 'too_many_websockets' })
      connections(0)
      connections(1)
      assert.is_true(clock.monotonic() - before > 3)
    end)
  end)

  it('keeps several connections, and tells of those that are not ours', function()
    with_socket(2, function()
      assert.equal(0, metric 'slack_foreign_connections')
      local other = socket_mode.start(new_engine())
      wait_for('the other', function() return other.open == 1 end)
      assert.equal(2, metric 'slack_foreign_connections') -- as that one sees it
      other:stop()
      connections(2)
    end, { socket_mode = { connections = 2 } })
  end)

  it('tries again until it is let in, and asks no more with a token that is refused', function()
    fake:fault { method = 'apps.connections.open', error = 'internal_error', times = 5 }
    with_socket(1, function() end)
    assert(file.write(folder .. '/app', 'xapp-of-another'))
    fake:control 'forget'
    local socket = socket_mode.start(new_engine())
    wait_for('the refusal', function() return metric 'slack_refused' == 1 end)
    async.sleep(0.3)
    assert.equal(1, #fake:state().calls)
    assert(file.write(folder .. '/app', slack_fake.APP_TOKEN))
    connections(1) -- the token has been replaced
    assert.equal(0, metric 'slack_refused')
    socket:stop()
    connections(0)
  end)

  it('says so where Socket Mode is switched off', function()
    with_socket(1, function()
      fake:control('disconnect', { reason = 'link_disabled' })
      wait_for('the alarm', function() return metric 'slack_refused' == 1 end)
      connections(0)
    end)
  end)

  it('goes nowhere but where TLS or this machine is', function()
    for _, url in ipairs { 'ws://slack.example/', 'http://127.0.0.1/', 'wsx', 7 } do
      local engine = new_engine()
      function engine.slack.call() return { url = url } end
      local socket = socket_mode.start(engine)
      wait_for('a failure', function() return socket.lines[1].failures > 0 end)
      socket:stop()
    end
    assert.equal(0, fake:state().connections)
  end)

  it('is handed over at a reload without a gap', function()
    local kept = assert(store.open ':memory:')
    local one = socket_mode.start(new_engine(nil, kept))
    wait_for('hello', function() return one.open == 1 end)
    fake:fault { method = 'apps.connections.open', error = 'internal_error', times = 2 }
    local two = socket_mode.start(new_engine(nil, kept))
    one:stop()
    for i = 1, 20 do
      assert.is_true(click(i).acknowledged)
      async.sleep(0.05)
    end
    wait_for('hello', function() return two.open == 1 end)
    connections(1)
    assert.is_true(click(21).acknowledged)
    assert.equal(21, kept:row('select count(*) as n from slack_clicks').n)
    local none = socket_mode.start(new_engine({ app_token_file = false }, kept))
    two:stop()
    connections(0)
    none:stop()
    assert.is_true(json.decode(kept:row(
      "select value from settings where name = 'slack_socket'").value).up)
  end)
end)
