--- The fake of Slack is as Slack is, as far as Slack's own framework can tell.
local async = require 'async'
local file = require 'perigee.file'
local node = require 'fakes.node'
local raw = require 'fakes.raw'
local slack = require 'slack'
local slack_fake = require 'fakes.slack'

local fake, folder
setup(function()
  fake = slack_fake.serve { ping_ms = 300, channels = { ['incident-response'] = 'C0001' },
    user_groups = { S0001 = { 'U1', 'U2' } } }
  folder = assert(file.temporary_folder 'perigee-slack')
end)
teardown(function()
  fake:close()
  os.execute(("rm -rf '%s'"):format(folder))
end)

--- An app on Bolt that has posted its message; f(message, said) presses its button.
local function with_bolt(mode, f)
  local output = ('%s/%s'):format(folder, mode)
  local child = node.start { 'slack_bolt.js', fake.url, mode, output = output }
  local _ <close> = setmetatable({}, { __close = function()
    child:kill(9)
    child:wait()
  end })
  local function said(pattern) return raw.wait_for(output, pattern) end
  assert.equal('invalid_blocks', said 'refused (%S+)')
  local message = { channel = 'C0001', ts = said 'posted C0001 (%S+)', user = 'U1', value = 'v1:x',
    action_id = 'approve_remediation' }
  f(message, said)
end

local function last_message()
  local messages = fake:state().messages
  return messages[#messages]
end

describe('the fake of Slack, with Slack\'s own framework', function()
  it('gives clicks by Socket Mode, in pieces too, and takes acknowledgements', function()
    with_bolt('socket', function(message, said)
      raw.wait_for(folder .. '/socket', 'listening (0)')
      for i, fragmented in ipairs { false, true } do
        fake:control('set', { fragmented = fragmented })
        message.user = 'U' .. i
        local click = fake:click(message)
        assert.is_true(click.acknowledged, click.error)
        assert.is_true(click.ms < 3000)
        said('clicked U' .. i .. ' (v1:x)')
        assert.equal('approved by U' .. i, last_message().text)
      end
      fake:control('set', { fragmented = false })
      fake:control('disconnect', { reason = 'refresh_requested', cut_after_ms = 500 })
      local again
      for _ = 1, 400 do -- it comes back by itself, with a gap
        again = fake:click(message)
        if again.acknowledged then break end
        async.sleep(0.05)
      end
      assert.is_true(again.acknowledged)
    end)
  end)

  it('gives signed clicks over HTTP', function()
    with_bolt('http', function(message, said)
      message.url = ('http://127.0.0.1:%s/slack/interactions'):format(said 'listening (%d+)')
      message.user = 'U2'
      assert.is_true(fake:click(message).acknowledged)
      said 'clicked (U2)'
      assert.equal('approved by U2', last_message().text)
      message.secret = 'of-somebody-else'
      assert.equal(401, fake:click(message).status)
      message.secret, message.skew = nil, -400
      assert.equal(401, fake:click(message).status)
    end)
  end)
end)

describe('the fake of Slack', function()
  local client
  setup(function()
    assert(file.write(folder .. '/bot', slack_fake.BOT_TOKEN))
    assert(file.write(folder .. '/app', slack_fake.APP_TOKEN))
    client = slack.client { api_url = fake.url, bot_token_file = folder .. '/bot',
      app_token_file = folder .. '/app' }
  end)

  local function refused(method, args)
    local answer, failure = client:call(method, args)
    assert.is_nil(answer)
    return failure.error
  end

  it('keeps messages by channel and ts, and changes only those that are there', function()
    local posted = assert(client:call('chat.postMessage', { channel = '#incident-response',
      text = 'one', metadata = { event_type = 'plan', event_payload = { id = 'p1' } } }))
    assert.equal('C0001', posted.channel)
    assert.matches('^%d%d%d%d%d%d%d%d%d%d%.%d%d%d%d%d%d$', posted.ts)
    assert(client:call('chat.update', { channel = 'C0001', ts = posted.ts, text = 'two' }))
    assert.equal('message_not_found', refused('chat.update', { channel = 'C0001',
      ts = '1700000000.000001', text = 'x' }))
    assert.equal('channel_not_found', refused('chat.update', { channel = '#incident-response',
      ts = posted.ts, text = 'x' }))
    local history = assert(client:call('conversations.history', { channel = 'C0001', limit = 1,
      include_all_metadata = true }))
    assert.equal('two', history.messages[1].text)
    assert.equal('p1', history.messages[1].metadata.event_payload.id)
    assert.same({ 'U1', 'U2' },
      client:call('usergroups.users.list', { usergroup = 'S0001' }).users)
  end)

  it('refuses what Slack refuses', function()
    local function blocks(...) return { channel = 'C0001', text = 'x', blocks = { ... } } end
    local long = blocks { type = 'header', text = { type = 'plain_text', text = ('x'):rep(151) } }
    assert.equal('invalid_blocks', refused('chat.postMessage', long))
    local button = { type = 'button', action_id = 'a', text = { type = 'plain_text', text = 'x' } }
    assert.equal('invalid_blocks', refused('chat.postMessage',
      blocks({ type = 'actions', elements = { button, button } })))
    local many = {}
    for i = 1, 5 do
      many[i] = { type = 'section', text = { type = 'mrkdwn', text = ('x'):rep(2900) } }
    end
    assert.equal('msg_blocks_too_long', refused('chat.postMessage', blocks(table.unpack(many))))
    assert.equal('no_text', refused('chat.postMessage', { channel = 'C0001' }))
    assert.equal('channel_not_found', refused('chat.postMessage', { channel = '#x', text = 'x' }))
    assert.equal('invalid_trigger_id', refused('views.open', { trigger_id = 'x' }))
    local swapped = slack.client { api_url = fake.url, bot_token_file = folder .. '/app' }
    assert.equal('not_allowed_token_type', select(2, swapped:call 'auth.test').error)
  end)

  it('can lose an answer, and ask to be left alone', function()
    fake:fault { method = 'chat.postMessage', lose = true }
    local before = #fake:state().messages
    local _, failure = client:call('chat.postMessage', { channel = 'C0001', text = 'lost?' })
    assert.is_true(failure.uncertain)
    assert.equal(before + 1, #fake:state().messages)
    fake:fault { method = 'auth.test', status = 429, retry_after = 1 }
    assert.equal('T0001', client:call('auth.test').team_id)
  end)
end)
